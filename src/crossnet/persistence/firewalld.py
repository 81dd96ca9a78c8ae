"""firewalld's own file of crossnet's policy, which it reads when it starts and when it is reloaded."""

from __future__ import annotations

from collections.abc import Iterable

from crossnet.facts.firewalld import POLICY_FILE
from crossnet.resources import File, FirewalldPolicy, Resource


def policy_files(live: Iterable[Resource], whose: str) -> tuple[File, ...]:
    """The file of the policy that is among these; `whose` is what its first line says of who wrote it.

    firewalld reads it when it starts, before crossnet's own rules are there: what it lets pass then, forwarding and the
    fence decide about.
    """
    comment = whose.replace("--", "- -")  # no comment of XML may hold it
    return tuple(
        File(POLICY_FILE, f"<!-- {comment} -->\n{each.xml}".encode())
        for each in live
        if isinstance(each, FirewalldPolicy)
    )
