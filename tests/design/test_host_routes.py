"""What subnets of a cloud offer in place of a route on each client: what is asked for, what it means, and undo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from crossnet import specfile
from crossnet.errors import CrossnetError, PlanRefused, SpecError
from crossnet.facts import Facts, FileState
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.routes import Route
from crossnet.openstack.ports import CloudFacts, HostRoute, Subnet
from crossnet.planning import Plan, make_plan, make_undo_plan
from crossnet.record import APPLIED, at_clouds
from crossnet.resources import Change, HostRoutes, RouteResource
from crossnet.resources.host_routes import offered
from crossnet.show import text
from crossnet.values import address, network
from design.factsheet import with_files
from design.test_port_security import cloud, hosts, spec

BY_LEASE = ", routes: neutron, port-security: leave"
SUBNET = Subnet("s-43", "clients", "net43", "lab", network("10.0.43.0/24"), True, address("10.0.43.1"), (), 3)
OURS = HostRoute(network("10.0.44.0/24"), address("10.0.43.101"))
THEIRS = HostRoute(network("198.51.100.0/24"), address("10.0.43.1"), ("198.51.100.0/24", "10.0.43.1"))


def said(*routes: HostRoute, **more: object) -> CloudFacts:
    return cloud(subnets=(replace(SUBNET, routes=routes, **more),))  # type: ignore[arg-type]


def planned(
    now: CloudFacts | None = None, more: str = BY_LEASE, on: Mapping[str, Facts] | None = None
) -> Plan:
    return make_plan(spec(more), {**hosts(now or said()), **(on or {})})


def of_subnets(plan: Plan) -> list[Change]:
    return [change for _, change in plan.changes if isinstance(change.resource, HostRoutes)]


def sides(change: Change) -> tuple[HostRoutes | None, HostRoutes | None]:
    have, want = change.have, change.want
    assert have is None or isinstance(have, HostRoutes)
    assert want is None or isinstance(want, HostRoutes)
    return have, want


def as_made(change: Change, now: CloudFacts) -> CloudFacts:
    """The cloud when a change is made, as the participant does it."""
    (subnet,) = now.subnets
    return replace(now, subnets=(replace(subnet, routes=offered(subnet, *sides(change))),))


def applied(plan: Plan, now: CloudFacts) -> Mapping[str, Facts]:
    found = dict(hosts(now))
    after = next(host.after for host in plan.hosts if host.host == "gateway")
    return found | {
        "gateway": with_files(found["gateway"], {APPLIED: FileState(after.to_json(), 0o600, "0:0")})
    }


def codes(plan: Plan) -> set[str]:
    return {one.code for one in plan.impacts}


def with_routes(facts: Facts, *routes: Route) -> Facts:
    return replace(facts, routes=(*facts.routes, *routes))


def as_leased(facts: Facts) -> Facts:
    """A host whose addresses are from a DHCP server."""
    links = (
        replace(link, addresses=tuple(replace(one, leased=True, lifetime=86400) for one in link.addresses))
        for link in facts.links
    )
    return replace(facts, links=tuple(links))


def test_the_subnet_offers_it_and_the_client_has_no_route_of_its_own() -> None:
    plan = planned(said(THEIRS))
    (change,) = of_subnets(plan)
    _, want = sides(change)
    assert want is not None
    assert (want.subnet, want.offers, want.changed_by) == ("s-43", (OURS,), "cloud prod")
    assert not any(isinstance(one.resource, RouteResource) for _, one in plan.changes)
    assert plan.live()[-1][1] is change  # when all of the gateway is open
    shown = text.plan_text(plan)
    assert (
        "+ host_routes subnet clients 10.0.43.0/24: offers its machines 10.0.44.0/24 via 10.0.43.101" in shown
    )
    assert {"route-with-lease", "routes-for-all", "lease-has-default"} <= codes(plan)
    assert "subnet-without-dhcp" not in codes(plan)


def test_undo_leaves_what_others_have_it_offer_as_they_wrote_it() -> None:
    before = said(THEIRS)
    plan = planned(before)
    (change,) = of_subnets(plan)
    now = as_made(change, before)
    assert now.subnets[0].routes == (THEIRS, OURS)
    there = applied(plan, now)
    assert [*at_clouds(there["gateway"])] == ["prod"]
    assert of_subnets(make_plan(spec(BY_LEASE), there)) == []
    undo = make_undo_plan(spec(BY_LEASE), there)
    (back,) = of_subnets(undo)
    assert undo.live()[0][1] is back  # traffic is not attracted any more before the gateway closes
    assert "leases-keep-routes" in codes(undo)
    left = as_made(back, now).subnets[0].routes
    assert [each.written for each in left] == [("198.51.100.0/24", "10.0.43.1")]


def test_what_is_offered_already_is_used_and_stays() -> None:
    before = said(OURS)
    plan = planned(before)
    assert of_subnets(plan) == []
    there = applied(plan, before)
    assert of_subnets(make_undo_plan(spec(BY_LEASE), there)) == []
    gone = replace(there["gateway"], cloud=said())
    (change,) = of_subnets(make_plan(spec(BY_LEASE), {**there, "gateway": gone}))
    assert as_made(change, said()).subnets[0].routes == (OURS,)


def test_what_is_no_longer_asked_for_goes() -> None:
    plan = planned()
    now = as_made(of_subnets(plan)[0], said())
    smaller = specfile.parse(spec(BY_LEASE).source.replace("10.0.44.0/24", "10.0.44.0/25"), "crossnet.yaml")
    (shrunk,) = of_subnets(make_plan(smaller, applied(plan, now)))
    (left,) = as_made(shrunk, now).subnets[0].routes
    assert str(left) == "10.0.44.0/25 via 10.0.43.101"


def test_from_a_route_of_its_own_to_a_lease_the_client_is_told_and_the_new_way_comes_first() -> None:
    first = make_plan(spec(", port-security: leave"), hosts(said()))
    there = {
        host.host: with_files(
            hosts(said())[host.host], {APPLIED: FileState(host.after.to_json(), 0o600, "0:0")}
        )
        for host in first.hosts
    }
    own = [one.want.route for _, one in first.changes if isinstance(one.want, RouteResource)]
    assert own != []
    there["app"] = with_routes(there["app"], *own)
    plan = make_plan(spec(BY_LEASE), there)
    kinds = [one.resource.kind for _, one in plan.live()]
    assert kinds.index("host_routes") < kinds.index("route")
    assert "route-with-lease" in codes(plan)


def test_back_to_routes_of_its_own_a_client_is_told_what_goes_with_its_lease() -> None:
    plan = planned()
    there = dict(applied(plan, as_made(of_subnets(plan)[0], said())))
    leased = Route(OURS.destination, OURS.next_hop, "eth0", protocol="dhcp", metric=100)
    usual = spec(", port-security: leave")
    there["app"] = with_routes(there["app"], leased)
    told = [one for one in make_plan(usual, there).impacts if one.code == "leases-keep-routes"]
    assert [one.where for one in told] == ["gateway", "app"]
    assert "its route to 10.0.44.0/24 came with its lease" in told[1].text
    there["app"] = hosts(said())["app"]
    again = make_plan(usual, there)
    assert [one.where for one in again.impacts if one.code == "leases-keep-routes"] == ["gateway"]
    assert any(isinstance(one.want, RouteResource) for _, one in again.changes)


@pytest.mark.parametrize(
    ("keeper", "profile", "words"),
    [
        (Keeper.NETWORKD, "", "`networkctl renew eth0`"),
        (Keeper.NETWORKMANAGER, "5b1c", "`nmcli connection up uuid 5b1c`"),
        (Keeper.IFUPDOWN, "", "dhclient -r eth0; dhclient eth0"),
    ],
)
def test_a_client_is_told_how_it_renews(keeper: Keeper, profile: str, words: str) -> None:
    app = as_leased(hosts(said())["app"])
    app = replace(app, owners={"eth0": Owner("eth0", keeper, "", profile=profile)})
    (told,) = [one.text for one in planned(on={"app": app}).impacts if one.code == "route-with-lease"]
    assert words in told


def test_an_address_that_came_with_no_lease_is_not_given_up_for_one() -> None:
    """`dhclient -r` takes it away, and nobody gives it back."""
    (told,) = [one.text for one in planned().impacts if one.code == "route-with-lease"]
    assert told == "no route to 10.0.44.0/24 yet: it comes with its next DHCP lease"


def test_a_client_that_has_it_is_not_told() -> None:
    app = with_routes(
        hosts(said())["app"], Route(OURS.destination, OURS.next_hop, "eth0", protocol="dhcp", metric=100)
    )
    plan = planned(on={"app": app})
    assert "route-with-lease" not in codes(plan)
    assert not any(isinstance(one.resource, RouteResource) for _, one in plan.changes)


def test_clients_that_are_no_hosts_get_it_too() -> None:
    asked = specfile.parse(spec(BY_LEASE).source.replace("from: app", "from: 10.0.43.0/24"), "crossnet.yaml")
    plan = make_plan(asked, hosts(said()))
    assert len(of_subnets(plan)) == 1
    assert "route-by-owner" not in codes(plan)
    assert "route-with-lease" in codes(plan)


def test_without_dhcp_nobody_gets_it_and_that_is_said() -> None:
    assert "subnet-without-dhcp" in codes(planned(said(leases=False)))


def test_a_full_subnet_is_said() -> None:
    others = [HostRoute(network(f"10.9.{n}.0/24"), address("10.0.43.1")) for n in range(20)]
    assert "many-host-routes" in codes(planned(said(*others)))
    assert "many-host-routes" not in codes(planned(said(*others[1:])))


def refused(now: CloudFacts, more: str = BY_LEASE, on: Mapping[str, Facts] | None = None) -> tuple[str, str]:
    with pytest.raises(PlanRefused) as caught:
        planned(now, more, on)
    (refusal,) = caught.value.refusals
    return refusal.code, f"{refusal.message}: {'; '.join(refusal.candidates)}"


@pytest.mark.parametrize("there", ["10.0.44.0/24", "10.0.44.128/25", "10.0.44.7/32"])
@pytest.mark.parametrize("is_offered", [False, True])
def test_somebody_elses_way_to_a_destination_or_to_a_part_of_it_is_refused(
    there: str, is_offered: bool
) -> None:
    other = HostRoute(network(there), address("10.0.43.9"))
    with pytest.raises(PlanRefused) as caught:
        planned(said(other, *([OURS] if is_offered else [])))
    (refusal,) = caught.value.refusals
    assert refusal.code == "host-route-of-others"
    assert f"offer {other}:" in refusal.message
    assert f"destination={there},gateway=10.0.43.9" in refusal.todo
    assert ("`except`" in refusal.todo) is (there != "10.0.44.0/24")


@pytest.mark.parametrize(
    ("there", "by"),
    [("10.0.0.0/8", "10.0.43.9"), ("10.0.45.0/24", "10.0.43.9"), ("10.0.44.128/25", "10.0.43.101")],
)
def test_what_others_offer_that_leads_no_destination_elsewhere_stays(there: str, by: str) -> None:
    other = HostRoute(network(there), address(by))
    (change,) = of_subnets(planned(said(other)))
    assert as_made(change, said(other)).subnets[0].routes == (other, OURS)


def test_the_region_that_was_found_for_an_entry_is_that_of_the_spec() -> None:
    """The spec says `prod`, and the environment which of its regions."""
    before = replace(said(), cloud="prod/east")
    plan = planned(before)
    (change,) = of_subnets(plan)
    assert change.resource.changed_by == "cloud prod/east"
    there = applied(plan, as_made(change, before))
    assert [*at_clouds(there["gateway"])] == ["prod/east"]
    assert of_subnets(make_plan(spec(BY_LEASE), there)) == []
    assert len(of_subnets(make_undo_plan(spec(BY_LEASE), there))) == 1
    elsewhere = {**there, "gateway": replace(there["gateway"], cloud=replace(said(), cloud="prod/west"))}
    with pytest.raises(CrossnetError, match="cloud prod/east"):
        make_undo_plan(spec(BY_LEASE), elsewhere)


def test_a_client_in_no_subnet_of_that_network_is_refused() -> None:
    code, words = refused(said(network="net99"))
    assert (code, "10.0.43.15" in words) == ("subnet-unknown", True)


def test_a_default_route_is_refused() -> None:
    asked = spec(BY_LEASE).source.replace("to: 10.0.44.0/24", "to: 0.0.0.0/0")
    app = hosts(said())["app"]
    app = replace(app, routes=tuple(each for each in app.routes if each.destination.prefixlen))
    with pytest.raises(PlanRefused) as caught:
        make_plan(specfile.parse(asked, "crossnet.yaml"), {**hosts(said()), "app": app})
    assert "host-routes-not-offered" in {one.code for one in caught.value.refusals}


def leasing(facts: Facts, interface: str) -> Facts:
    links = tuple(
        replace(link, addresses=tuple(replace(item, leased=True) for item in link.addresses))
        if link.name == interface
        else link
        for link in facts.links
    )
    return replace(facts, links=links)


def test_a_gateway_that_takes_leases_there_gets_the_route_through_itself() -> None:
    gateway = leasing(hosts(said())["gateway"], "eth1")
    assert "gateway-takes-lease" in codes(planned(on={"gateway": gateway}))
    farther = replace(
        gateway, routes=tuple(each for each in gateway.routes if each.destination != OURS.destination)
    )
    farther = with_routes(farther, Route(network("0.0.0.0/0"), address("10.0.44.1"), "eth0"))
    source = spec(BY_LEASE).source.replace("to: 10.0.44.0/24", "to: 10.0.77.0/24")
    with pytest.raises(PlanRefused) as caught:
        make_plan(specfile.parse(source, "crossnet.yaml"), {**hosts(said()), "gateway": farther})
    assert {one.code for one in caught.value.refusals} == {"gateway-takes-lease"}


@pytest.mark.parametrize(
    ("controller", "is_led_away"), [("10.0.44.200", True), ("10.0.43.200", False), ("10.0.99.5", False)]
)
def test_a_lease_may_not_take_away_the_path_by_which_crossnet_works(
    controller: str, is_led_away: bool
) -> None:
    app = hosts(said())["app"]
    app = replace(app, controller=address(controller), reached_at=address("10.0.43.15"))
    if not is_led_away:
        assert len(of_subnets(planned(on={"app": app}))) == 1
        return
    code, words = refused(said(), on={"app": app})
    assert code == "management-path-taken"
    assert "with its next DHCP lease" in words


def test_a_spec_without_a_cloud_is_refused() -> None:
    source = spec(BY_LEASE).source.replace("openstack: {cloud: prod}\n", "")
    with pytest.raises(SpecError, match="routes: the file names no cloud"):
        specfile.parse(source, "crossnet.yaml")
    specfile.parse(source.replace(BY_LEASE, ", routes: host"), "crossnet.yaml")


def test_what_is_offered_no_more_is_drift() -> None:
    plan = planned()
    there = applied(plan, said())
    (change,) = of_subnets(make_plan(spec(BY_LEASE), there))
    assert change.have is None
    assert change.want is not None
    assert "it does not offer 10.0.44.0/24 via 10.0.43.101 any more" in change.want.differences(None)[0]
