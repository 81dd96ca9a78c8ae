"""What is used as it is lasts as long as the crossing does, and is remembered as it was found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from crossnet.design.flows import Effect
from crossnet.drift import Pending, drifted, pending
from crossnet.facts import Facts
from crossnet.facts.managers import managers_of
from crossnet.facts.moments import Moments, UnitMoments
from crossnet.lasting import lasting
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.xtables_save import parse_save
from crossnet.opening import told_opening
from crossnet.planning import Plan, make_plan
from crossnet.record import APPLIED, read_record
from crossnet.resources import Command, File, RuleTable
from crossnet.sealed import seal, unseal
from crossnet.specfile import parse
from crossnet.suspects import suspects
from crossnet.values import moment
from design.factsheet import facts_from
from planning.fakehost import Hosts, carry_out, facts_of, hosts_of, states
from planning.test_properties import WORLD
from planning.test_side_by_side import BUSINESS, STORAGE, applied, spec, undone

HOSTS = """
app:
  eth0 10.0.43.15/24
  route 10.0.44.0/24 via 10.0.43.101 dev eth0{}
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
"""
SPEC = """crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24}}
"""


def planned(words: str) -> Plan:
    return make_plan(parse(SPEC, "crossnet.yaml"), facts_from(HOSTS.format(words)))


def start_script(made: Plan) -> str:
    files = (item for item in made.wanted["app"] if isinstance(item, File))
    return next((file.data.decode() for file in files if file.path == "/etc/crossnet/start"), "")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("", "keep_route -4 10.0.44.0/24 via 10.0.43.101 dev eth0 proto boot"),
        (
            " proto static mtu 1400",
            "keep_route -4 10.0.44.0/24 via 10.0.43.101 dev eth0 proto static mtu 1400",
        ),
        (
            " proto static metric 5",
            "keep_route -4 10.0.44.0/24 via 10.0.43.101 dev eth0 proto static metric 5",
        ),
    ],
)
def test_a_route_of_somebody_else_is_made_again_where_it_is_not_there(words: str, kept: str) -> None:
    made = planned(words)
    (app,) = (host for host in made.hosts if host.host == "app")
    assert [item.kind for item in app.adopted] == ["route"]
    assert kept in map(str.strip, start_script(made).splitlines())
    assert "/etc/crossnet/routes" not in start_script(made)


@pytest.mark.parametrize("protocol", ["dhcp", "ra", "bird", "zebra"])
def test_a_route_that_a_daemon_gives_is_the_daemons(protocol: str) -> None:
    assert start_script(planned(f" proto {protocol}")) == ""


def test_crossnets_own_route_is_brought_back_as_before() -> None:
    own = HOSTS.replace("  route 10.0.44.0/24 via 10.0.43.101 dev eth0{}\n", "")
    made = make_plan(parse(SPEC, "crossnet.yaml"), facts_from(own))
    assert "/etc/crossnet/routes" in start_script(made)
    assert "keep_route" not in start_script(made)


# ---- what was found is remembered ----------------------------------------------------------------

FORWARD = "net.ipv4.ip_forward"


def forwarding() -> Hosts:
    """A gateway that forwards for everybody, before any crossing."""
    hosts = hosts_of(facts_from(WORLD))
    hosts["gateway"].perform(Command(("sysctl", "-e", "-q", "-w", "net/ipv4/ip_forward=1")))
    return hosts


def switched(hosts: Hosts, value: str) -> None:
    """By somebody else, such as a restart of the network."""
    hosts["gateway"].perform(Command(("sysctl", "-e", "-q", "-w", f"net/ipv4/ip_forward={value}")))


def fences(hosts: Hosts) -> list[bool]:
    found = (owned.applied for owned in read_record(facts_of(hosts)["gateway"]).owned)
    return [one.holds_fence for one in found if isinstance(one, RuleTable)]


def older(hosts: Hosts) -> None:
    """The record as crossnet wrote it before it kept what it only uses."""
    for host in hosts.values():
        if (state := host.files.get(APPLIED)) is not None:
            document = unseal(json.loads(state.data))
            host.files[APPLIED] = replace(
                state, data=seal({key: said for key, said in document.items() if key != "adopted"})
            )


@pytest.mark.parametrize("engine", ["nftables", "iptables"])
@pytest.mark.parametrize("kept", [True, False], ids=["", "older"])
def test_forwarding_that_was_on_before_comes_back_without_a_fence(engine: str, kept: bool) -> None:
    hosts = forwarding()
    start = states(hosts)
    asked = spec("office", BUSINESS.replace("}", f", firewall: {engine}}}"))
    applied(asked, hosts)
    as_applied = states(hosts)
    if not kept:
        older(hosts)
    switched(hosts, "0")
    facts = facts_of(hosts)
    lines = [line for each in drifted(facts["gateway"], read_record(facts["gateway"])) for line in each.lines]
    assert lines == [f"gateway: adopted sysctl {FORWARD} = 1 is {FORWARD} = 0 now"]

    again = told_opening(make_plan(asked, facts), facts)
    assert [(host, change.description) for host, change in again.changes] == [
        ("gateway", f"{FORWARD}  0 → 1")
    ]
    assert any(each.effect is Effect.OPENS and not each.crossing for each in again.opening or ())
    (gateway,) = (host for host in again.hosts if host.host == "gateway")
    assert not list(pending(gateway, again))
    carry_out(again, hosts)
    assert fences(hosts) == [False]
    if kept:
        assert states(hosts) == as_applied
    assert make_plan(asked, facts_of(hosts)).touched == ()
    undone(asked, hosts)
    assert hosts["gateway"].sysctls[FORWARD] == "1"
    if kept:
        assert states(hosts) == start


def test_another_spec_does_not_close_what_was_on_before() -> None:
    hosts = forwarding()
    start = states(hosts)
    office, backup = spec("office", BUSINESS), spec("backup", STORAGE)
    applied(office, hosts)
    switched(hosts, "0")
    applied(backup, hosts)
    assert fences(hosts) == [False]
    assert hosts["gateway"].sysctls[FORWARD] == "1"
    undone(office, hosts)
    undone(backup, hosts)
    assert states(hosts) == start


def test_forwarding_that_somebody_else_keeps_off_is_not_given_back() -> None:
    hosts = forwarding()
    asked = spec("office", BUSINESS)
    applied(asked, hosts)
    switched(hosts, "0")
    undone(asked, hosts)
    assert hosts["gateway"].sysctls[FORWARD] == "0"


def test_one_interface_that_was_left_off_is_off_again() -> None:
    hosts = forwarding()
    hosts["gateway"].sysctls["net.ipv4.conf.lo.forwarding"] = "0"
    asked = spec("office", BUSINESS)
    applied(asked, hosts)
    as_applied = states(hosts)
    switched(hosts, "0")
    carry_out(make_plan(asked, facts_of(hosts)), hosts)
    assert states(hosts) == as_applied


def test_an_adopted_route_that_is_gone_is_drift_and_made_anew() -> None:
    hosts = hosts_of(facts_from(WORLD))
    words = ["10.0.44.0/24", "via", "10.0.43.101", "dev", "eth0", "proto", "static"]
    by_hand = Command(("ip", "-4", "route", "add", *words))
    hosts["app"].perform(by_hand)
    asked = spec("office", BUSINESS)
    applied(asked, hosts)
    assert not list(drifted(hosts["app"].facts(), read_record(hosts["app"].facts())))
    hosts["app"].routes = [route for route in hosts["app"].routes if route.protocol != "static"]
    app = hosts["app"].facts()
    assert [line for each in drifted(app, read_record(app)) for line in each.lines] == [
        "app: adopted route 10.0.44.0/24 via 10.0.43.101 dev eth0 was removed since"
    ]
    again = make_plan(asked, facts_of(hosts))
    assert [line for host in again.hosts for line in pending(host, again)] == []
    applied(asked, hosts)
    app = hosts["app"].facts()
    assert not read_record(app).adopted
    assert not list(drifted(app, read_record(app)))
    undone(asked, hosts)
    assert not [route for route in hosts["app"].routes if str(route.destination) == "10.0.44.0/24"]


def test_a_record_that_does_not_know_all_still_knows_what_was_found() -> None:
    hosts = forwarding()
    asked = spec("office", BUSINESS)
    applied(asked, hosts)
    words = ["10.99.0.0/24", "via", "10.0.43.15", "dev", "eth1", "proto", "143"]
    hosts["gateway"].perform(Command(("ip", "-4", "route", "add", *words)))
    switched(hosts, "0")
    record = read_record(hosts["gateway"].facts())
    assert record.rebuilt
    assert [one.found.key for one in record.adopted if one.found.kind == "sysctl"] == [FORWARD]
    carry_out(make_plan(asked, facts_of(hosts)), hosts)
    assert fences(hosts) == [False]


# ---- what others had on, and do not bring back ----------------------------------------------------

DOCKER = "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n"


def beside_docker(hosts: Hosts) -> dict[str, Facts]:
    facts = facts_of(hosts)
    gateway = facts["gateway"]
    rules = replace(gateway.firewall, foreign=tuple(parse_save(DOCKER, "ip", Tool.IPTABLES_NFT)))
    managers = managers_of((), (), rules.foreign)
    return {**facts, "gateway": replace(gateway, firewall=rules, managers=managers)}


@pytest.mark.parametrize("persist", ["auto", "none"])
def test_where_docker_that_kept_others_out_did_not_start_the_gateway_gets_a_fence(persist: str) -> None:
    hosts = forwarding()
    asked = spec("office", BUSINESS.replace("}", f", persist: {persist}}}"))
    carry_out(make_plan(asked, beside_docker(hosts)), hosts)
    assert not any(fences(hosts))
    switched(hosts, "0")  # by the boot
    booted = states(hosts)

    facts = facts_of(hosts)
    again = told_opening(make_plan(asked, facts), facts)
    assert all(each.crossing for each in again.opening or () if each.effect is Effect.OPENS)
    assert "forwarding-given-up" in {each.code for each in again.impacts}
    (gateway,) = (host for host in again.hosts if host.host == "gateway")
    assert not any(isinstance(each, Pending) for each in pending(gateway, again))
    carry_out(again, hosts)
    assert any(fences(hosts))
    assert make_plan(asked, facts_of(hosts)).touched == ()
    undone(asked, hosts)
    assert hosts["gateway"].sysctls[FORWARD] == "0"
    assert hosts["gateway"].sysctls == dict(booted)["gateway"][1]


def test_where_it_is_to_have_no_fence_it_is_told_that_it_opens() -> None:
    hosts = forwarding()
    asked = spec("office", BUSINESS.replace("}", ", fence: off, persist: none}"))
    applied(asked, hosts)
    switched(hosts, "0")
    assert "opens-transit" in {each.code for each in make_plan(asked, facts_of(hosts)).impacts}


def test_where_crossnets_own_file_switches_it_on_again_without_a_fence_that_is_told() -> None:
    hosts = forwarding()
    asked = spec("office", BUSINESS)
    applied(asked, hosts)
    switched(hosts, "0")
    told = {each.code: each.text for each in make_plan(asked, facts_of(hosts)).impacts}
    assert "is off now: will forward it again for every host" in told["opens-transit"]
    assert "fence-off" not in told


def test_forwarding_that_is_left_to_docker_is_said_to_be_and_missed_where_docker_does_not_run() -> None:
    hosts = forwarding()
    asked = spec("office", BUSINESS)
    carry_out(make_plan(asked, beside_docker(hosts)), hosts)
    gateway = beside_docker(hosts)["gateway"]
    record, label = read_record(gateway), asked.crossings[0].label
    lines = [str(each) for each in lasting(gateway, record, label)]
    assert f"gateway: sysctl {FORWARD} = 1: live and persistent (docker, whenever it starts)" in lines

    switched(hosts, "0")
    for facts, whom in ((facts_of(hosts), "who had it on before crossnet"), (beside_docker(hosts), "docker")):
        booted = replace(
            facts["gateway"],
            clock=int(moment("2026-12-24T12:00Z").timestamp()),
            uptime=10**6,
            moments=Moments({"systemd-sysctl": UnitMoments(moment("2026-12-24T11:59Z"))}),
        )
        told = list(suspects(booted, record, drifted(booted, record), ["2026-12-23T12:00:00+00:00"]))
        assert told[0].startswith(f"{FORWARD} was left to {whom}")
        assert any("systemd-sysctl.service was started" in each for each in told) is (whom == "docker")
