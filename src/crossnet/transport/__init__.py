"""The one door to a host: every command, stream, file read and file write goes through `Host`.

A transport supplies how a command is started; reading and writing files is done with the host's own
`sh`, so that it works the same on this machine, in a namespace, in the lab and over SSH.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from crossnet.errors import CommandFailed, HostError
from crossnet.transport.output import LIMIT, lines
from crossnet.values import Address

__all__ = [
    "ABSENT",
    "ENVIRONMENT",
    "LIMIT",
    "PATH",
    "THERE",
    "TIMEOUT",
    "Completed",
    "Host",
    "Process",
    "ShellHost",
    "lines",
]

# No dependence on a login shell's profile; /sbin is missing from the PATH of ordinary users on Debian.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}

TIMEOUT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command answered; text is decoded as UTF-8, anything else replaced."""

    host: str
    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        return self.returncode == 0

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")

    @property
    def error_text(self) -> str:
        return self.stderr.decode(errors="replace")

    def check(self) -> Completed:
        """Itself, or CommandFailed when the command ended with an error."""
        if not self.ok:
            raise CommandFailed(self.host, self.argv, self.returncode, self.error_text)
        return self


class Process(Protocol):
    """A command that goes on running on a host, such as tcpdump or ping."""

    @property
    def status(self) -> int | None:
        """Its exit status, 128 and the signal's number where one ended it; None while it runs."""
        ...

    @property
    def errors(self) -> bytes:
        """The end of what it has printed on standard error, at most 4 KiB."""
        ...

    def output(self) -> AsyncIterator[bytes]:
        """Its standard output as it comes, until it ends; `lines` cuts it into lines."""
        ...

    async def said_more(self) -> bool:
        """Wait until it prints more, also on standard error; False when it has ended."""
        ...

    async def stop(self) -> None:
        """End it with SIGTERM, after two seconds with SIGKILL; what it wrote can still be read."""
        ...


class Host(Protocol):
    """A machine that crossnet can ask and change; four verbs, each bounded in time."""

    @property
    def name(self) -> str: ...

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        """Run a command to its end; HostError when the host cannot be reached, time runs out, or it prints
        more than `limit` bytes.

        `timeout` is in seconds; what it prints gives it more, so that a long answer may come over a slow line.
        """
        ...

    async def start(self, argv: Sequence[str]) -> Process: ...

    def locate(self, path: PurePosixPath) -> PurePosixPath:
        """Where this host keeps `path`; a namespace keeps its files below a root of its own."""
        ...

    async def read(self, path: PurePosixPath) -> bytes | None:
        """The bytes of a file, None where there is none."""
        ...

    async def write(self, path: PurePosixPath, data: bytes | None, *, mode: int = 0o644) -> None:
        """Replace a file in one instant, with its folders; None removes it."""
        ...

    async def controller(self) -> Address | None:
        """The address from which the host sees crossnet come; None where no network lies between."""
        ...

    async def reached_at(self) -> Address | None:
        """The host's own address on which crossnet comes; None where no network lies between."""
        ...


# The file "$1" is open as 3, or 66 (sysexits.h: EX_NOINPUT) says that it is not there; whoever is at work on the host
# may make it or take it away at any moment. `[ -e ]` is also false where a folder
# may not be looked into or a disk fails, so only the words for ENOENT count as absent. What is no regular file, such
# as a pipe, would be read without an end.
THERE = r"""
enoent=': No such file or directory'
if [ ! -e "$1" ] && ! said=$(stat -L -- "$1" 2>&1); then
    case $said in *"$enoent") exit 66 ;; esac
    echo "$said" >&2
    exit 1
fi
[ -f "$1" ] || case $(stat -L -c %F -- "$1" 2>/dev/null) in
    '' | regular*) ;;
    *) echo "it is no regular file" >&2 && exit 1 ;;
esac
tries=0
until { command exec 3<"$1"; } 2>/dev/null; do
    tries=$((tries + 1))
    said=$(cat -- "$1" 2>&1 >/dev/null) && [ "$tries" -lt 20 ] && continue
    case $said in *"$enoent") exit 66 ;; esac
    echo "${said:-it comes and goes}" >&2
    exit 1
done
"""
ABSENT = 66

_READ = THERE + "exec cat <&3"

# Written aside in the same folder and renamed, so that no reader ever sees half a file; synced before and
# after the rename, so that a power cut leaves the old or the new one (rename(2), fsync(2)). Daemons glob
# their folders under /etc: a leading dot keeps the aside file out of every such glob.
_WRITE = r"""
set -eu
umask 077
path=$1 mode=$2
folder=${path%/*}
if [ -d "$path" ]; then echo "$path is a folder" >&2; exit 1; fi
[ -d "$folder" ] || mkdir -p -m 755 -- "$folder"
aside=$folder/.${path##*/}.crossnet
trap 'rm -f -- "$aside"' EXIT
cat > "$aside"
chmod "$mode" "$aside"
sync "$aside" 2>/dev/null || sync
mv -f -- "$aside" "$path"
trap - EXIT
sync "$folder" 2>/dev/null || sync
"""


# With what a write that was cut short may have left beside it.
_REMOVE = 'rm -f -- "$1" "${1%/*}/.${1##*/}.crossnet"'


class ShellHost(ABC):
    """A host whose files are read and written through its own `sh`; a transport adds how to run and start."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed: ...

    @abstractmethod
    async def start(self, argv: Sequence[str]) -> Process: ...

    def locate(self, path: PurePosixPath) -> PurePosixPath:
        """Where this host keeps `path`; a namespace keeps its files below a root of its own."""
        return path

    async def read(self, path: PurePosixPath) -> bytes | None:
        answer = await self.run(["sh", "-c", _READ, "sh", str(self.locate(path))])
        if answer.returncode == ABSENT:
            return None
        return self._worked(answer, f"read {path}").stdout

    async def write(self, path: PurePosixPath, data: bytes | None, *, mode: int = 0o644) -> None:
        place = str(self.locate(path))
        if data is None:
            self._worked(await self.run(["sh", "-c", _REMOVE, "sh", place]), f"removed {path}")
        else:
            answer = await self.run(["sh", "-c", _WRITE, "sh", place, f"{mode:o}"], stdin=data)
            self._worked(answer, f"wrote {path}")

    async def controller(self) -> Address | None:
        return None

    async def reached_at(self) -> Address | None:
        return None

    def _worked(self, answer: Completed, tried: str) -> Completed:
        if not answer.ok:
            seen = answer.error_text.strip() or f"exit code {answer.returncode}"
            raise HostError(
                self.name, tried, seen, "Check the permissions there, and whether the disk is full."
            )
        return answer
