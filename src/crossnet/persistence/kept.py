"""Where each route and policy rule is kept for the next boot: by whoever keeps its interface, else by crossnet's units.

So a route comes back whenever its interface does: at a boot, and when it loses its carrier or is taken down and up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from crossnet.facts import Facts
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route
from crossnet.persistence import network_scripts
from crossnet.persistence.needs import Needs, Unfit
from crossnet.resources import PolicyRuleResource, Resource, RouteResource
from crossnet.several import joined
from crossnet.spec import Persist
from crossnet.values import overlap


@dataclass(frozen=True, slots=True)
class Kept:
    """What others keep: the files for it, the resources that are in them, and as whose the kernel has each route.

    `told` is where each interface's are, and why there; `refused` what a spec asks for in vain.
    """

    resources: tuple[Resource, ...] = ()
    taken: frozenset[tuple[str, str]] = frozenset()
    protocols: Mapping[tuple[str, str], str] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def paths(facts: Facts) -> tuple[str, ...]:
    """The files of a host in which something of crossnet may stand for the next boot, by who keeps its interfaces."""
    if not facts.capabilities.systemd:
        return ()  # nothing is written there
    return tuple(dict.fromkeys(path for owner in facts.owners.values() for path in _files(owner)))


def keep(facts: Facts, live: Sequence[Resource], asked: Callable[[Resource], Persist]) -> Kept:
    """Who keeps what of these for the next boot; `asked` is the `persist` of the crossings that need it."""
    made: list[Resource] = []
    taken: list[Resource] = []
    protocols: dict[tuple[str, str], str] = {}
    told: list[str] = []
    refused: list[str] = []
    for device, items in _by_device(live).items():
        owner = facts.owners.get(device) or Owner(device, Keeper.NOBODY, "")
        wish = next((one for item in items if (one := asked(item)) is not Persist.AUTO), Persist.AUTO)
        if wish is Persist.UNIT:
            continue
        if wish is not Persist.AUTO and not _can(owner, wish):
            refused.append(f"`persist: {wish}` cannot keep the route by {device}, because {owner}")
            continue
        if not _is_ifcfg(owner):
            continue
        protocol = network_scripts.protocol(owner)
        routes = tuple(replace(route, protocol=protocol) for route in _routes(items))
        needs = Needs(owner, routes, tuple(_rules(items)))
        try:
            files = network_scripts.keep(needs, facts)
        except Unfit as unfit:
            if wish is Persist.AUTO:
                told.append(f"routes by {device} are kept by crossnet's own unit, because {unfit} ({owner})")
            else:
                refused.append(f"`persist: {wish}` cannot keep the route by {device}, because {unfit}")
            continue
        made += files
        taken += items
        protocols |= {(item.kind, item.key): protocol for item in items}
        told.append(f"routes by {device} are kept in {joined([file.key for file in files])}, as {owner}")
    identities = frozenset((item.kind, item.key) for item in taken)
    return Kept(tuple(made), identities, protocols, tuple(told), tuple(refused))


def _can(owner: Owner, wish: Persist) -> bool:
    return wish is Persist.NETWORK_SCRIPTS and _is_ifcfg(owner)


def _files(owner: Owner) -> tuple[str, ...]:
    return network_scripts.files(owner) if _is_ifcfg(owner) else ()


def _is_ifcfg(owner: Owner) -> bool:
    """Whether it reads the files beside an ifcfg file."""
    is_plugin = owner.keeper is Keeper.NETWORKMANAGER and PurePosixPath(owner.file).name.startswith("ifcfg-")
    return is_plugin or owner.keeper is Keeper.NETWORK_SCRIPTS


def _by_device(live: Iterable[Resource]) -> dict[str, list[Resource]]:
    """The routes by the interface by which they leave, and with them the policy rules before them."""
    found: dict[str, list[Resource]] = {}
    later: list[PolicyRuleResource] = []
    for item in live:
        if isinstance(item, RouteResource) and item.route.device is not None:
            found.setdefault(item.route.device, []).append(item)
        elif isinstance(item, PolicyRuleResource):
            later.append(item)
    for rule in later:
        to = rule.rule.destination
        for items in found.values():
            if to is not None and any(overlap(route.destination, to) for route in _routes(items)):
                items.append(rule)
                break
    return found


def _routes(items: Iterable[Resource]) -> Iterator[Route]:
    return (item.route for item in items if isinstance(item, RouteResource))


def _rules(items: Iterable[Resource]) -> Iterator[PolicyRule]:
    return (item.rule for item in items if isinstance(item, PolicyRuleResource))
