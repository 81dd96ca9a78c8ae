"""What a transaction is about to do on a host, durable there before it is done.

The journal holds the steps that undo each change, already rendered, and how many changes were begun; so
whoever finds it can put the host back without knowing the spec. It also keeps a second transaction out.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from crossnet.errors import HostError, Locked
from crossnet.facts import Facts
from crossnet.record import FOLDER, JOURNAL, PROGRESS, Record
from crossnet.resources import KINDS, Change, Encoded, Resource, Step
from crossnet.transaction.step import decode_step, encode_step
from crossnet.transport import Host

FORMAT = 1

# Written aside and linked to its name: ln(1) gives it to one of two transactions, and never half of it.
_CREATE = r"""
set -eu
umask 077
mkdir -p -m 700 -- "${1%/*}"
aside=${1%/*}/.journal.$$.crossnet
trap 'rm -f -- "$aside"' EXIT
cat > "$aside"
sync "$aside" 2>/dev/null || sync
ln -- "$aside" "$1" 2>/dev/null || { cat -- "$1"; exit 75; }
"""
_HELD = 75  # sysexits.h: EX_TEMPFAIL

# What a write that was cut short left aside goes too.
_CLEAR = 'rm -f -- "$1" "$2" "$3"/.*.crossnet && { rmdir -- "$3" 2>/dev/null || true; }'

CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: what it is, the steps that undo it, and the state in which they must leave the resource.

    `do` are the steps that make it, kept for what is written only after the confirmation.
    """

    description: str
    undo: tuple[Step, ...]
    do: tuple[Step, ...]
    resource: Resource
    before: Encoded | None

    def is_undone(self, facts: Facts) -> bool:
        """Whether the host, read again, has the resource as it was before the change."""
        now = self.resource.ours(facts)
        return (now.state() if now else None) == self.before


@dataclass(frozen=True, slots=True)
class Journal:
    """An unfinished transaction as its host tells it; `begun` changes may have been done, the rest was not.

    Where it was `confirmed`, what is missing is done and not undone; `record` is then what crossnet owns.
    """

    transaction: str
    who: str
    machine: str
    process: int
    process_start: int | None
    started: str
    entries: tuple[Entry, ...]
    record: str | None = None
    begun: int = 0
    confirmed: bool = False

    @property
    def is_running_here(self) -> bool:
        """Whether the process that began it is alive on this machine."""
        if self.machine != machine_id() or self.process_start is None:
            return False
        return _process_start(self.process) == self.process_start


def new(transaction: str, live: Sequence[Change], persistent: Sequence[Change], record: Record) -> Journal:
    entries = (
        *(_entry(change, do=()) for change in live),
        *(_entry(change, do=change.steps) for change in persistent),
    )
    started = datetime.now(UTC).isoformat(timespec="seconds")
    text = record.to_json().decode() if record.owned else None
    process = os.getpid()
    return Journal(
        transaction, _who(), machine_id(), process, _process_start(process), started, entries, text
    )


def _entry(change: Change, do: tuple[Step, ...]) -> Entry:
    before = change.have.state() if change.have else None
    return Entry(change.description, change.inverse().steps, do, change.resource, before)


def _process_start(process: int) -> int | None:
    """When a process began, in clock ticks since the boot; None where there is no such process, or a dead one.

    A process number alone is used again by others (proc_pid_stat(5): fields 3 and 22).
    """
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            state, *fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(fields[18])


def _who() -> str:
    """The person behind the process, where the machine knows a name for the number."""
    try:
        user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def machine_id() -> str:
    """This machine since it was started: a process number means nothing on another one, or after a reboot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


async def begin(host: Host, journal: Journal) -> None:
    """Write the journal to its host; Locked when another transaction has one there."""
    path = str(host.locate(PurePosixPath(JOURNAL)))
    answer = await host.run(["sh", "-c", _CREATE, "sh", path], stdin=_encode(journal))
    if answer.returncode == _HELD:
        raise locked(host.name, _decode(host.name, answer.stdout))
    answer.check()


async def advance(host: Host, begun: int) -> None:
    """Make durable that the next change is about to begin."""
    await host.write(PurePosixPath(PROGRESS), f"{begun}\n".encode(), mode=0o600)


async def confirm(host: Host) -> None:
    """Make durable that the transaction holds."""
    await host.write(PurePosixPath(PROGRESS), f"{CONFIRMED}\n".encode(), mode=0o600)


async def clear(host: Host) -> None:
    """The transaction is over: its journal goes, and crossnet's folder with it when nothing is left there."""
    places = [str(host.locate(PurePosixPath(path))) for path in (JOURNAL, PROGRESS, FOLDER)]
    (await host.run(["sh", "-c", _CLEAR, "sh", *places])).check()


def unfinished(facts: Facts) -> Journal | None:
    """The journal that an earlier transaction left on a host."""
    state = facts.files.get(JOURNAL)
    if state is None:
        return None
    progress = facts.files.get(PROGRESS)
    found = _decode(facts.host, state.data)
    said = progress.data.decode(errors="replace").strip() if progress else "0"
    if said == CONFIRMED:
        return replace(found, begun=len(found.entries), confirmed=True)
    # Whatever cannot be read may stand for all of it: undoing what was never done does no harm.
    return replace(found, begun=int(said) if said.isdecimal() else len(found.entries))


def locked(host: str, journal: Journal) -> Locked:
    state = "is under way" if journal.is_running_here else "was not finished"
    return Locked(
        f"{host}: transaction {journal.transaction}, begun by {journal.who} at {journal.started}, {state}\n"
        "  Wait for it; if nobody runs it any more, `crossnet undo` puts the host back."
    )


def _encode(journal: Journal) -> bytes:
    document = {
        "format": FORMAT,
        "transaction": journal.transaction,
        "who": journal.who,
        "machine": journal.machine,
        "process": journal.process,
        "process_start": journal.process_start,
        "started": journal.started,
        "record": journal.record,
        "entries": [
            {
                "description": entry.description,
                "undo": [encode_step(step) for step in entry.undo],
                "do": [encode_step(step) for step in entry.do],
                "kind": entry.resource.kind,
                "resource": entry.resource.encode(),
                "before": entry.before,
            }
            for entry in journal.entries
        ],
    }
    return (json.dumps(document) + "\n").encode()


def _decode(host: str, data: bytes) -> Journal:
    """A file that is not whole is a transaction that had done nothing else yet."""
    try:
        document: dict[str, Any] = json.loads(data)
    except ValueError:
        return Journal("(torn)", "somebody", "", 0, None, "an unknown time", ())
    if document.get("format") != FORMAT:
        raise HostError(
            host,
            f"read {JOURNAL}",
            f"it has format {document.get('format')}, this crossnet reads {FORMAT}",
            "Use the version of crossnet that wrote it.",
        )
    return Journal(
        document["transaction"],
        document["who"],
        document["machine"],
        document["process"],
        document["process_start"],
        document["started"],
        tuple(
            Entry(
                entry["description"],
                tuple(decode_step(step) for step in entry["undo"]),
                tuple(decode_step(step) for step in entry["do"]),
                KINDS[entry["kind"]].decode(entry["resource"]),
                entry["before"],
            )
            for entry in document["entries"]
        ),
        document["record"],
    )
