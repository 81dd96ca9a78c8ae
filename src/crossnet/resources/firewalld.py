"""crossnet's policy of firewalld, by which that lets the crossings pass: in force now, without a file of its own.

firewalld makes a policy only of a file, when it loads all of them anew, and changes what is in force at once. So a file
that lets nothing pass is there while firewalld reloads, and what the policy lets pass is put into force after that: a
power cut at any moment leaves nothing open. Measured with firewalld 1.3.3, nftables and iptables backend.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.firewall import is_own_jump
from crossnet.facts.firewalld import (
    ANY,
    FIREWALLD,
    POLICY,
    POLICY_FILE,
    RUNS_HERE,
    UNSAVED,
    Firewalld,
    is_of_firewalld,
)
from crossnet.facts.question import Question, texts
from crossnet.netfilter import Engine, foreign
from crossnet.netfilter.foreign import Field, Tool
from crossnet.netfilter.own_walked import numbers
from crossnet.netfilter.protocol_names import PROTOCOLS
from crossnet.resources.resource import Encoded, Resource
from crossnet.resources.sh_tests import Locate, Test
from crossnet.resources.steps import Command, Look, Step
from crossnet.values import Family, Network, Ports, network

# firewalld.policies(5): before the rules of zones. Behind every other that comes before them, so that what an
# administrator rejects by name stays rejected.
PRIORITY = -1

_NOTHING = f'<?xml version="1.0" encoding="utf-8"?>\n<policy priority="{PRIORITY}" target="CONTINUE"/>\n'

_AS_LISTED = (
    RUNS_HERE
    + f"""\
in_force() {{
    runs_here || return 0
    rules=$(firewall-cmd --policy={POLICY} --list-rich-rules 2>/dev/null | LC_ALL=C sort)
    [ -z "$rules" ] || for side in ingress egress; do
        echo "$side $(firewall-cmd --policy={POLICY} --list-$side-zones)"
    done
    [ -z "$rules" ] || printf '%s\\n' "$rules"
}}
"""
)

# INGRESS EGRESS yes|no, with `rules` set before, to nothing to have no policy; the third says whether firewalld may be
# reloaded to forget it. Where firewalld does not run nothing is in force, and its files say what comes with it. In
# braces, so that it is read whole before a command of it could read on.
_CHANGE = (
    RUNS_HERE
    + UNSAVED
    + f"""\
file={POLICY_FILE} nothing={shlex.quote(_NOTHING.strip())}
put_back() {{ # the file that was there, where this was cut short
    if [ -e "$file.kept" ]; then mv -f "$file.kept" "$file"
    elif [ -e "$file" ] && [ "$(cat "$file")" = "$nothing" ]; then rm -f "$file"; fi
    rm -f "$file.new"
}}
give_up() {{ echo "$1" >&2; exit 1; }}
is_there() {{ firewall-cmd --info-policy={POLICY} >/dev/null 2>&1; }}
each() {{ # OPTION, with a value a line
    option=$1
    set --
    while IFS= read -r line; do [ -z "$line" ] || set -- "$@" "--$option=$line"; done
    [ $# = 0 ] || firewall-cmd --policy={POLICY} "$@" >/dev/null
}}
in_policy() {{ # LIST-OPTION: a line each
    now=$(firewall-cmd --policy={POLICY} "--list-$1") || return
    [ "$1" = rich-rules ] || now=$(printf '%s\\n' "$now" | tr -s ' ' '\\n')
}}
become() {{ # LIST-OPTION THING WANTED: what is not wanted goes first
    in_policy "$1" && surplus=$(only_in "$now" "$3") || return
    printf '%s\\n' "$surplus" | each "remove-$2"
}}
wanting() {{ # LIST-OPTION THING WANTED
    in_policy "$1" && wanted=$(only_in "$3" "$now") || return
    printf '%s\\n' "$wanted" | each "add-$2"
}}
{{
put_back || exit
ingress=$(printf %s "$1" | tr , '\\n') egress=$(printf %s "$2" | tr , '\\n')
runs_here || exit 0
firewall-cmd --state >/dev/null || exit
if ! is_there; then
    [ -n "$rules" ] || exit 0
    lost=$(unsaved) || give_up "firewalld has to be reloaded, and what that would undo is not known"
    [ -z "$lost" ] || give_up "firewalld has to be reloaded, and that would undo what is not permanent: $lost"
    firewall-cmd --check-config >/dev/null || exit
    trap put_back EXIT
    trap 'exit 1' HUP INT TERM
    if ! [ -e "$file" ]; then
        printf '%s\\n' "$nothing" >"$file.new" && chmod 644 "$file.new" && mv "$file.new" "$file" || exit
    fi
    firewall-cmd --reload >/dev/null || exit
    put_back || exit
    is_there || give_up "firewalld was reloaded, and has no policy {POLICY}"
fi
become rich-rules rich-rule "$rules" && become ingress-zones ingress-zone "$ingress" &&
    become egress-zones egress-zone "$egress" && wanting ingress-zones ingress-zone "$ingress" &&
    wanting egress-zones egress-zone "$egress" && wanting rich-rules rich-rule "$rules" || exit
[ -z "$rules" ] && [ "$3" = yes ] && lost=$(unsaved) && [ -z "$lost" ] || exit 0
firewall-cmd --check-config >/dev/null 2>&1 || exit 0
# It lets nothing pass any more; this makes firewalld forget it, also where its file goes only later.
trap put_back EXIT
trap 'exit 1' HUP INT TERM
[ ! -e "$file" ] || mv "$file" "$file.kept" || exit 0
firewall-cmd --reload >/dev/null || :
put_back
exit
}} </dev/null
"""
)

# What crossnet writes, in firewalld.richlanguage(5), as firewalld lists it again.
_RULE = re.compile(
    r'rule family="ipv(?P<family>[46])"(?: source address="(?P<source>[^"]+)")?'
    r'(?: destination address="(?P<destination>[^"]+)")?'
    r'(?: port port="(?P<first>\d+)(?:-(?P<last>\d+))?" protocol="(?P<of>tcp|udp)"'
    r'| protocol value="(?P<protocol>[^"]+)")?'
    r" accept"
)
# An element and its attributes, in either notation.
_ELEMENT = re.compile(r'(\w+)((?: \w+="[^"]*")*)(?: |$)')

# What firewalld makes of it in nftables, and in iptables.
_OWN_CHAIN = re.compile(rf"[a-z]+_[A-Z]+_policy_{POLICY}(_.+)?|[A-Z]+_{POLICY}(_.+)?")

# Those who put their rules back when firewalld was reloaded: dockerd and libvirt wait for its signal. But of
# DOCKER-USER nobody does.
_COME_BACK = re.compile(r"DOCKER(?!-USER)|LIBVIRT_|\b(docker0|br-[0-9a-f]{12}|virbr\d+)\b")
_RETURNS = "-A DOCKER-USER -j RETURN"


@dataclass(frozen=True, slots=True)
class Passing:
    """What a rule of the policy lets pass: all of a protocol, or one range of its ports; None is whatever."""

    source: Network
    destination: Network
    protocol: str | None = None
    ports: Ports | None = None

    def __str__(self) -> str:
        """In firewalld.richlanguage(5), as firewalld lists it; whatever address is not named."""
        words = [f'rule family="ipv{self.source.version}"']
        for side, where in (("source", self.source), ("destination", self.destination)):
            words += [f'{side} address="{where}"'] if where.prefixlen else []
        if self.ports is not None:
            first, last = self.ports.first, self.ports.last
            shown = f"{first}" if first == last else f"{first}-{last}"
            words.append(f'port port="{shown}" protocol="{self.protocol}"')
        elif self.protocol is not None:
            words.append(f'protocol value="{self.protocol}"')
        return " ".join((*words, "accept"))


@dataclass(frozen=True, slots=True)
class FirewalldPolicy(Resource):
    """What firewalld lets pass for all crossings of its host, from and to these zones.

    `rules` are in firewalld's own words. `may_reload` is whether a reload of firewalld takes nothing from anybody
    by the tools of iptables.
    """

    kind: ClassVar[str] = "firewalld"
    questions: ClassVar[tuple[Question[Any], ...]] = (FIREWALLD,)
    rank: ClassVar[int] = 1  # nobody is let through before the fence stands
    place_shown: ClassVar[int] = 3
    is_only_ours: ClassVar[bool] = True
    is_of_all_crossings: ClassVar[bool] = True
    is_kept_by_others: ClassVar[bool] = True
    repair: ClassVar[str] = f"Take out what is not crossnet's: `firewall-cmd --policy={POLICY} --list-all`."
    ingress: tuple[str, ...]
    egress: tuple[str, ...]
    rules: tuple[str, ...]
    may_reload: bool = field(default=False, compare=False)

    @property
    def key(self) -> str:
        return POLICY

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        running = facts.answers.get(FIREWALLD)
        there = cls._in_force(running, facts) if running is not None and not running.is_unsigned else None
        return (there,) if there is not None else ()

    @classmethod
    def _in_force(cls, running: Firewalld | None, facts: Facts) -> Self | None:
        """A policy without a rule lets nothing pass: firewalld forgets it when it is reloaded."""
        there = running.policy if running is not None else None
        if there is None or not there.rules:
            return None
        ingress, egress = (tuple(sorted(there.of(f"{side}-zones"))) for side in ("ingress", "egress"))
        return cls(ingress, egress, tuple(sorted(there.rules)), not rules_lost_by_a_reload(facts))

    def current(self, facts: Facts) -> Self | None:
        running = facts.answers.get(FIREWALLD)
        # Stopped it lets everything pass, and comes back with its file.
        return self._in_force(running, facts) if running is not None else self

    def ours(self, facts: Facts) -> Self | None:
        """Nothing of it has to be taken out of a firewalld that does not run."""
        return self.current(facts) if facts.answers.get(FIREWALLD) is not None else None

    @property
    def flaw(self) -> str:
        strange = [rule for rule in self.rules if not _RULE.fullmatch(rule)]
        return f"somebody has put into it: {strange[0]}" if strange else ""

    def differences(self, now: Self | None) -> tuple[str, ...]:
        if now is None:
            return (f"firewalld lets nothing of crossnet's pass any more: its policy {POLICY} is gone",)
        gone = [
            f"firewalld's policy {POLICY} has lost: {each}" for each in self.rules if each not in now.rules
        ]
        came = [
            f"firewalld's policy {POLICY} has besides: {each}" for each in now.rules if each not in self.rules
        ]
        sides = ((self.ingress, now.ingress, "from"), (self.egress, now.egress, "to"))
        moved = [
            f"firewalld's policy {POLICY} is for packets {which} {_zones(there)}, was applied for {_zones(was)}"
            for was, there, which in sides
            if was != there
        ]
        return (*gone, *came, *moved)

    def opens(self, family: Family) -> bool:
        return self.decides(family)

    def decides(self, family: Family) -> bool:
        return any(f'family="ipv{family.value}"' in rule for rule in self.rules)

    def serves(self, family: Family, destinations: Collection[Network], *, on_gateway: bool) -> bool:
        return on_gateway and self.decides(family)

    @classmethod
    def loads_rules_anew(cls, have: Resource | None, want: Resource | None) -> bool:
        return have is None or want is None

    def with_others(self, tables: Iterable[foreign.Table]) -> tuple[foreign.Table, ...]:
        """In firewalld's chain of such policies, of either backend (firewall/core/nftables.py, ipXtables.py)."""
        return tuple(self._in(table) for table in tables)

    def has_made(self, chain: foreign.Chain, rule: foreign.Rule) -> bool:
        return bool(_OWN_CHAIN.fullmatch(chain.name)) or any(
            isinstance(each, foreign.Jump) and _OWN_CHAIN.fullmatch(each.chain) for each in rule.statements
        )

    def _in(self, table: foreign.Table) -> foreign.Table:
        is_nft = (table.tool, table.family, table.name) == (Tool.NFT, "inet", "firewalld")
        name = "filter_FORWARD_POLICIES_pre" if is_nft else "FORWARD_POLICIES_pre"
        chain = table.chains.get(name)
        if chain is None or not (is_nft or table.name == "filter"):
            return table
        families = {"ip": (Family.V4,), "ip6": (Family.V6,)}.get(table.family, tuple(Family))
        mine = tuple(rule for text in self.rules if (rule := _walked(text, families)) is not None)
        rules = (*chain.rules, *mine)
        with_mine = foreign.Chain(chain.name, chain.hook, len(rules), lambda: rules)
        return replace(table, chains=MappingProxyType({**table.chains, name: with_mine}))

    def look(self) -> tuple[Look, ...]:
        return (Command(("sh", "-s"), f"{_AS_LISTED}in_force\n".encode()),)

    def holds(self, locate: Locate) -> Test:
        said = "\n".join(
            (f"ingress {' '.join(self.ingress)}", f"egress {' '.join(self.egress)}", *self.rules)
        )
        return Test(f'[ "$(in_force)" = {shlex.quote(said)} ]', functions=(_AS_LISTED,))

    def lacks(self, locate: Locate) -> Test:
        return Test('[ -z "$(in_force)" ]', functions=(_AS_LISTED,))

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        zones = (",".join(want.ingress), ",".join(want.egress)) if want else ("", "")
        rules = shlex.quote("\n".join(want.rules if want else ()))
        words = (*zones, "yes" if side.may_reload else "no")
        return (Command(("sh", "-s", "--", *words), f"rules={rules}\n{_CHANGE}".encode(), in_any_boot=True),)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        count = len(side.rules)
        rules = f"{count} rule{'s' if count != 1 else ''}"
        return f"policy {POLICY}: {_zones(side.ingress)} → {_zones(side.egress)}, {rules}"

    def encode(self) -> Encoded:
        return {"ingress": list(self.ingress), "egress": list(self.egress), "rules": list(self.rules)}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        ingress, egress, rules = (texts(encoded[key]) for key in ("ingress", "egress", "rules"))
        return cls(ingress, egress, rules)

    @property
    def xml(self) -> str:
        """The same as firewalld keeps it in a file (firewalld.policy(5))."""
        zones = (
            f'  <{side}-zone name="{zone}"/>\n'
            for side, names in (("ingress", self.ingress), ("egress", self.egress))
            for zone in names
        )
        rules = (f"  {_as_xml(rule)}\n" for rule in self.rules)
        return (
            f'<policy priority="{PRIORITY}" target="CONTINUE">\n{"".join(zones)}{"".join(rules)}</policy>\n'
        )


def _zones(names: tuple[str, ...]) -> str:
    if names == (ANY,):
        return "any zone"
    return f"zone{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else "no zone"


def _as_xml(rule: str) -> str:
    (_, family), *elements = _ELEMENT.findall(rule)
    return f"<rule{family}>{''.join(f'<{name}{attributes}/>' for name, attributes in elements)}</rule>"


def _walked(text: str, families: tuple[Family, ...]) -> foreign.Rule | None:
    found = _RULE.fullmatch(text)
    if found is None or Family(int(found["family"])) not in families:
        return None
    is_v4 = found["family"] == "4"
    sides = (
        (Field.SOURCE4 if is_v4 else Field.SOURCE6, found["source"]),
        (Field.DESTINATION4 if is_v4 else Field.DESTINATION6, found["destination"]),
    )
    everywhere = network("0.0.0.0/0" if is_v4 else "::/0")
    tests = [
        foreign.Test((where,), numbers([network(said) if said else everywhere])) for where, said in sides
    ]
    if protocol := found["of"] or found["protocol"]:
        number = PROTOCOLS[protocol]
        tests.append(foreign.Test((Field.PROTOCOL,), foreign.Numbers(((number, number),))))
    if first := found["first"]:
        span = (int(first), int(found["last"] or first))
        tests.append(foreign.Test((Field.DESTINATION_PORT,), foreign.Numbers((span,))))
    return foreign.Rule((*tests, foreign.Accept()), text)


def rules_lost_by_a_reload(facts: Facts) -> tuple[str, ...]:
    """Rules of others that firewalld flushes when it is reloaded, and that nobody puts back, in iptables' words.

    It flushes all tables of what the host calls `iptables`, whatever its backend is, and rules of the other variant
    never (measured with 1.3.3).
    """
    engine = Engine.IPTABLES_NFT if facts.capabilities.iptables_is_nft else Engine.IPTABLES_LEGACY
    return tuple(
        f"{table.family} {table.name}: {rule.text}"
        for of, table, chain in facts.firewall.others()
        if of is engine
        for rule in chain.rules
        if not (
            is_own_jump(rule)
            or is_of_firewalld(chain, rule)
            or rule.text == _RETURNS
            or _COME_BACK.search(f"{chain.name} {rule.text}")
        )
    )
