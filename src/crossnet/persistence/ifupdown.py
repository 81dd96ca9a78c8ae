"""Routes that ifup sets with a script of crossnet's own: `/etc/network/if-up.d/crossnet`.

interfaces(5): ifup runs what is executable there once an interface is up, each time. It does not run what has a dot in
its name. No second stanza of an interface: whether one is read depends on the order of the files. The same with
ifupdown-ng, where ADDRFAM is empty (measured with 0.8.41 and 0.11).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from crossnet.facts.routes import Route
from crossnet.persistence.needs import Needs
from crossnet.resources import File, Resource
from crossnet.resources.route import keep_words

PATH = "/etc/network/if-up.d/crossnet"

_TEXT = """\
#!/bin/sh
{head}
# What fails is said, and no more: else ifup takes the interface for one that did not come up.
route() {{ # FAMILY WORDS...
    family=$1
    shift
    ip "$family" route replace "$@" || echo "crossnet: no route to $1" >&2
}}

case ${{IFACE-}} in
{cases}esac
exit 0
"""


def keep(several: Sequence[Needs], head: str) -> tuple[File, ...]:
    """The script, for all interfaces."""
    cases = "".join(_case(needs) for needs in several if needs.routes)
    if not cases:
        return ()
    return (File(PATH, _TEXT.format(head=head, cases=cases).encode(), 0o755),)


def has_route(written: Resource, route: Route) -> bool:
    """Whether it is the script, and sets this very route."""
    if not isinstance(written, File) or written.path != PATH:
        return False
    return _line(route).encode() in written.data.splitlines()


def _line(route: Route) -> str:
    return f"    route {keep_words(route)}"


def _case(needs: Needs) -> str:
    lines = "".join(f"{_line(route)}\n" for route in needs.routes)
    return f"{shlex.quote(needs.owner.interface)})\n{lines}    ;;\n"
