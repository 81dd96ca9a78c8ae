"""Requests that stop: not sent, not resolved, lost between two hosts, stopped on one, or silent behind the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crossnet.capture import Packet
from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.ending import End, Ending
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.judge.telling import Telling
from crossnet.diagnosis.signs import (
    AT_PORTS,
    BEHIND_RULES,
    KEEPS_FROM_ANSWERING,
    LEADS_ELSEWHERE,
    OF_OTHERS,
    OFF,
    REFUSES,
    REWRITES,
    STRANGERS,
    UNSUITABLE,
)
from crossnet.diagnosis.trail import Part, Trail
from crossnet.values import Family, Protocol, family_of
from crossnet.verdict import Between, Confidence, Diagnosis, Half, Place, Result
from crossnet.verification.probe import Reply


class Stopping(Telling):
    """What is said where requests end, by the place where they were last seen."""

    def _by_end(self, end: End) -> Diagnosis:
        match end.ending:
            case Ending.LOST | Ending.ARRIVED if end.stop and self._kept_by_bridge(
                end.stop.host, Part.REQUEST
            ):
                said = f"it came to {end.interface} of {end.stop.host}, and left by none of its ports"
                return self._stopped(replace(end, ending=Ending.STOPPED, said=said))
            case Ending.UNSEEN:
                return self._nobody_watched()
            case Ending.NOT_SENT:
                return self._not_sent(end)
            case Ending.UNRESOLVED:
                return self._unresolved(end)
            case Ending.LOST:
                return self._lost(end)
            case Ending.STOPPED:
                return self._stopped(end)
            case Ending.VANISHED:
                return self._not_let_pass(end)
            case Ending.ARRIVED:
                return self._left(end)

    def _nobody_watched(self) -> Diagnosis:
        sure = [each for each in self.e.foretold.findings if each.certain]
        if sure:
            return self._with_cause(sure[0], Ending.UNSEEN)
        unsure = list(self.e.foretold.findings)
        said = next((each.detail for each in self.e.small if each.detail), "no answer")
        if unsure:
            return self._one_of(self._with_cause(unsure[0], Ending.UNSEEN), unsure)
        counted = self._counted()
        if counted is not None:
            return self._with_cause(counted, Ending.UNSEEN, said)
        end = self.forward_end
        seen = end.stop is not None and end.ending is Ending.ARRIVED
        last = self.course.gateways[-1] if self.course.gateways else self.course.client
        client = self.course.client
        if not any(map(self.trail.watched, (each.host for each in self.course.stops))):
            last = client  # nobody has seen whether it came any further
        begin = Place(end.stop.host, end.interface) if seen and end.stop else Place(last.host, last.egress)
        words = f"it left {begin}, and no answer came back" if seen else said
        candidates: tuple[str, ...]
        candidates = ("destination-silent", "lost-between", "filter-rule-drop", "no-return-route")
        if any(gateway.host not in self.e.facts for gateway in self.course.gateways):
            # What a gateway can do wrong, of which nothing is known.
            candidates = (
                "lost-between",
                "ip-forward-disabled",
                "filter-rule-drop",
                "snat-missing",
                *candidates,
            )
        half = Half(
            "undetermined",
            candidates[0],
            f"{words}; nobody could watch how far it came",
            Between(begin, Place(str(self.probe.destination))),
            Confidence.CANDIDATES,
            tuple(dict.fromkeys(candidates)),
            (said,),
        )
        return self._diagnosis(Result.UNREACHABLE, half, Half("undetermined"))

    def _one_of(self, told: Diagnosis, unsure: Sequence[Finding]) -> Diagnosis:
        """The verdict where each of these perhaps stops it, and nobody has seen how far it came."""
        codes = tuple(dict.fromkeys((*(each.code for each in unsure), "destination-silent", "lost-between")))

        def doubted(half: Half) -> Half:
            if half.code is None:
                return half
            return replace(half, confidence=Confidence.CANDIDATES, candidates=codes)

        return replace(told, forward=doubted(told.forward), reply=doubted(told.reply))

    def _counted(self) -> Finding | None:
        """What a counter of a gateway tells, of which nothing else is known."""
        unknown = (stop for stop in self.course.gateways if stop.host not in self.e.facts)
        return next((found for stop in unknown if (found := self._counted_at(stop, None)) is not None), None)

    def _not_sent(self, end: End) -> Diagnosis:
        client = self.course.client
        told = next((each.detail for each in self.e.small if each.detail), "")
        said = end.said or told
        found = [
            each
            for each in self._of(Direction.FORWARD, client.host)
            if each.code not in ("wrong-destination-mac", "duplicate-address")
        ]
        traced = self._traced(client, Direction.FORWARD)
        if traced is not None:
            return self._with_cause(traced, end.ending, said)
        if found and found[0].code == "next-hop-unresolved" and self._passes_over(client):
            return self._asked_before(client, self._without_its_router(client))
        if found:
            return self._with_cause(found[0], end.ending, said)
        errors = [each.packet for each in self.trail.errors() if each.host == client.host]
        if errors and self._named_by(errors[0]) == "destination-absent":
            return self._asked_before(client, str(errors[0]))
        if "Host Unreachable" in said or "No route to host" in said:
            return self._asked_before(client)
        if "too long" in said:
            words = f"{client.host} sends no packets of that size: it knows that they do not fit on this path"
            half = Half(
                "not-sent", "mtu-exceeded", words, Place(client.host, client.egress), Confidence.INFERRED
            )
            return self._diagnosis(Result.UNREACHABLE, replace(half, evidence=(said,)), Half("not-sent"))
        code = "src-no-route" if "nreachable" in said else "src-output-filtered"
        cause = self._finding(code, client, client.egress)
        return self._with_cause(
            replace(cause, text=told or "nothing left it"),
            end.ending,
            said,
            inferred=True,
            # Who sends echoes is told of a filter, and not of a queue; one that hangs tells nothing at all.
            candidates=() if told else (code, "tc-or-xdp-drop"),
        )

    def _asked_before(self, stop: Stop, said: str = "") -> Diagnosis:
        """Its kernel has asked for its neighbour before, and does not ask again at once."""
        wanted = stop.next_hop or self.probe.destination
        number = self.course.position(stop.host) + 1
        following = self.course.all[number] if number < len(self.course.all) else None
        return self._unresolved(End(Ending.UNRESOLVED, stop, stop.egress, following, wanted, said=said))

    def _waits_for_neighbour(self, stop: Stop) -> bool:
        """Whether it has passed all rules of a host that gets no answer from its next hop.

        A kernel asks once a second (retrans_time_ms, arp(7)): while one question is open another may not be seen. What
        it tracks has passed all rules (nf_conntrack_confirm).
        """
        wanted = stop.next_hop or self.probe.destination
        facts = self.e.facts.get(stop.host)
        if facts is None or not self.e.tracked.get(stop.host):
            return False
        known = any(
            (each.address, each.device) == (wanted, stop.egress) and each.state in ("INCOMPLETE", "FAILED")
            for each in facts.neighbours
        )
        return known or any(wanted in trail.asks(stop.host) for trail in self._of_echoes(stop))

    def _of_echoes(self, stop: Stop) -> list[Trail]:
        """What was seen of the echoes that a host itself sent to its neighbours."""
        asked = self.e.asked
        if asked is None:
            return []
        return [
            echo.trail(self.course, asked.sightings, self.trail.points)
            for echo in asked.echoes
            if echo.sender == stop
        ]

    def _passes_over(self, stop: Stop) -> bool:
        """Whether it has a router of IPv6 that did not answer, and takes another way, or none, until that does."""
        facts = self.e.facts.get(stop.host)
        if facts is None or stop.next_hop is None or family_of(stop.next_hop) is not Family.V6:
            return False
        failed = any(
            (each.address, each.device, each.state) == (stop.next_hop, stop.egress, "FAILED")
            for each in facts.neighbours
        )
        return failed or any(stop.next_hop in trail.asks(stop.host) for trail in self._of_echoes(stop))

    def _without_its_router(self, stop: Stop) -> str:
        return f"{stop.next_hop} does not answer on {stop.egress}, and so {stop.host} passes over its route"

    def _unresolved(self, end: End) -> Diagnosis:
        """Somebody asked for a neighbour, and nobody answered."""
        stop, wanted = end.stop, end.asked
        assert stop is not None
        assert wanted is not None
        said = end.said or f"{stop.host} asked for {wanted} on {end.interface}, and nobody answered"
        if wanted not in (stop.next_hop, self.probe.destination):
            # It asks for others too, whatever becomes of these packets.
            sure = [each for each in self._of(Direction.FORWARD, stop.host) if each.certain]
            if sure:
                told = next((each.detail for each in self.e.small if each.detail), "")
                about_these = f" via {wanted} " in f" {sure[0].text} "
                return self._with_cause(sure[0], Ending.NOT_SENT, said if about_these else told)
            if self._passes_over(stop):
                return self._asked_before(stop, self._without_its_router(stop))
        rewritten = self._of(Direction.FORWARD, stop.host, REWRITES)
        if rewritten:
            return self._with_cause(rewritten[0], end.ending, said)
        own = self._of(Direction.FORWARD, stop.host, LEADS_ELSEWHERE)
        if own:
            return self._with_cause(own[0], end.ending, said)
        down = self._by_a_port(Direction.FORWARD, end, said, "destination-absent", "link-down", codes=OFF)
        if down is not None and down.forward.confidence is Confidence.PROVED:
            return down
        if stop == self.course.stops[-1]:
            # As whom a host sends it asks its neighbours too (arp_solicit): not everybody answers a stranger.
            odd = self._of(Direction.REPLY, stop.host, STRANGERS)
            odd += self._of(Direction.FORWARD, stop.host, frozenset(("destination-is-broadcast",)))
            if odd:
                return self._with_cause(
                    odd[0], end.ending, said, inferred=True, candidates=(odd[0].code, "destination-absent")
                )
        following = end.following
        if following is not None and following.host in self.e.facts:
            near = [
                each
                for each in self._of(Direction.FORWARD, following.host)
                if each.code in KEEPS_FROM_ANSWERING
            ]
            if near:
                return self._with_cause(near[0], end.ending, said)
            watched = self.trail.watched(following.host)
            trails = [self.trail]
            if self.trail.watched(stop.host) and wanted not in self.trail.asks(stop.host):
                trails += self._of_echoes(stop)  # a kernel that has given up asks for these packets no more
            came = watched and any(trail.was_asked(following.host, wanted) for trail in trails)
            went = len(trails) == 1 or any(wanted in trail.asks(stop.host) for trail in trails)
            owns = self.e.facts[following.host].owner_of(wanted) is not None
            astray = self._of(
                Direction.REPLY, following.host, frozenset(("wrong-destination-mac", "duplicate-address"))
            )
            if came and owns and astray and family_of(wanted) is Family.V6:
                # An advertisement goes to the asker's address, by what is known of that; an ARP answer does not.
                return self._with_cause(astray[0], end.ending, said)
            if came and owns and len(trails) > 1:
                words = f"{stop.host} asked for {wanted} on {stop.egress}, and nobody answered"
                said = f"{words}, though the question came to {following.host}"
            if came and owns:
                cause = self._finding("arp-not-answered", following, following.ingress, said)
                return self._with_cause(cause, end.ending, said, inferred=True)
            if watched and went and owns and down is None:
                return self._between(
                    stop,
                    following,
                    end.interface,
                    Direction.FORWARD,
                    f"{said}; the question did not come to {following.host}",
                )
        own = self._of(Direction.FORWARD, stop.host, frozenset(("wrong-destination-mac",)))
        if own:
            return self._with_cause(own[0], end.ending, said)
        behind = self._of(Direction.FORWARD, stop.host, BEHIND_RULES) if end.past_rules else []
        if behind:
            return self._with_cause(
                behind[0], end.ending, said, candidates=(behind[0].code, "destination-absent")
            )
        if down is not None:
            return down
        at = Between(Place(stop.host, end.interface), Place(str(wanted)))
        if stop == self.course.stops[-1] and wanted == self.probe.destination:
            candidates = (
                "destination-absent",
                "link-down",
                "lost-between",
                "arp-not-answered",
                "address-missing",
            )
            return self._elsewhere("destination-absent", at, said, candidates, "lost-between", stop)
        return self._elsewhere(
            "next-hop-unresolved",
            at,
            said,
            ("next-hop-unresolved", "lost-between", "link-down"),
            "lost-between",
            stop,
        )

    def _lost(self, end: End) -> Diagnosis:
        """It left one host and did not come to the next."""
        stop, following = end.stop, end.following
        assert stop is not None
        assert following is not None
        said = f"it left {stop.host} by {end.interface}, and did not come to {following.host}"
        if following == self.course.target:
            seen_as = [
                *self._of(Direction.FORWARD, stop.host, REWRITES),
                *self._of(Direction.REPLY, stop.host, UNSUITABLE),
            ]
            if seen_as:
                return self._with_cause(seen_as[0], end.ending, said)
        own = self._of(Direction.FORWARD, stop.host, LEADS_ELSEWHERE)
        if own:
            return self._with_cause(own[0], end.ending, said)
        elsewhere = self._of(Direction.FORWARD, following.host, frozenset(("next-hop-elsewhere",)))
        if elsewhere:
            return self._with_cause(elsewhere[0], end.ending, said)
        for_others = self.trail.for_others(following.host, Part.REQUEST)
        wrong = self._of(
            Direction.FORWARD, stop.host, frozenset(("wrong-destination-mac", "duplicate-address"))
        )
        if wrong:
            return self._with_cause(wrong[0], end.ending, said)
        wanted = stop.next_hop or self.probe.destination
        told = self.trail.told(stop.host, wanted)
        facts = self.e.facts.get(following.host)
        own_macs = {link.hardware for link in facts.links if link.hardware} if facts is not None else set()
        if len(told) > 1 or (told and own_macs and told[0] not in own_macs):
            words = f"{wanted} is at {' and at '.join(told)}"
            if own_macs:
                words += f"; {following.host} has {' and '.join(sorted(own_macs))}"
            cause = self._finding("duplicate-address", stop, end.interface, words)
            return self._with_cause(cause, end.ending, said)
        known = {
            item.address for each in self.e.facts.values() for link in each.links for item in link.addresses
        }
        strange = [each for each in self.trail.came(stop.host, Part.ERROR) if each.packet.source not in known]
        if strange:
            return self._error_from_beyond(strange[0].packet, stop, end, said)
        if for_others:
            return self._with_cause(
                self._misaddressed(stop, end.interface, Direction.FORWARD, wanted), end.ending, said
            )
        stopped = self._by_a_port(Direction.FORWARD, end, said, "lost-between")
        near = [
            each
            for each in self._of(Direction.FORWARD, following.host)
            if each.code in ("link-down", "address-missing") or "XDP" in each.text
        ]
        if near and (near[0].certain or stopped is None):
            candidates = () if near[0].certain else (near[0].code, "lost-between")
            return self._with_cause(near[0], end.ending, said, candidates=candidates)
        if stopped is not None:
            return stopped
        return self._between(stop, following, end.interface, Direction.FORWARD, said)

    def _stopped(self, end: End) -> Diagnosis:
        """It came to a host and did not leave it."""
        stop = end.stop
        assert stop is not None
        said = end.said or f"it came to {stop.host} by {end.interface}, and did not leave"
        found = [
            each
            for each in self._of(Direction.FORWARD, stop.host)
            if each.code not in ("arp-not-answered", "wrong-destination-mac", "duplicate-address")
            and "XDP" not in each.text
            and (each.code in BEHIND_RULES or not end.past_rules)
        ]
        if self._refused:
            found = [each for each in found if each.code in REFUSES] or found
        errors = [each for each in self.trail.errors() if each.host == stop.host]
        traced = self._traced(stop, Direction.FORWARD)
        if traced is not None:
            return self._with_cause(traced, end.ending, said)
        if found:
            # What surely stops it counts before what perhaps does.
            cause = next((each for each in found if each.certain), found[0])
            return self._with_cause(cause, end.ending, said, error=errors[0].packet if errors else None)
        if errors and self._named_by(errors[0].packet) == "destination-absent":
            return self._asked_before(stop, str(errors[0].packet))
        if not errors and self._waits_for_neighbour(stop):
            return self._asked_before(stop)
        if errors:
            cause = self._of_error(errors[0].packet, stop, end)
            return self._with_cause(cause, end.ending, said, inferred=True, error=errors[0].packet)
        if (counted := self._counted_at(stop, end.interface)) is not None:
            return self._with_cause(counted, end.ending, said, inferred=True)
        candidates: tuple[str, ...] = ("filter-rule-drop", "tc-or-xdp-drop", "reverse-path-filter")
        if end.said:  # the crossing's rule has let it pass
            candidates = ("stopped-on-gateway", *candidates[:2])
        queue = self._queue(stop, stop.egress, Direction.FORWARD)
        if queue is not None:
            return self._with_cause(queue, end.ending, said, candidates=(queue.code, *candidates[::2]))
        here = Place(stop.host, end.interface)
        if (hole := self._smaller_pass(here, Direction.FORWARD, said)) is not None:
            return hole
        half = Half(
            "rejected" if self._refused else "dropped",
            candidates[0],
            f"{said}; nothing that is known of {stop.host} explains it",
            here,
            Confidence.CANDIDATES,
            candidates,
            self._evidence_of(end, Direction.FORWARD),
        )
        self._disagree(said)
        return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"), self._also(()))

    def _not_let_pass(self, end: End) -> Diagnosis:
        """A host sent it, and the crossing's rule on the next one has not let it pass."""
        stop, following = end.stop, end.following
        assert stop is not None
        assert following is not None
        found = self._on_either_of(Direction.FORWARD, stop, following)
        if self._refused:
            found = [each for each in found if each.code in REFUSES] or found
        by = f" by {following.ingress}" if following.ingress else ""
        half = Half(
            "rejected" if self._refused else "undetermined",
            "lost-between",
            f"{end.said}: it did not arrive{by}, or was stopped before the crossing's rule",
            Between(Place(stop.host, end.interface), Place(following.host, following.ingress)),
            Confidence.CANDIDATES,
            (
                *("lost-between", "filter-rule-drop", "reverse-path-filter"),
                *self._filters(stop, following, Direction.FORWARD),
            ),
        )
        return self._on_either(end, found, half)

    def _left(self, end: End) -> Diagnosis:
        """It left the last host that can be asked, or came to the target, and nothing came back."""
        stop = end.stop
        assert stop is not None
        if self.course.target is not None and stop == self.course.target:
            return self._at_target(stop, end)
        astray = [
            each
            for each in self._of(Direction.FORWARD, stop.host, LEADS_ELSEWHERE)
            if stop.egress is None or end.interface != stop.egress or each.certain
        ]
        if astray:
            said = end.said or f"it leaves {stop.host} by {end.interface}"
            return self._with_cause(astray[0], end.ending, said)
        if self.course.target is not None and self.trail.watched(self.course.target.host):
            return self._lost(End(Ending.LOST, stop, end.interface, self.course.target))
        rewritten = self._of(Direction.FORWARD, stop.host, REWRITES)
        if rewritten:
            return self._with_cause(
                rewritten[0], end.ending, f"it left {stop.host} by {end.interface} for another host"
            )
        left = self.trail.left(stop.host, Part.REQUEST)
        as_whom = (
            f" as {left[-1].packet.source}" if left and left[-1].packet.source != self.course.source else ""
        )
        said = end.said or f"it left {stop.host} by {end.interface}{as_whom}, and no answer came back"
        errors = self.trail.came(stop.host, Part.ERROR)
        if errors:
            return self._error_from_beyond(errors[0].packet, stop, end, said)
        translated = [
            each
            for each in self._of(Direction.REPLY, stop.host)
            if each.code.startswith("snat-") or each.code == "address-missing"
            # As whom it left is known, where connection tracking tells.
            if each.code in STRANGERS or not end.said
        ]
        silent = ("destination-silent", "lost-between")
        stopped = self._by_a_port(Direction.FORWARD, end, said, *silent, following=self.course.target)
        if stopped is not None and stopped.forward.confidence is Confidence.PROVED:
            return stopped
        if translated:
            return self._with_cause(translated[0], end.ending, said)
        bogus = self._of(
            Direction.FORWARD, stop.host, frozenset(("wrong-destination-mac", "duplicate-address"))
        )
        if bogus:
            return self._with_cause(bogus[0], end.ending, said)
        round_about = self._of(Direction.FORWARD, stop.host, frozenset(("gateway-route-elsewhere",)))
        if round_about:
            candidates = (round_about[0].code, "destination-silent")
            return self._with_cause(round_about[0], end.ending, said, candidates=candidates)
        at = Between(Place(stop.host, end.interface), Place(str(self.probe.destination)))
        if stop == self.course.client and self.course.gateways:
            return self._nobody_watched()
        if stopped is not None:
            return stopped
        shut = self._answer_shut_out(end, said, *silent)
        if shut is not None:
            return shut
        other = [each for each in self.e.beside if each.reply in (Reply.ANSWERED, Reply.REFUSED)]
        before_capture = [
            each
            for each in self._of(Direction.REPLY, stop.host)
            if "XDP" in each.text and each.interface == end.interface
        ]
        if before_capture and not other:
            perhaps = (before_capture[0].code, "destination-silent", "filter-rule-drop", "lost-between")
            doubts = () if before_capture[0].certain else perhaps
            return self._with_cause(before_capture[0], end.ending, said, candidates=doubts)
        if (hole := self._smaller_pass(at, Direction.FORWARD, said)) is not None:
            return hole
        if other and self.probe.protocol is Protocol.ICMP:
            said += f"; {other[0].probe} is answered"
            likely = ("echo-ignored", "filter-rule-drop")
            return self._elsewhere("echo-ignored", at, said, likely, "exits-observed-area", stop, reply=True)
        echo = ("echo-ignored",) if self.probe.protocol is Protocol.ICMP else ()
        candidates = ("destination-silent", "filter-rule-drop", "no-return-route", *echo, "lost-between")
        return self._elsewhere(
            "destination-silent", at, said, candidates, "exits-observed-area", stop, reply=True
        )

    def _error_from_beyond(self, packet: Packet, stop: Stop, end: End, said: str) -> Diagnosis:
        target = packet.source == self.probe.destination
        code = "filter-reject" if target else self._named_by(packet)
        at = (
            Place(str(packet.source))
            if target
            else Between(Place(stop.host, end.interface), Place(str(packet.source)))
        )
        words = f"{packet.source} rejects it: {packet}"
        half = Half(
            "rejected",
            code,
            words,
            at,
            Confidence.PROVED,
            evidence=(said, str(packet)),
        )
        return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"), self._also(()))

    def _at_target(self, stop: Stop, end: End) -> Diagnosis:
        said = f"it came to {stop.host} by {end.interface}, and {stop.host} sent no answer"
        traced = self._traced(stop, Direction.FORWARD)
        seen_as = self._of(Direction.REPLY, self.course.stops[-1].host, UNSUITABLE)
        if traced is not None and not (traced.code in OF_OTHERS and seen_as):
            return self._with_cause(traced, end.ending, said)
        found = [
            each
            for each in self.e.foretold.findings
            if each.host == stop.host
            and each.code not in AT_PORTS
            and each.code not in ("address-missing", "link-down", "arp-not-answered")
        ]
        unanswered = self.trail.asks(stop.host)
        if found or (unanswered and seen_as):
            return self._with_cause((found or seen_as)[0], end.ending, said)
        # Its kernel may have asked for whom it would answer before anybody watched.
        strange = [each for each in seen_as if each.code in STRANGERS]
        if strange or traced is not None:
            return self._with_cause((strange or seen_as)[0], end.ending, said, inferred=True)
        for wanted, interface in unanswered.items():
            words = f"{said}: it asked for {wanted} on {interface}, and nobody answered"
            at = Between(Place(stop.host, interface), Place(str(wanted)))
            half = Half(
                "lost-between",
                "next-hop-unresolved",
                words,
                at,
                Confidence.INFERRED,
                ("next-hop-unresolved",),
                (words,),
            )
            return self._diagnosis(Result.UNREACHABLE, Half("delivered"), half, self._also(()))
        here = Place(stop.host, end.interface)
        if (hole := self._smaller_pass(here, Direction.REPLY, said)) is not None:
            return hole
        half = Half(
            "dropped",
            "destination-silent",
            said,
            here,
            Confidence.CANDIDATES,
            ("destination-silent", "filter-rule-drop", "echo-ignored", "no-return-route"),
            self._evidence_of(end, Direction.FORWARD),
        )
        return self._diagnosis(Result.UNREACHABLE, Half("delivered"), half, self._also(()))
