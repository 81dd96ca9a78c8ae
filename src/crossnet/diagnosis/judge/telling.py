"""How a cause is told: the place, how sure it is, the evidence, what to do, and what would stop the flow next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from crossnet.capture import NO_RIGHT, Packet
from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.ending import End, Ending
from crossnet.diagnosis.finding import Direction, Finding, Remedy, is_own
from crossnet.diagnosis.fixes import engine_of, fix_of
from crossnet.diagnosis.judge import ports, reasons, seen_past
from crossnet.diagnosis.judge.evidence import Evidence
from crossnet.diagnosis.judge.words import DISPOSITIONS, ON_A_SWITCH, SENTENCES, of_host
from crossnet.diagnosis.signs import (
    AT_PORTS,
    ENDS_THERE,
    ERRORS,
    LEADS_ELSEWHERE,
    OF_OTHERS,
    UNSUITABLE,
    USUAL_QUEUES,
)
from crossnet.diagnosis.story import story, with_end
from crossnet.diagnosis.tracing import Traced
from crossnet.diagnosis.trail import Part, forward_end, reply_end
from crossnet.netfilter import Engine
from crossnet.netfilter.foreign import Tool
from crossnet.reach.rules import Place as Chain
from crossnet.values import Address, Family, Protocol, family_of
from crossnet.verdict import (
    Action,
    Also,
    Between,
    Confidence,
    Diagnosis,
    Fix,
    Half,
    Note,
    Observation,
    Place,
    Result,
)
from crossnet.verification.probe import Reply, Sent


class Telling:
    """What every judgement has in its hands, and how it says what it found."""

    def __init__(self, evidence: Evidence) -> None:
        evidence = replace(evidence, tracked=evidence.own_tracked())
        dropped = evidence.dropped
        if dropped is not None and reasons.is_of_others(dropped, evidence.tracked, evidence.course.source):
            dropped = None
        self.e = replace(evidence, foretold=reasons.confirmed(evidence.foretold, dropped), dropped=dropped)
        self.course, self.probe = evidence.course, evidence.probe
        self.trail = evidence.trail.asked()
        self.notes: list[Note] = []
        self.forward_end, self.reply_end = forward_end(self.trail), reply_end(self.trail)
        if evidence.counted is not None:
            self.forward_end, self.reply_end = evidence.counted.forward, evidence.counted.reply

    def _answered(self, sent: Sent) -> bool:
        if sent.reply is Reply.ANSWERED:
            return True
        client = self.course.client.host
        return (
            sent.reply is Reply.UNKNOWN
            and bool(self.trail.came(client, Part.REPLY))
            and not any(each.certain for each in self._of(Direction.REPLY, client))
        )

    @property
    def _refused(self) -> bool:
        return any(each.reply is Reply.REFUSED for each in self.e.small)

    def _what_is_missing(self) -> None:
        for host, why in self.e.unread.items():
            self.notes.append(Note("facts-missing", of_host(host, why)))
        for cloud, why in ports.unasked(self.e.facts).items():
            self.notes.append(Note("cloud-unasked", of_host(cloud, why)))
        for host, why in self.e.failed.items():
            code = "insufficient-privilege" if why.startswith(NO_RIGHT) else "host-not-observed"
            self.notes.append(Note(code, of_host(host, why)))
        for host, number in self.e.lost.items():
            words = f"{host} could not keep {number} packets: what was not seen there may have passed"
            self.notes.append(Note("observer-lost-packets", words))
        if self.e.untold is not None:
            code = {"right": "insufficient-privilege", "kernel": "reason-not-specified-by-kernel"}.get(
                self.e.untold.lacking, "facts-missing"
            )
            self.notes.append(Note(code, str(self.e.untold)))
        if self.e.dropped is not None and not self.e.dropped.is_specified:
            self.notes.append(Note("reason-not-specified-by-kernel", str(self.e.dropped)))
        for host in self.e.unaligned:
            if any(self.trail.at(host, Part.REQUEST)):
                words = f"the clock of {host} could only be guessed: nothing was seen to go there and to come back"
                self.notes.append(Note("clock-not-aligned", words))

    def _what_is_open(self) -> None:
        """What crossnet does not understand of the hosts that may have stopped the packets, and that do not say it."""
        told = {(each.host, each.direction) for each in (self.e.traced, self.e.dropped) if each is not None}
        for each in self.e.foretold.findings:
            part = Part.REQUEST if each.direction is Direction.FORWARD else Part.REPLY
            if each.certain or (each.host, each.direction) in told or self.trail.left(each.host, part):
                continue
            for words in each.unread:
                detail = (
                    f"{each.host}: crossnet does not understand `{words}`, and what it does to the {part}"
                )
                self.notes.append(Note("unmodelled-rule", detail))
            if each.code == "tc-or-xdp-drop":
                detail = f"{each.host}: crossnet does not read what {each.text} does to the {part}"
                self.notes.append(Note("unmodelled-hook", detail))
        self.notes += [Note("port-unknown", words) for words in ports.untold(self.e.facts, self.course)]

    def _diagnosis(
        self,
        result: Result,
        forward: Half,
        reply: Half,
        also: Iterable[Also] = (),
        by: Finding | None = None,
    ) -> Diagnosis:
        """The verdict; `by` is the rule that is proved to end the packets where they were seen last."""
        if result is not Result.REACHABLE:
            self._what_is_open()
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
            self._ended(story(self.trail, self.forward_end, self.reply_end), by),
        )

    def _ended(self, told: tuple[Observation, ...], cause: Finding | None) -> tuple[Observation, ...]:
        """The same with the end of the packets: as the host itself tells of it, else as facts and packets prove it."""
        traced, dropped = self.e.traced, self.e.dropped
        which = traced or dropped or cause
        if which is None:
            return told
        interface = dropped.interface if dropped is not None else None
        if traced is not None:
            chain = self._chain(traced)
            hook, rejects = chain.hook or None, " reject" in f" {traced.text}"
            by = f"{traced.family} {traced.table} {traced.chain}: {traced.text or 'policy drop'}"
        elif dropped is not None:
            hook, rejects, by = dropped.hook, False, f"{dropped.reason} in {dropped.function}"
            known = reasons.agreeing(dropped, self.e.foretold)
            if len(known) == 1 and known[0].text:
                by = _rule(known[0])
        else:
            assert cause is not None
            hook, rejects, by = cause.hook, "reject" in f"{cause.code} {cause.text}".lower(), _rule(cause)
        direction = "request" if which.direction is Direction.FORWARD else "reply"
        action = Action.REJECTED if rejects else Action.DROPPED
        return with_end(
            told, self.trail, which.host, direction, action, interface=interface, hook=hook, by=by
        )

    def _ends_at_rule(self, cause: Finding) -> bool:
        """Whether packets were seen last on the host where the rule is that takes them."""
        end = self.forward_end if cause.direction is Direction.FORWARD else self.reply_end
        at_end = end.ending in (Ending.NOT_SENT, Ending.STOPPED, Ending.ARRIVED)
        return cause.chain is not None and at_end and end.stop is not None and end.stop.host == cause.host

    @property
    def _heads(self) -> int:
        """The bytes in front of the data of an echo."""
        return 48 if family_of(self.probe.destination) is Family.V6 else 28

    def _of(self, direction: Direction, host: str, codes: frozenset[str] | None = None) -> list[Finding]:
        """What a host itself does; what it is plugged into stands between two of them."""
        return [
            each
            for each in self.e.foretold.of(direction)
            if each.host == host and (each.code not in AT_PORTS if codes is None else each.code in codes)
        ]

    def _on_either_of(self, direction: Direction, stop: Stop, following: Stop) -> list[Finding]:
        """What either host does, and the ports between them, in the order in which packets meet it."""
        near = ports.between(self.e.foretold, direction, stop, following)
        return [
            each
            for each in self.e.foretold.of(direction)
            if each in near or (each.host in (stop.host, following.host) and each.code not in AT_PORTS)
        ]

    def _by_a_port(
        self,
        direction: Direction,
        end: End,
        said: str,
        *others: str,
        following: Stop | None = None,
        codes: frozenset[str] = AT_PORTS,
    ) -> Diagnosis | None:
        """The verdict where a port stops what left a host; `others` may have where none surely does."""
        assert end.stop is not None
        receiver = end.following or following
        near = ports.between(self.e.foretold, direction, end.stop, receiver, end.interface)
        found = [each for each in near if each.code in codes]
        if not found:
            return None
        cause = next((each for each in found if each.certain), found[0])
        candidates = () if cause.certain else (*dict.fromkeys(each.code for each in found), *others)
        return self._with_cause(cause, end.ending, said, candidates=candidates)

    def _answer_shut_out(self, end: End, said: str, *others: str) -> Diagnosis | None:
        """The verdict where the port that requests left by takes no answer: whether one came, nobody can see."""
        assert end.stop is not None
        at = (end.stop.host, end.interface, "ingress")
        found = [
            each
            for each in self.e.foretold.of(Direction.REPLY)
            if each.code in AT_PORTS and (each.host, each.interface, each.hook) == at
        ]
        if not found:
            return None
        cause = next((each for each in found if each.certain), found[0])
        candidates = () if cause.certain else (*dict.fromkeys(each.code for each in found), *others)
        return self._with_cause(cause, end.ending, said, inferred=cause.certain, candidates=candidates)

    def _leave_out(self, refuted: Collection[Finding]) -> None:
        """Go on without what was seen not to be so."""
        left = tuple(each for each in self.e.foretold.findings if each not in refuted)
        self.e = replace(self.e, foretold=replace(self.e.foretold, findings=left))

    def _believe_what_was_seen(self) -> None:
        """Of what got past a port no cloud can say that it does not."""
        refuted = seen_past.refuted(self.e.foretold, self.trail)
        for each, host in refuted.items():
            part = Part.REQUEST if each.direction is Direction.FORWARD else Part.REPLY
            if each.certain and host:
                words = f"{each.text} ({each.code}), and the {part} was seen to get past it to {host}"
                self.notes.append(Note("static-dynamic-disagree", words))
        self._leave_out(refuted)

    def _counted_at(self, stop: Stop, interface: str | None) -> Finding | None:
        """What a host has counted, and at least with every probe."""
        for each in self.e.moved.get(stop.host, ()):
            if each.cause and each.by >= len(self.e.small):
                return self._finding(each.cause, stop, interface, str(each))
        return None

    def _queue(self, stop: Stop, device: str | None, direction: Direction) -> Finding | None:
        """A queue that somebody has set where packets leave: it may take them though no fact says so."""
        facts = self.e.facts.get(stop.host)
        link = facts.link(device or "") if facts is not None else None
        if facts is None or link is None or not link.qdisc or link.qdisc in USUAL_QUEUES:
            return None
        words = facts.queue_of(link)
        return Finding("tc-or-xdp-drop", stop.host, link.name, direction, words, False, "egress")

    @staticmethod
    def _named_by(packet: Packet) -> str:
        """The code of what an ICMP error says."""
        return ERRORS.get((packet.icmp_type, packet.icmp_code), "filter-reject")

    def _of_error(self, packet: Packet, stop: Stop, end: End) -> Finding:
        """What an ICMP error of a host says."""
        return self._finding(self._named_by(packet), stop, end.interface, str(packet))

    def _traced(self, stop: Stop, direction: Direction) -> Finding | None:
        """What a host itself names as the packets' end: a finding that was doubtful, or another.

        The trace of its firewall names the very rule; what its kernel drops otherwise has a reason.
        """
        traced = self.e.traced
        if traced is None or (traced.host, traced.direction) != (stop.host, direction):
            return self._reasoned(stop, direction)
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

    def _reasoned(self, stop: Stop, direction: Direction) -> Finding | None:
        dropped = self.e.dropped
        if dropped is None or (dropped.host, dropped.direction) != (stop.host, direction):
            return None
        if codes := reasons.disagrees(dropped, self.e.foretold):
            words = f"facts say that {stop.host} perhaps stops it ({', '.join(codes)}); {dropped}"
            self.notes.append(Note("static-dynamic-disagree", words))
        if dropped.is_of_queue:
            queue = self._queue(stop, dropped.interface, direction)
            if queue is not None:
                return replace(queue, certain=True)
        return reasons.cause(dropped, self.e.foretold, stop)

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
            remedy=Remedy(device=interface, address=wanted),
        )

    def _disagree(self, said: str) -> None:
        if self.e.foretold.passes:
            self.notes.append(Note("static-dynamic-disagree", f"facts say that it passes, but {said}"))

    def _goes_on(self) -> None:
        """What facts surely say of a host from which packets were seen to go on."""
        for each in self.e.foretold.findings:
            part = Part.REQUEST if each.direction is Direction.FORWARD else Part.REPLY
            if each.certain and each.code in ENDS_THERE and self.trail.left(each.host, part):
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
        twins = [each for each in self.e.foretold.findings if each != cause and same(each) == same(cause)]
        on_a_host = ending in (Ending.NOT_SENT, Ending.STOPPED, Ending.UNRESOLVED)
        # An answer that came to the client and was not let in.
        on_a_host |= cause.direction is Direction.REPLY and cause.host == self.course.client.host
        by_a_rule = self.e.traced is not None and self.e.traced.host == cause.host
        if (on_a_host or by_a_rule) and cause not in self.e.foretold.findings and cause.code not in OF_OTHERS:
            self._disagree(said or f"nothing left {cause.host}")
        sure = cause.certain and not inferred
        confidence = Confidence.PROVED if sure and ending is not Ending.UNSEEN else Confidence.INFERRED
        if candidates:
            confidence = Confidence.CANDIDATES
        disposition = DISPOSITIONS.get(cause.code, "dropped")
        if (
            ending in (Ending.NOT_SENT, Ending.UNSEEN)
            and cause.host == self.course.client.host
            and cause.direction is Direction.FORWARD
            and cause.code not in AT_PORTS
        ):
            disposition = "not-sent"
        sentence, evidence = self._sentence(cause), [said] if said else []
        own_way = cause.code in LEADS_ELSEWHERE and cause.host == self.course.client.host
        if self.e.counted is not None and not (own_way and self.forward_end.ending is not Ending.NOT_SENT):
            # What was seen is that it came so far; of what the client leads elsewhere that says nothing.
            # As whom it is sent is seen; what is not certain is whether that matters.
            told = sentence if cause.certain or cause.code in UNSUITABLE else f"perhaps {sentence}"
            sentence, evidence = "; ".join(each for each in (said, told) if each), []
        if error is not None:
            evidence.append(str(error))
        if self.e.traced is not None and self.e.traced.host == cause.host:
            evidence.append(str(self.e.traced))
        evidence += self._moved(cause.host)
        half = Half(
            disposition,
            cause.code,
            sentence,
            Place(cause.host, cause.interface),
            confidence,
            tuple(candidates),
            tuple(evidence),
            self._fixes(cause, *twins),
        )
        also = self._also((cause, *twins))
        proved = confidence is Confidence.PROVED and self.e.counted is None
        by = cause if proved and self._ends_at_rule(cause) else None
        if cause.direction is Direction.FORWARD:
            return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"), also, by)
        answered = self.course.target is not None or self.reply_end.ending is not Ending.UNSEEN
        left = "delivered-to-segment" if self.e.counted is None else "exits-observed-area"
        came = Half("delivered" if answered else left)
        return self._diagnosis(Result.UNREACHABLE, came, half, also, by)

    def _on_either(self, end: End, found: Sequence[Finding], half: Half) -> Diagnosis:
        """One host had it, and the next one has not let it pass: what stops it on one of them, else `half`."""
        if found:
            cause = next((each for each in found if each.certain), found[0])
            codes = (*(each.code for each in found), half.code or "")
            candidates = () if cause.certain else tuple(dict.fromkeys(codes))
            return self._with_cause(cause, end.ending, end.said, candidates=candidates)
        if end == self.forward_end:
            return self._diagnosis(Result.UNREACHABLE, half, Half("not-sent"))
        return self._diagnosis(Result.UNREACHABLE, Half("delivered"), half)

    def _filters(self, stop: Stop, following: Stop, direction: Direction) -> tuple[str, ...]:
        return ports.filters_between(self.e.facts, direction, stop, following, self.probe.destination)

    def _between(
        self, stop: Stop, following: Stop, interface: str | None, direction: Direction, said: str
    ) -> Diagnosis:
        """Whatever took it stands between two hosts that were watched."""
        where = following.ingress if direction is Direction.FORWARD else following.egress
        at = Between(Place(stop.host, interface), Place(following.host, where))
        if (hole := self._smaller_pass(at, direction, said)) is not None:
            return hole
        known = ports.known_between(self.e.facts, direction, stop, following)
        if all(known):
            named = " and ".join(f"port {each.shown}" for each in known if each is not None)
            words = f"the cloud says that {named} let it pass, but {said}"
            self.notes.append(Note("static-dynamic-disagree", words))
        filters = self._filters(stop, following, direction)
        candidates: tuple[str, ...] = ("lost-between", *filters, "filter-policy-drop")
        if filters:
            candidates, words = (*candidates, "neutron-port-down"), said
        else:
            words = f"{said}; perhaps {ON_A_SWITCH} takes it"
        half = Half("lost-between", "lost-between", words, at, Confidence.CANDIDATES, candidates, (said,))
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
        told = [each for each in self.e.foretold.findings if (each.host, each.code) == (stop.host, code)]
        return self._diagnosis(result, half, Half("undetermined" if reply else "not-sent"), self._also(told))

    def _smaller_pass(self, at: Place | Between, direction: Direction, said: str) -> Diagnosis | None:
        """The verdict where smaller packets are answered than the size that was forced, which never was."""
        forced = max(self.trail.tags.small, default=0)
        passing = [size for size, sent in self.e.full.items() if sent.reply is Reply.ANSWERED]
        if not passing or max(passing) >= forced or self.trail.errors():
            return None
        fits = max(passing) + self._heads
        detail = f"packets of {forced + self._heads} bytes vanish without a word; {fits} bytes still pass"
        seen = (f"echoes of {forced} bytes: no answer, and no ICMP error", said)
        return self._black_hole(detail, at, direction, fits, seen)

    def _black_hole(
        self,
        detail: str,
        at: Place | Between | None,
        direction: Direction,
        fits: int | None,
        evidence: tuple[str, ...],
    ) -> Diagnosis:
        """Large packets vanish and small ones pass; `fits` is how large those are that still do."""
        gateway = self.course.gateways[-1] if self.course.gateways else self.course.client
        remedy = Remedy(device=gateway.egress, mtu=fits)
        cause = Finding("pmtu-black-hole", gateway.host, gateway.egress, direction, detail, remedy=remedy)
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

    def _fixes(self, *causes: Finding) -> tuple[Fix, ...]:
        found: dict[str, dict[str, None]] = {}
        by_crossnet: dict[str, str | None] = {}
        warnings: dict[str, dict[str, None]] = {}
        for cause in causes:
            fix = fix_of(cause, self.course, self.probe, self.e.facts, self.e.foretold.source)
            for one in fix:
                found.setdefault(one.host, {}).update(dict.fromkeys(one.commands))
                by_crossnet[one.host] = by_crossnet.get(one.host) or one.by_crossnet
                if one.warning:
                    warnings.setdefault(one.host, {})[one.warning] = None
        return tuple(
            Fix(host, tuple(commands), by_crossnet[host], "; ".join(warnings.get(host, ())))
            for host, commands in found.items()
        )

    def _also(self, told: Sequence[Finding]) -> tuple[Also, ...]:
        """Everything else that would have to change, each once, whatever directions it stops."""
        known = {same(each) for each in told}
        together: dict[object, list[Finding]] = {}
        for each in self.e.foretold.findings:
            if same(each) not in known:
                together.setdefault(same(each), []).append(each)
        return tuple(
            Also(
                str(first.direction),
                Place(first.host, first.interface),
                first.code,
                self._sentence(first) if first.certain else f"perhaps: {self._sentence(first)}",
                self._fixes(first, *others),
            )
            for first, *others in together.values()
        )

    def _sentence(self, finding: Finding) -> str:
        """What a finding says, as one sentence."""
        host, text, chain = finding.host, finding.text, finding.chain
        if chain is not None and is_own(chain) and finding.code.startswith("filter-"):
            names = "only what a crossing names, and none that stands there names this"
            return f"crossnet's own fence on {host} lets through {names}"
        words = SENTENCES.get(finding.code)
        if words is None and chain is None:
            return f"{host}: {text}" if text else host
        where = f" ({finding.hook})" if finding.hook else ""
        if chain is not None:
            tool = engine_of(chain, self.e.facts[host]) if host in self.e.facts else chain.tool
            named = "nft" if tool is Engine.NFTABLES else tool
            where = f" ({named} {chain.family} {chain.table} {chain.chain})"
        return (words or SENTENCES["filter-rule-drop"]).format(
            host=host, text=text, interface=finding.interface or "?", where=where
        )

    def _moved(self, host: str) -> tuple[str, ...]:
        known = [f"{host}: connection tracking: {entry.text}" for entry in self.e.tracked.get(host, ())[:1]]
        if self.e.dropped is not None and self.e.dropped.host == host:
            known.append(str(self.e.dropped))
        return (*(f"{host}: {words}" for words in self.e.moved.get(host, ())), *known, *self._looked_up(host))

    def _looked_up(self, host: str) -> Iterator[str]:
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


def same(finding: Finding) -> object:
    """What two findings share that are one thing to change: a rule that stops requests and answers is one."""
    return finding.host, finding.code, finding.text, finding.chain


def _rule(finding: Finding) -> str:
    """A rule in its owner's words, with the chain where those do not name it."""
    chain, text = finding.chain, finding.text
    if chain is None or text.startswith("-"):
        return text
    return f"{chain.family} {chain.table} {chain.chain}: {text}"
