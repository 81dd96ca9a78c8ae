"""What touches the way on which crossnet itself works on a host, and what does not."""

from __future__ import annotations

import pytest

from crossnet.errors import PlanRefused
from crossnet.planning import Plan, make_plan
from crossnet.planning.management_path import ManagementPath, far_side_first
from crossnet.specfile import parse
from design.factsheet import facts_from

# Routers that nobody manages stand at 10.0.43.1 and 10.0.44.254.
WORLD = """
app:
  eth0 10.0.43.15/24 fd00:43::15/64
  {app}
gateway:
  eth1 10.0.43.101/24 fd00:43::101/64
  eth0 10.0.44.63/24 fd00:44::63/64
  route default via 10.0.44.254 dev eth0
  route default via fd00:44::1 dev eth0
  {gateway}
other:
  eth0 10.0.43.16/24
  eth1 10.0.77.16/24
  {other}
"""
DEFAULT = "route default via 10.0.43.1 dev eth0"


def planned(
    crossing: str, *, app: str = DEFAULT, gateway: str = "", other: str = DEFAULT, local: str = ""
) -> Plan:
    """The plan of one crossing; what is given of a host are more lines of its sheet, apart by `;`."""
    lines = {
        name: "\n  ".join(text.split("; "))
        for name, text in {"app": app, "gateway": gateway, "other": other}.items()
    }
    sheet = WORLD.format(**lines)
    facts = facts_from(sheet)
    hosts = "".join(
        f"  {name}: {{{'local: true' if name == local else f'ssh: root@{name}'}}}\n" for name in facts
    )
    spec = f"crossnet: 1\nhosts:\n{hosts}crossings:\n  business: {{via: gateway, {crossing}}}\n"
    return make_plan(parse(spec, "crossnet.yaml"), facts)


def marked(plan: Plan) -> set[str]:
    """`app route 10.0.99.0/24`, without metrics and engines."""
    return {
        f"{host.host} {change.resource.kind} {change.resource.key.removesuffix(' metric 0').split(' ip ')[-1]}"
        for host in plan.hosts
        for change in host.touching
    }


def told(plan: Plan) -> list[str]:
    return [impact.text for impact in plan.impacts if impact.code == "touches-management-path"]


NEAR = "controller 10.0.43.200"  # reached in its own network, whatever the address there


# ---- routes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("controller", "to", "more", "found"),
    [
        # The way back is the default route, until a more specific one comes.
        ("10.0.99.5", "10.0.99.0/24", "", {"app route 10.0.99.0/24"}),
        ("10.0.99.5", "[10.0.98.0/24, 10.0.99.5]", "", {"app route 10.0.99.5/32"}),
        ("10.0.44.200", "10.0.44.0/24", "", {"app route 10.0.44.0/24"}),
        # On-link, elsewhere, in the other family: it has nothing to do with the way back.
        ("10.0.43.200", "10.0.99.0/24", "", set()),
        ("10.0.98.5", "10.0.99.0/24", "", set()),
        ("fd00:99::5", "10.0.99.0/24", "route default via fd00:43::1 dev eth0", set()),
        (
            "fd00:99::5",
            "'fd00:99::/64'",
            "route default via fd00:43::1 dev eth0",
            {"app route fd00:99::/64 metric 1024"},
        ),
        # A more specific route keeps the way, one that is less specific does not.
        ("10.0.99.5", "10.0.99.0/24", "route 10.0.99.5/32 via 10.0.43.1 dev eth0", set()),
        (
            "10.0.99.5",
            "10.0.99.0/25",
            "route 10.0.99.0/24 via 10.0.43.1 dev eth0",
            {"app route 10.0.99.0/25"},
        ),
        # No route at all that we know of: policy rules may have one.
        ("10.0.99.5", "10.0.99.0/24", "no default", {"app route 10.0.99.0/24"}),
    ],
)
def test_route_that_decides_about_the_way_back(controller: str, to: str, more: str, found: set[str]) -> None:
    app = "; ".join(
        [f"controller {controller} at {'fd00:43::15' if ':' in controller else '10.0.43.15'}"]
        + ([] if more == "no default" else [DEFAULT, *([more] if more else [])])
    )
    plan = planned(f"from: app, to: {to}", app=app, gateway=NEAR)
    assert marked(plan) == found
    assert plan.touches_management_path is bool(found)
    assert plan.touching == (("app",) if found else ())
    assert len(told(plan)) == bool(found)


def test_words_say_which_route_from_where_and_who_puts_it_back() -> None:
    app = f"controller 10.0.99.5 at 10.0.43.15; {DEFAULT}"
    assert told(planned("from: app, to: 10.0.99.0/24", app=app, gateway=NEAR)) == [
        "route 10.0.99.0/24 changes the path by which crossnet reaches app from 10.0.99.5; "
        "the guard on app puts the change back unless a new connection works"
    ]


def test_the_same_way_said_again_changes_nothing() -> None:
    app = "controller 10.0.99.5 at 10.0.43.15; route 10.0.0.0/8 via 10.0.43.101 dev eth0"
    assert not any("route" in one for one in marked(planned("from: app, to: 10.0.99.0/24", app=app)))


def test_host_that_does_not_tell_from_where_it_is_reached() -> None:
    plan = planned("from: app, to: 10.0.99.0/24", gateway=NEAR)
    assert marked(plan) == {"app route 10.0.99.0/24"}
    assert (
        "may change the path by which crossnet reaches app, which does not tell from where" in told(plan)[0]
    )


def test_host_that_is_reached_without_a_network() -> None:
    plan = planned("from: app, to: 10.0.99.0/24", gateway="controller 10.0.43.15 at 10.0.43.101", local="app")
    assert "app route 10.0.99.0/24" not in marked(plan)


@pytest.mark.parametrize(
    ("to", "app", "taken"),
    [
        ("10.0.0.0/8", f"controller 10.0.99.5 at 10.0.43.15; {DEFAULT}", "10.0.0.0/8"),
        ("10.0.0.0/8", "controller 10.0.99.5 at 10.0.43.15", "10.0.0.0/8"),  # policy rules may have a way
        ("10.0.0.0/8", DEFAULT, "10.0.0.0/8"),  # it does not tell from where
        ("[0.0.0.0/1, 128.0.0.0/1]", f"controller 192.0.2.5 at 10.0.43.15; {DEFAULT}", "128.0.0.0/1"),
        ("0.0.0.0/0", "controller 192.0.2.5 at 10.0.43.15", "0.0.0.0/0"),
        # On-link, behind a longer route, left out, elsewhere: it stays.
        ("10.0.0.0/8", f"{NEAR} at 10.0.43.15; {DEFAULT}", None),
        ("0.0.0.0/0", f"{NEAR} at 10.0.43.15", None),
        (
            "10.0.0.0/8",
            "controller 10.0.99.5 at 10.0.43.15; route 10.0.99.0/24 via 10.0.43.1 dev eth0",
            None,
        ),
        (
            "{networks: 10.0.0.0/8, except: 10.0.99.0/24}",
            f"controller 10.0.99.5 at 10.0.43.15; {DEFAULT}",
            None,
        ),
        ("10.0.0.0/8", f"controller 192.0.2.5 at 10.0.43.15; {DEFAULT}", None),
        # What names the network for itself is made and guarded, whatever stands beside it.
        ("192.0.2.0/24", f"controller 192.0.2.5 at 10.0.43.15; {DEFAULT}", ""),
    ],
)
def test_larger_networks_do_not_take_the_way_along(to: str, app: str, taken: str | None) -> None:
    crossing = f"from: app, to: {to}"
    if not taken:
        assert bool(planned(crossing, app=app, gateway=NEAR).touching) is (taken is not None)
        return
    with pytest.raises(PlanRefused) as caught:
        planned(crossing, app=app, gateway=NEAR)
    assert {refusal.code for refusal in caught.value.refusals} == {"management-path-taken"}
    assert f" to {taken} " in str(caught.value)


# ---- where crossnet runs, and jump hosts ---------------------------------------------------------


@pytest.mark.parametrize(
    ("gateway", "found"),
    [
        ("controller 10.0.43.15 at 10.0.44.63", {"app route 10.0.44.0/24"}),  # the new route leads to it
        ("controller 10.0.43.15 at 10.0.43.101", set()),  # it is reached on-link
        ("controller 10.0.43.15", {"app route 10.0.44.0/24"}),  # nobody knows on which address
    ],
)
def test_route_on_the_machine_where_crossnet_runs(gateway: str, found: set[str]) -> None:
    plan = planned("from: app, to: 10.0.44.0/24", gateway=gateway, local="app", other=NEAR)
    assert marked(plan) == found
    assert all("reaches gateway from 10.0.43.15" in text for text in told(plan))
    assert plan.guard_order == (("gateway", "other"), ("app",))


def test_route_on_a_jump_host() -> None:
    """`other` is reached through `app`, by an address that lies in the destination."""
    plan = planned(
        "from: app, to: 10.0.77.0/24",
        app=f"controller 10.0.43.200 at 10.0.43.15; {DEFAULT}; route 10.0.77.16 via 10.0.43.16 dev eth0",
        gateway=NEAR,
        other=f"controller 10.0.43.15 at 10.0.77.16; {DEFAULT}",
    )
    assert marked(plan) == set()
    plan = planned(
        "from: app, to: 10.0.77.0/24",
        app=f"controller 10.0.43.200 at 10.0.43.15; {DEFAULT}",
        gateway=NEAR,
        other=f"controller 10.0.43.15 at 10.0.77.16; {DEFAULT}",
    )
    assert marked(plan) == {"app route 10.0.77.0/24"}
    assert plan.guard_order == (("gateway", "other"), ("app",))


# ---- filter and forwarding -----------------------------------------------------------------------

THROUGH = "controller 10.0.99.5 at 10.0.43.15; route default via 10.0.43.101 dev eth0"
FORWARDS = "controller 10.0.99.5 at 10.0.44.63; sysctl net.ipv4.ip_forward 1"


def test_rules_of_a_gateway_that_carries_the_way() -> None:
    plan = planned("from: 10.0.43.128/25, to: 10.0.45.0/24", app=THROUGH, gateway=FORWARDS, other=NEAR)
    assert marked(plan) == {"gateway table crossnet"}
    assert told(plan) == [
        "the path by which crossnet reaches app from 10.0.99.5 leads through it; "
        "the guard on gateway puts the change back unless a new connection works"
    ]
    assert plan.guard_order == (("app", "other"), ("gateway",))


def test_forwarding_switched_on_cuts_nothing() -> None:
    plan = planned(
        "from: app, to: 10.0.44.0/24", app=THROUGH, gateway="controller 10.0.99.5 at 10.0.44.63", other=NEAR
    )
    assert "gateway sysctl net.ipv4.ip_forward" not in marked(plan)


def test_jumps_of_iptables_are_marked_too() -> None:
    plan = planned(
        "from: app, to: 10.0.44.0/24, firewall: iptables", app=THROUGH, gateway=FORWARDS, other=NEAR
    )
    assert marked(plan) >= {"gateway table crossnet", "gateway jump forward", "gateway jump postrouting"}


def test_rules_of_the_other_family_do_not_concern_the_way() -> None:
    plan = planned("from: app, to: 'fd00:44::/64'", app=THROUGH, gateway=FORWARDS, other=NEAR)
    assert marked(plan) == set()


def test_through_several_gateways() -> None:
    """app → other → gateway: each carries what is behind it."""
    plan = planned(
        "from: 10.0.43.128/25, to: 10.0.45.0/24",
        app="controller 10.0.99.5 at 10.0.43.15; route default via 10.0.43.16 dev eth0",
        other=f"{NEAR}; route default via 10.0.43.101 dev eth0",
        gateway=FORWARDS,
    )
    assert marked(plan) == {"gateway table crossnet"}
    assert plan.guard_order == (("app",), ("gateway", "other"))


@pytest.mark.parametrize(
    ("fence", "app", "found"),
    [
        # Who knows by which router the packets from the controller come in?
        ("on", f"controller 10.0.99.5 at 10.0.43.15; {DEFAULT}", {"gateway table crossnet"}),
        # Without a fence nothing is closed; in one network nothing lies between.
        ("off", f"controller 10.0.99.5 at 10.0.43.15; {DEFAULT}", set()),
        ("on", f"controller 10.0.43.200 at 10.0.43.15; {DEFAULT}", set()),
    ],
)
def test_a_new_fence_where_the_way_may_pass(fence: str, app: str, found: set[str]) -> None:
    plan = planned(
        f"from: 10.0.43.128/25, to: 10.0.45.0/24, fence: {fence}", app=app, gateway=FORWARDS, other=NEAR
    )
    assert marked(plan) == found
    assert all("may lead through it" in text for text in told(plan))


def test_way_to_a_host_that_leads_through_the_gateway_although_its_answers_do_not() -> None:
    """crossnet runs on `app`, which reaches an address of `other` by a route to the gateway."""
    plan = planned(
        "from: 10.0.43.128/25, to: 10.0.45.0/24",
        local="app",
        app=f"{DEFAULT}; route 10.0.77.0/24 via 10.0.43.101 dev eth0",
        gateway="controller 10.0.43.15 at 10.0.43.101; sysctl net.ipv4.ip_forward 1",
        other="controller 10.0.43.15 at 10.0.77.16",
    )
    assert marked(plan) == {"gateway table crossnet"}
    assert "reaches other from 10.0.43.15 leads through it" in told(plan)[0]


def test_gateway_on_which_crossnet_runs_forwards_nothing_of_its_own() -> None:
    plan = planned(
        "from: 10.0.43.128/25, to: 10.0.45.0/24",
        local="gateway",
        gateway="sysctl net.ipv4.ip_forward 1",
        app="controller 10.0.43.101 at 10.0.43.15",
        other="controller 10.0.43.101 at 10.0.43.16",
    )
    assert marked(plan) == set()
    assert plan.guard_order == (("app", "other"), ("gateway",))


def test_way_ends_at_the_host_that_has_the_controllers_address() -> None:
    """`other` has it on its loopback; its own default route says nothing about it."""
    plan = planned(
        "from: 10.0.43.128/25, to: 10.0.45.0/24",
        app="controller 10.0.99.5 at 10.0.43.15; route default via 10.0.43.16 dev eth0",
        other=f"lo 10.0.99.5/32; {NEAR}; route default via 10.0.43.101 dev eth0",
        gateway=f"{NEAR}; sysctl net.ipv4.ip_forward 1",
    )
    assert marked(plan) == set()
    assert plan.guard_order == (("app", "gateway"), ("other",))


def test_gateway_behind_whose_translation_crossnet_works() -> None:
    """The other host sees the gateway's address: crossnet itself may come by a crossing."""
    plan = planned(
        "from: 10.0.43.128/25, to: 10.0.45.0/24",
        gateway="controller 10.0.43.200 at 10.0.43.101; sysctl net.ipv4.ip_forward 1",
        app=f"controller 10.0.43.101 at 10.0.43.15; {DEFAULT}",
        other=NEAR,
    )
    assert marked(plan) == {"gateway table crossnet"}


@pytest.mark.parametrize(
    ("crossing", "found"),
    [
        ("from: 10.0.43.0/24, to: 10.0.99.0/24", {"gateway table crossnet"}),
        ("from: 10.0.43.0/24, to: 10.0.99.0/24, translate: none", set()),
        ("from: 10.0.43.0/24, to: 10.0.98.0/24", set()),
        ("from: 10.0.43.128/25, to: 10.0.99.0/24", set()),
    ],
)
def test_translation_of_the_gateways_own_answers(crossing: str, found: set[str]) -> None:
    """The gateway stands in `from`, the controller in `to`."""
    gateway = "controller 10.0.99.5 at 10.0.43.101"
    plan = planned(crossing, gateway=gateway, app=NEAR, other=NEAR)
    assert marked(plan) == found
    assert all("its translation may end the connection that stands" in text for text in told(plan))


@pytest.mark.parametrize(("protocol", "found"), [("ra", True), ("static", False)])
def test_way_back_that_was_learned_from_a_router_advertisement(protocol: str, found: bool) -> None:
    plan = planned(
        "from: app, to: 'fd00:44::/64'",
        gateway="controller fd00:99::5 at fd00:44::63; "
        f"route fd00:99::/64 via fd00:44::1 dev eth0 proto {protocol}",
        app=NEAR,
        other=NEAR,
    )
    assert ("gateway sysctl net.ipv6.conf.all.forwarding" in marked(plan)) is found


# ---- the order of guards -------------------------------------------------------------------------


def path(host: str, *through: str) -> ManagementPath:
    return ManagementPath(host, None, (), forwarders=frozenset(through))


@pytest.mark.parametrize(
    ("paths", "groups"),
    [
        ([], (("a", "b", "c"),)),
        ([path("a", "b")], (("a", "c"), ("b",))),
        ([path("a", "b"), path("b", "c")], (("a",), ("b",), ("c",))),
        ([path("a", "b", "c"), path("b", "c")], (("a",), ("b",), ("c",))),
        ([path("c", "a")], (("b", "c"), ("a",))),
        # Two hosts with one address look as if each were reached through the other.
        ([path("a", "b"), path("b", "a")], (("c",), ("a", "b"))),
        ([path("a", "elsewhere")], (("a", "b", "c"),)),
    ],
)
def test_nobody_is_reached_through_a_host_of_an_earlier_group(
    paths: list[ManagementPath], groups: tuple[tuple[str, ...], ...]
) -> None:
    assert far_side_first("abc", paths) == groups
