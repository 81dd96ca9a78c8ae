"""Where a host's kernel is asked where it sends packets: what it says decides egress and source."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

import crossnet
from crossnet.errors import PlanRefused
from crossnet.lab.build import Lab
from crossnet.planning import Plan
from crossnet.spec import Spec
from crossnet.transport import LIMIT, TIMEOUT, Completed
from crossnet.transport.lab import LabHost
from lab.crossing import Bench
from lab.old_tools_host import make_busybox, make_new
from lacking import lacking

pytestmark = pytest.mark.lab

TO = "to: 10.0.44.0/24, probe: icmp/10.0.44.1"
# A network behind the destination's host, which answers for it on two addresses.
BEHIND = "ip addr add 10.44.0.1/32 dev lo; ip addr add 10.0.44.2/24 dev eth0"


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The commands that are run on each host."""
    trips = Counter[str]()
    plain = LabHost.run

    async def run(
        self: LabHost,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = TIMEOUT,
        limit: int = LIMIT,
    ) -> Completed:
        trips[self.name] += 1
        return await plain(self, argv, stdin=stdin, timeout=timeout, limit=limit)

    with monkeypatch.context() as patch:
        patch.setattr(LabHost, "run", run)
        yield trips


def planned(spec: Spec) -> Plan:
    return crossnet.plan(spec, asyncio.run(crossnet.observe(spec)))


def test_a_client_with_two_cards_in_the_network_goes_as_its_kernel_does(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check(
        "app",
        "ip link add eth9 type veth peer name far9; ip link set far9 up;"
        "ip addr add 10.0.43.16/24 dev eth9 && ip link set eth9 up",
    )
    spec = b.spec(TO)
    before = b.fingerprints()
    b.apply(spec)
    assert "dev eth0" in b.check("app", "ip route show 10.0.44.0/24")
    assert b.plan(spec).is_empty
    b.undo(spec)
    assert b.differences(before) == []
    # The other one is asked first when it is the one whose network stands first.
    b.check("app", "ip route del 10.0.43.0/24 dev eth0; ip route append 10.0.43.0/24 dev eth0")
    assert "dev eth9" in b.check("app", "ip route get 10.0.43.101")
    [[client]] = [path.clients for path in b.plan(spec).paths]
    assert (client.interface, str(client.network)) == ("eth9", "10.0.43.16/32")


def test_a_gateway_with_two_cards_answers_by_the_one_that_its_kernel_takes(
    lab_up: Callable[..., Lab],
) -> None:
    b = Bench(lab_up("seed"))
    b.check(
        "gateway",
        "ip link add eth9 type veth peer name far9; ip link set far9 up;"
        "ip addr add 10.0.43.102/24 dev eth9 && ip link set eth9 up;"
        "ip route del 10.0.43.0/24 dev eth1; ip route append 10.0.43.0/24 dev eth1",
    )
    with pytest.raises(PlanRefused, match=r"is 10\.0\.43\.15/32 dev eth9 .*kernel.*, not eth1"):
        b.plan(b.spec(f"{TO}, ingress: eth1"))
    b.check("gateway", "ip route del 10.0.43.0/24 dev eth9; ip route append 10.0.43.0/24 dev eth9")
    b.apply(b.spec(f"{TO}, ingress: eth1"))
    assert b.pings("app", "10.0.44.1")


def test_an_ip_that_tells_no_next_hops(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check("target", BEHIND)
    b.check(
        "gateway",
        "ip route add 10.44.0.0/16 nexthop via 10.0.44.1 dev eth0 nexthop via 10.0.44.2 dev eth0",
    )
    make_busybox(b, "gateway")
    spec = b.spec("to: 10.44.0.0/16, probe: icmp/10.44.0.1")
    try:
        made = b.plan(spec)
        assert [path.egress for path in made.paths] == ["eth0"]
        assert "kernel-decides" in {impact.code for impact in made.impacts}
        b.apply(spec)
        assert b.plan(spec).is_empty
        assert b.pings("app", "10.44.0.1")
        b.undo(spec)
    finally:
        make_new(b, "gateway")


def test_a_next_hop_that_is_an_object_of_its_own(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check("target", BEHIND)
    made = b.run("gateway", "ip nexthop add id 5 via 10.0.44.1 dev eth0")
    if not made.ok:
        lacking(f"no nexthop objects here: {made.error_text}")
    b.check(
        "gateway",
        "ip route add 10.44.0.0/16 nhid 5; echo 0 >/proc/sys/net/ipv4/nexthop_compat_mode",
    )
    b.apply(b.spec("to: 10.44.0.0/16, probe: icmp/10.44.0.1"))
    assert b.pings("app", "10.44.0.1")


@pytest.mark.parametrize(
    ("host", "selector", "forwards"),
    [
        ("app", "fwmark 0x1", "0"),
        pytest.param("app", "uidrange 1000-2000", "0", marks=pytest.mark.variants),
        ("app", "ipproto tcp", "0"),
        pytest.param("app", "tos 0x10", "0", marks=pytest.mark.variants),
        pytest.param("gateway", "fwmark 0x1", "1", marks=pytest.mark.variants),
        ("gateway", "uidrange 1000-2000", "1"),
        pytest.param("gateway", "ipproto tcp", "1", marks=pytest.mark.variants),
        ("gateway", "tos 0x10", "1"),
        ("gateway", "from 10.0.43.0/24", "1"),
        ("gateway", "iif eth1", "0"),
    ],
)
def test_rules_that_lead_some_packets_elsewhere(
    lab_up: Callable[..., Lab], host: str, selector: str, forwards: str
) -> None:
    b = Bench(lab_up("seed"))
    b.check("gateway", f"sysctl -qw net.ipv4.ip_forward={forwards}")
    b.check(host, f"ip rule add pref 100 {selector} lookup 7; ip route add unreachable default table 7")
    spec = b.spec(f"{TO}, egress: eth0")
    before = b.fingerprints()
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    assert b.plan(spec).is_empty
    b.undo(spec)
    assert b.differences(before) == []


def test_the_source_is_the_one_that_the_kernel_chooses(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check("target", f"{BEHIND}; ip addr add 10.0.46.1/24 dev eth0")
    b.check(
        "gateway",
        "ip addr add 10.0.46.63/24 dev eth0; ip addr add 10.0.44.64/24 dev eth0;"
        "ip route replace 10.0.44.0/24 dev eth0 src 10.0.44.64; ip route add 10.44.0.0/16 via 10.0.46.1",
    )
    for to, target in (("10.0.44.0/24", "10.0.44.1"), ("10.44.0.0/16", "10.44.0.1")):
        chosen = b.check("gateway", f"ip route get {target} | sed -n 's/.* src \\([^ ]*\\).*/\\1/p'").strip()
        [path] = b.plan(b.spec(f"to: {to}")).paths
        assert [*map(str, path.leg.translation.addresses)] == [chosen]
    b.apply(b.spec(TO))
    assert b.pings("app", "10.0.44.1")


@pytest.mark.parametrize("selector", ["ipproto udp", "fwmark 0x1"])
def test_a_rule_that_takes_only_the_packet_that_the_kernel_is_asked_of_or_all_but_it(
    lab_up: Callable[..., Lab], selector: str
) -> None:
    b = Bench(lab_up("seed"))
    b.check(
        "gateway",
        "sysctl -qw net.ipv4.ip_forward=1; ip link add eth9 type veth peer name far9; ip link set eth9 up;"
        f"ip link set far9 up; ip rule add pref 100 {selector} lookup 7; ip route add default dev eth9 table 7;"
        "nft 'table ip m { chain p { type filter hook prerouting priority -150;"
        " ip saddr 10.0.43.0/24 meta mark set 1; }; }'",
    )
    spec = b.spec(f"{TO}, egress: eth0")
    [path] = b.plan(spec).paths
    assert path.egress == "eth0"
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    assert b.plan(spec).is_empty


@pytest.mark.parametrize("action", ["prohibit", "unreachable", "blackhole"])
def test_a_rule_that_ends_the_way_to_the_next_hop_is_refused_before_anything_is_changed(
    lab_up: Callable[..., Lab], action: str
) -> None:
    b = Bench(lab_up("seed"))
    b.check("app", f"ip rule add pref 50 to 10.0.43.101 {action}")
    tried = b.run("app", "ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0")
    assert "invalid gateway" in tried.error_text
    with pytest.raises(PlanRefused, match=f"policy rule `50: from all to 10.0.43.101 {action}` of app"):
        b.plan(b.spec(TO))


def test_ipv6_chooses_among_its_addresses_as_the_kernel_does(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed-v6"))
    b.check("target", "ip addr add fd00:4444::1/128 dev lo; ip route add fd00:4444:0:1::/64 dev eth0")
    for host, address in (
        ("gateway", "fd00:44::aaaa"),
        ("gateway", "fd00:4444:0:1::7"),
        ("app", "fd00:43::7"),
    ):
        b.check(host, f"ip addr add {address}/64 dev eth0 nodad")
    b.check("gateway", "ip route add fd00:4444::/64 via fd00:44::1")
    spec = b.spec("to: 'fd00:4444::/64', probe: icmp/fd00:4444::1")
    said = b.check("gateway", "ip -6 route get fd00:4444::2").split()
    [path] = b.plan(spec).paths
    assert [*map(str, path.leg.translation.addresses)] == [said[said.index("src") + 1]]
    hop = b.check("app", f"ip -6 route get {path.clients[0].next_hop}").split()
    assert str(path.clients[0].network.network_address) == hop[hop.index("src") + 1]
    b.apply(spec)
    assert b.pings("app", "fd00:4444::1")
    assert b.plan(spec).is_empty


def test_asking_the_kernel_costs_one_round_trip_of_the_first_look_and_none_of_an_apply(
    lab_up: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec(TO)
    costs = []
    for rule in ("", "ip rule add pref 100 fwmark 0x1 lookup 7"):
        b.check("gateway", rule or "true")
        with counted(monkeypatch) as looked:
            made = planned(spec)
        with counted(monkeypatch) as applied:
            asyncio.run(crossnet.apply(made))
        costs.append((looked, applied))
        b.undo(spec)
    (plain, apply_plain), (asked, apply_asked) = costs
    assert plain == {"app": 1, "gateway": 1}
    assert asked == {"app": 1, "gateway": 2}
    assert apply_asked == apply_plain
