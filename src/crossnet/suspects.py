"""What may have taken away or moved what drifted: what other programs did on the host since it was applied.

That something was restarted, and when, the host tells; that it was this that took a thing away follows from what such
a program does, and nobody has seen it. So each is told with `perhaps`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crossnet.design.settings import left_to_others, switching_on
from crossnet.drift import Drift
from crossnet.facts import Facts, firewalls
from crossnet.facts.moments import UnitMoments
from crossnet.facts.sysctls import FORWARDING
from crossnet.persistence import rules, start
from crossnet.record import Record
from crossnet.resources import Within
from crossnet.several import joined
from crossnet.values import Family, show_moment

_OWN = start.UNIT.removesuffix(".service")

_AT_ONCE = timedelta(seconds=5)  # what was stopped and started within this was restarted
_SETTLES = timedelta(
    seconds=2
)  # for what a unit goes through when it starts, and for clocks that tell seconds
_BOOTS = timedelta(minutes=3)  # for what starts with the host


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a program does to something when its unit is started, reloaded or stopped, in words."""

    on: Within
    units: tuple[str, ...]
    does: str
    stopped: bool = True  # also when it is stopped
    reloaded: bool = True


_NFTABLES = ("nftables",)
_EFFECTS = (
    _Effect(Within.NFTABLES, _NFTABLES, "flushes all rules of nftables then"),
    _Effect(
        Within.IPTABLES,
        tuple(name for name in (*firewalls.EARLY, *firewalls.LATE) if name not in _NFTABLES),
        "may flush the rules of iptables then",
    ),
    _Effect(Within.CHAIN, firewalls.COMING_FIRST, "puts rules of its own in front then", stopped=False),
    _Effect(
        Within.INTERFACES,
        ("systemd-networkd", "NetworkManager", "networking", "network", "wickedd"),
        "may set up its interfaces anew then",
    ),
    _Effect(
        Within.SETTINGS,
        ("systemd-sysctl", "network", "networking", "NetworkManager", "systemd-networkd", "ufw", "shorewall"),
        "may set it by its own files then",
        stopped=False,
    ),
)


def suspects(facts: Facts, record: Record, found: Iterable[Drift], well: Iterable[str] = ()) -> Iterator[str]:
    """What happened on the host since it was applied last that may be why it is not any more as it was then.

    `well` are times at which all of it was seen to work, by the clock of the machine that crossnet runs on; it has one
    that is empty where it never was.
    """
    live = [each for each in found if each.host == facts.host and not each.applied.is_persistent]
    left = [each for each in live if left_to_others(record) and each.applied.key == FORWARDING[Family.V4]]
    programs = list(switching_on(facts, FORWARDING[Family.V4]))
    yield from (_not_switched_on(programs) for _ in left)
    if not programs:  # else somebody may have switched it off since
        live = [each for each in live if each not in left]
    applied = _latest(facts, [*(one.stamp.when for one in record.crossings), *well])
    if not live or applied is None:
        return
    if facts.clock and (booted := _booted(facts)) > applied:
        yield f"the host was rebooted at {show_moment(booted)}, after it was applied; perhaps that is why"
        applied = booted + _BOOTS
    closed = _closed_by(facts, record, live, applied)
    for unit, at in closed.items():
        yield (
            f"{unit}.service was stopped at {show_moment(at)}, and crossnet keeps the gateway closed since then. "
            f"`systemctl start {unit}` opens it again, with the rules of {unit}; `crossnet apply` opens it without them"
        )
    told = dict.fromkeys(line for each in live for line in _by_units(facts, each, applied, closed))
    told |= dict.fromkeys(line for each in live for line in _by_links(facts, each, applied))
    yield from told
    if not told and any(_is_flushed_by_firewalld(facts, each) for each in live):
        yield (
            "firewalld runs, and `firewall-cmd --reload`, of which it does not tell when that was, flushes the rules "
            "of iptables, with either backend; perhaps that is why"
        )


def _not_switched_on(programs: Sequence[str]) -> str:
    """What a gateway lacks whose forwarding was left to others at the boot; `programs` are those of them that run."""
    whom = (
        joined(programs)
        or "who had it on before crossnet and keeps others out, such as docker, firewalld or ufw"
    )
    lacks = "has not switched it on" if programs else "does not run, or has not switched it on"
    return (
        f"{FORWARDING[Family.V4]} was left to {whom}, and perhaps that {lacks}. Starting that again brings both back, "
        "`crossnet apply` forwarding behind a fence of its own"
    )


def _latest(facts: Facts, times: Iterable[str]) -> datetime | None:
    """After the latest of these, by the host's clock."""
    try:
        moments = [datetime.fromisoformat(each.replace("Z", "+00:00")) for each in times if each]
        return max(moments) + timedelta(seconds=facts.ahead) + _SETTLES if moments else None
    except (ValueError, TypeError, OverflowError):  # they are for people, and kept as they were written
        return None


def _booted(facts: Facts) -> datetime:
    """To the minute, as clock and uptime are read one after the other."""
    at = datetime.fromtimestamp(facts.clock - facts.uptime, UTC)
    return at.replace(second=0)


def _closed_by(
    facts: Facts, record: Record, live: Iterable[Drift], applied: datetime
) -> Mapping[str, datetime]:
    """The firewalls for whose stop crossnet's units have closed the gateway (persistence/rules), and when they did."""
    is_off = any(
        each.applied.key in FORWARDING.values() and facts.sysctls.get(each.applied.key) == "0"
        for each in live
    )
    is_kept = any(record.find(service) is not None for service in rules.SERVICES if service.is_template)
    if not (is_off and is_kept) or facts.units is None or facts.units.get(start.UNIT):
        return {}
    closing = (*firewalls.EARLY, *firewalls.LATE)
    moments = {name: facts.moments.units.get(name, UnitMoments()) for name in closing}
    return {
        name: of.stopped
        for name, of in moments.items()
        if of.stopped is not None and of.stopped > applied and (of.started is None or of.started < of.stopped)
    }


def _by_units(facts: Facts, drift: Drift, applied: datetime, told: Collection[str]) -> Iterator[str]:
    applied = max(applied, _brought_back(facts, drift) or applied)
    within = drift.applied.within
    is_moved = Within.CHAIN in within and drift.applied.current(facts) is not None
    for effect in _EFFECTS:
        if effect.on not in within or is_moved is not (effect.on is Within.CHAIN):
            continue
        for unit in (each for each in effect.units if each not in told):
            moments = facts.moments.units.get(unit)
            for at, what in _since(moments, effect, applied) if moments else ():
                yield (
                    f"{unit}.service was {what} at {show_moment(at)}, and {effect.does}; perhaps that is why"
                )


def _brought_back(facts: Facts, drift: Drift) -> datetime | None:
    """When crossnet's own unit was started last, which brings back what went by then: so it does after a firewall."""
    own = facts.moments.units.get(_OWN)
    is_up = (facts.units or {}).get(start.UNIT)
    is_kept_by_owner = Within.INTERFACES in drift.applied.within
    return own.started if own and is_up and not is_kept_by_owner else None


def _is_flushed_by_firewalld(facts: Facts, drift: Drift) -> bool:
    is_gone = Within.IPTABLES in drift.applied.within and drift.applied.current(facts) is None
    return is_gone and bool((facts.units or {}).get("firewalld.service"))


def _since(moments: UnitMoments, effect: _Effect, applied: datetime) -> Iterator[tuple[datetime, str]]:
    """The last that happened to a unit since then, and what that was."""
    started, stopped, changed = moments.started, moments.stopped, moments.changed
    is_up = started is not None and (stopped is None or started >= stopped)
    if started is not None and is_up:
        if effect.reloaded and changed is not None and changed > max(started + _SETTLES, applied):
            yield changed, "reloaded"
        elif started > applied:
            again = stopped is not None and stopped > applied and started - stopped < _AT_ONCE
            yield started, "restarted" if again else "started"
    elif stopped is not None and stopped > applied and effect.stopped:
        yield stopped, "stopped"


def _by_links(facts: Facts, drift: Drift, applied: datetime) -> Iterator[str]:
    """Where the interface of a route has changed its state: its carrier is lost, or it was taken down."""
    routes = drift.applied.routes
    for device in dict.fromkeys(route.device for route in routes if route.device is not None):
        at = facts.moments.links.get(device)
        if at is not None and at > applied:
            owner = facts.owners.get(device)
            who = owner.label if owner is not None else "its owner"
            yield (
                f"{who} has seen a change of {device} at {show_moment(at)}; perhaps it was down, or had "
                "no carrier"
            )
