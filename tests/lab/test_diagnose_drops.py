"""What facts do not tell, the kernel of the host is asked: its reason for a drop, in an instance that goes again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import crossnet
from crossnet.diagnosis.drop_events import Spot
from crossnet.diagnosis.drops import Dropping
from crossnet.diagnosis.finding import Direction
from crossnet.diagnosis.probes import probes_of
from crossnet.errors import LabError
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.lab.topology import load
from crossnet.transport.lab import LabHost
from crossnet.values import Probe, Protocol, address
from lab.crossing import Bench
from lab.test_commands import CROSSING, Desk
from lab.test_diagnose import with_target
from lab.test_diagnose_disagrees import changed_meanwhile, disagreements
from lacking import lacking

pytestmark = pytest.mark.lab

# Of the kernel's reasons only where it has any: Linux 5.17.
POSSIBLE = '[ "$(id -u)" = 0 ] && unshare -m sh -c \'{} && grep -q " reason;" {}\''.format(
    "mount -t tracefs tracefs /sys/kernel/tracing", "/sys/kernel/tracing/events/skb/kfree_skb/format"
)


# Nobody has the address, so that the target does not get to answer.
WRONG_ADDRESS = b"""
table ip wrong {
    chain out {
        type nat hook postrouting priority 90
        ip daddr 10.0.44.0/24 snat to 10.0.44.253
    }
}
"""
DROPS_ECHOES = b"""
table inet other {
    counter dropped { }
    chain in {
        type filter hook input priority 0
        icmp type echo-request counter name dropped drop
    }
}
"""


@pytest.fixture(scope="module")
def lab(lab_possible: None) -> Iterator[Lab]:
    lab = asyncio.run(build.up(load("seed"), name=f"t{os.getpid()}-drops", lifeline=True))
    try:
        bench = Bench(lab)
        if not bench.run("gateway", POSSIBLE).ok:
            lacking("no tracefs on a host of the lab, or its kernel gives no reasons")
        bench.check("app", "ip route replace 10.0.44.0/24 via 10.0.43.101")
        rules = b"table ip mine {\nchain out { type nat hook postrouting priority 100\noifname eth0 masquerade\n}\n}\n"
        bench.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1; nft -f -", stdin=rules)
        yield lab
    finally:
        with suppress(LabError):
            asyncio.run(build.down(lab.name))


def instances(bench: Bench) -> set[str]:
    """Those of all hosts of the machine, which have one kernel."""
    listing = "mount -t tracefs tracefs /sys/kernel/tracing && ls /sys/kernel/tracing/instances"
    return set(bench.check("gateway", f"unshare -m sh -c '{listing}'").split())


@pytest.fixture
def bench(lab: Lab) -> Bench:
    return Bench(lab)


@pytest.fixture
def desk(tmp_path: Path, lab: Lab) -> Desk:
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write(f"{CROSSING}, probe: icmp/10.0.44.1")
    return desk


def diagnosed(desk: Desk) -> dict[str, Any]:
    answer = desk.run("diagnose", "--json")
    assert answer.code == 3, answer
    found: dict[str, Any] = answer.json
    return found


# Facts cannot tell what these do to a packet: host, how it is broken and healed, and what is told.
POLICY = "ip xfrm policy {} src 10.0.43.0/24 dst 10.0.44.0/24 dir fwd"
OLDER = "iptables-legacy -{} FORWARD -s 10.0.44.1 -m u32 --u32 '0>>28=4' -j DROP"
CLIENTS = "iptables-legacy -t mangle -{} POSTROUTING -d 10.0.44.1 -m u32 --u32 '0>>28=4' -j DROP"
DOUBTFUL = [
    pytest.param(
        "gateway",
        (POLICY.format("add") + " action block", POLICY.format("delete")),
        ("forward", "ipsec-policy-drop", "XFRM_POLICY in ip_forward"),
        id="ipsec",
    ),
    pytest.param(
        "gateway",
        (OLDER.format("A"), OLDER.format("D")),
        ("reply", "filter-rule-drop", "NETFILTER_DROP in nf_hook_slow at forward"),
        id="older-iptables",
    ),
    pytest.param(
        "gateway",
        ("tc qdisc add dev eth0 root pfifo limit 0", "tc qdisc del dev eth0 root"),
        ("forward", "tc-or-xdp-drop", "QDISC_DROP in __dev_queue_xmit"),
        id="queue",
    ),
    pytest.param(
        "app",
        (CLIENTS.format("A"), CLIENTS.format("D")),
        ("forward", "filter-rule-drop", "NETFILTER_DROP in nf_hook_slow at postrouting"),
        id="of-the-client",
    ),
]


@pytest.mark.parametrize(("host", "commands", "told"), DOUBTFUL)
def test_the_kernels_reason_proves_what_facts_leave_open(
    bench: Bench, desk: Desk, host: str, commands: tuple[str, str], told: tuple[str, str, str]
) -> None:
    which, code, reason = told
    assert bench.pings("gateway", "10.0.44.1")  # else a queue takes its questions for the target, and no echo
    bench.check(host, commands[0])
    try:
        answer = diagnosed(desk)
    finally:
        bench.check(host, commands[1])
    half = answer[which]
    assert (half["code"], half["confidence"]) == (code, "proved")
    assert half["at"]["host"] == host
    assert f"{host}: the kernel dropped it: {reason}" in half["evidence"]
    (end,) = [each for each in answer["observations"] if each["action"] == "dropped"]
    assert (end["host"], end["direction"]) == (host, "request" if which == "forward" else "reply")
    assert end["by"]


def test_where_facts_and_packets_agree_the_kernel_is_not_asked(bench: Bench, desk: Desk) -> None:
    bench.check("gateway", "sysctl -q -w net.ipv4.ip_forward=0")
    try:
        answer = diagnosed(desk)
    finally:
        bench.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")
    assert answer["forward"]["confidence"] == "proved"
    assert "the kernel dropped" not in str(answer)


@pytest.mark.parametrize(
    ("command", "back", "code", "reason"),
    [
        (
            "sysctl -q -w net.ipv4.ip_forward=0",
            "sysctl -q -w net.ipv4.ip_forward=1",
            "ip-forward-disabled",
            "IP_INADDRERRORS",
        ),
        (
            "ip address add 10.0.43.15/32 dev lo",
            "ip address del 10.0.43.15/32 dev lo",
            "martian-source",
            "IP_LOCAL_SOURCE",
        ),
        (
            "ip route add blackhole 10.0.44.1/32",
            "ip route del blackhole 10.0.44.1/32",
            "route-blackhole",
            "NOT_SPECIFIED",
        ),
    ],
    ids=["forwarding", "own-source", "blackhole"],
)
def test_what_facts_did_not_know_is_told_by_the_kernel(
    bench: Bench, command: str, back: str, code: str, reason: str
) -> None:
    """It is changed when the hosts have been read."""
    assert bench.pings("app", "10.0.43.101")  # who claims an asker's address does not answer what it asks
    try:
        found = changed_meanwhile(bench, "gateway", command)
    finally:
        bench.check("gateway", back)
    assert found.forward.code == code
    assert any(f"the kernel dropped it: {reason} in " in line for line in found.forward.evidence)
    assert disagreements(found), "facts said that it passes"
    noted = [note.detail for note in found.notes if note.code == "reason-not-specified-by-kernel"]
    assert bool(noted) is (reason == "NOT_SPECIFIED")


FAILING = """
printf '#!/bin/sh\\nexit 1\\n' >/tmp/cannot
chmod 755 /tmp/cannot
mount --bind /tmp/cannot $(command -v unshare)
"""
OLDER_KERNEL = """
mount -t tmpfs tmpfs /sys/kernel/tracing
mkdir -p /sys/kernel/tracing/instances /sys/kernel/tracing/events/skb/kfree_skb
echo 'field:unsigned short protocol;' >/sys/kernel/tracing/events/skb/kfree_skb/format
"""


@pytest.mark.parametrize(
    ("taken", "back", "code"),
    [
        (FAILING, "umount $(command -v unshare)", "insufficient-privilege"),
        (OLDER_KERNEL, "umount /sys/kernel/tracing", "reason-not-specified-by-kernel"),
    ],
    ids=["right", "kernel"],
)
def test_a_host_that_cannot_be_asked_is_told_of_once(
    bench: Bench, desk: Desk, taken: str, back: str, code: str
) -> None:
    bench.check("gateway", taken)
    bench.check("gateway", POLICY.format("add") + " action block")
    try:
        answer = diagnosed(desk)
    finally:
        bench.check("gateway", POLICY.format("delete"))
        bench.check("gateway", back)
    half = answer["forward"]
    assert (half["code"], half["confidence"]) == ("ipsec-policy-drop", "inferred")
    (note,) = answer["notes"]
    assert note["code"] == code
    assert note["detail"].startswith("gateway: its kernel cannot be asked why it drops packets: ")


def test_what_a_rule_drops_elsewhere_on_the_same_kernel_is_not_ours(
    bench: Bench, lab_up: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's echoes of the same lengths: containers and labs of one machine have one kernel."""
    ours = probes_of(Probe(Protocol.ICMP, address("10.0.44.1")), None)
    monkeypatch.setattr("crossnet.diagnosis.diagnose.probes_of", lambda probe, size: ours)
    elsewhere = Bench(lab_up("seed"))
    elsewhere.check("target", "nft -f -", stdin=DROPS_ECHOES)
    spec = with_target(bench.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1"), bench)
    bench.check("gateway", "nft -f -", stdin=WRONG_ADDRESS)
    for size in ours.again:
        elsewhere.check("gateway", f"ping -q -c 3000 -i 0.01 -s {size} 10.0.44.1 >/dev/null 2>&1 &")
    try:
        found = asyncio.run(crossnet.diagnose(crossnet.Asked("business"), spec)).verdict
    finally:
        bench.check("gateway", "nft delete table ip wrong")
    elsewhere.check("gateway", "pkill -x ping")  # all the time there were some
    assert "packets 0 " not in elsewhere.check("target", "nft list counter inet other dropped")
    half = found.forward if found.forward.code else found.reply
    assert half.code == "snat-address-not-local", found


# ---- it goes as it came --------------------------------------------------------------------------

PROCESSES = r"""
for place in /proc/[0-9]*; do
    [ "$place" != "/proc/$$" ] || continue
    words=$(tr '\0\n' '  ' <"$place/cmdline" 2>/dev/null) || continue
    case $words in
        "sh -c trap"*crossnet_drops_*) echo "${place#/proc/} janitor" ;;
        *crossnet_drops_*) echo "${place#/proc/} worker" ;;
    esac
done
"""


def gateway(bench: Bench) -> LabHost:
    return LabHost("gateway", bench.lab.socket("gateway"))


async def mine(host: LabHost) -> list[list[str]]:
    """The processes on the gateway, each with its part in it."""
    return [line.split() for line in (await host.run(["sh", "-c", f"{PROCESSES}:"])).text.splitlines()]


@pytest.mark.parametrize("killed", [(), ("worker",), ("janitor",), ("worker", "janitor")], ids=str)
def test_the_instance_goes_with_what_made_it(
    bench: Bench, eventually: Callable[..., None], killed: tuple[str, ...]
) -> None:
    """The controller may be killed, and who clears up there as well; of all at once the next question clears up."""
    spot = Spot("gateway", Direction.FORWARD, ("eth1",), "eth0", (333,))
    names = list[str]()

    async def ask(killed: tuple[str, ...] = ()) -> None:
        host = gateway(bench)
        dropping = Dropping(host, spot)
        await dropping.start()
        assert dropping.unable is None
        names.append(dropping.name)
        async with asyncio.timeout(10):  # a question waits less for it
            while dropping.name not in await asyncio.to_thread(instances, bench):
                pass
        if killed:
            there = await mine(host)
            assert {who for _, who in there} == {"worker", "janitor"}
            await host.run(["kill", "-9", *(number for number, who in there if who in killed)])
        # Nobody stops it: so it is where the controller has been killed, too.

    asyncio.run(ask(killed))
    if len(killed) == 2:
        assert names[0] in instances(bench)
        asyncio.run(ask())
        assert names[0] not in instances(bench)
    eventually(lambda: names[-1] not in instances(bench), "the instance is gone")
    eventually(lambda: asyncio.run(mine(gateway(bench))) == [], "and whoever was at it")


def test_one_that_is_in_use_is_not_taken_away(bench: Bench) -> None:
    spot = Spot("gateway", Direction.FORWARD, ("eth1",), "eth0", (333,))

    async def both() -> None:
        some = [Dropping(gateway(bench), spot) for _ in range(2)]
        for each in some:
            await each.start()
        names = {each.name for each in some}
        assert names <= await asyncio.to_thread(instances, bench)
        await asyncio.gather(*(each.stop() for each in some))
        assert not names & await asyncio.to_thread(instances, bench)

    asyncio.run(both())


def test_those_that_are_made_at_the_same_moment_do_not_take_each_other_away(bench: Bench) -> None:
    spot = Spot("gateway", Direction.FORWARD, ("eth1",), "eth0", (333,))

    async def all_at_once() -> None:
        some = [Dropping(gateway(bench), spot) for _ in range(12)]
        seen: set[str] = set()

        async def look() -> None:
            while not {each.name for each in some} <= seen:
                seen.update(await asyncio.to_thread(instances, bench))

        looking = asyncio.ensure_future(look())  # a busy machine may make the last when the first has gone
        try:
            await asyncio.gather(*(each.start() for each in some))
            assert [each.unable for each in some] == [None] * 12
            await asyncio.wait_for(looking, 8)  # for which they stand
        finally:
            looking.cancel()
            await asyncio.gather(*(each.stop() for each in some))

    asyncio.run(all_at_once())


def test_one_is_made_also_where_each_of_many_others_takes_it_for_left_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossnet.diagnosis.drops._ARMED", 30.0)  # what is busy here shall not end it
    taken = 'echo >>/tmp/taken; [ "$(wc -l </tmp/taken)" -gt 20 ] || rmdir "$1" || :'
    refused = "[ -e /tmp/refused ] || { : >/tmp/refused; exit 1; }"  # as while somebody's rmdir is under way
    stand_in = f'#!/bin/sh\n{refused}\n/tmp/mkdir "$1" && {{ {taken}; }}\n'
    bench.check("gateway", "cat >/tmp/taking && chmod 755 /tmp/taking", stdin=stand_in.encode())
    bench.check("gateway", 'cp "$(command -v mkdir)" /tmp/mkdir')

    async def once() -> None:
        dropping = Dropping(gateway(bench), Spot("gateway", Direction.FORWARD, ("eth1",), "eth0", (333,)))
        await dropping.start()
        await dropping.stop()
        assert dropping.unable is None

    bench.check("gateway", 'mount --bind /tmp/taking "$(command -v mkdir)"')
    try:
        asyncio.run(once())
    finally:
        bench.check("gateway", 'umount -l "$(command -v mkdir)"')
    assert int(bench.check("gateway", "wc -l </tmp/taken")) > 20


def test_one_of_somebody_else_is_not_taken_away_for_its_name(bench: Bench) -> None:
    place = "/sys/kernel/tracing/instances/crossnet_drops_of_alice"
    inside = "unshare -m sh -c 'mount -t tracefs tracefs /sys/kernel/tracing && {} ".format
    bench.check("gateway", f"{inside('mkdir')} {place}'")

    async def once() -> None:
        dropping = Dropping(gateway(bench), Spot("gateway", Direction.FORWARD, ("eth1",), "eth0", (333,)))
        await dropping.start()
        assert dropping.unable is None
        await dropping.stop()

    asyncio.run(once())
    bench.check("gateway", f"{inside('rmdir')} {place}'")  # it is there


def test_nothing_stays_mounted(bench: Bench) -> None:
    spot = Spot("gateway", Direction.FORWARD, ("eth1",), "eth0", (333,))
    before = bench.check("gateway", "cat /proc/mounts")

    async def once() -> None:
        dropping = Dropping(gateway(bench), spot)
        await dropping.start()
        assert (await gateway(bench).run(["cat", "/proc/mounts"])).text == before
        await dropping.stop()

    asyncio.run(once())
    assert bench.check("gateway", "cat /proc/mounts") == before
