"""What is said of one flow, by everything that can have been seen of it: how far it came, and who is not blamed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import pytest

from crossnet.design import Client, Path
from crossnet.diagnosis import verifying
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.foretold import Foretold
from crossnet.facts import Facts
from crossnet.facts.lookups import Answered
from crossnet.facts.neighbours import Neighbour
from crossnet.facts.routes import Route
from crossnet.netfilter import Counter
from crossnet.planning import make_plan
from crossnet.specfile import parse
from crossnet.values import Probe, address, network
from crossnet.verdict import Confidence, Diagnosis, HowFar, Result
from crossnet.verification.conntrack import Tracked
from crossnet.verification.counters import Counters
from crossnet.verification.evidence import Round, Seen
from crossnet.verification.onward import Onward
from crossnet.verification.probe import Reply, Sent, sent
from design.factsheet import SEED, facts_from
from verification.entries import LEFT, entry, towards

PROBE = Probe.from_text("tcp/10.0.44.1:443")
NONE, ONE = Counter(0, 0), Counter(1, 60)


def _facts() -> dict[str, Facts]:
    found = facts_from(SEED)
    gateway = found["gateway"]
    return {**found, "gateway": replace(gateway, sysctls={**gateway.sysctls, "net.ipv4.ip_forward": "1"})}


FACTS = _facts()


@cache
def _path(translate: str) -> Path:
    spec = parse(
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
        f"crossings: {{business: {{from: app, via: gateway, to: 10.0.44.0/24, translate: {translate}}}}}",
        "crossnet.yaml",
    )
    (path,) = make_plan(spec, FACTS).paths
    return path


OVER_GATEWAY = Onward(Answered(Route(network("10.0.44.1/32"), address("10.0.43.101"), "eth0")))


def judged(
    reply: Reply,
    *,
    admitted: bool = True,
    translated: bool = True,
    tracked: Tracked = (),
    at_gateway: Onward | None = None,
    at_client: Onward | None = None,
    findings: tuple[Finding, ...] = (),
    others: tuple[Finding, ...] = (),
    translate: str = "snat",
    demanded: bool = False,
    counts: bool = True,
) -> Diagnosis:
    path = _path(translate)
    (client,) = path.clients
    sent = Sent(PROBE, reply, "as the tool said")
    seen = Seen(client, sent, tracked, at_client or OVER_GATEWAY, at_gateway or towards())
    after = Counters(ONE if admitted else NONE, ONE if translated else NONE, NONE, counts)
    found = Round((seen,), Counters(NONE, NONE, NONE, counts), after)
    said = Foretold(findings, None, None, others)
    return verifying.judged(path, found, seen, FACTS, said, demanded=demanded, note="")


def blames_destination(found: Diagnosis) -> bool:
    blaming = {"destination-silent", "destination-absent", "needs-return-route"}
    return {found.forward.code, found.reply.code} & blaming != set()


# ---- everything that can have been seen ------------------------------------------------------------

ON_THE_WAY, BACK_AGAIN = Direction.FORWARD, Direction.REPLY
RULE = Finding("filter-rule-drop", "gateway", "eth1", ON_THE_WAY, "-A FORWARD -j DROP", False, "forward")
OWN_RULE = Finding("src-output-filtered", "app", "eth0", ON_THE_WAY, "-A OUTPUT -j DROP", True, "output")
BACK = Finding(
    "filter-rule-drop", "gateway", "eth0", BACK_AGAIN, "-A FORWARD -i eth0 -j DROP", False, "forward"
)
PROGRAM = Finding(
    "tc-or-xdp-drop", "gateway", "eth0", ON_THE_WAY, "a filter of tc at eth0 egress", False, "egress"
)

# Ports of a cloud: in front of the gateway, behind it, and the one that its answers leave by.
NOT_IN = Finding(
    "neutron-security-group", "gateway", "eth1", ON_THE_WAY, "port B-eth1: no rule", hook="ingress"
)
NOT_ON = Finding(
    "neutron-security-group", "gateway", "eth0", ON_THE_WAY, "port B-eth0: no rule", hook="egress"
)
NOT_BACK = Finding(
    "neutron-antispoof-source", "gateway", "eth1", BACK_AGAIN, "port B-eth1 lets nothing out", hook="egress"
)

TRACKED: dict[str, Tracked] = {
    "unknown": None,
    "no entry": (),
    "entry": LEFT,
    "wrong source": entry("10.0.43.15"),
    "replied": entry(replied=True),
}
ONWARD = {
    "sent": towards(),
    "nothing sent": towards(sent=0),
    "nobody there": towards("FAILED"),
    "no router": towards("FAILED", via="10.0.44.254"),
    "not known": Onward(None),
}
FINDINGS: dict[str, tuple[Finding, ...]] = {
    "none": (),
    "rule": (RULE,),
    "own rule": (OWN_RULE,),
    "back": (BACK,),
    "program": (PROGRAM,),
    "port in front": (NOT_IN,),
    "port beyond": (NOT_ON,),
    "port behind": (NOT_BACK,),
}


@pytest.mark.parametrize("translate", ["snat", "masquerade", "none"])
@pytest.mark.parametrize("reply", list(Reply))
def test_nobody_behind_is_blamed_where_it_may_have_been_stopped_before(reply: Reply, translate: str) -> None:
    """The destination is blamed only of what surely left, with nothing known that may have kept the answer."""
    for admitted, translated, tracked, onward, obstacles in product(
        (True, False), (True, False), TRACKED, ONWARD, FINDINGS
    ):
        found = judged(
            reply,
            admitted=admitted,
            translated=translated and translate != "none",
            tracked=TRACKED[tracked],
            at_gateway=ONWARD[onward],
            findings=FINDINGS[obstacles],
            translate=translate,
        )
        case = (reply, admitted, translated, tracked, onward, obstacles, found)
        seen_leaving = (
            admitted and tracked in ("entry", "wrong source") and onward not in ("nothing sent", "not known")
        )
        if blames_destination(found):
            assert seen_leaving, case
            assert not found.stopped, case
            absent = "destination-absent" in (found.forward.code, found.reply.code)
            assert obstacles not in (("program",) if absent else ("back", "program", "port beyond")), case
        if onward == "not known":
            assert found.how_far is not HowFar.LEFT or reply is Reply.UNKNOWN, case
        if found.stopped:
            assert found.result is Result.UNREACHABLE, case
            assert found.how_far in (HowFar.NOT_SENT, HowFar.SENT, HowFar.ADMITTED, HowFar.TRANSLATED), case
            assert found.forward.code or found.forward.detail, case
        if found.result is Result.REACHABLE:
            assert admitted, case
            assert found.how_far is HowFar.ANSWERED, case
            assert tracked != "wrong source" or translate == "none", case
        if reply is Reply.SILENT:
            assert found.result is Result.UNREACHABLE, case
        if reply is Reply.NO_TOOL:
            assert (found.result, found.stopped) == (Result.UNDETERMINED, False), case


# ---- the places ------------------------------------------------------------------------------------


def test_what_was_not_counted_was_stopped_before_the_crossing() -> None:
    found = judged(Reply.SILENT, admitted=False, translated=False)
    assert (found.how_far, found.stopped, found.forward.code) == (HowFar.SENT, True, "lost-between")
    assert "app sent it by eth0, and gateway did not admit it" in found.forward.detail


def test_a_port_in_front_of_the_gateway_is_told_of_what_was_not_counted() -> None:
    found = judged(Reply.SILENT, admitted=False, translated=False, findings=(NOT_IN, NOT_BACK))
    assert (found.stopped, found.how_far) == (True, HowFar.SENT)
    assert (found.forward.code, found.forward.confidence) == ("neutron-security-group", Confidence.PROVED)
    assert found.forward.detail == ("app sent it by eth0, and gateway did not admit it; port B-eth1: no rule")
    assert [each.code for each in found.also] == ["neutron-antispoof-source"]


def test_the_port_that_drops_answers_is_told_where_the_gateway_had_one() -> None:
    found = judged(Reply.SILENT, tracked=entry(replied=True), findings=(NOT_IN, NOT_ON, NOT_BACK))
    assert found.how_far is HowFar.CAME_BACK
    assert (found.reply.code, found.reply.confidence) == ("neutron-antispoof-source", Confidence.PROVED)
    assert found.also == (), "it got past the other two"
    # Where none came back it is not that port's doing, or not yet.
    silent = judged(Reply.SILENT, tracked=LEFT, findings=(NOT_BACK,))
    assert silent.forward.code is None
    assert silent.reply.code == "destination-silent"


def test_a_port_beyond_the_gateway_is_told_of_what_left_it() -> None:
    found = judged(Reply.SILENT, tracked=LEFT, findings=(NOT_ON,))
    assert (found.how_far, found.forward.code) == (HowFar.LEFT, "neutron-security-group")
    unknown = judged(Reply.SILENT, tracked=LEFT, at_gateway=ONWARD["not known"], findings=(NOT_ON,))
    assert unknown.forward.code == "neutron-security-group"
    in_front = judged(Reply.SILENT, tracked=LEFT, findings=(NOT_IN,))
    assert "neutron-security-group" not in (in_front.forward.code, *(each.code for each in in_front.also))


def test_a_rule_of_the_clients_own_is_told_of_what_never_came() -> None:
    found = judged(Reply.SILENT, admitted=False, translated=False, findings=(OWN_RULE,))
    assert (found.how_far, found.forward.code) == (HowFar.NOT_SENT, "src-output-filtered")
    assert found.forward.detail.endswith("a rule of app does not let it out (output): -A OUTPUT -j DROP")


def test_a_gateway_that_the_client_cannot_find_is_told() -> None:
    route = Route(network("10.0.44.1/32"), address("10.0.43.101"), "eth0")
    lost = Onward(Answered(route), Neighbour(address("10.0.43.101"), "eth0", "FAILED"))
    found = judged(Reply.SILENT, admitted=False, translated=False, at_client=lost)
    assert (found.stopped, found.forward.code) == (True, "next-hop-unresolved")
    assert "app asked for 10.0.43.101 on eth0" in found.forward.detail


def test_another_way_of_the_clients_kernel_is_told() -> None:
    away = Onward(Answered(Route(network("10.0.44.1/32"), address("10.0.43.1"), "eth0")))
    found = judged(Reply.SILENT, admitted=False, translated=False, at_client=away)
    assert found.forward.code == "src-route-other-next-hop"


def test_what_the_gateways_kernel_refuses_is_told() -> None:
    refused = Onward(Answered(error="Invalid argument"))
    found = judged(Reply.SILENT, admitted=False, translated=False, at_gateway=refused)
    assert "Invalid argument" in found.forward.evidence[-1]


@pytest.mark.parametrize(
    ("translate", "translated", "how_far", "told"),
    [
        ("snat", False, HowFar.ADMITTED, "admitted it, and did not translate it"),
        ("snat", True, HowFar.TRANSLATED, "admitted and translated it, and did not send it on"),
        ("masquerade", True, HowFar.TRANSLATED, "admitted and translated it, and did not send it on"),
        ("none", False, HowFar.ADMITTED, "admitted it, and did not send it on"),
    ],
)
def test_what_connection_tracking_does_not_know_was_stopped_on_the_gateway(
    translate: str, translated: bool, how_far: HowFar, told: str
) -> None:
    found = judged(Reply.SILENT, translated=translated, translate=translate)
    assert (found.how_far, found.stopped, found.forward.code) == (how_far, True, "stopped-on-gateway")
    assert told in found.forward.detail


def test_what_leaves_with_another_source_is_not_what_was_promised() -> None:
    found = judged(Reply.SILENT, translated=False, tracked=entry("10.0.43.15"))
    assert (found.stopped, found.forward.code) == (True, "static-dynamic-disagree")
    assert "from 10.0.43.15 instead of 10.0.44.63" in found.forward.detail


def test_a_translation_that_is_seen_to_be_missing_is_no_perhaps() -> None:
    """That nothing leads back to its source is one; that it left with it is seen."""
    missing = Finding("snat-missing", "gateway", "eth0", BACK_AGAIN, "it leaves eth0 as it came", False)
    found = judged(Reply.SILENT, translated=False, tracked=entry("10.0.43.15"), findings=(missing,))
    assert (found.stopped, found.reply.code) == (True, "snat-missing")
    assert found.reply.detail.endswith("; no rule of gateway translates it: it leaves eth0 as it came")


@pytest.mark.parametrize("findings", [(), (PROGRAM,)])
def test_where_the_interface_sent_nothing_nothing_left(findings: tuple[Finding, ...]) -> None:
    found = judged(Reply.SILENT, tracked=LEFT, at_gateway=towards(sent=0), findings=findings)
    assert (found.how_far, found.stopped) == (HowFar.TRANSLATED, True)
    assert "eth0 sent nothing at all meanwhile" in found.forward.detail
    assert ("a filter of tc" in found.forward.detail) is bool(findings)


def test_a_router_that_cannot_be_found_stops_it_and_an_absent_host_does_not() -> None:
    router = judged(Reply.SILENT, tracked=LEFT, at_gateway=towards("FAILED", via="10.0.44.254"))
    assert (router.stopped, router.forward.code) == (True, "next-hop-unresolved")
    assert "asked for 10.0.44.254 on eth0, and nobody answered there" in router.forward.detail
    absent = judged(Reply.SILENT, tracked=LEFT, at_gateway=towards("INCOMPLETE"))
    assert (absent.stopped, absent.forward.code) == (False, "destination-absent")


def test_what_left_and_got_no_answer_is_not_proved_and_not_refuted() -> None:
    found = judged(Reply.SILENT, tracked=LEFT)
    assert (found.how_far, found.stopped, found.is_refuted) == (HowFar.LEFT, False, False)
    assert found.reply.code == "destination-silent"
    assert "left gateway by eth0 as 10.0.44.63 for 10.0.44.1" in found.why
    assert judged(Reply.SILENT, tracked=LEFT, demanded=True).is_refuted


def test_without_translation_the_missing_way_back_is_named_first() -> None:
    as_itself = entry("10.0.43.15")
    found = judged(Reply.SILENT, translated=False, tracked=as_itself, translate="none")
    assert (found.how_far, found.reply.code) == (HowFar.LEFT, "needs-return-route")
    assert found.why.endswith(
        "nothing is translated: most likely 10.0.44.1 has no route back to app 10.0.43.15 through gateway"
    )


def test_an_answer_that_came_back_to_the_gateway_clears_the_destination() -> None:
    found = judged(Reply.SILENT, tracked=entry(replied=True))
    assert (found.how_far, found.stopped) == (HowFar.CAME_BACK, False)
    assert (found.forward.disposition, found.reply.code) == ("delivered", "reply-lost")
    named = judged(Reply.SILENT, tracked=entry(replied=True), findings=(BACK,))
    assert "-i eth0 -j DROP" in named.reply.detail


@pytest.mark.parametrize("tracked", [None, ()])
def test_a_refusal_before_the_translation_is_the_gateways_own(tracked: Tracked) -> None:
    found = judged(Reply.REFUSED, translated=False, tracked=tracked)
    assert (found.result, found.stopped) == (Result.UNREACHABLE, True)
    assert (found.forward.disposition, found.how_far) == ("rejected", HowFar.ADMITTED)
    assert judged(Reply.REFUSED, tracked=tracked).forward.code == "destination-port-closed"


@pytest.mark.parametrize("reply", [Reply.REFUSED, Reply.SILENT])
def test_where_others_may_have_translated_it_the_counter_refutes_nothing(reply: Reply) -> None:
    theirs = Finding("others-translate", "gateway", "eth0", ON_THE_WAY, "masquerade", hook="postrouting")
    found = judged(reply, translated=False, tracked=None, others=(theirs,))
    assert not found.stopped
    assert "masquerade" in found.why


def test_what_cannot_be_looked_at_is_neither_proved_nor_refuted() -> None:
    for reply, tracked in ((Reply.NO_TOOL, ()), (Reply.SILENT, None)):
        found = judged(reply, tracked=tracked)
        assert (found.how_far, found.stopped, blames_destination(found)) == (HowFar.UNKNOWN, False, False)
        assert found.result is not Result.REACHABLE


def test_udp_that_left_is_not_proved_and_is_no_broken_promise() -> None:
    left = judged(Reply.UNKNOWN, tracked=LEFT, demanded=True)
    assert (left.how_far, left.result, left.is_refuted) == (HowFar.LEFT, Result.UNDETERMINED, False)
    stopped = judged(Reply.UNKNOWN, admitted=False, translated=False, demanded=True)
    assert (stopped.how_far, stopped.is_refuted) == (HowFar.SENT, True)
    assert judged(Reply.UNKNOWN, tracked=entry(replied=True)).result is Result.REACHABLE


def test_a_rule_that_is_gone_has_not_kept_a_flow_out() -> None:
    """As after `nft flush ruleset`: nothing counts, and the gateway may forward it as it came."""
    untranslated = Finding("snat-missing", "gateway", "eth0", BACK_AGAIN, "it leaves eth0 as 10.0.43.15")
    found = judged(
        Reply.SILENT, admitted=False, translated=False, counts=False, findings=(untranslated,), demanded=True
    )
    assert (found.how_far, found.reply.code, found.stopped) == (HowFar.SENT, "snat-missing", False)
    assert "the rule of gateway that lets the crossing through, and counts it, is gone" in found.reply.detail
    assert "gateway: no rule of the crossing is there that could count it" in found.forward.evidence
    assert found.is_refuted, "the spec asks for it, and no answer came"
    unexplained = judged(Reply.SILENT, admitted=False, translated=False, counts=False)
    assert unexplained.result is Result.UNREACHABLE
    assert "is gone" in unexplained.reply.detail
    stopped = judged(
        Reply.SILENT, admitted=False, translated=False, counts=False, findings=(replace(RULE, certain=True),)
    )
    assert (stopped.forward.code, stopped.stopped) == ("filter-rule-drop", True)


def test_a_rule_that_is_gone_has_not_seen_where_a_flow_was_refused() -> None:
    rejects = replace(RULE, code="filter-reject")
    found = judged(Reply.REFUSED, admitted=False, translated=False, counts=False, findings=(rejects,))
    assert (found.result, found.how_far, found.stopped) == (Result.UNDETERMINED, HowFar.SENT, False)
    assert (found.forward.code, found.forward.confidence) == ("filter-reject", Confidence.CANDIDATES)
    assert "is gone, so nothing tells where" in found.forward.detail
    assert "before gateway admitted it" not in found.forward.detail
    there = judged(Reply.REFUSED, admitted=False, translated=False, findings=(rejects,))
    assert "it was refused before gateway admitted it" in there.forward.detail


def test_an_answer_of_the_gateway_itself_is_no_answer_through_it() -> None:
    path = _path("snat")
    (client,) = path.clients
    own = Probe.from_text("icmp/10.0.44.63")
    seen = Seen(client, Sent(own, Reply.ANSWERED), ())
    found = Round((seen,), Counters(NONE, NONE, NONE), Counters(NONE, NONE, NONE))
    verdict = verifying.judged(path, found, seen, FACTS, None, demanded=False, note="")
    assert (verdict.result, verdict.forward.code) == (Result.UNREACHABLE, "destination-is-local")
    assert "answered by gateway itself" in verdict.forward.detail


# ---- several flows at the same time ----------------------------------------------------------------


def test_of_several_flows_the_ones_without_an_entry_were_stopped() -> None:
    path = _path("snat")
    (client,) = path.clients
    other = Client(network("10.0.43.16/32"), client.next_hop, "app", "eth0")
    lost = Seen(other, Sent(PROBE, Reply.SILENT), (), at_gateway=towards())
    passed = Seen(client, Sent(PROBE, Reply.ANSWERED), entry(replied=True))
    found = Round((passed, lost), Counters(NONE, NONE, NONE), Counters(ONE, ONE, NONE))
    verdicts = [
        verifying.judged(path, found, seen, FACTS, None, demanded=False, note="") for seen in found.seen
    ]
    assert [verdict.result for verdict in verdicts] == [Result.REACHABLE, Result.UNREACHABLE]
    assert verdicts[1].stopped
    assert "did not arrive there, or was stopped there" in verdicts[1].forward.detail


@pytest.mark.parametrize(
    ("code", "said", "reply"),
    [
        (0, "", Reply.ANSWERED),
        (1, "4 packets transmitted, 0 received", Reply.SILENT),
        (124, "", Reply.SILENT),
        (2, "ping: connect: Network is unreachable", Reply.NOT_SENT),
        (2, "ping: sendmsg: Operation not permitted", Reply.NOT_SENT),
        (2, "ping: socket: Operation not permitted", Reply.NO_TOOL),
        (2, "ping: socket: Permission denied", Reply.NO_TOOL),
        (1, "ping: Lacking privilege for icmp socket.", Reply.NO_TOOL),
        (127, "ping: error while loading shared libraries: libcap.so.2", Reply.NO_TOOL),
        (137, "Killed", Reply.NO_TOOL),
        (139, "Segmentation fault", Reply.NO_TOOL),
    ],
)
def test_what_could_not_be_sent_is_no_silence(code: int, said: str, reply: Reply) -> None:
    assert sent("app", Probe.from_text("icmp/10.0.44.1"), code, said).reply is reply
