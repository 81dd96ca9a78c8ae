"""A capture that prints nothing of what its host hands on proves no detour."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from crossnet.diagnosis.judge import Evidence, judge
from crossnet.diagnosis.trail import Part, Tags, Trail
from crossnet.facts.links import LinkAddress
from crossnet.verdict import Result
from crossnet.verification.conntrack import Entry
from crossnet.verification.probe import Reply, Sent
from diagnosis.test_ports import WHOLE, foretold, way
from diagnosis.test_stopped_by_rules import ECHO, POINTS, SIZES, hosts, request

TRACKED = Entry(
    "icmp",
    ip_address("10.0.43.15"),
    ip_address("10.0.44.1"),
    ip_address("10.0.44.63"),
    True,
    None,
    29,
    "icmp 1 29",
)
OF_THE_GATEWAY = replace(TRACKED, source=ip_address("10.0.44.63"))  # who watches the destination from there


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ((TRACKED,), "observer-lost-packets"),
        ((OF_THE_GATEWAY, TRACKED), "observer-lost-packets"),
        ((OF_THE_GATEWAY,), "src-route-other-next-hop"),
        ((), "src-route-other-next-hop"),
    ],
)
def test_what_connection_tracking_knows_went_over_the_host(entries: tuple[Entry, ...], code: str) -> None:
    known, along = hosts(), way(hosts())
    trail = Trail(Tags(ECHO, SIZES), along, tuple(each for each in WHOLE if each.host != "gateway"), POINTS)
    sent = (Sent(ECHO, Reply.ANSWERED),) * 5
    evidence = Evidence(None, along, ECHO, known, foretold(known), trail, sent, tracked={"gateway": entries})
    found = judge(evidence)
    assert found.result is Result.REACHABLE
    assert code in [note.code for note in found.notes]
    assert (
        len({"observer-lost-packets", "src-route-other-next-hop"} & {note.code for note in found.notes}) == 1
    )


@pytest.mark.parametrize(
    ("entries", "lost", "past"),
    [
        ((), 0, True),
        ((replace(TRACKED, replied=False),), 0, True),
        ((replace(OF_THE_GATEWAY, text="icmp of the gateway"),), 0, True),
        ((TRACKED,), 0, False),
        ((), 12, False),
    ],
)
def test_an_answer_that_only_the_capture_misses_does_not_come_back_past_the_gateway(
    entries: tuple[Entry, ...], lost: int, *, past: bool
) -> None:
    known, along = hosts(), way(hosts())
    whole = Trail(Tags(ECHO, SIZES), along, tuple(WHOLE), POINTS)
    answers = whole.at("gateway", Part.REPLY)
    trail = replace(whole, sightings=tuple(each for each in WHOLE if each not in answers))
    assert answers
    assert trail.left("gateway", Part.REQUEST)
    sent = (Sent(ECHO, Reply.ANSWERED),) * 5
    evidence = Evidence(None, along, ECHO, known, foretold(known), trail, sent)
    evidence = replace(evidence, tracked={"gateway": entries}, lost={"gateway": lost} if lost else {})
    found = judge(evidence)
    assert found.result is Result.REACHABLE
    assert any(note.code == "return-route-elsewhere" for note in found.notes) is past


def test_what_a_gateway_sends_itself_is_no_flow_of_the_client_that_leaves_it_with_the_same_address() -> None:
    known, along = hosts(), way(hosts())
    sightings = tuple(each for size in SIZES for each in request(size, 3))
    trail = Trail(Tags(ECHO, SIZES), along, sightings, POINTS)
    ours = replace(TRACKED, replied=False, text="icmp 1 29 of the client")
    own = replace(OF_THE_GATEWAY, text="icmp 1 29 of the gateway")
    sent = (Sent(ECHO, Reply.SILENT),) * 5
    evidence = Evidence(
        None, along, ECHO, known, foretold(known), trail, sent, tracked={"gateway": (own, ours)}
    )
    assert evidence.own_tracked() == {"gateway": (ours,)}
    found = judge(evidence)
    assert all(
        "of the gateway" not in each for half in (found.forward, found.reply) for each in half.evidence
    )


def test_a_client_that_nobody_watches_may_send_with_any_of_its_addresses() -> None:
    known = hosts()
    (link, *rest) = known["app"].links
    second = LinkAddress(ip_address("10.0.43.16"), 24)
    links = (replace(link, addresses=(*link.addresses, second)), *rest)
    known["app"] = replace(known["app"], links=links)
    along = way(known)
    trail = Trail(Tags(ECHO, SIZES), along, (), {"gateway": ("eth0", "eth1")})
    sent = (Sent(ECHO, Reply.ANSWERED),) * 5
    entry = replace(TRACKED, source=second.address)
    evidence = Evidence(
        None,
        along,
        ECHO,
        known,
        foretold(known),
        trail,
        sent,
        failed={"app": "no tcpdump"},
        tracked={"gateway": (entry,)},
    )
    assert "observer-lost-packets" in [note.code for note in judge(evidence).notes]
