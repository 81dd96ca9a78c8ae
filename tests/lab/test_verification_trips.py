"""What verifying costs, in commands on each host, and what it says of probes that were sent together.

Over SSH every command is a round trip: a client has two of them, a gateway three.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

import crossnet
from crossnet.diagnosis.verifying import verify
from crossnet.events import nobody
from crossnet.lab.build import Lab
from crossnet.lab.topology import from_data
from crossnet.site import Site
from crossnet.spec import Spec
from crossnet.transport import LIMIT, TIMEOUT, Completed, Host
from crossnet.transport.lab import LabHost
from crossnet.values import address
from crossnet.verdict import Diagnosis, Result, Verification
from crossnet.verification.gathering import AT_ONCE
from crossnet.verification.probe import Search, search
from lab.crossing import Bench
from lacking import lacking
from transport.shells import SHELLS

pytestmark = pytest.mark.lab

CLIENT, GATEWAY = 2, 3  # the most commands that verifying may cost


@dataclass
class Trips:
    """Commands that were run on each host, and the most that ran on clients at one time."""

    by_host: Counter[str] = field(default_factory=Counter)
    running: set[str] = field(default_factory=set)
    most_clients: int = 0


class Counting(LabHost):
    """A host of the lab whose commands are counted."""

    def __init__(self, lab: Lab, name: str, trips: Trips) -> None:
        super().__init__(name, lab.socket(name))
        self._trips = trips

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        trips = self._trips
        trips.by_host[self.name] += 1
        trips.running.add(self.name)
        trips.most_clients = max(trips.most_clients, len(trips.running - {"gateway"}))
        try:
            return await super().run(argv, stdin=stdin, timeout=timeout, limit=limit)
        finally:
            trips.running.discard(self.name)


def verified(b: Bench, spec: Spec) -> tuple[Verification, Trips]:
    trips = Trips()
    hosts: dict[str, Host] = {name: Counting(b.lab, name, trips) for name in b.managed}

    async def work() -> Verification:
        facts = await crossnet.observe(spec)
        return await verify(crossnet.plan(spec, facts), facts, Site(hosts, {}, nobody))

    return asyncio.run(work()), trips


def flows(found: Verification) -> dict[str, Diagnosis]:
    return {str(verdict.probe): verdict for verdict in found.verdicts}


ALL = "icmp/10.0.44.1, tcp/10.0.44.1:443, tcp/10.0.44.1:80, udp/10.0.44.1:53"


@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
def test_trips(lab_up: Callable[..., Lab], firewall: str) -> None:
    b = Bench(lab_up("seed"))
    to = f"to: 10.0.44.0/24, firewall: {firewall}"
    b.apply(b.spec(to))
    b.check("target", "nc -l -k -n -p 443 >/dev/null 2>&1 & until ss -Hltn | grep -q :443; do :; done")

    found, trips = verified(b, b.spec(to))
    assert found.result is Result.REACHABLE
    assert trips.by_host == {"app": CLIENT, "gateway": 2}

    for probe in ("icmp/10.0.44.1", "tcp/10.0.44.1:443", "tcp/10.0.44.1:80"):
        found, trips = verified(b, b.spec(f"{to}, probe: {probe}"))
        assert found.result is Result.REACHABLE, probe
        assert found.verdicts[0].counted == 1
        assert trips.by_host == {"app": 1, "gateway": 2}

    found, trips = verified(b, b.spec(f"{to}, probe: [{ALL}]"))
    results = {probe: (one.result, one.forward.code) for probe, one in flows(found).items()}
    assert results == {
        "icmp/10.0.44.1": (Result.REACHABLE, None),
        "tcp/10.0.44.1:443": (Result.REACHABLE, None),
        "tcp/10.0.44.1:80": (Result.REACHABLE, "destination-port-closed"),
        "udp/10.0.44.1:53": (Result.UNDETERMINED, None),
    }
    assert {one.counted for one in found.verdicts} == {4}
    closed = flows(found)["tcp/10.0.44.1:80"].forward
    assert closed.detail == "10.0.44.1 refused port 80: the path works"
    assert trips.by_host == {"app": 1, "gateway": 2}


@pytest.mark.parametrize("conntrack", [True, False], ids=["conntrack", "proc"])
def test_trips_where_a_crossing_has_both_families(lab_up: Callable[..., Lab], conntrack: bool) -> None:
    b = Bench(lab_up("seed-dual"))
    if not conntrack:
        if not b.run("gateway", "test -e /proc/net/nf_conntrack").ok:
            lacking("this kernel has no /proc/net/nf_conntrack")
        hide(b, "gateway", "conntrack")
    spec = b.spec("to: [10.0.44.0/24, 'fd00:44::/64']")
    b.apply(spec)
    found, trips = verified(b, spec)
    assert [one.result for one in found.verdicts] == [Result.REACHABLE] * 2
    assert sorted(flows(found)) == ["icmp/10.0.44.1", "icmp/fd00:44::1"]
    assert [str(one.translated_to) for one in found.verdicts] == ["10.0.44.63", "fd00:44::63"]
    assert trips.by_host == {"app": CLIENT, "gateway": 2}


def test_gateway_is_read_before_and_after_however_many_clients(lab_up: Callable[..., Lab]) -> None:
    number = AT_ONCE + 4
    clients = [f"c{index}" for index in range(number)]

    def interface(network: str, address: str) -> dict[str, object]:
        return {"network": network, "addresses": [address]}

    seed = {
        "name": "many",
        "networks": {"management": {}, "business": {}},
        "hosts": {
            **{
                name: {"interfaces": {"eth0": interface("management", f"10.0.43.{10 + index}/24")}}
                for index, name in enumerate(clients)
            },
            "gateway": {
                "interfaces": {
                    "eth1": interface("management", "10.0.43.101/24"),
                    "eth0": interface("business", "10.0.44.63/24"),
                }
            },
            "target": {"interfaces": {"eth0": interface("business", "10.0.44.1/24")}},
        },
    }
    b = Bench(lab_up(from_data(seed, source="test")), (*clients, "gateway"))
    spec = b.spec(
        f"crossings:\n  business: {{from: [{', '.join(clients)}], via: gateway, to: 10.0.44.0/24,"
        " probe: icmp/10.0.44.1}\n"
    )
    b.apply(spec)
    found, trips = verified(b, spec)
    assert [one.client for one in found.verdicts] == clients
    assert {one.result for one in found.verdicts} == {Result.REACHABLE}
    assert all((one.counted or 0) >= number for one in found.verdicts)  # a probe may be sent twice
    assert trips.by_host.pop("gateway") <= GATEWAY
    assert trips.by_host == dict.fromkeys(clients, 1)
    assert 1 < trips.most_clients <= AT_ONCE


# ---- what is said of flows that were sent together -------------------------------------------------


@pytest.mark.parametrize("conntrack", [True, False], ids=["conntrack", "no conntrack"])
def test_a_refusal_by_the_gateway_itself_is_not_hidden_by_what_else_passed(
    lab_up: Callable[..., Lab], conntrack: bool
) -> None:
    b = Bench(lab_up("seed"))
    b.apply(b.spec("to: 10.0.44.0/24"))
    b.check(
        "gateway",
        "nft 'table ip theirs { chain f { type filter hook forward priority -10;"
        " tcp dport 443 reject with tcp reset; }; }'",
    )
    if not conntrack:
        fail(b, "gateway", "conntrack")
    probes = "icmp/10.0.44.1, tcp/10.0.44.1:80, tcp/10.0.44.1:443"
    found, _ = verified(b, b.spec(f"to: 10.0.44.0/24, firewall: nftables, probe: [{probes}]"))
    told = {probe: (one.result, one.forward.code) for probe, one in flows(found).items()}
    assert told == {
        "icmp/10.0.44.1": (Result.REACHABLE, None),
        "tcp/10.0.44.1:80": (Result.REACHABLE, "destination-port-closed"),
        "tcp/10.0.44.1:443": (Result.UNREACHABLE, "filter-reject"),
    }
    assert any("has no conntrack tool" in note.detail for note in found.verdicts[0].notes) is not conntrack


@pytest.mark.parametrize("conntrack", [True, False], ids=["conntrack", "no conntrack"])
def test_what_is_stopped_is_told_from_what_is_not_answered(
    lab_up: Callable[..., Lab], conntrack: bool
) -> None:
    b = Bench(lab_up("seed"))
    b.apply(b.spec("to: 10.0.44.0/24"))
    drop = "nft 'table ip theirs { chain f { type filter hook %s priority -10; tcp dport %s drop; }; }'"
    b.check("gateway", drop % ("forward", 443))
    b.check("target", drop % ("input", 80))
    if not conntrack:
        fail(b, "gateway", "conntrack")
    probes = "icmp/10.0.44.1, tcp/10.0.44.1:80, tcp/10.0.44.1:443"
    found, _ = verified(b, b.spec(f"to: 10.0.44.0/24, firewall: nftables, probe: [{probes}]"))
    told = {probe: (one.result, one.forward.code or one.reply.code) for probe, one in flows(found).items()}
    assert told == {
        "icmp/10.0.44.1": (Result.REACHABLE, None),
        "tcp/10.0.44.1:80": (Result.UNREACHABLE, "destination-silent" if conntrack else None),
        "tcp/10.0.44.1:443": (Result.UNREACHABLE, "filter-rule-drop"),
    }


def test_a_flow_that_the_gateway_forgets_while_others_are_waited_for(
    lab_up: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Bench(lab_up("seed"))
    b.apply(b.spec("to: 10.0.44.0/24"))
    b.check("gateway", "sysctl -q -w net.netfilter.nf_conntrack_icmp_timeout=1")
    spec = b.spec("to: 10.0.44.0/24, probe: [icmp/10.0.44.1, icmp/10.0.44.77]")
    monkeypatch.setattr("crossnet.verification.gathering.READ_AGAIN", 0.3)
    found, _ = verified(b, spec)
    told = {probe: (one.result, str(one.translated_to)) for probe, one in flows(found).items()}
    assert told == {
        "icmp/10.0.44.1": (Result.REACHABLE, "10.0.44.63"),
        "icmp/10.0.44.77": (Result.UNREACHABLE, "10.0.44.63"),
    }


def test_no_route_and_no_answer_at_all(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.apply(b.spec("to: 10.0.44.0/24"))
    b.check("target", "ip link set eth0 down")
    found, _ = verified(b, b.spec("to: 10.0.44.96/29"))
    (one,) = found.verdicts
    assert (one.result, one.forward.code, one.stopped) == (Result.UNREACHABLE, "destination-absent", False)
    assert "none of 7 addresses in `to` answered an echo" in one.notes[0].detail
    b.check("app", "ip route del default; ip route del 10.0.44.0/24")
    (one,) = verified(b, b.spec("to: 10.0.44.0/24"))[0].verdicts
    assert (one.result, one.forward.code) == (Result.UNREACHABLE, "src-no-route")
    hide(b, "app", "ping")
    (one,) = verified(b, b.spec("to: 10.0.44.0/24"))[0].verdicts
    assert one.result is Result.UNDETERMINED
    assert one.forward.detail.startswith("app has no tool to send icmp/10.0.44.")


def fail(b: Bench, host: str, tool: str) -> None:
    """As it does for who may not ask."""
    b.check(host, "printf '#!/bin/sh\\nexit 1\\n' > /tmp/fails; chmod 755 /tmp/fails")
    b.check(host, f"mount --bind /tmp/fails $(readlink -f $(command -v {tool}))")


def hide(b: Bench, host: str, tool: str) -> None:
    b.check(host, f"touch /tmp/none && mount --bind /tmp/none $(readlink -f $(command -v {tool}))")


# ---- the search -----------------------------------------------------------------------------------


class OtherShell(LabHost):
    """A host of the lab whose `sh` is another shell."""

    def __init__(self, lab: Lab, name: str, shell: Sequence[str]) -> None:
        super().__init__(name, lab.socket(name))
        self._shell = shell

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        assert argv[0] == "sh"
        return await super().run([*self._shell, *argv[1:]], stdin=stdin, timeout=timeout, limit=limit)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_first_answer_ends_the_search(lab_up: Callable[..., Lab], shell: Sequence[str]) -> None:
    b = Bench(lab_up("seed"))
    b.apply(b.spec("to: 10.0.44.0/24"))
    host = OtherShell(b.lab, "app", shell)
    group = [address(f"10.0.44.{number}") for number in (5, 6, 1, 7, 8)]
    silent = [address("10.0.44.9"), address("10.0.44.10")]

    async def work() -> tuple[list[Search], float, list[Search]]:
        clock = asyncio.get_running_loop().time
        start = clock()
        (first,) = await search(host, [group])
        taken = clock() - start
        return [first], taken, await search(host, [group, silent])

    (first,), taken, both = asyncio.run(work())
    assert first == Search(tuple(group), address("10.0.44.1"), could_send=True)
    assert taken < 2, "the silent ones are not waited for"
    assert b.run("app", "pgrep -x ping").text == "", "and send nothing any more"
    assert [each.answered for each in both] == [address("10.0.44.1"), None]
