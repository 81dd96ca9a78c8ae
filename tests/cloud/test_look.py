"""What a cloud says of the ports of hosts: whose they are, what they let through, and who else is in their groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloud.fixtures import GROUP, Seed, host_with
from cloud.front import clouds, front_of
from cloud.served import serve
from crossnet.errors import CloudError
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import ADDRESS_PAIRS, PORT_SECURITY, AddressPair, CloudFacts, Sought
from crossnet.values import address, network

pytestmark = [pytest.mark.openstack, GROUP]

Asking = Callable[..., Any]


def test_the_ports_of_hosts_are_found_with_their_groups(seed: Seed, asking: Asking) -> None:
    hosts = seed.hosts()
    found = asking("member", lambda cloud: cloud.look(hosts))
    assert {name: {at: port.id for at, port in of.ports.items()} for name, of in found.items()} == {
        "A": {"eth0": seed.ports["A"]},
        "B": {"eth1": seed.ports["B-eth1"], "eth0": seed.ports["B-eth0"]},
    }
    of_b = found["B"]
    assert of_b.unfound == {}
    port = of_b.ports["eth1"]
    assert (port.name, port.secured, port.pairs, port.addresses) == (
        "B-eth1",
        True,
        (),
        (address("10.0.43.101"),),
    )
    assert [of_b.groups[group].name for group in port.groups] == ["default"]
    # The default group admits its own members.
    assert [group.name for group in of_b.referring] == ["default"]
    assert sorted(member.name for member in of_b.members) == ["A", "B-eth0", "B-eth1"]
    assert {PORT_SECURITY, ADDRESS_PAIRS} <= of_b.extensions


def test_each_host_is_told_of_its_own_groups(seed_apart: Seed, asking: Asking) -> None:
    seed = seed_apart
    found = asking("member", lambda cloud: cloud.look(seed.hosts()))
    assert [group.name for group in found["A"].groups.values()] == ["own of A"]
    assert [member.name for member in found["A"].members] == ["A"]
    assert found["A"].referring == ()
    assert sorted(group.name for group in found["B"].groups.values()) == ["own of B-eth0", "own of B-eth1"]


def test_groups_that_refer_to_each_other(seed_apart: Seed, asking: Asking) -> None:
    """Whoever is in the group that admits another's members is reached by their address pairs too."""
    seed = seed_apart
    own = seed.port("B-eth1").groups[0]
    admitting, named = seed.make_group("admitting"), seed.make_group("named")
    seed.admit(admitting, remote_group_id=own)
    seed.admit(own, remote_group_id=named)
    business = seed.networks["business"]
    third = seed.make_port("third", business, "10.0.43.77", security_groups=[admitting])
    fourth = seed.make_port("fourth", business, "10.0.43.78", security_groups=[named])
    found = asking("member", lambda cloud: cloud.look(seed.hosts()))["B"]
    assert [group.name for group in found.referring] == ["admitting"]
    assert sorted(group.name for group in found.groups.values()) == [
        "named",
        "own of B-eth0",
        "own of B-eth1",
    ]
    assert {third, fourth} <= set(found.members)


def test_a_rule_of_an_address_group_is_one_for_each_of_its_networks(seed: Seed, asking: Asking) -> None:
    wanted = {"name": "some", "addresses": ["10.1.0.0/16", "10.2.0.1/32"]}
    addresses = seed.ask("POST", "/address-groups", {"address_group": wanted})["address_group"]["id"]
    group = seed.make_group("by addresses")
    seed.admit(group, remote_address_group_id=addresses)
    seed.change("A", security_groups=[group])
    try:
        found = asking("member", lambda cloud: cloud.look(seed.hosts()))["A"]
    finally:
        seed.change("A", security_groups=[])
        seed.ask("DELETE", f"/security-groups/{group}")
        seed.ask("DELETE", f"/address-groups/{addresses}")
    admitted = {rule.remote for rule in found.groups[group].rules if rule.direction == "ingress"}
    assert admitted == {network("10.1.0.0/16"), network("10.2.0.1")}


def test_what_is_sought_by_id_is_told_apart_from_what_is_gone(seed: Seed, asking: Asking) -> None:
    """By whoever belongs to its project, or sees all: a stranger cannot say that it is gone."""
    own = seed.make_group("crossnet-x")
    kept = seed.make_group("kept")
    sought = Sought(
        frozenset((seed.ports["A"], seed.ports["B-eth1"], own)),
        frozenset((kept,)),
        frozenset(("crossnet-x",)),
        frozenset((seed.networks["business"][1],)),
    )
    elsewhere = replace(seed.port("A"), mac="02:00:00:00:00:09", addresses=(address("192.0.2.9"),))
    lost = {"C": host_with("C", {"eth0": elsewhere})}

    def found(user: str) -> CloudFacts:
        said = asking(user, lambda cloud: cloud.look({**seed.hosts(), **lost}, {"B": sought, "C": sought}))
        assert {one.id for one in said["C"].strays} == (
            set() if user == "stranger" else {seed.ports["A"], seed.ports["B-eth1"], sought_subnet}
        )
        told: CloudFacts = said["B"]
        return told

    (sought_subnet,) = sought.subnets
    member, admin, stranger = (found(user) for user in ("member", "lab", "stranger"))
    for one in (member, admin):
        assert [each.id for each in one.strays] == [seed.ports["A"]]  # eth1 and its subnet are B's own
        assert {own, kept} <= set(one.groups)
        assert one.would_see(seed.project)
    assert (member.would_see("another"), admin.would_see("another")) == (False, True)
    assert (stranger.strays, stranger.ports, stranger.would_see(seed.project)) == ((), {}, False)


def test_two_networks_with_the_same_addresses(seed: Seed, asking: Asking) -> None:
    """The hardware address tells which of the ports is the host's, also where another project's is seen."""
    twin = seed.make_network("10.0.43.0/24", name="twin")
    try:
        seed.make_port("A of the twin", twin, "10.0.43.15")
        found = asking("lab", lambda cloud: cloud.look(seed.hosts()))["A"]
        assert found.ports["eth0"].id == seed.ports["A"]
        lost = host_with("A", {"eth0": replace(seed.port("A"), mac="02:00:00:00:00:09")})
        unfound = asking("lab", lambda cloud: cloud.look({"A": lost}))["A"].unfound["eth0"]
        assert "no port has its hardware address 02:00:00:00:00:09" in unfound
        assert "A of the twin" in unfound
    finally:
        seed.ask("DELETE", f"/ports/{seed.ports.pop('A of the twin')}")
        seed.ask("DELETE", f"/networks/{twin[0]}")


def test_the_hardware_address_of_a_neighbour(seed: Seed, asking: Asking) -> None:
    borrowed = host_with("B", {"eth1": replace(seed.port("B-eth1"), mac=seed.port("A").mac)})
    found = asking("member", lambda cloud: cloud.look({"B": borrowed}))["B"]
    assert found.ports == {}
    assert "port A of network" in found.unfound["eth1"]
    assert "but port B-eth1 of network" in found.unfound["eth1"]


def test_many_hosts_are_looked_at_in_few_requests(
    seed: Seed, asking: Asking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = seed.port("A")
    many = {
        f"h{n}": host_with(f"h{n}", {"eth0": replace(port, mac=f"02:00:00:00:{n // 256:02x}:{n % 256:02x}")})
        for n in range(300)
    }
    with front_of(seed.served.neutron) as front:
        auth = {"endpoint": front.url, "token": seed.session("member").get_token()}
        (tmp_path / "clouds.yaml").write_text(clouds(behind={"auth_type": "admin_token", "auth": auth}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        found = asyncio.run(Cloud("behind").look({**many, **seed.hosts()}))
        assert found["A"].ports["eth0"] == port
        assert "10.0.43.15" in str(port.addresses)
        assert "port A of network" in found["h7"].unfound["eth0"]
        assert len(front.asked) < 14, front.asked
        assert all(len(path) < 4000 for _, path in front.asked)


def test_a_cloud_without_port_security(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be switched off there, which is not the same as off."""
    with serve(tmp_path, with_keystone=False, port_security=False) as served:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(served.clouds))
        session = served.session("noauth")

        def ask(path: str, body: object) -> Any:
            said = session.post(f"{served.neutron}/v2.0{path}", json=body, authenticated=False)
            return said.json()

        of = ask("/networks", {"network": {"name": "business"}})["network"]["id"]
        wanted = {"network_id": of, "ip_version": 4, "cidr": "10.0.43.0/24"}
        ask("/subnets", {"subnet": wanted})
        made = ask("/ports", {"port": {"name": "A", "network_id": of}})["port"]["id"]

        async def look() -> None:
            cloud = Cloud("noauth")
            port = await cloud.port(made)
            assert port.secured is None
            found = await cloud.look({"A": host_with("A", {"eth0": port})})
            assert found["A"].ports["eth0"] == port
            assert PORT_SECURITY not in found["A"].extensions
            pairs = [AddressPair(network("10.0.44.0/24"), "")]
            changed = await cloud.change_port(made, revision=port.revision, pairs=pairs)
            assert [pair.network for pair in changed.pairs] == [network("10.0.44.0/24")]
            with pytest.raises(CloudError, match="Unrecognized attribute") as raised:
                await cloud.change_port(made, revision=changed.revision, secured=False, groups=[], pairs=[])
            assert "openstack extension list --network" in raised.value.todo

        asyncio.run(look())
