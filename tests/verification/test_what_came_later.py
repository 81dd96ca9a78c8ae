"""Rules and settings of others that came after an apply: status and verdicts name them, and nobody else is blamed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from crossnet.api import plan
from crossnet.design import then
from crossnet.diagnosis.verifying import foretold, judged, unsent
from crossnet.facts import Facts, FileState
from crossnet.facts.firewall import Firewall
from crossnet.facts.sysctls import BootSetting
from crossnet.health import CrossingStatus, State, crossing_status
from crossnet.netfilter import Counter, Engine, foreign
from crossnet.netfilter.xtables_save import parse_save
from crossnet.planning import Undo, make_plan, make_undo_plan
from crossnet.record import VERIFIED
from crossnet.resources import RuleTable
from crossnet.show.text import plan_text
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.values import Probe
from crossnet.verdict import Confidence, Diagnosis, HowFar, Result, Verification
from crossnet.verification.conntrack import Entry
from crossnet.verification.counters import Counters
from crossnet.verification.evidence import Round, Seen
from crossnet.verification.probe import Reply, Sent
from crossnet.verified import ends_otherwise, merged
from crossnet.verified import verified as kept_of
from design.factsheet import SEED, facts_from
from planning.fakehost import carry_out, facts_of, hosts_of
from verification.entries import LEFT, towards

TOOLS = "\n  tools ip sysctl nft iptables iptables-nft conntrack awk"
PROBE = Probe.from_text("tcp/10.0.44.1:443")
ONE, NONE = Counter(1, 60), Counter(0, 0)


def spec(more: str = "") -> Spec:
    hosts = "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
    crossing = f"{{from: app, via: gateway, to: 10.0.44.0/24, persist: none{more}}}"
    return parse(f"{hosts}crossings: {{business: {crossing}}}", "crossnet.yaml")


def applied(more: str = "") -> dict[str, Facts]:
    """The hosts after the crossing was applied and proved."""
    hosts = hosts_of(facts_from(SEED + TOOLS))
    carry_out(plan(spec(more), facts_of(hosts)), hosts)
    return verified(facts_of(hosts), result="reachable", end="proved")


def verified(facts: dict[str, Facts], **said: str) -> dict[str, Facts]:
    """The same when that is what the gateway keeps of its last verification."""
    kept = json.dumps({"business": {"time": "2026-01-02T03:04:05+00:00", **said}}).encode()
    gateway = facts["gateway"]
    state = FileState(kept, 0o600, "0:0")
    return {**facts, "gateway": replace(gateway, files={**gateway.files, VERIFIED: state})}


def with_rules(facts: dict[str, Facts], host: str, save: str) -> dict[str, Facts]:
    """The same with these rules of iptables-nft on one of the hosts."""
    tables = parse_save(save, "ip", foreign.Tool.IPTABLES_NFT, {})
    return {**facts, host: replace(facts[host], firewall=_beside(facts[host].firewall, tables))}


def _beside(firewall: Firewall, tables: tuple[foreign.Table, ...]) -> Firewall:
    with_nft = frozenset((table.family, table.name) for table in tables)
    return replace(firewall, foreign=(*firewall.foreign, *tables), with_nft=with_nft)


def rules(*lines: str, table: str = "filter", policy: str = "ACCEPT") -> str:
    hook = "FORWARD" if table == "filter" else "POSTROUTING"
    return "\n".join((f"*{table}", f":{hook} {policy} [0:0]", ":OUTPUT ACCEPT [0:0]", *lines, "COMMIT\n"))


DROPS = rules(policy="DROP")


# ---- status --------------------------------------------------------------------------------------


def status(facts: dict[str, Facts], more: str = "") -> CrossingStatus:
    (found,) = crossing_status(make_plan(spec(more), facts, moves=False), facts)
    return found


def test_the_status_of_what_nobody_touched_is_up() -> None:
    assert (status(applied()).state, status(applied()).reasons) == (State.UP, ())


def test_a_status_names_the_file_that_switches_forwarding_off_again_and_stays_up() -> None:
    facts = applied()
    late = BootSetting("/etc/sysctl.d/99-zzz-vendor.conf", "net.ipv4.ip_forward", "0")
    found = status({**facts, "gateway": replace(facts["gateway"], boot_settings=(late,))})
    assert found.state is State.UP
    (reason,) = found.reasons
    assert reason.startswith("gateway: /etc/sysctl.d/99-zzz-vendor.conf sets net.ipv4.ip_forward = 0: ")


@pytest.mark.parametrize(
    ("said", "state", "told"),
    [
        (
            {"result": "unreachable", "end": "unproved", "why": "no reply"},
            State.UNPROVED,
            "end to end: no reply",
        ),
        ({"result": "undetermined", "end": "unproved"}, State.UNPROVED, "not proved end to end"),
        ({"result": "unreachable", "end": "stopped", "why": "a rule"}, State.DEGRADED, "failed: a rule"),
        ({"result": "unreachable"}, State.UNPROVED, "not proved end to end"),  # 0.1.0 said no more
    ],
)
def test_the_status_of_what_was_not_proved_is_not_up(said: dict[str, str], state: State, told: str) -> None:
    found = status(verified(applied(), **said))
    assert found.state is state
    assert any(told in reason for reason in found.reasons)


def test_what_nobody_has_ever_verified_is_not_proved() -> None:
    hosts = hosts_of(facts_from(SEED + TOOLS))
    carry_out(plan(spec(), facts_of(hosts)), hosts)
    found = status(facts_of(hosts))
    assert found.state is State.UNPROVED
    assert "never verified" in found.reasons[0]


def test_a_policy_that_drops_later_is_named_and_the_rules_are_where_they_were() -> None:
    facts = with_rules(applied(), "gateway", DROPS)
    found = status(facts)
    told = "\n".join(found.reasons)
    assert found.state is State.DEGRADED
    assert "iptables-nft filter FORWARD: policy DROP (filter-policy-drop)" in told
    assert "`crossnet apply` accepts it in iptables-nft" in told
    for word in ("misses", "left-over", "differs"):
        assert word not in told
    changed = [change.resource for _, change in make_plan(spec(), facts).changes]
    added = [(each.engine, each.only_accepts) for each in changed if isinstance(each, RuleTable)]
    assert added == [(Engine.IPTABLES_NFT, True)]


def test_a_drop_of_some_that_came_later_is_named() -> None:
    forced = ", firewall: nftables"
    found = status(with_rules(applied(forced), "gateway", rules("-A FORWARD -p tcp -j DROP")), forced)
    assert "iptables-nft filter FORWARD: rule -A FORWARD -p tcp -j DROP (filter-rule-drop)" in "\n".join(
        found.reasons
    )
    assert found.state is State.UP


def test_rules_stay_in_the_engine_that_has_them_when_the_reason_for_it_is_gone() -> None:
    hosts = hosts_of(facts_from(SEED + TOOLS))
    before = with_rules(facts_of(hosts), "gateway", DROPS)
    carry_out(plan(spec(), before), hosts)
    after = verified(facts_of(hosts), result="reachable", end="proved")
    assert make_plan(spec(), after).is_empty
    assert status(after).state is State.UP
    assert not make_plan(spec(", firewall: nftables"), after).is_empty
    assert status(after, ", firewall: nftables").state is State.PENDING


def test_a_plan_without_changes_tells_what_stops_packets_all_the_same() -> None:
    forced = ", firewall: nftables"
    facts = with_rules(applied(forced), "gateway", rules("-A FORWARD -p tcp -j DROP"))
    shown = plan_text(make_plan(spec(forced), facts))
    assert shown.endswith("No changes.")
    assert "-A FORWARD -p tcp -j DROP" in " ".join(shown.split())
    assert "[others-may-drop]" in shown
    assert "opens" not in shown


# ---- ways of the gateway's own --------------------------------------------------------------------

WAY = "10.0.99.0/24 via 10.0.44.1 dev eth0"


def leaning(*, protocol: str = "boot", keeper: str = "networkd") -> tuple[Spec, dict[str, Facts]]:
    """A crossing that is applied, proved and kept as such, by a route of the gateway's own."""
    there = f"\n  kept eth0 {keeper} FILE: the file\n  route {WAY} proto {protocol}"
    asked = parse(BY_A_ROUTE, "crossnet.yaml")
    hosts = hosts_of(facts_from(SEED + TOOLS + there))
    carry_out(plan(asked, facts_of(hosts)), hosts)
    facts = facts_of(hosts)
    found = Verification((verdict(applied(), Reply.ANSWERED),))
    kept = kept_of(found, make_plan(asked, facts, moves=False), facts)["gateway"]
    state = FileState(kept, 0o600, "0:0")
    return asked, {
        **facts,
        "gateway": replace(facts["gateway"], files={**facts["gateway"].files, VERIFIED: state}),
    }


BY_A_ROUTE = """
crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings: {business: {from: app, via: gateway, to: 10.0.99.0/24}}
"""


def without_way(facts: dict[str, Facts]) -> dict[str, Facts]:
    gateway = facts["gateway"]
    left = tuple(route for route in gateway.routes if not str(route).startswith(WAY))
    assert len(left) < len(gateway.routes)
    return {**facts, "gateway": replace(gateway, routes=left)}


def test_a_way_that_nothing_brings_back_at_a_boot_is_told() -> None:
    asked, facts = leaning()
    (found,) = crossing_status(make_plan(asked, facts, moves=False), facts)
    assert found.state is State.UP
    assert any("systemd-networkd, which keeps eth0, has not set" in reason for reason in found.reasons)
    assert any(WAY in reason for reason in found.reasons)


def test_a_way_that_did_not_come_back_is_missed() -> None:
    asked, facts = leaning()
    later = without_way(facts)
    made = plan(asked, later)
    assert made.is_empty
    (found,) = crossing_status(make_plan(asked, later, moves=False), later)
    assert found.state is State.DEGRADED
    told = (
        f"gateway: the route {WAY}, by which packets went when the crossing was last verified, is gone, and nothing "
        "brought it back: they go by default via 10.0.44.254 dev eth0 now"
    )
    assert told in found.reasons
    shown = " ".join(plan_text(made).split())
    assert f"{told} [way-gone]" in shown


def test_a_way_stays_missed_while_nothing_comes_back_and_is_not_where_something_does() -> None:
    asked, facts = leaning()
    later = without_way(facts)
    made = make_plan(asked, later, moves=False)
    for reply, missed in ((Reply.SILENT, True), (Reply.ANSWERED, False)):
        found = Verification((verdict(applied(), reply),))
        kept = kept_of(found, made, later)["gateway"]
        assert (WAY.encode() in kept) is missed
        assert ends_otherwise(later["gateway"], kept)


def two(to: str, allow: str = "") -> Spec:
    """Two crossings, of which the first leads there."""
    return parse(
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\ncrossings:\n"
        f"  business: {{from: app, via: gateway, to: {to}{allow}, persist: none}}\n"
        "  other: {from: app, via: gateway, to: 10.0.44.77, allow: tcp/1, persist: none}\n",
        "crossnet.yaml",
    )


@pytest.mark.parametrize("by_undo", [True, False])
def test_a_proof_is_of_the_packets_that_were_proved_and_of_no_others_of_that_name(by_undo: bool) -> None:
    """As where the next ones are made by an exported script, which proves nothing."""
    hosts = hosts_of(facts_from(SEED))
    first, second = two("10.0.44.0/26"), two("10.0.44.128/25")
    carry_out(plan(first, facts_of(hosts)), hosts)
    facts = facts_of(hosts)
    kept = kept_of(
        Verification((verdict(applied(), Reply.ANSWERED),)), make_plan(first, facts, moves=False), facts
    )
    hosts["gateway"].files[VERIFIED] = FileState(kept["gateway"], 0o600, "0:0")

    def state_of(asked: Spec) -> tuple[State, str | None]:
        facts = facts_of(hosts)
        found = crossing_status(make_plan(asked, facts, moves=False), facts)
        return next((one.state, one.verified) for one in found if one.crossing == "business")

    assert state_of(first)[0] is State.UP
    if by_undo:
        carry_out(make_undo_plan(first, facts_of(hosts), Undo(crossing="business")), hosts)
    carry_out(plan(second, facts_of(hosts)), hosts)
    assert state_of(second) == (State.UNPROVED, None)


def test_what_is_not_applied_yet_takes_no_proof_away() -> None:
    hosts = hosts_of(facts_from(SEED))
    carry_out(plan(two("10.0.44.0/26"), facts_of(hosts)), hosts)
    facts, asked = facts_of(hosts), two("10.0.44.0/26", ", allow: icmp")
    found = Verification((verdict(applied(), Reply.SILENT),))
    assert kept_of(found, make_plan(asked, facts, moves=False), facts, is_applied=False) == {}


def test_of_two_who_verify_at_once_both_are_kept_and_a_spoilt_entry_costs_no_other() -> None:
    early = {"time": "2026-11-28T09:00:00+00:00", "result": "unreachable"}
    late = {"time": "2026-11-28T09:00:05+00:00", "result": "reachable", "end": "proved"}
    there = {"theirs/web": late, "business": early, "spoilt": {"result": "reachable"}}
    found = json.loads(
        merged(json.dumps({"business": late, "theirs/web": early}).encode(), json.dumps(there).encode())
    )
    assert found == {"theirs/web": late, "business": late}


def test_another_cause_is_another_end() -> None:
    asked, facts = leaning()
    made = make_plan(asked, facts, moves=False)
    kept = kept_of(Verification((verdict(applied(), Reply.SILENT),)), made, facts)["gateway"]
    files = {**facts["gateway"].files, VERIFIED: FileState(kept, 0o600, "0:0")}
    facts["gateway"] = replace(facts["gateway"], files=files)
    assert not ends_otherwise(facts["gateway"], kept)
    said = json.loads(kept)
    (entry,) = said.values()
    entry["why"] = "app → icmp/10.0.44.77: nobody answered there"
    assert ends_otherwise(facts["gateway"], json.dumps(said).encode())


@pytest.mark.parametrize(
    ("protocol", "keeper"),
    [("static", "networkd"), ("dhcp", "networkmanager"), ("boot", "ifupdown"), ("boot", "network-scripts")],
)
def test_a_way_that_may_stand_in_a_file_is_not_told(protocol: str, keeper: str) -> None:
    asked, facts = leaning(protocol=protocol, keeper=keeper)
    assert crossing_status(make_plan(asked, facts, moves=False), facts)[0].reasons == ()
    assert not any(impact.code == "way-gone" for impact in plan(asked, without_way(facts)).impacts)


# ---- verdicts ------------------------------------------------------------------------------------


def verdict(
    facts: dict[str, Facts],
    reply: Reply,
    *,
    counted: bool = True,
    probe: Probe = PROBE,
    tracked: tuple[Entry, ...] = (),
) -> Diagnosis:
    made = make_plan(spec(), facts, moves=False)
    (path,) = made.paths
    (client,) = path.clients
    seen = Seen(client, Sent(probe, reply, "as the tool said"), tracked, at_gateway=towards())
    translated = tracked or reply in (Reply.ANSWERED, Reply.REFUSED)
    moved = Counters(ONE if counted else NONE, ONE if counted and translated else NONE, NONE)
    found = Round((seen,), Counters(NONE, NONE, NONE), moved)
    said = foretold(path, client, probe, walked(facts))
    return judged(path, found, seen, facts, said, demanded=True, note="")


def walked(facts: dict[str, Facts]) -> dict[str, Facts]:
    """The same with crossnet's own rules among those of others, as a real host prints them."""
    made = make_plan(spec(), facts, moves=False)
    return then(made.paths, facts, made.wanted)


def test_a_destination_that_nothing_stops_is_silent_itself() -> None:
    found = verdict(applied(), Reply.SILENT, tracked=LEFT)
    assert (found.result, found.reply.code) == (Result.UNREACHABLE, "destination-silent")


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("gateway", "-A FORWARD -s 10.0.43.15/32 -j DROP"),
        ("gateway", "-A FORWARD -o eth0 -p tcp --dport 443 -j DROP"),
        ("app", "-A OUTPUT -d 10.0.44.0/24 -j DROP"),
    ],
)
def test_a_rule_that_surely_drops_the_request_is_named(host: str, line: str, counted: bool) -> None:
    found = verdict(with_rules(applied(), host, rules(line)), Reply.SILENT, counted=counted)
    assert found.result is Result.UNREACHABLE
    code = "filter-rule-drop" if host == "gateway" else "src-output-filtered"
    assert (found.forward.disposition, found.forward.code) == ("dropped", code)
    assert f"a rule of {host} d" in found.forward.detail
    assert line.partition(" ")[2].partition(" ")[2] in found.forward.detail
    assert found.reply.code is None


def test_a_rule_that_drops_the_answer_is_named() -> None:
    line = "-A FORWARD -i eth0 -o eth1 -j DROP"
    found = verdict(with_rules(applied(), "gateway", rules(line)), Reply.SILENT, tracked=LEFT)
    assert (found.forward.disposition, found.forward.code) == ("exits-observed-area", None)
    assert (found.reply.disposition, found.reply.code) == ("dropped", "filter-rule-drop")
    assert "-i eth0 -o eth1 -j DROP" in found.reply.detail


def test_a_rule_that_perhaps_drops_it_is_named_as_such() -> None:
    line = "-A FORWARD -p tcp -m limit --limit 5/sec -j DROP"
    found = verdict(with_rules(applied(), "gateway", rules(line)), Reply.SILENT)
    assert (found.forward.disposition, found.forward.code) == ("dropped", "filter-rule-drop")
    assert found.forward.confidence is Confidence.INFERRED
    assert (
        "perhaps a rule of gateway drops it (iptables-nft ip filter FORWARD): -A FORWARD -p tcp -m limit"
        in (found.forward.detail)
    )


def test_a_rule_that_the_flow_has_passed_is_not_named() -> None:
    line = "-A FORWARD -p tcp -m limit --limit 5/sec -j DROP"
    found = verdict(with_rules(applied(), "gateway", rules(line)), Reply.SILENT, tracked=LEFT)
    assert "limit" not in found.forward.detail
    assert found.how_far is HowFar.LEFT


def test_a_flow_that_is_not_tracked_is_told_as_not_translated_and_not_as_stopped() -> None:
    facts = with_rules(
        applied(), "gateway", "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j NOTRACK\nCOMMIT\n"
    )
    found = verdict(facts, Reply.SILENT)
    assert found.reply.code == "snat-skipped"
    assert "did not translate it; gateway does not translate it: a rule keeps it from" in found.reply.detail
    assert found.stopped


def test_a_rule_that_cannot_meet_the_flow_is_not_named() -> None:
    line = "-A FORWARD -p udp -j DROP"
    facts = with_rules(applied(), "gateway", rules(line))
    assert verdict(facts, Reply.SILENT, tracked=LEFT).reply.code == "destination-silent"


def test_a_rule_that_refuses_is_no_closed_port() -> None:
    refused = with_rules(applied(), "gateway", rules("-A FORWARD -p tcp -j REJECT --reject-with tcp-reset"))
    found = verdict(refused, Reply.REFUSED)
    assert (found.result, found.forward.disposition) == (Result.UNREACHABLE, "rejected")
    assert found.forward.code == "filter-reject"
    assert verdict(applied(), Reply.REFUSED).forward.code == "destination-port-closed"


def test_what_surely_stops_it_is_told_before_what_may() -> None:
    lines = ("-A FORWARD -m limit --limit 5/sec -j DROP", "-A FORWARD -s 10.0.43.15/32 -j DROP")
    found = verdict(with_rules(applied(), "gateway", rules(*lines)), Reply.SILENT)
    assert "-s 10.0.43.15/32 -j DROP" in found.forward.detail
    assert "limit" not in found.forward.detail


def test_where_nothing_answers_a_search_what_stops_it_is_named() -> None:
    facts = with_rules(applied(), "gateway", DROPS)
    made = make_plan(spec(), facts, moves=False)
    (path,) = made.paths
    (client,) = path.clients
    found = unsent(path, client, "nothing answered", walked(facts))
    assert (found.result, found.forward.code) == (Result.UNDETERMINED, "filter-policy-drop")
