"""What brings crossnet's own things back on the host itself, within seconds, where another program took them away."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence

from crossnet import record
from crossnet.facts import Facts, FileState
from crossnet.persistence import start
from crossnet.resources import Command, File, Resource, RuleTable, Service, Sysctl, Test
from crossnet.values import Family

# What is looked for by one test, is of one kind, and is made by one tool.
_Together = tuple[Test, str, tuple[str, ...]]

SCRIPT = f"{start.FOLDER}/heal"
UNIT = "crossnet-heal.service"
SERVICE = Service(UNIT)

PERIOD = 2  # seconds between two looks
MOST = 6  # times that it brings something back
WITHIN = 600  # in so many seconds; then somebody else wants it otherwise
SELDOM = 60  # seconds until it looks again at what it could not bring back, where nothing seems to change

# Not after what it needs only: it runs beside those that load, and ends before them. It is started again whoever
# killed it, but not where it ended by itself: 0 where it is not wanted any more, the others where it gave up.
TEXT = f"""\
[Unit]
Description=crossnet: brings back what other programs take away
After=network-online.target {start.UNIT}

[Service]
ExecStart=/bin/sh {SCRIPT}
Restart=always
RestartSec=1
RestartPreventExitStatus=0 69 70
StartLimitInterval=0

[Install]
WantedBy=multi-user.target
"""

_HEAD = f"""\
set -u
umask 077
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
ROOT={record.FOLDER}
LACKING=69 FAILED=70 HELD=75 # sysexits.h
TAB=$(printf '\\t')

is_loaded=no lost='' times=0 unasked=''
lacks() {{ # STATUS loaded|restored WORDS: how a test of it ended, how it comes back, and what it is
    if [ "$1" -ne 1 ]; then
        unasked="$unasked${{unasked:+, }}$3"
        return
    fi
    times=$((times + 1))
    [ $times -gt 5 ] || lost="$lost${{lost:+, }}$3"
    [ $times -ne 6 ] || lost="$lost and more"
    [ "$2" != loaded ] || is_loaded=yes
}}
lacks_each() {{ # KIND LINES: those of many that are not there
    set -f
    IFS='
'
    for line in $2; do lacks 1 restored "$1 $line"; done
    unset IFS
    set +f
}}
"""

_LOOP = f"""
# Each of these is a process of its own, so that there is an end to what hangs in it.
case ${{1-}} in
    look)
        found=$(seen) # before the tests: what changes after it is seen the next time
        look >/dev/null
        printf '%s\\t%s\\t%s\\t%s' "$found" $is_loaded "$lost" "$unasked"
        exit
        ;;
    restore)
        restore >/dev/null
        exit
        ;;
esac

# A program that hangs holds nothing up, and does not hold the lock.
bounded() {{ timeout -k 5 "$@" </dev/null 2>/dev/null 8<&-; }} # SECONDS COMMAND...
note() {{ # for whoever reads the host's log
    timeout -k 5 10 logger -t crossnet -- "$*" </dev/null >/dev/null 2>&1 8<&- &
}}
end() {{ # CODE
    wait # for the last note: with this process systemd ends all that it has started
    exit "$1"
}}

is_well() {{ # else `lost` is gone or changed, `unasked` cannot be looked at, and `found` is as what it looked like
    found='' is_loaded=no lost='' unasked='its rules, routes and settings'
    if looked=$(bounded 60 /bin/sh "$0" look); then
        found=${{looked%%"$TAB"*}} looked=${{looked#*"$TAB"}}
        is_loaded=${{looked%%"$TAB"*}} looked=${{looked#*"$TAB"}}
        lost=${{looked%%"$TAB"*}} unasked=${{looked#*"$TAB"}}
    fi
    [ -z "$lost$unasked" ] || return
    good=$found pause={PERIOD} told='' doubted=''
}}

uptime() {{ # into `up`; no clock that anybody sets
    read -r up _ </proc/uptime
    up=${{up%%.*}}
}}

remember() {{ # brought-back|failed|gave-up: a line of what became of it
    if [ "$1" = brought-back ]; then
        uptime
        recent="$recent $up"
    fi
    {{
        {{ [ ! -e "$ROOT/healed" ] || tail -n 99 "$ROOT/healed"; }} &&
            printf '%s\\t%s\\t%s\\n' "$(date +%s)" "$1" "$gone"
    }} 2>/dev/null 8<&- >"$ROOT/healed.aside" && mv -f -- "$ROOT/healed.aside" "$ROOT/healed" 8<&- && return
    rm -f -- "$ROOT/healed.aside"
    note "cannot write in $ROOT/healed: $1: $gone"
}}

# Whether it was brought back so often that somebody else wants it otherwise. What could not be written counts too,
# and no time that the clock has not come to yet, or again.
is_a_fight() {{
    uptime
    times=0
    for at in $recent; do
        [ "$at" -le $((up - {WITHIN})) ] || times=$((times + 1))
    done
    [ $times -lt {MOST} ] || return 0
    [ -e "$ROOT/healed" ] || return
    now=$(date +%s) times=0
    while read -r at what _; do
        case $at in '' | 0* | *[!0-9]*) continue ;; esac
        if [ "$what" = gave-up ]; then
            times=0
        elif [ "$what" = brought-back ] && [ "$at" -gt $((now - {WITHIN})) ] && [ "$at" -le "$now" ]; then
            times=$((times + 1))
        fi
    done <"$ROOT/healed"
    [ $times -ge {MOST} ]
}}

# Whoever has the lock begins a transaction or ends one; one that is open changes these things itself, and whoever
# undoes it takes this script away first. What could not be written is not what is meant.
is_free() {{ [ -d "$ROOT" ] && [ ! -e "$ROOT/transaction" ] && [ ! -e "$ROOT/unwritten" ]; }}
alone() {{
    [ -d "$ROOT" ] || return # dash would end
    exec 8<"$ROOT" && flock -n 8 || return
    [ ! -e "$0" ] || [ "$(cksum <"$0")" = "$own" ] || exec /bin/sh "$0" 8<&-
    [ -e "$0" ] || end 0
    is_free
}}

# What could not be brought back, or not be looked at, is tried again when something changes there, else seldom.
rest() {{
    [ "$found" = "$tried" ] || pause={PERIOD}
    pause=$((pause < {SELDOM} ? pause * 2 : {SELDOM}))
    uptime
    tried=$found due=$((up + pause))
}}

heal() {{ # under the lock, and so once more: what was lost before may have come back since
    ! is_well && [ -n "$lost" ] || return
    gone=$lost loads=$is_loaded
    if is_a_fight; then
        remember gave-up
        give_up
        end $FAILED
    fi
    if [ "$loads" = yes ]; then
        bounded 30 /bin/sh {start.SCRIPT} heal >/dev/null
        case $? in
            0) ;;
            "$HELD") rest && return ;; # another firewall is stopped, or about to be: the gateway is closed meanwhile
            *) loads=failed ;;
        esac
    fi
    bounded 60 /bin/sh "$0" restore
    if is_well || [ -z "$lost" ]; then
        remember brought-back
        note "was gone or changed, and is brought back: $gone"
    elif [ "$loads" = yes ]; then # and gone again, or it is something else that is not there
        remember brought-back
        note "was gone or changed, and is brought back: $gone; but not, or not for long: $lost"
    else # a route whose interface is down, say: told once, as long as that is so
        rest
        [ "$told" != "$lost" ] || return
        told=$lost
        [ "$loads" = no ] || remember failed
        note "is gone or changed, and cannot be brought back now: $lost"
    fi
}}

for tool in flock cksum timeout unshare; do
    command -v $tool >/dev/null && continue
    echo "crossnet: there is no $tool, so nothing is brought back" >&2
    exit $LACKING
done
own=$(cksum <"$0") good='' tried='' told='' doubted='' recent='' due=0 pause={PERIOD}
while :; do
    state=$(seen)
    uptime
    if [ "$state" != "$good" ] && {{ [ "$state" != "$tried" ] || [ "$up" -ge $due ]; }} && is_free; then
        if is_well; then
            :
        elif [ -z "$lost" ] && [ -e "$0" ]; then
            [ "$doubted" = "$unasked" ] || note "cannot look whether it is as it was applied: $unasked"
            doubted=$unasked
            rest
        elif alone; then
            heal
        fi
        exec 8<&-
    fi
    sleep {PERIOD}
done
"""


def has_given_up(facts: Facts) -> bool:
    """Whether it does not run there because somebody else wanted it otherwise, by its own notes."""
    state = facts.files.get(record.HEALED)
    notes = state.data.splitlines() if isinstance(state, FileState) else []
    return bool(notes) and notes[-1].split(b"\t")[1:2] == [b"gave-up"] and not (facts.units or {}).get(UNIT)


def script(
    watched: Sequence[Resource], files: Collection[File], fenced: Collection[Sysctl], head: str
) -> File:
    """The script that looks after these; `files` are those that the rules are loaded from.

    `fenced` are the settings that switch forwarding on, and are off whenever the fence is not there.
    """
    many = _many(watched)
    together = {item for items in many.values() for item in items}
    paths = [file.path for file in files]
    tests = {item: _test(item, paths) for item in watched if item not in together}
    asked = [*(item.holds(str) for item in tests), *(test for test, *_ in many)]
    functions = list(dict.fromkeys(each for test in asked for each in test.functions))
    look = [
        f"{{ {test}; }} || lacks $? {'loaded' if _is_loaded(item, fenced) else 'restored'} {shlex.quote(_words(item))}"
        for item, test in tests.items()
    ]
    restore = [
        f"{{ {test}; }} || {_made(item)}" for item, test in tests.items() if not _is_loaded(item, fenced)
    ]
    for number, ((test, kind, tool), items) in enumerate(many.items(), 1):
        wanted, made = zip(*items.values(), strict=True)
        functions += [_text(f"wanted_{number}", wanted), _text(f"made_{number}", made)]
        missing = f"missing=$(wanted_{number} | {test.line})"
        look.append(
            f'if {missing}; then lacks_each {kind} "$missing"; else lacks 2 restored "each {kind}"; fi'
        )
        restore.append(f'{missing}; [ -z "$missing" ] || made_{number} | {shlex.join(tool)} go-on')
    text = [
        f"#!/bin/sh\n{head}{_HEAD}",
        *functions,
        _function(
            "seen",
            [*_seen(watched)],
            "all of it but counters: equal answers, equal states",
            " 2>/dev/null | cksum",
        ),
        _function("look", look, "what of it is not as it was applied"),
        _function("restore", restore, "what needs no fence"),
        _function("give_up", _giving_up(fenced), "loudly"),
        _LOOP,
    ]
    return File(SCRIPT, "\n".join(text).encode(), 0o755)


def _function(name: str, lines: Sequence[str], says: str, after: str = "") -> str:
    body = "\n".join(f"    {line}" for line in (lines or [":"]))
    return (
        f"{name}() {{ # {says}\n    {{\n{body}\n    }}{after}\n}}"
        if after
        else f"{name}() {{ # {says}\n{body}\n}}"
    )


def _text(name: str, lines: Sequence[str]) -> str:
    """A function that prints these; bash would write a document of its own to the disk, which may be full."""
    text = "\n".join(lines)
    return f"{name}() {{\n    printf '%s\\n' {shlex.quote(text)}\n}}"


def _many(watched: Sequence[Resource]) -> dict[_Together, dict[Resource, tuple[str, str]]]:
    """What is looked for, and made, together: of each the line by which it is found and that by which it is made."""
    found: dict[_Together, dict[Resource, tuple[str, str]]] = {}
    for item in watched:
        listed, made = item.listed(), type(item).line(None, item)
        if listed is not None and made is not None:
            together = found.setdefault((listed.test, item.kind, made.tool), {})
            together[item] = (listed.line, made.text)
    return found


def _is_loaded(item: Resource, fenced: Collection[Sysctl]) -> bool:
    """Whether it comes back with the fence, and in its order."""
    return any(item.decides(family) for family in Family) or (bool(item.values) and bool(fenced))


def _test(item: Resource, paths: Collection[str]) -> str:
    line = item.holds(str).line
    if not isinstance(item, RuleTable):
        return line
    return f"sed '/^#/d' {' '.join(start.rule_files(item, paths))} | {line}"


def _made(item: Resource) -> str:
    steps = type(item).render(None, item)
    commands = [shlex.join(step.argv) for step in steps if isinstance(step, Command) and not step.stdin]
    assert len(commands) == len(steps), f"a kind that heals is made by commands alone, and {item.kind} is not"
    return " && ".join(commands)


def _words(item: Resource) -> str:
    settings = [f"{name} = {value}" for name, value in item.values.items()]
    told = type(item).describe(None, item)
    return ", ".join(settings) or f"{item.kind} {' '.join(told.split())}"


def _seen(watched: Sequence[Resource]) -> Iterator[str]:
    """The commands whose answers change with any of it, a few for all."""
    for look in dict.fromkeys(look for item in watched for look in item.watched()):
        yield shlex.join(look.argv) if isinstance(look, Command) else f"cat {shlex.quote(str(look))}"


def _giving_up(fenced: Collection[Sysctl]) -> list[str]:
    said = (
        f"gave up, because it was brought back {MOST} times within {WITHIN} seconds and is gone or changed again: "
        "$gone. Somebody else wants it otherwise.$closed 'crossnet apply' brings it back"
    )
    close = (
        [
            "closed=' The gateway could not be closed.'",
            f"! bounded 30 /bin/sh {start.SCRIPT} close >/dev/null ||",
            "    closed=' The gateway forwards nothing from now on.'",
        ]
        if fenced
        else ["closed=''"]
    )
    return [*close, f'note "{said}"']
