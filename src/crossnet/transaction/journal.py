"""What a transaction is about to do on a host, kept there from before it begins until it has ended.

The steps themselves lie beside it as host.sh needs them. Here is what whoever finds it has to know: who began
it and where, which hosts belong to it, and the state in which every resource was, to prove a rollback.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from crossnet.errors import HostError, Locked
from crossnet.facts import Facts, FileState
from crossnet.facts.question import mapping, number, number_or, objects, read_json, text, texts
from crossnet.record import BEGUN, DEADLINE, DECISION, IDENTITY, JOURNAL, MADE
from crossnet.resources import KINDS, AtCloud, Change, Encoded, Resource
from crossnet.sealed import seal, unseal
from crossnet.spec import HOST_NAME, HostSpec
from crossnet.standing import Stamp, decode_host, encode_host, who
from crossnet.transaction.left import left_at_cloud

FORMAT = 2

# A host that left its spec, and whose name that has for another machine by now, is called `NAME (way)`.
_JOINED = rf"{HOST_NAME}( \(\S+\))?"

# Seconds for which somebody who comes second waits while nothing moves: when all is changed it is proved, which takes
# a few, or a person has the last word, and that takes long.
WAIT = 15.0

LONGEST_MESSAGE = 200  # characters

CONFIRM = "confirm"
ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: what it is, and the state in which an undo must leave the resource."""

    description: str
    resource: Resource
    before: Encoded | None

    def is_undone(self, facts: Facts) -> bool:
        """Whether the host, read again, has the resource as it was before the change."""
        now = self.resource.ours(facts)
        return (now.state() if now else None) == self.before


@dataclass(frozen=True, slots=True)
class Other:
    """A participant that journals on a host, with the kind of resource that it changes; and its live changes."""

    name: str
    kind: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Journal:
    """A transaction as its host tells it; `group` are all its hosts by the names in the spec.

    `message` is what was said about it when it began, `crossings` are those that it is about, `others` are those that
    journal on this host; `others_begun` whether clouds among them may have changed anything, `others_made` whether they
    have made all of it. `begun` changes may have been done, `made` of them were, the rest was not. `decision` is
    CONFIRM, ROLLBACK or nothing yet; `left` are the seconds until the host decides by itself, 0 when it should have
    done so.
    `process` is that of the controller, and `machine` where such numbers mean the same, as `machine_id` has it.
    `unreadable` is why nothing but its state is known, where another version wrote it or it is damaged. `hosts` are the
    ways to those of the group, as far as that is kept. `unnamed` are the hosts of it that the spec of whoever looks
    does not name, and that nothing else leads to, so that spec cannot end it.
    """

    transaction: str
    what: str
    who: str
    machine: str
    process: int
    process_start: int | None
    started: str
    group: tuple[str, ...]
    entries: tuple[Entry, ...]
    message: str = ""
    crossings: tuple[str, ...] = ()
    others: tuple[Other, ...] = ()
    others_begun: bool = False
    others_made: bool = False
    begun: int = 0
    made: int = 0
    decision: str = ""
    left: int = 0
    unreadable: str = ""
    hosts: tuple[HostSpec, ...] = ()
    unnamed: tuple[str, ...] = ()

    @property
    def is_running_here(self) -> bool:
        """Whether the process that began it may be alive on this machine."""
        return self.was_begun_here and _is_alive(self.process, self.process_start)

    @property
    def was_begun_here(self) -> bool:
        """Whether its process can be seen from here: on this machine, not in another container."""
        return bool(self.machine) and self.machine == machine_id() and self.process_start is not None

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody can be about to end it: it is decided, its time is over, or its process is seen to be dead."""
        if self.unreadable:
            return self.left == 0
        return bool(self.decision) or self.left == 0 or (self.was_begun_here and not self.is_running_here)

    @property
    def may_end_soon(self) -> bool:
        """Whether somebody may be at work on it, or whoever decided it about to clear it away."""
        is_dead = self.was_begun_here and not self.is_running_here
        return not self.is_abandoned or (bool(self.decision) and not is_dead)

    @property
    def is_whole(self) -> bool:
        """Whether every change that comes before the confirmation is made."""
        at_clouds = [one for one in self.others if issubclass(KINDS[one.kind], AtCloud)]
        return self.made == len(self.entries) and (self.others_made or not at_clouds)

    @property
    def was_begun(self) -> bool:
        """Whether anything may have been changed."""
        return self.begun > 0 or self.others_begun

    def ended_by(self, *commands: str) -> str:
        """These commands, as they end it: with the spec of whoever looks, or with one that names all its hosts."""
        which = " -f SPEC" if self.unnamed else ""
        shown = (f"`crossnet {command}{which}{self._named(command)}`" for command in commands)
        return " or ".join(shown)

    @property
    def with_which(self) -> str:
        """With which spec, where it is not the one of whoever looks."""
        return f", where SPEC names {', '.join(self.unnamed)} too" if self.unnamed else ""

    def _named(self, command: str) -> str:
        return "" if command == "recover" else f" {self.transaction}"

    def further(self, named: Collection[str]) -> tuple[HostSpec, ...]:
        """The hosts of it that are not named, as far as the way to them leads there from this machine too."""
        _, _, source = self.who.rpartition("@")
        is_here = source == socket.gethostname()
        return tuple(
            one
            for one in self.hosts
            if one.name in self.group and one.name not in named and (one.ssh is not None or is_here)
        )

    @property
    def is_void(self) -> bool:
        """Whether it has changed nothing and its time is over: the next one clears it away."""
        return not self.decision and self.left == 0 and not self.was_begun

    @property
    def audit(self) -> str:
        """What the host's history will say of it, besides how it ended."""
        about = (self.message, ",".join(self.crossings))
        return "\t".join((self.started, self.transaction, self.who, self.what, *about))


def new(
    transaction: str,
    what: str,
    group: Sequence[str],
    *,
    message: str = "",
    crossings: Sequence[str] = (),
    hosts: Sequence[HostSpec] = (),
) -> Journal:
    """The journal of a transaction that this process begins; the entries differ from host to host.

    `hosts` have the ways to those of the group.

    ValueError where `message` is no line that can be kept.
    """
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    process = os.getpid()
    return Journal(
        transaction,
        what,
        who(),
        machine_id(),
        process,
        _process_start(process),
        started,
        tuple(group),
        (),
        checked(message),
        tuple(crossings),
        hosts=tuple(one for one in hosts if one.name in group),
    )


def checked(message: str) -> str:
    """The message; ValueError where it is longer than a line of a history holds, or no line."""
    if len(message) > LONGEST_MESSAGE:
        raise ValueError(f"a message has at most {LONGEST_MESSAGE} characters, not {len(message)}")
    if not message.isprintable():
        raise ValueError("a message is one line of printable characters")
    return message.strip()


def stamp_of(journal: Journal) -> Stamp:
    """What the record of a host keeps of who changed it."""
    who, _, source = journal.who.rpartition("@")
    return Stamp(who, journal.started, source, journal.message)


def entry(change: Change) -> Entry:
    before = change.have.state() if change.have else None
    return Entry(f"{change.resource.kind} {change.description}", change.resource, before)


def _process_start(process: int) -> int | None:
    """When a process began, in clock ticks since the boot; None where that cannot be seen, or it is dead.

    A process number alone is used again by others (proc_pid_stat(5): fields 3 and 22).
    """
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            state, *fields = file.read().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return None


_LARGEST = 2**22  # the largest number that a process can have (include/linux/threads.h, PID_MAX_LIMIT)


def _is_alive(process: int, start: int | None) -> bool:
    """Whether that very process is alive, as far as anybody can tell: what is hidden (proc(5): hidepid) may be."""
    if not 0 < process <= _LARGEST:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's, so it is there
        return _process_start(process) in (None, start)
    return _process_start(process) == start


def machine_id() -> str:
    """Where a process number means the same as here: this start of this machine, and this namespace of processes.

    Nothing where it cannot be told, as on macOS: then nobody's process can be seen.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except (OSError, ValueError):
        return ""


def unfinished(facts: Facts, named: Collection[str] | None = None) -> Journal | None:
    """The transaction under way on a host, or what an earlier one left there; also one of another version.

    `named` are the hosts that whoever looks names, where that matters.
    """
    if JOURNAL not in facts.files and IDENTITY not in facts.files:
        return None
    state = facts.files.get(JOURNAL)
    found = decode(state.data if isinstance(state, FileState) else b"")
    begun, made, decision, deadline, name = (
        held.data.decode(errors="replace") if (held := facts.file(path)) else ""
        for path in (BEGUN, MADE, DECISION, DEADLINE, IDENTITY)
    )
    transaction = _line(name) or found.transaction
    others_begun, others_made = _others(facts, transaction)
    return replace(
        found,
        transaction=transaction,
        others_begun=others_begun,
        others_made=others_made,
        begun=begun.count("\n"),
        made=made.count("\n"),
        decision=decision.strip(),
        left=_left(deadline, facts.uptime, facts.boot),
        unnamed=_unnamed(found, named) if named is not None else (),
    )


def _unnamed(found: Journal, named: Collection[str]) -> tuple[str, ...]:
    known = {*named, *(one.name for one in found.further(named))}
    return tuple(one for one in found.group if one not in known)


def _others(facts: Facts, transaction: str) -> tuple[bool, bool]:
    """Whether a cloud whose changes the host journals has begun anything of it, and whether it has made all of it."""
    try:
        left = left_at_cloud(facts)
    except HostError:
        return True, False
    if left is None or left.transaction != transaction:
        return False, False
    return left.is_begun, left.is_made


# Of a deadline, as host.sh has them: what else there is crossnet never wrote, and counts as passed.
_DEADLINE = re.compile(r"([1-9][0-9]{0,8}) (\S+)\n?")
_LONGEST = 86400  # seconds


def _left(deadline: str, uptime: int, boot: str) -> int:
    """Seconds until a deadline; one of another boot, or that cannot be understood, has passed."""
    said = _DEADLINE.fullmatch(deadline)
    seconds = int(said[1]) - uptime if said and said[2] == boot else 0
    return seconds if 0 < seconds <= _LONGEST else 0


def locked(host: str, journal: Journal) -> Locked:
    """Why nothing else can begin on a host now, and what ends that."""
    name = journal.transaction
    if journal.unreadable:
        return Locked(_of_another(host, journal))
    about = f"{journal.what}, {journal.message}" if journal.message else journal.what
    said = f"{host}: transaction {name} ({about}), begun by {journal.who} at {journal.started}, "
    if journal.decision == CONFIRM:
        finishes = f"{journal.ended_by('recover')} finishes it{journal.with_which}."
        message = f"{said}is confirmed, but not finished\n  {finishes}"
    elif journal.is_abandoned:
        waits = journal.begun and journal.left and not journal.decision
        alone = f"The host puts itself back in {journal.left} s; " if waits else ""
        back = f"{journal.ended_by('recover')} puts the hosts back now{journal.with_which}."
        message = f"{said}was not finished\n  {alone}{back}"
    else:
        ends = journal.ended_by(*(["confirm"] if journal.is_whole else []), "rollback")
        message = (
            f"{said}is under way\n  Unless it is confirmed, the host puts itself back in {journal.left} s. "
            f"{ends} ends it now{journal.with_which}."
        )
    return Locked(
        message,
        host=host,
        transaction=name,
        waits=WAIT if journal.may_end_soon else 0,
        state=f"{name} {journal.begun} {journal.made} {journal.decision}",
    )


def _of_another(host: str, journal: Journal) -> str:
    """What is known of one that cannot be read."""
    changes = "has begun no change" if not journal.begun else f"has begun {journal.begun} of its changes"
    said = (
        f"{host}: transaction {journal.transaction} is open there and {changes}; what it is about is not known: "
        f"{journal.unreadable}"
    )
    if not journal.is_abandoned:
        return f"{said}\n  Its time runs out in {journal.left} s; then `crossnet recover` ends it."
    return f"{said}\n  Its time has run out: `crossnet recover` ends it, by its own script there."


def encode(journal: Journal) -> bytes:
    document = {
        "format": FORMAT,
        "transaction": journal.transaction,
        "what": journal.what,
        "who": journal.who,
        "machine": journal.machine,
        "process": journal.process,
        "process_start": journal.process_start,
        "started": journal.started,
        "group": journal.group,
        "hosts": [encode_host(one) for one in journal.hosts],
        "message": journal.message,
        "crossings": journal.crossings,
        "entries": [_entry_data(entry) for entry in journal.entries],
        "others": [
            {"name": one.name, "kind": one.kind, "entries": [_entry_data(entry) for entry in one.entries]}
            for one in journal.others
        ],
    }
    return seal(document)


def _entry_data(entry: Entry) -> Mapping[str, Any]:
    return {
        "description": entry.description,
        "kind": entry.resource.kind,
        "resource": entry.resource.encode(),
        "before": entry.before,
    }


def decode(data: bytes) -> Journal:
    """The inverse of `encode`; where another version wrote it, or it is damaged, `unreadable` says so."""
    try:
        document = mapping(read_json(data))
        if document["format"] != FORMAT:
            raise ValueError(f"it has format {document['format']}, this crossnet reads {FORMAT}")
        document = unseal(document)
        return Journal(
            _line(text(document, "transaction")),
            _line(text(document, "what")),
            _line(text(document, "who")),
            text(document, "machine"),
            number(document, "process"),
            number_or(document, "process_start", None),
            _line(text(document, "started")),
            tuple(map(_line, texts(document["group"]))),
            tuple(map(_entry, objects(document["entries"]))),
            _line(text(document, "message")) if "message" in document else "",
            tuple(map(_line, texts(document.get("crossings", [])))),
            tuple(map(_other, objects(document.get("others", [])))),
            hosts=tuple(decode_host(one, _JOINED) for one in objects(document.get("hosts", []))),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"{JOURNAL} cannot be understood: {' '.join(str(error).split())[:200]}"
        return Journal("of an unknown name", "", "", "", 0, None, "", (), (), unreadable=why)


def _other(one: Mapping[str, Any]) -> Other:
    kind = text(one, "kind")
    KINDS[kind]  # a kind that is not known is a journal that cannot be understood
    return Other(_line(text(one, "name")), kind, tuple(map(_entry, objects(one["entries"]))))


def _line(said: str) -> str:
    """Words of somebody else, who does not begin a line of ours with them."""
    return " ".join(said.split())


def _entry(one: Mapping[str, Any]) -> Entry:
    before = one["before"]
    return Entry(
        text(one, "description"),
        KINDS[text(one, "kind")].decode(mapping(one["resource"])),
        mapping(before) if before is not None else None,
    )
