"""Progress as words, as JSON and as the line that moves."""

from __future__ import annotations

import json

import pytest

from crossnet.events import Described, Event, Kind, Phase, Tally
from crossnet.show.progress import Line, event_line, event_text
from crossnet.show.visible import cut

ROUTE = Described("create", "route", "10.0.44.0/24", "10.0.44.0/24 via 10.0.43.101 dev eth0")


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.DONE])
def test_each_event_says_something_about_its_host(kind: Kind) -> None:
    event = Event(
        kind,
        "app",
        change=ROUTE,
        seconds=7,
        transaction="0badcafe",
        timers=("watch",),
        probe="icmp/10.0.44.1",
        addresses=3,
        error="it is busy",
    )
    assert event_text(event).startswith("app: ")
    assert "None" not in event_text(event)
    assert json.loads(event_line(event, 1.5))["event"] == str(kind)


def test_a_host_cannot_begin_a_line_or_reach_the_terminal() -> None:
    hostile = Described("create", "route", "x", "x\nConfirmed.\x1b[2J")
    event = Event(Kind.CHANGES, "app", hostile)
    assert event_text(event) == r"app: creates route x\nConfirmed.\x1b[2J"
    told = event_line(event, 0)
    assert told.isprintable()
    assert json.loads(told)["change"]["text"] == hostile.text


def test_an_event_in_json_has_what_it_is_about_and_nothing_else() -> None:
    event = Event(Kind.CHANGES, "app", ROUTE, hosts=2, phase=Phase.CHANGING)
    assert event_line(event, 1.23456) == (
        '{"format_version": "1.0", "event": "changes", "at": 1.235, "host": "app", "change": {"action": "create", '
        '"kind": "route", "key": "10.0.44.0/24", "text": "10.0.44.0/24 via 10.0.43.101 dev eth0"}, "hosts": 2, '
        '"phase": "changing"}'
    )
    none_yet = Event(Kind.DONE, "app", step=Kind.CHANGES, done=0, hosts=2)
    assert json.loads(event_line(none_yet, 0))["done"] == 0


def test_the_line_counts_the_hosts_of_a_step_and_names_one_that_is_waited_for() -> None:
    line, told = Line(), []
    tally = Tally(lambda event: told.append(line.after(event)), Kind.READS, 2)
    for host in ("app", "gateway"):
        told.append(line.after(Event(Kind.READS, host, hosts=2)))
    tally.done("gateway")
    tally.done("app")
    told.append(line.after(Event(Kind.READS, "app", hosts=2)))
    told.append(line.after(Event(Kind.STAGES, "app", hosts=2)))
    told.append(line.after(Event(Kind.PROBES, "app", probe="icmp/10.0.44.1")))
    assert told == [
        "0/2 hosts  app: reads facts",
        "0/2 hosts  gateway: reads facts",
        "1/2 hosts  app: reads facts",
        "2/2 hosts  app: reads facts",
        "0/2 hosts  app: reads facts",
        "0/2 hosts  app: writes its journal",
        "app: sends icmp/10.0.44.1",
    ]


def test_a_line_is_cut_where_the_terminal_ends() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc"
    assert cut("網網", 3) == "網"
