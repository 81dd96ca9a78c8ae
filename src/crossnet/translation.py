"""What happens to the source address of packets on a gateway: one type for each way, and each says its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from crossnet.values import Address, Network, contains


@dataclass(frozen=True, slots=True)
class Snat:
    """Each destination sees the address of the gateway that is chosen for it."""

    word: ClassVar[str] = "snat"
    sources: tuple[tuple[Network, Address], ...]

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Those that the destinations see, each once."""
        return tuple(dict.fromkeys(source for _, source in self.sources))

    def seen_by(self, destination: Address) -> Address | None:
        """The source that a destination sees; None where it depends on the moment, or on the client."""
        return next((source for network, source in self.sources if contains(network, destination)), None)

    def shown(self, _egress: str) -> str:
        return ", ".join(sorted(map(str, self.addresses)))


@dataclass(frozen=True, slots=True)
class Masquerade:
    """The destinations see whatever address the egress has when a flow begins."""

    word: ClassVar[str] = "masquerade"
    addresses: ClassVar[tuple[Address, ...]] = ()

    def seen_by(self, _destination: Address) -> Address | None:
        return None

    def shown(self, egress: str) -> str:
        return f"the address of {egress}"


@dataclass(frozen=True, slots=True)
class Untranslated:
    """The destinations see the clients' own addresses, and need a way back to them."""

    word: ClassVar[str] = "none"
    addresses: ClassVar[tuple[Address, ...]] = ()

    def seen_by(self, _destination: Address) -> Address | None:
        return None

    def shown(self, _egress: str) -> str:
        return "unchanged"


Translation = Snat | Masquerade | Untranslated
