"""What a host is to have for its next boot: by whom each thing is kept, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from crossnet.design.conflicts import gateway_settings
from crossnet.design.impacts import Impact
from crossnet.design.question import Refused
from crossnet.design.settings import forwarded_before, left_at_boot
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.owners import Keeper
from crossnet.facts.sysctls import FORWARDING
from crossnet.persistence import extensions, heal, init_scripts, kept, unit
from crossnet.persistence.firewalld import policy_files
from crossnet.record import Record
from crossnet.resources import Resource, RouteResource, Sysctl
from crossnet.several import joined
from crossnet.spec import Heal, Persist
from crossnet.standing import Identity, Standing

_NO_INIT = "no systemd, OpenRC or SysV init runs there"


def persistence(
    facts: Facts,
    record: Record,
    live: Sequence[Resource],
    standing: Sequence[Standing],
    fenced: Sequence[Sysctl],
    *,
    outlives: bool,
    adds: bool,
) -> tuple[tuple[Resource, ...], Mapping[Identity, str], list[Impact]]:
    """What brings `live` back at boot; what crossings with `persist: none` need for themselves alone is left out.

    With it, as whose the routes are there then that somebody else keeps: they are the same ones now. `outlives` is
    whether what no crossing needs any more is to be there then too, `adds` whether what firewalls that came since can
    bring back themselves is given to them.
    """
    nothing: Mapping[Identity, str] = {}
    if not live:
        return (), nothing, []
    asked = {one.label: one.paths[0].crossing for one in standing}
    carried = gateway_settings([asked[one.label] for one in standing if one.carried])
    needing: dict[Identity, list[Persist]] = {}
    healed = {identity for one in standing if asked[one.label].heal is Heal.AUTO for identity in one.needs}
    for one in standing:
        for identity in one.needs:
            needing.setdefault(identity, []).append(asked[one.label].persist)
    persist = {item.identity: needing.get(item.identity, [carried.persist]) for item in live}
    asking = [item for item in live if any(one is not Persist.NONE for one in persist[item.identity])]
    crossings = [asked[one.label] for one in standing if asked[one.label].persist is not Persist.NONE]
    if not asking or not (crossings or outlives):
        return (
            (),
            nothing,
            [Impact("not-persistent", facts.host, "lost at the next reboot, as `persist: none` asks for")],
        )
    systemd, init = facts.capabilities.systemd, facts.init
    boots = systemd or init is not None
    ends = sorted({one.until for one in standing if one.until is not None})
    if ends and not boots:  # who waits for that time is gone after a reboot
        return (
            (),
            nothing,
            [Impact("not-persistent", facts.host, f"will not survive a reboot: {_NO_INIT}")],
        )
    lasting = [(item, each) for item in asking if (each := _lasting(item, record, facts)) is not None]
    told: list[Impact] = []
    left_alone = left_at_boot(facts, record, live)
    lasting = [(item, each) for item, each in lasting if item.key not in left_alone]
    told += [
        Impact(
            "forwarding-left",
            facts.host,
            f"{name} is left to {joined(programs)} at a boot, which had it on before crossnet: in a file it would "
            "be on before the rules are there that keep others out, and also without them",
        )
        for name, programs in left_alone.items()
        if name in FORWARDING.values()
    ]
    labels = [crossing.label for crossing in crossings]

    def wish(item: Resource) -> Persist:
        wishes = (one for one in persist[item.identity] if one not in (Persist.AUTO, Persist.NONE))
        return next(wishes, Persist.AUTO)

    by_owners = kept.keep(facts, [item for item, each in lasting if each is item], wish, unit.head(labels))
    if by_owners.refused:
        raise Refused(*(_other_owner(facts, why) for why in by_owners.refused))
    left = [each for item, each in lasting if item.identity not in by_owners.taken]
    told += [Impact("kept-by-owner", facts.host, where) for where in by_owners.told]
    told += [
        Impact("cloud-init-rewrites", facts.host, why)
        for why in dict.fromkeys(kept.written_anew(facts, by_owners.resources))
    ]
    if boots:
        own = "unit" if systemd else "init script"
        told += [
            Impact("kept-by-owner", facts.host, f"{which} are kept by crossnet's own {own}, because {why}")
            for which, why in by_owners.unfit
        ]
    heals = carried.heal is Heal.AUTO
    by_others = (*by_owners.resources, *policy_files(left, unit.whose(labels)))
    if boots:
        by_others += tuple(extensions.keep(facts, record, left, unit.head(labels), adds=adds))
    if systemd:
        asked_for = [
            as_whose(item, by_owners.protocols.get(item.identity))
            for item, each in lasting
            if each is item
            and (item.identity in healed or (heals and item.identity not in needing))
            and not _switches_on_for_others(item, record, facts)
        ]
        watched = [item.as_healed(live) for item in asked_for if item.heals]
        told += [
            Impact("not-healed", facts.host, f"{item.kind} {item.found} does not come back by itself")
            for item in asked_for
            if not (item.heals or item.is_kept_by_others)
        ]
        if watched:
            comes_back = "what other programs take away there comes back by itself, within seconds"
            if heal.has_given_up(facts):
                comes_back += ", again: it had given up, because somebody took it away again and again"
            told.append(Impact("heals", facts.host, comes_back))
        units = unit.persistent(
            left,
            labels,
            fenced,
            ends,
            by_others,
            watched,
            facts.before_network,
            by_networkmanager=any(
                Keeper.NETWORKMANAGER in (owner.keeper, owner.below) for owner in facts.owners.values()
            ),
        )
        return units, by_owners.protocols, told
    if healed or heals:
        told.append(Impact("not-healed", facts.host, "will not heal by itself: systemd does not run there"))
    if init is not None:
        scripts = init_scripts.persistent(init, left, labels, fenced, by_others)
        return scripts, by_owners.protocols, told
    for which, why in by_owners.unfit:
        told.append(Impact("not-persistent", facts.host, f"{which} will not survive a reboot, because {why}"))
    if left and not by_owners.unfit:
        which = "the rest will" if by_owners.taken else "will"
        told.append(Impact("not-persistent", facts.host, f"{which} not survive a reboot: {_NO_INIT}"))
    return by_others, by_owners.protocols, told


def as_whose(item: Resource, protocol: str | None) -> Resource:
    """A route with the protocol of who brings it back at boot, so that it is the same one then."""
    if not isinstance(item, RouteResource) or protocol is None:
        return item
    return replace(item, route=replace(item.route, protocol=protocol))


def _other_owner(facts: Facts, why: str) -> Refusal:
    return Refusal(
        "other-owner",
        facts.host,
        why,
        "Write `persist: auto`, which takes who keeps the interface, or `persist: unit` for crossnet's own unit.",
    )


def _switches_on_for_others(item: Resource, record: Record, facts: Facts) -> bool:
    """Whether it is forwarding that somebody else had on before, and so may have off again."""
    return isinstance(item, Sysctl) and any(
        item.name == name and forwarded_before(facts, record, family) for family, name in FORWARDING.items()
    )


def _lasting(item: Resource, record: Record, facts: Facts) -> Resource | None:
    """What is to be there after a boot: of a route of somebody else that does the same, that one.

    Nothing where a daemon or a server gives the route, which brings it back itself, and may take it away.
    """
    if not isinstance(item, RouteResource):
        return item
    known = record.find(item)
    if not item.knowing(known.applied if known else None, facts).is_theirs(facts):
        return item
    theirs = item.current(facts)
    return theirs if isinstance(theirs, RouteResource) and theirs.is_by_hand else None
