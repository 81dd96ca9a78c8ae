"""The options of a match or target of iptables, and the values that many of them take: addresses, numbers, marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from crossnet.netfilter.foreign import Field, Names, Numbers, Test, Tool
from crossnet.netfilter.ipset_save import IpSet
from crossnet.netfilter.iptables_words import join_words


class Option(NamedTuple):
    """`! --dport 80`."""

    name: str
    values: list[str]
    negated: bool

    @property
    def value(self) -> str:
        """The only value; ValueError when there are none or several."""
        (only,) = self.values
        return only

    @property
    def text(self) -> str:
        return said(self.name, self.values, self.negated)


class Module(NamedTuple):
    """`-m tcp` or `-j SNAT` with its options."""

    name: str
    options: list[Option]
    goto: bool = False


def said(name: str, values: list[str], negated: bool) -> str:
    return join_words((*(("!",) if negated else ()), name, *values))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the meaning of a rule depends on beside its line.

    `reached_from` says from which built-in chains of the table a chain is reached.
    """

    tool: Tool
    family: str
    chains: frozenset[str]
    sets: Mapping[str, IpSet]
    reached_from: Callable[[str], frozenset[str]]


def parse_address(text: str) -> int:
    """An address as a number; OSError for what is none. `10/8` is 10.0.0.0/8 (xtables.c: numeric_to_ipaddr)."""
    if ":" in text:
        return int.from_bytes(inet_pton(AF_INET6, text), "big")
    return int.from_bytes(inet_pton(AF_INET, text + ".0" * (3 - text.count("."))), "big")


def address_test(field: Field, text: str, negated: bool) -> Test | None:
    """A test of an address, a network, or an address with any mask; None when it holds for all.

    A list of them is what iptables-restore makes several rules of. ValueError or OSError for a name of a host.
    """
    if "," in text:
        return _address_list_test(field, text, negated)
    network, slash, mask_text = text.partition("/")
    number = parse_address(network)
    bits = 128 if ":" in network else 32
    if not slash:
        return Test((field,), Numbers(((number, number),)), negated)
    everything = (1 << bits) - 1
    if mask_text.isdecimal():
        host = everything >> int(mask_text)
    else:
        mask = parse_address(mask_text)
        host = mask ^ everything
        if host & (host + 1):
            return Test((field,), Numbers(((number & mask, number & mask),)), negated, mask)
    if host == everything and not negated:
        return None
    first = number & (everything ^ host)
    return Test((field,), Numbers(((first, first | host),)), negated)


def _address_list_test(field: Field, text: str, negated: bool) -> Test | None:
    if negated:
        raise ValueError("iptables takes no negated list")
    ranges: list[tuple[int, int]] = []
    for each in text.split(","):
        test = address_test(field, each, False)
        if test is None:
            return None
        if test.mask is not None or not isinstance(test.values, Numbers):
            raise ValueError("a list with masks that have holes")
        ranges += test.values.ranges
    return Test((field,), Numbers.of(ranges))


def interface_test(field: Field, name: str, negated: bool) -> Test | None:
    """A test of an interface, or of the beginning of its name (`wan+`); None when it holds for all."""
    if not name.endswith("+"):
        return Test((field,), Names(frozenset({name})), negated)
    if name == "+" and not negated:
        return None
    return Test((field,), Names(frozenset(), frozenset({name[:-1]})), negated)


def parse_range(text: str, most: int, separator: str = ":") -> tuple[int, int]:
    """`80`, `80:90`, `:90`, `80:`; ValueError for what is no number."""
    first, colon, last = text.partition(separator)
    if not colon:
        return int(first, 0), int(first, 0)
    return int(first or "0", 0), int(last, 0) if last else most


def masked(text: str, width: int = 0xFFFFFFFF) -> tuple[int, int]:
    """`0x1/0xff` as value and mask; without a mask all bits are meant."""
    value, slash, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if slash else width
