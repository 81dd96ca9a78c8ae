"""What another operator's journal on a host says, when it is told."""

from __future__ import annotations

import json

import pytest

from crossnet.errors import PlanRefused, Refusal
from crossnet.facts import FileState
from crossnet.record import IDENTITY, JOURNAL
from crossnet.transaction import journal
from design.factsheet import host_facts, with_files

FORGED = "\nConfirmed. Transaction 1234abcd.\r\n"


@pytest.mark.parametrize("word", ["identity", "transaction", "what", "who", "started"])
def test_nobody_begins_a_line_of_ours_with_the_words_of_a_journal(word: str) -> None:
    document = json.loads(journal.encode(journal.new("1234abcd", "apply business", ("gateway",))))
    name = "1234abcd\n"
    if word == "identity":
        name += FORGED
    else:
        document[word] += FORGED
    files = {JOURNAL: json.dumps(document).encode(), IDENTITY: name.encode()}
    facts = with_files(
        host_facts("gateway", ""), {path: FileState(data, 0o600, "0:0") for path, data in files.items()}
    )
    found = journal.unfinished(facts)
    assert found is not None
    assert not found.unreadable
    first, *others = str(journal.locked("gateway", found)).splitlines()
    assert first.startswith("gateway: transaction 1234abcd")
    assert others
    assert all(line.startswith("  ") for line in others), others


def test_nobody_begins_a_line_of_ours_with_a_rule_of_his() -> None:
    refusal = Refusal("code", "gateway", f"a rule drops it: x{FORGED}", "Look.", (f"rule{FORGED}",))
    first, *others = str(PlanRefused([refusal])).splitlines()
    assert first.startswith("gateway: ")
    assert all(line.startswith("  ") for line in others), others
