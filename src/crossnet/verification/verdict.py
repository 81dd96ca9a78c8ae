"""What the evidence of one flow says: pure, so that every case can be written down as a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from crossnet.design import FORWARDING, Client, Obstacle, Passage
from crossnet.facts import Facts
from crossnet.facts.routes import matching
from crossnet.values import Address, Probe, contains, host_network
from crossnet.verification.conntrack import Entry, Tracked
from crossnet.verification.counters import Counters
from crossnet.verification.probe import Reply, Sent


class Result(StrEnum):
    """The answer for one flow."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class Half:
    """The request or the reply: what became of it, with the code and the sentence that say why."""

    disposition: str
    code: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One flow of one crossing; `demanded` is whether the spec itself names the probe."""

    crossing: str
    client: str
    source: Address | None
    probe: Probe | None
    demanded: bool
    result: Result
    forward: Half
    reply: Half
    admitted: int | None = None
    translated_to: Address | None = None
    evidence: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether the flow is known not to do what the spec promises; a UDP probe may just stay unanswered."""
        return self.result is Result.UNREACHABLE or self.forward.code == "static-dynamic-disagree"


@dataclass(frozen=True, slots=True)
class Verification:
    """All verdicts, what was read back different from what the spec asks for, and hosts that could not be read."""

    verdicts: tuple[Verdict, ...]
    differences: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    result: Result = field(init=False)

    def __post_init__(self) -> None:
        results = {verdict.result for verdict in self.verdicts}
        if self.differences or Result.UNREACHABLE in results:
            result = Result.UNREACHABLE
        elif Result.UNDETERMINED in results or not results:
            result = Result.UNDETERMINED
        else:
            result = Result.REACHABLE
        object.__setattr__(self, "result", result)

    @property
    def broken_promises(self) -> tuple[Verdict, ...]:
        """Flows that the spec names and that do not pass: reason enough to roll back."""
        return tuple(v for v in self.verdicts if v.demanded and v.is_broken)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one probe: at the client, and in the gateway's connection tracking (None: unknown)."""

    client: Client
    sent: Sent
    tracked: Tracked

    @property
    def entry(self) -> Entry | None:
        return self.tracked[-1] if self.tracked else None

    @property
    def only_counted(self) -> bool:
        """Whether nothing but a counter can tell that the gateway let it pass.

        A refused connection is forgotten at once: the kernel drops the entry with the reset (measured).
        """
        return self.entry is None and (self.tracked is None or self.sent.reply is Reply.REFUSED)


@dataclass(frozen=True, slots=True)
class Round:
    """Flows of one passage that were sent at the same time, and the crossing's counters before and after."""

    seen: tuple[Seen, ...]
    before: Counters
    after: Counters

    @property
    def admitted(self) -> int:
        """Packets of new flows that the crossing's rule let through, of all these flows together."""
        return self.after.admitted.packets - self.before.admitted.packets

    @property
    def fenced(self) -> int:
        return self.after.fenced.packets - self.before.fenced.packets

    @property
    def is_clear(self) -> bool:
        """Whether the counters say of each probe what they would say had it been sent alone.

        They do not where they counted too little, and where a flow without an answer, which is sent again
        and again, may have made up for one that was not counted.
        """
        if len({seen.sent.probe for seen in self.seen}) == 1:
            return True
        silent = any(seen.sent.reply is Reply.SILENT for seen in self.seen)
        return self._all_counted and not (silent and any(seen.only_counted for seen in self.seen))

    def let_pass(self, seen: Seen) -> bool:
        """Whether the crossing's rule counted this flow."""
        if self.admitted <= 0:
            return False
        if len(self.seen) == 1 or seen.entry is not None:
            return True
        if seen.sent.reply is Reply.SILENT:
            return seen.tracked is None
        return self._all_counted

    @property
    def _all_counted(self) -> bool:
        """Whether there is a counted packet for each flow that must have passed to end as it did."""
        passed = [
            seen for seen in self.seen if seen.entry or seen.sent.reply not in (Reply.SILENT, Reply.NOT_SENT)
        ]
        return self.admitted >= len(passed)


def judge(
    passage: Passage,
    found: Round,
    seen: Seen,
    facts: Mapping[str, Facts],
    *,
    demanded: bool,
    note: str,
    obstacles: Sequence[Obstacle] = (),
) -> Verdict:
    """One flow's verdict from what the client, the counters and connection tracking say.

    `obstacles` are what the facts know of that stops it on the client or the gateway: as long as there is one, nothing
    is said of the destination.
    """
    moved, fenced, entry = found.admitted, found.fenced, seen.entry
    evidence = [
        f"{passage.gateway}: the crossing's rule counted {moved} packet{'s' if moved != 1 else ''} of new flows",
        *([f"{passage.gateway}: the fence stopped {fenced} packets meanwhile"] if fenced else []),
        *([f"{passage.gateway}: {entry.text}"] if entry else []),
    ]
    notes = [note] if note else []
    if seen.tracked is None:
        notes.append(f"{passage.gateway} has no conntrack tool: the translation could not be looked at")
    forward, reply, result = _halves(passage, seen, found.let_pass(seen), facts, obstacles)
    return Verdict(
        crossing=passage.crossing.name,
        client=seen.client.host or str(seen.client),
        source=seen.client.network.network_address,
        probe=seen.sent.probe,
        demanded=demanded,
        result=result,
        forward=forward,
        reply=reply,
        admitted=moved,
        translated_to=entry.reply_to if entry else None,
        evidence=tuple(evidence),
        notes=tuple(notes),
    )


def _promised(passage: Passage, probe: Probe) -> Address | None:
    """The source that the destination should see; None where it depends on the moment (masquerade)."""
    for network, source in passage.sources:
        if contains(network, probe.destination):
            return source
    return None


def _halves(
    passage: Passage,
    seen: Seen,
    let_pass: bool,
    facts: Mapping[str, Facts],
    obstacles: Sequence[Obstacle],
) -> tuple[Half, Half, Result]:
    sent, entry = seen.sent, seen.entry
    promised = _promised(passage, sent.probe)
    right = entry is not None and (promised is None or entry.reply_to == promised)
    nothing = Half("not-sent")
    if sent.reply is Reply.NOT_SENT:
        return _named(_not_sent(seen), obstacles), nothing, Result.UNREACHABLE
    # Somebody refuses it, and that need not be the destination.
    refusing = [each for each in obstacles if each.code in _REFUSING and not each.on_the_way_back]
    if sent.reply is Reply.REFUSED and refusing and not (entry and entry.replied):
        if refusing[0].sure:
            return _named(Half("rejected"), refusing), nothing, Result.UNREACHABLE
        return _named(Half("undetermined", None, sent.detail), refusing), nothing, Result.UNDETERMINED
    answered = sent.reply in (Reply.ANSWERED, Reply.REFUSED) or (
        sent.reply is Reply.UNKNOWN and entry is not None and entry.replied
    )
    if answered and let_pass and (right or seen.only_counted):
        code = "destination-port-closed" if sent.reply is Reply.REFUSED else None
        return Half("delivered", code, sent.detail), Half("delivered"), Result.REACHABLE
    if answered:
        what = (
            f"answered, but {passage.gateway} shows the source {entry.reply_to} instead of {promised}"
            if entry and not right
            else f"answered, but {passage.gateway} did not count it: it took another way"
        )
        return (
            Half("undetermined", "static-dynamic-disagree", what),
            Half("delivered"),
            Result.UNDETERMINED,
        )
    if sent.reply is Reply.UNKNOWN:
        half = Half("exits-observed-area" if entry else "undetermined")
        return half, Half("undetermined", None, "no answer is promised by this protocol"), Result.UNDETERMINED
    if not let_pass:
        why = _why_not_counted(passage, seen, facts)
        return _named(why, obstacles) if why.code == "lost-between" else why, nothing, Result.UNREACHABLE
    detail = f"{passage.gateway} let it pass towards {sent.probe.destination}; no reply came back"
    forward = Half("exits-observed-area")
    if not obstacles:
        return forward, Half("undetermined", "destination-silent", detail), Result.UNREACHABLE
    if obstacles[0].sure and not obstacles[0].on_the_way_back:
        return _named(Half("dropped"), obstacles), nothing, Result.UNREACHABLE
    return forward, _named(Half("undetermined", None, detail), obstacles), Result.UNREACHABLE


# What tells the sender that its packets are not wanted.
_REFUSING = frozenset(("filter-reject", "route-unreachable", "route-prohibit"))
_UNTRACKED = (
    "connection tracking did not see it (notrack), so it was not translated and no answer is known as one"
)
# Obstacles in one sentence.
_MOST = 3


def _named(half: Half, obstacles: Sequence[Obstacle]) -> Half:
    """The same, laid to what stands in the way where there is something; what surely stops it stands alone."""
    if not obstacles:
        return half
    sure = [each for each in obstacles if each.sure]
    told = "; ".join(map(str, (sure or obstacles)[:_MOST]))
    more = len(sure or obstacles) - _MOST
    rest = f" and {more} more" if more > 0 else ""
    if sure:
        stopped = half.disposition if half.disposition in ("not-sent", "rejected") else "dropped"
        return Half(stopped, sure[0].code, f"stopped by what crossnet does not own: {told}{rest}")
    before = f"{half.detail}; " if half.detail else ""
    untracked = all(each.code == "not-tracked" for each in obstacles)
    how = _UNTRACKED if untracked else "what crossnet does not own can stop it"
    return Half(half.disposition, obstacles[0].code, f"{before}{how}: {told}{rest}")


def _why_not_counted(passage: Passage, seen: Seen, facts: Mapping[str, Facts]) -> Half:
    """What the facts alone explain of a flow that the gateway did not let through."""
    client, target = seen.client, seen.sent.probe.destination
    routes = matching(facts[client.host].routes, host_network(target)) if client.host else ()
    if routes and (routes[0].via, routes[0].device) != (client.next_hop, client.interface):
        detail = f"{client.host} sends it another way: {routes[0]}"
        return Half("undetermined", "src-route-other-next-hop", detail)
    setting = FORWARDING[passage.family]
    if facts[passage.gateway].sysctls.get(setting) == "0":
        return Half("dropped", "ip-forward-disabled", f"{passage.gateway} does not forward: {setting} is 0")
    detail = f"{passage.gateway} did not let a new flow pass: it did not arrive, or was stopped before"
    return Half("undetermined", "lost-between", detail)


def _not_sent(seen: Seen) -> Half:
    if "nreachable" in seen.sent.detail:
        detail = f"{seen.client.host} has no route to {seen.sent.probe.destination}: network is unreachable"
        return Half("not-sent", "src-no-route", detail)
    return Half("not-sent", None, seen.sent.detail)


def unsent(passage: Passage, client: Client | None, why: str, obstacles: Sequence[Obstacle] = ()) -> Verdict:
    """The verdict on a client that sent nothing; `obstacles` are what would stand in the way of anything."""
    found = _named(Half("not-sent"), obstacles)
    return Verdict(
        crossing=passage.crossing.name,
        client=(client.host or str(client)) if client else "the clients",
        source=client.network.network_address if client else None,
        probe=None,
        demanded=False,
        result=Result.UNDETERMINED,
        forward=found,
        reply=Half("not-sent"),
        notes=(why,),
    )


def not_judged(crossing: str, why: str) -> Verdict:
    """The verdict on a crossing of which a host cannot be reached."""
    return Verdict(
        crossing=crossing,
        client="the clients",
        source=None,
        probe=None,
        demanded=False,
        result=Result.UNDETERMINED,
        forward=Half("not-sent"),
        reply=Half("not-sent"),
        notes=(why,),
    )
