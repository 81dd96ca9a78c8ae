"""Where each route and policy rule is kept for the next boot: by whoever keeps its interface, else by crossnet's units.

So a route comes back whenever its interface does: at a boot, and when it loses its carrier or is taken down and up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from crossnet.facts import Facts
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import OWN_PROTOCOL, Route
from crossnet.persistence import ifupdown, network_scripts, networkd, networkmanager, wicked
from crossnet.persistence.needs import Needs, Unfit
from crossnet.resources import Lines, PolicyRuleResource, ProfileRoute, Resource, RouteResource
from crossnet.several import joined
from crossnet.spec import Persist
from crossnet.values import overlap

_BY_CLOUD_INIT = b"created by cloud-init"

# They keep routes; policy rules come back with crossnet's unit. ifrule(5) of wicked is younger than SLES 12.
_ROUTES_ALONE = (Keeper.IFUPDOWN, Keeper.NETWORKMANAGER, Keeper.WICKED)


_HAS_ROUTE = (
    *(network_scripts.has_route, networkd.has_route, networkmanager.has_route),
    *(ifupdown.has_route, wicked.has_route),
)
_HAS_RULE = (network_scripts.has_rule, networkd.has_rule)


@dataclass(frozen=True, slots=True)
class Kept:
    """What others keep: the files for it, the resources that are in them, and as whose the kernel has each route.

    `told` is where each interface's are, and why there; `unfit` which its owner cannot keep, and why; `refused` what a
    spec asks for in vain.
    """

    resources: tuple[Resource, ...] = ()
    taken: frozenset[tuple[str, str]] = frozenset()
    protocols: Mapping[tuple[str, str], str] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    unfit: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()


def paths(facts: Facts) -> tuple[str, ...]:
    """The files of a host in which something of crossnet may stand for the next boot, by who keeps its interfaces."""
    return tuple(dict.fromkeys(path for owner in facts.owners.values() for path in _files(owner)))


def keep(facts: Facts, live: Sequence[Resource], asked: Callable[[Resource], Persist], head: str) -> Kept:
    """Who keeps what of these for the next boot; `asked` is the `persist` of the crossings that need it.

    `head` is the first line of a file of crossnet's own.
    """
    made: list[Resource] = []
    taken: list[Resource] = []
    protocols: dict[tuple[str, str], str] = {}
    told: list[str] = []
    left: list[tuple[str, str]] = []
    refused: list[str] = []
    by_ifup: list[Needs] = []
    for device, there in _by_device(live).items():
        owner = facts.owners.get(device) or Owner(device, Keeper.NOBODY, "")
        reader = _reader(owner)
        items = [item for item in there if asked(item) is not Persist.UNIT]
        wishes = {asked(item) for item in items} - {Persist.AUTO}
        if vain := sorted(wish for wish in wishes if Keeper(wish) not in (reader, owner.keeper)):
            refused += [
                f"`persist: {wish}` cannot keep the route by {device}, because {owner}" for wish in vain
            ]
            continue
        if reader is None:
            if owner.evidence and any(asked(item) is Persist.AUTO for item in items):
                left.append((f"routes by {device}", str(owner)))
            items = [item for item in items if asked(item) is not Persist.AUTO]
        if not any(_routes(items)):
            continue
        protocol = _protocol(reader, owner)
        routes = tuple(replace(route, protocol=protocol) for route in _routes(items))
        needs = Needs(owner, routes, tuple(_rules(items)))
        try:
            files = _files_of(reader, needs, facts, head)
        except Unfit as unfit:
            if not wishes:
                left.append((f"routes by {device}", f"{unfit} ({owner})"))
            refused += [
                f"`persist: {wish}` cannot keep the route by {device}, because {unfit}"
                for wish in sorted(wishes)
            ]
            continue
        if reader is Keeper.IFUPDOWN:
            by_ifup.append(needs)
        if reader in _ROUTES_ALONE:  # policy rules come back with crossnet's unit
            items = [item for item in items if isinstance(item, RouteResource)]
        made += files
        taken += items
        protocols |= {item.identity: protocol for item in items}
        where = networkmanager.told(owner) if reader is Keeper.NETWORKMANAGER else joined(_keys(files))
        told.append(f"routes by {device} are kept in {where}, as {owner}")
    made += ifupdown.keep(by_ifup, head)
    identities = frozenset(item.identity for item in taken)
    return Kept(tuple(made), identities, protocols, tuple(told), tuple(left), tuple(refused))


def has(written: Resource, live: Resource) -> bool:
    """Whether what was written for the owner of an interface brings this back: its routes, its policy rules."""
    return any(has_route(written, route) for has_route in _HAS_ROUTE for route in live.routes) or any(
        has_rule(written, rule) for has_rule in _HAS_RULE for rule in live.policy_rules
    )


def is_read(written: Resource, live: Resource, owners: Mapping[str, Owner]) -> bool:
    """Whether who keeps the interface of a route looks there by now; where nobody is known to, as it was applied."""
    owner = owners.get(live.route.device or "") if isinstance(live, RouteResource) else None
    if owner is None or not owner.is_known:
        return True
    if isinstance(written, ProfileRoute):
        return written.profile == owner.profile
    return any(path in _files(owner) for path in written.paths)


def remembered(facts: Facts, changed: Collection[Resource]) -> Iterator[str]:
    """Who goes by what it has read of what is taken away or changed, and how long."""
    paths = {path for each in changed for path in each.paths}
    profiles = {each.profile for each in changed if isinstance(each, ProfileRoute)}
    for owner in facts.owners.values():
        files = joined([path for path in _files(owner) if path in paths])
        if files and _reader(owner) is Keeper.NETWORKD:
            yield (
                f"systemd-networkd goes by what it has read of {files}, and sets that again when {owner.interface} "
                "loses its carrier, until the host is rebooted or `networkctl reload` (which takes away what was set "
                "on the interface by hand)"
            )
        elif files and owner.keeper is Keeper.WICKED:
            yield (
                f"wickedd goes by what it has read of {files}, and may set that again when the link of "
                f"{owner.interface} comes up, until the host is rebooted or `wicked ifreload {owner.interface}` (which "
                "takes the interface down and up)"
            )
        elif owner.keeper is Keeper.NETWORKMANAGER and (files or owner.profile in profiles):
            reload = "`nmcli connection reload` and " if files else ""
            yield (
                f"NetworkManager goes by what the profile said when {owner.interface} was activated, and may set that "
                f"again when its link comes up, until the host is rebooted or {reload}`nmcli device reapply "
                f"{owner.interface}` (which takes away what was set on the interface by hand)"
            )


def written_anew(facts: Facts, written: Iterable[Resource]) -> Iterator[str]:
    """What of it stands in a file that cloud-init made, and may make again without it.

    cloudinit/net: sysconfig.py writes its name into the head of a file, network_manager.py into the name of one.
    """
    if not facts.cloud_init.writes_network:
        return
    profiles = {owner.profile: owner.file for owner in facts.owners.values() if owner.profile}
    for each in written:
        match each:
            case Lines() if (file := facts.file(each.path)) and _BY_CLOUD_INIT in file.data[:200].lower():
                path = each.path
            case ProfileRoute() if PurePosixPath(profiles.get(each.profile, "")).name.startswith(
                "cloud-init-"
            ):
                path = profiles[each.profile]
            case _:
                continue
        yield (
            f"cloud-init made {path}. When it makes that file anew, crossnet's entry in it is lost: for a new "
            "instance, and at each boot where its `updates` say so; not while its network configuration is disabled "
            "(`network: {config: disabled}` in a file of /etc/cloud/cloud.cfg.d)"
        )


def left_behind(facts: Facts, given_up: Collection[Resource]) -> Iterator[str]:
    """What cannot be taken out, because whoever has it does not tell of it."""
    for each in given_up:
        if isinstance(each, ProfileRoute) and each.profile not in facts.profiles:
            yield (
                f"NetworkManager does not tell of its profile {each.profile}: if that is still there, crossnet's route "
                f"stays in it, until `nmcli connection modify uuid {each.profile} -{each.setting} '{each.entry}'`"
            )


def _reader(owner: Owner) -> Keeper | None:
    """Whose files say what is to be there by the interface; None where crossnet writes none of them."""
    is_plugin = owner.keeper is Keeper.NETWORKMANAGER and PurePosixPath(owner.file).name.startswith("ifcfg-")
    if is_plugin or owner.keeper is Keeper.NETWORK_SCRIPTS:
        return Keeper.NETWORK_SCRIPTS
    if Keeper.NETWORKD in (owner.keeper, owner.below):
        return Keeper.NETWORKD
    return owner.keeper if owner.keeper in _ROUTES_ALONE else None


def _protocol(reader: Keeper | None, owner: Owner) -> str:
    """As whose a route comes back."""
    match reader:
        case Keeper.NETWORK_SCRIPTS:
            return network_scripts.protocol(owner)
        case Keeper.NETWORKMANAGER:
            return networkmanager.PROTOCOL
        case Keeper.WICKED:
            return wicked.PROTOCOL
        case _:
            return OWN_PROTOCOL


def _keys(files: Sequence[Resource]) -> list[str]:
    return [file.key for file in files] or [ifupdown.PATH]


def _files(owner: Owner) -> tuple[str, ...]:
    match _reader(owner):
        case Keeper.NETWORK_SCRIPTS:
            return network_scripts.files(owner)
        case Keeper.NETWORKD:
            return networkd.files(owner)
        case Keeper.IFUPDOWN:
            return (ifupdown.PATH,)
        case Keeper.WICKED:
            return wicked.files(owner)
        case _:
            return ()


def _files_of(reader: Keeper | None, needs: Needs, facts: Facts, head: str) -> tuple[Resource, ...]:
    """What keeps it, but for what ifup keeps, which is one file for all interfaces."""
    match reader:
        case Keeper.NETWORK_SCRIPTS:
            return network_scripts.keep(needs, facts)
        case Keeper.NETWORKD:
            return (networkd.keep(needs, facts, head),)
        case Keeper.NETWORKMANAGER:
            return tuple(networkmanager.keep(needs, facts))
        case Keeper.IFUPDOWN:
            return ()
        case Keeper.WICKED:
            return wicked.keep(needs, facts)
        case _:
            raise Unfit(f"crossnet does not write for it yet ({needs.owner})")


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
