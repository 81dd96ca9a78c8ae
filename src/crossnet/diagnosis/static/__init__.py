"""What stops a flow as facts alone tell it: everything, in the order in which a packet meets it.

Where a host leads packets another way than they should go, that is found, and the search goes on as if it were
mended; rules, settings and links are walked by `reach`, which goes on behind each by itself. Ports of a cloud let
packets through as they leave hosts when all of that is mended.
"""

from __future__ import annotations

from collections.abc import Mapping

from crossnet.diagnosis.course import Course
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.mended import without_rule
from crossnet.diagnosis.signs import OF_OTHERS, STRANGERS
from crossnet.diagnosis.static.links import OfLinks
from crossnet.diagnosis.static.neighbours import OfNeighbours
from crossnet.diagnosis.static.ports import OfPorts
from crossnet.diagnosis.static.rules import OfRules
from crossnet.diagnosis.static.search import EVERYBODY
from crossnet.diagnosis.static.ways import OfWays
from crossnet.facts import Facts
from crossnet.reach.path import reached
from crossnet.values import Network, Probe


def foretell(
    course: Course,
    probe: Probe,
    facts: Mapping[str, Facts],
    beyond: tuple[Network, ...] = (),
    length: int | None = None,
) -> Foretold:
    """Everything that would have to change for the flow to pass, over the hosts whose facts are known.

    `length` is that of its IP packets in bytes, where they are not small ones.
    """
    return _Whole(course, probe, facts, beyond, length).result()


class _Whole(OfLinks, OfWays, OfNeighbours, OfRules, OfPorts):
    """All parts of the search, in their order."""

    def result(self) -> Foretold:
        passes = self._as_it_is()
        self._destination()
        for number, stop in enumerate(self.course.stops):
            if stop.host not in self.facts:
                continue
            self._links(number, stop)
            self._addresses(number, stop)
            self._way_out(number, stop)
            self._neighbours(number, stop)
        if self.course.target is not None:
            self._target(self.course.target)
            if self.course.target.host in self.facts:
                self._neighbours(len(self.course.stops), self.course.target)
        self._time_to_live()
        self._whole_way()
        self._behind_captures()
        if self.course.target is not None:
            self._back_from(self.course.target)
        self._ports()
        found = self._causes([each for _, each in sorted(self.found, key=lambda item: item[0])])
        if passes and any(each.certain for each in found):
            passes = False
        return Foretold(tuple(dict.fromkeys(found)), self.source, passes, tuple(dict.fromkeys(self.others)))

    def _causes(self, found: list[Finding]) -> list[Finding]:
        """Without what is an effect: a target gives up on a neighbour that it is to answer and that nobody is."""
        target = self.course.target
        if target is None or all(each.code not in STRANGERS for each in found):
            return found
        return [each for each in found if each.host != target.host or each.code not in OF_OTHERS]

    def _behind_captures(self) -> None:
        """What would stop packets that rules do not give another destination any more."""
        captured = [each for _, each in self.found if each.code == "dnat-captures"]
        for each in captured:
            assert each.chain is not None, "a rule stands in a chain"
            self.mended[each.host] = without_rule(self.mended[each.host], each.chain, each.text)
        hosts = {each.host for each in captured}
        for number, stop in enumerate(self.course.stops):
            if stop.host in hosts:
                self._way_out(number, stop)
        if captured:
            self._whole_way()

    def _as_it_is(self) -> bool | None:
        if any(stop.host not in self.facts for stop in self.course.stops):
            return None
        walked = self._walked(self.facts)
        passes = reached(walked).passes
        client = self.course.client.host
        if (
            passes
            and self.course.target is not None
            and not any(end.host == client for end in walked.back_ends)
        ):
            return None  # the answers leave for somebody who is not known
        return passes

    def _destination(self) -> None:
        """An address that is no host's: of a group, of everybody, or of the network itself."""
        wanted = self.probe.destination
        client, last = self.course.client, self.course.stops[-1]
        if wanted.is_multicast or wanted == EVERYBODY:
            words = (
                f"{wanted} is the address of {'a group' if wanted.is_multicast else 'everybody on a network'}"
            )
            self._add(
                Finding(
                    "destination-is-broadcast",
                    client.host,
                    client.egress,
                    Direction.FORWARD,
                    words,
                    hook="output",
                )
            )
            return
        facts = self.facts.get(last.host)
        link = facts.link(last.egress) if facts is not None and last.egress else None
        near = link.on_link(wanted) if link is not None else None
        if near is not None and near.prefix < 31 and wanted == near.network.network_address:
            # Kernels since 5.14 ask for it like for any other (fib_add_ifaddr).
            words = f"{wanted} is the address of the network {near.network} itself"
            self._add(
                Finding(
                    "destination-is-broadcast",
                    last.host,
                    last.egress,
                    Direction.FORWARD,
                    words,
                    False,
                    "egress",
                )
            )
