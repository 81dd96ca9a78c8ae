"""crossnet's own rules in files that somebody saved, from which they are loaded at boot."""

from __future__ import annotations

from collections.abc import Iterator

from crossnet.design.impacts import Impact
from crossnet.facts import Facts
from crossnet.facts.saved import SavedRules
from crossnet.netfilter.iptables_own import is_own_chain
from crossnet.several import few

_NAMED = 3


def saved_rules(facts: Facts, *, leaving: bool) -> Iterator[Impact]:
    """What becomes at the next boot of each such file; `leaving` when nothing of crossnet's is there any more then."""
    in_sets = frozenset(name for each in facts.saved if each.is_of_sets for name in each.sets)
    for each in facts.saved:
        missing = () if each.is_of_sets or each.is_of_nft else tuple(sorted(each.sets - in_sets))
        yield Impact("in-saved-rules", facts.host, _told(each, missing, leaving=leaving))


def _told(each: SavedRules, missing: tuple[str, ...], *, leaving: bool) -> str:
    text = f"somebody has saved crossnet's own rules in {each.file}: {few(each.names, _NAMED, ', ')}. "
    if missing:
        name = missing[0]
        why = (
            f"the set {name} does not exist then"
            if leaving
            else f"the set {name} does not exist yet at that moment"
        )
        becomes = (
            f"At boot iptables-restore refuses the whole file, the host's own rules in it too, because {why}"
        )
    elif leaving:
        becomes = "The next boot brings them back, without a record of what they are"
    else:
        becomes = (
            "Every boot brings them back as they were saved, even if crossnet has others by then, or none"
        )
    if each.is_of_nft and any(map(is_own_chain, each.names)):
        becomes += (
            "; in the words of nft, so that iptables does not print the table in which they stand any more"
        )
    return f"{text}{becomes}. Remove the lines with crossnet's names from it"
