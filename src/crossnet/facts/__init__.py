"""What a host says about itself: read only, in one round trip, kept as frozen values.

A second one asks the kernel where it sends packets, when it is known which packets matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, TypeVar

from crossnet.errors import HostError
from crossnet.facts import boot_order, firewall
from crossnet.facts.boot_order import BEFORE_NETWORK
from crossnet.facts.capabilities import SYSTEMD, Capabilities, tools_question
from crossnet.facts.cloud_init import CLOUD_INIT, CloudInit
from crossnet.facts.files import FileState, Unreadable, files_question
from crossnet.facts.firewall import Firewall
from crossnet.facts.folder import folder_question
from crossnet.facts.init import INIT, InitScripts
from crossnet.facts.links import LINKS, Link
from crossnet.facts.lookups import Answered, Lookup, question
from crossnet.facts.managers import Manager, managers_of
from crossnet.facts.moments import MOMENTS, Moments
from crossnet.facts.neighbours import NEIGHBOURS, Neighbour
from crossnet.facts.nexthops import NEXTHOPS, with_nexthops
from crossnet.facts.owners import OWNERS, Owner, owners_of
from crossnet.facts.policy import RULES4, RULES6, PolicyRule, not_sure
from crossnet.facts.programs import PROGRAMS, IpsecPolicy, TcFilter, dropping_queue
from crossnet.facts.question import Question, door, put
from crossnet.facts.routes import ROUTES4, ROUTES6, Route, Routes, not_silent
from crossnet.facts.saved import SAVED, SavedRules
from crossnet.facts.setters import SETTERS, Setters
from crossnet.facts.start import CLOCK, NETWORK, START
from crossnet.facts.sysctls import BOOT_SETTINGS, SYSCTLS, BootSetting
from crossnet.facts.units import UNITS
from crossnet.netfilter import Engine
from crossnet.openstack.entry import is_meant
from crossnet.openstack.ports import CloudFacts, Unasked
from crossnet.transport import Host
from crossnet.values import Address, Family, Network

__all__ = ["Answered", "Facts", "FileState", "Lookup", "Unreadable", "ask_kernel", "observe", "read_more"]

T = TypeVar("T")

_BRIDGED = {
    Family.V4: "net.bridge.bridge-nf-call-iptables",
    Family.V6: "net.bridge.bridge-nf-call-ip6tables",
}


# Neutron's DHCP gives machines a route of its own to the metadata service.
METADATA = IPv4Network("169.254.169.254/32")


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything crossnet knows of one host at one instant.

    Its repr() leaves out what may be long: asyncio.run() makes that of what it returns, twice, and shows it to nobody
    (Python 3.11: signal.getsignal() looks for the handler of SIGINT among the names of an enum).
    """

    host: str
    links: tuple[Link, ...] = field(repr=False)
    routes: tuple[Route, ...] = field(repr=False)
    sysctls: Mapping[str, str] = field(repr=False)
    boot_settings: tuple[BootSetting, ...] = field(repr=False)
    neighbours: tuple[Neighbour, ...] = field(repr=False)
    capabilities: Capabilities
    firewall: Firewall = field(repr=False)
    files: Mapping[str, FileState | Unreadable] = field(default_factory=dict, repr=False)
    controller: Address | None = None  # where the host sees crossnet come from, over SSH
    reached_at: Address | None = None  # and on which of its own addresses
    uptime: int = 0  # seconds since the host was started
    boot: str = ""  # which start that was
    clock: int = 0  # its own time, in seconds since 1970; 0 where that is not known
    ahead: int = 0  # seconds by which that is later than the clock of the machine that crossnet runs on
    network: str = ""  # its network namespace; nothing where that cannot be told
    units: Mapping[str, bool] | None = (
        None  # whether each unit of crossnet, or of a manager, runs; None where that is not known
    )
    failed_units: frozenset[str] = frozenset()
    # units of firewalls that it starts before its network; all that may be, where that is not known
    before_network: frozenset[str] = frozenset(boot_order.UNITS)
    # when units of others, and interfaces, changed last; nothing of a namespace that keeps files of its own
    moments: Moments = field(default_factory=Moments, repr=False)
    init: InitScripts | None = None  # who starts scripts of /etc/init.d at boot, where systemd does not
    # of both families, each in the order in which they are asked
    policy_rules: tuple[PolicyRule, ...] = field(default=(), repr=False)
    managers: tuple[Manager, ...] = ()  # who else works there
    # who keeps each interface, by its name; nothing of a namespace that keeps files of its own
    owners: Mapping[str, Owner] = field(default_factory=lambda: MappingProxyType({}))
    # the routes of NetworkManager's profiles, by the uuid of each, as nmcli lists them
    profiles: Mapping[str, Collection[str]] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    lookups: Mapping[Lookup, Answered | None] = field(
        default_factory=dict
    )  # what the kernel was asked, and what it said; None where nobody could say
    # what was asked for one kind of resource alone
    answers: Mapping[Question[Any], Any] = field(default_factory=dict, repr=False)
    ipsec: tuple[IpsecPolicy, ...] = ()
    # the qdiscs of tc that hold filters, by the device
    classifiers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    # their filters, where they could be listed, and the handles of root qdiscs
    filters: Mapping[str, tuple[TcFilter, ...]] = field(default_factory=lambda: MappingProxyType({}))
    queues: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    saved: tuple[
        SavedRules, ...
    ] = ()  # files that the host loads at boot and that have rules of crossnet's own
    # other programs that set kernel settings, by files of their own
    setters: Setters = field(default_factory=Setters, repr=False)
    cloud_init: CloudInit = field(default_factory=CloudInit, repr=False)
    cloud: CloudFacts | Unasked | None = field(
        default=None, repr=False
    )  # of its ports; None where none is asked
    # the same of further ones, which its record alone names
    further_clouds: tuple[CloudFacts | Unasked, ...] = field(default=(), repr=False)

    _derived: dict[Callable[[Facts], Any], Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not isinstance(self.routes, Routes):
            object.__setattr__(self, "routes", Routes(self.routes))

    def derived(self, what: Callable[[Facts], T]) -> T:
        """What follows from these facts alone, worked out once, however often it is asked for."""
        if what not in self._derived:
            self._derived[what] = what(self)
        found: T = self._derived[what]
        return found

    def given(self, what: Callable[[Facts], T], found: T) -> Facts:
        """The same facts where this follows from them."""
        other = replace(self)
        other._derived[what] = found
        return other

    def said_by(self, cloud: str) -> CloudFacts | Unasked | None:
        """What the cloud of this name says of it, or why it says nothing; None where nobody has asked that one."""
        asked = [each for each in (self.cloud, *self.further_clouds) if each is not None]
        known = [each for each in asked if each.cloud == cloud] or [
            each for each in asked if is_meant(cloud, each.cloud)
        ]
        return known[0] if known else None

    def routes_to(self, destination: Network) -> tuple[Route, ...]:
        """The routes of all tables to this very destination."""
        assert isinstance(self.routes, Routes)
        return self.routes.to(destination)

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)

    def iptables(self, engine: Engine, family: Family) -> str:
        """What this host calls that variant: `iptables-legacy`, or plain `iptables` where there is only one."""
        plain = "iptables" if family is Family.V4 else "ip6tables"
        named = f"{plain}-legacy" if engine is Engine.IPTABLES_LEGACY else f"{plain}-nft"
        return named if self.capabilities.has(named) else plain

    def readable(self, engine: Engine) -> Firewall:
        """The firewall, for whoever looks for crossnet's own rules in it; HostError where they cannot be read."""
        if reason := self.firewall.unusable.get(engine):
            raise HostError(
                self.host,
                f"read crossnet's own rules in {engine}",
                reason,
                "Repair or reinstall the tool; until then nothing is known of these rules.",
            )
        return self.firewall

    def file(self, path: str) -> FileState | None:
        """A file of those that were asked for, None where it is absent; HostError where that cannot be told."""
        state = self.files.get(path)
        if isinstance(state, Unreadable):
            raise HostError(
                self.host,
                f"read {path}",
                state.reason,
                "crossnet reads that file: check what is in its place, and its permissions.",
            )
        return state

    def is_no_file(self, path: str) -> bool:
        """Whether a folder, a pipe or the like has come in the place of a file."""
        state = self.files.get(path)
        return isinstance(state, Unreadable) and state.is_no_file

    def file_left(self, path: str) -> FileState | None:
        """As `file`, where one is gone too that has something else in its place."""
        return None if self.is_no_file(path) else self.file(path)

    def bridges_filtered(self, family: Family) -> tuple[str, ...]:
        """The bridges whose frames meet the rules for what is forwarded too (Documentation, br_netfilter)."""
        setting = _BRIDGED[family]
        if self.sysctls.get(setting, "0") == "0":
            return ()
        return tuple(link.name for link in self.links if link.kind == "bridge")

    def programs(self, device: str, hook: str) -> tuple[str, ...]:
        """What may take frames at a device, at `ingress` or `egress`, beside rules: in words of its tool."""
        link = self.link(device)
        xdp = f"an XDP program on {device}" if link is not None and link.xdp and hook == "ingress" else ""
        queue = ""
        if link is not None and hook == "egress" and dropping_queue(link.qdisc):
            queue = self.queue_of(link)
        return tuple(words for words in (xdp, self._filtering(device, hook), queue) if words)

    def _filtering(self, device: str, hook: str) -> str:
        """The one filter of tc that may take frames there; where it may be several, the qdisc that holds them."""
        holder = self.classifiers.get(device, "")
        if not holder or (hook == "egress" and " ingress " in holder):
            return ""
        known = self.filters.get(device, ())
        taking = [each for each in known if each.hook == hook and each.may_drop]
        if known and not taking:
            return ""
        return f"tc filter dev {device} {taking[0].selector}" if len(taking) == 1 else holder

    def queue_of(self, link: Link) -> str:
        """The queue by which frames leave an interface, in words of tc(8); with its handle where it has one."""
        handle = self.queues.get(link.name)
        return f"tc qdisc {link.qdisc} dev {link.name}" + (f" root handle {handle}" if handle else "")

    @property
    def is_in_cloud(self) -> bool:
        """Whether it is a machine of OpenStack, as itself or a route to the metadata service tells."""
        return self.capabilities.openstack or bool(self.routes_to(METADATA))

    def owner_of(self, wanted: Address) -> Link | None:
        """The interface that holds this address; the first of several that have one link-local address."""
        return next((link for link in self.links if link.has(wanted)), None)


async def observe(
    host: Host,
    files: Iterable[PurePosixPath],
    own: Sequence[PurePosixPath] = (),
    lookups: Iterable[Lookup] = (),
    questions: Sequence[Question[Any]] = (),
    *,
    rules: bool = True,
) -> Facts:
    """Ask a host for everything; `files` are the paths to read besides, `lookups` what to ask its kernel.

    `questions` are what somebody wants to know besides all that.

    `own` are the folders that must be crossnet's alone, that of its transactions first; HostError where one is not.

    Without `rules` the firewall is not asked, as only root may: what it does to any packet is not known then.
    """
    systemd = host.locate(PurePosixPath(SYSTEMD))
    tools = tools_question(str(systemd))
    asked = files_question({str(path): str(host.locate(path)) for path in files})
    paths = (LINKS, ROUTES4, ROUTES6, NEXTHOPS, RULES4, RULES6, NEIGHBOURS, PROGRAMS)
    general = (*paths, START, CLOCK, NETWORK, SYSCTLS, BOOT_SETTINGS, SETTERS, CLOUD_INIT, SAVED, tools)
    # A namespace that keeps files of its own is not the one whose units systemd runs, and whose interfaces are kept.
    keeping = (UNITS, BEFORE_NETWORK, INIT, OWNERS, MOMENTS) if str(systemd) == SYSTEMD else ()
    whose = [
        folder_question(str(each), str(host.locate(each)), of_transactions=not number)
        for number, each in enumerate(own)
    ]
    packets = {lookup: question(lookup) for lookup in lookups}
    of_rules = firewall.QUESTIONS if rules else ()
    said = await put(
        host, [*whose, *general, *keeping, *of_rules, asked.question, *packets.values(), *questions]
    )
    able, start, settings = said[tools], said[START], said[SYSCTLS]
    clock, asked_at = said[CLOCK], round(time.time())
    interfaces, policy = said[LINKS], (*said[RULES4], *said[RULES6])
    for family, routes in ((Family.V4, ROUTES4), (Family.V6, ROUTES6)):
        with door(host.name, routes.tried, b""):
            not_silent(said[routes], interfaces.links, family)
    rules_there = firewall.closed("only root may read its rules")
    if rules:
        further = firewall.further(said)
        more = await put(host, further) if further else said
        with door(host.name, "read the rules of its firewall", b""):
            rules_there = firewall.firewall_of(said, more, plain_is_nft=able.iptables_is_nft)
    found = asked.found(host.name, said[asked.question])
    units = said[UNITS] if keeping else None
    running = units.runs if units else None
    init = said[INIT] if keeping and not able.systemd else None
    owners = owners_of(interfaces.links, said[OWNERS], running) if keeping else {}
    profiles = said[OWNERS].routes if keeping else {}
    return Facts(
        host=host.name,
        links=interfaces.links,
        routes=with_nexthops((*said[ROUTES4], *said[ROUTES6]), said[NEXTHOPS]),
        sysctls=MappingProxyType(settings),
        boot_settings=said[BOOT_SETTINGS],
        neighbours=said[NEIGHBOURS],
        capabilities=able,
        firewall=rules_there,
        files=MappingProxyType({path: state for path, state in found.items() if state is not None}),
        controller=await host.controller(),
        reached_at=await host.reached_at(),
        uptime=start.uptime,
        boot=start.boot,
        clock=clock,
        ahead=clock - asked_at if clock else 0,
        network=said[NETWORK],
        units=running,
        failed_units=units.failed if units else frozenset(),
        before_network=said[BEFORE_NETWORK] if keeping and able.systemd else frozenset(boot_order.UNITS),
        moments=said[MOMENTS] if keeping else Moments(),
        init=init,
        policy_rules=policy if interfaces.detailed else not_sure(policy),
        managers=managers_of(
            interfaces.links, policy, rules_there.foreign, running, init.names if init else ()
        ),
        owners=MappingProxyType(owners),
        profiles=MappingProxyType(profiles),
        lookups=MappingProxyType({lookup: said[asked] for lookup, asked in packets.items()}),
        answers=MappingProxyType({question: said[question] for question in questions}),
        ipsec=said[PROGRAMS].ipsec,
        classifiers=said[PROGRAMS].classifiers,
        filters=said[PROGRAMS].filters,
        queues=said[PROGRAMS].queues,
        saved=said[SAVED],
        setters=said[SETTERS],
        cloud_init=said[CLOUD_INIT],
    )


async def read_more(host: Host, facts: Facts, files: Iterable[str]) -> Facts:
    """The same facts with what stands at these paths too."""
    asked = files_question({path: str(host.locate(PurePosixPath(path))) for path in files})
    found = asked.found(host.name, (await put(host, [asked.question]))[asked.question])
    there = {path: state for path, state in found.items() if state is not None}
    return replace(facts, files=MappingProxyType({**facts.files, **there}))


async def ask_kernel(host: Host, facts: Facts, lookups: Iterable[Lookup]) -> Facts:
    """The same facts with what the host's kernel says of these packets too."""
    packets = {lookup: question(lookup) for lookup in lookups}
    said = await put(host, list(packets.values()))
    answers = {lookup: said[asked] for lookup, asked in packets.items()}
    return replace(facts, lookups=MappingProxyType({**facts.lookups, **answers}))
