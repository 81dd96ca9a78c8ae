"""One client and one gateway over SSH: how long an apply takes, against `ssh` by hand.

The promise is for hosts whose timers were tried before: then an apply takes less than three seconds, from
the start of the command to its end, the probe included. Another crossing stands all the time, so that the
hosts keep what they know; the crossing that is measured comes and goes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys

from benchmarks.many_hosts import BY_HAND, CONTROLLER, HOME, NO_ROUTE, NO_RULES, ROUTE, Place, place_up
from benchmarks.measure import Spread, bar, in_alternation, options, ratios, report

from crossnet.transport import PATH

PROMISE = 3.0  # seconds

FIRST, APPLY, UNDO, BY_SSH = "crossnet apply, timers tried", "crossnet apply", "crossnet undo", "ssh by hand"
GATEWAY, CLIENT = "gateway", "client-1"

STANDING = "  standing: {from: client-1, via: gateway, to: 198.51.100.0/24, allow: tcp/9}\n"


async def with_crossings(place: Place, *crossings: str) -> None:
    """Write the spec with these crossings besides what it says of the hosts."""
    spec = (await place.run(CONTROLLER, f"cat {HOME}/hosts.yaml")).text
    await place.run(
        CONTROLLER, f"cat > {HOME}/crossnet.yaml", stdin=spec + "crossings:\n" + "".join(crossings)
    )


async def by_hand(place: Place) -> float:
    address = place.addresses[CLIENT]
    ran = await place.measured("sh", "-c", f'{BY_HAND}$SSH "$1" "{ROUTE}"', "sh", address)
    await place.check(reached=True)
    await place.run(GATEWAY, NO_RULES)
    await place.run(CLIENT, NO_ROUTE)
    return ran.seconds


async def measure(rounds: int) -> dict[str, list[float]]:
    ran: dict[str, list[float]] = {name: [] for name in (FIRST, APPLY, UNDO, BY_SSH)}
    async with place_up(clients=1) as place:
        whole = (await place.run(CONTROLLER, f"cat {HOME}/crossnet.yaml")).text
        hosts, _, crossing = whole.partition("crossings:\n")
        await place.run(CONTROLLER, f"cat > {HOME}/hosts.yaml", stdin=hosts)
        await place.crossnet("plan")  # compiles the modules
        for name in in_alternation(rounds, (APPLY, BY_SSH)):
            if name == BY_SSH:
                ran[BY_SSH].append(await by_hand(place))
                continue
            await with_crossings(place, STANDING)
            ran[FIRST].append((await place.crossnet("apply", "--yes")).seconds)
            await with_crossings(place, STANDING, crossing)
            ran[APPLY].append((await place.crossnet("apply", "--yes")).seconds)
            await place.check(reached=True)
            ran[UNDO].append((await place.crossnet("undo", "--yes")).seconds)
            print(f"apply: {ran[APPLY][-1]:.2f} s", file=sys.stderr)
    return ran


def main() -> None:
    rounds = options(__doc__, rounds=11, quick=2).rounds
    if os.geteuid() != 0 or shutil.which("sshd", path=PATH) is None:
        raise SystemExit("two_hosts: needs root, and sshd (Debian, Ubuntu, EL: openssh-server)")
    ran = asyncio.run(measure(rounds))
    rows = [
        (name, Spread.of(seconds).show(2), Spread.of(ratios(seconds, ran[BY_SSH])).show(1))
        for name, seconds in ran.items()
    ]
    bars = [bar(f"apply within {PROMISE:g} s", ran[APPLY], PROMISE)]
    results = [{"what": name, "seconds": Spread.of(seconds).data()} for name, seconds in ran.items()]
    report(
        "two_hosts",
        ("a client and a gateway over SSH", "seconds", f"× {BY_SSH}"),
        rows,
        {"rounds": rounds, "results": results, "bars": bars},
    )


if __name__ == "__main__":
    main()
