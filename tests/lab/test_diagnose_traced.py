"""What facts do not tell, the firewall of the host is asked: its own trace of the probes names the rule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from crossnet.diagnosis.finding import Direction
from crossnet.diagnosis.tracing import Flow, Tracing
from crossnet.lab.build import Lab
from crossnet.transport.lab import LabHost
from crossnet.values import Probe, Protocol
from lab.crossing import Bench
from lab.test_commands import CROSSING, Desk, Site

pytestmark = pytest.mark.lab


@pytest.fixture
def site(tmp_path: Path, lab_up: Callable[..., Lab]) -> Site:
    """A path that works."""
    lab = lab_up("seed")
    bench = Bench(lab)
    bench.check("app", "ip route replace 10.0.44.0/24 via 10.0.43.101")
    bench.check(
        "gateway",
        "sysctl -q -w net.ipv4.ip_forward=1; nft -f -",
        stdin=b"table ip mine {\nchain out { type nat hook postrouting priority 100\noifname eth0 masquerade\n}\n}\n",
    )
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write(f"{CROSSING}, probe: icmp/10.0.44.1")
    return Site(desk, bench)


def half(site: Site, which: str, *words: str) -> dict[str, Any]:
    """What became of the request (`forward`) or the reply."""
    told = site.desk.run("diagnose", "--json", *words)
    assert told.code == 3, told
    found: dict[str, Any] = told.json[which]  # type: ignore[assignment]
    assert "crossnet" not in site.bench.check("gateway", "nft list tables")
    return found


# Facts cannot tell which packets a processor has.
NFT = """
table ip odd {
    chain first {
        type filter hook forward priority -5; policy accept
        meta cpu > 9999 drop
    }
    chain forward {
        type filter hook forward priority 5; policy POLICY
        RULE
    }
}
"""


def put(site: Site, rule: str, policy: str = "accept") -> None:
    text = NFT.replace("RULE", rule).replace("POLICY", policy)
    site.bench.check("gateway", "nft -f -", stdin=text.encode())


def test_the_rule_that_dropped_it_is_named_and_not_another_that_might_have(site: Site) -> None:
    put(site, "ip daddr 10.0.44.1 meta cpu < 1000 counter drop")
    found = half(site, "forward")
    assert (found["code"], found["confidence"]) == ("filter-rule-drop", "proved")
    assert found["at"] == {"host": "gateway", "interface": "eth1"}
    assert "ip daddr 10.0.44.1 meta cpu < 1000" in found["detail"]
    assert any("the trace of nftables ends in ip odd forward" in line for line in found["evidence"])
    (fix,) = found["fix"]
    for command in fix["commands"]:
        site.bench.check(fix["host"], command)
    assert site.desk.run("diagnose").code == 0


def test_a_policy_that_a_doubtful_rule_leaves_packets_to(site: Site) -> None:
    put(site, "meta cpu > 9999 accept", "drop")
    found = half(site, "forward")
    assert (found["code"], found["confidence"]) == ("filter-policy-drop", "proved")


def test_a_connection_is_traced_as_well(site: Site) -> None:
    put(site, "tcp dport 8080 meta cpu < 1000 drop")
    found = half(site, "forward", "--to", "10.0.44.1:8080")
    assert (found["code"], found["confidence"]) == ("filter-rule-drop", "proved")


def test_a_rule_that_iptables_words_is_told_in_its_words(site: Site) -> None:
    site.bench.check("gateway", "iptables-nft -A FORWARD -i eth0 -m u32 --u32 '0>>28=4' -j DROP")
    found = half(site, "reply")
    assert (found["code"], found["confidence"]) == ("filter-rule-drop", "proved")
    assert "-A FORWARD -i eth0 -m u32" in found["detail"]


def test_a_clients_own_rule(site: Site) -> None:
    rule = "meta cpu < 1000 ip daddr 10.0.44.1 drop"
    text = f"table ip own {{\nchain output {{ type filter hook output priority 0\n{rule}\n}}\n}}\n"
    site.bench.check("app", "nft -f -", stdin=text.encode())
    found = half(site, "forward")
    assert (found["code"], found["confidence"]) == ("src-output-filtered", "proved")
    assert found["at"]["host"] == "app"


def test_where_facts_and_packets_agree_nothing_is_traced(site: Site) -> None:
    put(site, "ip daddr 10.0.44.1 drop")
    found = half(site, "forward")
    assert (found["code"], found["confidence"]) == ("filter-rule-drop", "proved")
    assert not any("trace" in line for line in found["evidence"])


def test_where_nobody_can_be_asked_it_stays_a_guess(site: Site) -> None:
    site.bench.check("gateway", "iptables-nft -A FORWARD -d 10.0.44.1 -m u32 --u32 '0>>28=4' -j DROP")
    older = '#!/bin/sh\ncase $1 in monitor | -i) exit 1 ;; esac\nexec /tmp/nft "$@"\n'
    site.bench.check("gateway", "cat >/tmp/older; chmod 755 /tmp/older", stdin=older.encode())
    place = "$(readlink -f $(command -v nft))"
    site.bench.check("gateway", f"cp {place} /tmp/nft; mount --bind /tmp/older {place}")
    # Nor does the kernel tell.
    site.bench.check("gateway", "mount --bind /bin/false $(command -v unshare)")
    found = half(site, "forward")
    assert (found["code"], found["confidence"]) == ("filter-rule-drop", "inferred")


PROCESSES = r"""
for place in /proc/[0-9]*; do
    [ "$place" != "/proc/$$" ] || continue
    words=$(tr '\0' ' ' <"$place/cmdline" 2>/dev/null) || continue
    case $words in *crossnet_trace* | "nft "*) echo "${place#/proc/} $words" ;; esac
done
"""


@pytest.mark.parametrize("killed", ["sh -c", "nft -i", "all"])
def test_the_table_goes_with_what_made_it(site: Site, eventually: Callable[..., None], killed: str) -> None:
    """The controller may be killed, and who clears up there as well: the kernel removes the table of an owner."""
    bench = site.bench
    probe = Probe(Protocol.ICMP, ip_address("10.0.44.1"))
    flow = Flow("gateway", Direction.FORWARD, probe, None, probe.destination, (101,))

    def processes() -> list[str]:
        return bench.check("gateway", f"{PROCESSES}:").splitlines()

    async def trace() -> None:
        host = LabHost("gateway", bench.lab.socket("gateway"))
        tracing = Tracing(host, flow)
        await tracing.start()
        async with asyncio.timeout(20):
            while "crossnet_trace" not in (await host.run(["nft", "list", "tables"])).text:
                pass
        there = (await host.run(["sh", "-c", f"{PROCESSES}:"])).text.splitlines()
        assert any(" nft -i " in line for line in there)
        chosen = [line.split()[0] for line in there if killed == "all" or f" {killed} " in line]
        await host.run(["kill", "-9", *(chosen if killed == "all" else chosen[:1])])
        # Nobody stops it: so it is where the controller has been killed, too.

    asyncio.run(trace())
    eventually(lambda: "crossnet" not in bench.check("gateway", "nft list tables"), "the table is gone")
    eventually(lambda: processes() == [], "and whoever was at it")
