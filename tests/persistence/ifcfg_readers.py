"""What initscripts of CentOS 7 and NetworkManager's ifcfg-rh plugin read in a `route-eth0`, by the rules of both.

initscripts 9.49 (network-scripts/ifup-routes): one `ADDRESSn=` anywhere, and the file is sourced as shell, and read
from 0 to the first gap; else every line that is no comment and not blank is given to `ip route add`, with nothing taken
from its end. NetworkManager 1.18 (ifcfg-rh/nms-ifcfg-rh-reader.c) has the same two forms, and leaves out a line with a
word that it does not know. Neither says anything of what it left out.
"""

from __future__ import annotations

import re
from ipaddress import ip_network

_KNOWN = {
    "to",
    "via",
    "dev",
    "metric",
    "src",
    "from",
    "tos",
    "table",
    "window",
    "cwnd",
    "initcwnd",
    "initrwnd",
    "mtu",
}
_IP = _KNOWN | {"proto", "scope", "nexthop", "onlink", "weight"}


def is_variables(text: str) -> bool:
    return re.search(r"^[ \t]*ADDRESS[0-9]+=", text, re.MULTILINE) is not None


def by_initscripts(text: str) -> list[str]:
    """What `ip route add` is told and takes; ValueError for a line that a shell would run as a command."""
    if is_variables(text):
        return _variables(text, metric=False)
    found = []
    for line in re.sub(r"\\\n", "", text).split("\n"):
        if re.fullmatch(r"[ \t]*(#.*)?", line):
            continue
        words = _words(line, _IP)
        if words is not None:
            found.append(" ".join(words))
    return found


def rules_by_initscripts(text: str) -> list[str]:
    """What `ip rule add` is told: each line that is no comment and not blank."""
    lines = re.sub(r"\\\n", "", text).split("\n")
    return [" ".join(line.split()) for line in lines if not re.fullmatch(r"[ \t]*(#.*)?", line)]


def by_networkmanager(text: str) -> list[str]:
    if is_variables(text):
        return _variables(text, metric=True)
    found = []
    for line in text.split("\n"):
        words = _words(line, _KNOWN) if line.strip() and not line.strip().startswith("#") else None
        if words is not None:
            found.append(" ".join(words))
    return found


def _words(line: str, known: set[str]) -> list[str] | None:
    """The words of a line in which each after the destination is known and has a value; None where one is not."""
    if "\r" in line:
        return None
    words = line.split()
    pairs = words[1:]
    if len(pairs) % 2 or not set(pairs[::2]) <= known:
        return None
    try:
        ip_network(words[0])
    except ValueError:
        return None
    return words


def _variables(text: str, *, metric: bool) -> list[str]:
    said = {}
    for line in text.split("\n"):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        for word in line.replace(";", " ").split():
            found = re.fullmatch(r"([A-Z]+[0-9]*)=(\S*)", word)
            if found is None:
                raise ValueError(f"a shell runs {line!r}")
            said[found.group(1)] = found.group(2)
    routes, number = [], 0
    while address := said.get(f"ADDRESS{number}"):
        words = [str(ip_network(f"{address}/{said[f'NETMASK{number}']}"))]
        words += ["via", said[f"GATEWAY{number}"]] if f"GATEWAY{number}" in said else []
        words += ["metric", said[f"METRIC{number}"]] if metric and f"METRIC{number}" in said else []
        routes.append(" ".join(words))
        number += 1
    return routes
