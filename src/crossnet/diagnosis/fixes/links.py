"""Interfaces, addresses and what neighbours know of each other."""

from __future__ import annotations

from collections.abc import Mapping

from crossnet.diagnosis.fixes.case import APPLY, Case, Remedying
from crossnet.values import contains, show_network
from crossnet.verdict import Fix


def _link(case: Case) -> tuple[Fix, ...]:
    remedy = case.cause.remedy
    link = case.here.link(remedy.device or case.cause.interface or "")
    if link is None or "UP" in link.flags:
        return ()  # a cable, or a port of a switch
    up = f"ip link set {link.name} up"
    if remedy.destination is None or remedy.next_hop is None:
        return case.fix(up)
    route = (
        f"{case.ip} route replace {show_network(remedy.destination)} via {remedy.next_hop} dev {link.name}"
    )
    return case.fix(up, route)


def _address(case: Case) -> tuple[Fix, ...]:
    remedy = case.cause.remedy
    if remedy.address is None or remedy.device is None:
        return ()
    add = f"ip addr add {remedy.address}/{remedy.prefix} dev {remedy.device}"
    # In this order: who comes by that address keeps it.
    drop = f"ip addr del {remedy.wrong} dev {remedy.device}" if remedy.wrong else None
    return case.fix(add, None if remedy.address == case.here.reached_at else drop)


def _own_address(case: Case) -> tuple[Fix, ...]:
    """An address that stands there alone is taken away; one with a network is perhaps how the host is reached."""
    remedy = case.cause.remedy
    if remedy.destination is not None:
        reached = case.here.reached_at
        own = reached is not None and contains(remedy.destination, reached)
        return () if own else case.fix(f"{case.ip} route del {remedy.wrong}")
    if remedy.address is None or remedy.device is None or remedy.address == case.here.reached_at:
        return ()
    if remedy.prefix != remedy.address.max_prefixlen and remedy.device != "lo":
        return ()
    return case.fix(f"ip addr del {remedy.address}/{remedy.prefix} dev {remedy.device}")


def _martian(case: Case) -> tuple[Fix, ...]:
    """The client's address is to be on the client alone."""
    source = case.course.source
    owner = case.here.owner_of(source) if source is not None and not case.is_client else None
    if owner is None or source == case.here.reached_at:
        return ()
    own = next(item for item in (*owner.addresses, *owner.narrow) if item.address == source)
    return case.fix(f"ip addr del {own.address}/{own.prefix} dev {owner.name}")


def _neighbour(case: Case) -> tuple[Fix, ...]:
    remedy = case.cause.remedy
    if remedy.address is None or remedy.device is None:
        return case.fix(f"ip link set {remedy.device} arp on") if remedy.wrong == "NOARP" else ()
    if case.cause.code == "duplicate-address" and remedy.hardware:
        words = f"{case.ip} neigh replace {remedy.address} lladdr {remedy.hardware} nud reachable dev {remedy.device}"
        return case.fix(words)
    return case.fix(f"{case.ip} neigh del {remedy.address} dev {remedy.device}")


def _question(case: Case) -> tuple[Fix, ...]:
    """Questions for one address, and the answers to them, are let through ahead of rules on ARP."""
    chain, wanted = case.cause.chain, case.cause.remedy.address
    if chain is None or chain.family != "arp" or wanted is None:
        return ()
    is_question = (chain.hook == "output") == (case.cause.code == "next-hop-unresolved")
    words = f"arp {'daddr' if is_question else 'saddr'} ip {wanted} accept"
    return case.fix(f"nft insert rule arp {chain.table} {chain.chain} {words}")


def _arp(case: Case) -> tuple[Fix, ...]:
    if case.cause.chain is not None:
        return _question(case)
    interface = case.cause.interface or "all"
    settings = case.here.sysctls
    link = case.here.link(interface)
    return case.fix(
        f"ip link set {interface} arp on" if link is not None and "NOARP" in link.flags else None,
        *(
            f"sysctl -w {case.setting(each, key)}=0"
            for key in ("arp_ignore", "arp_filter")
            for each in dict.fromkeys(("all", interface))
            if settings.get(f"net.ipv4.conf.{each}.{key}", "0") != "0"
        ),
    )


def _next_hop(case: Case) -> tuple[Fix, ...]:
    """It comes by itself where it moves; where it does not, the spec has to name one that is there."""
    remedy, crossing = case.cause.remedy, case.course.crossing
    link = case.here.link(remedy.device or "")
    near = link.on_link(remedy.address) if link is not None and remedy.address is not None else None
    if near is None or crossing is None or crossing.next_hop != remedy.address:
        return ()
    other = f"`next-hop: {near.address}` in the crossing, then `{APPLY}`"
    return case.fix(by_crossnet=f"where {remedy.address} is not to come back to {case.here.host}: {other}")


FIXES: Mapping[str, Remedying] = {
    "link-down": _link,
    **dict.fromkeys(("address-missing", "prefix-mismatch"), _address),
    "destination-is-local": _own_address,
    "martian-source": _martian,
    **dict.fromkeys(("wrong-destination-mac", "duplicate-address"), _neighbour),
    "arp-not-answered": _arp,
    "next-hop-elsewhere": _next_hop,
    "next-hop-unresolved": _question,
}
