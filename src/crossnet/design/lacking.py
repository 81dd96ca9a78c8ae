"""Tools that a host needs for a plan and does not have, told before anything is tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from crossnet.design.impacts import Impact
from crossnet.facts import Facts
from crossnet.facts.packages import PACKAGES
from crossnet.path import Path
from crossnet.values import Protocol, family_of

# What a transaction runs on every host that it changes (transaction/host.sh).
NEEDED = ("flock", "setsid", "sha256sum", "sync")

# What a probe of each kind is sent with: one of these, all of which have to be there (verification/probe.py).
_SENDERS: Mapping[Protocol, tuple[tuple[str, ...], ...]] = {
    Protocol.ICMP: (("ping",),),
    Protocol.TCP: (("bash", "timeout"), ("nc",)),
    Protocol.UDP: (("bash",), ("nc",)),
}


def lacking_for_a_change(facts: Facts) -> Iterator[Impact]:
    """What no transaction can begin without."""
    if missing := [tool for tool in NEEDED if not facts.capabilities.has(tool)]:
        yield Impact(
            "tool-missing",
            facts.host,
            f"there is no {' and no '.join(missing)} there, without which nothing can be changed: "
            f"install {_packages(missing)}",
        )


def lacking_for_probes(paths: Iterable[Path], facts: Mapping[str, Facts]) -> Iterator[Impact]:
    """What the clients cannot send of what is to prove their crossing."""
    for path in paths:
        named = [each for each in path.crossing.probes if family_of(each.destination) is path.family]
        allow = path.crossing.allow
        echoes = allow is None or any(each.protocol is Protocol.ICMP for each in allow)
        kinds = dict.fromkeys(each.protocol for each in named) if named else [Protocol.ICMP] if echoes else []
        for client in path.clients:
            if client.host is None:
                continue
            for kind in kinds:
                able = facts[client.host].capabilities
                if not any(all(map(able.has, tools)) for tools in _SENDERS[kind]):
                    *_, last = _SENDERS[kind]
                    what = f"a probe of {kind}" if named else "an echo"
                    yield Impact(
                        "tool-missing",
                        client.host,
                        f"there is no {last[0]} there to send {what} with, so nothing proves that crossing "
                        f"{path.crossing.name} works from it: install {_packages(last)}",
                    )


def _packages(tools: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(PACKAGES.get(tool, tool) for tool in tools))
