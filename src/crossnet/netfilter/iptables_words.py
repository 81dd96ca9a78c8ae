"""How iptables says a rule: the words of a line, their quotes, and a rule of the form in these words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from crossnet.netfilter import (
    Accept,
    ClampMss,
    Continue,
    DestinationPorts,
    Drop,
    Endpoint,
    FlowDirection,
    FlowEnd,
    Interface,
    Jump,
    L4Protocol,
    Masquerade,
    Match,
    NamedSet,
    Reject,
    Return,
    Rule,
    Snat,
    SnatByDestination,
    State,
    SynOnly,
    UnknownMatch,
    UnknownVerdict,
    Verdict,
)
from crossnet.values import Ports

# Backslashes also stand before a single quote (1.4.21 and 1.8.9), which sh and shlex would keep.
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPED = re.compile(r"\\(.)")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/,!+*=@%~\[\]-]+")

_MOST_PORTS = 15  # xt_multiport.h: XT_MULTI_PORTS


def split_words(text: str) -> list[str]:
    """The words of a line of iptables-save, without their quotes."""
    return [bare if bare else _ESCAPED.sub(r"\1", quoted) for quoted, bare in _WORD.findall(text)]


def join_words(words: Iterable[str]) -> str:
    """Words as one line that iptables-restore takes apart again; those with other characters are quoted."""
    return " ".join(
        word if _PLAIN.fullmatch(word) else '"' + re.sub(r'(["\\])', r"\\\1", word) + '"' for word in words
    )


def fits_multiport(ranges: Iterable[Ports]) -> bool:
    """Whether one iptables rule can hold these ports: 15 numbers, of which a range takes two."""
    sizes = [1 if ports.first == ports.last else 2 for ports in ranges]
    return len(sizes) == 1 or sum(sizes) <= _MOST_PORTS


def rule_text(rule: Rule) -> str:
    """A rule in iptables' words without its chain and comment; unknown parts in the words they came in."""
    return " ".join(each for each in (match_text(rule.matches), verdict_text(rule.verdict)) if each)


def match_text(matches: Iterable[Match]) -> str:
    return " ".join(_match_text(match) for match in matches)


def _match_text(match: Match) -> str:
    match match:
        case Interface(direction=direction, name=name, negated=negated):
            return f"{_not(negated)}{'-i' if direction == 'in' else '-o'} {name}"
        case Endpoint(side=side, where=NamedSet(name=name), negated=negated):
            return f"-m set {_not(negated)}--match-set {name} {'src' if side == 'source' else 'dst'}"
        case Endpoint(side=side, where=where, negated=negated):
            return f"{_not(negated)}{'-s' if side == 'source' else '-d'} {where}"
        case L4Protocol(name=name, negated=negated):
            return f"{_not(negated)}-p {name}"
        case DestinationPorts(ranges=ranges):
            # multiport for a single port too: it serves every protocol that has ports
            return f"-m multiport --dports {','.join(_ports_text(ports) for ports in ranges)}"
        case State(names=names):
            return f"-m conntrack --ctstate {','.join(sorted(name.upper() for name in names))}"
        case FlowDirection(name=name):
            return f"-m conntrack --ctdir {name.upper()}"
        case FlowEnd(where=NamedSet(name=name)):
            raise ValueError(f"iptables compares the ends of a flow with no set: {name}")
        case FlowEnd(side=side, where=where):
            return f"-m conntrack --ctorig{'src' if side == 'source' else 'dst'} {where}"
        case SynOnly():
            return "-m tcp --tcp-flags SYN,RST SYN"
        case UnknownMatch(text=text):
            return text


def _not(negated: bool) -> str:
    return "! " if negated else ""


def _ports_text(ports: Ports) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}:{ports.last}"


def verdict_text(verdict: Verdict) -> str:
    match verdict:
        case Accept():
            return "-j ACCEPT"
        case Drop():
            return "-j DROP"
        case Reject():
            return "-j REJECT"
        case Return():
            return "-j RETURN"
        case Continue():
            return ""
        case Masquerade():
            return "-j MASQUERADE"
        case ClampMss():
            return "-j TCPMSS --clamp-mss-to-pmtu"
        case Snat(address=source):
            return f"-j SNAT --to-source {source}"
        case SnatByDestination(map=name):
            raise ValueError(f"iptables has no maps: {name} has to be written as one rule for each entry")
        case Jump(chain=chain, goto=goto):
            return f"{'-g' if goto else '-j'} {chain}"
        case UnknownVerdict(text=text):
            return text
