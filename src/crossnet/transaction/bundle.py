"""A host's part of a transaction as the files that host.sh works with, in one piece for one round trip."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from crossnet.errors import Bug
from crossnet.persistence import until
from crossnet.planning import HostPlan
from crossnet.record import HOST_SCRIPT, Record
from crossnet.resources import Change, Command, Link, Look, Splice, Step, Test, Write
from crossnet.standing import Stamp
from crossnet.transaction.batches import Batch, batched
from crossnet.transaction.beside import beside_firewalls
from crossnet.transaction.journal import Journal, encode, entry, stamp_of
from crossnet.values import write_moment

Locate = Callable[[PurePosixPath], PurePosixPath]
File = tuple[str, bytes]

# What a shell reads itself: it may take what is no ASCII for a mark of its own, and it reads byte by byte.
_LINES = re.compile(rb"([\t -~]*\n)*")
_HOST_SCRIPT = PurePosixPath(HOST_SCRIPT)
_SHORT = 1024  # bytes

BY_ITSELF = "the host itself"
"""Who begins what a host does when crossings are over, as journals and histories have it."""


def bundle(
    journal: Journal, host: HostPlan, live: Sequence[Batch], persistent: Sequence[Change], locate: Locate
) -> bytes:
    """All files of it, as `packed`."""
    later = batched(persistent)
    return packed(
        (
            ("journal.json", encode(journal)),
            ("audit", f"{journal.audit}\n".encode()),
            *_records(stamp_of(journal), host.before, host.after, persistent),
            ("services", "".join(f"{name}\n" for name in _services(persistent)).encode()),
            *(file for one in live for file in _live(f"live/{_place(one, live)}", one, locate)),
            *(file for one in later for file in _later(f"persist/{_place(one, later)}", one, locate)),
            *(file for one in later for file in _checks(f"persist/{_place(one, later)}", one, locate)),
            *_between([change for one in live for change in one.changes], locate),
            *lapses(journal, host, locate),
        )
    )


def packed(files: Iterable[File]) -> bytes:
    """The folders in a line, then each file: its name, `lines` or `bytes`, how many of them, and these."""
    files = list(files)
    folders = dict.fromkeys(name.rpartition("/")[0] for name, _ in files if "/" in name)
    parts = [" ".join(folders).encode() + b"\n"]
    for name, data in files:
        is_short = len(data) <= _SHORT and _LINES.fullmatch(data)
        how = f"lines {len(data.splitlines())}" if is_short else f"bytes {len(data)}"
        parts += [f"{name} {how}\n".encode(), data]
    return b"".join(parts)


def lapses(journal: Journal, host: HostPlan, locate: Locate) -> Iterator[File]:
    """What the host does by itself when crossings are over: for each time all that a transaction has.

    What differs: the host names it when it begins, and each live change has a test whether it is made already, because
    nobody looks at the host before it. `of` is the digest of the record that has to be there then.
    """
    stamp = stamp_of(journal)
    found = host.after.stamped(stamp).to_json()
    for lapse in host.lapses:
        folder = f"until/{lapse.at}"
        own = replace(
            journal,
            transaction="",
            what=f"until {write_moment(datetime.fromtimestamp(lapse.at, UTC))}",
            who=BY_ITSELF,
            machine="",
            process=0,
            process_start=None,
            group=(host.host,),
            message="",
            crossings=tuple(one.label for one in lapse.ended),
            entries=tuple(map(entry, lapse.live)),
            others=(),
        )
        _, _, *said = own.audit.split("\t")
        live, persistent = batched(lapse.live), batched(lapse.persistent)
        yield f"{folder}/said", ("\t".join(said) + "\n").encode()
        yield f"{folder}/of", f"{hashlib.sha256(found).hexdigest()}\n".encode()
        yield f"{folder}/journal.json", encode(own)
        yield f"{folder}/services", b""
        for name, data in _records(stamp, lapse.before, lapse.after, lapse.persistent):
            yield f"{folder}/{name}", data
        for one in live:
            place = f"{folder}/live/{_place(one, live)}"
            yield from _live(place, one, locate)
            yield f"{place}/made", _words("run", "sh", "-s")
            yield f"{place}/made.data", _script(change.is_made(_at(locate)) for change in one.changes)
        for name, data in _between(lapse.live, locate):
            yield f"{folder}/{name}", data
        for one in persistent:
            yield from _later(f"{folder}/persist/{_place(one, persistent)}", one, locate)
        found = lapse.after.stamped(stamp).to_json()
    if host.lapses:
        timed = any(owned.applied.key == until.TIMER for owned in host.after.owned)
        yield "until/by", b"timer\n" if timed else b"watch\n"


def _between(live: Sequence[Change], locate: Locate) -> Iterator[File]:
    """What keeps it closed between the changes and the end: units, and the steps that switch forwarding off."""
    if locate(_HOST_SCRIPT) == _HOST_SCRIPT:  # units of a host see nothing of what is done in its namespaces
        yield from beside_firewalls(live)
    closing: list[Change] = []
    for change in live:
        if change.want and change.want.closes and change.want.values:
            closing.append(change)
        elif change.have and change.have.closes and change.have.values:
            closing.append(change.inverse())
    yield from steps_as_files("close", [step for one in closing for step in one.steps], locate)


def _at(locate: Locate) -> Callable[[str], str]:
    return lambda path: str(locate(PurePosixPath(path)))


def _script(asked: Iterable[Test]) -> bytes:
    """A script that ends well when all of these hold."""
    tests = list(asked)
    functions = dict.fromkeys(function for test in tests for function in test.functions)
    # In braces, so that it is read whole before a command of it could read on.
    lines = "".join(f"{_fed(test)} || exit 1\n" for test in tests)
    return f"{''.join(functions)}{{\n{lines}exit 0\n}} </dev/null\n".encode()


def _fed(test: Test) -> str:
    if test.stdin is None:
        return f"{{ {test.line}; }}"
    text, end = test.stdin.decode(), "END"
    while end in text.splitlines():
        end += "_"
    return f"{{\n{test.line} <<'{end}'\n{text}{end}\n}}"


def _records(stamp: Stamp, before: Record, after: Record, persistent: Sequence[Change]) -> Iterator[File]:
    """What crossnet owns there afterwards: when all is written, and when something could not be removed."""
    still = [owned for one in persistent if one.want is None and (owned := before.find(one.resource))]
    crossings = after.crossings or before.crossings
    unwritten = Record(crossings, (*after.owned, *still), before.rebuilt, adopted=after.adopted)
    if not after.is_empty:
        yield "record.written", after.stamped(stamp).to_json()
    if unwritten.owned:
        yield "record.unwritten", unwritten.stamped(stamp).to_json()


def _services(persistent: Sequence[Change]) -> Iterator[str]:
    """The units that an interrupted boot has to start itself, because their files came too late for it."""
    for one in persistent:
        if one.want is not None:
            yield from one.want.starts


def _place(batch: Batch, batches: Sequence[Batch]) -> str:
    """Its number, as wide as the highest: a shell sorts names and not numbers."""
    return f"{batch.last:0{max(4, len(str(batches[-1].last)))}}"


def _live(folder: str, batch: Batch, locate: Locate) -> Iterator[File]:
    yield from _later(folder, batch, locate)
    yield from steps_as_files(f"{folder}/undo", batch.undo, locate)
    for number, look in enumerate(batch.looks, 1):
        yield from _look(f"{folder}/look.{number:02}", look, locate)
    if fences := [test for one in batch.changes if one.want and (test := one.want.stands)]:
        yield f"{folder}/stands", _words("run", "sh", "-s")
        yield f"{folder}/stands.data", _script(fences)


def _later(folder: str, batch: Batch, locate: Locate) -> Iterator[File]:
    yield f"{folder}/what", _words(batch.what)
    yield from steps_as_files(f"{folder}/do", batch.steps, locate)


def _checks(folder: str, batch: Batch, locate: Locate) -> Iterator[File]:
    """What is checked is mostly what the first step writes: that is sent once."""
    first = batch.steps[0].content if batch.steps else b""
    for number, check in enumerate(batch.checks(lambda path: str(locate(PurePosixPath(path)))), 1):
        name, step = f"{folder}/check.{number:02}", check.step
        yield from _step(name, step if step.stdin != first else Command(step.argv), locate)


def steps_as_files(place: str, steps: Sequence[Step], locate: Locate) -> Iterator[File]:
    for number, step in enumerate(steps, 1):
        yield from _step(f"{place}.{number:02}", step, locate)


def _step(name: str, step: Step, locate: Locate) -> Iterator[File]:
    match step:
        case Command():
            yield name, _words("always" if step.in_any_boot else "run", *step.argv)
            if step.stdin:
                yield f"{name}.data", step.stdin
        case Write(data=None) | Link(target=None):
            yield name, _words("remove", str(locate(step.path)))
        case Write():
            assert step.data is not None
            yield name, _words("write", str(locate(step.path)), f"{step.mode:o}", step.owner or "-")
            yield f"{name}.data", step.data
        case Splice():
            digests = (step.before or "absent", step.after or "absent")
            part = (str(step.offset), str(step.length), f"{step.mode:o}")
            yield name, _words("splice", str(locate(step.path)), *digests, *part)
            yield f"{name}.data", step.data
        case Link():
            yield name, _words("link", str(locate(step.path)), str(step.target), step.owner or "-")


def _look(name: str, look: Look, locate: Locate) -> Iterator[File]:
    if isinstance(look, Command):
        yield from _step(name, look, locate)
    else:
        yield name, _words("state", str(locate(look)))


def _words(*words: str) -> bytes:
    if any("\n" in word for word in words):
        raise Bug(f"a step holds a line break: {words}")
    return "".join(f"{word}\n" for word in words).encode()
