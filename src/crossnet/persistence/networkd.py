"""Routes in a drop-in beside the file from which systemd-networkd has an interface: that file itself stays untouched.

systemd.network(5): `/etc/systemd/network/NAME.d/*.conf` adds to the file of that name, wherever it stands; so also to
what `netplan generate` writes below /run. Measured with systemd 252.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from crossnet.facts import Facts
from crossnet.facts.owners import Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import MAIN, Route
from crossnet.persistence.needs import Needs, Unfit
from crossnet.resources import File, Resource
from crossnet.several import joined

FOLDER = "/etc/systemd/network"
NAME = "90-crossnet.conf"


def files(owner: Owner) -> tuple[str, ...]:
    """The drop-in."""
    return (f"{FOLDER}/{PurePosixPath(owner.file).name}.d/{NAME}",)


def keep(needs: Needs, facts: Facts, head: str) -> File:
    """The drop-in of an interface; Unfit where others would get the routes with it."""
    file = needs.owner.file
    # networkd would wait on the others for a way to the gateway, and the boot for networkd.
    if others := [
        owner.interface
        for owner in facts.owners.values()
        if owner.file == file and owner.interface != needs.owner.interface
    ]:
        raise Unfit(f"{file} is for {joined(others)} as well")
    (path,) = files(needs.owner)
    sections = [*map(_route, needs.routes), *map(_rule, needs.rules)]
    return File(path, (head + "".join(f"\n{section}" for section in sections)).encode())


def has_route(written: Resource, route: Route) -> bool:
    """Whether it is a drop-in of crossnet's with this very route."""
    return _route(route).encode() in _drop_in(written)


def has_rule(written: Resource, rule: PolicyRule) -> bool:
    """Whether it is a drop-in of crossnet's with this very policy rule."""
    return _rule(rule).encode() in _drop_in(written)


def _drop_in(written: Resource) -> bytes:
    if isinstance(written, File) and fnmatchcase(written.path, f"{FOLDER}/*.d/{NAME}"):
        return written.data
    return b""


def _route(route: Route) -> str:
    return _section(
        "Route",
        ("Destination", route.destination),
        ("Gateway", route.via),
        ("PreferredSource", route.source),
        ("Metric", route.metric or None),
        ("Protocol", route.protocol),
    )


def _rule(rule: PolicyRule) -> str:
    return _section(
        "RoutingPolicyRule",
        ("Priority", rule.priority),
        ("From", rule.source),
        ("To", rule.destination),
        ("IncomingInterface", rule.iif or None),
        ("Table", "254" if rule.table == MAIN else rule.table),
    )


def _section(name: str, *pairs: tuple[str, object]) -> str:
    return "".join(_lines(name, pairs))


def _lines(name: str, pairs: Iterable[tuple[str, object]]) -> Iterable[str]:
    yield f"[{name}]\n"
    yield from (f"{key}={value}\n" for key, value in pairs if value is not None)
