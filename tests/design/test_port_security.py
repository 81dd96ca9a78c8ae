"""What the ports of a gateway have to let through in a cloud: asked for no wider than needed, and put back exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from crossnet import specfile
from crossnet.api.looking import status_of
from crossnet.design.port_security import port_security
from crossnet.errors import CloudUnasked, PlanRefused
from crossnet.facts import Facts, FileState
from crossnet.facts.links import LinkAddress
from crossnet.health import State
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
from crossnet.record import APPLIED, read_record
from crossnet.resources import Change, PortSecurity
from crossnet.resources.port_security import made_at
from crossnet.show import text
from crossnet.spec import PortSecurity as Wish
from crossnet.spec import Spec
from crossnet.values import Family, address, network
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
LEAVE = ", port-security: leave"
STOPS = frozenset(("neutron-port-down", "neutron-antispoof-source", "neutron-security-group"))


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


INGRESS = port("B-eth1", addresses=(address("10.0.43.101"),))
EGRESS = port("B-eth0", OTHER, addresses=(address("10.0.44.63"),))


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
        project="lab",
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


def hidden(said: CloudFacts, **more: object) -> CloudFacts:
    """The cloud as credentials see it that see none of the gateway's ports."""
    hiding: dict[str, object] = {"ports": {}, "groups": {}, "members": (), "referring": ()}
    return replace(said, **(hiding | more))  # type: ignore[arg-type]


def still_owned(plan: Plan) -> list[PortSecurity]:
    after = next(host.after for host in plan.hosts if host.host == "gateway")
    return [one.applied for one in after.owned if isinstance(one.applied, PortSecurity)]


def told(plan: Plan, code: str) -> list[str]:
    return [one.text for one in plan.impacts if one.code == code]


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
    undo = make_undo_plan(spec(more), there)
    (back,) = of_ports(undo)
    assert as_made(back, now.ports["eth1"], now).ports["eth1"] == before
    assert "flows-live-on" not in {one.code for one in plan.impacts}
    shown = " ".join(text.plan_text(undo).split())
    assert "services of gateway itself at eth1 10.0.43.101 goes on until it ends" in shown


def test_without_a_record_its_group_tells_that_the_port_was_opened() -> None:
    plan = planned()
    (change,) = of_ports(plan)
    _, want = sides(change)
    assert want is not None
    now = as_made(change, INGRESS, cloud())
    own = replace(now.groups["g-new"], description=want.made_for)
    now = replace(now, groups={**now.groups, "g-new": own})
    undo = make_undo_plan(spec(), hosts(now))
    (back,) = of_ports(undo)
    left = as_made(back, now.ports["eth1"], now).ports["eth1"]
    assert left.groups == INGRESS.groups
    (lost,) = told(undo, "unrecorded")
    assert "address pairs of the port of eth1 10.0.43.101 in cloud prod, it does not tell: they stay" in lost


def test_flows_live_on_where_less_is_admitted_and_only_there() -> None:
    wide = planned(more=", allow: [icmp, tcp/443]")
    (change,) = of_ports(wide)
    there = applied(wide, as_made(change, INGRESS, cloud()))

    def told(more: str) -> bool:
        return "flows-live-on" in {one.code for one in make_plan(spec(more), there).impacts}

    assert told(", allow: icmp")
    assert not told(", allow: [icmp, tcp/443, udp/53]")
    assert not told(", port-security: disable")


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


def test_leave_changes_nothing_and_says_what_the_ports_do_not_let_through() -> None:
    plan = planned(more=", port-security: leave")
    assert of_ports(plan) == []
    (spoofed,) = told(plan, "neutron-antispoof-source")
    assert "port B-eth1 of eth1 lets no answers out that come from 10.0.44.0/24" in spoofed
    assert "or write `port-security: least`" in spoofed
    (closed,) = told(plan, "neutron-security-group")
    assert (
        "port B-eth1 of eth1: no rule of its security group gateways lets in anything from 10.0.43.15"
        in closed
    )
    assert "rule create --ingress --ethertype IPv4 --protocol any --remote-ip 10.0.43.15/32 g-own" in closed
    assert "[neutron-antispoof-source]" in text.plan_text(plan)
    assert STOPS.isdisjoint(one.code for one in planned().impacts)


def test_leave_needs_no_cloud_that_answers() -> None:
    plan = planned(Unasked("prod", "logged in: 503\n  Try again later."), LEAVE)
    (words,) = told(plan, "cloud-unasked")
    assert words.endswith("so what they do not let through is not known: logged in: 503")


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"is_enabled": False}, "neutron-port-down", "port set --enable id-A`"),
        (
            {"groups": ()},
            "neutron-security-group",
            "it is in no security group, so nothing lets out anything to",
        ),
        (
            {"groups": ("g-closed",)},
            "neutron-security-group",
            "no rule of its security group closed lets out tcp, udp to 10.0.44.1: `openstack --os-cloud prod "
            "security group rule create --egress --ethertype IPv4 --protocol tcp --remote-ip 10.0.44.1/32 g-closed`",
        ),
        (
            {"addresses": (address("10.0.43.99"),)},
            "neutron-antispoof-source",
            "lets no requests out that come from 10.0.43.15: its addresses are 10.0.43.99",
        ),
    ],
    ids=["down", "no group", "closed group", "another address"],
)
def test_what_a_client_s_own_port_stops_is_told(changed: dict[str, object], code: str, words: str) -> None:
    """The gateway's ports are opened; a client whose port is shut gets nothing through all the same."""
    ping = GroupRule("egress", Family.V4, "icmp", None, network("10.0.44.0/25"))
    closed = SecurityGroup("g-closed", "closed", "lab", "", (ping,))
    own = port("A", "fa:16:3e:00:00:09", **{"addresses": (address("10.0.43.15"),), **changed})
    known = cloud(INGRESS, EGRESS, closed)
    app = replace(hosts()["app"], cloud=replace(known, ports={"eth0": own}, members=(own,)))
    plan = make_plan(spec(), {**hosts(known), "app": app})
    (found,) = [one for one in plan.impacts if one.code in STOPS]
    assert (found.code, found.where, found.crossings) == (code, "app", frozenset(("business",)))
    assert words in found.text
    assert len(of_ports(plan)) == 1


def test_an_egress_port_that_lets_nothing_out_is_told() -> None:
    """Neutron's own rules let everything out of a new group; somebody may have taken them away."""
    shut = SecurityGroup("g-shut", "shut", "lab", "", ())
    (words,) = told(
        planned(cloud(INGRESS, replace(EGRESS, groups=("g-shut",)), shut)), "neutron-security-group"
    )
    assert (
        "port B-eth0 of eth0: no rule of its security group shut lets out anything to 10.0.44.0/24" in words
    )


def test_an_address_that_is_none_of_the_port_s_gets_its_pair() -> None:
    moving = hosts()["gateway"]
    links = tuple(
        replace(link, addresses=(*link.addresses, LinkAddress(address("10.0.44.80"), 24)))
        if link.name == "eth0"
        else link
        for link in moving.links
    )
    facts = {**hosts(), "gateway": replace(moving, links=links)}
    plan = make_plan(spec(", translate: {snat: 10.0.44.80}"), facts)
    found = {want.interface: want for change in of_ports(plan) if (want := sides(change)[1])}
    assert (found["eth0"].pairs, found["eth0"].rules) == ((network("10.0.44.80/32"),), ())
    assert STOPS.isdisjoint(one.code for one in plan.impacts)


def test_off_says_who_does_not_take_the_gateway_for_a_member_any_more() -> None:
    """Measured: what admits the members of `default` admits a port no more that is in no group."""
    shared = replace(INGRESS, groups=("g-default",))
    other = port("A", "fa:16:3e:00:00:09", groups=("g-default",))
    plan = planned(cloud(shared, EGRESS, members=(shared, other)), ", port-security: disable")
    (words,) = told(plan, "member-no-more")
    assert "what eth1 10.0.43.101 sends by itself to ports in default (A) does not get in any more" in words
    back = replace(
        as_made(of_ports(plan)[0], shared, cloud(shared, members=(shared, other))), referring=(DEFAULT,)
    )
    again = make_plan(spec(), applied(plan, back))
    (trap,) = told(again, "pairs-in-shared-group")  # of the groups that come back with the pairs
    assert "from 10.0.44.0/24 everybody gets in on its ports" in trap


def test_rules_that_let_out_to_the_gateway_s_group_are_told_too() -> None:
    out = SecurityGroup("g-out", "out", "lab", "", (GroupRule("egress", Family.V4, remote_group="g-own"),))
    other = port("C", "fa:16:3e:00:00:08", groups=("g-out",))
    plan = planned(cloud(INGRESS, EGRESS, out, referring=(out,), members=(INGRESS, other)))
    (words,) = told(plan, "pairs-in-shared-group")
    assert "the security group out lets its ports send to the members of gateways" in words
    assert "its ports (C) may send to 10.0.44.0/24" in words


def test_a_group_of_others_under_the_name_of_its_own_is_none_of_crossnet_s() -> None:
    rules = (GroupRule("ingress", Family.V4, "tcp", (22, 22)),)
    theirs = SecurityGroup("g-theirs", "crossnet-id-B-eth1", "lab", "of the ops team", rules)
    (change,) = of_ports(planned(cloud(replace(INGRESS, groups=("g-own", "g-theirs")), EGRESS, theirs)))
    assert sides(change)[0] is None


def test_rules_that_name_the_gateway_s_group_open_what_they_say_and_no_more() -> None:
    rules = (
        GroupRule("ingress", Family.V4, "tcp", (22, 22), remote_group="g-own"),
        GroupRule("ingress", Family.V6, remote_group="g-own"),
    )
    other = port("C", "fa:16:3e:00:00:08", groups=("g-in",))
    admits = [SecurityGroup("g-in", "in", "lab", "", (rule,)) for rule in rules]
    said = [cloud(INGRESS, EGRESS, one, referring=(one,), members=(INGRESS, other)) for one in admits]
    (words,) = told(planned(said[0]), "pairs-in-shared-group")
    assert "from 10.0.44.0/24 everybody gets in by tcp/22 on its ports (C). A port" in words
    assert told(planned(said[1]), "pairs-in-shared-group") == []  # no pair is of IPv6
    (unseen,) = told(planned(cloud(replace(INGRESS, groups=("g-far",)))), "pairs-in-shared-group")
    assert "the security group g-far of B-eth1 is not seen with these credentials" in unseen


def test_a_port_of_a_network_card_is_named() -> None:
    assert told(planned(cloud(replace(INGRESS, vnic="direct"))), "port-not-switched") != []


def test_whose_crossing_is_in_no_cloud_needs_none_beside_those_of_others() -> None:
    """A colleague who calls the cloud otherwise, or has no entry of it, shares the gateway all the same."""
    plan = planned()
    (change,) = of_ports(plan)
    there = applied(plan, as_made(change, INGRESS, cloud()))
    unasked = {**there, "gateway": replace(there["gateway"], cloud=Unasked("prod", "no such entry"))}
    source = spec().source.replace("openstack: {cloud: prod}\n", "").replace("10.0.44.0/24", "10.0.45.0/24")
    other = specfile.parse(source.replace("business", "other") + "name: other\n", "other.yaml")
    added = make_plan(other, unasked)
    assert (of_ports(added), [one.port for one in still_owned(added)]) == ([], [INGRESS.id])
    (stands,) = status_of(other, unasked)
    assert (stands.state, stands.reasons) == (State.DOWN, ("not applied",))
    later = applied(added, cloud())
    later = {**later, "gateway": replace(later["gateway"], cloud=unasked["gateway"].cloud)}
    assert not any("cloud" in line for one in status_of(other, later) for line in one.reasons)
    (alike,) = (one for one in status_of(spec(), later) if one.crossing == "business")
    assert any("no such entry" in line for line in alike.reasons)
    undone = make_undo_plan(other, {**applied(added, cloud()), "app": unasked["app"]})
    assert (of_ports(undone), [one.port for one in still_owned(undone)]) == ([], [INGRESS.id])


def test_a_stateless_group_is_refused_before_anything_is_changed() -> None:
    stateless = replace(OWN, is_stateful=False)
    with pytest.raises(PlanRefused, match="its security group gateways is stateless"):
        planned(cloud(INGRESS, EGRESS, stateless))


def test_more_pairs_than_usual_are_warned_of() -> None:
    networks = ", ".join(f"10.9.{n}.0/24" for n in range(0, 22, 2))
    many = specfile.parse(spec().source.replace("10.0.44.0/24", f"[{networks}]"), "crossnet.yaml")
    (words,) = told(make_plan(many, hosts()), "many-address-pairs")
    assert "would have 11 allowed address pairs" in words


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


def leaving(there: Mapping[str, Facts]) -> list[Plan]:
    """An undo, and a crossing that leaves ports alone from now on."""
    return [make_undo_plan(spec(), there), make_plan(spec(LEAVE), there)]


def test_a_port_that_is_not_seen_stays_recorded_and_is_told() -> None:
    plan = planned()
    (change,) = of_ports(plan)
    now = as_made(change, INGRESS, cloud())
    strange = applied(plan, hidden(now, project="stranger"))
    for left in leaving(strange):
        assert of_ports(left) == []
        assert [one.port for one in still_owned(left)] == [INGRESS.id]
        (words,) = told(left, "stays-unseen")
        assert "credentials of project lab, or of an administrator" in words
    # Later, with the right ones: nothing but the port is left to be closed.
    undone = make_undo_plan(spec(), strange)
    later = applied(undone, now)
    (back,) = of_ports(make_undo_plan(spec(), later))
    assert as_made(back, now.ports["eth1"], now).ports["eth1"] == INGRESS


@pytest.mark.parametrize("who", [{"project": "lab"}, {"sees_all": True}], ids=["member", "admin"])
def test_a_port_that_is_deleted_is_not_told_as_unseen(who: dict[str, object]) -> None:
    plan = planned()
    (change,) = of_ports(plan)
    gone = applied(plan, hidden(as_made(change, INGRESS, cloud()), **who))
    for left in leaving(gone):
        assert (of_ports(left), still_owned(left), told(left, "stays-unseen")) == ([], [], [])


def test_the_group_of_a_port_that_is_deleted_goes() -> None:
    plan = planned()
    (change,) = of_ports(plan)
    now = as_made(change, INGRESS, cloud())
    for left in leaving(applied(plan, hidden(now, project="lab", groups=now.groups))):
        (back,) = of_ports(left)
        assert "its security group crossnet-id-B-eth1 goes" in back.description
        assert still_owned(left) == []


def test_a_port_is_closed_by_its_id_whatever_it_is_plugged_into_by_now() -> None:
    """Also where the host says another hardware address than the port has: it is the host's own word."""
    plan = planned()
    (change,) = of_ports(plan)
    now = as_made(change, INGRESS, cloud())
    there = applied(plan, hidden(now, strays=(now.ports["eth1"],), groups=now.groups))
    for left in leaving(there):
        (back,) = of_ports(left)
        assert "eth1 10.0.43.101 (port B-eth1): may not send 10.0.44.0/24 any more" in back.description
        assert as_made(back, now.ports["eth1"], now).ports["eth1"] == INGRESS
        assert (still_owned(left), told(left, "stays-unseen")) == ([], [])
    (stands,) = (one for one in status_of(spec(), there) if one.crossing == "business")
    assert any("the port B-eth1 of eth1 10.0.43.101 is plugged into no" in line for line in stands.reasons)
    closed = applied(plan, hidden(now, strays=(INGRESS,)))
    for left in leaving(closed):
        assert (of_ports(left), still_owned(left)) == ([], [])


def test_a_port_that_has_not_the_address_is_named_as_its_cloud_does() -> None:
    """A host may say anything of its interfaces, and its record too."""
    plan = planned()
    (change,) = of_ports(plan)
    now = as_made(change, INGRESS, cloud())
    other = replace(now.ports["eth1"], name="bystander", addresses=(address("10.0.43.99"),))
    (back,) = of_ports(
        make_undo_plan(spec(), applied(plan, replace(now, ports={**now.ports, "eth1": other})))
    )
    assert "(port bystander): " in back.description


def test_what_another_cloud_says_counts_for_nothing() -> None:
    plan = planned()
    (change,) = of_ports(plan)
    there = applied(plan, replace(as_made(change, INGRESS, cloud()), cloud="other"))
    with pytest.raises(CloudUnasked, match="nobody has asked it") as raised:
        make_undo_plan(spec(), there)
    assert "by an entry prod of clouds.yaml with credentials of its project" in raised.value.todo
    with pytest.raises(CloudUnasked):
        make_plan(spec(LEAVE), there)
    with pytest.raises(PlanRefused, match="nobody asked"):
        make_plan(spec(), there)
    further = as_made(change, INGRESS, cloud())
    asked = {**there, "gateway": replace(there["gateway"], further_clouds=(further,))}
    assert len(of_ports(make_undo_plan(spec(), asked))) == 1


@pytest.mark.parametrize("secured", [True, False])
def test_its_group_goes_where_somebody_has_taken_the_port_out_of_it(secured: bool) -> None:
    """By hand: `port set --no-security-group --no-allowed-address`, with port security off or not."""
    plan = planned()
    (change,) = of_ports(plan)
    now = as_made(change, INGRESS, cloud())
    by_hand = replace(INGRESS, secured=secured, groups=())
    there = applied(plan, replace(now, ports={**now.ports, "eth1": by_hand}))
    (back,) = of_ports(make_undo_plan(spec(), there))
    assert "its security group crossnet-id-B-eth1 goes, in which it is not any more" in back.description
    made = as_made(back, by_hand, now)
    assert made.ports["eth1"] == by_hand  # nobody else's switch is turned
    assert "g-new" not in made.groups
    again = make_plan(spec(), there)
    assert [each.want is None for each in of_ports(again)] == [not secured]


def test_undo_of_off_says_what_it_writes_back() -> None:
    theirs = AddressPair(network("10.0.9.0/24"), OTHER)
    before = replace(INGRESS, pairs=(theirs,), groups=("g-own", "g-x"))
    off = ", port-security: disable"
    plan = planned(cloud(before), off)
    (change,) = of_ports(plan)
    now = as_made(change, before, cloud(before))
    (back,) = of_ports(make_undo_plan(spec(off), applied(plan, now)))
    assert (
        f"with its group gateways and its pairs 10.0.9.0/24 of {OTHER} (g-x, which it had too, is no more)"
        in back.description
    )
    left = as_made(back, now.ports["eth1"], now).ports["eth1"]
    assert (left.groups, left.pairs, left.secured) == (("g-own",), (theirs,), True)
    (unseen,) = of_ports(make_undo_plan(spec(off), applied(plan, replace(now, project="other"))))
    assert sides(unseen)[0].off.groups == ("g-own", "g-x")  # type: ignore[union-attr]


def test_a_crossing_that_switches_port_security_off_does_so_at_its_own_ports_alone() -> None:
    (path,) = planned().paths
    off = replace(path, crossing=replace(path.crossing, port_security=Wish.DISABLE))
    leg = replace(path.leg, ingress="eth0", egress="eth1")
    back = replace(path, legs=(leg,))
    gateway = hosts()["gateway"]
    made, _ = port_security(gateway, read_record(gateway), [off, back])
    assert {one.interface: one.off is not None for one in made} == {"eth1": True, "eth0": False}


def test_status_tells_each_crossing_when_the_cloud_does_not_answer() -> None:
    silent = Unasked("prod", "looked for it in clouds.yaml: it has no entry prod\n  Write one.")
    there = applied(planned(), cloud())
    there = {**there, "gateway": replace(there["gateway"], cloud=silent)}
    (found,) = status_of(spec(), there)
    # The fact sheet has nothing of what the record says of the host itself.
    assert (found.crossing, found.state) == ("business", State.DRIFTED)
    assert any("table crossnet was removed" in one for one in found.drift)
    assert [
        one
        for one in found.reasons
        if one.startswith("cloud prod: asked for what it holds for gateway: looked for")
    ]
    assert found.lasting != ()
    fresh = {**hosts(), "gateway": replace(hosts()["gateway"], cloud=silent)}
    (found,) = status_of(spec(), fresh)
    assert (found.state, found.reasons[0]) == (State.DOWN, "not applied")
    assert "has no entry prod" in found.reasons[1]
