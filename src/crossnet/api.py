"""What the commands do, as functions: load, observe, plan, apply, verify, undo, status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from crossnet import facts as facts_module
from crossnet.errors import CrossnetError, HostsFailed, PlanRefused, RollbackNotProved
from crossnet.events import Event, Watcher, nobody
from crossnet.facts import Facts
from crossnet.health import CrossingStatus, crossing_status, parse_verified, refused_status
from crossnet.inventory import connect, disconnect
from crossnet.persistence import unit
from crossnet.planning import Plan, make_plan, make_undo_plan
from crossnet.record import FILES, VERIFIED, read_record
from crossnet.spec import Spec
from crossnet.transaction import journal
from crossnet.transaction.apply import Confirmed
from crossnet.transaction.apply import apply as transact
from crossnet.transaction.journal import Journal
from crossnet.transaction.rollback import finish, unproved
from crossnet.transport import Host, ShellHost
from crossnet.verification import Verification, read_back
from crossnet.verification import verify as check

READ = tuple(PurePosixPath(path) for path in (*FILES, *unit.FILES))


@dataclass(frozen=True, slots=True)
class Applied:
    """A confirmed transaction with the verification that earned it; None when there was nothing to do."""

    plan: Plan
    confirmed: Confirmed | None
    verification: Verification | None

    @property
    def unwritten(self) -> tuple[str, ...]:
        """What could not be written for the next boot."""
        return self.confirmed.unwritten if self.confirmed else ()


class NotAsPromised(CrossnetError):
    """After the change a host differs from the plan, or a probe that the spec names does not pass."""


def load(path: str | Path) -> Spec:
    """The spec in a file; SpecError tells all its mistakes at once."""
    from crossnet.specfile import load as load_file

    return load_file(path)


def hosts_of(spec: Spec) -> dict[str, Host]:
    """A way to each host of a spec."""
    return connect(spec, _lab_host)


@asynccontextmanager
async def _reached(spec: Spec) -> AsyncIterator[dict[str, Host]]:
    """A way to each host; what was connected on the way is ended at the end."""
    hosts = hosts_of(spec)
    try:
        yield hosts
    finally:
        await disconnect(hosts)


def _lab_host(name: str, written: str) -> ShellHost:
    from crossnet.lab.build import find
    from crossnet.transport.lab import LabHost

    return LabHost(name, find(written).socket)


async def observe(spec: Spec, *, watch: Watcher = nobody) -> dict[str, Facts]:
    """What every host of a spec says about itself; read only."""
    async with _reached(spec) as hosts:
        return await _observe(hosts, watch)


async def _observe(hosts: Mapping[str, Host], watch: Watcher) -> dict[str, Facts]:
    for name in hosts:
        watch(Event("reads facts", name))
    # Each host is asked to the end, so that all that is wrong is told at once.
    asked = (facts_module.observe(host, READ) for host in hosts.values())
    answers = await asyncio.gather(*asked, return_exceptions=True)
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    own = [error for error in errors if isinstance(error, CrossnetError)]
    if len(own) < len(errors):
        raise next(error for error in errors if not isinstance(error, CrossnetError))
    if own:
        raise own[0] if len(own) == 1 else HostsFailed(own)
    return {name: facts for name, facts in zip(hosts, answers, strict=True) if isinstance(facts, Facts)}


def plan(spec: Spec, facts: Mapping[str, Facts]) -> Plan:
    """What would change on which host, and what that opens; PlanRefused says why there is no plan.

    Locked when a transaction is under way or was not finished: its traces are no state to plan from.
    """
    for name, found in _unfinished(facts).items():
        raise journal.locked(name, found)
    return make_plan(spec, facts)


async def apply(made: Plan, *, watch: Watcher = nobody) -> Applied:
    """Bring the hosts to a plan: all or nothing, verified before it is confirmed.

    Raises RolledBack (proved) or RollbackNotProved when it does not hold, StalePlan when the hosts moved
    since the plan was made, Locked when another transaction is under way.
    """
    if not made.touched:
        return Applied(made, None, None)
    async with _reached(made.spec) as hosts:
        return await _apply(made, hosts, watch)


async def _apply(made: Plan, hosts: Mapping[str, Host], watch: Watcher) -> Applied:
    held: list[Verification] = []

    async def prove() -> None:
        facts = await _observe(hosts, watch)
        found = await check(made, facts, hosts, watch, live_only=True)
        held.append(found)
        if found.differences:
            raise NotAsPromised("after the change, read again:\n  " + "\n  ".join(found.differences))
        if found.broken_promises:
            lines = [
                f"{v.client} → {v.probe}: {v.forward.detail or v.reply.detail}" for v in found.broken_promises
            ]
            raise NotAsPromised("a probe of the spec does not pass:\n  " + "\n  ".join(lines))

    confirmed = await transact(
        made,
        hosts,
        observe=lambda: _observe(hosts, watch),
        replan=lambda facts: make_plan(made.spec, facts),
        prove=prove,
        watch=watch,
    )
    try:
        await _remember(held[-1], made, hosts)
    except CrossnetError as error:  # it holds all the same, so it is told and no more
        confirmed = replace(confirmed, unwritten=(*confirmed.unwritten, str(error)))
    return Applied(made, confirmed, held[-1])


async def verify(spec: Spec, *, crossing: str | None = None, watch: Watcher = nobody) -> Verification:
    """Read back, send a new flow from each client, and look at it on the gateway."""
    async with _reached(spec) as hosts:
        return await _verify(spec, crossing, hosts, watch)


async def _verify(
    spec: Spec, crossing: str | None, hosts: Mapping[str, Host], watch: Watcher
) -> Verification:
    facts = await _observe(hosts, watch)
    made = make_plan(spec, facts)
    if crossing is not None:
        made = replace(made, passages=tuple(p for p in made.passages if p.crossing.name == crossing))
    found = await check(made, facts, hosts, watch)
    if all(read_record(facts[name]).owned for name in {p.gateway for p in made.passages}):
        await _remember(found, made, hosts)
    return found


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What undo would give back, and the abandoned transactions that it would put back first."""

    plan: Plan
    unfinished: Mapping[str, Journal]

    @property
    def is_empty(self) -> bool:
        return not self.plan.touched and not self.unfinished


async def plan_undo(spec: Spec, *, watch: Watcher = nobody) -> UndoPlan:
    """What undo would do, by the hosts' own records and journals; Locked when one is under way here."""
    facts = await observe(spec, watch=watch)
    return UndoPlan(make_undo_plan(spec, facts), _abandoned(facts))


def _unfinished(facts: Mapping[str, Facts]) -> dict[str, Journal]:
    return {name: found for name in facts if (found := journal.unfinished(facts[name]))}


def _abandoned(facts: Mapping[str, Facts]) -> dict[str, Journal]:
    """The unfinished transactions that nobody on this machine is still working on."""
    left = _unfinished(facts)
    for name, found in left.items():
        if found.is_running_here:
            raise journal.locked(name, found)
    return left


async def undo(spec: Spec, *, watch: Watcher = nobody) -> Applied:
    """Every host as it was before crossnet; an abandoned transaction is put back first."""
    async with _reached(spec) as hosts:
        return await _undo(spec, hosts, watch)


async def _undo(spec: Spec, hosts: Mapping[str, Host], watch: Watcher) -> Applied:
    facts = await _observe(hosts, watch)
    if left := _abandoned(facts):
        facts = await _finish(left, hosts, watch)
    made = make_undo_plan(spec, facts)
    if not made.touched:
        return Applied(made, None, None)

    async def prove() -> None:
        wrong = read_back(made, await _observe(hosts, watch), live_only=True)
        if wrong:
            raise NotAsPromised("after the undo, read again:\n  " + "\n  ".join(wrong))

    confirmed = await transact(
        made,
        hosts,
        observe=lambda: _observe(hosts, watch),
        replan=lambda facts: make_undo_plan(spec, facts),
        prove=prove,
        watch=watch,
    )
    return Applied(made, confirmed, None)


async def _finish(left: Mapping[str, Journal], hosts: Mapping[str, Host], watch: Watcher) -> dict[str, Facts]:
    """Put abandoned transactions back and prove it; the facts after that."""
    found = await asyncio.gather(*(finish(hosts[name], own, watch) for name, own in left.items()))
    facts = await _observe(hosts, watch)
    wrong = [line for name, own in left.items() for line in unproved(own, facts[name])]
    if wrong:
        errors = [error for errors in found for error in errors]
        raise RollbackNotProved(
            "Rollback not proved. Look at:\n  "
            + "\n  ".join([*wrong, *errors])
            + "\n  The journal stays on the host; `crossnet undo` tries again."
        )
    for name in left:
        await journal.clear(hosts[name])
    return await _observe(hosts, watch)


async def status(spec: Spec, *, watch: Watcher = nobody) -> tuple[CrossingStatus, ...]:
    """How each crossing stands; sends nothing and changes nothing."""
    facts = await observe(spec, watch=watch)
    try:
        made = make_plan(spec, facts)
    except PlanRefused as refused:
        return refused_status(spec, facts, refused)
    return crossing_status(made, facts)


async def _remember(found: Verification, made: Plan, hosts: Mapping[str, Host]) -> None:
    """Keep on each gateway when its crossings were last verified, for whoever asks for the status."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    by_gateway: dict[str, dict[str, dict[str, str]]] = {}
    for passage in made.passages:
        name = passage.crossing.name
        results = [verdict.result for verdict in found.verdicts if verdict.crossing == name]
        if results:
            worst = max(results, key=("reachable", "undetermined", "unreachable").index)
            entry = {"time": now, "result": str(worst)}
            by_gateway.setdefault(passage.gateway, {})[name] = entry
    for gateway, entries in by_gateway.items():
        held = parse_verified(await hosts[gateway].read(PurePosixPath(VERIFIED)))
        data = (json.dumps({**held, **entries}) + "\n").encode()
        await hosts[gateway].write(PurePosixPath(VERIFIED), data, mode=0o600)


__all__ = [
    "Applied",
    "UndoPlan",
    "apply",
    "load",
    "observe",
    "plan",
    "plan_undo",
    "status",
    "undo",
    "verify",
]
