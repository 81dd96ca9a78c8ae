"""Which host is asked what it does to the probes."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

from crossnet.capture import Kind, Packet, Sighting
from crossnet.capture.frames import Record
from crossnet.diagnosis.inquiry import Inquiry, inquiry
from crossnet.diagnosis.static import foretell
from crossnet.diagnosis.trail import Tags, Trail
from crossnet.facts import Facts
from crossnet.facts.routes import Route
from crossnet.values import Probe, Protocol
from diagnosis.test_stopped_by_rules import BEYOND, CLIENT, POINTS, TARGET, facts, hosts, link, way

ECHO, SIZES = Probe(Protocol.ICMP, TARGET), (100, 101, 102, 103, 104)
WAYS = (
    ("app", "eth0", Kind.SENT),
    ("gateway", "eth1", Kind.RECEIVED),
    ("gateway", "eth0", Kind.SENT),
    ("target", "eth0", Kind.RECEIVED),
)


def asked_of_a_target(*routes: Route) -> Inquiry | None:
    """Where untranslated echoes came to the target, which has these routes and never answered."""
    known: dict[str, Facts] = hosts()
    gateway = facts("gateway", known["gateway"].links)
    target = facts("target", (link("eth0", "10.0.44.1/24"),), *routes)
    known |= {"gateway": gateway, "target": target}
    seen = tuple(
        Sighting(host, interface, 0.0, kind, None, packet, Record(0, 1, b"", 0))
        for size in SIZES
        for packet in (Packet("icmp", CLIENT, IPv4Address(TARGET), size + 28, icmp_type=8, icmp_code=0),)
        for host, interface, kind in WAYS
    )
    along = way(known)
    trail = Trail(Tags(ECHO, SIZES), along, seen, POINTS | {"target": ("eth0",)})
    told = foretell(along, ECHO, known, BEYOND)
    return inquiry(trail, told, ECHO, SIZES, (200, 201), refused=False, unusual=True)


def test_a_target_that_surely_has_no_way_back_is_not_asked() -> None:
    assert asked_of_a_target() is None


def test_a_target_that_has_one_is() -> None:
    asked = asked_of_a_target(Route(BEYOND[0].supernet(new_prefix=8), ip_address("10.0.44.63"), "eth0"))
    assert asked is not None
    assert asked.host == "target"
