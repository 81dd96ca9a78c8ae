"""Where a host's kernel sends the packets of a flow that got no answer, and who is asked for there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from crossnet.facts import Lookup
from crossnet.facts.lookups import Answered, question
from crossnet.facts.neighbours import NEIGHBOURS, Neighbour
from crossnet.facts.question import Question, put
from crossnet.transport import Host
from crossnet.values import Address

# Address resolution gives up after about 3 s (measured), and a probe is waited for longer: what is still being asked
# for after that is asked for again, by the last packet.
_UNRESOLVED = frozenset(("FAILED", "INCOMPLETE"))


@dataclass(frozen=True, slots=True)
class Onward:
    """What `ip route get` says of a flow's packets on one host, and its neighbour there; None where nobody can say.

    `sent` are the packets that the interface there sent in the time in which the probes were sent.
    """

    answered: Answered | None
    neighbour: Neighbour | None = None
    sent: int | None = None

    @property
    def device(self) -> str:
        return (self.answered.route.device or "") if self.answered and self.answered.route else ""

    @property
    def router(self) -> Address | None:
        return self.answered.route.via if self.answered and self.answered.route else None

    @property
    def unresolved(self) -> Address | None:
        """The neighbour that was asked for and did not answer."""
        known = self.neighbour
        return known.address if known and known.state in _UNRESOLVED else None


async def look(host: Host, lookups: Iterable[Lookup]) -> dict[Lookup, Onward]:
    """Ask the host of all these packets in one round trip."""
    asked = {lookup: question(lookup) for lookup in lookups}
    said = await put(host, [*asked.values(), NEIGHBOURS])
    known = {(each.address, each.device): each for each in said[NEIGHBOURS]}
    found: dict[Lookup, Onward] = {}
    for lookup, one in asked.items():
        onward = Onward(said[one])
        next_hop = onward.router or lookup.destination
        found[lookup] = Onward(said[one], known.get((next_hop, onward.device)))
    return found


# ---- what interfaces sent --------------------------------------------------------------------------


def parse_sent(answer: str) -> Mapping[str, int]:
    """Packets sent by interface, of /proc/net/dev: the tenth number behind the name (net/core/net-procfs.c)."""
    found: dict[str, int] = {}
    for line in answer.splitlines():
        name, colon, rest = line.rpartition(":")
        numbers = rest.split()
        if colon and len(numbers) >= 10 and numbers[9].isdecimal() and len(numbers[9]) <= 20:
            found[name.strip()] = int(numbers[9])
    return found


# Where there is no /proc nothing is known of it.
SENT: Question[Mapping[str, int]] = Question(
    "read the counters of its interfaces",
    ("sh", "-c", "cat /proc/net/dev 2>/dev/null || :"),
    parse_sent,
)
