"""Replies that stop on their way back."""

from __future__ import annotations

from dataclasses import replace

from crossnet.diagnosis.ending import End, Ending
from crossnet.diagnosis.finding import Direction
from crossnet.diagnosis.judge.telling import Telling
from crossnet.diagnosis.signs import (
    LEADS_ELSEWHERE,
    OFF,
    UNSUITABLE,
)
from crossnet.diagnosis.trail import Part
from crossnet.verdict import Between, Confidence, Diagnosis, Half, Place, Result


class Replying(Telling):
    """What is said where replies end."""

    def _reply_stopped(self, back: End) -> Diagnosis:
        stop = back.stop
        assert stop is not None
        if stop == self.course.target and not self._of(Direction.REPLY, stop.host):
            # It answers whom it has seen: a source to which no way leads back is the gateway's doing.
            seen_as = self._of(Direction.REPLY, self.course.stops[-1].host, UNSUITABLE)
            if seen_as:
                return self._with_cause(
                    seen_as[0], back.ending, f"{stop.host} answered, and the reply did not come back"
                )
        stranger = self._of(Direction.REPLY, self.course.client.host, UNSUITABLE)
        if stranger and back.ending in (Ending.STOPPED, Ending.UNRESOLVED) and stop in self.course.gateways:
            said = f"the reply came to {stop.host}, and is for another address than {self.course.source}"
            return self._with_cause(stranger[0], back.ending, said)
        match back.ending:
            case Ending.VANISHED:
                return self._not_come(back)
            case Ending.STOPPED:
                said = f"the reply came to {stop.host} by {back.interface}, and did not leave"
            case Ending.UNRESOLVED:
                said = f"{stop.host} has the reply, asked for {back.asked} on {back.interface}, and nobody answered"
            case Ending.ARRIVED:
                said = f"the reply came to {stop.host} by {back.interface}, and its program got none"
            case _ if self._kept_by_bridge(stop.host, Part.REPLY):
                said = f"the reply came to {back.interface} of {stop.host}, and left by none of its ports"
            case _:
                following = back.following
                assert following is not None
                said = f"the reply left {stop.host} by {back.interface}, and did not come to {following.host}"
                own = self._of(Direction.REPLY, stop.host, LEADS_ELSEWHERE)
                if own:
                    return self._with_cause(own[0], back.ending, said)
                bogus = self._of(
                    Direction.REPLY, stop.host, frozenset(("wrong-destination-mac", "duplicate-address"))
                )
                if bogus:
                    return self._with_cause(bogus[0], back.ending, said)
                for_others = self.trail.for_others(following.host, Part.REPLY)
                if for_others:
                    wanted = for_others[0].packet.destination
                    cause = self._misaddressed(stop, back.interface, Direction.REPLY, wanted)
                    return self._with_cause(cause, back.ending, said)
                stopped = self._by_a_port(Direction.REPLY, back, said, "lost-between")
                near = [each for each in self._of(Direction.REPLY, following.host) if "XDP" in each.text]
                if near and (near[0].certain or stopped is None):
                    doubts = () if near[0].certain else (near[0].code, "lost-between")
                    return self._with_cause(near[0], back.ending, said, candidates=doubts)
                if stopped is not None:
                    return stopped
                return self._between(stop, following, back.interface, Direction.REPLY, said)
        traced = self._traced(stop, Direction.REPLY)
        if traced is not None:
            return self._with_cause(traced, back.ending, said)
        found = [each for each in self._of(Direction.REPLY, stop.host) if not each.code.startswith("snat-")]
        if found:
            return self._with_cause(found[0], back.ending, said)
        complaints = [each for each in self.trail.complaints() if each.host == stop.host]
        if complaints:
            cause = replace(self._of_error(complaints[0].packet, stop, back), direction=Direction.REPLY)
            return self._with_cause(cause, back.ending, said, inferred=True)
        unresolved = back.ending is Ending.UNRESOLVED
        if unresolved:
            down = self._by_a_port(Direction.REPLY, back, said, "next-hop-unresolved", codes=OFF)
            if down is not None:
                return down
        candidates = ("reply-not-untranslated", "filter-rule-drop", "tc-or-xdp-drop")
        queue = self._queue(stop, stop.ingress, Direction.REPLY)
        if queue is not None and not unresolved:
            return self._with_cause(queue, back.ending, said, candidates=(queue.code, *candidates[:2]))
        here = Place(stop.host, back.interface)
        if not unresolved and (hole := self._smaller_pass(here, Direction.REPLY, said)):
            return hole
        half = Half(
            "dropped",
            "next-hop-unresolved" if unresolved else candidates[0],
            said if unresolved else f"{said}; nothing that is known of {stop.host} explains it",
            here,
            Confidence.INFERRED if unresolved else Confidence.CANDIDATES,
            () if unresolved else candidates,
            self._evidence_of(back, Direction.REPLY),
        )
        self._disagree(said)
        return self._diagnosis(Result.UNREACHABLE, Half("delivered"), half, self._also(()))

    def _not_come(self, back: End) -> Diagnosis:
        """The gateway knows that it was answered, and the client has no answer."""
        stop, following = back.stop, back.following
        assert stop is not None
        assert following is not None
        near = self._on_either_of(Direction.REPLY, stop, following)
        found = [each for each in near if not each.code.startswith("snat-")]
        half = Half(
            "lost-between",
            "reply-lost",
            back.said,
            Between(Place(stop.host, back.interface), Place(following.host)),
            Confidence.CANDIDATES,
            ("reply-lost", "filter-rule-drop", "lost-between"),
        )
        return self._on_either(back, found, half)
