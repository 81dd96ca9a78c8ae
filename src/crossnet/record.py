"""What crossnet changed on a host, as the host itself keeps it.

The host is the state: any operator with access sees and undoes the same thing, and nothing on the
machine of the operator who applied it is needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from crossnet.errors import HostError
from crossnet.facts import Facts
from crossnet.resources import KINDS, Resource

FOLDER = "/var/lib/crossnet"
APPLIED = f"{FOLDER}/applied.json"
VERIFIED = f"{FOLDER}/verified.json"
HISTORY = f"{FOLDER}/history"

# Of the transaction under way; host.sh tells what is in which.
TRANSACTION = f"{FOLDER}/transaction"
JOURNAL = f"{TRANSACTION}/journal.json"
BEGUN = f"{TRANSACTION}/step"
DECISION = f"{TRANSACTION}/decision"
DEADLINE = f"{TRANSACTION}/deadline"
HOST_SCRIPT = f"{TRANSACTION}/host.sh"

FILES = (APPLIED, VERIFIED, JOURNAL, BEGUN, DECISION, DEADLINE)

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Owned:
    """One resource that crossnet changed: as it was before crossnet (None: absent), and as it was applied."""

    original: Resource | None
    applied: Resource

    @property
    def identity(self) -> tuple[str, str]:
        return (self.applied.kind, self.applied.key)


@dataclass(frozen=True, slots=True)
class Record:
    """Everything crossnet owns on one host, and the names of the crossings it is for."""

    crossings: tuple[str, ...] = ()
    owned: tuple[Owned, ...] = ()

    def find(self, resource: Resource) -> Owned | None:
        identity = (resource.kind, resource.key)
        return next((owned for owned in self.owned if owned.identity == identity), None)

    def same_as(self, other: Record) -> bool:
        """Whether both would be written alike: a record keeps of a rule table only which one it is."""
        return self.to_json() == other.to_json()

    def to_json(self) -> bytes:
        document = {
            "format": FORMAT,
            "crossings": list(self.crossings),
            "owned": [
                {
                    "kind": owned.applied.kind,
                    "original": owned.original.encode() if owned.original else None,
                    "applied": owned.applied.encode(),
                }
                for owned in self.owned
            ],
        }
        return (json.dumps(document, indent=1) + "\n").encode()


def read_record(facts: Facts) -> Record:
    """The record of a host; HostError when it cannot be understood."""
    state = facts.files.get(APPLIED)
    if state is None:
        return Record()
    try:
        document = json.loads(state.data)
        if document["format"] != FORMAT:
            raise ValueError(f"it has format {document['format']}, this crossnet reads {FORMAT}")
        return Record(tuple(document["crossings"]), tuple(_owned(entry) for entry in document["owned"]))
    except (ValueError, KeyError, TypeError) as error:
        raise HostError(
            facts.host,
            f"read {APPLIED}",
            f"cannot be understood: {error}",
            "Use the version of crossnet that wrote it, or move the file away to start over.",
        ) from error


def _owned(entry: dict[str, Any]) -> Owned:
    kind = KINDS[entry["kind"]]
    original = entry["original"]
    return Owned(kind.decode(original) if original is not None else None, kind.decode(entry["applied"]))
