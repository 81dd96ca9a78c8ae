"""What a gateway's connection tracking knows of one flow of tcp/10.0.44.1:443, as conntrack(8) prints it."""

from __future__ import annotations

from crossnet.values import address
from crossnet.verification.conntrack import Entry, parse_entries

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
