"""A crossing through a gateway whose firewalld rejects what it does not know, with the real one on a real systemd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from lab.crossing import Bench
from lab.firewalls import Firewall
from lab.test_fence_in_time import TARGETS, TO, Fire, under_fire, with_outsider

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
