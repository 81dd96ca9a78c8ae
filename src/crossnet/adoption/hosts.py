"""Hosts in words of a command line: what `ssh` takes, or `local`, `netns:NAME`, `lab:NAME`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from crossnet.errors import CrossnetError
from crossnet.spec import HOST_NAME, HostSpec
from crossnet.values import as_root, without_password


def hosts_of(
    clients: Sequence[str], gateways: Sequence[str], *, become: bool
) -> tuple[tuple[HostSpec, ...], tuple[HostSpec, ...]]:
    """The clients and the gateways, each with a name as a spec has it; CrossnetError where one cannot be meant."""
    made: dict[str, HostSpec] = {}
    for role, words in (("client", clients), ("gateway", gateways)):
        for word in words:
            if word not in made:
                made[word] = _host(word, role, {host.name for host in made.values()}, become)
    if both := [word for word in clients if word in gateways]:
        raise CrossnetError(f"{both[0]} cannot be a client and its own gateway")
    return tuple(made[word] for word in dict.fromkeys(clients)), tuple(
        made[word] for word in dict.fromkeys(gateways)
    )


def _host(word: str, role: str, taken: Collection[str], become: bool) -> HostSpec:
    try:
        without_password(word)
    except ValueError as error:
        raise CrossnetError(str(error)) from None
    way, _, place = word.partition(":")
    if word == "local":
        return HostSpec(_free("local", role, taken), local=True, become=become)
    if way == "netns" and place:
        return HostSpec(_free(place, role, taken), netns=place, become=become)
    if way == "lab" and place:
        return HostSpec(_free(place.rpartition("/")[2], role, taken), lab=place)
    return HostSpec(_free(_machine(word), role, taken), ssh=word, become=become and not as_root(word))


def _machine(word: str) -> str:
    """`web` of `web`, `ops@web` and `ssh://ops@web:22`."""
    if not word.startswith("ssh://"):
        return word.rpartition("@")[2]
    try:
        return urlsplit(word).hostname or ""
    except ValueError:
        return ""


def _free(own: str, role: str, taken: Collection[str]) -> str:
    name = own if re.fullmatch(HOST_NAME, own) else role
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)
