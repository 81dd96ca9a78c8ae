"""Does the crossing do what it promises? Read back, send a new flow, look at it on the gateway.

The evidence is: nothing differs from what was applied; a new flow of the client is answered; the crossing's own
counters moved by it; and connection tracking shows the promised source. Of a flow without an answer these say how far
it came, together with where client and gateway send it and what the interface there has sent; why it came no further,
facts say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from crossnet.design.kernel import decided
from crossnet.design.leases import renewing
from crossnet.diagnosis.counted import Counted, counted, not_sent
from crossnet.diagnosis.course import Course, course, hints_of
from crossnet.diagnosis.foretold import Foretold
from crossnet.facts import Answered, Facts, Lookup
from crossnet.path import Client, Path
from crossnet.planning import Plan
from crossnet.site import Site
from crossnet.values import Probe
from crossnet.verdict import Diagnosis, Fix, Half, HowFar, Note, Result, Verification
from crossnet.verification.choice import Choice, example
from crossnet.verification.comparing import compared, read_back
from crossnet.verification.evidence import Round, Seen
from crossnet.verification.gathering import gather
from crossnet.verification.onward import Onward
from crossnet.verification.probe import Reply, Sent

# Of so many flows of a round without an answer it is looked up what stops them, each for itself; what stops those on
# the gateway may stop the others too. With 5,000 rules one takes a second or two, and the guard's time runs.
MOST_EXPLAINED = 4


async def verify(
    plan: Plan,
    facts: Mapping[str, Facts],
    site: Site,
    *,
    live_only: bool = False,
) -> Verification:
    """Verify every path of a plan; `facts` are fresh, and `live_only` before the files are written."""
    verdicts: list[Diagnosis] = []
    for choice, found in await gather(plan, facts, site, also_led_away=not live_only):
        verdicts += [
            _waiting(choice.path, client, why, facts[client.host or ""]) for client, why in choice.waiting
        ]
        if found is None:
            senders = choice.senders or (() if choice.waiting else (None,))
            verdicts += [unsent(choice.path, client, choice.note, facts) for client in senders]
        else:
            verdicts += _of_round(choice, found, facts)
    differences = read_back(plan, facts, live_only=True) if live_only else compared(plan, facts)
    return Verification(tuple(verdicts), differences)


def _of_round(choice: Choice, found: Round, facts: Mapping[str, Facts]) -> Iterator[Diagnosis]:
    explained: list[tuple[Probe, Foretold]] = []
    for seen in found.seen:
        said, probe = None, seen.sent.probe
        # Sets of packets are slow to import, and of what was answered there is nothing to explain.
        if seen.is_open or seen.sent.reply in (Reply.REFUSED, Reply.NOT_SENT):
            if len(explained) < MOST_EXPLAINED:
                said = foretold(choice.path, seen.client, probe, facts)
                explained.append((probe, said))
            else:
                said = _like([each for of, each in explained if of == probe], choice.path.gateway)
        yield judged(choice.path, found, seen, facts, said, demanded=choice.demanded, note=choice.note)


def _way(path: Path, client: Client, probe: Probe, facts: Mapping[str, Facts]) -> Course:
    hosts = (client.host or "", path.gateway)
    found = course(
        hosts[0],
        (path.gateway,),
        probe.destination,
        {name: facts[name] for name in hosts},
        hints_of(path, client),
    )
    return replace(found, source=client.network.network_address)


def foretold(path: Path, client: Client, probe: Probe, facts: Mapping[str, Facts]) -> Foretold:
    """What facts say of a flow of a path: everything on the client and the gateway that stops it."""
    from crossnet.diagnosis.static import foretell  # sets of packets are slow to import

    hosts = {name: facts[name] for name in (client.host or "", path.gateway)}
    gateway = hosts[path.gateway]
    hosts[path.gateway] = replace(gateway, routes=(*decided(gateway, path), *gateway.routes))
    return foretell(_way(path, client, probe, facts), probe, hosts, path.destinations)


def _like(known: list[Foretold], gateway: str) -> Foretold:
    """What perhaps stops a flow, by what is known of others like it."""
    near = (each for one in known for each in one.findings if each.host == gateway)
    perhaps = tuple(dict.fromkeys(replace(each, certain=False) for each in near))
    return Foretold(perhaps, None, None, tuple(dict.fromkeys(each for one in known for each in one.others)))


def judged(
    path: Path,
    found: Round,
    seen: Seen,
    facts: Mapping[str, Facts],
    said: Foretold | None,
    *,
    demanded: bool,
    note: str,
) -> Diagnosis:
    """The verdict on one of the flows that were sent at the same time; `said` is what facts say."""
    client, probe, entry = seen.client, seen.sent.probe, seen.entry
    way, said = _way(path, client, probe, facts), said or Foretold((), None, None)
    count, lines = counted(path, found, seen, way, facts, said), tuple(_lines(path, found, seen))
    if count.result is Result.REACHABLE:
        verdict = _passed(path, seen, way, lines)
    else:
        lookups = {
            way.client.host: _answers(way.lookups(way.client), seen.at_client),
            path.gateway: _answers(way.lookups(way.gateways[0]), seen.at_gateway),
        }
        verdict = _why(
            path, way, probe, said, count, facts=facts, small=(seen.sent,), lookups=lookups, lines=lines
        )
    notes = [Note(None, note)] if note else []
    if seen.tracked is None:
        words = f"{path.gateway} has no conntrack tool: the translation could not be looked at"
        notes.append(Note(None, words))
    return replace(
        verdict,
        notes=(*notes, *verdict.notes),
        demanded=demanded,
        counted=found.admitted,
        translated_to=entry.reply_to if entry else None,
    )


def _passed(path: Path, seen: Seen, way: Course, lines: tuple[str, ...]) -> Diagnosis:
    """The verdict on a flow that got through as its crossing promises: of which there is nothing to judge."""
    probe, half = seen.sent.probe, Half("delivered", evidence=lines)
    if seen.sent.reply is Reply.REFUSED:
        words = f"{probe.destination} refused port {probe.port}: the path works"
        half = replace(half, code="destination-port-closed", detail=words)
    return Diagnosis(
        crossing=path.crossing.name,
        client=way.client.host,
        source=way.source,
        probe=probe,
        result=Result.REACHABLE,
        forward=half,
        reply=Half("delivered"),
        how_far=HowFar.ANSWERED,
    )


def _why(
    path: Path,
    way: Course,
    probe: Probe,
    said: Foretold,
    count: Counted,
    *,
    facts: Mapping[str, Facts],
    small: tuple[Sent, ...] = (),
    lookups: Mapping[str, Mapping[Lookup, Answered | None]] | None = None,
    lines: tuple[str, ...] = (),
) -> Diagnosis:
    # Slow to import, and not needed where everything works.
    from crossnet.diagnosis.judge import Evidence, judge
    from crossnet.diagnosis.trail import Tags, Trail

    return judge(
        Evidence(
            path.crossing.name,
            way,
            probe,
            facts,
            said,
            Trail(Tags(probe, ()), way, ()),
            small,
            lookups=lookups or {},
            counted=count,
            lines=lines,
        )
    )


def _answers(asked: tuple[Lookup, ...], seen: Onward | None) -> Mapping[Lookup, Answered | None]:
    return {asked[0]: seen.answered} if seen is not None and asked else {}


def _lines(path: Path, found: Round, seen: Seen) -> Iterator[str]:
    moved, fenced, at = found.admitted, found.fenced, seen.at_gateway
    plural = "s" if moved != 1 else ""
    if found.is_counted:
        yield f"{path.gateway}: the crossing's rule counted {moved} packet{plural} of new flows"
    else:
        yield f"{path.gateway}: no rule of the crossing is there that could count it"
    if fenced:
        yield f"{path.gateway}: the fence stopped {fenced} packets meanwhile"
    if seen.entry:
        yield f"{path.gateway}: {seen.entry.text}"
    if at and at.answered and at.answered.route:
        yield f"{path.gateway}: sends it {at.answered.route}"


def unsent(path: Path, client: Client | None, why: str, facts: Mapping[str, Facts]) -> Diagnosis:
    """The verdict on a client that sent nothing: what would stand in the way of what it may send."""
    whom = (client.host or str(client)) if client else "the clients"
    verdict = replace(not_judged(path.crossing.name, why), client=whom)
    if client is None or client.host is None:
        return verdict
    verdict = replace(verdict, source=client.network.network_address)
    probe = example(path)
    if probe is None:
        return verdict
    way, said = _way(path, client, probe, facts), foretold(path, client, probe, facts)
    told = _why(path, way, probe, said, not_sent(way, said), facts=facts)
    return replace(verdict, forward=told.forward)


def _waiting(path: Path, client: Client, why: str, facts: Facts) -> Diagnosis:
    """The verdict on a client that has nothing to send by, until it renews its lease: that is no fault of anything."""
    command = renewing(client.interface or "", facts)
    return replace(
        not_judged(path.crossing.name, why),
        client=client.host or str(client),
        source=client.network.network_address,
        forward=Half(
            "not-sent",
            "route-with-lease",
            why,
            fix=(Fix(facts.host, (command,)),) if command is not None else (),
        ),
        notes=(),
    )


def not_judged(crossing: str, why: str) -> Diagnosis:
    """The verdict on a crossing of which nothing could be tried."""
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
