"""host.sh on one host, for one transaction: each verb is one round trip."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import TypeVar

from crossnet.errors import CommandFailed, CrossnetError, HostError, HostsFailed, shown
from crossnet.events import Event, Kind, Watcher
from crossnet.facts.folder import CHECK, UNSAFE, reason, todo
from crossnet.facts.packages import PACKAGES
from crossnet.facts.question import BY_HAND, door
from crossnet.record import FOLDER
from crossnet.site import disconnect
from crossnet.transaction import journal
from crossnet.transaction.batches import Batch, batched
from crossnet.transaction.bundle import bundle
from crossnet.transaction.history import Past, read_history
from crossnet.transaction.participant import Gone, Part, Participant, Refused
from crossnet.transport import Completed, Host
from crossnet.values import show_moment

T = TypeVar("T")

AGAIN = 1.0  # seconds
PATIENCE = 20  # seconds for which a host may be late with what its guard has to do

# sysexits.h, as host.sh has them
_LACKING, _FAILED, _HELD, _REFUSED = 69, 70, 75, 76

_NO_SCRIPT = (2, 127)  # dash and busybox, bash: the file cannot be opened

_ENDING = 200.0  # seconds: a bit more than host.sh waits for one that is stuck

_OWN_FOLDER = f"""
set -eu
umask 077
folder=${{1%/*}}
close_it() {{ chmod 700 -- "$1"; }}
{CHECK}
"""

# The script that is kept with a transaction is one that was placed whole, or it is not run.
_KEPT = r"""
kept=$folder/transaction/host.sh
[ -e "$kept" ] || exit 127
if sum=$(sha256sum <"$kept") && cmp -s -- "$kept" "$folder/host-$(printf %.16s "$sum").sh"; then
    shift 3
    exec sh "$kept" "$@"
fi
"""

# Written aside and renamed: nobody ever runs half of it. It is read whole before it runs, by every shell. Whoever
# ends the last transaction at that instant takes it away (2: dash and busybox, 127: bash and the script itself).
_PLACE = r"""
script=$1 digest=$2 text=$3
shift 3
command -v sha256sum >/dev/null || { echo "lacks sha256sum"; exit 69; }
is_whole() { [ -f "$1" ] && [ ! -L "$1" ] && sum=$(sha256sum <"$1") && [ "${sum%% *}" = "$digest" ]; }
for _ in 1 2 3; do
    [ -d "$folder" ] || mkdir -p -- "$folder"
    if ! is_whole "$script"; then
        trap 'rm -f -- "$script.$$"; rmdir -- "$folder" 2>/dev/null' EXIT
        printf %s "$text" | cat >"$script.$$"
        sync "$script.$$" 2>/dev/null || sync
        is_whole "$script.$$" || { echo "$script: half of it arrived"; exit 70; }
        [ ! -L "$script" ] || rm -f -- "$script"
        [ ! -d "$script" ] || { echo "$script is a folder"; exit 70; }
        mv -f -- "$script.$$" "$script"
        trap - EXIT
    fi
    code=0
    sh "$script" "$@" || code=$?
    case $code in 2 | 127) ;; *) exit $code ;; esac
done
exit $code
"""

_WHERE_USED = '[ -d "${1%/*}" ] || exit 0\n'


class Unproved(Refused):
    """No timer was seen to go off on the host while nobody was connected."""


@cache
def script_text() -> str:
    return files("crossnet.transaction").joinpath("host.sh").read_text(encoding="utf-8")


@cache
def _script_digest() -> str:
    return hashlib.sha256(script_text().encode()).hexdigest()


def _script_name() -> str:
    return f"host-{_script_digest()[:16]}.sh"


class Agent(Participant):
    """What a host is told of one transaction; HostError where it cannot be reached or asked.

    Whoever finds a transaction on a host calls the script that is kept with it: `found`.
    """

    def __init__(self, host: Host, transaction: str, *, found: bool = False) -> None:
        self.host = host
        self.transaction = transaction
        self._batches: tuple[Batch, ...] = ()
        self._later: tuple[Batch, ...] = ()
        self._found = found
        self._ends: list[int] = []
        self._script = str(host.locate(PurePosixPath(f"{FOLDER}/{_script_name()}")))
        self._scripts = (self._script, str(host.locate(PurePosixPath(f"{FOLDER}/transaction/host.sh"))))

    @property
    def name(self) -> str:
        return self.host.name

    async def reconnect(self) -> None:
        await disconnect(self.host)

    async def stage(self, part: Part) -> bool:
        """Take the host, on which nothing else is under way, and leave there what is to be done.

        True when timers were started to see whether they go off without a connection; Locked when another
        transaction is under way.
        """
        self._batches, self._later = batched(part.live, part.stops), batched(part.persistent)
        self._ends = [lapse.at for lapse in part.host.lapses]
        packed = bundle(part.journal, part.host, self._batches, part.persistent, self.host.locate)
        digest = hashlib.sha256(packed).hexdigest()
        words = self._placed(_PLACE, "stage", self.transaction, digest)
        answer = await self.host.run(words, stdin=packed, timeout=60)
        if answer.returncode == _HELD:
            with self._door(answer, "asked who holds it"):
                said, _, held = answer.stdout.partition(b"\n")
                _, begun, left, name, *decision = said.decode().split()
                found = journal.decode(held)
                now = replace(
                    found, transaction=name, begun=int(begun), left=int(left), decision="".join(decision)
                )
            raise journal.locked(self.host.name, now)
        self._check(answer, "began a transaction", "staged")
        return "drilling" in answer.text.split()

    async def arm(self, seconds: int, *, unproved: bool) -> tuple[str, ...]:
        """Start the timers that were seen to go off; `unproved` starts one even so. The names of the timers."""
        answer = await self._ask("arm", str(seconds), *(["unproved"] if unproved else []))
        lines = [line.partition(" ") for line in answer.text.splitlines()]
        said = {first: rest for first, _, rest in lines}
        if answer.returncode == _LACKING and "unproved" in said:
            raise Unproved(
                self.host.name,
                "started timers and closed the connection, to see whether they go off",
                f"none did: {said['unproved'].strip() or answer.error_text.strip() or 'no message'}",
                "Nobody would put the host back if the change cut it off. If you have a console of the host at hand, "
                "go on with --i-have-a-console.",
            )
        self._check(answer, "armed the guard", "armed", *(["unproved"] if unproved else []))
        return tuple(rest for first, _, rest in lines if first == "armed")

    async def change(self, upto: int, timeout: float) -> None:
        """Make the live changes up to that number, of all batches; CommandFailed when a step says no."""
        answer = await self._ask("apply", str(upto), timeout=timeout)
        with self._door(answer, "made the changes"):
            failures = _failures(answer.text)
            if failures:
                failed = failures[0]
                batch = next(one for one in self._batches if one.last == failed.change)
                argv = batch.failing(failed.step, failed.said)
                raise CommandFailed(self.host.name, argv, failed.code, failed.said)
        self._check(answer, "made the changes", f"made {upto}")

    async def check(self) -> None:
        """Have the host's own programs try what is to be written for the next boot; Refused where one says no."""
        if not any(batch.checks(str) for batch in self._later):
            return
        answer = await self._ask("check", timeout=_ENDING)
        with self._door(answer, "checked what is to be written"):
            for failed in _failures(answer.text):
                batch = next(one for one in self._later if one.last == failed.change)
                argv = batch.checks(str)[failed.step - 1].argv
                raise Refused(
                    self.host.name,
                    f"had `{shown(argv)}` read what is to be written for the next boot, {failed.what}",
                    f"exit code {failed.code}: {failed.said or 'no message'}",
                    "It was not written. `crossnet plan -v` shows it; see what that program has against it.",
                )
        self._check(answer, "checked what is to be written", "checked")

    async def extend(self, seconds: int, verified: bytes = b"") -> None:
        """Give the guard more time; `verified` is kept for whoever confirms it."""
        answer = await self._ask("extend", str(seconds), stdin=verified)
        self._check(answer, "extended the guard's time", "extended")

    async def confirm(self) -> None:
        """Decide that it holds; Gone when the host has decided otherwise."""
        try:
            self._check(await self._ask("commit"), "confirmed the transaction", "confirmed")
        except (Gone, Refused):
            # What is not said in the script's own words may have been done all the same.
            if await self._decided() != journal.CONFIRM:
                raise

    async def finish(self, verified: bytes = b"") -> tuple[str, ...]:
        """Write what the next boot needs, and end it; what could not be written."""
        answer = await self._ask("release", stdin=verified, timeout=_ENDING)
        with self._door(answer, "wrote what crossnet owns there"):
            errors = [
                f"{self.host.name}: {failed.what}: {failed.said or f'exit code {failed.code}'}"
                for failed in _failures(answer.text)
            ]
            said = [line for line in answer.text.splitlines() if line.startswith("until ")]
        if self._ends and said == ["until unproved"]:
            errors.append(
                f"{self.host.name}: no timer was seen to be set that takes back what is over at "
                f"{show_moment(datetime.fromtimestamp(self._ends[0], UTC))}: unless `crossnet apply` or `crossnet "
                "undo` is run then, nobody does"
            )
        try:
            self._check(answer, "wrote what crossnet owns there", "written", "unwritten")
        except (Gone, Refused) as error:
            past = await self._past()
            if past is not None and past.decision == journal.CONFIRM:  # somebody, or a timer, was faster
                if not past.is_written:
                    errors.append(
                        f"{self.host.name}: not all of it could be written; `crossnet apply` tries again"
                    )
            elif isinstance(error, Gone):
                raise
            else:
                errors.append(str(error))
        return tuple(errors)

    async def roll_back(self, why: str = "") -> tuple[str, ...]:
        """Put the host back; what it says when it found something not to be as before. Gone as in `confirm`.

        `why` is kept in the host's history, unless somebody else has asked for the same before.
        """
        answer = await self._ask("rollback", *([why] if why else []), timeout=_ENDING)
        if answer.returncode == _FAILED:
            lines = answer.text.splitlines() or ["the roll-back failed, and it does not say why"]
            return tuple(f"{self.host.name}: {line}" for line in lines)
        self._check(answer, "rolled back", "clean")
        return ()

    async def left(self) -> int:
        """The seconds until the host puts itself back; Gone when it is decided."""
        answer = await self._ask("status")
        self._check(answer, "asked for the transaction")
        with self._door(answer, "asked for the transaction"):
            match answer.text.split():
                case ["open", seconds]:
                    return int(seconds)
                case [journal.CONFIRM | journal.ROLLBACK as decision]:
                    raise Gone(self.host.name, self.transaction, decision)
            raise ValueError("it is neither open nor decided")

    async def ended(self) -> str:
        """What was decided, by the host's history; nothing where the transaction changed nothing there."""
        past = await self._past()
        return past.decision if past else ""

    async def why(self) -> str:
        past = await self._past()
        return past.why if past else ""

    async def _decided(self) -> str:
        """The same, also while the host still holds it; nothing where it is open."""
        try:
            await self.left()
        except Gone as gone:
            return gone.decision or await self.ended()
        return ""

    async def _past(self) -> Past | None:
        past = await read_history(self.host)
        return next((one for one in past if one.transaction == self.transaction), None)

    async def sweep(self) -> None:
        """End what is due on a host, and remove what is left of a transaction that never came to begin there."""
        words = self._placed(_WHERE_USED + _PLACE, "recover")
        answer = await self.host.run(words, timeout=_ENDING)
        tried = "removed what is left over"
        try:
            self._check(answer, tried)
        except Gone:  # it was asked for no transaction
            raise HostError(self.host.name, tried, f"exit code {answer.returncode}", BY_HAND) from None

    async def _ask(self, verb: str, *words: str, stdin: bytes = b"", timeout: float = 30) -> Completed:
        argv = ["sh", self._script, verb, self.transaction, *words]
        if self._found:
            argv = self._placed(_KEPT + _PLACE, verb, self.transaction, *words)
        return await self.host.run(argv, stdin=stdin, timeout=timeout)

    def _placed(self, script: str, *words: str) -> list[str]:
        """The script's verb, behind what makes sure that it is this very script which runs."""
        return ["sh", "-c", _OWN_FOLDER + script, "sh", self._script, _script_digest(), script_text(), *words]

    def _door(self, answer: Completed, tried: str) -> AbstractContextManager[None]:
        return door(self.host.name, tried, answer.stdout)

    def _check(self, answer: Completed, tried: str, *signs: str) -> None:
        """Whether it was done: one of `signs` begins a line of the answer, where any are told."""
        with self._door(answer, tried):
            self._means(answer, tried, signs)

    def _means(self, answer: Completed, tried: str, signs: Sequence[str]) -> None:
        if answer.ok:
            # Exit code 0 alone may be of a shell, or of a relay, that has run nothing.
            if signs and not any(
                f"{line} ".startswith(f"{sign} ") for line in answer.text.splitlines() for sign in signs
            ):
                raise HostError(
                    self.host.name,
                    tried,
                    f"exit code 0, but no word that it was done: {answer.text.strip()[:200] or 'an empty answer'}",
                    "See what stands between crossnet and the `sh` of that host.",
                )
            return
        text = answer.text.strip()
        last = text.splitlines()[-1].split() if text else []
        if answer.returncode == _REFUSED:
            decision = last[1] if last[1:2] in (["confirm"], ["rollback"]) else ""
            raise Gone(self.host.name, self.transaction, decision)
        if answer.returncode == _LACKING and last[:1] == ["lacks"]:
            tool = last[1]
            raise Refused(
                self.host.name,
                tried,
                f"{tool}: not found",
                f"Install {PACKAGES.get(tool, tool)} on the host.",
            )
        # With the last transaction the script goes too, also between two of its own steps: then its shell says so.
        names_it = "not found" not in text and any(each in text for each in self._scripts)
        if answer.returncode in _NO_SCRIPT and (not text or names_it):
            raise Gone(self.host.name, self.transaction, "")
        if answer.returncode == UNSAFE and (why := reason(text)):
            raise Refused(self.host.name, tried, why, todo(why))
        if last == ["unguarded"]:
            raise Refused(
                self.host.name,
                tried,
                "none of the timers that were to put it back is running any more",
                "Find out what ends processes and timers there.",
            )
        if last[:1] == ["busy"]:
            raise Refused(
                self.host.name,
                tried,
                f"systemd has been starting, stopping or reloading {', '.join(last[1:])} for some seconds",
                "Wait until that is done (`systemctl list-jobs` on the host), then try again.",
            )
        seen = " ".join((text, answer.error_text.strip())).strip() or f"exit code {answer.returncode}"
        raise Refused(
            self.host.name, tried, seen, "Check the permissions there, and whether the disk is full."
        )


async def insist(one: Participant, ask: Callable[[], Awaitable[T]], *, until: float, watch: Watcher) -> T:
    """The answer, asked for again over new connections until that time by the loop's clock.

    Nobody knows what becomes of a message whose answer is lost: everything that is asked so may be asked twice.
    """
    now = asyncio.get_running_loop().time
    told = False
    while True:
        try:
            return await ask()
        except (HostError, HostsFailed) as error:
            left = until - now()
            if left < 0 or _is_final(error):
                raise
            if not told:
                told = True
                watch(Event(Kind.ASKS_AGAIN, one.name, seconds=round(left)))
            await one.reconnect()
            await asyncio.sleep(AGAIN)


def _is_final(error: CrossnetError) -> bool:
    """Whether asking again does not help: of several errors, with none of them."""
    if isinstance(error, HostsFailed):
        return all(map(_is_final, error.errors))
    return isinstance(error, Refused | CommandFailed)


@dataclass(frozen=True, slots=True)
class _Failed:
    """A step that said no: which of which change, with what exit code, and what its tool had to say."""

    change: int
    step: int
    code: int
    what: str
    said: str


def _failures(text: str) -> list[_Failed]:
    found: list[_Failed] = []
    said: list[str] = []
    for line in text.splitlines():
        match line.split(maxsplit=4):
            case ["failed", change, step, code, what]:
                found.append(_Failed(int(change), int(step), int(code), what, "\n".join(said)))
                said = []
            case _:
                said.append(line)
    return found
