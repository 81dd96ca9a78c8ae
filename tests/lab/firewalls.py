"""Firewalls of others on a lab's machine, with their own units: what Debian has, and one as EL has it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from crossnet.lab import image
from crossnet.transport import PATH
from lab.crossing import Bench
from lacking import lacking

# Upon the image, in a mount namespace of its own: what the packages add to it becomes an archive.
_RECIPE = """
image=$1 archive=$2
shift 2
work=$(mktemp -d)
mount -t tmpfs none "$work"
cd "$work"
mkdir upper aside root
mount -t overlay -o lowerdir="$image",upperdir="$PWD/upper",workdir="$PWD/aside" none root
mount -t proc none root/proc
mount --bind /dev root/dev
cp -L /etc/resolv.conf root/etc/resolv.conf
printf '#!/bin/sh\\nexit 101\\n' >root/usr/sbin/policy-rc.d # nothing is started here
chmod +x root/usr/sbin/policy-rc.d
chroot root apt-get -q update
chroot root apt-get -q install --yes --no-install-recommends "$@"
rm -rf root/var/cache/apt root/var/lib/apt/lists root/usr/sbin/policy-rc.d root/etc/resolv.conf
umount root/proc root/dev
cd upper
rm -rf tmp run var/log
find . -type c -delete # what is gone from the image stays
tar -cf "$archive.new" .
mv "$archive.new" "$archive"
cd /
umount "$work/root"
umount "$work"
rmdir "$work"
"""

# As iptables-services has it on EL: it is not in Debian. Stopped it flushes all tables, reloaded it loads its own.
_IPTABLES_UNIT = """\
[Unit]
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for x in iptables ip6tables; do $x-restore /etc/iptables.rules; done'
ExecReload=/bin/sh -c 'for x in iptables ip6tables; do $x-restore /etc/iptables.rules; done'
ExecStop=/bin/sh -c 'for x in iptables ip6tables; do for t in filter nat mangle; do $x -t $t -F; done; done'
[Install]
WantedBy=sysinit.target
"""
_RULES = "".join(
    f"*{table}\n:{chain} ACCEPT [0:0]\nCOMMIT\n"
    for table, chain in (("filter", "FORWARD"), ("nat", "POSTROUTING"), ("mangle", "FORWARD"))
)
_SHOREWALL = {
    "zones": "fw firewall\nnet ipv4\nloc ipv4\n",
    "interfaces": "?FORMAT 2\nnet eth0 -\nloc eth1 -\n",
    "policy": "all all ACCEPT\n",
    "rules": "",
}


@dataclass(frozen=True, slots=True)
class Firewall:
    """The unit, the packages and the files that it needs, and the commands that have it let crossings pass."""

    unit: str
    packages: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    reloads: bool = True

    def install(self, b: Bench, host: str = "gateway") -> None:
        """It does not run, and is not enabled."""
        if self.packages:
            b.check(host, "tar -xf - -C /", stdin=archive(self.packages).read_bytes())
        often = f"/etc/systemd/system/{self.unit}.service.d/often.conf"
        # Tests restart it more often than an operator does.
        for path, text in {**self.files, often: "[Service]\nStartLimitInterval=0\n"}.items():
            b.check(host, f"mkdir -p {os.path.dirname(path)} && cat >{path}", stdin=text.encode())
        b.check(host, f"systemctl daemon-reload && systemctl reload dbus && systemctl disable {self.unit}")
        for command in self.commands:
            b.check(host, command)


NFTABLES = Firewall("nftables")
IPTABLES = Firewall(
    "iptables",
    files={"/etc/systemd/system/iptables.service": _IPTABLES_UNIT, "/etc/iptables.rules": _RULES},
)
NETFILTER_PERSISTENT = Firewall(
    "netfilter-persistent",
    ("netfilter-persistent", "iptables-persistent"),
    {"/etc/iptables/rules.v4": _RULES, "/etc/iptables/rules.v6": _RULES},
    reloads=False,
)
FIREWALLD = Firewall(
    "firewalld", ("firewalld",), commands=("firewall-offline-cmd --set-default-zone=trusted",)
)
# It switches forwarding on itself, unless it is told not to.
SHOREWALL = Firewall(
    "shorewall",
    ("shorewall",),
    {f"/etc/shorewall/{name}": text for name, text in _SHOREWALL.items()},
    (
        "sed -i 's/^STARTUP_ENABLED=.*/STARTUP_ENABLED=Yes/; s/^IP_FORWARDING=.*/IP_FORWARDING=Keep/'"
        " /etc/shorewall/shorewall.conf",
    ),
)
UFW = Firewall(
    "ufw",
    ("ufw",),
    commands=(
        "ufw default allow incoming",
        "ufw default allow routed",
        "ufw --force enable",
        "systemctl stop ufw",
    ),
    reloads=False,
)


def archive(packages: tuple[str, ...]) -> Path:
    """What they add to the image; made once, beside it."""
    recipe = hashlib.sha256("\n".join((*packages, _RECIPE)).encode()).hexdigest()[:8]
    archive = image.place().with_name(f"{image.place().name}+{packages[0]}-{recipe}.tar")
    if not archive.exists():
        made = subprocess.run(
            ["unshare", "--mount", "sh", "-euc", _RECIPE, "sh", str(image.place()), str(archive), *packages],
            env={**os.environ, "PATH": PATH, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if made.returncode != 0:
            lacking(f"{packages[0]} cannot be installed: {made.stderr[-500:]}")
    return archive
