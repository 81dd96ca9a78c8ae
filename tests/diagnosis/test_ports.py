"""What a flow is stopped by at ports of a cloud: as its API tells it, and joined with what hosts have seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from crossnet.capture import Kind, Packet, Sighting
from crossnet.diagnosis.course import Course, Hints, course
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.fixes import fix_of
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.judge import Evidence, judge
from crossnet.diagnosis.stale import changed, differences
from crossnet.diagnosis.static import foretell
from crossnet.diagnosis.trail import Tags, Trail
from crossnet.facts import Facts
from crossnet.facts.neighbours import Neighbour
from crossnet.openstack.ports import CloudFacts, GroupRule, Unasked
from crossnet.spec import Crossing, PortSecurity
from crossnet.translation import Untranslated
from crossnet.values import Probe, Protocol, Traffic
from crossnet.verdict import Confidence, Diagnosis, Fix, Place, Result
from crossnet.verification.probe import Reply, Sent
from diagnosis.clouded import (
    CLIENTS,
    DEFAULT,
    EXTRA,
    GATEWAYS,
    V4,
    Cloud,
    apart,
    holding,
    off,
    port,
    sending,
    shared,
)
from diagnosis.test_stopped_by_rules import (
    BEYOND,
    CLIENT,
    ECHO,
    GATEWAY,
    POINTS,
    SIZES,
    TARGET,
    answer,
    hosts,
    noted,
    request,
    seen,
)

NETWORK = "10.0.44.0/24"
HTTPS = Probe(Protocol.TCP, TARGET, 443)
CROSSING = Crossing("business", ("app",), "gateway", BEYOND, cloud="prod")
LOST_ON_THE_WAY_BACK = [each for size in SIZES for each in (*request(size, 3), *answer(size, 2))]
LOST_ON_THE_WAY_THERE = [each for size in SIZES for each in request(size, 1)]
UNANSWERED = [each for size in SIZES for each in request(size, 3)]
WHOLE = [each for size in SIZES for each in (*request(size, 3), *answer(size, 3))]


def way(known: Mapping[str, Facts], crossing: Crossing | None = None) -> Course:
    return course("app", ("gateway",), TARGET, known, Hints(beyond=BEYOND, crossing=crossing))


def foretold(known: Mapping[str, Facts], probe: Probe = ECHO, crossing: Crossing | None = None) -> Foretold:
    return foretell(way(known, crossing), probe, known, BEYOND)


def told(cloud: Cloud, probe: Probe = ECHO, gateway: str = "") -> list[tuple[str, str, str | None, str]]:
    found = foretold(cloud.known_to(hosts(gateway=gateway)), probe).findings
    return [(str(each.direction), each.host, each.interface, each.code) for each in found]


def verdict(
    known: Mapping[str, Facts],
    sightings: list[Sighting],
    replies: tuple[Reply, ...] = (Reply.SILENT,) * 5,
    crossing: Crossing | None = None,
    points: Mapping[str, tuple[str, ...]] = POINTS,
) -> Diagnosis:
    along, probe = way(known, crossing), ECHO
    trail = Trail(Tags(probe, SIZES), along, tuple(sightings), points)
    sent = tuple(Sent(probe, each) for each in replies)
    name = crossing.name if crossing else None
    return judge(Evidence(name, along, probe, known, foretold(known, probe, crossing), trail, sent))


def ingress(cloud: Cloud, *pairs: str) -> Cloud:
    return replace(cloud, ingress=sending(cloud.ingress, *pairs))


def admitting(cloud: Cloud) -> Cloud:
    """The extra rule of the matrix: the client gets in at the gateway's ingress port."""
    return replace(cloud, ingress=replace(cloud.ingress, groups=(*cloud.ingress.groups, EXTRA.id)))


# ---- what the API tells ----------------------------------------------------------------------------


def test_the_classic_is_the_answer_that_the_ingress_port_does_not_let_out() -> None:
    assert told(shared()) == [("reply", "gateway", "eth1", "neutron-antispoof-source")]
    (found,) = foretold(shared().known_to(hosts())).findings
    assert found.certain
    assert found.text == (
        "port B-eth1 of eth1 in cloud prod lets nothing out from 10.0.44.1: its addresses are 10.0.43.101, its "
        "allowed address pairs none"
    )
    assert foretold(shared().known_to(hosts())).passes is False


@pytest.mark.parametrize(
    "cloud", [ingress(shared(), NETWORK), replace(shared(), ingress=off(shared().ingress))]
)
def test_where_ports_let_it_pass_nothing_is_found(cloud: Cloud) -> None:
    assert told(cloud) == []
    assert foretold(cloud.known_to(hosts())).passes is True


def test_everything_that_would_have_to_change_is_found_in_the_order_in_which_packets_meet_it() -> None:
    cloud = replace(apart(), app=holding(apart().app, ()), egress=replace(apart().egress, is_enabled=False))
    assert told(cloud) == [
        ("forward", "app", "eth0", "neutron-security-group"),
        ("forward", "gateway", "eth1", "neutron-security-group"),
        ("forward", "gateway", "eth0", "neutron-port-down"),
        ("reply", "gateway", "eth0", "neutron-port-down"),
        ("reply", "gateway", "eth1", "neutron-antispoof-source"),
    ]


def test_what_hosts_stop_hides_no_port_behind_it() -> None:
    found = told(shared(), gateway="*filter\n-A FORWARD -i eth1 -j DROP\nCOMMIT\n")
    assert [code for *_, code in found] == ["filter-rule-drop", "neutron-antispoof-source"]


def test_a_group_is_asked_for_the_very_packet() -> None:
    web = replace(EXTRA, rules=(GroupRule("ingress", V4, "tcp", (443, 443)),))
    cloud = replace(admitting(ingress(apart(), NETWORK)), groups=(*apart().groups[:-1], web))
    assert told(cloud, HTTPS) == []
    assert told(cloud) == [("forward", "gateway", "eth1", "neutron-security-group")]
    (found,) = foretold(cloud.known_to(hosts())).findings
    assert found.text == (
        "port B-eth1 of eth1 in cloud prod: no rule of the security groups gateways, extra lets in echoes from "
        "10.0.43.15"
    )


def test_as_whom_packets_leave_the_gateway_counts_at_its_egress_port() -> None:
    """Translated as its own address; untranslated as the client, where that is what is wanted."""
    cloud = ingress(shared(), NETWORK)
    known = cloud.known_to(hosts())
    bare = dict(known) | {
        "gateway": replace(known["gateway"], firewall=replace(known["gateway"].firewall, foreign=()))
    }
    lost = [(each.code, each.certain) for each in foretold(bare).findings]
    assert lost == [("snat-missing", False)], "once it is mended the port has nothing against it"
    as_itself = replace(CROSSING, translate=Untranslated())
    found = [(each.code, each.host, each.interface) for each in foretold(bare, crossing=as_itself).findings]
    assert ("neutron-antispoof-source", "gateway", "eth0") in found
    opened = replace(cloud, egress=sending(cloud.egress, "10.0.43.15/32")).known_to(bare)
    assert "neutron-antispoof-source" not in [
        each.code for each in foretold(opened, crossing=as_itself).findings
    ]


def test_a_client_with_an_address_that_its_port_does_not_know() -> None:
    cloud = ingress(shared(), NETWORK)
    cloud = replace(cloud, app=replace(cloud.app, addresses=(ip_address("10.0.43.77"),)))
    assert ("forward", "app", "eth0", "neutron-antispoof-source") in told(cloud)


def test_the_status_of_a_port_is_no_more_than_a_doubt_and_none_where_it_is_in_use() -> None:
    cloud = ingress(shared(), NETWORK)
    down = replace(cloud, ingress=replace(cloud.ingress, status="DOWN"))
    assert told(down) == [
        ("forward", "gateway", "eth1", "neutron-port-down"),
        ("reply", "gateway", "eth1", "neutron-port-down"),
    ]
    known = down.known_to(hosts())
    assert not any(each.certain for each in foretold(known).findings)
    for more in (
        {"reached_at": ip_address("10.0.43.101")},
        {"neighbours": (Neighbour(CLIENT, "eth1", "REACHABLE", "fa:16:3e:00:2b:0f"),)},
    ):
        used = dict(known) | {"gateway": replace(known["gateway"], **more)}
        assert foretold(used).findings == ()


def test_what_cannot_be_seen_is_a_doubt() -> None:
    cloud = replace(ingress(apart(), NETWORK), unseen=frozenset({"id-gateways"}))
    (found,) = [each for each in foretold(cloud.known_to(hosts())).findings if each.interface == "eth1"]
    assert (found.code, found.certain) == ("neutron-security-group", False)
    assert "no rule that can be seen of the security group id-gateways lets in echoes" in found.text


# ---- joined with what was seen ----------------------------------------------------------------------


def test_an_answer_that_was_sent_and_not_received_is_proved_to_end_at_the_port() -> None:
    found = verdict(shared().known_to(hosts()), LOST_ON_THE_WAY_BACK)
    assert (found.result, found.forward.code) == (Result.UNREACHABLE, None)
    assert (found.reply.code, found.reply.confidence) == ("neutron-antispoof-source", Confidence.PROVED)
    assert found.reply.at == Place("gateway", "eth1")
    assert found.reply.evidence[0] == "the reply left gateway by eth1, and did not come to app"
    assert found.also == ()
    assert noted(found) == {}


def test_a_request_that_a_group_does_not_admit_is_proved_and_the_answer_is_named_as_what_comes_next() -> None:
    found = verdict(apart().known_to(hosts()), LOST_ON_THE_WAY_THERE)
    assert (found.forward.code, found.forward.confidence) == ("neutron-security-group", Confidence.PROVED)
    assert found.forward.at == Place("gateway", "eth1")
    assert found.forward.disposition == "dropped"
    assert [(each.direction, each.code) for each in found.also] == [("reply", "neutron-antispoof-source")]


def test_a_client_whose_own_port_lets_nothing_out() -> None:
    cloud = replace(ingress(shared(), NETWORK), app=holding(shared().app, ()))
    found = verdict(cloud.known_to(hosts()), LOST_ON_THE_WAY_THERE)
    assert (found.forward.code, found.forward.at) == ("neutron-security-group", Place("app", "eth0"))
    # Its packets do leave the host: what does not is not the port's doing.
    kept = verdict(cloud.known_to(hosts()), [])
    assert kept.forward.code == "src-output-filtered"


def test_what_leaves_the_last_gateway_and_its_port_does_not_let_out() -> None:
    cloud = ingress(shared(), NETWORK)
    cloud = replace(cloud, egress=holding(cloud.egress, ()))
    found = verdict(cloud.known_to(hosts()), UNANSWERED)
    assert (found.forward.code, found.forward.at) == ("neutron-security-group", Place("gateway", "eth0"))
    assert found.forward.confidence is Confidence.PROVED


def test_a_pair_for_other_frames_is_told_from_one_that_lets_it_out() -> None:
    cloud = ingress(shared(), NETWORK)
    pair = replace(cloud.ingress.pairs[0], mac="00:00:5e:00:01:0a")
    cloud = replace(cloud, ingress=replace(cloud.ingress, pairs=(pair,)))
    (found,) = foretold(cloud.known_to(hosts())).findings
    assert found.code == "neutron-antispoof-source"
    assert found.text.endswith("pairs 10.0.44.0/24 in frames of 00:00:5e:00:01:0a")


def test_an_answer_that_the_gateways_own_port_does_not_take_is_not_blamed_on_who_should_answer() -> None:
    """One rule that lets requests out, in a group that lets no answers in for that (`stateful: false`)."""
    cloud = shared()
    stateless = replace(GATEWAYS, is_stateful=False)
    cloud = replace(
        cloud,
        ingress=sending(cloud.ingress, NETWORK),
        egress=holding(cloud.egress, (stateless,)),
        groups=(DEFAULT, CLIENTS, stateless, EXTRA),
    )
    found = verdict(cloud.known_to(hosts()), UNANSWERED)
    assert (found.reply.code, found.reply.at) == ("neutron-security-group", Place("gateway", "eth0"))
    assert found.reply.confidence is Confidence.INFERRED
    assert found.also == ()
    assert "gateways" in found.reply.detail


def test_only_the_ports_between_two_hosts_are_laid_on_what_is_lost_there() -> None:
    cloud = ingress(shared(), NETWORK)
    known = replace(cloud, egress=holding(cloud.egress, ())).known_to(hosts())
    found = verdict(known, LOST_ON_THE_WAY_THERE)
    assert found.forward.code == "lost-between"
    assert [each.code for each in found.also] == ["neutron-security-group"]


def test_where_nobody_watched_a_port_is_told_by_what_the_api_says_alone() -> None:
    cloud = replace(ingress(shared(), NETWORK), app=holding(shared().app, ()))
    found = verdict(cloud.known_to(hosts()), [], points={})
    assert (found.forward.code, found.forward.confidence) == ("neutron-security-group", Confidence.INFERRED)
    assert found.forward.disposition == "dropped", "the host itself has sent it"


def test_what_comes_to_a_host_and_does_not_leave_it_is_not_the_ports_doing() -> None:
    cloud = ingress(shared(), NETWORK)
    cloud = replace(cloud, egress=holding(cloud.egress, ()))
    stopped = verdict(cloud.known_to(hosts()), [each for size in SIZES for each in request(size, 2)])
    assert stopped.forward.code == "filter-rule-drop"
    back = [each for size in SIZES for each in (*request(size, 3), *answer(size, 1))]
    assert verdict(shared().known_to(hosts()), back).reply.code == "reply-not-untranslated"


def test_a_port_that_is_off_is_not_asked_for_a_neighbour() -> None:
    cloud = ingress(shared(), NETWORK)
    cloud = replace(cloud, ingress=replace(cloud.ingress, is_enabled=False))
    asked = Packet("arp", CLIENT, None, asks=ip_address("10.0.43.101"))
    found = verdict(cloud.known_to(hosts()), [seen("app", "eth0", Kind.SENT, asked)])
    assert (found.forward.code, found.forward.confidence) == ("neutron-port-down", Confidence.PROVED)
    # Groups let questions for neighbours pass.
    other = verdict(apart().known_to(hosts()), [seen("app", "eth0", Kind.SENT, asked)])
    assert other.forward.code == "lost-between"


def test_a_doubt_is_one_of_several_candidates() -> None:
    cloud = replace(ingress(apart(), NETWORK), unseen=frozenset({"id-gateways"}))
    found = verdict(cloud.known_to(hosts()), LOST_ON_THE_WAY_THERE)
    assert found.forward.confidence is Confidence.CANDIDATES
    assert found.forward.candidates == ("neutron-security-group", "lost-between")


def test_a_status_that_packets_disprove_is_not_told() -> None:
    cloud = shared()
    cloud = replace(
        cloud, ingress=replace(cloud.ingress, status="DOWN"), app=replace(cloud.app, status="DOWN")
    )
    found = verdict(cloud.known_to(hosts()), LOST_ON_THE_WAY_BACK)
    assert found.reply.code == "neutron-antispoof-source"
    assert found.also == ()
    assert "static-dynamic-disagree" not in noted(found), "that was a doubt only"


# ---- where packets contradict it --------------------------------------------------------------------


def test_what_was_received_though_a_port_should_stop_it_is_a_disagreement_and_no_cause() -> None:
    """Here the request gets in at the ingress port, and what stops is something else."""
    found = verdict(apart().known_to(hosts()), LOST_ON_THE_WAY_BACK)
    assert found.reply.code == "neutron-antispoof-source"
    assert "neutron-security-group" not in [each.code for each in found.also]
    assert noted(found)["static-dynamic-disagree"] == (
        "port B-eth1 of eth1 in cloud prod: no rule of the security group gateways lets in echoes from 10.0.43.15 "
        "(neutron-security-group), and the request was seen to get past it to gateway"
    )


def test_an_answer_that_came_though_the_port_should_drop_it() -> None:
    found = verdict(shared().known_to(hosts()), WHOLE, (Reply.ANSWERED,) * 5)
    assert found.result is Result.REACHABLE
    assert "neutron-antispoof-source" in noted(found)["static-dynamic-disagree"]
    # It came to the client, whose program has got none: that is not the port's doing.
    late = verdict(shared().known_to(hosts()), WHOLE)
    assert late.reply.code == "reply-not-untranslated"
    assert "was seen to get past it to app" in noted(late)["static-dynamic-disagree"]


def test_what_a_gateway_answers_by_itself_has_got_past_no_port_behind_it() -> None:
    cloud = ingress(shared(), NETWORK)
    known = replace(cloud, egress=holding(cloud.egress, ())).known_to(hosts())
    itself = [each for size in SIZES for each in (*request(size, 2), *answer(size, 3)[1:])]
    found = verdict(known, itself)
    assert "neutron-security-group" in [each.code for each in found.also]
    assert "static-dynamic-disagree" not in noted(found)


def test_packets_that_are_lost_where_all_ports_should_let_them_pass() -> None:
    known = ingress(shared(), NETWORK).known_to(hosts())
    found = verdict(known, LOST_ON_THE_WAY_BACK)
    assert (found.reply.code, found.reply.candidates) == (
        "lost-between",
        ("lost-between", "filter-policy-drop"),
    )
    assert noted(found)["static-dynamic-disagree"].startswith(
        "the cloud says that port B-eth1 and port A let it pass, but the reply left gateway by eth1"
    )


def test_that_a_driver_checks_destinations_is_never_more_than_a_candidate() -> None:
    known = shared().known_to(hosts())
    found = verdict(known, LOST_ON_THE_WAY_THERE)
    assert found.forward.code == "lost-between"
    assert "neutron-antispoof-destination" in found.forward.candidates
    assert "neutron-security-group" not in found.forward.candidates, "that is known to let it pass"
    opened = verdict(ingress(shared(), NETWORK).known_to(hosts()), LOST_ON_THE_WAY_THERE)
    assert "neutron-antispoof-destination" not in opened.forward.candidates


def test_a_port_that_was_changed_meanwhile_is_named() -> None:
    before, after = (cloud.known_to(hosts()) for cloud in (shared(), ingress(shared(), NETWORK)))
    assert changed(before, after) == {"gateway", "app"}
    (words,) = differences(foretold(before), foretold(after), changed(before, after))
    assert words.startswith(
        "a port of gateway was changed after it had been read: no longer neutron-antispoof-source, port B-eth1"
    )


# ---- where the cloud does not tell ------------------------------------------------------------------


def unasked(known: Mapping[str, Facts], *names: str) -> dict[str, Facts]:
    said = Unasked("prod", "cloud prod: tried to log in: no answer\n  Look whether it is up.")
    return {name: replace(each, cloud=said) if name in names else each for name, each in known.items()}


def test_where_it_was_not_asked_all_that_may_be_are_candidates_and_it_says_so() -> None:
    known = unasked(hosts(), "app", "gateway")
    found = verdict(known, LOST_ON_THE_WAY_BACK)
    assert found.reply.candidates == (
        "lost-between",
        "neutron-antispoof-source",
        "neutron-security-group",
        "filter-policy-drop",
        "neutron-port-down",
    )
    assert noted(found)["cloud-unasked"] == "cloud prod: tried to log in: no answer"


def test_where_one_port_is_known_the_other_may_still_be_it() -> None:
    known = ingress(shared(), NETWORK).known_to(hosts())
    known["app"] = replace(
        known["app"], cloud=CloudFacts("prod", {}, unfound={"eth0": "no port that this user sees"})
    )
    found = verdict(known, LOST_ON_THE_WAY_BACK)
    assert "neutron-security-group" in found.reply.candidates
    assert "neutron-antispoof-source" not in found.reply.candidates, "that port lets it out"
    assert noted(found)["port-unknown"] == (
        "cloud prod does not tell which port eth0 of app is plugged into: no port that this user sees"
    )
    assert "static-dynamic-disagree" not in noted(found)


# ---- what to do -------------------------------------------------------------------------------------


def fixes(cloud: Cloud, code: str, crossing: Crossing | None = None, probe: Probe = ECHO) -> tuple[Fix, ...]:
    known = cloud.known_to(hosts())
    said = foretold(known, probe, crossing)
    cause = next(each for each in said.findings if each.code == code)
    return fix_of(cause, way(known, crossing), probe, known, said.source)


def test_a_pair_for_the_networks_beyond_and_what_that_opens() -> None:
    (fix,) = fixes(shared(), "neutron-antispoof-source")
    assert fix.host == "cloud prod"
    assert fix.commands == (
        "openstack --os-cloud prod port set --allowed-address ip-address=10.0.44.0/24 id-B-eth1",
    )
    assert fix.warning == "then everybody in 10.0.44.0/24 gets in where the security group default is"
    (alone,) = fixes(apart(), "neutron-antispoof-source")
    assert (alone.by_crossnet, alone.warning) == (None, "")


def test_a_rule_for_the_very_packet_in_a_group_that_the_fewest_are_in() -> None:
    (fix,) = fixes(apart(), "neutron-security-group", probe=HTTPS)
    assert fix.commands == (
        "openstack --os-cloud prod security group rule create --ingress --ethertype IPv4 --protocol tcp --dst-port 443 "
        "--remote-ip 10.0.43.15/32 id-gateways",
    )
    assert fix.warning == "gateways is also the security group of B-eth0"
    (narrow,) = fixes(
        replace(admitting(apart()), groups=(*apart().groups[:-1], replace(EXTRA, rules=()))),
        "neutron-security-group",
    )
    assert narrow.commands[0].endswith("--protocol icmp --remote-ip 10.0.43.15/32 id-extra")
    assert narrow.warning == ""
    silent = replace(
        shared(),
        app=replace(shared().app, groups=(CLIENTS.id,)),
        groups=(replace(CLIENTS, rules=()), DEFAULT),
    )
    (out,) = fixes(silent, "neutron-security-group")
    assert "--egress --ethertype IPv4 --protocol icmp --remote-ip 10.0.44.1/32 id-clients" in out.commands[0]


def test_a_port_is_switched_on_and_one_without_a_binding_is_not_to_be_mended_by_a_command() -> None:
    off_ = replace(shared(), ingress=replace(shared().ingress, is_enabled=False))
    (fix,) = fixes(off_, "neutron-port-down")
    assert fix.commands == ("openstack --os-cloud prod port set --enable id-B-eth1",)
    assert (
        fixes(replace(shared(), ingress=replace(shared().ingress, status="ERROR")), "neutron-port-down") == ()
    )


@pytest.mark.parametrize("code", ["neutron-antispoof-source", "neutron-security-group"])
def test_what_the_crossing_opens_is_left_to_it(code: str) -> None:
    assert fixes(apart(), code, CROSSING) == (Fix("cloud prod", (), "crossnet apply"),)
    (left,) = fixes(apart(), code, replace(CROSSING, port_security=PortSecurity.LEAVE))
    assert len(left.commands) == 1
    assert "`port-security: least`" in (left.by_crossnet or "")
    (elsewhere,) = fixes(apart(), code, replace(CROSSING, cloud=""))
    assert (len(elsewhere.commands), elsewhere.by_crossnet) == (1, None)


def test_what_no_crossing_opens_is_left_to_nobody() -> None:
    closed = replace(apart(), app=holding(apart().app, ()))
    assert fixes(closed, "neutron-security-group", CROSSING) == (), "which group it should be in nobody knows"
    not_allowed = replace(CROSSING, allow=(Traffic(Protocol.TCP),))
    (fix,) = fixes(apart(), "neutron-security-group", not_allowed)
    assert fix.by_crossnet is None


def test_a_name_of_a_cloud_is_one_word() -> None:
    known = {
        name: replace(each, cloud=replace(each.cloud, cloud="my cloud"))  # type: ignore[type-var]
        for name, each in shared().known_to(hosts()).items()
    }
    (cause,) = foretold(known).findings
    (fix,) = fix_of(cause, way(known), ECHO, known, GATEWAY)
    assert fix.commands[0].startswith("openstack --os-cloud 'my cloud' port set ")


def test_a_target_that_is_a_machine_of_the_cloud_is_walked_too() -> None:
    target = port("T", "10.0.44.1", CLIENTS)
    known = ingress(shared(), NETWORK).known_to(hosts())
    link = replace(known["gateway"].links[1], hardware=target.mac)
    item = replace(link.addresses[0], address=TARGET)
    said = CloudFacts("prod", {"eth0": target}, groups={"id-clients": CLIENTS})
    known["target"] = replace(
        known["gateway"],
        host="target",
        links=(replace(link, addresses=(item,)),),
        routes=tuple(each for each in known["gateway"].routes if each.device == "eth0"),
        firewall=replace(known["gateway"].firewall, foreign=()),
        cloud=said,
    )
    found = [(str(each.direction), each.host, each.code) for each in foretold(known).findings]
    assert found == [("forward", "target", "neutron-security-group")]


def test_findings_of_a_port_are_about_what_is_outside_of_its_host() -> None:
    (found,) = foretold(shared().known_to(hosts())).findings
    assert isinstance(found, Finding)
    assert (found.direction, found.hook) == (Direction.REPLY, "egress")
    assert found.remedy.destination == ip_network(NETWORK)
