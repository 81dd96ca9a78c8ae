"""Policy rules of both families: which routing table a packet is looked up in."""

from __future__ import annotations

from dataclasses import dataclass

from crossnet.values import Family, Network, Ports


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One `ip rule`; a packet that matches every selector is looked up, or ends, as `action` says.

    `action` is lookup, goto, nop, blackhole, unreachable or prohibit. A selector that is not set matches all
    packets; `negated` turns the whole of them. Lookups that find nothing, or only what `suppress_prefix` and
    `suppress_group` pass over, go on with the next rule. `unknown` are words that crossnet does not know: whether
    the rule matches cannot be said then. (ip-rule(8), net/core/fib_rules.c)
    """

    family: Family
    priority: int
    action: str = "lookup"
    table: str = ""  # of a lookup; as `ip` prints it, a name or a number
    target: int | None = None  # the priority that a goto goes on with
    negated: bool = False
    source: Network | None = None
    destination: Network | None = None
    iif: str = ""
    oif: str = ""
    mark: int = 0
    mark_mask: int = 0  # 0: the mark is not asked
    tos: int = 0
    protocol: str = ""  # of the transport: ip-rule's ipproto
    source_ports: Ports | None = None
    destination_ports: Ports | None = None
    users: tuple[int, int] | None = None
    tunnel: int | None = None
    l3mdev: bool = False  # the table is that of the interface's VRF
    suppress_prefix: int | None = None
    suppress_group: str = ""
    realm: str = ""
    origin: str = ""  # ip-rule's proto, who made it; nothing where the host's `ip` does not print it
    unknown: str = ""

    def __str__(self) -> str:
        words = [f"{self.priority}:", *(["not"] if self.negated else [])]
        words += ["from", str(self.source) if self.source else "all"]
        words += ["to", str(self.destination)] if self.destination else []
        words += ["tos", hex(self.tos)] if self.tos else []
        if self.mark_mask:
            mask = "" if self.mark_mask == 0xFFFFFFFF else f"/{self.mark_mask:#x}"
            words += ["fwmark", f"{self.mark:#x}{mask}"]
        words += ["iif", self.iif] if self.iif else []
        words += ["oif", self.oif] if self.oif else []
        words += ["ipproto", self.protocol] if self.protocol else []
        words += ["sport", str(self.source_ports)] if self.source_ports else []
        words += ["dport", str(self.destination_ports)] if self.destination_ports else []
        words += ["uidrange", "{}-{}".format(*self.users)] if self.users else []
        words += [self.unknown] if self.unknown else []
        match self.action:
            case "lookup":
                words += ["lookup", "[l3mdev-table]" if self.l3mdev else self.table]
            case "goto":
                words += ["goto", str(self.target)]
            case action:
                words.append(action)
        words += (
            ["suppress_prefixlength", str(self.suppress_prefix)] if self.suppress_prefix is not None else []
        )
        words += ["suppress_ifgroup", self.suppress_group] if self.suppress_group else []
        return " ".join(words)
