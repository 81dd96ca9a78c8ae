"""What would carry a flow that belongs to no crossing: one of its own."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from crossnet.values import Probe
from crossnet.verdict import Diagnosis, Fix

if TYPE_CHECKING:
    from crossnet.api.diagnosing import Asked
    from crossnet.spec import Spec
    from crossnet.template import Need

# What a route of a crossing's client mends.
_ROUTES = frozenset({"src-no-route", "src-route-other-next-hop", "src-route-on-link"})


def need_of(asked: Asked, spec: Spec | None = None, *, become: bool = False) -> Need | None:
    """A crossing for this flow alone, and for this port where one is named; None where `connect` makes none.

    It makes one over exactly one gateway, of hosts that no spec names.
    """
    from crossnet.template import Need  # what a spec is read with is slow to import

    named = {host.name for host in spec.hosts} if spec is not None else set()
    if asked.client is None or asked.to is None or len(asked.via) != 1 or named & {asked.client, *asked.via}:
        return None
    return Need(
        (_for_ssh(asked.client),),
        asked.via[0],
        (str(asked.to),),
        allow=(f"{asked.protocol}/{asked.port}",) if asked.port is not None else (),
        probe=(str(Probe(asked.protocol, asked.to, asked.port)),),
        become=become,
    )


def _for_ssh(client: str) -> str:
    """A bare address would be a client that nobody manages."""
    try:
        version = ip_address(client).version
    except ValueError:
        return client
    return f"ssh://{client}" if version == 4 else f"ssh://[{client}]"


def offering(verdict: Diagnosis, need: Need | None) -> Diagnosis:
    """The verdict on a flow of no crossing, with the command that makes the one it needs, where that mends it."""
    words = shlex.join(need.connect()) if need is not None else None

    def of(code: str | None, fixes: Iterable[Fix]) -> tuple[Fix, ...]:
        said = (
            replace(each, by_crossnet=words if each.by_crossnet or code in _ROUTES else None)
            for each in fixes
        )
        return tuple(each for each in said if each.commands or each.by_crossnet)

    return replace(
        verdict,
        forward=replace(verdict.forward, fix=of(verdict.forward.code, verdict.forward.fix)),
        reply=replace(verdict.reply, fix=of(verdict.reply.code, verdict.reply.fix)),
        also=tuple(replace(each, fix=of(each.code, each.fix)) for each in verdict.also),
    )
