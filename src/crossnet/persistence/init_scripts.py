"""Persistence without systemd: scripts of /etc/init.d for OpenRC and SysV init, which do what the units do.

openrc-run(8), and the header of a SysV script that insserv(8) reads. Both are shell, as busybox has it too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from crossnet import record
from crossnet.facts import firewalls
from crossnet.facts.init import Init, InitScripts
from crossnet.persistence import start
from crossnet.persistence.unit import head
from crossnet.resources import File, InitScript, Resource, Sysctl
from crossnet.resources.init_script import GUARD_SCRIPT, link_of, script_file

RULES_SCRIPT = "crossnet-rules"
SCRIPT = "crossnet"

FILES = tuple(map(script_file, (GUARD_SCRIPT, RULES_SCRIPT, SCRIPT)))

# What sets sysctls, what may flush rules, what brings up the network: as OpenRC (Alpine, Gentoo, Debian), Debian's
# sysvinit and EL 6 call them.
_SETTINGS = ("sysctl", "procps")
_FIREWALLS = (*firewalls.EARLY, *firewalls.LATE)
# Of these the ones that come after the network, by the heads of their own scripts in Debian: nothing before the network
# can come after them.
_AFTER_NETWORK = frozenset({"netfilter-persistent", *firewalls.LATE})
_NETWORK = ("networking", "network", "net.lo", "network-manager", "NetworkManager", "connman", "dhcpcd")


@dataclass(frozen=True, slots=True)
class _Script:
    """What a script does, and its place: `is_early` is before the network, `before` and `after` are names of others."""

    name: str
    told: str
    work: str
    is_early: bool
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    at_stop: str = ""


# Files that are completed here come too late for this boot to find a script that loads them. What is over and could not
# be taken back before the network is taken back as soon as it can be.
_WORK = f"""\
if [ -e {record.HOST_SCRIPT} ]; then
    sh {record.HOST_SCRIPT} recover || failed=1
    [ ! -e {start.SCRIPT} ] || sh {start.SCRIPT} rules
fi
if [ -e {record.UNTIL_SCRIPT} ]; then
    sh {record.UNTIL_SCRIPT} lapse boot
    case $? in
        0 | 76) ;;
        *) setsid sh {record.UNTIL_SCRIPT} await </dev/null >/dev/null 2>&1 & ;;
    esac
fi
"""
# What a roll-back after a power cut leaves: it runs no command of the boot before.
_FORGET = f"[ -e {script_file(GUARD_SCRIPT)} ] || update-rc.d {GUARD_SCRIPT} remove\n"


def _recover(init: Init) -> _Script:
    return _Script(
        GUARD_SCRIPT,
        "ends what was open when the host went down",
        f'{_WORK}{_FORGET if init is Init.INSSERV else ""}[ ! "${{failed-}}" ]\n',
        is_early=True,
        before=(RULES_SCRIPT, *_SETTINGS, *_FIREWALLS),
    )


def persistent(
    init: InitScripts,
    live: Sequence[Resource],
    crossings: Iterable[str],
    fenced: Collection[Sysctl] = (),
    kept: Sequence[Resource] = (),
) -> tuple[Resource, ...]:
    """The files and scripts that bring `live` back at boot, with what others have `kept`; nothing for nothing.

    `fenced` are the settings that switch forwarding on for the crossings alone: they are off whenever the fence
    is not there.
    """
    first = head(crossings)
    files, has_rules = start.script_and_files(live, fenced, first, systemd=False)
    if not files and not kept:
        return ()
    scripts = [_recover(init.init)]
    if has_rules:
        scripts.append(_rules(next(file for file in files if file.path == start.SCRIPT), fenced, init))
    if files:
        scripts.append(_all(fenced))
    text = _openrc if init.init is Init.OPENRC else _sysv
    return (
        *kept,
        *files,
        *(File(script_file(one.name), text(one, first).encode(), 0o755) for one in scripts),
        *(InitScript(one.name, init.init, _links(one, init)) for one in scripts),
    )


def _rules(script: File, fenced: Collection[Sysctl], init: InitScripts) -> _Script:
    """A script that was emptied or cut loads no fence, and ends well: so it is not run.

    Where a firewall comes later that may flush the rules, nothing is forwarded before the last script has loaded them
    again.
    """
    early = [name for name in _FIREWALLS if name not in _AFTER_NETWORK]
    told = "rules of its crossings, before the network is up"
    made = _Script(RULES_SCRIPT, told, "", is_early=True, after=(GUARD_SCRIPT, *_SETTINGS, *early))
    late = _behind(made, init).intersection(_FIREWALLS)
    work = f"sh {start.SCRIPT} rules\n"
    if fenced:
        said = shlex.quote(f"{start.sha256_of(script)}  {start.SCRIPT}")
        switch_off = start.switch_off(fenced)
        loads = f"    {work}    result=$?\n    {switch_off}\n    return $result\n" if late else f"    {work}"
        work = (
            f"if echo {said} | sha256sum -c >/dev/null; then\n{loads}else\n    {switch_off}\n    false\nfi\n"
        )
    return replace(made, work=work, after=tuple(name for name in made.after if name not in late))


def _all(fenced: Collection[Sysctl]) -> _Script:
    told = "routes, rules and settings of its crossings"
    at_stop = f"sh {start.SCRIPT} close\n" if fenced else ""
    after = (*_NETWORK, *_FIREWALLS, *firewalls.LEAVING)
    return _Script(SCRIPT, told, f"sh {start.SCRIPT}\n", is_early=False, after=after, at_stop=at_stop)


def _openrc(script: _Script, first: str) -> str:
    before = ["net", *script.before] if script.is_early else script.before
    after = ["localmount" if script.is_early else "net", *script.after]
    stop = f"\nstop() {{\n    :\n{_indented(script.at_stop)}}}\n" if script.at_stop else ""
    return f"""\
#!/sbin/openrc-run
{first}description={shlex.quote(f"crossnet: {script.told}")}

depend() {{
    after {" ".join(after)}
    {f"before {' '.join(before)}" if before else ":"}
}}

start() {{
    ebegin {shlex.quote(f"crossnet: {script.told}")}
    work
    eend $?
}}

work() {{
{_indented(script.work)}}}
{stop}"""


def _sysv(script: _Script, first: str) -> str:
    """`Should-`: only order, and of those alone that are there."""
    before = " ".join(("$network", *_NETWORK, *script.before) if script.is_early else script.before)
    return f"""\
#!/bin/sh
{first}### BEGIN INIT INFO
# Provides:          {script.name}
# Required-Start:    $local_fs
# Required-Stop:
# Should-Start:      {" ".join(script.after if script.is_early else ("$network", *script.after))}
# X-Start-Before:    {before}
# Default-Start:     {"S" if script.is_early else "2 3 4 5"}
# Default-Stop:
# Short-Description: crossnet: {script.told}
### END INIT INFO

work() {{
{_indented(script.work)}}}

case ${{1-}} in
    start | restart | reload | force-reload) work ;;
    stop) {f"{script.at_stop.strip()} ;;" if script.at_stop else ";;"}
    status) ;;
    *) echo "usage: $0 start|stop|restart|reload|status" >&2; exit 3 ;;
esac
"""


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def _links(script: _Script, init: InitScripts) -> tuple[str, ...]:
    if init.init is Init.OPENRC:
        return (link_of(init.init, "boot" if script.is_early else "default", script.name),)
    runlevels = "2345"
    if script.is_early and any(link.startswith("/etc/rcS.d/") for link in init.links):
        runlevels = "S"
    return tuple(link_of(init.init, each, script.name, _number(script, init, each)) for each in runlevels)


_SYSV_LINK = re.compile(r"S(\d\d)(.*)")
_LAST = 99
_AFTER_ALL = "\x7f"


def _number(script: _Script, init: InitScripts, runlevel: str) -> int:
    """The highest with which it comes before all those that have to come behind it: of one number names decide.

    insserv makes a better one of its header.
    """
    if not script.is_early:
        return _LAST
    behind = {*_NETWORK, *script.before}
    before_them = (
        number - (name < script.name) for number, name in _started(init, runlevel) if name in behind
    )
    return max(0, min(before_them, default=_LAST))


def _behind(script: _Script, init: InitScripts) -> set[str]:
    """The names of those that are started after it, as far as that is known before it is there."""
    if init.init is Init.OPENRC:
        return {name for link in init.links if (name := PurePosixPath(link).name) in _AFTER_NETWORK}
    early = "S" if any(link.startswith("/etc/rcS.d/") for link in init.links) else ""
    found = set()
    for runlevel in f"{early}2345":
        number = _number(script, init, runlevel) if runlevel == early or not early else -1
        # insserv gives one number to all of which none depends on the other.
        own = (number, script.name if init.init is Init.SYSV else _AFTER_ALL)
        found |= {at[1] for at in _started(init, runlevel) if at > own}
    return found


def _started(init: InitScripts, runlevel: str) -> list[tuple[int, str]]:
    """The scripts of a runlevel of SysV, with their numbers."""
    return [
        (int(found[1]), found[2])
        for link in init.links
        if link.startswith(f"/etc/rc{runlevel}.d/")
        and (found := _SYSV_LINK.fullmatch(PurePosixPath(link).name))
    ]
