"""What it costs to say what can pass a gateway with many rules: one flow, and all packets.

There is no peer: the kernel answers for a packet that it sees, and nothing else answers for all that there are.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from types import MappingProxyType

from benchmarks.measure import Spread, bar, in_alternation, options, report

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
from crossnet.reach.matching import OfHost
from crossnet.reach.packets import TCP, Packets, Space
from crossnet.reach.rules import Walk

RULES = 5_000
PROMISES = {"one flow": 2.0, "all packets": 5.0}  # seconds


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


def main() -> None:
    chosen = options(__doc__, rounds=11, quick=3)
    made = rules(RULES)
    chain = Chain("forward", Hook("forward", "filter", 0, "drop"), RULES, lambda: made)
    table = Table(Tool.NFT, "ip", "filter", MappingProxyType({"forward": chain}))

    def seconds(packets: Callable[[Space], Packets]) -> float:
        begin = time.process_time()
        space = Space()
        local = OfHost(lambda *_: (), lambda *_: None, lambda _: None, lambda *_: (space.none, space.all))
        Walk(space, [table], local).enter(table, chain, Here.of(packets(space)))
        return time.process_time() - begin

    def flow(space: Space) -> Packets:
        known = {Field.SOURCE4: 10 << 24 | 5, Field.DESTINATION4: 11 << 24 | 7, Field.PROTOCOL: TCP}
        known |= {Field.DESTINATION_PORT: 443, Field.SOURCE_PORT: 40000, Field.FRAGMENT: 0}
        return space.every([space.ipv4, *(space.value(field, value) for field, value in known.items())])

    questions: dict[str, Callable[[Space], Packets]] = {
        "one flow": flow,
        "all packets": lambda space: space.all,
    }
    taken: dict[str, list[float]] = {name: [] for name in questions}
    for name in in_alternation(chosen.rounds, tuple(questions)):
        taken[name].append(seconds(questions[name]))
    spreads = {name: Spread.of(values) for name, values in taken.items()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report(
        "reach",
        (f"{RULES:,} rules, seconds of the processor", "", "MB"),
        [(name, spread.show(2), str(memory)) for name, spread in spreads.items()],
        {
            "rules": RULES,
            "seconds": {name: spread.data() for name, spread in spreads.items()},
            "memory": memory,
            "bars": [bar(name, taken[name], most) for name, most in PROMISES.items()],
        },
    )


if __name__ == "__main__":
    main()
