"""Who else gets through a gateway, and what goes over it only because nobody has named what is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossnet.adoption.finding import Finding
from crossnet.adoption.way import Way
from crossnet.facts import Facts
from crossnet.reach.transit import Forwarded, forwarded
from crossnet.several import few, joined

_MOST = 6  # that a sentence names


def transit(facts: Facts, ways: Sequence[Way], others: Sequence[str]) -> Iterator[Finding]:
    if others:
        yield Finding(
            "others-forwarded",
            facts.host,
            f"has something that is for others than the clients, so the spec keeps nobody out: {few(others, _MOST)}. "
            "Name all who need it as clients, or in crossings of their own; then write `fence: on`",
        )
    for family in sorted({way.family for way in ways}):
        here = [way for way in ways if way.family is family]
        interfaces = list(dict.fromkeys(name for way in here for name in (way.ingress, way.egress)))
        open_ = [
            each
            for each in forwarded(facts, family, interfaces)
            if each.egress in interfaces and each.sources is None
        ]
        if open_:
            yield Finding(
                "forwards-for-everybody",
                facts.host,
                f"forwards {_of_anybody(open_)} ({family.label})",
                by_crossnet=not others,
            )


def _of_anybody(open_: Sequence[Forwarded]) -> str:
    whole, part = (
        joined([f"{each.ingress} to {each.egress}" for each in open_ if each.is_all is is_all])
        for is_all in (True, False)
    )
    words = [f"whatever anybody sends from {whole}"] if whole else []
    words += [f"a part of what anybody sends from {part}"] if part else []
    return joined(words)


def default_routes(ways: Sequence[Way]) -> Iterator[Finding]:
    for way in ways:
        if way.default_routes and any(each.prefixlen == 0 for each in way.to):
            yield Finding(
                "default-route-by-gateway",
                joined(way.clients),
                f"everything that has no other route goes over {way.gateway}: {joined(way.default_routes)}. "
                "Name the networks that are needed with --to, and give it a default route by its own router",
            )
