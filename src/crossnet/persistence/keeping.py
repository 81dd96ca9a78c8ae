"""Which of that which is written for the next boot brings a thing back that is live now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from crossnet.facts.firewalld import POLICY_FILE
from crossnet.facts.owners import Owner
from crossnet.persistence import init_scripts, kept, start
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.resources import (
    File,
    FirewalldPolicy,
    InitScript,
    Jump,
    PolicyRuleResource,
    Resource,
    RouteResource,
    RuleTable,
    Service,
    Sysctl,
)
from crossnet.resources.init_script import script_file
from crossnet.resources.route import keep_words, restore_line
from crossnet.resources.service import unit_file


def keeping(
    live: Resource, written: Collection[Resource], owners: Mapping[str, Owner]
) -> tuple[Resource, ...]:
    """All that it needs to come back, of what was written; nothing where nothing brings it back."""
    files = {each.path: each for each in written if isinstance(each, File)}
    by_owner = [each for each in written if kept.has(each, live)]
    if read := tuple(each for each in by_owner if kept.is_read(each, live, owners)):
        return read
    if isinstance(live, FirewalldPolicy):
        return (files[POLICY_FILE],) if POLICY_FILE in files else ()
    script = files.get(start.SCRIPT)
    loaded = _loaded(live, files)
    if script is None or not loaded:
        return ()
    starting = [each for each in written if _starts(each)]
    return tuple(dict.fromkeys((*loaded, script, *starting)))


def _starts(written: Resource) -> bool:
    """Whether it has the script run at a boot: the file of a unit or an init script, or what enables that."""
    match written:
        case Service():
            return written.unit == start.UNIT
        case InitScript():
            return written.name == init_scripts.SCRIPT
        case _:
            return written.key in (unit_file(start.UNIT), script_file(init_scripts.SCRIPT))


def _loaded(live: Resource, files: Mapping[str, File]) -> Sequence[File]:
    """The files of crossnet's own that have it; the script loads them."""
    match live:
        case RuleTable():
            return [files[path] for path in start.rule_files(live, files)]
        case Sysctl():
            return _with_line(files, SYSCTL_FILE, f"{live.name} = {live.value}")
        case Jump():  # how it waits for the lock of xtables no record tells
            lines = (start.entering(replace(live, waits=waits)) for waits in (False, True))
            return next(filter(None, (_with_line(files, start.SCRIPT, line) for line in lines)), ())
        case PolicyRuleResource():
            return _with_line(files, start.SCRIPT, start.keeping_rule(live.rule))
        case RouteResource():
            own = _with_line(files, start.ROUTES, restore_line(live.route))
            return own or _with_line(files, start.SCRIPT, f"keep_route {keep_words(live.route)}")
        case _:
            return []


def _with_line(files: Mapping[str, File], path: str, line: str) -> Sequence[File]:
    file = files.get(path)
    return [file] if file is not None and line.encode() in map(bytes.strip, file.data.splitlines()) else []
