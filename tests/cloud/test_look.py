"""What a cloud says of the ports of hosts: whose they are, what they let through, and who else is in their groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cloud.fixtures import GROUP, Seed
from crossnet.openstack.ports import ADDRESS_PAIRS, PORT_SECURITY
from crossnet.values import address

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
