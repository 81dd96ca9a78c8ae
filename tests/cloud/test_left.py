"""What a host keeps of changes at a cloud that nobody has ended: of every kind that there is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet.errors import HostError
from crossnet.facts import FileState, Unreadable
from crossnet.openstack.ports import HostRoute
from crossnet.record import CLOUD, JOURNAL
from crossnet.resources import AtCloud, Change, HostRoutes, PortSecurity
from crossnet.sealed import seal
from crossnet.transaction import journal
from crossnet.transaction.journal import Other
from crossnet.transaction.left import Left, left_at_cloud
from crossnet.transaction.participants import PARTICIPANTS
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


def test_what_is_no_file_is_not_taken_for_nothing() -> None:
    facts = replace(host_facts("gateway", ""), files={CLOUD: Unreadable("it is no regular file")})
    with pytest.raises(HostError, match="it is no regular file"):
        left_at_cloud(facts)


@pytest.mark.parametrize("line", ["dead\nAll is well", "", "0" * 40])
def test_a_host_writes_no_lines_of_ours(line: str) -> None:
    for key in ("transaction", "cloud"):
        if key == "cloud" and line == "0" * 40:
            continue
        with pytest.raises(HostError, match="cannot be understood") as raised:
            left(document(change(PORT)) | {key: line})
        assert "\nAll is well" not in str(raised.value)


@pytest.mark.parametrize(
    ("begun", "made", "is_whole", "was_begun"),
    [([], False, False, False), (["port"], False, False, True), (["port"], True, True, True)],
)
def test_a_transaction_is_whole_when_its_cloud_is_too(
    begun: list[str], made: bool, is_whole: bool, was_begun: bool
) -> None:
    """So `crossnet confirm` confirms none that has not opened the port, and `recover` calls none void that has."""
    other = Other("cloud prod", "port_security", (journal.entry(Change(None, PORT)),))
    written = replace(journal.new("ab12cd34", "apply business", ["gateway"]), others=(other,))
    kept = document(change(PORT) | {"begun": begun}) | {"format": 2, "made": made}
    files = {
        path: FileState(data, 0o600, "0:0")
        for path, data in ((JOURNAL, journal.encode(written)), (CLOUD, seal(kept)))
    }
    found = journal.unfinished(with_files(host_facts("gateway", ""), files))
    assert found is not None
    assert (found.is_whole, found.was_begun, found.is_void) == (is_whole, was_begun, not was_begun)


@given(st.integers(0, 2**64))
@settings(max_examples=1_000, deadline=None)
def test_whatever_else_stands_there(seed: int) -> None:
    draw = Random(seed)
    changed = changed_json(draw, document(change(PORT), change(SUBNET)), draw.randrange(1, 4))
    with suppress(HostError):
        left(changed)
