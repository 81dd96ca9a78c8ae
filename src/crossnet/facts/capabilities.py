"""Which tools a host has, what they can do, and whether it is a machine of OpenStack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from crossnet.facts.question import Question

TOOLS = (
    "ip",
    "sysctl",
    "nft",
    "iptables",
    "ip6tables",
    "iptables-nft",
    "ip6tables-nft",
    "iptables-legacy",
    "ip6tables-legacy",
    "ipset",
    "conntrack",
    "awk",
    "ping",
    "bash",
    "nc",
    "timeout",
    "flock",
    "setsid",
    "sha256sum",
    "sync",
    "systemctl",
)

# sd_booted(3): this folder exists exactly where systemd runs as process 1.
SYSTEMD = "/run/systemd/system"

# The first word is where the host keeps SYSTEMD, the others are TOOLS.
# `iptables-restore -w` of 1.4.21 says "invalid option" and goes on with exit code 0 (measured), so its help
# is asked instead of its exit code. The nft variant takes no lock and has no such option.
# What machines of OpenStack call themselves is known from cloud-init (DataSourceOpenStack), which writes cloud-id.
READ = r"""
[ -d "$1" ] && echo 'systemd yes'
shift
tools=
for tool; do
    command -v -- "$tool" && tools="${tools}tool $tool
"
done >/dev/null
printf %s "$tools"
read -r kernel </proc/sys/kernel/osrelease && printf 'kernel %s\n' "$kernel"
if command -v iptables >/dev/null; then
    printf 'iptables %s\n' "$(iptables -V 2>/dev/null)"
    restore=iptables-restore
    command -v iptables-legacy-restore >/dev/null && restore=iptables-legacy-restore
    case $("$restore" --help 2>&1) in *--wait*) echo 'wait yes' ;; esac
fi
command -v nft >/dev/null && printf 'nft %s\n' "$(nft -v 2>/dev/null)"
dmi=/sys/class/dmi/id
for told in $dmi/sys_vendor $dmi/product_name $dmi/chassis_asset_tag /run/cloud-init/cloud-id; do
    said=
    [ -r "$told" ] && read -r said <"$told"
    case $said in
        *OpenStack* | *openstack* | *OpenTelekomCloud* | HUAWEICLOUD* | 'SAP CCloud VM')
            echo 'openstack yes'
            break
            ;;
    esac
done
true
"""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The tools of a host; versions are tuples of numbers, empty where the tool is missing.

    `openstack` is whether the machine, or cloud-init on it, says that it is one of OpenStack.
    """

    tools: frozenset[str]
    kernel: tuple[int, ...]
    systemd: bool
    nft: tuple[int, ...] = ()
    iptables: tuple[int, ...] = ()
    iptables_is_nft: bool = False
    restore_waits: bool = False
    openstack: bool = False

    def has(self, tool: str) -> bool:
        return tool in self.tools


def parse_capabilities(answer: str) -> Capabilities:
    tools: set[str] = set()
    said: dict[str, str] = {}
    for line in answer.splitlines():
        word, _, rest = line.partition(" ")
        if word == "tool":
            tools.add(rest.split(" ")[0])
        elif word in ("systemd", "kernel", "iptables", "wait", "nft", "openstack"):
            said[word] = rest
        else:
            raise ValueError(f"not of this script: {line[:80]!r}")
    return Capabilities(
        tools=frozenset(tools),
        kernel=_version(said, "kernel"),
        systemd="systemd" in said,
        nft=_version(said, "nft"),
        iptables=_version(said, "iptables"),
        iptables_is_nft="nf_tables" in said.get("iptables", ""),
        restore_waits="wait" in said,
        openstack="openstack" in said,
    )


def _version(said: Mapping[str, str], word: str) -> tuple[int, ...]:
    found = re.search(r"(\d+(?:\.\d+)+)", said.get(word, ""))
    return tuple(int(number) for number in found.group(1).split(".")) if found else ()


def tools_question(systemd: str) -> Question[Capabilities]:
    """What tools there are; `systemd` is where the host keeps SYSTEMD."""
    return Question("looked for its tools", ("sh", "-c", READ, "sh", systemd, *TOOLS), parse_capabilities)
