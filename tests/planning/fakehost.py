"""A host in memory: it performs the steps of changes with the kernel's own side effects, and gives its facts.

What `ip route`, `sysctl` and file writes do is done from the rendered steps, as the real tools would; the
rule tables are put in place as values, with the one thing that iptables refuses: a chain that is jumped to
cannot be removed. A step that a real host would refuse raises `StepRefused`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from crossnet.facts import Facts, FileState
from crossnet.facts.firewall import Firewall
from crossnet.facts.init import InitScripts
from crossnet.facts.routes import Route
from crossnet.facts.sysctls import BootSetting, boot_setting
from crossnet.netfilter import TABLE_FAMILY, Engine, Set, Table
from crossnet.netfilter.ipset import set_name
from crossnet.netfilter.iptables import parse_save, write_chains
from crossnet.netfilter.iptables_own import PLACES
from crossnet.planning import Plan
from crossnet.record import APPLIED, UNTIL_BY, UNTIL_HEARTBEAT
from crossnet.resources import Change, Command, Jump, Link, RuleTable, Splice, Step, Write
from crossnet.resources.profile_route import CHANGE as NMCLI
from crossnet.standing import Stamp
from crossnet.values import Family
from design.factsheet import route as read_route

ROOT = "0:0"
_NOBODY = Stamp()
_OWN = tuple[Engine, Family]
_Key = TypeVar("_Key")


class StepRefused(Exception):
    """A real host would have answered this step with an error."""


@dataclass
class FakeHost:
    """The state that changes can touch; everything else of its facts stays."""

    base: Facts
    routes: list[Route]
    sysctls: dict[str, str]
    files: dict[str, FileState]
    nft: dict[Family, Table]
    chains: dict[_OWN, Table]
    jumps: list[tuple[Engine, Family, str]]
    profiles: dict[str, list[str]]

    @classmethod
    def of(cls, facts: Facts) -> FakeHost:
        files = {path: state for path, state in facts.files.items() if isinstance(state, FileState)}
        profiles = {uuid: list(entries) for uuid, entries in facts.profiles.items()}
        return cls(facts, list(facts.routes), dict(facts.sysctls), files, {}, {}, [], profiles)

    def facts(self) -> Facts:
        return replace(
            self.base,
            routes=tuple(self.routes),
            sysctls=dict(self.sysctls),
            files=dict(self.files),
            init=self._init(),
            boot_settings=(*self.base.boot_settings, *self._boot_settings()),
            profiles={uuid: tuple(entries) for uuid, entries in self.profiles.items()},
            firewall=Firewall(nft=tuple(self.nft.values()), iptables=self._iptables(), ipsets=self._ipsets()),
        )

    def _boot_settings(self) -> list[BootSetting]:
        """The lines of the files that were written since."""
        lines = [
            (path, number, line)
            for path, state in self.files.items()
            if path.startswith("/etc/sysctl.d/")
            for number, line in enumerate(state.data.decode().splitlines(), 1)
        ]
        return [found for path, number, line in lines if (found := boot_setting(path, number, line))]

    def _init(self) -> InitScripts | None:
        """With the links that were made since."""
        if self.base.init is None:
            return None
        made = [path for path, state in self.files.items() if state.target and "/init.d/" in state.target]
        return replace(self.base.init, links=(*self.base.init.links, *made))

    def state(self) -> tuple[object, ...]:
        """Everything that can be told from outside, in no order."""
        return (
            frozenset(self.routes),
            dict(self.sysctls),
            dict(self.files),
            dict(self.nft),
            dict(self.chains),
            sorted(self.jumps),
            {uuid: sorted(entries) for uuid, entries in self.profiles.items()},
        )

    # ---- changes ---------------------------------------------------------------------------------

    def make(self, change: Change) -> None:
        if isinstance(change.resource, RuleTable):
            self._table(change.resource, change.want)
        elif isinstance(change.resource, Jump):
            self._jump(change.resource, change)
        else:
            for step in change.steps:
                self.perform(step)

    def perform(self, step: Step) -> None:
        match step:
            case Write(data=None):
                self.files.pop(str(step.path), None)
            case Write():
                self.files[str(step.path)] = FileState(step.data or b"", step.mode, step.owner or ROOT)
            case Link(target=None):
                self.files.pop(str(step.path), None)
            case Link():
                self.files[str(step.path)] = FileState(b"", 0o777, step.owner or ROOT, step.target)
            case Splice():
                self._splice(step)
            case Command(argv=("sysctl", "-e", "-q", "-w", *pairs)):
                for pair in pairs:
                    self._sysctl(*pair.split("="))
            case Command(argv=("ip", _, "route", verb, *words)):
                self._route(verb, read_route(" ".join(words)))
            case Command(argv=("sh", "-c", script, "sh", uuid, _, "+", entry)) if script == NMCLI:
                self.profiles[uuid] = [*(one for one in self.profiles[uuid] if one != entry), entry]
            case Command(argv=("sh", "-c", script, "sh", uuid, _, "-", entry)) if script == NMCLI:
                self.profiles[uuid].remove(entry)
            case Command(argv=("sh", "-c", script, "sh", *_)) if script.startswith("systemctl daemon-reload"):
                pass  # no systemd answers here
            case _:
                raise AssertionError(f"no tool for {step}")

    def _splice(self, step: Splice) -> None:
        place = str(step.path)
        state = self.files.get(place)
        if _digest(state) == step.after:
            return
        if _digest(state) != step.before:
            raise StepRefused(f"{place} was changed by somebody else")
        if step.after is None:
            del self.files[place]
            return
        known = state or FileState(b"", step.mode, ROOT)
        data = known.data[: step.offset] + step.data + known.data[step.offset + step.length :]
        assert hashlib.sha256(data).hexdigest() == step.after
        self.files[place] = replace(known, data=data)

    def _sysctl(self, path: str, value: str) -> None:
        name = path.translate(str.maketrans("./", "/."))
        if name not in self.sysctls:
            return  # -e: an unknown setting is no error
        if self.sysctls[name] == value:
            return
        self.sysctls[name] = value
        # net/ipv4/devinet.c, net/ipv6/addrconf.c
        if name == "net.ipv4.ip_forward":
            self.sysctls["net.ipv4.conf.all.accept_redirects"] = "0" if value == "1" else "1"
            self._every(4, value)
        if name == "net.ipv6.conf.all.forwarding":
            self._every(6, value)
            if value == "0":
                self._every(6, value, "force_forwarding")

    def _every(self, family: int, value: str, key: str = "forwarding") -> None:
        for name in self.sysctls:
            if name.startswith(f"net.ipv{family}.conf.") and name.endswith(f".{key}"):
                self.sysctls[name] = value

    def _route(self, verb: str, wanted: Route) -> None:
        same = [r for r in self.routes if _place(r) == _place(wanted)]
        if verb == "del":
            found = [
                r
                for r in same
                if (r.via, r.device, r.protocol) == (wanted.via, wanted.device, wanted.protocol)
            ]
            if not found:
                raise StepRefused(f"RTNETLINK answers: No such process: {wanted}")
            self.routes.remove(found[0])
            return
        if verb == "add" and same:
            raise StepRefused(f"RTNETLINK answers: File exists: {wanted}")
        for one in same[:1]:
            self.routes.remove(one)
        self.routes.append(wanted)

    def _table(self, resource: RuleTable, want: object) -> None:
        new = want.table if isinstance(want, RuleTable) else None
        if resource.engine is Engine.NFTABLES:
            self._put(self.nft, resource.family, new)
            return
        place = (resource.engine, resource.family)
        kept = {chain.name for chain in new.chains} if new else set()
        left = [jump for jump in self.jumps if jump[:2] == place and jump[2] not in kept]
        if left:
            raise StepRefused(f"iptables-restore: the chain of {left[0]} is in use")
        self._put(self.chains, place, new)

    @staticmethod
    def _put(tables: dict[_Key, Table], key: _Key, table: Table | None) -> None:
        tables.pop(key, None)
        if table is not None:
            tables[key] = table

    def _jump(self, jump: Jump, change: Change) -> None:
        place = (jump.engine, jump.family, jump.chain)
        if change.have is not None:
            if place not in self.jumps:
                raise StepRefused(f"iptables: no such rule: {place}")
            self.jumps.remove(place)
        if change.want is not None:
            table = self.chains.get(place[:2])
            if table is None or table.chain(jump.chain) is None:
                raise StepRefused(f"iptables: no chain by that name: {place}")
            self.jumps.append(place)

    # ---- as the tools show it --------------------------------------------------------------------

    def _iptables(self) -> Mapping[_OWN, tuple[Table, ...]]:
        return {place: parse_save(self.saved(place), TABLE_FAMILY[place[1]]) for place in self.chains}

    def saved(self, place: _OWN) -> str:
        """As iptables-save prints it: the built-in chains with the jumps, then the own ones."""
        shown = []
        for block in write_chains(None, self.chains[place]).split("COMMIT\n")[:-1]:
            head, own, *rules = block.splitlines()
            table = head.removeprefix("*")
            (chain,) = [
                name for name, at in PLACES.items() if (at.table, f":{at.chain} - [0:0]") == (table, own)
            ]
            at = PLACES[chain]
            jump = f"-A {at.entered_from} -m comment --comment crossnet -j {at.chain}"
            jumps = [jump] if (*place, chain) in self.jumps else []
            shown += [head, f":{at.entered_from} ACCEPT [0:0]", own, *jumps, *rules, "COMMIT"]
        return "".join(f"{line}\n" for line in shown)

    def _ipsets(self) -> tuple[Set, ...]:
        return tuple(
            Set(set_name(TABLE_FAMILY[family], each.name), each.members)
            for (_, family), table in self.chains.items()
            for each in table.sets
        )


def _digest(state: FileState | None) -> str | None:
    return None if state is None else hashlib.sha256(state.data).hexdigest()


def _place(route: Route) -> tuple[object, ...]:
    """What the kernel takes as the same place in its table."""
    return (route.destination, route.metric, route.table)


Hosts = Mapping[str, FakeHost]


def hosts_of(facts: Mapping[str, Facts]) -> dict[str, FakeHost]:
    return {name: FakeHost.of(one) for name, one in facts.items()}


def facts_of(hosts: Hosts) -> dict[str, Facts]:
    return {name: host.facts() for name, host in hosts.items()}


def states(hosts: Hosts) -> dict[str, tuple[object, ...]]:
    return {name: host.state() for name, host in hosts.items()}


def make_all(changes: Iterable[tuple[str, Change]], hosts: Hosts) -> None:
    for name, change in changes:
        hosts[name].make(change)


def carry_out(plan: Plan, hosts: Hosts, stamp: Stamp = _NOBODY) -> None:
    """What a transaction does that goes well: the live changes, the records, then the files."""
    make_all(plan.live(), hosts)
    for host in plan.hosts:
        files = hosts[host.host].files
        if not host.after.is_empty:
            files[APPLIED] = FileState(host.after.stamped(stamp).to_json(), 0o600, ROOT)
        else:
            files.pop(APPLIED, None)
        if host.lapses:
            files |= {
                UNTIL_BY: FileState(b"watch\n", 0o600, ROOT),
                UNTIL_HEARTBEAT: FileState(b"0\n", 0o600, ROOT),
            }
        else:
            for place in (UNTIL_BY, UNTIL_HEARTBEAT):
                files.pop(place, None)
    make_all(plan.persistent(), hosts)
