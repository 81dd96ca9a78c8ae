"""Each kind of thing on a host: found, told apart, changed and put back."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from crossnet.design.longer import is_own, own_routes
from crossnet.facts import Facts, FileState
from crossnet.facts.firewall import Firewall
from crossnet.facts.policy import PolicyRule, not_sure, parse_rules
from crossnet.netfilter import Engine, Table
from crossnet.netfilter.iptables import parse_save
from crossnet.record import Owned
from crossnet.resources import (
    Change,
    Command,
    File,
    Jump,
    Link,
    PolicyRuleResource,
    Resource,
    RouteResource,
    RuleTable,
    Service,
    Sysctl,
)
from crossnet.resources.route import restore_line
from crossnet.values import Family, network
from design.factsheet import host_facts, route, with_files


def run(change: Change) -> list[str]:
    """The steps as an operator would type them."""
    return [str(step) for step in change.steps]


def host(*lines: str) -> Facts:
    return host_facts("app", "\n".join(("eth0 10.0.43.15/24", *lines)))


OWN = RouteResource(route("10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"))


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ("route 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143", True),
        ("route 10.0.44.0/24 via 10.0.43.101 dev eth0 proto static metric 100", True),
        ("route 10.0.44.0/24 via 10.0.43.7 dev eth0 proto 143", False),
        ("route 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143 src 10.0.43.15", False),
    ],
)
def test_a_route_is_the_same_when_packets_go_the_same_way(there: str, found: bool) -> None:
    have = OWN.current(host(there))
    assert have is not None
    assert OWN.satisfied_by(have) is found


@pytest.mark.parametrize(
    "there",
    [
        "route 10.0.44.0/24 via 10.0.43.7 dev eth0 proto static",
        "route 10.0.44.0/25 via 10.0.43.101 dev eth0 proto 143",
        "route 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143 table 100",
        "route blackhole 10.0.44.0/24",
        "route 10.0.44.0/24 nexthop via 10.0.43.101 dev eth0 nexthop via 10.0.43.102 dev eth0",
    ],
)
def test_the_route_of_somebody_else_is_not_the_own_one(there: str) -> None:
    assert OWN.current(host(there)) is None


def test_an_own_route_is_found_by_its_record_where_the_tool_tells_no_protocol() -> None:
    """busybox prints none: by its way alone an own route that is to go another way would be somebody else's."""
    before = RouteResource(route("10.0.44.0/24 via 10.0.43.7 dev eth0 proto 143"))
    told = host("route 10.0.44.0/24 via 10.0.43.7 dev eth0")
    facts = replace(told, routes=tuple(replace(each, protocol="") for each in told.routes))
    assert OWN.ours(facts) is None
    assert OWN.knowing(before, facts).ours(facts) == before
    elsewhere = RouteResource(route("10.0.44.0/24 via 10.0.43.8 dev eth0 proto 143"))
    assert OWN.knowing(elsewhere, facts).ours(facts) is None


def test_who_comes_beside_its_rules_is_no_change_of_a_table() -> None:
    """What a plan says of a table names them, and is in the record too."""
    table = Table("ip", "crossnet", ())
    before = RuleTable(
        Engine.IPTABLES_NFT, Family.V4, table, "accepts 1 crossing there too", only_accepts=True
    )
    now = replace(before, summary="accepts 1 crossing there too, beside docker")
    assert now.knowing(before, host("")).encode() == before.encode()
    assert now.knowing(None, host("")).encode() == now.encode()


def test_steps_of_a_route() -> None:
    other = RouteResource(route("10.0.44.0/24 via 10.0.43.102 dev eth0 src 10.0.43.15 proto 143"))
    assert run(Change(None, OWN)) == ["ip -4 route add 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"]
    assert run(Change(OWN, None)) == ["ip -4 route del 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"]
    assert run(Change(OWN, other)) == [
        "ip -4 route replace 10.0.44.0/24 via 10.0.43.102 dev eth0 src 10.0.43.15 proto 143"
    ]
    assert run(Change(OWN, other).inverse()) == [
        "ip -4 route replace 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"
    ]
    six = RouteResource(route("fd00:44::/64 via fd00:43::101 dev eth0 proto 143 metric 1024"))
    assert run(Change(None, six)) == [
        "ip -6 route add fd00:44::/64 via fd00:43::101 dev eth0 proto 143 metric 1024"
    ]
    assert Change(OWN, other).description == (
        "10.0.44.0/24 via 10.0.43.102 dev eth0 src 10.0.43.15  (was 10.0.44.0/24 via 10.0.43.101 dev eth0)"
    )
    assert Change(None, six).description == "fd00:44::/64 via fd00:43::101 dev eth0"
    assert restore_line(six.route) == (
        "route replace fd00:44::/64 via fd00:43::101 dev eth0 proto 143 metric 1024"
    )


def test_steps_of_a_setting() -> None:
    """Slashes, because an interface name may hold dots; what the write disturbed follows it."""
    facts = host_facts("gateway", "eth0.7 10.0.44.63/24\nsysctl net.ipv4.conf.eth0/7.rp_filter 1")
    want = Sysctl("net.ipv4.ip_forward", "1")
    have = want.current(facts)
    assert isinstance(have, Sysctl)
    assert run(Change(have, want)) == ["sysctl -e -q -w net/ipv4/ip_forward=1"]
    assert run(Change(have, want).inverse()) == [
        "sysctl -e -q -w net/ipv4/ip_forward=0 net/ipv4/conf/all/accept_redirects=1 "
        "net/ipv4/conf/all/forwarding=0 net/ipv4/conf/default/forwarding=0 net/ipv4/conf/eth0.7/forwarding=0"
    ]
    assert Change(have, want).description == "net.ipv4.ip_forward  0 → 1"
    assert Sysctl("net.ipv4.no_such", "1").current(facts) is None


def test_steps_of_a_jump() -> None:
    want = Jump(Engine.IPTABLES_LEGACY, Family.V4, "forward", "iptables-legacy")
    low = replace(want, first=False)
    insert = "iptables-legacy -w -t filter -I FORWARD 1 -m comment --comment crossnet -j CROSSNET-FORWARD"
    delete = "iptables-legacy -w -t filter -D FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD"
    assert run(Change(None, want)) == [insert]
    assert run(Change(want, None)) == [delete]
    assert run(Change(replace(low, times=2), None)) == [delete, delete]
    assert not want.satisfied_by(low)
    assert Change(low, want).description == "filter FORWARD → CROSSNET-FORWARD  (back to the top)"


def test_a_jump_is_moved_in_one_instant() -> None:
    want = Jump(Engine.IPTABLES_LEGACY, Family.V4, "forward", "iptables-legacy", waits=True)
    low = replace(want, first=False, times=2)
    (move,) = Change(low, want).steps
    assert isinstance(move, Command)
    assert move.argv == ("iptables-legacy-restore", "-w", "--noflush")
    assert move.stdin.decode().splitlines() == [
        "*filter",
        "-D FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD",
        "-D FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD",
        "-I FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD",
        "COMMIT",
    ]
    # The way back needs only that it is there, and a host that sees it there does nothing.
    insert = "iptables-legacy -w -t filter -I FORWARD 1 -m comment --comment crossnet -j CROSSNET-FORWARD"
    assert run(Change(low, want).inverse()) == [insert]
    assert not want.satisfied_by(replace(want, times=2))


def test_a_jump_that_has_lost_its_comment_is_no_second_one() -> None:
    """As newer iptables prints what nft loaded, or as a hand made it: an apply must not put one beside it."""
    want = Jump(Engine.IPTABLES_NFT, Family.V4, "forward")
    saved = "*filter\n:FORWARD ACCEPT [0:0]\n:CROSSNET-FORWARD - [0:0]\n{}-A FORWARD -j CROSSNET-FORWARD\nCOMMIT\n"

    def found(before: str = "") -> Jump:
        tables = parse_save(saved.format(before), "ip")
        firewall = Firewall(iptables={(Engine.IPTABLES_NFT, Family.V4): tables})
        have = want.current(host_facts("gateway", "", firewall=firewall))
        assert have is not None
        return have

    bare = found()
    assert (bare.times, bare.bare, bare.first) == (0, 1, True)
    assert not want.satisfied_by(bare)
    (words,) = want.differences(bare)
    assert words.endswith("`-A FORWARD -j CROSSNET-FORWARD` stands there without crossnet's comment")
    assert "`iptables -t filter -D FORWARD -j CROSSNET-FORWARD`" in bare.repair
    both = found("-A FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD\n")
    assert (both.times, both.bare) == (1, 1)
    assert both.flaw


@pytest.mark.parametrize(
    ("first", "holds", "lacks"),
    [
        ("-A FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD", 0, 1),
        ("-A FORWARD -j CROSSNET-FORWARD", 0, 1),
        ("-A FORWARD -j DROP", 1, 0),
    ],
)
def test_a_script_makes_no_jump_beside_one_without_its_comment(
    first: str, holds: int, lacks: int, tmp_path: Path
) -> None:
    tool = tmp_path / "iptables"
    tool.write_text(
        f"#!/bin/sh\nfirst='{first}'\n"
        'case "$*" in *" -S "*) echo "$first" ;; *) [ "-A ${*#*-C }" = "$first" ] ;; esac\n'
    )
    tool.chmod(0o755)
    jump = Jump(Engine.IPTABLES_NFT, Family.V4, "forward", str(tool))
    asked = [subprocess.run(["sh", "-c", test(str).line]).returncode for test in (jump.holds, jump.lacks)]
    assert asked == [holds, lacks]


@pytest.mark.parametrize(
    ("saved", "lacks"),
    [
        ("*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT", 0),
        ("*filter\n:CROSSNET-FORWARD - [0:0]\nCOMMIT", 1),
        ("# Table `filter' is incompatible, use 'nft' tool.", 2),
        ("", 0),
    ],
)
def test_a_script_takes_no_chains_for_gone_that_iptables_does_not_print(
    saved: str, lacks: int, tmp_path: Path
) -> None:
    (tmp_path / "saved").write_text(f"{saved}\n")
    tool = tmp_path / "iptables-save"
    tool.write_text(f"#!/bin/sh\ncat {tmp_path}/saved\n")
    tool.chmod(0o755)
    table = RuleTable(
        Engine.IPTABLES_NFT, Family.V4, Table("ip", "crossnet", ()), command=str(tmp_path / "iptables")
    )
    test = table.lacks(str)
    line = f"ipset() {{ :; }}\n{''.join(test.functions)}\n{test.line}"
    assert subprocess.run(["sh", "-c", line]).returncode == lacks


def test_a_file_is_the_same_with_its_bytes_and_mode() -> None:
    want = File("/etc/x", b"text\n", 0o755)
    facts = with_files(host_facts("app", ""), {"/etc/x": FileState(b"text\n", 0o644, "0:4")})
    have = want.current(facts)
    assert have == File("/etc/x", b"text\n", 0o644, "0:4")
    assert not want.satisfied_by(have)
    assert run(Change(have, want)) == ["write /etc/x"]
    assert run(Change(want, None)) == ["remove /etc/x"]


def test_a_unit_is_enabled_where_its_link_is() -> None:
    want = Service("crossnet.service")
    facts = host_facts("app", "")
    assert want.current(facts) is None
    (path,) = want.links
    linked = with_files(facts, {path: FileState(b"", 0o777, "", "/etc/systemd/system/crossnet.service")})
    assert want.current(linked) == want
    link, start = run(Change(None, want))
    assert link == f"link {path} to /etc/systemd/system/crossnet.service"
    assert start.endswith('systemctl --no-block start "$1" sh crossnet.service')
    link, stop = run(Change(want, None))
    assert link == f"remove {path}"
    assert 'systemctl --no-block stop "$2"' in stop
    assert stop.endswith("sh crossnet.service crossnet.service")
    at_boot = Service("crossnet-recover.service", stays=False)
    (path,) = at_boot.links
    assert run(Change(None, at_boot)) == [f"link {path} to /etc/systemd/system/crossnet-recover.service"]


def test_a_template_is_enabled_beside_each_unit_that_wants_it() -> None:
    want = Service("crossnet-close@.service", wanted_by=("a.service", "b.service"))
    paths = [f"/etc/systemd/system/{x}.service.wants/crossnet-close@{x}.service" for x in "ab"]
    template = "/etc/systemd/system/crossnet-close@.service"
    *links, start = run(Change(None, want))
    assert links == [f"link {path} to {template}" for path in paths]
    assert start.endswith("sh crossnet-close@.service crossnet-close@a.service crossnet-close@b.service")
    *links, stop = run(Change(want, None))
    assert links == [f"remove {path}" for path in paths]
    assert stop.endswith("sh crossnet-close@.service crossnet-*@*.service")
    assert Service.decode(want.encode()) == want


def test_a_template_that_lacks_a_link_is_told_and_found_without_a_record() -> None:
    want = Service("crossnet-close@.service", wanted_by=("a.service", "b.service"))
    facts = host_facts("app", "")
    assert want.current(facts) is None
    state = FileState(b"", 0o777, "", "/etc/systemd/system/crossnet-close@.service")
    half = with_files(facts, {want.links[1]: state})
    have = want.current(half)
    assert have == replace(want, wanted_by=("b.service",))
    assert not want.satisfied_by(have)
    assert run(Change(want, have))[:2] == [f"link {want.links[1]} to {want.file}", f"remove {want.links[0]}"]
    assert Service.traces(half) == (have,)
    both = with_files(facts, dict.fromkeys(want.links, state))
    assert Service.traces(both) == (want,)
    # What is made of it runs as long as its firewall does.
    assert want.satisfied_by(want.current(replace(both, units={})) or have)


@pytest.mark.parametrize(
    ("units", "satisfied"),
    [(None, True), ({"crossnet.service": True}, True), ({"crossnet.service": False}, False), ({}, False)],
)
def test_a_unit_that_does_not_run_is_told_and_started(units: dict[str, bool] | None, satisfied: bool) -> None:
    """Where systemd cannot be asked it counts as running."""
    want = Service("crossnet.service")
    link = FileState(b"", 0o777, "", "/etc/systemd/system/crossnet.service")
    have = want.current(replace(with_files(host_facts("app", ""), {want.links[0]: link}), units=units))
    assert have is not None
    assert want.satisfied_by(have) is satisfied
    assert replace(want, stays=False).satisfied_by(have)
    assert Change(have, want).description == "crossnet.service started  (it is not running)"


def test_a_unit_that_has_failed_is_told_as_one() -> None:
    want = Service("crossnet.service")
    link = FileState(b"", 0o777, "", "/etc/systemd/system/crossnet.service")
    facts = replace(with_files(host_facts("app", ""), {want.links[0]: link}), units={})
    assert want.differences(want.current(facts)) == ("service crossnet.service is not running",)
    failed = want.current(replace(facts, failed_units=frozenset({"crossnet.service"})))
    (told,) = want.differences(failed)
    assert told.startswith("service crossnet.service has failed")
    assert "`journalctl -u crossnet.service`" in told


@pytest.mark.parametrize("resource", [OWN, Sysctl("a.b", "1"), Service("x.service"), File("/x", b"")])
def test_an_inverse_of_an_inverse_is_the_change(resource: Resource) -> None:
    change = Change(resource, resource)
    assert change.inverse().inverse() == change
    assert Change(None, resource).action == "create"
    assert Change(None, resource).inverse().action == "remove"
    assert change.action == "change"


def test_only_rules_are_never_adopted() -> None:
    """Nobody but crossnet makes them; everything else may be there from somebody else."""
    assert RuleTable.is_only_ours
    assert Jump.is_only_ours
    assert not any(kind.is_only_ours for kind in (RouteResource, Sysctl, File, Service))


def test_steps_run_with_the_words_that_they_show() -> None:
    (step,) = Change(None, OWN).steps
    assert isinstance(step, Command)
    assert step.argv[:3] == ("ip", "-4", "route")


NFTABLES = Engine.NFTABLES


@pytest.mark.parametrize(
    ("resource", "served"),
    [
        (OWN, "44 on a client, 44 on the gateway"),
        (File("/etc/crossnet/start", b""), "all"),
        (Service("crossnet.service"), "all"),
        (Sysctl("net.ipv4.ip_forward", "1"), "44 on the gateway, 45 on the gateway, IPv6 on the gateway"),
        (RuleTable(NFTABLES, Family.V4, Table("ip", "crossnet", ())), "44 on the gateway, 45 on the gateway"),
        (Jump(Engine.IPTABLES_NFT, Family.V6, "forward"), "IPv6 on the gateway"),
    ],
    ids=lambda value: value.kind if isinstance(value, Resource) else "",
)
def test_drift_is_told_of_the_crossings_that_stand_on_it(resource: Resource, served: str) -> None:
    crossings = {
        "44": (Family.V4, [network("10.0.44.0/24")]),
        "45": (Family.V4, [network("10.0.45.0/24")]),
        "IPv6": (Family.V6, [network("fd00:44::/64")]),
    }
    found = [
        f"{name} {place}"
        for place, on_gateway in (("on a client", False), ("on the gateway", True))
        for name, (family, to) in crossings.items()
        if resource.serves(family, to, on_gateway=on_gateway)
    ]
    assert found == served.split(", ") if served != "all" else len(found) == 6


RULE = PolicyRule(Family.V4, 5269, table="main", destination=network("10.0.44.0/24"), iif="lo", origin="143")


def test_a_policy_rule_is_there_though_the_tool_may_leave_out_words() -> None:
    told = parse_rules("5269:\tfrom all to 10.0.44.0/24 iif lo lookup main\n", Family.V4)
    facts = replace(host(), policy_rules=not_sure(told))
    assert PolicyRuleResource(RULE).current(facts) == PolicyRuleResource(RULE)


@pytest.mark.parametrize("code", [1, 2, 255])
def test_an_ip_that_fails_does_not_say_that_a_policy_rule_is_gone(tmp_path: Path, code: int) -> None:
    tool(tmp_path, "ip", f"exit {code}")
    (look,) = PolicyRuleResource(RULE).look()
    assert isinstance(look, Command)
    assert ran(tmp_path, *look.argv).returncode == code


def test_who_made_a_policy_rule_is_said_to_every_ip_that_takes_it(tmp_path: Path) -> None:
    (step,) = PolicyRuleResource.render(None, PolicyRuleResource(RULE))
    assert isinstance(step, Command)
    words = "-4 rule add pref 5269 to 10.0.44.0/24 iif lo table main"
    for help_text, ending in (("[ protocol PROTO ]", " protocol 143"), ("[ ipproto PROTOCOL ]", "")):
        tool(tmp_path, "ip", f'[ "$*" != "rule help" ] || {{ echo "{help_text}" >&2; exit 255; }}; echo "$*"')
        assert ran(tmp_path, *step.argv).stdout == f"{words}{ending}\n"


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def ran(tools: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    path = f"{tools}:{os.environ['PATH']}"
    return subprocess.run(argv, capture_output=True, text=True, timeout=10, env={"PATH": path}, check=False)


@pytest.mark.parametrize(
    ("applied", "there", "own"),
    [
        ("via 10.0.43.101 dev eth0 proto 143", "via 10.0.43.101 dev eth0 proto 143", True),
        # Nobody else uses that protocol: it was led another way.
        ("via 10.0.43.101 dev eth0 proto 143", "via 10.0.43.7 dev eth0 proto 143", True),
        ("via 10.0.43.101 dev eth0 proto 143", "via 10.0.43.101 dev eth0 proto static", False),
        ("via 10.0.43.101 dev eth0 proto 143", "via 10.0.43.101 dev eth0 proto 143 metric 7", False),
        ("via 10.0.43.101 dev eth0 proto 143", "via 10.0.43.101 dev eth0 proto 143 table 7", False),
        # A protocol that others use too: what the record says was applied is crossnet's, and nothing else.
        ("via 10.0.43.101 dev eth0 proto static", "via 10.0.43.101 dev eth0 proto static", True),
        ("via 10.0.43.101 dev eth0 proto static", "via 10.0.43.7 dev eth0 proto static", False),
        ("via 10.0.43.101 dev eth0 proto static", "via 10.0.43.101 dev eth0 proto dhcp", False),
    ],
)
def test_whose_a_route_is_the_record_says(applied: str, there: str, own: bool) -> None:
    recorded = RouteResource(route(f"10.0.44.0/24 {applied}"))
    facts = host(f"route 10.0.44.0/24 {there}")
    assert (recorded.ours(facts) is not None) is own
    (found,) = (each for each in facts.routes if each.destination == network("10.0.44.0/24"))
    assert is_own(found, own_routes([Owned(None, recorded)])) is own


def test_a_link_in_the_place_of_a_file_is_given_back_as_it_was() -> None:
    want = File("/etc/x", b"text\n")
    facts = with_files(host_facts("app", ""), {"/etc/x": FileState(b"", 0o777, "5:6", "elsewhere")})
    have = want.current(facts)
    assert have == File("/etc/x", b"", 0o777, "5:6", "elsewhere")
    assert File.decode(have.encode()) == have
    change = Change(have, want)
    assert change.description == "/etc/x  (a link to elsewhere → a file)"
    assert change.inverse().steps == (Link(PurePosixPath("/etc/x"), "elsewhere", "5:6"),)
