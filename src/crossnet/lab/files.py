"""What files a lab host has of its own, and how it comes to see them instead of the machine's.

Its own are /etc, /var/lib, /run, /tmp and /dev/shm, with its own /proc and /sys; everything else is the
machine's, read only. An overlay over the machine's /etc would be simpler, but an ordinary user could not
write there: whoever owns it has no number in the user's namespace (user_namespaces(7)).
"""

from __future__ import annotations

import os
import secrets
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from crossnet.lab import namespaces

# What network tools, shells and the C library read; nothing secret, and nothing that configures this
# machine's own network or firewall, because a lab host starts out unconfigured.
_ETC = (
    "bash.bashrc",
    "centos-release",
    "debian_version",
    "environment",
    "ethertypes",
    "gai.conf",
    "group",
    "host.conf",
    "inputrc",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.conf",
    "localtime",
    "login.defs",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "profile",
    "protocols",
    "redhat-release",
    "services",
    "shells",
    "terminfo",
    "timezone",
)


def prepare(disk: Path, name: str) -> None:
    """Make the files that a host keeps over reboots."""
    etc = disk / "etc"
    etc.mkdir(parents=True)
    for entry in _ETC:
        source = Path("/etc") / entry
        # What this user may not read, the tools of this user cannot need either.
        with suppress(OSError, shutil.Error):
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, etc / entry, symlinks=True)
            else:
                shutil.copy2(source, etc / entry, follow_symlinks=False)
    _choose_programs(etc / "alternatives")
    (etc / "hostname").write_text(f"{name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost {name}\n::1 localhost {name}\n")
    (etc / "machine-id").write_text(f"{secrets.token_hex(16)}\n")
    (etc / "resolv.conf").write_text("# a lab host knows no name servers\n")
    (etc / "mtab").symlink_to("/proc/self/mounts")
    for empty in ("sysctl.d", "systemd/system/multi-user.target.wants", "systemd/network", "network"):
        (etc / empty).mkdir(parents=True)
    (disk / "lib").mkdir()


def _choose_programs(alternatives: Path) -> None:
    """Copy which program stands behind a name such as iptables (update-alternatives(1)).

    The folder also has a link for each manual page, hundreds of them, and these would take longer than
    everything else that a lab is made of.
    """
    alternatives.mkdir()
    with suppress(OSError):  # not every distribution has it
        links = [entry for entry in Path("/etc/alternatives").iterdir() if entry.is_symlink()]
        for link in links:
            target = link.readlink()
            if target.parent.name in ("bin", "sbin"):
                (alternatives / link.name).symlink_to(target)


def switch_on(disk: Path) -> None:
    """Make what a host loses at every boot: empty /run and /tmp, and a new boot id."""
    for volatile in ("run", "tmp"):
        shutil.rmtree(disk / volatile, ignore_errors=True)
    # Who has booted with systemd has this folder (sd_booted(3)); xtables.lock(8) is made beside it.
    for part in ("run/lock", "run/netns", "run/systemd/system", "tmp"):
        (disk / part).mkdir(parents=True)
    (disk / "tmp").chmod(0o1777)
    boot_id = disk / "boot_id"
    boot_id.unlink(missing_ok=True)
    boot_id.write_text(f"{uuid.uuid4()}\n")
    boot_id.chmod(0o444)


def move_in(disk: Path) -> None:
    """See the host's files instead of the machine's; for process 1 of a new pid namespace."""
    namespaces.unshare(namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS)
    # One of the folders may hide the lab's own folder, so all are opened before the first is mounted.
    places = {"/etc": "etc", "/var/lib": "lib", "/run": "run", "/tmp": "tmp"}
    opened = {place: os.open(disk / part, os.O_PATH) for place, part in places.items()}
    boot_id = os.open(disk / "boot_id", os.O_PATH)
    namespaces.read_only("/", recursive=True)
    for place, file in opened.items():
        namespaces.bind(f"/proc/self/fd/{file}", place)
        namespaces.writable(place)
        os.close(file)
    namespaces.mount_tmpfs("/dev/shm", 0o1777)
    namespaces.mount_sysfs()
    namespaces.mount_proc()
    # Of /proc/sys only net/ belongs to a network namespace: `sysctl --system` in here would write fs.*,
    # kernel.* and vm.* of the whole machine.
    namespaces.bind("/proc/sys", "/proc/sys")
    namespaces.bind("/proc/sys/net", "/proc/sys/net")
    namespaces.read_only("/proc/sys")
    if Path("/proc/sysrq-trigger").exists():
        namespaces.bind("/proc/sysrq-trigger", "/proc/sysrq-trigger")
        namespaces.read_only("/proc/sysrq-trigger")
    namespaces.bind(f"/proc/self/fd/{boot_id}", "/proc/sys/kernel/random/boot_id")
    namespaces.read_only("/proc/sys/kernel/random/boot_id")
    os.close(boot_id)


def remove(lab: Path) -> None:
    """Remove a lab's folder, whose lock is held; a new lab may take the name at once."""
    aside = lab.with_name(f".{lab.name}.{secrets.token_hex(4)}")
    with suppress(FileNotFoundError):
        lab.rename(aside)
    # Also what an earlier removal did not finish.
    for left in lab.parent.glob(f".{lab.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
