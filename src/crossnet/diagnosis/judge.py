"""The verdict: what was seen and what facts tell, joined; pure, so that every case can be written down as a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from crossnet.capture import NO_RIGHT, Packet, Sighting, Tcp
from crossnet.diagnosis.conntrack import Entry
from crossnet.diagnosis.counters import Moved
from crossnet.diagnosis.course import Course, Stop
from crossnet.diagnosis.finding import Direction, Finding, Mending
from crossnet.diagnosis.fixes import engine_of, fix_of, is_own
from crossnet.diagnosis.probe import Reply, Sent
from crossnet.diagnosis.static import Foretold
from crossnet.diagnosis.story import story
from crossnet.diagnosis.tracing import Traced
from crossnet.diagnosis.trail import End, Ending, Part, Trail, forward_end, reply_end
from crossnet.facts import Answered, Facts, Lookup
from crossnet.netfilter import Engine
from crossnet.netfilter.foreign import Tool
from crossnet.reach.rules import Place as Chain
from crossnet.values import Address, Family, Probe, Protocol, family_of
from crossnet.verdict import Also, Between, Confidence, Diagnosis, Fix, Half, Note, Place, Result


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known of one flow.

    `small` are what became of the probes that were asked for, `full` of the full-sized ones with their bytes of data;
    `beside` of those of another protocol. `failed` says of a host why nobody watched there, `unread` why nothing is
    known of it. `moved` are counters of hosts that rose meanwhile. `interrupted` says that somebody did not wait for
    what would still have come. `tracked` are the entries of connection tracking that the probes made on each gateway,
    `stale` those of earlier flows of the client that are not translated as new ones are. `lost` is how many packets a
    host's kernel could not keep for us, `unaligned` names the hosts whose clock could not be compared,
    `lookups` is where each host's kernel says that it sends the packets. `unheard` is whether the client did not take
    what came to it of the path's MTU, `traced` what a host's firewall itself says of the end of the packets,
    `of_large` what facts say of full-sized ones, where those were lost.
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
    beyond: str = ""
    of_large: Foretold | None = None


def judge(evidence: Evidence) -> Diagnosis:
    """What became of the flow, why, and what to do."""
    return _Judge(evidence).verdict()


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self.e = evidence
        self.course, self.probe = evidence.course, evidence.probe
        self.trail = evidence.trail.asked()
        self.notes: list[Note] = []
        self.forward_end, self.reply_end = forward_end(self.trail), reply_end(self.trail)

    # ---- the whole ------------------------------------------------------------------------------------

    def verdict(self) -> Diagnosis:
        self._what_is_missing()
        small = [each for each in self.e.small if each.reply is not Reply.NO_TOOL]
        good = [each for each in small if self._answered(each)]
        if small and len(good) == len(small):
            return self._reachable()
        if good and not self.e.interrupted:
            return self._partly(len(good), len(small))
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
            self.notes.append(
                Note("facts-missing", f"{self.course.client.host} has no tool to send {self.probe}")
            )
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

    def _answered(self, sent: Sent) -> bool:
        if sent.reply is Reply.ANSWERED:
            return True
        client = self.course.client.host
        return (
            sent.reply is Reply.UNKNOWN
            and bool(self.trail.came(client, Part.REPLY))
            and not any(each.certain for each in self._of(Direction.REPLY, client))
        )

    def _is_refused(self, small: Sequence[Sent]) -> bool:
        """Whether the destination itself says that it takes nothing there."""
        refused = any(each.reply is Reply.REFUSED for each in small)
        # Who sends UDP may have gone before the answer comes.
        refused |= self.probe.protocol is Protocol.UDP and any(
            (each.packet.icmp_type, each.packet.icmp_code) in _PORT_UNREACHABLE
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

    def _what_is_missing(self) -> None:
        for host, why in self.e.unread.items():
            self.notes.append(Note("facts-missing", _of_host(host, why)))
        for host, why in self.e.failed.items():
            code = "insufficient-privilege" if why.startswith(NO_RIGHT) else "host-not-observed"
            self.notes.append(Note(code, _of_host(host, why)))
        for host, number in self.e.lost.items():
            words = f"{host} could not keep {number} packets: what was not seen there may have passed"
            self.notes.append(Note("observer-lost-packets", words))
        for host in self.e.unaligned:
            if any(self.trail.at(host, Part.REQUEST)):
                words = f"the clock of {host} could only be guessed: nothing was seen to go there and to come back"
                self.notes.append(Note("clock-not-aligned", words))

    def _diagnosis(self, result: Result, forward: Half, reply: Half, also: Iterable[Also] = ()) -> Diagnosis:
        source = next(
            (each.packet.source for each in self.trail.left(self.course.client.host, Part.REQUEST)),
            self.course.source,
        )
        return Diagnosis(
            self.e.crossing,
            self.course.client.host,
            source,
            self.probe,
            result,
            forward,
            reply,
            tuple(also),
            tuple(dict.fromkeys(self.notes)),
            story(self.trail, self.forward_end, self.reply_end),
        )

    # ---- what passes ----------------------------------------------------------------------------------

    def _reachable(self) -> Diagnosis:
        elsewhere = self._taken_on_the_way() or self._taken_by_another() or self._only_begun()
        if elsewhere is not None:
            return elsewhere
        large = self._full_sized()
        if large is not None:
            return large
        if self.e.foretold.passes is False:
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
            if len(came) < _ENOUGH or left or not self.trail.left(stop.host, Part.REQUEST):
                continue
            said = f"connections begin, and what comes to {stop.host} after that does not leave it"
            found = self._of(
                Direction.FORWARD, stop.host, frozenset(("conntrack-invalid", "filter-rule-drop"))
            )
            cause = found[0] if found else self._finding("conntrack-invalid", stop, stop.ingress, said)
            return self._with_cause(cause, Ending.STOPPED, said, inferred=not found)
        return None

    @property
    def _heads(self) -> int:
        """The bytes in front of the data of an echo."""
        return 48 if family_of(self.probe.destination) is Family.V6 else 28

    # ---- full-sized packets ---------------------------------------------------------------------------

    def _full_sized(self) -> Diagnosis | None:
        """Small packets pass; whether large ones do."""
        failed = [size for size, sent in self.e.full.items() if sent.reply is not Reply.ANSWERED]
        echoes = (each for each in (*self.e.small, *self.e.beside) if each.probe.protocol is Protocol.ICMP)
        if not failed or not any(each.reply is Reply.ANSWERED for each in echoes):
            return None  # where no small echo is answered a large one says nothing
        size = max(failed)
        trail = self.e.trail.only(size)
        client = self.course.client.host
        own = self._that_minds_the_length(Direction.FORWARD, self.course.client)
        if own is None and trail.watched(client) and not trail.left(client, Part.REQUEST):
            # What was not sent does not vanish: the client knows that the path takes less.
            words = f"{client} sends no packets of {size + self._heads} bytes: it knows that they do not fit"
            self.notes.append(Note("mtu-exceeded", words))
            return None
        told = [each for each in trail.errors() if each.host == client and each.packet.mtu is not None]
        passing = [each for each, sent in self.e.full.items() if sent.reply is Reply.ANSWERED]
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
        at = self._place(where, direction)
        gateway = self.course.gateways[-1] if self.course.gateways else self.course.client
        cause = Finding(
            "pmtu-black-hole",
            gateway.host,
            gateway.egress,
            direction,
            detail,
            mending=Mending(device=gateway.egress, prefix=fits),
        )
        evidence = (
            f"echoes of {size} bytes: no answer, and no ICMP error",
            *self._evidence_of(where, direction),
        )
        half = Half(
            "dropped" if isinstance(at, Place) else "lost-between",
            "pmtu-black-hole",
            detail,
            at,
            Confidence.PROVED,
            evidence=evidence,
            fix=self._fixes(cause),
        )
        if direction is Direction.FORWARD:
            return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"))
        return self._diagnosis(Result.UNREACHABLE, Half("delivered"), half)

    def _that_minds_the_length(self, direction: Direction, stop: Stop | None) -> Finding | None:
        """A rule that surely stops large packets where they were last seen, and small ones not."""
        known = {_same(each) for each in self.e.foretold.findings}
        of_large = self.e.of_large.of(direction) if self.e.of_large is not None and stop is not None else ()
        return next(
            (
                each
                for each in of_large
                if stop is not None and each.host == stop.host
                if each.certain and each.chain is not None and _same(each) not in known
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
            mending=Mending(device=gateway.egress, prefix=most),
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

    # ---- some pass ------------------------------------------------------------------------------------

    def _partly(self, good: int, number: int) -> Diagnosis:
        direction, end = self._lost_ones()
        perhaps = [each for each in self.e.foretold.findings if each.code in _PERHAPS and not each.certain]
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
        lost = [size for size, sent in zip(sizes, self.e.small, strict=False) if not self._answered(sent)]
        if self.probe.protocol is not Protocol.ICMP or not lost:
            return Direction.FORWARD, None
        trail = self.e.trail.only(lost[0])
        end, back = forward_end(trail), reply_end(trail)
        return (Direction.FORWARD, end) if back.ending is Ending.UNSEEN else (Direction.REPLY, back)

    # ---- nothing passes -------------------------------------------------------------------------------

    def _from_facts(self) -> Diagnosis:
        """Nothing could be sent: what facts tell alone."""
        sure = [each for each in self.e.foretold.findings if each.certain]
        if not sure:
            return self._diagnosis(Result.UNDETERMINED, Half("not-sent"), Half("not-sent"))
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
            own = self._of(Direction.FORWARD, end.stop.host, _LEADS_ELSEWHERE)
            if own and own[0].certain:
                return self._lost(end)  # whatever comes back past it
        if back.ending is not Ending.UNSEEN and end.ending not in (Ending.NOT_SENT, Ending.UNRESOLVED):
            return self._reply_stopped(back)
        match end.ending:
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
            case Ending.ARRIVED:
                return self._left(end)

    def _of(self, direction: Direction, host: str, codes: frozenset[str] | None = None) -> list[Finding]:
        return [
            each
            for each in self.e.foretold.of(direction)
            if each.host == host and (codes is None or each.code in codes)
        ]

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

    def _counted_at(self, stop: Stop, interface: str | None) -> Finding | None:
        """What a host has counted, and at least with every probe."""
        for each in self.e.moved.get(stop.host, ()):
            if each.cause and each.by >= len(self.e.small):
                return self._finding(each.cause, stop, interface, str(each))
        return None

    def _not_sent(self, end: End) -> Diagnosis:
        client = self.course.client
        said = next((each.detail for each in self.e.small if each.detail), "")
        found = [
            each
            for each in self._of(Direction.FORWARD, client.host)
            if each.code not in ("wrong-destination-mac", "duplicate-address")
        ]
        traced = self._traced(client, Direction.FORWARD)
        if traced is not None:
            return self._with_cause(traced, end.ending, said)
        if found:
            return self._with_cause(found[0], end.ending, said)
        if "Host Unreachable" in said or "No route to host" in said:
            # The kernel has asked for its next hop before, and does not ask again at once.
            wanted = client.next_hop or self.probe.destination
            following = self.course.stops[1] if len(self.course.stops) > 1 else None
            return self._unresolved(End(Ending.UNRESOLVED, client, client.egress, following, wanted))
        code = "src-no-route" if "nreachable" in said else "src-output-filtered"
        cause = self._finding(code, client, client.egress)
        return self._with_cause(
            replace(cause, text=said or "nothing left it"), end.ending, said, inferred=True
        )

    def _unresolved(self, end: End) -> Diagnosis:
        """Somebody asked for a neighbour, and nobody answered."""
        stop, wanted = end.stop, end.asked
        assert stop is not None
        assert wanted is not None
        said = f"{stop.host} asked for {wanted} on {end.interface}, and nobody answered"
        rewritten = self._of(Direction.FORWARD, stop.host, _REWRITES)
        if rewritten:
            return self._with_cause(rewritten[0], end.ending, said)
        own = self._of(Direction.FORWARD, stop.host, _LEADS_ELSEWHERE)
        if own:
            return self._with_cause(own[0], end.ending, said)
        if stop == self.course.stops[-1]:
            # As whom a host sends it asks its neighbours too (arp_solicit): not everybody answers a stranger.
            odd = self._of(Direction.REPLY, stop.host, _STRANGERS)
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
                if each.code in _KEEPS_FROM_ANSWERING
            ]
            if near:
                return self._with_cause(near[0], end.ending, said)
            came = self.trail.watched(following.host) and self.trail.was_asked(following.host, wanted)
            owns = self.e.facts[following.host].owner_of(wanted) is not None
            astray = self._of(
                Direction.REPLY, following.host, frozenset(("wrong-destination-mac", "duplicate-address"))
            )
            if came and owns and astray and family_of(wanted) is Family.V6:
                # An advertisement goes to the asker's address, by what is known of that; an ARP answer does not.
                return self._with_cause(astray[0], end.ending, said)
            if came and owns:
                cause = self._finding("arp-not-answered", following, following.ingress, said)
                return self._with_cause(cause, end.ending, said, inferred=True)
            if self.trail.watched(following.host) and owns:
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
                *self._of(Direction.FORWARD, stop.host, _REWRITES),
                *self._of(Direction.REPLY, stop.host, _UNSUITABLE),
            ]
            if seen_as:
                return self._with_cause(seen_as[0], end.ending, said)
        own = self._of(Direction.FORWARD, stop.host, _LEADS_ELSEWHERE)
        if own:
            return self._with_cause(own[0], end.ending, said)
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
        if for_others:
            return self._with_cause(
                self._misaddressed(stop, end.interface, Direction.FORWARD, wanted), end.ending, said
            )
        near = [
            each
            for each in self._of(Direction.FORWARD, following.host)
            if each.code in ("link-down", "address-missing") or "XDP" in each.text
        ]
        if near:
            candidates = () if near[0].certain else (near[0].code, "lost-between")
            return self._with_cause(near[0], end.ending, said, candidates=candidates)
        return self._between(stop, following, end.interface, Direction.FORWARD, said)

    def _stopped(self, end: End) -> Diagnosis:
        """It came to a host and did not leave it."""
        stop = end.stop
        assert stop is not None
        said = f"it came to {stop.host} by {end.interface}, and did not leave"
        found = [
            each
            for each in self._of(Direction.FORWARD, stop.host)
            if each.code not in ("arp-not-answered", "wrong-destination-mac", "duplicate-address")
            and "XDP" not in each.text
        ]
        errors = [each for each in self.trail.errors() if each.host == stop.host]
        traced = self._traced(stop, Direction.FORWARD)
        if traced is not None:
            return self._with_cause(traced, end.ending, said)
        if found:
            # What surely stops it counts before what perhaps does.
            cause = next((each for each in found if each.certain), found[0])
            return self._with_cause(cause, end.ending, said, error=errors[0].packet if errors else None)
        if errors:
            cause = self._of_error(errors[0].packet, stop, end)
            return self._with_cause(cause, end.ending, said, inferred=True, error=errors[0].packet)
        if (counted := self._counted_at(stop, end.interface)) is not None:
            return self._with_cause(counted, end.ending, said, inferred=True)
        candidates = ("filter-rule-drop", "tc-or-xdp-drop", "reverse-path-filter")
        queue = self._queue(stop, stop.egress, Direction.FORWARD)
        if queue is not None:
            return self._with_cause(queue, end.ending, said, candidates=(queue.code, *candidates[::2]))
        half = Half(
            "dropped",
            candidates[0],
            f"{said}; nothing that is known of {stop.host} explains it",
            Place(stop.host, end.interface),
            Confidence.CANDIDATES,
            candidates,
            self._evidence_of(end, Direction.FORWARD),
        )
        self._disagree(said)
        return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"), self._also(()))

    def _queue(self, stop: Stop, device: str | None, direction: Direction) -> Finding | None:
        """A queue that somebody has set where packets leave: it may take them though no fact says so."""
        link = self.e.facts[stop.host].link(device or "") if stop.host in self.e.facts else None
        if link is None or not link.qdisc or link.qdisc in _USUAL_QUEUES:
            return None
        words = f"tc qdisc {link.qdisc} dev {link.name}"
        return Finding("tc-or-xdp-drop", stop.host, link.name, direction, words, False, "egress")

    def _of_error(self, packet: Packet, stop: Stop, end: End) -> Finding:
        """What an ICMP error of a host says."""
        code = _ERRORS.get((packet.icmp_type, packet.icmp_code), "filter-reject")
        return self._finding(code, stop, end.interface, str(packet))

    def _left(self, end: End) -> Diagnosis:
        """It left the last host that can be asked, or came to the target, and nothing came back."""
        stop = end.stop
        assert stop is not None
        if self.course.target is not None and stop == self.course.target:
            return self._at_target(stop, end)
        astray = [
            each
            for each in self._of(Direction.FORWARD, stop.host, _LEADS_ELSEWHERE)
            if stop.egress is None or end.interface != stop.egress or each.certain
        ]
        if astray:
            said = f"it leaves {stop.host} by {end.interface}"
            return self._with_cause(astray[0], end.ending, said)
        if self.course.target is not None and self.trail.watched(self.course.target.host):
            return self._lost(End(Ending.LOST, stop, end.interface, self.course.target))
        rewritten = self._of(Direction.FORWARD, stop.host, _REWRITES)
        if rewritten:
            return self._with_cause(
                rewritten[0], end.ending, f"it left {stop.host} by {end.interface} for another host"
            )
        left = self.trail.left(stop.host, Part.REQUEST)
        as_whom = (
            f" as {left[-1].packet.source}" if left and left[-1].packet.source != self.course.source else ""
        )
        said = f"it left {stop.host} by {end.interface}{as_whom}, and no answer came back"
        errors = self.trail.came(stop.host, Part.ERROR)
        if errors:
            return self._error_from_beyond(errors[0].packet, stop, end, said)
        translated = [
            each
            for each in self._of(Direction.REPLY, stop.host)
            if each.code.startswith("snat-") or each.code == "address-missing"
        ]
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
        other = [each for each in self.e.beside if each.reply in (Reply.ANSWERED, Reply.REFUSED)]
        before_capture = [
            each
            for each in self._of(Direction.REPLY, stop.host)
            if "XDP" in each.text and each.interface == end.interface
        ]
        if before_capture and not other:
            perhaps = (before_capture[0].code, "destination-silent", "filter-rule-drop", "lost-between")
            return self._with_cause(before_capture[0], end.ending, said, candidates=perhaps)
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
        code = (
            "filter-reject"
            if target
            else _ERRORS_BEYOND.get((packet.icmp_type, packet.icmp_code), "filter-reject")
        )
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
        if traced is not None:
            return self._with_cause(traced, end.ending, said)
        found = [
            each
            for each in self.e.foretold.findings
            if each.host == stop.host
            and each.code not in ("address-missing", "link-down", "arp-not-answered")
        ]
        unanswered = self.trail.asks(stop.host)
        seen_as = self._of(Direction.REPLY, self.course.stops[-1].host, _UNSUITABLE)
        if found or (unanswered and seen_as):
            return self._with_cause((found or seen_as)[0], end.ending, said)
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
        half = Half(
            "dropped",
            "destination-silent",
            said,
            Place(stop.host, end.interface),
            Confidence.CANDIDATES,
            ("destination-silent", "filter-rule-drop", "echo-ignored", "no-return-route"),
            self._evidence_of(end, Direction.FORWARD),
        )
        return self._diagnosis(Result.UNREACHABLE, Half("delivered"), half, self._also(()))

    def _reply_stopped(self, back: End) -> Diagnosis:
        stop = back.stop
        assert stop is not None
        if stop == self.course.target and not self._of(Direction.REPLY, stop.host):
            # It answers whom it has seen: a source to which no way leads back is the gateway's doing.
            seen_as = self._of(Direction.REPLY, self.course.stops[-1].host, _UNSUITABLE)
            if seen_as:
                return self._with_cause(
                    seen_as[0], back.ending, f"{stop.host} answered, and the reply did not come back"
                )
        stranger = self._of(Direction.REPLY, self.course.client.host, _UNSUITABLE)
        if stranger and back.ending in (Ending.STOPPED, Ending.UNRESOLVED) and stop in self.course.gateways:
            said = f"the reply came to {stop.host}, and is for another address than {self.course.source}"
            return self._with_cause(stranger[0], back.ending, said)
        match back.ending:
            case Ending.STOPPED:
                said = f"the reply came to {stop.host} by {back.interface}, and did not leave"
            case Ending.UNRESOLVED:
                said = f"{stop.host} has the reply, asked for {back.asked} on {back.interface}, and nobody answered"
            case Ending.ARRIVED:
                said = f"the reply came to {stop.host} by {back.interface}, and its program got none"
            case _:
                following = back.following
                assert following is not None
                said = f"the reply left {stop.host} by {back.interface}, and did not come to {following.host}"
                own = self._of(Direction.REPLY, stop.host, _LEADS_ELSEWHERE)
                if own:
                    return self._with_cause(own[0], back.ending, said)
                bogus = self._of(
                    Direction.REPLY, stop.host, frozenset(("wrong-destination-mac", "duplicate-address"))
                )
                if bogus:
                    return self._with_cause(bogus[0], back.ending, said)
                near = [each for each in self._of(Direction.REPLY, following.host) if "XDP" in each.text]
                if near:
                    return self._with_cause(
                        near[0], back.ending, said, candidates=(near[0].code, "lost-between")
                    )
                for_others = self.trail.for_others(following.host, Part.REPLY)
                if for_others:
                    wanted = for_others[0].packet.destination
                    cause = self._misaddressed(stop, back.interface, Direction.REPLY, wanted)
                    return self._with_cause(cause, back.ending, said)
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
        candidates = ("reply-not-untranslated", "filter-rule-drop", "tc-or-xdp-drop")
        queue = self._queue(stop, stop.ingress, Direction.REPLY)
        if queue is not None and not unresolved:
            return self._with_cause(queue, back.ending, said, candidates=(queue.code, *candidates[:2]))
        half = Half(
            "dropped",
            "next-hop-unresolved" if unresolved else candidates[0],
            said if unresolved else f"{said}; nothing that is known of {stop.host} explains it",
            Place(stop.host, back.interface),
            Confidence.INFERRED if unresolved else Confidence.CANDIDATES,
            () if unresolved else candidates,
            self._evidence_of(back, Direction.REPLY),
        )
        self._disagree(said)
        return self._diagnosis(Result.UNREACHABLE, Half("delivered"), half, self._also(()))

    # ---- what the firewall itself says ----------------------------------------------------------------

    def _traced(self, stop: Stop, direction: Direction) -> Finding | None:
        """What the trace of a host names as the packets' end: a finding that was doubtful, or another."""
        traced = self.e.traced
        if traced is None or (traced.host, traced.direction) != (stop.host, direction):
            return None
        code = {"policy": "filter-policy-drop", "queue": "queue-without-listener"}.get(
            traced.verdict, "filter-reject" if " reject" in f" {traced.text}" else "filter-rule-drop"
        )
        chain = self._chain(traced)
        near = [
            each
            for each in self._of(direction, stop.host)
            if each.chain is not None
            and (each.chain.family, each.chain.table, each.chain.chain)
            == (traced.family, traced.table, traced.chain)
            and (each.code == code or each.code == "src-output-filtered")
        ]
        same = [each for each in near if each.text == traced.text] or near
        if len(same) == 1 and (same[0].text == traced.text or chain.tool is not Tool.NFT):
            return replace(same[0], certain=True)
        if stop == self.course.client and direction is Direction.FORWARD and traced.verdict == "drop":
            code = "src-output-filtered"
        interface = stop.ingress if direction is Direction.FORWARD else stop.egress
        return Finding(code, stop.host, interface, direction, traced.text, chain=chain)

    def _chain(self, traced: Traced) -> Chain:
        """The chain that a trace names; iptables-nft has its own among those of nftables."""
        facts = self.e.facts.get(traced.host)
        for engine, table, chain in facts.firewall.others() if facts is not None else ():
            if (table.family, table.name, chain.name) == (traced.family, traced.table, traced.chain):
                tool = Tool.IPTABLES_NFT if engine.is_iptables else Tool.NFT
                return Chain(
                    tool, traced.family, traced.table, traced.chain, chain.hook.name if chain.hook else ""
                )
        return Chain(Tool.NFT, traced.family, traced.table, traced.chain, "")

    # ---- how it is told -------------------------------------------------------------------------------

    def _finding(self, code: str, stop: Stop, interface: str | None, text: str = "") -> Finding:
        return Finding(code, stop.host, interface, Direction.FORWARD, text)

    def _misaddressed(
        self, stop: Stop, interface: str | None, direction: Direction, wanted: Address | None
    ) -> Finding:
        """A host whose frames were seen to have another hardware address than the next host's."""
        return Finding(
            "wrong-destination-mac",
            stop.host,
            interface,
            direction,
            "its frames are addressed to another host",
            mending=Mending(device=interface, address=wanted),
        )

    def _disagree(self, said: str) -> None:
        if self.e.foretold.passes:
            self.notes.append(Note("static-dynamic-disagree", f"facts say that it passes, but {said}"))

    def _goes_on(self) -> None:
        """What facts surely say of a host from which packets were seen to go on."""
        for each in self.e.foretold.findings:
            part = Part.REQUEST if each.direction is Direction.FORWARD else Part.REPLY
            if each.certain and each.code in _ENDS_THERE and self.trail.left(each.host, part):
                words = (
                    f"facts say that {each.host} stops the {part} ({each.code}), and it was seen to leave it"
                )
                self.notes.append(Note("static-dynamic-disagree", words))

    def _with_cause(
        self,
        cause: Finding,
        ending: Ending,
        said: str = "",
        *,
        inferred: bool = False,
        candidates: Sequence[str] = (),
        error: Packet | None = None,
    ) -> Diagnosis:
        """The verdict where one finding explains what was seen."""
        twins = [each for each in self.e.foretold.findings if each != cause and _same(each) == _same(cause)]
        on_a_host = ending in (Ending.NOT_SENT, Ending.STOPPED, Ending.UNRESOLVED)
        # An answer that came to the client and was not let in.
        on_a_host |= cause.direction is Direction.REPLY and cause.host == self.course.client.host
        by_a_rule = self.e.traced is not None and self.e.traced.host == cause.host
        if (
            (on_a_host or by_a_rule)
            and cause not in self.e.foretold.findings
            and cause.code not in _OF_OTHERS
        ):
            self._disagree(said or f"nothing left {cause.host}")
        sure = cause.certain and not inferred
        confidence = Confidence.PROVED if sure and ending is not Ending.UNSEEN else Confidence.INFERRED
        if candidates:
            confidence = Confidence.INFERRED
        disposition = _DISPOSITIONS.get(cause.code, "dropped")
        if (
            ending in (Ending.NOT_SENT, Ending.UNSEEN)
            and cause.host == self.course.client.host
            and cause.direction is Direction.FORWARD
        ):
            disposition = "not-sent"
        evidence = [said] if said else []
        if error is not None:
            evidence.append(str(error))
        if self.e.traced is not None and self.e.traced.host == cause.host:
            evidence.append(str(self.e.traced))
        evidence += self._moved(cause.host)
        half = Half(
            disposition,
            cause.code,
            self._sentence(cause),
            Place(cause.host, cause.interface),
            confidence,
            tuple(candidates),
            tuple(evidence),
            self._fixes(cause, *twins),
        )
        also = self._also((cause, *twins))
        if cause.direction is Direction.FORWARD:
            return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"), also)
        came = Half("delivered-to-segment" if self.course.target is None else "delivered")
        return self._diagnosis(Result.UNREACHABLE, came, half, also)

    def _between(
        self, stop: Stop, following: Stop, interface: str | None, direction: Direction, said: str
    ) -> Diagnosis:
        """Whatever took it stands between two hosts that were watched."""
        where = following.ingress if direction is Direction.FORWARD else following.egress
        at = Between(Place(stop.host, interface), Place(following.host, where))
        side = (
            "neutron-antispoof-destination" if direction is Direction.FORWARD else "neutron-antispoof-source"
        )
        candidates = (
            "lost-between",
            side,
            "neutron-security-group",
            "filter-policy-drop",
            "neutron-port-down",
        )
        half = Half("lost-between", "lost-between", said, at, Confidence.CANDIDATES, candidates, (said,))
        if direction is Direction.FORWARD:
            return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"), self._also(()))
        return self._diagnosis(Result.UNREACHABLE, Half("delivered"), half, self._also(()))

    def _elsewhere(
        self,
        code: str,
        at: Between,
        said: str,
        candidates: Sequence[str],
        disposition: str,
        stop: Stop,
        *,
        reply: bool = False,
    ) -> Diagnosis:
        """The cause stands where nobody can look."""
        half = Half(
            disposition,
            code,
            said,
            at,
            Confidence.CANDIDATES,
            tuple(candidates),
            (said, *self._moved(stop.host)),
        )
        # Who takes a datagram need not answer it.
        unknown = code == "destination-silent" and self.probe.protocol is Protocol.UDP
        result = Result.UNDETERMINED if unknown else Result.UNREACHABLE
        return self._diagnosis(result, half, Half("undetermined" if reply else "not-sent"), self._also(()))

    def _fixes(self, *causes: Finding) -> tuple[Fix, ...]:
        found: dict[str, dict[str, None]] = {}
        specs: dict[str, str | None] = {}
        for cause in causes:
            fix = fix_of(cause, self.course, self.probe, self.e.facts, self.e.foretold.source)
            for one in fix:
                found.setdefault(one.host, {}).update(dict.fromkeys(one.commands))
                specs[one.host] = specs.get(one.host) or one.spec
        return tuple(Fix(host, tuple(commands), specs[host]) for host, commands in found.items())

    def _also(self, told: Sequence[Finding]) -> tuple[Also, ...]:
        """Everything else that would have to change, each once, whatever directions it stops."""
        known = {_same(each) for each in told}
        together: dict[object, list[Finding]] = {}
        for each in self.e.foretold.findings:
            if _same(each) not in known:
                together.setdefault(_same(each), []).append(each)
        found = tuple(
            Also(
                str(first.direction),
                Place(first.host, first.interface),
                first.code,
                self._sentence(first) if first.certain else f"perhaps: {self._sentence(first)}",
                self._fixes(first, *others),
            )
            for first, *others in together.values()
        )
        beyond = self._beyond(told)
        return (*found, *([beyond] if beyond is not None else []))

    def _beyond(self, told: Sequence[Finding]) -> Also | None:
        """A destination that answers nobody, behind what stops the requests on their way to it."""
        if not self.e.beyond or not told or not self.course.gateways:
            return None
        last, wanted = self.course.gateways[-1], str(self.probe.destination)
        words = {
            "destination-silent": f"an echo that {last.host} itself sent to {wanted} was not answered either",
            "filter-reject": f"{wanted} rejects what {last.host} itself sends, too",
            "destination-absent": f"{last.host} itself asked for {wanted} on {last.egress}, and nobody answered",
        }[self.e.beyond]
        return Also("forward", Between(Place(last.host, last.egress), Place(wanted)), self.e.beyond, words)

    def _sentence(self, finding: Finding) -> str:
        """What a finding says, as one sentence."""
        host, text, chain = finding.host, finding.text, finding.chain
        if chain is not None and is_own(chain) and finding.code.startswith("filter-"):
            return f"crossnet's own fence on {host} lets through only what a crossing names, and no crossing names this"
        words = _SENTENCES.get(finding.code)
        if words is None:
            return f"{host}: {text}" if text else host
        where = finding.hook
        if chain is not None:
            tool = engine_of(chain, self.e.facts[host]) if host in self.e.facts else chain.tool
            named = "nft" if tool is Engine.NFTABLES else tool
            where = f"{named} {chain.family} {chain.table} {chain.chain}"
        return words.format(host=host, text=text, interface=finding.interface or "?", where=where)

    def _moved(self, host: str) -> tuple[str, ...]:
        known = [f"{host}: connection tracking: {entry.text}" for entry in self.e.tracked.get(host, ())[:1]]
        return (*(f"{host}: {words}" for words in self.e.moved.get(host, ())), *known, *self._refused(host))

    def _refused(self, host: str) -> Iterator[str]:
        """What the kernel of a host itself says that it would not send on, or by another interface."""
        stop = next((each for each in self.course.stops if each.host == host), None)
        for lookup, answer in self.e.lookups.get(host, {}).items():
            if answer is None or stop is None:
                continue
            meant = stop.egress if lookup.destination == self.probe.destination else stop.ingress
            if answer.error or (answer.route is not None and meant and answer.route.device != meant):
                yield f"{host}: `{lookup}`: {answer}"

    def _place(self, end: End, direction: Direction) -> Place | Between | None:
        if end.stop is None:
            return None
        if end.ending is Ending.LOST and end.following is not None:
            return Between(Place(end.stop.host, end.interface), Place(end.following.host))
        if end.ending is Ending.ARRIVED and direction is Direction.FORWARD and self.course.target is None:
            return Between(Place(end.stop.host, end.interface), Place(str(self.probe.destination)))
        return Place(end.stop.host, end.interface)

    def _evidence_of(self, end: End, direction: Direction) -> tuple[str, ...]:
        host = end.stop.host if end.stop is not None else ""
        return tuple(self._moved(host)) if host else ()


def _same(finding: Finding) -> object:
    """What two findings share that are one thing to change: a rule that stops requests and answers is one."""
    return finding.host, finding.code, finding.text, finding.chain


# What a host leads another way, or nowhere.
_LEADS_ELSEWHERE = frozenset(
    {
        *("src-route-other-next-hop", "src-route-on-link", "policy-rule-diverts", "gateway-route-elsewhere"),
        *(
            "src-no-route",
            "no-route",
            "route-blackhole",
            "route-unreachable",
            "route-prohibit",
            "return-route-elsewhere",
        ),
        *("no-return-route", "forwarding-loop"),
    }
)
# Connections of which one may still be on its way.
_ENOUGH = 2
# What gives packets another destination.
_REWRITES = frozenset({"dnat-captures"})
# As whom a gateway lets packets leave.
_UNSUITABLE = frozenset({"snat-missing", "snat-skipped", "snat-address-not-local", "snat-address-unsuitable"})
_STRANGERS = frozenset({"snat-address-not-local", "snat-address-unsuitable"})
# Why a host does not answer for its address.
_KEEPS_FROM_ANSWERING = frozenset(
    {
        *("link-down", "address-missing", "arp-not-answered", "reverse-path-filter", "martian-source"),
        *("no-route", "route-blackhole", "prefix-mismatch"),
    }
)
# What keeps packets from leaving a host, by any interface.
_ENDS_THERE = frozenset(
    {
        *("src-no-route", "src-output-filtered", "no-route", "route-blackhole", "route-unreachable"),
        *("route-prohibit", "ip-forward-disabled", "interface-forwarding-disabled", "reverse-path-filter"),
        *("martian-source", "filter-rule-drop", "filter-policy-drop", "filter-reject", "ipsec-policy-drop"),
        *("conntrack-table-full", "queue-without-listener"),
    }
)
# What a host's error tells of another one, of which its facts say nothing.
_OF_OTHERS = frozenset({"destination-absent", "next-hop-unresolved"})
# What perhaps stops some packets and lets others pass.
_PERHAPS = frozenset(
    {
        *("filter-rule-drop", "filter-reject", "filter-policy-drop", "src-output-filtered"),
        *("queue-without-listener", "tc-or-xdp-drop", "conntrack-table-full", "conntrack-invalid"),
    }
)
_DISPOSITIONS = {
    **dict.fromkeys(
        ("filter-reject", "no-route", "route-unreachable", "route-prohibit", "ttl-expired"), "rejected"
    ),
    **dict.fromkeys(("dnat-captures", "destination-is-local", "reply-not-untranslated"), "consumed-locally"),
    **dict.fromkeys(("wrong-destination-mac", "duplicate-address"), "lost-between"),
    **dict.fromkeys(_UNSUITABLE, "undetermined"),
}
# RFC 792, RFC 1812: what the type and the code of an error mean.
_ERRORS: Mapping[tuple[int | None, int | None], str] = {
    (3, 0): "no-route",
    (3, 1): "destination-absent",
    (3, 3): "filter-reject",
    (3, 4): "mtu-exceeded",
    (3, 9): "filter-reject",
    (3, 10): "filter-reject",
    (3, 13): "filter-reject",
    (11, 0): "ttl-expired",
    (1, 0): "no-route",
    (1, 3): "destination-absent",
    (1, 1): "filter-reject",
    (2, 0): "mtu-exceeded",
}
_ERRORS_BEYOND = _ERRORS
# The queues that an interface has of itself (net.core.default_qdisc).
_USUAL_QUEUES = ("noqueue", "noop", "mq", "pfifo_fast", "fq_codel", "fq")
_PORT_UNREACHABLE = ((3, 3), (1, 4))


def _of_host(host: str, why: str) -> str:
    """Why something is not known of a host, in one line; some reasons begin with its name, and go on with advice."""
    return f"{host}: {why.splitlines()[0].removeprefix(f'{host}: ')}"


_SENTENCES = {
    "src-no-route": "{host} has no route to it",
    "src-route-other-next-hop": "{host} sends it another way: {text}",
    "src-route-on-link": "{host} takes it for a neighbour on its own network: {text}",
    "policy-rule-diverts": "a policy rule of {host} leads it elsewhere: {text}",
    "gateway-route-elsewhere": "{host} sends it another way: {text}",
    "no-route": "{host} has no route for it",
    "route-blackhole": "a route of {host} drops it: {text}",
    "route-unreachable": "a route of {host} refuses it: {text}",
    "route-prohibit": "a route of {host} refuses it: {text}",
    "ip-forward-disabled": "{host} does not forward packets: {text}",
    "interface-forwarding-disabled": "{host} does not forward what comes in by {interface}: {text}",
    "reverse-path-filter": "{host} refuses the source on {interface}: {text}",
    "martian-source": "{host} refuses the source, which is one of its own addresses",
    "filter-rule-drop": "a rule of {host} drops it ({where}): {text}",
    "filter-policy-drop": "no rule of {host} accepts it, and the chain's policy drops it ({where})",
    "filter-reject": "a rule of {host} rejects it ({where}): {text}",
    "conntrack-invalid": "a rule of {host} drops what belongs to no connection that it knows ({where}): {text}",
    "src-output-filtered": "a rule of {host} does not let it out: {text}",
    "queue-without-listener": "a rule of {host} gives it to a program, and none listens: {text}",
    "tc-or-xdp-drop": "a program of {host} drops it: {text}",
    "ipsec-policy-drop": "an IPsec policy of {host} drops it: {text}",
    "conntrack-table-full": "{host} can remember no more connections: {text}",
    "dnat-captures": "a rule of {host} gives it another destination: {text}",
    "destination-is-local": "{text}",
    "snat-ports-exhausted": "{host} may have no port left to translate it to: {text}",
    "snat-missing": "no rule of {host} translates it: {text}",
    "snat-skipped": "{host} does not translate it: {text}",
    "link-down": "on {host}, {text}",
    "address-missing": "on {host}, {text}",
    "reply-not-untranslated": "{host} takes the reply for itself: {text}",
}
