"""One page for a change ticket: on each host the commands that a person would type, and those that take them back."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from crossnet.export.document import WIDTH, Document, origin, printable
from crossnet.export.work import ByHand, Work, in_order
from crossnet.planning import Plan
from crossnet.resources import Change, Command, Step
from crossnet.show.opening import opening_lines
from crossnet.spec import HostSpec

NAME = "change.txt"


def page(plan: Plan, chosen: Sequence[Work]) -> Document:
    """What changes while it runs; the files for the next boot are counted, and crossnet's own record is not in it."""
    groups = _alike(plan, chosen)
    by_hand = any(change.resource.changed_by for _, change in plan.changes)
    lines = [_wrapped(str(path)) for path in plan.paths]
    if plan.opening is not None:
        lines += ["", *opening_lines(plan.opening, WIDTH, at_cloud=by_hand)]
    for number, (names, there, back) in enumerate(groups, 1):
        lines += ["", _wrapped(f"{number}. {names}"), "", *there]
        if back:
            lines += ["", f"{number}. back:", "", *back]
    if len(groups) > 1:
        order = ", ".join(str(number) for number in range(1, len(groups) + 1))
        back_order = ", ".join(str(number) for number in range(len(groups), 0, -1))
        lines += [
            "",
            f"Order: {order}. The way back: {back_order}. {'On hosts as root' if by_hand else 'All of it as root'}.",
        ]
    lines += ["", *map(_wrapped, _left_out(chosen, by_hand=by_hand)), "", origin(plan)]
    return Document(NAME, "".join(f"{line}\n" for line in lines))


_Commands = tuple[tuple[str, ...], tuple[str, ...]]


def _alike(plan: Plan, chosen: Sequence[Work]) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Where something is typed, what, and what takes it back; hosts with the same stand together. The order stays."""
    live = {work.name: [change for name, change in plan.live() if name == work.name] for work in chosen}
    found: dict[tuple[int, _Commands], list[str]] = {}
    for number, step in enumerate(in_order(plan, chosen), 1):
        if isinstance(step, ByHand):
            where = f"{step.participant} for {step.host} (where `openstack` has credentials for it)"
            found[number, (tuple(map(printable, step.there)), tuple(map(printable, step.back)))] = [where]
            continue
        own = [change for change in live[step.name] if not change.resource.changed_by]
        changes = [change for change in own if not change.resource.is_persistent]
        if changes:
            back = [change.inverse() for change in reversed(changes)]
            names = found.setdefault((0, (tuple(_typed(changes)), tuple(_typed(back)))), [])
            names.append(f"{step.name} ({_reached(step.host)})")
    return [(", ".join(names), there, back) for (_, (there, back)), names in found.items()]


def _typed(changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        for step in change.steps:
            yield from map(printable, _lines(step, is_new=change.have is None))


def _lines(step: Step, *, is_new: bool) -> Iterator[str]:
    if not isinstance(step, Command):
        yield f"# {step}"
        return
    tool, *words = step.argv
    text = step.stdin.decode(errors="replace")
    match tool:
        case "sh":  # what takes a script to say; it belongs to the change, and nobody types it
            yield f"# {step}"
        case "sysctl":
            settings = [_dotted(word) for word in words if "=" in word]
            yield shlex.join(["sysctl", "-w", *settings])
        case "iptables-restore" | "ip6tables-restore" if typed := _as_iptables(tool, text, is_new=is_new):
            yield from typed
        case "nft" if gone := re.fullmatch(r"add (table \w+ \w+)\ndelete \1\n", text):
            yield f"nft delete {gone[1]}"
        case _ if text:
            yield f"{shlex.join(step.argv)} <<'END'"
            yield from text.splitlines()
            yield "END"
        case _:
            yield shlex.join(step.argv)


def _dotted(setting: str) -> str:
    """`net.ipv4.ip_forward=1`; an interface with a dot in its name keeps the slashes (sysctl(8))."""
    name, _, value = setting.partition("=")
    return setting if "." in name else f"{name.replace('/', '.')}={value}"


def _as_iptables(tool: str, text: str, *, is_new: bool) -> list[str]:
    """The lines of iptables-restore as calls of iptables; none where one of them is something else."""
    command, table, calls = tool.removesuffix("-restore"), "", list[str]()
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif chain := re.fullmatch(r":(\S+) - \[0:0\]", line):
            calls.append(f"{command} -t {table} {'-N' if is_new else '-F'} {chain[1]}")
        elif line.startswith("-"):
            calls.append(f"{command} -t {table} {line}")
        elif line not in ("COMMIT", ""):
            return []
    return calls


def _reached(host: HostSpec) -> str:
    if host.netns is not None:
        return f"namespace {host.netns}"
    way = host.ssh or (f"lab {host.lab}" if host.lab else "this machine")
    return f"{way}, sudo" if host.become else way


def _left_out(chosen: Sequence[Work], *, by_hand: bool) -> Iterator[str]:
    later = [
        (work.name, count)
        for work in chosen
        if (count := sum(change.resource.is_persistent for change in work.changes))
    ]
    if later:
        told = ", ".join(f"{count} on {name}" for name, count in later[:8])
        more = f" and more on {len(later) - 8} other hosts" if len(later) > 8 else ""
        yield f"Not in here: the files and units for the next boot ({told}{more})."
    yield (
        "crossnet has no record of what is typed by hand, no guard takes it back, and nothing verifies it: "
        "`crossnet apply` does all of that, `crossnet export --format sh` writes "
        f"{'all that hosts do of it' if by_hand else 'all of it'}."
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(
        printable(text), WIDTH, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False
    )
