"""Probes are known by their sizes alone, so that no two kinds of them may have one in common."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from crossnet.api import Asked, diagnose
from crossnet.capture import Watch
from crossnet.diagnosis.probes import Probes, probes_of
from crossnet.diagnosis.seen import Seen
from crossnet.diagnosis.trail import Part, Tags
from crossnet.errors import CrossnetError
from crossnet.specfile import parse
from crossnet.values import Probe, Protocol, address
from diagnosis.test_ports import way
from diagnosis.test_stopped_by_rules import ECHO, POINTS, hosts, request

FRAME = 14 + 4  # bytes of Ethernet and a VLAN, which a kernel may count too

PROBES = [
    Probe(Protocol.ICMP, address("10.0.44.1")),
    Probe(Protocol.TCP, address("10.0.44.1"), 443),
    Probe(Protocol.ICMP, address("fd00:44::1")),
]


def sizes(probes: Probes) -> list[int]:
    return [*probes.small, *probes.near, *probes.again]


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_each_echo_is_known_by_its_size(probe: Probe) -> None:
    for _ in range(100):
        probes = probes_of(probe, None)
        assert len(set(sizes(probes))) == len(sizes(probes))
        others = {*probes.small, *probes.near, *probes.again}
        assert all(abs(each - other) > FRAME for each in probes.again for other in others - {each})


def test_two_diagnoses_at_once_ask_of_lengths_that_have_next_to_nothing_in_common() -> None:
    """The same kernel may have the hosts of both, and does not tell whose a packet is that it drops."""
    pairs = [(probes_of(PROBES[0], None), probes_of(PROBES[0], None)) for _ in range(2000)]
    shared = [len({*ours.again} & {*theirs.again, *theirs.small}) for ours, theirs in pairs]
    assert sum(number >= 2 for number in shared) <= 45


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_all_that_is_sent_is_watched_for(probe: Probe) -> None:
    probes = probes_of(probe, None)
    said = [*probes.tasks((1472,)), *(task for each in probes.rounds() for task in probes.repeated(each))]
    echoes = {int(size) for kind, _, size in said if kind in ("echo_of", "whole")}
    assert 1472 in echoes
    assert echoes <= {*sizes(probes), 1472}
    assert {*sizes(probes)} <= set(probes.wanted().echoes)


def test_a_forced_size_is_that_of_the_ip_packet() -> None:
    assert probes_of(PROBES[0], 1400).tasks(()) == [("sized", "10.0.44.1", "1372")]
    assert probes_of(PROBES[2], 1400).tasks(()) == [("sized", "fd00:44::1", "1352")]
    assert probes_of(PROBES[0], 20).small == (0,)


def test_a_size_is_refused_of_a_crossing_whose_probes_are_no_echoes() -> None:
    text = """\
crossnet: 1
hosts: {app: {lab: none/app}, gateway: {lab: none/gateway}}
crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24, probe: tcp/10.0.44.10:443}}
"""
    with pytest.raises(CrossnetError, match="icmp only, and what would be sent is tcp"):
        asyncio.run(diagnose(Asked("business", size=1500), parse(text, "crossnet.yaml")))


def test_what_neighbours_ask_each_other_is_no_probe_and_an_echo_of_another_size_is_one() -> None:
    known = hosts()
    watch = SimpleNamespace(sightings=list(request(100, 2)), points=POINTS)
    seen = Seen(cast(Watch, watch), Tags(ECHO, (100,)), way(known))
    seen.set_apart()
    tried, asked = request(1372, 2), request(103, 2)
    watch.sightings += [*tried, *asked]
    trail = seen.trail()
    assert [each for each in tried if each not in trail.sightings] == []
    assert [each for each in asked if each in trail.sightings] == []
    assert len(trail.left("app", Part.REQUEST)) == 1, "the other size is not what is asked about"
