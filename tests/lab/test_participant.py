"""What no host changes itself takes part in a transaction: a cloud in memory, which journals on the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any, ClassVar, Self

import pytest

from crossnet import api
from crossnet.design import lookups
from crossnet.errors import RolledBack
from crossnet.events import Event, Kind
from crossnet.facts import Facts
from crossnet.lab.build import Lab
from crossnet.lab.fingerprint import Fingerprint
from crossnet.planning import Plan, make_plan
from crossnet.record import TRANSACTION, Owned
from crossnet.resources import KINDS, Change, Encoded, Look, Resource, Step
from crossnet.resources.sh_tests import Locate
from crossnet.resources.sh_tests import Test as HostTest
from crossnet.show import json as show_json
from crossnet.show import text
from crossnet.site import Site, reach
from crossnet.transaction import journal
from crossnet.transaction.apply import Confirmed, NotAsPromised, Proof
from crossnet.transaction.apply import apply as transact
from crossnet.transaction.group import Group
from crossnet.transaction.guard import Guard
from crossnet.transaction.participant import Gone, Part, Participant, Refused
from crossnet.transaction.participants import PARTICIPANTS
from crossnet.transport import Host
from lab.crossing import Bench
from lab.test_transaction import break_tool

pytestmark = pytest.mark.lab

CROSSING = "to: 10.0.44.0/24, persist: none"
JOURNAL = PurePosixPath(f"{TRANSACTION}/cloud.json")

# What the cloud lets the ports of the gateway send.
ports: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Port(Resource):
    """What a port may send, as the cloud has it."""

    name: str
    allows: str

    kind: ClassVar[str] = "port"
    rank: ClassVar[int] = 0
    place_shown: ClassVar[int] = 9

    @property
    def key(self) -> str:
        return self.name

    @property
    def changed_by(self) -> str:
        return "cloud"

    def current(self, facts: Facts) -> Port | None:
        return Port(self.name, ports[self.name]) if self.name in ports else None

    def look(self) -> tuple[Look, ...]:
        return ()

    def holds(self, locate: Locate) -> HostTest:
        return HostTest("false")

    def lacks(self, locate: Locate) -> HostTest:
        return HostTest("false")

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        return ()

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None
        return f"{side.name} may send {side.allows}"

    def encode(self) -> Encoded:
        return {"name": self.name, "allows": self.allows}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(encoded["name"], encoded["allows"])


class Cloud(Participant):
    """Has no guard; before it changes anything, its keeper knows how it was."""

    fails_at: ClassVar[str] = ""
    said: ClassVar[list[str]] = []

    def __init__(self, name: str, transaction: str, keeper: Host) -> None:
        self._name, self.keeper, self._host = name, keeper.name, keeper
        self._part: Part | None = None

    @property
    def name(self) -> str:
        return self._name

    def _does(self, verb: str) -> None:
        self.said.append(verb)
        if verb == self.fails_at:
            raise Refused(self.name, f"came to {verb}", "it says no", "Ask its owner.")

    async def stage(self, part: Part) -> bool:
        self._part = part
        before = {entry.resource.key: entry.before for entry in part.journal.entries}
        await self._host.write(JOURNAL, json.dumps(before).encode(), mode=0o600)
        self._does("stage")
        return False

    async def arm(self, seconds: int, *, unproved: bool) -> tuple[str, ...]:
        self._does("arm")
        return ()

    async def change(self, upto: int, timeout: float) -> None:
        assert self._part is not None
        assert await self._host.read(JOURNAL), "it journals before it changes anything"
        for change in self._part.live[:upto]:
            if isinstance(change.want, Port):
                ports[change.want.name] = change.want.allows
            else:
                ports.pop(change.resource.key, None)
        self._does("change")

    async def extend(self, seconds: int, verified: bytes = b"") -> None:
        self._does("extend")

    async def confirm(self) -> None:
        self._does("confirm")

    async def finish(self, verified: bytes = b"") -> tuple[str, ...]:
        await self._slowly()
        self._does("finish")
        return ()

    async def roll_back(self, why: str = "") -> tuple[str, ...]:
        kept = await self._host.read(JOURNAL)
        for name, before in (json.loads(kept) if kept else {}).items():
            if before is None:
                ports.pop(name, None)
            else:
                ports[name] = before["allows"]
        if kept:
            await self._slowly()
        self._does("roll back")
        return ()

    async def _slowly(self) -> None:
        await asyncio.sleep(1)  # as clouds are; a host ends its part meanwhile, where it does not wait
        assert await self._host.read(JOURNAL), "its keeper has not forgotten it yet"

    async def left(self) -> int:
        raise Gone(self.name, "", "")

    async def ended(self) -> str:
        return ""


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    return Bench(lab_up("seed"))


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(KINDS, "port", Port)
    monkeypatch.setitem(PARTICIPANTS, "port", Cloud)
    monkeypatch.setattr(Cloud, "fails_at", "")
    Cloud.said.clear()
    ports.clear()
    ports["eth1"] = "10.0.43.101"
    yield
    assert "left" not in Cloud.said


WANTED = Port("eth1", "10.0.44.0/24")


def with_port(made: Plan) -> Plan:
    """The plan with what the cloud has to change for the gateway."""
    change = Change(Port("eth1", ports["eth1"]), WANTED)
    return replace(
        made,
        hosts=tuple(
            replace(
                host,
                changes=(change, *host.changes),
                after=replace(host.after, owned=(*host.after.owned, Owned(change.have, WANTED))),
            )
            if host.host == "gateway"
            else host
            for host in made.hosts
        ),
    )


@dataclass
class Run:
    """An apply that proves nothing, or fails there, or waits there until it is interrupted."""

    bench: Bench
    proof: str = "proves"
    events: list[Event] | None = None

    async def apply(self) -> Confirmed:
        spec = self.bench.spec(CROSSING)
        self.events = []
        reached = asyncio.Event()

        def asking(facts: Mapping[str, Facts]) -> Any:
            return lookups(spec, facts)

        async with reach(spec, watch=self.events.append, asking=asking) as site:
            made = with_port(make_plan(spec, await site.observe()))

            async def prove() -> Proof:
                assert ports == {"eth1": WANTED.allows}
                if self.proof == "fails":
                    raise NotAsPromised("a probe of the spec does not pass", "Look")
                if self.proof == "waits":
                    reached.set()
                    await asyncio.Event().wait()
                return Proof(await site.observe())

            work = asyncio.ensure_future(self._transact(made, site, prove))
            if self.proof == "waits":
                await reached.wait()
                work.cancel()  # as Ctrl-C does
            return await work

    async def _transact(self, made: Plan, site: Site, prove: Any) -> Confirmed:
        assert "eth1 may send 10.0.44.0/24" in text.plan_text(made)
        show_json.document(show_json.plan_data(made))
        return await transact(
            made,
            site,
            what="apply business",
            crossings=["business"],
            message="",
            guard=Guard(60),
            replan=lambda facts: with_port(make_plan(made.spec, facts)),
            prove=prove,
        )


def test_it_is_confirmed_with_the_hosts_and_taken_back_with_them(bench: Bench) -> None:
    before = bench.fingerprints()
    run = Run(bench)
    asyncio.run(run.apply())
    assert ports == {"eth1": "10.0.44.0/24"}
    assert Cloud.said == ["stage", "arm", "change", "confirm", "finish"]
    assert bench.pings("app", "10.0.44.1")
    assert run.events is not None
    made = [one.host for one in run.events if one.change and one.change.kind == "port"]
    assert made == ["cloud"]
    assert {one.host for one in run.events if one.kind is Kind.GUARDED} == {"gateway", "app"}

    Cloud.said.clear()
    planned = asyncio.run(api.plan_undo(bench.spec(CROSSING)))
    assert "eth1 may send 10.0.43.101" in text.undo_plan_text(planned)
    bench.undo(bench.spec(CROSSING))
    assert ports == {"eth1": "10.0.43.101"}
    assert Cloud.said == ["stage", "arm", "change", "confirm", "finish"]
    assert bench.differences(before) == []


@pytest.mark.parametrize(
    ("fails_at", "proof"),
    [("stage", ""), ("arm", ""), ("change", ""), ("", "fails"), ("", "waits")],
    ids=["stage", "arm", "change", "prove", "interrupt"],
)
def test_it_goes_back_with_the_hosts(
    bench: Bench, fails_at: str, proof: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: Mapping[str, Fingerprint] = bench.fingerprints()
    monkeypatch.setattr(Cloud, "fails_at", fails_at)
    changed = fails_at not in ("stage", "arm")
    expected = {"waits": "interrupted", "fails": "a probe of the spec"}.get(
        proof, f"cloud: came to {fails_at}"
    )
    with pytest.raises(RolledBack if changed else Refused, match=expected):
        asyncio.run(Run(bench, proof).apply())
    assert ports == {"eth1": "10.0.43.101"}
    assert Cloud.said[-1] == "roll back"
    assert ("change" in Cloud.said) is changed
    assert bench.differences(before) == []
    for host in ("app", "gateway"):
        assert not bench.run(host, f"test -e {TRANSACTION}").ok


async def left_open(bench: Bench, transaction: str) -> None:
    """A transaction of which every change is made, and nobody comes back to it."""
    spec = bench.spec(CROSSING)
    async with reach(spec, asking=partial(lookups, spec)) as site:
        made = with_port(make_plan(spec, await site.observe()))
        group = Group(transaction, made, site, Guard(60))
        await group.stage(journal.new(transaction, "apply business", made.touched))
        await site.reconnect()
        await group.arm()
        await group.change()


@pytest.mark.parametrize("ends", ["confirm", "rollback"])
def test_whoever_ends_it_elsewhere_ends_its_part(bench: Bench, ends: str) -> None:
    before = bench.fingerprints()
    asyncio.run(left_open(bench, "0ddba115"))
    assert ports == {"eth1": "10.0.44.0/24"}
    Cloud.said.clear()
    spec = bench.spec(CROSSING)
    if ends == "rollback":
        asyncio.run(api.rollback(spec, "0ddba115"))
        assert Cloud.said == ["roll back"]
    else:
        assert asyncio.run(api.confirm(spec, "0ddba115")).is_confirmed
        assert Cloud.said == ["confirm", "finish"]
        assert ports == {"eth1": "10.0.44.0/24"}
        bench.undo(spec)
    assert ports == {"eth1": "10.0.43.101"}
    assert bench.differences(before) == []


def test_a_host_that_fails_takes_it_back_too(bench: Bench) -> None:
    break_tool(bench, "app", "ip", "route add")
    with pytest.raises(RolledBack, match="broken on purpose"):
        asyncio.run(Run(bench).apply())
    assert ports == {"eth1": "10.0.43.101"}
    assert Cloud.said == ["stage", "arm", "change", "roll back"]
