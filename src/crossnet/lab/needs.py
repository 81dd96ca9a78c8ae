"""What the lab needs of this machine, and what to say when it is not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from crossnet.errors import LabError
from crossnet.lab import image
from crossnet.lab.depth import Depth
from crossnet.lab.neutron.cloud import FILTERED
from crossnet.transport import PATH

# A session of its own whose first process is nobody's child, so that a closed terminal does not end it.
ENTER_SESSION = ("setsid", "--fork")

_TOOLS = {"ip": "iproute2 (iproute on Red Hat)", "unshare": "util-linux", "setsid": "util-linux"}
_CLOUD_TOOLS = {"iptables": "iptables", "conntrack": "conntrack (conntrack-tools on Red Hat)"}
_MACHINE_TOOLS = {"systemd-nspawn": "systemd-container"}
# The second is what debootstrap checks Debian's packages with.
_IMAGE_TOOLS = {
    "debootstrap": "debootstrap",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}

# Where distributions let an ordinary user's namespaces be forbidden: the file, the value that forbids
# them, what allows them. Debian's own patch; user_namespaces(7); Ubuntu 24.04's AppArmor.
_SWITCHES = (
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def check(depth: Depth = Depth.LAB, *, cloud: bool = False) -> None:
    """LabError when something is missing that building needs; with `cloud` it has networks with port security."""
    wanted = dict(_TOOLS)
    if cloud:
        if os.geteuid() != 0:
            raise LabError(
                "a lab with port security needs root: its Neutron is reached in this machine's own network and "
                "filters in the lab's, and an ordinary user's processes cannot be in both"
            )
        wanted |= _CLOUD_TOOLS
    if depth is Depth.MACHINE:
        if os.geteuid() != 0:
            raise LabError("a lab of machines needs root: systemd-nspawn boots nothing for an ordinary user")
        wanted |= _MACHINE_TOOLS
        if not image.is_made():
            wanted |= _IMAGE_TOOLS
    missing = {name: package for name, package in wanted.items() if not _is_there(name)}
    if missing:
        named = ", ".join(f"`{name}`" for name in missing)
        verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        packages = ", ".join(dict.fromkeys(missing.values()))
        raise LabError(f"{named} {verb} not installed, and the lab needs {them}: install {packages}")
    if cloud and not FILTERED.exists():
        # Not loaded here: from then on this machine's own bridges are filtered too.
        raise LabError(
            "bridges do not hand their packets to iptables here, and port security is made of that\n"
            "  `modprobe br_netfilter` has them do so. It concerns all bridges of this machine, containers' and "
            "virtual\n  machines' too: what forwards or drops there has to let their own packets through."
        )


def _is_there(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else shutil.which(name, path=PATH) is not None


def enter_namespaces() -> Sequence[str]:
    """The command that starts another as process 1 of namespaces of its own."""
    own = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child")
    if os.geteuid() == 0:
        return (*own, "--")
    # Mapped to itself and not to root: tcpdump would want to drop root's privileges, and could not.
    return (*own, "--user", "--map-current-user", "--keep-caps", "--")


def hint() -> str:
    """Why namespaces may have been refused here, as a line to be added to an error; else nothing."""
    if os.geteuid() == 0:
        status = Path("/proc/self/status").read_text()
        effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
        if not int(effective, 16) & 1 << 21:  # CAP_SYS_ADMIN, linux/capability.h
            return "\n  This is root without CAP_SYS_ADMIN, as in a container: give it --privileged."
        return ""
    for file, forbidding, cure in _SWITCHES:
        place = Path("/proc/sys") / file
        if place.exists() and place.read_text().strip() == forbidding:
            return f"\n  Ordinary users may not make namespaces here. Allow it with `{cure}`, or run as root."
    return ""
