"""Any bytes as any answer, any exit code: a value, or an error that names the host; in facts and all that follows."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet.errors import CrossnetError, HostError, PlanRefused
from crossnet.facts import Facts, FileState
from crossnet.facts.capabilities import tools_question
from crossnet.facts.files import file_question
from crossnet.facts.firewall import QUESTIONS
from crossnet.facts.links import LINKS
from crossnet.facts.neighbours import NEIGHBOURS
from crossnet.facts.nexthops import NEXTHOPS
from crossnet.facts.owners import OWNERS
from crossnet.facts.policy import RULES4, RULES6
from crossnet.facts.programs import PROGRAMS
from crossnet.facts.question import Question
from crossnet.facts.routes import ROUTES4, ROUTES6
from crossnet.facts.saved import SAVED as SAVED_RULES
from crossnet.facts.start import START
from crossnet.facts.sysctls import BOOT_SETTINGS, SYSCTLS
from crossnet.health import crossing_status, refused_status
from crossnet.opening import told_opening
from crossnet.planning import Plan, make_plan, make_undo_plan
from crossnet.proof import last_verified
from crossnet.record import APPLIED, BEGUN, DEADLINE, DECISION, JOURNAL, VERIFIED, read_record
from crossnet.sealed import seal
from crossnet.show import json as show_json
from crossnet.show import text as show_text
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.transaction import journal
from crossnet.transaction.agent import Agent
from crossnet.transaction.batches import batched
from crossnet.transaction.bundle import bundle
from crossnet.transaction.foreign import changed_meanwhile
from crossnet.transaction.history import read_history
from crossnet.transaction.participant import Part
from crossnet.transaction.rollback import differences, unproved
from crossnet.transaction.uninterrupted import in_short
from crossnet.transport import LIMIT, TIMEOUT, Completed, Process, ShellHost
from crossnet.transport.batch import Answer
from crossnet.values import Family, Probe, address
from crossnet.verification import conntrack, counters
from crossnet.verification.comparing import read_back
from crossnet.verification.onward import SENT
from crossnet.verification.probe import search, send
from facts.mutated import CODES, PIECES, changed_text, mutated
from facts.recorded import Failure, facts_of, question_name

CASES = Path(__file__).parents[1] / "design" / "cases"
NAMES = ("seed", "applied", "dual", "engines-mixed", "forward-drops", "adopted")
SEEDS = st.integers(0, 2**64)


@cache
def case(name: str) -> tuple[Spec, dict[str, dict[str, Any]], dict[str, Facts]]:
    folder = CASES / name
    spec = parse((folder / "spec.yaml").read_text(encoding="utf-8"), "crossnet.yaml")
    recordings = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    return spec, recordings, {host: facts_of(host, recording) for host, recording in recordings.items()}


def answer(changed: Any) -> Answer:
    if isinstance(changed, Failure):
        return Answer(changed.code, changed.said.encode(), changed.words.encode())
    return Answer(0, changed.encode(errors="surrogatepass"))


# ---- at the door -----------------------------------------------------------------------------------

TRACKED = [
    "tcp 6 118 TIME_WAIT src=10.0.43.15 dst=10.0.44.1 sport=4000 dport=443 src=10.0.44.1 dst=10.0.44.63 "
    "sport=443 dport=4000 [ASSURED] mark=0 use=1",
    "icmp 1 29 src=10.0.43.15 dst=10.0.44.1 type=8 code=0 id=7 [UNREPLIED] src=10.0.44.1 dst=10.0.44.63 "
    "type=0 code=0 id=7 mark=0 use=1",
    "cannot tell",
]
INTERFACES = [
    "Inter-|   Receive                                                |  Transmit",
    "  eth0:    1362      17    0    0    0     0          0         0     1012      13    0    0    0     0       0 0",
]
SAVED = ["*filter", ":FORWARD DROP [0:0]", "[7:420] -A FORWARD -i eth1 -j ACCEPT", "COMMIT"]


BESIDE = [
    "qdisc noqueue 0: dev eth0 root refcnt 2 ",
    "qdisc clsact ffff: dev eth0 parent ffff:fff1 ",
    "src 10.0.0.0/24 dst 10.1.0.0/24 proto tcp dport 80 ",
    "\tdir out action block priority 0 ptype main ",
]


KEPT = [
    "device eth0:connected",
    "profile eth0:11111111-2222-3333-4444-555555555555:Wired: x:/etc/x",
    "networkd eth0 configured /etc/systemd/network/10-eth0.network",
    "ifcfg eth0",
    'set DEVICE="eth0"',
    "ifup eth0=eth0",
]
IN_FILES = [
    "file /etc/iptables/rules.v4",
    "CROSSNET-FORWARD",
    "xnet4-from-business",
    "file /etc/nftables.conf",
]


@cache
def asked() -> list[tuple[Question[Any], Any]]:
    """Every question that a host is asked, each with what a real one answered."""
    tools = tools_question("/run")
    general: tuple[Question[Any], ...] = (
        *(LINKS, ROUTES4, ROUTES6, NEXTHOPS, RULES4, RULES6, NEIGHBOURS, START, SYSCTLS, BOOT_SETTINGS),
        *(tools, *QUESTIONS),
    )
    found: list[tuple[Question[Any], Any]] = [
        (question, recording.get(question_name(question.argv)))
        for name in NAMES
        for recording in case(name)[1].values()
        for question in general
    ]
    found += [(PROGRAMS, BESIDE), (SAVED_RULES, IN_FILES), (OWNERS, KEPT)] * 8
    flow = (address("10.0.43.15"), address("10.0.44.1"))
    found += [(conntrack.question(Family.V4, [flow]), TRACKED)] * 8
    found += [(SENT, INTERFACES)] * 4
    for name in ("applied", "engines-mixed"):
        spec, recordings, facts = case(name)
        made = make_plan(spec, facts)
        found += [
            (question, recordings[host]["nft -j list ruleset"] if question.argv[0] == "nft" else SAVED)
            for host, table in made.tables
            for question in [counters.question(table)]
        ] * 3
    found += [(file_question("/etc/crossnet/start"), ["755 0:4 1", "AAEC/w=="])] * 4
    return found


@given(SEEDS)
@settings(max_examples=16_000, deadline=None)
def test_every_question(seed: int) -> None:
    draw = Random(seed)
    question, recorded = draw.choice(asked())
    with suppress(HostError):
        question.meaning("gateway", answer(mutated(draw, recorded)))


# ---- what crossnet keeps on a host ---------------------------------------------------------------------


@cache
def kept() -> tuple[Spec, Facts, dict[str, Any]]:
    spec, _, facts = case("applied")
    gateway = facts["gateway"]
    record = read_record(gateway)
    entries = tuple(
        journal.Entry(f"{own.applied.kind}", own.applied, own.original.state() if own.original else None)
        for own in record.owned
    )
    written = journal.new("1234abcd", "apply", ("app", "gateway"))
    own = {
        JOURNAL: json.loads(journal.encode(replace(written, entries=entries))),
        APPLIED: json.loads(record.to_json()),
        VERIFIED: {"business": {"time": "2026-11-28T00:00:00Z", "result": "reachable"}},
    }
    return spec, gateway, own


def resealed(draw: Random, said: bytes) -> bytes:
    """Most of them with the right checksum, so that what it holds is looked at as well."""
    with suppress(ValueError, RecursionError):
        document = json.loads(said)
        if isinstance(document, dict) and draw.random() < 0.8:
            document.pop("sha256", None)
            return seal(document)
    return said


@given(SEEDS)
@settings(max_examples=1_000, deadline=None)
def test_every_file_of_crossnets_own(seed: int) -> None:
    draw = Random(seed)
    _, gateway, own = kept()
    path = draw.choice(list(own))
    said = resealed(draw, answer(mutated(draw, own[path])).stdout)
    texts = {BEGUN: "1\n2\n", DECISION: "confirm\n", DEADLINE: "1000 5bd4a94a-d9a4-4d4b-a0a4-6a2c1b0f7c11\n"}
    files = {name: changed_text(draw, text).encode(errors="replace") for name, text in texts.items()}
    files |= {name: json.dumps(value).encode() for name, value in own.items()}
    if draw.random() < 0.5:
        files = {name: data for name, data in files.items() if name in (APPLIED, VERIFIED)}
    files[path] = said
    states = {name: FileState(data, 0o600, "0:0") for name, data in files.items()}
    facts = replace(gateway, files=states)
    with suppress(CrossnetError):
        if found := journal.unfinished(facts):
            journal.locked("gateway", found)
            unproved(found, facts)
    with suppress(CrossnetError):
        read_record(facts).to_json()
    assert all(isinstance(text, str) for one in last_verified(facts).values() for text in one.values())


# ---- the verbs of a transaction, and of a verification ---------------------------------------------------


class Saying(ShellHost):
    """Gives this one answer to whatever it is told."""

    name = "gateway"

    def __init__(self, said: bytes, code: int, errors: bytes) -> None:
        self._said = said, code, errors

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        assert not any("\0" in word for word in argv)  # which would end there (execve(2))
        said, code, errors = self._said
        boundary = next((word for word in argv if word.startswith("--crossnet-")), "").encode()
        return Completed(self.name, tuple(argv), code, said.replace(b"BOUNDARY", boundary), errors)

    async def start(self, argv: Sequence[str]) -> Process:
        raise AssertionError


@cache
def part() -> Part:
    spec, _, facts = case("seed")
    made = make_plan(spec, facts)
    host = next(host for host in made.hosts if host.host == "gateway")
    live = tuple(change for name, change in made.live() if name == "gateway")
    return Part(journal.new("0ddba115", "apply", ("gateway",)), host, live, ())


async def change(agent: Agent, given: Part) -> None:
    with suppress(CrossnetError):
        await agent.stage(given)  # so that it knows what it may hear of
    await agent.change(2, 10)


PROBE = Probe.from_text("icmp/10.0.44.1")
VERBS: tuple[Callable[[Agent], Coroutine[Any, Any, object]], ...] = (
    lambda agent: agent.stage(part()),
    lambda agent: agent.arm(30, unproved=False),
    lambda agent: change(agent, part()),
    lambda agent: agent.extend(30),
    lambda agent: agent.confirm(),
    lambda agent: agent.finish(),
    lambda agent: agent.roll_back(),
    lambda agent: agent.left(),
    lambda agent: agent.ended(),
    lambda agent: agent.sweep(),
    lambda agent: read_history(agent.host),
    lambda agent: send(agent.host, [PROBE, PROBE]),
    lambda agent: search(agent.host, [[PROBE.destination]]),
)
SAID = (
    "open 30\n",
    "confirm\n",
    "rollback\n",
    "gone confirm\n",
    "gone \n",
    "armed watch\narmed timer\n",
    "drilling\n",
    "confirmed\n",
    "extended\n",
    "written\n",
    "clean\n",
    "lacks flock\n",
    "unguarded\n",
    "unproved no systemd\n",
    "No such file\nfailed 0001 01 2 route 10.0.44.0/24\n",
    "failed 0009 07 1 sysctl x\n",
    "held 1 30 confirm\n",
    "held 1 30\n{}\n",
    "\nBOUNDARY 0\n",
    "2026-11-28T00:00:00Z\t1234abcd\tme@here\tapply\t2026-11-28T00:01:00Z\tconfirm\twritten\n\nBOUNDARY 0\n",
    "said\nBOUNDARY 0 0\nsaid\nBOUNDARY 1 1\n",
)


@given(SEEDS)
@settings(max_examples=1_500, deadline=None)
def test_every_verb(seed: int) -> None:
    draw = Random(seed)
    said = draw.choice(SAID)
    if draw.random() < 0.2:
        _, _, own = kept()
        said = f"held 1 30\n{answer(mutated(draw, own[JOURNAL])).text}"
    if draw.random() < 0.8:
        said = changed_text(draw, said)
    host = Saying(said.encode(errors="replace"), draw.choice((0, 0, *CODES)), draw.choice(PIECES).encode())
    told = ""
    try:
        asyncio.run(draw.choice(VERBS)(Agent(host, "1234abcd")))
    except CrossnetError as error:
        told = in_short(error)
    # An argument of what puts the hosts back.
    assert told.isprintable()


class StillLookedAt(BaseException):
    """Not one of those that the door takes for a surprise."""


@pytest.mark.parametrize("verb", range(len(VERBS)))
@pytest.mark.parametrize(
    "said", [b"x" * 2_000_000, b"\n" * 2_000_000, b":" * 2_000_000], ids=["word", "lines", "colons"]
)
def test_a_long_answer_is_not_looked_at_forever(verb: int, said: bytes) -> None:
    """What takes a second of a short answer takes days of this one, wherever each place is searched from each place."""

    def too_long(*_: object) -> None:
        raise StillLookedAt

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(300)
    try:
        with suppress(CrossnetError):
            asyncio.run(VERBS[verb](Agent(Saying(said, 0, b""), "1234abcd")))
    finally:
        signal.alarm(0)


# ---- everything that follows from facts ------------------------------------------------------------------


@cache
def planned(name: str) -> Plan:
    spec, _, facts = case(name)
    return make_plan(spec, facts)


def follow(name: str, facts: Mapping[str, Facts]) -> None:
    """Every verb that reads these facts, with all that it shows."""
    spec, _, before = case(name)
    show_text.facts_text(facts)
    show_json.document(show_json.facts_data(facts))
    for one in facts.values():
        journal.unfinished(one)
    try:
        made = make_plan(spec, facts)
    except PlanRefused as refused:
        show_text.status_text(refused_status(spec, facts, refused))
    else:
        prepare(told_opening(made, facts))
        found = crossing_status(made, facts)
        show_text.status_text(found)
        show_json.document(show_json.status_data(found))
    prepare(told_opening(make_undo_plan(spec, facts), facts))
    old = planned(name)
    changed_meanwhile(old, before, facts)
    read_back(old, facts, live_only=False)
    differences(old.live(), facts)


def prepare(plan: Plan) -> None:
    """What is shown of a plan, and what an apply would leave on each host before it begins."""
    show_text.plan_text(plan, verbose=True)
    show_json.document(show_json.plan_data(plan))
    written = journal.new("1234abcd", "apply", plan.touched)
    for host in plan.hosts:
        live = [change for name, change in plan.live() if name == host.host]
        later = [change for name, change in plan.persistent() if name == host.host]
        own = replace(written, entries=tuple(journal.entry(one) for one in live))
        bundle(own, host, batched(live), later, lambda path: path)


@given(SEEDS)
@settings(max_examples=1_500, deadline=None)
def test_facts_and_all_that_follows(seed: int) -> None:
    draw = Random(seed)
    name = draw.choice(NAMES)
    _, recordings, facts = case(name)
    host = draw.choice(sorted(recordings))
    recording = dict(recordings[host])
    # Those of which not every change is an error.
    question = draw.choice(sorted(set(recording) - {"tools", "sysctl files"}))
    recording[question] = mutated(draw, recording[question])
    with suppress(CrossnetError):
        follow(name, {**facts, host: facts_of(host, recording)})


def test_what_real_tools_said_is_understood() -> None:
    """The tests above would be content with an error for whatever is said."""
    follow("applied", case("applied")[2])
    for question, recorded in asked():
        lines = isinstance(recorded, list) and all(isinstance(line, str) for line in recorded)
        said = "".join(f"{line}\n" for line in recorded) if lines else json.dumps(recorded)
        question.meaning("gateway", Answer(0, said.encode()))
