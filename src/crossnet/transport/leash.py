"""A command that cannot be signalled from here, over SSH or behind sudo, and how it is ended there.

sshd does not end a command whose channel is closed; its signals (RFC 4254, 6.9) came with OpenSSH 7.9, are
refused to root (session.c: session_signal_req) and do not reach what sudo has started. So a small `sh` stays
beside each command and reads what comes after the command's standard input: a line ends the command with
SIGTERM, the end of input (also when the connection is cut) with SIGTERM and a second later with SIGKILL.
What calls setsid(2) has left the leash. Only behind input that a command does not read nothing comes
through; then the command is looked up by a word in its command line and killed.

A cut in the middle of the standard input must not look like its end: half a file would be put in place of
the whole one. Therefore the command gets the end of its input only after a line behind the last byte has
come; else it is killed.

What sudo has started on this machine is root's: an ordinary user may not signal it (kill(2)), and ends it so too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from crossnet.transport import ENVIRONMENT

STOP = b"\n"

_STOP_GRACE = 2.0  # seconds for SIGTERM
_END_GRACE = 3.0  # for SIGKILL, which the leash sends a second after the end of its input

# The `head` of busybox reads up to a buffer (4 KiB) more than it was asked for. The spaces may be lost in
# there, the end of the line may not.
END_OF_INPUT = b" " * 8192 + b"\n"

# linux/binfmts.h: MAX_ARG_STRLEN; the login shell gets the whole command as one argument.
LONGEST = 128 * 1024 - 1

# Tried with dash, bash and busybox. A shell waits for a whole pipeline, so the watching is in none; the 22nd
# word of /proc/PID/stat (when it was started, proc(5)) tells this shell from a later one of the same number.
_LEASH = r"""
bytes=$1
shift
child=
born() { read -r _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ born _ </proc/$$/stat; }
still() { first=$born && born && [ "$born" = "$first" ]; }
tighten() { while still && kill -HUP $$; do sleep 1; done; }
watch() {
    trap '' HUP TERM
    exec <&3 >/dev/null 2>&1
    while read -r _; do kill -TERM $$; done
    still && kill -TERM $$ && sleep 1
    tighten
}
trap '[ -z "$child" ] || kill -TERM "-$child" 2>/dev/null' TERM
trap '[ -z "$child" ] || { kill -KILL "-$child" 2>/dev/null; exit 137; }' HUP
born
exec 3<&0 </dev/null
if [ "$bytes" = 0 ]; then
    watch &
    setsid "$@" 3<&- &
else
    {
        trap '' HUP TERM
        head -c "$bytes" && if read -r _; then watch & else tighten; fi
    } <&3 2>/dev/null | setsid "$@" 3<&- &
fi
child=$!
while :; do
    wait "$child"
    code=$?
    [ -e "/proc/$child" ] || exit "$code"
done
"""


# The word comes in two halves, so that nothing that looks for it has it in its own command line.
_HUNT = r"""
for place in $(printf '%s' "$1$2" | grep -lsF -f - /proc/[0-9]*/cmdline); do
    place=${place%/cmdline}
    kill -HUP "${place#/proc/}" 2>/dev/null
done
"""


def mark() -> str:
    """A word that no other command line on the host has in it."""
    return f"crossnet-{secrets.token_hex(8)}"


def words(argv: Sequence[str], *, mark: str, stdin: int, become: bool) -> list[str]:
    """`argv` on a leash, with `stdin` bytes of input.

    No profile counts: the environment is complete, and sudo, which makes one of its own, is given it again.
    """
    clean = ["env", "-i", *(f"{key}={value}" for key, value in ENVIRONMENT.items())]
    sudo = ["sudo", "-n", "--", *clean] if become else []
    return [*clean, *sudo, "sh", "-c", _LEASH, mark, str(stdin), *argv]


def command_line(argv: Sequence[str], *, mark: str, stdin: int, become: bool) -> str:
    """The same as the text that sshd gives to the login shell."""
    leashed = words(argv, mark=mark, stdin=stdin, become=become)
    return " ".join(["exec", *(_quoted(word) for word in leashed)])


async def end(
    ended: asyncio.Event,
    *,
    write: Callable[[bytes], None],
    close: Callable[[], None],
    kill: Callable[[], Awaitable[None]],
    abort: Callable[[], None],
) -> None:
    """Make what is on a leash end, and wait; `abort` lets go of one that nothing has ended.

    `kill` is another way to end it, for when its own input is clogged.
    """
    with suppress(OSError):
        write(STOP)
    if await within(ended, _STOP_GRACE):
        return
    with suppress(OSError):
        close()
    if await within(ended, _END_GRACE):
        return
    await kill()
    if not await within(ended, _STOP_GRACE):
        abort()


async def within(ended: asyncio.Event, grace: float) -> bool:
    """Whether it has ended after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await ended.wait()
    return ended.is_set()


def hunt(mark: str) -> list[str]:
    """The command that kills what `mark` stands on."""
    middle = len(mark) // 2
    return ["sh", "-c", _HUNT, "sh", mark[:middle], mark[middle:]]


def _quoted(word: str) -> str:
    # Each word, not only those that sh would change: zsh also reads more into =word and the like.
    return "'" + word.replace("'", "'\"'\"'") + "'"
