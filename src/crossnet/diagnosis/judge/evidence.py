"""Everything that is known of one flow when it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossnet.diagnosis.counted import Counted
from crossnet.diagnosis.counters import Moved
from crossnet.diagnosis.course import Course
from crossnet.diagnosis.drop_events import Dropped
from crossnet.diagnosis.drops import Untold
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.segments import Asked
from crossnet.diagnosis.tracing import Traced
from crossnet.diagnosis.trail import Part, Trail
from crossnet.facts import Answered, Facts, Lookup
from crossnet.values import Probe
from crossnet.verification.conntrack import Entry
from crossnet.verification.probe import Sent


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known of one flow.

    `small` are what became of the probes that were asked for, `full` of those of other sizes with their bytes of
    data, of which the largest was sent three times where it was lost; `beside` of those of another protocol.
    `failed` says of a host why nobody watched there, `unread` why nothing is known of it. `moved` are counters of
    hosts that rose meanwhile. `interrupted` says that somebody did not wait for what would still have come.
    `tracked` are the entries of connection tracking that the probes made on each gateway, `stale` those of earlier
    flows of the client that are not translated as new ones are. `lost` is how many packets a host's kernel could
    not keep for us, `unaligned` names the hosts whose clock could not be compared, `lookups` is where each host's
    kernel says that it sends the packets. `unheard` is whether the client did not take what came to it of the
    path's MTU, `traced` what a host's firewall itself says of the end of the packets, `asked` what neighbours on
    the way have seen of each other, `of_large` what facts say of full-sized ones, where those were lost. `dropped`
    is what a host's kernel says of the end of the echoes, `untold` why one cannot be asked. Where nobody watched
    packets, `counted` is how far it came by what a gateway has counted and remembers, and `lines` are the words for
    that.
    """

    crossing: str | None
    course: Course
    probe: Probe
    facts: Mapping[str, Facts]
    foretold: Foretold
    trail: Trail
    small: tuple[Sent, ...]
    full: Mapping[int, Sent] = field(default_factory=dict)
    beside: tuple[Sent, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    moved: Mapping[str, tuple[Moved, ...]] = field(default_factory=dict)
    interrupted: bool = False
    tracked: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    stale: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    unaligned: tuple[str, ...] = ()
    lookups: Mapping[str, Mapping[Lookup, Answered | None]] = field(default_factory=dict)
    unheard: bool = False
    traced: Traced | None = None
    asked: Asked | None = None
    of_large: Foretold | None = None
    dropped: Dropped | None = None
    untold: Untold | None = None
    counted: Counted | None = None
    lines: tuple[str, ...] = ()

    def own_tracked(self) -> Mapping[str, tuple[Entry, ...]]:
        """Those of the tracked entries whose source the flow has: others may ask the same destination meanwhile.

        A gateway that translates gives it another source for the next one.
        """
        client = self.course.client.host
        sources = {
            self.course.source,
            *(each.packet.source for each in self.trail.left(client, Part.REQUEST)),
        }
        if not self.trail.watched(client) and client in self.facts:
            sources |= {each.address for link in self.facts[client].links for each in link.addresses}
        own: dict[str, tuple[Entry, ...]] = {}
        for stop in self.course.gateways:
            # What leaves it may have its own address, and so has what it sends itself.
            here = sources | {each.packet.source for each in self.trail.came(stop.host, Part.REQUEST)}
            known = here - {None}
            entries = self.tracked.get(stop.host, ())
            own[stop.host] = tuple(entry for entry in entries if not known or entry.source in known)
            sources = here | {entry.reply_to for entry in own[stop.host]}
            sources |= {each.packet.source for each in self.trail.left(stop.host, Part.REQUEST)}
        return own
