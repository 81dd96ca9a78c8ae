"""Machines that boot without systemd, from OpenRC or SysV init: a crossing comes back, behind its fence, and goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from crossnet.lab.build import Lab
from crossnet.lab.fingerprint import Fingerprint
from crossnet.verdict import Result
from lab.crossing import Bench
from lab.firewalls import archive
from lab.owners import interfaces
from lab.test_commands import CROSSING, Desk, Held, Site
from lab.test_guard_on_systemd import ROUTE, RULES_FILE, cut_off, given_up
from lab.test_transaction import no_lock
from lab.test_until import soon, two, wait_past, waiting

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

# The lab waits for process 1 to say that it has booted, as systemd does (sd_notify(3)).
_BOOTED = "#!/bin/sh\nNOTIFY_SOCKET=/run/host/notify exec systemd-notify --pid=1 --ready\n"
# What holds when the network comes up.
_SEEN = "#!/bin/sh\n{ sysctl -n net.ipv4.ip_forward; nft list tables; iptables-save; } >/root/seen\n"

# As Alpine has them; Debian's own are for SysV.
_SYSCTL = "#!/sbin/openrc-run\ndepend() {\n    before net\n}\nstart() {\n    sysctl --quiet --system\n}\n"
_NETWORKING = """\
#!/sbin/openrc-run
depend() {
    provide net
}
start() {
    ifup -a
}
stop() {
    ifdown -a
}
"""


@dataclass(frozen=True, slots=True)
class Init:
    """Its packages, its inittab(5), what else it needs, and how a script of its own is stopped and started there."""

    packages: tuple[str, ...]
    inittab: str
    files: dict[str, str]
    prepare: str


OPENRC = Init(
    ("openrc", "sysvinit-core", "ifupdown"),
    "s1::sysinit:/sbin/openrc sysinit\ns2::sysinit:/sbin/openrc boot\nl2:2:wait:/sbin/openrc default\n",
    {"/etc/init.d/sysctl": _SYSCTL, "/etc/init.d/networking": _NETWORKING},
    "rm -f /etc/runlevels/*/* && rc-update add sysctl boot && rc-update add networking boot",
)
SYSV = Init(
    ("sysvinit-core", "sysv-rc", "initscripts", "insserv", "ifupdown"),
    "si::sysinit:/etc/init.d/rcS\nl2:2:wait:/etc/init.d/rc 2\n",
    {},
    "insserv",  # so that it has nothing to put right later
)
INITS = pytest.mark.parametrize("init", [OPENRC, SYSV], ids=["openrc", "sysv"])


def write(b: Bench, host: str, path: str, text: str, mode: str = "755") -> None:
    b.check(host, f"cat >{path} && chmod {mode} {path}", stdin=text.encode())


def with_init(b: Bench, init: Init) -> None:
    """The managed hosts boot from it from now on, with ifup for their network."""
    for host in b.managed:
        b.check(host, "tar -xf - -C /", stdin=archive(init.packages).read_bytes())
        inittab = f"id:2:initdefault:\n{init.inittab}nt:2:wait:/usr/local/sbin/booted\n"
        write(b, host, "/etc/inittab", inittab, "644")
        write(b, host, "/etc/network/interfaces", interfaces(b.lab.topology.host(host)), "644")
        write(b, host, "/usr/local/sbin/booted", _BOOTED)
        write(b, host, "/etc/network/if-pre-up.d/seen", _SEEN)
        write(b, host, "/lib/systemd/systemd-networkd-wait-online", "#!/bin/sh\n")
        for path, text in init.files.items():
            write(b, host, path, text)
        b.check(host, init.prepare)
        b.check(host, "mv /lib/systemd/systemd /root")  # systemd-nspawn would take it before /sbin/init
    b.power_cut()


def left(b: Bench, before: Mapping[str, Fingerprint]) -> list[str]:
    """What is otherwise than before, but for what they write anew at each boot, and insserv each time."""
    anew = ("/.depend.", "/random-seed", "/root/seen")
    return [line for line in b.differences(before) if not any(path in line for path in anew)]


@pytest.mark.parametrize(
    ("init", "firewall", "persist"),
    [(OPENRC, "nftables", "auto"), (OPENRC, "iptables", "unit"), (SYSV, "nftables", "unit")],
    ids=["openrc-nftables-ifup", "openrc-iptables", "sysv-nftables"],
)
def test_a_crossing_comes_back_behind_its_fence(
    machines_up: LabUp, init: Init, firewall: str, persist: str
) -> None:
    b = Bench(machines_up("seed"))
    with_init(b, init)
    before = b.fingerprints()
    spec = b.spec(f"to: 10.0.44.0/24, firewall: {firewall}, persist: {persist}")
    assert not b.apply(spec).unwritten

    b.power_cut()

    assert not b.run("gateway", "test -d /run/systemd/system").ok
    assert "crossnet" in b.check("gateway", "cat /root/seen").lower()  # before the network
    assert b.check("gateway", "sysctl -n net.ipv4.ip_forward") == "1\n"
    assert b.pings("app", "10.0.44.1", wait=4)
    assert b.verify(spec).result is Result.REACHABLE
    assert b.plan(spec).is_empty
    assert b.run("app", "test -e /etc/init.d/crossnet").ok == (persist == "unit")

    b.undo(spec)
    assert left(b, before) == []
    assert b.check("gateway", "find /etc /run -name '*crossnet*'") == ""
    b.power_cut()
    assert left(b, before) == []


PLUGINS = "/usr/share/netfilter-persistent/plugins.d"


def test_a_firewall_that_comes_after_the_network_finds_the_gateway_closed_and_makes_no_loop(
    machines_up: LabUp,
) -> None:
    """netfilter-persistent waits for $remote_fs, and so for the network."""
    b = Bench(machines_up("seed"))
    packages = (*SYSV.packages, "netfilter-persistent", "iptables-persistent")
    with_init(b, replace(SYSV, packages=packages))
    empty = "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"
    write(b, "gateway", "/etc/iptables/rules.v4", empty, "644")
    write(b, "gateway", f"{PLUGINS}/50-seen", _SEEN.replace("/root/seen", "/root/flushed"))
    spec = b.spec("to: 10.0.44.0/24, firewall: iptables")
    assert not b.apply(spec).unwritten
    ordered = b.run("gateway", "insserv -n 2>&1")
    assert (ordered.ok, "loop" in ordered.text) == (True, False)

    b.power_cut()

    assert "CROSSNET" in b.check("gateway", "cat /root/seen")  # before the network
    flushed = b.check("gateway", "cat /root/flushed")
    assert flushed.startswith("0\n")
    assert "-A FORWARD" not in flushed
    assert b.pings("app", "10.0.44.1", wait=4)
    assert b.verify(spec).result is Result.REACHABLE
    assert b.plan(spec).is_empty
    b.check("gateway", "netfilter-persistent reload")
    assert b.pings("app", "10.0.44.1", wait=4)
    b.undo(spec)
    assert b.check("gateway", "find /etc /run /usr/share/netfilter-persistent -name '*crossnet*'") == ""


@INITS
def test_a_fence_that_was_cut_leaves_the_gateway_closed(machines_up: LabUp, init: Init) -> None:
    b = Bench(machines_up("seed"))
    with_init(b, init)
    spec = b.spec("to: 10.0.44.0/24, firewall: nftables")
    b.apply(spec)
    b.check("gateway", ": >/etc/crossnet/start")
    b.power_cut()
    assert b.check("gateway", "cat /root/seen").startswith("0\n")
    b.check("gateway", "true >/etc/crossnet/rules.nft")
    assert b.check("gateway", "sysctl -n net.ipv4.ip_forward") == "0\n"
    b.apply(spec)
    b.check("gateway", "true >/etc/crossnet/rules.nft")
    b.power_cut()
    assert b.check("gateway", "cat /root/seen").startswith("0\n")
    assert b.check("gateway", "sysctl -n net.ipv4.ip_forward") == "0\n"


@pytest.fixture
def held(tmp_path: Path, machines_up: LabUp, request: pytest.FixtureRequest) -> Held:
    """Machines that boot from the init that the test names."""
    lab = machines_up("seed")
    with_init(Bench(lab), request.param)
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write(CROSSING)
    return Held(Site(desk, Bench(lab)))


HELD = pytest.mark.parametrize("held", [OPENRC, SYSV], ids=["openrc", "sysv"], indirect=True)


@HELD
def test_a_power_cut_before_the_confirmation_boots_the_old_state(held: Held) -> None:
    bench = held.site.bench
    before = bench.fingerprints()
    given_up(held, ROUTE)
    assert bench.run("gateway", "ls /etc/init.d/crossnet-recover").ok
    bench.power_cut()
    assert no_lock(bench)
    assert left(bench, before) == []
    assert held.site.desk.run("apply", "--yes").code == 0


@HELD
def test_a_power_cut_while_files_are_written_boots_the_new_state(held: Held, eventually: Eventually) -> None:
    desk, bench = held.site.desk, held.site.bench
    before = bench.fingerprints()
    cut_off(held, RULES_FILE, eventually)
    assert "crossnet" in bench.check("gateway", "cat /root/seen")  # the fence, before the network
    assert bench.pings("app", "10.0.44.1", wait=4)
    assert desk.run("status").code == 0
    assert desk.run("undo", "--yes").code == 0
    assert left(bench, before) == []


@INITS
def test_what_was_over_while_it_was_down_is_gone_before_anything_is_loaded(
    machines_up: LabUp, init: Init
) -> None:
    b = Bench(machines_up("seed"))
    with_init(b, init)
    before = b.fingerprints()
    until = soon(15)
    spec = b.spec(two(until, "2036-12-24T18:00Z"))
    assert not b.apply(spec).unwritten
    for host in b.managed:
        b.check(host, "read -r pid _ </var/lib/crossnet/until/watcher && kill -KILL -$pid")
    wait_past(until)
    b.check("gateway", "sed -i 's/list tables/list ruleset/' /etc/network/if-pre-up.d/seen")
    b.power_cut()
    seen = b.check("gateway", "cat /root/seen")
    assert "web" in seen
    assert "business" not in seen
    assert b.plan(spec).touched == ()
    for host in b.managed:
        assert len(waiting(b, host)) == 1, "somebody waits for the other time"
    b.undo(spec)
    assert [line for line in left(b, before) if "if-pre-up.d/seen" not in line] == []
