"""A crossing through a gateway whose firewalld rejects what it does not know, with the real one on a real systemd."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import crossnet
from crossnet.errors import PlanRefused
from crossnet.health import State
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.resources import Command, FirewalldPolicy, Step
from lab.crossing import Bench
from lab.firewalls import Firewall
from lab.test_commands import CROSSING, Desk
from lab.test_fence_in_time import TARGETS, TO, Fire, under_fire, with_outsider
from lab.test_machine import pull_the_plug, restart
from lab.test_transaction import no_lock

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

PORT, OTHER = 8080, 8081
ALLOW = f"{TO}, allow: [icmp, tcp/{PORT}]"
REJECTING = Firewall("firewalld", ("firewalld",))
STATE = (
    "firewall-cmd --list-all-zones; firewall-cmd --list-all-policies; firewall-cmd --get-active-zones; "
    "firewall-cmd --direct --get-all-rules; firewall-cmd --permanent --list-all-zones; "
    "firewall-cmd --permanent --list-all-policies; find /etc/firewalld -type f -exec sha256sum {} + | sort; "
    "nft -s list table inet firewalld 2>/dev/null; "
    # The order of chains is nobody's.
    "for x in iptables ip6tables; do $x-save | sed '/^#/d; s/ [[][0-9:]*[]]//' | sort -s -k 1,2; done"
)

backends = pytest.mark.parametrize("backend", ["nftables", "iptables"])


def beside_firewalld(lab: Lab, backend: str, *, start: bool = True) -> Fire:
    """The clients' side in a zone by its interface, and the other in none, so in the default zone."""
    fire = under_fire(lab)
    b = fire.bench
    REJECTING.install(b)
    b.check(
        "gateway",
        f"sed -i s/^FirewallBackend=.*/FirewallBackend={backend}/ /etc/firewalld/firewalld.conf; "
        "firewall-offline-cmd --zone=internal --change-interface=eth1",
    )
    for port in (PORT, OTHER):
        for six in ("", "-6"):
            b.check("target", f"nc {six} -lk {port} >/dev/null 2>&1 & sleep 0")
    if start:
        b.check("gateway", "systemctl enable --now firewalld && firewall-cmd --state")
    return fire


def works(b: Bench) -> bool:
    return all(b.pings("app", each) and b.connects("app", each, PORT) for each in TARGETS)


@contextmanager
def as_before(b: Bench, eventually: Eventually) -> Iterator[None]:
    before = b.check("gateway", STATE)
    yield
    # firewalld watches its files, and tells of one that is gone for a moment more.
    eventually(lambda: b.check("gateway", STATE) == before, "all of firewalld's is as before")
    assert b.check("gateway", "find /etc -name '*crossnet*'") == ""


@backends
def test_a_crossing_passes_and_stays(machines_up: LabUp, eventually: Eventually, backend: str) -> None:
    fire = beside_firewalld(machines_up(with_outsider()), backend)
    b = fire.bench
    spec = b.spec(ALLOW)
    with as_before(b, eventually), fire.burning():
        plan = b.plan(spec)
        assert plan.engines["gateway"].engine is Engine.NFTABLES
        assert any("policy crossnet" in change.description for _, change in plan.changes)
        b.apply(spec)
        assert works(b)
        assert not any(b.connects("app", each, OTHER) for each in TARGETS)
        assert b.plan(spec).is_empty
        for command in (
            "firewall-cmd --reload",
            "firewall-cmd --complete-reload",
            "systemctl reload firewalld",
            "systemctl restart firewalld",
            "systemctl stop firewalld; systemctl start firewalld",
        ):
            b.check("gateway", command)
            eventually(lambda: works(b), f"the crossing works after {command}")
            eventually(lambda: b.plan(spec).is_empty, f"all is as applied after {command}")
        wider = b.spec(f"{TO}, allow: [icmp, tcp/{PORT}-{OTHER}]")
        b.apply(wider)
        assert works(b)
        assert all(b.connects("app", each, OTHER) for each in TARGETS)
        b.undo(wider)
        assert not any(b.connects("app", each, PORT) for each in TARGETS)


@backends
def test_nothing_is_taken_from_others(machines_up: LabUp, eventually: Eventually, backend: str) -> None:
    """A plan that would need a reload is refused as long as that would undo what others have in force."""
    fire = beside_firewalld(machines_up(with_outsider()), backend)
    b = fire.bench
    spec = b.spec(f"{ALLOW}, persist: none")
    b.check("gateway", "firewall-cmd --zone=public --add-service=http")
    with pytest.raises(PlanRefused, match=r"zone public: services http .*firewalld-reload"):
        b.plan(spec)
    b.check("gateway", "firewall-cmd --zone=public --remove-service=http")
    b.check("gateway", "iptables -A INPUT -s 192.0.2.1 -j DROP")
    with pytest.raises(PlanRefused, match=r"-s 192.0.2.1/32 -j DROP .*firewalld-reload"):
        b.plan(spec)
    b.check("gateway", "iptables -D INPUT -s 192.0.2.1 -j DROP")
    b.check(
        "gateway",
        "firewall-cmd --permanent --new-policy=crossnet && "
        "firewall-cmd --permanent --policy=crossnet --add-ingress-zone=internal && "
        "firewall-cmd --permanent --policy=crossnet --add-egress-zone=public && "
        "firewall-cmd --permanent --policy=crossnet "
        "--add-rich-rule='rule family=ipv4 source address=10.0.43.99 accept' && firewall-cmd --reload",
    )
    with pytest.raises(PlanRefused, match=r"crossnet did not make .*firewalld-name-taken"):
        b.plan(spec)
    gone = "firewall-cmd --permanent --delete-policy=crossnet && firewall-cmd --reload"
    b.check("gateway", f"{gone}; rm -f /etc/firewalld/policies/crossnet.xml.old")  # which firewalld leaves
    with as_before(b, eventually):
        b.apply(spec)
        assert works(b)
        assert b.check("gateway", "ls /etc/firewalld/policies") == ""
        # What others do meanwhile stays theirs: the undo reloads nothing.
        b.check("gateway", "firewall-cmd --zone=public --add-service=http")
        b.undo(spec)
        assert not any(b.connects("app", each, PORT) for each in TARGETS)
        assert b.check("gateway", "firewall-cmd --zone=public --query-service=http") == "yes\n"
        assert b.check("gateway", "firewall-cmd --policy=crossnet --list-rich-rules").strip() == ""
        b.check("gateway", "firewall-cmd --reload")


def test_firewalld_comes_later(machines_up: LabUp, eventually: Eventually) -> None:
    fire = beside_firewalld(machines_up(with_outsider()), "nftables", start=False)
    b = fire.bench
    spec = b.spec(ALLOW)
    b.apply(spec)
    assert works(b)
    with fire.burning():
        b.check("gateway", "systemctl enable --now firewalld && firewall-cmd --state")
        eventually(lambda: b.run("gateway", "systemctl is-active crossnet").ok, "it is open again")
        assert not any(b.connects("app", each, PORT) for each in TARGETS)
        (now,) = asyncio.run(crossnet.status(spec))
        assert now.state is State.DRIFTED
        assert any("would add firewalld policy crossnet" in reason for reason in now.reasons)
        assert not any(b.connects("app", each, PORT) for each in TARGETS)
        b.apply(spec)
        assert works(b)
        for reboot in (restart, pull_the_plug):
            reboot(b, eventually)
            eventually(lambda: works(b), "the crossing works after a reboot")
            eventually(lambda: b.plan(spec).is_empty, "all is as applied")
        b.check("gateway", "systemctl disable --now firewalld")
    b.apply(spec)
    b.undo(spec)
    assert b.check("gateway", "find /etc -name '*crossnet*'") == ""


def test_a_boot_lets_nobody_in_before_firewalld_has_its_rules(
    machines_up: LabUp, eventually: Eventually
) -> None:
    """A zone that translates has firewalld switch forwarding on: a file does so before, and without firewalld too."""
    b = Bench(machines_up("seed"))
    REJECTING.install(b)
    b.check("gateway", "firewall-offline-cmd --zone=internal --change-interface=eth1")
    b.check("gateway", "firewall-offline-cmd --zone=external --change-interface=eth0")
    b.check("gateway", "systemctl enable --now firewalld && firewall-cmd --state")
    assert b.check("gateway", "sysctl -n net.ipv4.ip_forward") == "1\n"
    watch = (
        "chain in { type filter hook input priority 0; ip saddr 10.0.44.1 ct direction original counter; }"
    )
    b.check("app", f"nft 'table inet watch {{ {watch}; }}'")
    b.check("target", "ip route replace 10.0.43.0/24 via 10.0.44.63")
    b.check("target", "while :; do timeout 5 ping -q -i 0.05 10.0.43.15; sleep 0.05; done >/dev/null 2>&1 &")
    spec = b.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1")
    b.apply(spec)
    for unit, state in (("enable", State.UP), ("disable", State.DRIFTED)):
        b.check("gateway", f"systemctl {unit} firewalld")
        asyncio.run(build.reboot(b.lab, "gateway"))
        if state is State.UP:
            eventually(lambda: b.pings("app", "10.0.44.1"), "the crossing works when firewalld has its rules")
        b.check("target", "ping -q -c 40 -i 0.05 -w 5 10.0.43.15; true")
        assert "counter packets 0 " in b.check("app", "nft list table inet watch")
        (now,) = asyncio.run(crossnet.status(spec))
        assert now.state is state


@backends
def test_a_step_that_is_cut_short_is_put_back(
    machines_up: LabUp, eventually: Eventually, backend: str
) -> None:
    """Killed at any moment, in either direction: the step back leaves nothing, or what was there."""
    fire = beside_firewalld(machines_up(with_outsider()), backend)
    b = fire.bench
    rule = 'rule family="ipv4" source address="10.0.43.15/32" destination address="10.0.44.0/24" accept'
    policy = FirewalldPolicy(("internal",), ("ANY",), (rule,), may_reload=True)
    (make,) = FirewalldPolicy.render(None, policy)
    (take,) = FirewalldPolicy.render(policy, None)
    (look,) = policy.look()

    def run(step: Step, seconds: float | None = None) -> None:
        assert isinstance(step, Command)
        words = shlex.join(step.argv)
        limit = f"timeout -s KILL {seconds} " if seconds else ""
        done = b.run("gateway", f"{limit}{words}", stdin=step.stdin)
        assert seconds or done.ok, done.error_text

    def answer() -> str:
        assert isinstance(look, Command)
        return b.check("gateway", shlex.join(look.argv), stdin=look.stdin)

    with as_before(b, eventually):
        for tenths in range(1, 60, 6):
            run(make, tenths / 10)
            run(take)
            assert answer() == ""
            assert b.check("gateway", "ls -A /etc/firewalld/policies") == ""
    kept = f"<!-- others -->\n{policy.xml}"
    run(make)
    there = answer()
    assert rule in there
    b.check("gateway", "cat >/etc/firewalld/policies/crossnet.xml", stdin=kept.encode())
    for tenths in range(1, 60, 6):
        run(take, tenths / 10)
        run(make)
        assert answer() == there
        assert b.check("gateway", "cat /etc/firewalld/policies/*") == kept


# Before the real one, which takes a while, and says nothing.
_HOLDS = """\
#!/bin/sh
[ "$*" != --reload ] || { mkdir /tmp/reached && exec sleep 600; }
exec /tmp/firewall-cmd "$@"
"""


def cut_off_at_the_reload(b: Bench, desk: Desk, eventually: Eventually, command: str) -> None:
    """A power cut of the gateway while firewalld is reloaded; whoever changes it takes the rest back."""
    b.check(
        "gateway",
        "cp /usr/bin/firewall-cmd /tmp && cat >/tmp/holds && chmod 755 /tmp/holds",
        stdin=_HOLDS.encode(),
    )
    b.check("gateway", "mount --bind /tmp/holds /usr/bin/firewall-cmd")
    with desk.start(command, "--yes") as process:
        while not b.run("gateway", "test -d /tmp/reached").ok:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        asyncio.run(build.reboot(b.lab, "gateway"))
        process.communicate(timeout=120)
    eventually(lambda: no_lock(b), "both hosts finish")
    eventually(lambda: b.run("gateway", "firewall-cmd --state").ok, "firewalld runs")


def test_a_power_cut_while_firewalld_is_reloaded_boots_the_old_state(
    tmp_path: Path, machines_up: LabUp, eventually: Eventually
) -> None:
    b = Bench(machines_up("seed"))
    REJECTING.install(b)
    b.check("gateway", "firewall-offline-cmd --zone=internal --change-interface=eth1")
    b.check("gateway", "systemctl enable --now firewalld && firewall-cmd --state")
    desk = Desk(tmp_path, {"CROSSNET_LAB": b.lab.name})
    desk.write(CROSSING)

    cut_off_at_the_reload(b, desk, eventually, "apply")
    assert b.check("gateway", "ls -A /etc/firewalld/policies") == ""
    assert desk.run("apply", "--yes").code == 0
    policy = b.check("gateway", "cat /etc/firewalld/policies/crossnet.xml")

    cut_off_at_the_reload(b, desk, eventually, "undo")
    assert b.check("gateway", "cd /etc/firewalld/policies && ls -A && cat *") == f"crossnet.xml\n{policy}"
    eventually(lambda: b.pings("app", "10.0.44.1"), "the crossing is back")
    assert desk.run("status").code == 0
    assert desk.run("undo", "--yes").code == 0
    assert b.check("gateway", "find /etc -name '*crossnet*'") == ""
