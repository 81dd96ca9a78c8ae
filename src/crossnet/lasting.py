"""What of a crossing is live on its hosts, and what would be there again after a boot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crossnet.design.settings import left_at_boot
from crossnet.drift import drifted
from crossnet.facts import Facts
from crossnet.persistence.keeping import keeping
from crossnet.record import Record
from crossnet.resources import Resource
from crossnet.spec import Persist


@dataclass(frozen=True, slots=True)
class Lasting:
    """One thing of a crossing on a host: whether it is `live` as it was applied, and what brings it back at a boot.

    `is_there` is whether it stands there all the same, while what it is made for is gone. `kept_in` is what was written
    for the next boot, or to whom it is left, `broken` what of it is gone or changed by now; `asked` is whether the spec
    wants it to last.
    """

    host: str
    resource: Resource
    live: bool
    is_there: bool
    kept_in: tuple[str, ...]
    broken: tuple[str, ...]
    asked: bool

    @property
    def persistent(self) -> bool:
        return bool(self.kept_in) and not self.broken

    @property
    def what(self) -> str:
        return f"{self.resource.kind} {self.resource.found}"

    def __str__(self) -> str:
        """`app: route 10.0.44.0/24 via 10.0.43.101: live and persistent (/etc/crossnet/routes)`."""
        where = self.kept_in[0] if self.persistent else ", ".join(self.broken)
        if self.broken:
            where += " is gone or changed"
        elif not self.kept_in:
            where = "nothing brings it back" if self.asked else "as the spec asks"
        live = "live" if self.live else "live, but drifted," if self.is_there else "not live"
        joined = "but" if self.persistent and not self.is_there else "and"
        return f"{self.host}: {self.what}: {live} {joined} {'' if self.persistent else 'not '}persistent ({where})"


def lasting(facts: Facts, record: Record, label: str) -> Iterator[Lasting]:
    """What a host has for the crossing of this label, also what that uses there as somebody else made it."""
    standing = record.standing(label)
    if standing is None:
        return
    differs = {each.applied.identity for each in drifted(facts, record)}
    written = [one.applied for one in record.owned if one.applied.is_persistent]
    live = [one.applied for one in record.owned if not one.applied.is_persistent]
    asked = any(path.crossing.persist is not Persist.NONE for path in standing.paths)
    of_others = {identity for one in record.crossings if one is not standing for identity in one.needs}
    as_made = {one.identity: one.found for one in record.adopted}
    items = (*live, *(one.wanted for one in record.adopted))
    left = left_at_boot(facts, record, items)
    for item in items:
        # What no crossing needs for itself alone is there for all that the gateway carries.
        is_shared = bool(standing.carried) and item.identity not in of_others
        if item.identity in standing.needs or is_shared:
            keepers = keeping(as_made.get(item.identity, item), written, facts.owners)
            broken = [each.key for each in keepers if each.identity in differs]
            kept_in = tuple(each.key for each in keepers)
            if item.changed_by:
                kept_in = (item.changed_by,)  # it does not go with the host's power
            if not kept_in:
                kept_in = tuple(f"{program}, whenever it starts" for program in left.get(item.key, ()))
            drifts = item.identity in differs
            is_there = not drifts or _is_there(item, facts)
            yield Lasting(facts.host, item, not drifts, is_there, kept_in, tuple(broken), asked)


def _is_there(item: Resource, facts: Facts) -> bool:
    item = item.knowing(item, facts)
    now = item.current(facts)
    return now is not None and item.satisfied_by(now)
