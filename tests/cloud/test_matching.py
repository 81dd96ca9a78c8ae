"""Which port an interface is plugged into, where more than one could be it, or none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet.facts.links import Link, LinkAddress
from crossnet.openstack.matching import port_of
from crossnet.openstack.ports import Port
from crossnet.values import address

MAC, OTHER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
ONE = Port("1", "one", "net1", "p", MAC, (address("10.0.43.15"),), True, (), (), 1, "ACTIVE", True, "")
TWO = replace(ONE, id="2", name="two", network="net2")


def link(name: str = "eth0", at: str | None = "10.0.43.15", hardware: str = MAC, **more: object) -> Link:
    addresses = (LinkAddress(address(at), 24),) if at else ()
    made = Link(name, 1500, True, addresses, hardware=hardware)
    return replace(made, **more)  # type: ignore[arg-type]


def found(one: Link, *ports: Port, beside: Link | None = None) -> Port | str:
    links = {each.name: each for each in (one, beside) if each is not None}
    return port_of(one, links, ports)


def test_the_hardware_address_tells_ports_with_one_address_apart() -> None:
    assert found(link(), replace(TWO, mac=OTHER), ONE) == ONE


def test_the_address_tells_ports_with_one_hardware_address_apart() -> None:
    """Which is unique within a network alone."""
    elsewhere = replace(TWO, addresses=(address("10.0.44.1"),))
    assert found(link(), elsewhere, ONE) == ONE
    assert found(link(at="10.0.44.1"), ONE, elsewhere) == elsewhere


def test_an_interface_whose_address_its_port_does_not_know() -> None:
    """It is plugged in there all the same, and cannot send from that address: whoever asks sees that of the port."""
    assert found(link(at="10.9.9.9"), ONE) == ONE
    assert found(link(at=None), ONE) == ONE


def test_another_port_has_the_address() -> None:
    """A machine may give itself any hardware address, also that of a neighbour, whose port is none of its own."""
    theirs = replace(TWO, network="net1", addresses=(address("10.0.43.99"),))
    own = replace(ONE, mac=OTHER)
    said = found(link(), theirs, own)
    assert said == (
        f"port two of network net1 has its hardware address {MAC}, but port one of network net1 its address: one of "
        "the two is not its own"
    )
    subport = replace(theirs, owner="trunk:subport")
    said = found(replace(VLAN, addresses=own_addresses()), subport, own, beside=link(at=None))
    assert "one of the two is not its own" in str(said)
    assert found(link(at=None), theirs, own) == theirs


def test_letters_of_a_hardware_address() -> None:
    assert found(link(hardware=MAC.upper()), ONE) == ONE


@pytest.mark.parametrize(
    ("one", "ports", "words"),
    [
        (link("tun0", hardware=""), (ONE,), "it has no hardware address"),
        (link(), (ONE, TWO), "have both its hardware address"),
        (link(at=None), (ONE, TWO), "none has its address"),
        (link(hardware=OTHER), (ONE,), f"port one of network net1 has its address, but {MAC}"),
        (link(at="10.1.1.1", hardware=OTHER), (ONE,), "no port that this user sees"),
    ],
)
def test_no_port(one: Link, ports: tuple[Port, ...], words: str) -> None:
    said = found(one, *ports)
    assert isinstance(said, str)
    assert words in said


def own_addresses() -> tuple[LinkAddress, ...]:
    return (LinkAddress(address("10.0.43.15"), 24),)


VLAN = link("eth0.5", "10.0.45.7", kind="vlan", parent="eth0", vlan=5)


def test_a_vlan_is_the_subport_of_a_trunk() -> None:
    subport = replace(TWO, owner="trunk:subport", addresses=(address("10.0.45.7"),))
    assert found(VLAN, ONE, subport, beside=link()) == subport
    own = replace(subport, mac=OTHER)
    assert found(replace(VLAN, hardware=OTHER), ONE, own, beside=link()) == own
    # Its address changed on the host.
    assert found(VLAN, ONE, replace(subport, addresses=()), beside=link()) == replace(subport, addresses=())


def test_a_vlan_that_is_no_subport_has_no_port() -> None:
    """Its frames leave through the port below, tagged; what that lets through is another question."""
    said = found(VLAN, ONE, beside=link())
    assert isinstance(said, str)
    assert "is the port of eth0: no port is the subport of a trunk for eth0.5" in said


def test_a_bridge_has_the_port_of_its_own_hardware_address() -> None:
    bridge = link("br0", kind="bridge")
    assert found(bridge, ONE, beside=link(at=None, master="br0")) == ONE
