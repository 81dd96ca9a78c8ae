"""Marks and order of what touches the management path, over the life of a crossing."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet.facts import Facts
from crossnet.facts.routes import matching
from crossnet.planning import Plan, make_plan, make_undo_plan
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.values import Address, address, host_network
from design.factsheet import facts_from
from planning.fakehost import FakeHost, carry_out, facts_of, hosts_of
from planning.test_properties import begin, planned, spec_of, specs, worlds

# crossnet works from 10.0.99.5, behind a router of nobody; two gateways stand in both networks.
WORLD = """
app:
  controller 10.0.99.5 at 10.0.43.15
  eth0 10.0.43.15/24
  route default via 10.0.43.1 dev eth0
web:
  controller 10.0.99.5 at 10.0.43.16
  eth0 10.0.43.16/24
  route default via 10.0.43.1 dev eth0
  route 10.0.99.0/28 via 10.0.43.1 dev eth0
near:
  controller 10.0.43.200 at 10.0.43.17
  eth0 10.0.43.17/24
gateway:
  controller 10.0.99.5 at 10.0.44.63
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
  route default via 10.0.44.254 dev eth0
"""


def spec(crossings: str, *, hosts: str = "app, web, near, gateway") -> Spec:
    lines = "".join(f"  {name}: {{ssh: root@{name}}}\n" for name in hosts.split(", "))
    return parse(f"crossnet: 1\nhosts:\n{lines}crossings:\n{crossings}", "crossnet.yaml")


def order(plan: Plan) -> list[str]:
    """The live changes but the files, which guard the others over a power cut and come first on each host."""
    return [
        f"{name} {change.resource.kind} {change.resource.key.split()[0]}"
        for name, change in plan.live()
        if not change.resource.is_persistent
    ]


ALL = "  business: {from: [app, web, near], via: gateway, to: [10.0.99.0/24, 10.0.44.0/24, 10.0.98.0/24]}\n"


def test_marked_hosts_and_routes_are_the_last_of_their_class() -> None:
    plan = make_plan(spec(ALL), facts_from(WORLD))
    assert [host.host for host in plan.hosts] == ["gateway", "web", "near", "app"]
    assert plan.touching == ("app",)
    assert order(plan) == [
        "gateway table nftables",
        "gateway sysctl net.ipv4.ip_forward",
        *(
            f"{name} route {network}"
            for name in ("web", "near")
            for network in ("10.0.99.0/24", "10.0.44.0/24", "10.0.98.0/24")
        ),
        "app route 10.0.44.0/24",
        "app route 10.0.98.0/24",
        "app route 10.0.99.0/24",
    ]


def test_undo_is_marked_and_ordered_as_well() -> None:
    """After the apply the way to app leads through the gateway: its rules and its forwarding carry it."""
    hosts, wanted = hosts_of(facts_from(WORLD)), spec(ALL)
    carry_out(make_plan(wanted, facts_of(hosts)), hosts)
    undo = make_undo_plan(wanted, facts_of(hosts))
    assert undo.touching == ("gateway", "app")
    assert undo.guard_order == (("app", "web", "near"), ("gateway",))
    live = order(undo)
    assert live.index("app route 10.0.99.0/24") == 8, "the last of the clients' nine routes"
    assert live[9:] == ["gateway sysctl net.ipv4.ip_forward", "gateway table nftables"]
    assert {impact.code for impact in undo.impacts} == {"touches-management-path"}
    assert [impact.where for impact in undo.impacts] == ["app", "gateway"]


def test_every_route_that_can_win_meanwhile_is_marked() -> None:
    hosts = hosts_of(facts_from(WORLD))
    wide = "  business: {from: app, via: gateway, to: 10.0.98.0/23}\n"
    narrow = "  business: {from: app, via: gateway, to: 10.0.99.0/24}\n"
    carry_out(make_plan(spec(wide), facts_of(hosts)), hosts)
    hosts["app"].routes = [
        replace(route, via=address("10.0.43.102")) if str(route.destination) == "10.0.98.0/23" else route
        for route in hosts["app"].routes
    ]
    plan = make_plan(spec(narrow), facts_of(hosts))
    (app,) = [host for host in plan.hosts if host.host == "app"]
    assert [(change.action, change.resource.key) for change in app.touching] == [
        ("create", "10.0.99.0/24 metric 0"),
        ("remove", "10.0.98.0/23 metric 0"),
    ]
    told = [impact.text for impact in plan.impacts if impact.where == "app" and "routes" in impact.text]
    assert told
    assert told[0].startswith(
        "routes 10.0.99.0/24, 10.0.98.0/23 change the path by which crossnet reaches app"
    )


def test_of_two_marked_hosts_the_far_one_comes_first() -> None:
    """web is reached through app."""
    world = WORLD.replace("route 10.0.99.0/28 via 10.0.43.1 dev eth0", "").replace(
        "eth0 10.0.43.16/24\n  route default via 10.0.43.1",
        "eth0 10.0.43.16/24\n  route default via 10.0.43.15",
    )
    plan = make_plan(spec(ALL), facts_from(world))
    assert plan.touching == ("web", "app")
    assert plan.guard_order == (("web", "near", "gateway"), ("app",))
    assert [host.host for host in plan.hosts] == ["gateway", "near", "web", "app"]


def test_forwarding_switched_off_where_no_fence_was() -> None:
    """Somebody may have come to use it, when the way back is another one."""
    world = WORLD.replace("route default via 10.0.44.254", "route 10.0.99.0/24 via 10.0.44.254")
    for fence, marked in (("off", True), ("on", False)):
        wanted = spec(f"  business: {{from: near, via: gateway, to: 10.0.44.0/24, fence: {fence}}}\n")
        hosts = hosts_of(facts_from(world))
        carry_out(make_plan(wanted, facts_of(hosts)), hosts)
        undo = make_undo_plan(wanted, facts_of(hosts))
        assert undo.touches_management_path is marked


def test_translation_of_own_answers_is_marked_only_when_it_begins() -> None:
    """Later the standing connection is one that connection tracking knows."""
    hosts = hosts_of(facts_from(WORLD.replace("10.0.99.5 at 10.0.44.63", "10.0.99.5 at 10.0.43.101")))
    wanted = "  business: {{from: 10.0.43.0/24, via: gateway, to: 10.0.99.0/24, allow: [{}]}}\n"
    first = make_plan(spec(wanted.format("icmp")), facts_of(hosts))
    assert first.touching == ("gateway",)
    carry_out(first, hosts)
    again = make_plan(spec(wanted.format("icmp, tcp/22")), facts_of(hosts))
    assert [change.action for _, change in again.live() if change.resource.kind == "table"] == ["change"]
    assert not again.touches_management_path


def test_no_changes_no_marks() -> None:
    hosts, wanted = hosts_of(facts_from(WORLD)), spec(ALL)
    carry_out(make_plan(wanted, facts_of(hosts)), hosts)
    again = make_plan(wanted, facts_of(hosts))
    assert again.is_empty
    assert not again.touches_management_path
    assert not [impact for impact in again.impacts if impact.code == "touches-management-path"]


def lookup(facts: Facts, target: Address) -> set[tuple[object, ...]]:
    return {(route.via, route.device) for route in matching(facts.routes, host_network(target))}


def carry_out_watched(plan: Plan, hosts: dict[str, FakeHost]) -> None:
    """Carry it out, and hold that no live change moves its host's way back without a mark."""
    trial = {name: FakeHost.of(host.facts()) for name, host in hosts.items()}
    touching = {host.host: host.touching for host in plan.hosts}
    for name, change in plan.live():
        if change.resource.kind == "route":
            before = trial[name].facts()
            trial[name].make(change)
            assert before.controller is not None
            if lookup(before, before.controller) != lookup(trial[name].facts(), before.controller):
                assert change in touching[name]
    carry_out(plan, hosts)


CONTROLLERS = st.sampled_from(
    ["10.0.43.200", "10.0.44.7", "10.0.44.9", "10.0.46.1", "192.0.2.1", "fd00:44::7"]
)


@given(worlds(), specs(), specs(), CONTROLLERS)
@settings(max_examples=60, deadline=None)
def test_no_step_moves_a_way_back_without_its_mark(
    world: str, first: str, second: str, controller: str
) -> None:
    hosts, one, other = begin(world), spec_of(first), spec_of(second)
    for host in hosts.values():
        host.base = replace(host.base, controller=address(controller))
    carry_out_watched(planned(one, hosts), hosts)
    carry_out_watched(planned(other, hosts), hosts)
    carry_out_watched(make_undo_plan(other, facts_of(hosts)), hosts)
