"""What another operator's journal on a host says, when it is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from crossnet.errors import PlanRefused, Refusal
from crossnet.facts import FileState
from crossnet.record import DEADLINE, IDENTITY, JOURNAL
from crossnet.resources import RouteResource
from crossnet.sealed import seal
from crossnet.spec import HostSpec
from crossnet.transaction import journal
from design.factsheet import host_facts, route, with_files

ROUTE = RouteResource(route("10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"))
FORGED = "\nConfirmed. Transaction 1234abcd.\r\n"


@pytest.mark.parametrize("word", ["identity", "transaction", "what", "who", "started"])
def test_nobody_begins_a_line_of_ours_with_the_words_of_a_journal(word: str) -> None:
    document = json.loads(journal.encode(journal.new("1234abcd", "apply business", ("gateway",))))
    name = "1234abcd\n"
    if word == "identity":
        name += FORGED
    else:
        document[word] += FORGED
    document.pop("sha256")
    files = {JOURNAL: seal(document), IDENTITY: name.encode()}
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


# As tests/faults/test_host_disk.py has them of a host.
@pytest.mark.parametrize(
    ("deadline", "left"),
    [
        ("150 here\n", 50),
        ("86500 here\n", 86400),
        ("86501 here\n", 0),
        ("31536000 here\n", 0),
        ("0150 here\n", 0),
        ("1500000000 here\n", 0),
        ("-5 here\n", 0),
        ("99 here\n", 0),
        ("\u0661\u0665\u0660 here\n", 0),
        ("150\n", 0),
        ("150 there\n", 0),
        ("", 0),
    ],
)
def test_no_time_is_left_where_the_host_itself_says_that_it_is_over(deadline: str, left: int) -> None:
    document = journal.encode(journal.new("1234abcd", "apply business", ("gateway",)))
    files = {JOURNAL: document, IDENTITY: b"1234abcd\n", DEADLINE: deadline.encode()}
    facts = with_files(
        replace(host_facts("gateway", ""), uptime=100, boot="here"),
        {path: FileState(data, 0o600, "0:0") for path, data in files.items()},
    )
    found = journal.unfinished(facts)
    assert found is not None
    assert found.left == left


def test_a_journal_that_lost_a_part_is_damaged_although_it_can_be_read() -> None:
    """By the group it would be ended on one host only, by the entries it would be proved of nothing."""
    made = journal.new("1234abcd", "apply business", ("app", "gateway"))
    whole = json.loads(journal.encode(replace(made, entries=(journal.Entry("route x", ROUTE, None),))))
    assert not journal.decode(json.dumps(whole).encode()).unreadable
    for part in ("group", "entries"):
        cut = {**whole, part: whole[part][1:]}
        assert "checksum" in journal.decode(json.dumps(cut).encode()).unreadable


def test_nobody_begins_a_line_of_ours_with_a_rule_of_his() -> None:
    refusal = Refusal("code", "gateway", f"a rule drops it: x{FORGED}", "Look.", (f"rule{FORGED}",))
    first, *others = str(PlanRefused([refusal])).splitlines()
    assert first.startswith("gateway: ")
    assert all(line.startswith("  ") for line in others), others


@pytest.mark.parametrize("number", [2**63, -(2**80), 0, -1])
def test_no_process_has_a_number_that_none_can_have(number: int) -> None:
    """As in a journal that a host has forged: such a number is asked of no kernel."""
    begun = journal.new("1234abcd", "apply business", ("gateway",))
    assert begun.is_running_here
    assert not replace(begun, process=number).is_running_here


def test_a_host_that_left_the_spec_is_found_by_the_journal_where_its_way_leads_there_from_here_too() -> None:
    old, own = HostSpec("app (root@10.0.43.15)", ssh="root@10.0.43.15"), HostSpec("desk", local=True)
    group = ("gateway", "desk", old.name)
    written = journal.new(
        "1a2b3c4d", "apply office/business", group, hosts=(old, own, HostSpec("else", lab="x/y"))
    )
    read = journal.decode(journal.encode(written))
    assert read.hosts == (old, own)
    assert read.further(["gateway"]) == (old, own)
    assert replace(read, who="ann@another").further(["gateway"]) == (old,)
