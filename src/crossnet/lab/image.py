"""The Debian that the lab's machines are copies of, made once and kept in this user's cache.

It is `$XDG_CACHE_HOME/crossnet/machine/DEBIAN-RECIPE`, else below `~/.cache`; RECIPE changes with what is in
it. Nothing of crossnet is in it. It may be removed whenever no lab of machines is up.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from crossnet.errors import LabError
from crossnet.lab import cache

DEBIAN = "bookworm"

# What an administrator finds on a server, and what crossnet asks of one.
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "procps",
    "iproute2",
    "iputils-ping",
    "netcat-openbsd",
    "nftables",
    "iptables",
    "ipset",
    "conntrack",
    "tcpdump",
)

# debootstrap copies this machine's names into the new system; journald keeps its journal over reboots once
# its folder is there (journald.conf(5): Storage=auto).
_RECIPE = """
debian=$1 packages=$2 place=$3
debootstrap --variant=minbase --force-check-gpg --include="$packages" "$debian" "$place"
chroot "$place" apt-get clean
chroot "$place" systemctl enable systemd-networkd.service
rm -rf "$place"/var/lib/apt/lists/* "$place/etc/hostname" "$place/etc/resolv.conf" "$place/etc/machine-id"
mkdir -p "$place/var/log/journal"
"""

_LOG = "making.log"


def place() -> Path:
    """Where the image is, or will be."""
    recipe = hashlib.sha256("\n".join((*PACKAGES, _RECIPE)).encode()).hexdigest()[:8]
    return cache.folder() / "machine" / f"{DEBIAN}-{recipe}"


def is_made() -> bool:
    return place().is_dir()


async def make() -> None:
    """Have the image made, which takes a minute and Debian's servers; nothing when it is there already."""
    wanted = place()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.parent.chmod(0o700)  # it has setuid programs that get no security updates
    async with cache.alone(wanted.parent / "lock") as lock:
        if wanted.is_dir():
            return
        making = wanted.with_suffix(".making")
        log = wanted.parent / _LOG
        try:
            if making.exists():  # of one that was killed
                shutil.rmtree(making)
            status = await cache.run(
                [
                    # debootstrap mounts, and its packages start programs: all of it is gone when it is cut short.
                    *("setpriv", "--pdeathsig", "KILL", "--"),
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--"),
                    *("sh", "-euc", _RECIPE, "sh", DEBIAN, ",".join(PACKAGES), str(making)),
                ],
                log,
                lock=lock,
            )
            if status != 0:
                raise LabError(
                    f"the lab's Debian cannot be made: debootstrap ended with {status}\n    "
                    f"{cache.last_lines(log)}\n"
                    f"  All it said is in {log}. It needs Debian's servers; http_proxy is honoured."
                )
            making.rename(wanted)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
