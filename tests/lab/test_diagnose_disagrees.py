"""Where facts say one thing of a path and packets another, a diagnosis tells that they do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from crossnet import api
from crossnet.diagnosis.diagnose import Question, Read, diagnose
from crossnet.facts import Facts
from crossnet.lab import build
from crossnet.lab.topology import load
from crossnet.site import Answers, Site
from crossnet.values import Probe, Protocol, address
from crossnet.verdict import Diagnosis, Result
from lab.crossing import Bench

pytestmark = pytest.mark.lab

TARGET = "10.0.44.1"
SPEC = "to: 10.0.44.0/24, probe: icmp/10.0.44.1, persist: none"


@pytest.fixture(scope="module")
def bench(lab_possible: None) -> Iterator[Bench]:
    lab = asyncio.run(build.up(load("seed"), name=f"t{os.getpid()}-disagrees", lifeline=True))
    b = Bench(lab)
    b.apply(b.spec(SPEC))
    yield b
    asyncio.run(build.down(lab.name))


def changed_meanwhile(b: Bench, host: str, command: str) -> Diagnosis:
    """The verdict where this happens on a host when it has been read, and before anything is sent."""

    async def asked() -> Diagnosis:
        async with api.reach(b.spec(SPEC)) as site:
            todo = [["sh", "-c", command]]

            async def read() -> Read:
                facts = await site.observe(kernels=False)
                while todo:
                    (await site.hosts[host].run(todo.pop())).check()
                return Read(facts, {})

            probe = Probe(Protocol.ICMP, address(TARGET))
            question = Question("business", "app", ("gateway",), probe)
            return (await diagnose(question, site.hosts, read)).verdict

    return asyncio.run(asked())


def changed_in_between(b: Bench, monkeypatch: pytest.MonkeyPatch, command: str) -> Diagnosis:
    """The same of a whole `crossnet diagnose`, when its hosts have been read for the first time."""
    todo = [["sh", "-c", command]]
    look = Site.look

    async def looked(site: Site, *, kernels: bool = True) -> Answers[Facts]:
        found = await look(site, kernels=kernels)
        while todo:
            (await site.hosts["gateway"].run(todo.pop())).check()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Site, "look", looked)
        return asyncio.run(api.diagnose(api.Asked("business"), b.spec(SPEC))).verdict


def disagreements(found: Diagnosis) -> list[str]:
    return [note.detail for note in found.notes if note.code == "static-dynamic-disagree"]


def stale(found: Diagnosis) -> list[str]:
    return [note.detail for note in found.notes if note.code == "facts-stale"]


@pytest.mark.parametrize(
    ("host", "rule"),
    [
        ("gateway", f"FORWARD -d {TARGET} -j DROP"),
        ("gateway", f"FORWARD -d {TARGET} -j REJECT"),
        ("gateway", f"FORWARD -s {TARGET} -j DROP"),
        ("app", f"OUTPUT -d {TARGET} -j DROP"),
        ("app", f"INPUT -s {TARGET} -j DROP"),
    ],
    ids=["request-dropped", "request-rejected", "reply-dropped", "not-let-out", "reply-not-let-in"],
)
def test_facts_say_that_it_passes_and_it_does_not(bench: Bench, host: str, rule: str) -> None:
    try:
        found = changed_meanwhile(bench, host, f"iptables -w -I {rule}")
        assert found.result is Result.UNREACHABLE
        (words,) = disagreements(found)
        assert words.startswith("facts say that it passes, but ")
        assert host in words
        (later,) = stale(found)
        assert later.startswith(f"{host} was changed after it had been read: now ")
        assert f"-A {rule.split()[0]} " in later
        known = changed_meanwhile(bench, host, "true")
        assert known.result is Result.UNREACHABLE
        assert disagreements(known) == [], "what facts explain is no disagreement"
        assert stale(known) == []
    finally:
        bench.check(host, f"iptables -w -D {rule}")


def test_a_whole_diagnosis_reads_again_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = f"FORWARD -d {TARGET} -j DROP"
    try:
        found = changed_in_between(bench, monkeypatch, f"iptables -w -I {rule}")
    finally:
        bench.check("gateway", f"iptables -w -D {rule}")
    (later,) = stale(found)
    assert later.startswith("gateway was changed after it had been read: now filter-rule-drop, ")


def test_facts_say_that_it_is_stopped_and_it_passes(bench: Bench) -> None:
    rule = f"FORWARD -d {TARGET} -j DROP"
    bench.check("gateway", f"iptables -w -I {rule}")
    found = changed_meanwhile(bench, "gateway", f"iptables -w -D {rule}")
    assert found.result is Result.REACHABLE
    (words,) = disagreements(found)
    assert "filter-rule-drop" in words
    (later,) = stale(found)
    assert later.startswith("gateway was changed after it had been read: no longer filter-rule-drop, ")


def test_facts_say_that_it_is_stopped_where_it_was_seen_to_go_on(bench: Bench) -> None:
    rule = f"FORWARD -d {TARGET} -j DROP"
    bench.check("gateway", f"iptables -w -I {rule}")
    bench.check("target", "iptables -w -I INPUT -p icmp -j DROP")
    try:
        found = changed_meanwhile(bench, "gateway", f"iptables -w -D {rule}")
    finally:
        bench.check("target", "iptables -w -D INPUT -p icmp -j DROP")
    assert found.result is Result.UNREACHABLE
    (words,) = disagreements(found)
    assert "filter-rule-drop" in words
    assert "gateway" in words
