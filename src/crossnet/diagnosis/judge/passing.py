"""Flows that pass, or seem to: who answered, whether large packets pass too, and where some are lost."""

from __future__ import annotations

from dataclasses import replace

from crossnet.capture import Kind, Sighting, Tcp
from crossnet.diagnosis.counted import past_gateway
from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.ending import End, Ending
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.judge.telling import Telling, same
from crossnet.diagnosis.signs import (
    ENOUGH,
    PERHAPS,
)
from crossnet.diagnosis.trail import Part, Trail, forward_end, reply_end
from crossnet.values import Protocol
from crossnet.verdict import Between, Confidence, Diagnosis, Half, Note, Place, Result
from crossnet.verification.probe import Reply

# So many that are lost though larger ones pass are not lost for their length; one can be a chance.
_BY_CHANCE = 2

# How likely it is at most that all above a limit are lost by chance too, where that is not believed.
_HARDLY_EVER = 0.01


class Passing(Telling):
    """What is said where probes were answered."""

    def _reachable(self) -> Diagnosis:
        elsewhere = self._taken_on_the_way() or self._taken_by_another() or self._only_begun()
        if elsewhere is not None:
            return elsewhere
        large = self._full_sized()
        if large is not None:
            return large
        past = [
            stop.host
            for stop in self.course.gateways
            if self.trail.watched(stop.host) and not self.trail.came(stop.host, Part.REQUEST)
        ]
        for host in past:
            if self.e.tracked.get(host):
                words = (
                    f"{host} tracks the connection, and its tcpdump printed none of it: it did not see all"
                )
                self.notes.append(Note("observer-lost-packets", words))
            else:
                words = f"it gets through, but not over {host}, which saw none of it"
                self.notes.append(Note("src-route-other-next-hop", words))
        if self.trail.came(self.course.client.host, Part.REPLY):
            self.notes += (
                Note("return-route-elsewhere", f"it gets through, but {past_gateway(stop.host)}")
                for stop in self.course.gateways
                if self.trail.left(stop.host, Part.REQUEST) and self._saw_no_answer(stop.host)
            )
        if self.e.foretold.passes is False and not past:
            sure = [str(each.code) for each in self.e.foretold.findings if each.certain]
            words = f"facts say that it is stopped ({', '.join(dict.fromkeys(sure))}), and it passes"
            self.notes.append(Note("static-dynamic-disagree", words))
        for host, entries in self.e.stale.items():
            for entry in entries[:1]:
                words = (
                    f"{host} has a flow of {entry.source} from before it was translated, which goes on without: "
                    f"`conntrack -D -s {entry.source} -d {entry.destination} -p {self.probe.protocol}` there ends it"
                )
                self.notes.append(Note("snat-stale-conntrack", words))
        return self._diagnosis(Result.REACHABLE, Half("delivered"), Half("delivered"))

    def _saw_no_answer(self, host: str) -> bool:
        """Whether none came there, by its capture and by its connection tracking: what a capture lost may have."""
        tracked = any(entry.replied for entry in self.e.tracked.get(host, ()))
        return not (self.trail.at(host, Part.REPLY) or tracked or self.e.lost.get(host))

    def _taken_on_the_way(self) -> Diagnosis | None:
        """An answer is not an arrival: a host that answers by itself has sent nothing on, or to somebody else."""
        for stop in self.course.stops:
            if not self.trail.watched(stop.host):
                continue
            came, left = self.trail.came(stop.host, Part.REQUEST), self.trail.left(stop.host, Part.REQUEST)
            found = [
                each
                for each in self.e.foretold.of(Direction.FORWARD)
                if each.host == stop.host and each.code in ("dnat-captures", "destination-is-local")
            ]
            elsewhere = [
                each
                for each in left
                if each.packet.destination is not None and each.packet.destination != self.probe.destination
            ]
            if stop == self.course.client:
                if not found or (left and not elsewhere):
                    continue
            elif not came or (left and not (found and elsewhere)):
                continue
            cause = found[0] if found else self._finding("destination-is-local", stop, stop.ingress)
            why = cause.text or "it takes the packets for its own"
            detail = f"{stop.host} answers by itself and sends nothing on: {why}"
            seen = f"{stop.host}: " + (
                f"requests came by {came[0].interface}, and none left" if came else "none left it"
            )
            if elsewhere:
                whom = elsewhere[0].packet.destination
                detail = f"{stop.host} sends them to {whom}, which answers: {why}"
                seen = f"{stop.host}: {elsewhere[0].packet} left by {elsewhere[0].interface}"
            half = Half(
                "consumed-locally",
                cause.code,
                detail,
                Place(stop.host, stop.ingress or stop.egress),
                Confidence.PROVED if found else Confidence.INFERRED,
                evidence=(seen, *self._moved(stop.host)),
                fix=self._fixes(cause),
            )
            return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"), self._also((cause,)))
        return None

    def _taken_by_another(self) -> Diagnosis | None:
        """An answer of a host that has the target's address too, while the target itself saw nothing."""
        target, last = self.course.target, self.course.stops[-1]
        if target is None or not (self.trail.watched(target.host) and self.trail.watched(last.host)):
            return None
        if self.trail.came(target.host, Part.REQUEST) or not self.trail.left(last.host, Part.REQUEST):
            return None
        end = self.trail.left(last.host, Part.REQUEST)[-1].interface
        detail = f"another host answers for {self.probe.destination}: nothing came to {target.host}"
        half = Half(
            "lost-between",
            "duplicate-address",
            detail,
            Between(Place(last.host, end), Place(target.host, target.ingress)),
            Confidence.INFERRED,
            evidence=(f"requests left {last.host} by {end} and were answered; {target.host} saw none",),
        )
        return self._diagnosis(Result.UNREACHABLE, half, Half("undetermined"), self._also(()))

    def _only_begun(self) -> Diagnosis | None:
        """Connections that begin, and of which nothing gets past a gateway then."""
        if self.probe.protocol is not Protocol.TCP:
            return None
        for stop in self.course.gateways:
            came, left = (
                {
                    each.packet.source_port
                    for each in some(stop.host, Part.REQUEST)
                    if Tcp.SYN not in each.packet.flags and Tcp.RST not in each.packet.flags
                }
                for some in (self.trail.came, self.trail.left)
            )
            if len(came) < ENOUGH or left or not self.trail.left(stop.host, Part.REQUEST):
                continue
            said = f"connections begin, and what comes to {stop.host} after that does not leave it"
            found = self._of(
                Direction.FORWARD, stop.host, frozenset(("conntrack-invalid", "filter-rule-drop"))
            )
            cause = found[0] if found else self._finding("conntrack-invalid", stop, stop.ingress, said)
            return self._with_cause(cause, Ending.STOPPED, said, inferred=not found)
        return None

    def _full_sized(self) -> Diagnosis | None:
        """Small packets pass; whether large ones do."""
        failed = [size for size, sent in self.e.full.items() if sent.reply is not Reply.ANSWERED]
        echoes = (each for each in (*self.e.small, *self.e.beside) if each.probe.protocol is Protocol.ICMP)
        if not (self.trail.tags.full and failed) or not any(each.reply is Reply.ANSWERED for each in echoes):
            return None  # where no small echo is answered a large one says nothing
        passing = [each for each, sent in self.e.full.items() if sent.reply is Reply.ANSWERED]
        size = max(failed)
        if size < max(passing, default=0):  # the largest has passed by now
            return self._partly_of_sizes() if self._is_lost_by_chance() else None
        trail = self.e.trail.large(size)
        client = self.course.client.host
        own = self._that_minds_the_length(Direction.FORWARD, self.course.client)
        if own is None and trail.watched(client) and not trail.left(client, Part.REQUEST):
            return self._large_not_sent(size, trail)
        told = [each for each in trail.errors() if each.host == client and each.packet.mtu is not None]
        fits = max(passing) + self._heads if passing else None
        if told and self.e.unheard:
            return self._unheard(told[0], size)
        if told:
            most, who = told[0].packet.mtu, told[0].packet.source
            words = (
                f"packets of more than {most} bytes do not fit, and {who} says so: path MTU discovery works"
            )
            self.notes.append(Note("mtu-exceeded", words))
            return None
        if self._is_lost_by_chance():
            return self._partly_of_sizes()
        end, back = forward_end(trail), reply_end(trail)
        self.forward_end, self.reply_end, self.trail = end, back, trail
        direction = Direction.FORWARD if back.ending is Ending.UNSEEN else Direction.REPLY
        where = end if direction is Direction.FORWARD else back
        detail = f"packets of {size + self._heads} bytes vanish without a word, small ones pass"
        rule = self._that_minds_the_length(direction, where.stop)
        if rule is not None and self.e.of_large is not None:
            self.e = replace(self.e, foretold=self.e.of_large)
            return self._with_cause(rule, where.ending, detail)
        if fits:
            detail += f"; {fits} bytes still pass"
        evidence = (
            f"echoes of {size} bytes: no answer, and no ICMP error",
            *self._evidence_of(where, direction),
        )
        return self._black_hole(detail, self._place(where, direction), direction, fits, evidence)

    def _large_not_sent(self, size: int, trail: Trail) -> Diagnosis | None:
        """What was not sent does not vanish: the client knows that the path takes less, or does not let it out."""
        client, sent = self.course.client, self.e.full[size]
        if "too long" in sent.detail:
            words = (
                f"{client.host} sends no packets of {size + self._heads} bytes: it knows that they do not fit"
            )
            self.notes.append(Note("mtu-exceeded", words))
            return None
        was_sent = any(self.e.lost.values()) or any(
            trail.came(each.host, Part.REQUEST) for each in self.course.all
        )
        # A ping that has no word for DF lets its kernel cut them.
        was_sent |= any(
            each.host == client.host
            and each.packet.fragment > 0
            and each.packet.destination == self.probe.destination
            for each in self.e.trail.sightings
        )
        if was_sent or sent.reply is Reply.NO_TOOL or "nreachable" in sent.detail:
            return None  # it was sent all the same, or not because of its length
        said = f"packets of {size + self._heads} bytes do not leave {client.host}, small ones do"
        known = {same(each) for each in self.e.foretold.findings}
        of_large = self.e.of_large.of(Direction.FORWARD) if self.e.of_large is not None else ()
        rules = [each for each in of_large if each.host == client.host and each.chain is not None]
        cause = replace(self._finding("src-output-filtered", client, client.egress), text=said)
        if rules and self.e.of_large is not None:
            # One that may take small ones too is less likely.
            cause = min(rules, key=lambda each: same(each) in known)
            self.e = replace(self.e, foretold=self.e.of_large)
        self.forward_end, self.trail = forward_end(trail), trail
        return self._with_cause(cause, Ending.NOT_SENT, said, inferred=True)

    def _that_minds_the_length(self, direction: Direction, stop: Stop | None) -> Finding | None:
        """A rule that surely stops large packets where they were last seen, and small ones not."""
        known = {same(each) for each in self.e.foretold.findings}
        of_large = self.e.of_large.of(direction) if self.e.of_large is not None and stop is not None else ()
        return next(
            (
                each
                for each in of_large
                if stop is not None and each.host == stop.host
                if each.certain and each.chain is not None and same(each) not in known
            ),
            None,
        )

    def _unheard(self, told: Sighting, size: int) -> Diagnosis:
        """The error that tells of a smaller MTU came to the client, whose rules keep it from its kernel."""
        most, client = told.packet.mtu, self.course.client
        detail = (
            f"{told.packet.source} says that no more than {most} bytes fit, and {client.host} does not take it:"
            " a rule of its own drops ICMP errors"
        )
        gateway = self.course.gateways[-1] if self.course.gateways else client
        cause = Finding(
            "pmtu-black-hole",
            gateway.host,
            gateway.egress,
            Direction.FORWARD,
            detail,
            remedy=Remedy(device=gateway.egress, mtu=most),
        )
        half = Half(
            "dropped",
            "pmtu-black-hole",
            detail,
            Place(client.host, told.interface),
            Confidence.PROVED,
            evidence=(
                f"{client.host} {told.interface}: {told.packet}",
                f"echoes of {size} bytes go on in vain",
            ),
            fix=self._fixes(cause),
        )
        return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"))

    def _is_lost_by_chance(self) -> bool:
        """Whether packets are lost whatever their length: smaller ones too than the largest that passes."""
        passing = [size for size, sent in self.e.full.items() if sent.reply is Reply.ANSWERED]
        most = max(passing, default=0)
        lost = [size for size in self.e.full if size not in passing]
        above = sum(size > most for size in lost)
        beneath = sum(size < most and self._vanished(size) for size in lost)
        if beneath < _BY_CHANCE:
            return False
        rate = (beneath + 1) / (beneath + len(passing) + 2)  # the rule of succession
        return not above or rate ** (above + 2) >= _HARDLY_EVER  # the largest was sent three times

    def _vanished(self, size: int) -> bool:
        """Whether an echo of so many bytes was sent and not answered, where the client was watched: not only late."""
        client = self.course.client.host
        if not self.trail.watched(client):
            return True
        here = [
            each
            for each in self.e.trail.sightings
            if each.host == client and self.trail.tags.data(each.packet) == size
        ]
        return any(each.packet.is_echo_request and each.kind is Kind.SENT for each in here) and not any(
            each.packet.is_echo_reply and each.kind is not Kind.SENT for each in here
        )

    def _passes_by_now(self, *sizes: int) -> bool:
        """Whether one of these sizes is answered that was sent later."""
        sent = (self.e.full.get(size) for size in sizes)
        return any(each is not None and each.reply is Reply.ANSWERED for each in sent)

    def _partly_of_sizes(self) -> Diagnosis:
        sent = (*self.e.small, *self.e.full.values())
        return self._partly(sum(map(self._answered, sent)), len(sent))

    def _partly(self, good: int, number: int) -> Diagnosis:
        direction, end = self._lost_ones()
        perhaps = [each for each in self.e.foretold.findings if each.code in PERHAPS and not each.certain]
        stop = end.stop if end is not None else None
        near = [
            each
            for each in perhaps
            if stop is not None and (each.direction, each.host) == (direction, stop.host)
        ]
        found = near or perhaps
        detail = f"{good} of {number} probes were answered"
        if found:
            cause = found[0]
            direction = cause.direction
            same = tuple(each for each in found if (each.text, each.host) == (cause.text, cause.host))
            half = Half(
                "dropped",
                "partial-loss",
                f"{detail}; {self._sentence(cause)}",
                Place(cause.host, cause.interface),
                Confidence.INFERRED,
                evidence=(detail, *self._moved(cause.host)),
                fix=self._fixes(*same),
            )
        else:
            at = self._place(end, direction) if end is not None else None
            half = Half(
                "lost-between" if isinstance(at, Between) else "dropped",
                "partial-loss",
                f"{detail}; nothing that is known of the hosts explains it",
                at,
                Confidence.CANDIDATES,
                ("partial-loss", "lost-between"),
                (detail,),
            )
        came = Half("delivered" if self.trail.came(self.course.client.host, Part.REPLY) else "undetermined")
        forward, reply = (half, came) if direction is Direction.FORWARD else (came, half)
        return self._diagnosis(Result.AMBIGUOUS, forward, reply, self._also(tuple(found)))

    def _lost_ones(self) -> tuple[Direction, End | None]:
        """Where an echo was last seen that was not answered."""
        sizes = self.e.trail.tags.small
        lost = [
            size
            for size, sent in zip(sizes, self.e.small, strict=False)
            if not self._answered(sent) and not self._passes_by_now(size)
        ]
        full = {size: self.e.full[size] for size in self.e.trail.tags.full if size in self.e.full}
        lost += [size for size, sent in full.items() if not self._answered(sent)]
        if self.probe.protocol is not Protocol.ICMP or not lost:
            return Direction.FORWARD, None
        trail = self.e.trail.only(lost[0])
        end, back = forward_end(trail), reply_end(trail)
        return (Direction.FORWARD, end) if back.ending is Ending.UNSEEN else (Direction.REPLY, back)
