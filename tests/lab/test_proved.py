"""Done means proved: what an apply makes of what became of its probes, on real hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import crossnet
from crossnet.errors import RolledBack, StalePlan
from crossnet.health import State
from crossnet.lab.build import Lab
from crossnet.spec import Spec
from crossnet.values import Probe
from crossnet.verdict import HowFar, Result
from lab.crossing import Bench

pytestmark = pytest.mark.lab

TO = "to: 10.0.44.0/24, persist: none"


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    return Bench(lab_up("seed"))


def state(bench: Bench, spec: Spec) -> State:
    (found,) = asyncio.run(crossnet.status(spec))
    return found.state


def chain(hook: str, priority: int, rule: str) -> str:
    return f"nft 'table ip theirs {{ chain c {{ type filter hook {hook} priority {priority}; {rule}; }}; }}'"


@pytest.mark.parametrize(
    ("host", "by", "told"),
    [
        pytest.param(
            "gateway",
            chain("postrouting", 200, "meta l4proto icmp drop"),
            r"admitted and translated it, and did not send it on; a rule of gateway drops it \(nft ip theirs c\)",
            id="translated and not sent",
        ),
        pytest.param(
            "gateway",
            chain("forward", 50, "icmp type echo-request limit rate over 1/hour burst 1 packets drop"),
            r"gateway admitted it, and did not translate it; perhaps a rule of gateway .*\(nft ip theirs c\)",
            id="admitted and not translated, perhaps",
        ),
        pytest.param(
            "gateway",
            chain("prerouting", -300, "meta l4proto icmp notrack"),
            "gateway admitted it, and did not translate it; .*keeps it from connection tracking: .* notrack",
            id="not tracked",
        ),
        pytest.param(
            "app",
            chain("output", 0, "icmp type echo-request drop"),
            r"gateway did not admit it; a rule of app does not let it out \(nft ip theirs c\): icmp",
            id="sent and not admitted",
        ),
        pytest.param(
            "gateway",
            "nft 'table arp theirs { chain c { type filter hook output priority 0; oifname eth0 drop; }; }';"
            " ip neigh flush all",
            r"eth0 sent nothing at all meanwhile; perhaps a rule of gateway drops it \(nft arp theirs c\): oifname",
            id="not sent by the interface",
        ),
    ],
)
def test_what_was_seen_not_to_leave_the_gateway_is_rolled_back(
    bench: Bench, host: str, by: str, told: str
) -> None:
    bench.check(host, by)
    before = bench.fingerprints()
    with pytest.raises(RolledBack, match=f"was seen not to get through the gateway:\n  app → .*: .*{told}"):
        bench.apply(bench.spec(TO))
    assert bench.differences(before) == []


def test_what_left_and_got_no_answer_is_confirmed_and_not_proved_until_one_comes(bench: Bench) -> None:
    bench.check("target", chain("input", 0, "icmp type echo-request drop"))
    spec = bench.spec(TO)
    applied = bench.apply(spec)
    assert applied.confirmed
    (unproved,) = applied.unproved
    assert (unproved.how_far, unproved.stopped, unproved.reply.code) == (
        HowFar.LEFT,
        False,
        "destination-silent",
    )
    assert state(bench, spec) is State.UNPROVED

    bench.check("target", "nft delete table ip theirs")
    again = bench.apply(spec)
    assert (again.confirmed, again.unproved) == (None, ())
    assert state(bench, spec) is State.UP

    held = bench.fingerprints()
    assert bench.apply(spec).confirmed is None
    assert bench.differences(held) == []


def test_an_answer_that_comes_past_the_gateway_proves_no_crossing(lab_up: Callable[..., Lab]) -> None:
    """A stranger's rule for invalid packets would stop the connection behind its first answer."""
    bench = Bench(lab_up("two-gateways"))
    bench.check("target", "ip route replace 10.0.43.0/24 via 10.0.44.64")
    bench.check("gateway-2", "sysctl -qw net.ipv4.ip_forward=1")
    spec = bench.spec(f"{TO}, translate: none, probe: icmp/10.0.44.1")
    applied = bench.apply(spec)
    (unproved,) = applied.unproved
    assert applied.confirmed
    assert (unproved.how_far, unproved.reply.code) == (HowFar.ANSWERED, "return-route-elsewhere")
    assert state(bench, spec) is State.UNPROVED
    found = asyncio.run(crossnet.diagnose(crossnet.Asked("business"), spec)).verdict
    assert (found.result, [note.code for note in found.notes]) == (
        Result.REACHABLE,
        ["return-route-elsewhere"],
    )


def test_an_answer_that_is_lost_on_the_gateway_is_not_laid_to_the_destination(bench: Bench) -> None:
    bench.check("gateway", chain("forward", 50, "icmp type echo-reply drop"))
    (unproved,) = bench.apply(bench.spec(TO)).unproved
    assert (unproved.how_far, unproved.forward.disposition) == (HowFar.CAME_BACK, "delivered")
    assert "a rule of gateway drops it (nft ip theirs c): icmp type echo-reply drop" in unproved.reply.detail


def test_who_answers_is_found_by_tcp_where_no_echo_may_pass(bench: Bench) -> None:
    applied = bench.apply(bench.spec(f"{TO}, allow: [udp/53, tcp/8000-8010]"))
    (verdict,) = applied.verification.verdicts if applied.verification else ()
    assert (str(verdict.probe), verdict.result) == ("tcp/10.0.44.1:8000", Result.REACHABLE)
    assert applied.unproved == ()


def test_any_flow_of_a_crossing_is_tried_and_none_of_the_status_changes(bench: Bench) -> None:
    spec = bench.spec(f"{TO}, probe: icmp/10.0.44.1")
    bench.apply(spec)
    absent = Probe.from_text("icmp/10.0.44.77")
    found = asyncio.run(crossnet.verify(spec, client="app", probe=absent))
    (verdict,) = found.verdicts
    assert (verdict.probe, verdict.result) == (absent, Result.UNREACHABLE)
    assert state(bench, spec) is State.UP


def test_a_new_probe_alone_is_sent(bench: Bench) -> None:
    bench.apply(bench.spec(f"{TO}, probe: icmp/10.0.44.1"))
    applied = bench.apply(bench.spec(f"{TO}, probe: [icmp/10.0.44.1, tcp/10.0.44.1:80]"))
    sent = [str(verdict.probe) for verdict in applied.verification.verdicts] if applied.verification else []
    assert sent == ["icmp/10.0.44.1", "tcp/10.0.44.1:80"]
    absent = bench.apply(bench.spec(f"{TO}, probe: icmp/10.0.44.77"))
    assert (absent.confirmed, len(absent.unproved)) == (None, 1)
    assert state(bench, bench.spec(TO)) is State.UNPROVED


def test_a_plan_without_changes_is_stale_when_something_moved(bench: Bench) -> None:
    spec = bench.spec(f"{TO}, probe: icmp/10.0.44.1")
    bench.apply(spec)
    made = bench.plan(spec)
    bench.check("app", "ip route del 10.0.44.0/24")
    with pytest.raises(StalePlan, match=r"app: .*route 10\.0\.44\.0/24"):
        asyncio.run(crossnet.apply(made))
