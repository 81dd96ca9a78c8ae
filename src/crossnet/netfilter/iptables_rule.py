"""One line of iptables-save as a rule of the form.

Printed alike by 1.4.21 and 1.8.9, legacy and nft (measured): `-s -d -i -o -p -m … -j`, a host as `/32`,
a target and its options last. What the form cannot say keeps iptables' words.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

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
    State,
    SynOnly,
    UnknownMatch,
    UnknownVerdict,
    Verdict,
)
from crossnet.netfilter.iptables_words import join_words, split_words
from crossnet.netfilter.normal_form import STATES, in_order, join_ports, protocol_name
from crossnet.values import Ports, address, network

# Modules that the protocol brings along; without an option they say nothing beyond `-p`.
_IMPLIED = frozenset({"tcp", "udp", "sctp", "dccp", "udplite", "icmp", "icmp6"})
_LOGGING = frozenset({"LOG", "NFLOG", "ULOG"})


@dataclass(frozen=True, slots=True)
class _Option:
    """`! --dport 80`: an option with the words up to the next; `module` is empty for iptables' own."""

    module: str
    name: str
    words: tuple[str, ...]
    negated: bool

    @property
    def text(self) -> str:
        return join_words((*(("!",) if self.negated else ()), self.name, *self.words))


def parse_rule(text: str, chains: Set[str]) -> Rule:
    """What stands behind `-A CHAIN`; `chains` are the user chains of the same table, the targets of jumps."""
    words, target = _split_target(split_words(text))
    matches: list[Match] = []
    comments: list[str] = []
    for module, options in _modules(words):
        if module == "comment":
            comments += [word for option in options for word in option.words]
            continue
        if module == "set" and len(options) > 1:  # each further option changes what --match-set means
            unknown = options
        else:
            unknown = [option for option in options if not _understood(option, matches)]
        if unknown or (not options and module not in _IMPLIED):
            said = (*(("-m", module) if module else ()), *(option.text for option in unknown))
            matches.append(UnknownMatch(" ".join(said)))
    return Rule(in_order(matches), _verdict(target, chains), " ".join(comments))


def _split_target(words: list[str]) -> tuple[list[str], list[str]]:
    # a log prefix or a comment can be any word, so only the last candidate outside a comment is the target
    for at, word in enumerate(words):
        if word in ("-j", "-g") and (at == 0 or words[at - 1] != "--comment"):
            return words[:at], words[at:]
    return words, []


def _modules(words: list[str]) -> Iterator[tuple[str, list[_Option]]]:
    """The options in groups: iptables' own one by one under an empty name, those of a module together."""
    module, options = "", list[_Option]()
    at = 0
    while at < len(words):
        if words[at] == "-m":
            if module:
                yield module, options
            module, options = words[at + 1], []
            at += 2
            continue
        negated = words[at] == "!"
        at += negated
        name = words[at]
        end = at + 2 if name == "--comment" else _next_option(words, at + 1)
        # short options are iptables' own, long ones belong to the module named last
        option = _Option(module if name.startswith("--") else "", name, tuple(words[at + 1 : end]), negated)
        if option.module:
            options.append(option)
        else:
            yield "", [option]
        at = end
    if module:
        yield module, options


def _next_option(words: list[str], start: int) -> int:
    return next(
        (at for at in range(start, len(words)) if words[at] == "!" or words[at].startswith("-")), len(words)
    )


def _understood(option: _Option, matches: list[Match]) -> bool:
    """Add what the option says to `matches`, when the form can say it."""
    try:
        found = _match(option)
    except ValueError:  # a wildcard mask, port 0: words that the form has no value for
        found = None
    if found is not None:
        matches.append(found)
    return found is not None


def _match(option: _Option) -> Match | None:
    match option.module, option.name, option.words:
        case "", "-s" | "-d" as name, (where,):
            return Endpoint("source" if name == "-s" else "destination", network(where), option.negated)
        case "", "-i" | "-o" as name, (interface,) if not interface.endswith("+"):
            return Interface("in" if name == "-i" else "out", interface, option.negated)
        case "", "-p", (protocol,):
            return L4Protocol(protocol_name(protocol), option.negated)
        case "set", "--match-set", (name, "src" | "dst" as side):
            return Endpoint("source" if side == "src" else "destination", NamedSet(name), option.negated)
        case _ if option.negated:
            return None
        case "tcp" | "udp" | "sctp" | "dccp" | "udplite", "--dport", (ports,):
            return _ports(ports)
        case "multiport", "--dports", (ports,):
            return _ports(ports)
        case ("state", "--state", (states,)) | ("conntrack", "--ctstate", (states,)):
            names = frozenset(states.lower().split(","))
            return State(names) if names <= STATES else None
        case "conntrack", "--ctdir", ("ORIGINAL",):
            return FlowDirection("original")
        case "conntrack", "--ctdir", ("REPLY",):
            return FlowDirection("reply")
        case "conntrack", "--ctorigsrc" | "--ctorigdst" as name, (where,):
            return FlowEnd("source" if name == "--ctorigsrc" else "destination", network(where))
        case "tcp", "--tcp-flags", (mask, "SYN") if set(mask.split(",")) == {"SYN", "RST"}:
            return SynOnly()
    return None


def _ports(text: str) -> DestinationPorts:
    ranges: list[Ports] = []
    for item in text.split(","):
        first, _, last = item.partition(":")
        ranges.append(Ports(int(first), int(last or first)))
    return DestinationPorts(join_ports(ranges))


def _verdict(words: list[str], chains: Set[str]) -> Verdict:
    match words:
        case []:
            return Continue()
        case ["-g", chain]:
            return Jump(chain, goto=True)
        case ["-j", chain] if chain in chains:
            return Jump(chain)
        case ["-j", "ACCEPT"]:
            return Accept()
        case ["-j", "DROP"]:
            return Drop()
        case ["-j", "RETURN"]:
            return Return()
        case ["-j", "REJECT", *_]:
            return Reject()
        case ["-j", "MASQUERADE"]:
            return Masquerade()
        case ["-j", "TCPMSS", "--clamp-mss-to-pmtu"]:
            return ClampMss()
        case ["-j", "SNAT", "--to-source", source]:
            try:
                return Snat(address(source))
            except ValueError:  # a range of addresses, or ports behind
                return UnknownVerdict(join_words(words))
        case ["-j", target, *_] if target in _LOGGING:
            return Continue()
    return UnknownVerdict(join_words(words))
