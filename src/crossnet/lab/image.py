"""The Debian that the lab's machines are copies of, made once and kept in this user's cache.

It is `$XDG_CACHE_HOME/crossnet/machine/DEBIAN-RECIPE`, else below `~/.cache`; RECIPE changes with what is in
it. Nothing of crossnet is in it. It may be removed whenever no lab of machines is up.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from crossnet.errors import LabError
from crossnet.transport import PATH

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
_SAID = 8  # lines of the log that an error shows


def place() -> Path:
    """Where the image is, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    recipe = hashlib.sha256("\n".join((*PACKAGES, _RECIPE)).encode()).hexdigest()[:8]
    return cache / "crossnet" / "machine" / f"{DEBIAN}-{recipe}"


def is_made() -> bool:
    return place().is_dir()


async def make() -> None:
    """Have the image made, which takes a minute and Debian's servers; nothing when it is there already."""
    wanted = place()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.parent.chmod(0o700)  # it has setuid programs that get no security updates
    async with _alone(wanted.parent / "lock"):
        if wanted.is_dir():
            return
        making = wanted.with_suffix(".making")
        log = wanted.parent / _LOG
        try:
            if making.exists():  # of one that was killed
                shutil.rmtree(making)
            status = await _run(making, log)
            if status != 0:
                said = log.read_text(errors="replace").strip().splitlines()[-_SAID:]
                raise LabError(
                    f"the lab's Debian cannot be made: debootstrap ended with {status}\n    "
                    + "\n    ".join(said)
                    + f"\n  All it said is in {log}. It needs Debian's servers; http_proxy is honoured."
                )
            making.rename(wanted)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise


@asynccontextmanager
async def _alone(path: Path) -> AsyncIterator[None]:
    """Whoever comes second waits, and finds the image made."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.2)
        yield
    finally:
        os.close(lock)


async def _run(making: Path, log: Path) -> int:
    with log.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            # debootstrap mounts, and its packages start programs: all of it is gone when it is cut short, and
            # it ends with this process, which holds the lock.
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--"),
            *("sh", "-euc", _RECIPE, "sh", DEBIAN, ",".join(PACKAGES), str(making)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PATH": PATH, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            start_new_session=True,
            cwd="/",
        )
    try:
        return await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
