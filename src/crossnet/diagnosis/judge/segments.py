"""What stops a flow on a segment that its own packets did not get to, or come back over, as neighbours have seen it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from crossnet.capture import Kind
from crossnet.diagnosis.course import Stop, best
from crossnet.diagnosis.finding import Direction
from crossnet.diagnosis.judge.evidence import Evidence
from crossnet.diagnosis.judge.ports import filters_between, stops_echo
from crossnet.diagnosis.judge.words import ON_A_SWITCH
from crossnet.diagnosis.segments import Asked, Echo, answerable
from crossnet.diagnosis.signs import ERRORS, KEEPS_FROM_ANSWERING
from crossnet.diagnosis.trail import Part, Trail
from crossnet.values import Address, Protocol
from crossnet.verdict import Also, Between, Diagnosis, Half, Note, Place, Result
from crossnet.verification.probe import Reply

_GOOD = (Reply.ANSWERED, Reply.REFUSED)


def with_segments(verdict: Diagnosis, evidence: Evidence) -> Diagnosis:
    """The verdict, and what else would stop the flow on the segments behind the place where it stops."""
    if evidence.asked is None or verdict.result not in (Result.UNREACHABLE, Result.UNDETERMINED):
        return verdict
    return _Segments(verdict, evidence, evidence.asked).told()


class _Segments:
    def __init__(self, verdict: Diagnosis, evidence: Evidence, asked: Asked) -> None:
        self.verdict, self.e, self.asked = verdict, evidence, asked
        self.course, self.probe = evidence.course, evidence.probe
        self.flow = evidence.trail.asked()

    def told(self) -> Diagnosis:
        found = [*self._forward(), *self._reply(), *self._behind()]
        known = {(each.code, each.at) for each in self.verdict.also}
        known |= {(half.code or "", half.at) for half in (self.verdict.forward, self.verdict.reply)}
        new = [each for each in found if (each.code, each.at) not in known]
        also = sorted((*self.verdict.also, *new), key=self._order)
        return replace(self.verdict, also=tuple(also), notes=(*self.verdict.notes, *self._unseen(found)))

    def _order(self, also: Also) -> tuple[bool, float]:
        """In which order packets meet it; those of one host keep theirs."""
        at, back = also.at, also.direction == Direction.REPLY
        if at is None:
            return back, 0.0
        if isinstance(at, Place):
            position = float(self.course.position(at.host))
        else:
            position = min(self.course.position(each.host) for each in (at.sender, at.receiver)) + 0.5
        return back, -position if back else position

    # ---- segments between two hosts -------------------------------------------------------------------

    def _forward(self) -> Iterator[Also]:
        for number, following in enumerate(self.course.all[1:]):
            before = self.course.all[number]
            came = bool(self.flow.came(following.host, Part.REQUEST))
            if came or self._stops_between(before, following) or not self._both_watched(before, following):
                continue
            for echo in self._of(number, back=False):
                also = self._there(echo, following)
                if also is not None:
                    yield also
                    break

    def _there(self, echo: Echo, following: Stop) -> Also | None:
        """What became of echoes on their way to the next host on the flow's way."""
        trail = self._trail(echo)
        sender, wanted = echo.sender, echo.destination
        if trail.came(following.host, Part.REQUEST):
            return None
        at = Between(Place(sender.host, echo.device), Place(following.host, following.ingress))
        if trail.left(sender.host, Part.REQUEST):
            if self._is_explained(echo):
                return None
            facts = self.e.facts[following.host]
            own = {link.hardware for link in facts.links if link.hardware}
            told = trail.told(sender.host, wanted)
            if own and any(each not in own for each in told):
                words = f"{sender.host} asked for {wanted}, which is at {' and at '.join(told)}; {following.host} has"
                return Also("forward", at, "duplicate-address", f"{words} {' and '.join(sorted(own))}")
            which = (
                f"which is foreign on {echo.device}" if echo.foreign else f"which {following.host} has there"
            )
            words = f"echoes of {sender.host} itself for {wanted}, {which}, do not come to {following.host}"
            return Also("forward", at, "lost-between", f"{words}; perhaps {self._filters(sender, following)}")
        if echo.foreign or wanted not in trail.asks(sender.host) or self._does_not_answer(following.host):
            return None
        if self.e.facts[following.host].owner_of(wanted) is None:
            return None
        asked = f"{sender.host} itself asked for {wanted} on {echo.device}, and nobody answered"
        if trail.was_asked(following.host, wanted):
            words = f"{asked}, though the question came to {following.host}"
            return Also("forward", Place(following.host, following.ingress), "arp-not-answered", words)
        return Also("forward", at, "lost-between", f"{asked}; the question did not come to {following.host}")

    def _reply(self) -> Iterator[Also]:
        for number, following in enumerate(self.course.all[1:]):
            before = self.course.all[number]
            if self.flow.came(before.host, Part.REPLY) or not self._both_watched(before, following):
                continue
            if self._stops_between(before, following, self.verdict.reply):
                continue
            echo = self._lost_on_the_way_back(number, before, following)
            if echo is None:
                continue
            at = Between(Place(following.host, following.ingress), Place(before.host, before.egress))
            yield Also("reply", at, "lost-between", self._of_loss(echo, before, following))

    def _of_loss(self, echo: Echo, before: Stop, following: Stop) -> str:
        what = "what" if echo.back else "the answer that"
        words = f"{what} {following.host} itself sends"
        if echo.foreign:
            strange = echo.source if echo.back else echo.destination
            words += f" as {strange}, which is foreign on {following.ingress},"
        perhaps = self._filters(following, before, back=True)
        return f"{words} does not come to {before.host}; perhaps {perhaps}"

    def _filters(self, sender: Stop, receiver: Stop, *, back: bool = False) -> str:
        direction = Direction.REPLY if back else Direction.FORWARD
        codes = filters_between(self.e.facts, direction, sender, receiver, self.probe.destination)
        return ", ".join(codes) or ON_A_SWITCH

    def _lost_on_the_way_back(self, number: int, before: Stop, following: Stop) -> Echo | None:
        """Echoes, or answers to some, that left a host and did not come to the one before it on the flow's way.

        What is new there may be stopped by a guard of that one, which answers pass: of echoes it tells only that those
        with a foreign source are lost and the others come.
        """
        lost: dict[tuple[bool, bool], Echo] = {}
        for echo in (*self._of(number, back=False), *self._of(number, back=True)):
            came = self._came_back(echo, before, following)
            if came and echo.foreign:
                return None
            if came is False and not self._is_explained(echo, answered=not echo.back):
                lost[echo.back, echo.foreign] = echo
        answers = lost.get((False, True)) or lost.get((False, False))
        if answers is not None:
            return answers
        return lost.get((True, True)) if (True, False) not in lost and self._came(number) else None

    def _came(self, number: int) -> bool:
        """Whether what the following host sends as its own comes to the one before it."""
        before, following = self.course.all[number : number + 2]
        own = [each for each in self._of(number, back=True) if not each.foreign]
        return any(self._came_back(each, before, following) for each in own)

    def _came_back(self, echo: Echo, before: Stop, following: Stop) -> bool | None:
        """Whether echoes, or answers to some, came back over a segment; None where none was sent."""
        part, trail = Part.REQUEST if echo.back else Part.REPLY, self._trail(echo)
        if not trail.left(following.host, part):
            return None
        return bool(trail.came(before.host, part))

    # ---- behind the last host -------------------------------------------------------------------------

    def _behind(self) -> Iterator[Also]:
        echo = next((each for each in self.asked.echoes if each.receiver is None), None)
        if echo is None or not self.flow.watched(echo.sender.host):
            return
        last, wanted = echo.sender, str(self.probe.destination)
        at = Between(Place(last.host, echo.device), Place(wanted))
        if self.flow.came(last.host, Part.REPLY) or self._is_told_of(last):
            return
        trail = self._trail(echo)
        errors = [
            each
            for each in self.asked.sightings
            if each.host == last.host
            and each.kind is not Kind.SENT
            and each.packet.is_error
            and each.packet.source == echo.destination
            and (each.packet.quoted is None or each.packet.quoted.protocol == str(self.probe.protocol))
        ]
        if errors:
            code = ERRORS.get((errors[0].packet.icmp_type, errors[0].packet.icmp_code), "filter-reject")
            words = f"{wanted} rejects what {last.host} itself sends, too: {errors[0].packet}"
            yield Also("forward", at, code, words)
        elif echo.destination in trail.asks(last.host) and not trail.left(last.host, Part.REQUEST):
            if not self._is_explained(echo) and self._is_on_wire(echo):
                yield Also("forward", at, "destination-absent", self._nobody(trail, echo))
        elif self._is_silent(trail, echo):
            yield self._silent(echo, at)

    def _is_on_wire(self, echo: Echo) -> bool:
        """Whether the host holds the destination for one of its own network: behind a router nobody answers for it."""
        facts = self.e.facts.get(echo.sender.host)
        link = facts.link(echo.device) if facts is not None else None
        if facts is None or link is None or link.on_link(echo.destination) is not None:
            return True
        route = best(facts, echo.destination)
        return route is not None and (route.via, route.device) == (None, echo.device)

    def _nobody(self, trail: Trail, echo: Echo) -> str:
        last, wanted = echo.sender, echo.destination
        words = f"{last.host} itself asked for {wanted} on {echo.device}, and nobody answered"
        asking = [
            each.packet.source
            for each in trail.left(last.host, Part.NEIGHBOUR)
            if each.packet.asks == wanted and each.packet.source is not None
        ]
        own = self._answerable(echo)
        if asking and not any(each in own for each in asking):
            words += f"; perhaps not because it asked as {asking[0]}, which is foreign there"
        return words

    def _answerable(self, echo: Echo) -> tuple[Address, ...]:
        facts = self.e.facts[echo.sender.host]
        link = facts.link(echo.device)
        return answerable(facts, link, echo.destination) if link is not None else ()

    def _is_silent(self, trail: Trail, echo: Echo) -> bool:
        """Whether what the last host sent, as somebody who can be answered, was not answered."""
        last = echo.sender
        as_whom = {each.packet.source for each in trail.left(last.host, Part.REQUEST)}
        good = {*self._answerable(echo), *((echo.source,) if echo.source is not None else ())}
        if not as_whom or not as_whom <= good or self._is_explained(echo, answered=True):
            return False
        if any(each.interface != echo.device for each in trail.left(last.host, Part.REQUEST)):
            return False
        answered = bool(trail.came(last.host, Part.REPLY))
        match self.probe.protocol:
            case Protocol.ICMP:
                return not answered
            case Protocol.TCP:
                tried = [each for each in self.asked.connections if each.probe == self.probe]
                return self._connected(echo) and all(each.reply is Reply.SILENT for each in tried)
            case _:
                return False

    def _connected(self, echo: Echo) -> bool:
        """Whether what the last host tried itself went to the destination: routes lead that, which may be wrong."""
        return any(
            (each.host, each.interface, each.kind) == (echo.sender.host, echo.device, Kind.SENT)
            and each.packet.protocol == str(self.probe.protocol)
            and each.packet.destination == echo.destination
            for each in self.asked.sightings
        )

    def _silent(self, echo: Echo, at: Between) -> Also:
        last, wanted = echo.sender, echo.destination
        other = [each for each in self.asked.connections if each.reply in _GOOD and each.probe != self.probe]
        if self.probe.protocol is Protocol.ICMP and other:
            words = (
                f"an echo that {last.host} itself sent to {wanted} was not answered, and {other[0].probe} is"
            )
            return Also("forward", at, "echo-ignored", words)
        what = "an echo" if self.probe.protocol is Protocol.ICMP else f"what it tried itself ({self.probe})"
        words = f"{what} that {last.host} itself sent to {wanted} was not answered either"
        if self.probe.protocol is not Protocol.ICMP:
            words = f"{last.host} itself tried {self.probe}, and was not answered either"
        return Also("forward", at, "destination-silent", words)

    # ---- what is known already ------------------------------------------------------------------------

    def _of(self, number: int, *, back: bool) -> list[Echo]:
        return [
            each
            for each in self.asked.echoes
            if each.segment == number and each.back is back and each.receiver is not None
        ]

    def _trail(self, echo: Echo) -> Trail:
        return echo.trail(self.course, self.asked.sightings, self.flow.points)

    def _both_watched(self, one: Stop, other: Stop) -> bool:
        return self.flow.watched(one.host) and self.flow.watched(other.host)

    def _stops_between(self, one: Stop, other: Stop, *halves: Half) -> bool:
        """Whether the verdict is about that segment anyway."""
        return any(
            isinstance(half.at, Between)
            and {half.at.sender.host, half.at.receiver.host} == {one.host, other.host}
            for half in halves or (self.verdict.forward, self.verdict.reply)
        )

    def _is_told_of(self, last: Stop) -> bool:
        """Whether the verdict is about what stands behind the last host anyway."""
        wanted = str(self.probe.destination)
        for half in (self.verdict.forward, self.verdict.reply):
            at = half.at
            if isinstance(at, Place) and at.host == wanted:
                return True
            if isinstance(at, Between) and at.sender.host == last.host and at.receiver.host == wanted:
                return True
        return False

    def _does_not_answer(self, host: str) -> bool:
        """Whether facts tell why a host answers no question."""
        return any(
            each.host == host and each.code in KEEPS_FROM_ANSWERING for each in self.e.foretold.findings
        )

    def _is_explained(self, echo: Echo, *, answered: bool = False) -> bool:
        """Whether facts tell of something at either end that takes all frames there, or these, or their answers."""
        if stops_echo(self.e.facts, echo, self._own(echo), answered=answered):
            return True
        ends = {(echo.sender.host, echo.device)}
        if echo.receiver is not None:
            stop = echo.receiver
            ends.add((stop.host, (stop.egress if echo.back else stop.ingress) or ""))
        for each in self.e.foretold.findings:
            if each.code in ("link-down", "tc-or-xdp-drop") and (each.host, each.interface) in ends:
                return True
            by_address = each.code in ("wrong-destination-mac", "duplicate-address", "next-hop-unresolved")
            there = by_address and (each.host, each.interface) in ends
            if there and each.remedy.address in (None, echo.destination, echo.source):
                return True
        return False

    def _own(self, echo: Echo) -> Address | None:
        """As whom a host sends an echo."""
        left = self._trail(echo).left(echo.sender.host, Part.REQUEST)
        return left[0].packet.source if left else echo.source

    def _unseen(self, new: Sequence[Also]) -> Iterator[Note]:
        """The parts of the way back of which nothing is known but what facts tell."""
        parts = []
        for number, following in enumerate(self.course.all[1:]):
            before = self.course.all[number]
            each = (*self._of(number, back=False), *self._of(number, back=True))
            seen = self.flow.came(before.host, Part.REPLY) or any(
                self._came_back(echo, before, following) is not None for echo in each
            )
            if not seen and not self._stops_between(before, following, self.verdict.reply):
                parts.append(f"from {following.host} to {before.host}")
        last = self.course.stops[-1]
        if self.course.target is None and not self._is_told_of(last):
            behind = [each for each in self.asked.echoes if each.receiver is None]
            known = any(isinstance(each.at, Between) and each.at.sender.host == last.host for each in new)
            known |= any(self._trail(each).came(last.host, Part.REPLY) for each in behind)
            known |= bool(self.flow.came(last.host, Part.REPLY))
            if not known:
                parts.append(f"from {self.probe.destination} to {last.host}")
        if parts:
            words = (
                f"the way back {' and '.join(reversed(parts))} was not looked at: mend what stops it before"
            )
            yield Note("return-path-not-checked", f"{words}, then diagnose again")
