"""The shapes that most faults have: something added, a rule, a setting, an interface that goes down."""

from __future__ import annotations

from dataclasses import replace

from crossnet.lab.faults import scripts
from crossnet.lab.faults.fault import Fault, Step
from crossnet.lab.faults.scene import Plug, Scene

# What is done, and what takes it back.
Pair = tuple[Step, Step]


def added(name: str, what: str, codes: tuple[str, ...], *pairs: Pair) -> Fault:
    """Things that were not there; they are taken away in the opposite order."""
    return Fault(name, what, codes, tuple(do for do, _ in pairs), tuple(back for _, back in reversed(pairs)))


def route(on: Scene, host: str, *words: str) -> Pair:
    return Step(host, (*on.ip, "route", "add", *words)), Step(host, (*on.ip, "route", "del", *words))


def table(name: str, host: str, family: str, chain: str, *rules: str, on_switch: bool = False) -> Pair:
    """A table of nft with one chain: how that begins, and its rules."""
    own = f"{family} lab-{name}"
    text = f"table {own} {{ chain rules {{ {chain} {' '.join(f'{rule};' for rule in rules)} }}; }}"
    # Adding it first makes deleting it right also where it is gone.
    gone = f"add table {own}; delete table {own}"
    return Step(host, ("nft", text), on_switch), Step(host, ("nft", gone), on_switch)


def dropping(
    name: str,
    what: str,
    codes: tuple[str, ...],
    host: str,
    family: str,
    chain: str,
    *rules: str,
    on_switch: bool = False,
) -> Fault:
    """A table of somebody else's firewall that stops something."""
    return added(name, what, codes, table(name, host, family, chain, *rules, on_switch=on_switch))


def setting(
    name: str,
    what: str,
    codes: tuple[str, ...],
    host: str,
    place: str,
    value: str,
    *more: Pair,
    of_crossing: bool = False,
) -> Fault:
    """A sysctl by its path below /proc/sys; `of_crossing` where it is crossnet that sets it."""
    back = Step(host, (*scripts.SET_BACK, place, value, "crossing" if of_crossing else ""))
    return Fault(
        name,
        what,
        codes,
        (*(do for do, _ in more), Step(host, (*scripts.SET, place, value))),
        (back, *(undo for _, undo in reversed(more))),
        (Step(host, (*scripts.SETTING, place)),),
    )


def link_down(name: str, what: str, plug: Plug, *codes: str) -> Fault:
    return Fault(
        name,
        what,
        codes or ("link-down",),
        (Step(plug.host, ("ip", "link", "set", plug.interface, "down")),),
        (
            Step(plug.host, ("ip", "link", "set", plug.interface, "up")),
            Step(plug.host, (*scripts.PUT_BACK, plug.interface)),
        ),
        (Step(plug.host, (*scripts.WHAT_HANGS_ON, plug.interface)),),
    )


def address_missing(name: str, what: str, plug: Plug, *codes: str) -> Fault:
    return Fault(
        name,
        what,
        codes,
        (Step(plug.host, ("ip", "address", "del", str(plug.own), "dev", plug.interface)),),
        (Step(plug.host, (*scripts.PUT_BACK, plug.interface)),),
        (Step(plug.host, (*scripts.WHAT_HANGS_ON, plug.interface)),),
    )


def forgotten(fault: Fault, one: Plug, other: Plug) -> Fault:
    """The same, found by hosts that have not spoken with each other for a while.

    Of both: who answers no question still asks its own of a neighbour it has used, and is known by that.
    Afterwards too, because a question for a neighbour that nobody has answered is only repeated after a second.
    """
    forget = (_forget(other, one), _forget(one, other))
    return replace(fault, breaks=(*fault.breaks, *forget), heals=(*fault.heals, *forget))


def _forget(who: Plug, whom: Plug) -> Step:
    return Step(who.host, ("ip", "neigh", "flush", "to", whom.address, "dev", who.interface))
