"""Whether a host has a resource, asked in one line of sh: what makes a script that can be run twice.

The tools of the host answer, with their exit code. Rules are compared by how this host's own tools print
them, wherever that differs by version: the wanted ones are loaded in a network namespace that ends at once.
Where no namespace can be made they count as different, and are loaded again, which does no harm.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from crossnet.errors import Bug
from crossnet.facts.policy import PolicyRule
from crossnet.netfilter import TABLE_FAMILY
from crossnet.netfilter.ipset import set_name
from crossnet.netfilter.iptables import delete_jump
from crossnet.netfilter.own import TABLE
from crossnet.resources import (
    Change,
    File,
    Jump,
    PolicyRuleResource,
    Resource,
    RouteResource,
    RuleTable,
    Service,
    Sysctl,
)
from crossnet.resources.policy_rule import LISTED
from crossnet.values import family_of

Locate = Callable[[str], str]

# What the lines use; each is a function of sh.
FUNCTIONS = {
    "same_nft": r"""
# same_nft FAMILY: whether the rules on standard input are those that are loaded
same_nft() {
    # shellcheck disable=SC2016   # for the shell inside
    wanted=$(unshare -n sh -c 'nft -f - && nft -s list table "$1" crossnet' sh "$1" 2>/dev/null) || return
    [ "$wanted" = "$(nft -s list table "$1" crossnet 2>/dev/null)" ]
}
""",
    "same_iptables": r"""
# same_iptables COMMAND SETS: whether the ipsets (SETS-...) and rules on standard input are those that are loaded
same_iptables() {
    # shellcheck disable=SC2016   # for the shell inside
    load='text=$(cat)
        sets=$(printf "%s\n" "$text" | sed "/^\*/,\$d")
        [ -z "$sets" ] || printf "%s\n" "$sets" | ipset restore || exit
        printf "%s\n" "$text" | sed -n "/^\*/,\$p" | "$1-restore" --noflush || exit'
    # shellcheck disable=SC2016
    list='"$1-save" | grep -e "^-A CROSSNET-"
        if command -v ipset >/dev/null; then ipset save | grep "^add $2-" | sort; fi'
    wanted=$(unshare -n sh -c "$load; $list" sh "$1" "$2" 2>/dev/null)
    [ -n "$wanted" ] && [ "$wanted" = "$(sh -c "$list" sh "$1" "$2" 2>/dev/null)" ]
}
""",
    "no_iptables": r"""
# no_iptables COMMAND SETS: whether there are no chains of crossnet and no ipsets (SETS-...)
no_iptables() {
    ! "$1-save" 2>/dev/null | grep -q '^:CROSSNET-' &&
        ! { command -v ipset >/dev/null && ipset list -n | grep -q "^$2-"; }
}
""",
    "settings_are": r"""
# settings_are NAME=VALUE...: whether they are; one of an interface that has gone does not count
settings_are() {
    for setting; do
        value=$(sysctl -n "${setting%%=*}" 2>/dev/null) || continue
        [ "$value" = "${setting#*=}" ] || return
    done
}
""",
    "is_file": r"""
# is_file PATH MODE: whether the file has this mode, and what is on standard input
is_file() { cmp -s - "$1" && [ "$(stat -c %a "$1")" = "$2" ]; }
""",
    "is_absent": r"""
# is_absent PATH: whether nothing has this name
is_absent() { [ ! -e "$1" ] && [ ! -L "$1" ]; }
""",
}


@dataclass(frozen=True, slots=True)
class Test:
    """A line of sh that uses FUNCTIONS, and what it reads; None where it reads nothing."""

    line: str
    stdin: bytes | None = None


def functions(tests: Iterable[Test]) -> str:
    """Those that the lines use."""
    used = {word for test in tests for word in test.line.split()}
    return "".join(text for name, text in FUNCTIONS.items() if name in used)


def is_made(change: Change, locate: Locate) -> Test:
    """Whether the host has what the change makes; `locate` says where it keeps a file."""
    return _is(change.want, change.resource, locate)


def is_back(change: Change, locate: Locate) -> Test:
    """Whether the host has what it had before the change."""
    return _is(change.have, change.resource, locate)


def _is(side: Resource | None, either: Resource, locate: Locate) -> Test:
    there = side is not None
    match side or either:
        case RuleTable() as table:
            return _table(table, there)
        case Jump() as jump:
            return _jump(jump, there)
        case RouteResource() as route:
            return _route(route, there)
        case PolicyRuleResource(rule=rule):
            return _policy_rule(rule, there)
        case Sysctl() as setting:
            pairs = ((setting.name, setting.value), *setting.disturbed)
            return _line("settings_are", *(f"{name.translate(_SLASHES)}={value}" for name, value in pairs))
        case File(target=str() as target) as file if there:
            return Test(f'[ "$(readlink {shlex.quote(locate(file.path))})" = {shlex.quote(target)} ]')
        case File() as file if there:
            return Test(shlex.join(("is_file", locate(file.path), f"{file.mode:o}")), file.data)
        case Service() as service if there:
            return _all(
                f'[ "$(readlink {shlex.quote(locate(link))})" = {shlex.quote(service.file)} ]'
                for link in service.links
            )
        case Service() as service:
            return _all(shlex.join(("is_absent", locate(link))) for link in service.links)
        case File(path=path):
            return _line("is_absent", locate(path))
        case other:
            raise Bug(f"there is no test for a {other.kind}")


# sysctl(8): with slashes an interface's name may hold dots.
_SLASHES = str.maketrans("./", "/.")


def _line(*words: str) -> Test:
    return Test(shlex.join(words))


def _all(lines: Iterable[str]) -> Test:
    return Test(" && ".join(lines))


def _table(table: RuleTable, there: bool) -> Test:
    family = TABLE_FAMILY[table.family]
    if not table.engine.is_iptables:
        if not there:
            return Test(f"! nft list table {family} {TABLE} >/dev/null 2>&1")
        return Test(f"same_nft {family}", _text(table))
    sets = set_name(family, "").removesuffix("-")
    if not there:
        return _line("no_iptables", table.command, sets)
    return Test(shlex.join(("same_iptables", table.command, sets)), _text(table))


def _text(table: RuleTable) -> bytes:
    return b"".join(step.stdin for step in RuleTable.load(None, table))


def _jump(jump: Jump, there: bool) -> Test:
    option, name, _, chain, *rule = delete_jump(jump.chain)
    if there and jump.first:
        shown = shlex.join((jump.command, "-w", option, name, "-S", chain, "1"))
        return Test(f'[ "$({shown} 2>/dev/null)" = {shlex.quote(" ".join(("-A", chain, *rule)))} ]')
    known = f"{shlex.join((jump.command, '-w', option, name, '-C', chain, *rule))} >/dev/null 2>&1"
    return Test(known if there else f"! {known}")


def _policy_rule(rule: PolicyRule, there: bool) -> Test:
    listed = shlex.join(("sh", "-c", LISTED, "sh", f"-{rule.family.value}", str(rule.priority)))
    found = f"""printf '%s\\n' "$rules" | grep -qF {shlex.quote(str(rule))}"""
    return Test(f"rules=$({listed}) && {'' if there else '! '}{found}")


def _route(resource: RouteResource, there: bool) -> Test:
    """By what `ip` prints: of 3.10 it cannot be asked for a metric, and of busybox for nothing but the destination.

    Another one's route to the same network has another metric, or another protocol where `ip` prints one.
    """
    route = resource.route
    wanted: list[tuple[str, object]] = []
    if there:
        wanted += [("via", route.via), ("dev", route.device), ("src", route.source)]
    wanted += [("metric", route.metric or None)]
    lines = ["s/$/ /", f"/ proto /{{/ proto {_pattern(route.protocol)} /!d;}}"]
    lines += [f"/ {name} {_pattern(str(value))} /!d" for name, value in wanted if value is not None]
    lines += [] if route.metric else ["/ metric /d"]
    words = ["ip", f"-{family_of(route.destination).value}", "route", "show", str(route.destination)]
    return Test(
        f"{'' if there else '! '}{shlex.join(words)} | sed {shlex.quote('; '.join(lines))} | grep -q ."
    )


def _pattern(word: str) -> str:
    """A basic regular expression that matches this very word."""
    return re.sub(r"[].[*^$/\\]", r"\\\g<0>", word)
