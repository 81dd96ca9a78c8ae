"""Find where a flow stops, over hosts of a spec or over hosts that somebody names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from crossnet.api.offering import need_of, offering
from crossnet.diagnosis.course import hints_of
from crossnet.diagnosis.diagnose import Diagnosed, Hints, Question, Read, not_begun
from crossnet.diagnosis.diagnose import diagnose as ask
from crossnet.errors import Bug, CrossnetError, HostError
from crossnet.events import Watcher, nobody
from crossnet.exposure import exposures_of
from crossnet.facts import Facts, observe
from crossnet.facts.neighbours import heard_of
from crossnet.facts.question import NEEDS_ROOT
from crossnet.site import Answers, Site, reach
from crossnet.spec import Crossing, HostSpec, Spec
from crossnet.values import Address, Network, Probe, Protocol, contains, family_of
from crossnet.verdict import Diagnosis, Note, Result
from crossnet.verification.choice import stands_for
from crossnet.verification.probe import candidates, search

if TYPE_CHECKING:
    from crossnet.planning import Plan
    from crossnet.verdict import Diagnosis

# The hosts' own time runs while something stands that does not hold.
_MOMENT = 10.0  # seconds

# So long a host on the way is waited for that answers nothing: what the client alone shows is told then.
PATIENCE = 8.0  # seconds

# A cloud is asked several things, one after the other. Hosts are watched meanwhile, and not for ever.
CLOUD_PATIENCE = 30.0  # seconds

# How many addresses of a network are asked, where a spec names no probe.
_MOST = 8

# How many flows of a crossing are tried one after the other, and how many hosts are watched that may be the target.
_MOST_FLOWS = 32
_MOST_TARGETS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """What to diagnose: a crossing, or a flow from `client` over the hosts `via`; `size` forces a size of IP packets.

    `protocol` and `port` say what is sent to `to`; where `to` is None, a probe of the crossing. `cloud` is the entry of
    clouds.yaml that is asked for the ports of the hosts, by default that of the spec.
    """

    crossing: str | None = None
    client: str | None = None
    via: tuple[str, ...] = ()
    to: Address | None = None
    protocol: Protocol = Protocol.ICMP
    port: int | None = None
    size: int | None = None
    cloud: str = ""


async def diagnose(
    asked: Asked, spec: Spec | None = None, *, become: bool = False, watch: Watcher = nobody
) -> Diagnosed:
    """Where a flow stops, why, and what to do; changes nothing.

    Without a spec, or for hosts that it does not name, each host is what `ssh` takes. Of a crossing with several
    clients or probes the first flow that does not get through is told, else the last one.
    """
    crossing = _crossing(asked, spec)
    if spec is not None and crossing is None and asked.client is None and asked.to is not None:
        raise CrossnetError(
            f"no crossing of {spec.file} has {asked.to} in its `to`\n"
            "  Name who sends with --from HOST, and each gateway on the way with --via HOST."
        )
    clients = (asked.client,) if asked.client is not None else _clients(crossing)
    via = asked.via or ((crossing.via,) if crossing is not None else ())
    known = {host.name: host for host in spec.hosts} if spec is not None else {}
    hosts = [known.get(name) or HostSpec.of_word(name, become=become) for name in (*clients, *via)]
    hosts += _perhaps_targets(spec, (*clients, *via))
    whole = Spec("", "", "", tuple(dict.fromkeys(hosts)), ())
    cloud = asked.cloud or (spec.cloud if spec is not None else "")
    async with reach(whole, watch=watch, cloud=cloud) as reached:
        # Who sends is needed, the others tell more.
        site = reached.within(PATIENCE, but=clients, cloud=CLOUD_PATIENCE)
        try:
            probes = await _probes(asked, crossing, site, clients[0], via)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if crossing is None or task is None or task.uncancel() > 0:
                raise
            first = candidates(crossing.to[0], (), 2)[0]
            return not_begun(_question(asked, crossing, clients[0], via, Probe(Protocol.ICMP, first)))
        said: Answers[Facts] | None = None
        every = [(client, probe) for client in clients for probe in probes]
        flows = every[:_MOST_FLOWS]
        for number, (client, probe) in enumerate(flows):
            is_read = False  # for this flow: who asks again wants to know what was changed meanwhile

            async def read(client: str = client) -> Read:
                nonlocal said, is_read
                if said is None or is_read:
                    said = await site.look(kernels=False)
                is_read = True
                if client not in site.reachable:
                    raise said.errors[client]
                open_ = await _openly(site, said.errors)
                errors = {name: _first_line(error) for name, error in said.errors.items()}
                return Read({**said.said, **open_}, errors)

            elsewhere = [name for name in clients if name != client]
            near = {name: host for name, host in site.reachable.items() if name not in elsewhere}
            found = await ask(_question(asked, crossing, client, via, probe), near, read)
            found = replace(found, flow=number + 1, flows=len(every))
            if said is not None and (exposed := _exposed(said.said, via)):
                found = replace(found, verdict=replace(found.verdict, notes=(*exposed, *found.verdict.notes)))
            if crossing is None and found.verdict.result is not Result.REACHABLE:
                need = need_of(asked, spec, become=become)
                found = replace(found, verdict=offering(found.verdict, need))
            is_last = number == len(flows) - 1
            if is_last and len(every) > len(flows) and found.verdict.result is Result.REACHABLE:
                words = (
                    f"only {len(flows)} of the crossing's {len(every)} flows were tried, and all get through"
                )
                notes = (*found.verdict.notes, Note("facts-missing", words))
                return replace(found, verdict=replace(found.verdict, notes=notes))
            if is_last or found.interrupted or found.verdict.result is not Result.REACHABLE:
                return found
        raise Bug("a diagnosis of no flow")


def _exposed(facts: Mapping[str, Facts], via: Sequence[str]) -> tuple[Note, ...]:
    """Which gateways are open for everybody, although they were to have a fence: of a flow that may get through."""
    hosts = (facts[name] for name in via if name in facts)
    return tuple(Note(None, str(each)) for host in hosts for each in exposures_of(host))


def _question(
    asked: Asked, crossing: Crossing | None, client: str, via: tuple[str, ...], probe: Probe
) -> Question:
    if crossing is None:
        return Question(None, client, via, probe, size=asked.size)
    beyond = tuple(each for each in crossing.to if contains(each, probe.destination))
    hints = Hints(crossing.ingress, crossing.egress, crossing.next_hop, beyond, crossing)
    return Question(crossing.name, client, via, probe, hints, _ports(crossing), asked.size)


def _perhaps_targets(spec: Spec | None, used: Sequence[str]) -> list[HostSpec]:
    """Hosts of the spec that stand in no crossing: one of them may have the address that is asked about."""
    rest = [
        host
        for host in (spec.hosts if spec is not None else ())
        if host.name not in used
        and not any(one.touches(host.name) for one in (spec.crossings if spec else ()))
    ]
    return rest[:_MOST_TARGETS]


async def why_not(refuted: Diagnosis, plan: Plan, site: Site) -> Diagnosis | None:
    """Where a flow stops that was seen not to get through; None where that cannot be found out in a moment."""
    path = next(
        (
            one
            for one in plan.paths
            if one.crossing.name == refuted.crossing
            and any(client.host == refuted.client for client in one.clients)
            and (refuted.probe is None or family_of(refuted.probe.destination) is one.family)
        ),
        None,
    )
    if path is None or refuted.probe is None:
        return None
    names = (refuted.client, path.gateway)
    hosts = {name: host for name, host in site.hosts.items() if name in names}
    hints = hints_of(path, next(client for client in path.clients if client.host == refuted.client))
    question = Question(
        path.crossing.name, refuted.client, (path.gateway,), refuted.probe, hints, _ports(path.crossing)
    )

    async def read() -> Read:
        found = await site.look(kernels=False)
        return Read(
            {name: found.said[name] for name in names if name in found.said},
            {name: _first_line(error) for name, error in found.errors.items() if name in names},
        )

    try:
        async with asyncio.timeout(_MOMENT):
            found = await ask(question, hosts, read)
    except (CrossnetError, OSError):
        return None  # that it does not get through is known all the same, and is what has to be told
    return None if found.interrupted else found.verdict


async def _openly(site: Site, errors: Mapping[str, CrossnetError]) -> Mapping[str, Facts]:
    """What hosts tell an account that may not read everything."""

    async def of(name: str) -> Facts | None:
        try:
            return await observe(site.reachable[name], (), rules=False)
        except CrossnetError:
            return None

    closed = [
        name
        for name, error in errors.items()
        if isinstance(error, HostError) and error.todo == NEEDS_ROOT and name in site.reachable
    ]
    found = zip(closed, await asyncio.gather(*map(of, closed)), strict=True)
    return {name: facts for name, facts in found if facts is not None}


def _first_line(error: CrossnetError) -> str:
    return next(iter(str(error).splitlines()), "it gave no reason")


def _crossing(asked: Asked, spec: Spec | None) -> Crossing | None:
    """The crossing that is meant: named, or the one that the flow belongs to."""
    if spec is None:
        return None
    if asked.crossing is not None:
        spec.expect((asked.crossing,))
        return next(one for one in spec.crossings if one.name == asked.crossing)
    if asked.client is None and asked.to is None:
        if len(spec.crossings) == 1:
            return spec.crossings[0]
        names = ", ".join(one.name for one in spec.crossings)
        raise CrossnetError(f"{spec.file} has several crossings: name one of {names}")
    fitting = [
        one
        for one in spec.crossings
        if (asked.client is None or asked.client in one.clients)
        and (not asked.via or asked.via == (one.via,))
        and (asked.to is None or any(contains(each, asked.to) for each in one.to))
    ]
    return fitting[0] if fitting else None


def _clients(crossing: Crossing | None) -> tuple[str, ...]:
    managed = [each for each in crossing.clients if isinstance(each, str)] if crossing else []
    if not managed:
        raise CrossnetError(
            "nobody is named who could send: none of the clients is a managed host\n"
            "  Name one with --from HOST: a host of the spec, or anything that ssh takes."
        )
    return tuple(managed)


async def _probes(
    asked: Asked, crossing: Crossing | None, site: Site, client: str, via: Sequence[str]
) -> tuple[Probe, ...]:
    """What is sent; of a size that is forced an echo alone can be."""
    meant = await _meant(asked, crossing, site, client, via)
    if asked.size is None:
        return meant
    echoes = tuple(probe for probe in meant if probe.protocol is Protocol.ICMP)
    if not echoes:
        raise CrossnetError(
            f"--size is that of an echo: it goes with icmp only, and what would be sent is {meant[0]}\n"
            f"  Name whom to send it to: --to {meant[0].destination}, without a port."
        )
    return echoes


async def _meant(
    asked: Asked, crossing: Crossing | None, site: Site, client: str, via: Sequence[str]
) -> tuple[Probe, ...]:
    if asked.to is not None:
        return (Probe(asked.protocol, asked.to, asked.port),)
    if crossing is None:
        raise CrossnetError("nothing is named that should be reached\n  Name it with --to ADDRESS[:PORT].")
    if crossing.probes:
        return crossing.probes
    return (await _first_answering(crossing, site, client, via),)


async def _first_answering(crossing: Crossing, site: Site, client: str, via: Sequence[str]) -> Probe:
    """An address in `to`: one that answers the gateway or the client, else the first that a host could have."""
    network: Network = crossing.to[0]
    known: Mapping[str, object] = site.reachable
    found = await site.look(kernels=False)
    heard = [each for name in via if name in found.said for each in heard_of(found.said[name].neighbours)]
    near = candidates(network, heard, _MOST)
    for name in (*via, client):
        if name in known and near:
            (answer,) = await search(site.reachable[name], [near])
            if answer.answered is not None:
                near = (answer.answered,)
                break
    if not near:
        raise CrossnetError(
            f"no address in {network} is known that could be tried\n  Name one with --to ADDRESS[:PORT]."
        )
    return stands_for(crossing, near[0])


def _ports(crossing: Crossing | None) -> tuple[int, ...]:
    """Ports of TCP that the crossing is for."""
    if crossing is None:
        return ()
    named = [each.port for each in crossing.probes if each.protocol is Protocol.TCP and each.port]
    named += [
        each.ports.first for each in crossing.allow or () if each.protocol is Protocol.TCP and each.ports
    ]
    return tuple(dict.fromkeys(named))
