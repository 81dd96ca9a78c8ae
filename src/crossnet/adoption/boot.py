"""What of a set-up by hand ends at the next boot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from crossnet.adoption.finding import Finding
from crossnet.adoption.way import Way
from crossnet.facts import Facts, FileState
from crossnet.facts.routes import Route
from crossnet.facts.sysctls import FORWARDING, at_boot
from crossnet.persistence import kept
from crossnet.planning import Plan
from crossnet.resources import RouteResource
from crossnet.several import few

_MOST = 6  # that a sentence names


def not_kept(facts: Facts, ways: Sequence[Way]) -> Iterator[Finding]:
    for family in sorted({way.family for way in ways}):
        name = FORWARDING[family]
        line = at_boot(facts.boot_settings, name, systemd=facts.capabilities.systemd)
        if line is None or not line.switches_on:
            why = "no file sets it" if line is None else f"{line.file} sets it to {line.value}"
            yield Finding(
                "lost-at-boot", facts.host, f"{name} = 1 ends at the next boot: {why}", by_crossnet=True
            )


def routes_not_kept(ways: Sequence[Way], facts: Mapping[str, Facts], plan: Plan) -> Iterator[Finding]:
    """Routes that the plan uses as they are, and writes down for the next boot."""
    clients = {name for way in ways for name in way.clients}
    for host in plan.hosts:
        written = [one for one in host.changes if one.resource.is_persistent and one.want is not None]
        used = (one.current(facts[host.host]) for one in host.adopted if isinstance(one, RouteResource))
        routes = [one.route for one in used if isinstance(one, RouteResource)]
        lost = [str(route) for route in routes if not _is_written(facts[host.host], route)]
        if host.host in clients and written and lost:
            words = f"nothing that crossnet sees brings {few(lost, _MOST, ', ')} back at a boot"
            yield Finding("lost-at-boot", host.host, words, by_crossnet=True)


def _is_written(facts: Facts, route: Route) -> bool:
    """Whether who keeps its interface has the route: in a file of network-scripts or wicked, or in a profile."""
    owner = facts.owners.get(route.device or "")
    profile = facts.profiles.get(owner.profile, ()) if owner is not None else ()
    files = (facts.files.get(path) for path in kept.paths(facts))
    lines = [line for file in files if isinstance(file, FileState) for line in file.data.splitlines()]
    words = [set(line.split()) for line in (*(each.decode(errors="replace") for each in lines), *profile)]
    return any({str(route.destination), str(route.via)} <= each for each in words if "#" not in "".join(each))
