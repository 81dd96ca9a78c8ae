"""The verdict: what was seen and what facts tell, joined; pure, so that every case can be written down as a test."""

from __future__ import annotations

from collections.abc import Sequence

from crossnet.capture import Tcp
from crossnet.diagnosis.ending import End, Ending
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.judge import seen_past
from crossnet.diagnosis.judge.counting import Counting
from crossnet.diagnosis.judge.evidence import Evidence
from crossnet.diagnosis.judge.passing import Passing
from crossnet.diagnosis.judge.segments import with_segments
from crossnet.diagnosis.signs import LEADS_ELSEWHERE, PORT_UNREACHABLE
from crossnet.diagnosis.trail import Part
from crossnet.values import Protocol
from crossnet.verdict import Confidence, Diagnosis, Half, Note, Result
from crossnet.verification.probe import Reply, Sent

__all__ = ["Evidence", "judge"]


def judge(evidence: Evidence) -> Diagnosis:
    """What became of the flow, why, and what to do."""
    return with_segments(_Judge(evidence).verdict(), evidence)


class _Judge(Passing, Counting):
    """Which of them a flow is a matter of."""

    def verdict(self) -> Diagnosis:
        self._what_is_missing()
        if self.e.counted is not None:
            self._leave_out(
                tuple(seen_past.counted_past(self.e.foretold, self.course, self.e.counted.how_far))
            )
            return self._by_count(self.e.counted)
        small = [each for each in self.e.small if each.reply is not Reply.NO_TOOL]
        good = [each for each in small if self._answered(each)]
        if small and len(good) == len(small):
            return self._reachable()
        self._believe_what_was_seen()
        if good and not self.e.interrupted:
            return self._partly(len(good), len(small))
        by_now = self._passes_by_now(*self.trail.tags.small)
        if (by_now or self._is_lost_by_chance()) and not self.e.interrupted:
            return self._partly_of_sizes()
        if self._is_refused(small):
            rule = self._rejecting()
            if rule is not None:
                return self._with_cause(rule, Ending.ARRIVED, f"{rule.host} refused port {self.probe.port}")
            closed = Note(
                "destination-port-closed", f"{self.probe.destination} refused port {self.probe.port}"
            )
            self.notes.append(closed)
            return self._reachable()
        if not small:
            why = self.e.small[0].detail if self.e.small else f"nothing was sent to {self.probe.destination}"
            self.notes.append(Note("facts-missing", why))
            return self._from_facts()
        if self.e.interrupted:
            return self._so_far(len(good), len(small))
        return self._unreachable()

    def _so_far(self, good: int, number: int) -> Diagnosis:
        """Nobody waited: what surely stops it all the same, else how far it had come."""
        if not good:
            notes = list(self.notes)
            told = self._unreachable()
            if Confidence.PROVED in (told.forward.confidence, told.reply.confidence):
                return told
            self.notes = notes
        detail = f"interrupted when {good} of {number} probes had been answered"
        # That a packet had not been seen by then says nothing.
        self.forward_end = self.reply_end = End(Ending.UNSEEN)
        half = Half("undetermined", None, detail)
        return self._diagnosis(Result.UNDETERMINED, half, Half("undetermined"), self._also(()))

    def _is_refused(self, small: Sequence[Sent]) -> bool:
        """Whether the destination itself says that it takes nothing there."""
        refused = any(each.reply is Reply.REFUSED for each in small)
        # Who sends UDP may have gone before the answer comes.
        refused |= self.probe.protocol is Protocol.UDP and any(
            (each.packet.icmp_type, each.packet.icmp_code) in PORT_UNREACHABLE
            and each.packet.source == self.probe.destination
            for each in self.trail.errors()
        )
        return refused and self._refused_by_target()

    def _rejecting(self) -> Finding | None:
        """A rule of the destination that says so, where it can be asked."""
        target = self.course.target
        of_target = self._of(Direction.FORWARD, target.host) if target is not None else ()
        return next((each for each in of_target if each.code == "filter-reject"), None)

    def _refused_by_target(self) -> bool:
        """Whether who refuses stands behind the last gateway: a gateway's own rule can refuse too."""
        gateways = self.course.gateways
        if not gateways or not self.trail.watched(gateways[-1].host):
            return True
        last = gateways[-1].host
        if self.probe.protocol is Protocol.TCP:
            return any(Tcp.RST in each.packet.flags for each in self.trail.came(last, Part.REPLY))
        came = self.trail.came(last, Part.ERROR)
        return any(each.packet.source == self.probe.destination for each in came)

    def _from_facts(self) -> Diagnosis:
        """Nothing could be sent: what facts tell alone."""
        sure = [each for each in self.e.foretold.findings if each.certain]
        if not sure:
            return self._diagnosis(Result.UNDETERMINED, Half("not-sent"), Half("not-sent"))
        if sure[0].chain is not None:
            words = (
                f"the rules of {sure[0].host} were walked for a new connection: an older one may meet others"
            )
            self.notes.append(Note("assumed-conntrack-new", words))
        return self._with_cause(sure[0], Ending.UNSEEN)

    def _unreachable(self) -> Diagnosis:
        end, back = self.forward_end, self.reply_end
        if self.course.target is not None and any(each.reply is Reply.REFUSED for each in self.e.small):
            host = self.course.target.host
            rejects = self._of(Direction.FORWARD, host, frozenset(("filter-reject",)))
            if rejects:
                return self._with_cause(rejects[0], end.ending, f"{host} refused the connection")
        self._goes_on()
        if end.ending is Ending.LOST and end.stop is not None:
            own = self._of(Direction.FORWARD, end.stop.host, LEADS_ELSEWHERE)
            if own and own[0].certain:
                return self._lost(end)  # whatever comes back past it
        if back.ending is not Ending.UNSEEN and end.ending not in (Ending.NOT_SENT, Ending.UNRESOLVED):
            return self._reply_stopped(back)
        return self._by_end(end)
