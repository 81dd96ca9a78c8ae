"""Which packets are captured, as an expression of pcap-filter(7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from crossnet.values import Address, Network, Protocol

# Neighbour discovery and errors of ICMPv6 stand behind a header of 40 bytes: pcap-filter(7) looks past no extension.
_NEIGHBOURS = "arp or (icmp6 and ip6[40] >= 135 and ip6[40] <= 137)"
_ERRORS = (
    "(icmp and (icmp[0] = 3 or icmp[0] = 4 or icmp[0] = 5 or icmp[0] = 11 or icmp[0] = 12))"
    " or (icmp6 and ip6[40] < 128)"
)
_ECHO4 = "icmp and (icmp[0] = 0 or icmp[0] = 8)"
_ECHO6 = "icmp6 and (ip6[40] = 128 or ip6[40] = 129)"
_PIECE4, _PIECE6 = "ip[6:2] & 0x1fff != 0", "ip6[6] = 44"


@dataclass(frozen=True, slots=True)
class Filter:
    """The packets of one flow, or of many, and what the network says about it: ARP, neighbour discovery, ICMP errors.

    `addresses` are those of either end, or networks, before and after a translation; none means any. `echoes` are the
    bytes of data in the echoes that are meant: those are taken whatever their addresses are, for they tell a probe
    from everybody else's.
    """

    addresses: tuple[Address | Network, ...] = ()
    protocol: Protocol | None = None
    port: int | None = None
    echoes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.port is not None and self.protocol not in (Protocol.TCP, Protocol.UDP):
            raise ValueError("a port is one of tcp or udp")

    def expression(self, *, without: Sequence[tuple[Address, Address]] = ()) -> str:
        """As tcpdump takes it; `without` are the ends of TCP connections whose later segments are left out."""
        terms = [_NEIGHBOURS, _ERRORS]
        for length in self.echoes:
            terms.append(f"{_ECHO4} and ip[2:2] = {28 + length}")
            terms.append(f"{_ECHO6} and ip6[4:2] = {8 + length}")
        match self.protocol:
            case None:
                terms.append(self._of_these("(ip or ip6)"))
            case Protocol.ICMP if not self.echoes:
                terms.append(self._of_these(f"(({_ECHO4}) or ({_ECHO6}))"))
            case Protocol.TCP | Protocol.UDP:
                port = "" if self.port is None else f" port {self.port}"
                terms.append(self._of_these(f"{self.protocol}{port}"))
        if self.addresses:
            terms.append(self._of_these(f"({_PIECE4} or {_PIECE6})"))
        wanted = " or ".join(f"({term})" for term in terms)
        return " and ".join([f"({wanted})", *(_not_established(*ends) for ends in without)])

    def _of_these(self, what: str) -> str:
        ends = " or ".join(
            f"net {one}" if isinstance(one, IPv4Network | IPv6Network) else f"host {one}"
            for one in self.addresses
        )
        return f"{what} and ({ends})" if ends else what


def _not_established(one: Address, other: Address) -> str:
    """Without SYN and RST (bits 1 and 2): a probe of the same ends begins with one and is answered with one."""
    later = "tcp[13] & 6 = 0" if one.version == 4 else "ip6[53] & 6 = 0"
    return f"not (tcp and host {one} and host {other} and {later})"
