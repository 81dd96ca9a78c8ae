"""What a crossing asks of its hosts in one address family, and how a question is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.routes import Route
from crossnet.spec import Crossing
from crossnet.values import Family, Network, family_of

T = TypeVar("T")
U = TypeVar("U")


class Refused(Exception):
    """Internal to the design: this crossing cannot be resolved; the refusals say why."""

    def __init__(self, *refusals: Refusal) -> None:
        self.refusals = refusals
        super().__init__(*refusals)


def each_of(items: Iterable[T], work: Callable[[T], U]) -> list[U]:
    """What comes of each; Refused with the refusals of all of which nothing does, so that they are told at once."""
    found: list[U] = []
    refusals: list[Refusal] = []
    for item in items:
        try:
            found.append(work(item))
        except Refused as refused:
            refusals += refused.refusals
    if refusals:
        raise Refused(*dict.fromkeys(refusals))
    return found


@dataclass(frozen=True, slots=True)
class Question:
    """One crossing, one family, and what the hosts say about themselves."""

    crossing: Crossing
    family: Family
    facts: Mapping[str, Facts]

    @property
    def gateway(self) -> Facts:
        return self.facts[self.crossing.via]

    @property
    def to(self) -> tuple[Network, ...]:
        return tuple(network for network in self.crossing.to if family_of(network) is self.family)

    def refusal(
        self, code: str, message: str, todo: str = "Correct the spec.", candidates: Iterable[str] = ()
    ) -> Refusal:
        return Refusal(code, f"crossing {self.crossing.name}", message, todo, tuple(candidates))

    def no_such_interface(self, key: str, name: str) -> Refusal:
        return self.refusal(
            "no-such-interface",
            f"{self.gateway.host} has no interface {name}",
            f"Correct `{key}`.",
            (link.name for link in self.gateway.links),
        )


def devices_of(routes: Iterable[Route]) -> set[str]:
    """Every interface that the routes may leave by; blackholes and the like have none."""
    usable = [route for route in routes if route.type == "unicast"]
    single = {route.device for route in usable if route.device}
    return single | {hop.device for route in usable for hop in route.hops}


def addresses_of(facts: Facts, family: Family) -> list[str]:
    return [
        f"{facts.host} {link.name} {item.address}/{item.prefix}"
        for link in facts.links
        for item in link.of(family)
    ]
