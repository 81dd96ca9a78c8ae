"""A host's part of a transaction as the files that host.sh works with, in one piece for one round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

from crossnet.errors import Bug
from crossnet.planning import HostPlan
from crossnet.record import Record
from crossnet.resources import Change, Command, Link, Look, Splice, Step, Write
from crossnet.transaction.batches import Batch, batched
from crossnet.transaction.journal import Journal, encode, stamp_of

Locate = Callable[[PurePosixPath], PurePosixPath]
File = tuple[str, bytes]


def bundle(
    journal: Journal, host: HostPlan, live: Sequence[Batch], persistent: Sequence[Change], locate: Locate
) -> bytes:
    """An index (a name and a size a line), an empty line, then the bytes of each file."""
    files = [
        ("journal.json", encode(journal)),
        ("audit", f"{journal.audit}\n".encode()),
        *_records(journal, host, persistent),
        ("services", "".join(f"{name}\n" for name in _services(persistent)).encode()),
        *(file for one in live for file in _live(f"live/{_place(one, live)}", one, locate)),
        *(
            file
            for later in [batched(persistent)]
            for one in later
            for file in _later(f"persist/{_place(one, later)}", one, locate)
        ),
    ]
    index = "".join(f"{name} {len(data)}\n" for name, data in files)
    return f"{index}\n".encode() + b"".join(data for _, data in files)


def _records(journal: Journal, host: HostPlan, persistent: Sequence[Change]) -> Iterator[File]:
    """What crossnet owns there afterwards: when all is written, and when something could not be removed."""
    still = [owned for one in persistent if one.want is None and (owned := host.before.find(one.resource))]
    crossings = host.after.crossings or host.before.crossings
    stamp = stamp_of(journal)
    unwritten = Record(crossings, (*host.after.owned, *still), host.before.rebuilt)
    if not host.after.is_empty:
        yield "record.written", host.after.stamped(stamp).to_json()
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


def _later(folder: str, batch: Batch, locate: Locate) -> Iterator[File]:
    yield f"{folder}/what", _words(batch.what)
    yield from steps_as_files(f"{folder}/do", batch.steps, locate)


def steps_as_files(place: str, steps: Sequence[Step], locate: Locate) -> Iterator[File]:
    for number, step in enumerate(steps, 1):
        yield from _step(f"{place}.{number:02}", step, locate)


def _step(name: str, step: Step, locate: Locate) -> Iterator[File]:
    match step:
        case Command():
            yield name, _words("run", *step.argv)
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
