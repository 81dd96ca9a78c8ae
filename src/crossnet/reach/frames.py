"""What stands between a wire and IP at one host: devices one upon the other, bridges and their ports."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.netfilter.foreign import Field, Numbers
from crossnet.reach.here import Answer, Here
from crossnet.reach.hooks import Hooks
from crossnet.reach.packets import Packets, Space
from crossnet.reach.tracking import DNAT, fields_of
from crossnet.values import Family

# Interfaces that are made of others: `ip link` names those at the other side, as their master.
_OF_PORTS = frozenset(("bridge", "bond", "team"))


class Frames:
    """Frames of one host, on their way up to IP, down from it, and past it over a bridge."""

    def __init__(self, facts: Facts, space: Space, hooks: Hooks) -> None:
        self.facts, self.space, self.hooks = facts, space, hooks

    def up(self, here: Here, name: str, by: str = "") -> Here:
        """What comes to the hook prerouting of IP, and through it, by an interface; `by` is the port, if known."""
        here = self._up(here, name, by)
        link = self.facts.link(name)
        done = {
            family
            for family in Family
            if link is not None and self._ports(link) and name in self.facts.bridges_filtered(family)
        }
        # What br_netfilter has shown them once, the chains of IP do not see again (ip_sabotage_in).
        rest = Answer.sure(self.space.any_of(self.space.family(each) for each in Family if each not in done))
        coming = here.passing(rest)
        coming = self.hooks.ip("prerouting", coming, name) if coming else coming
        return here.failing(rest).joined(coming)

    def down(self, here: Here, name: str) -> Here:
        """What comes through below an interface of what IP sends by it."""
        came = self._at(here, iif="", oif=name)
        came = self.hooks.device("egress", came, name)
        link = self.facts.link(name)
        lower = self._below(link) if link is not None else []
        if link is None or not lower:
            return came

        def through(each: str) -> Here:
            part = came
            if link.kind == "bridge":
                part = self._at(part, iif="", oif=each)
                part = self.hooks.bridge("output", part, each, name)
                part = self.hooks.bridge("postrouting", part, each, name)
            return self._at(self.down(part, each), iif="", oif=name)

        return self._by_one_of(lower, through)

    def past(self, here: Here, port: str, bridge: str) -> list[tuple[str, Here]]:
        """The ports by which a bridge passes on what comes by one of them, and what it passes on there."""
        space, hooks = self.space, self.hooks
        here = self._up(here, port, "")
        here = hooks.bridge("prerouting", here, port, bridge, self._prerouting(port, bridge))
        here = self._redirected(here, port)
        link = self.facts.link(bridge)
        others = [each for each in (self._ports(link) if link else []) if each != port]
        found = []
        for out in others:
            part = here if len(others) == 1 else self._perhaps(here)
            part = self._at(part, iif=port, oif=out)
            part = hooks.bridge("forward", part, out, bridge, self._inner("forward", port, out, bridge))
            part = self._at(part, iif="", oif=out)
            part = hooks.bridge(
                "postrouting", part, out, bridge, self._inner("postrouting", port, out, bridge)
            )
            of = self.facts.link(out)
            if of is not None and of.mtu < 65535:
                large = space.among((Field.LENGTH,), Numbers(((of.mtu + 1, 65535),)))
                words = f"the MTU of {out} is {of.mtu}"
                part = hooks.blockers.block("mtu-exceeded", words, part, large, out, "bridge")
            found.append((out, self.down(part, out)))
        return found

    # ---- up -----------------------------------------------------------------------------------------

    def _up(self, here: Here, name: str, by: str) -> Here:
        link = self.facts.link(name)
        lower = [by] if by else self._below(link) if link is not None else []

        def through(each: str) -> Here:
            part = self._up(here, each, "")
            if link is not None and link.kind == "bridge":
                inner = self._prerouting(each, name)
                part = self.hooks.bridge("prerouting", part, each, name, inner)
                part = self.hooks.bridge("input", part, each, name)
            return self._at(part, iif=name, oif="")

        here = self._by_one_of(lower, through) if lower else self._taken(here, link)
        return self.hooks.device("ingress", self._at(here, iif=name, oif=""), name)

    def _taken(self, here: Here, link: Link | None) -> Here:
        """Frames that an interface takes from its wire: larger ones than its MTU are for the driver to decide.

        A veth takes four bytes more, for a VLAN's tag, and no larger ones (is_skb_forwardable).
        """
        if link is None or "LOOPBACK" in link.flags or link.mtu > 65535 - 5:
            return here
        space = self.space
        larger = space.among((Field.LENGTH,), Numbers(((link.mtu + 1, 65535),)))
        too_large = space.among((Field.LENGTH,), Numbers(((link.mtu + 5, 65535),)))
        is_veth = link.kind == "veth"
        return self.hooks.blockers.block(
            "mtu-exceeded",
            f"the MTU of {link.name} is {link.mtu}",
            here,
            too_large if is_veth else larger,
            link.name,
            "ingress",
            too_large if is_veth else space.none,
        )

    def _prerouting(self, port: str, bridge: str) -> Callable[[Here], Here]:
        def inner(here: Here) -> Here:
            here = self._at(here, iif=bridge, oif="", phys_in=port)
            here = self.hooks.ip("prerouting", here, bridge)
            return self._at(here, iif=port, oif="")

        return inner

    def _inner(self, hook: str, port: str, out: str, bridge: str) -> Callable[[Here], Here]:
        iif = bridge if hook == "forward" else ""

        def inner(here: Here) -> Here:
            here = self._at(here, iif=iif, oif=bridge, phys_in=port, phys_out=out)
            here = self.hooks.ip(hook, here, bridge)
            return self._at(here, iif=port if hook == "forward" else "", oif=out)

        return inner

    def _redirected(self, here: Here, port: str) -> Here:
        """A bridged frame whose destination was translated goes to the host itself, or elsewhere."""
        space = self.space
        moved = space.one_bit_of(Field.CT_STATUS, DNAT) & space.value(Field.CT_DIRECTION, 0) & space.tracked
        words = "its destination was translated on the bridge"
        part = self.hooks.blockers.perhaps(
            "dnat-captures", words, here.passing(Answer.sure(moved)), port, "bridge prerouting"
        )
        return here.failing(Answer.sure(moved)).joined(part)

    # ---- what lies below ----------------------------------------------------------------------------

    def _ports(self, link: Link) -> list[str]:
        ports = [each for each in self.facts.links if each.master == link.name]
        return [each.name for each in ports if each.up] or [each.name for each in ports]

    def _below(self, link: Link) -> list[str]:
        if link.kind in _OF_PORTS:
            return self._ports(link)
        if link.kind in ("vlan", "macvlan", "macvtap") and self.facts.link(link.parent) is not None:
            return [link.parent]
        return []

    # ---- sets ---------------------------------------------------------------------------------------

    def _at(self, here: Here, *, iif: str, oif: str, phys_in: str = "", phys_out: str = "") -> Here:
        """The same packets there; where they came in as a port's stays known above it."""
        space = self.space

        def moved(packets: Packets) -> Packets:
            packets = space.with_interface(packets, Field.IIF, iif)
            packets = space.with_interface(packets, Field.OIF, oif)
            if phys_in:
                packets = space.with_interface(packets, Field.PHYS_IN, phys_in)
            if phys_out:
                packets = space.with_interface(packets, Field.PHYS_OUT, phys_out)
            return packets

        return here.through(moved)

    def _perhaps(self, here: Here) -> Here:
        return Here(here.may, here.fixed, self.space.none)

    def _unlike(self, names: list[str]) -> list[str]:
        """Of these interfaces one for each sort that something can tell from the others: a host may have hundreds."""
        if len(names) == 1 or self._ports_are_named:
            return names
        walk = self.hooks.walk
        chains = [
            chain.hook.devices
            for hook in ("ingress", "egress")
            for _, _, chain in walk.base_chains(hook, ("netdev", "inet"))
            if chain.hook is not None
        ]
        sorts: dict[object, str] = {}
        for name in names:
            link = self.facts.link(name)
            programs = tuple(self.facts.programs(name, hook) for hook in ("ingress", "egress"))
            at = tuple(number for number, devices in enumerate(chains) if name in devices)
            sorts.setdefault((link.mtu if link else 0, at, bool(programs[0] or programs[1])), name)
        return list(sorts.values())

    @cached_property
    def _ports_are_named(self) -> bool:
        """Whether a rule of a bridge or of br_netfilter can tell one port from another."""
        tables = self.hooks.walk.tables
        return any(table.family == "bridge" for table in tables) or any(
            field in (Field.PHYS_IN, Field.PHYS_OUT)
            for table in tables
            for chain in table.chains.values()
            for rule in chain.rules
            for statement in rule.statements
            for field in fields_of(statement)
        )

    def _by_one_of(self, names: list[str], through: Callable[[str], Here]) -> Here:
        """What comes through by one of these, of which nobody knows which: for certain, what does by each."""
        names = self._unlike(names)
        if len(names) == 1:
            return through(names[0])
        space, blockers = self.space, self.hooks.blockers
        before = len(blockers.found)
        parts = [through(name) for name in names]
        blockers.doubt_since(before)
        self.hooks.walk.chose = True
        every = space.every(space.without(part.surely, Field.PHYS_IN, Field.PHYS_OUT) for part in parts)
        return Here(
            space.any_of(part.may for part in parts),
            space.any_of(part.fixed for part in parts),
            space.any_of(part.surely for part in parts) & every,
        )
