"""A resource, and how it is changed.

A resource is a fact about a host that could be otherwise: a route, a setting, crossnet's rules, a file.
It is a frozen value; nothing on it runs anything. What is and what should be have the same type, so one
diff, one undo and one read-back serve all kinds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.policy import PolicyRule
from crossnet.facts.question import Question
from crossnet.facts.routes import Route
from crossnet.netfilter import Engine, Table, foreign
from crossnet.resources.sh_tests import Listed, Locate, Test
from crossnet.resources.steps import Check, Line, Look, Step
from crossnet.values import Address, Family, Network

Encoded = Mapping[str, Any]  # a resource as JSON


@dataclass(frozen=True, slots=True)
class Lingering:
    """What machines keep for a while of what is taken away, in words of that `code`.

    `routes` are those, each by its next hop, that hosts go on with until then.
    """

    code: str
    text: str
    routes: frozenset[tuple[Network, Address | None]] = frozenset()


class Phase(StrEnum):
    """When a change is made."""

    GUARD = "guard"  # before any other on its host, and taken away after all: it ends a change that loses its power
    LIVE = "live"  # before the confirmation
    PERSISTENT = "persistent"  # after it, for the next boot: a reboot before that boots the old state


class Within(StrEnum):
    """What of a host a thing is part of: whoever makes that anew may take it away with it."""

    NFTABLES = "nftables"
    IPTABLES = "iptables"
    CHAIN = "chain"  # of the host's own, in which its place counts
    INTERFACES = "interfaces"
    SETTINGS = "settings"


def rules_of(engine: Engine) -> frozenset[Within]:
    """Of which rules those of an engine are part: those of iptables-nft are among those of nftables too."""
    return frozenset(
        part
        for part, is_part in (
            (Within.NFTABLES, engine is not Engine.IPTABLES_LEGACY),
            (Within.IPTABLES, engine.is_iptables),
        )
        if is_part
    )


class Resource(ABC):
    """One thing on one host that crossnet owns."""

    kind: ClassVar[str]

    # What a host is asked to find such things, besides what it is asked anyway: see `Facts.answers`.
    questions: ClassVar[tuple[Question[Any], ...]] = ()
    # Its place among the kinds of its host when they are made; undo is the order reversed.
    rank: ClassVar[int]
    # Its place in a plan, which an operator reads in another order than that of the work.
    place_shown: ClassVar[int]
    # Kinds of which none on its host can change as long as it is to go and has not gone.
    holds_up: ClassVar[frozenset[str]] = frozenset()
    # Its end is what ends the work of the others, so it is taken away when they have gone.
    goes_last: ClassVar[bool] = False
    # Each stands for itself, so that they can be changed in any order.
    stands_alone: ClassVar[bool] = False
    # Nobody but crossnet makes such a thing, so it is never adopted and there is no original to give back.
    is_only_ours: ClassVar[bool] = False
    # A client may have one, which tells that its host need be no gateway.
    clients_have: ClassVar[bool] = False
    # Its host keeps it in files, see `paths`.
    is_in_files: ClassVar[bool] = False
    # Another program keeps it and brings it back when it loads its own; `heal: auto` does not.
    is_kept_by_others: ClassVar[bool] = False
    # `heal: auto` brings it back: with the fence what decides about packets, all else by the commands that make it.
    heals: ClassVar[bool] = False
    # It is made for all crossings of its host together, not one for each.
    is_of_all_crossings: ClassVar[bool] = False
    # A firewall of somebody else that is restarted may take it away.
    is_flushed: ClassVar[bool] = False
    # It has some value as long as it has a place at all, so an original that is absent is one that is not known.
    is_never_absent: ClassVar[bool] = False

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        """Those that crossnet must have made, by what they are alone: found without the host's record."""
        return ()

    @property
    def untraced(self) -> str:
        """What of it nobody can tell to be crossnet's without the record, and stays therefore."""
        return ""

    @property
    def crossings(self) -> tuple[str, ...]:
        """The names of the crossings for which it is there, where it tells them itself."""
        return ()

    def opens(self, family: Family) -> bool:
        """Whether only a gateway has such a thing, whose forwarding of this family crossnet may have begun."""
        return False

    def is_what_is_left_of(self, known: Resource) -> bool:
        """Whether, found without a record, it is this one that a record has, although it looks like another."""
        return False

    def has_place(self, facts: Facts) -> bool:
        """Whether the host still has where it could be; what belonged to an interface goes with it."""
        return True

    @property
    def phase(self) -> Phase:
        """When it is changed."""
        return Phase.LIVE

    @property
    def changed_by(self) -> str:
        """The name of the participant of a transaction that changes it for its host; nothing where the host does."""
        return ""

    @property
    def is_persistent(self) -> bool:
        """Whether it is for the next boot, and outlives this one."""
        return self.phase is not Phase.LIVE

    @classmethod
    def joined(cls, changes: Sequence[Change], wanted: Sequence[Resource]) -> list[Change]:
        """The changes of a host that wants these resources, with what only together with others has to be done."""
        return list(changes)

    @property
    @abstractmethod
    def key(self) -> str:
        """What makes it the same thing on its host when its content differs."""

    @property
    def identity(self) -> tuple[str, str]:
        """Which thing on its host it is, whatever its content."""
        return (self.kind, self.key)

    @abstractmethod
    def current(self, facts: Facts) -> Self | None:
        """The same thing as the host has it now, with everything needed to put it back; None where absent."""

    def ours(self, facts: Facts) -> Self | None:
        """The same of what crossnet itself put there: an equal thing of somebody else does not count."""
        return self.current(facts)

    def satisfied_by(self, have: Self) -> bool:
        """Whether what is there already does what this one would."""
        return self == have

    def differences(self, now: Self | None) -> tuple[str, ...]:
        """How the host differs from this, as it was applied, in words with a direction; None is absence."""
        if now is None:
            return (f"{self.kind} {type(self).describe(self, None)} was removed",)
        told = type(self).describe
        return (f"{self.kind} {told(None, now)}, was applied as {told(None, self)}",)

    def differs_for(self, now: Self | None) -> frozenset[str] | None:
        """The crossings, by their labels, that a difference concerns where it is these alone; None for all."""
        return None

    def besides(self, applied: Resource) -> tuple[str, ...]:
        """The crossings, by their labels, that it is for, and was not as it was applied."""
        return ()

    def without(self, facts: Facts) -> tuple[str, ...]:
        """What of the host it is made for is there no more: it stands, and does not do what it was to do."""
        return ()

    def untold(self, facts: Facts) -> str:
        """Why nobody can tell from there what is still there of it, or take it away, and what to do; else nothing.

        Its record keeps it then, whoever leaves.
        """
        return ""

    def knowing(self, before: Resource | None, facts: Facts) -> Self:
        """The same with what its undo has to know of the host; `before` is it as crossnet applied it last."""
        return self

    @property
    def flaw(self) -> str:
        """Why nobody could put it back once it is changed, because others have had a hand in it; else nothing."""
        return ""

    @property
    def repair(self) -> str:
        """What to do about its flaw."""
        return "Remove what somebody else has put in there."

    @property
    def paths(self) -> tuple[str, ...]:
        """The files in which it stands, to be read of a host whose record has it."""
        return ()

    @property
    def policy_rules(self) -> tuple[PolicyRule, ...]:
        """The policy rules that the host asks with it."""
        return ()

    @property
    def within(self) -> frozenset[Within]:
        """What it is part of."""
        return frozenset()

    @property
    def tables(self) -> tuple[tuple[Engine, Table], ...]:
        """The rules that the host's firewall has with it."""
        return ()

    @property
    def starts(self) -> tuple[str, ...]:
        """The units that it has started at a boot; one that came before its files were written has to start them."""
        return ()

    def with_others(self, tables: Iterable[foreign.Table]) -> tuple[foreign.Table, ...]:
        """The rules of others on its host as they are with it."""
        return tuple(tables)

    def has_made(self, chain: foreign.Chain, rule: foreign.Rule) -> bool:
        """Whether a rule among those of others is there for it."""
        return False

    @property
    def is_known(self) -> bool:
        """Whether what it holds is known; 0.1.0 kept of rules only which they are."""
        return True

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that the host has with it."""
        return ()

    def diverts(self, target: Address) -> bool:
        """Whether it may lead packets to this address elsewhere than the routes of its host say."""
        return False

    def is_given_up(self, facts: Facts) -> bool:
        """Whether who made it so has let go of it; asked of what is used as somebody else made it, and is gone."""
        return False

    def decides(self, family: Family) -> bool:
        """Whether what its host forwards in this family is let through or not by it."""
        return False

    @property
    def closes(self) -> bool:
        """Whether with it nothing passes that no crossing names."""
        return False

    @classmethod
    def loads_rules_anew(cls, have: Resource | None, want: Resource | None) -> bool:
        """Whether with the change somebody else loads anew the rules by which its host itself is reached."""
        return False

    def ages_routes(self, family: Family) -> bool:
        """Whether a change of it may let routes of this family expire that a router advertised."""
        return False

    @property
    def values(self) -> Mapping[str, str]:
        """The kernel settings that it is itself, each with its value."""
        return {}

    def since(self, applied: Resource) -> tuple[str, ...]:
        """What came on the host since another of it was applied, and is why this one is wanted."""
        return ()

    def added_to(self, now: Self) -> tuple[str, ...]:
        """What others have put into it since it was applied, and is lost when it is changed or goes."""
        return ()

    def edited(self, facts: Facts) -> str:
        """What others have made of it, which stays as it is when it is made anew or given up; else nothing."""
        return ""

    @classmethod
    def leaves_behind(cls, have: Self, want: Self | None, facts: Facts) -> str:
        """What of it cannot be taken away, and why; nothing where all of it can."""
        return ""

    @classmethod
    def lingers(cls, have: Self, want: Self | None, facts: Facts) -> Lingering | None:
        """What of it lives on for a while elsewhere than on hosts of the plan; None where nothing does."""
        return None

    @property
    def settings(self) -> tuple[str, ...]:
        """The kernel settings that change with it."""
        return ()

    @abstractmethod
    def look(self) -> tuple[Look, ...]:
        """Where the host itself sees whether an undo has put it back; equal answers, equal states."""

    def as_healed(self, live: Sequence[Resource]) -> Self:
        """As which its host takes it for as it was applied; `live` is all that is there with it.

        A host that looks after itself cannot tell what rules of others decide.
        """
        return self

    def watched(self) -> tuple[Look, ...]:
        """What its host asks every few seconds to notice that somebody changes it; here the same as `look`.

        What it needs to be brought back belongs to it too. Where answers are equal nothing is looked at more closely.
        """
        return self.look()

    @abstractmethod
    def holds(self, locate: Locate) -> Test:
        """Whether the host has it, asked there in sh: what makes a script that can be run twice.

        It ends with 1 where that is not so, and with more where it could not be asked.
        """

    def listed(self) -> Listed | None:
        """How the host finds many of the kind at once; None where it is asked for each."""
        return None

    @abstractmethod
    def lacks(self, locate: Locate) -> Test:
        """Whether the host has no such thing, asked in the same way."""

    @property
    def stands(self) -> Test | None:
        """Whether the host still has the fence that it is, asked in the same way; None where it is none."""
        return None

    def serves(self, family: Family, destinations: Collection[Network], *, on_gateway: bool) -> bool:
        """Whether a crossing of this family to these destinations stands on it, on its gateway or on a client."""
        return True

    def is_for(self, clients: Collection[Network]) -> bool:
        """Whether any of these clients of its crossing needs it, where it tells whose packets it is about."""
        return True

    def checks(self, locate: Locate) -> tuple[Check, ...]:
        """What the host's own programs are to say of it before the confirmation, where it is made after that."""
        return ()

    @classmethod
    @abstractmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        """The steps from one state to the other, in either direction."""

    @classmethod
    def line(cls, have: Self | None, want: Self | None) -> Line | None:
        """The one step from one state to the other as a line among others; None where it is made for itself."""
        return None

    @classmethod
    def typed(cls, have: Self | None, want: Self | None) -> tuple[str, ...]:
        """The lines for a shell by which a person makes the change, where another participant makes it for its host."""
        return ()

    @classmethod
    @abstractmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        """The change in one line, as the plan shows it."""

    @property
    def found(self) -> str:
        """How a plan names it where it is used as it is."""
        return self.key

    def shown(self) -> Encoded:
        """Itself with all that it holds, for programs that read a plan: here the same as `encode`."""
        return self.encode()

    @abstractmethod
    def encode(self) -> Encoded:
        """Itself as JSON, for the host's own record of what crossnet changed."""

    def state(self) -> Encoded:
        """What a journal keeps to prove later that the resource is as it was: here the same as `encode`."""
        return self.encode()

    @classmethod
    @abstractmethod
    def decode(cls, encoded: Encoded) -> Self:
        """The inverse of `encode`."""


@dataclass(frozen=True, slots=True)
class Change:
    """From `have` to `want`; None is absence. Undo is the inverse, rendered by the same code."""

    have: Resource | None
    want: Resource | None

    @property
    def resource(self) -> Resource:
        """Either side, for what both share: kind and key."""
        side = self.want or self.have
        assert side is not None, "a change has at least one side"
        return side

    @property
    def action(self) -> str:
        if self.have is None:
            return "create"
        return "remove" if self.want is None else "change"

    @property
    def steps(self) -> tuple[Step, ...]:
        return type(self.resource).render(self.have, self.want)

    @property
    def line(self) -> Line | None:
        return type(self.resource).line(self.have, self.want)

    def checks(self, locate: Locate) -> tuple[Check, ...]:
        return self.want.checks(locate) if self.want else ()

    @property
    def description(self) -> str:
        return type(self.resource).describe(self.have, self.want)

    @property
    def typed(self) -> tuple[str, ...]:
        return type(self.resource).typed(self.have, self.want)

    @property
    def looks(self) -> tuple[Look, ...]:
        sides = (side for side in (self.have, self.want) if side is not None)
        return tuple(dict.fromkeys(look for side in sides for look in side.look()))

    def is_made(self, locate: Locate) -> Test:
        """Whether the host has what the change makes."""
        return self.want.holds(locate) if self.want else self.resource.lacks(locate)

    def inverse(self) -> Change:
        return Change(self.want, self.have)
