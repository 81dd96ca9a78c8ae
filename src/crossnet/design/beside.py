"""Who else keeps a firewall on a gateway: what crossnet has there beside it, and what its next reload does to that."""

from __future__ import annotations

from collections.abc import Iterator

from crossnet.design.again import Again
from crossnet.design.engine import Choice
from crossnet.design.impacts import Impact
from crossnet.facts import Facts
from crossnet.netfilter import Engine
from crossnet.persistence import extensions
from crossnet.persistence.extensions import PLUGIN, STARTED
from crossnet.values import Family

# What becomes of accepts in iptables: of those that were tried, as a program or by its rules.
_LEAVES = {
    "docker": "which dockerd leaves when it starts again",
    "ufw": "which ufw leaves when it is reloaded, disabled or enabled",
    "libvirt": "which libvirt leaves; it puts its own before that, for its own networks",
    "kubernetes": "which kube-proxy leaves; it writes its own chains",
    "tailscale": "which tailscaled leaves; it puts its own before that, for its own interface",
}
_TAKES_AWAY = {
    "shorewall": "which shorewall takes away when it loads its rules",
    "netfilter-persistent": "which it takes away when it loads its file",
    "iptables-services": "which it takes away when it loads its file",
}
_ACCEPTS = {**_LEAVES, **_TAKES_AWAY}
_FLUSHES_ALL = {"nftables.service": "which goes when nftables.service flushes all rules"}
# Where they run what is not theirs.
_BROUGHT_BACK = {
    **dict.fromkeys(STARTED.values(), ("shorewall", "a line in /etc/shorewall/started brings it back")),
    PLUGIN: ("netfilter-persistent", "a plugin of crossnet's brings it back"),
}


def beside(facts: Facts) -> str:
    """`, beside docker`, of whoever has rules of iptables there; nothing where nobody is known."""
    names = [manager.name for manager in facts.managers if manager.name in _ACCEPTS]
    return f", beside {', '.join(names)}" if names else ""


def beside_impacts(facts: Facts, choice: Choice, back: Again, *, fenced: bool) -> Iterator[Impact]:
    """A line for each of them; `fenced` is whether a fence goes with what they flush."""
    names = [manager.name for manager in facts.managers]
    if choice.accepts is not None:
        has = "what crosses is accepted first in FORWARD of iptables too"
        for name in names:
            if name in _LEAVES:
                yield _impact(facts, name, f"{has}, {_LEAVES[name]}")
            elif name in _TAKES_AWAY:
                given = (
                    words
                    for path, (whose, words) in _BROUGHT_BACK.items()
                    if path in back.paths
                    if whose == name
                )
                yield _impact(
                    facts, name, f"{has}, {_TAKES_AWAY[name]}; {next(given, '') or _loaded_again(back)}"
                )
    if back.paths and (choice.accepts is not None or choice.engine.is_iptables):
        for family in Family:
            if why := extensions.why_unfit(facts, family):
                no_line = f"crossnet adds no line that brings its rules of iptables back, because {why}"
                yield _impact(facts, "shorewall", no_line)
    if choice.engine is Engine.NFTABLES:
        has = "crossnet has a table of its own"
        for name in names:
            if name in _FLUSHES_ALL:
                is_open = fenced and not back.around_units
                then = ", and the gateway is open for everybody until then" if is_open else ""
                yield _impact(facts, name, f"{has}, {_FLUSHES_ALL[name]}; {_loaded_again(back)}{then}")


def _loaded_again(back: Again) -> str:
    if back.around_units:
        return "after its unit crossnet's units load it again"
    return f"nothing loads it again until {back.until}"


def _impact(facts: Facts, name: str, words: str) -> Impact:
    return Impact("beside-others", facts.host, f"beside {name}: {words}")
