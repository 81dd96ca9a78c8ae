"""The script that the units of crossnet run, and the files that it loads: rules, settings and routes."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection, Iterator, Sequence

from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import OWN_PROTOCOL
from crossnet.facts.sysctls import path_of
from crossnet.netfilter.iptables_own import PLACES
from crossnet.persistence.settings import SYSCTL_FILE, settings_file
from crossnet.resources import (
    Command,
    File,
    Jump,
    PolicyRuleResource,
    Resource,
    RouteResource,
    RuleTable,
    Sysctl,
    policy_rule,
)
from crossnet.resources.route import keep_words, restore_line
from crossnet.values import Family

FOLDER = "/etc/crossnet"

SCRIPT = f"{FOLDER}/start"
ROUTES = f"{FOLDER}/routes"
NFT = f"{FOLDER}/rules.nft"
LEAVE = "/run/crossnet.leave"
LOCK = "/run/crossnet.lock"
UNIT = "crossnet.service"


# Whoever made it may bring it back himself, at any time of the boot.
_KEEP_ROUTE = """
# A route of somebody else that a crossing uses, where nobody has brought it back.
keep_route() { # FAMILY DESTINATION WORDS...
    family=$1
    shift
    [ -n "$(ip "$family" route show exact "$1")" ] || try ip "$family" route add "$@"
}"""


def _restore_file(family: Family) -> str:
    return f"{FOLDER}/iptables-{family.value}.rules"


def _ipset_file(family: Family) -> str:
    return f"{FOLDER}/ipset-{family.value}.rules"


def _flows_file(family: Family) -> str:
    return f"{FOLDER}/flows-{family.value}"


FILES = (
    SYSCTL_FILE,
    SCRIPT,
    ROUTES,
    NFT,
    *(_restore_file(family) for family in Family),
    *(_ipset_file(family) for family in Family),
    *(_flows_file(family) for family in Family),
)

# Measured with firewalld 1.3.3: its flush comes when systemd has long ended its start, and its reload (ExecReload= only
# sends a signal). firewall-cmd(1) ends with 0 when it runs, 251 when it runs and something failed, 252 when there was
# no answer; D-Bus waits 25 s for one.
_SETTLED = """\
# firewalld tells systemd that it runs, or is reloaded, before it flushes the rules of iptables; it answers after it.
settled() {
    for _ in 1 2 3; do
        systemctl --quiet is-active firewalld.service || return 0
        firewall-cmd --state >/dev/null 2>&1
        case $? in 0 | 251) return ;; esac
    done
    return 1
}
[ "${1-}" = rules ] || try settled"""

# sha256sum is in coreutils and in busybox; where it is gone nothing is loaded.
_TRY = """\
failed=0
try() { "$@" || failed=1; }

# Only what is as it was written: a file that was emptied or cut may load without an error, and lack the fence.
load() { # FILE SHA256 COMMAND...
    sum=$(sha256sum <"$1")
    if [ "${sum%% *}" != "$2" ]; then
        echo "crossnet: $1 is not loaded: sha256sum does not find in it what was written;" \\
            "'crossnet apply' writes it again" >&2
        return 1
    fi
    shift 2
    "$@"
}"""

# iptables-save of 1.4.7 quotes every comment. Somebody else may move a jump between the look and the change,
# which then changes nothing.
_ENTER = r"""
# The jump, once and first in its chain; in one instant, so that no packet passes between an old and a new one. What
# `nft list ruleset` printed, and something has loaded before this, has it without its comment.
enter() { # COMMAND TABLE CHAIN OWN-CHAIN [-w]
    listed=$("$1" -w -t "$2" -S "$3") || return
    {
        echo "*$2"
        printf '%s\n' "$listed" |
            sed -n -e "s/^-A \($3 -m comment --comment \"\{0,1\}crossnet\"\{0,1\} -j $4\) *\$/-D \1/p" \
                -e "s/^-A \($3 -j $4\) *\$/-D \1/p"
        echo "-I $3 -m comment --comment crossnet -j $4"
        echo COMMIT
    } | "$1-restore" ${5:+"$5"} --noflush
}"""

# Kernels before 4.17 take the same rule twice.
_KEEP_RULE = f"""
# A policy rule, once.
keep_rule() {{ # FAMILY PRIORITY AS-LISTED WORDS...
    family=$1 priority=$2 listed=$3
    shift 3
    rules=$(ip "$family" rule) || {{ failed=1; return; }}
    printf '%s\\n' "$rules" | tr -s '[:blank:]' ' ' | grep "^$priority:" | grep -qF "$listed" ||
        try own_rule "$family" rule add "$@"
}}
own_rule() {{ # `ip` before iproute2 4.17 cannot keep who made it
    {policy_rule.MARKED}
}}"""

# -e: a kernel that was started without IPv6 has no setting for it. systemd stops what is only half started with
# SIGTERM, and without an ExecStop=. Not every systemd does so when a firewall is restarted meanwhile (src/core/job.c,
# job_type_collapse, until it counted what is activating as active): so a start notices itself that it was overtaken.
_CLOSE = """
# Without its fence it forwards nothing: before the rules go, and where they could not be loaded. Who closes takes
# away the leave to open that was taken before: what was loaded since then may be flushed.
leave={leave} lock={lock} held=''
umask 077
# One at a time closes or opens. Only root can open the lock, or anybody could hold it. It goes with who held it, so
# what was waited for may be no longer the one that is there.
alone() {{
    while [ -z "$held" ]; do
        true >>$lock && exec 9>>$lock && flock -w 10 9 || return
        [ ! $lock -ef /proc/$$/fd/9 ] || held=yes
    done
}}
release() {{ [ -z "$held" ] || {{ rm -f $lock; exec 9>&-; held=''; }}; }}
shut() {{ rm -f $leave; {switch_off}; }}
close() {{ alone; shut; }}
trap release EXIT
trap 'close; exit 1' TERM"""
_STAYS_OPEN = """
close() { :; } # it forwarded before crossnet"""

# Without systemd nobody tells of the firewalls of others.
_CLOSE_AT_STOP = """
# Without its fence it forwards nothing: where the rules could not be loaded, and when the host goes down.
close() {{ {switch_off}; }}
[ "${{1-}}" != close ] || {{ close; exit; }}
"""
# busybox has no `ip -batch`.
_BATCH = """
batch() { # FILE
    while read -r words; do
        # shellcheck disable=SC2086  # the words are wanted
        case $words in '' | '#'*) ;; *) try ip $words ;; esac
    done <"$1"
}"""

# An address may come later than the network is said to be up. Nobody waits for a client's unit but the end of the boot;
# on a gateway it must be done when a firewall is restarted.
_UNTIL_SET = """
set_routes() {{
    {lines}
}}
before=$failed
for seconds in 1 2 3 5 8 13 21 34 0; do
    failed=0
    set_routes
    [ $failed != 0 ] || break
    sleep $seconds
done
[ $before = 0 ] || failed=1"""

_EVENTS = f"""\
case ${{1-}} in
    close)
        close
        exit
        ;;
    before) # a firewall, $2, is started or reloaded; it waits until what is queued here to be stopped has stopped
        close
        ! systemctl --quiet is-active {UNIT} || systemctl --no-block stop {UNIT}
        systemctl --no-block restart "crossnet-gate@$2.service"
        exit
        ;;
    after) # it was started or reloaded; in rescue mode nothing of this is
        ! systemctl show -p ActiveState -p Job multi-user.target | grep -q -e =active -e '^Job=[1-9]' ||
            exec systemctl --no-block start {UNIT}
        exit
        ;;
    stopped)
        close
        systemctl --no-block stop {UNIT}
        exit
        ;;
esac"""
# Without a leave nothing is opened; whoever cannot have one begins no second time.
_TAKE_LEAVE = """\
if [ "${1-}" != rules ] && ! echo $$ >$leave; then
    echo "crossnet: $leave cannot be written, so no rules are loaded, and nothing is forwarded;" \\
        "when there is room, 'crossnet apply' loads them" >&2
    close
    exit 1
fi"""

# Whoever closes for a firewall takes away the leave and has the unit stopped after that, which closes again: so with a
# leave that was taken while the unit stood, nothing is opened behind its back.
_STANDS = f"""
stands() {{ # whether the unit has loaded the rules, and is neither stopped nor started just now
    [ -d /run/systemd/system ] || return 0
    case $(systemctl show -p ActiveState -p Job {UNIT}) in
        *Job=[1-9]*) return 1 ;;
        *ActiveState=active*) ;;
        *) return 1 ;;
    esac
}}
[ "${{1-}}" != heal ] || stands || exit 75"""
_CLOSE_FIRST = """if [ "${{1-}}" = heal ]; then
    stands || {{ rm -f $leave && exit 75; }}
    {switch_off}
fi
"""


_CLOSE_WITHOUT_RULES = """\
if [ "${1-}" = rules ]; then
    [ $failed = 0 ] || close
    exit $failed
fi
"""


def _open(load_settings: str) -> str:
    return f"""\
{_CLOSE_WITHOUT_RULES}alone || {{
    echo "crossnet: nothing is opened, because $lock cannot be locked" >&2
    shut
    exit 1
}}
if [ "$(cat $leave 2>/dev/null)" != $$ ]; then
    # Closed while it was loading: once more, when whoever stopped the firewall has done with it.
    systemctl --no-block restart {UNIT}
    exit
fi
if [ $failed = 0 ]; then {load_settings}; else close; fi
rm -f $leave
release"""


def _open_if_fenced(load_settings: str) -> str:
    return f"""\
{_CLOSE_WITHOUT_RULES}if [ $failed = 0 ]; then {load_settings}; else close; fi"""


def script_and_files(
    live: Sequence[Resource],
    fenced: Collection[Sysctl],
    head: str,
    *,
    heals: bool = False,
    systemd: bool = True,
) -> tuple[tuple[File, ...], bool]:
    """The files that bring `live` back, the script among them, and whether they load rules; none for nothing.

    `fenced` are the settings that switch forwarding on, and that are off whenever the fence is not there. `heals` is
    whether the script is run again whenever something of it was taken away. Without `systemd` the scripts of
    /etc/init.d run it, and nothing of others is waited for.
    """
    files: list[File] = []
    rules = list(_rules(live, head, files))
    script: list[str] = []
    if any(isinstance(item, Jump) for item in live):
        script.append(_ENTER)
    if fenced and not systemd:
        script.append(_CLOSE_AT_STOP.format(switch_off=switch_off(fenced)))
    elif fenced:
        close = _CLOSE.format(leave=LEAVE, lock=LOCK, switch_off=switch_off(fenced))
        script += (close, _EVENTS)
        if heals:
            script += (_STANDS, _TAKE_LEAVE, _CLOSE_FIRST.format(switch_off=switch_off(fenced)))
        else:
            script.append(f"{_TAKE_LEAVE}\n")
    elif rules and systemd:
        script += (_STAYS_OPEN, f"{_EVENTS}\n")
        if heals:
            script += (_STANDS, '[ "${1-}" != heal ] || set -- rules\n')
    if systemd and any(isinstance(item, Jump) for item in live):
        script.append(f"{_SETTLED}\n")
    script += rules

    settings = [item for item in live if isinstance(item, Sysctl)]
    load_settings = ":"  # where somebody else switches forwarding on, closing is all there is to do
    if settings:
        files.append(settings_file(settings, head))
        load_settings = _load(files[-1], "sysctl", "-q", "-e", "-p", SYSCTL_FILE)
    if fenced:
        script.append(_open(load_settings) if systemd else _open_if_fenced(load_settings))
    elif rules or not systemd:
        script.append('[ "${1-}" != rules ] || exit $failed')
    # Once more at the end of the boot, because a later file or /etc/sysctl.conf may say otherwise.
    if settings and not fenced:
        script.append(load_settings)

    routes = [item for item in live if isinstance(item, RouteResource)]
    theirs = [item for item in routes if item.route.protocol != OWN_PROTOCOL]
    setting = [f"keep_route {keep_words(item.route)}" for item in theirs]
    if theirs:
        script.append(_KEEP_ROUTE)
    routes = [item for item in routes if item not in theirs]
    if routes:
        lines = "".join(f"{restore_line(item.route)}\n" for item in routes)
        files.append(_file(ROUTES, head + lines))
        tool = ("ip", "-force", "-batch") if systemd else ("batch",)
        script += [] if systemd else [_BATCH]
        setting.append(_load(files[-1], *tool, ROUTES))
    if setting and systemd and not rules:
        script.append(_UNTIL_SET.format(lines="\n    ".join(setting)))
    else:
        script += setting

    policy = [item.rule for item in live if isinstance(item, PolicyRuleResource)]
    if policy:
        script += [_KEEP_RULE, *map(keeping_rule, policy)]

    if files or theirs or policy:
        files.append(
            _file(SCRIPT, "\n".join((f"#!/bin/sh\n{head}{_TRY}", *script, "exit $failed\n")), mode=0o755)
        )
    return tuple(files), bool(rules)


def rule_files(table: RuleTable, paths: Collection[str]) -> tuple[str, ...]:
    """Which of these files it is loaded from."""
    own = (_ipset_file(table.family), _restore_file(table.family)) if table.engine.is_iptables else (NFT,)
    return tuple(path for path in own if path in paths)


def switch_off(fenced: Collection[Sysctl]) -> str:
    """The command that ends the forwarding that is there for the crossings alone."""
    paths = (path_of(item.name).removeprefix("/proc/sys/") for item in fenced)
    return f"sysctl -e -q -w {' '.join(f'{path}=0' for path in paths)}"


def sha256_of(file: File) -> str:
    """What `sha256sum` prints for the file while it is as it was written."""
    return hashlib.sha256(file.data).hexdigest()


def keeping_rule(rule: PolicyRule) -> str:
    """The line of the script that brings a policy rule back."""
    words = shlex.join(policy_rule.words(rule))
    listed = shlex.quote(str(rule))
    return f"keep_rule -{rule.family.value} {rule.priority} {listed} {words}"


def _rules(live: Sequence[Resource], head: str, files: list[File]) -> Iterator[str]:
    """The lines that load the rules; what they load is added to the files."""
    tables = [item for item in live if isinstance(item, RuleTable)]
    nft = "".join(_stdin(step) for item in tables if not item.engine.is_iptables for step in _steps(item))
    if nft:
        files.append(_file(NFT, head + nft, checked_by=("nft", "-c", "-f", "-")))
        yield _load(files[-1], "nft", "-f", NFT)
    for table in (item for item in tables if item.engine.is_iptables):
        for step in _steps(table):
            if step.argv[0] == "ipset":
                path = _ipset_file(table.family)
                argv: tuple[str, ...] = ("ipset", "-exist", "-file", path, "restore")
                checked_by: tuple[str, ...] = ()  # it has no dry run
            else:
                path = _restore_file(table.family)
                argv, checked_by = (*step.argv, path), (*step.argv, "--test")
            files.append(_file(path, head + _stdin(step), checked_by=checked_by))
            yield _load(files[-1], *argv)
    for jump in (item for item in live if isinstance(item, Jump)):
        yield entering(jump)
    # What began while they were gone keeps for its life what was decided then: without translation, and that it passes.
    for table in tables:
        for step in table.entered:
            files.append(_file(_flows_file(table.family), head + _stdin(step)))
            yield _load(files[-1], "sh", files[-1].path)


def entering(jump: Jump) -> str:
    """The line of the script that puts a jump back in its place."""
    place = PLACES[jump.chain]
    words = " ".join((jump.command, place.table, place.entered_from, place.chain, *_waits(jump)))
    return f"enter {words} || try enter {words}"


def _load(file: File, *argv: str) -> str:
    return f"try load {file.path} {sha256_of(file)} {' '.join(argv)}"


def _waits(jump: Jump) -> tuple[str, ...]:
    return ("-w",) if jump.waits else ()


def _steps(table: RuleTable) -> list[Command]:
    return list(RuleTable.load(None, table))


def _stdin(step: Command) -> str:
    return step.stdin.decode()


def _file(path: str, text: str, mode: int = 0o644, checked_by: tuple[str, ...] = ()) -> File:
    return File(path, text.encode(), mode, checked_by=checked_by)
