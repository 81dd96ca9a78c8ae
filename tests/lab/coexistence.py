"""Firewalls of others that live on a gateway beside crossnet: how each is made live, and what it does then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from crossnet.lab.topology import Topology
from lab.crossing import Bench
from lab.firewalls import Firewall
from lab.test_fence_in_time import GUN, TARGETS, with_outsider

CLIENTS = ("10.0.43.15", "fd00:43::15")
PORT = 8080

# Counters of packets, and the dates of iptables-save, are no rules; shorewall names a chain anew each time it starts.
_RULES = r"""
{
    for tool in iptables ip6tables iptables-legacy ip6tables-legacy; do
        ! command -v $tool-save >/dev/null || $tool-save | grep -v '^#'
    done
    nft -s list ruleset
} | sed -E 's/ \[[0-9:]*\]$//; s/sha-([lr])h-[0-9a-f]+/sha-\1h/'
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A firewall, and what is done to it while crossnet's rules stand beside its own.

    After each command of `keeps` the crossing works. Each of `flushes` takes the accepts with it, and nothing passes
    until they are there again.
    """

    name: str
    start: tuple[str, ...]
    firewall: Firewall | None = None
    keeps: tuple[str, ...] = ()
    flushes: tuple[str, ...] = ()
    names_itself: bool = True

    @property
    def unit(self) -> str:
        assert self.firewall is not None
        return self.firewall.unit

    def install(self, b: Bench) -> None:
        if self.firewall is not None:
            self.firewall.install(b)


@dataclass
class Outsiders:
    """A neighbour of the client and the target itself, who both know a way and send all the while in both families."""

    bench: Bench

    # Who sends, to whom, and who counts.
    _sides = (
        ("outsider", TARGETS, "target", "10.0.43.77", "fd00:43::77"),
        ("target", CLIENTS, "app", "10.0.44.1", "fd00:44::1"),
    )

    def watched(self) -> None:
        for _, _, where, four, six in self._sides:
            rules = f"ip saddr {four} udp dport 9 counter; ip6 saddr {six} udp dport 9 counter"
            self.bench.check(
                where,
                f"nft 'table inet watch {{ chain in {{ type filter hook input priority 0; {rules}; }}; }}'",
            )

    def arrived(self) -> list[int]:
        listed = [self.bench.check(where, "nft list table inet watch") for _, _, where, _, _ in self._sides]
        return [int(number) for each in listed for number in re.findall(r"counter packets (\d+)", each)]

    @contextmanager
    def sending(self) -> Iterator[None]:
        """At least 500 packets from each in each family, and a failure when one of them arrives."""
        before = self.arrived()
        for host, (four, six), *_ in self._sides:
            self.bench.check(host, _FIRE.format(gun=GUN, four=four, six=six))
        yield
        sent = [int(number) for host, *_ in self._sides for number in self.bench.check(host, _CEASE).split()]
        assert min(sent) >= 500
        arrived = [now - then for now, then in zip(self.arrived(), before, strict=True)]
        assert arrived == [0, 0, 0, 0], f"of {sent}"


_FIRE = """
rm -f /run/gun
perl -e '{gun}' {four} {six} >/run/gun 2>&1 &
until [ -s /run/gun ]; do kill -0 $! || exit; sleep 0.01; done
"""
_CEASE = """
read -r gun </run/gun && kill "$gun" || { cat /run/gun >&2; exit 1; }
while [ -e "/proc/$gun" ]; do sleep 0.05; done
sed 1d /run/gun
"""


def topology() -> Topology:
    return with_outsider()


def serve(b: Bench) -> None:
    """TCP on the target, in both families."""
    b.check("target", f"for each in 4 6; do setsid nc -$each -lk {PORT} >/dev/null 2>&1 & done")


def crosses(b: Bench) -> bool:
    return all(b.connects("app", target, PORT) for target in TARGETS)


def rules(b: Bench) -> list[str]:
    """Everybody's rules on the gateway."""
    return b.check("gateway", _RULES).splitlines()
