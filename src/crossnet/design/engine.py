"""Which firewall engine holds crossnet's rules on a host."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from crossnet.design.forwarded import may_drop
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.firewalld import FIREWALLD
from crossnet.facts.packages import PACKAGES
from crossnet.netfilter import Engine
from crossnet.spec import Firewall

# An older kernel cannot mix nftables' NAT with that of iptables (nft wiki; linux 4.18).
NAT_TOGETHER = (4, 18)


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine, and why it was chosen; `better` is what a new plan would do with rules that stand there.

    `accepts` is the variant of iptables that has to accept the crossings as well: its FORWARD chain can drop, and only
    a rule in the same chain comes before that.
    """

    engine: Engine
    reason: str
    better: Choice | None = None
    accepts: Engine | None = None


def choose(
    facts: Facts, wanted: Firewall, applied: Collection[Engine] = (), *, moves: bool = True
) -> Choice | Refusal:
    """The engine for a gateway; a refusal where the host cannot serve what the spec asks for.

    Rules of firewalld that drop what is forwarded are no reason for an engine where a policy of firewalld's own lets
    crossings pass: so they are in nftables, which no reload of firewalld flushes.

    Rules that are `applied` stay in their engine, as long as it does and the spec lets them; but where one of iptables
    has come to drop what is forwarded a plan puts rules before that drop, unless nothing moves, as for a look at what
    stands.
    """
    choice = _new(facts, wanted)
    if isinstance(choice, Refusal) or not applied:
        return choice
    if Engine.NFTABLES in applied and choice.engine is Engine.NFTABLES:
        return _accepting(facts, wanted, choice, applied, moves=moves)
    return _staying(facts, wanted, choice, _holding(applied), moves=moves)


def _holding(applied: Collection[Engine]) -> Engine:
    """The engine that holds all of the rules; beside nftables one of iptables only accepts."""
    return Engine.NFTABLES if Engine.NFTABLES in applied else min(applied)


def _accepting(
    facts: Facts, wanted: Firewall, choice: Choice, applied: Collection[Engine], *, moves: bool
) -> Choice:
    """In nftables, as it is: accepts that stand in iptables stay, also while nothing drops there."""
    there = next((engine for engine in sorted(applied) if engine.is_iptables), None)
    if choice.accepts is None or choice.accepts is there:
        stays = there if wanted is Firewall.AUTO and there in _variants(facts) else None
        return replace(choice, accepts=stays)
    return choice if moves else replace(choice, accepts=there, better=choice)


def _staying(facts: Facts, wanted: Firewall, choice: Choice, applied: Engine, *, moves: bool) -> Choice:
    if choice.engine is applied:
        return choice
    asked_for = wanted is Firewall.AUTO or (wanted is Firewall.IPTABLES and applied.is_iptables)
    if not asked_for or not (applied in _variants(facts) or (applied is Engine.NFTABLES and _has_nft(facts))):
        return choice
    needed = choice.engine.is_iptables and _may_drop(facts, choice.engine)
    if needed and moves:
        return choice
    return Choice(applied, "it holds crossnet's rules already", choice if needed else None)


def _new(facts: Facts, wanted: Firewall) -> Choice | Refusal:
    """The engine where no rules of crossnet's own stand yet."""
    nft = _has_nft(facts)
    variants = _variants(facts)
    if wanted is Firewall.NFTABLES:
        if nft:
            return Choice(Engine.NFTABLES, "asked for by the spec")
        return _refusal(facts, "nftables rules", f"install {PACKAGES['nft']}, or write `firewall: iptables`")
    if wanted is Firewall.IPTABLES:
        if variants:
            return _iptables(facts, variants, "asked for by the spec")
        return _refusal(
            facts, "iptables rules", f"install {PACKAGES['iptables']}, or write `firewall: nftables`"
        )
    if Engine.IPTABLES_LEGACY in variants and facts.firewall.holds_rules(Engine.IPTABLES_LEGACY):
        return _iptables(facts, variants)
    if Engine.IPTABLES_NFT in variants and _may_drop(facts, Engine.IPTABLES_NFT):
        # Only a rule in the same chain comes before a drop: an accept in an own table does not. But whoever loads
        # rules of iptables anew flushes what others have there: the fence is better where that leaves it.
        if nft:
            return Choice(
                Engine.NFTABLES,
                "nft is there; what crosses is accepted in iptables too, whose FORWARD chain can drop",
                accepts=Engine.IPTABLES_NFT,
            )
        return _iptables(facts, variants, "the FORWARD chain of iptables can drop")
    if nft:
        return Choice(Engine.NFTABLES, "nft is there, and no iptables rule stands in its way")
    if variants:
        return _iptables(facts, variants, "nft is missing or too old")
    return _refusal(facts, "rules", f"install {PACKAGES['nft']} or {PACKAGES['iptables']}")


def _may_drop(facts: Facts, engine: Engine) -> bool:
    running = facts.answers.get(FIREWALLD)
    return may_drop(facts.firewall, engine, but_firewalld=running is not None and running.has_policies)


def _has_nft(facts: Facts) -> bool:
    able = facts.capabilities
    return able.has("nft") and able.kernel >= NAT_TOGETHER and Engine.NFTABLES not in facts.firewall.unusable


def _variants(facts: Facts) -> frozenset[Engine]:
    able = facts.capabilities
    found = set()
    if able.has("iptables-legacy") or (able.has("iptables") and not able.iptables_is_nft):
        found.add(Engine.IPTABLES_LEGACY)
    if able.has("iptables-nft") or (able.has("iptables") and able.iptables_is_nft):
        found.add(Engine.IPTABLES_NFT)
    return frozenset(found - facts.firewall.unusable.keys())


def _iptables(facts: Facts, variants: frozenset[Engine], reason: str = "") -> Choice:
    """The variant that already holds rules; where both or none do, what the host calls `iptables`."""
    live = [engine for engine in sorted(variants) if facts.firewall.holds_rules(engine)]
    usual = Engine.IPTABLES_NFT if facts.capabilities.iptables_is_nft else Engine.IPTABLES_LEGACY
    before = f"{reason}; " if reason else ""
    if len(live) == 1:
        return Choice(live[0], f"{before}it already holds rules")
    if len(live) == 2:
        return Choice(usual, f"{before}legacy and nft rules are both live, `iptables` here is this one")
    return Choice(usual if usual in variants else min(variants), reason)


def _refusal(facts: Facts, what: str, todo: str) -> Refusal:
    able = facts.capabilities
    kernel = ".".join(str(number) for number in able.kernel)
    there = [tool for tool in ("nft", "iptables") if able.has(tool)]
    seen = f"{' and '.join(there) or 'neither nft nor iptables'} on kernel {kernel}"
    needs = ", and nftables needs 4.18 beside iptables" if able.kernel < NAT_TOGETHER else ""
    unusable = "".join(f"; {engine}: {reason}" for engine, reason in facts.firewall.unusable.items())
    return Refusal(
        "no-firewall-engine",
        facts.host,
        f"cannot hold {what}: it has {seen}{needs}{unusable}",
        todo[0].upper() + todo[1:] + ".",
    )
