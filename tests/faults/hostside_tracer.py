"""Runs a command and kills it at the N-th system call that changes something or starts or ends a process.

    hostside_tracer.py self|all|stop N COMMAND…

The calls are counted over the command and everything that it starts, in the order in which they come. At the
N-th, before it is done, the process that makes it is killed (`self`), or all of them at once (`all`), or it
stands still (`stop`) until this program, whose number is then in /tmp/stopped, gets SIGCONT. N = 0 does nothing.
The last line on standard error is

    reached N CALL PROGRAM    or    passed COUNT

and its exit code is the command's, 128 and the signal's number when a signal ended it. strace(1) counts for each
process apart, so that a tool's calls could not be told from its shell's; else it would do the same.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from contextlib import suppress

CONT, SYSCALL = 7, 24
SEIZE, LISTEN, SYSCALL_INFO = 0x4206, 0x4208, 0x420E
# ptrace(2): system calls are told from signals; what is forked is traced too.
OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10
TRACED_CALL = signal.SIGTRAP | 0x80
EVENT_STOP = 128
WALL = 0x40000000

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

CALLS = {
    "x86_64": {
        1: "write",
        2: "open",
        20: "writev",
        44: "sendto",
        46: "sendmsg",
        54: "setsockopt",
        56: "clone",
        57: "fork",
        58: "vfork",
        59: "execve",
        61: "wait4",
        62: "kill",
        73: "flock",
        74: "fsync",
        76: "truncate",
        77: "ftruncate",
        82: "rename",
        83: "mkdir",
        84: "rmdir",
        86: "link",
        87: "unlink",
        88: "symlink",
        90: "chmod",
        91: "fchmod",
        92: "chown",
        112: "setsid",
        162: "sync",
        231: "exit_group",
        257: "openat",
        258: "mkdirat",
        260: "fchownat",
        263: "unlinkat",
        264: "renameat",
        265: "linkat",
        266: "symlinkat",
        268: "fchmodat",
        306: "syncfs",
        316: "renameat2",
        326: "copy_file_range",
        435: "clone3",
    },
    "aarch64": {
        32: "flock",
        34: "mkdirat",
        35: "unlinkat",
        36: "symlinkat",
        37: "linkat",
        38: "renameat",
        45: "truncate",
        46: "ftruncate",
        52: "fchmod",
        53: "fchmodat",
        54: "fchownat",
        56: "openat",
        64: "write",
        66: "writev",
        81: "sync",
        82: "fsync",
        94: "exit_group",
        129: "kill",
        157: "setsid",
        206: "sendto",
        208: "setsockopt",
        211: "sendmsg",
        220: "clone",
        221: "execve",
        260: "wait4",
        267: "syncfs",
        276: "renameat2",
        285: "copy_file_range",
        435: "clone3",
    },
}[platform.machine()]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class _CallInfo(ctypes.Structure):
    """linux/ptrace.h: struct ptrace_syscall_info, as it is when a call begins."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("padding", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
        ("more", ctypes.c_uint64 * 2),
    )


def _ptrace(request: int, process: int, address: int = 0, data: object = None) -> None:
    # A process that was killed meanwhile cannot be asked; it is waited for like any other.
    _libc.ptrace(request, process, ctypes.c_void_p(address), data)


def _call(process: int) -> str | None:
    """The call that begins, when it is one that counts."""
    info = _CallInfo()
    _ptrace(SYSCALL_INFO, process, ctypes.sizeof(info), ctypes.byref(info))
    if info.op != 1:
        return None
    name = CALLS.get(info.number)
    flags = {"open": 1, "openat": 2}.get(name or "")
    return None if flags is not None and not info.arguments[flags] & WRITES else name


def _program(process: int) -> str:
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    return " ".join(word.rpartition("/")[2][:40] for word in words[:4] if "\n" not in word)


def _start(command: list[str]) -> int:
    held, go = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(go)
        os.read(held, 1)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # which Python ignores
        try:
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    os.close(held)
    _ptrace(SEIZE, process, 0, ctypes.c_void_p(OPTIONS))
    os.close(go)
    return process


def _stand_still() -> None:
    with open("/tmp/stopped.new", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    os.rename("/tmp/stopped.new", "/tmp/stopped")
    os.kill(os.getpid(), signal.SIGSTOP)


def trace(how: str, wanted: int, command: list[str]) -> tuple[int, str]:
    main = _start(command)
    alive = {main}
    count, said = 0, ""
    while True:
        process, status = os.waitpid(-1, WALL)
        if not os.WIFSTOPPED(status):
            alive.discard(process)
            if process == main:
                code = os.waitstatus_to_exitcode(status)
                return (code if code >= 0 else 128 - code), said or f"passed {count}"
            continue
        alive.add(process)
        number, event = os.WSTOPSIG(status), status >> 16
        resume = CONT if said else SYSCALL
        if event == EVENT_STOP and number != signal.SIGTRAP:
            _ptrace(LISTEN, process)
        elif event or number == signal.SIGTRAP:
            _ptrace(resume, process)
        elif number != TRACED_CALL:
            _ptrace(resume, process, 0, ctypes.c_void_p(number))
        else:
            name = None if said else _call(process)
            count += name is not None
            if name is not None and count == wanted:
                said = f"reached {count} {name} {_program(process)}"
                if how == "stop":
                    _stand_still()
                for victim in {"all": alive, "self": {process}, "stop": set()}[how]:
                    with suppress(ProcessLookupError):
                        os.kill(victim, signal.SIGKILL)
                resume = CONT
            _ptrace(resume, process)


if __name__ == "__main__":
    code, told = trace(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
    sys.stderr.write(f"\n{told}\n")
    sys.stderr.flush()
    os._exit(code)
