"""What a filter lets through, tried with real tcpdump on packets written to a file."""

from __future__ import annotations

import ctypes
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from capture.test_packet import A6, T6, A, T, echo, ip4, ip6, syn
from crossnet.capture.frames import RAW, Reader
from crossnet.capture.packet import parse_ip
from crossnet.capture.program import program
from crossnet.capture.wanted import Filter
from crossnet.values import Protocol
from lacking import lacking

Passed = Callable[[str, dict[str, bytes]], set[str]]

HERE, THERE = "10.0.43.200", "10.0.43.101"


@pytest.fixture
def passed(tmp_path: Path) -> Passed:
    """`passed(expression, packets)` tells which of the packets the expression lets through."""
    if shutil.which("tcpdump") is None:
        lacking("there is no tcpdump")

    def run(expression: str, packets: dict[str, bytes]) -> set[str]:
        written = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 2000, RAW)
        for number, packet in enumerate(packets.values()):
            written += struct.pack("<IIII", number, 0, len(packet), len(packet)) + packet
        file = tmp_path / "packets.pcap"
        file.write_bytes(written)
        told = subprocess.run(["tcpdump", "-r", file, "-w", "-", expression], capture_output=True, check=True)
        names = list(packets)
        return {names[record.time // 10**9] for record in Reader().feed(told.stdout)}

    return run


def segment(source: int, destination: int, flags: int = 0x10) -> bytes:
    return struct.pack("!HHIIBBHHH", source, destination, 7, 0, 5 << 4, flags, 64240, 0, 0)


PACKETS = {
    "probe": ip4(A, T, 1, echo(8, data=bytes(61))),
    "probe, translated": ip4("10.0.44.63", T, 1, echo(8, data=bytes(61))),
    "its reply": ip4(T, "10.0.44.63", 1, echo(0, data=bytes(61))),
    "probe of IPv6": ip6(A6, T6, 58, echo(128, data=bytes(61))),
    "somebody's ping": ip4(A, T, 1, echo(8, data=bytes(56))),
    "error": ip4("10.0.43.1", A, 1, bytes((3, 1)) + bytes(6) + ip4(A, T, 17, bytes(8))),
    "error of IPv6": ip6(T6, A6, 58, bytes((1, 0)) + bytes(6) + ip6(A6, T6, 17, bytes(8))),
    "neighbour": ip6(A6, T6, 58, bytes((135, 0)) + bytes(22)),
    "router's advertisement": ip6(A6, T6, 58, bytes((134, 0)) + bytes(22)),
    "web": ip4(A, T, 6, segment(40000, 443)),
    "web of others": ip4("10.9.9.9", "10.9.9.8", 6, segment(40000, 443)),
    "ssh": ip4(HERE, THERE, 6, segment(40000, 22)),
    "ssh, begun": ip4(HERE, THERE, 6, segment(40000, 22, 0x02)),
    "name": ip4(A, T, 17, struct.pack("!HHHH", 40000, 53, 8, 0)),
    "piece": ip4(A, T, 17, bytes(16), field=185),
}
ALWAYS = {"error", "error of IPv6", "neighbour"}
ends = (ip_address(A), ip_address(T))


CASES: list[tuple[Filter, set[str]]] = [
    (Filter(echoes=(61,), protocol=Protocol.ICMP),
     {"probe", "probe, translated", "its reply", "probe of IPv6"}),
    (Filter(ends, Protocol.ICMP), {"probe", "probe, translated", "its reply", "somebody's ping", "piece"}),
    (Filter(ends, Protocol.TCP, 443), {"web", "piece"}),
    (Filter((ip_network("10.0.44.0/24"), ip_network("fd00:44::/64")), Protocol.ICMP),
     {"probe", "probe, translated", "its reply", "probe of IPv6", "somebody's ping", "piece"}),
    (Filter((), Protocol.TCP, 443), {"web", "web of others"}),
    (Filter(ends, Protocol.UDP, 53, echoes=(61,)),
     {"probe", "probe, translated", "its reply", "probe of IPv6", "name", "piece"}),
    (Filter((), Protocol.TCP), {"web", "web of others", "ssh, begun"}),
    (Filter(), set(PACKETS) - {"ssh"}),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "expected"), CASES)
def test_what_is_wanted_passes_and_nothing_else(passed: Passed, wanted: Filter, expected: set[str]) -> None:
    expression = wanted.expression(without=[(ip_address(HERE), ip_address(THERE))])
    assert passed(expression, PACKETS) == expected | ALWAYS


@pytest.mark.parametrize(("wanted", "expected"), CASES)
def test_the_kernels_program_lets_the_same_pass(wanted: Filter, expected: set[str]) -> None:
    made = program(wanted, without=[(ip_address(HERE), ip_address(THERE))])
    assert {name for name, packet in PACKETS.items() if passes(made, packet)} == expected | ALWAYS


def test_a_program_for_very_many_addresses_is_still_taken() -> None:
    many = Filter(tuple(ip_address(f"10.0.{high}.{low}") for high in range(9) for low in range(99)))
    made = program(many, without=[(ip_address(HERE), ip_address(THERE))])
    assert len(made) // 8 < 4096  # linux/bpf_common.h: BPF_MAXINSNS
    assert passes(made, PACKETS["web"])
    assert not passes(made, PACKETS["ssh"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        own = b"".join(struct.pack("HBBI", *step) for step in struct.iter_unpack("!HBBI", made))
        kept = ctypes.create_string_buffer(own)
        filter_ = struct.pack("HL", len(own) // 8, ctypes.addressof(kept))
        one.setsockopt(socket.SOL_SOCKET, 26, filter_)  # SO_ATTACH_FILTER: the kernel checks it


def passes(made: bytes, packet: bytes) -> bool:
    """What the kernel does with such a program, in a few lines."""
    steps = list(struct.iter_unpack("!HBBI", made))
    at = a = x = 0
    while True:
        code, jump, other, k = steps[at]
        at += 1
        match code:
            case 0x06:
                return bool(k)
            case 0xB1:
                x = 4 * (packet[k] & 0xF)
            case 0x54:
                a &= k
            case 0x15:
                at += jump if a == k else other
            case 0x28 if k == 0xFFFFF000:
                a = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
            case _:
                size, behind = {0x30: (1, 0), 0x28: (2, 0), 0x20: (4, 0)}.get(code) or (
                    {0x50: 1, 0x48: 2, 0x40: 4}[code],
                    x,
                )
                if behind + k + size > len(packet):
                    return False
                a = int.from_bytes(packet[behind + k : behind + k + size])


def test_the_packets_are_what_they_are_called() -> None:
    assert str(parse_ip(PACKETS["error"])).startswith("10.0.43.1 > 10.0.43.15 icmp host unreachable about")
    assert str(parse_ip(ip4(A, T, 6, syn()))).endswith("tcp syn")


def test_a_port_needs_a_protocol_that_has_ports() -> None:
    with pytest.raises(ValueError, match="tcp or udp"):
        Filter(port=443)
