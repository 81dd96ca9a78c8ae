"""What a plan takes away or leaves there, said before it happens."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from crossnet.design import Impact
from crossnet.facts import Facts
from crossnet.facts.sysctls import FORWARDING, TRACKED
from crossnet.netfilter.flows import MANY, SECONDS
from crossnet.persistence import kept
from crossnet.planning.plan import HostPlan
from crossnet.planning.scope import is_over
from crossnet.record import shown
from crossnet.resources import EndFlows, RuleTable
from crossnet.several import MOST_NAMES, few
from crossnet.spec import USUAL_NAME, Crossing, Spec
from crossnet.standing import Identity, Standing
from crossnet.values import show_moment, show_network

AGREE = 60
"""Seconds by which two clocks may differ, and nobody is told."""


def of_record(
    host: HostPlan, spec: Spec, facts: Facts, going_on: Collection[str], *, is_undo: bool
) -> Iterator[Impact]:
    """What the host's record says, or does not say any more, that whoever decides has to know.

    `going_on` are the labels of the crossings that their gateways go on to carry.
    """
    before = host.before
    if before.rebuilt:
        yield Impact("unrecorded", host.host, _what_is_lost(host))
    for one in host.ended:
        asked = one.spec in ("", spec.name) and any(each.name == one.crossing for each in spec.crossings)
        if not (is_undo and asked):
            yield _parting(one, host.host, spec, facts.clock, going_on, is_undo=is_undo)
        elif one.taken_from or one.stamp.is_of_others:
            by = f", {one.stamp}" if one.stamp.is_of_others else ""
            taken = f", taken over from {one.taken_from}" if one.taken_from else ""
            yield Impact("ends-crossing", host.host, f"ends crossing {one.label}{by}{taken}")


def of_others(hosts: Sequence[HostPlan], spec: Spec) -> Iterator[Impact]:
    """The crossings of this name that somebody else applied, and that become others: it may be another need."""
    told = {one.label for host in hosts for one in host.ended}
    for host in hosts:
        for one in host.before.crossings:
            new = host.after.standing(one.label)
            if new is None or one.label in told or not one.carried or one.carried == new.carried:
                continue
            if one.stamp.is_of_others:
                text = f"changes crossing {one.label}, {one.stamp}{_perhaps_another(spec)}"
                yield Impact("changes-crossing", host.host, text)


def _perhaps_another(spec: Spec) -> str:
    name = "`name:`" if spec.file else "`--name`"  # what `connect` makes stands in no file
    return f". If that was another file, both specs are called {spec.name}: give yours a {name} of its own"


def _parting(
    one: Standing, host: str, spec: Spec, clock: int, going_on: Collection[str], *, is_undo: bool
) -> Impact:
    """What becomes of a crossing that the host has no part in any more."""
    by = f", {one.stamp}" if one.stamp.who else ""
    if one.until is not None and one.is_over(clock):
        text = f"ends crossing {one.label}: it has been over since {show_moment(one.until)}"
        return Impact("ends-crossing", host, text)
    if (passes := _passes(one, host, spec)) and not is_undo:
        return Impact("crossing-passes", host, passes)
    if one.spec in ("", spec.name):
        own = next((each for each in spec.crossings if each.name == one.crossing), None)
        if own is None:
            text = f"ends crossing {one.label}{by}: this spec has no crossing of that name"
        elif one.carried or host in own.clients:
            text = f"ends crossing {one.label}{by}"
        else:
            text = f"is taken out of crossing {one.label}{by}"
        by_name = own is None and spec.name == USUAL_NAME  # as every crossnet.yaml without a name
        is_renamed = one.host not in ("", host)  # another file calls the host otherwise
        if one.stamp.is_of_others or is_renamed or by_name:
            text += _perhaps_another(spec)
    elif one.is_known:
        ends = "is taken out of" if not one.carried and one.label in going_on else "ends"
        text = f"{ends} crossing {one.label}, of another spec{by}"
    else:
        text = (
            f"ends crossing {one.label}, of another spec: what it needs is not known. Apply spec {one.spec} again "
            "afterwards"
        )
    return Impact("ends-crossing", host, text)


def _passes(one: Standing, host: str, spec: Spec) -> str:
    """Under which name, of which spec or through which gateway all of it goes on; nothing where it ends."""
    if one.spec not in ("", spec.name):
        if any(one.is_need_of(each, spec.hosts) for each in spec.crossings):
            by = f": {one.stamp}" if one.stamp.who else ""
            return f"takes crossing {one.crossing} over from spec {one.spec}{by}"
        return ""
    own = next((each for each in spec.crossings if each.name == one.crossing), None)
    if own is not None:
        return (
            f"crossing {one.label} goes through {own.via} from now on"
            if one.carried and own.via != host
            else ""
        )
    renamed = (
        each.name for each in spec.crossings if one.is_need_of(replace(each, name=one.crossing), spec.hosts)
    )
    return next((f"crossing {one.crossing} goes on as {name}" for name in renamed), "")


def _what_is_lost(host: HostPlan) -> str:
    before = host.before
    if before.lost:
        made = [owned.applied for owned in before.owned if not owned.applied.is_never_absent]
        known = shown(made) or "nothing"
        text = f"its record {before.lost}; it is made anew from what only crossnet makes there: {known}"
    else:
        text = "its record was lost once, and made anew"
    untraced = [owned.applied.untraced for owned in before.owned if owned.applied.untraced]
    if untraced:
        text += f". Whether crossnet has set the {few(untraced, 3)}, it does not tell: they stay as they are"
    taken = [owned.applied for owned in before.owned if owned.applied.is_never_absent]
    names = " and ".join(one.key for one in taken if one.key in FORWARDING.values())
    if not names:
        return f"{text}. What its files replaced is not known"
    off = any(change.resource.key in FORWARDING.values() for change in host.changes if not host.after.owned)
    then = "it is switched off" if off else "it counts as off"
    return f"{text}. Whether {names} was on before is not known: {then}"


def of_time(
    spec: Spec, hosts: Sequence[HostPlan], facts: Mapping[str, Facts], *, is_undo: bool
) -> Iterator[Impact]:
    """What ends by itself, and by whose clock; what has ended."""
    leaving = {
        one.label: (host.host, any(isinstance(owned.applied, RuleTable) for owned in lapse.after.owned))
        for host in hosts
        for lapse in host.lapses
        for one in lapse.ended
        if lapse.leaves_forwarding
    }
    by_others = {
        one.label: owned.applied.changed_by
        for host in hosts
        for lapse in host.lapses
        for one in lapse.ended
        for owned in lapse.after.owned
        if owned.applied.changed_by
    }
    before = [one for host in hosts for one in host.before.crossings]
    for crossing in () if is_undo else spec.crossings:  # an undo says of what stays until when it does
        was = next((one.until for one in before if _goes_on_as(one, crossing, spec)), None)
        if crossing.until is None:
            if was is not None:
                yield Impact(
                    "until",
                    f"crossing {crossing.name}",
                    f"was to end at {show_moment(was)}, and has no end any more but `crossnet undo`",
                )
            continue
        at = show_moment(crossing.until)
        if is_over(crossing, facts):
            yield Impact(
                "over", f"crossing {crossing.name}", f"has been over since {at}: nothing is made for it"
            )
            continue
        moved = "" if was in (None, crossing.until) else f", not {show_moment(was)} as before"
        gateway, fenced = leaving.get(crossing.label, ("", False))
        behind = " behind the fence" if fenced else ""
        stays = f"; forwarding{behind} then stays on {gateway}, until `crossnet undo`" if gateway else ""
        if (who := by_others.get(crossing.label)) is not None:
            stays += f"; what {who} holds for it stays too, until `crossnet apply` or `crossnet undo`"
        yield Impact(
            "until",
            f"crossing {crossing.name}",
            f"until {at}{moved}, then the hosts take it back themselves{stays}",
        )
    timed = [one.host for one in hosts if any(each.until is not None for each in one.after.crossings)]
    for name in timed:
        if abs(ahead := facts[name].ahead) > AGREE:
            yield Impact(
                "clock-differs",
                name,
                f"its clock is {abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} this machine's: crossings with "
                "`until` end there by that clock",
            )


def _goes_on_as(one: Standing, crossing: Crossing, spec: Spec) -> bool:
    """Whether it is that crossing, or the same need under an earlier name."""
    return one.label == crossing.label or one.is_need_of(replace(crossing, name=one.crossing), spec.hosts)


def older_flows(host: HostPlan, facts: Facts) -> Iterator[Impact]:
    """What cannot be ended there, although the change concerns it."""
    tools = facts.capabilities
    count = facts.sysctls.get(TRACKED, "")
    tracked = int(count) if count.isdecimal() and len(count) < 12 else 0
    if lacking := [tool for tool in ("conntrack", "awk") if not tools.has(tool)]:
        text = "keep what they had until they end: there is no {} to end those that the change concerns"
        text = text.format(" and no ".join(lacking))
    elif tracked > MANY:
        text = (
            f"may keep what they had until they end: {tracked:,} are tracked, and crossnet ends those that the change "
            f"concerns for at most {SECONDS} seconds, the largest groups first"
        )
    else:
        return
    settings = {
        name: value
        for change in host.changes
        if change.want is not None
        for name, value in change.want.values.items()
    }
    for family, name in FORWARDING.items():
        rules = [change for change in host.changes if change.resource.decides(family)]
        # Where nothing is forwarded before, or after, no flow has an old fate to keep.
        forwards = facts.sysctls.get(name, "0") != "0" and settings.get(name) != "0"
        if forwards and any(isinstance(step, EndFlows) for change in rules for step in change.steps):
            yield Impact(
                "older-flows",
                host.host,
                f"{family.label} connections that it forwards already {text}",
            )


def staying(host: HostPlan, facts: Facts, wanted: Collection[Identity]) -> Iterator[Impact]:
    """What cannot be taken away with what made it appear; of what is still `wanted` nothing is."""
    for change in host.changes:
        have = change.have
        if have is not None and (text := type(have).leaves_behind(have, change.want, facts)):
            yield Impact("tables-stay", host.host, text)
        if have is not None and (left := type(have).lingers(have, change.want, facts)):
            yield Impact(left.code, host.host, left.text)
    for owned in host.after.owned:
        if owned.identity not in wanted and (why := owned.applied.untold(facts)):
            yield Impact("stays-unseen", host.host, why)
    still = {owned.identity for owned in host.after.owned}
    changed = {change.resource.identity for change in host.changes}
    for owned in host.before.owned:
        if (owned.identity not in still or owned.identity in changed) and (
            text := owned.applied.edited(facts)
        ):
            yield Impact("edits-stay", host.host, text)


def from_leases(hosts: Sequence[HostPlan], facts: Mapping[str, Facts]) -> Iterator[Impact]:
    """Routes that clients are to go on with as their leases brought them, and that no lease brings any more."""
    gone = {
        route
        for host in hosts
        for change in host.changes
        if change.have is not None
        and (left := type(change.have).lingers(change.have, change.want, facts[host.host]))
        for route in left.routes
    }
    for host in hosts:
        kept = [
            route for one in host.adopted for route in one.routes if (route.destination, route.via) in gone
        ]
        if kept:
            shown = few([show_network(route.destination) for route in kept], MOST_NAMES, ", ")
            yield Impact(
                "leases-keep-routes",
                host.host,
                f"its route to {shown} came with its lease, and goes when it renews that: then apply again",
            )


def lost(host: HostPlan) -> Iterator[Impact]:
    """What others have written into something of crossnet's own, and this change takes away."""
    for change in host.changes:
        owned = host.before.find(change.resource)
        if owned is None or change.have is None:
            continue
        if added := owned.applied.added_to(change.have):
            yield Impact(
                "edits-lost",
                host.host,
                f"{owned.applied.kind} {owned.applied.key} says by now what crossnet did not write, and that is lost "
                f"with this change: {few(added, MOST_NAMES, '; ')}",
            )


def remembered(host: HostPlan, facts: Facts) -> Iterator[Impact]:
    """What the owner of an interface has read of what is taken away, or does not let anybody take away."""
    still = {owned.identity for owned in host.after.owned}
    given_up = [owned.applied for owned in host.before.owned if owned.identity not in still]
    for text in kept.left_behind(facts, given_up):
        yield Impact("owner-remembers", host.host, text)
    gone = [change.resource for change in host.changes if change.want is None]
    if not any(each.routes or each.policy_rules for each in gone):
        return
    for text in kept.remembered(facts, [change.have for change in host.changes if change.have is not None]):
        yield Impact("owner-remembers", host.host, text)
