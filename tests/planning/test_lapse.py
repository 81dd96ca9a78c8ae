"""What hosts do by themselves when crossings are over: as if the crossings had left the spec, but for the last one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossnet import api, savedplan
from crossnet.errors import PlanRefused
from crossnet.facts import Facts, FileState
from crossnet.health import State, crossing_status
from crossnet.opening import told_opening
from crossnet.planning import Lapse, Plan, Undo, make_plan, make_undo_plan
from crossnet.record import APPLIED, UNTIL_BY, UNTIL_HEARTBEAT, read_record
from crossnet.resources import RuleTable, Service
from crossnet.show.json import carried_data, plan_data
from crossnet.show.standing import carried_text
from crossnet.show.text import plan_text, status_text
from crossnet.spec import Spec
from crossnet.transaction import journal
from crossnet.transaction.bundle import lapses
from crossnet.turns import says_the_same
from crossnet.values import moment
from planning.fakehost import ROOT, FakeHost, Hosts, carry_out, facts_of, states
from planning.test_properties import begin, spec_of, specs, worlds
from planning.test_side_by_side import begun, spec, standing

NOW = int(moment("2026-12-24T12:00Z").timestamp())
FIRST, SECOND = "2026-12-24T18:00Z", "2026-12-25T18:00Z"
BUSINESS = f"business: {{from: app, via: gateway, to: 10.0.44.0/24, until: {FIRST}}}"
STORAGE = f"storage: {{from: [app, web], via: gateway, to: 10.0.45.0/24, until: {SECOND}}}"
MAIL = "mail: {from: web, via: gateway, to: 10.0.44.25, allow: tcp/25}"


def at(hosts: Hosts, when: str | int) -> Mapping[str, Facts]:
    """The facts of the hosts at a time by their clocks."""
    clock = when if isinstance(when, int) else int(moment(when).timestamp())
    return {name: replace(one, clock=clock) for name, one in facts_of(hosts).items()}


def applied(asked: Spec, hosts: Hosts, when: str | int = NOW) -> Plan:
    made = make_plan(asked, at(hosts, when))
    carry_out(made, hosts)
    return made


def lapsed(plan: Plan, hosts: Hosts, when: str) -> None:
    """Each host does what it was given for this time, where its record is the one that it is for."""
    for host in plan.hosts:
        own = hosts[host.host]
        for lapse in host.lapses:
            if lapse.at == int(moment(when).timestamp()):
                assert read_record(own.facts()).same_as(lapse.before)
                take_back(own, lapse)


def take_back(own: FakeHost, lapse: Lapse) -> None:
    for change in (*lapse.live, *lapse.persistent):
        own.make(change)
    own.files.pop(APPLIED)
    if not lapse.after.is_empty:
        own.files[APPLIED] = FileState(lapse.after.to_json(), 0o600, ROOT)
    if all(one.until is None for one in lapse.after.crossings):
        for place in (UNTIL_BY, UNTIL_HEARTBEAT):
            own.files.pop(place)


def until(hosts: Hosts) -> list[str]:
    """The times at which the gateway's timer goes off."""
    timer = hosts["gateway"].files.get("/etc/systemd/system/crossnet-until.timer")
    lines = timer.data.decode().splitlines() if timer else []
    return [line.removeprefix("OnCalendar=") for line in lines if line.startswith("OnCalendar=")]


def test_what_is_over_goes_and_what_is_not_stays() -> None:
    hosts = begun()
    asked = spec("office", BUSINESS, STORAGE, MAIL)
    made = applied(asked, hosts)
    assert until(hosts) == ["2026-12-24 18:00:00 UTC", "2026-12-25 18:00:00 UTC"]

    lapsed(made, hosts, FIRST)

    assert standing(hosts) == ["office/mail", "office/storage"]
    assert standing(hosts, "app") == ["office/storage"]
    assert until(hosts) == ["2026-12-25 18:00:00 UTC"]
    assert make_plan(asked, at(hosts, FIRST)).touched == ()
    lapsed(made, hosts, SECOND)
    assert standing(hosts) == ["office/mail"]
    assert standing(hosts, "app") == []
    assert until(hosts) == []
    assert make_plan(asked, at(hosts, SECOND)).touched == ()


def test_what_other_specs_made_is_taken_back_too_and_nothing_else_of_them() -> None:
    hosts = begun()
    start = states(hosts)
    applied(spec("office", BUSINESS), hosts)
    second = applied(spec("backup", STORAGE, MAIL), hosts)

    lapsed(second, hosts, FIRST)

    assert standing(hosts) == ["backup/mail", "backup/storage"]
    lapsed(second, hosts, SECOND)
    assert standing(hosts) == ["backup/mail"]
    for one in (spec("office", BUSINESS), spec("backup", STORAGE, MAIL)):
        carry_out(make_undo_plan(one, at(hosts, SECOND), Undo(all=True)), hosts)
    assert states(hosts) == start


def told(plan: Plan, code: str = "until") -> list[str]:
    return [one.text for one in plan.impacts if one.code == code]


def test_lists_plans_and_status_say_until_when() -> None:
    hosts = begun()
    asked = spec("office", BUSINESS, MAIL)
    applied(asked, hosts)
    found = {"gateway": read_record(facts_of(hosts)["gateway"])}
    assert "until 2026-12-24 18:00 UTC, then the host takes it back itself" in carried_text(found)
    times = {one["crossing"]: one["until"] for one in carried_data(found)["hosts"][0]["crossings"]}
    assert times == {"business": "2026-12-24T18:00:00Z", "mail": None}
    beside = make_plan(spec("backup", STORAGE), at(hosts, NOW))
    assert "crossing business of spec office until 2026-12-24 18:00 UTC, applied by" in plan_text(beside)
    times = {one["crossing"]: one["until"] for one in plan_data(beside)["crossings"]}
    assert times == {"storage": "2026-12-25T18:00:00Z"}
    now = at(hosts, NOW)
    assert "until 2026-12-24 18:00 UTC, " in status_text(crossing_status(make_plan(asked, now), now))


def test_the_last_crossing_leaves_forwarding_behind_the_fence() -> None:
    hosts = begun()
    start = states(hosts)
    asked = spec("office", BUSINESS)
    made = applied(asked, hosts)
    assert "forwarding behind the fence then stays on gateway" in " ".join(plan_text(made).split())

    lapsed(made, hosts, FIRST)

    gateway, app = facts_of(hosts)["gateway"], facts_of(hosts)["app"]
    (table,) = RuleTable.traces(gateway)
    assert table.holds_fence
    assert not table.crossings
    assert gateway.sysctls["net.ipv4.ip_forward"] == "1"
    assert APPLIED not in app.files
    found = {"gateway": read_record(gateway)}
    assert "carries no crossing" in carried_text(found)
    assert "the next apply or undo of a spec with this host removes it" in carried_text(found)
    assert {one["kind"] for one in carried_data(found)["hosts"][0]["left_over"]} >= {
        "table",
        "sysctl",
        "file",
    }
    after = at(hosts, FIRST)
    (status,) = crossing_status(make_plan(asked, after), after)
    assert status.state is State.OVER
    assert not status.is_well
    assert "the next apply or undo removes it" in status_text([status])
    applied(asked, hosts, FIRST)
    assert states(hosts) == start
    after = at(hosts, FIRST)
    (status,) = crossing_status(make_plan(asked, after), after)
    assert status.is_well
    assert "since 2026-12-24 18:00 UTC" in status_text([status])


def test_where_the_gateway_forwarded_before_nothing_is_left() -> None:
    hosts = begun()
    hosts["gateway"].sysctls |= {
        name: "1" for name in hosts["gateway"].sysctls if "ipv4" in name and "forward" in name
    }
    start = states(hosts)
    made = applied(spec("office", BUSINESS), hosts)
    lapsed(made, hosts, FIRST)
    assert states(hosts) == start


def test_what_is_over_counts_as_one_that_left_the_spec() -> None:
    hosts = begun()
    start = states(hosts)
    asked = spec("office", BUSINESS)
    applied(asked, hosts)
    late = make_plan(asked, at(hosts, FIRST))
    assert [one.label for one in late.ended] == ["office/business"]
    assert "has been over since 2026-12-24 18:00 UTC" in " ".join(plan_text(late).split())
    carry_out(late, hosts)
    assert states(hosts) == start
    again = make_plan(asked, at(hosts, FIRST))
    assert again.touched == ()
    assert [one.code for one in again.impacts] == ["over"]


def test_what_another_spec_left_past_its_time_goes_with_the_next_apply() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    late = make_plan(spec("backup", MAIL), at(hosts, FIRST))
    assert "ends crossing office/business: it has been over since 2026-12-24 18:00 UTC" in " ".join(
        plan_text(late).split()
    )
    carry_out(late, hosts)
    assert standing(hosts) == ["backup/mail"]


def test_another_time_is_a_change_of_its_own() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    later = applied(spec("office", BUSINESS.replace(FIRST, SECOND)), hosts)
    assert {change.resource.key for _, change in later.changes} == {
        "/etc/systemd/system/crossnet-until.timer",
        "crossnet-until.timer",
    }
    assert until(hosts) == ["2026-12-25 18:00:00 UTC"]
    (moved,) = told(later)
    assert moved.startswith(
        "until 2026-12-25 18:00 UTC, not 2026-12-24 18:00 UTC as before, then the hosts take it"
    )
    (steps,) = {
        tuple(map(str, change.steps)) for _, change in later.changes if isinstance(change.resource, Service)
    }
    assert "restart" in steps[-1]
    never = applied(spec("office", BUSINESS.replace(f", until: {FIRST}", "")), hosts)
    assert until(hosts) == []
    assert not any(host.lapses for host in never.hosts)
    assert told(never) == ["was to end at 2026-12-25 18:00 UTC, and has no end any more but `crossnet undo`"]


@pytest.mark.parametrize("uptime", [0, 180, 181])
def test_what_is_not_prepared_any_more_is_prepared_again(uptime: int) -> None:
    """Nothing is there, or who waited has not shown himself for some minutes."""
    hosts = begun()
    asked = spec("office", BUSINESS)
    applied(asked, hosts)
    if uptime == 0:
        del hosts["app"].files[UNTIL_BY]
    facts = {
        name: replace(one, uptime=uptime if name == "app" else 0) for name, one in at(hosts, NOW).items()
    }
    again = make_plan(asked, facts)
    (status,) = crossing_status(again, facts)
    told = [reason for reason in status.reasons if "takes it back" in reason]
    if uptime == 180:
        assert (again.touched, told) == ((), [])
    else:
        assert again.touched == ("app",)
        assert told[0].startswith("app: nothing")


def test_a_timer_of_systemd_needs_nobody_who_waits() -> None:
    hosts = begun()
    asked = spec("office", BUSINESS)
    for name in applied(asked, hosts).touched:
        hosts[name].files[UNTIL_BY] = FileState(b"timer\n", 0o600, ROOT)
        del hosts[name].files[UNTIL_HEARTBEAT]
    units = dict.fromkeys(("crossnet.service", "crossnet-rules.service", "crossnet-until.timer"), True)
    facts = {name: replace(one, units=units) for name, one in at(hosts, NOW).items()}
    assert make_plan(asked, facts).touched == ()
    stopped = {
        name: replace(one, units={**units, "crossnet-until.timer": False}) for name, one in facts.items()
    }
    assert {str(change.resource.key) for _, change in make_plan(asked, stopped).changes} == {
        "crossnet-until.timer"
    }


def test_what_a_host_is_given_says_for_which_record_it_is() -> None:
    hosts = begun()
    made = make_plan(spec("office", BUSINESS, STORAGE), at(hosts, NOW))
    gateway = next(host for host in made.hosts if host.host == "gateway")
    written = journal.new("0123abcd", "apply", made.touched)
    given = dict(lapses(written, gateway, lambda path: path))
    first, second = (f"until/{lapse.at}" for lapse in gateway.lapses)
    assert given["until/by"] == b"timer\n"
    after = hashlib.sha256(given[f"{first}/record.written"]).hexdigest()
    assert given[f"{second}/of"].decode().strip() == after != given[f"{first}/of"].decode().strip()
    assert f"{second}/record.written" in given
    assert given[f"{first}/said"] == b"the host itself\tuntil 2026-12-24T18:00:00Z\t\toffice/business\n"
    assert dict(lapses(written, replace(gateway, lapses=()), lambda path: path)) == {}


TIMES = st.sampled_from(["", f", until: {FIRST}", f", until: {SECOND}"])


@given(worlds(), specs(), st.lists(TIMES, min_size=3, max_size=3))
@settings(max_examples=80, deadline=None)
def test_whatever_is_over_the_rest_is_as_the_spec_says_and_an_undo_leaves_nothing(
    world: str, crossings: str, times: list[str]
) -> None:
    timed = zip(crossings.splitlines(), times, strict=False)
    lines = [f"{line.removesuffix('}')}{time}}}" for line, time in timed]
    hosts = begin(world)
    start = states(hosts)
    asked = spec_of("\n".join(lines) + "\n")
    try:
        made = applied(asked, hosts)
    except PlanRefused:
        assume(False)
        raise
    for when in (FIRST, SECOND):
        lapsed(made, hosts, when)
        left = make_plan(asked, at(hosts, when))
        for host in left.hosts:
            carries = {path.family for path in left.paths if path.gateway == host.host}
            carried = {path.family for path in made.paths if path.gateway == host.host}
            if carries == carried:
                assert host.host not in left.touched, when
    carry_out(make_undo_plan(asked, at(hosts, SECOND)), hosts)
    assert states(hosts) == start


@pytest.mark.parametrize("offset", [-61, 61])
def test_a_clock_that_differs_is_told(offset: int) -> None:
    hosts = begun()
    facts = {name: replace(one, ahead=offset) for name, one in at(hosts, NOW).items()}
    made = make_plan(spec("office", BUSINESS), facts)
    assert [one.where for one in made.impacts if one.code == "clock-differs"] == ["app", "gateway"]
    assert not [one for one in make_plan(spec("office", MAIL), facts).impacts if one.code == "clock-differs"]


def test_a_plan_that_was_saved_or_agreed_to_holds_while_a_clock_goes_on_being_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two looks differ by a second wherever it is measured in whole ones."""
    hosts, asked = begun(), spec("office", BUSINESS)

    def planned(ahead: int) -> Plan:
        facts = {name: replace(one, ahead=ahead) for name, one in at(hosts, NOW).items()}
        return told_opening(make_plan(asked, facts), facts)

    async def later(*_: object, **__: object) -> Plan:
        return planned(301)

    monkeypatch.setattr(api, "plan_in_turn", later)
    monkeypatch.setattr(savedplan, "parse", lambda *_: asked)
    savedplan.save(planned(300), tmp_path / "plan.json")
    assert (
        asyncio.run(savedplan.renew(savedplan.read(tmp_path / "plan.json"))).impacts == planned(301).impacts
    )
    assert says_the_same(planned(300), planned(301))
    assert says_the_same(planned(0), planned(301))
