"""What hosts remember of transactions, of today's and of an older crossnet."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from crossnet.show.text import history_text
from crossnet.transaction import journal
from crossnet.transaction.history import Past, chosen, remembered

OLD = "2026-11-01T10:00:00Z\t00000001\tann@desk\tapply business\t2026-11-01T10:00:05Z\tconfirm\twritten"
KEPT = (
    "2026-11-02T10:00:00Z\t00000002\tann@desk\tapply business, lab\tCHG0012345\tbusiness,lab\t"
    "2026-11-02T10:00:05Z\t\tconfirm\tunwritten"
)
BACK = (
    "2026-11-03T10:00:00Z\t00000003\tbob@desk\tundo\t\tlab\t2026-11-03T10:02:05Z\t"
    "nobody confirmed it in time\trollback\tclean"
)
# Begun by the older one, ended by the script of today's.
MIXED = "2026-11-04T10:00:00Z\t00000004\tbob@desk\tundo\t2026-11-04T10:02:05Z\tinterrupted\trollback\tclean"


def past(*lines: str) -> tuple[Past, ...]:
    return remembered("app", "".join(f"{line}\n" for line in lines))


def test_lines_of_an_older_crossnet_are_read_beside_those_of_today() -> None:
    old, kept, back, mixed = past(OLD, "half of a li", KEPT, BACK, MIXED)
    assert (old.message, old.crossings, old.why) == ("", (), "")
    assert (kept.message, kept.crossings, kept.why) == ("CHG0012345", ("business", "lab"), "")
    assert (back.message, back.crossings, back.why) == ("", ("lab",), "nobody confirmed it in time")
    assert (mixed.crossings, mixed.why) == ((), "interrupted")
    assert [one.outcome for one in (old, kept, back)] == [
        "confirmed",
        "confirmed, not written for the next boot",
        "rolled back",
    ]


def test_history_tells_messages_and_reasons() -> None:
    assert history_text(past(KEPT, BACK)).splitlines() == [
        "started               ended                 host  transaction  who       what                 message     "
        "outcome",
        "2026-11-02T10:00:00Z  2026-11-02T10:00:05Z  app   00000002     ann@desk  apply business, lab  CHG0012345  "
        "confirmed, not written for the next boot",
        "2026-11-03T10:00:00Z  2026-11-03T10:02:05Z  app   00000003     bob@desk  undo of lab                      "
        "rolled back: nobody confirmed it in time",
    ]
    assert "message" not in history_text(past(OLD, BACK))


def test_what_is_asked_for_is_chosen() -> None:
    found = past(OLD, KEPT, BACK)

    def names(some: Sequence[Past]) -> list[str]:
        return [one.transaction[-1] for one in some]

    assert names(chosen(found)) == ["1", "2", "3"]
    assert names(chosen(found, crossing="lab")) == ["2", "3"]
    assert names(chosen(found, since="2026-11-02T10:00:05Z")) == ["2", "3"]
    assert names(chosen(found, decision="rollback")) == ["3"]
    assert names(chosen(found, crossing="business", since="2026-11-03T00:00:00Z")) == []


def test_a_journal_gives_the_history_its_first_words() -> None:
    made = journal.new("0badcafe", "apply business", ("app",), message=" CHG1 ", crossings=("business",))
    assert made.audit.split("\t") == [
        made.started,
        "0badcafe",
        made.who,
        "apply business",
        "CHG1",
        "business",
    ]
    again = journal.decode(journal.encode(made))
    assert (again.message, again.crossings) == ("CHG1", ("business",))


@pytest.mark.parametrize("message", ["two\nlines", "a\ttab", "\x1b[2J", "x" * 201])
def test_a_message_is_one_line(message: str) -> None:
    with pytest.raises(ValueError, match="a message"):
        journal.new("0badcafe", "apply business", ("app",), message=message)
