"""Who may have taken away what drifted, by what a host says of its units and its interfaces."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from crossnet.drift import Drift
from crossnet.facts import Facts
from crossnet.facts.moments import Moments, UnitMoments, parse_moments
from crossnet.facts.routes import Route
from crossnet.netfilter import Engine
from crossnet.persistence import rules
from crossnet.record import Owned, Record
from crossnet.resources import File, Jump, Resource, RouteResource, Sysctl
from crossnet.standing import Stamp, Standing
from crossnet.suspects import suspects
from crossnet.values import Family, address, network
from design.factsheet import host_facts

APPLIED = datetime(2026, 11, 29, 14, tzinfo=UTC)
RECORD = Record((Standing("", "business", stamp=Stamp("ops", "2026-11-29T14:00:00Z")),))
ROUTE = RouteResource(Route(network("10.0.44.0/24"), address("10.0.43.101"), "eth0"))
NFT_JUMP = Jump(Engine.IPTABLES_NFT, Family.V4, "forward")
LEGACY_JUMP = Jump(Engine.IPTABLES_LEGACY, Family.V4, "forward")
FORWARDING = Sysctl("net.ipv4.ip_forward", "1")

# Of systemd 252: restarted and then reloaded, one that was never started, and what networkd keeps of an interface.
SHOWN = """\
Id=nftables.service
StateChangeTimestamp=Sun 2026-11-29 14:06:18 UTC
ActiveEnterTimestamp=Sun 2026-11-29 14:03:14 UTC
InactiveEnterTimestamp=Sun 2026-11-29 14:03:14 UTC

Id=docker.service
StateChangeTimestamp=
ActiveEnterTimestamp=n/a

link eth0 1796133806
"""


def at(minutes: float) -> datetime:
    return APPLIED + timedelta(minutes=minutes)


def host(moments: Moments, *, booted: float = -600, ahead: int = 0, firewalld: bool = False) -> Facts:
    facts = host_facts("gateway", "")
    clock = int(at(60).timestamp())
    return replace(
        facts,
        clock=clock,
        ahead=ahead,
        uptime=clock - int(at(booted).timestamp()),
        units={"firewalld.service": firewalld},
        moments=moments,
    )


def said(facts: Facts, applied: Resource, *well: str) -> list[str]:
    return list(suspects(facts, RECORD, [Drift("gateway", applied, ("was removed",))], well))


def unit(
    name: str, started: float | None, stopped: float | None = None, changed: float | None = None
) -> Moments:
    return Moments(
        {name: UnitMoments(*(None if one is None else at(one) for one in (started, stopped, changed)))}
    )


def test_moments_are_read() -> None:
    found = parse_moments(SHOWN)
    assert found.units == {
        "nftables": UnitMoments(
            datetime(2026, 11, 29, 14, 3, 14, tzinfo=UTC),
            datetime(2026, 11, 29, 14, 3, 14, tzinfo=UTC),
            datetime(2026, 11, 29, 14, 6, 18, tzinfo=UTC),
        ),
        "docker": UnitMoments(),
    }
    assert found.links == {"eth0": datetime.fromtimestamp(1796133806, UTC)}
    assert parse_moments("") == parse_moments("nonsense\nlink eth0 x\n") == Moments()


@pytest.mark.parametrize(
    ("moments", "words"),
    [
        (unit("nftables", 2), "nftables.service was started at 2026-11-29 14:02 UTC, and flushes all rules"),
        (unit("nftables", 2, 1.99), "nftables.service was restarted at 2026-11-29 14:02 UTC"),
        (unit("nftables", 2, 1.99, 2), "nftables.service was restarted at 2026-11-29 14:02 UTC"),
        (unit("nftables", -9, -9, 3), "nftables.service was reloaded at 2026-11-29 14:03 UTC"),
        (unit("nftables", 2, 3), "nftables.service was stopped at 2026-11-29 14:03 UTC"),
        (
            unit("firewalld", -9, None, 5),
            "firewalld.service was reloaded at 2026-11-29 14:05 UTC, and may flush",
        ),
    ],
)
def test_a_firewall_that_was_at_work_since_is_named(moments: Moments, words: str) -> None:
    (line,) = said(host(moments), NFT_JUMP)
    assert line.startswith(words)
    assert line.endswith("; perhaps that is why")


GATE = next(each for each in rules.SERVICES if each.is_template)


@pytest.mark.parametrize(
    ("moments", "sysctl", "running", "gate", "is_told"),
    [
        (unit("firewalld", -9, 3), "0", False, True, True),
        (unit("nftables", -9, 3), "0", False, True, True),
        (unit("firewalld", 4, 3), "0", False, True, False),  # it runs again
        (unit("firewalld", -9, -3), "0", False, True, False),  # it was applied since
        (unit("firewalld", -9, 3), "1", False, True, False),
        (
            unit("firewalld", -9, 3),
            "0",
            True,
            True,
            False,
        ),  # it was opened since, and closed by somebody else
        (unit("firewalld", -9, 3), "0", False, False, False),  # nothing of crossnet closes there
        (unit("docker", -9, 3), "0", False, True, False),
    ],
)
def test_a_gateway_that_is_closed_for_a_firewall_names_it_and_what_opens_it(
    moments: Moments, sysctl: str, running: bool, gate: bool, is_told: bool
) -> None:
    facts = replace(host(moments), sysctls={FORWARDING.name: sysctl})
    facts = replace(facts, units={"crossnet.service": running})
    record = replace(RECORD, owned=(Owned(None, GATE),) if gate else ())
    told = list(suspects(facts, record, [Drift("gateway", FORWARDING, ("is 0",))]))
    (name,) = moments.units
    assert told == (
        [
            f"{name}.service was stopped at 2026-11-29 14:03 UTC, and crossnet keeps the gateway closed since then. "
            f"`systemctl start {name}` opens it again, with the rules of {name}; `crossnet apply` opens it without them"
        ]
        if is_told
        else []
    )


def test_who_has_nothing_to_do_with_it_is_not_named() -> None:
    assert said(host(unit("nftables", -1)), NFT_JUMP) == []  # before it was applied
    assert (
        said(host(unit("nftables", 1), ahead=120), NFT_JUMP) == []
    )  # before, by a clock that is two minutes ahead
    assert (
        said(host(unit("nftables", 1)), NFT_JUMP, "", "2026-11-29T14:05:00+00:00") == []
    )  # it worked after that
    assert said(host(unit("nftables", 1)), LEGACY_JUMP) == []  # rules that it does not flush
    assert said(host(unit("nftables", 1)), ROUTE) == []
    assert said(host(unit("docker", 1)), FORWARDING) == []
    assert said(host(unit("docker", 1)), NFT_JUMP) == []  # it removes no jump
    assert said(host(unit("nftables", 1)), File("/etc/crossnet/start", b"")) == []  # nor a file


@pytest.mark.parametrize(
    ("own", "running", "applied", "is_told"),
    [
        (2, True, NFT_JUMP, False),  # started again after nftables, it loaded the rules
        (3, True, FORWARDING, False),
        (1, True, NFT_JUMP, True),
        (3, False, NFT_JUMP, True),
        (3, True, ROUTE, True),  # who keeps the interface may keep that
    ],
)
def test_what_crossnet_itself_has_brought_back_since_is_told_of_nobody(
    own: float, running: bool, applied: Resource, is_told: bool
) -> None:
    began = UnitMoments(at(2))
    units = dict.fromkeys(("nftables", "systemd-sysctl", "systemd-networkd"), began)
    moments = Moments({**units, "crossnet": UnitMoments(at(own))})
    facts = replace(host(moments), units={"crossnet.service": running})
    assert bool(said(facts, applied)) is is_told


def test_routes_and_settings_have_others_to_suspect() -> None:
    (line,) = said(host(unit("NetworkManager", 4, 3.99)), ROUTE)
    assert line.startswith(
        "NetworkManager.service was restarted at 2026-11-29 14:04 UTC, and may set up its interfaces"
    )
    (line,) = said(host(unit("systemd-sysctl", 4)), FORWARDING)
    assert line.startswith(
        "systemd-sysctl.service was started at 2026-11-29 14:04 UTC, and may set it by its own files"
    )
    (line,) = said(host(Moments(links={"eth0": at(7), "eth1": at(8)})), ROUTE)
    assert "has seen a change of eth0 at 2026-11-29 14:07 UTC; perhaps it was down, or had no carrier" in line


def test_a_reboot_is_told_and_not_what_starts_with_the_host() -> None:
    (line,) = said(host(unit("nftables", 21), booted=20), NFT_JUMP)
    assert line == "the host was rebooted at 2026-11-29 14:20 UTC, after it was applied; perhaps that is why"
    assert len(said(host(unit("nftables", 40), booted=20), NFT_JUMP)) == 2


def test_a_reload_of_which_nobody_tells_when_it_was() -> None:
    (line,) = said(host(Moments(), firewalld=True), LEGACY_JUMP)
    assert line.startswith(
        "firewalld runs, and `firewall-cmd --reload`, of which it does not tell when that was"
    )
    assert said(host(Moments(), firewalld=True), ROUTE) == []


@pytest.mark.parametrize("when", ["", "yesterday", "2026-11-29T14:00:00"])
def test_a_record_that_does_not_say_when_accuses_nobody(when: str) -> None:
    record = Record((Standing("", "business", stamp=Stamp("ops", when)),))
    found = [Drift("gateway", NFT_JUMP, ("was removed",))]
    well = ["2026-11-29T14:00:00Z"] if when == "2026-11-29T14:00:00" else []
    assert list(suspects(host(unit("nftables", 2)), record, found, well)) == []
