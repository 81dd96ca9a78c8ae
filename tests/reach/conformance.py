"""What reach says against what happens: random configurations of three hosts, and packets watched at each interface.

    scripts/conformance [--seed N] [--configurations N] [--packets N]

app (10.1.0.2) - gateway (10.1.0.1; 10.2.0.1, 10.3.0.1) - target (10.2.0.2, 10.3.0.2, 10.9.0.1), and the same with
fd00:. Each configuration is made of rules of every tool, translations, policy rules, routes and settings by one
seed; its packets leave a socket of app, or are laid on app's wire as they are. Each is known by its port or identifier.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address, ip_network

from crossnet.facts import Facts, observe
from crossnet.netfilter.foreign import Field
from crossnet.reach.asked import Asked, Piece
from crossnet.reach.packets import Packets, Space, address_field
from crossnet.reach.path import Visit, Walked
from crossnet.reach.tracking import Tracking
from crossnet.transport.local import Local
from crossnet.transport.netns import Netns
from crossnet.values import Family, Ports, Protocol, Traffic
from reach.configurations import (
    ADDRESSES,
    FIRST_TAG,
    HOSTS,
    PORTS,
    SOURCES4,
    SOURCES6,
    SPARE,
    TARGETS4,
    TARGETS6,
    WIRES,
    Chance,
    Configuration,
    Sent,
    configuration,
    packets_to_send,
    switch,
)

CUT = 16  # bytes behind the header of IP in the first of two fragments
WATCHED = 1.5  # seconds after which what has not come does not come

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


# ---- hosts ------------------------------------------------------------------------------------------


class Refused(Exception):
    """What a tool said of words that it does not take."""


def _run(script: str, *, check: bool = True) -> str:
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise Refused(f"{script}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in a network namespace: the sockets that it makes there stay there."""
    with open("/proc/self/ns/net", "rb") as own, open(f"/run/netns/{namespace}", "rb") as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


_NOBODY = "02:00:00:00:ff:ff"


def _mac(host: str, interface: str) -> str:
    names = ["lo", "eth0", "eth1", "eth2", "port1", "p0", "p1"]
    return f"02:00:00:00:0{[*HOSTS, 'switch'].index(host)}:0{names.index(interface)}"


class Hosts:
    """Three namespaces with one configuration, and perhaps a switch between the first two of them."""

    def __init__(self, prefix: str, made: dict[str, Configuration]) -> None:
        self.names = {host: f"{prefix}-{host}" for host in made}
        self.made = made

    def device(self, host: str, interface: str) -> str:
        """What an interface sends and takes its frames by."""
        bridged = host == "gateway" and interface == "eth1" and self.made["gateway"].bridged
        return "port1" if bridged else interface

    def devices(self) -> Iterator[tuple[str, str, str]]:
        """Every interface to watch: of whom, its name, and what its frames go by."""
        for host, name in ADDRESSES:
            if name != "lo":
                yield host, name, self.device(host, name)
        if "switch" in self.names:
            yield from (("switch", name, name) for name in ("p0", "p1"))

    def _wires(self) -> Iterator[tuple[str, str, str, str]]:
        for one, its, other, their, _ in WIRES:
            if one == "app" and "switch" in self.names:
                yield one, its, "switch", "p0"
                one, its = "switch", "p1"
            yield one, its, other, self.device(other, their)

    def __enter__(self) -> Hosts:
        script = ["set -e"]
        for name in self.names.values():
            script.append(f"ip netns add {name}")
        for one, its, other, their in self._wires():
            script.append(
                f"ip -n {self.names[one]} link add {its} address {_mac(one, its)} type veth "
                f"peer name {their} netns {self.names[other]} address {_mac(other, their)}"
            )
        for host, bridge, ports in (("gateway", "eth1", ("port1",)), ("switch", "br0", ("p0", "p1"))):
            if host in self.made and self.made[host].bridged:
                at = f"ip -n {self.names[host]} link"
                mac = _mac(host, bridge) if bridge == "eth1" else _mac(host, "p0")
                script.append(f"{at} add {bridge} address {mac} type bridge mcast_snooping 0")
                script += [f"{at} set {port} master {bridge}; {at} set {port} up" for port in ports]
                script.append(f"{at} set {bridge} up")
        _run("\n".join(script))
        try:
            for host in self.made:
                self._configure(host)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _run("\n".join(f"ip netns del {name}" for name in self.names.values()), check=False)

    def _configure(self, host: str) -> None:
        made = self.made[host]
        interfaces = [name for of, name in ADDRESSES if of == host]
        quiet = ["cd /proc/sys/net"]
        for name in ("all", "default", *[each for each in interfaces if each != "lo"]):
            quiet.append(
                f"echo 0 > ipv4/conf/{name}/accept_redirects; echo 0 > ipv4/conf/{name}/send_redirects"
            )
            quiet.append(f"echo 0 > ipv6/conf/{name}/accept_dad; echo 0 > ipv6/conf/{name}/accept_ra")
            quiet.append(f"echo 0 > ipv6/conf/{name}/accept_redirects")
            quiet.append(f"echo 0 > ipv6/conf/{name}/router_solicitations")
        # Answers to many packets at once, and no ICMP error held back: they are watched, not measured.
        quiet.append("echo 0 > ipv4/icmp_ratelimit; echo 0 > ipv6/icmp/ratelimit")
        for name, value in made.sysctls.items():
            quiet.append(f"echo {value} > {name.removeprefix('net.').replace('.', '/')}")
        lines = ["link set lo up"]
        for name in interfaces:
            if name != "lo":
                lines.append(f"link set {name} up")
            for each in ADDRESSES[host, name]:
                lines.append(f"addr add {each} dev {name}{' nodad' if ':' in each else ''}")
        lines += self._neighbours(host)
        lines += [line for line in made.ip if not line.startswith("-6 ")]
        six = [line.removeprefix("-6 ") for line in made.ip if line.startswith("-6 ")]
        batches = [("", lines), ("-6 ", six)]
        parts = ["set -e", "\n".join(quiet)]
        parts += ["ip {}-batch - <<'END'\n{}\nEND".format(flag, "\n".join(each)) for flag, each in batches]
        if made.ipset:
            parts.append(f"ipset restore <<'END'\n{made.ipset}END")
        if made.nft:
            parts.append(f"nft -f - <<'END'\n{made.nft}\nEND")
        for family, tool in (("ip", "iptables"), ("ip6", "ip6tables")):
            if family in made.legacy:
                parts.append(f"{tool}-legacy-restore <<'END'\n{made.legacy[family]}END")
            if family in made.iptables_nft:
                parts.append(f"{tool}-nft-restore <<'END'\n{made.iptables_nft[family]}END")
        script = "\n".join(parts)
        _run(f"ip netns exec {self.names[host]} sh <<'WHOLE'\n{script}\nWHOLE")

    def _neighbours(self, host: str) -> list[str]:
        """Every address on every wire is known already: what is asked here is not how it is found."""
        lines = []
        for one, its, other, their, wire in WIRES:
            for own, own_if, peer, peer_if in ((one, its, other, their), (other, their, one, its)):
                if own != host:
                    continue
                plain = [each.split("/")[0] for each in ADDRESSES[peer, peer_if]]
                for each in plain:
                    lines.append(
                        f"neigh replace {each} lladdr {_mac(peer, peer_if)} dev {own_if} nud permanent"
                    )
                # What nobody on the wire has is sent nevertheless, to nobody: so it is seen that it was sent.
                more = (*SPARE[wire], *TARGETS4, *SOURCES4, *TARGETS6, *SOURCES6)
                held = [
                    at.split("/")[0] for of, name in ADDRESSES if of == peer for at in ADDRESSES[of, name]
                ]
                for each in more:
                    own_here = [
                        at.split("/")[0] for of, name in ADDRESSES if of == own for at in ADDRESSES[of, name]
                    ]
                    if each not in plain and each not in own_here and not each.startswith("127."):
                        to = _mac(peer, peer_if) if each in held else _NOBODY
                        lines.append(f"neigh replace {each} lladdr {to} dev {own_if} nud permanent")
        return lines

    def facts(self) -> dict[str, Facts]:
        async def all_of_them() -> list[Facts]:
            hosts = [Netns(Local(host), name) for host, name in self.names.items()]
            return await asyncio.gather(*(observe(host, ()) for host in hosts))

        return {facts.host: facts for facts in asyncio.run(all_of_them())}


# ---- what happens -----------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Seen:
    """A packet that left a host by an interface."""

    host: str
    interface: str
    source: str
    destination: str
    port: int
    piece: Piece = Piece.WHOLE


class Watch:
    """Every interface watched, every port listened at."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.taps: dict[socket.socket, tuple[str, str]] = {}
        self.listening: list[socket.socket] = []
        self.echoing: list[socket.socket] = []
        for host in HOSTS:
            with inside(hosts.names[host]):
                for (of, _), addresses in ADDRESSES.items():
                    if of != host:
                        continue
                    for each in addresses:
                        self._listen(each.split("/")[0])
        for host, name, device in hosts.devices():
            with inside(hosts.names[host]):
                tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
                tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                tap.bind((device, 0x0003))
                tap.setblocking(False)
                self.taps[tap] = (host, name)
        self.requests: dict[int, set[Seen]] = {}
        self.replies: dict[int, set[Seen]] = {}

    def _listen(self, at: str) -> None:
        family = socket.AF_INET6 if ":" in at else socket.AF_INET
        for port in PORTS:
            udp = socket.socket(family, socket.SOCK_DGRAM)
            udp.bind((at, port))
            udp.setblocking(False)
            self.echoing.append(udp)
            tcp = socket.socket(family, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((at, port))
            tcp.listen(64)
            self.listening.append(tcp)

    def close(self) -> None:
        for each in (*self.taps, *self.listening, *self.echoing):
            each.close()

    def settle(self, quiet: float) -> None:
        """Read until nothing has come for a while."""
        reading = [*self.taps, *self.echoing]
        end = time.monotonic() + WATCHED
        while time.monotonic() < end:
            ready, _, _ = select.select(reading, [], [], quiet)
            if not ready:
                return
            for each in ready:
                if each in self.taps:
                    self._look(each)
                else:
                    with contextlib.suppress(OSError):
                        data, peer = each.recvfrom(2048)
                        each.sendto(data, peer)

    def _look(self, tap: socket.socket) -> None:
        while True:
            try:
                frame, address = tap.recvfrom(4096)
            except BlockingIOError:
                return
            if address[2] == 4:  # PACKET_OUTGOING
                self._note(frame[14:], *self.taps[tap])

    def _note(self, packet: bytes, host: str, interface: str) -> None:
        version = packet[0] >> 4
        if version == 4:
            protocol, source, destination = packet[9], packet[12:16], packet[16:20]
            body = packet[(packet[0] & 15) * 4 :]
            tag, flags = struct.unpack("!HH", packet[4:8])
            if flags & 0x1FFF:
                ends = str(ip_address(source)), str(ip_address(destination))
                later = Seen(host, interface, *ends, 0, Piece.LATER)
                self.requests.setdefault(tag, set()).add(later)
                return
            piece = Piece.FIRST if flags & 0x2000 else Piece.WHOLE
        elif version == 6:
            protocol, source, destination, body = packet[6], packet[8:24], packet[24:40], packet[40:]
            piece = Piece.WHOLE
        else:
            return
        if len(body) < 8:
            return
        ends = str(ip_address(source)), str(ip_address(destination))
        if protocol in (1, 58):
            kind, tag = body[0], struct.unpack("!H", body[4:6])[0]
            if kind in (8, 128):
                self.requests.setdefault(tag, set()).add(Seen(host, interface, *ends, 0, piece))
            elif kind in (0, 129):
                self.replies.setdefault(tag, set()).add(Seen(host, interface, *ends, 0))
            return
        if protocol not in (6, 17):
            return
        here, there = struct.unpack("!HH", body[:4])
        flags = body[13] & 0x17 if protocol == 6 else None
        if here >= FIRST_TAG and flags in (None, 2):
            self.requests.setdefault(here, set()).add(Seen(host, interface, *ends, there, piece))
        elif there >= FIRST_TAG and flags in (None, 0x12):
            self.replies.setdefault(there, set()).add(Seen(host, interface, *ends, here))


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def frames_of(sent: Sent) -> list[bytes]:
    """Ethernet frames from app's wire to the gateway: one, or two of which each has a part."""
    assert sent.source is not None
    six = sent.destination.version == 6
    if sent.protocol is Protocol.ICMP:
        number, at = (58 if six else 1), 2
        body = (
            struct.pack("!BBHHH", 128 if six else 8, 0, 0, sent.tag, 1) + b"crossnet" * 2 + bytes(sent.more)
        )
    elif sent.protocol is Protocol.UDP:
        number, at = 17, 6
        body = (
            struct.pack("!HHHH", sent.tag, sent.port, 24 + sent.more, 0) + b"crossnet" * 2 + bytes(sent.more)
        )
    else:
        number, at = 6, 16
        body = struct.pack("!HHIIBBHHH", sent.tag, sent.port, 1000, 0, 0x50, 2, 64000, 0, 0) + bytes(
            sent.more
        )
    source, destination = sent.source.packed, sent.destination.packed
    length = struct.pack("!I", len(body))
    pseudo = (
        source
        + destination
        + (length + b"\0\0\0" + bytes([number]) if six else b"\0" + bytes([number]) + length[2:])
    )
    if number == 1:
        pseudo = b""
    total = _checksum(pseudo + body) or 0xFFFF
    body = body[:at] + struct.pack("!H", total) + body[at + 2 :]
    ether = bytes.fromhex((_mac("gateway", "eth1") + _mac("app", "eth0")).replace(":", ""))
    if six:
        head = struct.pack("!IHBB", 0x60000000, len(body), number, 64) + source + destination
        return [ether + struct.pack("!H", 0x86DD) + head + body]
    parts = [(0x4000, body)]
    if sent.pieces:
        parts = [(0x2000, body[:CUT]), (CUT // 8, body[CUT:])]
    found = []
    for flags, part in parts:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(part), sent.tag, flags, 64, number, 0)
        head += source + destination
        head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
        found.append(ether + struct.pack("!H", 0x0800) + head + part)
    return found


def send(hosts: Hosts, watch: Watch, packets: list[Sent]) -> None:
    """Send each, a few at a time, so that none is lost for want of room."""
    open_ones: list[socket.socket] = []
    for at, sent in enumerate(packets):
        with inside(hosts.names["app"]), contextlib.suppress(OSError):
            if sent.laid:
                wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                with wire:
                    wire.bind(("eth0", 0))
                    for frame in frames_of(sent):
                        wire.send(frame)
            else:
                open_ones.append(_from_a_socket(sent))
        if at % 8 == 7:
            watch.settle(0.0)
    watch.settle(0.15)
    for each in open_ones:
        each.close()


def _from_a_socket(sent: Sent) -> socket.socket:
    family = socket.AF_INET6 if sent.destination.version == 6 else socket.AF_INET
    source = str(sent.source or ("::" if family == socket.AF_INET6 else "0.0.0.0"))
    if sent.protocol is Protocol.ICMP:
        number = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
        raw = socket.socket(family, socket.SOCK_RAW, number)
        if sent.source:
            raw.bind((source, 0))
        body = struct.pack("!BBHHH", 128 if family == socket.AF_INET6 else 8, 0, 0, sent.tag, 1) + b"crossnet"
        if family == socket.AF_INET:
            body = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
        try:
            raw.sendto(body, (str(sent.destination), 0))
        except OSError:
            raw.close()
            raise
        return raw
    kind = socket.SOCK_STREAM if sent.protocol is Protocol.TCP else socket.SOCK_DGRAM
    made = socket.socket(family, kind)
    made.setblocking(False)
    try:
        made.bind((source, sent.tag))
        with contextlib.suppress(BlockingIOError):
            made.connect((str(sent.destination), sent.port))
        if sent.protocol is Protocol.UDP:
            made.send(b"crossnet")
    except OSError:
        made.close()
        raise
    return made


# ---- and what reach says ----------------------------------------------------------------------------


def asked(sent: Sent, piece: Piece = Piece.WHOLE) -> Asked:
    traffic = Traffic(sent.protocol, Ports(sent.port, sent.port) if sent.port else None)
    return Asked(
        "gateway" if sent.laid else "app",
        (ip_network(str(sent.destination)),),
        (traffic,),
        sources=(ip_network(str(sent.source)),) if sent.source else (),
        source_ports=Ports(sent.tag, sent.tag),
        ingress="eth1" if sent.laid else "",
        length=_length(sent, piece),
        piece=piece,
        dont_fragment=sent.laid and not sent.pieces,
    )


def _length(sent: Sent, piece: Piece) -> int:
    if piece is Piece.FIRST:
        return 20 + CUT
    if piece is Piece.LATER:
        return _length(sent, Piece.WHOLE) - CUT
    head = 40 if sent.destination.version == 6 else 20
    if sent.protocol is Protocol.TCP:
        return head + (20 if sent.laid else 40) + sent.more  # options
    return head + 8 + (16 if sent.laid else 8) + sent.more


@dataclass(frozen=True)
class Disagreement:
    sent: Sent
    what: str

    def __str__(self) -> str:
        return f"{self.sent}: {self.what}"


def compare(sent: Sent, facts: dict[str, Facts], watch: Watch) -> tuple[list[Disagreement], bool]:
    """What does not agree, and whether reach leaves it undetermined."""
    found: list[Disagreement] = []
    hosts = {name: each for name, each in facts.items() if name != "switch"}
    requests = watch.requests.get(sent.tag, set())
    if sent.laid:
        # What was laid on the wire is no word of app's.
        requests = {each for each in requests if each.host != "app"}
    replies = watch.replies.get(sent.tag, set())
    passed = True
    if "switch" in facts:
        passed, unsure = _compare_switch(sent, facts["switch"], requests, replies, watch, found)
        if unsure:
            return found, True
    requests = {each for each in requests if each.host != "switch"}
    if sent.pieces:
        return found, _compare_pieces(sent, hosts, requests, found) if passed else False
    replies = {each for each in replies if each.host != "switch"}
    walked = Walked(asked(sent), hosts)
    visits = walked.visits if passed else [each for each in walked.visits if each.host == "app"]
    ports = sent.port is not None
    open_request = _compare(sent, "request", walked.space, visits, requests, found, ports)
    if open_request:
        return found, True
    # What goes to an address that nobody has is answered by nobody here; reach cannot know.
    back = walked.back if passed and all(end.taken for end in walked.ends) else []
    return found, _compare(sent, "reply", walked.turned, back, replies, found, ports)


def _compare_pieces(
    sent: Sent, hosts: dict[str, Facts], requests: set[Seen], found: list[Disagreement]
) -> bool:
    """Fragments at the gateway: what connection tracking puts together passes whole or not at all."""
    walks = {piece: Walked(asked(sent, piece), hosts) for piece in (Piece.FIRST, Piece.LATER)}
    tables = [table for table in hosts["gateway"].firewall.foreign if not table.dormant]
    together = Family.V4 in Tracking(walks[Piece.FIRST].space, tables, None).families
    passing = [
        any(leaving.here.may.satisfiable() for leaving in each.visits[0].outcome.leaving)
        for each in walks.values()
    ]
    unsure = any(map(_unsure, (each.visits[0] for each in walks.values())))
    for piece, walked in walks.items():
        tracking = Tracking(walked.space, tables, None)
        visits = [] if together and not all(passing) else walked.visits[:1]
        left = [leaving.here.may for visit in visits for leaving in visit.outcome.leaving]
        whole = not any((packets & tracking.pieces).satisfiable() for packets in left)
        shape = Piece.WHOLE if whole else piece
        seen = {each for each in requests if each.piece is shape and each.host == "gateway"}
        ports = sent.port is not None and piece is Piece.FIRST
        unsure = _compare(sent, f"{piece} piece", walked.space, visits, seen, found, ports, unsure) or unsure
    return unsure


def _compare_switch(
    sent: Sent,
    switch: Facts,
    requests: set[Seen],
    replies: set[Seen],
    watch: Watch,
    found: list[Disagreement],
) -> tuple[bool, bool]:
    """Whether the switch passes a request on, and whether that is undetermined."""
    source = sent.source if sent.laid else None
    for each in watch.requests.get(sent.tag, set()):
        if each.host == "app" and not sent.laid:
            source = ip_address(each.source)
    # What the gateway sends back to app comes by the other port.
    seen = {each for each in requests if (each.host, each.interface) == ("switch", "p1")}
    if source is None:  # app has sent nothing
        return True, False
    passing, unsure = True, False
    for piece in (Piece.FIRST, Piece.LATER) if sent.pieces else (Piece.WHOLE,):
        question = replace(
            asked(sent, piece),
            host="switch",
            ingress="p0",
            sources=(ip_network(str(source)),),
            dont_fragment=True,
            bridged=True,
        )
        walked = Walked(question, {"switch": switch})
        visits = walked.visits
        ports = sent.port is not None and piece is not Piece.LATER
        part = {each for each in seen if each.piece is piece}
        if sent.pieces:
            unsure = unsure or _unsure(visits[0])
            passing = passing and bool(part)
            continue
        unsure = _compare(sent, "switched request", walked.space, visits, part, found, ports)
        passing = bool(part)
        back = {each for each in replies if (each.host, each.interface) == ("switch", "p0")}
        answer = str(sent.destination), str(source), sent.port or 0
        came = any(
            (each.host, each.interface) == ("gateway", "eth1")
            and (each.source, each.destination, each.port) == answer
            for each in replies
        )
        if not unsure and came:
            unsure = _compare(sent, "switched reply", walked.turned, walked.back, back, found, ports)
    return passing, unsure


def _compare(
    sent: Sent,
    name: str,
    space: Space,
    visits: list[Visit],
    seen: set[Seen],
    found: list[Disagreement],
    ports: bool,
    unsure: bool = False,
) -> bool:
    unsure = unsure or any(map(_unsure, visits))
    expected = [
        (visit.host, leaving.interface, leaving.here.may)
        for visit in visits
        for leaving in visit.outcome.leaving
        if leaving.here.may.satisfiable() and leaving.interface != "lo"
    ]
    side = Field.SOURCE_PORT if "reply" in name else Field.DESTINATION_PORT
    for each in seen:
        here = [
            packets
            for host, interface, packets in expected
            if (host, interface) == (each.host, each.interface)
        ]
        if not any((packets & _as(space, each, side, ports)).satisfiable() for packets in here):
            found.append(
                Disagreement(sent, f"{name} seen, not expected: {each}; expected {_told(space, expected)}")
            )
    if not unsure:
        for host, interface, packets in expected:
            these = [each for each in seen if (each.host, each.interface) == (host, interface)]
            if not any((packets & _as(space, each, side, ports)).satisfiable() for each in these):
                found.append(
                    Disagreement(
                        sent, f"{name} expected, not seen: {_told(space, [(host, interface, packets)])}"
                    )
                )
    return unsure


def _unsure(visit: Visit) -> bool:
    """Whether facts do not tell what becomes of the packet at a host, or by which of several ways it leaves it.

    It is one packet: where one of the sources that it may have passes and another is stopped, either may happen.
    """
    outcome = visit.outcome
    ways = [each for each in outcome.leaving if each.here.may.satisfiable()]
    return (outcome.stopped.satisfiable() and outcome.passed.satisfiable()) or len(ways) > 1


def _as(space: Space, seen: Seen, side: Field, ports: bool) -> Packets:
    here = space.address(Field.SOURCE6, ip_address(seen.source))
    here &= space.address(Field.DESTINATION6, ip_address(seen.destination))
    return here & space.value(side, seen.port) if ports else here


def _told(space: Space, expected: list[tuple[str, str, Packets]]) -> str:
    told = []
    for host, interface, packets in expected:
        family = Family.V4 if (packets & space.ipv4).satisfiable() else Family.V6
        fields = (address_field(Field.SOURCE6, family), address_field(Field.DESTINATION6, family))
        one = space.one(packets, (*fields, Field.DESTINATION_PORT))
        kind = IPv4Address if family is Family.V4 else ip_address("::").__class__
        told.append(
            f"{host} {interface} {kind(one[fields[0]])} > {kind(one[fields[1]])}:{one[Field.DESTINATION_PORT]}"
        )
    return ", ".join(told) or "nothing"


@dataclass
class Result:
    configurations: int = 0
    refused: int = 0  # configurations that a tool does not take
    refusals: list[str] = field(default_factory=list)
    packets: int = 0
    delivered: int = 0
    undetermined: int = 0
    disagreements: list[str] = field(default_factory=list)


def happened(made: dict[str, Configuration], sent: list[Sent]) -> tuple[dict[str, Facts], Watch]:
    """The facts of hosts that are made so, and what was seen when these packets were sent."""
    with Hosts(f"cnf{os.getpid()}", made) as hosts:
        facts = hosts.facts()
        watch = Watch(hosts)
        try:
            send(hosts, watch, sent)
        finally:
            watch.close()
    return facts, watch


def one_configuration(seed: int, count: int, result: Result) -> None:
    chance = Chance(seed)
    made = {host: configuration(chance, host) for host in HOSTS}
    if chance.often(0.25):
        made["switch"] = switch(Chance(seed, ("p0", "p1", "br0")))
    sent = packets_to_send(chance, count, FIRST_TAG + (seed * 61) % 20000)
    facts, watch = happened(made, sent)
    result.configurations += 1
    for each in sent:
        found, unsure = compare(each, facts, watch)
        result.packets += 1
        result.delivered += bool(watch.replies.get(each.tag))
        result.undetermined += unsure
        result.disagreements += [f"configuration {seed}: {one}" for one in found]


def run(first: int, configurations: int, count: int) -> Result:
    result = Result()
    seed = first
    while result.configurations < configurations:
        try:
            one_configuration(seed, count, result)
        except Refused as refused:
            result.refused += 1
            result.refusals.append(
                f"configuration {seed}: {str(refused).rpartition('WHOLE')[2].strip()[:300]}"
            )
            if result.refused > 10 + configurations // 5:
                raise RuntimeError("too many configurations are refused; the last one") from refused
        seed += 1
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/conformance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--configurations", type=int, default=200)
    parser.add_argument("--packets", type=int, default=26, help="packets for each configuration")
    parser.add_argument("--show", action="store_true", help="print the configurations, and what refuses them")
    given = parser.parse_args()
    if given.show:
        for seed in range(given.seed, given.seed + given.configurations):
            chance = Chance(seed)
            for host in HOSTS:
                print(f"# {host}", configuration(chance, host), sep="\n")
    result = run(given.seed, given.configurations, given.packets)
    if given.show:
        print(*result.refusals, sep="\n")
    for each in result.disagreements:
        print(each)
    share = 100 * result.undetermined / max(result.packets, 1)
    print(
        f"{result.packets} packets over {result.configurations} configurations (seeds {given.seed} on): "
        f"{len(result.disagreements)} disagreements, {result.undetermined} undetermined ({share:.1f} %), "
        f"{result.delivered} answered, {result.refused} configurations refused by a tool"
    )
    return 1 if result.disagreements or share > 5 else 0


if __name__ == "__main__":
    sys.exit(main())
