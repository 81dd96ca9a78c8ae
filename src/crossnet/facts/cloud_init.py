"""What cloud-init does on a host: kernel settings that it sets, and whether it writes the network's files anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from crossnet.facts.file_lines import LINES, parse
from crossnet.facts.question import Question
from crossnet.facts.sysctls import BootSetting, boot_setting

# cloud-init's merge of what the instance was given is read, and not that itself, which may be of many parts. A host
# without cloud-init, or where it is disabled (`cloud-init-generator`), starts no process for it.
READ = (
    LINES
    + r"""
[ -e /etc/cloud/cloud.cfg ] && [ ! -e /etc/cloud/cloud-init.disabled ] || exit 0
read -r words 2>/dev/null </proc/cmdline
case " $words " in *' cloud-init=disabled '*) exit 0 ;; *' network-config=disabled '*) echo 'network disabled' ;; esac
[ ! -e /var/lib/cloud/data/upgraded-network ] || echo 'network disabled'
echo runs
for file in /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg /var/lib/cloud/instance/vendor-cloud-config.txt \
    /var/lib/cloud/instance/cloud-config.txt
do
    lines config "$file" '^[a-z_]+:|config:.*disabled|net[./]ipv[46]'
done
for file in /var/lib/cloud/scripts/per-boot/*; do
    [ ! -x "$file" ] || lines boot-script "$file" 'net[./]ipv[46]'
done
for file in /var/lib/cloud/scripts/per-instance/* /var/lib/cloud/instance/scripts/*; do
    [ ! -x "$file" ] || lines instance-script "$file" 'net[./]ipv[46]'
done
true
"""
)


class When(StrEnum):
    """When cloud-init does what a part of its configuration says (its documentation, "Boot stages")."""

    BOOT = "bootcmd"  # early in each boot
    BOOT_END = "boot-script"  # in each boot, when all else was started
    INSTANCE = "runcmd"  # once, at the end of the first boot of an instance
    INSTANCE_FILE = "write_files"  # once, early in that boot, and only into a file


_SECTIONS = {when.value: when for when in (When.BOOT, When.INSTANCE, When.INSTANCE_FILE)}

_RUNS, _DISABLED = "runs", "network disabled"
_SECTION = re.compile(r"([a-z_]+):")
_NETWORK_DISABLED = re.compile(r"config:\s*[\"']?disabled\b")
# As a sysctl file has it and sysctl(8) is told; and what a shell writes into a file of the kernel.
_ASSIGNED = re.compile(r"(net[./]ipv[46][./][\w./*-]+)\s*=\s*[\"']?(-?[0-9]+)")
_ECHOED = re.compile(r"echo\s+[\"']?(-?[0-9]+)\b.*?/proc/sys/(net/ipv[46]/[\w./-]+)")


@dataclass(frozen=True, slots=True)
class CloudSetting:
    """One line that sets a kernel setting, and when cloud-init carries it out."""

    line: BootSetting
    when: When


@dataclass(frozen=True, slots=True)
class CloudInit:
    """`writes_network` is whether it writes the files of the network's interfaces; `settings` are in its order."""

    writes_network: bool = False
    settings: tuple[CloudSetting, ...] = ()
    unreadable: tuple[str, ...] = ()

    def of(self, when: When) -> tuple[BootSetting, ...]:
        """What it sets at such a time."""
        return tuple(each.line for each in self.settings if each.when is when)


def parse_cloud_init(answer: str) -> CloudInit:
    """`runs`, `network disabled`, and the lines of the files."""
    read = parse(answer, (_RUNS, _DISABLED))
    disabled = _DISABLED in read.words
    settings: list[CloudSetting] = []
    for file in read.files:
        section = ""
        for number, text in file.lines:
            if file.kind == "config" and (begun := _SECTION.match(text)):
                section = begun[1]
            disabled = disabled or (section == "network" and bool(_NETWORK_DISABLED.search(text)))
            when = {"boot-script": When.BOOT_END, "instance-script": When.INSTANCE}.get(file.kind)
            if when := when or _SECTIONS.get(section):
                settings += (CloudSetting(each, when) for each in _set(file.path, number, text))
    return CloudInit(_RUNS in read.words and not disabled, tuple(settings), read.unreadable)


def _set(path: str, number: int, text: str) -> Iterator[BootSetting]:
    if text.lstrip(" -").startswith("#"):
        return
    pairs = [(name, value) for name, value in _ASSIGNED.findall(text)]
    pairs += ((name, value) for value, name in _ECHOED.findall(text))
    for name, value in pairs:
        if setting := boot_setting(path, number, f"{name}={value}"):
            yield setting


# It decides nothing: where it cannot be asked, nothing is told of it.
CLOUD_INIT = Question(
    "looked what cloud-init does", ("sh", "-c", READ), parse_cloud_init, lambda _: CloudInit()
)
