"""As whom packets leave the last gateway, and where rules send them."""

from __future__ import annotations

from dataclasses import replace

from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.filling import CODE as FULL
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.static.search import (
    FEW_PORTS,
    Search,
    address_of,
    one_address,
    requests_leaving,
)
from crossnet.diagnosis.translating import translating_rules
from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.netfilter.foreign import Field
from crossnet.reach.packets import address_field
from crossnet.reach.path import Walked
from crossnet.reach.rules import Effect
from crossnet.reach.tracking import why_full
from crossnet.values import (
    Address,
    Family,
    contains,
    family_of,
)


class OfTranslation(Search):
    """As whom packets leave the last gateway, and where rules send them."""

    def _translation(self, walked: Walked) -> None:
        """What rules make of the addresses: another destination, or a source that no answer comes back to."""
        family = family_of(self.probe.destination)
        for visit in walked.visits:
            for decision in visit.outcome.decisions:
                if decision.effect is not Effect.TRANSLATES or decision.place.hook not in (
                    "prerouting",
                    "output",
                ):
                    continue
                self._add(
                    Finding(
                        "dnat-captures",
                        visit.host,
                        visit.interface or None,
                        Direction.FORWARD,
                        decision.text,
                        not decision.doubts,
                        decision.place.hook,
                        decision.place,
                    )
                )
        if not self.course.gateways:
            return
        self._as_somebody_else(walked)
        last = self.course.gateways[-1]
        facts = self.mended.get(last.host)
        leaving = requests_leaving(walked, last.host)
        link = facts.link(last.egress) if facts is not None and last.egress else None
        back = {visit.host for visit in walked.back}
        if (
            facts is None
            or link is None
            or leaving is None
            or (self.course.target is not None and last.host in back)
        ):
            return
        self._few_ports(last, link, walked)
        space = walked.space
        (number,) = space.one(leaving.fixed, [address_field(Field.SOURCE6, family)]).values()
        source = address_of(number, family)
        near = self._near(last, link)
        if source == self.course.source:
            if any(item.address == source for item in link.addresses):
                return
            if near is None or not contains(near, source):
                self._untranslated(last, facts, link, walked)
        elif self._is_strange(source, facts):
            words = f"packets leave as {source}, which {last.host} does not have"
            self._wrong_source("snat-address-not-local", last, link, words, walked)
        elif near is not None and not contains(near, source):
            words = f"packets leave as {source}, which is not an address of {near}"
            self._wrong_source("snat-address-unsuitable", last, link, words, walked)

    def _is_strange(self, source: Address, mended: Facts) -> bool:
        """Whether a host does not have it: neither as it is, nor with what it was given or lost to look further."""
        return all(facts.owner_of(source) is None for facts in (mended, self.facts[mended.host]))

    def _as_somebody_else(self, walked: Walked) -> None:
        """A client whose own rules give its packets an address that it does not have."""
        client = self.course.client
        facts, leaving = self.mended.get(client.host), requests_leaving(walked, client.host)
        link = facts.link(client.egress) if facts is not None and client.egress else None
        if facts is None or link is None or leaving is None or self.course.source is None:
            return
        family = family_of(self.probe.destination)
        source = one_address(walked.space, leaving.fixed, Field.SOURCE6, family)
        if source is not None and self._is_strange(source, facts):
            words = f"packets leave as {source}, which {client.host} does not have"
            self._wrong_source("snat-address-not-local", client, link, words, walked)

    def _no_room(self, stop: Stop) -> None:
        """A full table of connections: what is not tracked passes, and what would be translated has to be tracked."""
        full = why_full(self.facts[stop.host].sysctls)
        if full and not any(each.code == FULL and each.host == stop.host for _, each in self.found):
            self._add(
                Finding(
                    FULL, stop.host, stop.ingress, Direction.FORWARD, full, certain=False, hook="conntrack"
                )
            )

    def _few_ports(self, stop: Stop, link: Link, walked: Walked) -> None:
        """A translation to so few ports that others may have taken all of them."""
        taken = {
            each.text
            for visit in walked.visits
            if visit.host == stop.host
            for each in visit.outcome.decisions
            if each.effect is Effect.TRANSLATES and each.place.hook == "postrouting"
        }
        for rule in translating_rules(self.mended[stop.host]):
            ports = rule.action.ports
            if rule.text in taken and ports is not None:
                number = sum(last - first + 1 for first, last in ports.ranges)
                if number <= FEW_PORTS:
                    words = f"{rule.text} has {number} port{'' if number == 1 else 's'} for all"
                    remedy = self._own(stop, link)
                    self._add(
                        Finding(
                            "snat-ports-exhausted",
                            stop.host,
                            link.name,
                            Direction.FORWARD,
                            words,
                            False,
                            "postrouting",
                            remedy=remedy,
                        )
                    )

    def _wrong_source(self, code: str, stop: Stop, link: Link, words: str, walked: Walked) -> None:
        of = [
            each.place.tool
            for visit in walked.visits
            if visit.host == stop.host
            for each in visit.outcome.decisions
            if each.effect is Effect.TRANSLATES and each.place.hook == "postrouting"
        ]
        self._add(
            Finding(
                code,
                stop.host,
                link.name,
                Direction.REPLY,
                words,
                hook="postrouting",
                remedy=replace(self._own(stop, link), ahead_of=of[0] if of else None),
            )
        )

    def _own(self, stop: Stop, link: Link) -> Remedy:
        near, own = self._near(stop, link), link.of(family_of(self.probe.destination))
        suitable = [item.address for item in own if near is None or contains(near, item.address)]
        address = next((each for each in (*suitable, *(item.address for item in own))), None)
        if stop == self.course.client:
            address = self.course.source
        return Remedy(device=link.name, address=address, destination=self._network())

    def _untranslated(self, stop: Stop, facts: Facts, link: Link, walked: Walked) -> None:
        untracked = [
            each
            for visit in walked.visits
            if visit.host == stop.host
            for each in visit.outcome.decisions
            if each.effect is Effect.NOT_TRACKED
        ]
        remedy = self._own(stop, link)
        self._no_room(stop)
        if untracked:
            words = f"a rule keeps it from connection tracking: {untracked[0].text}"
            chain, certain = untracked[0].place, not untracked[0].doubts
            self._add(
                Finding(
                    "snat-skipped",
                    stop.host,
                    link.name,
                    Direction.REPLY,
                    words,
                    certain,
                    "postrouting",
                    chain,
                    remedy,
                )
            )
            return
        here = requests_leaving(walked, stop.host)
        assert here is not None, "it leaves as somebody"
        family = family_of(self.probe.destination)
        for rule in translating_rules(self.mended[stop.host]):
            if rule.table.family not in ("inet", "ip" if family is Family.V4 else "ip6"):
                continue
            why = rule.skipped(self.mended[stop.host], walked.space, here, stop.ingress)
            if why is not None:
                words = f"{rule.text} does not take it: {why}"
                self._add(
                    Finding(
                        "snat-skipped",
                        stop.host,
                        link.name,
                        Direction.REPLY,
                        words,
                        False,  # the destination may have a way back
                        "postrouting",
                        remedy=remedy,
                    )
                )
                return
        words = f"it leaves {link.name} as {self.course.source}, and {self.probe.destination} may have no way back"
        self._add(
            Finding(
                "snat-missing",
                stop.host,
                link.name,
                Direction.REPLY,
                words,
                False,
                "postrouting",
                remedy=remedy,
            )
        )
