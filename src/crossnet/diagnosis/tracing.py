"""Ask a host's firewall itself which of its rules ends a flow: the trace of nftables, for these packets alone."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from crossnet.capture import Packet
from crossnet.diagnosis.finding import Direction
from crossnet.transport import Host
from crossnet.transport.following import Following
from crossnet.values import Address, Family, Probe, Protocol, family_of

# Far before what anybody uses, connection tracking (-200) and raw (-300) too: a rule sets the trace, and nothing else.
_PRIORITY = -350

_MOST_SECONDS = 10  # for which the table stands, whatever becomes of us

# The table has an owner, the `nft -i` that made it: with that process the kernel removes it, however it ends
# (nft(8), `flags owner`; Linux 5.12). A kernel or an nft that knows no owners makes no table, and nothing is traced.
# That nft reads the table from a pipe and ends with it; what writes the pipe ends when nobody reads its lines on
# standard error any more, as is so when crossnet is gone. In its home nft would leave a history of what it has read.
_SCRIPT = r"""
tenths=$1 table=$2
command -v nft >/dev/null || exit 127
nft monitor trace </dev/null &
monitor=$!
{
    trap '' PIPE
    echo "$table"
    while [ "$tenths" -gt 0 ] && echo && echo >&2; do
        sleep 0.1 >/dev/null 2>&1 || { sleep 1 >/dev/null 2>&1; tenths=$((tenths - 9)); }
        tenths=$((tenths - 1))
    done
    kill "$monitor"
} | HOME=/dev/null nft -i >/dev/null 2>&1 &
owner=$!
trap 'kill "$owner" "$monitor" 2>/dev/null' TERM
wait "$owner"
kill "$monitor" 2>/dev/null
wait "$monitor"
"""

# `trace id 7ca66122 ip filter FORWARD rule ip daddr 10.0.44.1 drop (verdict drop)`, or `… policy drop`.
_LINE = re.compile(r"trace id (?P<id>[0-9a-f]+) (?P<family>\w+) (?P<table>\S+) (?P<chain>\S+) (?P<rest>.*)")
# A comment in the text of a rule may hold any words, those of a verdict too: its own stands at the end.
_RULE = re.compile(
    r"(?:rule (?P<text>.*)|unknown rule handle \d+) \(verdict (?P<verdict>drop|queue)\b[^()]*\)\s*"
)
_COUNTER = re.compile(r"counter packets \d+ bytes \d+ ")


@dataclass(frozen=True, slots=True)
class Flow:
    """What to trace on a host: packets of a probe in one direction, with the ends that they have there.

    `source` is None where none has been seen; `echoes` are the bytes of data in the probe's echoes.
    """

    host: str
    direction: Direction
    probe: Probe
    source: Address | None
    destination: Address
    echoes: tuple[int, ...]

    def expression(self) -> str:
        """It in the words of nft(8)."""
        v6 = family_of(self.destination) is Family.V6
        ip = "ip6" if v6 else "ip"
        words = [f"{ip} saddr {self.source}"] if self.source is not None else []
        words.append(f"{ip} daddr {self.destination}")
        asks = self.direction is Direction.FORWARD
        if self.probe.protocol is Protocol.ICMP:
            kind = "echo-request" if asks else "echo-reply"
            # Of IPv6 what stands behind the header counts (RFC 8200), of IPv4 all.
            lengths = ", ".join(str(each + (8 if v6 else 28)) for each in self.echoes)
            words += [f"{'icmpv6' if v6 else 'icmp'} type {kind}", f"{ip} length {{ {lengths} }}"]
        else:
            words.append(f"{self.probe.protocol} {'dport' if asks else 'sport'} {self.probe.port}")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Traced:
    """What ended a flow's packets on a host, as its firewall says itself; `text` is the rule in words of nft(8).

    `verdict` is `drop`, `queue`, or `policy` where no rule decided.
    """

    host: str
    direction: Direction
    family: str
    table: str
    chain: str
    verdict: str
    text: str = ""

    def __str__(self) -> str:
        where = f"{self.host}: the trace of nftables ends in {self.family} {self.table} {self.chain}"
        return f"{where}: {'policy drop' if self.verdict == 'policy' else self.text}"


class Tracing:
    """The trace of one flow on one host, from `start` to `stop`.

    `found` is what ended the first of its packets, `has_seen` whether there was any packet of it.
    """

    def __init__(self, host: Host, flow: Flow) -> None:
        self.found: Traced | None = None
        self.has_seen = False
        self._flow = flow
        self._table = f"crossnet_trace_{secrets.token_hex(4)}"
        argv = ["sh", "-c", _SCRIPT, "sh", str(_MOST_SECONDS * 10), table(self._table, flow)]
        self._following = Following(host, argv, self._read)
        self.over = self._following.over  # when there is one, or none can come
        self.start, self.stop = self._following.start, self._following.stop

    async def _read(self, lines: AsyncIterator[str]) -> None:
        ours = set[str]()
        async for line in lines:
            self.found = ended(line, self._table, self._flow, ours)
            self.has_seen = bool(ours)
            if self.found is not None:
                return


def table(name: str, flow: Flow) -> str:
    """The commands that make the table, for `nft -i`."""
    rule = f"{flow.expression()} limit rate 20/second meta nftrace set 1"
    lines = [f"add table inet {name} {{ flags owner; }}"]
    for hook in ("prerouting", "output"):
        lines.append(f"add chain inet {name} {hook} {{ type filter hook {hook} priority {_PRIORITY}; }}")
        lines.append(f"add rule inet {name} {hook} {rule}")
    return "\n".join(lines)


def ended(line: str, own: str, flow: Flow, ours: set[str]) -> Traced | None:
    """What ended a packet that this very table had traced: somebody else may trace others at the same time.

    `ours` are the numbers of such packets; those of which a line tells are added.
    """
    if (found := _LINE.match(line)) is None:
        return None
    if found["table"] == own:
        ours.add(found["id"])
    if found["id"] not in ours:
        return None
    verdict, text = None, ""
    if (rule := _RULE.fullmatch(found["rest"])) is not None:
        verdict, text = rule["verdict"], _COUNTER.sub("", rule["text"] or "")
    elif found["rest"].strip() == "policy drop":
        verdict = "policy"
    if verdict is None:
        return None
    return Traced(flow.host, flow.direction, found["family"], found["table"], found["chain"], verdict, text)


def flow_of(
    host: str, direction: Direction, probe: Probe, packet: Packet | None, echoes: tuple[int, ...]
) -> Flow:
    """A flow as its packets were seen on a host, or as they should leave it where none was."""
    if packet is None or packet.destination is None:
        return Flow(host, direction, probe, None, probe.destination, echoes)
    return Flow(host, direction, probe, packet.source, packet.destination, echoes)
