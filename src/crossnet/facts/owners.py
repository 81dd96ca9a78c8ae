"""Who keeps an interface: NetworkManager, systemd-networkd, wicked, network-scripts, ifupdown …, and what shows it.

The running system is asked, for files alone mislead: a CentOS 7 host may have ifcfg files that NetworkManager reads,
an Ubuntu host an /etc/network/interfaces that nobody reads.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath

from crossnet.facts import autoconnect, network_files
from crossnet.facts.links import Link
from crossnet.facts.question import Question


class Keeper(StrEnum):
    """A program that brings interfaces up, with their addresses and routes, as a spec calls it."""

    NETWORK_SCRIPTS = "network-scripts"
    NETWORKMANAGER = "networkmanager"
    NETPLAN = "netplan"
    NETWORKD = "networkd"
    IFUPDOWN = "ifupdown"
    WICKED = "wicked"
    NOBODY = "nobody"


LABELS = {
    Keeper.NETWORKMANAGER: "NetworkManager",
    Keeper.NETWORKD: "systemd-networkd",
    Keeper.NOBODY: "nobody that crossnet knows",
}

# The units that have to run where what they left in a file is to mean anything.
_NETWORKD, _WICKED, _IFUPDOWN = "systemd-networkd.service", "wickedd.service", "networking.service"
SERVICES = (_NETWORKD, _WICKED, _IFUPDOWN)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who keeps one interface, and what was seen of it in words.

    `file` is where its configuration stands for the next boot: a profile of NetworkManager, a .network file of
    systemd-networkd, an ifcfg file. `profile` is the uuid of a profile. `below` is who carries out what netplan says.
    """

    interface: str
    keeper: Keeper
    evidence: str
    file: str = ""
    profile: str = ""
    below: Keeper | None = None

    @property
    def label(self) -> str:
        return LABELS.get(self.keeper, str(self.keeper))

    @property
    def is_known(self) -> bool:
        return self.keeper is not Keeper.NOBODY

    @property
    def suffix(self) -> str:
        """Of `ifcfg-eth0` the `eth0`, which names the files beside it."""
        return PurePosixPath(self.file).name.removeprefix("ifcfg-")

    def __str__(self) -> str:
        return f"{self.interface} is kept by {self.label}{f': {self.evidence}' if self.evidence else ''}"


@dataclass(frozen=True, slots=True)
class Profile:
    """A connection of NetworkManager that is in use; `file` is "" where the version does not tell it."""

    uuid: str
    name: str
    file: str


@dataclass(frozen=True, slots=True)
class Traces:
    """What was told: of NetworkManager the states of devices and the profiles in use, by the device, and of every
    profile, by its uuid, the routes, what else it says, and its file; of systemd-networkd its state of a link and the
    .network file, and the [Match] of each such file; the interfaces of wicked; of ifcfg files, by their suffix, what
    decides for which interface they are; what ifup has brought up, and what it knows."""

    states: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    routes: Mapping[str, Collection[str]] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    networkd: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    matches: Mapping[str, Sequence[str]] = field(default_factory=dict)
    wicked: Collection[str] = ()
    ifcfg: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ifup: Collection[str] = ()
    stanzas: Collection[str] = ()


# The shell reads the files itself: a host that has none of this starts no process for it. nmcli waits for its daemon.
READ = (
    r"""
LC_ALL=C
export LC_ALL
ask() {
    if command -v timeout >/dev/null; then timeout 5 nmcli -t -f "$@"; else nmcli -t -f "$@"; fi 2>/dev/null
}
for folder in /run/NetworkManager /var/run/NetworkManager; do
    [ -d "$folder" ] && command -v nmcli >/dev/null || continue
    ask DEVICE,STATE device | sed 's/^/device /'
    said=$(ask DEVICE,UUID,NAME,FILENAME connection show --active) ||
        said=$(ask DEVICE,UUID,NAME connection show --active)
    printf '%s\n' "$said" | sed 's/^/profile /'
    all=$(ask UUID,FILENAME connection show) || all=$(ask UUID connection show)
    set --
    while IFS=: read -r uuid file; do
        [ -z "$uuid" ] || set -- "$@" uuid "$uuid"
        [ -z "$file" ] || printf 'kept %s:%s\n' "$uuid" "$file"
    done <<END
$all
END
    [ $# = 0 ] || said=$(ask """
    + autoconnect.SETTINGS
    + r""" connection show "$@") ||
        said=$(ask connection.uuid,ipv4.routes,ipv6.routes connection show "$@")
    [ $# = 0 ] || printf '%s\n' "$said" | sed 's/^/says /'
    break
done
for state in /run/systemd/netif/links/*; do
    [ -f "$state" ] && [ -r "$state" ] || continue
    admin= file= name=
    while IFS='=' read -r key value; do
        case $key in ADMIN_STATE) admin=$value ;; NETWORK_FILE) file=$value ;; esac
    done <"$state"
    [ "$file" ] || continue
    for link in /sys/class/net/*; do
        read -r index 2>/dev/null <"$link/ifindex" && [ "$index" = "${state##*/}" ] && name=${link##*/}
    done
    printf 'networkd %s %s %s\n' "$name" "$admin" "$file"
    kept=yes
done
if [ "${kept-}" ]; then
"""
    + network_files.READ
    + r"""
fi
if [ -x /usr/sbin/wicked ]; then
    for file in /etc/sysconfig/network/ifcfg-*; do
        [ ! -f "$file" ] || printf 'wicked %s\n' "${file##*/ifcfg-}"
    done
fi
if [ -e /etc/sysconfig/network-scripts/ifup-eth ]; then
    for file in /etc/sysconfig/network-scripts/ifcfg-*; do
        [ -f "$file" ] && [ -r "$file" ] || continue
        printf 'ifcfg %s\n' "${file##*/ifcfg-}"
        while read -r line || [ "$line" ]; do
            case $line in DEVICE=* | HWADDR=*) printf 'set %s\n' "$line" ;; esac
        done <"$file"
    done
fi
for file in /run/network/ifstate /run/ifstate /var/run/ifstate /etc/network/run/ifstate; do
    [ -f "$file" ] && [ -r "$file" ] || continue
    while read -r line || [ "$line" ]; do printf 'ifup %s\n' "$line"; done <"$file"
    break
done
if command -v ifup >/dev/null; then
    for file in /etc/network/interfaces /etc/network/interfaces.d/*; do
        [ -f "$file" ] && [ -r "$file" ] || continue
        while read -r word name rest || [ "$word" ]; do
            [ "$word" != iface ] || printf 'iface %s\n' "$name"
        done <"$file"
    done
fi
true
"""
)

_ESCAPED = re.compile(r"\\(.)")
_FIELD = re.compile(r"(?:[^:\\]|\\.)*")

# nmcli(1): what NetworkManager has nothing to do with, or only looks at.
_NOT_KEPT = ("unmanaged", "unavailable", "disconnected", "connected (externally)")
_IFCFG = "/etc/sysconfig/network-scripts/ifcfg-"
_WICKED_IFCFG = "/etc/sysconfig/network/ifcfg-"

# What editors and rpm leave beside an ifcfg file; with `:` it is an alias (initscripts: ifup, sysconfig.txt).
_LEFT_BESIDE = ("~", ".bak", ".orig", ".old", ".rpmnew", ".rpmsave", ".rpmorig")


def parse_owners(answer: str) -> Traces:
    """A line for each thing: a word of this script, and what it is about; other lines are names that have more."""
    states, profiles, networkd = dict[str, str](), dict[str, Profile](), dict[str, tuple[str, str]]()
    matches: dict[str, list[str]] = {}
    wicked, ifup, stanzas = list[str](), list[str](), list[str]()
    ifcfg: dict[str, dict[str, str]] = {}
    routes: dict[str, list[str]] = {}
    settings: dict[str, dict[str, str]] = {}
    files: dict[str, str] = {}
    for line in answer.split("\n"):
        word, _, rest = line.partition(" ")
        fields = rest.split(" ")
        key, _, value = rest.partition(":")
        match word:
            case "device" if len(said := _terse(rest)) == 2:
                states[said[0]] = said[1]
            case "profile" if len(said := _terse(rest)) in (3, 4):
                for device in said[0].split(","):
                    profiles[device] = Profile(said[1], said[2], said[3] if len(said) == 4 else "")
            case "says" if key == "connection.uuid":
                routes[value], settings[value] = [], {}
            case "says" if routes:
                value = value.replace("\\", "")
                settings[next(reversed(settings))][key] = value
                if key in autoconnect.ROUTES:
                    listed = [each.strip() for each in value.split(",")]
                    routes[next(reversed(routes))] += [each for each in listed if each]
            case "kept" if len(said := _terse(rest)) == 2:
                files[said[0]] = said[1]
            case "networkd" if len(fields) >= 3 and fields[0]:
                networkd[fields[0]] = fields[1], " ".join(fields[2:])
            case "network":
                matches[rest] = []
            case "match" if matches:
                matches[next(reversed(matches))].append(rest)
            case "wicked":
                wicked.append(rest)
            case "ifcfg":
                ifcfg[rest] = {}
            case "set" if ifcfg:
                key, _, value = rest.partition("=")
                ifcfg[next(reversed(ifcfg))][key] = _value(value)
            case "ifup":
                ifup.append(rest.partition("=")[0])
            case "iface":
                stanzas.append(fields[0])
            case _:
                pass
    return Traces(
        states,
        profiles,
        routes,
        settings,
        files,
        networkd,
        matches,
        tuple(wicked),
        ifcfg,
        tuple(ifup),
        tuple(stanzas),
    )


def _terse(line: str) -> list[str]:
    r"""The fields of a line of `nmcli -t`, in which `:` and `\` of a value have a `\` before them."""
    return [_ESCAPED.sub(r"\1", said.group()) for said in _fields(line)]


def _fields(line: str) -> Iterator[re.Match[str]]:
    at = 0
    while (found := _FIELD.match(line, at)) is not None:
        yield found
        at = found.end() + 1
        if at > len(line):
            return


def _value(said: str) -> str:
    """What a shell that sources the file gives it."""
    try:
        return next(iter(shlex.split(said, comments=True)), "")
    except ValueError:
        return ""


# It decides nothing but where a route is written: where it cannot be asked, nobody is known to keep anything.
OWNERS = Question("asked who keeps its interfaces", ("sh", "-c", READ), parse_owners, lambda _: Traces())


def owners_of(
    links: Iterable[Link], traces: Traces, units: Mapping[str, bool] | None = None
) -> dict[str, Owner]:
    """Who keeps each interface, by its name; `units` says which units run, None where that is not known."""
    return {
        link.name: _owner(link, traces, units or {}) for link in links if link.hardware_type != "loopback"
    }


def _owner(link: Link, traces: Traces, units: Mapping[str, bool]) -> Owner:
    name = link.name
    state = traces.states.get(name, "")
    if owner := _of_networkmanager(link, traces):
        return owner
    left = f", and NetworkManager does not manage it ({state})" if state else ""
    admin, file = traces.networkd.get(name, ("", ""))
    if file and admin != "unmanaged" and units.get(_NETWORKD, False):
        then = network_files.taken_next(link, file, traces.matches)
        keeper = Keeper.NETPLAN if _netplan_id(then) else Keeper.NETWORKD
        below = Keeper.NETWORKD if keeper is Keeper.NETPLAN else None
        evidence = f"systemd-networkd has it from {file}" if below else f"it has it from {file}"
        if then != file:
            evidence += f", and from the next boot on from {then}, which comes first"
        return Owner(name, keeper, f"{evidence}{left}", then, below=below)
    if name in traces.wicked and units.get(_WICKED, False):
        return Owner(name, Keeper.WICKED, f"wickedd runs{left}", f"{_WICKED_IFCFG}{name}")
    if (suffix := _ifcfg_for(link, traces.ifcfg)) is not None:
        return Owner(name, Keeper.NETWORK_SCRIPTS, f"ifcfg-{suffix}{left}", f"{_IFCFG}{suffix}")
    if name in traces.ifup:
        return Owner(name, Keeper.IFUPDOWN, f"ifup has brought it up{left}")
    if name in traces.stanzas and units.get(_IFUPDOWN, False):
        return Owner(name, Keeper.IFUPDOWN, f"/etc/network/interfaces has it{left}")
    return Owner(name, Keeper.NOBODY, f"NetworkManager does not manage it ({state})" if state else "")


def _of_networkmanager(link: Link, traces: Traces) -> Owner | None:
    name = link.name
    state, profile = traces.states.get(name, ""), traces.profiles.get(name)
    if not state or state in _NOT_KEPT or profile is None or _is_made_up(name, profile):
        return None
    evidence = f"profile {profile.name!r}"
    if profile.name.startswith("netplan-"):
        below = Keeper.NETWORKMANAGER
        evidence = f"NetworkManager has it from {evidence}"
        return Owner(name, Keeper.NETPLAN, evidence, profile.file, profile.uuid, below)
    if PurePosixPath(profile.file).name.startswith("ifcfg-"):
        evidence += f" in {profile.file}"
    elsewhere = {each.uuid for each in traces.profiles.values()}
    then = autoconnect.taken_next(link, profile.uuid, traces.settings, elsewhere)
    if then == profile.uuid:
        return Owner(name, Keeper.NETWORKMANAGER, evidence, profile.file, profile.uuid)
    file = traces.files.get(then, "")
    evidence += f", and from the next boot on {file or then}, which comes first"
    return Owner(name, Keeper.NETWORKMANAGER, evidence, file, then)


def _is_made_up(name: str, profile: Profile) -> bool:
    """Whether it is one that NetworkManager made in memory of what it found: modified, it would be kept for good.

    Before it told `connected (externally)` such a device was just connected.
    """
    return profile.name == name and (not profile.file or profile.file.startswith(("/run/", "/var/run/")))


def _netplan_id(file: str) -> str:
    """The id of an interface in netplan, by the file that `netplan generate` made of it; nothing where it did not."""
    found = re.fullmatch(r"/run/systemd/network/[0-9]+-netplan-(.+)\.network", file)
    return found.group(1) if found else ""


def _ifcfg_for(link: Link, files: Mapping[str, Mapping[str, str]]) -> str | None:
    """The suffix of the ifcfg file: by DEVICE, else by the hardware address, else by its name (initscripts: ifup)."""
    usual = {
        suffix: said
        for suffix, said in files.items()
        if ":" not in suffix and not suffix.endswith(_LEFT_BESIDE)
    }
    named = [suffix for suffix, said in usual.items() if said.get("DEVICE") == link.name]
    unnamed = {suffix: said for suffix, said in usual.items() if not said.get("DEVICE")}
    hardware = link.hardware.lower()
    by_card = [suffix for suffix, said in unnamed.items() if hardware and _card(said) == hardware]
    by_name = [suffix for suffix, said in unnamed.items() if suffix == link.name and not _card(said)]
    return next(iter((*sorted(named, key=lambda suffix: suffix != link.name), *by_card, *by_name)), None)


def _card(said: Mapping[str, str]) -> str:
    return said.get("HWADDR", "").lower()
