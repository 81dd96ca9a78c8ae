"""One table of the kernel as two tools tell it: nft, and iptables-nft."""

from __future__ import annotations

import re
from dataclasses import replace

from crossnet.netfilter import foreign

# What nft has no words for, and iptables-nft has: a match or a target of xtables (nft's xt statement).
_XT = re.compile(r"\bxt (?:match|target) ")


def together(table: foreign.Table, saved: foreign.Table | None) -> foreign.Table:
    """One table of the kernel as nft and as iptables-nft print it.

    nft prints every rule, but of a match or target of xtables only its name; iptables prints those, and a native
    rule wrongly or not at all (measured: `ip saddr { … } drop` as `-j DROP`). So nft's chains count, and in them
    iptables' words for the rules that both read alike, and for those of which nft knows only a name: where both
    print as many rules.
    """
    if saved is None:
        return table
    chains = {
        name: _with_words(chain, saved.chains[name]) if name in saved.chains else chain
        for name, chain in table.chains.items()
    }
    return replace(table, chains=chains, ipsets=saved.ipsets)


def _with_words(chain: foreign.Chain, saved: foreign.Chain) -> foreign.Chain:
    if chain.count != saved.count:
        return chain

    def read() -> tuple[foreign.Rule, ...]:
        pairs = zip(chain.rules, saved.rules, strict=True)
        return tuple(
            other if _alike(rule, other) or (_XT.search(rule.text) and not _is_less(other, rule)) else rule
            for rule, other in pairs
        )

    return replace(chain, read=read)


def _alike(one: foreign.Rule, other: foreign.Rule) -> bool:
    """Whether both say the same: in which order a rule's tests stand, before it does anything, is all one."""
    return one.statements == other.statements or _apart(one) == _apart(other)


def _apart(rule: foreign.Rule) -> tuple[frozenset[object], tuple[object, ...]]:
    number = next(
        (
            at
            for at, each in enumerate(rule.statements)
            if not isinstance(each, foreign.Test | foreign.AnyOf | foreign.Perhaps)
        ),
        len(rule.statements),
    )
    return frozenset(rule.statements[:number]), tuple(rule.statements[number:])


def _is_less(other: foreign.Rule, rule: foreign.Rule) -> bool:
    """Whether iptables cannot read what a rule does, and nft can: the extension of a match is missing there."""
    return any(isinstance(each, foreign.Unknown) for each in other.statements) and not any(
        isinstance(each, foreign.Unknown) for each in rule.statements
    )
