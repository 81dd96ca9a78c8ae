"""The firewall rules of a host, of nftables and of both variants of iptables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from crossnet.facts.iptables import IPSETS, PIECES, SAVES, Saved, no_more_printed
from crossnet.facts.nft import LISTING, NFT, PARTS, TEXT, Listing
from crossnet.facts.question import Question, Said
from crossnet.netfilter import TABLE_FAMILY, Engine, Set, Table
from crossnet.netfilter import foreign as form
from crossnet.netfilter.ipset_save import parse_ipset_save as read_sets
from crossnet.netfilter.iptables_own import is_own_chain
from crossnet.netfilter.nft_foreign import with_text
from crossnet.netfilter.own import TABLE
from crossnet.netfilter.two_tools import together
from crossnet.netfilter.xtables_save import filled_sets
from crossnet.netfilter.xtables_save import parse_save as read_save
from crossnet.values import Family


@dataclass(frozen=True, slots=True)
class Firewall:
    """All tables of a host: crossnet's own rules as it wrote them, and everybody's in `foreign`.

    `nft` are crossnet's own tables in nftables, `iptables` its chains by variant and family with the built-in chains
    that enter them (every table that the variant has is there), `ipsets` its sets. `with_nft` are the tables, by
    family and name, that iptables-nft keeps in nftables, `left_to_nft` those of them that it can change no more.
    `unusable` is where crossnet's own rules could not be read back, and why: nothing is known of them there.
    """

    nft: tuple[Table, ...] = ()
    iptables: Mapping[tuple[Engine, Family], tuple[Table, ...]] = field(default_factory=dict)
    ipsets: tuple[Set, ...] = ()
    foreign: tuple[form.Table, ...] = ()  # whoever made them, in the form in which they can be walked
    with_nft: frozenset[tuple[str, str]] = frozenset()
    left_to_nft: frozenset[tuple[str, str]] = frozenset()
    unusable: Mapping[Engine, str] = field(default_factory=dict)

    def of(self, engine: Engine, family: Family) -> tuple[Table, ...]:
        return self.iptables.get((engine, family), ())

    def told_by_nft(self, family: str) -> tuple[form.Table, ...]:
        """The tables of a family that iptables-nft does not print any more, as nft lists them."""
        return tuple(
            table
            for table in self.foreign
            if table.tool is form.Tool.NFT
            and table.family == family
            and (table.family, table.name) in self.left_to_nft
        )

    def engine_of(self, table: form.Table, chain: form.Chain) -> Engine:
        """Who holds a chain: iptables-nft only enters the built-in chains of its own tables."""
        if table.tool is not form.Tool.NFT:
            return Engine(table.tool)
        theirs = (table.family, table.name) in self.with_nft
        return Engine.IPTABLES_NFT if theirs and (not chain.hook or chain.name.isupper()) else Engine.NFTABLES

    def others(self) -> Iterator[tuple[Engine, form.Table, form.Chain]]:
        """Every chain that is not crossnet's, and who holds it; dormant tables too."""
        for table in self.foreign:
            if (table.tool, table.name) == (form.Tool.NFT, TABLE):
                continue
            for chain in table.chains.values():
                engine = self.engine_of(table, chain)
                if not (engine.is_iptables and is_own_chain(chain.name)):
                    yield engine, table, chain

    def holds_rules(self, engine: Engine) -> bool:
        """Whether an engine has rules or a policy that is not accept, crossnet's own left out."""
        return any(
            (chain.hook is not None and chain.hook.policy != "accept")
            or any(not is_own_jump(rule) for rule in chain.rules)
            for of, table, chain in self.others()
            if of is engine and not table.dormant
        )


def is_own_jump(rule: form.Rule) -> bool:
    """Whether a rule is what crossnet puts into a chain of somebody else."""
    match rule.statements:
        case (form.Jump(chain=chain),) if is_own_chain(chain):
            return rule.comment in ("", "crossnet")
    return False


_PRINTED_BY_NEITHER = (
    "its table {} holds rules of nft's own, so iptables does not print it, and nft does not either"
)

QUESTIONS: tuple[Question[Any], ...] = (NFT, IPSETS, *SAVES[Family.V4], *SAVES[Family.V6])


def further(said: Said) -> tuple[Question[Any], ...]:
    """What has to be asked besides, after the answers to QUESTIONS."""
    nft = said[NFT]
    opaque = bool(nft.tables) and bool(no_more_printed(said))
    return (
        *((PARTS,) if nft.reason else ()),
        *((LISTING,) if nft.untold or nft.reason else ()),
        *((TEXT,) if opaque else ()),
        *(pieces for whole, pieces in PIECES.items() if said[whole].reason),
    )


def firewall_of(said: Said, more: Said, *, plain_is_nft: bool) -> Firewall:
    """The firewall from the answers to QUESTIONS, and those to what `further` names."""
    asked = further(said)
    nft = more[PARTS] if PARTS in asked else said[NFT]
    listing = more[LISTING] if LISTING in asked else Listing()
    tables_there = with_text(nft.tables, more[TEXT]) if TEXT in asked else nft.tables
    found = [listing.told(each) for each in tables_there]
    saved: dict[tuple[Engine, Family], list[Saved[Table]]] = {}
    for family, saves in SAVES.items():
        legacy, with_nft, plain = (
            more[PIECES[each]] if PIECES[each] in asked else said[each] for each in saves
        )
        engine = Engine.IPTABLES_NFT if plain_is_nft else Engine.IPTABLES_LEGACY
        saved[Engine.IPTABLES_LEGACY, family] = [legacy]
        saved[Engine.IPTABLES_NFT, family] = [with_nft]
        saved[engine, family].append(plain)
    ipsets = said[IPSETS]
    unread = {key: each.reason for key, some in saved.items() for each in some if each.reason}
    tables = {key: tuple(table for each in some for table in each.own) for key, some in saved.items()}
    filled = frozenset(name for some in saved.values() for each in some for name in filled_sets(each.text))
    sets = read_sets(ipsets.text, filled)
    others = [
        table
        for (engine, family), some in saved.items()
        for each in some
        for table in read_save(each.text, TABLE_FAMILY[family], form.Tool(engine), sets)
    ]
    from_nft = {(each.family, each.name): each for each in others if each.tool is form.Tool.IPTABLES_NFT}
    kept = frozenset(
        name for name, table in from_nft.items() if any(chain.hook for chain in table.chains.values())
    )
    unprinted = [
        _not_understood(form.Tool.NFT, family, said[NFT].reason, name)
        for family, name in nft.unprinted
        if (family, name) not in from_nft  # that one iptables has printed
    ]
    if PARTS in asked and nft.unusable and not nft.unprinted:
        unprinted.append(_not_understood(form.Tool.NFT, "inet", said[NFT].reason))
    left_to_nft = no_more_printed(said)
    untold = sorted(name for _, name in left_to_nft - {(each.family, each.name) for each in found})
    return Firewall(
        nft=nft.own,
        iptables={key: some for key, some in tables.items() if some},
        ipsets=ipsets.own,
        foreign=(
            *(together(table, from_nft.pop((table.family, table.name), None)) for table in found),
            *from_nft.values(),
            *unprinted,
            *(table for table in others if table.tool is form.Tool.IPTABLES_LEGACY),
            *(
                _not_understood(form.Tool(engine), TABLE_FAMILY[family], reason)
                for (engine, family), reason in unread.items()
            ),
        ),
        with_nft=kept,
        left_to_nft=left_to_nft,
        unusable={
            **({Engine.NFTABLES: nft.unusable} if nft.unusable else {}),
            **({engine: ipsets.reason for engine in Engine if engine.is_iptables} if ipsets.reason else {}),
            **({Engine.IPTABLES_NFT: _PRINTED_BY_NEITHER.format(untold[0])} if untold else {}),
            **{engine: reason for (engine, _), reason in unread.items()},
        },
    )


def closed(reason: str) -> Firewall:
    """A firewall that could not be looked at: it may do anything."""
    return Firewall(foreign=(_not_understood(form.Tool.NFT, "inet", reason),))


def _not_understood(tool: form.Tool, family: str, reason: str, name: str = "") -> form.Table:
    """Rules that could not be read, as a table that may do anything at every hook; its name where that is known."""
    rule = form.Rule((form.Unknown(reason),), reason)
    hooks = ("prerouting", "input", "forward", "output", "postrouting")
    chains = {hook: form.Chain(hook, form.Hook(hook, "filter", 0), 1, lambda: (rule,)) for hook in hooks}
    return form.Table(tool, family, name, MappingProxyType(chains), read=False)
