"""What outsiders send, and who gets it: a program of the standard library alone, run on hosts of a lab.

    packets.py send IFACE MAC PLAN COUNT   packets to the gateway for ever; COUNT is the file with their number
    packets.py watch IFACE SEEN            a line in SEEN for each packet of `send` that is addressed to this host:
                                           its shape, 4 or 6, and how it begins
    packets.py live SOURCE DESTINATION     a UDP flow from port 5514 to port 514 for ever
    packets.py echo ADDRESS                answers it

PLAN holds a JSON list of [shape, source, destination, flow's source, flow's destination]; each packet carries a
mark with its shape.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

MARK = b"crossnet-outsider"  # an ICMP error of the gateway itself may quote it …
ERROR_MARK = b"crossnet-stranger"  # … but nobody answers an ICMP error with one
HERE, THERE = 5514, 514
TCP = {"syn": 0x02, "syn-ack": 0x12, "ack": 0x10, "rst": 0x04}
# type and code in each family: no route, too big, time exceeded
ERRORS = {"unreachable": ((3, 1), (1, 0)), "too-big": ((3, 4), (2, 0)), "expired": ((11, 0), (3, 0))}
SHAPES = (*TCP, "udp", "answer", "request", "echo", "fragment", "later-fragment", *ERRORS)
PAUSE = 0.03


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data + b'x') // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ip(source: str, destination: str, protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    """`fragment` is the field of that name in IPv4: the offset in eights, and 0x2000 where more follow."""
    if ":" in source:
        if fragment:
            field = (fragment & 0x1FFF) << 3 | bool(fragment & 0x2000)
            payload, protocol = struct.pack("!BBHI", protocol, 0, field, 7) + payload, 44
        head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
        return head + packed(source) + packed(destination) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0)
    ends = packed(source) + packed(destination)
    return head[:10] + struct.pack("!H", checksum(head + ends)) + ends + payload


def summed(source: str, destination: str, protocol: int, segment: bytes, at: int) -> bytes:
    """The segment with its checksum at this place."""
    pseudo = packed(source) + packed(destination) + struct.pack("!II", len(segment), protocol)
    covered = segment if protocol == 1 else pseudo + segment
    return segment[:at] + struct.pack("!H", checksum(covered)) + segment[at + 2 :]


def udp(source: str, destination: str, ports: tuple[int, int], data: bytes) -> bytes:
    segment = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    return summed(source, destination, 17, segment, 6)


def packet(shape: str, source: str, destination: str, flow: tuple[str, str]) -> bytes:
    six = ":" in source
    tag = f":{shape};".encode()
    icmp = 58 if six else 1
    if shape in TCP:
        segment = struct.pack("!HHIIBBHHH", HERE, THERE, 1, 1, 5 << 4, TCP[shape], 4096, 0, 0) + MARK + tag
        return ip(source, destination, 6, summed(source, destination, 6, segment, 16))
    if shape == "echo":
        segment = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 7, 7) + MARK + tag
        return ip(source, destination, icmp, summed(source, destination, icmp, segment, 2))
    if shape in ERRORS:
        kind, code = ERRORS[shape][six]
        ports = (HERE, THERE) if flow[0] != source else (THERE, HERE)
        about = ip(*flow, 17, udp(*flow, ports, ERROR_MARK + tag))
        segment = struct.pack("!BBHI", kind, code, 0, 1280) + about
        return ip(source, destination, icmp, summed(source, destination, icmp, segment, 2))
    ports = {"udp": (4000, 9), "answer": (THERE, HERE), "request": (HERE, THERE)}.get(shape, (4001, 9))
    segment = udp(source, destination, ports, (MARK + tag).ljust(56, b"."))
    fragment = {"fragment": 0x2000, "later-fragment": 1}.get(shape, 0)
    return ip(source, destination, 17, segment, fragment)


def send(interface: str, mac: str, plan: str, count: str) -> None:
    with open(plan, encoding="ascii") as file:
        packets = [packet(shape, a, b, (c, d)) for shape, a, b, c, d in json.load(file)]
    link = bytes.fromhex(mac.replace(":", ""))
    sent = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as wire:
        for number in itertools.count():
            one = packets[number % len(packets)]
            wire.sendto(one, (interface, 0x86DD if one[0] >> 4 == 6 else 0x0800, 0, 0, link))
            sent += 1
            if sent % 20 == 0:
                # Whole at every instant: the sender may be ended at any.
                with open(f"{count}.new", "w", encoding="ascii") as file:
                    file.write(str(sent))
                os.replace(f"{count}.new", count)
                time.sleep(PAUSE)


def watch(interface: str, seen: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        wire.bind((interface, 3))
        with open(seen, "w", encoding="ascii", buffering=1) as file:
            for data in _addressed(wire):
                if (ERROR_MARK in data or (MARK in data and not _is_error(data))) and not _is_redirect(data):
                    file.write(f"{_shape(data)} {data[0] >> 4} {data[:64].hex()}\n")


def _addressed(wire: socket.socket) -> Iterator[bytes]:
    while True:
        data, (_, _, kind, *_) = wire.recvfrom(4096)
        if kind == 0:  # packet(7): PACKET_HOST
            yield data


def _shape(data: bytes) -> str:
    found = re.search(rb"(?:%b|%b):([a-z-]+);" % (MARK, ERROR_MARK), data)
    return found[1].decode() if found else "unknown"


def _is_error(data: bytes) -> bool:
    if data[0] >> 4 == 6:
        return data[6] == 58 and data[40] < 128
    return data[9] == 1 and data[20] in (3, 11, 12)


def _is_redirect(data: bytes) -> bool:
    """The gateway's own word about a better way: it quotes what it is about, and `send` makes none."""
    return (data[6] == 58 and data[40] == 137) if data[0] >> 4 == 6 else (data[9] == 1 and data[20] == 5)


def live(source: str, destination: str) -> None:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as flow:
        flow.bind((source, HERE))
        while True:
            with suppress(OSError):  # there is no route yet
                flow.sendto(b"alive", (destination, THERE))
            time.sleep(0.05)


def echo(address: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind((address, THERE))
        while True:
            data, peer = service.recvfrom(99)
            service.sendto(data, peer)


PROGRAMS: dict[str, Callable[..., None]] = {"send": send, "watch": watch, "live": live, "echo": echo}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
