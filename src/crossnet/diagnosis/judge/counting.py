"""Flows of which no packets were watched: what is said by what was counted and remembered of them."""

from __future__ import annotations

from dataclasses import replace

from crossnet.diagnosis.counted import Counted
from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.ending import Ending
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.judge.replying import Replying
from crossnet.diagnosis.judge.stopping import Stopping
from crossnet.diagnosis.signs import LEADS_ELSEWHERE, UNSUITABLE
from crossnet.facts import Lookup
from crossnet.values import host_network
from crossnet.verdict import Diagnosis, Half, HowFar, Place, Result
from crossnet.verification.probe import Reply


class Counting(Stopping, Replying):
    """What is said where counters and connection tracking tell how far it came."""

    def _by_count(self, count: Counted) -> Diagnosis:
        told = self._told_of(count)
        evidence = dict.fromkeys(
            (*self.e.lines, *(line for stop in self.course.stops for line in self._looked_up(stop.host)))
        )
        # What was read once before and once after has no place in time.
        return replace(
            told,
            result=count.result,
            forward=replace(told.forward, evidence=tuple(evidence)),
            reply=replace(told.reply, evidence=()),
            observations=(),
            how_far=count.how_far,
            stopped=count.stopped,
        )

    def _told_of(self, count: Counted) -> Diagnosis:
        end, back = self.forward_end, self.reply_end
        if not self.e.small or self.e.small[0].reply is Reply.NO_TOOL:
            return self._not_tried(count)
        if count.otherwise:
            return self._otherwise(count)
        if back.ending is not Ending.UNSEEN:
            return self._reply_stopped(back)
        if end.stop == self.course.client and (led := self._led_away(end.stop)) is not None:
            return self._with_cause(led, end.ending)
        if count.perhaps:
            return self._perhaps(count)
        if count.untranslated and (skipped := self._skipped()) is not None:
            return self._with_cause(skipped, end.ending, end.said)
        if end.ending is Ending.UNSEEN or count.result is Result.UNDETERMINED:
            left = "exits-observed-area" if count.how_far is HowFar.LEFT else "undetermined"
            silent = Half("undetermined", None, end.said)
            return self._diagnosis(count.result, Half(left), silent)
        return self._silent_behind(self._by_end(end), count)

    def _not_tried(self, count: Counted) -> Diagnosis:
        """Nothing was sent: what would stand in the way."""
        if not count.perhaps:
            half = Half("not-sent", None, count.forward.said)
            return self._diagnosis(Result.UNDETERMINED, half, Half("not-sent"))
        told = self._perhaps(count)
        return replace(told, forward=replace(told.forward, disposition="not-sent"), reply=Half("not-sent"))

    def _silent_behind(self, told: Diagnosis, count: Counted) -> Diagnosis:
        """It has left its gateway: that nothing came back is a matter of the answer."""
        if told.forward.code not in ("destination-silent", "echo-ignored"):
            return told
        silent = replace(told.forward, disposition="undetermined")
        if count.as_itself:
            code, target, source = "needs-return-route", self.probe.destination, self.course.source
            words = (
                f"{silent.detail}; nothing is translated: most likely {target} has no route back to "
                f"{self.course.client.host} {source} through {self.course.gateways[0].host}"
            )
            silent = replace(silent, code=code, detail=words, candidates=(code, *silent.candidates))
        return replace(told, forward=Half("exits-observed-area"), reply=silent)

    def _otherwise(self, count: Counted) -> Diagnosis:
        """It got through, or on, and not as its crossing promises."""
        gateway, facts = self.course.gateways[0], self.e.facts
        came = Half("delivered" if count.how_far is HowFar.ANSWERED else "not-sent")
        if count.untranslated and (skipped := self._skipped()) is not None:
            return self._with_cause(skipped, Ending.ARRIVED, count.otherwise)
        if count.around:
            at = Place(gateway.host, gateway.egress)
            back = Half("delivered", "return-route-elsewhere", count.otherwise, at)
            return self._diagnosis(count.result, Half("exits-observed-area"), back)
        local = facts[gateway.host].owner_of(self.probe.destination) is not None
        half = Half(
            "consumed-locally" if local else "undetermined",
            "destination-is-local" if local else "static-dynamic-disagree",
            count.otherwise,
            Place(gateway.host, gateway.ingress),
        )
        return self._diagnosis(count.result, half, came)

    def _skipped(self) -> Finding | None:
        """Why the gateway did not translate it, where that is not because it has stopped it before."""
        gateway = self.course.gateways[0].host
        skipped = self._of(Direction.REPLY, gateway, UNSUITABLE)
        stopping = self._of(Direction.FORWARD, gateway)
        if not skipped or any(each.certain >= skipped[0].certain for each in stopping):
            return None
        return skipped[0]

    def _led_away(self, stop: Stop) -> Finding | None:
        """Another way that the kernel of the client says that it takes, where facts say the right one."""
        if self._of(Direction.FORWARD, stop.host, LEADS_ELSEWHERE):
            return None
        answer = self.e.lookups.get(stop.host, {}).get(Lookup(self.probe.destination))
        route = answer.route if answer is not None else None
        if route is None or (route.via, route.device) == (stop.next_hop, stop.egress):
            return None
        remedy = Remedy(host_network(self.probe.destination), stop.next_hop, stop.egress)
        code = "src-route-other-next-hop"
        return Finding(code, stop.host, stop.egress, Direction.FORWARD, str(route), remedy=remedy)

    def _perhaps(self, count: Counted) -> Diagnosis:
        """What may explain it, where nothing tells how far it came, or why no answer did."""
        found = count.perhaps
        cause = next((each for each in found if each.certain), found[0])
        codes = tuple(dict.fromkeys(each.code for each in found))
        sure = cause.certain
        return self._with_cause(
            cause, Ending.UNSEEN, self.forward_end.said, inferred=True, candidates=() if sure else codes
        )
