"""What of a set-up by hand is wider than its crossings need, or ends at the next boot, and the commands that mend it.

What `crossnet apply` mends by itself says so; what crossnet does not own is left to commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from crossnet.adoption.finding import Finding
from crossnet.adoption.ports import ports_of_clients, ports_of_gateway, stopped
from crossnet.adoption.taking import Taking
from crossnet.adoption.way import Way, each_once
from crossnet.adoption.writing import Reproduced, takings
from crossnet.diagnosis.translating import Translating
from crossnet.facts import Facts, FileState
from crossnet.facts.firewalld import FIREWALLD, is_of_firewalld
from crossnet.facts.routes import Route
from crossnet.facts.sysctls import FORWARDING, at_boot
from crossnet.netfilter.iptables_words import split_words
from crossnet.persistence import kept
from crossnet.planning import Plan
from crossnet.reach.transit import Forwarded, forwarded
from crossnet.resources import RouteResource
from crossnet.several import few, joined
from crossnet.values import Family
from crossnet.verdict import Fix

_MOST = 6  # that a sentence names
_AT_BOOT = "; and out of the file that brings it back at a boot, if one does"


def findings(crossings: Sequence[Reproduced], facts: Mapping[str, Facts], plan: Plan) -> tuple[Finding, ...]:
    """All of it, gateway by gateway, then what the clients have, then the cloud's ports."""
    found: list[Finding] = []
    ways = [each.way for each in crossings]
    for gateway in dict.fromkeys(way.gateway for way in ways):
        here = [way for way in ways if way.gateway == gateway]
        left = next(each.others for each in crossings if each.way.gateway == gateway)
        found += _translations(facts[gateway], here, left)
        found += _transit(facts[gateway], here, left)
        found += _not_kept(facts[gateway], here)
        found += ports_of_gateway(facts[gateway], here)
        found += stopped(facts[gateway], here)
    found += _default_routes(ways)
    found += _routes_not_kept(ways, facts, plan)
    found += ports_of_clients(ways, facts)
    return tuple(dict.fromkeys(found))


# ---- translation ------------------------------------------------------------------------------------


def _translations(facts: Facts, ways: Sequence[Way], others: Sequence[str]) -> Iterator[Finding]:
    when = "when the spec is applied" + (", if nobody else needs it" if others else "") + _AT_BOOT
    taking = takings(ways, facts)
    for rule in each_once(rule for way in ways for rule in way.rules):
        fix = (_removing(facts, rule, when),)
        takes = taking.get(rule.place, Taking.ANYBODY)
        if takes is Taking.CLIENTS:
            words = f"translates what the crossing translates itself: {rule.text}"
            yield Finding("snat-by-hand", facts.host, words, fix=fix)
            continue
        whose = "what anybody sends" if takes is Taking.ANYBODY else "more than what the clients send"
        yield Finding("snat-for-everybody", facts.host, f"translates {whose}: {rule.text}", fix=fix)


def _removing(facts: Facts, rule: Translating, when: str) -> Fix:
    """What takes a rule of somebody else away, when crossnet's own translates."""
    engine = facts.firewall.engine_of(rule.table, rule.chain)
    zones = facts.answers.get(FIREWALLD)
    if zones is not None and (is_of_firewalld(rule.chain, rule.rule) or rule.table.name == "firewalld"):
        masquerading = [zone.name for zone in zones.zones if zone.settings.get("masquerade") == ("yes",)]
        commands = [
            f"firewall-cmd {permanent}--zone={shlex.quote(zone)} --remove-masquerade"
            for zone in masquerading
            for permanent in ("", "--permanent ")
        ]
        return Fix(facts.host, tuple(commands), warning=when)
    if engine.is_iptables and rule.text.startswith("-A "):
        family = Family.V6 if rule.table.family == "ip6" else Family.V4
        words = split_words(rule.text)[1:]
        command = shlex.join((facts.iptables(engine, family), "-t", rule.table.name, "-D", *words))
        return Fix(facts.host, (command,), warning=when)
    place = shlex.join((rule.table.family, rule.table.name, rule.chain.name))
    numbered = f"and `nft delete rule {place} handle N` with the number behind that rule, {when}"
    return Fix(facts.host, (f"nft -a list chain {place}",), warning=numbered)


# ---- who else is forwarded --------------------------------------------------------------------------


def _transit(facts: Facts, ways: Sequence[Way], others: Sequence[str]) -> Iterator[Finding]:
    if others:
        yield Finding(
            "others-forwarded",
            facts.host,
            f"has something that is for others than the clients, so the spec keeps nobody out: {few(others, _MOST)}. "
            "Name all who need it as clients, or in crossings of their own; then write `fence: on`",
        )
    for family in sorted({way.family for way in ways}):
        here = [way for way in ways if way.family is family]
        interfaces = list(dict.fromkeys(name for way in here for name in (way.ingress, way.egress)))
        open_ = [
            each
            for each in forwarded(facts, family, interfaces)
            if each.egress in interfaces and each.sources is None
        ]
        if open_:
            yield Finding(
                "forwards-for-everybody",
                facts.host,
                f"forwards {_of_anybody(open_)} ({family.label})",
                by_crossnet=not others,
            )


def _of_anybody(open_: Sequence[Forwarded]) -> str:
    whole, part = (
        joined([f"{each.ingress} to {each.egress}" for each in open_ if each.is_all is is_all])
        for is_all in (True, False)
    )
    words = [f"whatever anybody sends from {whole}"] if whole else []
    words += [f"a part of what anybody sends from {part}"] if part else []
    return joined(words)


# ---- what ends at the next boot ---------------------------------------------------------------------


def _not_kept(facts: Facts, ways: Sequence[Way]) -> Iterator[Finding]:
    for family in sorted({way.family for way in ways}):
        name = FORWARDING[family]
        line = at_boot(facts.boot_settings, name, systemd=facts.capabilities.systemd)
        if line is None or not line.switches_on:
            why = "no file sets it" if line is None else f"{line.file} sets it to {line.value}"
            yield Finding(
                "lost-at-boot", facts.host, f"{name} = 1 ends at the next boot: {why}", by_crossnet=True
            )


def _routes_not_kept(ways: Sequence[Way], facts: Mapping[str, Facts], plan: Plan) -> Iterator[Finding]:
    """Routes that the plan uses as they are, and writes down for the next boot."""
    clients = {name for way in ways for name in way.clients}
    for host in plan.hosts:
        written = [one for one in host.changes if one.resource.is_persistent and one.want is not None]
        used = (one.current(facts[host.host]) for one in host.adopted if isinstance(one, RouteResource))
        routes = [one.route for one in used if isinstance(one, RouteResource)]
        lost = [str(route) for route in routes if not _is_written(facts[host.host], route)]
        if host.host in clients and written and lost:
            words = f"nothing that crossnet sees brings {few(lost, _MOST, ', ')} back at a boot"
            yield Finding("lost-at-boot", host.host, words, by_crossnet=True)


def _is_written(facts: Facts, route: Route) -> bool:
    """Whether who keeps its interface has the route: in a file of network-scripts or wicked, or in a profile."""
    owner = facts.owners.get(route.device or "")
    profile = facts.profiles.get(owner.profile, ()) if owner is not None else ()
    files = (facts.files.get(path) for path in kept.paths(facts))
    lines = [line for file in files if isinstance(file, FileState) for line in file.data.splitlines()]
    words = [set(line.split()) for line in (*(each.decode(errors="replace") for each in lines), *profile)]
    return any({str(route.destination), str(route.via)} <= each for each in words if "#" not in "".join(each))


def _default_routes(ways: Sequence[Way]) -> Iterator[Finding]:
    for way in ways:
        if way.default_routes and any(each.prefixlen == 0 for each in way.to):
            yield Finding(
                "default-route-by-gateway",
                joined(way.clients),
                f"everything that has no other route goes over {way.gateway}: {joined(way.default_routes)}. "
                "Name the networks that are needed with --to, and give it a default route by its own router",
            )
