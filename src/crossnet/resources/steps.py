"""What is done on a host to change a resource, and what tells there how it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self


@dataclass(frozen=True, slots=True)
class Command:
    """A step that runs a command; `stdin` is what it is fed.

    `in_any_boot` is whether it also puts back what is on the disk, and so is done too for a change of an earlier boot.
    """

    argv: tuple[str, ...]
    stdin: bytes = b""
    in_any_boot: bool = False

    @property
    def content(self) -> bytes:
        """What the step gives to the host: here what the command is fed."""
        return self.stdin

    def __str__(self) -> str:
        return " ".join(self.argv)


@dataclass(frozen=True, slots=True)
class Write:
    """A step that replaces a file in one instant, or removes it where `data` is None.

    `owner` is `uid:gid`, None for whoever crossnet is on that host.
    """

    path: PurePosixPath
    data: bytes | None
    mode: int = 0o644
    owner: str | None = None

    @property
    def content(self) -> bytes:
        return self.data or b""

    def __str__(self) -> str:
        return f"remove {self.path}" if self.data is None else f"write {self.path}"


@dataclass(frozen=True, slots=True)
class Link:
    """A step that makes a symbolic link, or removes it where `target` is None; `owner` as of a file."""

    path: PurePosixPath
    target: str | None
    owner: str | None = None

    @property
    def content(self) -> bytes:
        return b""

    def __str__(self) -> str:
        return f"remove {self.path}" if self.target is None else f"link {self.path} to {self.target}"


@dataclass(frozen=True, slots=True)
class Splice:
    """A step that changes a part of a file that others keep: at `offset` its `length` bytes become `data`.

    It does nothing, and fails, unless the bytes of the whole file have the digest `before`, or none where there was
    none; where they have `after`, it is done already. So what anybody else changes meanwhile is never lost, and
    nothing of the file but its own part is told. The file keeps its mode and owner; a new one has `mode`.
    """

    path: PurePosixPath
    offset: int
    length: int
    data: bytes
    before: str | None
    after: str | None
    mode: int = 0o644

    @classmethod
    def between(cls, path: PurePosixPath, before: bytes | None, after: bytes | None) -> Self:
        """The step from one content to the other; None is no file at all."""
        old, new = before or b"", after or b""
        most = min(len(old), len(new))
        offset = next((at for at in range(most) if old[at] != new[at]), most)
        same = next((at for at in range(most - offset) if old[-1 - at] != new[-1 - at]), most - offset)
        end = len(new) - same
        return cls(path, offset, len(old) - same - offset, new[offset:end], _sha256(before), _sha256(after))

    @property
    def content(self) -> bytes:
        return self.data

    def __str__(self) -> str:
        if self.after is None:
            return f"remove {self.path}, which is empty again"
        done = f"write {len(self.data)} bytes into" if self.data else f"take {self.length} bytes out of"
        return f"{done} {self.path}, unless somebody else has changed it"


def _sha256(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


Step = Command | Write | Link | Splice


def goes_with_its_last(folder: PurePosixPath) -> bool:
    """Whether a folder is removed with the last file in it: crossnet's own, one that enables units, one of drop-ins.

    systemctl(1) does the same with those that enable units when it disables one.
    """
    return folder.name == "crossnet" or folder.name.endswith((".service.wants", ".network.d"))


# What tells on the host itself how a resource is: the answer of a command, or what stands at a path.
Look = Command | PurePosixPath


@dataclass(frozen=True, slots=True)
class Line:
    """A change as one line for a tool that reads many: neighbours with the same tool and look are one step.

    `tool` is told `stop` at the first line that fails, for an undo `go-on`: of what it takes back not all may be
    there. It says then `Command failed -:` and the number of the line. `look` answers for all of them.
    """

    tool: tuple[str, ...]
    text: str
    look: Look


_CHECK = (
    'beside=$1; shift; command -v "$1" >/dev/null || exit 0; '
    '[ ! -f "$beside" ] || "$@" <"$beside" >/dev/null 2>&1 || exit 0; exec "$@"'
)


@dataclass(frozen=True, slots=True)
class Check:
    """A dry run of a file by the program that will read it: `argv` takes `data` as standard input, or says no.

    Where there is no such program nothing is claimed; nor where it does not take the file as it is without crossnet,
    which stands at `beside`.
    """

    argv: tuple[str, ...]
    data: bytes
    beside: str = ""

    @property
    def step(self) -> Command:
        return Command(("sh", "-c", _CHECK, "sh", self.beside, *self.argv), self.data)
