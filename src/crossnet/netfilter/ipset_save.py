"""`ipset save` as sets that rules ask: what each type compares of a packet, and with which values.

Of a packet the set takes as many parts as its type has (`hash:ip,port`: address, then port), each from the side that
the rule says (`src,dst`). From the kernel's net/netfilter/ipset/*.c, ipset(8), and `ipset test` of 7.17.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_pton

from crossnet.netfilter.foreign import AnyOf, Field, Lazily, Named, Numbers, Rows, Set, Test
from crossnet.netfilter.ipset_values import BEGINNING, Entry, Nets, Ranges, first_of, own_parts, values_of
from crossnet.netfilter.protocol_names import PROTOCOLS
from crossnet.netfilter.xtables_names import ICMP, ICMP_TYPES, ICMPV6, ICMPV6_TYPES
from crossnet.netfilter.xtables_words import split_lines, split_words

# Names before ipset 5, which every ipset still takes (and ipset 4 prints)
_OLD_TYPES = {
    "iphash": "hash:ip",
    "iptree": "hash:ip",
    "iptreemap": "hash:ip",
    "ipmap": "bitmap:ip",
    "macipmap": "bitmap:ip,mac",
    "portmap": "bitmap:port",
    "nethash": "hash:net",
    "ipporthash": "hash:ip,port",
    "ipportiphash": "hash:ip,port,ip",
    "ipportnethash": "hash:ip,port,net",
    "machash": "hash:mac",
    "setlist": "list:set",
}
_CREATE = frozenset({"create", "-N", "--create", "new", "n"})
_ADD = frozenset({"add", "-A", "--add", "a"})
_COMMENT = re.compile(r' comment "[^"]*"')

# ip_set_getport.c: these have ports; ICMP gives its type and code as one; all others count as port 0
_WITH_PORTS = frozenset({6, 17, 132, 136})


@dataclass(frozen=True, slots=True)
class Side:
    """One column of a set: what of the packet it holds, and which of the rule's directions chooses the side."""

    source: Field
    destination: Field
    direction: int = 0


@dataclass(frozen=True, slots=True)
class IpSet:
    """A set of ipset, held as sets of the form: one for what has ports, one for ICMP, one for other protocols.

    `dimension` is how many directions a rule must give. `family` is ip, ip6 or empty (both). `held` is None where
    the members are not understood. A list names other sets in `lists` and holds nothing itself.
    """

    name: str
    dimension: int
    family: str
    held: tuple[tuple[tuple[Side, ...], Set], ...] | None
    settled: bool = True
    lists: tuple[str, ...] | None = None

    @property
    def sets(self) -> tuple[Set, ...]:
        """What stands in the table for it."""
        if self.held is None or self.lists is not None:
            return (Set(self.name, None, self.settled),)
        return tuple(each for _, each in self.held)


def parse_ipset_save(text: str, filled: AbstractSet[str] = frozenset()) -> Mapping[str, IpSet]:
    """Every set that `ipset save` prints, of ipset 4 to 7; `filled` are those that rules of the host add to.

    The lines are only sorted to their sets; what the members of one say is read when somebody asks for it. ValueError
    for a line that ipset does not print.
    """
    created: dict[str, tuple[str, list[str]]] = {}
    members: dict[str, list[str]] = {}
    for line in split_lines(text):
        verb, _, rest = line.partition(" ")
        if verb in _ADD:
            name, _, rest = rest.partition(" ")
            if name in members:
                members[name].append(rest)
                continue
        if verb in _CREATE:
            words = split_words(rest)
            if len(words) > 1:
                created[words[0]] = (_OLD_TYPES.get(words[1], words[1]), words[2:])
                members[words[0]] = []
                continue
        if verb in ("COMMIT", "") or verb.startswith("#") or not line.strip():
            continue
        raise ValueError(f"not a line of `ipset save`: {line!r}")
    return Lazily(
        {
            name: partial(_set, name, kind, options, members[name], name in filled)
            for name, (kind, options) in created.items()
        }
    )


class Held(Mapping[str, Set]):
    """What stands in a table for the ipsets of a host, by name: read when somebody asks for it."""

    def __init__(self, sets: Mapping[str, IpSet]) -> None:
        self._sets = sets

    def __getitem__(self, name: str) -> Set:
        # Behind a blank stands which part of the ipset it is; no ipset has one in its name.
        ipset = self._sets[name.partition(" ")[0]]
        return {each.name: each for each in ipset.sets}[name]

    def __iter__(self) -> Iterator[str]:
        return (each.name for ipset in self._sets.values() for each in ipset.sets)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def set_tests(
    name: str, directions: Sequence[str], family: str, sets: Mapping[str, IpSet]
) -> tuple[Test, ...] | None:
    """The tests of which one holds when a packet is in the set; None where that cannot be said.

    A set of the other family, and one with more parts than the rule gives directions, holds no packet
    (ip_set_core.c: ip_set_test).
    """
    held = sets.get(name)
    if held is None:
        return None
    if held.lists is not None:
        tests: list[Test] = []
        for each in held.lists:
            found = set_tests(each, directions, family, sets)
            if found is None or not held.settled:
                return None
            tests += found
        return tuple(tests)
    if held.family not in ("", family) or held.dimension > len(directions):
        return ()
    if held.held is None:
        return None
    return tuple(
        Test(
            tuple(
                side.source if directions[side.direction] == "src" else side.destination for side in columns
            ),
            Named(each.name, ipset=True),
        )
        for columns, each in held.held
    )


def matches_set(tests: tuple[Test, ...], negated: bool) -> Test | AnyOf | None:
    """The statement that one of the tests holds, or none; None where it says nothing.

    xt_set.c turns round what the set answers, and to a packet without ports a set of ports answers no.
    """
    if negated and not tests:
        return None
    if len(tests) == 1 and not negated:
        return tests[0]
    return AnyOf(tests, negated)


# ---- one set ----------------------------------------------------------------------------------------


def _set(name: str, kind: str, options: list[str], members: list[str], is_filled: bool) -> IpSet:
    said = {
        word.lstrip("-"): options[at + 1] if at + 1 < len(options) else "" for at, word in enumerate(options)
    }
    parts = tuple(kind.partition(":")[2].split(","))
    settled = not is_filled and "forceadd" not in said
    plain: list[tuple[str, bool]] = []
    for line in members:
        member, _, text = line.strip().partition(" ")
        nomatch = False
        if text:
            words = _COMMENT.sub("", " " + text).split()
            nomatch = "nomatch" in words
            if "timeout" in words and words[words.index("timeout") + 1 :][:1] != ["0"]:
                settled = False
            if "wildcard" in words:
                member += BEGINNING
        plain.append((member, nomatch))
    if kind == "list:set":
        return IpSet(name, 1, "", (), settled, tuple(member for member, _ in plain))
    family = "" if parts in (("port",), ("mac",)) else "ip"
    if "-6" in options or "inet6" in (said.get("family"), said.get("f")):
        family = "ip6"
    if kind.startswith("hash:ip") and "," not in kind:
        # ipset 4's trees hold a time to live behind a comma
        settled = settled and not any("," in member for member, _ in plain)
        plain = [(member.partition(",")[0], nomatch) for member, nomatch in plain]
    try:
        held = _held(name, parts, family, said, plain, settled)
    except (ValueError, OSError, KeyError):  # a member or an option in words that no ipset had yet
        held = None
    return IpSet(name, len(parts), family, held, settled)


def _held(
    name: str,
    parts: tuple[str, ...],
    family: str,
    said: Mapping[str, str],
    members: Iterable[tuple[str, bool]],
    settled: bool,
) -> tuple[tuple[tuple[Side, ...], Set], ...] | None:
    if "mac" in parts or parts.count("port") > 1 or not set(parts) <= _READERS.keys():
        return None
    if parts == ("port",):
        ports = Numbers.of(_ports(member) for member, _ in members)
        both = (_sides("protocol", 0, family), _sides("port", 0, family))
        return ((both, Set(name, Rows(((Numbers.of([(6, 6), (17, 17)]), ports),)), settled)),)
    shapes = _by_shape(parts, _width(said, family), said, members)
    # ip_set_hash_netiface.c: a network is looked up without its interface, and the longest prefix decides (multi)
    nets: Nets = {}
    if "iface" in parts:
        nets = own_parts(first_of(row[0]) for entries in shapes.values() for row, _ in entries)
    held: list[tuple[tuple[Side, ...], Set]] = []
    for shape, entries in shapes.items():
        columns, suffix = _columns(shape, parts, family)
        compared = values_of(entries, shape, nets)
        if compared is None:
            return None
        if entries or not suffix:
            held.append((columns, Set(name + suffix, compared, settled)))
    return tuple(held)


def _by_shape(
    parts: tuple[str, ...],
    width: tuple[int, int],
    said: Mapping[str, str],
    members: Iterable[tuple[str, bool]],
) -> dict[tuple[str, ...], list[Entry]]:
    """The members by what they compare of a packet: ports, a type and a code, or the protocol alone.

    What the set's type says is there also where no member is of it.
    """
    usual = _for_port(parts, ("protocol", "port")) if "port" in parts else parts
    readers = [_READERS[part](width, said) for part in parts]
    last = len(parts) - 1
    shapes: dict[tuple[str, ...], list[Entry]] = {}
    for member, nomatch in members:
        row: list[Ranges | str] = []
        shape = parts
        for part, read, text in zip(parts, readers, member.split(",", last), strict=True):
            if part == "port":
                kind, protocol, values = _protocol_ports(text)
                shape = _for_port(parts, kind)
                row.append(((protocol, protocol),))
                row += values
            elif part == "iface" and text.startswith("physdev:"):
                shape = (*parts[:-1], "physdev")
                row.append(text.removeprefix("physdev:"))
            else:
                row.append(read(text))
        shapes.setdefault(shape, []).append((tuple(row), nomatch))
    shapes.setdefault(usual, [])
    return shapes


def _for_port(parts: tuple[str, ...], columns: tuple[str, ...]) -> tuple[str, ...]:
    at = parts.index("port")
    return (*parts[:at], *columns, *parts[at + 1 :])


def _columns(shape: tuple[str, ...], parts: tuple[str, ...], family: str) -> tuple[tuple[Side, ...], str]:
    """The columns of one shape of a set, and what is put behind the set's name to tell it from the others."""
    directions = {"protocol": "port", "icmp-type": "port", "icmp-code": "port", "physdev": "iface"}
    columns: list[Side] = []
    addresses = (at for at, part in enumerate(parts) if part in ("ip", "net"))
    for part in shape:
        at = next(addresses) if part in ("ip", "net") else parts.index(directions.get(part, part))
        columns.append(_sides(part, at, family))
    if "physdev" in shape:
        return tuple(columns), " (physdev)"
    if "icmp-type" in shape:
        return tuple(columns), " (icmp)"
    return tuple(columns), " (no ports)" if "protocol" in shape and "port" not in shape else ""


def _sides(part: str, direction: int, family: str) -> Side:
    match part:
        case "ip" | "net" if family == "ip6":
            return Side(Field.SOURCE6, Field.DESTINATION6, direction)
        case "ip" | "net":
            return Side(Field.SOURCE4, Field.DESTINATION4, direction)
        case "port":
            return Side(Field.SOURCE_PORT, Field.DESTINATION_PORT, direction)
        case "iface":
            return Side(Field.IIF, Field.OIF, direction)
        case "physdev":
            return Side(Field.PHYS_IN, Field.PHYS_OUT, direction)
        case _:
            field = Field(part)  # protocol, icmp-type, icmp-code, mark: the same on both sides
            return Side(field, field, direction)


# ---- what a member says -----------------------------------------------------------------------------


def _width(said: Mapping[str, str], family: str) -> tuple[int, int]:
    """Bits of an address, and how many of them the set compares."""
    bits = 128 if family == "ip6" else 32
    if "bitmask" in said:
        mask = int(ip_address(said["bitmask"]))
        ones = bits - (mask ^ ((1 << bits) - 1)).bit_length()
        if mask != ((1 << ones) - 1) << (bits - ones):
            raise ValueError("a bit mask with holes")
        return bits, ones
    netmask = said.get("netmask", "")
    if netmask.isdecimal():
        return bits, int(netmask)
    return bits, bits


def _address(width: tuple[int, int], _: Mapping[str, str]) -> Callable[[str], Ranges]:
    bits, compared = width
    family = AF_INET if bits == 32 else AF_INET6
    one = (1 << (bits - compared)) - 1

    def read(text: str) -> Ranges:
        network, slash, length = text.partition("/")
        first_text, dash, last_text = network.partition("-")
        first = int.from_bytes(inet_pton(family, first_text), "big")
        if dash:
            return ((first, int.from_bytes(inet_pton(family, last_text), "big")),)
        host = (1 << (bits - int(length))) - 1 if slash else one
        first &= ~host
        return ((first, first | host),)

    return read


def _interface(_: tuple[int, int], __: Mapping[str, str]) -> Callable[[str], str]:
    return lambda text: text


def _mark(_: tuple[int, int], said: Mapping[str, str]) -> Callable[[str], Ranges]:
    mask = int(said["markmask"], 0) if "markmask" in said else 0xFFFFFFFF
    low = mask ^ 0xFFFFFFFF
    if low & (low + 1):
        raise ValueError("a mark mask that is not of the upper bits")
    return lambda text: ((int(text, 0), int(text, 0) | low),)


def _protocol_ports(text: str) -> tuple[tuple[str, ...], int, list[Ranges]]:
    """`tcp:80`, `icmp:host-unreachable`, `vrrp:0`: the columns behind the protocol, and their values."""
    name, colon, value = text.rpartition(":")
    if not colon:
        return ("protocol", "port"), 6, [(_ports(text),)]
    protocol = int(name) if name.isdecimal() else PROTOCOLS[name.lower()]
    if protocol in (ICMP, ICMPV6):
        known = (ICMP_TYPES if protocol == ICMP else ICMPV6_TYPES).get(value.lower())
        if known is None:
            kind, _, code = value.partition("/")
            known = int(kind), int(code or 0)
        kind_number, code_number = known[0], known[1] or 0
        return (
            ("protocol", "icmp-type", "icmp-code"),
            protocol,
            [((kind_number, kind_number),), ((code_number, code_number),)],
        )
    if protocol in _WITH_PORTS:
        return ("protocol", "port"), protocol, [(_ports(value),)]
    if value != "0":
        raise ValueError(f"a port of a protocol that ipset reads none of: {text}")
    return ("protocol",), protocol, []


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


_READERS: dict[str, Callable[[tuple[int, int], Mapping[str, str]], Callable[[str], Ranges | str]]] = {
    "ip": _address,
    "net": _address,
    "iface": _interface,
    "mark": _mark,
    "port": _interface,  # taken apart by _protocol_ports, because the protocol decides what it is
}
