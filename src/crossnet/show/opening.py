"""What a plan opens and what it closes, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from crossnet.design.flows import Effect, FlowChange
from crossnet.several import first_of, joined
from crossnet.show.wrapping import wrap

# Of one effect in a plan that is not verbose; all are in --json.
MOST_LINES = 6


def opening_lines(
    opening: Sequence[FlowChange],
    width: int,
    *,
    verbose: bool = False,
    at_cloud: bool = False,
    given_up: str = "",
) -> list[str]:
    """What opens, what closes, and what stays; the first two are told where they are nothing, too.

    That is told of hosts: what is made `at_cloud` may open something too. A gateway that is `given_up` is not read.
    """
    lines: list[str] = []
    for effect in Effect:
        told = list(dict.fromkeys(_told(opening, effect, at_cloud)))
        if given_up and effect is Effect.CLOSES:
            told.append(
                f"the way through {given_up}; what it lets through itself is not known, as it is not read"
            )
        if not told and effect is not Effect.STAYS:
            told = ["nothing on the hosts themselves" if at_cloud and effect is Effect.OPENS else "nothing"]
        if not verbose and len(told) > MOST_LINES:
            told = [*told[: MOST_LINES - 1], f"and {len(told) - MOST_LINES + 1:,} more"]
        for number, text in enumerate(told):
            lines += wrap(
                text,
                width,
                initial_indent=f"  {'' if number else effect:<7} ",
                subsequent_indent=" " * 14,
            )
    return lines


def _told(opening: Sequence[FlowChange], effect: Effect, at_cloud: bool) -> Iterator[str]:
    some = [change for change in opening if change.effect is effect]
    of_crossings = [
        change for change in some if change.clients and change.to and (change.crossing or change.was)
    ]
    for change in of_crossings:
        yield _crossing(opening, change, at_cloud)
    others = [change for change in some if change not in of_crossings]
    yield from _everybody(others)


# ---- crossings -----------------------------------------------------------------------------------


def _crossing(opening: Sequence[FlowChange], change: FlowChange, at_cloud: bool) -> str:
    own = [each for each in opening if each.crossing]
    name = f"{change.crossing or change.was}: " if len({each.crossing for each in own}) > 1 else ""
    text = f"{name}{first_of(change.clients)} → {first_of(change.to)}: {change.traffic}"
    if len({each.gateway for each in own}) > 1:
        text += f", through {change.gateway}"
    alike = {
        (each.gateway, each.ingress, each.egress)
        for each in own
        if (each.crossing, each.family) == (change.crossing, change.family)
    }
    if len(alike) > 1:
        text += f", by {change.ingress} ⇒ {change.egress}"
    text += "".join(
        f", {words}"
        for words in (_stays(change, at_cloud) if change.effect is Effect.STAYS else _seen(change))
    )
    return text if change.certain else f"{text}; how much of it others let pass is unknown"


def _seen(change: FlowChange) -> Iterator[str]:
    if change.seen_as:
        yield f"seen there as {joined(change.seen_as)}" + (
            " unless rules of others decide otherwise" if change.by_others else ""
        )


def _stays(change: FlowChange, at_cloud: bool) -> Iterator[str]:
    """What is another than before about flows that pass as they did."""
    if not change.was:
        yield "forwarded already" + (" by the hosts themselves" if at_cloud else "")
    elif not change.crossing:
        yield "forwarded for everybody"
    elif change.was != change.crossing:
        yield f"by crossing {change.crossing} instead of {change.was}"
    now, before = joined(change.seen_as), joined(change.seen_before)
    if now and before and now != before:
        yield f"seen there as {now} instead of {before}"
    elif now != before:
        yield f"seen there as {now} from now on" if now else f"no longer seen there as {before}"


# ---- everybody -----------------------------------------------------------------------------------


def _everybody(changes: Sequence[FlowChange]) -> Iterator[str]:
    for gateway, family in dict.fromkeys((each.gateway, each.family) for each in changes):
        here = [each for each in changes if (each.gateway, each.family) == (gateway, family)]
        whole = [each for each in here if each.egress not in ("", each.ingress) and _is_all(each)]
        for certain in (True, False):
            ways = {(each.ingress, each.egress) for each in whole if each.certain is certain}
            doubt = "" if certain else "; how much of it others let pass is unknown"
            yield from (
                f"{words} of {gateway}: any {family.label} traffic{doubt}" for words in _between(ways)
            )
        for each in here:
            if each.ingress == each.egress:
                yield f"traffic that bridge {each.ingress} of {gateway} carries: any {family.label} traffic"
            elif each.egress and each not in whole:
                yield f"{each.ingress} → {each.egress} of {gateway}: {_part(each)}"
        unknown = [each.ingress for each in here if not each.egress]
        if unknown:
            what = f"{family.label} that comes in by {first_of(unknown)} of {gateway}"
            yield f"{what}: unknown, because it has more interfaces and rules than crossnet follows for this"


def _is_all(change: FlowChange) -> bool:
    return change.exact and not change.clients and not change.to and change.traffic == "any traffic"


def _part(change: FlowChange) -> str:
    ends = "".join(
        f" {word} {first_of(names)}" for word, names in (("from", change.clients), ("to", change.to)) if names
    )
    if change.exact:
        text = f"{change.traffic.replace('any', f'any {change.family.label}', 1)}{ends}"
    elif ends or not change.traffic.startswith("any"):
        text = f"part of {change.traffic}{ends}"
    else:
        text = f"some {change.family.label} traffic"
    return text if change.certain else f"{text}; how much of it others let pass is unknown"


def _between(ways: set[tuple[str, str]]) -> Iterator[str]:
    """Ways from interface to interface in few words: those that lead from each of some to each other at once."""
    left = set(ways)
    while both := sorted((one, other) for one, other in left if one < other and (other, one) in left):
        among = list(both[0])
        for name in sorted({name for pair in both for name in pair} - set(among)):
            if all({(name, other), (other, name)} <= left for other in among):
                among.append(name)
        left -= {(one, other) for one in among for other in among}
        yield f"everybody between {joined(sorted(among))}"
    for ingress in sorted({one for one, _ in left}):
        egresses = sorted(other for one, other in left if one == ingress)
        yield f"everybody from {ingress} to {joined(egresses)}"


# ---- programs ------------------------------------------------------------------------------------


def opening_data(changes: Iterable[FlowChange]) -> list[dict[str, Any]]:
    return [
        {
            "effect": str(change.effect),
            "crossing": change.crossing or None,
            "gateway": change.gateway,
            "family": int(change.family),
            "ingress": change.ingress,
            "egress": change.egress or None,
            "from": list(change.clients),
            "to": list(change.to),
            "traffic": change.traffic,
            "seen_as": list(change.seen_as),
            "seen_as_by_others": change.by_others,
            "before": (
                {"crossing": change.was or None, "seen_as": list(change.seen_before)}
                if change.effect is Effect.STAYS
                else None
            ),
            "exact": change.exact,
            "certain": change.certain,
        }
        for change in changes
    ]
