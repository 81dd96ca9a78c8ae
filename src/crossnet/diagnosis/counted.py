"""What the evidence of one flow says: pure, so that every case can be written down as a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from crossnet.design import FORWARDING, Client, Obstacle, Path
from crossnet.facts import Facts
from crossnet.facts.routes import Route, matching
from crossnet.several import few
from crossnet.values import host_network
from crossnet.verdict import Diagnosis, Half, HowFar, Note, Result
from crossnet.verification.conntrack import Entry
from crossnet.verification.evidence import Round, Seen
from crossnet.verification.probe import Reply


def judge(
    path: Path,
    found: Round,
    seen: Seen,
    facts: Mapping[str, Facts],
    *,
    demanded: bool,
    note: str,
    obstacles: Sequence[Obstacle] = (),
) -> Diagnosis:
    """One flow's verdict from what the client, the counters and connection tracking say.

    `obstacles` are what the facts know of that stops it on the client or the gateway. Nothing is said of the
    destination as long as one of the two may have stopped it.
    """
    moved, fenced, entry = found.admitted, found.fenced, seen.entry
    at = seen.at_gateway
    evidence = [
        f"{path.gateway}: the crossing's rule counted {moved} packet{'s' if moved != 1 else ''} of new flows",
        *([f"{path.gateway}: the fence stopped {fenced} packets meanwhile"] if fenced else []),
        *([f"{path.gateway}: {entry.text}"] if entry else []),
        *(
            [f"{path.gateway}: sends it {at.answered.route}"]
            if at and at.answered and at.answered.route
            else []
        ),
    ]
    notes = [Note(None, note)] if note else []
    if seen.tracked is None:
        told = f"{path.gateway} has no conntrack tool: the translation could not be looked at"
        notes.append(Note(None, told))
    end = _end(path, found, seen, facts, obstacles)
    return Diagnosis(
        crossing=path.crossing.name,
        client=seen.client.host or str(seen.client),
        source=seen.client.network.network_address,
        probe=seen.sent.probe,
        result=end.result,
        forward=replace(end.forward, evidence=tuple(evidence)),
        reply=end.reply,
        notes=tuple(notes),
        how_far=end.how_far,
        stopped=end.stopped,
        demanded=demanded,
        counted=moved,
        translated_to=entry.reply_to if entry else None,
    )


@dataclass(frozen=True, slots=True)
class _End:
    """How a flow ended."""

    how_far: HowFar
    result: Result
    forward: Half
    reply: Half = field(default=Half("not-sent"))
    stopped: bool = False


# What tells the sender that its packets are not wanted.
_REFUSING = frozenset(("filter-reject", "route-unreachable", "route-prohibit"))
# What may stop packets behind all rules, where connection tracking knows them already: also by stopping ARP.
_BEHIND_RULES = frozenset(("tc-or-xdp-drop", "ipsec-policy-drop", "others-may-drop"))
_UNTRACKED = "connection tracking did not see it (notrack), so it was not translated and no answer is recognised as one"
# Obstacles in one sentence.
_MOST = 3


def _end(
    path: Path, found: Round, seen: Seen, facts: Mapping[str, Facts], obstacles: Sequence[Obstacle]
) -> _End:
    sent, entry, gateway = seen.sent, seen.entry, path.gateway
    ahead = [each for each in obstacles if not each.on_the_way_back]
    if sent.reply is Reply.NO_TOOL:
        return _End(HowFar.UNKNOWN, Result.UNDETERMINED, Half("not-sent", None, sent.detail))
    if sent.reply is Reply.NOT_SENT:
        return _stopped(HowFar.NOT_SENT, _named(_not_sent(seen), ahead))
    let_pass = found.let_pass(seen)
    refused = sent.reply is Reply.REFUSED
    if refused and not (entry and entry.replied):
        # Somebody refuses it, and that need not be the destination.
        refusing = [each for each in ahead if each.code in _REFUSING]
        if refusing and refusing[0].sure:
            how_far = HowFar.ADMITTED if let_pass else HowFar.SENT
            return _stopped(how_far, _named(Half("rejected"), refusing))
        others = [each for each in ahead if each.code == "others-translate"]
        if let_pass and others and not found.translates(seen):
            half = _named(Half("undetermined", None, sent.detail), [*refusing, *others])
            return _End(HowFar.ADMITTED, Result.UNDETERMINED, half)
        if let_pass and path.leg.translates and not found.translates(seen):
            detail = f"{gateway} admitted it, and it was refused there before it was translated"
            return _stopped(HowFar.ADMITTED, _named(Half("rejected", "stopped-on-gateway", detail), refusing))
        if refusing and not let_pass:
            detail = f"{_client(seen)} sent it, and it was refused before {gateway} admitted it"
            return _stopped(HowFar.SENT, _named(Half("rejected", "lost-between", detail), refusing))
        if refusing and not path.leg.translates:
            half = _named(Half("undetermined", None, sent.detail), refusing)
            return _End(HowFar.ADMITTED, Result.UNDETERMINED, half)
    if not seen.is_open:
        return _answered(path, found, seen, facts, let_pass)
    if entry is not None:
        return _tracked(path, seen, entry, let_pass, obstacles)
    return _untracked(path, found, seen, facts, ahead)


def _answered(path: Path, found: Round, seen: Seen, facts: Mapping[str, Facts], let_pass: bool) -> _End:
    """Something came back; whether it was by the crossing, and as it promises."""
    sent, entry, gateway = seen.sent, seen.entry, path.gateway
    if let_pass and entry is None and not seen.only_counted:
        as_promised = not path.leg.translates or found.translates(seen)
    else:
        as_promised = entry is None or _as_promised(path, seen, entry)
    if let_pass and as_promised:
        code = "destination-port-closed" if sent.reply is Reply.REFUSED else None
        probe = sent.probe
        half = Half(
            "delivered",
            code,
            f"{probe.destination} refused port {probe.port}: the path works" if code else "",
        )
        return _End(HowFar.ANSWERED, Result.REACHABLE, half, Half("delivered"))
    if facts[gateway].owner_of(sent.probe.destination) is not None:
        what = f"answered by {gateway} itself, which has the address {sent.probe.destination}: nothing is forwarded"
    elif not let_pass:
        what = f"answered, but {gateway} did not count it: it took another way"
    elif entry is not None:
        what = (
            f"answered, but {gateway} shows the source {entry.reply_to} instead of "
            f"{path.leg.translation.seen_by(sent.probe.destination) or 'one of its own'}"
        )
    else:
        what = f"answered, but {gateway} did not translate it"
    half = Half("undetermined", "static-dynamic-disagree", what)
    return _End(HowFar.ANSWERED, Result.UNDETERMINED, half, Half("delivered"))


def _tracked(path: Path, seen: Seen, entry: Entry, let_pass: bool, obstacles: Sequence[Obstacle]) -> _End:
    """No answer, of a flow that connection tracking knows: it has passed all rules (nf_conntrack_confirm)."""
    gateway, at = path.gateway, seen.at_gateway
    back = [each for each in obstacles if each.on_the_way_back]
    ahead = [each for each in obstacles if each.host == gateway and not each.on_the_way_back]
    behind = [each for each in ahead if each.code in _BEHIND_RULES]
    device = at.device if at and at.device else path.egress
    if not let_pass:
        detail = f"it passes {gateway} by {device}, but not by the crossing's rule"
        return _stopped(HowFar.SENT, Half("undetermined", "static-dynamic-disagree", detail))
    if not _as_promised(path, seen, entry):
        promised = path.leg.translation.seen_by(seen.sent.probe.destination) or "one of its own"
        detail = f"{gateway} admitted it and sends it on from {entry.reply_to} instead of {promised}"
        return _stopped(HowFar.ADMITTED, Half("undetermined", "static-dynamic-disagree", detail))
    as_whom = f" as {entry.reply_to}" if path.leg.translates else ""
    if entry.replied:
        detail = f"the answer came back to {gateway} and did not reach {_client(seen)}"
        half = _named(Half("lost-between", "reply-lost", detail), back)
        return _End(HowFar.CAME_BACK, Result.UNREACHABLE, Half("delivered"), half)
    passed = HowFar.TRANSLATED if path.leg.translates else HowFar.ADMITTED
    done = "admitted and translated" if path.leg.translates else "admitted"
    if seen.waited and at is not None and at.sent == 0:
        detail = f"{gateway} {done} it, and {device} sent nothing at all meanwhile"
        return _stopped(passed, _named(Half("dropped", "stopped-on-gateway", detail), behind))
    if seen.waited and at is not None and at.unresolved is not None:
        asked = f"{gateway} {done} it, asked for {at.unresolved} on {device}, and nobody answered there"
        if at.router is not None:
            return _stopped(passed, _named(Half("dropped", "next-hop-unresolved", asked), behind))
        # No host may be up at that address, and the crossing be as it should.
        half = _named(Half("exits-observed-area", "destination-absent", asked), behind)
        return _End(passed, Result.UNREACHABLE, half)
    if not seen.waited:
        half = Half("undetermined", None, "UDP does not promise an answer")
        return _End(HowFar.LEFT, Result.UNDETERMINED, Half("exits-observed-area"), half)
    target, left = seen.sent.probe.destination, Half("exits-observed-area")
    if at is None or at.answered is None or at.answered.route is None:
        detail = f"{gateway} {done} it, and no rule stopped it there; no reply came back"
        half = _named(Half("undetermined", None, detail), [*behind, *back])
        return _End(passed, Result.UNREACHABLE, left, half)
    if possible := [*behind, *back]:
        detail = f"{gateway} {done} it and sent it towards {target}; no reply came back"
        half = _named(Half("undetermined", None, detail), possible)
        return _End(HowFar.LEFT, Result.UNREACHABLE, left, half)
    detail = f"it left {gateway} by {device}{as_whom} for {target}; no reply came back there"
    if not path.leg.translates:
        likely = f"nothing is translated: most likely {target} has no route back to {seen.client} through {gateway}"
        half = Half("undetermined", "needs-return-route", f"{detail}; {likely}")
        return _End(HowFar.LEFT, Result.UNREACHABLE, left, half)
    return _End(HowFar.LEFT, Result.UNREACHABLE, left, Half("undetermined", "destination-silent", detail))


def _untracked(
    path: Path, found: Round, seen: Seen, facts: Mapping[str, Facts], ahead: Sequence[Obstacle]
) -> _End:
    """No answer, of a flow that connection tracking does not know, or of which it cannot be asked."""
    gateway, probe = path.gateway, seen.sent.probe
    admitted = found.may_have_admitted(seen)
    if found.admitted < 0:
        detail = (
            f"the rules of {gateway} were loaded anew while it was sent, so nobody counted it; no reply came"
        )
        return _End(
            HowFar.UNKNOWN, Result.UNREACHABLE, Half("undetermined"), Half("undetermined", None, detail)
        )
    sure = [each for each in ahead if each.sure]
    if admitted is False:
        why = _why_not_counted(path, seen, facts)
        how_far = HowFar.NOT_SENT if sure and sure[0].code == "src-output-filtered" else HowFar.SENT
        return _stopped(how_far, _named(why, ahead) if why.code == "lost-between" else why)
    if sure and sure[0].host != gateway:
        return _stopped(HowFar.SENT, _named(Half("dropped"), sure))  # what was counted was somebody else's
    here = [each for each in ahead if each.host == gateway]
    translated = path.leg.translates and found.translates(seen)
    passed = HowFar.TRANSLATED if translated else HowFar.ADMITTED
    done = "admitted and translated" if translated else "admitted"
    if seen.tracked is None:
        detail = (
            f"{gateway} {done} it; whether it left is not known, because connection tracking cannot be asked"
        )
        others = any(each.code == "others-translate" for each in here)
        if path.leg.translates and not translated and admitted and not others:
            detail = f"{gateway} admitted it, and did not translate it"
            return _stopped(passed, _named(Half("dropped", "stopped-on-gateway", detail), here))
        if sure:
            return _stopped(passed, _named(Half("dropped", None, f"{gateway} {done} it"), here))
        half = _named(Half("undetermined", None, f"{detail}; no reply came to {_client(seen)}"), here)
        return _End(HowFar.UNKNOWN, Result.UNREACHABLE, Half("undetermined"), half)
    if any(each.code == "not-tracked" for each in here) and not path.leg.translates:
        detail = f"{gateway} admitted {probe}; no reply came back"
        half = _named(Half("undetermined", None, detail), here)
        return _End(HowFar.UNKNOWN, Result.UNREACHABLE, Half("undetermined"), half)
    if admitted is None:
        detail = f"{gateway} did not send it on: it did not arrive there, or was stopped there"
        return _stopped(HowFar.SENT, _named(Half("undetermined", "lost-between", detail), ahead))
    not_done = "did not send it on" if translated or not path.leg.translates else "did not translate it"
    detail = f"{gateway} {done} it, and {not_done}"
    return _stopped(passed, _named(Half("dropped", "stopped-on-gateway", detail), here))


def _stopped(how_far: HowFar, forward: Half) -> _End:
    return _End(how_far, Result.UNREACHABLE, forward, stopped=True)


def _client(seen: Seen) -> str:
    return seen.client.host or str(seen.client)


def _as_promised(path: Path, seen: Seen, entry: Entry) -> bool:
    promised = path.leg.translation.seen_by(seen.sent.probe.destination)
    if promised is not None:
        return entry.reply_to == promised
    return not path.leg.translates or entry.reply_to != seen.client.network.network_address


def _named(half: Half, obstacles: Sequence[Obstacle]) -> Half:
    """The same, laid to what stands in the way where there is something; what surely stops it stands alone."""
    if not obstacles:
        return half
    sure = [each for each in obstacles if each.sure]
    told = few([*map(str, sure or obstacles)], _MOST)
    before = f"{half.detail}; " if half.detail else ""
    if sure:
        stopped = half.disposition if half.disposition in ("not-sent", "rejected") else "dropped"
        return Half(stopped, sure[0].code, f"{before}stopped by what crossnet does not own: {told}")
    untracked = all(each.code == "not-tracked" for each in obstacles)
    how = _UNTRACKED if untracked else "what crossnet does not own can stop it"
    return Half(half.disposition, obstacles[0].code, f"{before}{how}: {told}")


def _why_not_counted(path: Path, seen: Seen, facts: Mapping[str, Facts]) -> Half:
    """What explains a flow that the client sent, and that the gateway's rule did not count."""
    client, gateway, target = seen.client, path.gateway, seen.sent.probe.destination
    route = _route_of(seen, facts)
    if route is not None and (route.via, route.device) != (client.next_hop, client.interface):
        detail = f"{client.host} sends it another way: {route}"
        return Half("undetermined", "src-route-other-next-hop", detail)
    setting = FORWARDING[path.family]
    if facts[gateway].sysctls.get(setting) == "0":
        return Half("dropped", "ip-forward-disabled", f"{gateway} does not forward: {setting} is 0")
    if facts[gateway].owner_of(target) is not None:
        detail = f"{target} is an address of {gateway} itself, which forwards nothing to itself"
        return Half("undetermined", "lost-between", detail)
    at = seen.at_client
    if at is not None and at.unresolved is not None:
        detail = f"{client.host} asked for {at.unresolved} on {at.device}, and nobody answered there"
        return Half("dropped", "next-hop-unresolved", detail)
    refused = seen.at_gateway.answered.error if seen.at_gateway and seen.at_gateway.answered else ""
    asked = f"; asked with `ip route get`, the kernel of {gateway} refuses it: {refused}" if refused else ""
    detail = (
        f"{client.host} sent it by {client.interface}, and {gateway} did not admit it: it did not arrive by "
        f"{path.ingress}, or was stopped before the crossing's rule{asked}"
    )
    return Half("undetermined", "lost-between", detail)


def _route_of(seen: Seen, facts: Mapping[str, Facts]) -> Route | None:
    """The way that the client takes, by its kernel where that was asked."""
    if seen.at_client and seen.at_client.answered and seen.at_client.answered.route:
        return seen.at_client.answered.route
    if seen.client.host is None:
        return None
    routes = matching(facts[seen.client.host].routes, host_network(seen.sent.probe.destination))
    return routes[0] if routes else None


def _not_sent(seen: Seen) -> Half:
    if "nreachable" in seen.sent.detail:
        detail = f"{seen.client.host} has no route to {seen.sent.probe.destination}: network is unreachable"
        return Half("not-sent", "src-no-route", detail)
    return Half("not-sent", "src-output-filtered", f"{_client(seen)} did not let it out: {seen.sent.detail}")


def unsent(path: Path, client: Client | None, why: str, obstacles: Sequence[Obstacle] = ()) -> Diagnosis:
    """The verdict on a client that sent nothing; `obstacles` are what would stand in the way of anything."""
    found = _named(Half("not-sent"), obstacles)
    return Diagnosis(
        crossing=path.crossing.name,
        client=(client.host or str(client)) if client else "the clients",
        source=client.network.network_address if client else None,
        probe=None,
        result=Result.UNDETERMINED,
        forward=found,
        reply=Half("not-sent"),
        notes=(Note(None, why),),
    )


def not_judged(crossing: str, why: str) -> Diagnosis:
    """The verdict on a crossing of which a host cannot be reached."""
    return Diagnosis(
        crossing=crossing,
        client="the clients",
        source=None,
        probe=None,
        result=Result.UNDETERMINED,
        forward=Half("not-sent"),
        reply=Half("not-sent"),
        notes=(Note(None, why),),
    )
