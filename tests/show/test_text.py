"""What people read and what programs read of the same values."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from crossnet.api import Applied, UndoPlan
from crossnet.codes import CODES
from crossnet.errors import CommandFailed, CrossnetError, PlanRefused, Problem, Refusal, SpecError
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.managers import Manager
from crossnet.facts.neighbours import Neighbour
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route
from crossnet.health import CrossingStatus, State
from crossnet.netfilter import Counter
from crossnet.planning import Plan, make_plan
from crossnet.resources import Command
from crossnet.show import json as as_json
from crossnet.show import text
from crossnet.show.paint import Paint, marked, plain, printable
from crossnet.specfile import parse
from crossnet.transaction import journal
from crossnet.transaction.apply import Confirmed
from crossnet.values import Family, Probe, network
from crossnet.verification import Half, Result, Verdict, Verification, not_judged
from crossnet.verification.counters import Counters
from design.factsheet import SEED, facts_from

SPEC = """crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24, persist: none}}
"""


@pytest.fixture
def plan() -> Plan:
    return make_plan(parse(SPEC, "crossnet.yaml"), facts_from(SEED))


REACHED = Verdict(
    crossing="business",
    client="app",
    source=IPv4Address("10.0.43.15"),
    probe=Probe.from_text("icmp/10.0.44.1"),
    demanded=True,
    result=Result.REACHABLE,
    forward=Half("delivered"),
    reply=Half("delivered"),
    admitted=1,
    translated_to=IPv4Address("10.0.44.63"),
    evidence=("gateway: the crossing's rule counted 1 new flow",),
)
SILENT = replace(
    REACHED,
    result=Result.UNREACHABLE,
    forward=Half("exits-observed-area"),
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


def test_what_a_plan_opens_fits_80_columns(plan: Plan) -> None:
    _, _, opens = text.plan_text(plan).partition("what it opens\n")
    assert max(len(line) for line in opens.splitlines()) <= 80


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
        "app: route 10.0.44.0/24 changes the way by which crossnet reaches app from 10.0.44.200; "
        "the guard on app puts the change back unless a new connection works  [touches-management-path]"
    )
    assert place < shown.index("what it opens")
    assert "[touches-management-path]" not in "".join(shown[shown.index("what it opens") :])


def test_mark_is_told_where_nothing_is_opened() -> None:
    made = make_plan(parse(SPEC, "crossnet.yaml"), facts_from(BEHIND))
    routes = replace(made, hosts=tuple(host for host in made.hosts if host.host == "app"))
    shown = text.plan_text(routes)
    assert "! touches the management path" in shown
    assert "what it opens" not in shown


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
    unwritten = Applied(plan, Confirmed("0a1b2c3d", plan, ("gateway: disk full",)), None)
    assert "Not written for the next boot: gateway: disk full" in text.applied_text(unwritten)


def test_a_flow_that_does_not_pass_tells_code_and_cause() -> None:
    found = Verification((SILENT,), ("app: create route 10.0.44.0/24",))
    assert text.verification_text(found) == (
        "business: app 10.0.43.15 → icmp/10.0.44.1  UNREACHABLE\n"
        "  destination-silent: gateway let it pass towards 10.0.44.1; no reply came back\n"
        "  gateway: the crossing's rule counted 1 new flow\n"
        "read back: differs from the spec\n"
        "  app: create route 10.0.44.0/24"
    )


def test_a_host_that_was_not_reached_was_not_read_back() -> None:
    why = "gw2: connected to root@10.0.0.1 port 22 with SSH: connection refused\n  Nothing listens there."
    found = Verification((REACHED, not_judged("other", why)), unreached=("gw2",))
    told = text.verification_text(found).splitlines()
    assert told[-3:] == [
        "  gw2: connected to root@10.0.0.1 port 22 with SSH: connection refused",
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
    verdicts: tuple[Verdict, ...], differences: tuple[str, ...], result: Result
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
    never = replace(status(State.DOWN, "not applied"), verified=None, result=None, counters=())
    first, second = text.status_text([never]).splitlines()
    assert re.match(r"business  down .*verified: never", first)
    assert second == "  not applied"


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
    empty = replace(plan, hosts=(), passages=(), impacts=())
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
        neighbours=(Neighbour(IPv4Address("10.9.0.1"), "eth0.9", "FAILED"),),
    )
    shown = text.facts_text({"gateway": changed}).split("\n")
    assert shown[3:-2] == [
        "  manager    docker: interface docker0; chains DOCKER, DOCKER-USER of table ip",
        "               filter; unit docker",
        "  interface  eth0.9   up    mtu 1500   10.9.0.7/24 leased, vlan 9 on eth0, part of red",
        "  interface  red      up    mtu 1500   vrf of table 77",
        "  interface  tun3     down  mtu 1400   tun",
        "  rule       100: from 10.9.0.0/24 lookup 77",
        "  rule       IPv6 0: from all lookup 9",
        "  route      10.8.0.0/16 dev eth0 table 77 proto 143",
    ]
    [told] = as_json.facts_data({"gateway": changed})["hosts"]
    assert told["managers"] == [{"name": "docker", "evidence": list(docker.evidence)}]
    assert told["neighbours"] == [
        {"address": "10.9.0.1", "device": "eth0.9", "hardware": None, "state": "FAILED"}
    ]
    assert [rule["text"] for rule in told["policy_rules"]][1:] == [str(rule) for rule in odd]
    vlan = told["interfaces"][0]
    assert (vlan["kind"], vlan["parent"], vlan["vlan"], vlan["master"]) == ("vlan", "eth0", 9, "red")
    assert vlan["leased"] == ["10.9.0.7"]


def test_facts_of_json_are_those_of_the_text() -> None:
    facts = facts_from(SEED)
    shown = text.facts_text(facts)
    told = as_json.facts_data(facts)["hosts"]
    assert [host["host"] for host in told] == ["app", "gateway"]
    for host in told:
        for link in host["interfaces"]:
            assert all(address in shown for address in link["addresses"])
    assert json.loads(as_json.document(as_json.facts_data(facts)))["hosts"] == told
