"""A step that changes a part of somebody else's file, as a line of sh: what `host.sh` does, for a script by itself."""

from __future__ import annotations

import shlex

from crossnet.resources import Locate, Splice, Test

_SPLICE = r"""
digest() { # PATH
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then echo absent && return; fi
    [ -f "$1" ] && [ ! -L "$1" ] && sum=$(sha256sum <"$1") && echo "${sum%% *}"
}

# splice PATH BEFORE AFTER OFFSET LENGTH MODE: from there on so many bytes become standard input; of a file that has
# another digest than BEFORE or AFTER nothing
splice() {
    found=$(digest "$1") || { echo "$1 cannot be read as a file" >&2 && return 1; }
    aside=${1%/*}/.${1##*/}.crossnet
    rm -f "$aside" # of one that was cut short
    [ "$found" != "$3" ] || return 0
    [ "$found" = "$2" ] || { echo "$1 was changed by somebody else: nothing of it is touched" >&2 && return 1; }
    if [ "$3" = absent ]; then rm -f "$1" && return; fi
    [ -d "${1%/*}" ] || (umask 022 && mkdir -p "${1%/*}") || return
    if {
        if [ "$found" = absent ]; then : >"$aside" && chmod "$6" "$aside"; else cp -a "$1" "$aside"; fi
    } && {
        if [ "$found" = absent ]; then
            cat
        else
            head -c "$4" <"$1" && cat && tail -c +$(($4 + $5 + 1)) <"$1"
        fi
    } >"$aside" && [ "$(digest "$aside")" = "$3" ] && { sync "$aside" 2>/dev/null || sync; } &&
        [ "$(digest "$1")" = "$found" ] && mv -f "$aside" "$1"; then
        return
    fi
    rm -f "$aside"
    return 1
}
"""


def spliced(step: Splice, locate: Locate) -> Test:
    """The line that does it."""
    digests = (step.before or "absent", step.after or "absent")
    part = (str(step.offset), str(step.length), f"{step.mode:o}")
    line = shlex.join(("splice", locate(str(step.path)), *digests, *part))
    return Test(line if step.data else f"{line} </dev/null", step.data or None, (_SPLICE,))
