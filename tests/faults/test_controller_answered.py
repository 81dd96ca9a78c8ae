"""Nonsense in the place of one answer of a host, at every point of every verb: what the exit code says is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

import pytest

from faults.controller import Fault, Ground, Grounds, Ran
from faults.controller_answered import CODES, PRINTED, WHOLE, Spoiled, of_batch
from faults.oracle import NEW, OLD, count

pytestmark = pytest.mark.lab

AT_ONCE = 6
GUARD = ("--guard", "30s")

# By itself no host is put back or confirmed while a point is tried.
WAIT = ("--confirm-within", "180s")


AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Scene:
    """A verb, what is done to the hosts before it, and how each exit code of `codes` finds them.

    Of a code with "" only `recover` knows, and brings them to one of both; after AGAIN the verb does it when it is said
    again. A verb that `reads` changes nothing.
    """

    words: tuple[str, ...]
    begin: Callable[[Ground], object]
    codes: Mapping[int, str]

    @property
    def reads(self) -> bool:
        return self.words[0] in ("status", "verify", "history", "plan", "facts")


def nothing(ground: Ground) -> None:
    """As it is given back: nothing of crossnet is applied."""


def applied(ground: Ground) -> None:
    if ground.oracle.is_old("gateway"):
        ground.carry_out("apply")


def without_files(ground: Ground) -> None:
    """What is to be made is only written for the next boot, on both hosts."""
    applied(ground)
    ground.bench.check("gateway", "rm /etc/sysctl.d/99-zz-crossnet.conf")
    ground.bench.check("app", "rm /etc/crossnet/routes")


def waiting(ground: Ground) -> None:
    """An apply that waits for somebody, on a machine that went down."""
    running = ground.operator.start("apply", "--yes", *GUARD, *WAIT)
    running.until_sent("status")
    running.process.kill()
    running.end()


def left(host: str, subject: str) -> Callable[[Ground], None]:
    """An apply that died when this message had been answered."""

    def die(ground: Ground) -> None:
        fault = Fault(ground.applied.number(host, subject), "kill", "after")
        assert ground.operator.run("apply", "--yes", *GUARD, fault=fault).reached

    return die


def promising(ground: Ground) -> None:
    """A spec with a probe that nobody answers: an apply of it goes back."""
    text = (ground.operator.folder / "crossnet.yaml").read_text(encoding="utf-8")
    promise = text.replace("probe: icmp/10.0.44.1", "probe: icmp/10.0.44.99")
    assert promise != text
    (ground.operator.folder / "promise.yaml").write_text(promise, encoding="utf-8")


SCENES = {
    "apply": Scene(("apply", "--yes", *GUARD), nothing, {0: NEW, 1: OLD, 3: OLD}),
    "apply of files alone": Scene(
        ("apply", "--yes", *GUARD), without_files, {0: NEW, 1: AGAIN, 3: AGAIN, 6: AGAIN}
    ),
    "undo": Scene(("undo", "--yes", *GUARD), applied, {0: OLD, 1: NEW, 3: NEW}),
    "apply that goes back": Scene(
        ("apply", "--yes", *GUARD, "-f", "promise.yaml"), promising, {1: OLD, 3: OLD, 4: ""}
    ),
    "confirm": Scene(("confirm", "TXN"), waiting, {0: NEW, 1: "open", 3: OLD, 6: ""}),
    "rollback": Scene(("rollback", "TXN"), waiting, {1: "open", 3: OLD, 4: ""}),
    "recover back": Scene(("recover", "--yes"), left("app", "apply"), {1: "open", 3: OLD, 4: ""}),
    "recover forward": Scene(("recover", "--yes"), left("gateway", "commit"), {0: NEW, 1: "open", 6: ""}),
    "status": Scene(("status",), applied, {0: NEW, 1: NEW, 3: NEW}),
    "verify": Scene(("verify",), applied, {0: NEW, 1: NEW, 3: NEW}),
    "history": Scene(("history",), applied, {0: NEW, 1: NEW}),
    "status of nothing": Scene(("status",), nothing, {1: OLD, 3: OLD}),
    "undo of nothing": Scene(("undo", "--yes", *GUARD), nothing, {0: OLD, 1: OLD}),
}


def run(ground: Ground, scene: Scene, spoiled: Spoiled | None) -> Ran:
    """The verb, on hosts that are as it wants them."""
    scene.begin(ground)
    words = [ground.operator.transaction() if word == "TXN" else word for word in scene.words]
    return ground.operator.answered().run(*words, fault=spoiled)


def suffer(ground: Ground, name: str, spoiled: Spoiled, code: int | None = None) -> bool:
    """One point: the answer was spoiled, and the hosts are as the exit code says. Whether it was spoiled."""
    scene = SCENES[name]
    ran = run(ground, scene, spoiled)
    told = f"{name}, {spoiled}\n{ran}"
    # What is asked to find out where a probe stopped depends on what was seen, and who puts hosts back, or recovers
    # those that go back by themselves, asks those that were faster how it ended.
    may_ask_less = name in ("apply that goes back", "recover back", "rollback") and (
        spoiled.answer > 0 or spoiled.message == len(ran.messages) + 1
    )
    assert ran.reached or may_ask_less, f"never reached: {told}"
    assert ran.code in (scene.codes if code is None else (code,)), told
    expected = scene.codes[ran.code]
    if expected == "open":
        assert set(ground.operator.held()) == set(ground.bench.managed), told
    elif expected in (OLD, NEW):
        ground.alike(expected, told=told)
    if expected in ("", "open", AGAIN):
        recovered = ground.operator.run("recover", "--yes")
        assert recovered.code in (0, 3), f"{told}\nrecover: {recovered}"
        if expected == AGAIN:
            ground.carry_out("apply")
        decided = {"confirm": None, "recover forward": NEW, "apply of files alone": NEW}.get(name, OLD)
        ground.alike(decided, told=f"{told}\nrecover: {recovered}")
    count(f"answer spoiled: {name}", int(ran.reached))
    return ran.reached


def messages(name: str, clean: Ran) -> Iterator[Spoiled]:
    """Every message of a run, spoiled in four of the ways; in another scene in other ones."""
    ways = (*PRINTED, *(f"code-{code}" for code in CODES), *WHOLE)
    for number in range(1, len(clean.messages) + 1):
        for way in Random(f"{name} {number}").sample(ways, 4):
            yield Spoiled(way, number)


def questions(name: str, clean: Ran) -> Iterator[Spoiled]:
    """Every third answer of a message that asks several questions, in the next scene the next ones."""
    ways = (*PRINTED, "code-1", "code-66", "code-127", "code-137")
    first = list(SCENES).index(name) % 3 + 1
    batches: Counter[str] = Counter()
    for number, many in sorted(clean.questions.items()):
        kind = of_batch(clean.messages[number - 1].split()[1], many)
        batches[kind] += 1
        message = f"{kind}:{batches[kind]}"
        for answer in range(first, many + 1, 3):
            yield Spoiled(Random(f"{name} {message} {answer}").choice(ways), message, answer)


# What can be asked again is, and what was done counts, whatever was said of it.
SOME = (
    ("apply", Spoiled("unheard", "app:apply"), 0),
    ("apply", Spoiled("code-1", "gateway:commit"), 0),
    ("apply", Spoiled("code-76", "app:release"), 0),
    ("apply", Spoiled("binary", "gateway:arm"), 1),
    ("apply of files alone", Spoiled("unheard", "gateway:commit"), 0),
    ("apply that goes back", Spoiled("code-1", "gateway:rollback"), 4),
    ("recover back", Spoiled("unheard", "app:rollback"), 3),
    ("recover back", Spoiled("code-1", "gateway:recover"), 3),
    ("recover forward", Spoiled("nothing", "gateway:release"), 0),
    ("status of nothing", Spoiled("binary", 1, 2), 3),
)


def test_nonsense_at_some_answers(grounds: Grounds) -> None:
    grounds.each(SOME, lambda ground, point: suffer(ground, *point), 4)


@pytest.mark.faults
@pytest.mark.parametrize("points", [messages, questions])
@pytest.mark.parametrize("name", SCENES)
def test_nonsense_at_every_answer(
    grounds: Grounds, name: str, points: Callable[[str, Ran], Iterator[Spoiled]]
) -> None:
    ground = grounds.take()
    clean = run(ground, SCENES[name], None)
    grounds.give_back(ground)
    reached: list[bool] = []
    grounds.each(
        list(points(name, clean)),
        lambda one, spoiled: reached.append(suffer(one, name, spoiled)),
        AT_ONCE,
    )
    assert sum(reached) >= 0.9 * len(reached), reached
