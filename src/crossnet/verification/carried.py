"""Which of a spec's crossings carry a flow that somebody wants to try; where none does, which is the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from crossnet.errors import CrossnetError
from crossnet.path import Client, Path
from crossnet.values import Network, Probe, contains, family_of, show_network


class NotCarried(CrossnetError):
    """No crossing carries such a flow: the nearest one, and why it does not."""


def carrying(paths: Sequence[Path], client: str | None, probe: Probe | None) -> tuple[Path, ...]:
    """The paths with nobody but this client in them, and with this probe for theirs; NotCarried where none is left.

    Without a client every one of theirs, without a probe those that they have.
    """
    found = [path for path in paths if not any(_against(path, client, probe))]
    if not found:
        raise _not_carried(paths, client, probe)
    return tuple(_narrowed(path, client, probe) for path in found)


def _narrowed(path: Path, client: str | None, probe: Probe | None) -> Path:
    crossing = replace(path.crossing, probes=(probe,)) if probe is not None else path.crossing
    return replace(path, crossing=crossing, clients=tuple(_senders(path, client)))


def _senders(path: Path, client: str | None) -> Iterator[Client]:
    for one in path.clients:
        if one.host is not None and client in (None, one.host):
            yield one


def _against(path: Path, client: str | None, probe: Probe | None) -> Iterator[str]:
    """Why a path does not carry it, in the words of the spec."""
    crossing = path.crossing
    if not any(_senders(path, client)):
        who = "no managed host" if client is None else f"no {client}"
        yield f"there is {who} in its `from` ({', '.join(map(_shown, crossing.clients))})"
    if probe is None:
        return
    if family_of(probe.destination) is not path.family:
        yield f"its `to` is {path.family.label} ({crossing.shown(path.family)})"
    elif not any(contains(network, probe.destination) for network in path.destinations):
        yield f"{probe.destination} does not lie in its `to` ({crossing.shown(path.family)})"
    if crossing.allow is not None and not any(entry.admits(probe) for entry in crossing.allow):
        yield f"its `allow` is {', '.join(map(str, crossing.allow))}"


def _shown(client: str | Network) -> str:
    return client if isinstance(client, str) else show_network(client)


def _not_carried(paths: Sequence[Path], client: str | None, probe: Probe | None) -> NotCarried:
    what = f" {probe}" if probe is not None else ""
    whose = f" from {client}" if client is not None else ""
    said = f"no crossing carries{what or ' anything'}{whose}"
    if not paths:
        return NotCarried(f"{said}: the spec has none\n  `crossnet plan` shows what the spec means.")
    nearest = min(paths, key=lambda path: len(list(_against(path, client, probe))))
    why = "; ".join(_against(nearest, client, probe))
    return NotCarried(f"{said}\n  Nearest is {nearest.crossing.name}: {why}.")
