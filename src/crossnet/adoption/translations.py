"""Rules of others that translate what the crossing is to translate itself, and the commands that end them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from crossnet.adoption.finding import Finding
from crossnet.adoption.taking import Taking
from crossnet.adoption.way import Way, each_once
from crossnet.adoption.writing import takings
from crossnet.diagnosis.translating import Translating
from crossnet.facts import Facts
from crossnet.facts.firewalld import FIREWALLD, is_of_firewalld
from crossnet.netfilter.iptables_words import split_words
from crossnet.values import Family
from crossnet.verdict import Fix

_AT_BOOT = "; and out of the file that brings it back at a boot, if one does"


def translations(facts: Facts, ways: Sequence[Way], others: Sequence[str]) -> Iterator[Finding]:
    when = "when the spec is applied" + (", if nobody else needs it" if others else "") + _AT_BOOT
    taking = takings(ways, facts)
    for rule in each_once(rule for way in ways for rule in way.rules):
        fix = (_removing(facts, rule, when),)
        takes = taking.get(rule.place, Taking.ANYBODY)
        told = rule.text + (f" (it stands there {rule.times} times)" if rule.times > 1 else "")
        if takes is Taking.CLIENTS:
            words = f"translates what the crossing translates itself: {told}"
            yield Finding("snat-by-hand", facts.host, words, fix=fix)
            continue
        whose = "what anybody sends" if takes is Taking.ANYBODY else "more than what the clients send"
        yield Finding("snat-for-everybody", facts.host, f"translates {whose}: {told}", fix=fix)


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
        # Each time it takes away the first that is alike (iptables(8)).
        if rule.times > 1:
            command = f"for each in $(seq {rule.times}); do {command}; done"
        return Fix(facts.host, (command,), warning=when)
    place = shlex.join((rule.table.family, rule.table.name, rule.chain.name))
    behind = "that rule" if rule.times == 1 else f"each of these {rule.times} rules"
    numbered = f"and `nft delete rule {place} handle N` with the number behind {behind}, {when}"
    return Fix(facts.host, (f"nft -a list chain {place}",), warning=numbered)
