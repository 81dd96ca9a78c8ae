"""Which participants there are, beside hosts."""

from __future__ import annotations

from collections.abc import Callable

from crossnet.errors import Bug
from crossnet.resources import KINDS, AtCloud
from crossnet.transaction.cloud import AtOneCloud
from crossnet.transaction.participant import Participant
from crossnet.transport import Host

# Who changes what no host changes itself, by the kind of resource: what makes one of its name, for a transaction,
# with the keeper. One of a name changes all kinds of which that is the name.
PARTICIPANTS: dict[str, Callable[[str, str, Host], Participant]] = {
    name: AtOneCloud for name, kind in KINDS.items() if issubclass(kind, AtCloud)
}


def participant(kind: str, name: str, transaction: str, keeper: Host) -> Participant:
    """The participant of that name that changes this kind of resource."""
    if kind not in PARTICIPANTS:
        raise Bug(f"nobody takes part in a transaction who changes a {kind} for {keeper.name}")
    return PARTICIPANTS[kind](name, transaction, keeper)
