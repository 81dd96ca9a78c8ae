"""What an export has people type for a cloud does there what crossnet itself would do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud.fixtures import CHANGES, Seed
from crossnet.lab.neutron import install
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import GroupRule, HostRoute
from crossnet.resources import Change, HostRoutes, PortSecurity
from crossnet.resources.port_security import Kept
from crossnet.transaction.requests.ports import Ports
from crossnet.values import Family, address, network

pytestmark = [pytest.mark.openstack, CHANGES]

Asking = Callable[..., Any]
THEIRS = "10.0.9.0/24"


def type_in(seed: Seed, change: Change) -> None:
    known = {
        "PATH": f"{Path(install.program('openstack')).parent}:/usr/bin:/bin",
        "OS_CLIENT_CONFIG_FILE": str(seed.served.clouds),
    }
    for line in change.typed:
        assert line.isprintable()
    said = subprocess.run(
        ["sh", "-e", "-c", "\n".join(change.typed)], env=known, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr


def state(seed: Seed) -> Any:
    """The port, with the names of its groups; and what crossnet's own one admits."""
    port = seed.document("B-eth1")
    groups = {one["id"]: one for one in seed.ask("GET", "/security-groups")["security_groups"]}
    own = [one for one in groups.values() if one["name"].startswith("crossnet-")]
    kept = ("direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix")
    rules = [{name: rule[name] for name in kept} for one in own for rule in one["security_group_rules"]]
    names = sorted(groups[one]["name"] for one in port.pop("security_groups"))
    told = [(one["name"], one["description"], one["project_id"]) for one in own]
    return port, names, told, sorted(rules, key=str)


@pytest.fixture
def port(seed: Seed) -> Any:
    """A port at which others have set something too."""
    seed.change("B-eth1", allowed_address_pairs=[{"ip_address": THEIRS}])
    return seed.port("B-eth1")


def security(seed: Seed, **said: Any) -> PortSecurity:
    return PortSecurity("member", seed.ports["B-eth1"], seed.project, "eth1", "10.0.43.101", **said)


def made(seed: Seed, asking: Asking, have: PortSecurity | None, want: PortSecurity | None) -> Any:
    """The state that crossnet's own requests make."""

    async def make(cloud: Cloud) -> None:
        requests = Ports(cloud)
        if (one := want or have) is not None:
            await requests.see(one)
        for step in requests.steps(have, want):
            await requests.make(step, have, want)

    asking("member", make)
    return state(seed)


def test_a_port_is_opened_and_closed_by_hand_as_by_crossnet(seed: Seed, port: Any, asking: Asking) -> None:
    rule = GroupRule("ingress", Family.V4, "tcp", (443, 445), network("10.0.43.15/32"))
    least = security(seed, pairs=(network("10.0.44.0/25"), network("10.0.45.7")), rules=(rule,))
    off = security(seed, off=Kept(port.groups, port.pairs))
    before = state(seed)
    for one in (least, off):
        opened = made(seed, asking, None, one)
        assert made(seed, asking, one, None) == before
        type_in(seed, Change(None, one))
        assert state(seed) == opened
        type_in(seed, Change(one, None))
        assert state(seed) == before


def test_a_subnet_offers_routes_and_no_more(seed: Seed) -> None:
    subnet = seed.networks["business"][1]
    routes = tuple(
        HostRoute(network(each), address("10.0.43.101")) for each in ("10.0.44.0/24", "10.0.45.0/24")
    )

    def offered() -> set[tuple[str, str]]:
        said = seed.ask("GET", f"/subnets/{subnet}")["subnet"]["host_routes"]
        return {(one["destination"], one["nexthop"]) for one in said}

    theirs = {"destination": THEIRS, "nexthop": "10.0.43.9"}
    seed.ask("PUT", f"/subnets/{subnet}", {"subnet": {"host_routes": [theirs]}})
    want = HostRoutes("member", subnet, "business 10.0.43.0/24", routes[:1])
    type_in(seed, Change(None, want))
    assert offered() == {(THEIRS, "10.0.43.9"), ("10.0.44.0/24", "10.0.43.101")}
    type_in(seed, Change(want, None))
    assert offered() == {(THEIRS, "10.0.43.9")}
    seed.ask("PUT", f"/subnets/{subnet}", {"subnet": {"host_routes": []}})
