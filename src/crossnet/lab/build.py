"""Labs of this user on this machine: bring one up, find it and its hosts, take it down.

A lab's folder is `/run/crossnet/lab/NAME` for root, else `$XDG_RUNTIME_DIR/crossnet/lab/NAME` or
`/tmp/crossnet-lab-UID/NAME`. In it `lock` is locked (flock(2)) as long as the lab's supervisor lives.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from crossnet.errors import LabError
from crossnet.lab import cgroups, files, image, needs
from crossnet.lab.depth import Depth
from crossnet.lab.neutron import install
from crossnet.lab.neutron.cloud import CLOUDS
from crossnet.lab.supervisor import CONTROL, PID, TOPOLOGY, host_socket
from crossnet.lab.topology import Topology, from_data, to_data
from crossnet.transport import PATH

ENVIRONMENT_NAME = "CROSSNET_LAB"

_DEPTH = "depth"
_LOCK = "lock"
_LOG = "supervisor.log"
_PATIENCE = 10.0  # seconds for a lab to end by itself before it is killed
_BOOT_PATIENCE = 120.0

# unix(7): the path of a socket has at most 107 bytes.
_LONGEST_SOCKET = 107

# The writing ends of the lifelines of labs that shall end with this process.
_lifelines: dict[Path, int] = {}


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up."""

    name: str
    topology: Topology
    folder: Path
    depth: Depth = Depth.LAB

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(host.name for host in self.topology.hosts)

    @property
    def clouds(self) -> Path | None:
        """The clouds.yaml that leads to the lab's cloud, an entry of the lab's name; None when it has none."""
        return self.folder / CLOUDS if self.topology.is_in_cloud else None

    def socket(self, host: str) -> Path:
        """What `crossnet.transport.lab.LabHost` connects to; LabError when there is no such host."""
        return host_socket(self.folder, self.topology.host(host).name)


@dataclass(frozen=True, slots=True)
class Place:
    """A host of a lab that is up."""

    lab: Lab
    host: str

    @property
    def socket(self) -> Path:
        return self.lab.socket(self.host)

    def __str__(self) -> str:
        return f"{self.lab.name}/{self.host}"


async def up(
    topology: Topology, *, depth: Depth = Depth.LAB, name: str | None = None, lifeline: bool = False
) -> Lab:
    """Build a lab; when this returns, all its hosts have booted.

    Its name is `name`, else CROSSNET_LAB from the environment, else the topology's. With `lifeline` the
    lab ends with this process, even if that is killed. The first lab of machines has to make what they
    are copies of (crossnet.lab.image), the first with port security to install a Neutron
    (crossnet.lab.neutron.install). LabError when the name is taken or the machine cannot do it; then
    nothing is left behind.
    """
    name = name or os.environ.get(ENVIRONMENT_NAME) or topology.name
    with _writing():
        folder = _base(create=True) / _checked(name)
    longest = max((host_socket(folder, host.name) for host in topology.hosts), key=lambda p: len(str(p)))
    if len(os.fsencode(longest)) > _LONGEST_SOCKET:
        raise LabError(f"{longest} is too long for the path of a socket: choose a shorter name with --name")
    needs.check(depth, cloud=topology.is_in_cloud)
    if depth is Depth.MACHINE:
        await image.make()
    if topology.is_in_cloud:
        await install.make()
    with _writing():
        lock = _lock(folder)
    if lock is None:
        raise LabError(
            f"a lab named {name} is up already\n"
            f"  Take it down with `crossnet lab down {name}`, or give this one another name with --name "
            f"or the variable {ENVIRONMENT_NAME}."
        )
    watch = _open_lock(folder)  # opened again, because a lock never keeps out its own holder
    try:
        try:
            with _writing():
                _empty(folder)
                (folder / TOPOLOGY).write_text(json.dumps(to_data(topology)))
                (folder / _DEPTH).write_text(depth.value)
            await _supervise(folder, depth, lock, lifeline, cloud=topology.is_in_cloud)
        finally:
            os.close(lock)  # the supervisor has inherited it
    except BaseException:
        _remove(folder, watch)
        raise
    finally:
        os.close(watch)
    return Lab(name, topology, folder, depth)


def running() -> tuple[Lab, ...]:
    """All labs of this user that are up, by name."""
    base = _base(create=False)
    found = []
    for folder in sorted(base.iterdir()) if base.is_dir() else []:
        if _is_up(folder):
            # It went down in this moment, or another version has made it.
            with suppress(OSError, ValueError, LabError):
                data = json.loads((folder / TOPOLOGY).read_text())
                topology = from_data(data, source=str(folder / TOPOLOGY))
                found.append(Lab(folder.name, topology, folder, Depth((folder / _DEPTH).read_text())))
    return tuple(found)


def names() -> tuple[str, ...]:
    """The names of all labs of this user, those included that crashed and left something behind."""
    base = _base(create=False)
    if not base.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in base.iterdir() if entry.is_dir() and entry.name[0] != "."))


def only() -> str:
    """The lab that is meant when none is named: the one of CROSSNET_LAB, else the only one there is."""
    named = os.environ.get(ENVIRONMENT_NAME)
    there = names()
    if named:
        return named
    if len(there) == 1:
        return there[0]
    if not there:
        raise LabError("no lab is up: bring one up with `crossnet lab up seed`")
    raise LabError(f"several labs are up; name one of them: {', '.join(there)}")


def find(host: str, lab: str | None = None) -> Place:
    """The host that `host`, `LAB/HOST` or a spec's `lab: HOST` means.

    Without a lab's name it is the one that CROSSNET_LAB names, else the only one that has such a host.
    """
    written, _, last = host.rpartition("/")
    wanted = written or lab or os.environ.get(ENVIRONMENT_NAME)
    labs = running()
    if wanted:
        for found in labs:
            if found.name == wanted:
                return Place(found, found.topology.host(last).name)
        raise _not_up(wanted, labs)
    places = [Place(found, last) for found in labs if last in found.hosts]
    if len(places) == 1:
        return places[0]
    if places:
        listed = "".join(f"\n    lab: {place}" for place in places)
        raise LabError(f"several labs have a host {last!r}; say which one is meant:{listed}")
    others = "".join(f"\n    {found.name}: {', '.join(found.hosts)}" for found in labs)
    seen = f"the labs that are up have:{others}" if labs else "no lab is up"
    raise LabError(f"no lab has a host {last!r}: {seen}\n  Bring one up with `crossnet lab up seed`.")


async def down(name: str) -> None:
    """End a lab and remove all it made, also what a crash left; LabError when there is none of that name."""
    folder = _base(create=False) / _checked(name)
    try:
        watch = _open_lock(folder)
    except FileNotFoundError:
        raise _not_up(name, running()) from None
    try:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await _ask(folder, {"do": "down"})
        if not await asyncio.to_thread(_remove, folder, watch):
            raise LabError(f"the lab {name} did not end: kill process {_pid(folder)} and try again")
    finally:
        os.close(watch)
    lifeline = _lifelines.pop(folder, None)
    if lifeline is not None:
        os.close(lifeline)


async def reboot(lab: Lab, host: str) -> None:
    """Pull a host's plug and switch it on again: its files stay, everything else is as new.

    When this returns, it has booted. Every process of it is killed at once, as by a power cut; but what
    was written and not yet synced is not lost. Of a lab depth's files /etc and /var/lib stay.
    """
    try:
        async with asyncio.timeout(_BOOT_PATIENCE):
            await _ask(lab.folder, {"do": "reboot", "host": lab.topology.host(host).name})
    except OSError as error:
        raise LabError(f"the lab {lab.name} cannot be asked to reboot {host}: {error.strerror}") from None
    except TimeoutError:
        raise LabError(f"{lab.name}/{host} did not boot within {_BOOT_PATIENCE:g} s") from None


async def on_switch(lab: Lab, network: str, argv: Sequence[str]) -> None:
    """Run a command on the switch of a network, which has no files of its own; LabError when it fails."""
    try:
        async with asyncio.timeout(_BOOT_PATIENCE):
            await _ask(lab.folder, {"do": "switch", "network": network, "argv": list(argv)})
    except OSError as error:
        raise LabError(f"the lab {lab.name} cannot be asked for its switches: {error.strerror}") from None
    except TimeoutError:
        raise LabError(f"the switch of {network} in the lab {lab.name} did not answer") from None


def chosen(name: str | None) -> Lab:
    """The lab of that name, else of CROSSNET_LAB, else the only one; it is up."""
    wanted = name or only()
    labs = running()
    for lab in labs:
        if lab.name == wanted:
            return lab
    raise _not_up(wanted, labs)


def _base(*, create: bool) -> Path:
    user = os.geteuid()
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    if user == 0:
        base = Path("/run/crossnet/lab")
    elif runtime.is_dir() and runtime.stat().st_uid == user:
        base = runtime / "crossnet" / "lab"
    else:
        base = Path(f"/tmp/crossnet-lab-{user}")
    if create:
        base.parent.mkdir(parents=True, exist_ok=True)
        base.mkdir(mode=0o700, exist_ok=True)
    if base.is_symlink() or (base.exists() and base.stat().st_uid != user):
        raise LabError(f"{base} belongs to somebody else: have it removed, or set XDG_RUNTIME_DIR")
    if base.exists() and base.stat().st_mode & 0o077:
        raise LabError(f"{base} is open to other users: `chmod 700 {base}`")
    return base


@contextmanager
def _writing() -> Iterator[None]:
    """What keeps the disk from taking the lab is a LabError that names the place."""
    try:
        yield
    except OSError as error:
        raise LabError(
            f"{error.filename or 'the folder of the lab'}, where this lab was to be kept: {error.strerror}\n"
            "  See whether the disk is full or read-only there, and to whom the folders above it belong."
        ) from None


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name):
        raise LabError(f"{name!r} is not a name for a lab: letters, digits, '-' and '_', at most 32")
    return name


def _not_up(name: str, labs: tuple[Lab, ...]) -> LabError:
    others = f"up are {', '.join(lab.name for lab in labs)}" if labs else "no lab is up"
    return LabError(f"there is no lab {name!r}: {others}\n  Bring one up with `crossnet lab up seed`.")


def _lock(folder: Path) -> int | None:
    """The open lock of a lab's folder, which is made; None when a supervisor holds it."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            lock = _open_lock(folder)
        except FileNotFoundError:
            continue  # removed by a lab that ended between the two calls
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        if _is_lock_of(folder, lock):
            return lock
        os.close(lock)


def _open_lock(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_lock_of(folder: Path, lock: int) -> bool:
    """Whether this open lock is still that of the folder, and not of one that has been removed."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(folder / _LOCK))
    except FileNotFoundError:
        return False


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _LOCK:
            entry.unlink()


async def _supervise(folder: Path, depth: Depth, lock: int, lifeline: bool, *, cloud: bool) -> None:
    """Start the supervisor, which inherits the lock, and wait until the lab is up."""
    log = os.open(folder / _LOG, os.O_WRONLY | os.O_CREAT, 0o600)
    told, ready = os.pipe()
    line, held = os.pipe() if lifeline else (-1, -1)
    home = os.open("/proc/self/ns/net", os.O_RDONLY) if cloud else -1
    try:
        try:
            child = await asyncio.create_subprocess_exec(
                *needs.ENTER_SESSION,
                *needs.enter_namespaces(),
                sys.executable,
                "-P",  # the current folder may hold any json.py
                "-m",
                "crossnet.lab.supervisor",
                *(str(folder), depth.value, str(ready), str(line), str(home)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_with_tools(os.environ),
                cwd="/",
                pass_fds=[file for file in (lock, ready, line, home) if file >= 0],
            )
        finally:
            _close(log, ready, line, home)
        await child.wait()
        said = await _read_line(told)
        if said:
            problem = json.loads(said).get("error")
        else:
            seen = (folder / _LOG).read_text(errors="replace").strip()
            problem = f"its supervisor ended: {seen or 'without a word'}"
        if problem is not None:
            raise LabError(f"the lab cannot be built: {problem}{needs.hint()}")
    except BaseException:
        _close(held)
        raise
    finally:
        _close(told)
    if lifeline:
        _lifelines[folder] = held


def _close(*file_numbers: int) -> None:
    for file in file_numbers:
        if file >= 0:
            os.close(file)


def _with_tools(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "PATH": f"{environment.get('PATH', '')}:{PATH}".lstrip(":")}


async def _read_line(file: int) -> bytes:
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    os.set_blocking(file, False)
    loop.add_reader(file, ready.set)
    said = b""
    try:
        while not said.endswith(b"\n"):
            await ready.wait()
            ready.clear()
            try:
                chunk = os.read(file, 65536)
            except BlockingIOError:
                continue
            if not chunk:
                break
            said += chunk
    finally:
        loop.remove_reader(file)
    return said


def _is_up(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(folder / CONTROL))
        except OSError:
            return False
        return True


async def _ask(folder: Path, request: Mapping[str, object]) -> None:
    reader, writer = await asyncio.open_unix_connection(str(folder / CONTROL))
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        answer = await reader.readline()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    problem = json.loads(answer).get("error") if answer else None
    if problem:
        raise LabError(problem)


def _pid(folder: Path) -> int | None:
    try:
        return int((folder / PID).read_text())
    except (OSError, ValueError):
        return None


def _remove(folder: Path, watch: int) -> bool:
    """Remove a lab's folder once all of its processes have ended; a lab that does not end is killed."""
    for attempt in range(2):
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(watch, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_lock_of(folder, watch):
                    cgroups.remove(folder.name)
                    files.remove(folder)
                return True
            time.sleep(0.005)
        pid = _pid(folder)
        if attempt == 0 and pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return False
