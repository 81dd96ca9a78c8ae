"""Who else keeps rules, routes and interfaces of a host: docker, ufw, kubernetes …, and what shows it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from crossnet.facts.links import Link
from crossnet.facts.policy import PolicyRule
from crossnet.netfilter.foreign import Table
from crossnet.several import few


@dataclass(frozen=True, slots=True)
class Manager:
    """A program that changes the network of a host by itself, and what was seen of it, each in words."""

    name: str
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.evidence)}"


@dataclass(frozen=True, slots=True)
class _Traces:
    """What a program leaves where it works: patterns of whole names, and the systemd units that it runs as."""

    links: str = ""
    bridges: bool = False  # whether those links are bridges and nothing else
    kind: str = ""  # of links that are its own whatever their names
    chains: str = ""
    tables: str = ""  # of nftables
    units: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()  # of /etc/init.d, where it leaves no trace when it is done
    priorities: range = range(0)  # of its policy rules, together with
    lookups: str = ""  # the tables that they look up, or
    marks: tuple[int, int] | None = None  # the mark and the mask that they ask


# Names as the programs and the rules that were seen of them have them.
_TRACES = {
    "docker": _Traces(
        links=r"docker0|br-[0-9a-f]{12}|docker_gwbridge",
        bridges=True,
        chains=r"DOCKER(-.+)?",
        tables=r"docker-bridges",
        units=("docker",),
    ),
    "firewalld": _Traces(
        chains=r"(INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING)_(direct|(IN_|OUT_)?ZONES)",
        tables=r"firewalld(_policy_drop)?",
        units=("firewalld",),
    ),
    "ufw": _Traces(chains=r"ufw6?-.+"),  # its unit ends well whether it is enabled or not
    # Of each interface's address lists, and a chain in which it tries what the kernel has (shorewall 5.2.8).
    "shorewall": _Traces(chains=r"sha-[lr]h-[0-9a-f]+|shorewall", units=("shorewall", "shorewall6")),
    # What loads rules from a file leaves no trace in them.
    "netfilter-persistent": _Traces(units=("netfilter-persistent",), scripts=("netfilter-persistent",)),
    "iptables-services": _Traces(units=("iptables", "ip6tables")),
    "nftables.service": _Traces(units=("nftables",)),
    "libvirt": _Traces(
        links=r"virbr[0-9]+",
        bridges=True,
        chains=r"LIBVIRT_.+",
        tables=r"libvirt_network",
        units=("libvirtd", "virtnetworkd"),
    ),
    "kubernetes": _Traces(
        links=r"cni0|flannel[.-].+|cali[0-9a-f]{11}|vxlan\.calico|kube-(ipvs0|bridge)|cilium_.+",
        chains=r"KUBE-.+|cali-.+|FLANNEL-.+|CILIUM_.+",
        tables=r"kube-proxy|calico|flannel-ipv[46]",
        units=("kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent"),
    ),
    # router_linux.go of tailscale: rules from 5210 to 5270; the last looks up table 52, the others ask its mark.
    "tailscale": _Traces(
        links=r"tailscale[0-9]+",
        chains=r"ts-.+",
        units=("tailscaled",),
        priorities=range(5210, 5271),
        lookups="52",
        marks=(0x80000, 0xFF0000),
    ),
    # wg-quick(8); without the kernel's module the interface is a tun.
    "wireguard": _Traces(links=r"wg[0-9]+", kind="wireguard", tables=r"wg-quick-.+"),
}

SERVICES = tuple(f"{unit}.service" for traces in _TRACES.values() for unit in traces.units)

_MOST = 3  # names of one kind in one piece of evidence


def managers_of(
    links: Iterable[Link],
    rules: Iterable[PolicyRule],
    tables: Iterable[Table],
    units: Mapping[str, bool] | None = None,
    started: Collection[str] = (),
) -> tuple[Manager, ...]:
    """The managers of which the facts of a host show anything; `units` says which units run.

    `started` are the scripts of /etc/init.d that are started at boot.

    A rule or a table that stands there without its program counts too: it still acts.
    """
    links, rules, tables = tuple(links), tuple(rules), tuple(tables)
    found = []
    for name, traces in _TRACES.items():
        evidence = (
            *_listed("interface", _links(traces, links)),
            *_tables(traces, tables),
            *(f"policy rule {rule}" for rule in rules if _is_rule_of(traces, rule)),
            *_listed("unit", (unit for unit in traces.units if (units or {}).get(f"{unit}.service"))),
            *_listed("init script", (script for script in traces.scripts if script in started)),
        )
        if evidence:
            found.append(Manager(name, evidence))
    return tuple(found)


def manager_of(link: Link) -> str:
    """Whose an interface is, as its name and kind tell; nothing where they do not."""
    return next((name for name, traces in _TRACES.items() if any(_links(traces, (link,)))), "")


def _links(traces: _Traces, links: Iterable[Link]) -> Iterator[str]:
    for link in links:
        is_its_kind = not traces.bridges or link.kind in ("", "bridge")  # busybox tells no kind
        is_so_called = is_its_kind and _is_named(traces.links, link.name)
        if is_so_called or (traces.kind and link.kind == traces.kind):
            yield link.name


def _tables(traces: _Traces, tables: Iterable[Table]) -> Iterator[str]:
    for table in tables:
        if _is_named(traces.tables, table.name):
            yield f"table {table.family} {table.name}"
            continue
        chains = [name for name in table.chains if _is_named(traces.chains, name)]
        yield from (f"{said} of table {table.family} {table.name}" for said in _listed("chain", chains))


def _is_named(pattern: str, name: str) -> bool:
    """Rules that no tool lists stand in a table without a name, which is nobody's."""
    return bool(name) and re.fullmatch(pattern, name) is not None


def _is_rule_of(traces: _Traces, rule: PolicyRule) -> bool:
    if rule.priority not in traces.priorities:
        return False
    return rule.table == traces.lookups or (rule.mark, rule.mark_mask) == traces.marks


def _listed(what: str, names: Iterable[str]) -> Iterator[str]:
    """`chain A`, `chains A, B`, `chains A, B, C and 9 more`; nothing where there is none."""
    every = tuple(names)
    if every:
        yield f"{what}{'s' if len(every) > 1 else ''} {few(every, _MOST, ', ')}"
