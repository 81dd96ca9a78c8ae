"""Hosts in words of a command line: what `ssh` takes, or `local`, `netns:NAME`, `lab:NAME`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from crossnet.errors import CrossnetError
from crossnet.spec import HostSpec
from crossnet.template import host_of
from crossnet.values import without_password


def hosts_of(
    clients: Sequence[str], gateways: Sequence[str], *, become: bool
) -> tuple[tuple[HostSpec, ...], tuple[HostSpec, ...]]:
    """The clients and the gateways, each with a name as a spec has it; CrossnetError where one cannot be meant."""
    made: dict[str, HostSpec] = {}
    for role, words in (("client", clients), ("gateway", gateways)):
        for word in words:
            if word not in made:
                made[word] = _host(word, role, made.values(), become)
    if both := [word for word in clients if word in gateways]:
        raise CrossnetError(f"{both[0]} cannot be a client and its own gateway")
    return tuple(made[word] for word in dict.fromkeys(clients)), tuple(
        made[word] for word in dict.fromkeys(gateways)
    )


def _host(word: str, role: str, others: Collection[HostSpec], become: bool) -> HostSpec:
    try:
        without_password(word)
    except ValueError as error:
        raise CrossnetError(str(error)) from None
    return host_of(word, role, others, become=become)
