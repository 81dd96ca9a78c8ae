"""Several specs over the same hosts: each changes what is its own, and the hosts have what all of them say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet import template
from crossnet.api import Applied, UndoPlan
from crossnet.drift import drifted
from crossnet.errors import PlanRefused
from crossnet.facts import Facts, FileState
from crossnet.joining import Joining, joining, out_of_reach
from crossnet.netfilter import Accept, Interface, Rule
from crossnet.opening import told_opening
from crossnet.planning import Plan, Undo, make_plan, make_undo_plan
from crossnet.record import APPLIED, read_record
from crossnet.resources import RuleTable
from crossnet.show.json import carried_data
from crossnet.show.standing import carried_text, forgotten_text
from crossnet.show.text import plan_text, undo_plan_text, undone_text
from crossnet.spec import HostSpec, Spec
from crossnet.specfile import parse
from crossnet.standing import Stamp, who
from crossnet.transaction.apply import Confirmed
from crossnet.verification.comparing import compared, read_back
from design.factsheet import facts_from, with_files
from planning.fakehost import FakeHost, Hosts, carry_out, facts_of, hosts_of, states
from planning.test_properties import HOSTS, WORLD, worlds

BUSINESS = "business: {from: app, via: gateway, to: 10.0.44.0/24}"
STORAGE = "storage: {from: [app, web], via: gateway, to: 10.0.45.0/24, allow: [tcp/2049]}"
OWN = Undo()
SIX = "six: {from: app, via: gateway, to: 'fd00:44::/64'}"


def spec(name: str, *crossings: str) -> Spec:
    lines = "".join(f"  {one}\n" for one in crossings)
    return parse(f"crossnet: 1\nhosts:\n{HOSTS}crossings:\n{lines}", f"{name}.yaml")


def begun() -> dict[str, FakeHost]:
    return hosts_of(facts_from(WORLD))


def applied(asked: Spec, hosts: Hosts) -> Plan:
    made = make_plan(asked, facts_of(hosts))
    carry_out(made, hosts)
    written = {name: read_record(one).crossings for name, one in facts_of(hosts).items()}
    assert written == {host.host: host.after.crossings for host in made.hosts}
    return made


def undone(asked: Spec, hosts: Hosts, what: Undo = OWN) -> Plan:
    made = make_undo_plan(asked, facts_of(hosts), what)
    carry_out(made, hosts)
    return made


def standing(hosts: Hosts, host: str = "gateway") -> list[str]:
    return [one.label for one in read_record(facts_of(hosts)[host]).crossings]


def admitted(hosts: Hosts) -> set[str]:
    """The crossings that the gateway's rules let through."""
    facts = facts_of(hosts)["gateway"]
    return {name for table in RuleTable.traces(facts) for name in table.crossings}


def without_records(hosts: Hosts) -> dict[str, tuple[object, ...]]:
    shorn = {
        name: replace(host, files={path: state for path, state in host.files.items() if path != APPLIED})
        for name, host in hosts.items()
    }
    return states(shorn)


def test_a_second_spec_leaves_the_crossings_of_the_first() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    second = applied(spec("backup", STORAGE), hosts)
    assert admitted(hosts) == {"office/business", "backup/storage"}
    assert standing(hosts) == standing(hosts, "app") == ["backup/storage", "office/business"]
    assert standing(hosts, "web") == ["backup/storage"]
    routes = {str(route.destination) for route in hosts["app"].routes}
    assert {"10.0.44.0/24", "10.0.45.0/24"} <= routes
    assert [change.action for host, change in second.changes if change.resource.kind == "table"] == ["change"]
    for again in (spec("office", BUSINESS), spec("backup", STORAGE)):
        assert make_plan(again, facts_of(hosts)).touched == ()


def test_what_another_spec_lost_on_a_host_of_its_own_stays_as_it_is() -> None:
    """Also where this spec names the host: nothing of it is repaired in part."""
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    for path in ("/etc/crossnet/routes", "/etc/crossnet/start"):
        del hosts["app"].files[path]
    backup = spec("backup", STORAGE.replace("[app, web]", "web"))
    assert "app" in [host.name for host in backup.hosts]
    assert "app" not in applied(backup, hosts).touched
    assert applied(spec("office", BUSINESS), hosts).touched == ("app",)


def test_undo_takes_back_its_own_spec_and_the_last_one_the_rest() -> None:
    hosts = begun()
    before = states(hosts)
    applied(spec("office", BUSINESS), hosts)
    alone = without_records(hosts)
    applied(spec("backup", STORAGE), hosts)
    undone(spec("backup", STORAGE), hosts)
    assert without_records(hosts) == alone
    undone(spec("backup", STORAGE), hosts)
    assert without_records(hosts) == alone
    undone(spec("office", BUSINESS), hosts)
    assert states(hosts) == before


def test_the_same_name_in_two_specs_is_two_crossings() -> None:
    hosts = begun()
    applied(spec("one", BUSINESS), hosts)
    applied(spec("two", "business: {from: web, via: gateway, to: 10.0.45.0/24}"), hosts)
    assert admitted(hosts) == {"one/business", "two/business"}
    undone(spec("one", BUSINESS), hosts)
    assert admitted(hosts) == {"two/business"}


def test_a_crossing_that_is_called_like_the_sets_of_another_has_sets_of_its_own() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    (table,) = RuleTable.traces(facts_of(hosts)["gateway"])
    (theirs,) = (one.name.removeprefix("from-") for one in table.table.sets if one.name.startswith("from-"))
    applied(spec("crossnet", STORAGE.replace("storage", theirs)), hosts)
    assert admitted(hosts) == {"office/business", theirs}


def test_the_same_need_under_another_spec_is_taken_over() -> None:
    """As where a file is renamed: the crossing stands under one name, and nothing opens or closes."""
    hosts = begun()
    applied(spec("old", BUSINESS.replace("}", ", fence: off}")), hosts)
    made = applied(spec("new", BUSINESS.replace("}", ", fence: on}")), hosts)
    assert admitted(hosts) == {"new/business"}
    assert standing(hosts) == standing(hosts, "app") == ["new/business"]
    assert any(
        impact.text.startswith("takes crossing business over from spec old") for impact in made.impacts
    )
    assert undone(spec("old", BUSINESS), hosts).touched == ()
    undone(spec("new", BUSINESS), hosts)
    assert states(hosts) == states(begun())


def test_what_two_specs_claim_differently_is_refused_as_within_one() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    with pytest.raises(PlanRefused) as refused:
        make_plan(
            spec("lab", BUSINESS.replace("}", ", translate: none}").replace("business", "b")), facts_of(hosts)
        )
    (told,) = refused.value.refusals
    assert (told.code, told.where) == ("crossings-overlap", "crossings lab/b and office/business")
    assert "out of `from`, `to` or `allow`" in told.todo
    assert "`name: office`, crossing `business`" in told.todo  # where a file and its crossing were renamed
    kept = read_record(facts_of(hosts)["gateway"]).stamped(
        Stamp("ann", "2026-11-28T09:00:00Z", "desk", "CHG9"), anew=True
    )
    files = {**hosts["gateway"].files, APPLIED: FileState(kept.to_json(), 0o600, "0:0")}
    hosts["gateway"] = replace(hosts["gateway"], files=files)
    with pytest.raises(PlanRefused) as refused:
        make_plan(
            spec("lab", BUSINESS.replace("}", ", translate: none}").replace("business", "b")), facts_of(hosts)
        )
    assert refused.value.refusals[0].message.endswith(
        "; office/business was applied by ann from desk at 2026-11-28T09:00:00Z (CHG9)"
    )


def test_a_crossing_that_was_renamed_and_is_planned_alone_needs_a_plan_of_all() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    renamed = spec("office", BUSINESS.replace("business", "b").replace("}", ", translate: none}"), STORAGE)
    with pytest.raises(PlanRefused) as refused:
        make_plan(renamed.only(["b"]), facts_of(hosts))
    (told,) = refused.value.refusals
    assert told.where == "crossings office/b and office/business"
    assert "leave out --crossing and --host" in told.todo
    applied(renamed, hosts)
    assert admitted(hosts) == {"office/b", "office/storage"}


def test_another_way_of_a_client_to_what_another_spec_leads_elsewhere_is_refused() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    away = parse(
        "crossnet: 1\nhosts: {a: {lab: app}, o: {lab: other}}\n"
        "crossings: {way: {from: a, via: o, to: 10.0.44.0/24}}\n",
        "away.yaml",
    )
    facts = facts_from(WORLD.replace("eth0 10.0.46.63/24", "eth0 10.0.44.64/24"))
    hosts["other"] = FakeHost.of(facts["other"])
    mine = {"a": replace(facts_of(hosts)["app"], host="a"), "o": replace(facts_of(hosts)["other"], host="o")}
    with pytest.raises(PlanRefused) as refused:
        make_plan(away, mine)
    assert "crossings-overlap" in [one.code for one in refused.value.refusals]


def test_a_fence_that_another_spec_asks_for_otherwise_is_refused() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS.replace("}", ", fence: on}")), hosts)
    with pytest.raises(PlanRefused) as refused:
        make_plan(spec("backup", STORAGE.replace("}", ", fence: off}")), facts_of(hosts))
    assert [one.code for one in refused.value.refusals] == ["settings-differ"]


def test_nobody_takes_away_the_fence_with_which_the_crossing_of_another_came() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    stamped(hosts)
    opens = spec("backup", STORAGE.replace("}", ", fence: off}"))
    with pytest.raises(PlanRefused) as refused:
        make_plan(opens, facts_of(hosts))
    (told,) = refused.value.refusals
    assert (told.code, told.where) == ("settings-differ", "crossings backup/storage and office/business")
    assert (
        "without the fence it is open for everybody; office/business was applied by ops from desk"
        in told.message
    )
    applied(spec("office", BUSINESS.replace("}", ", fence: off}")), hosts)
    applied(opens, hosts)
    assert standing(hosts) == ["backup/storage", "office/business"]
    # One setting is that of both families: a crossing of one takes away the fence of the other.
    half = begun()
    half["gateway"].sysctls["net.ipv6.conf.all.forwarding"] = "1"
    applied(spec("office", BUSINESS), half)
    with pytest.raises(PlanRefused, match="it did not forward IPv4 before"):
        make_plan(spec("backup", SIX.replace("}", ", fence: off}")), facts_of(half))
    other = begun()
    other["gateway"].sysctls["net.ipv6.conf.all.forwarding"] = "1"
    applied(spec("office", SIX), other)
    applied(spec("backup", STORAGE.replace("}", ", fence: off}")), other)
    # Of a gateway that forwarded before, `auto` is no fence either.
    open_hosts = begun()
    open_hosts["gateway"].sysctls["net.ipv4.ip_forward"] = "1"
    applied(spec("office", BUSINESS), open_hosts)
    applied(opens, open_hosts)


def test_one_crossing_is_taken_back() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS, STORAGE), hosts)
    undone(spec("office", BUSINESS, STORAGE), hosts, Undo(crossing="storage"))
    assert admitted(hosts) == {"office/business"}
    assert standing(hosts, "web") == []
    assert APPLIED not in hosts["web"].files
    alone = begun()
    applied(spec("office", BUSINESS), alone)
    assert without_records(hosts) == without_records(alone)


def test_one_client_is_taken_back() -> None:
    hosts = begun()
    applied(spec("office", STORAGE), hosts)
    undone(spec("office", STORAGE), hosts, Undo(host="web"))
    alone = begun()
    applied(spec("office", STORAGE.replace("[app, web]", "app")), alone)
    assert without_records(hosts) == without_records(alone)
    assert APPLIED not in hosts["web"].files


def test_with_a_client_go_the_policy_rules_that_were_for_it_alone() -> None:
    sheet = WORLD.replace(
        "  eth2.7 10.0.45.63/24\n",
        "  eth2.7 10.0.45.63/24\n  rule 90: from 10.0.43.0/24 lookup 7\n"
        "  route default via 10.0.44.1 dev eth0 table 7\n",
    )
    found = dict(facts_from(sheet))
    office = spec("office", STORAGE.replace("}", ", egress: eth2.7}"))
    made = make_plan(office, {name: found[name] for name in ("app", "web", "gateway")})
    (kept,) = (host.after for host in made.hosts if host.host == "gateway")
    rules = tuple(rule for one in kept.owned for rule in one.applied.policy_rules)
    assert sorted(str(rule.source) for rule in rules) == ["10.0.43.15/32", "10.0.43.16/32"]
    there = with_files(found["gateway"], {APPLIED: FileState(kept.to_json(), 0o600, "0:0")})
    found["gateway"] = replace(there, policy_rules=(*there.policy_rules, *rules))
    back = make_undo_plan(office, {name: found[name] for name in ("app", "web", "gateway")}, Undo(host="web"))
    gone = [
        change.have for _, change in back.changes if change.resource.kind == "ip-rule" and change.want is None
    ]
    assert [str(rule.source) for one in gone if one for rule in one.policy_rules] == ["10.0.43.16/32"]


def test_that_nothing_is_kept_for_the_next_boot_any_more_is_told_though_nothing_else_changes() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    made = make_plan(spec("office", BUSINESS.replace("}", ", persist: none}")), facts_of(hosts))
    assert all(change.resource.is_persistent for _, change in made.changes)
    shown = " ".join(plan_text(made).split())
    assert "lost at the next reboot, as `persist: none` asks for [not-persistent]" in shown


def test_with_its_gateway_a_crossing_goes_everywhere() -> None:
    hosts = begun()
    before = states(hosts)
    applied(spec("office", BUSINESS, STORAGE), hosts)
    undone(spec("office", BUSINESS, STORAGE), hosts, Undo(host="gateway"))
    assert states(hosts) == before


def test_all_is_the_crossings_of_every_spec() -> None:
    hosts = begun()
    before = states(hosts)
    applied(spec("office", BUSINESS), hosts)
    applied(spec("backup", STORAGE), hosts)
    made = undone(spec("office", BUSINESS), hosts, Undo(all=True))
    assert states(hosts) == before
    assert any("backup/storage" in impact.text for impact in made.impacts)


def test_a_client_that_left_its_crossing_keeps_nothing() -> None:
    hosts = begun()
    applied(spec("office", STORAGE), hosts)
    applied(spec("office", STORAGE.replace("[app, web]", "app")), hosts)
    assert APPLIED not in hosts["web"].files
    assert "10.0.45.0/24" not in {str(route.destination) for route in hosts["web"].routes}


# ---- what is of others is neither judged nor taken -----------------------------------------------


def test_what_another_spec_lost_does_not_stop_mine() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    applied(spec("backup", STORAGE), hosts)
    lost = next(route for route in hosts["app"].routes if str(route.destination) == "10.0.45.0/24")
    hosts["app"].routes.remove(lost)
    changed = make_plan(spec("office", BUSINESS.replace("}", ", allow: icmp}")), facts_of(hosts))
    undo = make_undo_plan(spec("office", BUSINESS), facts_of(hosts))
    for made in (changed, undo):
        after = {name: FakeHost.of(one) for name, one in facts_of(hosts).items()}
        for name, host in hosts.items():
            after[name].nft, after[name].chains, after[name].jumps = (
                dict(host.nft),
                dict(host.chains),
                list(host.jumps),
            )
        carry_out(made, after)
        assert read_back(made, facts_of(after), live_only=False) == ()
    assert [line for line in compared(changed, facts_of(hosts)) if "10.0.45.0" in line] == []
    theirs = compared(make_plan(spec("backup", STORAGE), facts_of(hosts)), facts_of(hosts))
    assert any("10.0.45.0/24" in line for line in theirs)


def test_a_record_that_moved_makes_a_plan_stale_although_its_steps_are_the_same() -> None:
    hosts = begun()
    asked = spec("office", BUSINESS.replace("}", ", persist: none}"))
    then = make_plan(asked, facts_of(hosts))
    applied(spec("elsewhere", "away: {from: app, via: other, to: 10.0.46.0/24, persist: none}"), hosts)
    now = make_plan(asked, facts_of(hosts))
    app = {host.host: host for host in now.hosts}["app"]
    assert not app.before.same_as({host.host: host for host in then.hosts}["app"].before)
    assert [one.label for one in app.after.crossings] == ["elsewhere/away", "office/business"]


def test_a_spec_that_wants_nothing_for_the_next_boot_leaves_what_others_have_there() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    kept = hosts["app"].files["/etc/crossnet/routes"].data
    applied(spec("elsewhere", "away: {from: app, via: other, to: 10.0.46.0/24, persist: none}"), hosts)
    assert b"10.0.44.0/24" in kept
    assert hosts["app"].files["/etc/crossnet/routes"].data == kept
    with pytest.raises(PlanRefused) as refused:
        make_plan(spec("backup", STORAGE.replace("}", ", persist: none}")), facts_of(hosts))
    assert [one.code for one in refused.value.refusals] == ["settings-differ"]


def ssh_spec(name: str, client: str, crossing: str = "business", at: str = "10.0.43.15") -> Spec:
    return parse(
        f"crossnet: 1\nhosts: {{{client}: {{ssh: root@{at}}}, gateway: {{ssh: root@10.0.43.101}}}}\n"
        f"crossings: {{{crossing}: {{from: {client}, via: gateway, to: 10.0.44.0/24}}}}\n",
        f"{name}.yaml",
    )


def test_another_machine_of_the_same_name_is_another_host() -> None:
    hosts = begun()
    before = {name: hosts[name] for name in ("app", "gateway")}
    applied(ssh_spec("office", "app"), before)
    again = ssh_spec("office", "app", at="10.0.43.16")
    facts = {"app": replace(facts_of(hosts)["web"], host="app"), "gateway": facts_of(hosts)["gateway"]}
    assert [(one.host.name, one.host.ssh) for one in joining(again, facts)] == [
        ("app (root@10.0.43.15)", "root@10.0.43.15")
    ]
    # The same need of another machine of that name is not the same need.
    with pytest.raises(PlanRefused):
        make_plan(ssh_spec("lab", "app", at="10.0.43.99"), {**facts_of(before)})


def test_another_host_is_changed_where_its_own_record_knows_who_names_it() -> None:
    hosts = begun()
    applied(ssh_spec("office", "app"), {name: hosts[name] for name in ("app", "gateway")})
    asked = replace(ssh_spec("office", "app"), crossings=())
    left = replace(asked, hosts=tuple(host for host in asked.hosts if host.name == "gateway"))
    facts = facts_of(hosts)
    (found,) = joining(left, {"gateway": facts["gateway"]})
    assert found.host.ssh == "root@10.0.43.15"
    for ssh, known in (("root@10.0.43.101", True), ("ops@10.0.43.101", True), ("gw", False)):
        assert found.is_confirmed(facts["app"], {"gateway": HostSpec("gateway", ssh=ssh)}) is known
    # By other words it is the same one where what its record names is the same machine.
    assert [(name, host.ssh) for name, host in found.partners(facts["app"])] == [
        ("gateway", "root@10.0.43.101")
    ]
    assert not found.is_confirmed(facts["web"], {host.name: host for host in left.hosts})
    assert list(found.partners(facts["web"])) == []
    # One that another version wrote is refused with its reason, and nothing is changed; of one that is lost what is
    # made anew would be another spec's too.
    for record, refused in ((b'{"format": 99}', True), (b"{", False)):
        broken = {**facts["app"].files, APPLIED: FileState(record, 0o600, "0:0")}
        assert found.is_confirmed(replace(facts["app"], files=broken), {}) is refused


def test_a_client_that_leaves_another_specs_crossing_does_not_end_it() -> None:
    hosts = begun()
    applied(spec("office", STORAGE), hosts)
    made = make_undo_plan(spec("backup", BUSINESS), facts_of(hosts), Undo(all=True, host="web"))
    told = {one.where: one.text for one in made.impacts if one.code == "ends-crossing"}
    assert told == {"web": "is taken out of crossing office/storage, of another spec"}


def test_of_a_host_without_its_record_nothing_is_promised_to_go() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS.replace("}", ", persist: none}")), hosts)
    del hosts["app"].files[APPLIED]
    told = carried_text({"app": read_record(facts_of(hosts)["app"])})
    assert "for which crossing is not known: route 10.0.44.0/24" in told
    assert "what the last one left" not in told


def test_who_only_lists_a_host_takes_nothing_of_others_there_when_its_record_is_lost() -> None:
    hosts = begun()
    applied(spec("theirs", "far: {from: web, via: other, to: 10.0.46.0/24}"), hosts)
    del hosts["other"].files[APPLIED]
    facts = facts_of(hosts)
    mine = spec("mine", BUSINESS)
    made = told_opening(make_plan(mine, facts), facts)
    assert made.touched == ("gateway", "app")
    assert not any(one.where == "other" for one in made.impacts)
    assert {str(one.effect) for one in made.opening or () if one.gateway == "other"} == {"stays"}
    assert make_undo_plan(mine, facts).touched == ()
    # Whoever needs it, or takes back everything, has it made anew.
    assert (
        "other" in make_plan(spec("theirs", "far: {from: web, via: other, to: 10.0.46.0/24}"), facts).touched
    )
    assert "other" in make_undo_plan(mine, facts, Undo(all=True)).touched


def test_what_is_local_to_two_people_is_two_hosts() -> None:
    hosts = begun()

    def of(name: str, machine: str) -> Plan:
        asked = parse(
            "crossnet: 1\nhosts: {desk: {local: true}, gateway: {ssh: root@10.0.43.101}}\n"
            "crossings: {business: {from: desk, via: gateway, to: 10.0.44.0/24}}\n",
            f"{name}.yaml",
        )
        there = {"desk": hosts[machine], "gateway": hosts["gateway"]}
        facts = {host: replace(one, host=host) for host, one in facts_of(there).items()}
        made = make_plan(asked, facts)
        carry_out(made, there)
        for host in made.hosts:
            record = host.after.stamped(Stamp(name, "2026-11-28T09:00:00Z", f"{name}s-laptop"), anew=True)
            there[host.host].files[APPLIED] = FileState(record.to_json(), 0o600, "0:0")
        return made

    of("ann", "app")
    made = of("bob", "web")
    assert standing(hosts) == ["ann/business", "bob/business"]
    assert not any(impact.code == "crossing-passes" for impact in made.impacts)


def applied_from(source: str, hosts: Hosts, client: str, gateway: str) -> None:
    """A spec with one client, `web`, carried out and recorded as from that machine."""
    asked = parse(
        f"crossnet: 1\nhosts: {{web: {{{client}}}, gateway: {{{gateway}}}}}\n"
        "crossings: {business: {from: web, via: gateway, to: 10.0.44.0/24}}\n",
        "office.yaml",
    )
    made = make_plan(asked, facts_of(hosts))
    carry_out(made, hosts)
    for host in made.hosts:
        record = host.after.stamped(Stamp("ops", "2026-11-28T09:00:00Z", source), anew=True)
        hosts[host.host].files[APPLIED] = FileState(record.to_json(), 0o600, "0:0")


def test_a_client_that_only_another_machine_reaches_is_told() -> None:
    hosts = begun()
    applied_from(
        "webs", {name: hosts[name] for name in ("web", "gateway")}, "local: true", "ssh: root@10.0.43.101"
    )
    facts = {name: facts_of(hosts)[name] for name in ("app", "gateway")}
    assert joining(ssh_spec("office", "app"), facts) == ()
    (why,) = out_of_reach(ssh_spec("office", "app"), facts).values()
    assert why == (
        "is local of webs, and cannot be asked from here: `crossnet undo` there takes back what it keeps of "
        "office/business"
    )
    # Asked in another way it is not out of reach.
    facts["web"] = facts_of(hosts)["web"]
    assert out_of_reach(ssh_spec("office", "web", at="10.0.43.16"), facts) == {}


def test_a_record_that_leads_to_the_gateway_from_another_machine_alone_is_not_said_to_know_nothing() -> None:
    hosts = begun()
    there = {name: hosts[name] for name in ("web", "gateway")}
    applied_from("gws", there, "ssh: root@10.0.43.16", "local: true")
    facts = {name: facts_of(hosts)[name] for name in ("app", "gateway", "web")}
    (found,) = joining(ssh_spec("office", "app"), {name: facts[name] for name in ("app", "gateway")})
    assert not found.is_confirmed(facts["web"], {})
    assert found.why_not(facts["web"]) == "its own names that host in a way that leads there from gws alone"
    assert found.why_not(facts["app"]) == "its own does not know that host"


def test_who_is_local_to_himself_names_his_gateway_all_the_same() -> None:
    hosts = begun()
    there = {name: hosts[name] for name in ("web", "gateway")}
    applied_from("webs", there, "local: true", "ssh: root@10.0.43.101")
    found = Joining(HostSpec("web", ssh="root@10.0.43.16"), frozenset((("gateway", "office/business"),)))
    facts = facts_of(hosts)["web"]
    assert found.why_not(facts) == "its own does not know that host"
    assert found.is_confirmed(facts, {"gateway": HostSpec("gateway", ssh="root@10.0.43.101")})


def test_who_is_named_to_undo_all_is_the_machine_whatever_others_call_it() -> None:
    hosts = begun()

    def asked(name: str, at: str, gateway: str, crossing: str, to: str) -> Spec:
        return parse(
            f"crossnet: 1\nhosts: {{web: {{ssh: root@{at}}}, {gateway}: {{ssh: root@10.0.43.101}}}}\n"
            f"crossings: {{{crossing}: {{from: web, via: {gateway}, to: {to}}}}}\n",
            f"{name}.yaml",
        )

    def facts(**names: str) -> dict[str, Facts]:
        found = facts_of(hosts)
        return {name: replace(found[machine], host=name) for name, machine in names.items()}

    office = asked("office", "10.0.43.15", "gateway", "business", "10.0.44.0/24")
    backup = asked("backup", "10.0.43.16", "gw", "store", "10.0.45.0/24")
    carry_out(make_plan(office, facts(web="app", gateway="gateway")), {**hosts, "web": hosts["app"]})
    carry_out(make_plan(backup, facts(web="web", gw="gateway")), {**hosts, "gw": hosts["gateway"]})
    there = facts(web="app", gateway="gateway")
    (other,) = joining(office, there, every_spec=True)
    wide = replace(office, hosts=(*office.hosts, other.host))
    there |= {other.host.name: replace(facts_of(hosts)["web"], host=other.host.name)}

    def ended(host: str) -> set[str]:
        return {one.label for one in make_undo_plan(wide, there, Undo(all=True, host=host)).ended}

    assert ended("web") == {"office/business"}
    assert ended(other.host.name) == {"backup/store"}
    assert ended("gateway") == {"office/business", "backup/store"}
    # Reached by another word than when it was applied it is the same, by its own record or without that.
    wide = replace(
        wide,
        hosts=tuple(replace(one, ssh="by-another-word") if one.name == "web" else one for one in wide.hosts),
    )
    assert ended("web") == {"office/business"}
    del hosts["app"].files[APPLIED]
    there["web"] = replace(facts_of(hosts)["app"], host="web")
    assert ended("web") == {"office/business"}


def test_a_new_crossing_is_not_taken_over_from_one_of_which_only_the_name_is_known() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    for name in ("gateway", "app"):
        del hosts[name].files[APPLIED]
    applied(spec("backup", STORAGE.replace("storage", "business")), hosts)
    (found,) = read_record(facts_of(hosts)["gateway"]).crossings
    assert (found.label, found.taken_from) == ("backup/business", "")


def test_what_an_undo_could_not_write_is_written_by_the_next_one() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    applied(spec("backup", STORAGE), hosts)
    old = hosts["app"].files["/etc/crossnet/routes"]
    undone(spec("backup", STORAGE), hosts)
    hosts["app"].files["/etc/crossnet/routes"] = (
        old  # it could not be written; the record knows it as it should be
    )
    assert make_undo_plan(spec("backup", STORAGE), facts_of(hosts)).touched == ("app",)


def test_a_part_of_a_spec_asks_no_host_of_the_rest() -> None:
    hosts = begun()
    one = replace(ssh_spec("crossnet", "app"), is_whole=False)
    applied(one, {name: hosts[name] for name in ("app", "gateway")})
    other = replace(ssh_spec("crossnet", "web", "second", "10.0.43.16"), is_whole=False)
    facts = {name: facts_of(hosts)[name] for name in ("web", "gateway")}
    assert joining(other, facts) == ()
    assert [one.host.name for one in joining(replace(other, is_whole=True), facts)] == ["app"]


def test_what_is_connected_adds_to_what_stands_whoever_comes_next() -> None:
    def connected(client: str, to: str) -> Spec:
        return parse(template.alone(template.Need((f"root@{client}",), "root@gateway", (to,))), "")

    hosts = begun()
    before = states(hosts)
    first, second = connected("app", "10.0.44.0/24"), connected("web", "10.0.45.0/24")
    for one, names in ((first, ("app", "gateway")), (second, ("web", "gateway"))):
        here = {name: hosts[name] for name in names}
        applied(one, here)
        hosts |= here
        assert joining(one, facts_of(here)) == ()
    # The spec that `crossnet.yaml` of somebody is whose file says no name.
    applied(spec("crossnet", "six: {from: app, via: gateway, to: 'fd00:44::/64'}"), hosts)
    labels = {"six", "app-to-10.0.44.0-24/app-to-10.0.44.0-24", "web-to-10.0.45.0-24/web-to-10.0.45.0-24"}
    assert admitted(hosts) == labels
    undone(first, hosts)
    assert admitted(hosts) == labels - {"app-to-10.0.44.0-24/app-to-10.0.44.0-24"}
    undone(second, hosts)
    undone(spec("crossnet", SIX), hosts)
    assert states(hosts) == before


def test_what_is_connected_gets_another_name_by_an_option_and_not_in_a_file() -> None:
    def connected(file: str, allow: str) -> Spec:
        need = template.Need(("root@app",), "root@gateway", ("10.0.44.0/24",), allow=(allow,))
        return parse(template.alone(need), file)

    hosts = {name: host for name, host in begun().items() if name in ("app", "gateway")}
    first = connected("", "tcp/443")
    for host in applied(first, hosts).hosts:
        record = host.after.stamped(Stamp("ann", "2026-11-28T09:00:00Z", "desk"), anew=True)
        hosts[host.host].files[APPLIED] = FileState(record.to_json(), 0o600, "0:0")
    for file, name in (("", "`--name`"), ("mine.yaml", "`name:`")):
        made = make_plan(connected(file, "tcp/22"), facts_of(hosts))
        (said,) = (one.text for one in made.impacts if one.code == "changes-crossing")
        assert said.endswith(f"both specs are called {first.name}: give yours a {name} of its own")


def test_an_undo_says_from_whom_its_crossing_was_taken_over() -> None:
    hosts = begun()
    user, _, machine = who().rpartition("@")
    ann = Stamp("ann", "2026-11-28T09:00:00Z", machine, "CHG1")
    mine = Stamp(user, "2026-11-28T10:00:00Z", machine)

    def stamped(made: Plan, stamp: Stamp) -> None:
        for host in made.hosts:
            kept = host.after.stamped(stamp)
            files = {**hosts[host.host].files, APPLIED: FileState(kept.to_json(), 0o600, "0:0")}
            hosts[host.host] = replace(hosts[host.host], files=files)

    def told(what: Plan) -> set[str]:
        return {one.text for one in what.impacts if one.code == "ends-crossing"}

    first = make_plan(spec("ann", BUSINESS), facts_of(hosts))
    carry_out(first, hosts)
    stamped(first, ann)
    undo = make_undo_plan(spec("ann", BUSINESS), facts_of(hosts))
    whose = f"applied by ann from {machine} at 2026-11-28T09:00:00Z (CHG1)"
    assert told(undo) == {f"ends crossing ann/business, {whose}"}
    second = make_plan(spec("bob", BUSINESS), facts_of(hosts))
    carry_out(second, hosts)
    stamped(second, mine)
    assert make_plan(spec("bob", BUSINESS), facts_of(hosts)).touched == ()
    undo = make_undo_plan(spec("bob", BUSINESS), facts_of(hosts))
    assert told(undo) == {f"ends crossing bob/business, taken over from spec ann, {whose}"}
    # It is remembered as long as the crossing stands, whatever is changed in it.
    stamped(applied(spec("bob", BUSINESS.replace("}", ", allow: icmp}")), hosts), mine)
    undo = make_undo_plan(spec("bob", BUSINESS), facts_of(hosts))
    assert told(undo) == {f"ends crossing bob/business, taken over from spec ann, {whose}"}


def test_a_plan_says_whose_crossings_it_ends() -> None:
    hosts = begun()
    office = spec("office", BUSINESS, STORAGE)
    made = make_plan(office, facts_of(hosts))
    carry_out(made, hosts)
    user, _, machine = who().rpartition("@")

    def told(stamp: Stamp) -> list[str]:
        for host in made.hosts:
            kept = host.after.stamped(stamp)
            files = {**hosts[host.host].files, APPLIED: FileState(kept.to_json(), 0o600, "0:0")}
            hosts[host.host] = replace(hosts[host.host], files=files)
        next_one = make_plan(spec("office", STORAGE.replace("[app, web]", "app")), facts_of(hosts))
        return [one.text for one in next_one.impacts if one.code == "ends-crossing" and one.where != "app"]

    when = "2026-11-28T09:00:00Z"
    by = f"applied by {user} from {machine} at {when}"
    assert told(Stamp(user, when, machine)) == [
        f"is taken out of crossing office/storage, {by}",
        f"ends crossing office/business, {by}: this spec has no crossing of that name",
    ]
    for other, machines in (("ann", machine), (user, "desk")):
        by = f"applied by {other} from {machines} at {when} (CHG1)"
        warned = ". If that was another file, both specs are called office: give yours a `name:` of its own"
        assert told(Stamp(other, when, machines, "CHG1")) == [
            f"is taken out of crossing office/storage, {by}{warned}",
            f"ends crossing office/business, {by}: this spec has no crossing of that name{warned}",
        ]


def test_a_plan_says_whose_crossing_it_changes() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    stamped(hosts)
    assert not any(
        one.code == "changes-crossing" for one in make_plan(spec("office", BUSINESS), facts_of(hosts)).impacts
    )
    narrower = make_plan(spec("office", BUSINESS.replace("}", ", allow: [tcp/443]}")), facts_of(hosts))
    (told,) = (one for one in narrower.impacts if one.code == "changes-crossing")
    by = "applied by ops from desk at 2026-11-28T09:00:00Z (CHG0012345)"
    assert (told.where, told.text) == (
        "gateway",
        f"changes crossing office/business, {by}. If that was another file, both specs are called office: give yours a "
        "`name:` of its own",
    )
    assert "[changes-crossing]" in plan_text(narrower)
    mine = begun()
    applied(spec("office", BUSINESS), mine)
    again = make_plan(spec("office", BUSINESS.replace("}", ", allow: [tcp/443]}")), facts_of(mine))
    assert not any(one.code == "changes-crossing" for one in again.impacts)


def test_with_all_only_what_stands_on_the_named_hosts_goes() -> None:
    what = Undo(all=True, among=frozenset({"office/business"}))
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    applied(spec("backup", STORAGE), hosts)
    undone(spec("office", BUSINESS), hosts, what)
    assert standing(hosts) == ["backup/storage"]


SPECS = st.sampled_from(
    [
        spec("office", BUSINESS),
        spec("office", BUSINESS.replace("app", "[app, web]"), SIX),
        spec("backup", STORAGE),
        spec("backup", STORAGE.replace("storage", "renamed")),
        spec("backup", STORAGE.replace("[app, web]", "web")),
        spec("crossnet", "ping: {from: web, via: gateway, to: 10.0.44.1, allow: icmp}"),
        spec("elsewhere", "away: {from: app, via: other, to: 10.0.46.0/24, translate: masquerade}"),
    ]
)


@given(worlds(), st.lists(st.tuples(st.sampled_from(["apply", "undo"]), SPECS), min_size=2, max_size=7))
@settings(max_examples=40, deadline=None)
def test_whatever_comes_first_the_hosts_have_what_the_standing_specs_say(
    world: str, steps: list[tuple[str, Spec]]
) -> None:
    hosts = hosts_of(facts_from(world))
    before = states(hosts)
    stand: dict[str, Spec] = {}
    for what, asked in steps:
        if what == "undo":
            undone(asked, hosts)
            stand.pop(asked.name, None)
            continue
        try:
            applied(asked, hosts)
        except PlanRefused:
            continue
        stand[asked.name] = asked
    names = {f"{one.name}/{each.name}" for one in stand.values() for each in one.crossings}
    assert {
        f"{each.spec}/{each.crossing}"
        for host in hosts
        for each in read_record(facts_of(hosts)[host]).crossings
    } <= names
    fresh = hosts_of(facts_from(world))
    for name in sorted(stand):
        applied(stand[name], fresh)
    assert without_records(hosts) == without_records(fresh)
    for asked in stand.values():
        undone(asked, hosts)
    assert states(hosts) == before


def test_a_plan_opens_and_closes_for_its_own_spec_only() -> None:
    """What the other spec's crossings let pass stays, in their own words, and is told as kept."""
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    facts = facts_of(hosts)
    made = told_opening(make_plan(spec("backup", STORAGE), facts), facts)
    assert [(each.effect, each.crossing, each.clients, each.to) for each in made.opening or ()] == [
        ("opens", "backup/storage", ("app 10.0.43.15", "web 10.0.43.16"), ("10.0.45.0/24",)),
        ("stays", "office/business", ("app 10.0.43.15",), ("10.0.44.0/24",)),
    ]
    shown = plan_text(made)
    assert "  crossing business of spec office, applied by" in shown
    assert "  stays" not in shown
    carry_out(made, hosts)
    facts = facts_of(hosts)
    back = told_opening(make_undo_plan(spec("backup", STORAGE), facts, OWN), facts)
    assert [(each.effect, each.crossing, each.traffic) for each in back.opening or ()] == [
        ("closes", "backup/storage", "tcp/2049"),
        ("stays", "office/business", "any traffic"),
    ]
    assert "closes  app 10.0.43.15, web 10.0.43.16 → 10.0.45.0/24: tcp/2049" in " ".join(
        plan_text(back).split(" ")
    )


# ---- what is told of them ------------------------------------------------------------------------


def stamped(hosts: Hosts) -> None:
    """The records as a transaction leaves them: with who applied it."""
    for name, host in hosts.items():
        record = read_record(facts_of(hosts)[name])
        if not record.is_empty:
            stamp = Stamp("ops", "2026-11-28T09:00:00Z", "desk", "CHG0012345")
            host.files[APPLIED] = replace(host.files[APPLIED], data=record.stamped(stamp).to_json())


def test_what_stays_is_told_with_who_applied_it() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    stamped(hosts)
    told = plan_text(make_plan(spec("backup", STORAGE), facts_of(hosts)))
    kept = "crossing business of spec office, applied by ops from desk, 2026-11-28T09:00:00Z: CHG0012345"
    assert f"what is kept\n  {kept}\n" in told
    applied(spec("backup", STORAGE), hosts)
    stamped(hosts)
    made = make_undo_plan(spec("backup", STORAGE), facts_of(hosts))
    assert f"what is kept\n  {kept}\n" in plan_text(made)
    said = undone_text(Applied(made, Confirmed("1234abcd", made), None))
    assert said.startswith("Undone. Every host was read again, and still there: crossing business of spec")
    nothing = make_undo_plan(spec("nobody", BUSINESS), facts_of(hosts))
    assert nothing.touched == ()
    assert "is not from spec nobody: crossing storage of spec backup" in undone_text(
        Applied(nothing, None, None)
    )


def test_what_an_undo_could_not_remove_is_left_to_a_command_that_removes_no_more() -> None:
    hosts, asked = begun(), spec("office", BUSINESS, STORAGE)
    applied(asked, hosts)

    def told(what: Undo) -> list[str]:
        made = make_undo_plan(asked, facts_of(hosts), what)
        done = Applied(made, Confirmed("1234abcd", made, ("gateway: file /etc/x: read-only",)), None)
        return undone_text(done, what).splitlines()

    general = "When that is fixed, the next apply or undo of a spec with that host removes it."
    part = told(Undo(crossing="business"))
    still = "some of it stays for the next boot, and still there: crossing storage of spec office"
    assert (part[0], part[-1]) == (f"Undone, but {still}.", general)
    # A spec does not name every host of the others, and one that is given up is not to be asked.
    assert told(Undo(all=True))[-1] == told(Undo(host="web", forgotten=True))[-1] == general
    whole = "Run `crossnet undo` again when that is fixed."
    assert told(OWN)[-1] == whole
    asked = spec("office", BUSINESS)
    applied(asked, hosts)
    assert told(Undo(crossing="business"))[-1] == whole
    applied(spec("backup", STORAGE), hosts)
    assert told(OWN)[-1] == whole
    assert told(OWN)[0].endswith("and still there: crossing storage of spec backup.")


def test_what_a_host_carries_is_told_by_the_host() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    applied(spec("backup", STORAGE), hosts)
    stamped(hosts)
    records = {name: read_record(one) for name, one in facts_of(hosts).items()}
    told = carried_text({name: records[name] for name in ("web", "other")})
    assert told == (
        "web\n"
        "  crossing storage of spec backup  (client)\n"
        "    web 10.0.43.16 → gateway eth1 10.0.43.101 ⇒ eth2.7, source 10.0.45.63 → 10.0.45.0/24: tcp/2049\n"
        "    applied by ops from desk, 2026-11-28T09:00:00Z: CHG0012345\n"
        "other: carries no crossing"
    )
    (gateway,) = carried_data({"gateway": records["gateway"]})["hosts"]
    assert [(one["spec"], one["role"], one["message"]) for one in gateway["crossings"]] == [
        ("backup", "gateway", "CHG0012345"),
        ("office", "gateway", "CHG0012345"),
    ]


def test_what_stays_on_a_host_that_is_forgotten_is_told() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS.replace("app", "web")), hosts)
    applied(spec("backup", STORAGE), hosts)
    others = {name: one for name, one in facts_of(hosts).items() if name != "web"}
    asked = spec("backup", STORAGE)
    without = replace(asked, hosts=tuple(host for host in asked.hosts if host.name != "web"))
    made = make_undo_plan(without, others, Undo(host="web"))
    assert "web" not in [host.host for host in made.hosts]
    told = forgotten_text(asked, "web", UndoPlan(made, {}))
    assert "office" not in told
    stays = "crossing storage of spec backup: its route to 10.0.45.0/24 via 10.0.43.101"
    assert f"{stays}, and what was written for its next boot\n" in told
    assert "Take web out of the spec" in told
    nothing = make_undo_plan(without, others, Undo(host="nobody"))
    assert forgotten_text(asked, "nobody", UndoPlan(nothing, {})) == ""


def test_of_a_gateway_that_is_forgotten_nothing_is_claimed() -> None:
    hosts = begun()
    asked = spec("office", BUSINESS)
    applied(asked, hosts)
    others = {name: one for name, one in facts_of(hosts).items() if name != "gateway"}
    without = replace(asked, hosts=tuple(host for host in asked.hosts if host.name != "gateway"))
    what = Undo(host="gateway", forgotten=True)
    made = told_opening(make_undo_plan(without, others, what), others)
    planned = " ".join(undo_plan_text(UndoPlan(made, {}, what)).split())
    assert "closes the way through gateway; what it lets through itself is not known" in planned
    said = undone_text(Applied(made, Confirmed("1234abcd", made), None), what)
    assert said.startswith("Undone. Every host but gateway was read again and is as it was before crossnet.")


@pytest.mark.parametrize("engine", ["nftables", "iptables"])
def test_a_record_from_an_older_backup_ends_no_crossing_without_a_word(engine: str) -> None:
    by = f", firewall: {engine}}}"
    office = spec("office", BUSINESS.replace("}", by))
    backup = spec("backup", STORAGE.replace("}", by))
    hosts = begun()
    applied(office, hosts)
    older = hosts["gateway"].files[APPLIED]
    applied(backup, hosts)
    hosts["gateway"].files[APPLIED] = older
    facts = facts_of(hosts)
    assert standing(hosts) == ["office/business", "backup/storage"]
    told = [line for each in drifted(facts["gateway"], read_record(facts["gateway"])) for line in each.lines]
    assert "it admits crossing backup/storage, which the host's record does not know" in told[0]
    assert not [line for line in told if "somebody put in" in line]
    again = make_plan(office, facts)
    assert [each.text for each in again.impacts if each.code == "ends-crossing"] == [
        "ends crossing backup/storage, of another spec: what it needs is not known. Apply spec backup again afterwards"
    ]
    # Whoever applies that one writes it into the record, and changes no rule.
    made = applied(backup, hosts)
    assert [change.resource.kind for _, change in made.changes if not change.resource.is_persistent] == []
    assert make_plan(office, facts_of(hosts)).touched == ()


def test_what_somebody_writes_into_the_rules_is_no_crossing() -> None:
    hosts = begun()
    applied(spec("office", BUSINESS), hosts)
    ((family, table),) = hosts["gateway"].nft.items()
    forward = table.chains[0]
    theirs = Rule((Interface("in", "eth1"), Interface("out", "eth0")), Accept(), "mine")
    chain = replace(forward, rules=(theirs, *forward.rules))
    hosts["gateway"].nft[family] = replace(table, chains=(chain, *table.chains[1:]))
    assert standing(hosts) == ["office/business"]
