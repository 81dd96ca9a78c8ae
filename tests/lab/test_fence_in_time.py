"""No instant without the fence: rules are loaded again, jumps moved and firewalls flushed under an outsider's fire."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_interface, ip_network
from itertools import product

import pytest

from crossnet.lab.build import Lab, reboot
from crossnet.lab.topology import Host, Interface, Route, Topology, load
from crossnet.netfilter import Engine
from crossnet.spec import Spec
from lab.crossing import Bench
from lab.engines import WITH_IPTABLES_NFT

pytestmark = pytest.mark.lab

START = "sh /etc/crossnet/start"
# What systemd runs when the unit is stopped; nothing where the unit names nothing.
STOP = "sh -c \"$(sed -n 's/^ExecStop=//p' /etc/systemd/system/crossnet.service)\""
TARGETS = ("10.0.44.1", "fd00:44::1")
# Every millisecond a packet in each family; it tells its number when it fires, and at its end what it sent in each.
# ping waits ten for an answer.
GUN = """
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6);
socket($four, AF_INET, SOCK_DGRAM, 0); socket($six, AF_INET6, SOCK_DGRAM, 0);
$to_four = pack_sockaddr_in(9, inet_pton(AF_INET, $ARGV[0]));
$to_six = pack_sockaddr_in6(9, inet_pton(AF_INET6, $ARGV[1]));
$SIG{TERM} = sub { $over = 1 };
$| = 1;
@sent = (0, 0);
until ($over and $sent[0] >= 500 and $sent[1] >= 500) {
    $sent[0]++ if send($four, "x", 0, $to_four);
    $sent[1]++ if send($six, "x", 0, $to_six);
    print "$$\n" unless $fires++;
    select(undef, undef, undef, 0.001);
}
print "@sent\n";
"""
# It has fired when this ends.
FIRE = f"""
rm -f /run/gun
perl -e '{GUN}' {" ".join(TARGETS)} >/run/gun 2>&1 &
until [ -s /run/gun ]; do kill -0 $! || exit; sleep 0.01; done
"""
CEASE = """
read -r gun </run/gun && kill "$gun" || { cat /run/gun >&2; exit 1; }
while [ -e "/proc/$gun" ]; do sleep 0.05; done
sed 1d /run/gun
"""
TO = "to: [10.0.44.0/24, 'fd00:44::/64']"


def with_outsider() -> Topology:
    """A neighbour of app who knows the way through the gateway; and the target knows the way back to both."""
    topology = load("seed-dual")
    addresses = tuple(ip_interface(each) for each in ("10.0.43.77/24", "fd00:43::77/64"))
    routes = tuple(
        Route(ip_network(to), ip_interface(via).ip)
        for to, via in (("10.0.44.0/24", "10.0.43.101"), ("fd00:44::/64", "fd00:43::101"))
    )
    outsider = Host("outsider", "bystander", (Interface("eth0", "management", addresses),), routes)
    back = tuple(
        Route(ip_network(to), ip_interface(via).ip)
        for to, via in (("10.0.43.0/24", "10.0.44.63"), ("fd00:43::/64", "fd00:44::63"))
    )
    hosts = tuple(
        replace(host, routes=(*host.routes, *back)) if host.name == "target" else host
        for host in topology.hosts
    )
    return replace(topology, hosts=(*hosts, outsider))


@dataclass
class Fire:
    """An outsider's packets in both families, all the while; the target counts those that arrive."""

    bench: Bench

    def arrived(self) -> list[int]:
        """How many of each family."""
        listed = self.bench.check("target", "nft list table inet watch")
        return [int(number) for number in re.findall(r"counter packets (\d+)", listed)]

    @contextmanager
    def burning(self) -> Iterator[None]:
        """At least 500 packets in each family, and a failure when one of them arrives."""
        before = self.arrived()
        self.bench.check("outsider", FIRE)
        yield
        sent = [int(number) for number in self.bench.check("outsider", CEASE).split()]
        assert len(sent) == 2
        assert min(sent) >= 500
        arrived = [now - then for now, then in zip(self.arrived(), before, strict=True)]
        assert arrived == [0, 0], f"of {sent}"
        logging.getLogger(__name__).info("none of %s packets arrived", sum(sent))


def under_fire(lab: Lab) -> Fire:
    b = Bench(lab)
    sources = ("ip saddr 10.0.43.77 counter", "ip6 saddr fd00:43::77 counter")
    rules = "; ".join(sources)
    b.check(
        "target", f"nft 'table inet watch {{ chain in {{ type filter hook input priority 0; {rules}; }}; }}'"
    )
    return Fire(b)


def with_engine(b: Bench, engine: Engine) -> None:
    """The gateway's `iptables` is the one of this engine."""
    if engine is Engine.IPTABLES_LEGACY:
        for plain in ("iptables", "ip6tables"):
            b.check("gateway", f"ln -sf /usr/sbin/{plain}-legacy /etc/alternatives/{plain}")
            b.check("gateway", f"ln -sf /usr/sbin/{plain}-legacy-restore /etc/alternatives/{plain}-restore")


def applied(b: Bench, engine: Engine, to: str = TO) -> Spec:
    with_engine(b, engine)
    spec = b.spec(f"{to}, firewall: {'iptables' if engine.is_iptables else 'nftables'}")
    b.apply(spec)
    return spec


def flush(engine: Engine) -> str:
    """What the stop of a firewall's unit does, in both families."""
    if engine is Engine.NFTABLES:
        return "nft flush ruleset"
    variant = engine.removeprefix("iptables")
    tools = (
        f"{name}{variant} -t {table} {does}"
        for name in ("iptables", "ip6tables")
        for table in ("filter", "nat", "mangle")
        for does in ("-F", "-X")
    )
    return "\n".join(tools)


@pytest.mark.parametrize("engine", WITH_IPTABLES_NFT)
def test_nobody_passes_while_rules_are_loaded_again(lab_up: Callable[..., Lab], engine: Engine) -> None:
    fire = under_fire(lab_up(with_outsider()))
    b = fire.bench
    spec = applied(b, engine)
    with fire.burning():
        for _ in range(6):
            b.check("gateway", START)
            b.check("gateway", f"{START} rules")
        # As a restart of a firewall's unit does it.
        b.check("gateway", f"{STOP}\n{flush(engine)}\nsleep 0.1\n{START}")
        assert b.pings("app", TARGETS[0])
        # As a boot does it whose rules cannot be loaded, and a unit that loads them again: nobody passes then.
        for start in (START, f"{START} rules"):
            b.check(
                "gateway",
                "mv /etc/crossnet /etc/kept; mkdir /etc/crossnet; cp /etc/kept/start /etc/crossnet/",
            )
            assert not b.run("gateway", start).ok
            b.check("gateway", flush(engine))
            assert not b.pings("app", TARGETS[0])
            b.check("gateway", f"rm -r /etc/crossnet; mv /etc/kept /etc/crossnet; {START}")
    for target in TARGETS:
        assert b.pings("app", target)
    assert b.plan(spec).is_empty


# What a power cut, a full disk or a hand may leave of a file, without an error for the tool that loads it.
SPOILED = {
    "emptied": ": >{file}",
    "without its fence": "sed -i '/{drop}/d' {file}",
    "with one character more": "echo >>{file}",
}


@pytest.mark.parametrize("engine", WITH_IPTABLES_NFT)
def test_a_file_that_is_not_as_it_was_written_opens_nothing_at_boot(
    lab_up: Callable[..., Lab], engine: Engine
) -> None:
    b = Bench(lab_up(with_outsider()))
    spec = applied(b, engine, "to: [10.0.44.1, 10.0.44.2, 'fd00:44::1', 'fd00:44::2']")
    drop = "DROP" if engine.is_iptables else "drop"
    files = b.check("gateway", "ls /etc/crossnet/*.* /etc/sysctl.d/99-zz-crossnet.conf").split()
    assert len(files) == (5 if engine.is_iptables else 2)
    for file, (name, spoil) in product(files, SPOILED.items()):
        b.check("gateway", f"cp {file} /etc/kept; {spoil.format(file=file, drop=drop)}")
        if b.run("gateway", f"cmp -s {file} /etc/kept").ok:
            assert name == "without its fence"
            continue
        asyncio.run(reboot(b.lab, "gateway"))
        if file.startswith("/etc/crossnet/"):
            forwards = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
            assert b.check("gateway", forwards) == "0\n0\n", (file, name)
        assert not any(b.pings("outsider", target) for target in TARGETS)
        started = b.run("gateway", START)
        assert not started.ok
        assert f"crossnet: {file} is not loaded: " in started.error_text
        assert not b.plan(spec).is_empty
        if name == "emptied":
            b.apply(spec)
        else:
            b.check("gateway", f"cat /etc/kept >{file}; {START}")
    assert b.pings("app", TARGETS[0], wait=4)
    assert not b.pings("outsider", TARGETS[0])
    assert b.plan(spec).is_empty
    # A host that lost the tool that tells cannot tell, and stays closed.
    b.check("gateway", "mkdir /run/lacks; ln -s /bin/false /run/lacks/sha256sum")
    assert not b.run("gateway", f"PATH=/run/lacks:$PATH {START} rules").ok
    assert b.check("gateway", "cat /proc/sys/net/ipv4/ip_forward") == "0\n"


def test_a_start_script_that_was_emptied_opens_nothing_at_boot(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up(with_outsider()))
    spec = applied(b, Engine.NFTABLES, "to: [10.0.44.1, 10.0.44.2, 'fd00:44::1', 'fd00:44::2']")
    b.check("gateway", f": >{START.removeprefix('sh ')}")
    asyncio.run(reboot(b.lab, "gateway"))
    forwards = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
    assert b.check("gateway", forwards) == "0\n0\n"
    assert not any(b.pings("outsider", target) for target in TARGETS)
    b.apply(spec)
    assert b.pings("app", TARGETS[0], wait=4)
    assert not b.pings("outsider", TARGETS[0])


# A tool that loads rules, and then takes its time.
SLOW = """
mkdir /run/slow
printf '#!/bin/sh\\n%s "$@" || exit\\ntouch /run/loaded\\nsleep 0.3\\n' "$(command -v nft)" >/run/slow/nft
chmod +x /run/slow/nft
"""
OVERTAKEN = """
PATH=/run/slow:$PATH {start} &
for _ in $(seq 500); do [ -e /run/loaded ] && break; sleep 0.01; done
[ -e /run/loaded ] || exit
{stop}
{flush}
wait
"""


def test_a_start_that_is_overtaken_does_not_open(lab_up: Callable[..., Lab]) -> None:
    """A firewall is stopped when the rules are loaded already, and forwarding is not on yet."""
    fire = under_fire(lab_up(with_outsider()))
    b = fire.bench
    spec = applied(b, Engine.NFTABLES)
    b.check("gateway", SLOW)
    with fire.burning():
        b.check("gateway", STOP)
        b.check("gateway", OVERTAKEN.format(start=START, stop=STOP, flush=flush(Engine.NFTABLES)))
        assert not b.pings("app", TARGETS[0])
        b.check("gateway", START)
    for target in TARGETS:
        assert b.pings("app", target)
    assert b.plan(spec).is_empty
    assert b.check("gateway", "find /run -name 'crossnet*'") == ""


@pytest.mark.parametrize("engine", [Engine.IPTABLES_NFT, Engine.IPTABLES_LEGACY])
def test_nobody_passes_while_a_jump_is_moved(lab_up: Callable[..., Lab], engine: Engine) -> None:
    """Others put theirs in front again and again: the unit, and an apply, bring the jump back to the top."""
    fire = under_fire(lab_up(with_outsider()))
    b = fire.bench
    spec = applied(b, engine)
    variant = engine.removeprefix("iptables")
    in_front = "\n".join(
        f"{name}{variant} -w -I FORWARD -i eth9 -j RETURN" for name in ("iptables", "ip6tables")
    )
    with fire.burning():
        for _ in range(8):
            b.check("gateway", f"{in_front}\n{START} rules")
        assert b.plan(spec).is_empty
        b.check("gateway", in_front)
        assert not b.plan(spec).is_empty
        b.apply(spec)
    listed = b.check("gateway", f"iptables{variant} -S FORWARD")
    assert listed.count("CROSSNET-FORWARD") == 1
    assert listed.count("-i eth9 -j RETURN") == 9
    assert b.pings("app", TARGETS[0])


def test_the_fire_would_arrive(lab_up: Callable[..., Lab]) -> None:
    """What the other tests count is there to be counted: without the fence every packet arrives."""
    fire = under_fire(lab_up(with_outsider()))
    applied(fire.bench, Engine.NFTABLES)
    fire.bench.check("gateway", "nft delete table ip crossnet; nft delete table ip6 crossnet")
    with pytest.raises(AssertionError, match=r"of \["), fire.burning():
        assert fire.bench.pings("outsider", TARGETS[0])
    # The first ones may wait in vain for the next hop's address.
    assert min(fire.arrived()) >= 400


# One packet of one and the same flow.
SHOT = (
    "perl -MSocket=:DEFAULT,inet_pton -e '"
    "socket($s, AF_INET, SOCK_DGRAM, 0); bind($s, pack_sockaddr_in(5000, INADDR_ANY)) or die;"
    ' send($s, "x", 0, pack_sockaddr_in(9, inet_pton(AF_INET, "10.0.44.1"))) or die\''
)


@pytest.mark.parametrize("engine", WITH_IPTABLES_NFT)
def test_a_flow_that_began_without_the_rules_is_translated_with_them(
    lab_up: Callable[..., Lab], engine: Engine
) -> None:
    """Where somebody else translates too, connection tracking keeps for its life that it was not translated."""
    b = Bench(lab_up("seed"))
    legacy = "-legacy" if engine is Engine.IPTABLES_LEGACY else ""
    b.check("gateway", f"iptables{legacy} -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE")
    applied(b, engine, "to: 10.0.44.0/24")
    rules = "ip saddr 10.0.43.15 udp dport 9 counter; ip saddr 10.0.44.63 udp dport 9 counter"
    b.check(
        "target", f"nft 'table ip watch {{ chain in {{ type filter hook input priority 0; {rules}; }}; }}'"
    )

    def seen() -> list[int]:
        """What came with the client's source, and with the gateway's."""
        listed = b.check("target", "nft list table ip watch")
        return [int(number) for number in re.findall(r"counter packets (\d+)", listed)]

    assert b.pings("app", TARGETS[0], wait=4)
    b.check("gateway", flush(engine) if engine.is_iptables else "nft delete table ip crossnet")
    b.check("app", SHOT)
    assert seen() == [1, 0]
    b.check("gateway", START)
    b.check("app", SHOT)
    assert seen() == [1, 1]
