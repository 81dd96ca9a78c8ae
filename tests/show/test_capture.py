"""How packets are shown as they pass: a column for each point, colours for the directions, times on one clock."""

from __future__ import annotations

import time

from capture.test_packet import A, T, ip4, syn
from capture.test_timeline import REQUEST, at, exchange
from crossnet.capture import Kind, timeline
from crossnet.capture.packet import parse_ip
from crossnet.show.capture import Columns, Directions, capture_data, summary_text
from crossnet.show.paint import plain


def painted(text: str, colour: str) -> str:
    return f"<{colour}>{text}</>"


def test_one_packet_goes_from_column_to_column_whatever_the_clocks_say() -> None:
    seen = exchange(gateway=-5000.0, target=0.0)
    shown = [line.rstrip() for line in Columns(plain).lines(seen, 0)]
    assert shown == [
        "   seconds  app eth0",
        "  0.000000  sent       10.0.43.15 > 10.0.44.1 icmp echo request",
        "   seconds  app eth0   gateway eth1",
        "  0.001000             received      10.0.43.15 > 10.0.44.1 icmp echo request",
        "   seconds  app eth0   gateway eth1  gateway eth0",
        "  0.002000                           sent          10.0.44.63 > 10.0.44.1 icmp echo request",
        "   seconds  app eth0   gateway eth1  gateway eth0  target eth0",
        "  0.003000                                         received     10.0.44.63 > 10.0.44.1 icmp echo request",
        "  0.004000                                         sent         10.0.44.1 > 10.0.44.63 icmp echo reply",
        "  0.005000                           received                   10.0.44.1 > 10.0.44.63 icmp echo reply",
        "  0.006000             sent                                     10.0.44.1 > 10.0.43.15 icmp echo reply",
        "  0.007000  received                                            10.0.44.1 > 10.0.43.15 icmp echo reply",
    ]


def test_what_comes_later_goes_on_where_it_was() -> None:
    columns = Columns(plain)
    first, later = exchange(0.0, 0.0), exchange(0.0, 0.0, begin=1002.0)
    columns.lines(first, 0)
    assert columns.lines([*first, *later], len(first))[0].startswith("  2.000000  sent ")
    assert columns.lines([*first, *later], 2 * len(first)) == []


def test_a_host_whose_clock_nobody_can_align_is_shown_when_its_packet_came() -> None:
    now = time.time()
    seen = [at(now, "app", Kind.SENT, REQUEST), at(5.0, "gateway", Kind.SENT, ip4(A, T, 6, syn()))]
    shown = [line for line in Columns(plain).lines(seen, 0) if "seconds" not in line]
    assert all(abs(float(line.split()[0])) < 1 for line in shown)
    assert "clock-not-aligned: gateway" in summary_text(timeline(seen), {}, {}, None)


def test_requests_and_replies_have_two_colours_and_errors_a_third() -> None:
    seen = exchange(0.0, 0.0)
    error = ip4("10.0.43.101", A, 1, bytes((3, 1)) + bytes(6) + REQUEST)
    told = at(1001, "app", Kind.SENT, error)
    lines = [line for line in Columns(painted).lines([*seen, told], 0) if "<bold>" not in line]
    assert [line[line.index("<") + 1 : line.index(">")] for line in lines] == [
        *["cyan"] * 4,
        *["green"] * 4,
        "red",
    ]


def test_who_was_the_first_to_send_asks() -> None:
    directions = Directions()
    ports = (b"\x9c\x40", b"\x00\x35")
    asks = parse_ip(ip4(A, T, 17, b"".join(ports) + bytes(8)))
    answers = parse_ip(ip4(T, A, 17, b"".join(reversed(ports)) + bytes(8)))
    packets = (asks, answers)
    assert [directions.of(one) for one in packets] == ["request", "reply"]
    assert [directions.of(one) for one in packets] == ["request", "reply"]


def test_the_summary_counts_at_each_point_and_says_what_is_missing() -> None:
    told = timeline(exchange(0.0, 0.0))
    points = {"app": ("lo", "eth0"), "gateway": ("eth0", "eth1"), "target": ("eth0",)}
    said = summary_text(told, points, {"gateway": 3}, "f.pcapng").splitlines()
    assert said == [
        "app eth0: 1 received, 1 sent",
        "gateway eth1: 1 received, 1 sent",
        "gateway eth0: 1 received, 1 sent",
        "target eth0: 1 received, 1 sent",
        "observer-lost-packets: gateway could not keep 3 packets",
        "Wrote f.pcapng: 8 packets.",
    ]
    nothing = summary_text(timeline([]), points, {}, None)
    assert nothing.startswith("No packet that was asked for passed app (lo, eth0), ")
    data = capture_data(told, points, {"other": "no"}, {}, None)
    assert [one["t"] for one in data["sightings"]] == sorted(one["t"] for one in data["sightings"])
    assert data["unwatched"] == {"other": "no"}
