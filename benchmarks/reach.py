"""What can pass a gateway with many rules: one flow, and all packets.

scripts/bench reach, or python -m benchmarks.reach [RULES]
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable
from types import MappingProxyType

from crossnet.netfilter.foreign import (
    Accept,
    Chain,
    Drop,
    Field,
    Hook,
    Numbers,
    Rule,
    Statement,
    Table,
    Test,
    Tool,
)
from crossnet.reach.here import Here
from crossnet.reach.matching import Local
from crossnet.reach.packets import TCP, Packets, Space
from crossnet.reach.rules import Walk


def one(field: Field, first: int, last: int | None = None) -> Test:
    return Test((field,), Numbers(((first, first if last is None else last),)))


def rules(count: int) -> tuple[Rule, ...]:
    """First-match rules of a real sort: a network or an address to another, a protocol and a port."""
    chance = random.Random(7)
    made = []
    for number in range(count):
        source = chance.randrange(1 << 16) << 8 | 10 << 24
        destination = chance.randrange(1 << 24) | 11 << 24
        wide = chance.choice((0, 255))
        statements: tuple[Statement, ...] = (
            one(Field.FAMILY, 4),
            one(Field.SOURCE4, source, source | 255),
            one(Field.DESTINATION4, destination & ~wide, destination | wide),
            one(Field.PROTOCOL, TCP),
            one(Field.DESTINATION_PORT, chance.randrange(1, 65536)),
            Accept() if number % 2 else Drop(),
        )
        made.append(Rule(statements, f"rule {number}"))
    return tuple(made)


def seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    made = rules(count)
    chain = Chain("forward", Hook("forward", "filter", 0, "drop"), count, lambda: made)
    table = Table(Tool.NFT, "ip", "filter", MappingProxyType({"forward": chain}))

    def walk(packets: Callable[[Space], Packets]) -> None:
        space = Space()
        local = Local(
            lambda *_: (), lambda *_: None, lambda _: None, lambda *_: (space.none, space.all), space.none
        )
        Walk(space, [table], local).enter(table, chain, Here.of(packets(space)))

    def flow(space: Space) -> Packets:
        known = {Field.SOURCE4: 10 << 24 | 5, Field.DESTINATION4: 11 << 24 | 7, Field.PROTOCOL: TCP}
        known |= {Field.DESTINATION_PORT: 443, Field.SOURCE_PORT: 40000, Field.FRAGMENT: 0}
        return space.every([space.ipv4, *(space.value(field, value) for field, value in known.items())])

    print(f"{count} first-match rules")
    print(f"  one flow     {seconds(lambda: walk(flow)):6.2f} s")
    print(f"  all packets  {seconds(lambda: walk(lambda space: space.all)):6.2f} s")
    print(f"  memory       {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:6d} MB")


if __name__ == "__main__":
    main()
