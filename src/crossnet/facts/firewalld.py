"""What firewalld has in force, and what a reload of it would throw away (firewall-cmd(1), firewalld.policy(5)).

Measured with firewalld 1.3.3 of Debian 12, with both of its backends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from crossnet.facts.files import SIGNATURE
from crossnet.facts.question import Question, Unanswered
from crossnet.netfilter.foreign import Chain, Rule

# firewalld.policy(5): policies came with 0.9.0.
POLICIES_SINCE = (0, 9)
# crossnet's own policy, and the file in which firewalld keeps it.
POLICY = "crossnet"
POLICY_FILE = f"/etc/firewalld/policies/{POLICY}.xml"

ANY = "ANY"  # firewalld.policy(5): whatever zone, or none

# firewalld works on the rules of the namespace in which it runs, and its bus may be that of several: so it is found by
# its process. Only root may see where others run. Anybody may give a process that name, also one of a program that root
# owns (`su` by a link): so it is root's from the start (proc_pid_status(5), Uid), and Python that runs.
RUNS_HERE = """\
runs_here() {
    net=$(readlink /proc/self/ns/net) || return
    for comm in $(grep -lx firewalld /proc/[0-9]*/comm 2>/dev/null); do
        place=${comm%/comm}
        [ "$(readlink "$place/ns/net" 2>/dev/null)" = "$net" ] || continue
        grep -qs "^Uid:[[:blank:]]*0[[:blank:]]*0[[:blank:]]" "$place/status" || continue
        case $(readlink "$place/exe" 2>/dev/null) in */*python*) return ;; esac
    done
    return 1
}
"""

# Lines as a stream: there may be more of them than one argument of a program may hold (128 KiB, execve(2)).
ONLY_IN = """\
only_in() { # LINES OTHERS [PREFIX]: those that are none of the others, which are no empty lines
    printf '%s\\n' "$2" '' "$1" | awk -v prefix="${3-}" '
        $0 == "" { behind = 1; next }
        !behind { others[$0]; next }
        !($0 in others) { print prefix $0 }'
}
"""

# A reload brings the permanent configuration, and puts nothing back of what was made at runtime; but the interfaces of
# zones and direct rules with FlushAllOnReload=no, and what NetworkManager has in zones (firewall/core/fw.py, reload).
# Whatever fails on the way, it fails: what was not compared is not known to be the same.
UNSAVED = f"""\
{ONLY_IN}in_words() {{ # NAME-PREFIX: a listing of zones or policies, one setting a line
    awk -v what="$1" -v own={POLICY} '
        /^[^ \t]/ {{ name = $1; next }}
        name == own && what == "policy" {{ next }}
        /^\t/ {{ sub(/^\t+/, ""); print what, name ": " $0; next }}
        NF {{ key = $0; sub(/^ +/, "", key); sub(/:.*/, "", key); values = $0; sub(/^[^:]*:/, "", values)
            n = split(values, each, " "); for (i = 1; i <= n; i++) print what, name ": " key " " each[i] }}'
}}
network_managers() {{ # INTERFACE
    index=
    read -r index 2>/dev/null <"/sys/class/net/$1/ifindex"
    [ -n "$index" ] && grep -qs '^connection-uuid=' "/run/NetworkManager/devices/$index"
}}
listed() {{ # PREFIX OPTION…
    prefix=$1
    shift
    said=$(firewall-cmd "$@") || return
    only_in "$said" '' "$prefix"
}}
settings() {{ # OPTION…: --permanent or nothing
    for what in zone:zones policy:policies; do
        said=$(firewall-cmd "$@" --list-all-${{what#*:}}) || return
        printf '%s\n' "$said" | in_words "${{what%:*}}" || return
    done
    sets=$(firewall-cmd "$@" --get-ipsets) || return
    for set in $sets; do listed "ipset $set: entry " "$@" --ipset="$set" --get-entries || return; done
    [ -n "$keeps_all" ] || for what in chains rules passthroughs; do
        listed "direct ${{what%s}} " "$@" --direct "--get-all-$what" || return
    done
}}
# What is in force and not permanent (+), or permanent and not in force (-): a line each.
unsaved() {{
    keeps_all=$(grep -sixE 'FlushAllOnReload=(no|false)' /etc/firewalld/firewalld.conf)
    live=$(settings) && kept=$(settings --permanent) || return
    more=$(only_in "$live" "$kept" '+ ') && less=$(only_in "$kept" "$live" '- ') || return
    printf '%s\\n' "$more" "$less" | while IFS= read -r line; do
        case $line in
            '') continue ;;
            *': interfaces '*) [ -z "$keeps_all" ] && ! network_managers "${{line##* }}" || continue ;;
        esac
        printf '%s\\n' "$line"
    done
}}
"""

_ASK = f"""\
{RUNS_HERE}{UNSAVED}
runs_here || exit 0
echo "== version $(firewall-cmd --version)" || exit
echo "== default $(firewall-cmd --get-default-zone)"
echo == zones
firewall-cmd --list-all-zones || exit
firewall-cmd --list-all-policies >/dev/null 2>&1 || exit 0 # it knows none yet
echo == policy
# It is there without a rule, too: then nothing has to be loaded anew.
if firewall-cmd --info-policy={POLICY} 2>/dev/null; then
    [ ! -e {POLICY_FILE} ] || grep -qs '{SIGNATURE.decode()}' {POLICY_FILE} || echo == unsigned
    exit
fi
echo == unsaved
unsaved || echo "? firewall-cmd did not list all that is in force and all that is permanent"
firewall-cmd --check-config >/dev/null 2>&1 || echo "! $(firewall-cmd --check-config 2>&1 | tail -n 1)"
"""

# The chains that it has in iptables, and its rules in the built-in ones (firewall/core/ipXtables.py).
_CHAIN = re.compile(
    r"(INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING)_(direct|(IN_|OUT_)?ZONES|POLICIES_(pre|post))"
    r"|(IN|OUT|FWD[IO]?|PRE|POST)_.+|RFC3964_IPv4"
)
_BUILT_IN = re.compile(
    r"-A (?P<chain>INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) (?:"
    r"-m conntrack --ctstate (INVALID -j DROP|RELATED,ESTABLISHED(,DNAT)? -j ACCEPT)|-[io] lo -j ACCEPT"
    r"|-j (REJECT --reject-with icmp-host-prohibited|REJECT --reject-with icmp6-adm-prohibited)"
    r"|-j ((?P=chain)_(direct|(IN_|OUT_)?ZONES|POLICIES_(pre|post))|RFC3964_IPv4)"
    r"|-p ipv6-icmp -m icmp6 --icmpv6-type 13[45] -j ACCEPT|-m rpfilter --validmark --invert -j DROP"
    r'|.*-j LOG --log-prefix "(STATE_INVALID_DROP|FINAL_REJECT|rpfilter_DROP): ".*)'
)

_HEADING = re.compile(r"(?P<name>[^ \t].*?)(?: \((?P<marks>[a-z, ]+)\))?")
_RULES = "rich rules"


@dataclass(frozen=True, slots=True)
class Listed:
    """A zone or a policy as firewall-cmd lists it: its settings by their names, `rich rules` a line each."""

    name: str
    settings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, key: str) -> tuple[str, ...]:
        return self.settings.get(key, ())

    @property
    def rules(self) -> tuple[str, ...]:
        return self.of(_RULES)


@dataclass(frozen=True, slots=True)
class Firewalld:
    """firewalld as it runs; `policy` is crossnet's own, if it is in force.

    `unsaved` is what differs between what is in force and what is permanent, asked where only a reload can make the
    policy; `uncompared` is why that is not known, and `broken` what firewalld itself says against its permanent
    configuration. `is_unsigned` is whether the policy has a file that crossnet did not write.
    """

    version: tuple[int, ...]
    default_zone: str
    zones: tuple[Listed, ...]
    policy: Listed | None = None
    unsaved: tuple[str, ...] = ()
    broken: str = ""
    uncompared: str = ""
    is_unsigned: bool = False

    @property
    def has_policies(self) -> bool:
        return self.version >= POLICIES_SINCE

    def zone_of(self, interface: str) -> Listed | None:
        """The zone to which an interface belongs by its name; None where it is in the default zone for want of one."""
        return next((zone for zone in self.zones if interface in zone.of("interfaces")), None)

    def zone(self, name: str) -> Listed | None:
        return next((zone for zone in self.zones if zone.name == name), None)

    @property
    def tells_by_source(self) -> bool:
        """Whether it puts packets into zones by their addresses too, before it looks at interfaces."""
        return any(zone.of("sources") for zone in self.zones)


def is_of_firewalld(chain: Chain, rule: Rule) -> bool:
    """Whether a rule of iptables is one that firewalld's iptables backend makes, or holds for its administrator."""
    return bool(_CHAIN.fullmatch(chain.name) or _BUILT_IN.fullmatch(rule.text))


def parse_firewalld(answer: str) -> Firewalld | None:
    """None where it does not run here."""
    if not answer.strip():
        return None
    parts: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in answer.splitlines():
        if line.startswith("== "):
            name, _, value = line.removeprefix("== ").partition(" ")
            lines = parts.setdefault(name, [])
            lines += [value] if value else []
        else:
            lines.append(line)
    version = re.match(r"\d+(?:\.\d+)*", _one(parts, "version"))
    if version is None:
        raise Unanswered(
            "firewalld runs and does not answer",
            "Look at `firewall-cmd --state` and at firewalld's log, then try again.",
        )
    unsaved = [line for line in parts.get("unsaved", ()) if line.strip()]
    return Firewalld(
        tuple(int(number) for number in version[0].split(".")),
        _one(parts, "default"),
        tuple(_listed(parts.get("zones", ()))),
        next(iter(_listed(parts.get("policy", ()))), None),
        tuple(line for line in unsaved if not line.startswith(("! ", "? "))),
        _marked(unsaved, "! "),
        _marked(unsaved, "? "),
        "unsigned" in parts,
    )


def _marked(lines: Iterable[str], mark: str) -> str:
    return next((line.removeprefix(mark) for line in lines if line.startswith(mark)), "")


def _one(parts: dict[str, list[str]], name: str) -> str:
    return (parts.get(name) or [""])[0].strip()


def _listed(lines: Iterable[str]) -> Iterator[Listed]:
    """Zones or policies: a name, then `  key: value value` for each setting, and a line with a tab for each rule."""
    current: Listed | None = None
    key = ""
    for line in lines:
        if not line.strip():
            continue
        if line.startswith("\t") and current is not None:
            current.settings[key] = (*current.of(key), line.strip())
        elif line.startswith(" ") and current is not None:
            key, _, value = line.strip().partition(":")
            current.settings[key] = tuple(value.split())
        elif heading := _HEADING.fullmatch(line.rstrip()):
            if current is not None:
                yield current
            current = Listed(heading["name"])
    if current is not None:
        yield current


FIREWALLD: Question[Firewalld | None] = Question(
    "asked firewalld what it has in force", ("sh", "-c", _ASK), parse_firewalld
)
