"""Routes that a real Neutron's subnet offers in place of one on each client, as part of a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossnet.errors import PlanRefused, RolledBack
from crossnet.verdict import Result
from lab.desk import CROSSING, SUBNETS, Desk, killed, recovered

pytestmark = [pytest.mark.lab, pytest.mark.openstack, SUBNETS]

BY_LEASE = f"{CROSSING}, routes: neutron"
OURS = {"destination": "10.0.44.0/24", "nexthop": "10.0.43.101"}
THEIRS = {"destination": "198.51.100.0/24", "nexthop": "10.0.43.1"}


class Offered:
    """The subnet of the clients, as others see it and change it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.path = f"/subnets/{desk.seed.networks['business'][1]}"

    def document(self) -> dict[str, Any]:
        """As the API writes it, without what tells when and how often it was changed."""
        document = self._desk.seed.ask("GET", self.path)["subnet"]
        return {key: said for key, said in document.items() if key not in ("revision_number", "updated_at")}

    def routes(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.document()["host_routes"]
        return found

    def set(self, *routes: dict[str, str], **more: object) -> None:
        self._desk.seed.ask("PUT", self.path, {"subnet": {"host_routes": list(routes), **more}})


@pytest.fixture
def offered(desk: Desk) -> Iterator[Offered]:
    one = Offered(desk)
    one.set(THEIRS, enable_dhcp=True)
    yield one
    one.set(enable_dhcp=False)


def test_the_subnet_offers_the_route_and_undo_takes_it_back(desk: Desk, offered: Offered) -> None:
    before, ports, hosts = offered.document(), desk.state(), desk.bench.fingerprints()
    spec = desk.spec(BY_LEASE)
    desk.bench.apply(spec)
    assert offered.routes() == [OURS, THEIRS]
    assert not desk.bench.check("app", "ip route show 10.0.44.0/24").strip()
    assert desk.bench.plan(spec).is_empty
    desk.bench.undo(spec)
    assert offered.document() == before
    assert desk.state() == ports
    assert desk.bench.differences(hosts) == []
    assert not desk.kept()


def test_a_client_that_has_not_renewed_its_lease_is_unproved_and_not_broken(
    desk: Desk, offered: Offered
) -> None:
    desk.bench.apply(desk.spec(BY_LEASE))
    code, text = desk.said("apply", "--yes", crossing=BY_LEASE)
    assert code == 8, text
    assert "comes with its next DHCP lease" in text
    code, text = desk.said("status", crossing=BY_LEASE)
    assert (code, "unproved" in text, "next DHCP lease" in text) == (3, True, True), text
    # What its DHCP client does when it renews the lease.
    desk.bench.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0 proto dhcp")
    assert desk.bench.verify(desk.spec(BY_LEASE)).result is Result.REACHABLE
    code, text = desk.said("verify", crossing=BY_LEASE)
    assert code == 0, text
    code, text = desk.said("status", crossing=BY_LEASE)
    assert (code, "unproved" in text) == (0, False), text
    desk.bench.undo(desk.spec(BY_LEASE))
    assert desk.bench.check("app", "ip route show 10.0.44.0/24").strip()  # until its lease is over


def test_a_probe_that_the_spec_names_waits_for_the_lease_too(desk: Desk, offered: Offered) -> None:
    applied = desk.bench.apply(desk.spec(f"{BY_LEASE}, probe: icmp/10.0.44.1"))
    (verdict,) = applied.unproved
    assert (verdict.result, verdict.stopped) == (Result.UNDETERMINED, False)
    assert offered.routes() == [OURS, THEIRS]


def test_what_others_had_it_offer_already_is_used_and_left(desk: Desk, offered: Offered) -> None:
    offered.set(OURS, THEIRS)
    desk.bench.apply(desk.spec(BY_LEASE))
    desk.bench.undo(desk.spec(BY_LEASE))
    assert offered.routes() == [OURS, THEIRS]


def test_two_specs_share_a_subnet(desk: Desk, offered: Offered) -> None:
    one = desk.spec("to: 10.0.44.0/25, allow: icmp, persist: none, routes: neutron", "one")
    other = desk.spec("to: 10.0.44.128/25, allow: tcp/443, persist: none, routes: neutron", "other")
    desk.bench.apply(one)
    desk.bench.apply(other)

    def to() -> list[str]:
        return sorted(each["destination"] for each in offered.routes())

    assert to() == ["10.0.44.0/25", "10.0.44.128/25", "198.51.100.0/24"]
    desk.bench.undo(one)
    assert to() == ["10.0.44.128/25", "198.51.100.0/24"]
    desk.bench.undo(other)
    assert offered.routes() == [THEIRS]


def test_what_others_change_meanwhile_is_not_overwritten(desk: Desk, offered: Offered) -> None:
    ports, hosts = desk.state(), desk.bench.fingerprints()
    more = {"destination": "203.0.113.0/24", "nexthop": "10.0.43.1"}
    desk.between.before = lambda number: offered.set(THEIRS, more) if number == 1 else None
    with pytest.raises(RolledBack, match="somebody else has changed them") as caught:
        desk.bench.apply(desk.spec(BY_LEASE))
    assert "make a new plan" in str(caught.value)
    assert offered.routes() == [THEIRS, more]
    assert desk.state() == ports
    assert desk.bench.differences(hosts) == []
    assert not desk.kept()


def test_another_way_of_somebody_else_is_refused_before_anything_is_changed(
    desk: Desk, offered: Offered
) -> None:
    offered.set({**OURS, "nexthop": "10.0.43.9"})
    with pytest.raises(PlanRefused, match=r"10\.0\.44\.0/24 via 10\.0\.43\.9"):
        desk.bench.plan(desk.spec(BY_LEASE))


def test_a_subnet_that_is_full_is_told_with_the_way_out(desk: Desk, offered: Offered) -> None:
    ports, hosts = desk.state(), desk.bench.fingerprints()
    full = [{"destination": f"10.9.{number}.0/24", "nexthop": "10.0.43.1"} for number in range(20)]
    offered.set(*full)
    assert "many-host-routes" in {one.code for one in desk.bench.plan(desk.spec(BY_LEASE)).impacts}
    with pytest.raises(RolledBack, match="max_subnet_host_routes"):
        desk.bench.apply(desk.spec(BY_LEASE))
    assert len(offered.routes()) == 20
    assert desk.state() == ports
    assert desk.bench.differences(hosts) == []


def test_a_probe_that_is_not_answered_takes_it_back(desk: Desk, offered: Offered) -> None:
    before, ports = offered.document(), desk.state()
    desk.bench.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0 proto dhcp")
    with pytest.raises(RolledBack):
        desk.bench.apply(desk.spec(f"{BY_LEASE}, probe: icmp/10.0.44.99"))
    assert f"PUT /v2.0{offered.path}" in desk.between.changes
    assert offered.document() == before
    assert desk.state() == ports


# After its group, the group's rules, the two rules that every new group has, and the port.
AT = 6


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.faults), "after"])
def test_whoever_is_killed_at_the_request_leaves_all_of_it_or_nothing(
    desk: Desk, offered: Offered, when: str
) -> None:
    before, ports, hosts = offered.document(), desk.state(), desk.bench.fingerprints()
    killed(desk, AT, when, "apply", "--yes", crossing=BY_LEASE)
    assert offered.routes() == ([OURS, THEIRS] if when == "after" else [THEIRS])
    assert desk.kept()
    recovered(desk)
    assert offered.document() == before
    assert desk.state() == ports
    assert desk.bench.differences(hosts) == []
    assert not desk.kept()
