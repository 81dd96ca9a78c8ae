"""The words of the network: addresses, ports, traffic, probes. Frozen, and validated where they enter.

Addresses and networks are the standard library's own types; what is here are the parsers that say
what is wrong in a network engineer's words, and the few values the standard library lacks.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import unquote

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Family(IntEnum):
    """IPv4 or IPv6; the value is the version number."""

    V4 = 4
    V6 = 6

    @property
    def label(self) -> str:
        return f"IPv{self.value}"


class Protocol(StrEnum):
    """A protocol that `allow` and `probe` can name. `icmp` means ICMPv6 where the addresses are IPv6."""

    ICMP = "icmp"
    TCP = "tcp"
    UDP = "udp"


def family_of(value: Address | Network) -> Family:
    return Family(value.version)


def address(text: str) -> Address:
    """An address such as `10.0.44.63` or `fd00:44::63`; ValueError says what is wrong with the text."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        hint = f"; for a network use {text.split('/')[0]} without the prefix length" if "/" in text else ""
        raise ValueError(f"{text!r} is not an IP address{hint}") from None


def network(text: str) -> Network:
    """A network such as `10.0.44.0/24`, or one address as a host network; host bits are refused."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        right = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP network or address") from None
    raise ValueError(f"{text!r} has host bits set: the network is {right}")


def host_network(value: Address) -> Network:
    """The network that holds this one address (/32 or /128)."""
    return ipaddress.ip_network(value)


def contains(outer: Network, inner: Network | Address) -> bool:
    """Whether every address of `inner` lies in `outer`; never true across families."""
    if outer.version != inner.version:
        return False
    if isinstance(inner, IPv4Address | IPv6Address):
        return inner in outer
    return (
        outer.prefixlen <= inner.prefixlen
        and inner.network_address in outer  # a subnet test that mypy can follow for both families
    )


def overlap(one: Network, other: Network) -> bool:
    return contains(one, other) or contains(other, one)


def together(networks: Iterable[Network]) -> tuple[Network, ...]:
    """The fewest networks that hold the same addresses, IPv4 first."""
    held = tuple(networks)
    return (
        *ipaddress.collapse_addresses(network for network in held if isinstance(network, IPv4Network)),
        *ipaddress.collapse_addresses(network for network in held if isinstance(network, IPv6Network)),
    )


def without(networks: Iterable[Network], excepted: Iterable[Network]) -> tuple[Network, ...]:
    """The fewest networks that hold what these hold and the excepted do not, IPv4 first."""
    held, gone = together(networks), together(excepted)
    left: list[Network] = []
    for kind in (IPv4Address, IPv6Address):
        spans, holes = (_spans(some, kind) for some in (held, gone))
        for first, last in _apart(spans, holes):
            left += ipaddress.summarize_address_range(kind(first), kind(last))
    return tuple(left)


def _spans(networks: Iterable[Network], kind: type[Address]) -> list[tuple[int, int]]:
    """First and last address of each network of a family."""
    own = [network for network in networks if isinstance(network.network_address, kind)]
    return [(int(each.network_address), int(each.broadcast_address)) for each in own]


def _apart(spans: Iterable[tuple[int, int]], holes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is left of the spans without the holes; both are in order, and neither overlap themselves."""
    at = 0
    for first, last in spans:
        while at < len(holes) and holes[at][0] <= last:
            begin, end = holes[at]
            if first < begin:
                yield first, begin - 1
            first = max(first, end + 1)
            if end > last:
                break  # it reaches into the next one
            at += 1
        if first <= last:
            yield first, last


class Networks:
    """Networks, of which is asked which one lies around another: all pairs of thousands would take seconds."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._held = frozenset(networks)
        self._lengths = sorted({(each.version, each.prefixlen) for each in self._held}, reverse=True)

    def around(self, inner: Network, *, larger: bool = False) -> Network | None:
        """The nearest of them that holds this one; with `larger` not itself."""
        for version, length in self._lengths:
            if version == inner.version and (
                length < inner.prefixlen or (length == inner.prefixlen and not larger)
            ):
                outer = inner.supernet(new_prefix=length)
                if outer in self._held:
                    return outer
        return None


# Where nothing can be reached through a gateway, or from (RFC 6890 and what it refers to; RFC 3927, 7: nobody forwards
# link-local packets). An IPv4-mapped address stands in programs, never on a wire (RFC 4291, 2.5.5.2).
_NOWHERE: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(block), what)
    for block, what in (
        ("169.254.169.254/32", "the metadata service of a cloud, which each machine has to itself"),
        ("127.0.0.0/8", "loopback, each host's own"),
        ("::1/128", "loopback, each host's own"),
        ("0.0.0.0/8", "no address of a host"),
        ("::/128", "no address of a host"),
        ("169.254.0.0/16", "link-local, which no gateway forwards"),
        ("fe80::/10", "link-local, which no gateway forwards"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "reserved"),
        ("::ffff:0:0/96", "IPv4 written as IPv6: write the IPv4 address"),
    )
)
_TOGETHER: tuple[Network, ...] = (
    *ipaddress.collapse_addresses(block for block, _ in _NOWHERE if isinstance(block, IPv4Network)),
    *ipaddress.collapse_addresses(block for block, _ in _NOWHERE if isinstance(block, IPv6Network)),
)
NOWHERE = _TOGETHER  # the same without the reasons
LINK_LOCAL = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fe80::/10"))


def why_nowhere(value: Network) -> str:
    """What a network is, all of whose addresses can be neither reached through a gateway nor come from a client.

    Nothing where some of them can, such as 0.0.0.0/0.
    """
    if not any(contains(block, value) for block in _TOGETHER):
        return ""
    return next((what for block, what in _NOWHERE if contains(block, value)), "without an address of a host")


def show_network(value: Network) -> str:
    """`10.0.44.0/24`, and a host network as its bare address."""
    return str(value.network_address) if value.prefixlen == value.max_prefixlen else str(value)


# linux/if.h: IFNAMSIZ is 16 with the final NUL; dev_valid_name() refuses '/', ':' and white space.
_INTERFACE = re.compile(r"[^/:\s]{1,15}")


def interface_name(text: str) -> str:
    """A name that the kernel accepts for an interface, else ValueError."""
    if text in (".", "..") or not _INTERFACE.fullmatch(text) or len(os.fsencode(text)) > 15:
        raise ValueError(f"{text!r} is not an interface name: 1 to 15 characters without '/', ':' and blanks")
    return text


def absolute_path(text: str) -> str:
    """The name of a file from the root on, else ValueError."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is no absolute path")
    return text


_MOMENT = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<time>[0-9]{2}:[0-9]{2}(:[0-9]{2})?)"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


def moment(text: str) -> datetime:
    """`2026-12-24T18:00Z`, `2026-12-24T19:00:30+01:00` (RFC 3339), in UTC; ValueError for one without its zone."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time such as 2026-12-24T18:00Z")
    if found["zone"] is None:
        utc = f"{found['day']}T{found['time']}Z"
        raise ValueError(f"{text!r} has no zone: write {utc} for UTC, or +01:00 in place of Z")
    try:
        said = datetime.fromisoformat(f"{found['day']}T{found['time']}{found['zone'].upper()}")
        return said.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time such as 2026-12-24T18:00Z: {error}") from None


def show_moment(at: datetime) -> str:
    """`2026-12-24 18:00 UTC`."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC" if at.second else "%Y-%m-%d %H:%M UTC")


def write_moment(at: datetime) -> str:
    """`2026-12-24T18:00:00Z`, which `moment` reads."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def without_password(destination: str) -> str:
    """What `ssh` takes, as it is; ValueError, which does not repeat it, where a password stands in it."""
    if holds_password(destination):
        raise ValueError(PASSWORD)
    return destination


def as_root(destination: str) -> bool:
    """Whether one logs in as root there, as far as what `ssh` takes tells it."""
    return destination.removeprefix("ssh://").rpartition("@")[0] == "root"


PASSWORD = "there is a password before the @, and none is ever used: take it out, and log in with a key"


def holds_password(text: str) -> bool:
    """Whether `ssh` would take it for a user with a password."""
    return ":" in unquote(text.removeprefix("ssh://").rpartition("@")[0])


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """A range of ports, both ends included; one port is a range of one."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last <= 65535:
            raise ValueError(f"{self} is not a port or a range of ports between 1 and 65535")

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, order=True)
class Traffic:
    """One entry of `allow`: `icmp`, `tcp/443`, `tcp/8000-8010`; without ports the whole protocol."""

    protocol: Protocol
    ports: Ports | None = None

    @classmethod
    def from_text(cls, text: str) -> Traffic:
        name, slash, rest = text.partition("/")
        if name not in set(Protocol):
            raise ValueError(f"{text!r} is not any, icmp, tcp/PORT, tcp/PORT-PORT or the same with udp")
        protocol = Protocol(name)
        if not slash:
            return cls(protocol)
        if protocol is Protocol.ICMP:
            raise ValueError(f"{text!r}: icmp has no ports")
        first, dash, last = rest.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{rest!r} in {text!r} is not a port or a range of ports")
        return cls(protocol, Ports(int(first), int(last) if dash else int(first)))

    def admits(self, probe: Probe) -> bool:
        if self.protocol is not probe.protocol:
            return False
        if self.ports is None or probe.port is None:
            return True
        return self.ports.first <= probe.port <= self.ports.last

    def __str__(self) -> str:
        return f"{self.protocol}/{self.ports}" if self.ports else str(self.protocol)


@dataclass(frozen=True, slots=True)
class Probe:
    """One flow that verify sends: `icmp/10.0.44.1`, `tcp/10.0.44.10:443`, `udp/[fd00:44::1]:53`."""

    protocol: Protocol
    destination: Address
    port: int | None = None

    @classmethod
    def from_text(cls, text: str) -> Probe:
        name, slash, rest = text.partition("/")
        if name not in set(Protocol) or not slash:
            raise ValueError(f"{text!r} is not icmp/ADDRESS, tcp/ADDRESS:PORT or udp/ADDRESS:PORT")
        protocol = Protocol(name)
        if protocol is Protocol.ICMP:
            return cls(protocol, address(rest.removeprefix("[").removesuffix("]")))
        host, colon, port = rest.rpartition(":")
        if not colon or not (port.isascii() and port.isdecimal()):
            raise ValueError(f"{text!r} names no port: {name}/ADDRESS:PORT")
        if len(port) > 5 or not 1 <= int(port) <= 65535:
            raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
        if ":" in host and not host.startswith("["):
            raise ValueError(f"{text!r}: write an IPv6 address in brackets, {name}/[ADDRESS]:PORT")
        return cls(protocol, address(host.removeprefix("[").removesuffix("]")), int(port))

    def __str__(self) -> str:
        if self.port is None:
            return f"{self.protocol}/{self.destination}"
        host = f"[{self.destination}]" if self.destination.version == 6 else str(self.destination)
        return f"{self.protocol}/{host}:{self.port}"
