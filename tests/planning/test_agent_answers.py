"""An exit code alone proves nothing: a host has to say what it has done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from crossnet.errors import CloudError, CrossnetError, HostError, HostsFailed, RollbackNotProved
from crossnet.events import nobody
from crossnet.facts import Facts, FileState
from crossnet.planning import HostPlan
from crossnet.record import DECISION, IDENTITY, JOURNAL, Record
from crossnet.site import Answers, Site
from crossnet.spec import Spec
from crossnet.transaction import ending, journal
from crossnet.transaction.agent import Agent
from crossnet.transaction.participant import Gone, Part, Refused
from crossnet.transport import TIMEOUT, Completed, Process, ShellHost
from design.factsheet import facts_from, host_facts, with_files


@dataclass
class Says(ShellHost):
    """A host that answers everything with the same."""

    said: bytes = b""
    code: int = 0

    @property
    def name(self) -> str:
        return "gateway"

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = 0
    ) -> Completed:
        return Completed(self.name, tuple(argv), self.code, self.said, b"")

    async def start(self, argv: Sequence[str]) -> Process:
        raise AssertionError("nothing is started")


PART = Part(
    journal.new("0ddba115", "apply", ("gateway",)), HostPlan("gateway", (), (), Record(), Record()), (), ()
)

VERBS: dict[str, Callable[[Agent], Awaitable[Any]]] = {
    "stage": lambda agent: agent.stage(PART),
    "arm": lambda agent: agent.arm(60, unproved=False),
    "arm without proof": lambda agent: agent.arm(60, unproved=True),
    "change": lambda agent: agent.change(3, 60),
    "extend": lambda agent: agent.extend(60),
    "confirm": lambda agent: agent.confirm(),
    "finish": lambda agent: agent.finish(),
    "roll back": lambda agent: agent.roll_back(),
    "status": lambda agent: agent.left(),
}
SIGNS = {
    "stage": b"staged\n",
    "arm": b"armed watch\n",
    "arm without proof": b"unproved no systemd\n",
    "change": b"made 3\n",
    "extend": b"extended\n",
    "confirm": b"confirmed\n",
    "finish": b"written\n",
    "roll back": b"clean\n",
    "status": b"open 7\n",
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "said", [b"", b"\n\n", b"Welcome to gateway\n", b"made 2\n", b"stagedness\n", b"\xff\x00\n"]
)
def test_no_word_of_it_is_no_yes(verb: str, said: bytes) -> None:
    with pytest.raises(HostError):
        asyncio.run(VERBS[verb](Agent(Says(said), "0ddba115")))  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", VERBS)
def test_its_own_word_is(verb: str) -> None:
    asyncio.run(VERBS[verb](Agent(Says(SIGNS[verb]), "0ddba115")))  # type: ignore[arg-type]


def test_a_rollback_that_fails_without_a_word_is_not_clean() -> None:
    assert asyncio.run(Agent(Says(b"", 70), "0ddba115").roll_back()) != ()


def test_where_the_answer_may_be_lost_it_is_asked_again() -> None:
    """Refused is for what the host itself has said no to."""
    with pytest.raises(HostError) as unknown:
        asyncio.run(Agent(Says(), "0ddba115").confirm())
    assert not isinstance(unknown.value, Refused)


@dataclass
class Deciding(Says):
    """A host that does what it is told, and answers nonsense to that alone."""

    holds: bytes = b""
    asked: tuple[str, ...] = ()

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = 0
    ) -> Completed:
        self.asked += tuple(word for word in argv if word in ("commit", "status"))
        if "status" in argv:
            return Completed(self.name, tuple(argv), 0, self.holds, b"")
        return Completed(self.name, tuple(argv), self.code, self.said, b"")


NONSENSE = pytest.mark.parametrize("code", [1, 2, 69, 70, 75, 76, 77, 126, 127, 137, 255])


@NONSENSE
def test_what_the_host_holds_as_decided_is_decided_whatever_it_said(code: int) -> None:
    host = Deciding(code=code, holds=b"confirm\n")
    asyncio.run(Agent(host, "0ddba115").confirm())
    assert host.asked == ("commit", "status")


@NONSENSE
def test_what_is_open_still_was_not_confirmed(code: int) -> None:
    with pytest.raises((Gone, Refused)):
        asyncio.run(Agent(Deciding(code=code, holds=b"open 30\n"), "0ddba115").confirm())


@NONSENSE
def test_what_was_rolled_back_was_not_confirmed(code: int) -> None:
    with pytest.raises((Gone, Refused)):
        asyncio.run(Agent(Deciding(code=code, holds=b"rollback\n"), "0ddba115").confirm())


class DirtyScript:
    """Of a host whose time ran out, and which found something not to be as before."""

    asked: ClassVar[list[str]] = []

    def __init__(self, host: str, transaction: str, **_: object) -> None:
        self.name, self.transaction = host, transaction

    async def confirm(self) -> None:
        raise Gone(self.name, self.transaction, journal.ROLLBACK)

    async def roll_back(self, why: str = "") -> tuple[str, ...]:
        self.asked.append(self.name)
        return (f"{self.name}: route 10.0.44.0/24 is not what it was before",)


class AtCloud:
    """What a host journals at a cloud that takes nothing back."""

    name = "cloud prod"

    def __init__(self, error: CrossnetError) -> None:
        self.error = error

    def found_with(self, *_: object) -> AtCloud:
        return self

    async def reconnect(self) -> None:
        pass

    async def roll_back(self, why: str = "") -> tuple[str, ...]:
        raise self.error


def refused(port: int) -> Refused:
    return Refused("cloud prod", f"was to take back port {port}", "403 Forbidden", "Look at its policy.")


@pytest.mark.parametrize(
    "error",
    [
        None,
        refused(1),
        HostsFailed([refused(1), refused(2)]),
        CloudError("prod", "asked", "no answer", "Look."),
    ],
    ids=["no cloud", "refused", "two ports", "silent"],
)
def test_a_confirmation_that_comes_too_late_puts_back_and_tells_the_others_too(
    monkeypatch: pytest.MonkeyPatch, error: CrossnetError | None
) -> None:
    class Watched(SimpleNamespace):
        async def observe(self) -> dict[str, Facts]:
            return facts_from("gateway:\n  eth0 10.0.43.101/24\napp:\n  eth0 10.0.43.15/24\n")

    monkeypatch.setattr(ending, "Agent", DirtyScript)
    monkeypatch.setattr(DirtyScript, "asked", [])
    group = ("gateway", "app")
    held = {name: journal.new("0ddba115", "apply", group) for name in group}
    if error is not None:
        held["gateway"] = replace(held["gateway"], others=(journal.Other("cloud prod", "port-security", ()),))
        monkeypatch.setattr(ending, "participant", lambda *_: AtCloud(error))
        monkeypatch.setattr(ending, "PATIENCE", 0)
    found = ending.Open("0ddba115", "apply", held, {}, cast(Spec, None), {})
    site = cast(Site, Watched(hosts={name: name for name in group}, watch=nobody))
    assert asyncio.run(ending.decide(found, site)) is False
    DirtyScript.asked.clear()
    with pytest.raises(RollbackNotProved) as dirty:
        asyncio.run(ending.roll_back(found, site, "ann said `crossnet confirm`"))
    assert sorted(DirtyScript.asked) == ["app", "gateway"]
    assert str(dirty.value).splitlines() == [
        "Rollback not proved. Look at:",
        "  app: route 10.0.44.0/24 is not what it was before",
        *(f"  {error}".splitlines() if error is not None else ()),
        "  gateway: route 10.0.44.0/24 is not what it was before",
        "  `crossnet recover` tries again.",
    ]


@pytest.mark.parametrize("decision", ["", journal.CONFIRM, journal.ROLLBACK])
def test_a_host_that_is_forgotten_is_not_waited_for_where_a_transaction_is_also_on_it(decision: str) -> None:
    """Any other that is missing is in another spec, and has to be asked."""
    document = journal.encode(journal.new("0ddba115", "apply", ("app", "gateway")))
    files = {JOURNAL: document, IDENTITY: b"0ddba115\n", DECISION: decision.encode()}
    facts = {
        "gateway": with_files(
            host_facts("gateway", ""), {path: FileState(data, 0o600, "0:0") for path, data in files.items()}
        )
    }

    async def ask(_: object) -> Answers[tuple[()]]:
        return Answers({"gateway": ()}, {})

    def found(forgotten: str) -> ending.Open:
        site, spec = cast(Site, SimpleNamespace(ask=ask)), cast(Spec, None)
        (only,) = asyncio.run(ending.find(facts, site, spec, forgotten=forgotten))
        return only

    assert found("app").decision == decision
    assert set(found("app").held) == {"gateway"}
    with pytest.raises(
        CrossnetError, match="also on app, and neither the spec nor its journal has a way there"
    ):
        found("")
