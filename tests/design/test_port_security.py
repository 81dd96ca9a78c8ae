"""What the ports of a gateway have to let through in a cloud: asked for no wider than needed, and put back exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from crossnet import specfile
from crossnet.errors import PlanRefused
from crossnet.facts import Facts, FileState
from crossnet.openstack.ports import (
    ADDRESS_PAIRS,
    PORT_SECURITY,
    AddressPair,
    CloudFacts,
    GroupRule,
    Port,
    SecurityGroup,
    Unasked,
)
from crossnet.planning import Plan, make_plan, make_undo_plan
from crossnet.record import APPLIED
from crossnet.resources import Change, PortSecurity
from crossnet.resources.port_security import made_at
from crossnet.show import text
from crossnet.spec import Spec
from crossnet.values import Family, network
from design.factsheet import SEED, facts_from, with_files

MAC, OTHER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
DEFAULT = SecurityGroup(
    "g-default",
    "default",
    "lab",
    "",
    (GroupRule("ingress", Family.V4, remote_group="g-default"), GroupRule("egress", Family.V4)),
)
OWN = SecurityGroup("g-own", "gateways", "lab", "", (GroupRule("egress", Family.V4),))
BUSINESS = network("10.0.44.0/24")


def port(name: str, mac: str = MAC, **said: object) -> Port:
    usual = Port(
        f"id-{name}",
        name,
        "net43",
        "lab",
        mac,
        (),
        True,
        ("g-own",),
        (),
        7,
        "ACTIVE",
        True,
        "compute:nova",
    )
    return replace(usual, **said)  # type: ignore[arg-type]


INGRESS, EGRESS = port("B-eth1"), port("B-eth0", OTHER)


def cloud(
    ingress: Port = INGRESS, egress: Port = EGRESS, *groups: SecurityGroup, **said: object
) -> CloudFacts:
    known = CloudFacts(
        "prod",
        {"eth1": ingress, "eth0": egress},
        groups={one.id: one for one in (DEFAULT, OWN, *groups)},
        referring=(DEFAULT,),
        members=(ingress, egress),
        extensions=frozenset((PORT_SECURITY, ADDRESS_PAIRS)),
    )
    return replace(known, **said)  # type: ignore[arg-type]


def spec(more: str = "") -> Spec:
    return specfile.parse(
        "crossnet: 1\n"
        "hosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
        f"crossings: {{business: {{from: app, via: gateway, to: 10.0.44.0/24, persist: none{more}}}}}\n"
        "openstack: {cloud: prod}\n",
        "crossnet.yaml",
    )


def hosts(said: CloudFacts | Unasked | None = None) -> Mapping[str, Facts]:
    seed = facts_from(SEED)
    return seed | {"gateway": replace(seed["gateway"], cloud=said or cloud())}


def planned(said: CloudFacts | Unasked | None = None, more: str = "") -> Plan:
    return make_plan(spec(more), hosts(said))


def of_ports(plan: Plan) -> list[Change]:
    return [change for _, change in plan.changes if isinstance(change.resource, PortSecurity)]


def sides(change: Change) -> tuple[PortSecurity | None, PortSecurity | None]:
    have, want = change.have, change.want
    assert have is None or isinstance(have, PortSecurity)
    assert want is None or isinstance(want, PortSecurity)
    return have, want


def applied(plan: Plan, now: CloudFacts) -> Mapping[str, Facts]:
    """The hosts, with what the plan changes at ports alone, and their record of all of it."""
    found = dict(hosts(now))
    after = next(host.after for host in plan.hosts if host.host == "gateway")
    return found | {
        "gateway": with_files(found["gateway"], {APPLIED: FileState(after.to_json(), 0o600, "0:0")})
    }


def as_made(change: Change, before: Port, said: CloudFacts) -> CloudFacts:
    """The cloud when a change is made, as the participant does it."""
    have, want = sides(change)
    one = want or have
    assert one is not None
    group = SecurityGroup("g-new", one.group, one.project, "", want.rules if want else ())
    made = made_at(before, have, want, group.id)
    interface = "eth1" if before.name == INGRESS.name else "eth0"
    groups = {each.id: each for each in said.groups.values() if each.id != group.id}
    if want is not None and want.rules:
        groups[group.id] = group
    return replace(said, ports={**said.ports, interface: made}, groups=groups)


def test_least_is_the_destinations_and_the_clients_at_the_ingress_port_alone() -> None:
    plan = planned(more=", allow: [icmp, tcp/443]")
    (change,) = of_ports(plan)
    _, want = sides(change)
    assert want is not None
    assert (want.port, want.pairs, want.off) == ("id-B-eth1", (BUSINESS,), None)
    client = network("10.0.43.15/32")
    assert want.rules == (
        GroupRule("ingress", Family.V4, "icmp", None, client),
        GroupRule("ingress", Family.V4, "tcp", (443, 443), client),
    )
    assert plan.live()[0][1] is change  # before any host sends it
    shown = text.plan_text(plan)
    assert "eth1 10.0.43.101: may also send 10.0.44.0/24; admits icmp from 10.0.43.15; tcp/443 from" in shown
    assert "pairs-in-shared-group" not in {one.code for one in plan.impacts}


def test_without_translation_the_egress_port_sends_for_the_clients() -> None:
    found = {
        want.interface: want
        for change in of_ports(planned(more=", translate: none"))
        if (want := sides(change)[1])
    }
    assert found["eth0"].pairs == (network("10.0.43.15/32"),)
    assert found["eth0"].rules == ()
    assert found["eth1"].pairs == (BUSINESS,)


def test_what_pairs_open_in_a_shared_group_is_said() -> None:
    plan = planned(cloud(replace(INGRESS, groups=("g-default",)), replace(EGRESS, groups=("g-default",))))
    (told,) = [one.text for one in plan.impacts if one.code == "pairs-in-shared-group"]
    assert "from 10.0.44.0/24 everybody gets in on its ports (B-eth1, B-eth0)" in told


def at_ports_alone(plan: Plan) -> str:
    """What is printed of a plan that changes nothing else."""
    one = replace(
        plan, hosts=tuple(replace(host, changes=()) for host in plan.hosts if host.host != "gateway")
    )
    (gateway,) = (host for host in plan.hosts if host.host == "gateway")
    gateway = replace(gateway, changes=tuple(of_ports(plan)))
    return " ".join(text.plan_text(replace(one, hosts=(gateway, *one.hosts), opening=())).split())


def test_what_a_change_of_a_port_alone_opens_is_told_without_asking() -> None:
    shared = cloud(replace(INGRESS, groups=("g-default",)))
    again = at_ports_alone(planned(shared))
    assert "[pairs-in-shared-group]" in again
    assert "opens nothing on the hosts themselves" in again
    off = at_ports_alone(planned(shared, ", port-security: disable"))
    assert "lets anybody in its network reach every service of the host there [port-security-off]" in off


def test_port_security_that_somebody_switched_off_is_told_whatever_changes() -> None:
    off = planned(cloud(replace(INGRESS, secured=False, groups=())))
    assert "is off already" in at_ports_alone(off)
    (impact,) = (one for one in off.impacts if one.code == "port-security-off")
    assert impact.crossings == {"business"}  # so `status` names it too


@pytest.mark.parametrize("more", ["", ", port-security: disable"])
def test_undo_leaves_the_port_as_it_was(more: str) -> None:
    theirs = AddressPair(network("10.0.9.0/24"), MAC)
    before = replace(INGRESS, pairs=(theirs,))
    plan = planned(cloud(before), more)
    (change,) = of_ports(plan)
    now = as_made(change, before, cloud(before))
    if more:
        assert (now.ports["eth1"].secured, now.ports["eth1"].groups, now.ports["eth1"].pairs) == (
            False,
            (),
            (),
        )
    else:
        assert now.ports["eth1"].pairs == (theirs, AddressPair(BUSINESS, MAC))
        assert now.ports["eth1"].groups == ("g-own", "g-new")
    there = applied(plan, now)
    assert of_ports(make_plan(spec(more), there)) == []
    (back,) = of_ports(make_undo_plan(spec(more), there))
    assert as_made(back, now.ports["eth1"], now).ports["eth1"] == before


def test_what_others_add_meanwhile_stays() -> None:
    plan = planned()
    (change,) = of_ports(plan)
    now = as_made(change, INGRESS, cloud())
    theirs = AddressPair(network("10.0.9.0/24"), MAC)
    made = now.ports["eth1"]
    now = replace(
        now,
        ports={**now.ports, "eth1": replace(made, pairs=(theirs, *made.pairs), groups=(*made.groups, "g-x"))},
    )
    (back,) = of_ports(make_undo_plan(spec(), applied(plan, now)))
    left = as_made(back, now.ports["eth1"], now).ports["eth1"]
    assert (left.pairs, left.groups) == ((theirs,), ("g-own", "g-x"))


def test_a_pair_that_others_had_set_is_used_and_stays() -> None:
    before = replace(INGRESS, pairs=(AddressPair(BUSINESS, MAC),))
    plan = planned(cloud(before))
    (change,) = of_ports(plan)
    _, want = sides(change)
    assert want is not None
    assert (want.pairs, want.given) == ((), (BUSINESS,))
    now = as_made(change, before, cloud(before))
    (back,) = of_ports(make_undo_plan(spec(), applied(plan, now)))
    assert as_made(back, now.ports["eth1"], now).ports["eth1"] == before


def test_what_is_no_longer_asked_for_is_taken_out() -> None:
    plan = planned()
    (change,) = of_ports(plan)
    there = applied(plan, as_made(change, INGRESS, cloud()))
    smaller = specfile.parse(spec().source.replace("10.0.44.0/24", "10.0.44.0/25"), "crossnet.yaml")
    (shrunk,) = of_ports(make_plan(smaller, there))
    said = there["gateway"].cloud
    assert isinstance(said, CloudFacts)
    made = as_made(shrunk, said.ports["eth1"], said).ports["eth1"]
    assert made.pairs == (AddressPair(network("10.0.44.0/25"), MAC),)


def test_a_port_that_is_open_to_all_is_left_and_told() -> None:
    plan = planned(cloud(replace(INGRESS, secured=False, groups=())))
    assert of_ports(plan) == []
    assert [one.text for one in plan.impacts if one.code == "port-security-off"] != []


def test_leave_only_leaves() -> None:
    assert of_ports(planned(more=", port-security: leave")) == []


@pytest.mark.parametrize(
    ("said", "more", "code", "words"),
    [
        (Unasked("prod", "cloud prod: the password is wrong"), "", "cloud-unasked", "the password is wrong"),
        (cloud(ports={}, unfound={"eth1": "two ports have it"}), "", "port-unknown", "two ports have it"),
        (cloud(extensions=frozenset()), "", "cloud-cannot", "port-security: disable"),
        (
            cloud(replace(INGRESS, secured=None)),
            ", port-security: disable",
            "cloud-cannot",
            "port-security: least",
        ),
    ],
    ids=["unasked", "unknown", "no pairs", "no port security"],
)
def test_what_cannot_be_done_is_refused(said: CloudFacts | Unasked, more: str, code: str, words: str) -> None:
    with pytest.raises(PlanRefused) as refused:
        planned(said, more)
    assert [one.code for one in refused.value.refusals] == [code]
    assert words in str(refused.value)


def test_a_port_that_somebody_closes_is_drift_with_its_words() -> None:
    plan = planned()
    (change,) = of_ports(plan)
    there = applied(plan, as_made(change, INGRESS, cloud()))
    closed = {**there, "gateway": replace(there["gateway"], cloud=cloud())}
    _, want = sides(change)
    assert want is not None
    assert want.differences(want.ours(closed["gateway"])) == (
        "port of eth1 10.0.43.101: what was opened there is closed, or its port security is off",
    )
    (again,) = of_ports(make_plan(spec(), closed))
    assert sides(again) == (None, want)


def test_what_a_host_cannot_close_stays_open_at_a_time_and_is_told() -> None:
    plan = planned(more=", until: 2036-12-24T18:00Z")
    (told,) = [one.text for one in plan.impacts if one.code == "until"]
    assert "what cloud prod holds for it stays too, until `crossnet apply` or `crossnet undo`" in told
    gateway = next(host for host in plan.hosts if host.host == "gateway")
    (lapse,) = gateway.lapses
    assert [one for one in (*lapse.live, *lapse.persistent) if isinstance(one.resource, PortSecurity)] == []
    assert [one for one in lapse.after.owned if isinstance(one.applied, PortSecurity)] != []
