"""One way that clients have over a gateway."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from crossnet.adoption.taking import Between
from crossnet.diagnosis.translating import Translating
from crossnet.spec import Translate
from crossnet.values import Address, Family, Network, Traffic, family_of


@dataclass(frozen=True, slots=True)
class Way:
    """What clients reach over a gateway, by which of its interfaces, and as whom; all of one family.

    `rules` are those of the gateway that translate it. `allow` is None where all traffic passes.
    """

    clients: tuple[str, ...]
    sources: tuple[Address, ...]  # in the order of the clients
    gateway: str
    next_hop: Address
    ingress: str
    egress: str
    to: tuple[Network, ...]
    allow: tuple[Traffic, ...] | None
    translate: Translate
    rules: tuple[Translating, ...] = field(compare=False, repr=False)
    default_routes: tuple[str, ...] = ()  # of clients, where one is the way

    @property
    def family(self) -> Family:
        return family_of(self.next_hop)

    @property
    def between(self) -> Between:
        return Between(self.family, self.sources, self.ingress, self.egress)


def each_once(rules: Iterable[Translating]) -> tuple[Translating, ...]:
    """The same without those that stand there before."""
    return tuple({rule.place: rule for rule in rules}.values())
