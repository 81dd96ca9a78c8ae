"""A plan: the ordered changes on every host, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crossnet.design import Choice, Impact, Path
from crossnet.design.flows import FlowChange
from crossnet.errors import Refusal
from crossnet.facts import Lookup
from crossnet.record import Record
from crossnet.resources import Change, Phase, Resource, RuleTable, Step
from crossnet.spec import Spec
from crossnet.standing import Identity, Standing


@dataclass(frozen=True, slots=True)
class Lapse:
    """What one host does at a time, in seconds since 1970: `live` now, `persistent` for its next boot.

    `ended` are the crossings that are over then. It holds for the record `before` alone, and leaves `after`.
    """

    at: int
    ended: tuple[Standing, ...]
    before: Record
    after: Record
    live: tuple[Change, ...]
    persistent: tuple[Change, ...]

    @property
    def leaves_forwarding(self) -> bool:
        """Whether what is left is there for no crossing any more."""
        return bool(self.after.owned) and not self.after.crossings


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host: what changes, what is used as it is, and crossnet's record there before and after.

    `touching` are those of the changes that touch the way on which crossnet reaches this or another host. `lapses` are
    what the host does by itself when crossings are over; it `is_armed` where that is prepared there, if there is any.
    """

    host: str
    changes: tuple[Change, ...]
    adopted: tuple[Resource, ...]
    before: Record
    after: Record
    touching: tuple[Change, ...] = ()
    lapses: tuple[Lapse, ...] = ()
    is_armed: bool = True

    @property
    def changes_record(self) -> bool:
        return bool(self.before.lost) or not self.before.same_as(self.after) or not self.is_armed

    @property
    def ended(self) -> tuple[Standing, ...]:
        """The crossings that stand there before and not after."""
        stay = {one.label for one in self.after.crossings}
        # What is known without its spec goes on under that of whoever applies a crossing of its name.
        named = {one.crossing for one in self.after.crossings}
        return tuple(
            one
            for one in self.before.crossings
            if one.label not in stay and (one.spec or one.crossing not in named)
        )

    @property
    def moving(self) -> frozenset[str]:
        """The labels of the crossings that come, go or become another there."""
        sides = ((self.before, self.after), (self.after, self.before))
        return frozenset(
            one.label
            for here, there in sides
            for one in here.crossings
            if not one.same_as(there.standing(one.label))
        )

    def touches_last(self, change: Change) -> bool:
        """Whether it waits for the others of its kind: only what stands for itself can go in any order."""
        return change.resource.stands_alone and change in self.touching


@dataclass(frozen=True, slots=True)
class Plan:
    """All hosts, gateways first; `paths` is empty when everything is undone.

    Among the gateways, and among the clients, those that touch the management path come last, and of these
    the far side first. `guard_order` has all hosts in groups, the far side first: a host is reached through
    hosts of later groups only, so its guard has to be shorter than theirs. `asked` is what the hosts' kernels were
    asked for it: whoever looks at the hosts again asks it with all the rest. `stopped` says of which crossings nothing
    would pass when it is applied, and why. `left_alone` is of each host what other specs alone need of it: it is
    neither changed nor judged. `opening` is what it opens and closes, None where nobody has
    asked for that. Its repr() leaves out what may be long, as that of Facts does.
    """

    spec: Spec = field(repr=False)
    paths: tuple[Path, ...] = field(repr=False)
    hosts: tuple[HostPlan, ...] = field(repr=False)
    impacts: tuple[Impact, ...] = field(repr=False)
    wanted: Mapping[str, tuple[Resource, ...]] = field(repr=False)
    engines: Mapping[str, Choice]
    guard_order: tuple[tuple[str, ...], ...] = ()
    asked: Mapping[str, tuple[Lookup, ...]] = field(default_factory=dict, repr=False)
    stopped: tuple[Refusal, ...] = ()
    left_alone: Mapping[str, frozenset[Identity]] = field(default_factory=dict, repr=False)
    opening: tuple[FlowChange, ...] | None = field(default=None, repr=False)

    @property
    def tables(self) -> tuple[tuple[str, RuleTable], ...]:
        """crossnet's rules on each gateway, as they should be."""
        return tuple(
            (host, item)
            for host, resources in self.wanted.items()
            for item in resources
            if isinstance(item, RuleTable)
        )

    @property
    def changes(self) -> tuple[tuple[str, Change], ...]:
        return tuple((host.host, change) for host in self.hosts for change in host.changes)

    @property
    def kept(self) -> tuple[Standing, ...]:
        """What stands on these hosts and stays: crossings of other specs, and of its own where an undo leaves some."""
        own = {path.crossing.label for path in self.paths}
        found = {
            one.label: one for host in self.hosts for one in host.after.crossings if one.label not in own
        }
        return tuple(found.values())

    @property
    def ended(self) -> tuple[Standing, ...]:
        """The crossings that stand there before and not after."""
        return tuple({one.label: one for host in self.hosts for one in host.ended}.values())

    @property
    def steps(self) -> tuple[tuple[str, Change, tuple[Step, ...]], ...]:
        """What is done: changes that are equal may need another step, as in a file that somebody else keeps."""
        return tuple((host, change, change.steps) for host, change in self.changes)

    @property
    def is_empty(self) -> bool:
        return not self.changes

    @property
    def touched(self) -> tuple[str, ...]:
        """The hosts that applying it would write to: crossnet's record there is part of what changes."""
        return tuple(host.host for host in self.hosts if host.changes or host.changes_record)

    @property
    def touching(self) -> tuple[str, ...]:
        """The hosts on which a change touches the management path: their guard has to be proved first."""
        return tuple(host.host for host in self.hosts if host.touching)

    @property
    def touches_management_path(self) -> bool:
        return bool(self.touching)

    def touches(self, host: str, change: Change) -> bool:
        """Whether this change on that host touches the management path."""
        return any(change in one.touching for one in self.hosts if one.host == host)

    def live(self) -> tuple[tuple[str, Change], ...]:
        """What is changed before the confirmation, in order: adds before removes, removes in reverse.

        Only what touches the management path is last both ways, within its class. On each host first what
        guards the change itself over a power cut.
        """
        guards = [item for item in self.changes if _lays_guard(item[1])]
        ordered: list[tuple[str, Change]] = []
        guarded: set[str] = set()
        for item in self._in_order([one for one in self.changes if not one[1].resource.is_persistent]):
            if item[0] not in guarded:
                guarded.add(item[0])
                ordered += [guard for guard in guards if guard[0] == item[0]]
            ordered.append(item)
        return (*(guard for guard in guards if guard[0] not in guarded), *ordered)

    def persistent(self) -> tuple[tuple[str, Change], ...]:
        """What is written for the next boot, after the confirmation."""
        later = [item for item in self.changes if item[1].resource.is_persistent and not _lays_guard(item[1])]
        return tuple(sorted(self._in_order(later), key=lambda item: _leaves(item[1])))

    def _in_order(self, changes: Sequence[tuple[str, Change]]) -> tuple[tuple[str, Change], ...]:
        # Adds before removes: while traffic moves from one way to another, both stand.
        adding = [item for item in changes if not takes_away(item[1])]
        removing = [item for item in changes if takes_away(item[1])]
        changing = {(host, one.resource.kind) for host, one in adding if one.have is not None}

        def is_first(item: tuple[str, Change]) -> bool:
            return any((item[0], kind) in changing for kind in item[1].resource.holds_up)

        first = [item for item in removing if is_first(item)]
        left = [item for item in reversed(removing) if not is_first(item)]
        return (*first, *adding, *sorted(left, key=self._retreat))

    def _retreat(self, item: tuple[str, Change]) -> tuple[bool, int, int, bool]:
        """The place of a change that takes away: clients first, and on a host the last kind first."""
        name, change = item
        place, host = next((n, host) for n, host in enumerate(self.hosts) if host.host == name)
        gateway = name in gateways(self)
        return gateway, place, -change.resource.rank, host.touches_last(change)


def _leaves(change: Change) -> tuple[bool, bool]:
    """What ends it when the power goes in the middle is removed when there is nothing else to remove."""
    return change.resource.phase is Phase.GUARD, change.want is None and change.resource.goes_last


def _lays_guard(change: Change) -> bool:
    return change.want is not None and change.resource.phase is Phase.GUARD


def takes_away(change: Change) -> bool:
    """A setting that goes back to its original is part of taking away, although it is never absent."""
    return change.action == "remove" or isinstance(change, Restoring)


@dataclass(frozen=True, slots=True)
class Restoring(Change):
    """A change that gives a resource back as it was before crossnet."""


def gateways(plan: Plan) -> frozenset[str]:
    """Those of the spec, and those that stand as such for what is taken back."""
    standing = (host.host for host in plan.hosts if any(one.carried for one in host.before.crossings))
    return frozenset(crossing.via for crossing in plan.spec.crossings) | frozenset(standing)
