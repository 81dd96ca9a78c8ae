"""How far a flow came where nobody watched packets: as counters and connection tracking of its gateway tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from crossnet.diagnosis.course import Course
from crossnet.diagnosis.ending import End, Ending
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.plugged import is_before, is_behind, is_beyond
from crossnet.diagnosis.signs import BEHIND_RULES, ENDS_THERE, REFUSES, UNSUITABLE
from crossnet.facts import Facts
from crossnet.path import Path
from crossnet.resources import RuleTable
from crossnet.verdict import HowFar, Result
from crossnet.verification.conntrack import Entry
from crossnet.verification.counters import admits
from crossnet.verification.evidence import Round, Seen
from crossnet.verification.probe import Reply

_UNSEEN = End(Ending.UNSEEN)


@dataclass(frozen=True, slots=True)
class Counted:
    """Where request and answer were last seen by what was counted, and what that says, whatever stops them.

    `stopped` is whether it was seen not to get as far as leaving the gateway. `otherwise` says how it got through
    otherwise than its crossing promises; `untranslated` that it left the rules without the translation that it should
    have; `around` that its answer came past the gateway; `as_itself` that it is to have none; `perhaps` is what may
    explain it where nothing tells how far it came.
    """

    how_far: HowFar
    result: Result
    forward: End
    reply: End = _UNSEEN
    stopped: bool = False
    otherwise: str = ""
    untranslated: bool = False
    around: bool = False
    as_itself: bool = False
    perhaps: tuple[Finding, ...] = ()


def counted(
    path: Path, found: Round, seen: Seen, course: Course, facts: Mapping[str, Facts], foretold: Foretold
) -> Counted:
    """How far one of the flows came that were sent through a path at the same time."""
    return _Counting(path, found, seen, course, facts, foretold).counted()


def past_gateway(gateway: str) -> str:
    """That an answer takes another way than the gateway, and what follows."""
    return (
        f"the answer does not come back through {gateway}: who keeps track of connections there, or on its other way, "
        "may stop what follows"
    )


def not_sent(course: Course, foretold: Foretold) -> Counted:
    """Where nothing was sent: all that facts say of the way there."""
    end = End(Ending.UNSEEN, course.client)
    ahead = foretold.of(Direction.FORWARD)
    return Counted(HowFar.UNKNOWN, Result.UNDETERMINED, end, perhaps=ahead)


# What surely stops packets, by the facts of a host.
_STOPS = ENDS_THERE | {"tc-or-xdp-drop", "link-down", "ttl-expired"}


@dataclass(frozen=True)
class _Counting:
    path: Path
    found: Round
    seen: Seen
    course: Course
    facts: Mapping[str, Facts]
    foretold: Foretold

    def counted(self) -> Counted:
        client, said = self.course.client, self.seen.sent
        if said.reply is Reply.NO_TOOL:
            return Counted(HowFar.UNKNOWN, Result.UNDETERMINED, End(Ending.UNSEEN, client, said=said.detail))
        if said.reply is Reply.NOT_SENT:
            words = f"{client.host} could not send it: {said.detail}"
            return _stopped(HowFar.NOT_SENT, End(Ending.NOT_SENT, client, client.egress, said=words))
        if said.reply is Reply.REFUSED and not (self.entry and self.entry.replied):
            # Somebody refuses it, and that need not be the destination.
            refused = self._refused_on_the_way()
            if refused is not None:
                return refused
        if not self.seen.is_open:
            return self._answered()
        return self._tracked(self.entry) if self.entry is not None else self._untracked()

    @property
    def entry(self) -> Entry | None:
        return self.seen.entry

    @property
    def gateway(self) -> str:
        return self.path.gateway

    @property
    def let_pass(self) -> bool:
        return self.found.let_pass(self.seen)

    @property
    def ahead(self) -> tuple[Finding, ...]:
        return self.foretold.of(Direction.FORWARD)

    @property
    def back(self) -> list[Finding]:
        """What may have stopped an answer before connection tracking of the gateway has seen it."""
        return [
            each
            for each in self.foretold.of(Direction.REPLY)
            if not each.code.startswith("snat-") and not is_behind(each, self.course)
        ]

    @property
    def in_front(self) -> list[Finding]:
        """The ports that surely let nothing come to the gateway."""
        return [each for each in self.ahead if each.certain and is_before(each, self.course)]

    @property
    def others(self) -> list[Finding]:
        """Rules of others that may have translated it in the place of the crossing's."""
        return [each for each in self.foretold.others if each.code == "others-translate"]

    def _at(self, ending: Ending, said: str, device: str | None = None, *, past_rules: bool = False) -> End:
        """Its end on the gateway."""
        stop = self.course.gateways[0]
        return End(ending, stop, device or stop.ingress, said=said, past_rules=past_rules)

    def _not_at_gateway(self, said: str) -> End:
        client, gateway = self.course.client, self.course.gateways[0]
        return End(Ending.VANISHED, client, client.egress, gateway, said=said)

    def _refused_on_the_way(self) -> Counted | None:
        refusing = [each for each in self.ahead if each.code in REFUSES]
        sure = next((each for each in refusing if each.certain), None)
        let_pass, translated = self.let_pass, self.found.translates(self.seen)
        client = self.course.client
        if sure is not None:
            how_far = HowFar.ADMITTED if let_pass else HowFar.SENT
            words = f"{self.gateway} admitted it" if let_pass else f"{client.host} sent it"
            stop = client if sure.host == client.host else self.course.gateways[0]
            return _stopped(
                how_far, End(Ending.STOPPED, stop, stop.ingress, said=f"{words}, and it was refused")
            )
        if let_pass and self.others and not translated:
            return self._unknown(self.seen.sent.detail, [*refusing, *self.others], HowFar.ADMITTED)
        if let_pass and self.path.leg.translates and not translated:
            words = f"{self.gateway} admitted it, and it was refused there before it was translated"
            return _stopped(HowFar.ADMITTED, self._at(Ending.STOPPED, words))
        if refusing and not self.found.is_counted:
            words = (
                f"{client.host} sent it, and it was refused; the rule of {self.gateway} that lets the crossing "
                "through, and counts it, is gone, so nothing tells where"
            )
            return self._unknown(words, refusing, HowFar.SENT)
        if refusing and not let_pass:
            words = f"{client.host} sent it, and it was refused before {self.gateway} admitted it"
            return _stopped(HowFar.SENT, self._not_at_gateway(words))
        if refusing and not self.path.leg.translates:
            return self._unknown(self.seen.sent.detail, refusing, HowFar.ADMITTED)
        return None

    def _unknown(self, said: str, perhaps: list[Finding], how_far: HowFar = HowFar.UNKNOWN) -> Counted:
        silent = self.seen.sent.reply is not Reply.REFUSED
        result = Result.UNREACHABLE if silent else Result.UNDETERMINED
        return Counted(how_far, result, self._at(Ending.UNSEEN, said), perhaps=tuple(perhaps))

    def _answered(self) -> Counted:
        """Something came back; whether it was by the crossing, and as it promises."""
        entry, gateway, probe = self.entry, self.gateway, self.seen.sent.probe
        leg = self.path.leg
        if self.let_pass and entry is None and not self.seen.only_counted:
            as_promised = not leg.translates or self.found.translates(self.seen)
        else:
            as_promised = entry is None or self._as_promised(entry)
        left = self._at(Ending.ARRIVED, "", self.path.egress)
        came = End(Ending.ARRIVED, self.course.client, self.course.client.egress)
        if self.let_pass and as_promised:
            unreplied = entry is not None and not any(each.replied for each in self.seen.tracked or ())
            # The kernel marks an answer before it sends it on (nf_conntrack_in, in prerouting).
            if unreplied and self.seen.sent.reply is Reply.ANSWERED:
                what = f"answered, but {past_gateway(gateway)}"
                return Counted(HowFar.ANSWERED, Result.UNDETERMINED, left, came, otherwise=what, around=True)
            return Counted(HowFar.ANSWERED, Result.REACHABLE, left, came)
        if self.facts[gateway].owner_of(probe.destination) is not None:
            what = f"answered by {gateway} itself, which has the address {probe.destination}: nothing is forwarded"
            return Counted(HowFar.ANSWERED, Result.UNREACHABLE, left, came, otherwise=what)
        if not self.let_pass:
            what = f"answered, but {self._uncounted()}"
        elif entry is not None:
            promised = leg.translation.seen_by(probe.destination) or "one of its own"
            what = f"answered, but {gateway} shows the source {entry.reply_to} instead of {promised}"
        else:
            what = f"answered, but {gateway} did not translate it"
        return Counted(HowFar.ANSWERED, Result.UNDETERMINED, left, came, otherwise=what)

    def _uncounted(self) -> str:
        """Why the crossing's rule did not count what was answered."""
        gateway, crossing = self.gateway, self.path.crossing.label
        own = [each for each in RuleTable.traces(self.facts[gateway]) if each.family is self.path.family]
        if not any(admits(each.table, crossing) for each in own):
            return f"the rule of {gateway} that lets the crossing through, and counts it, is gone"
        if self.entry is not None:
            return f"{gateway} did not let it through by the crossing's rule"
        return f"{gateway} did not count it: it took another way"

    def _tracked(self, entry: Entry) -> Counted:
        """No answer, of a flow that connection tracking knows: it has passed all rules (nf_conntrack_confirm)."""
        gateway, at, leg = self.gateway, self.seen.at_gateway, self.path.leg
        device = at.device if at and at.device else self.path.egress
        target = self.seen.sent.probe.destination
        if not self.let_pass:
            words = f"it passes {gateway} by {device}, but not by the crossing's rule"
            return replace(_stopped(HowFar.SENT, self._at(Ending.ARRIVED, words, device)), otherwise=words)
        if not self._as_promised(entry):
            promised = leg.translation.seen_by(target) or "one of its own"
            words = f"{gateway} admitted it and sends it on from {entry.reply_to} instead of {promised}"
            ended = _stopped(HowFar.ADMITTED, self._at(Ending.ARRIVED, words, device))
            return replace(ended, otherwise=words, untranslated=True)
        if entry.replied:
            words = f"the answer came back to {gateway} and did not reach {self.course.client.host}"
            stop = self.course.gateways[0]
            back = End(Ending.VANISHED, stop, device, self.course.client, said=words)
            left = self._at(Ending.ARRIVED, "", device)
            return Counted(HowFar.CAME_BACK, Result.UNREACHABLE, left, back)
        passed = HowFar.TRANSLATED if leg.translates else HowFar.ADMITTED
        done = "admitted and translated" if leg.translates else "admitted"
        if self.seen.waited and at is not None and at.sent == 0:
            words = f"{gateway} {done} it, and {device} sent nothing at all meanwhile"
            return _stopped(passed, self._at(Ending.STOPPED, words, device, past_rules=True))
        if self.seen.waited and at is not None and at.unresolved is not None:
            words = f"{gateway} {done} it, asked for {at.unresolved} on {device}, and nobody answered there"
            end = replace(self._at(Ending.UNRESOLVED, words, device, past_rules=True), asked=at.unresolved)
            # No host may be up at that address, and the crossing be as it should.
            return Counted(passed, Result.UNREACHABLE, end, stopped=at.router is not None)
        if not self.seen.waited:
            left = self._at(Ending.ARRIVED, "UDP does not promise an answer", device)
            return Counted(HowFar.LEFT, Result.UNDETERMINED, left)
        behind = [
            each
            for each in self.ahead
            if each.host == gateway and (each.code in BEHIND_RULES or is_beyond(each, self.course))
        ]
        if at is None or at.answered is None or at.answered.route is None:
            words = f"{gateway} {done} it, and no rule stopped it there; no reply came back"
            return self._unknown(words, [*behind, *self.back], passed)
        if possible := [*behind, *self.back]:
            words = f"{gateway} {done} it and sent it towards {target}; no reply came back"
            left = self._at(Ending.ARRIVED, words, device)
            return Counted(HowFar.LEFT, Result.UNREACHABLE, left, perhaps=tuple(possible))
        as_whom = f" as {entry.reply_to}" if leg.translates else ""
        words = f"it left {gateway} by {device}{as_whom} for {target}; no reply came back there"
        end = self._at(Ending.ARRIVED, words, device)
        return Counted(HowFar.LEFT, Result.UNREACHABLE, end, as_itself=not leg.translates)

    def _untracked(self) -> Counted:
        """No answer, of a flow that connection tracking does not know, or of which it cannot be asked."""
        gateway, leg, client = self.gateway, self.path.leg, self.course.client
        if self.found.admitted < 0:
            words = f"the rules of {gateway} were loaded anew while it was sent, so nobody counted it; no reply came"
            return self._unknown(words, [])
        admitted = self.found.may_have_admitted(self.seen)
        sure = [each for each in self.ahead if each.certain and each.code in _STOPS]
        if admitted is False:
            return self._not_admitted(sure)
        if self.in_front or (sure and sure[0].host != gateway):
            # What was counted was somebody else's.
            return _stopped(HowFar.SENT, self._not_at_gateway(f"{client.host} sent it, and no reply came"))
        here = [each for each in self.ahead if each.host == gateway and not is_before(each, self.course)]
        translated = leg.translates and self.found.translates(self.seen)
        passed = HowFar.TRANSLATED if translated else HowFar.ADMITTED
        done = "admitted and translated" if translated else "admitted"
        not_translated = leg.translates and not translated
        if self.seen.tracked is None:
            if not_translated and admitted and not self.others:
                words = f"{gateway} admitted it, and did not translate it"
                return replace(_stopped(passed, self._at(Ending.STOPPED, words)), untranslated=True)
            if sure:
                return _stopped(passed, self._at(Ending.STOPPED, f"{gateway} {done} it"))
            words = (
                f"{gateway} {done} it; whether it left is not known, because connection tracking cannot be asked; "
                f"no reply came to {client.host}"
            )
            return self._unknown(words, [*here, *self.others])
        untracked = [each for each in self.foretold.others if each.code == "not-tracked"]
        if untracked and not leg.translates:
            words = f"{gateway} admitted {self.seen.sent.probe}; no reply came back"
            return self._unknown(words, [*here, *untracked])
        if admitted is None:
            words = f"{gateway} did not send it on: it did not arrive there, or was stopped there"
            return _stopped(HowFar.SENT, self._not_at_gateway(words))
        not_done = "did not translate it" if not_translated else "did not send it on"
        words = f"{gateway} {done} it, and {not_done}"
        return replace(_stopped(passed, self._at(Ending.STOPPED, words)), untranslated=not_translated)

    def _not_admitted(self, sure: list[Finding]) -> Counted:
        client, at = self.course.client, self.seen.at_client
        how_far = HowFar.NOT_SENT if sure and sure[0].code == "src-output-filtered" else HowFar.SENT
        if at is not None and at.unresolved is not None:
            words = f"{client.host} asked for {at.unresolved} on {at.device}, and nobody answered there"
            end = End(Ending.UNRESOLVED, client, at.device, self.course.gateways[0], at.unresolved, words)
            return _stopped(how_far, end)
        by = f" by {client.egress}" if client.egress else ""
        if not self.found.is_counted and not sure:
            untranslated = [each for each in self.foretold.of(Direction.REPLY) if each.code in UNSUITABLE]
            words = (
                f"{client.host} sent it{by}; the rule of {self.gateway} that lets the crossing through, and counts it, "
                "is gone, so nothing tells how far it came; no reply came back"
            )
            return self._unknown(words, [*self.ahead, *untranslated], how_far)
        words = f"{client.host} sent it{by}, and {self.gateway} did not admit it"
        return _stopped(how_far, self._not_at_gateway(words))

    def _as_promised(self, entry: Entry) -> bool:
        leg = self.path.leg
        promised = leg.translation.seen_by(self.seen.sent.probe.destination)
        if promised is not None:
            return entry.reply_to == promised
        return not leg.translates or entry.reply_to != self.seen.client.network.network_address


def _stopped(how_far: HowFar, end: End) -> Counted:
    return Counted(how_far, Result.UNREACHABLE, end, stopped=True)
