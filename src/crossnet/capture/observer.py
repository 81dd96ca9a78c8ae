"""Watch one host: tcpdump there, in the first of its forms that the host takes, and never longer than agreed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crossnet.capture.frames import Frame, Reader, Record, frame
from crossnet.capture.program import program
from crossnet.capture.wanted import Filter
from crossnet.errors import HostError
from crossnet.transport import Host, Process
from crossnet.values import Address

ARMED = 3.0  # seconds in which a host that is connected must have begun to watch

SNAPLEN = 128  # bytes of a packet: the longest head, and what an error quotes of another

# Interfaces that are watched one by one, each by a command of its own: sshd permits ten at a time (MaxSessions).
MOST_APART = 6

# Names of interfaces hold any characters but a few; the kernel's list has each before a colon (net/core/net-procfs.c).
#
# Nothing but the pipes tells that crossnet is gone, and a capture that sees no packet never writes. So a watcher
# beside it writes an empty line on standard error twice a second: when nobody reads that (EPIPE), or the time is over,
# it ends the capture. Not by timeout(1), which some hosts lack. It is started before this shell has a trap: what has
# inherited one loses a signal that comes before its own is set (busybox 1.35, dash 0.5.12, measured); so its own naps
# are told to end until they have.
_SCRIPT = r"""
seconds=$1
shift
while IFS=' :' read -r name rest; do printf 'name %s\n' "$name"; done </proc/net/dev
ip -o link 2>/dev/null
printf '\n--\n'
"$@" </dev/null &
capture=$!
(
    nap= over=
    trap 'over=y; [ -z "$nap" ] || kill "$nap"' TERM
    trap '' PIPE
    rest() {
        sleep "$1" >/dev/null 2>&1 &
        nap=$!
        [ -n "$over" ] || wait "$nap"
        code=$?
        [ -z "$over" ] || { while kill "$nap"; do wait "$nap"; done; exit; }
        nap=
        return "$code"
    }
    halves=$((seconds * 2))
    while [ "$halves" -gt 0 ] && echo >&2; do
        rest 0.5 2>/dev/null || { rest 1 2>/dev/null; halves=$((halves - 1)); }
        halves=$((halves - 1))
    done
    kill "$capture" 2>/dev/null
    echo 'the time is over' >&2
    rest 1 2>/dev/null
    kill -KILL "$capture" 2>/dev/null
) &
watcher=$!
trap 'kill "$capture" 2>/dev/null' TERM
while :; do
    wait "$capture" 2>/dev/null
    code=$?
    [ -e "/proc/$capture" ] || break
done
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$code"
"""

_FRONT = b"\n--\n"  # between what is told of the interfaces and the pcap file
_LONGEST_FRONT = 2**20

NO_RIGHT = "the account may not capture"  # so begin the words where that is the reason

_TIME_IS_OVER = b"the time is over"
_LISTENS = b"listening on"  # tcpdump says so when nothing that could fail is left to do

_DROPPED = re.compile(rb"(\d+) packets? dropped by kernel")
_LINK = re.compile(r"(\d+): (\S+): <([^>]*)>(?:.* link/ether ([0-9a-f:]{17}))?")


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface as the host tells it when a capture begins."""

    index: int
    name: str
    up: bool
    mac: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame and the interface that it was seen on."""

    interface: str
    record: Record
    frame: Frame


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to capture; `apart` where each interface needs a command of its own."""

    program: str
    words: tuple[str, ...]
    apart: bool = False


_TOGETHER = ("-i", "any", "-y", "LINUX_SLL2", "--immediate-mode")

# Where there is no tcpdump, or it is refused what it does beside capturing: as root of a user namespace it cannot
# become another user. What it prints is what tcpdump prints.
_PYTHON = r"""
import ctypes, signal, socket, struct, sys
most, snaplen, program = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
steps = b"".join(struct.pack("HBBI", *step) for step in struct.iter_unpack("!HBBI", program))
kept = ctypes.create_string_buffer(steps)
try:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    wire.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(steps) // 8, ctypes.addressof(kept)))
    wire.setsockopt(socket.SOL_SOCKET, 35, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    wire.setblocking(False)
    while True:
        try:
            wire.recv(1)  # what came before the filter
        except BlockingIOError:
            break
    wire.setblocking(True)
except OSError as error:
    sys.exit("python3: %s" % error)
out = sys.stdout.buffer
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
indexes = {}
try:
    out.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen, 276))
    out.flush()
    print("listening on all interfaces", file=sys.stderr, flush=True)
    for _ in range(most):
        data, told, _, (name, protocol, kind, hardware, mac) = wire.recvmsg(65536, 64)
        seconds, parts = struct.unpack("ll", told[0][2][: struct.calcsize("ll")])
        if name not in indexes:
            try:
                indexes[name] = socket.if_nametoindex(name)
            except OSError:
                indexes[name] = 0
        head = struct.pack("!HHIHBB8s", protocol, 0, indexes[name], hardware, kind, min(len(mac), 8), mac)
        frame = (head + data)[:snaplen]
        out.write(struct.pack("=IIII", seconds, parts, len(frame), len(head) + len(data)) + frame)
        out.flush()
except BrokenPipeError:
    pass
finally:
    drops = struct.unpack("II", wire.getsockopt(263, 6, 8))[1]
    print("%d packets dropped by kernel" % drops, file=sys.stderr, flush=True)
"""

# LINUX_SLL2 tells interface and direction of each frame (libpcap 1.10). Before it, nothing told the interface of what
# was captured on all of them. Without -p tcpdump would make a single interface promiscuous, which changes what is seen.
_FORMS = (
    _Form("tcpdump", _TOGETHER),
    _Form("tcpdump", (*_TOGETHER, "-Z", "root")),
    _Form("python3", ("-I", "-c", _PYTHON)),
    _Form("tcpdump", ("-p", "--immediate-mode"), apart=True),
    _Form("tcpdump", ("-p",), apart=True),
)


class Observer:
    """What is seen on one host, from `arm` to `stop`."""

    def __init__(
        self, host: Host, wanted: Filter, *, most: int, seconds: int, take: Callable[[Seen], None]
    ) -> None:
        self._host = host
        self._wanted = wanted
        self._most = most
        self._seconds = seconds
        self._take = take
        self._streams: list[_Stream] = []
        self._failed = ""

    @property
    def failed(self) -> str:
        """Why nobody watches, or not any more; nothing where all is well."""
        return self._failed or next((stream.over for stream in self._streams if stream.over), "")

    @property
    def lost(self) -> int:
        """Frames that the host's kernel could not keep; known when it has been stopped."""
        return sum(stream.lost for stream in self._streams)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Those that are watched."""
        return tuple(name for stream in self._streams if stream.is_armed for name in stream.watched)

    async def arm(self) -> None:
        """Until it watches, or `failed` says why not."""
        try:
            own = await self._own()  # connects, for which a way over jump hosts may need more time
            async with asyncio.timeout(ARMED):
                self._failed = await self._arm(own)
        except* TimeoutError:
            self._failed = f"the capture had not begun within {ARMED:g} s"
        except* HostError as errors:
            self._failed = str(errors.exceptions[0])
        except* OSError as errors:
            self._failed = f"the capture was not started: {errors.exceptions[0]}"
        finally:
            if not self.interfaces:
                await self.stop()

    async def _arm(self, own: Sequence[tuple[Address, Address]]) -> str:
        """Why no form of it watches, nothing where one does."""
        interfaces: tuple[Interface, ...] = ()
        missing: set[str] = set()
        complaints: dict[str, str] = {}
        for form in _FORMS:
            if form.program in missing:
                continue
            alone: Sequence[Interface | None] = (None,)
            if form.apart:
                alone = [one for one in interfaces if one.up and one.name != "lo"][:MOST_APART]
            self._streams = [_Stream(self._host, one, self._most, self._take) for one in alone]
            async with asyncio.TaskGroup() as group:
                for stream in self._streams:
                    group.create_task(stream.start(self._argv(form, stream.alone, own)))
            if self.interfaces:
                return ""
            for stream in self._streams:
                interfaces = stream.interfaces or interfaces
                if stream.is_missing:
                    missing.add(form.program)
                elif stream.complaint:
                    complaints.setdefault(form.program, stream.complaint)
        return _in_words(complaints)

    async def _own(self) -> list[tuple[Address, Address]]:
        """The ends of the connection over which crossnet talks to the host."""
        here, there = await self._host.controller(), await self._host.reached_at()
        return [] if here is None or there is None else [(here, there)]

    def _argv(
        self, form: _Form, alone: Interface | None, without: Sequence[tuple[Address, Address]]
    ) -> list[str]:
        capture = [form.program, *form.words]
        if form.program == "tcpdump":
            capture += [] if alone is None else ["-i", alone.name]
            capture += ["-n", "-U", "-s", str(SNAPLEN), "-c", str(self._most), "-w", "-"]
            capture.append(self._wanted.expression(without=without))
        else:
            capture += [str(self._most), str(SNAPLEN), program(self._wanted, without=without).hex()]
        return ["sh", "-c", _SCRIPT, "sh", str(self._seconds), *capture]

    async def stop(self) -> None:
        """End it, and count what was lost."""
        await asyncio.gather(*(stream.stop() for stream in self._streams))


class _Stream:
    """One command that captures, on all interfaces or on one alone."""

    def __init__(self, host: Host, alone: Interface | None, most: int, take: Callable[[Seen], None]) -> None:
        self.alone = alone
        self.interfaces: tuple[Interface, ...] = ()
        self.is_armed = False
        self.over = ""  # why it ended by itself, after it had begun
        self._host = host
        self._most = most
        self._seen = 0
        self._take = take
        self._is_stopping = False
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, argv: Sequence[str]) -> None:
        """Until it watches, or has ended; HostError and OSError where it cannot be started."""
        process = self._process = await self._host.start(argv)
        self._reading = asyncio.create_task(self._read(process))
        goes_on = True
        while goes_on and _LISTENS not in process.errors:
            goes_on = await process.said_more()
        self.is_armed = _LISTENS in process.errors
        if not self.is_armed:
            await self._reading

    @property
    def watched(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.interfaces) if self.alone is None else (self.alone.name,)

    @property
    def is_missing(self) -> bool:
        """Whether there is no such program."""
        return self._process is not None and self._process.status == 127

    @property
    def complaint(self) -> str:
        """The last that it said."""
        said = self._process.errors.split(b"\n") if self._process else []
        lines = (line.decode(errors="replace").strip() for line in reversed(said) if _LISTENS not in line)
        return next(filter(None, lines), "")

    @property
    def lost(self) -> int:
        found = _DROPPED.search(self._process.errors) if self._process else None
        return int(found[1]) if found else 0

    async def stop(self) -> None:
        self._is_stopping = True
        if self._process is not None:
            await self._process.stop()
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _read(self, process: Process) -> None:
        """All that it writes; what it is no longer to write is not read."""
        reader = Reader()
        front: bytes | None = b""
        try:
            async for piece in process.output():
                if front is not None:
                    front += piece
                    told, cut, piece = front.partition(_FRONT)
                    if not cut and len(front) <= _LONGEST_FRONT:
                        continue
                    self.interfaces = parse_interfaces(told.decode(errors="replace"))
                    front = None
                for record in reader.feed(piece):
                    self._see(record)
                if self._seen >= self._most:  # it was told the same number, whatever is at work there
                    await process.stop()
                    break
        except ValueError as error:
            self.over = f"what it captured could not be read: {error}"
            await process.stop()
        except HostError as error:
            self.over = str(error)
        else:
            if not self._is_stopping:
                self.over = self._end(process)

    def _end(self, process: Process) -> str:
        if self._seen >= self._most:
            return f"it had seen {self._most} packets, and was not to see more"
        if _TIME_IS_OVER in process.errors:
            return "the time that it was to watch was over"
        return f"the capture ended: {self.complaint or 'it said nothing'}"

    def _see(self, record: Record) -> None:
        self._seen += 1
        seen = frame(record, self.alone.mac if self.alone is not None else None)
        if self.alone is not None:
            name = self.alone.name
        else:
            name = next((one.name for one in self.interfaces if one.index == seen.index), f"if{seen.index}")
        self._take(Seen(name, record, seen))


def parse_interfaces(told: str) -> tuple[Interface, ...]:
    """From `name NAME` for each, and what `ip -o link` prints: `2: eth0@if7: <BROADCAST,UP> mtu …`."""
    lines = told.splitlines()
    names = {line.removeprefix("name ") for line in lines if line.startswith("name ")}
    found = []
    for line in lines:
        if (head := _LINK.match(line)) is not None:
            index, name, flags, mac = head.groups()
            # A name may have an @ in it, and `ip` puts one between it and the interface below it.
            while name not in names and "@" in name:
                name = name.rpartition("@")[0]
            found.append(Interface(int(index), name, "UP" in flags.split(","), mac))
    return tuple(found)


def _in_words(complaints: Mapping[str, str]) -> str:
    """Why nobody watches there, and what to do; `complaints` are the first of each program that is there."""
    if not complaints:
        return "there is no tcpdump: install the package of that name to see packets there"
    said = "; ".join(complaints.values())
    if any(
        word in said for word in ("permission", "not permitted", "Permission denied", "Couldn't change to")
    ):
        return f"{NO_RIGHT} ({said}): log in as root, or set `become: sudo`"
    return f"nothing began to watch: {said}"
