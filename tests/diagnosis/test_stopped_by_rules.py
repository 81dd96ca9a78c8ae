"""What stops a flow at rules, settings and programs: told of made-up hosts, and joined with what was seen there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from types import MappingProxyType

import pytest

from crossnet.capture import Kind, Packet, Sighting, Tcp
from crossnet.capture.frames import Record
from crossnet.diagnosis.course import Course, Hints, course
from crossnet.diagnosis.filling import parse_filling, with_source
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.fixes import fix_of
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.judge import Evidence, judge
from crossnet.diagnosis.static import foretell
from crossnet.diagnosis.trail import Tags, Trail
from crossnet.diagnosis.waiting import is_silent
from crossnet.facts import Facts
from crossnet.facts.capabilities import Capabilities
from crossnet.facts.firewall import Firewall
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.programs import parse_programs
from crossnet.facts.routes import Route
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.xtables_save import parse_save
from crossnet.values import Probe, Protocol
from crossnet.verdict import Action, Between, Confidence, Diagnosis, Place, Result
from crossnet.verification.probe import Reply, Sent

CLIENT, GATEWAY, TARGET = map(IPv4Address, ("10.0.43.15", "10.0.44.63", "10.0.44.1"))
BEYOND = (ip_network("10.0.44.0/24"),)
ECHO = Probe(Protocol.ICMP, TARGET)
SIZES = (100, 101, 102, 103, 104)
SNAT = """*nat
-A POSTROUTING -d 10.0.44.0/24 -o eth0 -j SNAT --to-source 10.0.44.63
COMMIT
"""


def link(name: str, address: str, **more: object) -> Link:
    at, prefix = address.split("/")
    return Link(name, 1500, True, (LinkAddress(ip_address(at), int(prefix)),), **more)  # type: ignore[arg-type]


def facts(name: str, links: Iterable[Link], *routes: Route, rules: str = "", **more: object) -> Facts:
    on_link = [
        Route(item.network, None, each.name, protocol="kernel") for each in links for item in each.addresses
    ]
    whole = Facts(
        host=name,
        links=tuple(links),
        routes=(*on_link, *routes),
        sysctls=MappingProxyType({"net.ipv4.ip_forward": "1"}),
        boot_settings=(),
        neighbours=(),
        capabilities=Capabilities(frozenset(("iptables",)), (6, 1), False),
        firewall=Firewall(foreign=parse_save(rules, "ip", Tool.IPTABLES_LEGACY)),
    )
    return replace(whole, **more)  # type: ignore[arg-type]


LINKS = (link("eth1", "10.0.43.101/24"), link("eth0", "10.0.44.63/24"))


def hosts(
    app: str = "", gateway: str = "", links: tuple[Link, ...] = LINKS, **more: object
) -> dict[str, Facts]:
    """A client and its gateway, with these rules of theirs."""
    way = Route(ip_network("10.0.44.0/24"), ip_address("10.0.43.101"), "eth0")
    return {
        "app": facts("app", (link("eth0", "10.0.43.15/24"),), way, rules=app),
        "gateway": facts("gateway", links, rules=SNAT + gateway, **more),
    }


def way(known: Mapping[str, Facts]) -> Course:
    return course("app", ("gateway",), TARGET, known, Hints(beyond=BEYOND))


def told(known: Mapping[str, Facts], probe: Probe = ECHO) -> tuple[Finding, ...]:
    return foretell(way(known), probe, known, BEYOND).findings


def commands(found: Iterable[Finding], known: Mapping[str, Facts], probe: Probe = ECHO) -> list[str]:
    made = [fix_of(each, way(known), probe, known, GATEWAY) for each in found]
    return [command for fixes in made for fix in fixes for command in fix.commands]


# ---- what facts tell --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "code", "direction", "command"),
    [
        (
            "*filter\n-A FORWARD -i eth0 -j DROP\nCOMMIT\n",
            "filter-rule-drop",
            Direction.REPLY,
            "-I FORWARD 1 -s 10.0.44.1 -d 10.0.43.15 -p icmp -m conntrack --ctstate ESTABLISHED,RELATED",
        ),
        (
            "*raw\n-A PREROUTING -i eth0 -j DROP\nCOMMIT\n",
            "filter-rule-drop",
            Direction.REPLY,
            "-t raw -I PREROUTING 1 -s 10.0.44.1 -d 10.0.44.63 -p icmp",
        ),
        (
            "*mangle\n-A POSTROUTING -o eth0 -j DROP\nCOMMIT\n",
            "filter-rule-drop",
            Direction.FORWARD,
            "-t mangle -I POSTROUTING 1 -s 10.0.43.15 -d 10.0.44.1 -p icmp",
        ),
        (
            "*filter\n-A FORWARD -i eth1 -j REJECT --reject-with icmp-admin-prohibited\nCOMMIT\n",
            "filter-reject",
            Direction.FORWARD,
            "-I FORWARD 1 -s 10.0.43.15 -d 10.0.44.1 -p icmp",
        ),
    ],
)
def test_an_accept_says_the_addresses_that_packets_have_where_the_rule_stands(
    rules: str, code: str, direction: Direction, command: str
) -> None:
    known = hosts(gateway=rules)
    (found,) = told(known)
    assert (found.code, found.host, found.direction) == (code, "gateway", direction)
    assert commands([found], known) == [f"iptables {command} -j ACCEPT"]


def test_an_answer_that_is_not_tracked_is_taken_by_the_gateway_and_the_rule_is_named() -> None:
    known = hosts(gateway="*raw\n-A PREROUTING -i eth0 -j CT --notrack\nCOMMIT\n")
    (found,) = told(known)
    assert (found.code, found.host, found.direction) == ("reply-not-untranslated", "gateway", Direction.REPLY)
    assert "-A PREROUTING -i eth0 -j CT --notrack" in found.text
    assert "iptables -t raw -I PREROUTING 1 -s 10.0.44.1 -d 10.0.44.63 -p icmp -j ACCEPT" in commands(
        [found], known
    )


def test_requests_and_answers_in_two_zones_are_let_past_the_rule_that_parts_them() -> None:
    known = hosts(gateway="*raw\n-A PREROUTING -i eth1 -j CT --zone 5\nCOMMIT\n")
    (found,) = told(known)
    assert found.code == "reply-not-untranslated"
    assert "--zone 5" in found.text
    assert "iptables -t raw -I PREROUTING 1 -s 10.0.43.15 -d 10.0.44.1 -p icmp -j ACCEPT" in commands(
        [found], known
    )


def test_what_belongs_to_no_connection_is_told_from_what_a_rule_does_not_want() -> None:
    rules = (
        "*raw\n-A OUTPUT -j CT --notrack\nCOMMIT\n"
        "*filter\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"
    )
    (found,) = told(hosts(app=rules))
    assert (found.code, found.host, found.direction) == ("conntrack-invalid", "app", Direction.REPLY)
    assert not any("ESTABLISHED" in command for command in commands([found], hosts(app=rules)))
    harmless = "*filter\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"
    assert told(hosts(gateway=harmless)) == ()


def test_a_policy_of_ipsec_is_deleted_by_its_whole_selector() -> None:
    said = "src 10.0.43.0/24 dst 0.0.0.0/0 proto icmp\n\tdir fwd action block priority 0 ptype main\n"
    known = hosts(ipsec=parse_programs(said).ipsec)
    (found,) = told(known)
    assert (found.code, found.certain) == ("ipsec-policy-drop", False)
    wanted = "ip xfrm policy delete src 10.0.43.0/24 dst 0.0.0.0/0 proto icmp dir fwd"
    assert commands([found], known) == [wanted]


def test_a_queue_that_drops_is_taken_away_by_its_handle() -> None:
    links = (LINKS[0], replace(LINKS[1], qdisc="tbf"))
    known = hosts(links=links, queues={"eth0": "8001:"})
    (found,) = told(known)
    assert found.code == "tc-or-xdp-drop"
    assert commands([found], known) == ["tc qdisc del dev eth0 root handle 8001:"]
    assert commands(told(hosts(links=links)), hosts(links=links)) == []


FILTERS = """qdisc clsact ffff: dev eth1 parent ffff:fff1
held eth1 ingress
filter protocol all pref 7 bpf chain 0
filter protocol all pref 7 bpf chain 0 handle 0x1 drop.o:[tc] direct-action not_in_hw
filter protocol ip pref 9 u32 chain 0
filter protocol ip pref 9 u32 chain 0 fh 800: ht divisor 1
filter protocol ip pref 9 u32 chain 0 fh 800::800 order 2048 key ht 800 bkt 0 *flowid 1:1 not_in_hw
  match 0a002c00/ffffff00 at 16
held eth1 egress
filter protocol ip pref 3 flower chain 2 handle 0x2
  eth_type ipv4
  dst_ip 10.0.44.1
\taction order 1: gact action {}
\t random type none pass val 0
"""


@pytest.mark.parametrize("action", ["pass", "drop"])
def test_the_one_filter_that_may_drop_is_taken_away_and_no_other(action: str) -> None:
    said = parse_programs(FILTERS.format(action))
    known = hosts(classifiers=said.classifiers, filters=said.filters)
    found = told(known)
    of_request = ["tc filter del dev eth1 ingress protocol all pref 7 handle 0x1 bpf"]
    of_answer = ["tc filter del dev eth1 egress protocol ip pref 3 chain 2 handle 0x2 flower"]
    assert {each.code for each in found} == {"tc-or-xdp-drop"}
    assert commands(found, known) == of_request + (of_answer if action == "drop" else [])


def test_of_several_filters_none_is_guessed() -> None:
    more = "filter protocol ip pref 11 flower chain 0 handle 0x1\n\taction order 1: gact action drop\n"
    said = parse_programs(FILTERS.format("pass").replace("held eth1 egress\n", f"{more}held eth1 egress\n"))
    known = hosts(classifiers=said.classifiers, filters=said.filters)
    (found,) = told(known)
    assert found.text == "tc qdisc clsact dev eth1"
    assert commands([found], known) == []


# ---- what was seen --------------------------------------------------------------------------------


def echo(size: int, source: IPv4Address, destination: IPv4Address, *, reply: bool = False) -> Packet:
    kind = 0 if reply else 8
    return Packet("icmp", source, destination, size + 28, icmp_type=kind, icmp_code=0)


def seen(host: str, interface: str, kind: Kind, packet: Packet) -> Sighting:
    return Sighting(host, interface, 0.0, kind, None, packet, Record(0, 1, b"", 0))


def request(size: int, hops: int) -> list[Sighting]:
    """An echo as it is seen at the first so many of four points."""
    here, there = echo(size, CLIENT, TARGET), echo(size, GATEWAY, TARGET)
    points = [
        seen("app", "eth0", Kind.SENT, here),
        seen("gateway", "eth1", Kind.RECEIVED, here),
        seen("gateway", "eth0", Kind.SENT, there),
    ]
    return points[:hops]


def answer(size: int, hops: int) -> list[Sighting]:
    there, here = echo(size, TARGET, GATEWAY, reply=True), echo(size, TARGET, CLIENT, reply=True)
    points = [
        seen("gateway", "eth0", Kind.RECEIVED, there),
        seen("gateway", "eth1", Kind.SENT, here),
        seen("app", "eth0", Kind.RECEIVED, here),
    ]
    return points[:hops]


POINTS = {"app": ("eth0",), "gateway": ("eth0", "eth1")}


def verdict(
    known: Mapping[str, Facts],
    sightings: Iterable[Sighting],
    replies: Iterable[Reply] = (Reply.SILENT,) * 5,
    probe: Probe = ECHO,
    foretold: Foretold | None = None,
) -> Diagnosis:
    along = way(known)
    trail = Trail(Tags(probe, SIZES), along, tuple(sightings), POINTS)
    told = foretold or foretell(along, probe, known, BEYOND)
    sent = tuple(Sent(probe, each) for each in replies)
    return judge(Evidence("business", along, probe, known, told, trail, sent))


def bridged(facts: Facts, port: str) -> Facts:
    """The same where what an interface has stands on br0, of which it is the one port."""
    own = (replace(each, name="br0", kind="bridge") if each.name == port else each for each in facts.links)
    routes = tuple(replace(each, device="br0") if each.device == port else each for each in facts.routes)
    return replace(facts, links=(*own, Link(port, 1500, True, master="br0")), routes=routes)


@pytest.mark.parametrize("watched", [True, False], ids=["port watched", "port not watched"])
@pytest.mark.parametrize(("host", "port"), [("app", "eth0"), ("gateway", "eth1")])
def test_what_leaves_a_bridge_by_no_port_is_stopped_on_its_host(host: str, port: str, watched: bool) -> None:
    """It is seen at the bridge before that one's own rules are asked (net/bridge/br_device.c)."""
    known = hosts()
    known[host] = bridged(known[host], port)
    whole = [
        each
        for size in SIZES
        for each in (request(size, 1) if host == "app" else [*request(size, 3), *answer(size, 2)])
    ]
    flow = [
        replace(each, interface="br0") if (each.host, each.interface) == (host, port) else each
        for each in whole
    ]
    points = {**POINTS, host: ("br0", *(each for each in POINTS[host] if watched or each != port))}
    along = way(known)
    trail = Trail(Tags(ECHO, SIZES), along, tuple(flow), points)
    sent = (Sent(ECHO, Reply.SILENT),) * 5
    told = foretell(along, ECHO, known, BEYOND)
    found = judge(Evidence("business", along, ECHO, known, told, trail, sent))
    half = found.forward if host == "app" else found.reply
    assert ("left by none of its ports" in half.detail) is watched
    assert isinstance(half.at, Place if watched else Between)


HALF = (Reply.ANSWERED, Reply.SILENT, Reply.ANSWERED, Reply.SILENT, Reply.ANSWERED)


@pytest.mark.parametrize(("ingress", "hops"), [("eth1", (2, 0)), ("eth0", (3, 1))])
def test_of_a_rule_that_drops_some_it_is_told_in_which_direction(ingress: str, hops: tuple[int, int]) -> None:
    rule = f"-A FORWARD -i {ingress} -m statistic --mode nth --every 2 --packet 0 -j DROP"
    known = hosts(gateway=f"*filter\n{rule}\nCOMMIT\n")
    passed = [each for size in SIZES[::2] for each in (*request(size, 3), *answer(size, 3))]
    lost = [each for size in SIZES[1::2] for each in (*request(size, hops[0]), *answer(size, hops[1]))]
    found = verdict(known, [*passed, *lost], HALF)
    assert found.result is Result.AMBIGUOUS
    half, other = (found.forward, found.reply) if ingress == "eth1" else (found.reply, found.forward)
    assert (half.code, half.at) == ("partial-loss", Place("gateway", ingress))
    assert rule in half.detail
    assert half.fix
    assert other.code is None
    assert not any(each.by for each in found.observations), "they are of one that passed"


@pytest.mark.parametrize(
    ("rules", "hops", "where", "told"),
    [
        ("*filter\n-A FORWARD -i eth1 -j DROP\nCOMMIT\n", (2, 0), ("gateway", "eth1", "forward"), "dropped"),
        (
            "*filter\n-A FORWARD -o eth1 -j REJECT\nCOMMIT\n",
            (3, 1),
            ("gateway", "eth0", "forward"),
            "rejected",
        ),
        (
            "*raw\n-A PREROUTING -i eth0 -j DROP\nCOMMIT\n",
            (3, 1),
            ("gateway", "eth0", "prerouting"),
            "dropped",
        ),
    ],
)
def test_the_observations_end_with_the_rule_that_is_proved_to_take_the_packets(
    rules: str, hops: tuple[int, int], where: tuple[str, str, str], told: str
) -> None:
    known = hosts(gateway=rules)
    seen = [each for size in SIZES for each in (*request(size, hops[0]), *answer(size, hops[1]))]
    found = verdict(known, seen)
    direction = "reply" if hops[1] else "request"
    *_, last, end, absent = found.observations
    assert (end.host, end.interface, end.hook) == where
    assert (str(end.action), end.direction, end.by) == (told, direction, rules.split("\n")[1])
    assert (last.host, last.interface, last.packet) == (end.host, end.interface, end.packet)
    assert absent.action is Action.ABSENT


def test_a_request_that_a_rule_of_the_client_takes_has_an_observation_though_nobody_saw_it() -> None:
    rule = "-A OUTPUT -d 10.0.44.0/24 -j DROP"
    found = verdict(hosts(app=f"*filter\n{rule}\nCOMMIT\n"), [])
    end, absent = found.observations
    assert (end.host, end.interface, end.hook) == ("app", None, "output")
    assert (str(end.action), end.by) == ("dropped", rule)
    assert end.packet == "10.0.43.15 > 10.0.44.1 icmp echo request"
    assert absent.action is Action.ABSENT


def test_where_a_client_sends_nothing_and_says_nothing_no_rule_is_blamed_alone() -> None:
    found = verdict(hosts(), [])
    assert (found.result, found.forward.at) == (Result.UNREACHABLE, Place("app", "eth0"))
    assert found.forward.confidence is Confidence.CANDIDATES
    assert found.forward.candidates == ("src-output-filtered", "tc-or-xdp-drop")


def test_the_other_familys_neighbours_are_no_observations() -> None:
    link_local = ip_address("fe80::1")
    own = Packet("arp", CLIENT, ip_address("10.0.43.101"), asks=ip_address("10.0.43.101"))
    other = Packet("nd", ip_address("::"), ip_address("ff02::1"), asks=link_local)
    found = verdict(hosts(), [seen("app", "eth0", Kind.SENT, each) for each in (other, own)])
    assert [each.packet for each in found.observations if each.direction == "neighbour"] == [str(own)]


def test_what_a_setting_takes_is_not_shown_as_dropped() -> None:
    off = verdict(
        hosts(sysctls={"net.ipv4.ip_forward": "0"}), [e for size in SIZES for e in request(size, 2)]
    )
    assert off.forward.code == "ip-forward-disabled"
    assert [str(each.action) for each in off.observations] == ["sent", "received", "absent"]


def noted(found: Diagnosis) -> dict[str, str]:
    return {str(each.code): each.detail for each in found.notes}


def test_a_rule_that_is_not_understood_is_named_where_it_may_be_what_stops_them() -> None:
    known = hosts(gateway="*filter\n-A FORWARD -m u32 --u32 0x0&0xff=0x1 -j DROP\nCOMMIT\n")
    stopped = verdict(known, [each for size in SIZES for each in request(size, 2)])
    assert (stopped.forward.code, stopped.forward.confidence) == ("filter-rule-drop", Confidence.INFERRED)
    assert "gateway: crossnet does not understand `-m u32 --u32" in noted(stopped)["unmodelled-rule"]
    # It let the requests pass, and nobody knows of the answers.
    silent = verdict(known, [each for size in SIZES for each in request(size, 3)])
    assert "the request" not in noted(silent).get("unmodelled-rule", "")
    whole = [each for size in SIZES for each in (*request(size, 3), *answer(size, 3))]
    assert noted(verdict(known, whole, (Reply.ANSWERED,) * 5)) == {}


def test_what_depends_on_the_moment_is_understood() -> None:
    known = hosts(gateway="*filter\n-A FORWARD -m limit --limit 1/hour -j DROP\nCOMMIT\n")
    stopped = verdict(known, [each for size in SIZES for each in request(size, 2)])
    assert stopped.forward.code == "filter-rule-drop"
    assert "unmodelled-rule" not in noted(stopped)


def test_a_program_beside_the_rules_is_named_where_it_may_be_what_stops_them() -> None:
    known = hosts(classifiers={"eth1": "clsact"})
    stopped = verdict(known, [each for size in SIZES for each in request(size, 2)])
    assert stopped.forward.code == "tc-or-xdp-drop"
    assert "gateway: crossnet does not read what" in noted(stopped)["unmodelled-hook"]
    silent = verdict(known, [each for size in SIZES for each in (*request(size, 3), *answer(size, 2))])
    assert "unmodelled-hook" not in noted(silent), "it was seen to let both pass"


def test_rules_that_nothing_was_sent_to_are_those_for_a_new_connection() -> None:
    known = hosts(gateway="*filter\n-A FORWARD -i eth1 -j DROP\nCOMMIT\n")
    found = verdict(known, [], (Reply.NO_TOOL,) * 5)
    assert found.forward.code == "filter-rule-drop"
    assert "the rules of gateway" in noted(found)["assumed-conntrack-new"]
    off = verdict(hosts(sysctls={"net.ipv4.ip_forward": "0"}), [], (Reply.NO_TOOL,) * 5)
    assert "assumed-conntrack-new" not in noted(off), "it is the same for all"


def test_where_nothing_explains_lost_answers_the_place_is_told_all_the_same() -> None:
    passed = [each for size in SIZES[::2] for each in (*request(size, 3), *answer(size, 3))]
    lost = [each for size in SIZES[1::2] for each in (*request(size, 3), *answer(size, 1))]
    found = verdict(hosts(), [*passed, *lost], HALF)
    assert (found.result, found.reply.code) == (Result.AMBIGUOUS, "partial-loss")
    assert found.reply.at == Place("gateway", "eth0")


def test_a_program_that_takes_the_answers_before_anybody_sees_them_is_named_and_not_sworn_to() -> None:
    known = hosts(links=(LINKS[0], replace(LINKS[1], xdp=True)))
    found = verdict(known, [each for size in SIZES for each in request(size, 3)])
    assert (found.result, found.forward.code) == (Result.UNREACHABLE, None)
    assert (found.reply.code, found.reply.at) == ("tc-or-xdp-drop", Place("gateway", "eth0"))
    assert found.reply.confidence is Confidence.CANDIDATES
    assert "destination-silent" in found.reply.candidates
    assert "ip link set dev eth0 xdp off" in found.reply.fix[0].commands
    assert found.reply.fix[0].warning.startswith("all else that this program stops")


def test_a_port_of_udp_that_the_destination_calls_closed_is_no_obstacle() -> None:
    probe = Probe(Protocol.UDP, TARGET, 5353)
    asked = Packet("udp", CLIENT, TARGET, 36, source_port=40000, destination_port=5353)
    translated = replace(asked, source=GATEWAY)
    said = Packet("icmp", TARGET, GATEWAY, 64, icmp_type=3, icmp_code=3, quoted=translated)
    found = verdict(
        hosts(),
        [
            seen("app", "eth0", Kind.SENT, asked),
            seen("gateway", "eth1", Kind.RECEIVED, asked),
            seen("gateway", "eth0", Kind.SENT, translated),
            seen("gateway", "eth0", Kind.RECEIVED, said),
        ],
        (Reply.UNKNOWN,) * 3,
        probe,
    )
    assert found.result is Result.REACHABLE
    assert [each.code for each in found.notes] == ["destination-port-closed"]


def test_what_came_to_a_client_of_udp_and_what_its_own_rule_drops_was_no_answer() -> None:
    probe = Probe(Protocol.UDP, TARGET, 5353)
    known = hosts(app="*filter\n-A INPUT -p udp -m udp --sport 5353 -j DROP\nCOMMIT\n")
    asked = Packet("udp", CLIENT, TARGET, 36, source_port=40000, destination_port=5353)
    back = Packet("udp", TARGET, CLIENT, 36, source_port=5353, destination_port=40000)
    found = verdict(
        known,
        [
            seen("app", "eth0", Kind.SENT, asked),
            seen("gateway", "eth1", Kind.RECEIVED, asked),
            seen("gateway", "eth0", Kind.SENT, replace(asked, source=GATEWAY)),
            seen("gateway", "eth0", Kind.RECEIVED, replace(back, destination=GATEWAY)),
            seen("gateway", "eth1", Kind.SENT, back),
            seen("app", "eth0", Kind.RECEIVED, back),
        ],
        (Reply.UNKNOWN,) * 3,
        probe,
    )
    assert found.result is Result.UNREACHABLE
    assert (found.reply.code, found.reply.at) == ("filter-rule-drop", Place("app", "eth0"))


def test_ipsec_judges_an_answer_by_the_address_it_came_with() -> None:
    said = "src 10.0.44.0/24 dst 10.0.44.63/32\n\tdir fwd action block priority 0 ptype main\n"
    (found,) = told(hosts(ipsec=parse_programs(said).ipsec))
    assert (found.code, found.direction) == ("ipsec-policy-drop", Direction.REPLY)
    other = said.replace("10.0.44.63/32", "10.0.43.0/24")
    assert told(hosts(ipsec=parse_programs(other).ipsec)) == ()


def test_ipsec_judges_a_request_also_by_the_source_that_it_was_given() -> None:
    said = "src 10.0.44.63/32 dst 10.0.44.0/24\n\tdir out action block priority 0 ptype main\n"
    (found,) = told(hosts(ipsec=parse_programs(said).ipsec))
    assert (found.code, found.direction) == ("ipsec-policy-drop", Direction.FORWARD)
    assert (found.host, found.interface) == ("gateway", "eth0")


@pytest.mark.parametrize(
    ("prefix", "router", "code", "asked"),
    [(27, "10.0.44.62", "next-hop-unresolved", "10.0.44.62"), (24, None, "destination-absent", "10.0.44.1")],
)
def test_a_gateway_that_gave_up_on_a_neighbour_says_so_of_the_one_that_it_asked_for(
    prefix: int, router: str | None, code: str, asked: str
) -> None:
    """Its kernel asked before anybody watched: all that is seen is its error, which names the destination."""
    known = hosts(links=(LINKS[0], link("eth0", f"10.0.44.63/{prefix}")))
    if router is not None:
        default = Route(ip_network("0.0.0.0/0"), ip_address(router), "eth0")
        known["gateway"] = replace(known["gateway"], routes=(*known["gateway"].routes, default))
    said = Packet(
        "icmp", GATEWAY, CLIENT, 112, icmp_type=3, icmp_code=1, quoted=echo(SIZES[0], CLIENT, TARGET)
    )
    found = verdict(
        known,
        [*(each for size in SIZES for each in request(size, 2)), seen("gateway", "eth1", Kind.SENT, said)],
    )
    assert (found.result, found.forward.code) == (Result.UNREACHABLE, code)
    assert found.forward.at == Between(Place("gateway", "eth0"), Place(asked))


LARGE = 1472


def of_large(sightings: tuple[Sighting, ...]) -> Evidence:
    """Small echoes are answered, and one that fills a packet is not."""
    known = hosts()
    along = way(known)
    return Evidence(
        "business",
        along,
        ECHO,
        known,
        foretell(along, ECHO, known, BEYOND),
        Trail(Tags(ECHO, SIZES, (LARGE,)), along, sightings, POINTS),
        tuple(Sent(ECHO, Reply.ANSWERED) for _ in SIZES),
        {LARGE: Sent(ECHO, Reply.SILENT)},
    )


SMALL = tuple(each for size in SIZES for each in (*request(size, 3), *answer(size, 3)))
HALF_OF_ALL = "-A FORWARD -i eth1 -m statistic --mode random --probability 0.5 -j DROP"


def of_sizes(
    passing: Iterable[int], lost: Iterable[int], sightings: Iterable[Sighting], late: Iterable[int] = ()
) -> Evidence:
    """What became of larger echoes, all of which left the client; the answers to the late ones were seen to come."""
    known = hosts(gateway=f"*filter\n{HALF_OF_ALL}\nCOMMIT\n")
    lost, late = tuple(lost), tuple(late)
    unheard = [each for size in (*lost, *late) for each in request(size, 1)]
    came = [each for size in late for each in answer(size, 3)]
    evidence = of_large((*SMALL, *sightings, *unheard, *came))
    full = {
        **dict.fromkeys(passing, Sent(ECHO, Reply.ANSWERED)),
        **dict.fromkeys((*lost, *late), Sent(ECHO, Reply.SILENT)),
    }
    return replace(evidence, facts=known, foretold=foretell(evidence.course, ECHO, known, BEYOND), full=full)


@pytest.mark.parametrize(
    ("passing", "lost", "code"),
    [
        ((1172, 972, 548), (LARGE, 1372), "pmtu-black-hole"),
        ((1172, 548), (LARGE, 1372, 972), "pmtu-black-hole"),
        ((1372, 1172), (LARGE, 972, 548), "partial-loss"),
        (
            (1372, 1352, 1332, 1312, 1272, 1252, 972),
            (LARGE, 1452, 1448, 1432, 1426, 1422, 1414, 1392, 1172, 548),
            "pmtu-black-hole",
        ),
    ],
    ids=["too-large-too", "one-by-chance", "smaller-ones-too", "a-limit-and-a-little-loss"],
)
def test_packets_are_not_lost_for_their_length_where_larger_ones_pass(
    passing: tuple[int, ...], lost: tuple[int, ...], code: str
) -> None:
    """By chance all small echoes pass, and every one of the full size is lost."""
    found = judge(of_sizes(passing, lost, request(LARGE, 2)))
    assert (found.forward.code, found.reply.code) == (code, None)
    if code == "partial-loss":
        assert (found.result, found.forward.at) == (Result.AMBIGUOUS, Place("gateway", "eth1"))
        assert HALF_OF_ALL in found.forward.detail
        assert "7 of 10 probes were answered" in found.forward.detail
    else:
        assert f"{max(passing) + 28} bytes still pass" in found.forward.detail


@pytest.mark.parametrize(
    ("lost", "late", "result"),
    [
        ((1448,), (), Result.REACHABLE),
        ((1448, 972), (), Result.AMBIGUOUS),
        ((), (1448, 972, 548), Result.REACHABLE),
        ((1448,), (972, 548), Result.REACHABLE),
    ],
    ids=["one", "two", "late", "one, and others late"],
)
def test_where_the_largest_has_passed_by_now_no_length_is_to_blame(
    lost: tuple[int, ...], late: tuple[int, ...], result: Result
) -> None:
    """What was seen to come is late, and what was not seen to leave was not sent in time."""
    found = judge(of_sizes((LARGE, 1172), lost, request(LARGE, 2), late))
    assert found.result is result
    assert found.forward.code == (None if result is Result.REACHABLE else "partial-loss")
    evidence = of_sizes((LARGE, 1172), (), request(LARGE, 2))
    unsent = {**evidence.full, **dict.fromkeys((1448, 972, 548), Sent(ECHO, Reply.SILENT))}
    assert judge(replace(evidence, full=unsent)).result is Result.REACHABLE


def test_loss_by_chance_is_no_black_hole_of_a_size_that_was_forced() -> None:
    evidence = of_sizes((1372, 1172), (LARGE, 972, 548), request(LARGE, 2))
    trail = replace(evidence.trail, tags=Tags(ECHO, (LARGE,)))
    found = judge(replace(evidence, trail=trail, small=(Sent(ECHO, Reply.SILENT),)))
    assert (found.result, found.forward.code) == (Result.AMBIGUOUS, "partial-loss")
    by_length = of_sizes((1372, 1172, 972, 548), (LARGE,), request(LARGE, 2))
    told = foretell(evidence.course, ECHO, hosts(), BEYOND)
    by_length = replace(by_length, facts=hosts(), foretold=told)
    found = judge(replace(by_length, trail=trail, small=(Sent(ECHO, Reply.SILENT),)))
    assert (found.result, found.forward.code) == (Result.UNREACHABLE, "pmtu-black-hole")


def test_a_client_that_does_not_take_what_it_is_told_of_the_paths_mtu_is_the_place() -> None:
    lost = echo(LARGE, CLIENT, TARGET)
    said = Packet(
        "icmp", IPv4Address("10.0.43.101"), CLIENT, 576, icmp_type=3, icmp_code=4, mtu=1300, quoted=lost
    )
    small = [each for size in SIZES for each in (*request(size, 3), *answer(size, 3))]
    sightings = (*small, *request(LARGE, 2), seen("app", "eth0", Kind.RECEIVED, said))
    evidence = of_large(sightings)
    heard = judge(evidence)
    assert (heard.result, [each.code for each in heard.notes]) == (Result.REACHABLE, ["mtu-exceeded"])
    deaf = judge(replace(evidence, unheard=True))
    assert (deaf.result, deaf.forward.code) == (Result.UNREACHABLE, "pmtu-black-hole")
    assert deaf.forward.at == Place("app", "eth0")
    assert any("--set-mss 1260" in command for command in deaf.forward.fix[0].commands)


def test_of_a_size_that_was_forced_it_is_told_that_smaller_ones_pass() -> None:
    known = hosts()
    along = way(known)
    port = Sent(Probe(Protocol.TCP, TARGET, 443), Reply.REFUSED)
    evidence = Evidence(
        "business",
        along,
        ECHO,
        known,
        foretell(along, ECHO, known, BEYOND),
        Trail(Tags(ECHO, (LARGE,), ()), along, tuple(request(LARGE, 3)), POINTS),
        (Sent(ECHO, Reply.SILENT),),
        beside=(port,),
    )
    ignored = judge(evidence)
    assert ignored.forward.code == "echo-ignored", "no echo at all is answered"
    found = judge(replace(evidence, full={1372: Sent(ECHO, Reply.ANSWERED), 972: Sent(ECHO, Reply.ANSWERED)}))
    assert (found.forward.code, found.forward.confidence) == ("pmtu-black-hole", Confidence.PROVED)
    assert "1400 bytes still pass" in found.forward.detail
    assert all("--set-mss 1360" in command for command in found.forward.fix[0].commands)
    again = judge(
        replace(evidence, full={LARGE: Sent(ECHO, Reply.ANSWERED), 972: Sent(ECHO, Reply.ANSWERED)})
    )
    assert again.result is Result.AMBIGUOUS, "the next one of that size is answered"
    assert "2 of 3 probes were answered" in again.forward.detail
    assert again.forward.at is None, "packets of both were seen"


@pytest.mark.parametrize(
    ("there", "back", "at"),
    [
        (1, 0, Between(Place("app", "eth0"), Place("gateway", "eth1"))),
        (2, 0, Place("gateway", "eth1")),
        (3, 0, Between(Place("gateway", "eth0"), Place("target", "eth0"))),
        (4, 0, Place("target", "eth0")),
        (4, 1, Place("gateway", "eth0")),
        (4, 2, Between(Place("gateway", "eth1"), Place("app", "eth0"))),
        (4, 3, Place("app", "eth0")),
    ],
)
def test_smaller_ones_that_pass_tell_a_black_hole_wherever_a_forced_size_ends(
    there: int, back: int, at: Place | Between
) -> None:
    known = {**hosts(), "target": facts("target", (link("eth0", "10.0.44.1/24"),))}
    along = way(known)
    arrives = seen("target", "eth0", Kind.RECEIVED, echo(LARGE, GATEWAY, TARGET))
    leaves = seen("target", "eth0", Kind.SENT, echo(LARGE, TARGET, GATEWAY, reply=True))
    at_target = [arrives, leaves][: 2 if back else 1] if there > 3 else []
    sightings = (*request(LARGE, there), *at_target, *answer(LARGE, back))
    trail = Trail(Tags(ECHO, (LARGE,), ()), along, sightings, {**POINTS, "target": ("eth0",)})
    assert is_silent(trail, forced=True), "smaller ones are tried"
    told = foretell(along, ECHO, known, BEYOND)
    evidence = Evidence("business", along, ECHO, known, told, trail, (Sent(ECHO, Reply.SILENT),))
    found = judge(replace(evidence, full={1372: Sent(ECHO, Reply.ANSWERED)}))
    half = found.reply if there > 3 else found.forward
    assert (half.code, half.confidence, half.at) == ("pmtu-black-hole", Confidence.PROVED, at)
    unknown = judge(evidence)
    assert "pmtu-black-hole" not in (unknown.forward.code, unknown.reply.code)


def test_smaller_ones_are_not_tried_where_nothing_is_sent_or_somebody_says_why() -> None:
    known = hosts()
    along = way(known)

    def silent(*sightings: Sighting) -> bool:
        return is_silent(Trail(Tags(ECHO, (LARGE,), ()), along, sightings, POINTS), forced=True)

    quoted = echo(LARGE, CLIENT, TARGET)
    error = Packet("icmp", IPv4Address("10.0.43.101"), CLIENT, 576, icmp_type=3, icmp_code=4, quoted=quoted)
    assert not silent()
    assert not silent(*request(LARGE, 2), seen("app", "eth0", Kind.RECEIVED, error))


@pytest.mark.parametrize(("mtu", "clamped"), [(1500, False), (1400, True)])
def test_a_gateway_clamps_by_its_own_link_only_where_that_takes_less_than_the_clients(
    mtu: int, clamped: bool
) -> None:
    known = hosts(links=(LINKS[0], replace(LINKS[1], mtu=mtu)))
    small = [each for size in SIZES for each in (*request(size, 3), *answer(size, 3))]
    found = judge(replace(of_large((*small, *request(LARGE, 3))), facts=known))
    assert found.forward.code == "pmtu-black-hole"
    assert bool(found.forward.fix) is clamped
    assert all("--clamp-mss-to-pmtu" in command for fix in found.forward.fix for command in fix.commands)


def test_large_packets_wait_for_no_neighbour_where_small_ones_pass() -> None:
    """A gateway asks for its neighbours now and then, and captures of a busy host may miss the answer."""
    asked = Packet("arp", GATEWAY, None, asks=TARGET, mac="02:00:00:00:00:01")
    small = [each for size in SIZES for each in (*request(size, 3), *answer(size, 3))]
    sightings = (*small, *request(LARGE, 2), seen("gateway", "eth0", Kind.SENT, asked))
    found = judge(of_large(sightings))
    assert (found.forward.code, found.forward.at) == ("pmtu-black-hole", Place("gateway", "eth1"))


@pytest.mark.parametrize(
    ("reply", "said", "lost", "code"),
    [
        (Reply.SILENT, "ping: local error: message too long, mtu=1400", 0, None),
        (Reply.SILENT, "", 0, "src-output-filtered"),
        (Reply.NOT_SENT, "ping: sendmsg: Operation not permitted", 0, "src-output-filtered"),
        (Reply.SILENT, "", 3, None),
        (Reply.NOT_SENT, "ping: connect: Network is unreachable", 0, None),
        (Reply.NO_TOOL, "app has no tool to send it", 0, None),
    ],
    ids=["knows", "silent", "told", "lost", "no-route", "no-tool"],
)
def test_full_sized_packets_that_a_client_does_not_send_fit_where_nothing_says_otherwise(
    reply: Reply, said: str, lost: int, code: str | None
) -> None:
    known = hosts()
    along = way(known)
    full = 1472
    small = tuple(each for size in SIZES for each in (*request(size, 3), *answer(size, 3)))
    evidence = Evidence(
        "business",
        along,
        ECHO,
        known,
        foretell(along, ECHO, known, BEYOND),
        Trail(Tags(ECHO, SIZES, (full,)), along, small, POINTS),
        tuple(Sent(ECHO, Reply.ANSWERED) for _ in SIZES),
        {full: Sent(ECHO, reply, said)},
        lost={"app": lost} if lost else {},
    )
    found = judge(evidence)
    assert (found.result is Result.REACHABLE, found.forward.code) == (code is None, code)
    piece = seen("app", "eth0", Kind.SENT, Packet("icmp", CLIENT, TARGET, 128, fragment=1376))
    cut = judge(replace(evidence, trail=replace(evidence.trail, sightings=(*small, piece))))
    assert cut.result is Result.REACHABLE, "it was sent in pieces"
    assert any(each.code == "mtu-exceeded" for each in found.notes) is ("too long" in said)
    if code is not None:
        assert (found.forward.at, found.forward.confidence) == (Place("app", "eth0"), Confidence.INFERRED)
        assert "packets of 1500 bytes do not leave app, small ones do" in found.forward.detail


def with_target(rules: str) -> dict[str, Facts]:
    back = Route(ip_network("0.0.0.0/0"), ip_address("10.0.44.254"), "eth0")
    return hosts() | {"target": facts("target", (link("eth0", "10.0.44.1/24"),), back, rules=rules)}


def test_an_answer_that_the_destinations_own_rule_stops_is_told_like_any_that_a_rule_drops() -> None:
    for what, code in (("DROP", "filter-rule-drop"), ("REJECT", "filter-reject")):
        rules = f"*filter\n-A OUTPUT -d 10.0.44.0/24 -j {what}\nCOMMIT\n"
        (found,) = told(with_target(rules))
        assert (found.code, found.host, found.direction) == (code, "target", Direction.REPLY)


def test_a_refusal_that_a_rule_of_the_destination_makes_is_an_obstacle_and_a_closed_port_is_none() -> None:
    probe = Probe(Protocol.TCP, TARGET, 80)
    asked = Packet("tcp", CLIENT, TARGET, 60, source_port=40000, destination_port=80, flags=Tcp.SYN)
    back = Packet("tcp", TARGET, CLIENT, 40, source_port=80, destination_port=40000, flags=Tcp.RST | Tcp.ACK)
    sightings = [
        seen("app", "eth0", Kind.SENT, asked),
        seen("gateway", "eth1", Kind.RECEIVED, asked),
        seen("gateway", "eth0", Kind.SENT, replace(asked, source=GATEWAY)),
        seen("gateway", "eth0", Kind.RECEIVED, replace(back, destination=GATEWAY)),
        seen("gateway", "eth1", Kind.SENT, back),
        seen("app", "eth0", Kind.RECEIVED, back),
    ]
    rule = "-A INPUT -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset"
    refused = (Reply.REFUSED,) * 3
    closed = verdict(with_target(""), sightings, refused, probe)
    assert (closed.result, [each.code for each in closed.notes]) == (
        Result.REACHABLE,
        ["destination-port-closed"],
    )
    by_rule = verdict(with_target(f"*filter\n{rule}\nCOMMIT\n"), sightings, refused, probe)
    assert (by_rule.result, by_rule.forward.code) == (Result.UNREACHABLE, "filter-reject")
    assert rule in by_rule.forward.detail


def test_a_rule_is_named_and_changed_in_the_words_of_the_tool_that_made_it() -> None:
    (saved,) = parse_save(
        "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i eth1 -j DROP\nCOMMIT\n", "ip", Tool.IPTABLES_NFT
    )
    known = hosts()
    nat = known["gateway"].firewall.foreign
    for theirs, tool, command in (
        (frozenset({("ip", "filter")}), "iptables-nft", "iptables -I FORWARD 1 -s 10.0.43.15 -d 10.0.44.1"),
        (frozenset[tuple[str, str]](), "nft", "nft insert rule ip filter FORWARD ip saddr 10.0.43.15"),
    ):
        firewall = Firewall(foreign=(*nat, replace(saved, tool=Tool.NFT)), with_nft=theirs)
        able = Capabilities(frozenset(("iptables",)), (6, 1), False, iptables_is_nft=True)
        mixed = known | {"gateway": replace(known["gateway"], firewall=firewall, capabilities=able)}
        found = verdict(mixed, [each for size in SIZES for each in request(size, 2)])
        assert f"({tool} ip filter FORWARD)" in found.forward.detail
        assert found.forward.fix[0].commands[0].startswith(command)


def test_of_a_full_table_of_connections_it_is_told_who_fills_it_and_what_can_be_done_there() -> None:
    known = hosts(
        gateway="*filter\n-A FORWARD -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n",
        sysctls=MappingProxyType(
            {
                "net.ipv4.ip_forward": "1",
                "net.netfilter.nf_conntrack_max": "1000",
                "net.netfilter.nf_conntrack_count": "1000",
            }
        ),
    )
    found = next(each for each in told(known) if each.code == "conntrack-table-full")
    entry = (
        "udp      17 596 src=198.18.0.1 dst=198.19.3.1 sport=35502 dport=9 src=198.19.3.1 dst=198.18.0.1\n"
    )
    other = entry.replace("src=198.18.0.1 ", "src=10.0.0.9 ")
    free = with_source(found, {"gateway": parse_filling("settable\n" + entry * 9 + other)})
    assert "9 of 10 that were looked at are from 198.18.0.1" in free.text
    assert commands([free], known) == ["sysctl -w net.netfilter.nf_conntrack_max=2000"]
    bound = with_source(found, {"gateway": parse_filling(entry * 9 + other)})
    assert commands([bound], known) == ["conntrack -D -s 198.18.0.1"]
    assert with_source(found, {"gateway": parse_filling("")}) == found


@pytest.mark.parametrize(("ingress", "hops", "backwards"), [("eth1", 2, 0), ("eth0", 3, 1)])
def test_a_rule_that_minds_the_length_is_named_where_only_large_packets_are_lost(
    ingress: str, hops: int, backwards: int
) -> None:
    rule = f"-A FORWARD -i {ingress} -m length --length 1400:65535 -j DROP"
    known = hosts(gateway=f"*filter\n{rule}\nCOMMIT\n")
    along = way(known)
    full = 1472
    small = [each for size in SIZES for each in (*request(size, 3), *answer(size, 3))]
    found = judge(
        Evidence(
            "business",
            along,
            ECHO,
            known,
            foretell(along, ECHO, known, BEYOND),
            Trail(
                Tags(ECHO, SIZES, (full,)),
                along,
                (*small, *request(full, hops), *answer(full, backwards)),
                POINTS,
            ),
            tuple(Sent(ECHO, Reply.ANSWERED) for _ in SIZES),
            {full: Sent(ECHO, Reply.SILENT)},
            of_large=foretell(along, ECHO, known, BEYOND, full + 28),
        )
    )
    half = found.forward if ingress == "eth1" else found.reply
    assert (found.result, half.code) == (Result.UNREACHABLE, "filter-rule-drop")
    assert half.at == Place("gateway", ingress)
    assert rule in half.detail
    assert "1500 bytes" in half.evidence[0]
    assert half.fix
    assert not found.notes


def test_where_nothing_explains_it_a_queue_that_somebody_has_set_is_named_and_not_sworn_to() -> None:
    sightings = [each for size in SIZES for each in request(size, 2)]
    plain = verdict(hosts(), sightings)
    assert (plain.forward.code, plain.forward.confidence) == ("filter-rule-drop", Confidence.CANDIDATES)
    assert plain.forward.at == Place("gateway", "eth1")
    links = (LINKS[0], replace(LINKS[1], qdisc="bfifo"))
    queued = verdict(hosts(links=links, queues={"eth0": "8001:"}), sightings)
    assert (queued.forward.code, queued.forward.at) == ("tc-or-xdp-drop", Place("gateway", "eth0"))
    assert queued.forward.confidence is Confidence.CANDIDATES
    assert queued.forward.fix[0].commands == ("tc qdisc del dev eth0 root handle 8001:",)
    usual = verdict(hosts(links=(LINKS[0], replace(LINKS[1], qdisc="fq_codel"))), sightings)
    assert usual.forward.code == "filter-rule-drop"
