"""What ssh_config(5) says about a destination: as `ssh -G` tells it, or read here where there is no `ssh`.

`ssh -G` is the only one that knows: it evaluates Match and Include, runs `Match exec`, makes names canonical and
reads times. It logs in nowhere.
"""

from __future__ import annotations

import asyncio
import getpass
import glob
import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crossnet import localfile
from crossnet.transport.ssh import files as ssh_files
from crossnet.transport.ssh import plain_config
from crossnet.transport.ssh.destination import Destination
from crossnet.transport.ssh.files import SYSTEM_CONFIG

USER_CONFIG = Path(".ssh/config")  # in the home

_TIME = 30.0  # seconds for `ssh -G`, which may run commands of `Match exec` and ask a name service
_MOST = 1 << 20  # bytes of its answer
_COMPLAINT = re.compile(r" line \d+: ")  # of readconf.c
_PIPES = 1.0  # seconds for the rest of it after its end
_DEPTH = 16  # readconf.c: READCONF_MAX_DEPTH


@dataclass(frozen=True, slots=True)
class Configuration:
    """Keywords in small letters with all their values, in order; what a version of ssh does not know is not set."""

    destination: Destination
    values: Mapping[str, tuple[str, ...]]
    home: str  # what ~ is
    ssh_home: str  # what `ssh` takes for ~: it asks passwd(5), not $HOME

    def get(self, keyword: str) -> str | None:
        """Its value; None where it is not set, or `none`."""
        found = self.values.get(keyword, ())
        return found[0] if found and found[0].lower() != "none" else None

    def all(self, keyword: str) -> tuple[str, ...]:
        found = self.values.get(keyword, ())
        return tuple(value for value in found if value.lower() != "none")

    def is_on(self, keyword: str) -> bool:
        return (self.get(keyword) or "no").lower() not in ("no", "false")

    @property
    def host(self) -> str:
        return self.get("hostname") or self.destination.host

    @property
    def user(self) -> str:
        return self.get("user") or getpass.getuser()

    @property
    def port(self) -> int:
        return int(self.get("port") or 22)

    def file(self, name: str) -> Path:
        """A name of a file with the tokens and variables of ssh_config(5), and ~; ValueError for that of nobody."""
        name = self.expanded(name)
        if name == "~" or name.startswith("~/"):
            return Path(self.home + name[1:])
        if self.home != self.ssh_home and name.startswith(f"{self.ssh_home.rstrip('/')}/"):
            return Path(self.home + name.removeprefix(self.ssh_home.rstrip("/")))
        try:
            return Path(name).expanduser()
        except RuntimeError:
            raise ValueError(f"{name}: there is no such user here") from None

    def expanded(self, text: str) -> str:
        """Tokens and variables put in; one that is not known stays as it is."""
        tokens = self._tokens()
        text = re.sub(r"%(.)", lambda found: tokens.get(found[1], found[0]), text)
        return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), text)

    def _tokens(self) -> Mapping[str, str]:
        local = socket.gethostname()
        jump = self.get("proxyjump") or ""
        way = f"{local}{self.host}{self.port}{self.user}"
        return {
            "%": "%",
            "C": hashlib.sha1(way.encode(), usedforsecurity=False).hexdigest(),
            "d": self.home,
            "h": self.host,
            "i": str(os.getuid()),
            "j": jump,
            "k": self.get("hostkeyalias") or self.destination.host,
            "L": local.partition(".")[0],
            "l": local,
            "n": self.destination.host,
            "p": str(self.port),
            "r": self.user,
            "u": getpass.getuser(),
        }


async def read(destination: Destination, jumps: str | None) -> Configuration:
    """`jumps` go before what the files say, as with `ssh -J`; ValueError says what is wrong in the user's files."""
    home = str(Path.home())
    ssh = shutil.which("ssh")
    if ssh is None:
        files = ((Path(home) / USER_CONFIG, Path(home) / ".ssh"), (SYSTEM_CONFIG, SYSTEM_CONFIG.parent))
        values = await ssh_files.apart(lambda: plain_config.read(destination, files, home=home))
        if jumps is not None:
            values = {**values, "proxyjump": (jumps,), "proxycommand": ()}
        return Configuration(destination, values, home, home)
    ssh_home = _home_in_passwd() or home
    user = [] if destination.user is None else ["-l", destination.user]
    port = [] if destination.port is None else ["-p", str(destination.port)]
    over = [] if jumps is None else ["-J", jumps]
    about = [*user, *port, *over, "--", destination.host]
    if Path(home) == Path(ssh_home):
        status, out, complaint = await _asked([ssh, "-G", *about])
    else:
        with localfile.temporary_folder() as folder:
            copies = _Copies(folder, home)
            both = await ssh_files.apart(copies.of_both)
            status, out, complaint = await _asked([ssh, "-G", "-F", str(both), *about])
            complaint = copies.with_true_names(complaint)
    if status != 0:
        raise ValueError(f"`ssh -G` says: {complaint or f'exit code {status} without a word'}")
    return Configuration(destination, _told(out), home, ssh_home)


def _told(text: str) -> Mapping[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {}
    for line in filter(None, text.split("\n")):
        keyword, _, value = line.partition(" ")
        keyword = keyword.lower()
        values[keyword] = (*values.get(keyword, ()), value)
    return values


def _home_in_passwd() -> str | None:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None  # `ssh` says itself that it does not run like this


async def _asked(argv: list[str]) -> tuple[int, str, str]:
    """Exit status, output, and the first line of what it complained of. A session of its own: a Ctrl-C is ours."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    out, complaint = bytearray(), bytearray()
    readers = [
        asyncio.create_task(_read(process.stdout, out)),
        asyncio.create_task(_read(process.stderr, complaint)),
    ]
    try:
        async with asyncio.timeout(_TIME):
            await process.wait()
        # What `Match exec` left running may hold the pipes.
        await asyncio.wait(readers, timeout=_PIPES)
    except BaseException as error:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if isinstance(error, TimeoutError):
            raise ValueError(
                f"`ssh -G` did not end within {_TIME:g} s; see `Match exec`, and an `Include` that is a pipe"
            ) from None
        raise
    finally:
        for reader in readers:
            reader.cancel()
    lines = complaint.decode(errors="replace").splitlines()
    assert process.returncode is not None
    return process.returncode, out.decode(errors="replace"), complaint_of(lines)


def complaint_of(lines: list[str]) -> str:
    """The line in which `ssh` says what is wrong; a command of `Match exec` may have written before it."""
    said = [line for line in lines if not line.startswith("Pseudo-terminal")]
    return next((line for line in said if _COMPLAINT.search(line)), said[0] if said else "")


async def _read(stream: asyncio.StreamReader, kept: bytearray) -> None:
    while part := await stream.read(1 << 16):
        kept += part[: _MOST - len(kept)]


class _Copies:
    """The files of both configurations for `ssh -F`, where $HOME is not the home that `ssh` looks into.

    With -F `ssh` leaves out the system's file, looks for an Include without / in passwd's home, and wants what is
    included to be the user's own, which it is not under `sudo`: so one file includes copies of both, with whole names.
    """

    def __init__(self, folder: Path, home: str) -> None:
        self._folder = folder
        self._home = home
        self._names: dict[str, str] = {}  # of the copies: what they are of

    def of_both(self) -> Path:
        user = Path(self._home) / USER_CONFIG
        both = ((user, user.parent), (SYSTEM_CONFIG, SYSTEM_CONFIG.parent))
        files = [self._copy(file, base, 0) for file, base in both if os.access(file, os.R_OK)]
        config = self._folder / "config"
        config.write_text("".join(f"Include {_quoted(file)}\n" for file in files), encoding="utf-8")
        return config

    def with_true_names(self, text: str) -> str:
        for copy, name in self._names.items():
            text = text.replace(copy, name)
        return text

    def _copy(self, file: Path, base: Path, depth: int) -> Path:
        if depth > _DEPTH:
            raise ValueError(f"{file}: Include leads in circles")
        copy = self._folder / f"{len(self._names)}.copy"
        self._names[str(copy)] = str(file)
        lines = ssh_files.read_config(file, self._home).decode(errors="surrogateescape").split("\n")
        text = "".join(f"{self._included(line, base, depth)}\n" for line in lines)
        copy.write_text(text, encoding="utf-8", errors="surrogateescape")
        return copy

    def _included(self, line: str, base: Path, depth: int) -> str:
        if not plain_config.is_include(line):
            return line
        files: list[str] = []
        for pattern in plain_config.words(line)[1:]:
            found = [Path(name) for name in sorted(glob.glob(plain_config.whole(pattern, base, self._home)))]
            files += [
                _quoted(self._copy(file, base, depth + 1))
                for file in found
                if file.is_file() and os.access(file, os.R_OK)
            ]
        return f"Include {' '.join(files)}" if files else "# an Include of nothing"


def _quoted(file: Path) -> str:
    return f'"{glob.escape(str(file))}"'
