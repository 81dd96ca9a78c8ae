"""A cause, with what its fix has to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crossnet.diagnosis.course import Course
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.facts import Facts
from crossnet.netfilter import Engine
from crossnet.reach.rules import Place as Chain
from crossnet.values import Address, Family, Network, Probe, contains, family_of
from crossnet.verdict import Fix

# What puts everything that is crossnet's own as its spec wants it.
APPLY = "crossnet apply"


class Case:
    """A cause with what its fix has to know."""

    def __init__(
        self,
        cause: Finding,
        course: Course,
        probe: Probe,
        facts: Mapping[str, Facts],
        source: Address | None,
    ) -> None:
        self.cause, self.course, self.probe, self.facts, self.source = cause, course, probe, facts, source
        self.here = facts[cause.host]
        self.family = family_of(probe.destination)
        self.ip = "ip" if self.family is Family.V4 else "ip -6"
        self.version = "4" if self.family is Family.V4 else "6"

    def fix(
        self,
        *commands: str | None,
        by_crossnet: str | None = None,
        host: str | None = None,
        warning: str = "",
    ) -> tuple[Fix, ...]:
        said = tuple(command for command in commands if command)
        return (Fix(host or self.cause.host, said, by_crossnet, warning),) if said or by_crossnet else ()

    def setting(self, interface: str, key: str) -> str:
        family = "ipv4" if self.family is Family.V4 else "ipv6"
        return (
            f"net/{family}/conf/{interface}/{key}"
            if "." in interface
            else f"net.{family}.conf.{interface}.{key}"
        )

    def is_management(self, network: Network) -> bool:
        """Whether crossnet itself comes from there: what leads packets there is not for a line to be pasted."""
        known = (self.here.controller, self.here.reached_at)
        return any(each is not None and contains(network, each) for each in known)

    @property
    def is_client(self) -> bool:
        return self.cause.host == self.course.client.host

    @property
    def ends(self) -> tuple[str | None, str]:
        """Source and destination as the cause's host sees them, in its direction."""
        source, destination = self.cause.ends
        if source is not None and destination is not None:
            own = self.is_client and self.cause.direction is Direction.FORWARD
            return None if own else str(source), str(destination)
        client = self.course.source
        seen = client
        if self.course.target is not None and self.cause.host == self.course.target.host:
            seen = self.source or client
        forward = str(seen) if seen is not None else None
        if self.cause.direction is Direction.FORWARD:
            return (None if self.is_client else forward), str(self.probe.destination)
        return str(self.probe.destination), forward or ""

    def iptables(self, engine: Engine, chain: Chain) -> str:
        family = Family.V6 if chain.family == "ip6" else Family.V4
        if engine is Engine.IPTABLES_LEGACY:
            return self.here.iptables(engine, family)
        plain = "iptables" if family is Family.V4 else "ip6tables"
        return plain if self.here.capabilities.iptables_is_nft else self.here.iptables(engine, family)


# What makes the fix of a cause.
Remedying = Callable[[Case], tuple[Fix, ...]]
