"""Where a crossing should leave its gateway, and what its own rules are told to let through, as it was applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, ip_network

import pytest

from crossnet import standing
from crossnet.design.resolve import resolve
from crossnet.diagnosis.applied import as_applied
from crossnet.diagnosis.course import Course, Hints, course
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.fixes import fix_of
from crossnet.diagnosis.static import foretell
from crossnet.facts import Facts
from crossnet.netfilter.foreign import Tool
from crossnet.reach.rules import Place
from crossnet.record import Record, with_record
from crossnet.spec import Crossing
from crossnet.values import Probe, Traffic, address
from crossnet.verdict import Fix
from diagnosis.seeded import SEED, seed

WIDE = SEED.replace("gateway:", "gateway:\n  route 10.0.0.0/8 via 10.0.44.1 dev eth0").replace(
    "route 10.0.44.0/24 via", "route 10.0.0.0/8 via"
)
FAR = WIDE.replace("10.0.0.0/8", "10.99.0.0/16")
PROBE = Probe.from_text("icmp/10.99.0.1")


def crossing(to: str, **said: object) -> Crossing:
    one = Crossing("business", ("app",), "gateway", (ip_network(to),))
    return replace(one, **said)  # type: ignore[arg-type]


def hints(one: Crossing) -> Hints:
    return Hints(one.ingress, one.egress, one.next_hop, one.to, one)


def applied(one: Crossing, hosts: Mapping[str, Facts], *, now: Mapping[str, Facts] | None = None) -> Hints:
    """What the record tells that was written when the hosts were so, by a gateway as it is `now`."""
    kept = standing.of(one.spec, one.name, "gateway", resolve(one, hosts), ())
    gateway = with_record((now or hosts)["gateway"], Record((kept,)))
    return as_applied(hints(one), gateway, PROBE.destination)


def way(hosts: Mapping[str, Facts], hints: Hints, probe: Probe = PROBE) -> Course:
    return course("app", ["gateway"], probe.destination, hosts, hints)


def told(hosts: Mapping[str, Facts], hints: Hints) -> dict[str, tuple[Fix, ...]]:
    """What stops it, with what to do, by the codes."""
    on = way(hosts, hints)
    found = foretell(on, PROBE, hosts, hints.beyond)
    return {each.code: fix_of(each, on, PROBE, hosts, found.source) for each in found.findings}


@pytest.mark.parametrize("to", ["10.0.0.0/8", "0.0.0.0/0"])
def test_the_clients_own_network_in_a_summary_route_is_not_where_the_destination_is(to: str) -> None:
    hosts = seed(WIDE.replace("10.0.0.0/8", to))
    on = way(hosts, hints(crossing(to)))
    assert [(each.ingress, each.egress, each.next_hop) for each in on.gateways] == [
        ("eth1", "eth0", address("10.0.44.1"))
    ]
    assert not {"gateway-route-elsewhere", "no-route"} & told(hosts, hints(crossing(to))).keys()


def test_of_several_networks_in_a_summary_route_the_gateways_route_tells_which() -> None:
    hosts = seed(WIDE.replace("  eth0 10.0.44.63/24", "  eth2 10.0.45.63/24\n  eth0 10.0.44.63/24"))
    assert way(hosts, hints(crossing("10.0.0.0/8"))).gateways[0].egress == "eth0"


def test_a_network_that_came_later_does_not_move_the_egress_and_is_named() -> None:
    now = seed(FAR.replace("  eth0 10.0.44.63/24", "  br-1 10.99.0.254/24\n  eth0 10.0.44.63/24"))
    known = applied(crossing("10.99.0.0/16"), seed(FAR), now=now)
    assert way(now, hints(crossing("10.99.0.0/16"))).gateways[0].egress == "br-1", "without the record"
    assert way(now, known).gateways[0].egress == "eth0"
    (fix,) = told(now, known)["gateway-route-elsewhere"]
    assert fix.commands == ("ip route replace 10.99.0.1 via 10.0.44.1 dev eth0",)
    assert fix.warning == "then gateway itself does not reach 10.99.0.1 on br-1 any more"
    assert fix.by_crossnet == (
        "where 10.99.0.0/24 is to stay on br-1 of gateway: `except: 10.99.0.0/24` in the crossing, "
        "then `crossnet apply`"
    )


LEADING = FAR.replace("via 10.0.44.1 dev eth0", "via 10.0.44.1 dev eth0 metric 100")


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (["10.99.0.0/24"], "`crossnet apply`, where packets are to leave gateway by br-1 from now on"),
        (["10.99.0.0/16"], "`crossnet apply`, where packets are to leave gateway by br-1 from now on"),
        (
            ["10.99.0.0/24", "10.99.1.0/24", "10.0.44.0/24"],
            "where 10.99.0.0/16 is to stay on br-1 of gateway: take 10.99.0.0/24 and 10.99.1.0/24 out of `to` in the "
            "crossing, then `crossnet apply`",
        ),
    ],
)
def test_what_lies_whole_on_a_network_that_came_later_is_not_excepted(to: list[str], said: str) -> None:
    """The spec takes no exception that is all of a destination, or more."""
    now = seed(LEADING.replace("  eth0 10.0.44.63/24", "  br-1 10.99.0.254/16\n  eth0 10.0.44.63/24"))
    asked = replace(crossing(to[0]), to=tuple(map(ip_network, to)))
    (fix,) = told(now, applied(asked, seed(FAR), now=now))["gateway-route-elsewhere"]
    assert fix.by_crossnet == said


@pytest.mark.parametrize(
    ("asked", "prefix", "words"),
    [
        (replace(crossing("10.99.0.0/24"), egress="eth0"), 16, "take the crossing out of the spec"),
        (
            replace(
                crossing("10.99.0.0/16"),
                to=tuple(IPv4Network("10.99.0.0/16").address_exclude(IPv4Network("10.99.32.0/24"))),
                excepted=(ip_network("10.99.32.0/24"),),
            ),
            20,
            "leave 10.99.0.0/20 out of `to` in the crossing",
        ),
    ],
    ids=["all of it", "beside an exception"],
)
def test_no_empty_list_of_destinations_is_advised_and_no_second_exception(
    asked: Crossing, prefix: int, words: str
) -> None:
    now = seed(LEADING.replace("  eth0 10.0.44.63/24", f"  br-1 10.99.0.254/{prefix}\n  eth0 10.0.44.63/24"))
    (fix,) = told(now, applied(asked, seed(FAR), now=now))["gateway-route-elsewhere"]
    stays = f"where 10.99.0.0/{prefix} is to stay on br-1 of gateway"
    assert fix.by_crossnet == f"{stays}: {words}, then `crossnet apply`"


def test_where_no_command_is_given_nothing_is_said_of_what_it_would_do() -> None:
    now = seed(FAR.replace("  eth0 10.0.44.63/24", "  br-1 10.99.0.254/24\n  eth0 10.0.44.63/24"))
    now["gateway"] = replace(now["gateway"], controller=PROBE.destination)
    (fix,) = told(now, applied(crossing("10.99.0.0/16"), seed(FAR), now=now))["gateway-route-elsewhere"]
    assert (fix.commands, fix.warning) == ((), "")
    assert fix.by_crossnet is not None


def test_a_route_that_was_moved_is_told_and_no_router_is_guessed_for_the_old_way() -> None:
    moved = FAR.replace("via 10.0.44.1 dev eth0", "via 10.0.45.1 dev eth2")
    now = seed(moved.replace("  eth0 10.0.44.63/24", "  eth2 10.0.45.63/24\n  eth0 10.0.44.63/24"))
    (fix,) = told(now, applied(crossing("10.99.0.0/16"), seed(FAR), now=now))["gateway-route-elsewhere"]
    assert fix.commands == ()
    assert fix.by_crossnet == "`crossnet apply`, where packets are to leave gateway by eth2 from now on"


@pytest.mark.parametrize(
    ("now", "egress"),
    [
        ("eth1 10.0.43.101/24\n  ens5 10.0.44.63/24", "ens5"),  # renamed
        ("eth0 10.0.43.101/24\n  eth1 10.0.44.63/24", "eth1"),  # each has the other's name
        ("eth1 10.0.43.101/24\n  eth0\n  br0 10.0.44.63/24", "br0"),  # a part of a bridge
        ("eth1 10.0.43.101/24\n  eth0", "eth0"),  # has lost its address
        ("eth1 10.0.43.101/24", None),
    ],
)
def test_the_egress_is_found_by_what_it_is_called_now(now: str, egress: str | None) -> None:
    links = FAR.replace("  eth1 10.0.43.101/24\n  eth0 10.0.44.63/24", f"  {now}").replace(
        "  route 10.99.0.0/16 via 10.0.44.1 dev eth0\n", ""
    )
    assert applied(crossing("10.99.0.0/16"), seed(FAR), now=seed(links)).egress == egress


def test_what_the_spec_says_of_the_egress_counts_before_the_record() -> None:
    asked = crossing("10.99.0.0/16", egress="eth1")
    assert as_applied(hints(asked), seed(FAR)["gateway"], PROBE.destination).egress == "eth1"


def test_a_crossing_that_was_never_applied_or_leads_elsewhere_tells_nothing() -> None:
    asked = crossing("10.99.0.0/16")
    assert as_applied(hints(asked), seed(FAR)["gateway"], PROBE.destination) == hints(asked)
    other = crossing("10.0.44.0/24")
    assert replace(applied(other, seed(FAR)), crossing=None) == replace(hints(other), crossing=None)


# ---- its own rules -----------------------------------------------------------------------------------


def advice(one: Crossing, hosts: Mapping[str, Facts], probe: Probe = PROBE) -> str | None:
    fence = Place(Tool.NFT, "ip", "crossnet", "forward", "forward")
    stopped = Finding("filter-rule-drop", "gateway", "eth1", Direction.FORWARD, "drop", chain=fence)
    (fix,) = fix_of(stopped, way(hosts, hints(one), probe), probe, hosts, None)
    assert fix.commands == ()
    return fix.by_crossnet


APP, _, GATEWAY = FAR.partition("gateway:")
RENUMBERED = f"{APP.replace('10.0.43.15/24', '10.0.43.77/24')}gateway:{GATEWAY}"
RENAMED = f"{APP}gateway:{GATEWAY.replace('eth0', 'ens5')}"


@pytest.mark.parametrize("now", [FAR, RENUMBERED, RENAMED], ids=["as it was", "renumbered", "renamed"])
def test_a_flow_that_the_spec_has_is_let_through_by_applying_it_again(now: str) -> None:
    assert advice(crossing("10.99.0.0/16"), seed(now)) == "crossnet apply"


@pytest.mark.parametrize("client", ["10.0.43.0/24", "10.0.43.15/32"])
def test_who_is_in_a_network_of_the_spec_has_not_to_be_named_in_it(client: str) -> None:
    asked = crossing("10.99.0.0/16", clients=(ip_network("10.0.47.0/24"), ip_network(client)))
    assert advice(asked, seed(FAR)) == "crossnet apply"


def test_where_the_spec_has_the_flow_and_a_plan_is_refused_it_says_why() -> None:
    now = seed(FAR.replace("  eth0 10.0.44.63/24", "  eth2 10.99.9.63/24\n  eth0 10.0.44.63/24"))
    assert advice(crossing("10.99.0.0/16"), now) == (
        "`crossnet plan` says what keeps the crossing from being applied as the hosts are now"
    )


def test_another_address_of_the_client_has_to_be_named() -> None:
    another = APP.replace("eth0 10.0.43.15/24", "eth0 10.0.43.15/24\n  eth0 10.0.43.77/24")
    now = seed(
        another.replace("via 10.0.43.101 dev eth0", "via 10.0.43.101 dev eth0 src 10.0.43.77")
        + "gateway:"
        + GATEWAY
    )
    said = advice(crossing("10.99.0.0/16"), now)
    assert said is not None
    assert said.startswith("a crossing with 10.0.43.77 (app) in `from`")


@pytest.mark.parametrize(
    ("asked", "probe"),
    [
        (crossing("10.98.0.0/16"), PROBE),
        (crossing("10.99.0.0/16", allow=(Traffic.from_text("tcp/443"),)), PROBE),
        (crossing("10.99.0.0/16", clients=(ip_network("10.0.43.99/32"),)), PROBE),
        (crossing("10.99.0.0/16", allow=(Traffic.from_text("icmp"),)), Probe.from_text("tcp/10.99.0.1:80")),
    ],
)
def test_one_that_the_spec_does_not_have_is_to_be_written_into_it(asked: Crossing, probe: Probe) -> None:
    said = advice(asked, seed(FAR), probe)
    assert said is not None
    assert said.startswith("a crossing with 10.0.43.15 (app) in `from`, 10.99.0.1 in `to`")
