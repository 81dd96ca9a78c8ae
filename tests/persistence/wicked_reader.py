"""What wicked reads in an `ifroute-eth0`, by ifroute(5) and by how its reader takes lines apart.

By client/suse/compat-suse.c. A line ends at the first CR or LF. A backslash at its end joins it with the
next; one anywhere else, and nothing of the file is read. `#` begins a comment anywhere. Of what is left the columns are
destination, gateway, netmask, interface, options. What cannot be understood is left out, and so is a second route to
one destination with one metric.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

_WITH_VALUE = {
    "src",
    "metric",
    "priority",
    "preference",
    "tos",
    "mtu",
    "window",
    "table",
    "scope",
    "proto",
    "protocol",
}
_TYPES = {"unicast", "local", "broadcast", "multicast", "throw", "unreachable", "prohibit", "blackhole"}


def by_wicked(data: bytes, interface: str) -> list[str]:
    """Each route as `DESTINATION via GATEWAY dev INTERFACE OPTIONS`; none where the file is not read."""
    lines = _lines(data)
    if lines is None:
        return []
    found: dict[tuple[str, str], str] = {}
    for line in lines:
        route = _route(line.decode(errors="surrogateescape").split("#")[0].split(), interface)
        if route is not None:
            found.setdefault(*route)
    return list(found.values())


def _lines(data: bytes) -> list[bytes] | None:
    found, joined = [], b""
    for raw in re.findall(rb"[^\n]*\n|[^\n]+", data):
        text = raw.split(b"\0")[0]  # as C has it
        said, slash, after = re.split(rb"[\r\n]", text)[0].partition(b"\\")
        if after:
            return None
        joined += said
        if not slash and re.search(rb"[\r\n]", text):
            found.append(joined)
            joined = b""
    return [*found, joined]


def _route(words: list[str], interface: str) -> tuple[tuple[str, str], str] | None:
    if not words:
        return None
    to, via, mask, _, *options = [
        *words,
        *["-"] * (4 - len(words)),
    ]  # another interface's name is passed over
    told = _options(options)
    if told is None:
        return None
    try:
        if "/" not in to and mask != "-":
            to = f"{to}/{mask}"
        destination = ip_network(to, strict=False)
        if via != "-" and ip_address(via).version != destination.version:
            return None
    except ValueError:
        return None
    metric = next((value for key, value in told if key in ("metric", "priority", "preference")), "0")
    gateway = f" via {via}" if via != "-" else ""
    rest = "".join(f" {key} {value}" for key, value in told)
    return (str(destination), metric), f"{destination}{gateway} dev {interface}{rest}"


def _options(words: list[str]) -> list[tuple[str, str]] | None:
    found, left = [], list(words)
    while left:
        word = left.pop(0)
        if word in _TYPES:
            found.append(("type", word))
        elif word in _WITH_VALUE and left:
            found.append((word, left.pop(0)))
        else:
            return None
    return found
