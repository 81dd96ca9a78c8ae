"""Where firewalls of others run what is not theirs after they loaded their rules: there crossnet's come back.

shorewall-extension(5): `started` is run when the firewall was started, restarted or reloaded. netfilter-persistent(8):
it runs its plugins in the order of their names, with `start` also for a reload. Nobody else of those that flush
iptables has such a place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from crossnet.facts import Facts, FileState
from crossnet.netfilter import TABLE_FAMILY
from crossnet.persistence import start
from crossnet.persistence.needs import Unfit, file_of_others
from crossnet.record import Record
from crossnet.resources import File, Lines, Resource, RuleTable
from crossnet.values import Family

STARTED = {Family.V4: "/etc/shorewall/started", Family.V6: "/etc/shorewall6/started"}
PLUGIN = "/usr/share/netfilter-persistent/plugins.d/90-crossnet"

# Whatever becomes of crossnet's rules, theirs are loaded: where crossnet's cannot be, the script closes the gateway.
_RUN = f"[ ! -x {start.SCRIPT} ] || sh {start.SCRIPT} rules || :"
_LINE = f"{_RUN} # its own rules again; `crossnet undo` takes this line out\n"
_PLUGIN = f"""\
#!/bin/sh
{{head}}[ "${{{{1-}}}}" != start ] || {_RUN}
"""

# It is read as one script: nobody comes to what stands behind that.
_ENDS = re.compile(rb"(^|\n)[ \t]*(exit|return)\b[^\n]*(\n[ \t]*(#[^\n]*)?)*\Z")


def keep(
    facts: Facts, record: Record, live: Sequence[Resource], head: str, *, adds: bool = True
) -> Iterator[Resource]:
    """What has these firewalls bring back crossnet's rules of iptables, if there are any; `head` as a first line.

    One that has nothing loaded for the moment keeps what it was given. One that came since gets it with a plan that
    `adds`, and whoever only looks does not miss it: after its unit crossnet's own load them.
    """
    families = {item.family for item in live if isinstance(item, RuleTable) and item.engine.is_iptables}
    given = {owned.applied.key for owned in record.owned}
    for family in sorted(families):
        if why_unfit(facts, family):
            continue
        if STARTED[family] in given or (adds and _has_shorewall(facts, family)):
            yield Lines(STARTED[family], _LINE.encode(), checked_by=("sh", "-n"))
    is_there = any(manager.name == "netfilter-persistent" for manager in facts.managers)
    if families and (PLUGIN in given or (adds and is_there)):
        yield File(PLUGIN, _PLUGIN.format(head=head).encode(), 0o755)


def why_unfit(facts: Facts, family: Family) -> str:
    """Why shorewall's file is left alone, in words that follow `because`; nothing where it is not."""
    path = STARTED[family]
    there = facts.files.get(path)
    is_there = isinstance(there, FileState) and there.target is None and _LINE.encode() in there.data
    if is_there or not _has_shorewall(facts, family):
        return ""
    try:
        data = file_of_others(facts, path)
    except Unfit as unfit:
        return str(unfit)
    return f"{path} ends its script before what would be added" if _ENDS.search(data) else ""


def paths(facts: Facts) -> tuple[str, ...]:
    """The files of others in which a line of crossnet's may come to stand."""
    return tuple(path for family, path in STARTED.items() if _has_shorewall(facts, family))


def _has_shorewall(facts: Facts, family: Family) -> bool:
    """Both of its programs leave a chain of this name, with which they try what the kernel has (5.2.8)."""
    return any(
        table.family == TABLE_FAMILY[family] and "shorewall" in table.chains
        for table in facts.firewall.foreign
    )
