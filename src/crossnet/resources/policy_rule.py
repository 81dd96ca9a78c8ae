"""A policy rule that looks a crossing's packets up in the main table, before somebody else's leads them elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.policy import NOT_ALL_TOLD, PolicyRule
from crossnet.facts.routes import MAIN, OWN_PROTOCOL
from crossnet.resources.encoding import decode_fields, encode_fields
from crossnet.resources.resource import Encoded, Resource, Within
from crossnet.resources.sh_tests import Locate, Test
from crossnet.resources.steps import Command, Look, Step
from crossnet.values import Address, Family, Network, contains

# All rules of one priority, in one spelling: iproute2 3.10 prints double blanks. An `ip` that
# fails has said nothing of them.
LISTED = (
    """said=$(ip "$1" rule) || exit; printf '%s\\n' "$said" | tr -s '[:blank:]' ' ' | grep "^$2:"; true"""
)

# Who made a rule the kernel keeps since 4.17 (net/core/fib_rules.c, FRA_PROTOCOL); an older `ip` refuses the word.
MARKED = (
    f"""case $(ip rule help 2>&1) in *' protocol '*) set -- "$@" protocol {OWN_PROTOCOL} ;; esac; ip "$@\""""
)

# Brought back at a boot by somebody else it has his mark; without one the kernel takes away either.
_TAKEN_AWAY = (
    """case $(ip rule help 2>&1) in *' protocol '*) """
    f"""! ip "$@" protocol {OWN_PROTOCOL} 2>/dev/null || exit 0 ;; esac; ip "$@\""""
)


@dataclass(frozen=True, slots=True)
class PolicyRuleResource(Resource):
    """One `ip rule` with crossnet's own selectors and priority; rules of others are never touched."""

    kind: ClassVar[str] = "ip-rule"
    rank: ClassVar[int] = 4  # what keeps traffic from being led elsewhere comes when its route is there
    place_shown: ClassVar[int] = 1
    clients_have: ClassVar[bool] = True
    heals: ClassVar[bool] = True
    rule: PolicyRule

    @property
    def key(self) -> str:
        return f"{self.rule.family.label} {_told(self.rule)}"

    @property
    def within(self) -> frozenset[Within]:
        return frozenset({Within.INTERFACES})

    def current(self, facts: Facts) -> Self | None:
        return self if any(type(self)(rule).key == self.key for rule in facts.policy_rules) else None

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        return tuple(cls(rule) for rule in facts.policy_rules if rule.origin == OWN_PROTOCOL)

    @property
    def policy_rules(self) -> tuple[PolicyRule, ...]:
        return (self.rule,)

    def diverts(self, target: Address) -> bool:
        return self.rule.destination is not None and contains(self.rule.destination, target)

    def look(self) -> tuple[Look, ...]:
        return (Command(self._listing),)

    def watched(self) -> tuple[Look, ...]:
        return (Command(("ip", _option(self.rule), "rule")),)

    def holds(self, locate: Locate) -> Test:
        return Test(f"if rules=$({shlex.join(self._listing)}); then {self._found}; else (exit 2); fi")

    def lacks(self, locate: Locate) -> Test:
        return Test(f"rules=$({shlex.join(self._listing)}) && ! {self._found}")

    @property
    def _listing(self) -> tuple[str, ...]:
        return ("sh", "-c", LISTED, "sh", _option(self.rule), str(self.rule.priority))

    @property
    def _found(self) -> str:
        return f"""printf '%s\\n' "$rules" | grep -qF {shlex.quote(str(self.rule))}"""

    def serves(self, family: Family, destinations: Collection[Network], *, on_gateway: bool) -> bool:
        return self.rule.destination in destinations or (on_gateway and self.rule.source in destinations)

    def is_for(self, clients: Collection[Network]) -> bool:
        # Without a source it is about what its own host sends.
        return self.rule.source is None or any(
            end in clients for end in (self.rule.source, self.rule.destination)
        )

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        script, verb = (MARKED, "add") if want else (_TAKEN_AWAY, "del")
        return (Command(("sh", "-c", script, "sh", _option(side.rule), "rule", verb, *words(side.rule))),)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        return str(side.rule)

    def encode(self) -> Encoded:
        rule = self.rule
        return {
            "family": rule.family.value,
            "priority": rule.priority,
            "table": rule.table,
            "source": str(rule.source) if rule.source else None,
            "destination": str(rule.destination) if rule.destination else None,
            "iif": rule.iif,
            "origin": rule.origin,
            **encode_fields(rule),
        }

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        """Also one that was written when the table was always main."""
        return cls(decode_fields(PolicyRule, {"table": MAIN, **encoded}))


def words(rule: PolicyRule) -> tuple[str, ...]:
    """What `ip rule add` and `del` take for it; who made it is not among them."""
    chosen = ["pref", str(rule.priority)]
    chosen += ["from", str(rule.source)] if rule.source else []
    chosen += ["to", str(rule.destination)] if rule.destination else []
    chosen += ["iif", rule.iif] if rule.iif else []
    return (*chosen, "table", rule.table)


def _option(rule: PolicyRule) -> str:
    return f"-{rule.family.value}"


def _told(rule: PolicyRule) -> str:
    """Which rule it is: what an `ip` may leave out is none of the selectors that crossnet uses."""
    return str(replace(rule, unknown="") if rule.unknown == NOT_ALL_TOLD else rule)
