"""Which changes of a host are one step, and what that step is."""

from __future__ import annotations

from collections.abc import Sequence

from crossnet.facts.routes import OWN_PROTOCOL, parse_routes
from crossnet.resources import Change, Command, RouteResource, Sysctl
from crossnet.transaction.batches import batched
from crossnet.values import Family


def route(destination: str, device: str = "eth0", protocol: str = OWN_PROTOCOL) -> RouteResource:
    family = Family.V6 if ":" in destination else Family.V4
    router = "fd00:43::101" if family is Family.V6 else "10.0.43.101"
    line = f"{destination} via {router} dev {device} proto {protocol}\n"
    return RouteResource(parse_routes(line, family)[0])


def sizes(changes: Sequence[Change], ends: Sequence[int] = ()) -> list[tuple[int, int]]:
    return [(len(batch.changes), batch.last) for batch in batched(changes, ends)]


MANY = [Change(None, route(f"10.0.44.{number}")) for number in range(1, 6)]
SETTING = Change(Sysctl("net.ipv4.ip_forward", "0"), Sysctl("net.ipv4.ip_forward", "1"))


def test_neighbours_of_one_kind_and_family_are_one_step() -> None:
    six = Change(None, route("fd00:44::1"))
    assert sizes([SETTING, *MANY, six, six, SETTING]) == [(1, 1), (5, 6), (2, 8), (1, 9)]
    assert sizes([]) == []


def test_nothing_is_made_before_other_hosts_are_ready_for_it() -> None:
    assert sizes(MANY, [2, 5]) == [(2, 2), (3, 5)]


def test_what_a_file_of_commands_could_mean_otherwise_goes_alone() -> None:
    odd = [Change(None, route("10.0.44.9", device)) for device in ("eth#0", "eth'0", "eth\\0", 'e"0', "e*")]
    theirs = Change(route("10.0.44.8", protocol="static"), route("10.0.44.8"))
    assert sizes([*MANY[:2], *odd, theirs, *MANY[2:]]) == [(2, 2), *((1, n) for n in range(3, 9)), (3, 11)]


def test_one_change_is_the_step_that_it_always_was() -> None:
    (batch,) = batched(MANY[:1])
    assert batch.steps == MANY[0].steps
    assert batch.undo == MANY[0].inverse().steps
    assert batch.looks == MANY[0].looks


def test_the_undo_of_a_batch_is_its_inverse_in_reverse() -> None:
    moved = Change(MANY[1].want, route("10.0.44.2", "eth1"))
    (batch,) = batched([MANY[0], moved, MANY[2].inverse()])
    (do,), (undo,) = batch.steps, batch.undo
    assert isinstance(do, Command)
    assert isinstance(undo, Command)
    way = f"via 10.0.43.101 dev eth0 proto {OWN_PROTOCOL}"
    assert do.stdin.decode().splitlines() == [
        f"route add 10.0.44.1/32 {way}",
        f"route replace 10.0.44.2/32 {way.replace('eth0', 'eth1')}",
        f"route del 10.0.44.3/32 {way}",
    ]
    assert undo.stdin.decode().splitlines() == [
        f"route add 10.0.44.3/32 {way}",
        f"route replace 10.0.44.2/32 {way}",
        f"route del 10.0.44.1/32 {way}",
    ]
    assert (do.argv[-1], undo.argv[-1]) == ("stop", "go-on")
    assert batch.what == f"route {MANY[0].description} and 2 more"


def test_the_command_that_failed_is_told_by_its_line() -> None:
    (batch,) = batched(MANY)
    said = "RTNETLINK answers: File exists\nCommand failed -:3"
    assert batch.failing(1, said)[:5] == ("ip", "-4", "route", "add", "10.0.44.3/32")
    (alone,) = batched([SETTING])
    assert alone.failing(1, "Command failed -:3") == tuple(str(SETTING.steps[0]).split(" "))
