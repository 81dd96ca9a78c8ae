"""A real cloud as a participant: what was begun is taken back, what others do stays, and nothing lands afterwards."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pytest

from cloud.between import Between, between
from cloud.fixtures import CHANGES, Seed
from crossnet.errors import CloudError, HostsFailed
from crossnet.openstack import access
from crossnet.openstack.asking import ask_cloud
from crossnet.openstack.ports import GroupRule, HostRoute
from crossnet.planning import HostPlan
from crossnet.record import CLOUD, IDENTITY
from crossnet.resources import AtCloud, Change, HostRoutes, PortSecurity, Resource
from crossnet.resources.port_security import Kept
from crossnet.sealed import seal
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.transaction import journal
from crossnet.transaction.cloud import AtOneCloud
from crossnet.transaction.left import Asked, Left, encode
from crossnet.transaction.participant import Gone, Part, Refused
from crossnet.transport import Host
from crossnet.values import Family, address, network

pytestmark = [pytest.mark.openstack, CHANGES]

BUSINESS = network("10.0.44.0/24")
RULE = GroupRule("ingress", Family.V4, "icmp", None, network("10.0.43.15"))
NAME = "ab12cd34"
PATH, ID = PurePosixPath(CLOUD), PurePosixPath(IDENTITY)
ANYBODY = network("0.0.0.0/0")
THEIRS = {"ip_address": "10.0.44.0/24"}


@dataclass
class Keeper:
    """The host that keeps a journal, as far as a participant needs one."""

    name: str = "gateway"
    files: dict[PurePosixPath, bytes] = field(default_factory=dict)

    async def read(self, path: PurePosixPath) -> bytes | None:
        return self.files.get(path)

    async def write(self, path: PurePosixPath, data: bytes | None, *, mode: int = 0o644) -> None:
        if data is None:
            self.files.pop(path, None)
        else:
            self.files[path] = data

    @property
    def begun(self) -> list[Any]:
        """The steps of each change that the journal says were begun."""
        return [one["begun"] for one in json.loads(self.files[PATH])["changes"]]


@dataclass
class Desk:
    """A cloud whose requests go through `between`, and the gateway that keeps what is asked of it."""

    seed: Seed
    between: Between
    keeper: Keeper = field(default_factory=Keeper)

    def __post_init__(self) -> None:
        self.keeper.files[ID] = f"{NAME}\n".encode()

    def at(self, cloud: str = "member") -> AtOneCloud:
        return AtOneCloud(f"cloud {cloud}", NAME, cast(Host, self.keeper))

    async def found(self, cloud: str = "member", spec: Spec | None = None) -> AtOneCloud:
        """As somebody else has it, by the journal and with that spec."""
        hosts = self.seed.hosts()
        said = await ask_cloud(cloud, hosts, {})
        facts = {name: replace(one, cloud=said[name]) for name, one in hosts.items()}
        one = self.at(cloud)
        one.found_with(spec or spec_of(cloud), facts)
        return one

    def forge(self, have: AtCloud | None, want: AtCloud | None, cloud: str = "member") -> None:
        """The host writes what it likes into its journal."""
        self.keeper.files[PATH] = encode(Left(NAME, cloud, (Asked(Change(have, want), None),)))

    @property
    def is_kept(self) -> bool:
        return PATH in self.keeper.files

    async def staged(self, *changes: Change, cloud: str = "member") -> AtOneCloud:
        one = self.at(cloud)
        await one.stage(Part(journal.new(NAME, "apply", []), cast(HostPlan, None), changes, ()))
        return one

    def wanted(self, name: str = "B-eth1", **more: Any) -> PortSecurity:
        port = self.seed.port(name)
        made = PortSecurity(
            "member", port.id, port.project, "eth1", "10.0.43.101", (BUSINESS,), rules=(RULE,)
        )
        return replace(made, **more)

    def off(self) -> PortSecurity:
        port = self.seed.port("B-eth1")
        return self.wanted(pairs=(), rules=(), off=Kept(port.groups, port.pairs))

    def routes(self) -> HostRoutes:
        _, subnet = self.seed.networks["business"]
        return HostRoutes("member", subnet, "clients", (HostRoute(BUSINESS, address("10.0.43.101")),))

    def state(self) -> tuple[Any, ...]:
        groups = self.seed.ask("GET", f"/security-groups?project_id={self.seed.project}")["security_groups"]
        ports = {name: self.seed.document(name) for name in self.seed.ports}
        return ports, sorted(one["name"] for one in groups), self.offered()

    def offered(self) -> list[Any]:
        _, subnet = self.seed.networks["business"]
        routes: list[Any] = self.seed.ask("GET", f"/subnets/{subnet}")["subnet"]["host_routes"]
        return routes

    def offer(self, *routes: Any) -> None:
        _, subnet = self.seed.networks["business"]
        self.seed.ask("PUT", f"/subnets/{subnet}", {"subnet": {"host_routes": list(routes)}})


@pytest.fixture
def desk(seed: Seed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with between(seed.served.neutron) as one:
        entries = {
            user: {**seed.served.entry(user), "network_endpoint_override": one.url}
            for user in ("member", "reader", "stranger")
        }
        (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": entries}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        found = Desk(seed, one)
        yield found
        found.offer()


def spec_of(cloud: str, crossing: str = "to: 10.0.44.0/24, allow: icmp") -> Spec:
    hosts = "".join(f"  {name}: {{ssh: root@{name}.example}}\n" for name in "AB")
    crossings = f"  business: {{from: A, via: B, {crossing}}}\n"
    asked = f"openstack: {{cloud: {cloud}}}\n" if cloud else ""
    return parse(f"crossnet: 1\nname: some\nhosts:\n{hosts}crossings:\n{crossings}{asked}", "some.yaml")


def at(desk: Desk, number: int, do: Callable[[], object]) -> None:
    """Somebody else does that just before the n-th change of the cloud."""

    def before(seen: int) -> None:
        if seen == number:
            do()

    desk.between.before = before


GROUPED = {"least": 5, "disable": 1, "routes": 1}  # by which request it is that changes the thing itself


@pytest.mark.parametrize("what", ["least", "disable", "routes"])
def test_what_a_cloud_refuses_is_not_taken_back(desk: Desk, what: str) -> None:
    """Others add what is equal to what crossnet wants, or would be lost by it: it is not ours."""
    group = desk.seed.make_group("theirs")
    port = desk.seed.port("B-eth1")
    wanted: dict[str, Resource] = {"least": desk.wanted(), "disable": desk.off(), "routes": desk.routes()}
    does: dict[str, Callable[[], object]] = {
        "least": lambda: desk.seed.change("B-eth1", allowed_address_pairs=[THEIRS]),
        "disable": lambda: desk.seed.change("B-eth1", security_groups=[*port.groups, group]),
        "routes": lambda: desk.offer({"destination": "10.0.44.0/24", "nexthop": "10.0.43.101"}),
    }

    async def apply() -> tuple[Any, ...]:
        one = await desk.staged(Change(None, wanted[what]))
        if what == "routes":
            does[what]()  # between it was seen and it is changed: its revision tells nothing
        else:
            at(desk, GROUPED[what], does[what])
        with pytest.raises(Refused):
            await one.change(1, 10)
        theirs = desk.state()
        await one.roll_back()
        return theirs

    ports, _, routes = asyncio.run(apply())
    assert desk.state() == (ports, ["default", "theirs"], routes)
    assert not desk.is_kept


def test_a_late_request_does_nothing_after_a_roll_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the revision that the port had before: so the roll-back leaves it at another one."""
    before = desk.state()
    free, landed = threading.Event(), threading.Event()
    held = [1]
    at(desk, 1, lambda: free.wait(30))
    desk.between.after = lambda number: landed.set() if number in held else None

    async def apply() -> None:
        one = await desk.staged(Change(None, desk.off()))
        with monkeypatch.context() as impatient:
            impatient.setattr(access, "_SILENCE", 0.5)
            with pytest.raises(CloudError) as raised:
                await one.change(1, 10)
        assert raised.value.is_open
        assert desk.keeper.begun == [["port"]]
        await one.roll_back()

    asyncio.run(apply())
    free.set()
    assert landed.wait(30)
    assert desk.state() == before
    assert not desk.is_kept


def test_who_stops_it_waits_for_the_request_that_is_under_way(desk: Desk) -> None:
    before = desk.state()
    begun, free = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        free.wait(30)

    at(desk, 2, hold)

    async def apply() -> None:
        one = await desk.staged(Change(None, desk.wanted()))
        work = asyncio.ensure_future(one.change(1, 10))
        await asyncio.to_thread(begun.wait, 30)
        work.cancel()
        await asyncio.sleep(0)
        assert not work.done()
        free.set()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert len(desk.between.changes) == 2  # nothing more is asked
        await one.roll_back()

    asyncio.run(apply())
    assert desk.state() == before
    assert not desk.is_kept


def test_what_cannot_be_taken_back_does_not_keep_the_rest_open(desk: Desk) -> None:
    before = desk.state()

    async def apply() -> None:
        changes = [Change(None, desk.wanted(name)) for name in ("B-eth0", "B-eth1")]
        one = await desk.staged(*changes)
        await one.change(2, 10)
        assert desk.keeper.begun == [["group", "port"], ["group", "port"]]
        group = desk.seed.ask("GET", f"/security-groups?name={desk.wanted('B-eth1').group}")
        used = [group["security_groups"][0]["id"], *desk.seed.port("A").groups]
        desk.seed.change("A", security_groups=used)
        asked = len(desk.between.changes)
        with pytest.raises(Refused, match="in use"):  # so nobody asks that again and again
            await one.roll_back()
        assert desk.keeper.begun == [[], ["group"]]
        assert desk.seed.document("B-eth0") == before[0]["B-eth0"]
        assert len(desk.between.changes) - asked == 4
        desk.seed.change("A", security_groups=used[1:])
        await (await desk.found()).roll_back()  # somebody else, by the journal

    asyncio.run(apply())
    assert desk.state() == before
    assert not desk.is_kept


def test_all_that_failed_is_told_together(desk: Desk) -> None:
    async def apply() -> None:
        one = await desk.staged(*[Change(None, desk.wanted(name)) for name in ("B-eth0", "B-eth1")])
        await one.change(2, 10)
        with pytest.raises(HostsFailed) as raised:
            await (await desk.found("reader")).roll_back()
        assert [type(each) for each in raised.value.errors] == [Refused, Refused]
        await one.roll_back()

    asyncio.run(apply())


def test_a_group_of_others_that_has_its_name_stays(desk: Desk) -> None:
    desk.seed.make_group(desk.wanted().group, description="of the ops team")
    before = desk.state()

    async def apply() -> None:
        one = await desk.staged(Change(None, desk.wanted()))
        with pytest.raises(Refused, match="of the ops team"):
            await one.change(1, 10)
        assert desk.keeper.begun == [[]]
        await one.roll_back()

    asyncio.run(apply())
    assert desk.state() == before


def test_its_own_group_is_known_under_another_description(desk: Desk) -> None:
    before = desk.state()

    async def apply() -> None:
        wanted = desk.wanted()
        await (await desk.staged(Change(None, wanted))).change(1, 10)
        group = desk.seed.ask("GET", f"/security-groups?name={wanted.group}")["security_groups"][0]["id"]
        desk.seed.ask("PUT", f"/security-groups/{group}", {"security_group": {"description": "CHG0012345"}})
        one = await desk.staged(Change(wanted, None))
        await one.change(1, 10)
        await one.finish()

    asyncio.run(apply())
    assert desk.state() == before


def test_the_journal_of_an_older_version_is_ended(desk: Desk) -> None:
    before = desk.state()

    async def apply() -> None:
        wanted = desk.wanted()
        await (await desk.staged(Change(None, wanted))).change(1, 10)
        change = {"kind": wanted.kind, "have": None, "want": dict(wanted.encode())}
        said = {"format": 1, "transaction": NAME, "cloud": "member", "changes": [change]}
        desk.keeper.files[PATH] = seal(said)
        await (await desk.found()).roll_back()

    asyncio.run(apply())
    assert desk.state() == before
    assert not desk.is_kept


def test_who_asks_for_it_takes_back_what_it_knows_itself(desk: Desk) -> None:
    """A host that changes its journal meanwhile has nothing else put back."""
    before = desk.state()

    async def apply() -> None:
        one = await desk.staged(Change(None, desk.wanted()))
        await one.change(1, 10)
        desk.forge(replace(desk.wanted("A"), pairs=(network("0.0.0.0/0"),)), None)
        await one.roll_back()

    async def apply_where_it_is_removed() -> None:
        one = await desk.staged(Change(None, desk.wanted()))
        await one.change(1, 10)
        del desk.keeper.files[PATH]
        await one.roll_back()

    async def apply_where_it_is_another_s() -> None:
        one = await desk.staged(Change(None, desk.wanted()))
        await one.change(1, 10)
        desk.keeper.files[PATH] = encode(Left("dead", "member", (Asked(Change(None, desk.wanted("A"))),)))
        await one.roll_back()

    for each in (apply, apply_where_it_is_removed, apply_where_it_is_another_s):
        asyncio.run(each())
        assert desk.state() == before


# ---- by the journal of a host --------------------------------------------------------------------


def test_a_host_has_nothing_opened_that_the_spec_does_not_name(desk: Desk) -> None:
    """Less may be left open at its own port, never more."""
    wide = desk.wanted(pairs=(ANYBODY, BUSINESS), rules=(replace(RULE, remote=None), RULE))
    expected = [("10.0.44.0/24", desk.seed.port("B-eth1").mac)]
    subnet = replace(
        desk.routes(), offers=(HostRoute(ANYBODY, address("10.0.43.101")), *desk.routes().offers)
    )

    async def recover(have: AtCloud | None, want: AtCloud | None, spec: Spec | None = None) -> str:
        desk.forge(have, want)
        return " ".join(await (await desk.found(spec=spec)).roll_back())

    told = asyncio.run(recover(wide, None))
    assert "0.0.0.0/0" in told
    assert "10.0.44" not in told
    assert [(str(one.network), one.mac) for one in desk.seed.port("B-eth1").pairs] == expected
    rules = desk.seed.ask("GET", f"/security-groups?name={wide.group}")["security_groups"][0]
    assert [one["remote_ip_prefix"] for one in rules["security_group_rules"]] == ["10.0.43.15/32"]
    assert "port security off" in asyncio.run(recover(desk.off(), wide))
    assert desk.seed.port("B-eth1").secured
    assert "10.0.44.0/24" in asyncio.run(recover(desk.routes(), None))
    assert desk.offered() == []
    neutron = spec_of("member", "to: 10.0.44.0/24, allow: icmp, routes: neutron")
    assert "0.0.0.0/0" in asyncio.run(recover(subnet, None, neutron))
    assert [one["destination"] for one in desk.offered()] == ["10.0.44.0/24"]
    asyncio.run(recover(None, subnet))
    assert desk.offered() == []
    assert not desk.is_kept


def test_a_host_has_no_other_port_of_the_spec_opened(desk: Desk) -> None:
    """Only the port that the spec itself would open; the client's and the one towards the destinations stay shut."""
    before = desk.state()
    wide = replace(RULE, protocol=None)
    disabling = spec_of("member", "to: 10.0.44.0/24, port-security: disable")

    async def recover(have: AtCloud, spec: Spec | None = None) -> str:
        desk.forge(have, None)
        return " ".join(await (await desk.found(spec=spec)).roll_back())

    for name in ("A", "B-eth0"):
        assert "10.0.44.0/24" in asyncio.run(recover(desk.wanted(name)))
        off = replace(desk.wanted(name), pairs=(), rules=(), off=desk.off().off)
        assert "port security off" in asyncio.run(recover(off, disabling))
    assert "any traffic" in asyncio.run(recover(desk.wanted(pairs=(), rules=(wide,))))
    assert desk.state() == before


def test_a_host_has_nothing_changed_that_is_not_its_own(desk: Desk) -> None:
    desk.seed.make_port("bystander", desk.seed.networks["business"], "10.0.43.99")
    desk.seed.change("bystander", allowed_address_pairs=[THEIRS])
    desk.seed.make_group("crossnet-monitoring", description="of the ops team")
    bystander = desk.wanted("bystander")
    of_nobody = replace(bystander, port="monitoring")
    before = desk.state()

    async def recover(
        have: AtCloud | None, want: AtCloud | None, words: str, *, cloud: str = "member"
    ) -> None:
        desk.forge(have, want)
        with pytest.raises(Refused, match=words):
            await (await desk.found(spec=spec_of(cloud))).roll_back()
        assert desk.is_kept
        assert desk.state() == before

    asyncio.run(recover(bystander, None, "at no interface of a host of the spec"))
    asyncio.run(recover(None, bystander, "at no interface of a host of the spec"))
    asyncio.run(recover(None, desk.off(), "no crossing says `port-security: disable`"))
    asyncio.run(recover(None, desk.wanted(), "the spec names cloud other", cloud="other"))
    asyncio.run(recover(None, desk.wanted(), "the spec names no cloud", cloud=""))

    async def of_a_port_that_is_gone() -> None:
        desk.forge(None, of_nobody)
        await (await desk.found()).roll_back()

    asyncio.run(of_a_port_that_is_gone())
    assert desk.state() == before


def test_a_host_does_not_say_which_group_is_crossnet_s(desk: Desk) -> None:
    """By rules a group is known that somebody has described anew: by those of the spec, not of a host's journal."""
    wanted = desk.wanted()
    theirs = replace(RULE, protocol="tcp", ports=(22, 22))
    group = desk.seed.make_group(wanted.group, description="of the ops team")
    for rule in desk.seed.ask("GET", f"/security-groups/{group}")["security_group"]["security_group_rules"]:
        desk.seed.ask("DELETE", f"/security-group-rules/{rule['id']}")
    ssh = {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    desk.seed.admit(group, **ssh, remote_ip_prefix="10.0.43.15/32")
    desk.forge(wanted, replace(wanted, rules=(theirs,)))

    async def recover() -> None:
        with pytest.raises((Refused, HostsFailed)):
            await (await desk.found()).roll_back()

    asyncio.run(recover())
    rules = desk.seed.ask("GET", f"/security-groups/{group}")["security_group"]["security_group_rules"]
    assert [one["port_range_min"] for one in rules] == [22]
    assert group not in desk.seed.port("B-eth1").groups


def test_who_does_not_see_the_port_does_not_forget_it(desk: Desk) -> None:
    """Neutron calls a port of another project "not found"."""
    before = desk.state()

    async def apply() -> None:
        await (await desk.staged(Change(None, desk.wanted()))).change(1, 10)
        with pytest.raises(Refused, match="belongs to another project"):
            await (await desk.found("stranger", spec_of("stranger"))).roll_back()
        assert desk.is_kept
        await (await desk.found()).roll_back()

    asyncio.run(apply())
    assert desk.state() == before


@pytest.mark.parametrize("what", ["least", "disable"])
def test_what_others_set_after_it_was_made_stays(desk: Desk, what: str) -> None:
    """Whoever switches port security off, or on again, has the last word on it."""
    group = desk.seed.make_group("theirs")
    wanted = {"least": desk.wanted(), "disable": desk.off()}[what]
    theirs: dict[str, Any] = {
        "least": {"port_security_enabled": False, "security_groups": [], "allowed_address_pairs": []},
        "disable": {"port_security_enabled": True, "security_groups": [group]},
    }[what]

    async def apply() -> dict[str, Any]:
        await (await desk.staged(Change(None, wanted))).change(1, 10)
        desk.seed.change("B-eth1", **theirs)
        document = desk.seed.document("B-eth1")
        spec = spec_of("member", f"to: 10.0.44.0/24, port-security: {what}")
        await (await desk.found(spec=spec)).roll_back()
        return document

    document = asyncio.run(apply())
    assert desk.seed.document("B-eth1") == document
    assert desk.state()[1] == ["default", "theirs"]


def test_a_group_that_was_deleted_meanwhile_does_not_keep_the_port_open(desk: Desk) -> None:
    group, port = desk.seed.make_group("own"), desk.seed.port("B-eth1")
    desk.seed.change("B-eth1", security_groups=[*port.groups, group])

    async def apply() -> tuple[str, ...]:
        one = await desk.staged(Change(None, desk.off()))
        await one.change(1, 10)
        desk.seed.ask("DELETE", f"/security-groups/{group}")
        return await one.roll_back()

    (told,) = asyncio.run(apply())
    assert group in told
    assert desk.seed.port("B-eth1").groups == port.groups
    assert not desk.is_kept


def test_who_slept_while_others_ended_it_asks_for_nothing_more(desk: Desk) -> None:
    before = desk.state()

    async def apply() -> None:
        one = await desk.staged(Change(None, desk.wanted()), Change(None, desk.wanted("B-eth0")))
        await one.change(1, 10)
        await (await desk.found()).roll_back()
        with pytest.raises(Gone):
            await one.change(2, 10)
        await one.roll_back()
        assert not desk.is_kept
        del desk.keeper.files[ID]
        with pytest.raises(Gone):
            await (await desk.staged(Change(None, desk.wanted()))).change(1, 10)

    asyncio.run(apply())
    assert desk.state() == before
    assert not desk.is_kept
