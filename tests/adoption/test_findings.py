"""What is told of a cloud's ports, and what people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from adoption.by_hand import APP, GATEWAY, ROUTE, SEED, Made, adopt
from crossnet.api import Adoption
from crossnet.design.flows import Effect, FlowChange
from crossnet.openstack.ports import (
    ADDRESS_PAIRS,
    PORT_SECURITY,
    AddressPair,
    CloudFacts,
    GroupRule,
    Port,
    SecurityGroup,
)
from crossnet.show.adoption import adoption_data, adoption_text
from crossnet.show.opening import opening_lines
from crossnet.values import Family, network
from design.factsheet import facts_from

EXTENSIONS = frozenset({PORT_SECURITY, ADDRESS_PAIRS})


def port(name: str, mac: str, *pairs: str, secured: bool | None = True) -> Port:
    made = tuple(AddressPair(network(each), mac, each) for each in pairs)
    return Port(
        f"id-{name}", name, "net", "lab", mac, (), secured, (), made, 1, "ACTIVE", True, "compute:nova"
    )


def in_cloud(
    ingress: Port,
    egress: Port,
    client: Port | None = None,
    sheet: str = SEED,
    groups: Mapping[str, SecurityGroup] = MappingProxyType({}),
) -> Made:
    facts = facts_from(sheet)
    cloud = CloudFacts("prod", {"eth1": ingress, "eth0": egress}, groups=groups, extensions=EXTENSIONS)
    own = CloudFacts("prod", {"eth0": client} if client else {}, extensions=EXTENSIONS)
    facts = {
        "app": replace(facts["app"], cloud=own),
        "gateway": replace(facts["gateway"], cloud=cloud),
    }
    return adopt(facts, cloud="prod")


def told(made: Made, code: str) -> list[str]:
    return [
        command for each in made.findings if each.code == code for fix in each.fix for command in fix.commands
    ]


def test_port_security_that_is_off_on_both_ports() -> None:
    made = in_cloud(port("B-eth1", "m1", secured=False), port("B-eth0", "m0", secured=False))
    assert told(made, "port-security-off") == [
        "openstack --os-cloud prod port set --enable-port-security --security-group GROUP "
        "--allowed-address ip-address=10.0.44.0/24 id-B-eth1",
        "openstack --os-cloud prod port set --enable-port-security --security-group GROUP id-B-eth0",
    ]
    assert made.spec.cloud == "prod"
    assert "port_security" not in made.live


def test_without_translation_the_other_port_sends_for_the_clients() -> None:
    made = in_cloud(
        port("B-eth1", "m1", secured=False),
        port("B-eth0", "m0", secured=False),
        sheet=APP + ROUTE + GATEWAY,
    )
    assert "--allowed-address ip-address=10.0.43.15 id-B-eth0" in told(made, "port-security-off")[1]


def test_a_clients_port_needs_nothing() -> None:
    made = in_cloud(port("B-eth1", "m1"), port("B-eth0", "m0"), port("A", "ma", secured=False))
    assert [each.where for each in made.findings if each.code == "port-security-off"] == ["app"]


def test_ports_that_are_as_they_should_be_are_not_told() -> None:
    made = in_cloud(port("B-eth1", "m1", "10.0.44.0/24"), port("B-eth0", "m0"), port("A", "ma"))
    assert not {code for _, code in made.codes} & {"port-security-off", "pairs-wider"}


def test_a_cloud_without_port_security_has_none_that_is_off() -> None:
    made = in_cloud(port("B-eth1", "m1", secured=None), port("B-eth0", "m0", secured=None))
    assert "port-security-off" not in {code for _, code in made.codes}


def admitting(*remotes: str) -> dict[str, SecurityGroup]:
    rules = tuple(GroupRule("ingress", Family.V4, remote=network(each)) for each in remotes)
    return {"g": SecurityGroup("g", "own", "lab", "", rules)}


def stops(made: Made) -> dict[str, str]:
    return {each.code: each.text for each in made.findings if each.stops}


def test_what_the_cloud_stops_today_is_told_and_what_is_made_opens_it() -> None:
    made = in_cloud(port("B-eth1", "m1"), port("B-eth0", "m0"))
    assert stops(made) == {
        "neutron-antispoof-source": "no answer from 10.0.44.0/24 gets out by eth1: port B-eth1 may not send them",
        "neutron-security-group": "nothing of 10.0.43.15 gets in by eth1: no group of port B-eth1 admits it",
    }
    assert "port_security" in made.live
    shown = adoption_text(Adoption(made.spec, made.findings, made.plan))
    assert shown.startswith(
        "nothing gets through today\n  gateway: no answer from 10.0.44.0/24 gets out by eth1"
    )


def test_what_hosts_forward_already_is_said_of_hosts_where_a_port_is_opened() -> None:
    flow = FlowChange(
        *(Effect.STAYS, "gateway", Family.V4, "eth1", "eth0", ("app",), ("10.0.44.0/24",), "any traffic"),
        crossing="business",
    )
    last = "stays   app → 10.0.44.0/24: any traffic, forwarded already"
    assert opening_lines([flow], 200, at_cloud=True)[-1].strip() == f"{last} by the hosts themselves"
    assert opening_lines([flow], 200)[-1].strip() == last


def test_what_the_cloud_lets_through_is_not_said_to_be_stopped() -> None:
    for pair in ("10.0.44.0/24", "0.0.0.0/0", "10.0.44.1/32"):
        ingress = replace(port("B-eth1", "m1", pair), groups=("g",))
        for remote in ("0.0.0.0/0", "10.0.43.15/32"):
            assert stops(in_cloud(ingress, port("B-eth0", "m0"), groups=admitting(remote))) == {}
    assert stops(in_cloud(port("B-eth1", "m1", secured=False), port("B-eth0", "m0"))) == {}
    unseen = replace(port("B-eth1", "m1", "10.0.44.0/24"), groups=("of another project",))
    assert stops(in_cloud(unseen, port("B-eth0", "m0"))) == {}
    other = replace(port("B-eth1", "m1", "10.0.44.0/24"), groups=("g",))
    assert set(stops(in_cloud(other, port("B-eth0", "m0"), groups=admitting("10.0.43.16/32")))) == {
        "neutron-security-group"
    }


def test_without_translation_the_other_port_has_to_send_for_the_clients() -> None:
    ingress = replace(port("B-eth1", "m1", "10.0.44.0/24"), groups=("g",))
    made = in_cloud(ingress, port("B-eth0", "m0"), sheet=APP + ROUTE + GATEWAY, groups=admitting("0.0.0.0/0"))
    assert stops(made) == {
        "neutron-antispoof-source": "nothing from 10.0.43.15 gets out by eth0: port B-eth0 may not send it"
    }


def test_pairs_that_nobody_needs() -> None:
    made = in_cloud(port("B-eth1", "m1", "10.0.44.0/24", "10.0.0.0/8"), port("B-eth0", "m0", "0.0.0.0/0"))
    assert told(made, "pairs-wider") == [
        "openstack --os-cloud prod port unset --allowed-address ip-address=10.0.0.0/8,mac-address=m1 id-B-eth1",
        "openstack --os-cloud prod port unset --allowed-address ip-address=0.0.0.0/0,mac-address=m0 id-B-eth0",
    ]


def test_what_people_read() -> None:
    made = adopt(SEED)
    text = adoption_text(Adoption(made.spec, made.findings, made.plan))
    assert text.startswith("wider than needed, or gone at the next boot\n")
    assert "      fix on gateway:  iptables-nft -t nat -D POSTROUTING" in text
    assert "`crossnet apply` mends it  [forwards-for-everybody]" in text
    assert text.rstrip().splitlines()[-1].startswith("Plan: ")


def test_what_programs_read() -> None:
    made = adopt(SEED)
    data = adoption_data(Adoption(made.spec, made.findings, made.plan))
    assert data["text"] == made.spec.source
    first = data["findings"][0]
    assert (first["code"], first["where"], first["by_crossnet"]) == ("snat-for-everybody", "gateway", False)
    assert first["fix"][0]["commands"] == [
        "iptables-nft -t nat -D POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63"
    ]
