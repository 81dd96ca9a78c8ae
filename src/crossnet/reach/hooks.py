"""The hooks of one host's kernel: at each, what is entered there in the order of priority.

`netdev` chains and programs of XDP and tc see frames at one device; `bridge` chains those that a bridge takes, and
under br_netfilter so do the chains of IP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from crossnet.facts import Facts
from crossnet.facts.sysctls import TRACKED
from crossnet.netfilter.foreign import Chain, Field, Table, Tool
from crossnet.reach.blockers import Blockers
from crossnet.reach.here import Answer, Here
from crossnet.reach.matching import OfHost
from crossnet.reach.order import Step, by_priority, entered
from crossnet.reach.packets import NEW, Packets, Space
from crossnet.reach.rules import IP, NAT_PRIORITY, Walk
from crossnet.reach.tracking import Tracking
from crossnet.values import Family

# Before, the kernel tracks all packets where something could translate them.
_TRACKS_WHEN_ASKED = (4, 10)

_DEFRAGMENT, _CONNTRACK = -400, -200  # NF_IP_PRI_*
# Where br_netfilter calls the chains of IP: NF_BR_PRI_BRNF, and NF_BR_PRI_LAST behind the bridge's own postrouting.
_BRIDGED = {"prerouting": 0, "forward": 0, "postrouting": 1 << 31}


class Hooks:
    """Every hook of one host; `flows` is what it remembers of requests, where answers come to it."""

    def __init__(self, facts: Facts, space: Space, local: OfHost, flows: Packets | None) -> None:
        self.facts, self.space = facts, space
        self.walk = Walk(space, facts.firewall.foreign, local)
        self.tracking = Tracking(
            space,
            self.walk.tables,
            flows,
            counted=facts.sysctls.get(TRACKED, ""),
            always=facts.capabilities.kernel < _TRACKS_WHEN_ASKED,
        )
        self.blockers = Blockers(facts.host, space, self.tracking.first)
        self._decided = 0

    def ip(self, hook: str, here: Here, interface: str) -> Here:
        """The chains of IPv4 and IPv6, connection tracking and translation among them."""
        steps = self._chains(self.walk.base_chains(hook, IP))
        if hook in ("prerouting", "output"):
            steps.append(Step(_DEFRAGMENT, "defragmentation", self.tracking.defragmented, changes=True))
            tracked = partial(self._tracked, interface)
            steps.append(Step(_CONNTRACK, "connection tracking", tracked, changes=True))
        if hook in NAT_PRIORITY:
            steps.append(Step(NAT_PRIORITY[hook], "translation", partial(self._nat, hook), changes=True))
        return self._entered(steps, here, hook, interface)

    def chains(self, hook: str, here: Here, interface: str) -> Here:
        """Only the chains that filter: for what connection tracking has seen at this hook already."""
        return self._entered(self._chains(self.walk.base_chains(hook, IP)), here, hook, interface)

    def device(self, hook: str, here: Here, name: str) -> Here:
        """What stands at a device: `ingress` before everything else, `egress` behind it (Linux 5.16)."""
        here = self._programs(hook, here, name) if hook == "ingress" else here
        for chain in self.walk.base_chains(hook, ("netdev", "inet")):
            devices = chain[2].hook.devices if chain[2].hook else ()
            if name in devices or not devices:
                # Some versions of nft do not tell the devices: then it is perhaps another one.
                seen = here if devices else Here(here.may, here.fixed, self.space.none)
                went = self._entered(self._chains([chain]), seen, hook, name)
                here = went if devices else here.joined(went)
        return here if hook == "ingress" else self._programs(hook, here, name)

    def bridge(
        self, hook: str, here: Here, port: str, bridge: str, inner: Callable[[Here], Here] | None = None
    ) -> Here:
        """The chains of a bridge; `inner` is what br_netfilter does there with what it takes up to IP."""
        steps = self._chains(self.walk.base_chains(hook, ("bridge",)))
        if inner is not None:
            filtered = [family for family in Family if bridge in self.facts.bridges_filtered(family)]
            taken = self.space.any_of(map(self.space.family, filtered))

            def up(here: Here) -> Here:
                part = here.passing(Answer.sure(taken))
                return here.failing(Answer.sure(taken)).joined(inner(part)) if part else here

            steps.append(Step(_BRIDGED[hook], "br_netfilter", up, changes=True))
        return self._entered(steps, here, f"bridge {hook}", port)

    def _chains(self, chains: Iterable[tuple[int, Table, Chain]]) -> list[Step]:
        return [
            Step(priority, _maker(table), partial(self.walk.enter, table, chain))
            for priority, table, chain in chains
        ]

    def _entered(self, steps: list[Step], here: Here, hook: str, interface: str) -> Here:
        for together in by_priority(steps):
            if not here:
                break
            here = entered(self.walk, together, here, hook)
            decided = self.walk.decisions[self._decided :]
            self.blockers.decided(decided, hook, interface, answers=self.tracking.flows is not None)
            self._decided = len(self.walk.decisions)
        return here

    def _programs(self, hook: str, here: Here, name: str) -> Here:
        """Programs of XDP and tc: nobody knows from facts what they let pass."""
        for words in self.facts.programs(name, hook):
            here = self.blockers.perhaps("tc-or-xdp-drop", words, here, name, hook)
        return here

    def _tracked(self, interface: str, here: Here) -> Here:
        here = self.tracking.seen(here)
        full = self.tracking.full(self.facts.sysctls)
        if not full:
            return here
        # An entry that nobody has answered makes room for a new one, where there is one (early_drop).
        first = Answer.sure(self.space.state(NEW))
        new = self.blockers.perhaps("conntrack-table-full", full, here.passing(first), interface, "conntrack")
        return here.failing(first).joined(new)

    def _nat(self, hook: str, here: Here) -> Here:
        space = self.space
        new = Answer.sure(space.state(NEW) & space.value(Field.CT_DIRECTION, 0))
        first, others = here.passing(new), here.failing(new)
        chains = self.walk.base_chains(hook, IP, nat=True)
        for family in Family if chains else ():
            of = Answer.sure(space.family(family))
            part = first.passing(of)
            # What connection tracking does not see is not translated, and does not enter these chains.
            if not part or (sees := self.tracking.sees(family)) is False:
                continue
            if sees is None:
                self.walk.doubts["whether the kernel tracks connections here"] = None
                part = part.either(self._translated(hook, chains, part.perhaps()))
            else:
                part = self._translated(hook, chains, part)
            first = first.failing(of).joined(part)
        return first.joined(self.tracking.given_back(hook, others))

    def _translated(self, hook: str, chains: Iterable[tuple[int, Table, Chain]], here: Here) -> Here:
        steps = [
            Step(priority, _maker(table), partial(self.walk.translate, table, chain))
            for priority, table, chain in chains
        ]
        for together in by_priority(steps):
            here = entered(self.walk, together, here, f"the translation at {hook}")
        return here


def _maker(table: Table) -> str:
    """Whose list has the table in the order in which it was made: iptables-nft's tables are in that of nft."""
    return str(Tool.IPTABLES_LEGACY if table.tool is Tool.IPTABLES_LEGACY else Tool.NFT)
