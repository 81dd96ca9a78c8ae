"""Clocks that are aligned by what was exchanged, and packets that are followed through a translation."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.test_packet import A6, T6, A, T, echo, ip4, ip6, syn
from crossnet.capture import Kind, Record, Sighting, follow, timeline, translation
from crossnet.capture.frames import RAW
from crossnet.capture.packet import parse_ip

G = "10.0.44.63"
REQUEST, REPLY = ip4(A, T, 1, echo(8)), ip4(T, A, 1, echo(0))
TRANSLATED, ANSWER = ip4(G, T, 1, echo(8, ident=77)), ip4(T, G, 1, echo(0, ident=77))


def at(time: float, host: str, kind: Kind, data: bytes, interface: str = "eth0") -> Sighting:
    record = Record(round(time * 10**9), RAW, data, len(data))
    return Sighting(host, interface, time, kind, None, parse_ip(data), record)


def exchange(gateway: float, target: float, delay: float = 0.001, begin: float = 1000.0) -> list[Sighting]:
    """A ping over a gateway and back; the clocks of the others are ahead of the client's by so much."""
    ways = [
        ("app", Kind.SENT, REQUEST, "eth0"),
        ("gateway", Kind.RECEIVED, REQUEST, "eth1"),
        ("gateway", Kind.SENT, TRANSLATED, "eth0"),
        ("target", Kind.RECEIVED, TRANSLATED, "eth0"),
        ("target", Kind.SENT, ANSWER, "eth0"),
        ("gateway", Kind.RECEIVED, ANSWER, "eth0"),
        ("gateway", Kind.SENT, REPLY, "eth1"),
        ("app", Kind.RECEIVED, REPLY, "eth0"),
    ]
    ahead = {"app": 0.0, "gateway": gateway, "target": target}
    return [
        at(begin + step * delay + ahead[host], host, kind, data, interface)
        for step, (host, kind, data, interface) in enumerate(ways)
    ]


@given(
    st.floats(-1e5, 1e5),
    st.floats(-1e5, 1e5),
    st.permutations(range(8)),
)
def test_whatever_the_clocks_say_the_order_is_that_in_which_it_happened(
    gateway: float, target: float, order: list[int]
) -> None:
    happened = exchange(gateway, target)
    # Within a host the order is that of its own clock, and hosts come in any order.
    told = timeline(sorted((happened[number] for number in order), key=lambda one: one.host))

    assert [(one.host, one.kind, one.packet) for one in told.sightings] == [
        (one.host, one.kind, one.packet) for one in happened
    ]
    assert told.unaligned == ()
    assert told.offsets["gateway"] == pytest.approx(gateway, abs=0.003)
    assert told.since(told.sightings[-1]) == pytest.approx(0.007, abs=0.003)


def test_a_request_that_never_came_back_only_keeps_time_from_going_back() -> None:
    lone = exchange(gateway=-30.0, target=0.0)[:3]
    told = timeline(lone)
    assert told.unaligned == ("gateway",)
    assert [one.host for one in told.sightings] == ["app", "gateway", "gateway"]
    assert told.since(told.sightings[-1]) >= 0
    ahead = timeline(exchange(gateway=30.0, target=0.0)[:3])
    assert ahead.offsets["gateway"] == 0.0  # nothing says that it is wrong


def test_hosts_that_share_no_packet_are_not_aligned() -> None:
    told = timeline([at(5.0, "app", Kind.SENT, REQUEST), at(1.0, "gateway", Kind.SENT, ip4(A, T, 6, syn()))])
    assert told.unaligned == ("gateway",)
    assert [one.host for one in told.sightings] == ["gateway", "app"]


def test_a_packet_sent_again_does_not_spoil_it() -> None:
    first, again = exchange(7.0, 0.0), exchange(7.0, 0.0, begin=1003.0)
    lost = [one for one in (*first[:1], *again) if one.host != "target"]
    assert timeline(lost).offsets["gateway"] == pytest.approx(7.0, abs=3.1)
    assert timeline([*lost, *exchange(7.0, 0.0, begin=1009.0)]).unaligned == ()


def test_a_clock_that_was_set_in_between_is_told() -> None:
    before = [one for one in exchange(0.0, 0.0) if one.host != "target"]
    other = ip4(A, T, 1, echo(8, sequence=2))
    jumped = [at(1000.5, "app", Kind.SENT, other), at(970.0, "gateway", Kind.RECEIVED, other)]
    assert "gateway" in timeline([*before, *jumped]).unaligned


def test_nothing_seen_is_no_error() -> None:
    assert timeline([]).sightings == ()


def test_a_packet_is_followed_through_its_translation() -> None:
    happened = exchange(0.0, 0.0)
    request = follow(happened, happened[0].packet)
    assert [(one.host, one.interface) for one in request] == [
        ("app", "eth0"),
        ("gateway", "eth1"),
        ("gateway", "eth0"),
        ("target", "eth0"),
    ]
    assert translation(request[1].packet, request[2].packet) == "10.0.43.15 → 10.0.44.63"
    assert translation(request[0].packet, request[1].packet) is None
    assert [one.packet.source for one in follow(happened, happened[-1].packet)] == [
        one.packet.source for one in happened[4:]
    ]


@pytest.mark.parametrize("is_error", [False, True])
def test_a_large_packet_is_the_same_wherever_its_end_was_cut(is_error: bool) -> None:
    """One host tells the interface in a link header of 20 bytes, another has 14: of 128 there are 6 more left."""
    large = ip6(A6, T6, 58, echo(128, data=bytes(range(256)) * 5))
    if is_error:
        large = ip6(T6, A6, 58, bytes((1, 0)) + bytes(6) + large)
    seen = [at(1, "app", Kind.SENT, large[:108]), at(2, "gateway", Kind.RECEIVED, large[:114])]
    assert follow(seen, seen[0].packet) == tuple(seen)
    other = at(
        3, "gateway", Kind.RECEIVED, large[:40] + large[40:].replace(b"\x00\x09\x00\x01", b"\x00\x09\x00\x02")
    )
    assert follow([other], seen[0].packet) == ()


def test_a_connection_and_an_error_are_followed_too() -> None:
    before, after = ip4(A, T, 6, syn()), ip4(G, T, 6, struct.pack("!H", 50000) + syn()[2:])
    seen = [at(1, "gateway", Kind.RECEIVED, before), at(2, "gateway", Kind.SENT, after)]
    assert follow(seen, parse_ip(before)) == tuple(seen)
    assert translation(parse_ip(before), parse_ip(after)) == "10.0.43.15:40000 → 10.0.44.63:50000"
    error = bytes((3, 1)) + bytes(6)
    outside, inside = ip4(T, G, 1, error + TRANSLATED), ip4(T, A, 1, error + REQUEST)
    seen = [at(1, "gateway", Kind.RECEIVED, outside), at(2, "gateway", Kind.SENT, inside)]
    assert follow(seen, parse_ip(outside)) == tuple(seen)
