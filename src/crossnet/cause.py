"""Why a plan differs from what was applied: the spec asks for something else, or the hosts are not what they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from crossnet.path import Path
from crossnet.planning import HostPlan
from crossnet.spec import Crossing, SnatTo, Spec
from crossnet.standing import Standing
from crossnet.translation import Masquerade, Snat, Translation, Untranslated
from crossnet.values import Address, Family, family_of, show_network


def asked_anew(host: HostPlan, spec: Spec) -> frozenset[str]:
    """The labels of the crossings that come to a host or leave it, or of which the spec asks something else there."""
    own = {one.label: one for one in spec.crossings}
    found = set[str]()
    for one in host.before.crossings:
        now = host.after.standing(one.label)
        if (
            now is None
            or not one.is_known
            or _words(one) != _words(now)
            or not _agrees(one, own.get(now.label))
        ):
            found.add(one.label)
    return frozenset(found) | {
        one.label for one in host.after.crossings if host.before.standing(one.label) is None
    }


def kept_otherwise(host: HostPlan) -> tuple[str, ...]:
    """What the spec says by now of how its crossings are kept on a host, and did not when they were applied."""
    found = dict[str, None]()
    for one in host.before.crossings:
        then, now = _words(one), host.after.standing(one.label)
        for family, asked in (_words(now) if now else {}).items():
            if (was := then.get(family)) is None:
                continue
            found |= {f"`heal: {asked.heal}`": None} if was.heal is not asked.heal else {}
            found |= {f"`persist: {asked.persist}`": None} if was.persist is not asked.persist else {}
    return tuple(found)


def _words(standing: Standing) -> dict[Family, Crossing]:
    """What the spec itself says of it, whatever the hosts made of that."""
    return {
        path.family: replace(path.crossing, clients=tuple(sorted(map(str, set(path.crossing.clients)))))
        for path in standing.paths
    }


def _agrees(standing: Standing, crossing: Crossing | None) -> bool:
    """Whether what was found for a crossing is what the spec asks for where it leaves nothing to be found."""
    if crossing is None:
        return True  # of another spec
    return all(
        crossing.ingress in (None, path.ingress)
        and crossing.egress in (None, path.egress)
        and (
            crossing.next_hop is None
            or family_of(crossing.next_hop) is not path.family
            or {*path.next_hops} == {crossing.next_hop}
        )
        and _translates_so(crossing, path)
        for path in standing.paths
    )


def _translates_so(crossing: Crossing, path: Path) -> bool:
    asked, found = crossing.translate, path.leg.translation
    if not isinstance(asked, SnatTo):
        return type(asked) is type(found)
    if not isinstance(found, Snat):
        return False
    is_free = asked.address is None or family_of(asked.address) is not path.family
    return is_free or set(found.addresses) == {asked.address}


def moved(host: HostPlan) -> Iterator[tuple[str, str]]:
    """What crossings of a host are found to go by now, and went by when they were applied: of which host, in words."""
    for one in host.before.crossings:
        now = host.after.standing(one.label)
        paths = {path.family: path for path in now.paths} if now is not None else {}
        for path in one.paths:
            if path.family in paths:
                yield from _moved(path, paths[path.family])


def _moved(was: Path, now: Path) -> Iterator[tuple[str, str]]:
    for host in dict.fromkeys(client.host for client in now.clients if client.host is not None):
        before, after = ([each for each in path.clients if each.host == host] for path in (was, now))
        had, has = ([show_network(each.network) for each in side] for side in (before, after))
        if had and had != has:
            yield host, f"sends from {_listed(has)} now, and from {_listed(had)} when it was applied"
        went, goes = ({(each.interface, each.next_hop) for each in side} for side in (before, after))
        if went and went != goes:
            yield (
                host,
                f"reaches {now.gateway} by {_hops(goes)} now, and by {_hops(went)} when it was applied",
            )
    gateway, to = now.gateway, now.crossing.shown(now.family, 3)
    if was.ingress != now.ingress:
        yield (
            gateway,
            f"what its clients send comes in by {now.ingress} now, and by {was.ingress} when it was applied",
        )
    if was.egress != now.egress:
        yield gateway, f"reaches {to} by {now.egress} now, and by {was.egress} when it was applied"
    gave, gives = (_sources(path.leg.translation) for path in (was, now))
    if gave != gives and gives:
        yield (
            gateway,
            f"now has {_listed(gives)} as its source for {to}, and had {_listed(gave)} when it was applied",
        )
    if now.leg.clamp and not was.leg.clamp:
        yield (
            gateway,
            "an MTU on the way is smaller than when it was applied: TCP packets that fit one link may be too large "
            "for another, and connections hang",
        )
    elif was.leg.clamp and not now.leg.clamp:
        yield gateway, "the MTUs on the way are equal now, and were not when it was applied"


def _sources(translation: Translation) -> list[str]:
    match translation:
        case Snat():
            return [str(each) for each in translation.addresses]
        case Masquerade() | Untranslated():
            return []


def _hops(hops: Iterable[tuple[str | None, Address]]) -> str:
    return _listed([f"{via} dev {device}" if device else str(via) for device, via in hops])


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
