"""Routes in files of crossnet's own, where systemd-networkd and ifup look for them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route
from crossnet.persistence import ifupdown, networkd
from crossnet.persistence.needs import Needs, Unfit
from crossnet.values import Family, address, network
from design.factsheet import host_facts

HEAD = "# crossnet: business. Written by crossnet; `crossnet undo` removes it.\n"
ROUTE = Route(network("10.0.44.0/24"), address("10.0.43.101"), "eth0")
SIX = Route(network("fd00:44::/64"), address("fd00:43::101"), "eth0", metric=1024)
PARTICULAR = replace(ROUTE, source=address("10.0.43.15"), metric=5)
RULE = PolicyRule(
    Family.V4, 5200, source=network("10.0.43.15/32"), destination=network("10.0.44.0/24"), table="main"
)


def kept_by(keeper: Keeper, file: str = "", interface: str = "eth0") -> Owner:
    return Owner(interface, keeper, "", file)


@pytest.mark.parametrize(
    "file", ["/etc/systemd/network/10-eth0.network", "/run/systemd/network/10-eth0.network"]
)
def test_a_drop_in_beside_the_file_wherever_that_is(file: str) -> None:
    owner = kept_by(Keeper.NETWORKD, file)
    found = networkd.keep(Needs(owner, (ROUTE, PARTICULAR), (RULE,)), host_facts("app", ""), HEAD)
    assert found.path == "/etc/systemd/network/10-eth0.network.d/90-crossnet.conf"
    assert found.path in networkd.files(owner)
    assert found.crossings == ("business",)
    assert found.data.decode() == HEAD + (
        "\n[Route]\nDestination=10.0.44.0/24\nGateway=10.0.43.101\nProtocol=143\n"
        "\n[Route]\nDestination=10.0.44.0/24\nGateway=10.0.43.101\nPreferredSource=10.0.43.15\nMetric=5\nProtocol=143\n"
        "\n[RoutingPolicyRule]\nPriority=5200\nFrom=10.0.43.15/32\nTo=10.0.44.0/24\nTable=254\n"
    )


def test_a_file_that_is_for_other_interfaces_too_gets_no_drop_in() -> None:
    owners = {
        name: kept_by(Keeper.NETWORKD, "/etc/systemd/network/all.network", name) for name in ("eth0", "eth1")
    }
    facts = replace(host_facts("app", ""), owners=owners)
    with pytest.raises(Unfit, match=r"all\.network is for eth1 as well"):
        networkd.keep(Needs(owners["eth0"], (ROUTE,)), facts, HEAD)


IP = '#!/bin/sh\nprintf "ip %s\\n" "$*" >>"${0%/*}/told"\ncase $* in *10.0.46*) exit 2 ;; esac\n'


def ran(tmp_path: Path, script: bytes, interface: str) -> list[str]:
    (tmp_path / "crossnet").write_bytes(script)
    (tmp_path / "ip").write_text(IP)
    (tmp_path / "ip").chmod(0o755)
    told = tmp_path / "told"
    told.write_text("")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "IFACE": interface, "MODE": "start"}
    subprocess.run(["sh", str(tmp_path / "crossnet")], env=environment, check=True, capture_output=True)
    return told.read_text().splitlines()


def test_ifup_sets_the_routes_of_the_interface_that_came_up(tmp_path: Path) -> None:
    more = replace(ROUTE, device="eth1.5", destination=network("10.0.46.0/24"))
    needs = [
        Needs(kept_by(Keeper.IFUPDOWN), (ROUTE, SIX)),
        Needs(kept_by(Keeper.IFUPDOWN, interface="eth1.5"), (more, replace(ROUTE, device="eth1.5"))),
    ]
    (found,) = ifupdown.keep(needs, HEAD)
    assert (found.path, found.mode) == ("/etc/network/if-up.d/crossnet", 0o755)
    assert "." not in Path(found.path).name, "ifup runs no such file"
    assert found.crossings == ("business",)
    assert ran(tmp_path, found.data, "eth0") == [
        "ip -4 route replace 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143",
        "ip -6 route replace fd00:44::/64 via fd00:43::101 dev eth0 proto 143 metric 1024",
    ]
    # One that fails keeps none of the others away, and ifup from nothing.
    assert [line.split()[4] for line in ran(tmp_path, found.data, "eth1.5")] == [
        "10.0.46.0/24",
        "10.0.44.0/24",
    ]
    assert ran(tmp_path, found.data, "eth1") == ran(tmp_path, found.data, "--all") == []


def test_where_no_route_is_needed_there_is_no_script() -> None:
    assert ifupdown.keep([Needs(kept_by(Keeper.IFUPDOWN), (), (RULE,))], HEAD) == ()
