"""When units that may take away rules, routes and settings were started, stopped and reloaded, and links changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from crossnet.facts import firewalls
from crossnet.facts.question import Question

# What is named here works for all of a host's rules, jumps, routes or settings.
UNITS = dict.fromkeys(
    (
        *(*firewalls.EARLY, *firewalls.COMING_FIRST),
        *(
            "systemd-networkd",
            "NetworkManager",
            "networking",
            "network",
            "wickedd",
            "systemd-sysctl",
            "crossnet",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class UnitMoments:
    """When a unit became active last, became inactive last, and changed its state last; None is never."""

    started: datetime | None = None
    stopped: datetime | None = None
    changed: datetime | None = None


@dataclass(frozen=True, slots=True)
class Moments:
    """Of units by their names without `.service`, and of interfaces: when who keeps it wrote down its state last."""

    units: Mapping[str, UnitMoments] = field(default_factory=dict)
    links: Mapping[str, datetime] = field(default_factory=dict)


# systemctl(1) prints a time in the zone of its own environment; one that never was is empty or n/a. StateChange… is
# told since systemd 229. A pattern finds only units that are loaded, and with --all also those that are stopped.
# systemd-networkd and NetworkManager write the file of a link when its state changes.
_READ = r"""
if [ -S /run/systemd/private ] || [ -S /run/dbus/system_bus_socket ]; then
    TZ=UTC systemctl show --all -p Id -p ActiveEnterTimestamp -p InactiveEnterTimestamp -p StateChangeTimestamp "$@"
fi 2>/dev/null
for link in /sys/class/net/*; do
    read -r number 2>/dev/null <"$link/ifindex" || continue
    for state in "/run/systemd/netif/links/$number" "/run/NetworkManager/devices/$number"; do
        [ -f "$state" ] || continue
        printf '\nlink %s %s\n' "${link##*/}" "$(stat -c %Y "$state")"
    done
done
true
"""
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2}) UTC")
_LONGEST = 12  # digits of a time


def parse_moments(answer: str) -> Moments:
    """Blocks of `Name=value` lines, and a line for each interface."""
    units, links = dict[str, UnitMoments](), dict[str, datetime]()
    for block in answer.split("\n\n"):
        said = dict(line.partition("=")[::2] for line in block.splitlines())
        if "Id" in said:
            units[said["Id"].removesuffix(".service")] = UnitMoments(
                *(
                    _time(said.get(f"{name}Timestamp", ""))
                    for name in ("ActiveEnter", "InactiveEnter", "StateChange")
                )
            )
    for line in answer.splitlines():
        match line.split(" "):
            case ["link", name, at] if at.isdecimal() and len(at) < _LONGEST:
                links[name] = max(links.get(name, _FIRST), datetime.fromtimestamp(int(at), UTC))
    return Moments(units, links)


_FIRST = datetime.fromtimestamp(0, UTC)


def _time(said: str) -> datetime | None:
    found = _TIME.search(said)
    return datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00") if found else None


MOMENTS = Question(
    "asked when units were started",
    ("sh", "-c", _READ, "sh", *(f"{unit}[.]service" for unit in UNITS)),
    parse_moments,
    lambda _: Moments(),
)
