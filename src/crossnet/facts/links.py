"""Interfaces and their addresses, from `ip -d addr`, and `ip addr` where that is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from crossnet.facts.iproute import Words, failed, records, whole, words
from crossnet.facts.question import Question
from crossnet.values import (
    Address,
    Family,
    Network,
    address,
    contains,
    family_of,
    host_network,
    interface_name,
    network,
)


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """One address of an interface; `stable` is false for IPv6 privacy and deprecated addresses.

    `lifetime` is for how many seconds it is valid, None where it stays; `leased` that a server or a router
    advertisement gave it, `advertised` that it was the latter. `secondary` is an IPv4 address in the network of
    another one before it, `label` what ifconfig(8) calls it, where that is not the interface's own name.
    """

    address: Address
    prefix: int
    stable: bool = True
    peer: Address | None = None
    scope: str = "global"
    lifetime: int | None = field(default=None, compare=False)
    leased: bool = False
    advertised: bool = False
    noprefixroute: bool = False
    secondary: bool = False
    label: str = ""

    @property
    def network(self) -> Network:
        """The network that is on-link through this address; at a point-to-point link that is the peer."""
        if self.peer is not None:
            return host_network(self.peer)
        shift = self.address.max_prefixlen - self.prefix
        first = type(self.address)(int(self.address) >> shift << shift)
        return network(f"{first}/{self.prefix}")


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `up` means administratively up and with a carrier.

    `kind` is veth, bridge, vlan, bond, vrf, tun, …, empty for hardware; `master` the bridge, bond or VRF that it
    is a part of, `parent` the interface below a VLAN or the like, `table` the routing table of a VRF. An `ip` that
    takes no `-d` (busybox) tells none of the kind, the VLAN and the table. `addresses` are those of global scope,
    `narrow` the others. `xdp` is whether a program of XDP sees its frames, `hardware_type` what `ip` prints behind
    `link/`: ether, none, loopback, …, and `hardware` the address behind it; `qdisc` the kind of the queue that it
    sends through (tc(8)).
    """

    name: str
    mtu: int
    up: bool
    addresses: tuple[LinkAddress, ...] = ()
    kind: str = ""
    master: str = ""
    parent: str = ""
    vlan: int | None = None
    table: str = ""
    group: str = "default"
    flags: frozenset[str] = frozenset()
    narrow: tuple[LinkAddress, ...] = ()
    xdp: bool = False
    hardware_type: str = "ether"
    qdisc: str = ""
    hardware: str = field(default="", compare=False)

    @property
    def has_wire(self) -> bool:
        """Whether others can be behind it: what stands on `lo` or a dummy is answered for on the other interfaces."""
        return self.name != "lo" and self.kind != "dummy"

    def of(self, family: Family) -> tuple[LinkAddress, ...]:
        return tuple(item for item in self.addresses if family_of(item.address) is family)

    def has(self, address: Address) -> bool:
        """Whether an address is its own; one that counts on its segment alone too, as a router of IPv6 is named by."""
        own = (*self.addresses, *self.narrow) if address.is_link_local else self.addresses
        return any(item.address == address for item in own)

    def on_link(self, target: Address) -> LinkAddress | None:
        """The interface's address in whose network `target` lies."""
        return next((item for item in self.addresses if contains(item.network, target)), None)


@dataclass(frozen=True, slots=True)
class Interfaces:
    """All interfaces as they were told; `detailed` where the tool tells their kinds too."""

    links: tuple[Link, ...]
    detailed: bool


_HARDWARE = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5,19}")
# `2: eth0@if7: <BROADCAST,UP> mtu 1500 …`, and `2: eth0    inet 10.0.44.63/24 …`, which is how `-o` begins it.
_HEAD = re.compile(r"(\d+): (\S+): <([^>]*)>(.*)")
_OF = re.compile(r"(\d+): (\S+)[ \t]+(inet6? .*)")
# Words of the first line that have a value; what else stands there (`xdp`, `xdpgeneric/id:7`) stands alone.
_VALUED = frozenset(("mtu", "qdisc", "master", "state", "mode", "group", "qlen"))
# The line below `link/ether …` begins with the kind, if there is one.
_NO_KIND = re.compile(r"inet6? |alias |altname |vf |RX|TX|prog/|parentbus |\w+_slave |link/")
_NAME = "name "
_DETAILED = "detailed"
# An interface that has another below itself, or beside it, is printed as `eth0.5@eth0`; this is the one beside it.
_PEERS = frozenset(("veth", "netkit", "vxcan"))


@dataclass(slots=True)
class _Told:
    """One interface while its lines are read."""

    name: str
    parent: str
    flags: frozenset[str]
    head: Mapping[str, str]
    lines: list[str]


def parse_links(answer: str) -> Interfaces:
    """What `ip -d addr` prints, or `ip -d -o link` with `ip -o addr` behind it.

    `name eth0` says a name, `detailed` that the kinds are told. A loopback is a Link only where it has a
    global address.
    """
    told: dict[str, _Told] = {}
    detailed = False
    said = list(records(answer))
    names = {first.removeprefix(_NAME) for first, *_ in said if first.startswith(_NAME)}
    for first, *lines in said:
        if first.startswith(_NAME):
            continue
        if first == _DETAILED:
            detailed = True
        elif head := _HEAD.fullmatch(first):
            number, name, flags, rest = head.groups()
            name, parent = _parted(name, names)
            told[number] = _Told(name, parent, frozenset(flags.split(",")), _valued(rest), lines)
        elif (found := _OF.fullmatch(first)) and found[1] in told:
            told[found[1]].lines += [found[3], *lines]
        else:
            raise ValueError(f"no interface: {first[:80]!r}")
    if not told:
        raise ValueError("no interface at all")
    links = [_link(one) for one in told.values()]
    return Interfaces(tuple(_with_parents(links, detailed=detailed)), detailed)


def _parted(word: str, names: set[str]) -> tuple[str, str]:
    """`eth0.5@eth0` as the name and the interface that it is on; a name may hold an @."""
    if word in names or "@" not in word:
        return word, ""
    places = (at for at, letter in enumerate(word) if letter == "@" and (not names or word[:at] in names))
    at = next(places, word.index("@"))
    return word[:at], word[at + 1 :]


def _valued(line: str) -> dict[str, str]:
    said, found = Words(words(line)), dict[str, str]()
    while said:
        word = said.next()
        found[word] = said.next() if word in _VALUED else ""
    return found


def _link(told: _Told) -> Link:
    lines = [line.lstrip(" \t") for line in told.lines]
    kind, details = "", list[str]()
    if len(lines) > 1 and lines[0].startswith("link/") and not _NO_KIND.match(lines[1]):
        kind, *details = words(lines[1])
    addresses, narrow = list[LinkAddress](), list[LinkAddress]()
    for at, line in enumerate(lines):
        if line.startswith(("inet ", "inet6 ")):
            lifetimes = lines[at + 1] if lines[at + 1 : at + 2] else ""
            item, is_global = _address(line, lifetimes, told.name)
            (addresses if is_global else narrow).append(item)
    elsewhere = lines[:1] and re.search(r"\blink-netns(id)? ", lines[0])
    return Link(
        name=interface_name(told.name),
        mtu=whole(told.head["mtu"]),
        up="UP" in told.flags and "LOWER_UP" in told.flags,
        addresses=tuple(addresses),
        kind=kind,
        master=told.head.get("master", ""),
        parent="" if elsewhere or kind in _PEERS or told.parent == "NONE" else told.parent,
        vlan=_number_behind(details, "id") if kind == "vlan" else None,
        table=_behind(details, "table") if kind == "vrf" else "",
        group=told.head.get("group", "default"),
        flags=told.flags,
        narrow=tuple(narrow),
        hardware_type=_hardware_type(lines),
        qdisc=told.head.get("qdisc", ""),
        xdp=any(word.startswith("xdp") for word in told.head),
        hardware=hardware_address(_behind(words(lines[0]), "link/ether") if lines else ""),
    )


def hardware_address(word: str) -> str:
    """`02:00:00:00:43:0f`, as `ip` writes it; nothing where it is none."""
    return word if _HARDWARE.fullmatch(word) else ""


def _hardware_type(lines: list[str]) -> str:
    first = words(lines[0])[:1] if lines else []
    return first[0].removeprefix("link/") if first and first[0].startswith("link/") else ""


def _behind(details: list[str], word: str) -> str:
    return details[details.index(word) + 1] if word in details[:-1] else ""


def _number_behind(details: list[str], word: str) -> int | None:
    number = _behind(details, word)
    return whole(number) if number else None


def _with_parents(links: Iterable[Link], *, detailed: bool) -> Iterable[Link]:
    """Without kinds two that are each other's, or one that is its own (a peer elsewhere), are the ends of a veth."""
    parents = {link.name: link.parent for link in links}
    for link in links:
        is_peer = not detailed and parents.get(link.parent) in (link.name, link.parent)
        if link.addresses or "LOOPBACK" not in link.flags:
            yield replace(link, parent="") if is_peer or link.parent == link.name else link


def _address(line: str, lifetimes: str, interface: str) -> tuple[LinkAddress, bool]:
    """`inet 10.0.44.63/24 brd 10.0.44.255 scope global secondary eth0:1`, and the line of its lifetimes."""
    said = Words(words(line))
    is_v6 = said.next() == "inet6"
    own, slash, length = said.next().partition("/")
    local, peer = address(own), None
    scope, label, origin = "global", "", ""
    flags = set[str]()
    while said:
        match word := said.next():
            case "peer":
                far, slash, length = said.next().partition("/")
                peer = address(far)
            case "brd" | "any" | "metric":
                said.next()
            case "scope":
                scope = said.next()
            case "proto":
                origin = said.next()
            case "flags":
                said.next()  # in hexadecimal, which this `ip` has no name for
            case _ if word in _FLAGS:
                flags.add(word)
            case _:
                label = word
    prefix = whole(length, local.max_prefixlen) if slash else local.max_prefixlen
    leased = "dynamic" in flags
    # ip-address(8): temporary addresses (RFC 8981) change by themselves, deprecated ones end soon. They have the bit
    # of `secondary`, and busybox prints that.
    passing = flags & {"temporary", "deprecated", "tentative"} or (is_v6 and "secondary" in flags)
    item = LinkAddress(
        local,
        prefix,
        not passing,
        peer,
        scope,
        _lifetime(lifetimes),
        leased,
        # A router's advertisement leaves the host a network to choose in, DHCPv6 gives one address (RFC 8415, 21.6).
        is_v6 and leased and (prefix < local.max_prefixlen or origin == "kernel_ra"),
        "noprefixroute" in flags,
        not is_v6 and "secondary" in flags,
        "" if label == interface else label,
    )
    return item, scope == "global"


_FLAGS = {
    *("secondary", "temporary", "tentative", "deprecated", "home", "nodad", "mngtmpaddr", "noprefixroute"),
    *("autojoin", "dynamic", "dadfailed", "optimistic", "stable-privacy", "permanent"),
}


def _lifetime(line: str) -> int | None:
    """`valid_lft 85997sec preferred_lft 42997sec`; None where it is valid forever."""
    said = words(line)
    valid = _behind(said, "valid_lft")
    return whole(valid.removesuffix("sec")) if valid not in ("", "forever") else None


# Names of interfaces hold any characters but a few; the kernel's list has each before a colon (net/core/net-procfs.c).
# Only busybox takes no -d. What `ip` says comes first: an error shows the beginning of an answer.
_SCRIPT = r"""
ip -d addr 2>/dev/null && echo detailed || ip addr || exit
while IFS=' :' read -r name rest; do printf 'name %s\n' "$name"; done </proc/net/dev
"""

LINKS = Question("ran `ip addr`", ("sh", "-c", _SCRIPT), parse_links, failed)
