"""Which of that which is written for the next boot brings a thing back that is live now."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from crossnet.facts.firewalld import POLICY_FILE
from crossnet.persistence import init_scripts, start, unit
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.resources import (
    File,
    FirewalldPolicy,
    InitScript,
    Jump,
    Lines,
    PolicyRuleResource,
    ProfileRoute,
    Resource,
    RouteResource,
    RuleTable,
    Service,
    Sysctl,
)
from crossnet.resources.init_script import script_file
from crossnet.resources.route import keep_words, restore_line
from crossnet.resources.service import unit_file


def keeping(live: Resource, written: Collection[Resource]) -> tuple[Resource, ...]:
    """All that it needs to come back, of what was written; nothing where nothing brings it back."""
    files = {each.path: each for each in written if isinstance(each, File)}
    if by_owner := tuple(each for each in written if _is_of_owner(each) and _holds(each, live)):
        return by_owner
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
        case Jump():
            return _with_line(files, start.SCRIPT, start.entering(live))
        case PolicyRuleResource():
            return _with_line(files, start.SCRIPT, start.keeping_rule(live.rule))
        case RouteResource():
            own = _with_line(files, start.ROUTES, restore_line(live.route))
            return own or _with_line(files, start.SCRIPT, f"keep_route {keep_words(live.route)}")
        case _:
            return []


def _with_line(files: Mapping[str, File], path: str, line: str) -> Sequence[File]:
    file = files.get(path)
    return [file] if file is not None and line.encode() in file.data.splitlines() else []


def _is_of_owner(written: Resource) -> bool:
    """Whether it is for a program that keeps an interface."""
    return isinstance(written, Lines | ProfileRoute) or (
        isinstance(written, File) and written.path not in (*unit.FILES, *init_scripts.FILES)
    )


def _holds(written: Resource, live: Resource) -> bool:
    """Whether an entry for who keeps an interface is this route, or this policy rule.

    Each program has its own notation, in which addresses and numbers stand as they do everywhere.
    """
    text = " ".join(_texts(written))
    match live:
        case RouteResource():
            route = live.route
            ends = [str(route.destination.network_address), *([str(route.via)] if route.via else [])]
            return _says(text, ends)
        case PolicyRuleResource():
            of = live.rule.destination or live.rule.source
            return of is not None and _says(text, [str(live.rule.priority), str(of.network_address)])
        case _:
            return False


def _texts(written: Resource) -> Iterator[str]:
    match written:
        case ProfileRoute():
            yield written.entry
        case Lines():
            yield written.entry.decode(errors="replace")
        case File():
            yield written.data.decode(errors="replace")


def _says(text: str, words: Sequence[str]) -> bool:
    return all(re.search(rf"(?<![\w.:]){re.escape(word)}(?![\w.:])", text) for word in words)
