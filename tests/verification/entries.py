"""What a gateway knows of one flow of tcp/10.0.44.1:443: its connection tracking, and where it sends it."""

from __future__ import annotations

from crossnet.facts.lookups import Answered
from crossnet.facts.neighbours import Neighbour
from crossnet.facts.routes import Route
from crossnet.values import address, network
from crossnet.verification.conntrack import Entry, parse_entries
from crossnet.verification.onward import Onward

_LINE = (
    "tcp      6 119 {state} src=10.0.43.15 dst=10.0.44.1 sport=40000 dport=443 {unreplied}"
    "src=10.0.44.1 dst={source} sport=443 dport=40000 mark=0 use=1"
)


def entry(source: str = "10.0.44.63", *, replied: bool = False) -> tuple[Entry, ...]:
    """The flow as it leaves with that source."""
    state, unreplied = ("SYN_RECV", "") if replied else ("SYN_SENT", "[UNREPLIED] ")
    found = parse_entries(_LINE.format(state=state, unreplied=unreplied, source=source))
    assert found is not None
    return tuple(found[address("10.0.43.15"), address("10.0.44.1")])


# It has passed all rules, and got no answer.
LEFT = entry()


def towards(state: str = "REACHABLE", *, via: str | None = None, sent: int | None = 3) -> Onward:
    """Where the gateway sends it, and what became of asking for the neighbour there."""
    hop = address(via) if via else None
    route = Route(network("10.0.44.1/32"), hop, "eth0")
    hardware = "02:00:00:00:00:01" if state == "REACHABLE" else ""
    return Onward(Answered(route), Neighbour(hop or address("10.0.44.1"), "eth0", state, hardware), sent)
