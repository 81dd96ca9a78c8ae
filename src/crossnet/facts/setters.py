"""Programs that set kernel settings by files of their own: tuned, ufw, shorewall, networkd, NetworkManager."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from types import MappingProxyType

from crossnet.facts.file_lines import LINES, FileLines, parse
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.question import Question
from crossnet.facts.sysctls import FORWARDING, BootSetting, boot_setting, interface_setting
from crossnet.values import Family

# Only what is in use is looked at: a host that has none of these programs starts no process for it.
#
# tuned (plugin_sysctl.py) reads /etc/sysctl.d again after its profile, so that crossnet's file wins, unless
# `reapply_sysctl` is off. ufw (ufw-init-functions) runs `sysctl -p` with the file that IPT_SYSCTL names.
READ = (
    LINES
    + r"""
profile() {
    for folder in /etc/tuned/profiles /etc/tuned /usr/lib/tuned/profiles /usr/lib/tuned; do
        [ -e "$folder/$1/tuned.conf" ] || continue
        printf '%s\n' "$folder/$1/tuned.conf"
        return
    done
}
if there /etc/ufw/ufw.conf && grep -qi "^ENABLED=[\"']\{0,1\}yes" /etc/ufw/ufw.conf && there /etc/default/ufw; then
    file=$(sed -n 's/^IPT_SYSCTL=//p' /etc/default/ufw | tail -n 1)
    file=${file#[\"\']}
    file=${file%[\"\']}
    [ -z "$file" ] || lines ufw "$file" '^[[:space:]]*-?net[./]'
fi
for name in shorewall shorewall6; do
    lines "$name" "/etc/$name/$name.conf" '^[[:space:]]*(IP_FORWARDING|STARTUP_ENABLED)='
done
if { [ -e /run/tuned/tuned.pid ] || [ -e /etc/systemd/system/multi-user.target.wants/tuned.service ]; } &&
    there /etc/tuned/tuned-main.conf && there /etc/tuned/active_profile &&
    grep -qiE '^[[:space:]]*reapply_sysctl[[:space:]]*=[[:space:]]*(0|n|no|f|false)[[:space:]]*$' \
        /etc/tuned/tuned-main.conf
then
    for name in $(head -c 4096 </etc/tuned/active_profile); do
        file=$(profile "$name")
        [ "$file" ] && there "$file" || continue
        for included in $(sed -n 's/^[[:space:]]*include[[:space:]]*=//p' "$file" | tr , ' '); do
            other=$(profile "$included")
            [ -z "$other" ] || lines tuned "$other" '^[[:space:]]*(\[|net[./])'
        done
        lines tuned "$file" '^[[:space:]]*(\[|net[./])'
    done
fi
if [ -d /run/systemd/netif ]; then
    for file in /etc/systemd/networkd.conf /usr/lib/systemd/networkd.conf.d/*.conf /run/systemd/networkd.conf.d/*.conf \
        /etc/systemd/networkd.conf.d/*.conf
    do
        lines systemd-networkd "$file" '^[[:space:]]*IPv[46]Forwarding[[:space:]]*='
    done
    for folder in /usr/lib/systemd/network /run/systemd/network /etc/systemd/network; do
        for file in "$folder"/*.network "$folder"/*.network.d/*.conf; do
            [ -f "$file" ] && grep -qE '^[[:space:]]*IPv4Forwarding[[:space:]]*=' "$file" 2>/dev/null || continue
            lines network-file "$file" '^[[:space:]]*IPv4Forwarding[[:space:]]*='
        done
    done
fi
if [ -d /run/NetworkManager ]; then
    for file in /etc/NetworkManager/system-connections/* /run/NetworkManager/system-connections/*; do
        [ -f "$file" ] && grep -qE '^forwarding[[:space:]]*=' "$file" 2>/dev/null || continue
        lines profile "$file" '^(\[|forwarding[[:space:]]*=|method[[:space:]]*=)'
    done
    for file in /usr/lib/NetworkManager/conf.d/*.conf /run/NetworkManager/conf.d/*.conf \
        /etc/NetworkManager/NetworkManager.conf /etc/NetworkManager/conf.d/*.conf
    do
        [ -f "$file" ] && grep -qE '^ipv4\.forwarding[[:space:]]*=' "$file" 2>/dev/null || continue
        lines NetworkManager "$file" '^(\[|ipv4\.forwarding[[:space:]]*=)'
    done
fi
true
"""
)

_ASSIGNED = re.compile(r"""\s*([\w.]+)\s*=\s*["']?([^"'\s#]*)""")

# systemd.syntax(7)
_NO = ("no", "n", "false", "f", "off", "0")
_YES = ("yes", "y", "true", "t", "on", "1")

_SHOREWALL = {"shorewall": Family.V4, "shorewall6": Family.V6}
# networkd.conf(5), from version 256 on.
_NETWORKD = {"IPv4Forwarding": Family.V4, "IPv6Forwarding": Family.V6}


# What the keeper of an interface sets there alone; the name of the setting then lacks that of the interface.
_PROFILE, _NETWORK_FILE, _ALL_PROFILES = "profile", "network-file", "NetworkManager"
_OF_INTERFACES = (_PROFILE, _NETWORK_FILE, _ALL_PROFILES)


@dataclass(frozen=True, slots=True)
class Setters:
    """What each program sets by its files, in its order, and files that are there and could not be read.

    `interfaces` is what files of those that keep interfaces say of one interface, or of each.
    """

    settings: Mapping[str, tuple[BootSetting, ...]] = field(default_factory=lambda: MappingProxyType({}))
    unreadable: tuple[str, ...] = ()
    interfaces: Mapping[str, tuple[BootSetting, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, owner: Owner) -> BootSetting | None:
        """The line by which the keeper of an interface sets whether that one forwards; None where none does."""
        name = PurePosixPath(owner.file).name
        lines: list[BootSetting] = []
        if Keeper.NETWORKD in (owner.keeper, owner.below):
            there = self.interfaces.get(_NETWORK_FILE, ())
            drop_ins = [each for each in there if PurePosixPath(each.file).parent.name == f"{name}.d"]
            # systemd.network(5): by their names, whatever their folder.
            lines += (each for each in there if each.file == owner.file)
            lines += sorted(drop_ins, key=lambda each: PurePosixPath(each.file).name)
        elif Keeper.NETWORKMANAGER in (owner.keeper, owner.below):
            lines += self.interfaces.get(_ALL_PROFILES, ())
            lines += (each for each in self.interfaces.get(_PROFILE, ()) if each.file == owner.file)
        if not lines:
            return None
        return replace(lines[-1], name=interface_setting(4, owner.interface, "forwarding"))


def parse_setters(answer: str) -> Setters:
    """What the lines of the files set, by their programs."""
    read = parse(answer)
    settings: dict[str, tuple[BootSetting, ...]] = {}
    interfaces: dict[str, tuple[BootSetting, ...]] = {}
    for file in read.files:
        if found := _settings(file):
            where = interfaces if file.kind in _OF_INTERFACES else settings
            where[file.kind] = (*where.get(file.kind, ()), *found)
    return Setters(MappingProxyType(settings), read.unreadable, MappingProxyType(interfaces))


def _settings(file: FileLines) -> tuple[BootSetting, ...]:
    match file.kind:
        case "shorewall" | "shorewall6":
            return _of_shorewall(file)
        case "systemd-networkd":
            return _of_networkd(file)
        case "network-file":
            return _of_network_file(file)
        case "profile":
            return _of_profile(file)
        case "NetworkManager":
            return _of_networkmanager(file)
        case "tuned":
            lines = _of_section(file.lines, "[sysctl]")
        case _:
            lines = file.lines
    found = (boot_setting(file.path, number, text) for number, text in lines)
    # A profile of tuned may also name a variable, or a least or largest value: what comes of it is not known.
    return tuple(each for each in found if each is not None and each.is_number)


def _of_section(lines: Sequence[tuple[int, str]], wanted: str) -> tuple[tuple[int, str], ...]:
    inside, found = False, list[tuple[int, str]]()
    for number, text in lines:
        if text.strip().startswith("["):
            inside = text.strip().startswith(wanted)
        elif inside:
            found.append((number, text))
    return tuple(found)


def _of_shorewall(file: FileLines) -> tuple[BootSetting, ...]:
    """shorewall.conf(5): `On` and `Keep` switch nothing off, and without STARTUP_ENABLED it does not start."""
    said = {found[1]: (number, found[2].lower()) for number, found in _assigned(file)}
    number, value = said.get("IP_FORWARDING", (0, ""))
    if value != "off" or said.get("STARTUP_ENABLED", (0, ""))[1] != "yes":
        return ()
    return (BootSetting(file.path, FORWARDING[_SHOREWALL[file.kind]], "0", number),)


def _of_networkd(file: FileLines) -> tuple[BootSetting, ...]:
    said = [(number, found[1], found[2].lower()) for number, found in _assigned(file)]
    return tuple(
        BootSetting(file.path, FORWARDING[_NETWORKD[name]], "0" if value in _NO else "1", number)
        for number, name, value in said
        if name in _NETWORKD and value in (*_NO, *_YES)
    )


def _of_network_file(file: FileLines) -> tuple[BootSetting, ...]:
    """systemd.network(5): from version 256 on. IPForward= never switches anything off, in no version."""
    return tuple(
        BootSetting(file.path, "forwarding", "0" if found[2].lower() in _NO else "1", number)
        for number, found in _assigned(file)
        if found[1] == "IPv4Forwarding" and found[2].lower() in (*_NO, *_YES)
    )


def _of_profile(file: FileLines) -> tuple[BootSetting, ...]:
    """nm-settings(5), from version 1.54 on: 0 is no; with the method `shared` it counts for nothing."""
    said = {found[1]: (number, found[2]) for number, found in _assigned(file, "[ipv4]")}
    number, value = said.get("forwarding", (0, ""))
    if value not in ("0", "1") or said.get("method", (0, ""))[1] == "shared":
        return ()
    return (BootSetting(file.path, "forwarding", value, number),)


def _of_networkmanager(file: FileLines) -> tuple[BootSetting, ...]:
    """NetworkManager.conf(5): for profiles that do not say it; sections for some of them have longer names."""
    return tuple(
        BootSetting(file.path, "forwarding", found[2], number)
        for number, found in _assigned(file, "[connection]")
        if found[2] in ("0", "1")
    )


def _assigned(file: FileLines, section: str = "") -> list[tuple[int, re.Match[str]]]:
    lines = _of_section(file.lines, section) if section else file.lines
    return [(number, found) for number, text in lines if (found := _ASSIGNED.match(text))]


# It decides nothing: where it cannot be asked, nothing is told of it.
SETTERS = Question(
    "looked for programs that set kernel settings", ("sh", "-c", READ), parse_setters, lambda _: Setters()
)
