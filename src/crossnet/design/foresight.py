"""What will become of a crossing's packets when the plan is applied, as far as the hosts' facts tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from crossnet.design.forwarded import arp_filters, named
from crossnet.design.impacts import Impact
from crossnet.design.others import (
    Tell,
    is_own,
    keep_from_fence,
    keep_from_tracking,
    leave,
    may_stop,
    may_stop_arp,
    put_in_zones,
    rule_of,
    stop,
    take,
    told_of,
    translate,
    way_of,
)
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.netfilter.foreign import Field, Rewrite, Translation
from crossnet.netfilter.foreign import Translate as Translated
from crossnet.path import Path
from crossnet.several import few, joined
from crossnet.values import NOWHERE, Family, Network, Networks, Ports, Probe, Traffic, host_network, without

if TYPE_CHECKING:  # sets of packets are slow to import, and not every command asks for them
    from crossnet.reach.asked import Asked
    from crossnet.reach.blockers import Blocker
    from crossnet.reach.path import Reached, Walked
    from crossnet.reach.rules import Decision

# So many managed clients are walked with the gateway, each for itself. Of more each is walked alone, as far as its own
# segment (about 10 ms of CPU, measured), and the gateway once for all of them: its rules may be many.
MOST_CLIENTS = 8
# Lines of one impact.
MOST_RULES = 3


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What others do with packets of the crossings, and the crossings of which surely nothing passes."""

    impacts: tuple[Impact, ...] = ()
    stopped: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stops a flow, its request or else the answer, in its owner's words; `sure` when it surely does."""

    host: str
    code: str
    text: str
    sure: bool
    on_the_way_back: bool

    def __str__(self) -> str:
        return f"{self.host}: {self.text}"


def obstacles(
    path: Path, client: str, facts: Mapping[str, Facts], probe: Probe | None = None
) -> tuple[Obstacle, ...]:
    """What of others stands in the way of a managed client, on it or on the gateway: of one flow, else of any.

    The facts are those of hosts as crossnet makes them. What surely stops it comes first.
    """
    from crossnet.reach.asked import Asked
    from crossnet.reach.path import Walked, reached

    if probe is None:
        destinations = _beyond(facts[path.gateway], path)
        traffic = path.crossing.allow or ()
    else:
        destinations = (host_network(probe.destination),)
        traffic = (Traffic(probe.protocol, Ports(probe.port, probe.port) if probe.port else None),)
    if not destinations:
        return ()
    asked = Asked(client, destinations, traffic, egress={path.gateway: path.egress})
    walked = Walked(asked, {name: facts[name] for name in dict.fromkeys((client, path.gateway))})
    answer = reached(walked)
    found = [
        Obstacle(
            each.host,
            each.code,
            told_of(each) + _zones(walked.hosts[each.host], each),
            each.certain and each.now,
            any(each is one for one in answer.reply.blockers),
        )
        for each in _blocking(path, walked, answer, whole=True)
    ]
    others = [
        Obstacle(host, tell(host, words).code, words, sure=False, on_the_way_back=False)
        for tell, host, words in _otherwise(path, walked, answer)
    ]
    sure_first = sorted(dict.fromkeys((*found, *others)), key=lambda each: not each.sure)
    return (*_astray(path, client, walked, probe), *sure_first)


def _astray(path: Path, client: str, walked: Walked, probe: Probe | None) -> Iterator[Obstacle]:
    """The route by which a client sends a flow past the gateway."""
    if probe is None or any(visit.host == path.gateway for visit in walked.visits):
        return
    first = walked.visits[0].outcome
    if first.leaving:
        ways = ", ".join(dict.fromkeys(map(way_of, first.ways)))
        text = f"does not send it to {path.gateway}, but by {ways}"
        yield Obstacle(client, "src-route-other-next-hop", text, sure=True, on_the_way_back=False)


# Which direction is stopped, and by what.
_End = tuple[str, "tuple[Blocker, ...]"]


def foresee(paths: Sequence[Path], facts: Mapping[str, Facts]) -> Foreseen:
    """What becomes of the crossings' packets on hosts that are as the plan makes them."""
    from crossnet.reach.path import Walked, reached

    told: dict[tuple[Tell, str], dict[str, None]] = {}
    concerned: dict[tuple[Tell, str], set[str]] = {}
    refusals: list[Refusal] = []
    for path in paths:
        over_gateway: list[_End] = []
        alone: list[_End] = []
        for asked, names in questions(path, facts):
            walked = Walked(asked, {name: facts[name] for name in names})
            answer = reached(walked)
            whole = path.gateway in names
            (over_gateway if whole else alone).append(_end_of_all(answer))
            for tell, host, words in _others(path, walked, answer, whole=whole):
                told.setdefault((tell, host), {})[words] = None
                concerned.setdefault((tell, host), set()).add(path.crossing.name)
        # What stops one client only is told; the crossing is there for the others.
        admits = any(client.host is None for client in path.clients)
        for ends in (over_gateway, [] if admits else alone):
            if ends and all(blockers for _, blockers in ends):
                refusals.append(_refusal(path, facts, ends))
                break
    impacts = []
    for (tell, host), lines in told.items():
        impact = tell(host, few(list(lines), MOST_RULES))
        impacts.append(replace(impact, crossings=frozenset(concerned[tell, host])))
    return Foreseen(tuple(impacts), tuple(dict.fromkeys(refusals)))


# What a rule, a route or a setting does that stays; a link may come up, and a neighbour answer, at any moment.
_STAYS = frozenset(
    {
        *("filter-rule-drop", "filter-policy-drop", "filter-reject", "src-output-filtered"),
        *("reverse-path-filter", "martian-source"),
        *("route-blackhole", "route-unreachable", "route-prohibit"),
    }
)


def _end_of_all(answer: Reached) -> _End:
    """What surely stops all requests, or else all answers; nothing where some may pass."""
    from crossnet.reach.path import Disposition

    for which, journey in (("requests", answer.request), ("answers", answer.reply)):
        bad = journey.disposition in (Disposition.DROPPED, Disposition.REJECTED, Disposition.NOT_SENT)
        if journey.whole and bad:
            # No spec means that a network's broadcast address be reached.
            blockers = (each for each in journey.blockers if each.code != "destination-is-broadcast")
            sure = tuple(each for each in blockers if each.now and each.certain)
            stays = all(each.code in _STAYS and not (each.place and is_own(each.place)) for each in sure)
            return which, sure if stays else ()
    return "", ()


def _refusal(path: Path, facts: Mapping[str, Facts], ends: Sequence[_End]) -> Refusal:
    blockers = tuple(dict.fromkeys(each for _, found in ends for each in found))
    hosts = list(dict.fromkeys(each.host for each in blockers))
    which = " or ".join(dict.fromkeys(which for which, _ in ends))
    deleted = {each: _deleting(each, facts) for each in blockers}
    todo = [
        f"remove the route if it is not intended: on {at.host} `{line}`"
        for at, line in deleted.items()
        if line
    ]
    if not all(deleted.values()):
        there = ", ".join(dict.fromkeys(manager.name for host in hosts for manager in facts[host].managers))
        todo.append(
            f"accept the crossing in the own tool of what stops it{f' (in use there: {there})' if there else ''}, or "
            "remove what stops it; an accept of crossnet's own does not override it"
        )
    lines = dict.fromkeys(todo)
    return Refusal(
        "nothing-passes",
        f"crossing {path.crossing.name}",
        f"nothing would pass: all {path.family.label} {which} are stopped, on {_listed(hosts)}, by what crossnet "
        "does not own",
        " ".join(f"{line[0].upper()}{line[1:]}." for line in lines),
        tuple(dict.fromkeys(f"{each.host}: {told_of(each)}{_by_nft(each, facts)}" for each in blockers)),
    )


def _listed(hosts: Sequence[str]) -> str:
    return few(hosts, MOST_RULES, ", ") if len(hosts) > MOST_RULES else joined(hosts)


def _deleting(blocker: Blocker, facts: Mapping[str, Facts]) -> str:
    """The command that takes a route away which refuses packets; nothing where it is something else that does."""
    for route in facts[blocker.host].routes if blocker.place is None else ():
        if blocker.code == f"route-{route.type}" and str(route) == blocker.text:
            return f"ip {'-6 ' if route.destination.version == 6 else ''}route del {route.with_table}"
    return ""


def _by_nft(blocker: Blocker, facts: Mapping[str, Facts]) -> str:
    """What whoever goes there with iptables would only find out then."""
    place = blocker.place
    left = facts[blocker.host].firewall.left_to_nft
    if place is None or (place.family, place.table) not in left:
        return ""
    return f"; to iptables the table `{place.table}' is incompatible, for a rule of nft's own stands in it: use nft"


def _others(path: Path, walked: Walked, answer: Reached, *, whole: bool) -> Iterator[tuple[Tell, str, str]]:
    """What to tell, of which host, and the rule or setting that does it; `whole` where the gateway was walked too."""
    yield from _otherwise(path, walked, answer)
    for blocker in _blocking(path, walked, answer, whole=whole):
        words = told_of(blocker) + _zones(walked.hosts[blocker.host], blocker)
        yield stop if blocker.certain and not blocker.doubts else may_stop, blocker.host, words


def _otherwise(path: Path, walked: Walked, answer: Reached) -> Iterator[tuple[Tell, str, str]]:
    """What does something else with packets than to stop them."""
    from crossnet.reach.rules import Effect

    untracked = tuple(_untracked(walked))
    if path.leg.translates:
        yield from ((keep_from_tracking, host, rule) for host, rule in untracked)
    elif any(each.place is not None and is_own(each.place) for each in answer.reply.blockers):
        yield from ((keep_from_fence, host, rule) for host, rule in untracked)
        zones = [] if untracked else _zone_rules(walked.hosts[path.gateway])
        yield from ((put_in_zones, path.gateway, rule) for rule in zones)
    for visit in (*walked.visits, *walked.back):
        for decision in visit.outcome.decisions:
            if decision.effect is Effect.TRANSLATES and not is_own(decision.place):
                taken = _redirects(walked.hosts[visit.host], decision)
                yield take if taken else translate, visit.host, rule_of(decision.place, decision.text)
    yield from _elsewhere(path, walked)
    yield from _unheard(path, walked)


def _blocking(path: Path, walked: Walked, answer: Reached, *, whole: bool) -> Iterator[Blocker]:
    """What of others stops packets, or perhaps does."""
    # What is not translated finds no way back, and every rule on that way says so again.
    lost = path.leg.translates and any(_untracked(walked))
    for blocker in (*answer.request.blockers, *(() if lost else answer.reply.blockers)):
        if _concerns(path, blocker, whole=whole):
            yield blocker


def _redirects(facts: Facts, decision: Decision) -> bool:
    """Whether a rule that translates gives packets to the host itself."""
    place = decision.place
    return any(
        isinstance(each, Translated) and each.kind is Translation.REDIRECT
        for _, table, chain in facts.firewall.others()
        if (table.family, table.name, chain.name) == (place.family, place.table, place.chain)
        for rule in chain.rules
        if rule.text == decision.text
        for each in rule.statements
    )


def _zones(facts: Facts, blocker: Blocker) -> str:
    """Why an answer may find no request that it is one to: it may be looked up in another zone than that one's."""
    rules = _zone_rules(facts) if blocker.code == "reply-not-untranslated" else []
    return f", as they may be looked up in another zone: {few(rules, MOST_RULES)}" if rules else ""


def _zone_rules(facts: Facts) -> list[str]:
    """The rules of others that say a zone of connection tracking."""
    return [
        f"{named(table.tool, table.family, table.name, chain.name)}: rule {rule.text}"
        for _, table, chain in facts.firewall.others()
        for rule in chain.rules
        if any(isinstance(each, Rewrite) and each.field is Field.CT_ZONE for each in rule.statements)
    ]


def _untracked(walked: Walked) -> Iterator[tuple[str, str]]:
    """The rules that keep packets from connection tracking, with their hosts."""
    from crossnet.reach.rules import Effect

    for visit in (*walked.visits, *walked.back):
        for decision in visit.outcome.decisions:
            if decision.effect is Effect.NOT_TRACKED:
                yield visit.host, rule_of(decision.place, decision.text)


def _concerns(path: Path, blocker: Blocker, *, whole: bool) -> bool:
    """Whether it is a matter of rules and settings of others what the blocker does to a crossing's packets."""
    # That nothing is translated is what the spec asks for; the plan says what it needs then. Whether a destination is
    # up is no matter of rules and settings.
    unasked = {
        "destination-is-broadcast",
        "destination-absent",
        *(["snat-missing"] if not path.leg.translates or not whole else []),
    }
    # To and from the gateway itself nothing is forwarded.
    local = blocker.host == path.gateway and blocker.hook in ("input", "output")
    # What crossnet's own fence stops leaves elsewhere, and that is told, or others have changed it.
    own = blocker.place is not None and is_own(blocker.place)
    # Of what leaves elsewhere it is told that it does.
    stray = blocker.code == "snat-missing" and blocker.interface != path.egress
    # So of a route's own MTU; a bridge drops without a word.
    answered = blocker.code == "mtu-exceeded" and blocker.hook == "forward"
    return not (local or own or stray or answered) and blocker.code not in unasked


def _elsewhere(path: Path, walked: Walked) -> Iterator[tuple[Tell, str, str]]:
    """Where the gateway does not send them by the crossing's interface, and the route or rule by which it does not."""
    for visits, meant in ((walked.visits, path.egress), (walked.back, path.ingress)):
        for visit in (visit for visit in visits if visit.host == path.gateway):
            astray = {each.interface for each in visit.outcome.leaving if each.here} - {meant, "lo"}
            for way in visit.outcome.ways:
                if way.device in astray:
                    yield leave, path.gateway, f"by {way.device} and not by {meant}: {way_of(way)}"


def _unheard(path: Path, walked: Walked) -> Iterator[tuple[Tell, str, str]]:
    """What may keep a neighbour of the crossing from being found."""
    if path.family is not Family.V4:
        return
    for name, facts in walked.hosts.items():
        interfaces = {client.interface for client in path.clients if client.host == name}
        if name == path.gateway:
            interfaces |= {path.ingress, path.egress}
        for line in arp_filters(facts.firewall, {each for each in interfaces if each}):
            yield may_stop_arp, name, line


def questions(path: Path, facts: Mapping[str, Facts]) -> Iterator[tuple[Asked, tuple[str, ...]]]:
    """What clients send, and which hosts it is walked over."""
    from crossnet.reach.asked import Asked

    traffic = path.crossing.allow or ()
    destinations = _beyond(facts[path.gateway], path)
    if not destinations:
        return
    egress, longest = {path.gateway: path.egress}, _longest(path, facts[path.gateway])
    managed = [client.host for client in path.clients if client.host is not None]
    few = len(managed) <= MOST_CLIENTS
    for name in managed:
        hosts = (name, path.gateway) if few else (name,)
        yield Asked(name, destinations, traffic, egress=egress, longest=longest), hosts
    unnamed = tuple(client.network for client in path.clients if client.host is None or not few)
    if (asked := at_gateway(path, facts[path.gateway], unnamed)) is not None:
        yield asked, (path.gateway,)


def at_gateway(path: Path, gateway: Facts, clients: tuple[Network, ...]) -> Asked | None:
    """What these clients send, as it comes to the gateway; None where nothing does."""
    from crossnet.reach.asked import Asked

    destinations, sources = _beyond(gateway, path), _clients(gateway, path, clients)
    if not destinations or not sources:
        return None
    return Asked(
        path.gateway,
        destinations,
        path.crossing.allow or (),
        sources=sources,
        ingress=path.ingress,
        egress={path.gateway: path.egress},
        longest=_longest(path, gateway),
    )


def _longest(path: Path, gateway: Facts) -> int:
    """What is longer the gateway answers with an ICMP error, and the sender makes it shorter."""
    links = [gateway.link(name) for name in (path.ingress, path.egress)]
    return min(link.mtu for link in links if link is not None)


def _clients(gateway: Facts, path: Path, admitted: tuple[Network, ...]) -> tuple[Network, ...]:
    """The networks of clients without the gateway's own addresses, from which no client sends.

    The first address of each network of IPv6 is one too, as long as it forwards (RFC 4291, 2.6.1).
    """
    own = [host_network(item.address) for link in gateway.links for item in link.of(path.family)]
    own += [each.destination for each in gateway.routes if (each.table, each.type) == ("local", "anycast")]
    networks = Networks(admitted)
    taken = [part for part in own if networks.around(part)]
    return without(admitted, taken) if taken else admitted


def _beyond(gateway: Facts, path: Path) -> tuple[Network, ...]:
    """The destinations without what nobody sends through the gateway.

    That is what is for the gateway itself, what the clients have on their own side of it, and what no host is.
    """
    own = [host_network(item.address) for link in gateway.links for item in link.of(path.family)]
    ingress = gateway.link(path.ingress)
    near = [item.network for item in ingress.of(path.family)] if ingress else []
    near += [client.network for client in path.clients]
    destinations = Networks(path.destinations)
    taken = [part for part in own if destinations.around(part)]
    taken += [part for part in (*near, *NOWHERE) if destinations.around(part, larger=True)]
    return without(path.destinations, taken) if taken else path.destinations
