"""Topologies as data: what ships, what a file may say, and how mistakes are told."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

import pytest

from crossnet.errors import LabError
from crossnet.lab.topology import Route, from_data, load, shipped, spec_for, to_data
from crossnet.specfile import parse
from crossnet.values import address, network

HOST = "name: x\nnetworks: {lan: }\nhosts: {a: {interfaces: {eth0: {network: lan, addresses: [%s]}}}}\n"


def written(folder: Path, text: str) -> str:
    file = folder / "lab.yaml"
    file.write_text(text)
    return str(file)


def test_what_ships() -> None:
    assert {
        *("seed", "seed-v6", "seed-dual", "demo", "many-clients", "two-gateways", "overlap"),
        "third-interface",
    } <= set(shipped())


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_topology_is_whole(name: str) -> None:
    topology = load(name)
    assert topology.name == name
    assert topology.description
    assert from_data(to_data(topology), source="again") == topology
    assert topology.host("app" if name != "many-clients" else "client-1").role == "client"
    assert topology.host("gateway").role == "gateway"


@pytest.mark.parametrize("name", [name for name in shipped() if name != "overlap"])
def test_a_shipped_topology_has_a_spec_that_loads(name: str) -> None:
    spec = parse(spec_for(load(name)), name)
    assert spec.host("gateway").lab == "gateway"
    assert spec.crossings[0].name == "business"
    assert spec.crossings[0].via == "gateway"


def test_overlap_has_no_spec_before_networks_can_be_mapped() -> None:
    with pytest.raises(LabError, match="no spec for it"):
        spec_for(load("overlap"))


def test_the_spec_of_the_seed() -> None:
    assert (
        spec_for(load("seed"))
        == """crossnet: 1

hosts:
  app:     {lab: app}
  gateway: {lab: gateway}

crossings:
  business:
    from: app
    via: gateway
    to: 10.0.44.0/24
    probe: icmp/10.0.44.1
"""
    )


def test_the_gateway_of_the_seed() -> None:
    gateway = load("seed").host("gateway")
    assert [(i.name, i.addresses) for i in gateway.interfaces] == [
        ("eth1", (ip_interface("10.0.43.101/24"),)),
        ("eth0", (ip_interface("10.0.44.63/24"),)),
    ]
    assert gateway.routes == (Route(network("0.0.0.0/0"), address("10.0.44.254"), "eth0"),)


def test_as_many_clients_as_wanted() -> None:
    assert len(load("many-clients").hosts) == 22
    topology = load("many-clients", count=300)
    assert topology.host("client-300").interfaces[0].addresses == (ip_interface("10.50.1.53/16"),)
    assert "client-300" in spec_for(topology)
    with pytest.raises(LabError, match="no host with a `count`"):
        load("seed", count=3)


def test_defaults_of_both_families() -> None:
    assert [str(route.destination) for route in load("seed-dual").host("app").routes] == ["0.0.0.0/0", "::/0"]


def test_an_unknown_name_lists_what_ships() -> None:
    with pytest.raises(LabError, match=r"no topology 'sed'(.|\n)*seed-v6(.|\n)*\./sed\.yaml"):
        load("sed")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "is not YAML"),
        ("- a\n", "`key: value` lines are expected"),
        ("name: x\nhosts: {}\n", "has no hosts"),
        ("hosts: {a: }\n", "`name` is missing"),
        ("name: x\nhost: {a: }\n", "unknown key `host`; did you mean `hosts`"),
        ("name: x\nhosts: {A b: }\n", "'A b' is not a name"),
        ("name: x\nhosts: {a: {role: king}}\n", "hosts.a: `role` 'king' is none of client"),
        ("name: x\nhosts: {a: {sysctls: {fs.file-max: 1}}}\n", "only net"),
        ("name: x\nhosts: {a: {routes: [{to: default}]}}\n", "needs `via`, `dev` or both"),
        ("name: x\nhosts: {a: {routes: [{to: default, dev: eth7}]}}\n", "'eth7', which is no interface"),
        ("name: x\nhosts: {a: {routes: [{to: 10.0.0.1/24, via: 10.0.0.2}]}}\n", "host bits set"),
        ("name: x\nhosts: {a: {boot: ls}}\n", "`boot` is a list"),
        ("name: x\nhosts: {a: {interfaces: {eth0: {network: lan}}}}\n", "there is no network 'lan'"),
        ("name: x\nhosts: {a: {interfaces: {eth0: {}}}}\n", "`network` is missing"),
        ("name: x\nhosts: {a: {interfaces: {a/b: {network: l}}}}\n", "'a/b' is not an interface name"),
        ("name: x\nhosts: {a: {count: 2}}\n", "needs a {n}"),
        ("name: x\nhosts: {'a{n}': {count: 0}}\n", "a number from 1 up"),
        ("name: x\nnetworks: {l: {mtu: big}}\nhosts: {a: }\n", "`mtu` is a number, not 'big'"),
        (HOST % "10.0.0.1", "no prefix length"),
        (HOST % "10.0.0.300/24", "10.0.0.300"),
        (HOST % "{pool: 10.0.0.0/30, first: 3}", "too small"),
        (HOST % "{pool: 10.0.0.1/30}", "host bits set"),
        (HOST % "7", "a text is expected"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(LabError) as caught:
        load(file)
    assert said in str(caught.value)
    assert str(caught.value).startswith(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no-such\.yaml cannot be read"):
        load(str(tmp_path / "no-such.yaml"))


def test_what_is_unmanaged_is_so_in_a_network_of_a_neutron(tmp_path: Path) -> None:
    text = "name: x\nnetworks: {lan: }\nhosts: {a: {interfaces: {eth0: {network: lan, unmanaged: %s}}}}\n"
    with pytest.raises(
        LabError, match=r"hosts\.a\.interfaces\.eth0: `unmanaged` is for a network with `port-sec"
    ):
        load(written(tmp_path, text % "true"))
    with pytest.raises(LabError, match="`unmanaged` is true or false, not 1"):
        load(written(tmp_path, text % "1"))


def test_the_spec_of_a_lab_in_a_cloud_names_it() -> None:
    topology = load("seed-port-security")
    assert parse(spec_for(topology), "x").cloud == "seed-port-security"
    assert parse(spec_for(topology, "mine"), "x").cloud == "mine"
