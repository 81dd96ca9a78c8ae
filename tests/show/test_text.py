"""What people read and what programs read of the same values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from crossnet.api import Applied, Ended, UndoPlan
from crossnet.api import plan as planned
from crossnet.codes import CODES
from crossnet.design.flows import Effect, FlowChange
from crossnet.diagnosis.verifying import not_judged
from crossnet.errors import CommandFailed, CrossnetError, PlanRefused, Problem, Refusal, SpecError, StalePlan
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.managers import Manager
from crossnet.facts.neighbours import Neighbour
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route
from crossnet.health import CrossingStatus, State
from crossnet.lasting import Lasting
from crossnet.netfilter import Counter
from crossnet.planning import Plan, make_plan
from crossnet.record import Owned, Record
from crossnet.resources import Change, Command, File, Sysctl
from crossnet.show import json as as_json
from crossnet.show import text
from crossnet.show.opening import opening_lines
from crossnet.show.paint import Paint, marked, plain, printable
from crossnet.show.standing import carried_text
from crossnet.specfile import parse
from crossnet.transaction import journal
from crossnet.transaction.apply import Confirmed
from crossnet.transaction.rollback import differences
from crossnet.values import Family, Probe, network
from crossnet.verdict import Diagnosis, Half, Result, Verification
from crossnet.verification.counters import Counters
from design.factsheet import SEED, facts_from

SPEC = """crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24, persist: none}}
"""


@pytest.fixture
def plan() -> Plan:
    return make_plan(parse(SPEC, "crossnet.yaml"), facts_from(SEED))


REACHED = Diagnosis(
    crossing="business",
    client="app",
    source=IPv4Address("10.0.43.15"),
    probe=Probe.from_text("icmp/10.0.44.1"),
    result=Result.REACHABLE,
    forward=Half("delivered", evidence=("gateway: the crossing's rule counted 1 new flow",)),
    reply=Half("delivered"),
    demanded=True,
    counted=1,
    translated_to=IPv4Address("10.0.44.63"),
)
SILENT = replace(
    REACHED,
    result=Result.UNREACHABLE,
    forward=replace(REACHED.forward, disposition="exits-observed-area"),
    reply=Half(
        "undetermined", "destination-silent", "gateway let it pass towards 10.0.44.1; no reply came back"
    ),
    translated_to=None,
)


def status(state: State, *reasons: str) -> CrossingStatus:
    counters = Counters(Counter(3, 252), Counter(2, 168), Counter(5, 420))
    return CrossingStatus(
        "business", state, reasons, (counters, counters), "2026-01-02T03:04:05+00:00", "reachable"
    )


# ---- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("paint", [plain, marked])
def test_colour_changes_no_word(plan: Plan, paint: Paint) -> None:
    shown = printable(text.plan_text(plan, verbose=True, paint=paint))
    assert re.sub(r"\x1b\[\d+m", "", shown) == text.plan_text(plan, verbose=True)
    assert ("\x1b" in shown) is (paint is marked)


WIDE = """crossnet: 1
hosts: {%s, gateway: {lab: gateway}}
crossings: {business: {from: [%s], via: gateway, to: [%s], allow: [icmp, tcp/443]}}
"""


def wide(clients: int, destinations: int) -> Plan:
    """Equal clients and many destinations."""
    names = [f"app{number:02}" for number in range(1, clients + 1)]
    to = ", ".join(f"10.9.{number}.0/28" for number in range(destinations))
    spec = WIDE % (", ".join(f"{name}: {{lab: {name}}}" for name in names), ", ".join(names), to)
    sheet = "".join(f"{name}:\n  eth0 10.0.43.{number}/24\n" for number, name in enumerate(names, 1))
    sheet += "gateway:\n  eth1 10.0.43.101/24\n  eth0 10.0.44.63/24\n  route default via 10.0.44.1 dev eth0\n"
    return planned(parse(spec, "crossnet.yaml"), facts_from(sheet))


def test_what_a_plan_opens_fits_80_columns() -> None:
    _, _, opens = text.plan_text(wide(3, 3)).partition("  opens ")
    assert max(len(line) for line in opens.splitlines()) <= 80


def test_housekeeping_is_one_line_that_v_unfolds() -> None:
    made = wide(1, 1)
    shown, unfolded = text.plan_text(made), text.plan_text(made, verbose=True)
    assert "/etc/crossnet/" not in shown
    for host in made.hosts:
        kept = [change for change in host.changes if change.resource.is_persistent]
        assert f"  + {len(kept)} files and units for the next boot" in shown.splitlines()
        assert all(change.resource.key in unfolded for change in kept)
    assert "for the next boot" not in unfolded


def test_long_lists_are_short_in_text_and_whole_in_json() -> None:
    made = wide(1, 40)
    shown = text.plan_text(made)
    assert shown.count("  + route   10.9.") == text.MOST_ALIKE - 1
    assert f"  + route   and {40 - text.MOST_ALIKE + 1} more" in shown
    assert "10.9.0.0/28, 10.9.1.0/28, 10.9.2.0/28 and 37 more: icmp, tcp/443" in " ".join(shown.split())
    assert text.plan_text(made, verbose=True).count("  + route   10.9.") == 40
    data = as_json.plan_data(made)
    assert [len(opened["to"]) for opened in data["opening"]] == [40]
    changes = [change for host in data["hosts"] for change in host["changes"]]
    assert sum(change["kind"] == "route" for change in changes) == 40


def test_equal_clients_are_told_once() -> None:
    shown = text.plan_text(wide(20, 1)).splitlines()
    assert shown.count("app01, app02, app03 and 17 more") == 1
    assert sum("route   10.9.0.0/28" in line for line in shown) == 1
    opened = "  opens   app01 10.0.43.1, app02 10.0.43.2, app03 10.0.43.3 and 17 more →"
    assert opened in shown
    assert len(as_json.plan_data(wide(20, 1))["opening"][0]["from"]) == 20


def test_the_same_impact_of_many_hosts_is_told_once() -> None:
    facts = facts_from(SEED.replace("gateway:", "web:\n  eth0 10.0.43.16/24\ngateway:"))
    spec = SPEC.replace("{app: {lab: app}", "{app: {lab: app}, web: {lab: web}").replace(
        "from: app", "from: [app, web]"
    )
    shown = text.plan_text(planned(parse(spec, "crossnet.yaml"), facts))
    assert shown.count("[not-persistent]") == 1
    assert "  app, web, gateway: lost at the next reboot" in shown


def test_what_nobody_asked_for_is_not_said_to_be_nothing(plan: Plan) -> None:
    assert "opens" not in text.plan_text(plan)
    assert as_json.plan_data(plan)["opening"] is None


def test_everybody_is_told_in_few_words() -> None:
    def way(ingress: str, egress: str, **more: object) -> FlowChange:
        change = FlowChange(Effect.CLOSES, "gateway", Family.V4, ingress, egress, (), (), "any traffic")
        return replace(change, **more)  # type: ignore[arg-type]

    names = ("eth0", "eth1", "eth2")
    mesh = [way(one, other) for one in names for other in names if one != other]
    part = way("eth0", "docker0", to=("172.17.0.2",), traffic="tcp/80")
    some = way("eth1", "docker0", exact=False, certain=False)
    assert opening_lines([*mesh, way("docker0", "eth0"), part, some, way("br0", "br0")], 200) == [
        "  opens   nothing",
        "  closes  everybody between eth0, eth1 and eth2 of gateway: any IPv4 traffic",
        "          everybody from docker0 to eth0 of gateway: any IPv4 traffic",
        "          eth0 → docker0 of gateway: tcp/80 to 172.17.0.2",
        "          eth1 → docker0 of gateway: some IPv4 traffic; how much of it others let pass is unknown",
        "          traffic that bridge br0 of gateway carries: any IPv4 traffic",
    ]


@pytest.mark.parametrize("code", CODES.values(), ids=lambda code: code.name)
def test_each_code_is_explained_in_80_columns(code: object) -> None:
    shown = text.code_text(CODES[code.name])  # type: ignore[attr-defined]
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert all(title in shown for title in ("  means    ", "  seen by  ", "  do       "))
    assert shown.count("`") % 2 == 0


BEHIND = SEED.replace("app:", "app:\n  controller 10.0.44.200 at 10.0.43.15").replace(
    "gateway:", "gateway:\n  controller 10.0.44.200 at 10.0.44.63"
)


def test_what_touches_the_management_path_has_a_column_of_its_own_and_words() -> None:
    """crossnet works from an address in the destination: the client's new route takes over the way back."""
    made = make_plan(parse(SPEC, "crossnet.yaml"), facts_from(BEHIND))
    shown = text.plan_text(made).splitlines()
    assert "! + route   10.0.44.0/24 via 10.0.43.101 dev eth0" in shown
    assert "  + table   crossnet: 1 crossing, fence on" in shown
    place = shown.index("! touches the management path")
    assert " ".join(line.strip() for line in shown[place + 1 : place + 4]) == (
        "app: route 10.0.44.0/24 changes the path by which crossnet reaches app from 10.0.44.200; "
        "the guard on app puts the change back unless a new connection works  [touches-management-path]"
    )
    assert place < shown.index("what to know")
    assert "[touches-management-path]" not in "".join(shown[shown.index("what to know") :])


def test_mark_is_told_where_nothing_is_opened() -> None:
    made = make_plan(parse(SPEC, "crossnet.yaml"), facts_from(BEHIND))
    routes = replace(made, hosts=tuple(host for host in made.hosts if host.host == "app"))
    shown = text.plan_text(routes)
    assert "! touches the management path" in shown
    assert "what to know" not in shown


def test_no_mark_without_a_touch(plan: Plan) -> None:
    assert "!" not in text.plan_text(plan)


def test_summary_counts_and_agrees_in_number(plan: Plan) -> None:
    assert text.summary(plan) == "Plan: 2 to add, 1 to change, 0 to remove on 2 hosts."
    one = replace(plan, hosts=plan.hosts[:1])
    assert text.summary(one) == "Plan: 1 to add, 1 to change, 0 to remove on 1 host."
    assert text.summary(replace(plan, hosts=())) == "No changes."


def test_an_applied_plan_tells_its_evidence_and_its_transaction(plan: Plan) -> None:
    done = Applied(plan, Confirmed("0a1b2c3d", plan), Verification((REACHED,)))
    assert text.applied_text(done) == (
        "business: app 10.0.43.15 → icmp/10.0.44.1  REACHABLE\n"
        "  gateway: the crossing's rule counted 1 new flow\n"
        "read back: equal to the spec on every host\n"
        "\n"
        "Confirmed. Transaction 0a1b2c3d."
    )
    assert text.applied_text(Applied(plan, None, None)) == "No changes."
    silent = text.applied_text(Applied(plan, Confirmed("0a1b2c3d", plan), Verification((SILENT,))))
    assert silent.splitlines()[-4:] == [
        "Not proved end to end:",
        "  app → icmp/10.0.44.1: gateway let it pass towards 10.0.44.1; no reply came back",
        "It stays as it is. `crossnet verify` sends the probes again.",
        "Confirmed, not proved end to end. Transaction 0a1b2c3d.",
    ]
    unwritten = Applied(plan, Confirmed("0a1b2c3d", plan, ("gateway: disk full",)), None)
    assert "Not written for the next boot: gateway: disk full" in text.applied_text(unwritten)
    undone = text.undone_text(unwritten).splitlines()
    assert undone[0] == "Undone, but something of crossnet is still there for the next boot."
    assert undone[-2:] == [
        "Not removed from the next boot: gateway: disk full",
        "Run `crossnet undo` again when that is fixed.",
    ]


HOSTILE = "gateway: it failed\nConfirmed. All is well."


@pytest.mark.parametrize(
    "told",
    [
        lambda plan: text.applied_text(Applied(plan, Confirmed("0a1b2c3d", plan, (HOSTILE,)), None)),
        lambda plan: text.undone_text(Applied(plan, Confirmed("0a1b2c3d", plan, (HOSTILE,)), None)),
        lambda plan: text.applied_text(
            Applied(plan, Confirmed("0a1b2c3d", plan), Verification((not_judged("business", HOSTILE),)))
        ),
        lambda _: text.ended_text([Ended("0a1b2c3d", "apply business", True, (HOSTILE,))]),
        lambda _: text.ended_text([Ended("0a1b2c3d", "apply business", True, unproved=(HOSTILE,))]),
        lambda _: text.verification_text(Verification((REACHED,), (HOSTILE,))),
        lambda plan: str(_differing(plan)),
        lambda _: str(StalePlan("The plan is stale", [HOSTILE])),
        lambda _: carried_text({"web": Record((), (Owned(None, Sysctl(HOSTILE, "1")),))}),
    ],
    ids=[
        "apply",
        "undo",
        "not proved",
        "recover",
        "recover, not proved",
        "verify",
        "roll-back",
        "stale plan",
        "list",
    ],
)
def test_what_a_host_says_begins_no_line_of_ours(plan: Plan, told: Callable[[Plan], str]) -> None:
    said = told(plan)
    assert "it failed" in said
    assert not [line for line in said.splitlines() if re.match(r" {0,3}(Confirmed\. All|it failed)", line)]


def _differing(plan: Plan) -> str:
    """What a roll-back found that is not as before."""
    change = Change(None, File(HOSTILE, b""))
    facts = facts_from(SEED)
    return "\n  ".join(differences([("gateway", change.inverse())], facts))


def test_a_flow_that_does_not_pass_tells_code_and_cause() -> None:
    found = Verification((SILENT,), ("app: create route 10.0.44.0/24",))
    assert text.verification_text(found) == (
        "business: app 10.0.43.15 → icmp/10.0.44.1  UNREACHABLE\n"
        "  destination-silent: gateway let it pass towards 10.0.44.1; no reply came back\n"
        "  gateway: the crossing's rule counted 1 new flow\n"
        "read back: differs from the spec\n"
        "  app: create route 10.0.44.0/24\n"
        "`crossnet diagnose business` finds where it stops, and why"
    )


def test_a_host_that_was_not_reached_was_not_read_back() -> None:
    why = "gw2: tried to connect to root@10.0.0.1 port 22 with SSH: connection refused\n  Nothing listens there."
    found = Verification((REACHED, not_judged("other", why)), unreached=("gw2",))
    told = text.verification_text(found).splitlines()
    assert told[-3:] == [
        "  gw2: tried to connect to root@10.0.0.1 port 22 with SSH: connection refused",
        "    Nothing listens there.",
        "read back: equal to the spec on every host that was reached",
    ]


@pytest.mark.parametrize(
    ("verdicts", "differences", "result"),
    [
        ((REACHED,), (), Result.REACHABLE),
        ((REACHED, SILENT), (), Result.UNREACHABLE),
        ((REACHED, replace(REACHED, result=Result.UNDETERMINED)), (), Result.UNDETERMINED),
        ((REACHED,), ("app: create route",), Result.UNREACHABLE),
        ((), (), Result.UNDETERMINED),
    ],
)
def test_one_bad_flow_is_the_result(
    verdicts: tuple[Diagnosis, ...], differences: tuple[str, ...], result: Result
) -> None:
    found = Verification(verdicts, differences)
    assert found.result is result
    assert as_json.verification_data(found)["result"] == str(result)


def test_status_adds_up_the_families() -> None:
    shown = text.status_text([status(State.UP)])
    numbers = re.fullmatch(
        r"business  up +(\d+) .*, (\d+) .*, verified: reachable 2026-01-02T03:04:05.*", shown
    )
    assert numbers, shown
    assert numbers.groups() == ("6", "10")
    drifted = text.status_text([status(State.DRIFTED, "app: misses route x", "gateway: differs in table y")])
    assert drifted.splitlines()[1:] == ["  app: misses route x", "  gateway: differs in table y"]
    many = [f"app: route 10.9.{n}.0/24 was removed" for n in range(2000)]
    found = replace(status(State.DRIFTED, *many, "so nothing comes"), drift=tuple(many))
    _, *lines = text.status_text([found]).splitlines()
    assert lines == [f"  {line}" for line in many[:8]] + [
        "  … 1,992 more, 2,000 in all: --json has them",
        "  so nothing comes",
    ]
    never = replace(status(State.DOWN, "not applied"), verified=None, result=None, counters=())
    first, second = text.status_text([never]).splitlines()
    assert re.match(r"business  down .*verified: never", first)
    assert second == "  not applied"


def test_what_a_host_keeps_begins_no_line_of_a_status() -> None:
    said = "2026-01-02\ncloud  up  all is well"
    found = replace(
        status(State.DRIFTED, f"gateway: drifted {said}"),
        verified=said,
        lasting=(Lasting("gateway", File(f"/etc/{said}", b""), True, True, (), (), asked=True),),
    )
    for verbose in (True, False):
        lines = text.status_text([found], verbose=verbose).splitlines()
        assert not [line for line in lines[1:] if not line.startswith("  ")], lines


def test_what_a_record_names_begins_no_line_of_a_plan(plan: Plan) -> None:
    host = next(one for one in plan.hosts if one.changes)
    said = File("/etc/x\n\nNo changes.", b"")
    wrong = replace(host, changes=(Change(said, None),), adopted=(said,))
    for verbose in (True, False):
        shown = text.plan_text(replace(plan, hosts=(wrong,)), verbose=verbose)
        assert "No changes." not in shown.splitlines()


def test_states_of_any_length_stand_in_a_column() -> None:
    for states in (
        [State.UP, State.UNRECORDED],
        [State.UNRECORDED, State.DEGRADED],
        [State.UP, State.DRIFTED],
    ):
        lines = text.status_text([status(state) for state in states]).splitlines()
        assert len({line.index(" packets of new flows") for line in lines}) == 1


def test_an_undo_tells_what_was_left_unfinished(plan: Plan) -> None:
    live = [change for _, change in plan.live()]
    begun = journal.new("0a1b2c3d", "apply business", ("gateway",))
    entries = tuple(journal.entry(change) for change in live)
    left = replace(begun, entries=entries, who="ops@desk", started="2026-01-02T03:04:05Z", begun=2)
    empty = replace(plan, hosts=(), paths=(), impacts=())
    shown = text.undo_plan_text(UndoPlan(empty, {"gateway": left}))
    for word in ("gateway: transaction 0a1b2c3d", "ops@desk", "2026-01-02T03:04:05", "was not finished"):
        assert word in shown
    assert re.search(r"2 of (its )?3 changes are put back first", shown)


# ---- JSON ----------------------------------------------------------------------------------------


def test_every_document_begins_with_its_format() -> None:
    assert as_json.document({"x": "→"}).splitlines()[1:3] == ['  "format_version": "1.0",', '  "x": "→"']


def test_the_plan_of_json_is_the_plan_of_the_text(plan: Plan) -> None:
    data = json.loads(as_json.document(as_json.plan_data(plan)))
    changes = [change for host in data["hosts"] for change in host["changes"]]
    assert sorted(change["action"] for change in changes) == ["change", "create", "create"]
    for (_, change), told in zip(plan.changes, changes, strict=True):
        assert (told["kind"], told["key"]) == (change.resource.kind, change.resource.key)
        assert [step["run"] for step in told["steps"]] == [
            list(step.argv) for step in change.steps if isinstance(step, Command)
        ]
        assert (told["have"] is None) is (change.have is None)
    (crossing,) = data["crossings"]
    assert (crossing["ingress"], crossing["egress"]) == ("eth1", "eth0")
    assert crossing["clients"][0]["next_hop"] == "10.0.43.101"
    assert {impact["code"] for impact in data["impacts"]} == {impact.code for impact in plan.impacts}


def test_json_marks_what_touches_the_management_path(plan: Plan) -> None:
    made = make_plan(parse(SPEC, "crossnet.yaml"), facts_from(BEHIND))
    for one, touched in ((made, ["route"]), (plan, [])):
        data = as_json.plan_data(one)
        changes = [change for host in data["hosts"] for change in host["changes"]]
        assert [change["kind"] for change in changes if change["touches_management_path"]] == touched


def test_outcomes_of_an_apply(plan: Plan) -> None:
    confirmed = Confirmed("0a1b2c3d", plan)
    told = as_json.applied_data(Applied(plan, confirmed, Verification((REACHED,))))
    assert (told["outcome"], told["transaction"], told["not_written"]) == ("confirmed", "0a1b2c3d", [])
    assert told["verification"]["verdicts"][0]["translated_to"] == "10.0.44.63"
    assert as_json.applied_data(Applied(plan, None, None))["outcome"] == "unchanged"
    half = as_json.applied_data(Applied(plan, replace(confirmed, unwritten=("x",)), None))
    assert (half["outcome"], half["not_written"]) == ("confirmed-not-persistent", ["x"])


def test_status_of_json_counts_as_the_text_does() -> None:
    (told,) = as_json.status_data((status(State.DEGRADED, "gateway: eth0 is down"),))["crossings"]
    assert told["counters"] == {
        "admitted": {"packets": 6, "bytes": 504},
        "translated": {"packets": 4, "bytes": 336},
        "fenced": {"packets": 10, "bytes": 840},
    }
    assert (told["state"], told["reasons"]) == ("degraded", ["gateway: eth0 is down"])
    assert (told["drift"], told["pending"]) == ([], [])


@pytest.mark.parametrize(
    ("error", "more"),
    [
        (CrossnetError("x"), {}),
        (
            SpecError([Problem("f.yaml", 2, 3, "wrong")]),
            {"problems": [{"file": "f.yaml", "line": 2, "column": 3, "message": "wrong"}]},
        ),
        (
            PlanRefused([Refusal("no-route", "crossing b", "none", "add one", ("a", "b"))]),
            {
                "refusals": [
                    {
                        "code": "no-route",
                        "where": "crossing b",
                        "detail": "none",
                        "fix": "add one",
                        "candidates": ["a", "b"],
                    }
                ]
            },
        ),
        (CommandFailed("app", ["ip", "route"], 2, "no"), {}),
    ],
)
def test_errors(error: CrossnetError, more: dict[str, object]) -> None:
    told = as_json.error_data(error)["error"]
    assert told["message"] == str(error)
    assert told["exit_code"] == 1
    assert told["type"] == type(error).__name__
    assert {key: told[key] for key in more} == more


def test_facts_show_what_is_not_of_every_host() -> None:
    facts = facts_from(SEED)["gateway"]
    lease = LinkAddress(IPv4Address("10.9.0.7"), 24, leased=True)
    more = (
        Link("eth0.9", 1500, up=True, addresses=(lease,), kind="vlan", parent="eth0", vlan=9, master="red"),
        Link("red", 1500, up=True, kind="vrf", table="77"),
        Link("tun3", 1400, up=False, kind="tun"),
    )
    usual = PolicyRule(Family.V4, 32766, table="main", origin="kernel")
    odd = (
        PolicyRule(Family.V4, 100, source=network("10.9.0.0/24"), table="77"),
        PolicyRule(Family.V6, 0, table="9"),
    )
    elsewhere = (
        Route(network("10.8.0.0/16"), device="eth0", table="77"),
        Route(network("10.9.0.7/32"), table="local"),
    )
    docker = Manager(
        "docker", ("interface docker0", "chains DOCKER, DOCKER-USER of table ip filter", "unit docker")
    )
    changed = replace(
        facts,
        links=more,
        policy_rules=(usual, *odd),
        routes=elsewhere,
        managers=(docker,),
        owners={"red": Owner("red", Keeper.NOBODY, ""), "tun3": Owner("tun3", Keeper.NETWORKD, "a file")},
        neighbours=(Neighbour(IPv4Address("10.9.0.1"), "eth0.9", "FAILED"),),
    )
    shown = text.facts_text({"gateway": changed}).split("\n")
    assert shown[3:-2] == [
        "  manager    docker: interface docker0; chains DOCKER, DOCKER-USER of table ip",
        "               filter; unit docker",
        "  interface  eth0.9   up    mtu 1500   10.9.0.7/24 leased, vlan 9 on eth0, part of red",
        "  interface  red      up    mtu 1500   vrf of table 77",
        "  interface  tun3     down  mtu 1400   tun",
        "  owner      tun3 is kept by systemd-networkd: a file",
        "  rule       100: from 10.9.0.0/24 lookup 77",
        "  rule       IPv6 0: from all lookup 9",
        "  route      10.8.0.0/16 dev eth0 table 77 proto 143",
    ]
    [told] = as_json.facts_data({"gateway": changed})["hosts"]
    assert told["managers"] == [{"name": "docker", "evidence": list(docker.evidence)}]
    assert told["owners"] == [{"interface": "tun3", "name": "networkd", "evidence": "a file"}]
    assert told["neighbours"] == [
        {"address": "10.9.0.1", "device": "eth0.9", "hardware": None, "state": "FAILED"}
    ]
    assert [rule["text"] for rule in told["policy_rules"]][1:] == [str(rule) for rule in odd]
    vlan = told["interfaces"][0]
    assert (vlan["kind"], vlan["parent"], vlan["vlan"], vlan["master"]) == ("vlan", "eth0", 9, "red")
    assert vlan["leased"] == ["10.9.0.7"]


def test_of_many_routes_the_first_are_shown_and_all_are_counted() -> None:
    sheet = SEED + "".join(
        f"  route 10.{n // 250}.{n % 250}.0/24 via 10.0.44.254 dev eth0\n" for n in range(3000)
    )
    facts = facts_from(sheet)
    shown = text.facts_text(facts).split("\n")
    assert sum("  route " in line for line in shown) < 50
    assert "  route      … 2,963 more, 3,003 in all: --json has them" in shown
    [_, told] = as_json.facts_data(facts)["hosts"]
    assert len(told["routes"]) == 3003


def test_facts_of_json_are_those_of_the_text() -> None:
    facts = facts_from(SEED)
    shown = text.facts_text(facts)
    told = as_json.facts_data(facts)["hosts"]
    assert [host["host"] for host in told] == ["app", "gateway"]
    for host in told:
        for link in host["interfaces"]:
            assert all(address in shown for address in link["addresses"])
    assert json.loads(as_json.document(as_json.facts_data(facts)))["hosts"] == told
