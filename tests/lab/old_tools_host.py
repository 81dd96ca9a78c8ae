"""A lab host with other tools than today's: those of CentOS 7, those of busybox and little else, or even less.

Its /usr/sbin and /usr/bin become folders of links to the tools that it is to have; the machine's own are kept beside
them, where only the played ones look.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from lab.crossing import Bench

_PLAYED = Path(__file__).parent / "old_tools"

_MAKE = r"""
set -e
folder=/tmp/tools
mkdir -p $folder/real/sbin $folder/real/bin $folder/sbin $folder/bin $folder/played
tar -x -C $folder/played
mount --bind /usr/sbin $folder/real/sbin
mount --bind /usr/bin $folder/real/bin
mount -o remount,bind,ro $folder/real/sbin
mount -o remount,bind,ro $folder/real/bin
for place in sbin bin; do
    ln -s $folder/real/$place/* $folder/$place/
    for name in $1; do rm -f "$folder/$place/$name"; done
done
"""
_OLD = r"""
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    cp $folder/played/iptables "$folder/sbin/$name"
done
cp $folder/played/ip $folder/sbin/ip
rm -f $folder/bin/tcpdump $folder/bin/python3*
cp $folder/played/tcpdump $folder/bin/tcpdump
ln -sf ../sbin/ip $folder/bin/ip
"""
_BUSYBOX = r"""
cp -p /etc/passwd $folder/passwd
sed -i 's|:/bin/bash$|:/bin/sh|' /etc/passwd
busybox=$folder/real/bin/busybox
applets=$($busybox --list)
for place in sbin bin; do (cd $folder/$place && rm -f $applets); done
$busybox --install -s $folder/bin
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -sf $folder/real/sbin/xtables-nft-multi "$folder/sbin/$name"
done
"""
_BARE = r"""
for name in timeout awk gawk mawk tac nohup; do rm -f "$folder/sbin/$name" "$folder/bin/$name"; done
rmdir /run/systemd/system
"""
_PUT = r"""
mount --bind $folder/sbin /usr/sbin
mount --bind $folder/bin /usr/bin
"""
# rmdir takes away nothing that is still the machine's.
_AWAY = r"""
set -e
mkdir -p /run/systemd/system
umount -l /usr/bin /usr/sbin
cd /tmp/tools
[ ! -e passwd ] || cat passwd >/etc/passwd
umount -l real/sbin real/bin  # this very shell runs from there
rmdir real/sbin real/bin real
rm -rf sbin bin played passwd
"""
_MISSING = (
    "nft ipset conntrack ip timeout systemctl "
    "iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore "
    "iptables-nft iptables-nft-save iptables-nft-restore ip6tables-nft ip6tables-nft-save ip6tables-nft-restore "
    "iptables-legacy iptables-legacy-save iptables-legacy-restore ip6tables-legacy ip6tables-legacy-save "
    "ip6tables-legacy-restore xtables-nft-multi xtables-legacy-multi"
)


def make_old(bench: Bench, host: str) -> None:
    """iproute2 3.10, iptables 1.4.21, tcpdump 4.9.2; no nft, ipset, conntrack, timeout and Python 3."""
    bench.check(host, f"set -- '{_MISSING}'\n{_MAKE}{_OLD}{_PUT}", stdin=_played())


def make_busybox(bench: Bench, host: str) -> None:
    """Every applet of busybox in place of the tool, iptables, and no shell but its own."""
    bench.check(host, f"set -- '{_MISSING} bash'\n{_MAKE}{_BUSYBOX}{_PUT}", stdin=_played())


def make_bare(bench: Bench, host: str) -> None:
    """As a small router has it: the applets of busybox but for timeout and awk, and no systemd."""
    bench.check(host, f"set -- '{_MISSING} bash'\n{_MAKE}{_BUSYBOX}{_BARE}{_PUT}", stdin=_played())


def make_new(bench: Bench, host: str) -> None:
    """The machine's own tools again."""
    bench.check(host, _AWAY)


def _played() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(_PLAYED.iterdir()):
            archive.add(path, path.name)
    return buffer.getvalue()
