"""The kernel's doors to namespaces and mounts that Python 3.11 does not have.

Source: unshare(2), setns(2), mount(2), mount_setattr(2), prctl(2), namespaces(7). All of them act on the
calling process, which must have one thread only.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossnet.errors import LabError

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND = 1, 2, 4, 8, 4096
_MNT_DETACH = 2

# mount_setattr(2) has no wrapper in glibc before 2.36; since Linux 5.x new calls have one number everywhere.
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1

_PR_CAPBSET_DROP = 24

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise LabError(f"{what}: {os.strerror(number)} ({errno.errorcode.get(number, number)})")


def has_inotify_instances(count: int) -> bool:
    """Whether this user may have so many more of them (inotify(7))."""
    made: list[int] = []
    while len(made) < count and (one := _libc.inotify_init1(os.O_CLOEXEC)) >= 0:
        made.append(one)
    refused = len(made) < count and ctypes.get_errno() == errno.EMFILE
    for one in made:
        os.close(one)
    return not refused


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "making namespaces with unshare(2)")


def new_network() -> int:
    """A new network namespace, as an open file that keeps it alive; the caller stays in its own."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        unshare(CLONE_NEWNET)
        made = os.open("/proc/self/ns/net", os.O_RDONLY)
        _check(_libc.setns(home, CLONE_NEWNET), "going back to the own network namespace")
    finally:
        os.close(home)
    return made


@contextmanager
def inside(network: int) -> Iterator[None]:
    """What is done here is done in that network namespace, `/proc/sys/net` and children included."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        _check(_libc.setns(network, CLONE_NEWNET), "entering a network namespace")
        yield
    finally:
        _check(_libc.setns(home, CLONE_NEWNET), "going back to the own network namespace")
        os.close(home)


def fork_as_init() -> int:
    """Like os.fork(), but the child is process 1 of a pid namespace of its own."""
    # Only children enter a new pid namespace, and unshare(2) refuses a second one until the first
    # choice is taken back with setns(2) (kernel/pid_namespace.c: copy_pid_ns).
    home = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        unshare(CLONE_NEWPID)
        child = os.fork()
        if child:
            _check(_libc.setns(home, CLONE_NEWPID), "going back to the own pid namespace")
        return child
    finally:
        os.close(home)


def enter(process: int, flags: int) -> None:
    """Enter namespaces of the process of that pidfd; a pid namespace is entered by later children only."""
    _check(_libc.setns(process, flags), "entering a machine's namespaces, which needs Linux 5.8")


def give_up(capability: int) -> None:
    """Take a capability from all programs that this process will execute (capabilities(7))."""
    _check(
        _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0),
        f"giving up capability {capability} with prctl(2)",
    )


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind and kind.encode(),
            ctypes.c_ulong(flags),
            data and data.encode(),
        ),
        f"mounting {kind or source} on {target}",
    )


def bind(source: Path | str, target: str) -> None:
    _mount(str(source), target, None, _MS_BIND)


def mount_proc() -> None:
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def mount_sysfs() -> None:
    _mount("sysfs", "/sys", "sysfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def mount_tmpfs(target: str, mode: int) -> None:
    _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode={mode:o}")


def mount_cgroup2(target: str) -> None:
    _mount("cgroup2", target, "cgroup2", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def mount_overlay(lower: Path, upper: Path, work: Path, target: Path) -> None:
    """See the files of `lower` at `target`; what is changed there is kept in `upper`."""
    # Commas and colons have a meaning in the options, and a cache may lie in a folder of any name.
    below = os.open(lower, os.O_PATH)
    try:
        options = f"lowerdir=/proc/self/fd/{below},upperdir={upper},workdir={work}"
        _mount("overlay", str(target), "overlay", 0, options)
    finally:
        os.close(below)


def unmount(target: str) -> None:
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"unmounting {target}")


def read_only(target: str, *, recursive: bool = False) -> None:
    _set_attributes(target, _MountAttributes(attr_set=_MOUNT_ATTR_RDONLY), recursive)


def writable(target: str) -> None:
    _set_attributes(target, _MountAttributes(attr_clr=_MOUNT_ATTR_RDONLY), False)


def _set_attributes(target: str, attributes: _MountAttributes, recursive: bool) -> None:
    # The older way, mount(2) with MS_REMOUNT, has to repeat every flag that the mount has already; a
    # user namespace refuses when one that it may not drop is left out (user_namespaces(7)).
    _check(
        _libc.syscall(
            ctypes.c_long(_SYS_MOUNT_SETATTR),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(os.fsencode(target)),
            ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
            ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
        ),
        f"changing how {target} is mounted with mount_setattr(2), which needs Linux 5.12",
    )
