"""A client whose route comes with its lease is told what it waits for, and sends nothing before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from crossnet import specfile
from crossnet.diagnosis.verifying import verify
from crossnet.events import nobody
from crossnet.facts import Facts
from crossnet.facts.routes import Route
from crossnet.planning import make_plan
from crossnet.site import Site
from crossnet.verdict import Diagnosis, Result
from crossnet.verification.choice import Choice, choose
from design.test_host_routes import BY_LEASE, OURS, as_leased, said
from design.test_port_security import hosts, spec

NAMED = f"{BY_LEASE}, probe: [icmp/10.0.44.1, tcp/10.0.44.1:443]"


def verdicts(facts: Mapping[str, Facts], more: str = NAMED) -> tuple[Diagnosis, ...]:
    """Where nobody can be asked anything."""
    plan = make_plan(spec(more), facts)
    return asyncio.run(verify(plan, facts, Site({}, {}, nobody), live_only=True)).verdicts


def choices(facts: Mapping[str, Facts]) -> list[Choice]:
    return asyncio.run(choose(make_plan(spec(NAMED), facts).paths, facts, Site({}, {}, nobody)))


def with_lease(facts: Facts) -> Facts:
    route = Route(OURS.destination, OURS.next_hop, "eth0", protocol="dhcp", metric=100)
    return replace(facts, routes=(*facts.routes, route))


def test_it_is_not_judged_and_not_refuted_also_where_the_spec_names_the_probe() -> None:
    facts = hosts(said())
    (static,) = verdicts(facts)
    assert static.forward.fix == ()
    (verdict,) = verdicts({**facts, "app": as_leased(facts["app"])})
    assert (verdict.client, verdict.result, verdict.is_refuted) == ("app", Result.UNDETERMINED, False)
    assert (verdict.forward.disposition, verdict.forward.code) == ("not-sent", "route-with-lease")
    assert verdict.why.startswith("app: no route to 10.0.44.0/24 yet: it comes with its next DHCP lease")
    (fix,) = verdict.forward.fix
    assert (fix.host, "dhclient eth0" in fix.commands[0]) == ("app", True)


def test_who_has_the_route_sends_and_who_waits_is_told_once() -> None:
    facts = hosts(said())
    (waiting,) = choices(facts)
    assert ([one.host for one in waiting.senders], len(waiting.waiting)) == ([], 1)
    (sending,) = choices({**facts, "app": with_lease(facts["app"])})
    assert ([one.host for one in sending.senders], sending.waiting) == (["app"], ())
    both = replace(sending, waiting=waiting.waiting)
    assert [len(one.waiting) for one in both.one_by_one()] == [1, 0]


def test_of_another_crossing_nothing_is_waited_for() -> None:
    facts = hosts(said())
    usual = specfile.parse(spec(NAMED).source.replace(", routes: neutron", ""), "crossnet.yaml")
    (choice,) = asyncio.run(choose(make_plan(usual, facts).paths, facts, Site({}, {}, nobody)))
    assert ([one.host for one in choice.senders], choice.waiting) == (["app"], ())
