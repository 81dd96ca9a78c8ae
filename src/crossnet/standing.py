"""A crossing as it stands on a host: what was applied there for it, by whom, when and from where."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from crossnet import values
from crossnet.facts.question import number, objects, text, text_or, texts
from crossnet.path import Client, Leg, Path
from crossnet.spec import (
    CROSSING_NAME,
    HOST_NAME,
    SPEC_NAME,
    Crossing,
    Fence,
    Firewall,
    Heal,
    HostSpec,
    Persist,
    PortSecurity,
    Routes,
    has_come,
    label,
)
from crossnet.translation import Masquerade, Snat, Translation, Untranslated
from crossnet.values import Family, Traffic, interface_name

Encoded = Mapping[str, Any]
Identity = tuple[str, str]  # of a resource: its kind and key


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who applied something, when, from which machine, and what they said of it."""

    who: str = ""
    when: str = ""
    source: str = ""
    message: str = ""

    @property
    def is_of_others(self) -> bool:
        """Whether another person did it than the one behind this process, or from another machine."""
        return bool(self.who) and f"{self.who}@{self.source}" != who()

    def __str__(self) -> str:
        """`applied by ops from desk at 2026-11-28T09:00:00Z (CHG0012345)`, as far as that is known."""
        source = f" from {self.source}" if self.source else ""
        said = f" ({self.message})" if self.message else ""
        return f"applied by {self.who}{source} at {self.when}{said}" if self.who else ""


def who() -> str:
    """The person behind the process, where the machine knows a name for the number, and the machine."""
    try:
        user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return " ".join(f"{user}@{socket.gethostname()}".split())


def stamp_now(message: str) -> Stamp:
    """That of the person behind this process, at this moment."""
    user, _, machine = who().rpartition("@")
    return Stamp(user, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), machine, message)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a host keeps of a crossing: its packets as they were resolved, and what was made for it alone.

    `host` is what its spec calls this host, `hosts` are all that it manages. On a client the paths are that client's
    own. Without paths nothing but the name is known: crossnet 0.1.0 kept no more, and traces tell no more. `taken_from`
    says whose it was before, where it was another spec's.
    """

    spec: str
    crossing: str
    host: str = ""
    paths: tuple[Path, ...] = ()
    needs: tuple[Identity, ...] = ()
    hosts: tuple[HostSpec, ...] = ()
    stamp: Stamp = Stamp()
    taken_from: str = ""

    @property
    def label(self) -> str:
        """Its name among the crossings of all specs."""
        return label(self.spec, self.crossing)

    @property
    def is_known(self) -> bool:
        return bool(self.paths)

    @property
    def carried(self) -> tuple[Path, ...]:
        """Its packets that this host carries as a gateway."""
        return tuple(one for one in self.paths if one.gateway == self.host)

    @property
    def gateway(self) -> str:
        """What its spec calls its gateway."""
        return next((one.gateway for one in self.paths), "")

    @property
    def until(self) -> datetime | None:
        """When its hosts take it back by themselves."""
        return next((one.crossing.until for one in self.paths), None)

    def is_over(self, clock: int) -> bool:
        """Whether that time has come by the host's clock, in seconds since 1970; 0 where it is not known."""
        return self.until is not None and has_come(self.until, clock)

    def means_the_same_here(self, host: HostSpec) -> bool:
        """Whether the way to a host of it leads from this machine to where it led from the one that applied it.

        A namespace, a host of the lab, or `local`, is one of that machine.
        """
        return host.ssh is not None or self.stamp.source in ("", socket.gethostname())

    def is_need_of(self, crossing: Crossing, hosts: Iterable[HostSpec]) -> bool:
        """Whether a crossing of another spec is the same need under the same name, as where a file was renamed.

        Its hosts have the same names then, and are reached in the same way from the same machine.
        """
        clients = {client.host or client.network for one in self.paths for client in one.clients}
        to = {network for one in self.paths for network in one.destinations}
        named = {self.gateway, *(client for client in clients if isinstance(client, str))}
        mine = {host.name: replace(host, become=False) for host in self.hosts}
        theirs = {host.name: replace(host, become=False) for host in hosts}
        return (
            self.crossing == crossing.name
            and self.gateway == crossing.via
            and clients <= set(crossing.clients)
            and {host.name for host in self.hosts} <= {self.gateway, *map(str, crossing.clients)}
            and all(one.crossing.allow == crossing.allow for one in self.paths)
            and to == set(crossing.to)
            and all(map(self.means_the_same_here, self.hosts))
            and all(mine.get(name) == theirs.get(name) for name in named)
        )

    def same_as(self, other: Standing | None) -> bool:
        """Whether both say the same, whoever applied them, and whosever they were before."""
        return other is not None and replace(self, stamp=other.stamp, taken_from=other.taken_from) == other

    def on(self, host: str) -> tuple[Path, ...]:
        """Its packets where the host that carries them is called so, and nothing is known of its clients' names."""
        return tuple(
            replace(one.over(host), clients=tuple(replace(client, host=None) for client in one.clients))
            for one in self.carried
        )

    def of_client(self, host: str) -> tuple[Path, ...]:
        """Its packets of this host where it is a client, under the name that it has here.

        The gateway is another host of another spec, whatever it is called there.
        """
        return tuple(
            replace(
                one.over(f"{self.label} {one.gateway}"),
                clients=tuple(replace(client, host=host) for client in one.clients),
            )
            for one in self.paths
            if one.gateway != self.host
        )

    def without_client(self, client: str) -> Standing | None:
        """The same when a managed client is taken out; None where nobody is left."""
        left = [
            replace(one, clients=tuple(each for each in one.clients if each.host != client))
            for one in self.paths
        ]
        kept = tuple(one for one in left if one.clients)
        hosts = tuple(one for one in self.hosts if one.name != client)
        return replace(self, paths=kept, hosts=hosts) if kept else None

    def encode(self) -> Encoded:
        """Itself as JSON."""
        return {
            "spec": self.spec,
            "crossing": self.crossing,
            "host": self.host,
            **{key: said for key, said in _stamp(self.stamp).items() if said},
            **({"taken_from": self.taken_from} if self.taken_from else {}),
            "paths": [_path(one) for one in self.paths],
            "needs": [list(one) for one in self.needs],
            "hosts": [encode_host(one) for one in self.hosts],
        }

    @classmethod
    def decode(cls, encoded: Encoded) -> Standing:
        """The inverse of `encode`; ValueError, KeyError or TypeError where it is none."""
        spec, crossing = _named(encoded, "spec", SPEC_NAME), _named(encoded, "crossing", CROSSING_NAME)
        return cls(
            spec,
            crossing,
            _named(encoded, "host", HOST_NAME),
            tuple(_read_path(spec, crossing, one) for one in objects(encoded["paths"])),
            tuple(_identity(one) for one in encoded["needs"]),
            tuple(decode_host(one) for one in objects(encoded["hosts"])),
            Stamp(*(text_or(encoded, key, "") for key in ("who", "when", "source", "message"))),
            text_or(encoded, "taken_from", ""),
        )


def of(spec: str, name: str, host: str, paths: Iterable[Path], hosts: Iterable[HostSpec]) -> Standing:
    """What a host is to keep of a crossing of which these are the paths: a client only of its own packets."""
    own = []
    for one in paths:
        if one.gateway != host:
            one = replace(one, clients=tuple(each for each in one.clients if each.host == host))
        if one.clients:
            own.append(replace(one, crossing=_as_kept(one)))
    return Standing(spec, name, host, tuple(own), hosts=tuple(hosts))


def packets_of(paths: Iterable[Path]) -> str:
    """Which packets these are, as a short digest: a proof is of them, and of no others under the same name."""
    said = [
        {
            "family": int(one.family),
            "clients": sorted(str(each.network) for each in one.clients),
            "to": sorted(map(str, one.destinations)),
            "except": sorted(map(str, one.crossing.excepted)),
            "allow": sorted(map(str, one.crossing.allow)) if one.crossing.allow is not None else None,
        }
        for one in sorted(paths, key=lambda one: one.family)
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _as_kept(path: Path) -> Crossing:
    """Of a crossing what the rules of its paths are made of, and what holds for their gateway."""
    asked = path.crossing
    return Crossing(
        name=asked.name,
        clients=tuple(each.host or each.network for each in path.clients),
        via=asked.via,
        to=path.destinations,
        allow=asked.allow,
        firewall=asked.firewall,
        persist=asked.persist,
        fence=asked.fence,
        excepted=asked.excepted,
        until=asked.until,
        heal=asked.heal,
        cloud=asked.cloud,
        port_security=asked.port_security,
        routes=asked.routes,
        spec=asked.spec,
    )


def _stamp(stamp: Stamp) -> dict[str, str]:
    return {"who": stamp.who, "when": stamp.when, "source": stamp.source, "message": stamp.message}


def _named(said: Mapping[str, Any], key: str, pattern: str) -> str:
    """A name that a spec could have given; an empty one is that of a spec that nobody knows."""
    name = text(said, key)
    if name and not re.fullmatch(pattern, name):
        raise ValueError(f"{name!r} is not a name of a {key}")
    return name


def _identity(said: Any) -> Identity:
    kind, key = texts(said)
    return kind, key


def encode_host(host: HostSpec) -> Encoded:
    """A host with the way to it, as JSON."""
    ways = {"ssh": host.ssh, "netns": host.netns, "lab": host.lab}
    given = {way: said for way, said in ways.items() if said is not None}
    flags = {flag: True for flag in ("local", "become") if getattr(host, flag)}
    return {"name": host.name, **given, **flags}


def decode_host(said: Mapping[str, Any], name: str = HOST_NAME) -> HostSpec:
    """The inverse of `encode_host`; ValueError, KeyError or TypeError where it is none, or not so `name`d."""
    ways = {way: text(said, way) for way in ("ssh", "netns", "lab") if way in said}
    if len(ways) + (said.get("local") is True) != 1:
        raise ValueError("a host is reached in one way")
    if "netns" in ways and not re.fullmatch(r"(?!\.{1,2}$)[^\s/-][^\s/]*", ways["netns"]):
        raise ValueError(f"{ways['netns']!r} is no network namespace")
    return HostSpec(
        _named(said, "name", name),
        **ways,
        local=said.get("local") is True,
        become=said.get("become") is True,
    )


def _path(one: Path) -> Encoded:
    asked = one.crossing
    return {
        "family": int(one.family),
        "clients": [_client(each) for each in one.clients],
        "to": [str(network) for network in one.destinations],
        **({"except": [str(network) for network in asked.excepted]} if asked.excepted else {}),
        **({"allow": [str(each) for each in asked.allow]} if asked.allow is not None else {}),
        "legs": [_leg(leg) for leg in one.legs],
        "firewall": str(asked.firewall),
        "persist": str(asked.persist),
        "fence": str(asked.fence),
        **({"until": values.write_moment(asked.until)} if asked.until is not None else {}),
        **({"heal": str(asked.heal)} if asked.heal is not Heal.NONE else {}),
        **({"cloud": asked.cloud, "port_security": str(asked.port_security)} if asked.cloud else {}),
        **({"routes": str(asked.routes)} if asked.routes is not Routes.HOST else {}),
    }


def _read_path(spec: str, crossing: str, said: Mapping[str, Any]) -> Path:
    clients = tuple(_read_client(each) for each in objects(said["clients"]))
    to = tuple(map(values.network, texts(said["to"])))
    (leg,) = map(_read_leg, objects(said["legs"]))
    return Path(
        crossing=Crossing(
            name=crossing,
            clients=tuple(each.host or each.network for each in clients),
            via=leg.gateway,
            to=to,
            allow=tuple(map(Traffic.from_text, texts(said["allow"]))) if "allow" in said else None,
            firewall=Firewall(text(said, "firewall")),
            persist=Persist(text(said, "persist")),
            fence=Fence(text(said, "fence")),
            excepted=tuple(map(values.network, texts(said.get("except", [])))),
            until=values.moment(text(said, "until")) if "until" in said else None,
            heal=Heal(text_or(said, "heal", Heal.NONE)),
            cloud=text_or(said, "cloud", ""),
            port_security=PortSecurity(text_or(said, "port_security", PortSecurity.LEAST)),
            routes=Routes(text_or(said, "routes", Routes.HOST)),
            spec=spec,
        ),
        family=Family(number(said, "family")),
        clients=clients,
        destinations=to,
        legs=(leg,),
    )


def _leg(leg: Leg) -> Encoded:
    translation = leg.translation
    sources = translation.sources if isinstance(translation, Snat) else ()
    return {
        "gateway": leg.gateway,
        "ingress": leg.ingress,
        "egress": leg.egress,
        "translate": translation.word,
        **({"sources": [[str(network), str(source)] for network, source in sources]} if sources else {}),
        "clamp": leg.clamp,
        "routed_clients": [str(network) for network in leg.routed_clients],
        "routed_to": [str(network) for network in leg.routed_destinations],
    }


def _read_leg(said: Mapping[str, Any]) -> Leg:
    return Leg(
        gateway=text(said, "gateway"),
        ingress=interface_name(text(said, "ingress")),
        egress=interface_name(text(said, "egress")),
        translation=_read_translation(said),
        clamp=said["clamp"] is True,
        routed_clients=tuple(map(values.network, texts(said["routed_clients"]))),
        routed_destinations=tuple(map(values.network, texts(said["routed_to"]))),
    )


def _read_translation(said: Mapping[str, Any]) -> Translation:
    match text(said, "translate"):
        case Snat.word:
            sources = map(texts, said["sources"])
            return Snat(
                tuple((values.network(network), values.address(source)) for network, source in sources)
            )
        case Masquerade.word:
            return Masquerade()
        case Untranslated.word:
            return Untranslated()
        case other:
            raise ValueError(f"{other!r} is no translation")


def _client(client: Client) -> Encoded:
    return {
        "network": str(client.network),
        "next_hop": str(client.next_hop),
        **({"host": client.host} if client.host is not None else {}),
        **({"interface": client.interface} if client.interface is not None else {}),
        **({"several_addresses": True} if client.several_addresses else {}),
    }


def _read_client(said: Mapping[str, Any]) -> Client:
    return Client(
        values.network(text(said, "network")),
        values.address(text(said, "next_hop")),
        text(said, "host") if "host" in said else None,
        interface_name(text(said, "interface")) if "interface" in said else None,
        said.get("several_addresses") is True,
    )


__all__ = ["Identity", "Stamp", "Standing", "of", "stamp_now", "who"]
