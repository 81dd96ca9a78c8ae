"""What others do with packets of a crossing, in a user's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from crossnet.design.forwarded import named
from crossnet.design.impacts import Impact
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.iptables_own import is_own_chain
from crossnet.netfilter.own import TABLE

if TYPE_CHECKING:  # sets of packets are slow to import, and not every command asks for them
    from crossnet.reach.blockers import Blocker
    from crossnet.reach.routing import Way
    from crossnet.reach.rules import Place

# What is told of a host, with the rules that do it.
Tell = Callable[[str, str], Impact]


def way_of(way: Way) -> str:
    by = f" (rule {way.rule})" if way.rule and not way.rule.is_usual else ""
    return f"{way}{by}"


def leave(host: str, ways: str) -> Impact:
    return Impact("leaves-elsewhere", host, f"packets of the crossing leave it elsewhere, {ways}")


def keep_from_tracking(host: str, rules: str) -> Impact:
    why = "keep packets of the crossing from connection tracking (notrack), so they are not translated"
    return Impact("not-tracked", host, f"rules that crossnet does not own {why}: {rules}")


def keep_from_fence(host: str, rules: str) -> Impact:
    return Impact(
        "not-tracked",
        host,
        "rules that crossnet does not own keep packets of the crossing from connection tracking (notrack); crossnet's "
        f"own rules cannot recognise answers that are not tracked, and the fence stops them: {rules}",
    )


def put_in_zones(host: str, rules: str) -> Impact:
    return Impact(
        "others-may-drop",
        host,
        "rules that crossnet does not own set a zone of connection tracking; in a zone other than its request's an "
        f"answer is not recognised, and the fence stops it: {rules}",
    )


def translate(host: str, rules: str) -> Impact:
    return Impact(
        "others-translate",
        host,
        f"rules that crossnet does not own translate packets of the crossing: {rules}",
    )


def stop(host: str, rules: str) -> Impact:
    return Impact(
        "others-may-drop",
        host,
        f"rules, routes and settings that crossnet does not own stop packets of the crossing: {rules}",
    )


def may_stop(host: str, rules: str) -> Impact:
    return Impact(
        "others-may-drop",
        host,
        f"rules, routes and settings that crossnet does not own can drop the crossing's packets: {rules}",
    )


def take(host: str, rules: str) -> Impact:
    return Impact(
        "others-translate",
        host,
        "rules that crossnet does not own give packets of the crossing to a program on this host itself, so they do "
        f"not reach the destination: {rules}",
    )


def may_stop_arp(host: str, rules: str) -> Impact:
    return Impact(
        "others-may-drop",
        host,
        f"rules that crossnet does not own can drop ARP, without which no neighbour of the crossing is found: {rules}",
    )


def is_own(place: Place) -> bool:
    return place.table == TABLE or is_own_chain(place.chain)


def rule_of(place: Place, text: str) -> str:
    return f"{_chain(place)}: rule {text}"


def _chain(place: Place) -> str:
    return named(place.tool, place.family, place.table, place.chain)


def told_of(blocker: Blocker) -> str:
    kind = blocker.code.removeprefix("route-")
    if blocker.place is None and blocker.text.startswith(f"{kind} "):
        came = f", for what comes in by {blocker.interface}" if blocker.interface else ""
        words = f"its route {blocker.text}{came}"
    elif blocker.place is None:
        at = f"{blocker.hook} {blocker.interface}".strip()
        words = blocker.text if blocker.text.startswith(f"{at} ") else f"{at}: {blocker.text}"
    elif not blocker.place.table:  # of rules that could not be read nobody knows where they stand
        words = f"{blocker.place.tool}: {blocker.text}"
    elif blocker.code == "filter-policy-drop":
        words = f"{_chain(blocker.place)}: policy {'drop' if blocker.place.tool is Tool.NFT else 'DROP'}"
    else:
        words = rule_of(blocker.place, blocker.text)
    # What stands in the rule is read there; the rest is what earlier rules ask for, or what is not known.
    doubts = [each for each in blocker.doubts if each not in blocker.text]
    return f"{words} ({blocker.code})" + (f", depends on: {', '.join(doubts)}" if doubts else "")
