"""A lab host that is a Debian with its own systemd: real units, timers and reboots.

systemd-nspawn(1) boots it on the network namespace that the lab made, from a copy of crossnet.lab.image:
an overlay, whose upper layer is what the host keeps over reboots. Its keeper, forked from the lab's
supervisor, starts nspawn and ends with it, with its status; a daemon of the machine, forked from the keeper,
serves the host's socket.

At boot systemd-networkd brings up the topology's interfaces, addresses and routes, systemd-sysctl sets its
sysctls, and `lab-boot.service` runs its `boot` lines once the network is online.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NoReturn

from crossnet.errors import LabError
from crossnet.lab import cgroups, image, namespaces, networkd, node
from crossnet.lab.server import Server
from crossnet.lab.topology import Host
from crossnet.transport import ENVIRONMENT

# systemd-nspawn's exit status for a machine that rebooted itself, if it runs with --keep-unit
# (systemd: src/nspawn/nspawn.c, run_container; src/basic/exit-status.h, EXIT_FORCE_RESTART).
REBOOTED = 133

_PATIENCE = 100.0  # seconds that a boot may take; systemd itself gives up on a unit after 90
_SHOWN = 500  # characters of the console that an error shows
_ONLINE_PATIENCE = 20  # seconds from then until the network is online

# Below the keeper's own /run, which nspawn fills with what it would leave in the machine's.
_ROOT = Path("/run/machine")
_NOTIFY = Path("/run/notify")

# What a machine has of them when it has booted: systemd five, logind and the getty one each (systemd 252).
_INOTIFY_INSTANCES = 7

_SYSRQ = "/proc/sysrq-trigger"

_BOOT_UNIT = "lab-boot.service"
_BOOT_SCRIPT = PurePosixPath("/usr/local/sbin/lab-boot")
_BOOT_UNIT_TEXT = f"""\
[Unit]
Description=what the topology starts at boot
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -e {_BOOT_SCRIPT}
"""


def prepare(disk: Path, host: Host) -> None:
    """Give a host its files, at `disk`/root; for the supervisor's mount namespace."""
    upper, work, root = disk / "upper", disk / "work", disk / "root"
    for folder in (upper, work, root):
        folder.mkdir(parents=True)
    namespaces.mount_overlay(image.place(), upper, work, root)
    etc = PurePosixPath("/etc")
    own = {
        etc / "hostname": f"{host.name}\n",
        etc / "hosts": f"127.0.0.1 localhost {host.name}\n::1 localhost {host.name}\n",
        etc / "machine-id": f"{secrets.token_hex(16)}\n",
        etc / "resolv.conf": "# a lab host knows no name servers\n",
        # Of the topology, so an administrator's file of a later name has the last word.
        etc / "sysctl.d/10-lab.conf": "".join(f"{key} = {value}\n" for key, value in host.sysctls),
        **networkd.files(host),
    }
    units = etc / "systemd/system"
    if host.boot:
        own[_BOOT_SCRIPT] = "".join(f"{line}\n" for line in host.boot)
        own[units / _BOOT_UNIT] = _BOOT_UNIT_TEXT
    for path, text in own.items():
        place = root / path.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    if host.boot:
        wanted = root / (units / "multi-user.target.wants" / _BOOT_UNIT).relative_to("/")
        wanted.symlink_to(units / _BOOT_UNIT)


def live(host: Host, disk: Path, lab: str, console: Path, listener: socket.socket, report: int) -> NoReturn:
    """Be the keeper of a host until it goes down; node.READY or what went wrong goes to `report`.

    A host that starts and does not come to the end of its boot goes on, as any machine does.
    """
    try:
        node.leave_supervisor(console, {listener.fileno(), report})
        _move_in(disk / "root")
        cgroups.enter(lab, host.name)
        machine, leader, problem = _power_on(host)
        if _is_daemon_of(leader):
            problem = problem or _not_up(host)
            _tell(report, problem + _crowded() if problem else "")
            Server(listener).serve()
        os.close(report)
        listener.close()
        os._exit(machine.wait())
    except BaseException as error:
        with suppress(OSError):
            _tell(report, str(error) or repr(error))
        os._exit(1)


def _tell(report: int, problem: str) -> None:
    if problem:  # of a reboot that nobody waits for, only the console tells
        os.write(2, f"{problem}\n".encode())
    os.write(report, problem.encode() or node.READY)
    os.close(report)


def _move_in(root: Path) -> None:
    """See this machine's programs and the host's files, and be able to change nothing else."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    namespaces.mount_proc()
    files = os.open(root, os.O_PATH)
    namespaces.read_only("/", recursive=True)
    namespaces.mount_tmpfs("/run", 0o755)
    _ROOT.mkdir()
    namespaces.bind(f"/proc/self/fd/{files}", str(_ROOT))
    namespaces.writable(str(_ROOT))
    os.close(files)
    cgroups.mount()


def _power_on(host: Host) -> tuple[subprocess.Popen[bytes], int, str]:
    """nspawn, the machine's process 1, and why the boot did not end, if it did not."""
    notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notes.bind(str(_NOTIFY))
    notes.settimeout(0.1)
    machine = subprocess.Popen(
        [
            *("systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--keep-unit"),
            *(f"--directory={_ROOT}", f"--machine={host.name}", "--boot", "--notify-ready=yes"),
            *("--network-namespace-path=/proc/self/ns/net", "--capability=CAP_NET_ADMIN"),
            *("--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=read-only"),
        ],
        stdin=subprocess.DEVNULL,
        # Of /proc/sys only net/ is the host's (https://systemd.io/ENVIRONMENT/); nspawn itself sees that
        # only for networks that it made.
        env={**ENVIRONMENT, "NOTIFY_SOCKET": str(_NOTIFY), "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
    )
    leader, problem = None, f"no end of the boot within {_PATIENCE:g} s: see its console"
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if machine.poll() is not None:
            said = Path("/proc/self/fd/2").read_text(errors="replace").strip()
            raise LabError(f"systemd-nspawn ended with {machine.returncode}: {said[-_SHOWN:]}")
        with suppress(TimeoutError):
            noted = dict(line.partition("=")[::2] for line in notes.recv(4096).decode().splitlines())
            leader = noted.get("X_NSPAWN_LEADER_PID", leader)
            if noted.get("READY") == "1":
                problem = ""
                break
    if leader is None:
        raise LabError(f"systemd-nspawn started nothing within {_PATIENCE:g} s: see its console")
    return machine, int(leader), problem


def _is_daemon_of(leader: int) -> bool:
    """Fork; true in the child, which is one of the machine's processes and may do what its init may."""
    process = os.pidfd_open(leader)
    root = os.open(f"/proc/{leader}/root", os.O_PATH)
    status = Path(f"/proc/{leader}/status").read_text()
    allowed = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    namespaces.enter(process, namespaces.CLONE_NEWPID)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(process)
        os.close(root)
        return False
    namespaces.enter(
        process,
        namespaces.CLONE_NEWNS
        | namespaces.CLONE_NEWUTS
        | namespaces.CLONE_NEWIPC
        | namespaces.CLONE_NEWCGROUP,
    )
    os.fchdir(root)
    os.chroot(".")
    os.close(process)
    os.close(root)
    for capability in range(last + 1):
        if not allowed & 1 << capability:
            namespaces.give_up(capability)
    # An orphan goes to the init of its parent's pid namespace. It has to be the machine's: at shutdown that
    # waits ten seconds for processes whose end it is not told (systemd: src/shared/killall.c).
    if os.fork():
        os._exit(0)
    os.setsid()
    return True


_MOST_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")


def _crowded() -> str:
    """Why a boot may have come to no end, where that is no fault of the host's."""
    if namespaces.has_inotify_instances(_INOTIFY_INSTANCES):
        return ""
    return (
        f"; this machine has no {_INOTIFY_INSTANCES} inotify instances left for it (fs.inotify.max_user_instances is "
        f"{_MOST_INSTANCES.read_text().strip()}): take other labs of machines down first, or allow more of them"
    )


def _not_up(host: Host) -> str:
    """What of the topology is missing in a host that has booted; nothing when all is there."""

    def works(*argv: str) -> bool:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, env=ENVIRONMENT).returncode == 0

    # What is written there happens to the whole of this machine; nspawn leaves it open, and not every
    # kernel has it.
    if Path(_SYSRQ).exists() and not works("mount", "-o", "bind,ro", _SYSRQ, _SYSRQ):
        return f"{_SYSRQ} cannot be made read-only there"
    # A test may have given the interfaces to another program, of which networkd would know nothing.
    keeps = works("systemctl", "is-enabled", "--quiet", "systemd-networkd")
    online = ("/lib/systemd/systemd-networkd-wait-online", f"--timeout={_ONLINE_PATIENCE}")
    if host.interfaces and keeps and not works(*online):
        return f"its network was not online within {_ONLINE_PATIENCE} s: see `networkctl` there"
    if host.boot and not works("systemctl", "is-active", "--quiet", _BOOT_UNIT):
        return f"the topology's boot lines failed: see `journalctl -u {_BOOT_UNIT}` there"
    return ""
