"""Several specs over one gateway, on real hosts: each changes its own, and packets of the others go on."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

import crossnet
from crossnet import api
from crossnet.errors import CrossnetError
from crossnet.events import Event, Kind
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.planning import Undo
from crossnet.record import APPLIED
from crossnet.sealed import seal
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.transaction.guard import Guard
from crossnet.transport.lab import LabHost
from lab.crossing import Bench, alone

pytestmark = pytest.mark.lab


def spec(b: Bench, name: str, crossing: str, client: str = "app", gateway: str = "gateway") -> Spec:
    """A spec of somebody, who has names of their own for the hosts."""
    hosts = f"{{{client}: {{lab: {b.lab.name}/app}}, {gateway}: {{lab: {b.lab.name}/gateway}}}}"
    line = f"{{from: {client}, via: {gateway}, {crossing}}}"
    return parse(f"crossnet: 1\nhosts: {hosts}\ncrossings: {{business: {line}}}\n", f"{name}.yaml")


def of_engine(engine: Engine) -> str:
    return "nftables" if engine is Engine.NFTABLES else "iptables"


def answers(b: Bench, port: int) -> bool:
    """Whether a connection from app to the target's port is made."""
    return b.run("app", f"nc -z -w 2 10.0.44.1 {port}").returncode == 0


def listening(b: Bench, *ports: int) -> None:
    """Ports that make every connection, until the target goes."""
    ready = " && ".join(f"ss -ltn | grep -q :{port}" for port in ports)
    words = " ".join(map(str, ports))
    b.check(
        "target", f"for p in {words}; do nc -l -k -n -p $p >/dev/null 2>&1 & done; until {ready}; do :; done"
    )


@pytest.mark.parametrize("engine", [Engine.NFTABLES, Engine.IPTABLES_LEGACY])
def test_each_takes_back_its_own_and_the_last_one_all(lab_up: Callable[..., Lab], engine: Engine) -> None:
    b = Bench(lab_up())
    before = b.fingerprints()
    listening(b, 443, 22)
    to = f"to: 10.0.44.1, firewall: {of_engine(engine)}"
    web = spec(b, "web", f"{to}, allow: tcp/443")
    login = spec(b, "login", f"{to}, allow: tcp/22", "a", "gw")
    b.apply(web)
    assert (answers(b, 443), answers(b, 22)) == (True, False)
    b.apply(login)
    assert (answers(b, 443), answers(b, 22)) == (True, True)
    for one in (web, login):
        assert b.plan(one).touched == ()
    kept = json.loads(b.check("gateway", f"cat {APPLIED}"))["crossings"]
    assert [(one["spec"], one["crossing"], one["host"]) for one in kept] == [
        ("login", "business", "gw"),
        ("web", "business", "gateway"),
    ]
    assert all(one["who"] and one["when"] and one["source"] for one in kept)
    b.undo(web)
    assert (answers(b, 443), answers(b, 22)) == (False, True)
    b.undo(login)
    assert (answers(b, 443), answers(b, 22)) == (False, False)
    assert b.differences(before) == []


def test_of_a_spec_one_crossing_alone_is_applied_and_verified(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up())
    before = b.fingerprints()
    listening(b, 443, 22)
    hosts = f"{{app: {{lab: {b.lab.name}/app}}, gateway: {{lab: {b.lab.name}/gateway}}}}"
    lines = "".join(
        f"  {name}: {{from: app, via: gateway, to: 10.0.44.1, allow: tcp/{port}, probe: 'tcp/10.0.44.1:{port}'}}\n"
        for name, port in (("web", 443), ("login", 22))
    )
    both = parse(f"crossnet: 1\nhosts: {hosts}\ncrossings:\n{lines}", "crossnet.yaml")
    b.apply(both.only(["web"]))
    assert (answers(b, 443), answers(b, 22)) == (True, False)
    assert [str(one.state) for one in asyncio.run(api.status(both))] == ["up", "down"]
    b.apply(both.only(["login"]))
    assert (answers(b, 443), answers(b, 22)) == (True, True)
    assert b.plan(both).touched == ()
    assert [one.crossing for one in asyncio.run(api.verify(both.only(["login"]))).verdicts] == ["login"]
    b.undo(both)
    assert b.differences(before) == []


def test_two_at_the_same_moment_come_one_after_the_other(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up())
    web = spec(b, "web", "to: 10.0.44.1, allow: icmp")
    login = spec(b, "login", "to: 10.0.44.1, allow: tcp/22", "a", "gw")
    waited: list[str] = []

    def watch(event: Event) -> None:
        if event.kind is Kind.WAITS_FOR_OTHERS:
            waited.append(event.transaction)

    async def both() -> list[api.Applied]:
        plans = [crossnet.plan(one, await crossnet.observe(one)) for one in (web, login)]
        return list(await asyncio.gather(*(crossnet.apply(plan, watch=watch) for plan in plans)))

    first, second = asyncio.run(both())
    assert first.confirmed is not None
    assert second.confirmed is not None
    assert waited, "nobody had to wait, so nothing was tried"
    found = asyncio.run(api.carried(web.hosts)).said
    assert [one.label for one in found["gateway"].crossings] == ["login/business", "web/business"]


@pytest.mark.parametrize(
    "moment", [Kind.GUARDED, pytest.param(Kind.CHANGES, marks=pytest.mark.variants), Kind.DECIDED], ids=str
)
def test_who_comes_while_the_other_one_ends_waits_as_well(lab_up: Callable[..., Lab], moment: Kind) -> None:
    """Also when it is decided, and only the files for the next boot and the traces of it are left to do."""
    b = Bench(lab_up())
    web = spec(b, "web", "to: 10.0.44.1, allow: icmp")
    login = spec(b, "login", "to: 10.0.44.1, allow: tcp/22", "a", "gw")

    async def second_after(
        first: Callable[[Callable[[Event], None]], Any], then: Callable[[], Any]
    ) -> list[Any]:
        come, tasks = asyncio.Event(), list[asyncio.Task[Any]]()

        def watch(event: Event) -> None:
            if event.kind is moment and not tasks:
                tasks.append(asyncio.ensure_future(then()))
                come.set()

        done = await first(watch)
        assert come.is_set(), "the moment never came"
        return [done, await tasks[0]]

    async def apply_login() -> api.Applied:
        return await api.apply(await api.plan_in_turn(login))

    async def undo_login() -> api.Applied:
        made = await api.plan_undo(login)
        return await api.undo(made.plan.spec, agreed=made.plan)

    planned = b.plan(web)
    for each in asyncio.run(second_after(lambda watch: api.apply(planned, watch=watch), apply_login)):
        assert each.confirmed is not None
    found = asyncio.run(api.carried(web.hosts)).said
    assert [one.label for one in found["gateway"].crossings] == ["login/business", "web/business"]
    asyncio.run(second_after(lambda watch: api.undo(web, watch=watch), undo_login))
    assert asyncio.run(api.carried(web.hosts)).said["gateway"].crossings == ()


def test_two_who_undo_theirs_at_the_same_moment_leave_nothing(lab_up: Callable[..., Lab]) -> None:
    """Who is second has agreed to its own crossing only, and gives back what nobody needs when it is the last."""
    b = Bench(lab_up())
    before = b.fingerprints()
    web = spec(b, "web", "to: 10.0.44.1, allow: icmp")
    login = spec(b, "login", "to: 10.0.44.1, allow: tcp/22", "a", "gw")
    for one in (web, login):
        b.apply(one)

    async def both() -> None:
        agreed = [await api.plan_undo(one) for one in (web, login)]
        await asyncio.gather(*(api.undo(one.plan.spec, agreed=one.plan) for one in agreed))

    asyncio.run(both())
    assert b.differences(before) == []


def test_an_undo_takes_back_no_crossing_that_came_after_somebody_agreed_to_it(
    lab_up: Callable[..., Lab],
) -> None:
    b = Bench(lab_up())
    web = spec(b, "web", "to: 10.0.44.1, allow: icmp")
    login = spec(b, "login", "to: 10.0.44.1, allow: tcp/22", "a", "gw")
    b.apply(web)
    agreed = asyncio.run(api.plan_undo(web, Undo(all=True)))
    b.apply(login)
    asyncio.run(api.undo(agreed.plan.spec, agreed.what, agreed=agreed.plan))
    found = asyncio.run(api.carried(web.hosts)).said
    assert [one.label for one in found["gateway"].crossings] == ["login/business"]


def test_a_plan_that_somebody_agreed_to_is_made_although_another_spec_came_before(
    lab_up: Callable[..., Lab],
) -> None:
    b = Bench(lab_up())
    web = spec(b, "web", "to: 10.0.44.1, allow: icmp")
    agreed = b.plan(web)
    b.apply(spec(b, "login", "to: 10.0.44.1, allow: tcp/22", "a", "gw"))
    alone(asyncio.run(crossnet.apply(agreed)))
    found = asyncio.run(api.carried(web.hosts)).said
    assert [one.label for one in found["gateway"].crossings] == ["login/business", "web/business"]


@pytest.mark.parametrize("ends", ["confirm", "rollback"])
def test_a_transaction_with_a_host_that_left_the_spec_is_ended_with_that_spec(
    lab_up: Callable[..., Lab], ends: str
) -> None:
    """As where a person has the last word."""
    b = Bench(lab_up("demo"))
    hosts = "".join(f"  {name}: {{lab: {b.lab.name}/{name}}}\n" for name in ("app", "neighbour", "gateway"))
    line = "all: {from: [app, neighbour], via: gateway, to: 10.0.44.0/24, persist: none}"
    both = parse(f"crossnet: 1\nhosts:\n{hosts}crossings: {{{line}}}\n", "office.yaml")
    b.apply(both)
    text = both.source.replace(f"  neighbour: {{lab: {b.lab.name}/neighbour}}\n", "")
    gone = parse(text.replace("[app, neighbour]", "app"), "office.yaml")
    wider, facts = asyncio.run(api.survey(gone))

    async def ended_while_it_waits() -> None:
        waits: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def say(event: Event) -> None:
            if event.kind is Kind.WAITS and not waits.done():
                waits.set_result(event.transaction)

        begun = asyncio.create_task(
            crossnet.apply(crossnet.plan(wider, facts), guard=Guard(confirm_within=60), watch=say)
        )
        transaction = await waits
        if ends == "confirm":
            await crossnet.confirm(gone, transaction)
            await begun
        else:
            await crossnet.rollback(gone, transaction)
            with pytest.raises(CrossnetError):
                await begun

    asyncio.run(ended_while_it_waits())
    assert b.pings("neighbour", "10.0.44.1") is (ends != "confirm")
    assert b.pings("app", "10.0.44.1")
    assert not b.run("neighbour", "ls /var/lib/crossnet/transaction").ok


def test_a_host_that_left_the_spec_keeps_nothing_and_one_that_is_gone_is_forgotten(
    lab_up: Callable[..., Lab],
) -> None:
    b = Bench(lab_up("demo"))
    first, second = "app", "neighbour"
    hosts = "".join(f"  {name}: {{lab: {b.lab.name}/{name}}}\n" for name in (first, second, "gateway"))
    line = f"all: {{from: [{first}, {second}], via: gateway, to: 10.0.44.0/24}}"
    both = parse(f"crossnet: 1\nhosts:\n{hosts}crossings: {{{line}}}\n", "office.yaml")
    before = b.fingerprints()
    b.apply(both)
    gone = parse(
        both.source.replace(f"  {second}: {{lab: {b.lab.name}/{second}}}\n", "").replace(
            f"[{first}, {second}]", first
        ),
        "office.yaml",
    )
    wider, facts = asyncio.run(api.survey(gone))
    assert second in facts
    alone(asyncio.run(crossnet.apply(crossnet.plan(wider, facts))))
    assert not b.run(second, f"ls {APPLIED}").stdout
    b.apply(both)
    forgotten = asyncio.run(api.plan_forget(gone, second))
    assert second not in [host.host for host in forgotten.plan.hosts]
    alone(asyncio.run(api.undo(forgotten.plan.spec, Undo(host=second))))
    assert "10.0.44.0/24" in b.check(second, "ip route")
    assert len(asyncio.run(api.carried(gone.hosts)).said["gateway"].crossings[0].paths[0].clients) == 1
    with pytest.raises(CrossnetError, match="nothing of crossing none stands"):
        asyncio.run(api.plan_undo(gone, Undo(crossing="none")))
    left = replace(both, crossings=())
    asyncio.run(api.undo(left))
    assert b.differences(before) == []


def test_what_one_host_says_of_another_does_not_change_that_one(lab_up: Callable[..., Lab]) -> None:
    """A gateway may name any machine as a client of its own; that has a crossing of that name, of another gateway."""
    b, estate = Bench(lab_up()), Bench(lab_up())
    mine, theirs = (spec(each, "office", "to: 10.0.44.0/24") for each in (b, estate))
    b.apply(mine)
    estate.apply(theirs)
    record = json.loads(b.check("gateway", f"cat {APPLIED}"))
    del record["sha256"]
    for host in record["crossings"][0]["hosts"]:
        if host["name"] == "app":
            host["lab"] = f"{estate.lab.name}/gateway"
    forged = seal(record, indent=1).decode()
    b.check("gateway", f"cat > {APPLIED} <<'END'\n{forged}END")
    heard: list[Event] = []
    wider, facts = asyncio.run(api.survey(mine, watch=heard.append))
    assert set(facts) == {"app", "gateway"} == {host.name for host in wider.hosts}
    (told,) = (event for event in heard if event.kind is Kind.LEFT_OVER)
    assert told.host == f"app ({estate.lab.name}/gateway)"
    assert "is left alone" in str(told.error)
    alone(asyncio.run(api.undo(wider)))
    assert estate.plan(theirs).touched == ()
    assert not b.run("gateway", f"ls {APPLIED}").stdout


# ---- any sequence --------------------------------------------------------------------------------

CLIENTS = ("app", "neighbour")
PORTS = (22, 80, 443)
# Each person's file as it may be over the years: its crossings are who may reach which ports.
FILES: dict[str, tuple[dict[str, tuple[tuple[str, ...], tuple[int, ...]]], ...]] = {
    "web": ({"web": (("app",), (80, 443))}, {"web": (("app",), (443,))}, {"shop": (("app",), (443,))}),
    "login": ({"login": (CLIENTS, (22,))}, {"login": (("neighbour",), (22,))}),
    "crossnet": (
        {"plain": (("neighbour",), (80,))},
        {"plain": (("neighbour",), (80,)), "web": (("neighbour",), (443,))},
    ),
}
DAMAGES = (
    ("gateway", "nft flush chain ip crossnet forward"),
    ("gateway", "nft delete table ip crossnet"),
    ("gateway", "sysctl -q -w net.ipv4.ip_forward=0"),
    ("app", "ip route del 10.0.44.1/32"),
)


def written(b: Bench, name: str, crossings: dict[str, tuple[tuple[str, ...], tuple[int, ...]]]) -> Spec:
    hosts = "".join(f"  {host}: {{lab: {b.lab.name}/{host}}}\n" for host in (*CLIENTS, "gateway"))
    lines = "".join(
        f"  {each}: {{from: [{', '.join(clients)}], via: gateway, to: 10.0.44.1, "
        f"allow: [{', '.join(f'tcp/{port}' for port in ports)}]}}\n"
        for each, (clients, ports) in crossings.items()
    )
    return parse(f"crossnet: 1\nhosts:\n{hosts}crossings:\n{lines}", f"{name}.yaml")


def seen(b: Bench) -> set[tuple[str, int]]:
    """Which client reaches which port of the target."""

    async def ask(client: str, port: int) -> tuple[str, int, bool]:
        host = LabHost(client, b.lab.socket(client))
        found = await host.run(["nc", "-z", "-w", "2", "10.0.44.1", str(port)])
        return client, port, found.returncode == 0

    async def every() -> list[tuple[str, int, bool]]:
        return list(await asyncio.gather(*(ask(client, port) for client in CLIENTS for port in PORTS)))

    return {(client, port) for client, port, made in asyncio.run(every()) if made}


@pytest.mark.parametrize("seed", range(int(os.environ.get("CROSSNET_SEQUENCES", "1"))))
def test_any_sequence_leaves_what_the_standing_specs_say(lab_up: Callable[..., Lab], seed: int) -> None:
    chance = Random(seed)
    b = Bench(lab_up("demo"))
    before = b.fingerprints()
    listening(b, *PORTS)
    stand: dict[str, dict[str, tuple[tuple[str, ...], tuple[int, ...]]]] = {}
    for _ in range(8):
        name = chance.choice(list(FILES))
        step = chance.choice(("apply", "apply", "undo", "drift"))
        if step == "drift" and stand:
            host, damage = chance.choice(DAMAGES)
            b.run(host, damage)
            for each, crossings in stand.items():
                asyncio.run(applied(written(b, each, crossings)))
        elif step == "undo" and name in stand:
            b.undo(written(b, name, stand.pop(name)))
        else:
            stand[name] = chance.choice(FILES[name])
            asyncio.run(applied(written(b, name, stand[name])))
        allowed = {
            (client, port)
            for crossings in stand.values()
            for clients, ports in crossings.values()
            for client in clients
            for port in ports
        }
        assert seen(b) == allowed, (seed, step, name, stand)
    for name, crossings in stand.items():
        b.undo(written(b, name, crossings))
    assert seen(b) == set()
    assert b.differences(before) == []


async def applied(asked: Spec) -> None:
    await crossnet.apply(crossnet.plan(*await api.survey(asked)))
