"""Programs and queues of tc, programs of XDP, and policies of IPsec."""

from __future__ import annotations

import re
from collections.abc import Mapping

from crossnet.diagnosis.fixes.case import Case, Remedying
from crossnet.verdict import Fix

# They are taken away as a whole, whatever else they are for.
_ALL_OF_IT = "all else that this {} stops, or protects, passes as it is then"


def _program(case: Case) -> tuple[Fix, ...]:
    interface = case.cause.interface
    if interface is None:
        return ()
    if "XDP" in case.cause.text:
        off = (f"ip link set dev {interface} {how} off" for how in ("xdp", "xdpgeneric"))
        return case.fix(*off, warning=_ALL_OF_IT.format("program"))
    text = case.cause.text
    queue = re.fullmatch(r"tc qdisc \S+ dev \S+ (root handle [0-9a-f]+:)", text)
    if queue is not None:
        return case.fix(f"tc qdisc del dev {interface} {queue[1]}", warning=_ALL_OF_IT.format("queue"))
    # One of a network plugin is for that to take away; of several nobody can tell which of them it is.
    if any(manager.name in ("kubernetes", "cilium") for manager in case.here.managers):
        return ()
    return case.fix(
        f"tc filter del {text.removeprefix('tc filter ')}" if text.startswith("tc filter ") else None,
        warning=_ALL_OF_IT.format("filter"),
    )


def _ipsec(case: Case) -> tuple[Fix, ...]:
    """A policy is deleted by its whole selector and its direction (ip-xfrm(8))."""
    selector, said, rest = case.cause.text.partition(" dir ")
    if not (said and rest):
        return ()
    return case.fix(
        f"ip xfrm policy delete {selector} dir {rest.split()[0]}", warning=_ALL_OF_IT.format("policy")
    )


FIXES: Mapping[str, Remedying] = {
    "tc-or-xdp-drop": _program,
    "ipsec-policy-drop": _ipsec,
}
