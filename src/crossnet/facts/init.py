"""Which init runs the scripts of /etc/init.d on a host where systemd does not, and which of them it starts at boot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from crossnet.facts.question import Question


class Init(StrEnum):
    """Process 1, or what it has its boot from."""

    OPENRC = "openrc"
    SYSV = "sysv"
    INSSERV = "insserv"  # SysV, where update-rc.d(8) has it order all scripts by what they say of themselves

    @property
    def label(self) -> str:
        return "OpenRC" if self is Init.OPENRC else "SysV init"


@dataclass(frozen=True, slots=True)
class InitScripts:
    """Who starts them, and the links by which each is started at boot.

    OpenRC: `/etc/runlevels/RUNLEVEL/NAME`; SysV: `/etc/rcLEVEL.d/SnnNAME`, in the order of their names.
    """

    init: Init
    links: tuple[str, ...]

    @property
    def names(self) -> frozenset[str]:
        """The scripts that are started at boot."""
        of_links = (PurePosixPath(link).name for link in self.links)
        return frozenset(name if self.init is Init.OPENRC else _NUMBER.sub("", name) for name in of_links)


_NUMBER = re.compile(r"^S\d\d")

# openrc(8) makes softlevel when it boots; a container in which OpenRC is only installed has another process 1. Where
# insserv has written .depend.boot, Debian's rc starts nothing that does not stand in there (startpar(8)).
READ = r"""
read -r init 2>/dev/null </proc/1/comm || exit 0
case $init in init | openrc-init) ;; *) exit 0 ;; esac
if [ -e /run/openrc/softlevel ]; then
    echo openrc
    set -- /etc/runlevels/*/*
elif [ -d /etc/init.d ] && [ -d /etc/rc3.d ]; then
    if command -v update-rc.d >/dev/null; then echo insserv; else echo sysv; fi
    set -- /etc/rc[S2345].d/S[0-9][0-9]*
fi
for link; do [ ! -L "$link" ] || printf '%s\n' "$link"; done
"""


def parse_init(answer: str) -> InitScripts | None:
    """A line with who it is, then one for each link; nothing where nobody runs such scripts."""
    first, *links = answer.splitlines() or [""]
    return InitScripts(Init(first), tuple(links)) if first else None


INIT: Question[InitScripts | None] = Question(
    "asked which init it has", ("sh", "-c", READ), parse_init, lambda _: None
)
