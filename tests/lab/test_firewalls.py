"""Nobody passes while firewalls of others flush the fence by their units, on a real systemd."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.show.text import verification_text
from lab.crossing import Bench
from lab.firewalls import FIREWALLD, IPTABLES, NETFILTER_PERSISTENT, NFTABLES, SHOREWALL, UFW, Firewall
from lab.smoke import SMOKE
from lab.test_fence_in_time import TARGETS, Fire, applied, under_fire, with_outsider
from lab.test_machine import pull_the_plug, restart

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

FORWARDING = "sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding"
# Those that flush crossnet's rules, with the engine whose rules they flush.
FLUSHING = {
    "nftables": (NFTABLES, Engine.NFTABLES),
    "iptables-nft": (IPTABLES, Engine.IPTABLES_NFT),
    "iptables-legacy": (IPTABLES, Engine.IPTABLES_LEGACY),
    "netfilter-persistent": (NETFILTER_PERSISTENT, Engine.IPTABLES_NFT),
    "firewalld": (FIREWALLD, Engine.IPTABLES_NFT),
    "shorewall": (SHOREWALL, Engine.IPTABLES_NFT),
}
flushing = pytest.mark.parametrize(("firewall", "engine"), list(FLUSHING.values()), ids=list(FLUSHING))


def with_firewall(lab: Lab, firewall: Firewall) -> Fire:
    fire = under_fire(lab)
    firewall.install(fire.bench)
    return fire


def works(b: Bench) -> bool:
    return all(b.pings("app", target) for target in TARGETS)


@flushing
def test_nobody_passes_when_a_firewall_is_started_for_the_first_time(
    machines_up: LabUp, eventually: Eventually, firewall: Firewall, engine: Engine
) -> None:
    """Nothing of the fence was stopped before. And what is stopped with a firewall comes back with it."""
    fire = with_firewall(machines_up(with_outsider()), firewall)
    b, unit = fire.bench, firewall.unit
    spec = applied(b, engine)
    verbs = ["restart", "try-restart", "reload-or-restart", *(["reload"] if firewall.reloads else [])]
    with fire.burning():
        b.check("gateway", f"systemctl start {unit}")
        eventually(lambda: works(b), "the crossing works after the first start")
        # Some run what is not theirs when they have loaded their rules; that is written with the next apply.
        assert all(change.resource.is_persistent for _, change in b.plan(spec).changes)
        b.apply(spec)
        for verb in verbs:
            b.check("gateway", f"for _ in 1 2 3; do systemctl {verb} {unit}; done")
            eventually(lambda: works(b), f"the crossing works after a {verb}")
        assert b.plan(spec).is_empty

        for again in ("start", "restart"):
            b.check("gateway", f"systemctl stop {unit}")
            assert b.check("gateway", FORWARDING) == "0\n0\n"
            assert not b.pings("app", TARGETS[0])
            b.check("gateway", f"systemctl try-restart {unit}")
            assert b.check("gateway", FORWARDING) == "0\n0\n"
            b.check("gateway", f"systemctl {again} {unit}")
            eventually(lambda: works(b), f"the crossing works by itself after a stop and a {again}")
        assert b.plan(spec).is_empty
    b.undo(spec)
    # Units that stood beside a transaction are stopped when it has ended.
    eventually(
        lambda: b.check("gateway", "systemctl list-units --no-legend 'crossnet*'") == "", "no unit is left"
    )
    assert (
        b.check("gateway", "find /etc -name '*crossnet*'; ls -d /etc/systemd/system/*.service.wants || :")
        == ""
    )


@pytest.mark.parametrize(
    ("firewall", "engine"),
    [
        pytest.param(*row, id=name, marks=SMOKE if name == "nftables" else ())
        for name, row in FLUSHING.items()
    ],
)
def test_nobody_passes_while_a_firewall_is_restarted(
    machines_up: LabUp, eventually: Eventually, firewall: Firewall, engine: Engine
) -> None:
    fire = with_firewall(machines_up(with_outsider()), firewall)
    b, unit = fire.bench, firewall.unit
    b.check("gateway", f"systemctl enable --now {unit}")
    verbs = ["restart", "try-restart", "reload-or-restart", *(["reload"] if firewall.reloads else [])]
    with fire.burning():
        spec = applied(b, engine)
        for verb in verbs:
            for _ in range(8):
                b.check("gateway", f"systemctl {verb} {unit}")
            eventually(lambda: works(b), f"the crossing works after {verb}")
        assert b.plan(spec).is_empty

        b.check("gateway", f"systemctl stop {unit}")
        assert b.check("gateway", FORWARDING) == "0\n0\n"
        assert any("is not running" in change.description for _, change in b.plan(spec).changes)
        b.apply(spec)
        eventually(lambda: works(b), "the crossing works when it is applied again")
        b.check("gateway", f"systemctl start {unit}")
        eventually(lambda: works(b), "the crossing works when the firewall is started after that")
        assert b.plan(spec).is_empty

        for reboot in (restart, pull_the_plug):
            reboot(b, eventually)
            eventually(lambda: works(b), "the crossing works after a reboot")
            assert b.plan(spec).is_empty
        b.undo(spec)
    # Units that stood beside a transaction are stopped when it has ended.
    eventually(
        lambda: b.check("gateway", "systemctl list-units --no-legend 'crossnet*'") == "", "no unit is left"
    )
    assert b.check("gateway", "find /etc -name '*crossnet*'") == ""
    assert b.check("gateway", "systemctl is-system-running") == "running\n"
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")
    b.check("gateway", f"systemctl restart {unit}")
    # Nothing of crossnet closes it any more.
    assert b.check("gateway", "sysctl -n net.ipv4.ip_forward") == "1\n"


def test_the_advice_about_a_firewall_that_was_stopped_is_to_start_it(
    machines_up: LabUp, eventually: Eventually
) -> None:
    """Forwarding by hand would open the gateway for everybody; an apply opens it without that firewall's rules."""
    fire = with_firewall(machines_up(with_outsider()), NFTABLES)
    b = fire.bench
    spec = applied(b, Engine.NFTABLES)
    with fire.burning():
        b.check("gateway", "systemctl start nftables")
        eventually(lambda: works(b), "the crossing works with it")
        b.check("gateway", "systemctl stop nftables")
        told = verification_text(b.verify(spec))
        assert "fix on gateway:  systemctl start nftables\n" in told
        assert "with crossnet:  `crossnet apply`" in told
        assert "sysctl -w" not in told
        b.check("gateway", "systemctl start nftables")
        eventually(lambda: works(b), "the crossing works when it was started as advised")


def test_nobody_passes_in_rescue_mode_and_back(machines_up: LabUp, eventually: Eventually) -> None:
    fire = with_firewall(machines_up(with_outsider()), NFTABLES)
    b = fire.bench
    b.check("gateway", "systemctl enable --now nftables")
    spec = applied(b, Engine.NFTABLES)
    with fire.burning():
        b.check("gateway", "systemctl isolate rescue.target")
        assert b.check("gateway", FORWARDING) == "0\n0\n"
        b.check("gateway", "systemctl restart nftables; systemctl reload nftables")
        assert b.check("gateway", FORWARDING) == "0\n0\n"
        assert b.run("gateway", "systemctl is-active crossnet").text == "inactive\n"
        b.check("gateway", "systemctl isolate multi-user.target")
        eventually(lambda: works(b), "the crossing works when the host is up again")
        assert b.plan(spec).is_empty
        # Of a target that does not want the firewall it is stopped.
        b.check("gateway", "systemctl disable nftables; systemctl isolate multi-user.target")
        assert b.check("gateway", FORWARDING) == "0\n0\n"
        b.check("gateway", "systemctl start nftables")
        eventually(lambda: works(b), "the crossing works when the firewall is started")
    assert b.plan(spec).is_empty


def test_nobody_passes_when_one_firewall_takes_the_place_of_another(
    machines_up: LabUp, eventually: Eventually
) -> None:
    """firewalld is in conflict with nftables: each start of the one stops the other, also when that does not run."""
    fire = with_firewall(machines_up(with_outsider()), FIREWALLD)
    b = fire.bench
    spec = applied(b, Engine.NFTABLES)
    with fire.burning():
        for unit in ("nftables", "firewalld", "nftables", "firewalld"):
            b.check("gateway", f"systemctl start {unit}")
            eventually(lambda: works(b), f"the crossing works with {unit}")
            b.check("gateway", f"systemctl restart {unit}")
            eventually(lambda: works(b), f"the crossing works with {unit} restarted")
        b.check("gateway", "systemctl kill -s KILL firewalld")
        eventually(lambda: not b.run("gateway", "systemctl is-active firewalld").ok, "firewalld is gone")
        b.check("gateway", "systemctl reset-failed firewalld; systemctl start firewalld")
        eventually(lambda: works(b), "the crossing works with a firewalld that was killed")
    assert b.plan(spec).is_empty


@pytest.mark.parametrize("engine", [Engine.NFTABLES, Engine.IPTABLES_NFT])
def test_ufw_leaves_the_fence(machines_up: LabUp, eventually: Eventually, engine: Engine) -> None:
    fire = with_firewall(machines_up(with_outsider()), UFW)
    b = fire.bench
    spec = applied(b, engine)
    with fire.burning():
        for command in ("start ufw", "restart ufw", "stop ufw", "start ufw"):
            b.check("gateway", f"systemctl {command}")
            eventually(lambda: works(b), f"the crossing works after {command}")
        b.check("gateway", "ufw reload && ufw disable && ufw --force enable")
        eventually(lambda: works(b), "the crossing works after its own commands")
    assert b.plan(spec).is_empty


def test_rules_come_back_where_there_is_no_fence(machines_up: LabUp, eventually: Eventually) -> None:
    """It forwarded before crossnet, and is never closed."""
    b = Bench(machines_up(with_outsider()))
    NFTABLES.install(b)
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    spec = applied(b, Engine.NFTABLES)
    for verb in ("start", "restart", "reload", "stop", "start"):
        b.check("gateway", f"systemctl {verb} nftables")
        assert b.check("gateway", FORWARDING) == "1\n1\n"
        if verb != "stop":
            eventually(lambda: b.plan(spec).is_empty, f"the rules are back after a {verb}")
    assert works(b)


def test_no_other_unit_closes_the_gateway(machines_up: LabUp, eventually: Eventually) -> None:
    """What starts any unit starts those that it needs, and what they want, again: a firewall among them."""
    fire = with_firewall(machines_up(with_outsider()), NFTABLES)
    b = fire.bench
    b.check("gateway", "systemctl enable --now nftables")
    applied(b, Engine.NFTABLES)
    eventually(lambda: b.run("gateway", "systemctl is-active crossnet").ok, "the units have started")
    since = b.check("gateway", "systemctl show -p ActiveEnterTimestampMonotonic crossnet")
    b.check("gateway", "systemctl start systemd-tmpfiles-clean multi-user.target nftables")
    assert b.check("gateway", "systemctl show -p ActiveEnterTimestampMonotonic crossnet") == since


# What the start of crossnet's units finds first takes its time: after the rules are loaded, and before it opens.
SLOW = """
cd /usr/local/sbin
printf '#!/bin/sh\\n/usr/sbin/nft "$@" || exit\\nsleep 0.1\\n' >nft
printf '#!/bin/sh\\ncase $* in *-p*) sleep 0.1;; esac\\nexec /usr/sbin/sysctl "$@"\\n' >sysctl
chmod +x nft sysctl
"""
# One after the other, the second at some moment in that start.
OVERTAKING = """
for pause in 0 .05 .1 .15 .2 .3; do
    systemctl {verb} {firewall} && sleep $pause && systemctl {again} {firewall} && sleep $pause || exit
done
"""


@pytest.mark.parametrize("name", ["nftables", "iptables-nft"])
def test_nobody_passes_while_a_restart_overtakes_the_last(
    machines_up: LabUp, eventually: Eventually, name: str
) -> None:
    firewall, engine = FLUSHING[name]
    fire = with_firewall(machines_up(with_outsider()), firewall)
    b = fire.bench
    b.check("gateway", f"systemctl enable --now {firewall.unit}")
    spec = applied(b, engine)
    b.check("gateway", SLOW)
    for verb, again in product(("restart", "reload"), ("restart", "--no-block restart", "reload")):
        with fire.burning():
            b.check("gateway", OVERTAKING.format(verb=verb, firewall=firewall.unit, again=again))
            eventually(lambda: works(b), f"the crossing works after {verb} and {again}")
            assert b.plan(spec).is_empty
    assert b.check("gateway", "systemctl is-system-running") == "running\n"
    assert b.check("gateway", "find /run -name 'crossnet.*'") == ""
