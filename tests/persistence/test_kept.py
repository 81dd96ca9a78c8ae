"""A crossing whose routes somebody else keeps: planned, applied, brought back by him at a boot, changed, taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from crossnet.api.applying import Applied
from crossnet.api.looking import status_of
from crossnet.drift import drifted
from crossnet.errors import PlanRefused
from crossnet.facts import FileState, Unreadable
from crossnet.facts.files import NO_FILE
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.routes import Route
from crossnet.health import State
from crossnet.persistence import kept
from crossnet.planning import make_plan, make_undo_plan
from crossnet.planning.plan import Plan
from crossnet.record import read_record
from crossnet.resources import File, RouteResource
from crossnet.show.text import plan_text, undone_text
from crossnet.specfile import parse
from crossnet.transaction.apply import Confirmed
from crossnet.transaction.batches import batched
from crossnet.values import address, network
from design.factsheet import facts_from
from persistence.ifcfg_readers import by_initscripts
from planning.fakehost import FakeHost, carry_out, facts_of, hosts_of

SHEET = """
app:
  eth0 10.0.43.15/24
  {}
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
  route 10.0.45.0/24 via 10.0.44.254 dev eth0
"""
ROUTE_FILE = "/etc/sysconfig/network-scripts/route-eth0"
DROP_IN = "/etc/systemd/network/10-eth0.network.d/90-crossnet.conf"
SCRIPT = "/etc/network/if-up.d/crossnet"
MINE = b"# mine\n10.9.0.0/16 via 10.0.43.9 dev eth0\n"
PROFILES = "/etc/NetworkManager/system-connections"
UUID = "11111111-2222-3333-4444-555555555555"
LISTED = f"profile {UUID} 10.77.0.0/16 10.0.43.9, 10.78.0.0/16 10.0.43.9 7"
OWNERS = {
    "network-scripts": "kept eth0 network-scripts /etc/sysconfig/network-scripts/ifcfg-eth0: ifcfg-eth0",
    "ifcfg-rh": "kept eth0 networkmanager /etc/sysconfig/network-scripts/ifcfg-eth0: profile 'System eth0'",
    "networkd": "kept eth0 networkd /etc/systemd/network/10-eth0.network: its file",
    "netplan": "kept eth0 netplan/networkd /run/systemd/network/10-netplan-eth0.network: its file",
    "networkmanager": f"kept eth0 networkmanager/{UUID} {PROFILES}/a.nmconnection: its profile\n  {LISTED}",
    "in memory": f"kept eth0 networkmanager/{UUID} /run/NetworkManager/system-connections/a.nmconnection: its profile",
    "ifupdown": "kept eth0 ifupdown -: ifup has brought it up",
    "wicked": "kept eth0 wicked /etc/sysconfig/network/ifcfg-eth0: wickedd runs",
}
UNITS = ("/etc/systemd/system/crossnet-recover.service",)


def spec_of(*to: str, persist: str = "auto") -> str:
    named = "".join(
        f"\n  c{n}: {{from: app, via: gateway, to: {each}, persist: {persist}}}" for n, each in enumerate(to)
    )
    return f"crossnet: 1\nhosts: {{app: {{lab: app}}, gateway: {{lab: gateway}}}}\ncrossings:{named}\n"


def world(owner: str) -> dict[str, FakeHost]:
    hosts = hosts_of(facts_from(SHEET.format(OWNERS[owner])))
    if owner in ("network-scripts", "ifcfg-rh"):
        hosts["app"].files[ROUTE_FILE] = FileState(MINE, 0o640, "5:6")
    return hosts


def planned(hosts: Mapping[str, FakeHost], *to: str, persist: str = "auto") -> Plan:
    return make_plan(parse(spec_of(*to, persist=persist), "crossnet.yaml"), facts_of(hosts))


def applied(hosts: Mapping[str, FakeHost], *to: str, persist: str = "auto") -> Plan:
    made = planned(hosts, *to, persist=persist)
    carry_out(made, hosts)
    return made


def undone(hosts: Mapping[str, FakeHost]) -> Plan:
    made = make_undo_plan(parse(spec_of("10.0.44.0/24"), "crossnet.yaml"), facts_of(hosts))
    carry_out(made, hosts)
    return made


def own_routes(hosts: Mapping[str, FakeHost]) -> list[str]:
    return [f"{one} proto {one.protocol}" for one in hosts["app"].routes if one.via is not None]


def own_files(hosts: Mapping[str, FakeHost]) -> list[str]:
    return sorted(path for path in hosts["app"].files if path.startswith("/etc/") and path != ROUTE_FILE)


def is_as_applied(hosts: Mapping[str, FakeHost], *to: str) -> bool:
    facts = facts_of(hosts)["app"]
    return planned(hosts, *to).is_empty and not list(drifted(facts, read_record(facts)))


@pytest.mark.parametrize(
    ("owner", "protocol", "file"),
    [
        ("network-scripts", "boot", ROUTE_FILE),
        ("ifcfg-rh", "static", ROUTE_FILE),
        ("networkd", "143", DROP_IN),
        ("netplan", "143", DROP_IN.replace("eth0", "netplan-eth0")),
        ("ifupdown", "143", SCRIPT),
        ("wicked", "boot", "/etc/sysconfig/network/ifroute-eth0"),
    ],
)
def test_the_owner_keeps_it_and_after_a_boot_it_is_the_same_one(owner: str, protocol: str, file: str) -> None:
    hosts = world(owner)
    before = dict(hosts["app"].files), list(hosts["app"].routes)
    made = applied(hosts, "10.0.44.0/24")
    assert own_routes(hosts) == [f"10.0.44.0/24 via 10.0.43.101 dev eth0 proto {protocol}"]
    assert b"10.0.44.0/24" in hosts["app"].files[file].data
    # What ends an open transaction at a boot is all that is there besides: no unit for routes.
    assert not any(path.startswith("/etc/crossnet") for path in hosts["app"].files)
    assert "/etc/systemd/system/crossnet.service" not in hosts["app"].files
    assert set(UNITS) <= set(hosts["app"].files)
    assert f"kept in {file}, as eth0 is kept by" in " ".join(plan_text(made).split())
    assert is_as_applied(hosts, "10.0.44.0/24")
    undone(hosts)
    assert (hosts["app"].files, hosts["app"].routes) == before


def asking(*crossings: str) -> Plan:
    """Of a client with ifupdown; a crossing is `to: …, persist: …`."""
    named = "".join(f"\n  c{n}: {{from: app, via: gateway, {each}}}" for n, each in enumerate(crossings))
    text = f"crossnet: 1\nhosts: {{app: {{lab: app}}, gateway: {{lab: gateway}}}}\ncrossings:{named}\n"
    return make_plan(parse(text, "crossnet.yaml"), facts_of(world("ifupdown")))


WORDS = [("unit", "ifupdown"), ("ifupdown", "unit"), ("auto", "unit"), ("unit", "auto")]


@pytest.mark.parametrize("words", WORDS)
def test_each_route_of_an_interface_is_kept_as_its_crossing_asks(words: tuple[str, str]) -> None:
    made = asking(f"to: 10.0.44.0/24, persist: {words[0]}", f"to: 10.0.45.0/24, persist: {words[1]}")
    files = [one for one in made.wanted["app"] if isinstance(one, File)]
    for word, destination in zip(words, (b"10.0.44.0/24", b"10.0.45.0/24"), strict=True):
        (file,) = (one for one in files if destination in one.data)
        assert file.path == ("/etc/crossnet/routes" if word == "unit" else SCRIPT)


def test_one_route_has_one_keeper() -> None:
    unit, auto, ifupdown = (
        f"to: 10.0.44.0/24, allow: [tcp/{n}], persist: {word}"
        for n, word in enumerate(("unit", "auto", "ifupdown"), 1)
    )
    assert asking(unit, auto).wanted
    with pytest.raises(
        PlanRefused, match=r"persist: unit.*the route of app to 10\.0\.44\.0/24 \[settings-differ\]"
    ):
        asking(unit, ifupdown)


def test_others_lines_stay_whatever_they_have_become() -> None:
    hosts = world("network-scripts")
    applied(hosts, "10.0.44.0/24", "10.0.45.0/24")
    there = hosts["app"].files[ROUTE_FILE]
    assert there == FileState(
        MINE + b"10.0.44.0/24 via 10.0.43.101 dev eth0\n10.0.45.0/24 via 10.0.43.101 dev eth0\n", 0o640, "5:6"
    )
    hosts["app"].files[ROUTE_FILE] = replace(there, data=b"# top\n" + there.data + b"# below\n")
    assert is_as_applied(hosts, "10.0.44.0/24", "10.0.45.0/24")
    applied(hosts, "10.0.45.0/24")
    assert hosts["app"].files[ROUTE_FILE].data == (
        b"# top\n" + MINE + b"10.0.45.0/24 via 10.0.43.101 dev eth0\n# below\n"
    )
    undone(hosts)
    assert hosts["app"].files[ROUTE_FILE] == FileState(b"# top\n" + MINE + b"# below\n", 0o640, "5:6")


def test_what_the_unit_kept_before_goes_to_the_owner_and_back() -> None:
    hosts = world("network-scripts")
    before = dict(hosts["app"].files), list(hosts["app"].routes)
    applied(hosts, "10.0.44.0/24", persist="unit")
    assert own_routes(hosts) == ["10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"]
    assert "/etc/crossnet/routes" in hosts["app"].files
    assert hosts["app"].files[ROUTE_FILE].data == MINE
    units = dict(hosts["app"].files)
    made = applied(hosts, "10.0.44.0/24")
    assert "(proto boot, was 143)" in next(
        line for line in plan_text(made).splitlines() if "~ route " in line
    )
    assert own_routes(hosts) == ["10.0.44.0/24 via 10.0.43.101 dev eth0 proto boot"]
    assert "/etc/crossnet/routes" not in hosts["app"].files
    assert by_initscripts(hosts["app"].files[ROUTE_FILE].data.decode())[-1].startswith(
        "10.0.44.0/24 via 10.0.43.101"
    )
    assert is_as_applied(hosts, "10.0.44.0/24")
    applied(hosts, "10.0.44.0/24", persist="unit")
    assert own_routes(hosts) == ["10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"]
    assert set(hosts["app"].files) == set(units)
    undone(hosts)
    assert (hosts["app"].files, hosts["app"].routes) == before


def test_until_the_next_boot_nothing_is_written_and_nobody_elses_route_is_made() -> None:
    hosts = world("network-scripts")
    applied(hosts, "10.0.44.0/24", persist="none")
    assert own_routes(hosts) == ["10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"]
    assert hosts["app"].files[ROUTE_FILE].data == MINE
    assert own_files(hosts) == []


def test_an_equal_route_of_somebody_else_is_used_and_stays_his() -> None:
    hosts = world("network-scripts")
    theirs = Route(network("10.0.44.0/24"), address("10.0.43.101"), "eth0", protocol="boot")
    hosts["app"].routes.append(theirs)
    made = applied(hosts, "10.0.44.0/24")
    assert [item.found for host in made.hosts if host.host == "app" for item in host.adopted] == [str(theirs)]
    assert hosts["app"].files[ROUTE_FILE].data == MINE
    undone(hosts)
    assert theirs in hosts["app"].routes


def test_a_line_that_somebody_took_out_is_told_and_comes_back() -> None:
    hosts = world("network-scripts")
    applied(hosts, "10.0.44.0/24")
    hosts["app"].files[ROUTE_FILE] = FileState(MINE, 0o640, "5:6")
    facts = facts_of(hosts)["app"]
    (told,) = drifted(facts, read_record(facts))
    assert ROUTE_FILE in str(told)
    assert "entry is not there" in str(told)
    applied(hosts, "10.0.44.0/24")
    assert is_as_applied(hosts, "10.0.44.0/24")


@pytest.mark.parametrize(
    ("state", "because"),
    [
        (FileState(b"ADDRESS0=10.9.0.0\nADDRESS2=10.9.2.0\n", 0o640, "5:6"), "the numbers in"),
        (FileState(MINE, 0o777, "0:0", "/srv/routes"), f"{ROUTE_FILE} is a link to /srv/routes"),
        (FileState(MINE, 0o640, "5:6", names=2), f"{ROUTE_FILE} has another name too (a hard link)"),
        (Unreadable("it is a folder"), f"{ROUTE_FILE} cannot be read: it is a folder"),
    ],
)
def test_a_file_that_cannot_say_it_leaves_it_to_the_unit(state: FileState | Unreadable, because: str) -> None:
    hosts = world("network-scripts")
    hosts["app"].files[ROUTE_FILE] = state  # type: ignore[assignment]
    made = applied(hosts, "10.0.44.0/24")
    assert "/etc/crossnet/routes" in hosts["app"].files
    (why,) = (each.text for each in made.impacts if each.code == "kept-by-owner")
    assert why.startswith(f"routes by eth0 are kept by crossnet's own unit, because {because}")


def test_what_cannot_stay_with_its_owner_when_another_spec_comes_goes_to_the_unit() -> None:
    hosts = world("network-scripts")
    applied(hosts, "10.0.44.0/24")
    hosts["app"].files[ROUTE_FILE] = FileState(b"ADDRESS0=10.9.0.0\nADDRESS2=10.9.2.0\n", 0o640, "5:6")
    other = parse(spec_of("10.0.45.0/24").replace("c0:", "c9:"), "other.yaml")
    carry_out(make_plan(other, facts_of(hosts)), hosts)
    # That of the other spec stays the one that it is.
    assert b"10.0.45.0/24" in hosts["app"].files["/etc/crossnet/routes"].data
    assert b"keep_route -4 10.0.44.0/24 via 10.0.43.101 dev eth0 proto boot" in (
        hosts["app"].files["/etc/crossnet/start"].data
    )
    assert [line.rpartition(" ")[2] for line in own_routes(hosts)] == ["boot", "143"]
    assert make_plan(other, facts_of(hosts)).is_empty


def without_systemd(owner: str) -> dict[str, FakeHost]:
    hosts = world(owner)
    base = hosts["app"].base
    hosts["app"].base = replace(base, capabilities=replace(base.capabilities, systemd=False))
    return hosts


@pytest.mark.parametrize(("owner", "file"), [("network-scripts", ROUTE_FILE), ("ifupdown", SCRIPT)])
def test_an_owner_keeps_it_without_systemd_too(owner: str, file: str) -> None:
    hosts = without_systemd(owner)
    before = dict(hosts["app"].files), list(hosts["app"].routes)
    made = applied(hosts, "10.0.44.0/24")
    assert file in kept.paths(facts_of(hosts)["app"])
    assert [each.where for each in made.impacts if each.code == "not-persistent"] == []
    assert b"10.0.44.0/24" in hosts["app"].files[file].data
    assert own_files(hosts) == [path for path in (file,) if path != ROUTE_FILE]
    assert is_as_applied(hosts, "10.0.44.0/24")
    undone(hosts)
    assert (hosts["app"].files, hosts["app"].routes) == before


def test_without_systemd_nothing_lasts_that_only_a_unit_could_bring_back_or_end() -> None:
    def why(hosts: Mapping[str, FakeHost], made: Plan) -> str:
        assert own_files(hosts) == []
        assert own_routes(hosts) == ["10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"]
        return next(each.text for each in made.impacts if each.code == "not-persistent")

    hosts = without_systemd("network-scripts")
    assert why(hosts, applied(hosts, "10.0.44.0/24", persist="unit")).startswith("will not survive")
    hosts = without_systemd("ifupdown")
    told = why(hosts, applied(hosts, "10.0.44.0/24", persist="auto, until: 2099-01-01T00:00Z"))
    assert told == "will not survive a reboot: no systemd, OpenRC or SysV init runs there"
    hosts = without_systemd("in memory")
    assert "will not survive a reboot, because its profile" in why(hosts, applied(hosts, "10.0.44.0/24"))


def test_a_profile_of_networkmanager_has_it() -> None:
    hosts = world("networkmanager")
    before = dict(hosts["app"].files), list(hosts["app"].routes), dict(hosts["app"].profiles)
    made = applied(hosts, "10.0.44.0/24")
    assert own_routes(hosts) == ["10.0.44.0/24 via 10.0.43.101 dev eth0 proto static"]
    theirs = ["10.77.0.0/16 10.0.43.9", "10.78.0.0/16 10.0.43.9 7"]
    assert hosts["app"].profiles[UUID] == [*theirs, "10.0.44.0/24 10.0.43.101 0"]
    assert "/etc/crossnet/routes" not in hosts["app"].files
    assert "eth0 are kept in its profile (NetworkManager writes" in " ".join(plan_text(made).split())
    assert is_as_applied(hosts, "10.0.44.0/24")
    applied(hosts, "10.0.44.0/24", "10.0.45.0/24")
    hosts["app"].profiles[UUID].insert(0, "10.79.0.0/16 10.0.43.9")
    assert is_as_applied(hosts, "10.0.44.0/24", "10.0.45.0/24")
    hosts["app"].profiles[UUID].remove("10.0.45.0/24 10.0.43.101 0")
    assert not is_as_applied(hosts, "10.0.44.0/24", "10.0.45.0/24")
    applied(hosts, "10.0.45.0/24")
    assert hosts["app"].profiles[UUID] == ["10.79.0.0/16 10.0.43.9", *theirs, "10.0.45.0/24 10.0.43.101 0"]
    undone(hosts)
    hosts["app"].profiles[UUID].remove("10.79.0.0/16 10.0.43.9")
    assert (hosts["app"].files, hosts["app"].routes, hosts["app"].profiles) == before


def test_of_a_profile_that_nobody_tells_of_it_is_told_what_stays_in_it() -> None:
    hosts = world("networkmanager")
    applied(hosts, "10.0.44.0/24")
    hosts["app"].profiles.clear()
    told = [each.text for each in undone(hosts).impacts if each.code == "owner-remembers"]
    assert f"`nmcli connection modify uuid {UUID} -ipv4.routes '10.0.44.0/24 10.0.43.101 0'`" in told[0]


def test_a_profile_in_memory_is_left_to_whoever_made_it() -> None:
    hosts = world("in memory")
    made = applied(hosts, "10.0.44.0/24")
    (why,) = (each.text for each in made.impacts if each.code == "kept-by-owner")
    assert "crossnet's own unit, because its profile is not in" in why
    assert own_routes(hosts) == ["10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"]
    assert "/etc/crossnet/routes" in hosts["app"].files


def test_a_policy_rule_before_a_route_that_ifup_sets_comes_back_with_the_unit() -> None:
    rule = "\n  rule 5270: from all lookup 52\n  route 10.0.44.0/24 via 10.0.43.7 dev eth0 table 52"
    hosts = hosts_of(facts_from(SHEET.format(OWNERS["ifupdown"] + rule)))
    wanted = make_plan(parse(spec_of("10.0.44.0/24"), "crossnet.yaml"), facts_of(hosts))
    files = {
        change.want.path: change.want.data
        for host, change in wanted.changes
        if host == "app" and isinstance(change.want, File)
    }
    assert b"keep_rule -4 5269" in files["/etc/crossnet/start"]
    assert b"route 10.0.44.0/24" in files[SCRIPT].replace(b"-4 ", b"")
    assert "/etc/crossnet/routes" not in files


@pytest.mark.parametrize(
    ("owner", "command"),
    [
        ("network-scripts", ""),
        ("ifcfg-rh", "nmcli connection reload"),
        ("networkmanager", "nmcli device reapply eth0"),
        ("networkd", "networkctl reload"),
        ("ifupdown", ""),
    ],
)
def test_whoever_takes_a_route_away_is_told_who_remembers_it(owner: str, command: str) -> None:
    hosts = world(owner)
    for made in (applied(hosts, "10.0.44.0/24"), applied(hosts, "10.0.44.0/24", "10.0.45.0/24")):
        assert not [each for each in made.impacts if each.code == "owner-remembers"]
    told = [each.text for each in undone(hosts).impacts if each.code == "owner-remembers"]
    assert [command in each for each in told] == [True] * bool(command)


def test_many_routes_are_one_step_whoever_keeps_them() -> None:
    for owner, shown in (
        ("ifupdown", "proto 143"),
        ("network-scripts", "proto boot via 10.0.43.101 dev eth0"),
        ("networkmanager", "proto static via 10.0.43.101 dev eth0"),
    ):
        made = planned(world(owner), "10.0.44.0/24", "10.0.45.0/24")
        (host,) = (each for each in made.hosts if each.host == "app")
        (batch,) = (
            each for each in batched(host.changes) if isinstance(each.changes[0].resource, RouteResource)
        )
        assert len(batch.changes) == 2
        # None of anybody else is looked at that may change by itself meanwhile.
        assert [str(each).partition("show ")[2] for each in batch.looks] == [shown]


@pytest.mark.parametrize("owner", list(OWNERS))
def test_an_address_that_comes_and_goes_on_the_interface_changes_nothing(owner: str) -> None:
    hosts = world(owner)
    applied(hosts, "10.0.44.0/24")
    app, alone = hosts["app"], hosts["app"].base
    two = facts_from(SHEET.format(OWNERS[owner]).replace("43.15/24", "43.15/24 10.0.43.77/24"))["app"]
    app.base = replace(alone, links=two.links)
    assert is_as_applied(hosts, "10.0.44.0/24")
    undone(hosts)
    applied(hosts, "10.0.44.0/24")
    assert "src 10.0.43.15" in own_routes(hosts)[0]
    app.base = alone
    assert is_as_applied(hosts, "10.0.44.0/24")


def test_who_does_not_keep_the_interface_any_more_is_told_with_what_follows() -> None:
    hosts = world("networkmanager")
    applied(hosts, "10.0.44.0/24")
    left = {"eth0": Owner("eth0", Keeper.NOBODY, "NetworkManager does not manage it (unmanaged)")}
    hosts["app"].base = replace(hosts["app"].base, owners=left)
    spec = parse(spec_of("10.0.44.0/24"), "crossnet.yaml")
    (status,) = status_of(spec, facts_of(hosts))
    assert status.reasons[:2] == (
        "app: routes by eth0 are kept by crossnet's own unit, because eth0 is kept by nobody that crossnet knows: "
        "NetworkManager does not manage it (unmanaged)",
        "app: route 10.0.44.0/24 via 10.0.43.101 dev eth0 is `proto static` there, and `proto 143` by what keeps it "
        "for the next boot",
    )
    assert "routes by eth0 are kept by crossnet's own unit, because" in " ".join(
        plan_text(planned(hosts, "10.0.44.0/24")).split()
    )


def test_what_somebody_wrote_into_a_file_of_crossnets_own_is_named_before_it_is_lost() -> None:
    hosts = world("networkd")
    applied(hosts, "10.0.44.0/24")
    own = hosts["app"].files[DROP_IN]
    theirs = b"\n[Route]\nDestination=192.168.9.0/24\nGateway=10.0.43.9\n"
    hosts["app"].files[DROP_IN] = replace(own, data=own.data + theirs)
    for made in (
        planned(hosts, "10.0.44.0/24"),
        make_undo_plan(parse(spec_of("10.0.44.0/24"), "crossnet.yaml"), facts_of(hosts)),
    ):
        (told,) = (each.text for each in made.impacts if each.code == "edits-lost")
        assert told == (
            f"file {DROP_IN} says by now what crossnet did not write, and that is lost with this change: "
            "Destination=192.168.9.0/24; Gateway=10.0.43.9"
        )
        assert "[edits-lost]" in plan_text(made).partition("what is lost\n")[2].partition("\n\n")[0]
    hosts["app"].files[DROP_IN] = own
    assert not [each for each in undone(hosts).impacts if each.code == "edits-lost"]


@pytest.mark.parametrize("owner", ["network-scripts", "variables", "wicked"])
@pytest.mark.parametrize("edit", [b" metric 5\n", b"\r\n", b" # mine\n"])
def test_an_entry_that_somebody_edited_stays_and_that_is_told(owner: str, edit: bytes) -> None:
    hosts = world(owner.replace("variables", "network-scripts"))
    path = "/etc/sysconfig/network/ifroute-eth0" if owner == "wicked" else ROUTE_FILE
    if owner == "variables":
        hosts["app"].files[path] = FileState(b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\n", 0o640, "5:6")
    before = dict(hosts["app"].files)
    applied(hosts, "10.0.44.0/24")
    own = hosts["app"].files[path]
    assert not is_told(hosts)
    head, tail = before[path].data if path in before else b"", own.data
    edited = head + tail.removeprefix(head).replace(b"\n", edit)
    hosts["app"].files[path] = replace(own, data=edited)
    number = head.count(b"\n") + 1
    said = tail.splitlines()[number - 1].decode() + edit.rstrip(b"\n").decode().replace("\r", "\\r")
    told = f"line {number} says `{said}`"
    (status,) = status_of(parse(spec_of("10.0.44.0/24"), "crossnet.yaml"), facts_of(hosts))
    assert status.drift[0] == f"app: lines {path}: somebody has edited crossnet's entry: {told}"
    assert is_told(hosts) == [f"{path}: somebody has edited crossnet's entry, so it stays: {told}"]
    assert [each.text for each in planned(hosts, "10.0.44.0/24").impacts if each.code == "edits-stay"]
    made = undone(hosts)
    assert hosts["app"].files[path].data == edited
    said = undone_text(Applied(made, Confirmed("t", made), None))
    assert f"Not everything is as it was before crossnet:\n  app: {path}: somebody has edited" in said


def is_told(hosts: dict[str, FakeHost]) -> list[str]:
    made = make_undo_plan(parse(spec_of("10.0.44.0/24"), "crossnet.yaml"), facts_of(hosts))
    return [each.text for each in made.impacts if each.code == "edits-stay"]


def test_of_an_entry_that_is_gone_nothing_stays() -> None:
    hosts = world("network-scripts")
    applied(hosts, "10.0.44.0/24")
    own = hosts["app"].files[ROUTE_FILE]
    hosts["app"].files[ROUTE_FILE] = replace(own, data=MINE + b"# 10.0.44.0/24 via 10.0.43.101 dev eth0\n")
    (status,) = status_of(parse(spec_of("10.0.44.0/24"), "crossnet.yaml"), facts_of(hosts))
    assert f"app: lines {ROUTE_FILE}: crossnet's entry is not there" in status.drift
    assert is_told(hosts) == []


@pytest.mark.parametrize(
    ("owner", "host", "path"),
    [
        ("network-scripts", "app", ROUTE_FILE),
        ("networkd", "app", DROP_IN),
        ("ifupdown", "app", SCRIPT),
        ("in memory", "app", "/etc/crossnet/routes"),
        ("networkd", "gateway", "/etc/crossnet/start"),
        ("networkd", "gateway", "/etc/systemd/system/multi-user.target.wants/crossnet.service"),
    ],
)
def test_a_folder_in_the_place_of_one_file_is_told_of_that_one_alone(
    owner: str, host: str, path: str
) -> None:
    hosts = world(owner)
    applied(hosts, "10.0.44.0/24")
    assert path in hosts[host].files
    hosts[host].files[path] = Unreadable(NO_FILE)  # type: ignore[assignment]
    spec = parse(spec_of("10.0.44.0/24"), "crossnet.yaml")
    (status,) = status_of(spec, facts_of(hosts))
    assert status.state is State.DRIFTED
    names = {ROUTE_FILE: "entry is not there"}.get(
        path, "is no longer enabled" if "wants" in path else "was replaced"
    )
    assert [each for each in status.reasons if each.startswith(f"{host}: ") and names in each]
    assert [each.live for each in status.lasting if each.resource.routes] == [True]
    if "was replaced" in names:
        with pytest.raises(PlanRefused, match=f"file {path} is not as crossnet writes it"):
            make_undo_plan(spec, facts_of(hosts))
    else:
        undone(hosts)
        assert own_routes(hosts) == []
