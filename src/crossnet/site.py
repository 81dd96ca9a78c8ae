"""A site: the hosts of a spec as they were reached, asked together and over many calls.

async with reach(spec) as site:
    facts = await site.observe()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from crossnet import facts as facts_module
from crossnet import localfile
from crossnet.errors import Bug, CrossnetError, HostError, HostsFailed
from crossnet.events import Event, Kind, Tally, Watcher, nobody, without_a_say
from crossnet.facts import Facts, Lookup
from crossnet.openstack.asking import ask_cloud
from crossnet.openstack.entry import is_meant
from crossnet.openstack.ports import Sought
from crossnet.persistence import extensions, init_scripts, kept, start, unit
from crossnet.record import FILES, FOLDER, at_clouds, paths_of
from crossnet.resources import KINDS
from crossnet.spec import HostSpec, Spec
from crossnet.transport import Host
from crossnet.transport.local import Local
from crossnet.transport.netns import Netns

T = TypeVar("T")

# Which packets the kernel of each host is to be asked about, once it is known what the hosts are.
Asking = Callable[[Mapping[str, Facts]], Mapping[str, tuple[Lookup, ...]]]

# The files that are read of every host.
READ = tuple(PurePosixPath(path) for path in (*FILES, *unit.FILES, *init_scripts.FILES))
_READ = frozenset(READ)

# What root runs there, at once or at the next boot, may be written by nobody else.
_OWN = (PurePosixPath(FOLDER), PurePosixPath(start.FOLDER))


@dataclass(frozen=True, slots=True)
class Answers(Generic[T]):
    """What the hosts said, by their names, and why the others did not."""

    said: Mapping[str, T]
    errors: Mapping[str, CrossnetError]

    def all(self) -> dict[str, T]:
        """What every host said; where one did not, all errors at once."""
        _raise(list(self.errors.values()))
        return dict(self.said)


def asks_nothing(facts: Mapping[str, Facts]) -> Mapping[str, tuple[Lookup, ...]]:
    """Of whoever needs no more than what the hosts say at first."""
    return {}


class Site:
    """Ways to the hosts of a spec; a host is connected when it is first asked.

    `asking` says what the hosts' kernels are asked when a host was read, in a second round trip. What was asked once,
    and what is in `asked`, is asked with all the rest the next time. `cloud` is asked for the ports of all hosts when
    they were read, and any other for what the records of hosts say that it holds.
    """

    def __init__(
        self,
        hosts: Mapping[str, Host],
        lost: Mapping[str, CrossnetError],
        watch: Watcher,
        asking: Asking = asks_nothing,
        asked: Mapping[str, tuple[Lookup, ...]] = MappingProxyType({}),
        cloud: str = "",
        cloud_within: float | None = None,
    ) -> None:
        self._hosts = hosts
        self._lost = lost
        self._asking = asking
        self._asked = asked
        self._cloud = cloud
        self._cloud_within = cloud_within
        self.watch = without_a_say(watch)

    @property
    def hosts(self) -> Mapping[str, Host]:
        """Every host; CrossnetError where there is no way to one."""
        _raise(list(self._lost.values()))
        return self._hosts

    @property
    def reachable(self) -> Mapping[str, Host]:
        """The hosts that there is a way to."""
        return self._hosts

    def part(self, spec: Spec) -> Site:
        """The same ways to the hosts of a smaller spec."""
        names = {host.name for host in spec.hosts}
        hosts = {name: host for name, host in self._hosts.items() if name in names}
        lost = {name: error for name, error in self._lost.items() if name in names}
        return Site(hosts, lost, self.watch, self._asking, self._asked, self._cloud, self._cloud_within)

    def within(self, seconds: float, *, but: Collection[str] = (), cloud: float | None = None) -> Site:
        """The same, where every host is given up but these that answers nothing for so long; and so is a cloud."""
        from crossnet.transport.patience import Patient

        hosts = {name: host if name in but else Patient(host, seconds) for name, host in self._hosts.items()}
        return Site(hosts, self._lost, self.watch, self._asking, self._asked, self._cloud, cloud)

    async def ask(self, work: Callable[[Host], Coroutine[Any, Any, T]]) -> Answers[T]:
        """The same of all hosts at the same time, each to its end."""
        answers = await settled(work(host) for host in self._hosts.values())
        found = dict(zip(self._hosts, answers, strict=True))
        errors = {name: said for name, said in found.items() if isinstance(said, CrossnetError)}
        said = {name: said for name, said in found.items() if not isinstance(said, CrossnetError)}
        return Answers(said, {**self._lost, **errors})

    async def look(self, *, kernels: bool = True) -> Answers[Facts]:
        """What the hosts say about themselves, those that can be reached; read only.

        Without `kernels` what is open is not asked.
        """
        tally = Tally(self.watch, Kind.READS, len(self._hosts))
        for name in self._hosts:
            self.watch(Event(Kind.READS, name, hosts=tally.hosts))

        async def read(host: Host) -> Facts:
            lookups = self._asked.get(host.name, ())
            questions = [question for kind in KINDS.values() for question in kind.questions]
            facts = await facts_module.observe(host, READ, _OWN, lookups, questions)
            paths = dict.fromkeys((*paths_of(facts), *kept.paths(facts), *extensions.paths(facts)))
            if more := tuple(path for path in paths if PurePosixPath(path) not in _READ):
                facts = await facts_module.read_more(host, facts, more)
            tally.done(host.name)
            return facts

        found = await self._with_clouds(await self.ask(read))
        return await self._with_lookups(found) if kernels else found

    async def _with_clouds(self, found: Answers[Facts]) -> Answers[Facts]:
        """The same with what clouds say of the hosts; that one cannot be asked is told of them too."""
        sought = {name: at_clouds(facts) for name, facts in found.said.items()}
        asked = {
            name: tuple(dict.fromkeys((*([self._cloud] if self._cloud else []), *of)))
            for name, of in sought.items()
        }
        clouds = dict.fromkeys(cloud for own in asked.values() for cloud in own)
        if not clouds:
            return found
        answers = await together(
            ask_cloud(
                cloud,
                {name: facts for name, facts in found.said.items() if cloud in asked[name]},
                {name: _of_entry(cloud, of) for name, of in sought.items()},
                self._cloud_within,
            )
            for cloud in clouds
        )
        by_cloud = dict(zip(clouds, answers, strict=True))
        said = dict(found.said)
        for name, own in asked.items():
            if own:
                first, *further = (by_cloud[cloud][name] for cloud in own)
                said[name] = replace(said[name], cloud=first, further_clouds=tuple(further))
        return Answers(said, found.errors)

    async def _with_lookups(self, found: Answers[Facts]) -> Answers[Facts]:
        """The same, when the kernels were asked what is open; all hosts at the same time."""
        self._asked = self._asking(found.said)
        still = {
            name: [lookup for lookup in lookups if lookup not in found.said[name].lookups]
            for name, lookups in self._asked.items()
        }
        names = [name for name, lookups in still.items() if lookups]
        answers = await settled(
            facts_module.ask_kernel(self._hosts[name], found.said[name], still[name]) for name in names
        )
        said, errors = dict(found.said), dict(found.errors)
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, CrossnetError):
                del said[name]
                errors[name] = answer
            else:
                said[name] = answer
        return Answers(said, errors)

    async def observe(self, *, kernels: bool = True) -> dict[str, Facts]:
        """What every host says about itself; where one cannot be reached, all errors at once."""
        return (await self.look(kernels=kernels)).all()

    async def reconnect(self) -> None:
        """End what stands between here and the hosts: whoever is asked next is connected anew."""
        await disconnect(*self._hosts.values())


class Ways:
    """Ways to hosts that several sites use one after the other: what one has connected is there for the next."""

    def __init__(self) -> None:
        self._hosts: dict[HostSpec, Host] = {}

    def to(self, host: HostSpec) -> Host:
        """Nothing is opened yet. HostError where `ssh:` cannot be meant, LabError where there is no such lab."""
        if host not in self._hosts:
            self._hosts[host] = _way_to(host)
        return self._hosts[host]

    async def close(self) -> None:
        """End what is connected; whoever is asked next is connected anew."""
        with suppress(Exception):  # what was done and read is done and read
            await disconnect(*self._hosts.values())


@asynccontextmanager
async def reach(
    spec: Spec,
    *,
    watch: Watcher = nobody,
    asking: Asking = asks_nothing,
    asked: Mapping[str, tuple[Lookup, ...]] = MappingProxyType({}),
    ways: Ways | None = None,
    cloud: str = "",
) -> AsyncIterator[Site]:
    """The hosts of a spec; what was connected is ended at the end, or by whoever gave the `ways`.

    `cloud` is the entry of clouds.yaml that is asked for their ports, by default that of the spec.
    """
    used = ways or Ways()
    hosts: dict[str, Host] = {}
    lost: dict[str, CrossnetError] = {}
    for host in spec.hosts:
        try:
            hosts[host.name] = used.to(host)
        except CrossnetError as error:
            lost[host.name] = error
    try:
        yield Site(hosts, lost, watch, asking, asked, cloud or spec.cloud)
    finally:
        if ways is None:
            await used.close()


def _of_entry(cloud: str, sought: Mapping[str, Sought]) -> Sought:
    """What is sought in a cloud, also under the name with the region that is found for it."""
    return reduce(or_, (of for name, of in sought.items() if is_meant(cloud, name)), Sought())


def _way_to(host: HostSpec) -> Host:
    if host.lab is not None:
        from crossnet.lab.build import find
        from crossnet.transport.lab import LabHost

        return LabHost(host.name, find(host.lab).socket)
    if host.netns is not None:
        return Netns(Local(host.name, become=host.become), host.netns)
    if host.local:
        return Local(host.name, become=host.become)
    if host.ssh is None:
        raise Bug(f"the spec says no way to reach the host {host.name}")
    try:
        from crossnet.transport.ssh import Ssh  # late: asyncssh takes longer to import than all of crossnet
    except OSError as error:
        raise _not_loaded(host, error) from None
    return Ssh(host.name, host.ssh, become=host.become)


def _not_loaded(host: HostSpec, error: OSError) -> Exception:
    """Why asyncssh could not be imported, which looks for libraries by way of temporary files (ctypes.util)."""
    try:
        with localfile.temporary_folder():
            return error
    except localfile.NoTemporaryFolder as missing:
        seen = error.strerror or str(error)
        return HostError(host.name, "tried to load what connects with SSH", seen, missing.TODO)


@runtime_checkable
class _Connected(Protocol):
    async def close(self) -> None: ...


async def disconnect(*hosts: Host) -> None:
    """End what stands between here and the hosts; a host that is used again is connected again."""
    await together(host.close() for host in hosts if isinstance(host, _Connected))


# ---- several at the same time --------------------------------------------------------------------------


async def settled(works: Iterable[Coroutine[Any, Any, T]]) -> list[T | CrossnetError]:
    """What became of each, in their order: none is left running, and none is cut short by the error of another.

    An interrupt ends them all, and is over when they have ended.
    """

    async def outcome(work: Coroutine[Any, Any, T]) -> T | Exception:
        try:
            return await work
        except Exception as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(outcome(work)) for work in works]
    ended: list[T | CrossnetError] = []
    for task in tasks:
        result = task.result()
        if isinstance(result, Exception) and not isinstance(result, CrossnetError):
            raise result
        ended.append(result)
    return ended


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Every result, in order; where one fails, all errors at once, after all have ended."""
    ended = await settled(works)
    _raise([one for one in ended if isinstance(one, CrossnetError)])
    return [one for one in ended if not isinstance(one, CrossnetError)]


def _raise(errors: list[CrossnetError]) -> None:
    if errors:
        raise errors[0] if len(errors) == 1 else HostsFailed(errors)
