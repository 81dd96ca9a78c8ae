"""Routes where wicked looks for them: a line each in `/etc/sysconfig/network/ifroute-eth0`, of both families.

ifroute(5), and wicked's reader (client/suse/compat-suse.c): destination, gateway, netmask, interface, and behind these
what `ip route add` takes. It leaves out a line that it does not understand; but a backslash that is not the last of its
line makes the whole file one that is not read, and a NUL joins a line and the next.
"""

from __future__ import annotations

import re

from crossnet.facts import Facts
from crossnet.facts.owners import Owner
from crossnet.facts.routes import Route
from crossnet.persistence.needs import Needs, Unfit, file_of_others
from crossnet.resources import Lines, Resource

FOLDER = "/etc/sysconfig/network"
PROTOCOL = "boot"  # what a route is that does not say by whom it is

_NOT_READ = re.compile(rb"\\[^\r\n]|\0")


def files(owner: Owner) -> tuple[str, ...]:
    """The file beside its ifcfg file."""
    return (f"{FOLDER}/ifroute-{owner.suffix}",)


def keep(needs: Needs, facts: Facts) -> tuple[Lines, ...]:
    """The lines for its routes; Unfit where wicked would not read them."""
    (path,) = files(needs.owner)
    data = file_of_others(facts, path)
    if _NOT_READ.search(data):
        raise Unfit(f"{path} has a backslash or a NUL within a line, and wicked does not read it")
    return (Lines(path, "".join(f"{_line(route)}\n" for route in needs.routes).encode()),)


def has_route(written: Resource, route: Route) -> bool:
    """Whether it is crossnet's lines there, with this very route."""
    if not isinstance(written, Lines) or not written.path.startswith(f"{FOLDER}/"):
        return False
    return _line(route).encode() in written.entry.splitlines()


def _line(route: Route) -> str:
    words = [str(route.destination), str(route.via or "-"), "-", str(route.device)]
    words += ["src", str(route.source)] if route.source else []
    words += ["metric", str(route.metric)] if route.metric else []
    return " ".join(words)
