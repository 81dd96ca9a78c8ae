"""What crossnet changed on a host, as the host itself keeps it.

The host is the state: any operator with access sees and undoes the same thing, and nothing on the
machine of the operator who applied it is needed.

Where the record is lost, crossnet's own things tell what they are, and nothing tells what was there before
them. What would open the host if it were guessed wrong counts as closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crossnet.errors import PlanRefused, Refusal
from crossnet.facts import Facts, FileState, Unreadable
from crossnet.facts.question import mapping, objects, read_json, text, text_or, texts
from crossnet.facts.sysctls import FORWARDING
from crossnet.openstack.ports import Sought
from crossnet.resources import KINDS, AtCloud, Resource, Sysctl
from crossnet.sealed import seal, unseal
from crossnet.several import few
from crossnet.spec import CROSSING_NAME, SPEC_NAME, USUAL_NAME
from crossnet.standing import Stamp, Standing
from crossnet.values import Family

FOLDER = "/var/lib/crossnet"
APPLIED = f"{FOLDER}/applied.json"
VERIFIED = f"{FOLDER}/verified.json"
HISTORY = f"{FOLDER}/history"

# Of the transaction under way; host.sh tells what is in which.
TRANSACTION = f"{FOLDER}/transaction"
IDENTITY = f"{TRANSACTION}/id"
JOURNAL = f"{TRANSACTION}/journal.json"
BEGUN = f"{TRANSACTION}/step"
MADE = f"{TRANSACTION}/made"
DECISION = f"{TRANSACTION}/decision"
DEADLINE = f"{TRANSACTION}/deadline"
HOST_SCRIPT = f"{TRANSACTION}/host.sh"

# Of what a host does by itself when crossings are over.
UNTIL = f"{FOLDER}/until"
UNTIL_SCRIPT = f"{UNTIL}/host.sh"
UNTIL_BY = f"{UNTIL}/by"
UNTIL_FAILED = f"{UNTIL}/failed"
UNTIL_HEARTBEAT = f"{UNTIL}/heartbeat"

# What is being changed at a cloud for the host: a cloud has no guard, so this outlives the transaction that began it.
CLOUD = f"{FOLDER}/cloud.json"

# What a host has brought back by itself: written by the script that does so.
HEALED = f"{FOLDER}/healed"

FILES = (
    *(APPLIED, VERIFIED, IDENTITY, JOURNAL, BEGUN, MADE, DECISION, DEADLINE),
    *(UNTIL_BY, UNTIL_FAILED, UNTIL_HEARTBEAT, HEALED, CLOUD),
)

FORMAT = 2
_LABEL = rf"(?:{SPEC_NAME}/)?{CROSSING_NAME}"
_OF_0_1_0 = 1  # of the crossings it has the names alone


@dataclass(frozen=True, slots=True)
class Owned:
    """One resource that crossnet changed: as it was before crossnet, and as it was applied.

    An original of None was absent; of what is never absent, such as a setting, it is not known. `boot` is the start of
    the host in which the original was live, nothing where that is not known; `others` what others had there then that
    is of no use without it, each in words, and None where nobody has looked.
    """

    original: Resource | None
    applied: Resource
    boot: str = ""
    others: tuple[str, ...] | None = None

    @property
    def identity(self) -> tuple[str, str]:
        return self.applied.identity

    @property
    def is_unknown(self) -> bool:
        """Whether nobody knows what was there before."""
        return self.original is None and self.applied.is_never_absent


@dataclass(frozen=True, slots=True)
class Adopted:
    """One resource that a crossing uses as somebody else made it: as it was found, and what was wanted in its place.

    It is nobody's to give back. But it says what was there before crossnet, whatever becomes of it.
    """

    found: Resource
    wanted: Resource

    @property
    def identity(self) -> tuple[str, str]:
        return self.wanted.identity


@dataclass(frozen=True, slots=True)
class Record:
    """Everything crossnet owns on one host, what it uses there besides, and the crossings it is for.

    `rebuilt`: it was lost once, so of some things it is not known what was there before. `lost` is why it is
    not on the host as it is here, nothing where it is.
    """

    crossings: tuple[Standing, ...] = ()
    owned: tuple[Owned, ...] = ()
    rebuilt: bool = False
    lost: str = ""
    adopted: tuple[Adopted, ...] = ()
    _by_identity: dict[tuple[str, str], Owned] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _uses: dict[tuple[str, str], Adopted] = field(default_factory=dict, init=False, repr=False, compare=False)

    def find(self, resource: Resource) -> Owned | None:
        if not self._by_identity:
            self._by_identity.update({owned.identity: owned for owned in reversed(self.owned)})
        return self._by_identity.get(resource.identity)

    def adoption(self, resource: Resource) -> Adopted | None:
        """What is used in its place as somebody else made it."""
        if not self._uses:
            self._uses.update({one.identity: one for one in self.adopted})
        return self._uses.get(resource.identity)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of crossnet is there; then no file keeps it."""
        return not self.owned and not self.crossings

    @property
    def on_the_host(self) -> Record:
        """The same without what others hold for it, such as a cloud."""
        return replace(self, owned=tuple(one for one in self.owned if not one.applied.changed_by))

    def standing(self, label: str) -> Standing | None:
        """The crossing of this name; one without the name of its spec is anybody's."""
        name = label.rpartition("/")[2]
        alike = (one for one in self.crossings if one.label == label)
        return next(
            alike, next((one for one in self.crossings if not one.spec and one.crossing == name), None)
        )

    def same_as(self, other: Record) -> bool:
        """Whether both would be written alike, but for who applied what."""
        return self.stamped(Stamp(), anew=True).to_json() == other.stamped(Stamp(), anew=True).to_json()

    def stamped(self, stamp: Stamp, *, anew: bool = False) -> Record:
        """The same where what nobody has applied yet is applied by this one; `anew`, all of it."""
        return replace(
            self,
            crossings=tuple(
                replace(one, stamp=stamp) if anew or not one.stamp.when else one for one in self.crossings
            ),
        )

    def to_json(self) -> bytes:
        document = {
            "format": FORMAT,
            "crossings": [one.encode() for one in self.crossings],
            **({"rebuilt": True} if self.rebuilt else {}),
            "owned": [
                {
                    "kind": owned.applied.kind,
                    "original": owned.original.encode() if owned.original else None,
                    "applied": owned.applied.encode(),
                    **({"boot": owned.boot} if owned.boot else {}),
                    **({"others": list(owned.others)} if owned.others is not None else {}),
                }
                for owned in self.owned
            ],
            "adopted": [_adoption(one) for one in self.adopted],
        }
        return seal(document, indent=1)


class _OtherFormat(Exception):
    pass


_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_NOT_UNDERSTOOD = (*_DAMAGED, _OtherFormat)


def read_record(facts: Facts) -> Record:
    """The record of a host, with what crossnet must have made there and the record does not know.

    PlanRefused where another version of crossnet wrote it: that one knows what was there before.
    """
    return facts.derived(_read)


def _read(facts: Facts) -> Record:
    state = facts.files.get(APPLIED)
    kept, lost = Record(), ""
    if isinstance(state, Unreadable):
        raise PlanRefused(
            [
                Refusal(
                    "record-unreadable",
                    facts.host,
                    f"{APPLIED} is there and cannot be read: {state.reason}",
                    "Check its permissions, and what stands in its place: only this file says what was there before "
                    "crossnet.",
                )
            ]
        )
    if state is not None:
        try:
            kept = _decode(state.data)
        except _OtherFormat as other:
            raise PlanRefused(
                [
                    Refusal(
                        "record-of-another-version",
                        facts.host,
                        f"{APPLIED} was written by another version of crossnet: {other}",
                        "Use the version that wrote it: only this file says what was there before crossnet.",
                    )
                ]
            ) from other
        except _DAMAGED as error:
            lost = f"cannot be understood: {error}" if state.data.strip() else "is empty"
    return _with_traces(facts, kept, lost)


def with_record(facts: Facts, record: Record) -> Facts:
    """The same host with this as its record."""
    return facts.given(_read, record)


def paths_of(facts: Facts) -> tuple[str, ...]:
    """The files that the host's own record names; none of one that cannot be understood."""
    state = facts.files.get(APPLIED)
    if not isinstance(state, FileState):
        return ()
    try:
        document = mapping(read_json(state.data))
        owned, used = (
            [entry for entry in objects(document.get(key, [])) if KINDS[text(entry, "kind")].is_in_files]
            for key in ("owned", "adopted")
        )
        found = [*(_owned(entry).applied for entry in owned), *(_adopted(entry).wanted for entry in used)]
    except _NOT_UNDERSTOOD:
        return ()
    return tuple(dict.fromkeys(path for one in found for path in one.paths))


def at_clouds(facts: Facts) -> dict[str, Sought]:
    """What clouds hold by the host's own record, by their names; nothing of one that cannot be understood."""
    state = facts.files.get(APPLIED)
    if not isinstance(state, FileState):
        return {}
    try:
        entries = objects(mapping(read_json(state.data)).get("owned", []))
        kinds = [entry for entry in entries if issubclass(KINDS[text(entry, "kind")], AtCloud)]
        found = [_owned(entry).applied for entry in kinds]
    except _NOT_UNDERSTOOD:
        return {}
    sought: dict[str, Sought] = {}
    for one in found:
        if isinstance(one, AtCloud):
            sought[one.cloud] = sought.get(one.cloud, Sought()) | one.sought
    return sought


def _decode(data: bytes) -> Record:
    document = mapping(read_json(data))
    found = document["format"]
    if type(found) is int and found not in (_OF_0_1_0, FORMAT):
        raise _OtherFormat(f"it has format {found}, this one reads {FORMAT}")
    if type(found) is not int:
        raise ValueError(f"its format is {found!r}")
    document = unseal(document)
    owned = tuple(map(_owned, objects(document["owned"])))
    crossings = (
        tuple(Standing("", name) for name in texts(document["crossings"]))
        if found == _OF_0_1_0
        else tuple(map(Standing.decode, objects(document["crossings"])))
    )
    rebuilt = document.get("rebuilt", False) is True
    if "adopted" in document:
        adopted = tuple(map(_adopted, objects(document["adopted"])))
    else:  # an older one
        adopted = () if rebuilt else tuple(_forwarding_found(owned))
    return Record(crossings, owned, rebuilt, adopted=adopted)


def _forwarding_found(owned: Sequence[Owned]) -> Iterator[Adopted]:
    """Where there are rules, and it was not crossnet that switched forwarding on, it was on before."""
    there = {one.identity for one in owned}
    for family in Family:
        setting = Sysctl(FORWARDING[family], "1")
        rules = any(one.applied.decides(family) for one in owned)
        if rules and setting.identity not in there:
            yield Adopted(setting, setting)


def _kind(entry: Mapping[str, Any]) -> type[Resource]:
    """The kind of an entry; one that this version does not have is no damage: a later one does."""
    name = text(entry, "kind")
    if name not in KINDS:
        raise _OtherFormat(f"it holds a resource of the kind {name!r}, which this one does not know")
    return KINDS[name]


def _owned(entry: Mapping[str, Any]) -> Owned:
    kind = _kind(entry)
    original = entry["original"]
    if original is not None and issubclass(kind, AtCloud):
        raise ValueError(f"it says what a {kind.kind} was before crossnet, which it never keeps")
    return Owned(
        kind.decode(mapping(original)) if original is not None else None,
        kind.decode(mapping(entry["applied"])),
        text_or(entry, "boot", ""),
        texts(entry["others"]) if "others" in entry else None,  # 0.1.0 did not look
    )


def _adoption(one: Adopted) -> Mapping[str, Any]:
    return {"kind": one.wanted.kind, "found": one.found.encode(), "wanted": one.wanted.encode()}


def _adopted(entry: Mapping[str, Any]) -> Adopted:
    kind = _kind(entry)
    return Adopted(kind.decode(mapping(entry["found"])), kind.decode(mapping(entry["wanted"])))


# ---- without it ----------------------------------------------------------------------------------


def _with_traces(facts: Facts, kept: Record, lost: str) -> Record:
    if (begun := facts.file(BEGUN)) and begun.data.strip():
        return replace(kept, lost=lost)  # what stands there now, the journal of the open transaction explains
    # What stands at a cloud beside a journal of it, that journal explains.
    is_left = facts.file(CLOUD) is not None
    kinds = [kind for kind in KINDS.values() if not (is_left and issubclass(kind, AtCloud))]
    traces = [trace for kind in kinds for trace in kind.traces(facts)]
    found = [trace for trace in traces if not _knows(kept, trace)]
    kept = replace(kept, crossings=(*kept.crossings, *_besides(kept, traces)))
    # Only gateways keep it, and only while something is applied.
    leftover = facts.file(VERIFIED) is not None and facts.file(APPLIED) is None
    if not (found or lost or leftover):
        return kept
    owned = [Owned(None, trace) for trace in found]
    for family in Family:
        setting = Sysctl(FORWARDING[family], "1")
        known = kept.find(setting) or kept.adoption(setting)
        if known is None and _may_have_opened(facts, family, kept, found):
            owned += _forwarding(facts, family, found)
    labels = {one.label for one in kept.crossings}
    traced = (_standing(name) for name in dict.fromkeys(_crossings(found)) if name not in labels)
    why = lost or ("is missing" if facts.file(APPLIED) is None else f"does not know {shown(found)}")
    return replace(
        kept, crossings=(*kept.crossings, *traced), owned=(*kept.owned, *owned), rebuilt=True, lost=why
    )


def _besides(kept: Record, traces: Iterable[Resource]) -> Iterator[Standing]:
    """The crossings for which there are rules, and of which a record that is older than they are knows nothing."""
    known = {one.label for one in kept.crossings}
    for trace in traces:
        owned = kept.find(trace)
        for label in trace.besides(owned.applied) if owned is not None else ():
            if label not in known and re.fullmatch(_LABEL, label):
                known.add(label)
                yield _standing(label)


def _standing(label: str) -> Standing:
    """A crossing of which nothing but its name was found."""
    spec, _, name = label.rpartition("/")
    return Standing(spec or USUAL_NAME, name)


def _knows(kept: Record, trace: Resource) -> bool:
    """Whether the record has it, or what it is left of."""
    return kept.find(trace) is not None or any(trace.is_what_is_left_of(own.applied) for own in kept.owned)


def _may_have_opened(facts: Facts, family: Family, kept: Record, found: Sequence[Resource]) -> bool:
    """Whether it may be crossnet that made the host forward packets of this family."""
    if any(one.opens(family) for one in found):
        # Where the record knows the rules and no setting, forwarding was on before.
        return not any(own.applied.opens(family) for own in kept.owned)
    if kept.owned or any(one.opens(other) for one in found for other in Family):
        return False
    # On a client there are routes, or the files that bring them back, and nothing of a gateway.
    return facts.file(VERIFIED) is not None or not any(one.clients_have for one in found)


def _forwarding(facts: Facts, family: Family, found: Iterable[Resource]) -> Iterator[Owned]:
    """Off before crossnet, unless crossnet's rules stand and let others pass: then nobody knows.

    Rules that admit no crossing are not as crossnet leaves them: somebody flushed them, and a fence with them.
    """
    setting = Sysctl(FORWARDING[family], "1")
    if facts.sysctls.get(setting.name, "0") == "0":
        return
    rules = [one for one in found if one.decides(family)]
    lets_pass = any(one.crossings for one in rules) and not any(one.closes for one in rules)
    yield Owned(None if lets_pass else Sysctl(setting.name, "0"), setting)


def _crossings(found: Iterable[Resource]) -> Iterator[str]:
    for one in found:
        yield from one.crossings


def shown(resources: Sequence[Resource]) -> str:
    """The first of them in words."""
    return few([f"{one.kind} {one.key}" for one in resources], 3, ", ")
