"""What the commands print for people; plain text that reads in 80 columns where the content allows it."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from crossnet.codes import Code
from crossnet.design import Impact
from crossnet.errors import indented
from crossnet.health import CrossingStatus, State
from crossnet.netfilter import Engine
from crossnet.netfilter.foreign import Chain, Perhaps, Rule, Unknown, Why
from crossnet.planning import OWN_CROSSINGS, Undo
from crossnet.resources import Change
from crossnet.several import MOST_NAMES, few, first_of, joined
from crossnet.show.fixing import fixes_text
from crossnet.show.opening import opening_lines
from crossnet.show.paint import Paint, plain
from crossnet.show.standing import kept_text, named
from crossnet.show.visible import one_line
from crossnet.show.wrapping import wrap
from crossnet.values import Family, show_moment
from crossnet.verdict import Diagnosis, Result, Verification

if TYPE_CHECKING:
    from crossnet.api import Applied, Ended, UndoPlan
    from crossnet.design.flows import FlowChange
    from crossnet.facts import Facts
    from crossnet.facts.firewall import Firewall
    from crossnet.facts.links import Link, LinkAddress
    from crossnet.healed import Healing
    from crossnet.planning import HostPlan, Plan
    from crossnet.transaction.history import Past

SYMBOLS = {"create": "+", "change": "~", "remove": "-"}
TOUCHES = "!"  # beside one of these: it touches the management path
_COLOURS = {"create": "green", "change": "yellow", "remove": "red"}
_STATES = {
    State.UP: "green",
    State.UNPROVED: "yellow",
    State.PENDING: "yellow",
    State.DEGRADED: "yellow",
    State.DRIFTED: "yellow",
    State.DOWN: "red",
    State.UNRECORDED: "red",
    State.UNKNOWN: "yellow",
    State.OVER: "green",
}
_RESULTS = {Result.REACHABLE: "green", Result.UNREACHABLE: "red", Result.UNDETERMINED: "yellow"}

WIDTH = 80

# What is told whatever the plan changes: a crossing that ends, a record that is not there, what somebody has written.
_LOSES = ("ends-crossing", "unrecorded", "edits-lost")

# What is not given back, or not for longer than until the next boot.
_STAYS = (
    *("tables-stay", "forwarding-stays", "earlier-boot", "other-at-boot", "in-saved-rules"),
    *("owner-remembers", "edits-stay", "cloud-init-rewrites", "leases-keep-routes", "stays-unseen"),
    "flows-live-on",
)

# What may keep a crossing from working, and no change of the plan is the reason of.
_HINDERS = (
    *("others-may-drop", "others-translate", "not-tracked", "leaves-elsewhere", "flows-offloaded"),
    *(
        "kernel-decides",
        "kernel-refuses",
        "source-may-change",
        "other-interface-answers",
        "setting-overridden",
        "tool-missing",
        "probe-stopped",
        "next-hop-elsewhere",
        "redirects-clients",
        "way-not-kept",
        "way-gone",
    ),
    *("route-with-lease", "address-not-leased", "gateway-takes-lease", "subnet-without-dhcp"),
    *("until", "over", "clock-differs", "crossing-passes", "changes-crossing"),
)

# What changes at a cloud open: the lines about what opens and closes know of hosts alone.
_AT_CLOUD = (
    *("port-may-send", "port-admits", "port-security-off", "pairs-in-shared-group"),
    *("member-no-more", "many-address-pairs"),
    *("routes-for-all", "lease-has-default", "many-host-routes"),
)

# What the lines about what opens and closes tell already.
_OPENS = ("gains-reachability", "changes-source-identity")

_TOUCHING = "touches the management path"
_LOST = "what is lost"
_KNOW = "what to know"
_STAYING = "what stays"

# Of one kind on one host, and of one impact, in a plan that is not verbose.
MOST_ALIKE = 8
MOST_OF_IMPACT = 12

# Of one table or file in a verbose plan, and of one kind of facts; the whole is in --json.
MOST_LINES = 40
LONGEST_LINE = 400


# ---- plan ----------------------------------------------------------------------------------------


def plan_text(
    plan: Plan, *, verbose: bool = False, paint: Paint = plain, width: int = WIDTH, given_up: str = ""
) -> str:
    """The plan as `crossnet plan` prints it; verbose unfolds what is for the next boot, long lists and every step.

    A gateway that is `given_up` is not read.

    `!` stands in a column of its own, so that `+`, `~` and `-` still say what is done.
    """
    lines = [str(path) for path in plan.paths]
    if plan.touched and plan.kept:
        lines += ["", "what is kept", *(f"  {kept_text(one)}" for one in plan.kept)]
    for names, told in _hosts(plan, verbose, paint):
        lines += ["", paint(first_of(names), "bold"), *told]
    if plan.changes and plan.opening is not None:
        at_cloud = any(change.want is not None and change.resource.changed_by for _, change in plan.changes)
        opening = opening_lines(
            _told_opening(plan), width, verbose=verbose, at_cloud=at_cloud, given_up=given_up
        )
        lines += ["", *opening]
    lines += _told(plan, verbose, paint, width)
    return "\n".join([*lines, *([""] if lines else []), summary(plan)]).strip("\n")


def known_text(plan: Plan, *, verbose: bool = False, paint: Paint = plain, width: int = WIDTH) -> str:
    """What there is to know of a plan that changes nothing; nothing where there is none."""
    return "\n".join(_told(plan, verbose, paint, width)).strip("\n")


def _told(plan: Plan, verbose: bool, paint: Paint, width: int) -> list[str]:
    lines = []
    for title, impacts in _rest(plan, verbose).items():
        if impacts:
            mark, colour = _TITLES.get(title, ("", ""))
            shown = f"{paint(mark, 'red')} {title}" if mark else paint(title, colour) if colour else title
            told = (line for impact in _alike(impacts, verbose) for line in _impact(impact, width, verbose))
            lines += ["", shown, *told]
    return lines


def _told_opening(plan: Plan) -> list[FlowChange]:
    """What opens and closes: crossings of the plan's own spec by their names alone, and without what is only kept."""
    kept, own = {one.label for one in plan.kept}, f"{plan.spec.name}/"
    return [
        replace(each, crossing=each.crossing.removeprefix(own), was=each.was.removeprefix(own))
        for each in plan.opening or ()
        if each.crossing not in kept or not each.is_as_before
    ]


_TITLES = {_TOUCHING: (TOUCHES, ""), _LOST: ("", "red")}


def _rest(plan: Plan, verbose: bool) -> dict[str, list[Impact]]:
    """What there is to know beside what opens and closes, by the titles under which it stands."""
    parts: dict[str, list[Impact]] = {_TOUCHING: [], _LOST: [], _KNOW: [], _STAYING: []}
    by_rules = verbose or any(
        change.resource.decides(family) for _, change in plan.changes for family in Family
    )
    because = {
        (code, host)
        for host, change in plan.changes
        if change.resource.is_persistent
        for code in ("not-persistent", "heals", "not-healed", "kept-by-owner")
    }
    because |= {("taken-away", host) for host, _ in plan.changes}
    because |= {("policy-rule-added", host) for host, change in plan.changes if change.resource.policy_rules}
    because |= {(code, host) for host, one in plan.changes if one.resource.changed_by for code in _AT_CLOUD}
    for impact in plan.impacts:
        title = _KNOW
        if impact.code == "touches-management-path":
            title = _TOUCHING
        elif impact.code in _LOSES:
            title = _LOST
        elif impact.code in _STAYS:
            title = _STAYING
        elif impact.code in _OPENS or not (
            by_rules or impact.crossings or impact.code in _HINDERS or (impact.code, impact.where) in because
        ):
            continue
        parts[title].append(impact)
    return parts


def _alike(impacts: Sequence[Impact], verbose: bool) -> Iterator[Impact]:
    """The same of several hosts told once, with their names."""
    alike: dict[tuple[str, str], dict[str, None]] = {}
    for impact in impacts:
        alike.setdefault((impact.code, impact.text), {})[impact.where] = None
    for (code, text), names in alike.items():
        yield Impact(code, first_of(list(names), None if verbose else MOST_NAMES), text)


def undo_plan_text(made: UndoPlan, *, verbose: bool = False, paint: Paint = plain) -> str:
    """What undo would do."""
    lines: list[str] = []
    for host, left in made.unfinished.items():
        if left.unreadable:
            lines.append(f"{host}: transaction {left.transaction} was not finished: it is ended first")
            continue
        lines.append(
            f"{host}: transaction {left.transaction} of {one_line(left.who)}, {one_line(left.started)}, "
            "was not finished:"
        )
        if left.decision == "confirm":
            lines.append("  it was confirmed, so what is missing is done first")
        else:
            lines.append(f"  {left.begun} of its {len(left.entries)} changes are put back first")
    if made.plan.touched or not lines:
        host = made.what.host or ""
        lost = made.what.forgotten and any(one.gateway == host for one in made.plan.ended)
        lines.append(plan_text(made.plan, verbose=verbose, paint=paint, given_up=host if lost else ""))
    return "\n".join(lines)


def _hosts(plan: Plan, verbose: bool, paint: Paint) -> Iterator[tuple[list[str], list[str]]]:
    """What is done on each host; hosts of which it is the same stand together."""
    found: list[tuple[list[str], list[str]]] = []
    if plan.is_empty and not verbose:
        return iter(found)
    for host in sorted(plan.hosts, key=lambda host: _place(plan, host)):
        told = list(_host(plan, host, verbose, paint))
        alike = next((names for names, lines in found if lines == told), None) if not verbose else None
        if alike is not None:
            alike.append(host.host)
        elif told:
            found.append(([host.host], told))
    return iter(found)


def _place(plan: Plan, host: HostPlan) -> int:
    return [spec.name for spec in plan.spec.hosts].index(host.host)


def _host(plan: Plan, host: HostPlan, verbose: bool, paint: Paint) -> Iterator[str]:
    if verbose and host.host in plan.engines and (host.changes or host.adopted):
        choice = plan.engines[host.host]
        accepts = f", accepts in {choice.accepts}" if choice.accepts is not None else ""
        yield f"  engine    {choice.engine}{accepts}: {choice.reason}"
    changes = sorted(host.changes, key=lambda change: change.resource.place_shown)
    for_boot = [one for one in changes if one.resource.is_persistent and one not in host.touching]
    folded = for_boot if len(for_boot) > 1 and not verbose else []
    for kind, alike in groupby(
        (one for one in changes if one not in folded), key=lambda one: one.resource.kind
    ):
        several = list(alike)
        shown = several if verbose or len(several) <= MOST_ALIKE else several[: MOST_ALIKE - 1]
        for change in shown:
            symbol = paint(SYMBOLS[change.action], _COLOURS[change.action])
            mark = paint(TOUCHES, "red") if change in host.touching else " "
            yield f"{mark} {symbol} {kind:<7} {one_line(change.description)}"
            if verbose:
                yield from _details(change)
        yield from _more(several[len(shown) :], host, paint)
    for action, symbol in SYMBOLS.items():
        if count := sum(change.action == action for change in folded):
            noun = "files and units" if count > 1 else "file or unit"
            yield f"  {paint(symbol, _COLOURS[action])} {count} {noun} for the next boot"
    shown_adopted = host.adopted[: None if verbose or len(host.adopted) <= MOST_ALIKE else MOST_ALIKE - 1]
    for resource in shown_adopted:
        yield f"  = {resource.kind:<7} {one_line(str(resource.found))}  (adopted: it is there already, undo leaves it)"
    if more := len(host.adopted) - len(shown_adopted):
        yield f"  = {'':<7} and {more:,} more that are adopted"


def _more(left: Sequence[Change], host: HostPlan, paint: Paint) -> Iterator[str]:
    """How many more of a kind there are, by what is done with them."""
    for action, symbol in SYMBOLS.items():
        some = [change for change in left if change.action == action]
        if some:
            mark = paint(TOUCHES, "red") if any(change in host.touching for change in some) else " "
            yield f"{mark} {paint(symbol, _COLOURS[action])} {some[0].resource.kind:<7} and {len(some):,} more"


def _details(change: Change) -> Iterator[str]:
    """Each step with what it is fed; where content takes the place of another, what becomes different in it."""
    after = _content(change)
    before = _content(change.inverse()) if change.have and change.want else []
    if before:
        diff = difflib.unified_diff(before, after, lineterm="", n=1)
        yield from (f"        {line}" for line in diff if not line.startswith(("---", "+++", "@@")))
        return
    for step in change.steps:
        yield f"      {one_line(str(step))}"
    for line in after[:MOST_LINES]:
        yield f"        | {line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + ' …'}"
    if len(after) > MOST_LINES:
        yield f"        | … {len(after) - MOST_LINES} more lines"


def _content(change: Change) -> list[str]:
    """What the steps of a change are fed or write."""
    given = b"".join(step.content for step in change.steps)
    return given.decode(errors="replace").splitlines()


def _impact(impact: Impact, width: int, verbose: bool) -> list[str]:
    lines = wrap(
        f"{impact.where}: {impact.text}  [{impact.code}]",
        width=width,
        initial_indent="  ",
        subsequent_indent="      ",
    )
    if verbose or len(lines) <= MOST_OF_IMPACT:
        return lines
    return [
        *lines[:MOST_OF_IMPACT],
        f"      … {len(lines) - MOST_OF_IMPACT:,} more lines with -v  [{impact.code}]",
    ]


def summary(plan: Plan) -> str:
    """The last line: `Plan: 4 to add, 1 to change, 0 to remove on 2 hosts.`"""
    if plan.is_empty and plan.touched:
        return f"No changes, except in crossnet's own record on {', '.join(plan.touched)}."
    if plan.is_empty:
        return "No changes."
    counts = dict.fromkeys(SYMBOLS, 0)
    for _, change in plan.changes:
        counts[change.action] += 1
    hosts = len({host for host, _ in plan.changes})
    return (
        f"Plan: {counts['create']} to add, {counts['change']} to change, {counts['remove']} to remove "
        f"on {hosts} host{'s' if hosts != 1 else ''}."
    )


# ---- apply, verify, undo -------------------------------------------------------------------------


def applied_text(applied: Applied, *, paint: Paint = plain) -> str:
    """How an apply ended."""
    lines: list[str] = []
    if applied.verification:
        lines += [verification_text(applied.verification, paint=paint), ""]
    if applied.unproved:
        lines += [
            paint("Not proved end to end:", "yellow"),
            *(f"  {indented(one.why)}" for one in applied.unproved),
        ]
    if applied.confirmed is None:
        return "\n".join([*lines, "No changes."])
    if applied.unproved:
        again = (
            " `crossnet verify` sends the probes again." if any(one.probe for one in applied.unproved) else ""
        )
        lines.append(f"It stays as it is.{again}")
        said = f"Confirmed, not proved end to end. Transaction {applied.confirmed.transaction}."
        lines.append(paint(said, "yellow"))
    else:
        lines.append(paint(f"Confirmed. Transaction {applied.confirmed.transaction}.", "green"))
    for error in applied.unwritten:
        lines.append(paint(f"Not written for the next boot: {indented(error)}", "yellow"))
    if applied.unwritten:
        lines.append("The crossing works until then. Run `crossnet apply` again when that is fixed.")
    return "\n".join([*lines, *_meanwhile(applied, paint)])


def undone_text(applied: Applied, what: Undo = OWN_CROSSINGS, *, paint: Paint = plain) -> str:
    """How an undo ended that took back `what`."""
    kept = applied.plan.kept
    stands = first_of([named(one) for one in kept])
    if applied.confirmed is None:
        if kept:
            return (
                f"No changes. What stands on these hosts is not from spec {applied.plan.spec.name}: {stands}."
            )
        return "No changes. Nothing of crossnet is applied on these hosts."
    not_known, staying = [*_not_given_back(applied.plan)], [*_staying(applied.plan)]
    if kept:
        nothing = f", and still there: {stands}"
    elif any(each.code == "stays-unseen" for each in applied.plan.impacts):
        nothing = ""
    else:
        nothing = ", and nothing of crossnet is left there"
    every = f"Every host but {what.host}" if what.forgotten else "Every host"
    if applied.unwritten:
        still = (
            f"some of it stays for the next boot{nothing}"
            if kept
            else "something of crossnet is still there for the next boot"
        )
        lines = [paint(f"Undone, but {still}.", "yellow")]
    elif not_known or staying or kept:
        lines = [paint(f"Undone. {every} was read again{nothing}.", "green")]
    else:
        lines = [paint(f"Undone. {every} was read again and is as it was before crossnet.", "green")]
    lines += (paint(line, "yellow") for line in not_known)
    if staying:
        lines.append(paint("Not everything is as it was before crossnet:", "yellow"))
        lines += (paint(f"  {line}", "yellow") for line in staying)
    lines += (
        f"{one.where}: {one_line(one.text)}." for one in applied.plan.impacts if one.code == "flows-live-on"
    )
    lines.append(f"Transaction {applied.confirmed.transaction}.")
    for error in applied.unwritten:
        lines.append(paint(f"Not removed from the next boot: {indented(error)}", "yellow"))
    if applied.unwritten:
        # Of a part that is gone already nothing stands that could be named again, and the whole spec is more than that.
        again = what.is_of_spec or not (kept or what.all or what.forgotten)
        lines.append(
            "Run `crossnet undo` again when that is fixed."
            if again
            else "When that is fixed, the next apply or undo of a spec with that host removes it."
        )
    return "\n".join([*lines, *_meanwhile(applied, paint)])


def _not_given_back(plan: Plan) -> Iterator[str]:
    """What nobody knows any more, and what crossnet made of it."""
    for host in plan.hosts:
        if host.before.rebuilt:
            yield f"{host.host}: its record had been lost: how it was before crossnet is not known."
            for change in host.changes:
                if change.resource.is_never_absent:
                    said = one_line(change.description)
                    yield f"{host.host}: {said}; if something else there needs it, set it again."


def _staying(plan: Plan) -> Iterator[str]:
    """What is not as before by the plan, and how to take it, for whoever has not read that."""
    for each in plan.impacts:
        if each.code in ("forwarding-stays", "earlier-boot", "edits-stay", "stays-unseen"):
            yield f"{each.where}: {one_line(each.text)}."


def _meanwhile(applied: Applied, paint: Paint) -> Iterator[str]:
    if applied.meanwhile:
        yield paint("Meanwhile changed by somebody else, and left alone:", "yellow")
        yield from (f"  {one_line(line)}" for line in applied.meanwhile)


def ended_text(ended: Sequence[Ended], *, paint: Paint = plain) -> str:
    """How transactions ended that were left open."""
    if not ended:
        return "Nothing to recover: no transaction is open on these hosts."
    lines: list[str] = []
    for one in ended:
        name = f"Transaction {one.transaction} ({one.what})"
        if one.is_confirmed:
            lines.append(paint(f"Confirmed. {name}.", "green"))
        elif one.was_begun and one.ended_by:
            said = f"{name}: {one.ended_by} has put itself back, by the transaction's own script there."
            lines.append(paint(said, "yellow"))
        elif not one.was_begun:
            lines.append(f"{name} had changed nothing, and was cleared away.")
        else:
            lines.append(
                paint(f"Rolled back: every host was read again and is as it was before. {name}.", "yellow")
            )
        lines += [
            paint(f"Not written for the next boot: {indented(error)}", "yellow") for error in one.unwritten
        ]
        lines += [
            paint(f"Not proved end to end: {one_line(crossing)}", "yellow") for crossing in one.unproved
        ]
        lines += [paint(f"{host} had gone back before that.", "yellow") for host in one.went_back]
    return "\n".join(lines)


def history_text(found: Sequence[Past], healed: Sequence[Healing] = (), *, whole: bool = True) -> str:
    """Who, when, what and how it ended, a line for each transaction and host; messages where there are any.

    `healed` is what the hosts brought back by themselves. Not `whole` where only some were asked for.
    """
    if not found and not healed:
        return "No transaction has ended on these hosts." if whole else "No such transaction on these hosts."
    names = ["started", "ended", "host", "transaction", "who", "what", "message", "outcome"]
    told = sorted([*map(_past, found), *map(_healing, healed)], key=lambda words: words[0])
    rows = [names, *([one_line(word) for word in words] for words in told)]
    if not any(one.message for one in found):
        place = names.index("message")
        rows = [row[:place] + row[place + 1 :] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _past(one: Past) -> list[str]:
    outcome = f"{one.outcome}: {one.why}" if one.why else one.outcome
    names_none = one.what == "undo" or one.what.startswith("until ")
    which = f" of {', '.join(one.crossings)}" if names_none and one.crossings else ""
    what = f"{one.what}{which}"
    return [one.started, one.ended, one.host, one.transaction, one.who, what, one.message, outcome]


_HEALED = {
    "brought-back": "brought back",
    "failed": "could not be brought back",
    "gave-up": "gave up, for it was taken away again and again",
}


def _healing(one: Healing) -> list[str]:
    beside = f"; just before that {joined(one.beside)}" if one.beside else ""
    outcome = f"{_HEALED.get(one.outcome, one.outcome)}: {one.what}{beside}"
    return [one.when, one.when, one.host, "-", "the host itself", "heal", "", outcome]


def verification_text(found: Verification, *, paint: Paint = plain) -> str:
    """Each flow with its evidence, and what was read back different."""
    lines = [line for text in found.exposed for line in _wrapped(text, "")]
    for verdict in found.verdicts:
        lines += _verdict(verdict, paint)
    if found.differences:
        told = _first_of(found.differences, found.differences)
        lines += ["read back: differs from the spec", *(f"  {one_line(text)}" for text in told)]
    else:
        where = "that was reached" if found.unreached else ""
        lines.append(f"read back: equal to the spec on every host {where}".rstrip())
    stopped = dict.fromkeys(one.crossing for one in found.verdicts if one.result is Result.UNREACHABLE)
    lines += [f"`crossnet diagnose {name}` finds where it stops, and why" for name in stopped]
    return "\n".join(lines)


def _verdict(verdict: Diagnosis, paint: Paint) -> Iterator[str]:
    result = paint(verdict.result.upper(), _RESULTS[verdict.result])
    source = f" {verdict.source}" if verdict.source and verdict.client != str(verdict.source) else ""
    probe = f" → {verdict.probe}" if verdict.probe else ""
    yield f"{verdict.crossing}: {verdict.client}{source}{probe}  {result}"
    for half in (verdict.forward, verdict.reply):
        if half.code or half.detail:
            code = f"{half.code}: " if half.code else ""
            yield from _wrapped(f"{code}{half.detail}", "  ")
            yield from fixes_text(half.fix, "  ")
    offered = (fix.by_crossnet for half in (verdict.forward, verdict.reply) for fix in half.fix)
    for way in dict.fromkeys(each for each in offered if each):
        yield from _wrapped(f"with crossnet:  {f'`{way}`' if way.startswith('crossnet ') else way}", "  ")
    for text in (*verdict.forward.evidence, *(note.detail for note in verdict.notes)):
        for number, line in enumerate(text.splitlines()):
            yield from _wrapped(line.strip(), "    " if number else "  ")


def _wrapped(line: str, indent: str) -> list[str]:
    return wrap(line, WIDTH, initial_indent=indent, subsequent_indent="    ")


# ---- status --------------------------------------------------------------------------------------


def status_text(found: Sequence[CrossingStatus], *, verbose: bool = False, paint: Paint = plain) -> str:
    width = max((len(status.crossing) for status in found), default=0)
    widest = max((8, *(len(status.state) for status in found)))  # all but `unrecorded` fit
    lines: list[str] = []
    for status in found:
        counted = ""
        if status.counters:
            admitted = sum(counters.admitted.packets for counters in status.counters)
            fenced = sum(counters.fenced.packets for counters in status.counters)
            counted = f"{admitted} packet{'' if admitted == 1 else 's'} of new flows, {fenced} fenced, "
        if status.until is not None:
            counted += f"{'since' if status.state is State.OVER else 'until'} {show_moment(status.until)}, "
        never = "never" if status.tells_verified else "not known"
        verified = one_line(f"{status.result} {status.verified}") if status.verified else never
        state = paint(f"{status.state:<{widest}}", _STATES[status.state])
        lines.append(f"{status.crossing:<{width}}  {state}  {counted}verified: {verified}")
        urgent = {str(exposure) for exposure in status.exposures}
        reasons = _first_of(_first_of(status.reasons, status.drift), status.pending)
        for reason in reasons:
            told = indented(reason)
            lines.append(f"  {paint(told, 'red') if reason in urgent else told}")
        lasting = map(str, status.lasting) if verbose else _not_kept(status)
        lines += [f"  {one_line(line)}" for line in lasting]
    return "\n".join(lines)


def _not_kept(status: CrossingStatus) -> Iterator[str]:
    """A line for each host of which something works now and is gone at the next boot, though nobody asked for that."""
    gone: dict[str, list[str]] = {}
    for each in status.lasting:
        if each.live and each.asked and not each.kept_in:
            gone.setdefault(each.host, []).append(each.what)
    for host, some in gone.items():
        yield f"{host}: live, but not persistent: {few(some, MOST_ALIKE, ', ')}: nothing brings it back at a boot"


def _first_of(lines: Sequence[str], alike: Sequence[str]) -> list[str]:
    """The same with the first of those that are alike, and how many more they are."""
    left = set(alike[MOST_ALIKE:])
    if len(left) < 2:
        return list(lines)
    last = alike[MOST_ALIKE - 1]
    shown: list[str] = []
    for line in lines:
        if line not in left:
            shown.append(line)
        if line == last:
            shown.append(f"… {len(left):,} more, {len(alike):,} in all: --json has them")
    return shown


# ---- facts, explain ------------------------------------------------------------------------------


def facts_text(found: Mapping[str, Facts], *, paint: Paint = plain) -> str:
    return "\n\n".join("\n".join([paint(name, "bold"), *_facts(facts)]) for name, facts in found.items())


def _facts(facts: Facts) -> Iterator[str]:
    able = facts.capabilities
    init = "systemd" if able.systemd else facts.init.init.label if facts.init else "no systemd"
    yield f"  kernel     {_version(able.kernel)}, {init}"
    engines = [f"nft {_version(able.nft)}"] if able.nft else []
    if able.iptables:
        engines.append(f"iptables {_version(able.iptables)} ({'nft' if able.iptables_is_nft else 'legacy'})")
    yield f"  firewall   {', '.join(engines) or 'none'}"
    yield from _rules(facts.firewall)
    for manager in facts.managers:
        yield from wrap(
            str(manager),
            WIDTH,
            initial_indent="  manager    ",
            subsequent_indent=" " * 15,
        )
    yield from _first("interface", list(map(_interface, facts.links)))
    yield from _first("owner", [f"{owner}" for owner in facts.owners.values() if owner.is_known])
    yield from _first("filter", list(facts.classifiers.values()))
    yield from _first("ipsec", [policy.text for policy in facts.ipsec])
    rules = [rule for rule in facts.policy_rules if not rule.is_usual or rule.unknown]
    yield from _first("rule", [f"{'' if rule.family is Family.V4 else 'IPv6 '}{rule}" for rule in rules])
    routes = [route for route in facts.routes if route.table != "local"]
    protocols = (f" proto {route.protocol}" if route.protocol else "" for route in routes)
    yield from _first(
        "route", [route.with_table + each for route, each in zip(routes, protocols, strict=True)]
    )
    yield from _first("saved", [f"{each.file}: {', '.join(each.names)}" for each in facts.saved])
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        if name in facts.sysctls:
            yield f"  sysctl     {name} = {facts.sysctls[name]}"


def _first(what: str, lines: Sequence[str]) -> Iterator[str]:
    """The lines of one kind, of many the first."""
    yield from (f"  {what:<10} {one_line(line)}" for line in lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        yield f"  {what:<10} … {len(lines) - MOST_LINES:,} more, {len(lines):,} in all: --json has them"


def _interface(link: Link) -> str:
    state = "up" if link.up else "down"
    words = ", ".join([*map(_address, link.addresses), *_parts(link)])
    return f"{link.name:<8} {state:<5} mtu {link.mtu:<6} {words}".rstrip()


def _address(item: LinkAddress) -> str:
    given = " advertised" if item.advertised else " leased" if item.leased else ""
    return f"{item.address}/{item.prefix}{given}"


def _parts(link: Link) -> Iterator[str]:
    """What an interface is and belongs to; a veth is what a container's card is."""
    if link.vlan is not None:
        yield f"vlan {link.vlan} on {link.parent}"
    elif link.kind == "vrf":
        yield f"vrf of table {link.table}"
    elif link.kind not in ("", "veth"):
        yield link.kind + (f" on {link.parent}" if link.parent else "")
    if link.master:
        yield f"part of {link.master}"
    if link.xdp:
        yield "with an XDP program"


def _rules(firewall: Firewall) -> Iterator[str]:
    """How many rules each engine has, by family with iptables and by table with nftables; and which nobody can read."""
    counts: dict[str, int] = {}
    strange: dict[str, list[str]] = {}
    for table in firewall.foreign:
        for chain in table.chains.values():
            engine = firewall.engine_of(table, chain)
            if engine.is_iptables:
                where = f"{engine} IPv{4 if table.family == 'ip' else 6}"
                place = f"{table.name} {chain.name}"
            else:
                where = f"{engine} {table.family} {table.name}" if table.name else str(engine)
                place = chain.name
            lines = strange.setdefault(where, [])
            texts = [one_line(rule.text.removeprefix(f"-A {chain.name} ")) for rule in _strange(chain)]
            if not table.read:
                lines[:] = [f"not understood, any of them: {texts[0]}"]
                continue
            counts[where] = counts.get(where, 0) + chain.count
            if texts:
                more = f" (and {len(texts) - 1} more)" if texts[1:] else ""
                lines.append(f"not understood in {place}: {texts[0]}{more}")
    for where, lines in strange.items():
        count = counts.get(where)
        if count or lines or where.startswith(Engine.NFTABLES):
            yield f"  rules      {where}{'' if count is None else f': {count}'}"
        for line in lines:
            yield from wrap(line, WIDTH, initial_indent=" " * 13, subsequent_indent=" " * 15)


def _strange(chain: Chain) -> Iterator[Rule]:
    """The rules that do something, or ask for something, that is not understood."""
    for rule in chain.rules:
        if any(
            isinstance(each, Unknown) or (isinstance(each, Perhaps) and each.why is Why.NOT_UNDERSTOOD)
            for each in rule.statements
        ):
            yield rule


def _version(version: Iterable[int]) -> str:
    return ".".join(str(number) for number in version)


def code_text(code: Code, *, paint: Paint = plain) -> str:
    """One explanation code: what it means, what shows it, what to do."""
    lines = [paint(code.name, "bold")]
    for title, text in (("means", code.meaning), ("seen by", code.evidence), ("do", code.fix)):
        lines += textwrap.wrap(
            text, WIDTH, initial_indent=f"  {title:<8} ", subsequent_indent=" " * 11, break_long_words=False
        )
    return "\n".join(lines)
