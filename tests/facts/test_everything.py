"""A gateway on which everything is a little unusual, recorded from a real one, and what is known of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossnet.facts import Facts
from crossnet.facts.links import Link, LinkAddress, parse_links
from crossnet.facts.neighbours import heard_of
from crossnet.facts.routes import Route, inside, matching, parse_routes
from crossnet.facts.sysctls import (
    BootSetting,
    interface_setting,
    later,
    name_of,
    parse_boot_settings,
    path_of,
)
from crossnet.values import Family, address, contains, network
from facts.recorded import facts_in

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture(scope="module")
def gateway() -> Facts:
    return facts_in(RECORDINGS / "everything.json")


def shown(facts: Facts, destination: str) -> list[str]:
    wanted = network(destination)
    return [f"{r} proto {r.protocol}" for r in facts.routes if r.table == "main" and r.destination == wanted]


# ---- interfaces ----------------------------------------------------------------------------------


def test_interfaces_with_their_state(gateway: Facts) -> None:
    assert {link.name: (link.up, link.mtu) for link in gateway.links} == {
        "eth1": (True, 1500),
        "eth0": (True, 1500),
        "spare": (False, 1500),
        "eth0.100": (False, 1400),  # no carrier
        "ppp7": (False, 1500),
        "lo": (True, 65536),  # it holds an address that the gateway may translate to
    }
    assert gateway.link("eth9") is None


def test_addresses_of_global_scope_and_whether_they_stay(gateway: Facts) -> None:
    eth0 = gateway.link("eth0")
    assert eth0 is not None
    assert eth0.of(Family.V4) == (LinkAddress(address("10.0.44.63"), 24),)
    assert {(str(item.address), item.prefix, item.stable) for item in eth0.of(Family.V6)} == {
        ("fd00:44::dead", 64, False),  # deprecated
        ("fd00:44::63", 64, True),
    }
    assert eth0.on_link(address("10.0.44.200")) == LinkAddress(address("10.0.44.63"), 24)
    assert eth0.on_link(address("10.0.43.200")) is None
    assert gateway.owner_of(address("10.0.44.63")) is eth0
    assert gateway.owner_of(address("10.0.44.64")) is None


def test_an_address_that_the_loopback_holds_is_the_gateways_own(gateway: Facts) -> None:
    assert gateway.owner_of(address("10.0.44.99")) is gateway.link("lo")


def test_the_peer_of_a_point_to_point_link_is_on_link_and_nothing_else_is(gateway: Facts) -> None:
    ppp7 = gateway.link("ppp7")
    assert ppp7 is not None
    assert ppp7.on_link(address("10.9.0.2")) is not None
    assert ppp7.on_link(address("10.9.0.3")) is None


@pytest.mark.parametrize(
    ("own", "prefix", "expected"),
    [
        ("10.0.44.63", 24, "10.0.44.0/24"),
        ("10.0.44.63", 32, "10.0.44.63/32"),
        ("10.0.44.63", 0, "0.0.0.0/0"),
        ("10.0.44.63", 31, "10.0.44.62/31"),
        ("fd00:44::63", 64, "fd00:44::/64"),
        ("fd00:44::63", 127, "fd00:44::62/127"),
    ],
)
def test_network_of_an_address(own: str, prefix: int, expected: str) -> None:
    assert LinkAddress(address(own), prefix).network == network(expected)


def test_temporary_and_tentative_addresses_do_not_stay() -> None:
    """RFC 8981 addresses change by themselves; printed by iproute2 as flags of their own."""
    (link,) = parse_links(
        "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN\n"
        "2: eth0: <BROADCAST,UP,LOWER_UP> mtu 9000 qdisc noqueue state UP\n"
        "    link/ether 02:00:00:00:00:02 brd ff:ff:ff:ff:ff:ff\n"
        "    inet6 fd00::1/64 scope global temporary dynamic \n"
        "       valid_lft 86395sec preferred_lft 14395sec\n"
        "    inet6 fd00::2/64 scope global tentative \n"
        "    inet6 fd00::3/64 scope global dynamic mngtmpaddr \n"
        "    inet6 fe80::3/64 scope link \n"
        "    inet 169.254.1.1/16 scope link eth0\n"
    ).links
    assert link == Link(
        "eth0",
        9000,
        True,
        (
            LinkAddress(address("fd00::1"), 64, stable=False, leased=True, advertised=True),
            LinkAddress(address("fd00::2"), 64, stable=False),
            LinkAddress(address("fd00::3"), 64, leased=True, advertised=True),
        ),
        flags=frozenset(("BROADCAST", "UP", "LOWER_UP")),
        narrow=(
            LinkAddress(address("fe80::3"), 64, scope="link"),
            LinkAddress(address("169.254.1.1"), 16, scope="link"),
        ),
        qdisc="noqueue",
    )


# ---- routes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("0.0.0.0/0", "default via 10.0.44.254 dev eth0 proto boot"),
        ("10.0.44.0/24", "10.0.44.0/24 dev eth0 src 10.0.44.63 proto kernel"),
        (
            "10.1.0.0/16",
            "10.1.0.0/16 nexthop via 10.0.43.1 dev eth1 nexthop via 10.0.44.254 dev eth0 proto boot",
        ),
        ("10.2.0.0/16", "blackhole 10.2.0.0/16 proto boot"),
        ("10.3.0.0/16", "unreachable 10.3.0.0/16 metric 5 proto boot"),
        ("10.4.0.0/16", "10.4.0.0/16 via fe80::1 dev eth0 proto boot"),
        ("10.5.0.0/16", "10.5.0.0/16 via 10.0.44.9 dev eth0 src 10.0.44.63 metric 100 proto static"),
        ("10.7.0.7", "10.7.0.7/32 via 10.0.43.9 dev eth1 proto 143"),
        ("::/0", "default via fe80::1 dev eth0 metric 100 proto ra"),
        ("fd00:45::/64", "fd00:45::/64 via fd00:44::1 dev eth0 metric 1024 proto static"),
        (
            "fd00:46::/64",
            "fd00:46::/64 nexthop via fd00:44::1 dev eth0 nexthop via fe80::2 dev eth1 metric 1024 proto boot",
        ),
        ("fd00:47::/64", "unreachable fd00:47::/64 dev lo metric 1024 proto boot"),
    ],
)
def test_routes_of_the_main_table(gateway: Facts, destination: str, expected: str) -> None:
    assert shown(gateway, destination) == [expected]


def test_other_tables_and_the_mtu_of_a_route_are_known(gateway: Facts) -> None:
    (other,) = [r for r in gateway.routes if r.destination == network("10.6.0.0/16")]
    assert other.table == "100"
    (narrow,) = [r for r in gateway.routes if r.mtu]
    assert (narrow.destination, narrow.mtu) == (network("10.5.0.0/16"), 1400)
    local = [r for r in gateway.routes if r.type == "local" and r.destination == network("10.0.44.63")]
    assert [r.table for r in local] == ["local"]


@pytest.mark.parametrize(
    ("target", "wins"),
    [
        ("10.0.44.0/24", "dev eth0"),
        ("10.0.44.63", "dev eth0"),  # the table `local` is not asked
        ("10.5.6.0/24", "10.5.0.0/16 via 10.0.44.9"),
        ("10.4.0.0/15", "default"),  # only a route that holds all of it
        ("10.6.7.8", "default"),  # what is in another table does not count
        ("10.2.3.4", "blackhole"),
        ("fd00:45::1", "fd00:44::1"),
    ],
)
def test_the_route_that_wins(gateway: Facts, target: str, wins: str) -> None:
    (found,) = matching(gateway.routes, network(target))
    assert wins in str(found)


def test_the_lowest_metric_wins_and_equals_are_all_given() -> None:
    """Not among them: what is for one type of service only, and what the kernel passes over."""
    text = (
        "default via 10.0.0.1 dev a metric 200 \n"
        "default via 10.0.0.2 dev b metric 100 \n"
        "default via 10.0.0.3 dev c metric 100 \n"
        "default tos 0x04 via 10.0.0.4 dev d metric 1 \n"
        "default via 10.0.0.5 dev e metric 2 dead linkdown \n"
    )
    routes = parse_routes(text, Family.V4)
    assert [r.device for r in matching(routes, network("10.9.0.0/16"))] == ["b", "c"]
    assert matching(routes, network("fd00::/64")) == ()


def test_smaller_routes_inside_a_network(gateway: Facts) -> None:
    found = {str(r.destination) for r in inside(gateway.routes, network("10.0.0.0/16"))}
    assert found == {"10.0.43.0/24", "10.0.44.0/24", "10.0.100.0/24"}
    assert inside(gateway.routes, network("10.0.44.0/24")) == ()


def test_no_routes_at_all() -> None:
    assert parse_routes("", Family.V6) == ()
    assert parse_routes("\n", Family.V4) == ()


def test_every_route_is_of_its_family(gateway: Facts) -> None:
    assert all(r.via is None or r.via.version in (4, 6) for r in gateway.routes)
    everything = [r for r in gateway.routes if isinstance(r, Route)]
    assert len(everything) == len(gateway.routes) > 30
    assert any(contains(r.destination, address("ff02::1")) for r in everything)


# ---- settings ------------------------------------------------------------------------------------


def test_settings_of_an_interface_with_a_dot(gateway: Facts) -> None:
    assert gateway.sysctls["net.ipv4.conf.eth0/100.forwarding"] == "0"
    assert gateway.sysctls["net.ipv4.conf.eth0/100.accept_redirects"] == "1"
    assert gateway.sysctls["net.ipv6.conf.all.forwarding"] == "0"
    assert gateway.sysctls["net.netfilter.nf_conntrack_max"] == "262144"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
        ("net.ipv6.conf.a/b/c.accept_ra", "/proc/sys/net/ipv6/conf/a.b.c/accept_ra"),
    ],
)
def test_names_and_paths_both_ways(name: str, path: str) -> None:
    assert name_of(path) == name
    assert path_of(name) == path


def test_setting_of_an_interface() -> None:
    assert interface_setting(4, "eth1", "forwarding") == "net.ipv4.conf.eth1.forwarding"
    assert (
        name_of(path_of(interface_setting(6, "br-1.2.3", "accept_ra"))) == "net.ipv6.conf.br-1/2/3.accept_ra"
    )


def test_settings_of_the_next_boot(gateway: Facts) -> None:
    assert gateway.boot_settings == (
        BootSetting("/etc/sysctl.d/10-early.conf", "net.ipv4.ip_forward", "0", 3),
        BootSetting("/etc/sysctl.d/99-zzz-late.conf", "net.ipv4.ip_forward", "0", 1),
        BootSetting("/etc/sysctl.conf", "net.ipv4.conf.eth0/100.forwarding", "0", 12),
        BootSetting("/etc/sysctl.conf", "net.ipv4.conf.eth0/100.rp_filter", "2", 14),
    )


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("net.ipv4.ip_forward=1", "net.ipv4.ip_forward", "1"),
        ("  net.ipv4.ip_forward =  1  ", "net.ipv4.ip_forward", "1"),
        ("-net.ipv4.ip_forward = 1", "net.ipv4.ip_forward", "1"),
        ("net/ipv4/ip_forward = 1", "net.ipv4.ip_forward", "1"),
        ("net/ipv4/conf/eth0.7/forwarding = 1", "net.ipv4.conf.eth0/7.forwarding", "1"),
        ("net.ipv4.conf.eth0/7.forwarding = 1", "net.ipv4.conf.eth0/7.forwarding", "1"),
        ("net.ipv4.tcp_congestion_control = a = 3", "net.ipv4.tcp_congestion_control", "a = 3"),
    ],
)
def test_ways_to_write_a_boot_setting(line: str, name: str, value: str) -> None:
    assert parse_boot_settings(f"file sysctl /etc/sysctl.conf\n3:{line}\n") == (
        BootSetting("/etc/sysctl.conf", name, value, 3),
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0 # no router", "0"),
        ("0\tx", "0"),
        ("1 2", "1"),
        ("0x1", "1"),
        ("00", "0"),
        ("010", "8"),
        ("-1", "-1"),
        # It refuses these.
        ("0# no router", None),
        ("0;", None),
        ("0\033[2J", None),
        ("08", None),
        ("0x", None),
        ("+1", None),
        ("no", None),
        ("2147483648", None),
        ("9" * 30, None),
        ("٣", None),
        ("", None),
    ],
)
def test_a_value_is_what_the_kernel_takes_of_it(written: str, value: str | None) -> None:
    """As measured: what is behind the number is left out, or the whole is refused."""
    (found,) = parse_boot_settings(f"file sysctl /etc/sysctl.conf\n3:{V4} = {written}\n")
    assert found.is_number is (value is not None)
    assert found.value == (written if value is None else value)
    assert found.switches_on is (value not in (None, "0"))


def test_a_line_without_a_value_sets_nothing() -> None:
    assert parse_boot_settings("file sysctl /etc/sysctl.conf\n1:-net.ipv4.ip_forward\n") == ()


OWN = "/etc/sysctl.d/99-zz-crossnet.conf"
LATE, LATER = "/etc/sysctl.d/99-zzz-late.conf", "/etc/sysctl.d/99-zzzz.conf"
V4, ALL = "net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"


@pytest.mark.parametrize(
    ("lines", "deciding"),
    [
        ([("/etc/sysctl.d/10-early.conf", V4, "0")], None),
        ([("/etc/sysctl.d/99-sysctl.conf", V4, "0")], None),
        ([(LATE, V4, "0")], (LATE, "0")),
        ([("/usr/lib/sysctl.d/99-zzz-late.conf", V4, "0")], ("/usr/lib/sysctl.d/99-zzz-late.conf", "0")),
        # The name decides, not the folder.
        ([("/usr/lib/sysctl.d/50-default.conf", V4, "0")], None),
        ([("/etc/sysctl.conf", V4, "0")], None),
        ([(LATE, "net.ipv4.conf.all.rp_filter", "1")], None),
        ([(OWN, V4, "0")], None),
        ([(LATE, ALL, "0")], (LATE, "0")),
        ([(LATE, V4, "0"), (LATE, ALL, "1")], (LATE, "1")),
        ([(LATER, V4, "1"), (LATE, V4, "0")], (LATER, "1")),
        # Of one name that of /etc counts.
        ([("/run/sysctl.d/99-zzz-late.conf", V4, "0"), (LATE, V4, "1")], (LATE, "1")),
        # A pattern leaves alone what crossnet's file names, and what another one names.
        ([(LATE, "net.ipv4.ip_*", "0")], None),
        ([(LATE, "net.ipv4.conf.*.forwarding", "0")], (LATE, "0")),
        ([("/etc/sysctl.d/10-early.conf", ALL, "1"), (LATE, "net.ipv4.conf.*.forwarding", "0")], None),
        ([(LATE, ALL, "1"), (LATER, "net.ipv4.conf.*.forwarding", "0")], (LATE, "1")),
    ],
)
def test_files_that_are_read_after_the_own_one(
    lines: list[tuple[str, str, str]], deciding: tuple[str, str] | None
) -> None:
    found = later([BootSetting(*line) for line in lines], OWN, V4)
    assert (found and (found.file, found.value)) == deciding


# ---- the rest ------------------------------------------------------------------------------------


def test_neighbours_that_answered(gateway: Facts) -> None:
    """One that did not answer is left out."""
    assert {str(item) for item in heard_of(gateway.neighbours)} == {"10.0.44.1", "10.0.44.201", "10.0.43.15"}
    assert {str(item.address): item.state for item in gateway.neighbours}["10.0.44.200"] == "INCOMPLETE"


def test_nothing_is_loaded_and_no_file_is_there(gateway: Facts) -> None:
    assert gateway.firewall.nft == ()
    assert gateway.firewall.iptables == {}
    assert gateway.firewall.ipsets == ()
    assert dict(gateway.files) == {}
