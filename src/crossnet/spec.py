"""What the user asks for.

    crossnet: 1
    name: business                      # default: the file's name without .yaml
    hosts:
      app:      {ssh: root@10.0.43.15}
      gateway:  {ssh: ops@10.0.43.101, become: sudo}
    crossings:
      business:
        from: app                       # host names, addresses, networks
        via: gateway
        to: 10.0.44.0/24                # networks or addresses, or {networks: […], except: […]}
        allow: [icmp, tcp/443]          # default: any
        translate: snat                 # snat | masquerade | none | {snat: 10.0.44.63}

The values here are what `specfile` makes of such a file: every text already validated, every "one or
a list" already a tuple, every default still visible as `None` or `auto` because it is discovered later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from crossnet.errors import CrossnetError
from crossnet.several import MOST_NAMES, first_of
from crossnet.translation import Masquerade, Untranslated
from crossnet.values import (
    Address,
    Family,
    Network,
    Probe,
    Traffic,
    as_root,
    family_of,
    show_network,
    together,
)

FORMAT = 1

# The spec that the file crossnet.yaml, or no file, is.
USUAL_NAME = "crossnet"

# Written in the common part of Python's and ECMA-262's regular expressions, because editors read them.
LONGEST_NAME = 40
SPEC_NAME = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}"
CROSSING_NAME = rf"[a-z][a-z0-9.-]{{0,{LONGEST_NAME - 1}}}"
CLOUD_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@ -]{0,62}"
REGION_NAME = CLOUD_NAME
CLOUD = rf"{CLOUD_NAME}(/{REGION_NAME})?"  # as in prod/east
HOST_NAME = r"(?![0-9.]+$)[A-Za-z0-9][A-Za-z0-9._-]{0,62}"


@dataclass(frozen=True, slots=True)
class HostSpec:
    """How to reach a host: exactly one of `ssh`, `local`, `netns`, `lab`."""

    name: str
    ssh: str | None = None
    local: bool = False
    netns: str | None = None
    lab: str | None = None
    become: bool = False

    @property
    def place(self) -> tuple[str | None, str | None, str | None, bool]:
        """The way to it, as whoever, under whatever name."""
        ssh = self.ssh.removeprefix("ssh://").rpartition("@")[2] if self.ssh is not None else None
        return ssh, self.netns, self.lab, self.local

    @classmethod
    def of_word(cls, word: str, *, become: bool = False) -> Self:
        """The host of no spec that a word means: `local`, `netns:NAME`, `lab:NAME`, or what `ssh` takes."""
        way, _, place = word.partition(":")
        if word == "local":
            return cls(word, local=True, become=become)
        if way == "netns" and place:
            return cls(word, netns=place, become=become)
        if way == "lab" and place:
            return cls(word, lab=place)
        return cls(word, ssh=word, become=become and not as_root(word))


@dataclass(frozen=True, slots=True)
class SnatTo:
    """SNAT to an address of the gateway; without one it is discovered."""

    address: Address | None = None


Translate = SnatTo | Masquerade | Untranslated


class Fence(StrEnum):
    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Firewall(StrEnum):
    AUTO = "auto"
    NFTABLES = "nftables"
    IPTABLES = "iptables"


class Persist(StrEnum):
    """Where what brings a crossing back after a reboot is kept: `auto` is whoever keeps the interface."""

    AUTO = "auto"
    NONE = "none"
    NETWORK_SCRIPTS = "network-scripts"
    NETWORKMANAGER = "networkmanager"
    NETPLAN = "netplan"
    NETWORKD = "networkd"
    IFUPDOWN = "ifupdown"
    WICKED = "wicked"
    UNIT = "unit"


class Heal(StrEnum):
    """Whether the hosts bring back by themselves, at once, what another program takes away."""

    NONE = "none"
    AUTO = "auto"


class PortSecurity(StrEnum):
    """What becomes of the gateway's ports in an OpenStack cloud: opened as narrowly as can be, wide, or not at all."""

    LEAST = "least"
    DISABLE = "disable"
    LEAVE = "leave"


class Routes(StrEnum):
    """How clients get their routes: set on each host, or offered by the cloud to all machines of their subnet."""

    HOST = "host"
    NEUTRON = "neutron"


@dataclass(frozen=True, slots=True)
class Crossing:
    """One declared need: clients reach destinations through a gateway.

    `clients` holds host names (str) and networks; `allow` is None for any traffic; None
    elsewhere means "discover it". `to` holds the networks
    without those that the user excepts, which are in `excepted`. `until` is the time, in UTC, at which its hosts
    take it back. `cloud` is the entry of clouds.yaml whose ports its hosts are plugged into, nothing where none is
    named; with its region, where that is, as in `prod/east`. `spec` is the name of the spec that it stands in.
    """

    name: str
    clients: tuple[str | Network, ...]
    via: str
    to: tuple[Network, ...]
    allow: tuple[Traffic, ...] | None = None
    translate: Translate = SnatTo()
    ingress: str | None = None
    egress: str | None = None
    next_hop: Address | None = None
    firewall: Firewall = Firewall.AUTO
    persist: Persist = Persist.AUTO
    fence: Fence = Fence.AUTO
    probes: tuple[Probe, ...] = ()
    excepted: tuple[Network, ...] = ()
    until: datetime | None = None
    heal: Heal = Heal.NONE
    cloud: str = ""
    port_security: PortSecurity = PortSecurity.LEAST
    routes: Routes = Routes.HOST
    spec: str = USUAL_NAME

    @property
    def label(self) -> str:
        """Its name among the crossings of all specs, as a gateway's rules carry it."""
        return label(self.spec, self.name)

    @property
    def changes_cloud(self) -> bool:
        """Whether it asks for anything at its cloud."""
        at_ports, at_subnets = self.port_security is not PortSecurity.LEAVE, self.routes is Routes.NEUTRON
        return bool(self.cloud) and (at_ports or at_subnets)

    def touches(self, host: str) -> bool:
        """Whether a host of the spec is its gateway, or one of its clients."""
        return self.via == host or host in self.clients

    def networks(self, family: Family) -> tuple[Network, ...]:
        """The networks of a family as the user named them, the excepted ones with them."""
        to = tuple(network for network in self.to if family_of(network) is family)
        excepted = [network for network in self.excepted if family_of(network) is family]
        return together([*to, *excepted]) if excepted else to

    def shown(self, family: Family, most: int | None = None) -> str:
        """`10.0.0.0/8 except 10.0.5.0/24`: the destinations of a family in the user's words, or the first of them."""
        to = first_of([*map(show_network, self.networks(family))], most)
        excepted = [show_network(network) for network in self.excepted if family_of(network) is family]
        return f"{to} except {first_of(excepted, most)}" if excepted else to


def has_come(until: datetime, clock: int) -> bool:
    """Whether a time has come by a clock in seconds since 1970; not by one that is not known, 0."""
    return clock > 0 and until.timestamp() <= clock


def label(spec: str, crossing: str) -> str:
    """What a crossing is called beside those of other specs."""
    return crossing if spec in ("", USUAL_NAME) else f"{spec}/{crossing}"


def spec_of(label: str) -> str:
    """The name of the spec in what a crossing is called beside those of others."""
    return label.rpartition("/")[0] or USUAL_NAME


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole spec file; `source` is its text and `file` its name, so that a saved plan can carry it.

    `name` says on a gateway whose crossings these are, among those of other specs. `is_whole` is whether these are all
    that are: what stands under its name and is not among them goes.
    """

    file: str
    source: str
    name: str
    hosts: tuple[HostSpec, ...]
    crossings: tuple[Crossing, ...]
    is_whole: bool = True

    @property
    def cloud(self) -> str:
        """The entry of clouds.yaml that its crossings name; nothing where they name none."""
        return next((one.cloud for one in self.crossings if one.cloud), "")

    def host(self, name: str) -> HostSpec:
        return next(host for host in self.hosts if host.name == name)

    def only(self, crossings: Collection[str] = (), hosts: Collection[str] = ()) -> Spec:
        """The crossings of these names that stand on one of these hosts; all where none is named.

        What else stands under its name on a host stays there. CrossnetError where it has no such crossing or host.
        """
        self.expect(crossings, hosts)
        if not crossings and not hosts:
            return self
        chosen = tuple(
            one
            for one in self.crossings
            if (not crossings or one.name in crossings) and (not hosts or any(map(one.touches, hosts)))
        )
        if not chosen:
            raise CrossnetError(
                f"{', '.join(crossings)} of {self.file} changes nothing on {', '.join(hosts)}"
                if crossings
                else f"no crossing of {self.file} changes anything on {', '.join(hosts)}"
            )
        touched = tuple(host for host in self.hosts if any(one.touches(host.name) for one in chosen))
        return replace(self, hosts=touched, crossings=chosen, is_whole=False)

    def expect(self, crossings: Iterable[str] = (), hosts: Iterable[str] = ()) -> None:
        """CrossnetError where it has no crossing, or no host, of such a name."""
        of_crossings, of_hosts = [one.name for one in self.crossings], [one.name for one in self.hosts]
        for kind, asked, names in (("crossing", crossings, of_crossings), ("host", hosts, of_hosts)):
            for name in asked:
                if name not in names:
                    raise CrossnetError(
                        f"{self.file} has no {kind} {name!r}; it has: {first_of(names, MOST_NAMES)}"
                    )
