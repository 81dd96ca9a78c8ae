"""Which hosts wait for which: those that only do the same do it at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from crossnet.facts.routes import OWN_PROTOCOL, parse_routes
from crossnet.resources import Change, RouteResource, Sysctl
from crossnet.resources.service import GUARD_UNIT, Service
from crossnet.transaction.group import waves
from crossnet.values import Family

LINE = f"10.0.44.0/24 via 10.0.43.101 dev eth0 proto {OWN_PROTOCOL}\n"
ROUTE = Change(None, RouteResource(parse_routes(LINE, Family.V4)[0]))
FORWARDING = Change(Sysctl("net.ipv4.ip_forward", "0"), Sysctl("net.ipv4.ip_forward", "1"))
GUARD = [Change(None, Service(GUARD_UNIT, stays=False))]


def order(*some: tuple[str, Sequence[Change]], touching: Sequence[str] = ()) -> list[dict[str, int]]:
    return waves([(name, one, name in touching) for name, changes in some for one in changes])


def test_the_clients_go_together_when_the_gateway_is_ready() -> None:
    clients = [(name, [ROUTE]) for name in ("app", "db", "web")]
    assert order(("gw", [FORWARDING]), *clients) == [{"gw": 1}, {"app": 1, "db": 1, "web": 1}]


def test_what_guards_each_of_them_over_a_power_cut_makes_none_wait() -> None:
    clients = [(name, [*GUARD, ROUTE]) for name in ("app", "db", "web")]
    assert order(("gw", [*GUARD, FORWARDING]), *clients) == [{"gw": 2}, {"app": 2, "db": 2, "web": 2}]


def test_one_on_the_management_path_waits_for_all_others() -> None:
    clients = [(name, [*GUARD, ROUTE]) for name in ("app", "db", "web")]
    assert order(*clients, touching=["web"]) == [{"app": 2, "db": 2}, {"web": 2}]


def test_a_guard_of_what_is_written_only_later_is_laid_first() -> None:
    assert order(("gw", GUARD), ("app", [*GUARD, ROUTE])) == [{"gw": 1}, {"app": 2}]
    assert order(("gw", GUARD)) == [{"gw": 1}]
