"""What ports let through, by the rules of Neutron's drivers: each cell that was measured with two of them, and more."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from crossnet.openstack.ports import AddressPair, CloudFacts, GroupRule, SecurityGroup
from crossnet.openstack.walk import Packet, admits, lets_in, lets_out, may_send
from crossnet.values import Family, Protocol, network
from diagnosis.clouded import (
    CLIENTS,
    DEFAULT,
    EXTRA,
    GATEWAYS,
    OUT,
    V4,
    Cloud,
    apart,
    off,
    port,
    sending,
    shared,
)

APP, INGRESS, EGRESS, TARGET = map(ip_address, ("10.0.43.15", "10.0.43.101", "10.0.44.63", "10.0.44.1"))
BEYOND = "10.0.44.0/24"


def both_ways(*hops: bool | None) -> bool | None:
    return False if False in hops else None if None in hops else True


def echo(source: object, destination: object, *, answer: bool = False) -> Packet:
    one, other = ip_address(str(source)), ip_address(str(destination))
    return Packet(one, other, Protocol.ICMP, is_answer=answer)


def passes(at_app: CloudFacts, at_gateway: CloudFacts) -> str:
    """The columns of the matrix: echo and answer, hop by hop; 10.0.44.1 stands behind no port.

    These are A→10.0.43.101, B→10.0.44.1, A→10.0.44.1, A→10.0.44.63 and G→10.0.44.63.
    """
    app, ingress, egress = at_app.ports["eth0"], at_gateway.ports["eth1"], at_gateway.ports["eth0"]

    def app_to_gateway(wanted: object) -> tuple[bool | None, ...]:
        there, back = echo(APP, wanted), echo(wanted, APP, answer=True)
        return (
            lets_out(at_app, app, there),
            lets_in(at_gateway, ingress, there),
            lets_out(at_gateway, ingress, back),
            lets_in(at_app, app, back),
        )

    beyond = (
        lets_out(at_gateway, egress, echo(EGRESS, TARGET)),
        lets_in(at_gateway, egress, echo(TARGET, EGRESS, answer=True)),
    )
    from_beyond = (
        lets_in(at_gateway, egress, echo(TARGET, EGRESS)),
        lets_out(at_gateway, egress, echo(EGRESS, TARGET, answer=True)),
    )
    columns = (
        both_ways(*app_to_gateway(INGRESS)),
        both_ways(*beyond),
        both_ways(*app_to_gateway(TARGET), *beyond),
        both_ways(*app_to_gateway(EGRESS)),
        both_ways(*from_beyond),
    )
    return " ".join({True: "ok", False: "-", None: "?"}[each] for each in columns)


def of(cloud: Cloud) -> str:
    return passes(cloud.facts("app"), cloud.facts("gateway"))


def ingress(cloud: Cloud, *pairs: str, extra: bool = False) -> Cloud:
    one = sending(cloud.ingress, *pairs)
    return replace(cloud, ingress=replace(one, groups=(*one.groups, EXTRA.id)) if extra else one)


# As measured with the iptables and the Open vSwitch driver of Neutron 29.0.
MATRIX = {
    "one default group": (shared(), "ok ok - - -"),
    "security off at the ingress port": (
        replace(shared(), ingress=off(shared().ingress)),
        "ok ok ok ok -",
    ),
    "on again, groups forgotten": (
        replace(shared(), ingress=replace(shared().ingress, groups=())),
        "- ok - - -",
    ),
    "restored": (shared(), "ok ok - - -"),
    "security off at the egress port": (replace(shared(), egress=off(shared().egress)), "ok ok - - ok"),
    "pair of the network": (ingress(shared(), BEYOND), "ok ok ok ok ok"),
    "pair of the target": (ingress(shared(), "10.0.44.1/32"), "ok ok ok - ok"),
    "separate groups": (apart(), "- ok - - -"),
    "pair alone": (ingress(apart(), BEYOND), "- ok - - -"),
    "rule alone": (ingress(apart(), extra=True), "ok ok - - -"),
    "pair and rule": (ingress(apart(), BEYOND, extra=True), "ok ok ok ok -"),
}


@pytest.mark.parametrize("state", MATRIX)
def test_each_cell_is_what_was_measured(state: str) -> None:
    cloud, measured = MATRIX[state]
    assert of(cloud) == measured


def test_a_cloud_without_the_extension_filters_as_one_that_has_it_switched_on() -> None:
    bare = replace(shared(), ingress=replace(ingress(shared(), BEYOND).ingress, secured=None))
    assert of(bare) == "ok ok ok ok ok"
    without = replace(shared(), ingress=replace(shared().ingress, secured=None))
    assert of(without) == "ok ok - - -"


def test_what_is_switched_off_lets_nothing_through() -> None:
    down = replace(shared(), ingress=replace(off(shared().ingress), is_enabled=False))
    assert of(down) == "- ok - - -"
    assert lets_out(down.facts("gateway"), down.ingress, echo(INGRESS, APP)) is False
    # A cloud without agents says DOWN of every port, and they work.
    unbound = replace(shared(), ingress=replace(shared().ingress, status="DOWN"))
    assert of(unbound) == "ok ok - - -"


def test_a_pair_is_for_its_own_hardware_address_alone() -> None:
    own = shared().ingress
    assert may_send(own, INGRESS)
    other = replace(own, pairs=(AddressPair(network(BEYOND), "fa:16:3e:ff:ff:ff"),))
    assert not may_send(other, TARGET)
    assert may_send(off(own), TARGET)
    assert not may_send(sending(own, "10.0.44.0/25"), ip_address("10.0.44.200"))
    assert not may_send(sending(own, "10.0.44.0/24"), ip_address("fd00::1"))


def group(*rules: GroupRule, **said: object) -> SecurityGroup:
    one = SecurityGroup("id-one", "one", "lab", "", rules)
    return replace(one, **said)  # type: ignore[arg-type]


def admitted(rule: GroupRule, packet: Packet, direction: str = "ingress") -> bool | None:
    cloud = CloudFacts("prod", {}, groups={"id-one": group(rule)})
    return admits(cloud, port("P", "10.0.43.101", group()), direction, packet)


def tcp(number: int | None, source: str = "10.0.43.15", destination: str = "10.0.44.1") -> Packet:
    return Packet(ip_address(source), ip_address(destination), Protocol.TCP, number)


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        (GroupRule("ingress", V4), True),
        (GroupRule("ingress", V4, "tcp"), True),
        (GroupRule("ingress", V4, "tcp", (443, 443)), True),
        (GroupRule("ingress", V4, "tcp", (400, 500)), True),
        (GroupRule("ingress", V4, "tcp", (80, 442)), False),
        (GroupRule("ingress", V4, "tcp", (None, 443)), True),
        (GroupRule("ingress", V4, "tcp", (444, None)), False),
        (GroupRule("ingress", V4, "udp", (443, 443)), False),
        (GroupRule("ingress", V4, "icmp"), False),
        (GroupRule("egress", V4), False),
        (GroupRule("ingress", Family.V6), False),
        (GroupRule("ingress", V4, remote=network("10.0.43.0/24")), True),
        (GroupRule("ingress", V4, remote=network("10.0.44.0/24")), False),
        (GroupRule("ingress", V4, remote=network("0.0.0.0/0")), True),
        (GroupRule("ingress", V4, remote_addresses="id-addresses"), None),
        (GroupRule("ingress", V4, "udp", remote_addresses="id-addresses"), False),
    ],
)
def test_a_rule_admits_what_it_names(rule: GroupRule, passes: bool | None) -> None:
    assert admitted(rule, tcp(443)) is passes


def test_an_egress_rule_is_about_the_destination() -> None:
    rule = GroupRule("egress", V4, remote=network("10.0.44.0/24"))
    assert admitted(rule, tcp(443), "egress") is True
    assert admitted(rule, tcp(443, destination="10.0.45.1"), "egress") is False


def test_an_echo_has_its_type_and_its_code() -> None:
    six = Packet(ip_address("fd00::1"), ip_address("fd00::2"), Protocol.ICMP)
    for rule, packet, passes in (
        (GroupRule("ingress", V4, "icmp"), echo(APP, TARGET), True),
        (GroupRule("ingress", V4, "icmp", (8, None)), echo(APP, TARGET), True),
        (GroupRule("ingress", V4, "icmp", (8, 0)), echo(APP, TARGET), True),
        (GroupRule("ingress", V4, "icmp", (0, 0)), echo(APP, TARGET), False),
        (GroupRule("ingress", V4, "icmp", (3, 4)), echo(APP, TARGET), False),
        (GroupRule("ingress", Family.V6, "ipv6-icmp", (128, 0)), six, True),
        (GroupRule("ingress", Family.V6, "icmp"), six, False),
    ):
        assert admitted(rule, packet) is passes, (rule, packet)


def test_answers_pass_by_what_was_let_through_but_at_a_stateless_group_by_a_rule() -> None:
    answer = Packet(TARGET, APP, Protocol.TCP, is_answer=True)
    held = port("P", "10.0.43.15", group())

    def let_in(*rules: GroupRule, stateful: bool) -> bool | None:
        one = group(*rules, is_stateful=stateful)
        return admits(CloudFacts("prod", {}, groups={"id-one": one}), held, "ingress", answer)

    assert let_in(stateful=True) is True
    assert let_in(stateful=False) is False
    assert let_in(GroupRule("ingress", V4, "tcp"), stateful=False) is True
    assert let_in(GroupRule("ingress", V4, "tcp", (1, 65535)), stateful=False) is True
    # Which port the asker has chosen is not known.
    assert let_in(GroupRule("ingress", V4, "tcp", (1024, 65535)), stateful=False) is None
    # The anti-spoof check comes first all the same.
    cloud = CloudFacts("prod", {}, groups={"id-one": group(OUT)})
    assert lets_out(cloud, held, echo(TARGET, APP, answer=True)) is False


def test_who_is_in_a_remote_group_is_not_always_told() -> None:
    rule = GroupRule("ingress", V4, remote_group="id-clients")
    own, client = port("P", "10.0.43.101", group()), port("A", "10.0.43.15", CLIENTS)
    known = CloudFacts("prod", {}, groups={"id-one": group(rule), "id-clients": CLIENTS})
    seen = replace(known, members=(client,))
    assert admits(seen, own, "ingress", tcp(443)) is True
    assert admits(known, own, "ingress", tcp(443)) is False
    elsewhere = replace(CLIENTS, project="other")
    assert (
        admits(replace(known, groups={**known.groups, "id-clients": elsewhere}), own, "ingress", tcp(443))
        is None
    )
    unseen = replace(known, groups={"id-one": group(rule)})
    assert admits(unseen, own, "ingress", tcp(443)) is None
    # What is surely admitted is, whatever else is not known.
    both = replace(unseen, groups={"id-one": group(rule, GroupRule("ingress", V4, "tcp"))})
    assert admits(both, own, "ingress", tcp(443)) is True


def test_a_group_that_cannot_be_seen_may_admit_it() -> None:
    own = port("P", "10.0.43.101", GATEWAYS, DEFAULT)
    cloud = CloudFacts("prod", {}, groups={"id-gateways": GATEWAYS})
    assert admits(cloud, own, "ingress", tcp(443)) is None
    assert admits(cloud, own, "egress", tcp(443)) is True
