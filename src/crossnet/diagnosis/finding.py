"""One thing that stops a flow, or would once what stands before it is mended, as facts tell it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from crossnet.netfilter.iptables_own import is_own_chain
from crossnet.netfilter.own import TABLE
from crossnet.values import Address, Network

if TYPE_CHECKING:  # sets of packets are slow to import
    from crossnet.netfilter.foreign import Tool
    from crossnet.reach.rules import Place as Chain


class Direction(StrEnum):
    FORWARD = "forward"
    REPLY = "reply"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a fix has to know: what would be right, and `wrong`, the route, rule, address or flag that is not."""

    destination: Network | None = None
    next_hop: Address | None = None
    device: str | None = None
    address: Address | None = None
    prefix: int | None = None
    hardware: str = ""  # of the neighbour
    mtu: int | None = None  # in bytes, that fits
    table: str | None = None
    priority: int | None = None
    ahead_of: Tool | None = None  # whose rules take it now
    metric: int | None = None  # of the route that wins, which a better one has to beat
    wrong: str = ""  # in the words of `ip`


@dataclass(frozen=True, slots=True)
class Finding:
    """A code at a place, for one direction; `certain` where it surely stops the flow.

    `text` is the rule, route or setting in its owner's words, `chain` where a rule of it stands, `hook` where in the
    host packets meet it, `ends` the source and destination that they have there, where each is one address;
    `untracked` where connection tracking does not know an answer for one; `unread` are words of its rules that crossnet
    does not understand, and that leave it open.
    """

    code: str
    host: str
    interface: str | None
    direction: Direction
    text: str
    certain: bool = True
    hook: str = ""
    chain: Chain | None = None
    remedy: Remedy = Remedy()
    ends: tuple[Address | None, Address | None] = (None, None)
    untracked: bool = False
    unread: tuple[str, ...] = ()


def is_own(chain: Chain) -> bool:
    """Whether crossnet itself made a chain: into it nobody else writes."""
    return chain.table == TABLE or is_own_chain(chain.chain)
