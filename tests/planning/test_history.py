"""What hosts remember of transactions, of today's and of an older crossnet."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest

from crossnet.errors import HostError
from crossnet.facts.moments import Moments, UnitMoments
from crossnet.healed import just_before, noted
from crossnet.show.text import history_text
from crossnet.transaction import journal
from crossnet.transaction.history import Past, chosen, read_history, remembered
from crossnet.transport.local import Local

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


class _Elsewhere(Local):
    """This machine, with the files of crossnet below a folder of the test."""

    def __init__(self, root: Path) -> None:
        super().__init__("gateway")
        self._root = root

    def locate(self, path: PurePosixPath) -> PurePosixPath:
        return PurePosixPath(self._root / path.name)


def test_a_history_of_which_nothing_can_be_read_is_told_to_whoever_looks_at_it(tmp_path: Path) -> None:
    """As a disk leaves it that lost its power; what ends a transaction goes on without it."""
    host, history = _Elsewhere(tmp_path), tmp_path / "history"
    assert asyncio.run(read_history(host, legible=True)) == ()
    with history.open("wb") as file:
        file.truncate(3 << 20)
    with pytest.raises(HostError, match="gateway: read /var/lib/crossnet/history: no line of it can be read"):
        asyncio.run(read_history(host, legible=True))
    assert asyncio.run(read_history(host)) == ()
    history.write_text(f"half of a li\n{KEPT}\n")
    assert len(asyncio.run(read_history(host, legible=True))) == 1


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
    assert "until 2026-12-24T18:00:00Z of lab" in history_text(
        past(BACK.replace("\tundo\t", "\tuntil 2026-12-24T18:00:00Z\t"))
    )


def test_what_is_asked_for_is_chosen() -> None:
    found = past(OLD, KEPT, BACK)

    def names(some: Sequence[Past]) -> list[str]:
        return [one.transaction[-1] for one in some]

    assert names(chosen(found)) == ["1", "2", "3"]
    assert names(chosen(found, crossing="lab")) == ["2", "3"]
    assert names(chosen(found, since="2026-11-02T10:00:05Z")) == ["2", "3"]
    assert names(chosen(found, decision="rollback")) == ["3"]
    assert names(chosen(found, crossing="business", since="2026-11-03T00:00:00Z")) == []


BROUGHT = "1793613600\tbrought-back\ttable crossnet: 1 crossing, fence on"
GAVE_UP = "1793613700\tgave-up\ttable crossnet: 1 crossing, fence on"


def test_what_a_host_brought_back_stands_among_what_was_done_to_it() -> None:
    healed = noted("gateway", f"{BROUGHT}\nhalf a li\n{GAVE_UP}\n")
    lost, at = "table crossnet: 1 crossing, fence on", ("2026-11-02T10:00:00Z", "2026-11-02T10:01:40Z")
    lines = [re.split(" {2,}", line) for line in history_text(past(OLD, BACK), healed).splitlines()]
    assert [words[0] for words in lines[1:]] == ["2026-11-01T10:00:00Z", *at, "2026-11-03T10:00:00Z"]
    assert lines[2:4] == [
        [at[0], at[0], "gateway", "-", "the host itself", "heal", f"brought back: {lost}"],
        [
            *(at[1], at[1], "gateway", "-", "the host itself", "heal"),
            f"gave up, for it was taken away again and again: {lost}",
        ],
    ]
    assert history_text(()) == "No transaction has ended on these hosts."


def test_only_the_last_hundred_times_are_told() -> None:
    assert len(noted("gateway", f"{BROUGHT}\n" * 300)) == 100


@pytest.mark.parametrize(
    ("started", "stopped", "changed", "told"),
    [
        (1, 2, 1, ["docker.service was restarted"]),
        (1, 600, 1, ["docker.service was started"]),
        (600, 1, 1, ["docker.service was stopped"]),
        (600, None, 1, ["docker.service was reloaded"]),
        (600, 700, 600, []),
        (-1, None, -1, []),  # after it
    ],
)
def test_what_happened_just_before_a_time_is_told_with_it(
    started: int, stopped: int | None, changed: int, told: list[str]
) -> None:
    (one,) = noted("gateway", BROUGHT)

    def ago(seconds: int | None) -> datetime | None:
        return None if seconds is None else one.at - timedelta(seconds=seconds)

    moments = Moments({"docker": UnitMoments(ago(started), ago(stopped), ago(changed))})
    assert list(just_before(one, moments)) == told


def test_an_interface_is_told_with_its_route() -> None:
    (one,) = noted("app", "1793613600\tbrought-back\troute 10.0.44.0/24 via 10.0.43.101 dev eth0")
    moments = Moments(links={"eth0": one.at, "eth1": one.at, "lo": one.at})
    assert list(just_before(one, moments)) == ["eth0 changed its state"]


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
