"""Of which part of a spec anything can be said while some of its hosts do not answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from crossnet.errors import CrossnetError
from crossnet.spec import Spec


def reached(spec: Spec, lost: Collection[str]) -> Spec:
    """The spec without these hosts and the crossings on them; itself where there are none."""
    if not lost:
        return spec
    hosts = tuple(host for host in spec.hosts if host.name not in lost)
    crossings = tuple(one for one in spec.crossings if not any(one.touches(host) for host in lost))
    return replace(spec, hosts=hosts, crossings=crossings, is_whole=False)


def without(spec: Spec, lost: Collection[str]) -> Spec:
    """The same without all that shares a host with such a crossing.

    What is applied on a host is applied for all its crossings together, so no plan for it can be whole.
    """
    gone, left = set(lost), list(spec.crossings)
    while touched := [one for one in left if any(one.touches(host) for host in gone)]:
        left = [one for one in left if one not in touched]
        gone |= {host.name for host in spec.hosts if any(one.touches(host.name) for one in touched)}
    hosts = tuple(host for host in spec.hosts if host.name not in gone)
    return replace(spec, hosts=hosts, crossings=tuple(left), is_whole=False)


def unreached(spec: Spec, crossing: str, errors: Mapping[str, CrossnetError]) -> tuple[str, ...]:
    """Why a crossing cannot be judged: each of its hosts that was not reached, else where such a one stands."""
    (one,) = (one for one in spec.crossings if one.name == crossing)
    own = tuple(str(error) for host, error in errors.items() if one.touches(host))
    return own or (f"not judged: it shares a host with a crossing that also needs {', '.join(errors)}",)
