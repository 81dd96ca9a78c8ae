"""What firewalls of others run after they have loaded their rules: crossnet's line there, and nothing else of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet.facts import Facts, FileState, Unreadable
from crossnet.facts.managers import Manager
from crossnet.persistence.extensions import PLUGIN, STARTED, keep
from crossnet.planning import Plan, make_plan
from crossnet.record import read_record
from crossnet.resources import File, Lines, Resource
from crossnet.specfile import parse
from crossnet.values import Family
from design.factsheet import facts_from, with_files

SHEET = """
app:
  eth0 10.0.43.15/24
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
"""
DROPS = "  iptables filter -A FORWARD -j REJECT\n"
SHOREWALL = "  iptables filter -A shorewall -m recent --set --name %CURRENTTIME --rsource\n"
HEAD = "# crossnet: business.\n"


def plan_of(facts: dict[str, Facts], more: str = "") -> Plan:
    hosts = "hosts:\n  app: {lab: app}\n  gateway: {lab: gateway}\n"
    crossing = f"crossings:\n  business: {{from: app, via: gateway, to: 10.0.44.0/24{more}}}\n"
    return make_plan(parse(f"crossnet: 1\n{hosts}{crossing}", "crossnet.yaml"), facts)


def wanted(sheet: str, *managers: str, more: str = "") -> dict[str, Resource]:
    """What a plan wants in the places of others, by its path."""
    facts = facts_from(SHEET + sheet)
    facts["gateway"] = with_managers(facts["gateway"], *managers)
    places = (*STARTED.values(), PLUGIN)
    return {one.key: one for one in plan_of(facts, more).wanted["gateway"] if one.key in places}


def with_managers(facts: Facts, *names: str) -> Facts:
    return replace(facts, managers=(*facts.managers, *(Manager(name, ("unit",)) for name in names)))


def test_shorewall_runs_a_line_and_netfilter_persistent_a_plugin() -> None:
    found = wanted(DROPS + SHOREWALL, "netfilter-persistent")
    line, plugin = found[STARTED[Family.V4]], found[PLUGIN]
    assert list(found) == [STARTED[Family.V4], PLUGIN]
    assert isinstance(line, Lines)
    assert isinstance(plugin, File)
    assert b"sh /etc/crossnet/start rules || :" in line.entry
    assert plugin.mode == 0o755
    # run-parts(8) runs them in the order of their names, and their own are 15-ip4tables and 25-ip6tables.
    assert plugin.path.endswith("/90-crossnet")


@pytest.mark.parametrize(
    ("sheet", "more"),
    [
        (SHOREWALL, ""),  # nothing there drops: crossnet has nothing in iptables
        (DROPS, ""),
        (DROPS + SHOREWALL, ", persist: none"),
    ],
)
def test_nothing_is_written_for_nothing(sheet: str, more: str) -> None:
    assert wanted(sheet, more=more) == {}


def test_a_firewall_that_is_cleared_for_a_moment_keeps_its_line() -> None:
    facts = facts_from(SHEET + DROPS + SHOREWALL)
    applied = next(host.after for host in plan_of(facts).hosts if host.host == "gateway")
    live = [owned.applied for owned in applied.owned]
    cleared = facts_from(SHEET)["gateway"]
    assert [one.key for one in keep(cleared, applied, live, HEAD)] == [STARTED[Family.V4]]
    assert list(keep(cleared, read_record(cleared), live, HEAD)) == []


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (FileState(b"", 0o777, "0:0", "/srv/started"), "is a link to /srv/started"),
        (FileState(b"echo a \\\n", 0o644, "0:0"), "ends with a backslash"),
        (FileState(b"echo a\nreturn 0\n# the end\n", 0o644, "0:0"), "ends its script before"),
        (Unreadable("a folder"), "cannot be read: a folder"),
    ],
)
@pytest.mark.parametrize("engine", ["auto", "iptables"])
def test_what_would_not_run_the_line_is_left_alone_and_told(
    there: FileState | Unreadable, why: str, engine: str
) -> None:
    facts = facts_from(SHEET + DROPS + SHOREWALL)
    gateway = with_managers(facts["gateway"], "shorewall")
    facts["gateway"] = replace(gateway, files={**gateway.files, STARTED[Family.V4]: there})
    made = plan_of(facts, f", firewall: {engine}")
    assert not [one for one in made.wanted["gateway"] if one.key == STARTED[Family.V4]]
    (told,) = (one.text for one in made.impacts if one.code == "beside-others" and "no line" in one.text)
    assert why in told


def test_a_line_that_stands_there_stays_whatever_comes_behind_it() -> None:
    facts = facts_from(SHEET + DROPS + SHOREWALL)
    (line,) = (one for one in plan_of(facts).wanted["gateway"] if isinstance(one, Lines))
    behind = {STARTED[Family.V4]: FileState(line.entry + b"exit 0\n", 0o644, "0:0")}
    assert line.key in [
        one.key
        for one in plan_of({**facts, "gateway": with_files(facts["gateway"], behind)}).wanted["gateway"]
    ]
