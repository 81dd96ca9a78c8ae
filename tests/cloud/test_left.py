"""What a host keeps of changes at a cloud that nobody has ended: of every kind that there is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet.errors import HostError
from crossnet.facts import FileState
from crossnet.openstack.ports import HostRoute
from crossnet.record import CLOUD
from crossnet.resources import AtCloud, Change, HostRoutes, PortSecurity
from crossnet.sealed import seal
from crossnet.transaction.left import Left, left_at_cloud
from crossnet.transaction.participant import PARTICIPANTS
from crossnet.transaction.requests import REQUESTS
from crossnet.values import address, network
from design.factsheet import host_facts, with_files
from facts.mutated import changed_json

PORT = PortSecurity("prod", "id-B-eth1", "lab", "eth1", "10.0.43.101", (network("10.0.44.0/24"),))
SUBNET = HostRoutes("prod", "s-43", "clients", (HostRoute(network("10.0.44.0/24"), address("10.0.43.101")),))


def change(want: AtCloud) -> dict[str, Any]:
    return {"kind": want.kind, "have": None, "want": dict(want.encode())}


def document(*changes: Mapping[str, Any]) -> dict[str, Any]:
    return {"format": 1, "transaction": "ab12cd34", "cloud": "prod", "changes": list(changes)}


def left(said: dict[str, Any]) -> Left | None:
    files = {CLOUD: FileState(seal(said), 0o600, "0:0")}
    return left_at_cloud(with_files(host_facts("gateway", ""), files))


def test_one_participant_serves_all_kinds_of_a_cloud() -> None:
    found = left(document(change(PORT), change(SUBNET)))
    assert found is not None
    assert [one.change for one in found.asked] == [Change(None, PORT), Change(None, SUBNET)]
    assert (found.participant, found.kind) == ("cloud prod", "port_security")
    assert {one.changed_by for one in (PORT, SUBNET)} == {found.participant}
    assert PARTICIPANTS["port_security"] is PARTICIPANTS["host_routes"]
    assert REQUESTS.keys() == PARTICIPANTS.keys()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "names no change"),
        ([change(PORT) | {"kind": "route"}], "nothing that a cloud holds"),
        ([change(PORT) | {"kind": "zzz"}], "zzz"),
        ([change(PORT) | {"want": None}], "from nothing to nothing"),
    ],
)
def test_what_cannot_be_understood_is_told(changes: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(HostError, match="cannot be understood") as raised:
        left(document(*changes))
    assert words in str(raised.value)
    assert CLOUD in str(raised.value)


@given(st.integers(0, 2**64))
@settings(max_examples=1_000, deadline=None)
def test_whatever_else_stands_there(seed: int) -> None:
    draw = Random(seed)
    changed = changed_json(draw, document(change(PORT), change(SUBNET)), draw.randrange(1, 4))
    with suppress(HostError):
        left(changed)
