"""One line of iptables-save as a foreign rule: iptables' own options, then the matches in order, then the target.

The kernel looks at `-s -d -i -o -p -f` first and then at the matches (ip_tables.c: ipt_do_table), whatever the order
of the line. Files written by hand have long names, `!` behind the option as before iptables 1.4.3, options before
their `-p`, the target in the middle; all of it is read as iptables-restore does.
"""

from __future__ import annotations

import re
from functools import lru_cache

from crossnet.netfilter import Counter
from crossnet.netfilter.foreign import (
    Field,
    Numbers,
    Perhaps,
    Rule,
    Statement,
    Test,
    Unknown,
    Why,
)
from crossnet.netfilter.protocol_names import PROTOCOLS
from crossnet.netfilter.xtables_match import IMPLIED, OPTION_NAMES, match_statements
from crossnet.netfilter.xtables_options import (
    Module,
    Option,
    Surroundings,
    address_test,
    interface_test,
    said,
)
from crossnet.netfilter.xtables_target import target_actions
from crossnet.netfilter.xtables_words import Quoted, split_words

_COUNTER = re.compile(r"\[(\d+):(\d+)\] *")

_OWN = {
    "-s": "-s",
    "--source": "-s",
    "--src": "-s",
    "-d": "-d",
    "--destination": "-d",
    "--dst": "-d",
    "-p": "-p",
    "--protocol": "-p",
    "-i": "-i",
    "--in-interface": "-i",
    "-o": "-o",
    "--out-interface": "-o",
    "-m": "-m",
    "--match": "-m",
    "-j": "-j",
    "--jump": "-j",
    "-g": "-g",
    "--goto": "-g",
    "-f": "-f",
    "--fragment": "-f",
    "-c": "-c",
    "--set-counters": "-c",
}

# Before iptables 1.4.3 `!` stood behind these.
_NEGATED_BEHIND = frozenset({"-s", "-d", "-i", "-o", "-p"})

# Their value is one word, whatever it begins with: iptables prints it without quotes when it is harmless.
_ONE_WORD = frozenset(
    {
        "--comment",
        "--log-prefix",
        "--nflog-prefix",
        "--ulog-prefix",
        "--string",
        "--hex-string",
        "--name",
        "--helper",
        "--hashlimit-name",
        "--label",
        "--led-trigger-id",
        "--rateest-name",
        "--physdev-in",
        "--physdev-out",
        "--nfacct-name",
        "--selctx",
    }
)


def read_rule(line: str, chain: str, where: Surroundings) -> Rule:
    """The rule of a line of the chain, with or without a counter before it; never an error."""
    counter: Counter | None = None
    text = line
    if line.startswith("[") and (counted := _COUNTER.match(line)):
        counter = Counter(int(counted[1]), int(counted[2]))
        text = line[counted.end() :]
    text = text.rstrip(" \t\r")
    words = split_words(text)
    if len(words) < 2 or words[0] != "-A" or words[1] != chain:
        return Rule((Unknown(text),), text, "", counter)
    taken = _Line(words, where)
    is_whole = taken.read()
    comment = " ".join(taken.comments)
    return Rule(taken.statements(chain) if is_whole else (Unknown(text),), text, comment, counter)


class _Line:
    """The words of one rule, taken from left to right: iptables' own options, its matches, its target."""

    __slots__ = ("at", "comments", "current", "modules", "protocol", "target", "tests", "where", "words")

    def __init__(self, words: list[str], where: Surroundings) -> None:
        self.words, self.where, self.at = words, where, 2  # behind `-A CHAIN`
        self.tests: list[Statement] = []
        self.modules: list[Module] = []
        self.target: Module | None = None
        self.current: Module | None = None  # what was named last
        self.protocol = ""
        self.comments: list[str] = []

    def read(self) -> bool:
        """Take all of them; false where a word belongs to nothing, or a value is missing."""
        negated = False
        while self.at < len(self.words):
            word = self.words[self.at]
            self.at += 1
            if word == "!" and not isinstance(word, Quoted):
                negated = True
                continue
            if not self._take(word, negated):
                return False
            negated = False
        return True

    def _take(self, word: str, negated: bool) -> bool:
        own = _OWN.get(word)
        return self._option(word, negated) if own is None else self._own(own, negated)

    def statements(self, chain: str) -> tuple[Statement, ...]:
        """What the whole line says, in the order in which the kernel looks at it."""
        statements = self.tests
        for module in self.modules:
            match_statements(module, self.where, statements)
        if self.target is not None:
            statements += target_actions(self.target, chain, self.where)
        return tuple(statements)

    def _own(self, option: str, negated: bool) -> bool:
        if option == "-f":
            self.tests.append(Test((Field.FRAGMENT,), _WHOLE if negated else _LATER))
            return True
        if option in _NEGATED_BEHIND and self.words[self.at : self.at + 1] == ["!"]:
            negated, self.at = True, self.at + 1
        if self.at >= len(self.words):
            return False
        value = self.words[self.at]
        self.at += 1
        match option:
            case "-m":
                self.current = Module(value, [])
                self.modules.append(self.current)
            case "-j" | "-g":
                self.target = self.current = Module(value, [], goto=option == "-g")
            case "-c":
                self.at += 1
            case _:
                if option == "-p":
                    self.protocol = value.lower()
                test = _own_test(option, value, negated, self.where.family)
                if test is not None:
                    self.tests.append(test)
        return True

    def _option(self, name: str, negated: bool) -> bool:
        if name[:1] != "-" or isinstance(name, Quoted):
            return False
        if (parts := _taken_apart(name)) is not None:
            self.words[self.at - 1 : self.at] = parts
            return self._take(parts[0], negated)
        values, negated, self.at = _values(self.words, self.at, name, negated)
        owner = _owner(name, self.current, self.modules, self.target, self.protocol)
        if owner is None:
            owner = Module(IMPLIED.get(self.protocol, ""), [])
            self.modules.append(owner)
        self.current = owner
        if name == "--comment" and owner.name == "comment":
            self.comments += values
        else:
            owner.options.append(Option(name, values, negated))
        return True


def _values(words: list[str], at: int, name: str, negated: bool) -> tuple[list[str], bool, int]:
    """The values behind an option, whether it is negated, and where they end."""
    count = len(words)
    if at + 1 < count and words[at] == "!" and words[at + 1][:1] != "-":
        negated, at = True, at + 1
    if name in _ONE_WORD:
        return words[at : at + 1], negated, at + 1
    if at + 1 >= count or (words[at + 1][:1] == "-" and words[at][:1] not in "-!"):
        return words[at : at + 1], negated, at + 1
    end = at
    while end < count and ((words[end][:1] != "-" and words[end] != "!") or isinstance(words[end], Quoted)):
        end += 1
    return words[at:end], negated, end


def _taken_apart(word: str) -> tuple[str, str] | None:
    """`--dport=80` and `-ptcp` as an option and its value."""
    if word[:2] == "--":
        name, equals, value = word.partition("=")
        return (name, value) if equals else None
    short = word[:2]
    return (short, word[2:]) if short in _OWN and len(word) > 2 else None


def _owner(
    name: str, current: Module | None, modules: list[Module], target: Module | None, protocol: str
) -> Module | None:
    """Whose option it is: of what was named last, or of an earlier match, or of the one that -p brings along."""
    if current is not None:
        known = OPTION_NAMES.get(current.name) if current is not target else None
        if known is None and current is not target:
            return current
        if known is not None and name in known:
            return current
    for module in reversed(modules):
        if name in OPTION_NAMES.get(module.name, ()):
            return module
    if name in OPTION_NAMES.get(IMPLIED.get(protocol, ""), ()):
        return None
    return current


# ---- iptables' own options --------------------------------------------------------------------------

_WHOLE = Numbers(((0, 0),))
_LATER = Numbers(((1, 8191),))


@lru_cache(maxsize=8192)
def _own_test(option: str, value: str, negated: bool, family: str) -> Statement | None:
    """The test of `-s -d -i -o -p`; None where it says nothing."""
    try:
        match option:
            case "-s" | "-d":
                return address_test(_ENDS[family, option], value, negated)
            case "-i" | "-o":
                return interface_test(Field.IIF if option == "-i" else Field.OIF, value, negated)
            case _:
                return _protocol_test(value, negated)
    except (ValueError, OSError, KeyError):  # a name that only the host could resolve
        return Perhaps(said(option, [value], negated), Why.NOT_UNDERSTOOD)


_ENDS = {
    ("ip", "-s"): Field.SOURCE4,
    ("ip", "-d"): Field.DESTINATION4,
    ("ip6", "-s"): Field.SOURCE6,
    ("ip6", "-d"): Field.DESTINATION6,
}


def _protocol_test(value: str, negated: bool) -> Test | None:
    name = value.lower()
    number = 0 if name == "all" else int(name) if name.isdecimal() else PROTOCOLS[name]
    if number == 0 and not negated:
        return None  # ip_tables.c: protocol 0 is every protocol
    return Test((Field.PROTOCOL,), Numbers(((number, number),)) if number else Numbers(((0, 255),)), negated)
