"""Somebody else changes the hosts meanwhile: nothing of theirs is lost, and nothing that they removed comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from faults.controller import Fault, Ground
from faults.oracle import NEW, OLD, count

pytestmark = pytest.mark.lab

# As docker does it: chains and rules of its own, a route for each network; of three the second goes again.
OTHERS = r"""
number=$1
iptables -w -t nat -N "DOCKER-$number" && iptables -w -t nat -A "DOCKER-$number" -d 198.18.0.1 -j RETURN
iptables -w -N "DOCKER-$number" && iptables -w -A "DOCKER-$number" -s "198.18.$number.0/24" -j RETURN
nft add table ip "docker$number"
ip route add blackhole "198.18.$number.0/24" proto static
[ $((number % 3)) = 1 ] || exit 0
iptables -w -t nat -F "DOCKER-$number" && iptables -w -t nat -X "DOCKER-$number"
iptables -w -F "DOCKER-$number" && iptables -w -X "DOCKER-$number"
nft delete table ip "docker$number"
ip route del "198.18.$number.0/24"
"""

SEEN = r"""
iptables-save | sed -n 's/^:DOCKER-\([0-9]*\) .*/\1/p' | sort | uniq -c | awk '$1 == 2 { print "chain " $2 }'
nft list tables | sed -n 's/^table ip docker\([0-9]*\)$/table \1/p'
ip route show proto static | sed -n 's/^blackhole 198\.18\.\([0-9]*\)\.0.*/route \1/p'
"""

AWAY = r"""
for number in $(seq $1 $2); do
    ip route del "198.18.$number.0/24" 2>/dev/null || continue
    nft delete table ip "docker$number"
    for table in nat filter; do
        iptables -w -t $table -F "DOCKER-$number" && iptables -w -t $table -X "DOCKER-$number"
    done
done
"""

STRIDE = 20


@contextmanager
def somebody_else(ground: Ground, hosts: tuple[str, ...] = ("gateway", "app")) -> Iterator[None]:
    """Changes all the while; at the end all is there that they left, and nothing that they removed."""
    over = threading.Event()
    made = dict.fromkeys(hosts, 0)
    errors: list[str] = []

    def work(host: str) -> None:
        while not over.is_set() and made[host] < 250:
            done = ground.bench.run(host, f"set -- {made[host]}; {OTHERS}")
            if not done.ok:
                errors.append(f"{host}: {made[host]}: {done.error_text}")
            made[host] += 1
            over.wait(0.3)  # tools of netfilter begin anew when something changed while they read

    workers = [threading.Thread(target=work, args=(host,)) for host in hosts]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        over.set()
        for worker in workers:
            worker.join()
    assert errors == []
    for host in hosts:
        assert made[host] > 1, f"too few changes on {host} to say anything"
        kept = [number for number in range(made[host]) if number % 3 != 1]
        wanted = sorted(f"{kind} {number}" for kind in ("chain", "table", "route") for number in kept)
        assert sorted(ground.bench.check(host, SEEN).splitlines()) == wanted, host
        for first in range(0, made[host], STRIDE):
            ground.bench.check(host, f"set -- {first} {first + STRIDE - 1}; {AWAY}")
        count("foreign changes", 3 * made[host])


def test_nothing_of_others_is_lost_while_it_is_applied_rolled_back_and_undone(ground: Ground) -> None:
    rounds(ground, 1)


@pytest.mark.faults
def test_nothing_of_others_is_lost_in_many_rounds(ground: Ground) -> None:
    rounds(ground, 10)


def rounds(ground: Ground, times: int) -> None:
    died = Fault(ground.applied.number("app", "apply"), "kill", "after")
    for _ in range(times):
        with somebody_else(ground):
            assert ground.operator.run("apply", "--yes", "--guard", "30s", fault=died).reached
            back = ground.operator.run("recover", "--yes")
        assert back.code == 3, back
        ground.alike(OLD)
        with somebody_else(ground):
            ground.carry_out("apply")
        ground.alike(NEW)
        with somebody_else(ground):
            ground.carry_out("undo")
        ground.alike(OLD)
