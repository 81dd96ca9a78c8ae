"""How long it takes to build the lab `seed`, and to tell the demo from start to end.

The promises: the seed in under a second, the demo in under 20. The peer for the seed is the same three hosts
by hand: network namespaces and veth pairs, one `ip` command each, without files or processes of their own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

from benchmarks.measure import Spread, bar, compiled, in_alternation, options, ratios, report

from crossnet.lab import build, needs
from crossnet.lab.topology import load

SEED_PROMISE = 1.0  # seconds
DEMO_PROMISE = 20.0

SEED, HAND, DEMO = "seed", "seed by hand", "demo"

# In namespaces of its own, so that the machine's /run/netns stays as it is.
BY_HAND = """\
mount -t tmpfs tmpfs /run
for host in app gateway target management business; do
    ip netns add $host
    ip -n $host link set lo up
done
plug() {  # HOST INTERFACE SWITCH ADDRESS
    ip link add $2 netns $1 type veth peer name $1 netns $3
    ip -n $3 link set $1 master switch
    ip -n $3 link set $1 up
    ip -n $1 address add $4 dev $2
    ip -n $1 link set $2 up
}
for switch in management business; do
    ip -n $switch link add switch type bridge
    ip -n $switch link set switch up
done
plug app eth0 management 10.0.43.15/24
plug gateway eth1 management 10.0.43.101/24
plug gateway eth0 business 10.0.44.63/24
plug target eth0 business 10.0.44.1/24
ip -n app route add default via 10.0.43.1
ip -n gateway route add default via 10.0.44.254 dev eth0
"""

_numbers = count(1)


async def seed() -> float:
    """Seconds from the call to hosts that have booted."""
    topology = load("seed")
    start = time.perf_counter()
    lab = await build.up(topology, name=f"bench-{os.getpid()}-{next(_numbers)}", lifeline=True)
    taken = time.perf_counter() - start
    await build.down(lab.name)
    return taken


def by_hand() -> float:
    start = time.perf_counter()
    argv = [*needs.enter_namespaces(), "unshare", "--net", "--mount", "sh", "-euc", BY_HAND]
    subprocess.run(argv, check=True)
    return time.perf_counter() - start


def demo() -> float:
    start = time.perf_counter()
    crossnet = Path(sys.executable).with_name("crossnet")
    subprocess.run([str(crossnet), "demo"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    chosen = options(__doc__, rounds=15, quick=4)
    taken: dict[str, list[float]] = {SEED: [], HAND: [], DEMO: []}
    with compiled():
        asyncio.run(seed())
        for name in in_alternation(chosen.rounds, (SEED, HAND)):
            taken[name].append(asyncio.run(seed()) if name == SEED else by_hand())
        for _ in range(1 if chosen.quick else 3):
            taken[DEMO].append(demo())
    spreads = {name: Spread.of(values) for name, values in taken.items()}
    against = Spread.of(ratios(taken[SEED], taken[HAND]))
    bars = [
        bar(f"{name} in under {promise:g} s", taken[name], promise)
        for name, promise in ((SEED, SEED_PROMISE), (DEMO, DEMO_PROMISE))
    ]
    report(
        "lab",
        ("what", "seconds", f"against {HAND}"),
        [
            (SEED, spreads[SEED].show(2), against.show(1)),
            (HAND, spreads[HAND].show(2), "1"),
            (DEMO, spreads[DEMO].show(1), ""),
        ],
        {
            "rounds": chosen.rounds,
            "demos": len(taken[DEMO]),
            "seconds": {name: spread.data() for name, spread in spreads.items()},
            "seed_against_hand": against.data(),
            "bars": bars,
        },
    )


if __name__ == "__main__":
    main()
