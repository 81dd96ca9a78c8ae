"""What neighbours see of each other where a flow stops before them: told of made-up hosts, and of what they sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from crossnet.capture import Kind, Packet, Sighting
from crossnet.capture.frames import Record
from crossnet.diagnosis.course import Course, Hints, course
from crossnet.diagnosis.judge import Evidence, judge
from crossnet.diagnosis.segments import SIZES, Asked, Echo, echoes, harmless
from crossnet.diagnosis.static import foretell
from crossnet.diagnosis.trail import Tags, Trail
from crossnet.facts import Facts
from crossnet.facts.neighbours import Neighbour
from crossnet.values import Probe
from crossnet.verdict import Also, Between, Diagnosis, Place
from crossnet.verification.probe import Reply, Sent
from diagnosis.clouded import apart, sending, shared
from diagnosis.seeded import HARDWARE, SEED, seed

CLIENT, INGRESS, EGRESS, TARGET = map(IPv4Address, ("10.0.43.15", "10.0.43.101", "10.0.44.63", "10.0.44.1"))
BEYOND = (ip_network("10.0.44.0/24"),)
ECHO = Probe.from_text("icmp/10.0.44.1")
SMALL = (100, 101, 102, 103, 104)
POINTS = {"app": ("eth0",), "gateway": ("eth0", "eth1")}
REFUSED = SEED.replace("\ngateway:", "\n  route prohibit 10.0.44.1\ngateway:")
NOT_FORWARDING = SEED.replace("ip_forward 1", "ip_forward 0")


def way(known: dict[str, Facts]) -> Course:
    return course("app", ("gateway",), TARGET, known, Hints(beyond=BEYOND))


def asked_of(known: dict[str, Facts], seen_as: IPv4Address | None = EGRESS) -> tuple[Echo, ...]:
    return echoes(way(known), known, seen_as, range(200, 200 + SIZES))


# ---- what is seen -----------------------------------------------------------------------------------


def seen(host: str, interface: str, kind: Kind, packet: Packet) -> Sighting:
    return Sighting(host, interface, 0.0, kind, None, packet, Record(0, 1, b"", 0))


def echo(size: int, source: object, destination: object, *, reply: bool = False) -> Packet:
    source, destination = ip_address(str(source)), ip_address(str(destination))
    return Packet("icmp", source, destination, size + 28, icmp_type=0 if reply else 8, icmp_code=0)


def own_of(each: Echo) -> IPv4Address:
    source = each.source or (CLIENT if each.sender.host == "app" else EGRESS)
    assert isinstance(source, IPv4Address)
    return source


def all_of(each: Echo) -> list[Sighting]:
    """An echo that is answered, as it is seen at each point that it passes."""
    there = echo(each.data, own_of(each), each.destination)
    back = echo(each.data, each.destination, own_of(each), reply=True)
    points = [seen(each.sender.host, each.device, Kind.SENT, there)]
    if each.receiver is not None:
        interface = (each.receiver.egress if each.back else each.receiver.ingress) or ""
        points.append(seen(each.receiver.host, interface, Kind.RECEIVED, there))
        points.append(seen(each.receiver.host, interface, Kind.SENT, back))
    return [*points, seen(each.sender.host, each.device, Kind.RECEIVED, back)]


def question(host: str, interface: str, wanted: object, source: object) -> Packet:
    source, wanted = ip_address(str(source)), ip_address(str(wanted))
    return Packet("arp", source, None, asks=wanted, mac=HARDWARE[host])


Seen = Callable[[Echo], Sequence[Sighting]]


def verdict(
    text: str,
    became: Seen = all_of,
    flow: Iterable[Sighting] = (),
    probe: Probe = ECHO,
    connections: tuple[Sent, ...] = (),
    change: Callable[[dict[str, Facts]], None] = lambda _: None,
) -> Diagnosis:
    """Of a flow of which nothing was answered; `became` is what was seen of each echo of neighbours."""
    known = seed(text)
    change(known)
    along = way(known)
    made = asked_of(known)
    trail = Trail(Tags(probe, SMALL), along, tuple(flow), POINTS)
    late = tuple(sighting for each in made for sighting in became(each))
    told = foretell(along, probe, known, BEYOND)
    sent = (Sent(probe, Reply.SILENT),) * 5
    asked = Asked(made, late, connections)
    return judge(Evidence("business", along, probe, known, told, trail, sent, asked=asked))


def came_to_the_gateway() -> list[Sighting]:
    return [
        seen(host, interface, kind, echo(size, CLIENT, TARGET))
        for size in SMALL
        for host, interface, kind in (("app", "eth0", Kind.SENT), ("gateway", "eth1", Kind.RECEIVED))
    ]


def also(found: Diagnosis) -> list[tuple[str, str]]:
    return [(each.direction, each.code) for each in found.also]


def lost(wanted: Callable[[Echo], bool], upto: int = 1) -> Seen:
    """Everything is answered, but of those only the first so many points have seen anything."""
    return lambda each: all_of(each)[:upto] if wanted(each) else all_of(each)


# ---- what is asked ----------------------------------------------------------------------------------


def test_each_segment_is_asked_about_in_both_directions_and_with_a_foreign_address() -> None:
    made = [
        (each.sender.host, each.device, str(each.source), str(each.destination), each.foreign)
        for each in asked_of(seed(SEED))
    ]
    assert made == [
        ("app", "eth0", "None", "10.0.43.101", False),
        ("app", "eth0", "None", "10.0.44.63", True),
        ("gateway", "eth1", "10.0.43.101", "10.0.43.15", False),
        ("gateway", "eth1", "10.0.44.63", "10.0.43.15", True),
        ("gateway", "eth0", "10.0.44.63", "10.0.44.1", False),
    ]
    sizes = [each.data for each in asked_of(seed(SEED))]
    assert len(set(sizes)) == len(sizes)


def test_a_gateway_asks_as_somebody_who_can_be_answered() -> None:
    two = SEED.replace(
        "  eth0 10.0.44.63/24", "  eth0 172.31.0.5/16 10.0.44.63/32\n  route 10.0.44.0/24 dev eth0"
    )
    (behind,) = [each for each in asked_of(seed(two), IPv4Address("172.31.0.5")) if each.receiver is None]
    assert behind.source == EGRESS
    none = SEED.replace("  eth0 10.0.44.63/24", "  eth0")
    (behind,) = [each for each in asked_of(seed(none)) if each.receiver is None]
    assert behind.source is None


def test_through_a_router_it_is_asked_as_routes_lead() -> None:
    text = SEED.replace(
        "eth0 10.0.44.63/24", "eth0 10.0.99.2/24\n  route 10.0.44.0/24 via 10.0.99.1 dev eth0"
    )
    (behind,) = [each for each in asked_of(seed(text)) if each.receiver is None]
    assert behind.task[0] == "echo_of"


def test_a_client_without_an_address_asks_nobody() -> None:
    made = asked_of(
        seed(SEED.replace("  eth0 10.0.43.15/24\n  route 10.0.44.0/24 via 10.0.43.101 dev eth0", "  eth0"))
    )
    assert {each.sender.host for each in made} == {"gateway"}


def harmless_of(text: str, flow: Iterable[Sighting], silent: Iterable[str] = ()) -> set[tuple[str, str]]:
    known = seed(text)
    trail = Trail(Tags(ECHO, SMALL), way(known), tuple(flow), POINTS)
    return {
        (each.sender.host, each.device) for each in harmless(asked_of(known), trail, known, frozenset(silent))
    }


def test_nobody_is_asked_who_would_learn_the_address_that_the_flow_waits_for() -> None:
    unanswered = [
        seen("app", "eth0", Kind.SENT, question("app", "eth0", INGRESS, CLIENT)),
        seen("gateway", "eth1", Kind.RECEIVED, question("app", "eth0", INGRESS, CLIENT)),
    ]
    assert harmless_of(SEED, unanswered) == {("gateway", "eth0")}
    assert ("app", "eth0") in harmless_of(SEED, unanswered, ["gateway"])
    astray = [seen("app", "eth0", Kind.SENT, question("app", "eth0", TARGET, CLIENT))]
    assert ("app", "eth0") in harmless_of(SEED, astray)
    gone_on = [
        *came_to_the_gateway(),
        *(seen("gateway", "eth0", Kind.SENT, echo(size, EGRESS, TARGET)) for size in SMALL),
    ]
    assert harmless_of(SEED, gone_on) == {("app", "eth0"), ("gateway", "eth1")}
    as_a_stranger = [
        *came_to_the_gateway(),
        *(seen("gateway", "eth0", Kind.SENT, echo(size, CLIENT, TARGET)) for size in SMALL),
    ]
    assert ("gateway", "eth0") in harmless_of(SEED, as_a_stranger)


# ---- the way on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [REFUSED, NOT_FORWARDING])
def test_where_all_neighbours_answer_nothing_is_added(text: str) -> None:
    found = verdict(text, flow=came_to_the_gateway() if text == NOT_FORWARDING else ())
    assert (also(found), found.notes) == ([], ())


@pytest.mark.parametrize("foreign", [False, True])
def test_a_segment_that_loses_what_a_client_sends_is_told_behind_its_own_fault(foreign: bool) -> None:
    found = verdict(REFUSED, lost(lambda each: each.sender.host == "app" and each.foreign is foreign))
    assert found.forward.code == "route-prohibit"
    (one,) = found.also
    assert (one.direction, one.code) == ("forward", "lost-between")
    assert one.at == Between(Place("app", "eth0"), Place("gateway", "eth1"))
    assert ("foreign" in one.detail) is foreign
    assert one.detail.endswith("; perhaps a filter of a switch or of a hypervisor")


def test_what_filters_in_a_cloud_is_named_where_a_host_is_in_one() -> None:
    text = REFUSED.replace("\ngateway:", "\n  route 169.254.169.254/32 via 10.0.43.2 dev eth0\ngateway:")
    (one,) = verdict(text, lost(lambda each: each.sender.host == "app" and each.foreign)).also
    assert one.detail.endswith("; perhaps neutron-antispoof-destination, neutron-security-group")


def test_what_the_flow_itself_has_passed_is_not_doubted() -> None:
    found = verdict(NOT_FORWARDING, lost(lambda each: each.sender.host == "app"), came_to_the_gateway())
    assert ("forward", "lost-between") not in also(found)


def asks_in_vain(each: Echo, *, came: bool) -> list[Sighting]:
    if each.sender.host != "app" or each.foreign:
        return []
    asked = question("app", "eth0", each.destination, CLIENT)
    points = [seen("app", "eth0", Kind.SENT, asked), seen("gateway", "eth1", Kind.RECEIVED, asked)]
    return points if came else points[:1]


@pytest.mark.parametrize(("came", "code"), [(True, "arp-not-answered"), (False, "lost-between")])
def test_a_neighbour_that_does_not_answer_is_told_from_a_question_that_does_not_come(
    came: bool, code: str
) -> None:
    found = verdict(REFUSED, lambda each: asks_in_vain(each, came=came))
    assert also(found) == [("forward", code)]
    known_why = REFUSED.replace("eth1 10.0.43.101/24", "eth1 10.0.43.101/24\n  lo 10.0.43.15/32")
    found = verdict(known_why, lambda each: asks_in_vain(each, came=came))
    assert ("forward", "martian-source") in also(found)
    assert ("forward", code) not in also(found)


def test_another_owner_of_a_gateways_address_is_named() -> None:
    stranger = "02:00:00:00:43:98"

    def became(each: Echo) -> list[Sighting]:
        if each.sender.host != "app":
            return all_of(each)
        told = Packet("arp", each.destination, None, tells=each.destination, mac=stranger)
        return [seen("app", "eth0", Kind.RECEIVED, told), *all_of(each)[:1]]

    found = verdict(REFUSED, became)
    assert also(found) == [("forward", "duplicate-address")]
    assert stranger in found.also[0].detail


def test_a_wrong_entry_that_facts_know_is_told_once() -> None:
    def change(known: dict[str, Facts]) -> None:
        entry = Neighbour(INGRESS, "eth0", "PERMANENT", "02:de:ad:be:ef:01")
        known["app"] = replace(known["app"], neighbours=(entry,))

    found = verdict(REFUSED, lost(lambda each: each.destination == INGRESS), change=change)
    assert also(found) == [("forward", "wrong-destination-mac")]


# ---- the way back -----------------------------------------------------------------------------------


def test_answers_with_a_foreign_source_that_do_not_come_back_are_told() -> None:
    def became(each: Echo) -> Sequence[Sighting]:
        points = all_of(each)
        if not each.foreign:
            return points
        return points[:1] if each.back else points[:3]

    found = verdict(NOT_FORWARDING, became, came_to_the_gateway())
    assert found.forward.code == "ip-forward-disabled"
    (one,) = found.also
    assert (one.direction, one.code) == ("reply", "lost-between")
    assert one.at == Between(Place("gateway", "eth1"), Place("app", "eth0"))
    assert "10.0.44.63" in one.detail


def test_a_client_that_takes_no_new_connections_loses_no_answers() -> None:
    guarded = lost(lambda each: each.back)
    assert also(verdict(NOT_FORWARDING, guarded, came_to_the_gateway())) == []


def test_where_a_client_gets_no_answers_what_its_gateway_sends_tells() -> None:
    def became(each: Echo) -> Sequence[Sighting]:
        if not each.back:
            return all_of(each)[:2] if each.receiver is not None else all_of(each)
        return all_of(each)[:1] if each.foreign else all_of(each)

    assert also(verdict(NOT_FORWARDING, became, came_to_the_gateway())) == [("reply", "lost-between")]


# ---- behind the last gateway ------------------------------------------------------------------------


def only_behind(became: Seen) -> Seen:
    return lambda each: became(each) if each.receiver is None else all_of(each)


def behind(found: Diagnosis) -> Also:
    (one,) = found.also
    assert one.at == Between(Place("gateway", "eth0"), Place("10.0.44.1"))
    return one


def test_a_destination_that_answers_its_gateway_neither_is_silent() -> None:
    found = verdict(NOT_FORWARDING, only_behind(lambda each: all_of(each)[:1]), came_to_the_gateway())
    assert behind(found).code == "destination-silent"


def test_a_destination_that_takes_connections_ignores_echoes() -> None:
    web = Sent(Probe.from_text("tcp/10.0.44.1:80"), Reply.REFUSED)
    found = verdict(
        NOT_FORWARDING, only_behind(lambda each: all_of(each)[:1]), came_to_the_gateway(), connections=(web,)
    )
    assert behind(found).code == "echo-ignored"


def test_silence_for_somebody_who_cannot_be_answered_says_nothing() -> None:
    def became(each: Echo) -> list[Sighting]:
        return [seen("gateway", "eth0", Kind.SENT, echo(each.data, "10.0.44.64", TARGET))]

    assert also(verdict(NOT_FORWARDING, only_behind(became), came_to_the_gateway())) == []


def test_what_leaves_by_another_interface_says_nothing_of_the_destination() -> None:
    def became(each: Echo) -> list[Sighting]:
        return [seen("gateway", "eth1", Kind.SENT, echo(each.data, EGRESS, TARGET))]

    assert also(verdict(NOT_FORWARDING, only_behind(became), came_to_the_gateway())) == []


@pytest.mark.parametrize("source", [EGRESS, INGRESS])
def test_a_destination_that_nobody_finds_is_absent(source: IPv4Address) -> None:
    def became(each: Echo) -> list[Sighting]:
        return [seen("gateway", "eth0", Kind.SENT, question("gateway", "eth0", TARGET, source))]

    one = behind(verdict(NOT_FORWARDING, only_behind(became), came_to_the_gateway()))
    assert one.code == "destination-absent"
    assert ("perhaps" in one.detail) is (source == INGRESS)


def test_a_destination_that_rejects_its_gateway_too_is_said_to() -> None:
    def became(each: Echo) -> list[Sighting]:
        there = all_of(each)[:1]
        said = Packet("icmp", TARGET, EGRESS, 76, icmp_type=3, icmp_code=10, quoted=there[0].packet)
        return [*there, seen("gateway", "eth0", Kind.RECEIVED, said)]

    found = verdict(NOT_FORWARDING, only_behind(became), came_to_the_gateway())
    assert behind(found).code == "filter-reject"


def test_of_a_port_the_very_port_is_tried() -> None:
    probe = Probe.from_text("tcp/10.0.44.1:443")
    flow = [
        seen(
            "app",
            "eth0",
            Kind.SENT,
            Packet("tcp", CLIENT, TARGET, 60, source_port=4000, destination_port=443),
        ),
        seen(
            "gateway",
            "eth1",
            Kind.RECEIVED,
            Packet("tcp", CLIENT, TARGET, 60, source_port=4000, destination_port=443),
        ),
    ]
    tried = Packet("tcp", EGRESS, TARGET, 60, source_port=4001, destination_port=443)

    def connecting(each: Echo) -> list[Sighting]:
        return [
            *all_of(each),
            *([seen("gateway", "eth0", Kind.SENT, tried)] if each.receiver is None else []),
        ]

    for reply, wanted in ((Reply.SILENT, [("forward", "destination-silent")]), (Reply.REFUSED, [])):
        found = verdict(NOT_FORWARDING, connecting, flow, probe, (Sent(probe, reply),))
        assert also(found) == wanted
    assert also(verdict(NOT_FORWARDING, all_of, flow, probe, (Sent(probe, Reply.SILENT),))) == []

    def rejected(each: Echo) -> list[Sighting]:
        said = Packet("icmp", TARGET, EGRESS, 88, icmp_type=3, icmp_code=10, quoted=tried)
        return [*all_of(each), seen("gateway", "eth0", Kind.RECEIVED, said)]

    not_sent = (Sent(probe, Reply.NOT_SENT),)
    found = verdict(NOT_FORWARDING, only_behind(rejected), flow, probe, not_sent)
    assert also(found) == [("forward", "filter-reject")]


def test_a_silent_destination_behind_a_gateway_that_does_not_translate_is_told() -> None:
    text = SEED.replace(
        "  iptables nat -A POSTROUTING -d 10.0.44.0/24 -o eth0 -j SNAT --to-source 10.0.44.63\n", ""
    )
    untranslated = [
        *came_to_the_gateway(),
        *(seen("gateway", "eth0", Kind.SENT, echo(size, CLIENT, TARGET)) for size in SMALL),
    ]
    silent = only_behind(lambda each: all_of(each)[:1])
    found = verdict(text, silent, untranslated)
    assert (found.reply.code, also(found)) == ("snat-missing", [("forward", "destination-silent")])
    assert also(verdict(text, flow=untranslated)) == []


def test_where_a_gateway_gives_its_own_echo_a_source_without_a_way_back_nothing_is_known_of_the_destination() -> (
    None
):
    text = SEED.replace("--to-source 10.0.44.63", "--to-source 10.0.43.101")
    astray = [
        *came_to_the_gateway(),
        *(seen("gateway", "eth0", Kind.SENT, echo(size, INGRESS, TARGET)) for size in SMALL),
    ]
    translated = only_behind(
        lambda each: [seen("gateway", "eth0", Kind.SENT, echo(each.data, INGRESS, TARGET))]
    )
    found = verdict(text, translated, astray)
    assert (found.reply.code, also(found)) == ("snat-address-unsuitable", [])
    assert [each.code for each in found.notes] == ["return-path-not-checked"]


# ---- the whole --------------------------------------------------------------------------------------


def test_all_of_it_stands_in_the_order_in_which_packets_meet_it() -> None:
    def became(each: Echo) -> Sequence[Sighting]:
        return all_of(each)[:1] if each.receiver is None or each.sender.host == "app" else all_of(each)

    text = REFUSED.replace("ip_forward 1", "ip_forward 0")
    assert also(verdict(text, became)) == [
        ("forward", "lost-between"),
        ("forward", "ip-forward-disabled"),
        ("forward", "destination-silent"),
    ]


def test_a_way_back_that_nobody_could_look_at_is_said_to_be_so() -> None:
    found = verdict(REFUSED, lambda each: [])
    (note,) = found.notes
    assert note.code == "return-path-not-checked"
    assert "from 10.0.44.1 to gateway and from gateway to app" in note.detail
    assert "diagnose again" in note.detail
    found = verdict(REFUSED, lambda each: [] if each.receiver is None else all_of(each))
    assert [each.detail.split(":")[0] for each in found.notes] == [
        "the way back from 10.0.44.1 to gateway was not looked at"
    ]


# ---- through ports of a cloud -----------------------------------------------------------------------


def dropped_as_foreign(each: Echo) -> list[Sighting]:
    """What a port drops that may send its own addresses alone: the gateway's echoes, and its answers."""
    if not each.foreign:
        return all_of(each)
    return all_of(each)[: 1 if each.back else 3]


@pytest.mark.parametrize(
    ("pairs", "told"),
    [((), [("reply", "neutron-antispoof-source")]), (("10.0.44.1/32",), []), (("10.0.44.0/24",), None)],
)
def test_what_is_known_of_a_port_explains_what_it_does_to_neighbours(
    pairs: tuple[str, ...], told: list[tuple[str, str]] | None
) -> None:
    """Of the flow itself, its destination counts, and not what neighbours try."""
    assert also(verdict(REFUSED, dropped_as_foreign)) == [("reply", "lost-between")]
    cloud = shared()
    cloud = replace(cloud, ingress=sending(cloud.ingress, *pairs))
    found = verdict(REFUSED, dropped_as_foreign, change=lambda known: known.update(cloud.known_to(known)))
    # Where the port should let it pass it is something else.
    assert also(found) == (told if told is not None else [("reply", "lost-between")])


def test_a_group_explains_that_the_neighbours_echoes_do_not_come() -> None:
    def kept_out(each: Echo) -> list[Sighting]:
        return all_of(each)[:1] if each.sender.host == "app" else all_of(each)

    assert ("forward", "lost-between") in also(verdict(REFUSED, kept_out))
    cloud = replace(apart(), ingress=sending(apart().ingress, "10.0.44.0/24"))
    found = verdict(REFUSED, kept_out, change=lambda known: known.update(cloud.known_to(known)))
    assert also(found) == [("forward", "neutron-security-group")]


# ---- a router of IPv6 that is passed over -------------------------------------------------------------

HOP, OTHER = "fd00:43::101", "fd00:43::1"
SIXTH = f"""
app:
  eth0 fd00:43::15/64
  route fd00:44::/64 via {HOP} dev eth0
  route default via {OTHER} dev eth0
gateway:
  eth1 {HOP}/64
  eth0 fd00:44::63/64
  sysctl net.ipv6.conf.all.forwarding 1
"""


def passed_over(asked_elsewhere: bool, state: str, came: bool = True) -> Diagnosis:
    """Of a flow whose client asks for another router, or not at all, and only itself for that of the crossing."""
    known, probe, beyond = seed(SIXTH), Probe.from_text("icmp/fd00:44::1"), (ip_network("fd00:44::/64"),)
    known["app"] = replace(known["app"], neighbours=(Neighbour(ip_address(HOP), "eth0", state, ""),))
    hints = Hints(beyond=beyond, next_hop=ip_address(HOP))
    along = course("app", ("gateway",), probe.destination, known, hints)
    made = echoes(along, known, ip_address("fd00:44::63"), range(200, 200 + SIZES))

    def asks(wanted: str, came: bool = True) -> list[Sighting]:
        packet = replace(question("app", "eth0", wanted, "fd00:43::15"), protocol="nd")
        points = [("app", "eth0", Kind.SENT), ("gateway", "eth1", Kind.RECEIVED)]
        return [seen(host, interface, kind, packet) for host, interface, kind in points[: 1 + came]]

    trail = Trail(Tags(probe, SMALL), along, tuple(asks(OTHER) if asked_elsewhere else ()), POINTS)
    told = foretell(along, probe, known, beyond)
    sent = (Sent(probe, Reply.SILENT, "Network is unreachable" if not asked_elsewhere else ""),) * 5
    asked = Asked(made, tuple(asks(HOP, came)), ())
    return judge(Evidence("business", along, probe, known, told, trail, sent, asked=asked))


@pytest.mark.parametrize(
    ("asked_elsewhere", "state"), [(True, "FAILED"), (True, "INCOMPLETE"), (False, "FAILED")]
)
def test_a_router_of_ipv6_that_is_passed_over_is_told_by_its_own_address(
    asked_elsewhere: bool, state: str
) -> None:
    found = passed_over(asked_elsewhere, state)
    assert (found.forward.code, found.forward.at) == ("arp-not-answered", Place("gateway", "eth1"))
    assert f"app asked for {HOP} on eth0" in found.forward.detail
    assert found.forward.fix == ()
    assert ("forward", "arp-not-answered") not in also(found), "told once"
    lost = passed_over(asked_elsewhere, state, came=False)
    assert (lost.forward.code, lost.forward.at) == (
        "lost-between",
        Between(Place("app", "eth0"), Place("gateway", "eth1")),
    )
