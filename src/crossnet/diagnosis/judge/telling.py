"""How a cause is told: the place, how sure it is, the evidence, what to do, and what would stop the flow next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crossnet.capture import Packet
from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.ending import End, Ending
from crossnet.diagnosis.finding import Direction, Finding, Remedy, is_own
from crossnet.diagnosis.fixes import engine_of, fix_of
from crossnet.diagnosis.judge import ports, reasons
from crossnet.diagnosis.judge.knowing import Knowing
from crossnet.diagnosis.judge.words import DISPOSITIONS, ON_A_SWITCH, SENTENCES
from crossnet.diagnosis.signs import (
    AT_PORTS,
    LEADS_ELSEWHERE,
    OF_OTHERS,
    UNSUITABLE,
)
from crossnet.diagnosis.story import story, with_end
from crossnet.diagnosis.trail import Part
from crossnet.netfilter import Engine
from crossnet.values import Protocol
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
from crossnet.verification.probe import Reply


class Telling(Knowing):
    """How every judgement says what it found."""

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

    def _place(self, end: End, direction: Direction) -> Place | Between | None:
        if end.stop is None:
            return None
        if end.ending is Ending.LOST and end.following is not None:
            return Between(Place(end.stop.host, end.interface), Place(end.following.host))
        if end.ending is Ending.ARRIVED and direction is Direction.FORWARD and self.course.target is None:
            return Between(Place(end.stop.host, end.interface), Place(str(self.probe.destination)))
        return Place(end.stop.host, end.interface)


def same(finding: Finding) -> object:
    """What two findings share that are one thing to change: a rule that stops requests and answers is one."""
    return finding.host, finding.code, finding.text, finding.chain


def _rule(finding: Finding) -> str:
    """A rule in its owner's words, with the chain where those do not name it."""
    chain, text = finding.chain, finding.text
    if chain is None or text.startswith("-"):
        return text
    return f"{chain.family} {chain.table} {chain.chain}: {text}"
