"""What would undo kernel settings of crossnet later, or at boot: files that are read after its own, other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossnet.design.impacts import Impact
from crossnet.facts import Facts
from crossnet.facts.owners import Keeper
from crossnet.facts.sysctls import SYSCTL_CONF, BootSetting, deciding, is_forwarding, later
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.resources import Sysctl
from crossnet.values import Family

_STARTS = {
    "ufw": "ufw sets it whenever it is started or reloaded",
    "shorewall": "shorewall sets it whenever it is started, reloaded or stopped",
    "shorewall6": "shorewall6 sets it whenever it is started, reloaded or stopped",
    "tuned": "tuned sets it whenever it is started, and `reapply_sysctl` is off in /etc/tuned/tuned-main.conf",
    "systemd-networkd": "systemd-networkd sets it whenever it is started, from version 256 on",
}


def overridden(facts: Facts, settings: Sequence[Sysctl], *, lasts: bool, heals: bool) -> Iterator[Impact]:
    """Each line that gives one of the settings another value.

    `lasts` is whether crossnet sets it at boot, too, and `heals` whether the host brings it back by itself.
    """
    again = "crossnet.service (at the end of a boot) or `crossnet apply`" if lasts else "`crossnet apply`"
    if heals:
        again = "crossnet-heal.service, within seconds,"
    told: dict[str, None] = {}
    for setting in settings:
        for line, what in _lines(facts, setting.name, lasts=lasts):
            if line.value != setting.value:
                told[_sentence(setting, line, what, again)] = None
    for file in facts.setters.unreadable:
        told[f"whether {file} changes crossnet's kernel settings is not known, because it cannot be read"] = (
            None
        )
    for text in told:
        yield Impact("setting-overridden", facts.host, text)


def _lines(facts: Facts, name: str, *, lasts: bool) -> Iterator[tuple[BootSetting, str]]:
    """The lines that set it after crossnet, and when they do."""
    others = [item for item in facts.boot_settings if item.file != SYSCTL_FILE]
    if line := later(others, SYSCTL_FILE, name):
        restart = ", by `systemctl restart network`" if _has_network_scripts(facts) else ""
        after = f", after {SYSCTL_FILE}" if lasts else ""
        yield line, f"it is read at boot{restart} and by `sysctl --system`{after}"
    if line := deciding([item for item in others if item.file == SYSCTL_CONF], name):
        yield line, "`sysctl -p` and `sysctl --system` set it"
    for program, settings in facts.setters.settings.items():
        if line := deciding(settings, name):
            yield line, _STARTS[program]


def _has_network_scripts(facts: Facts) -> bool:
    """Their restart runs systemd-sysctl again (initscripts 9.49: apply_sysctl)."""
    return any(owner.keeper is Keeper.NETWORK_SCRIPTS for owner in facts.owners.values())


def _sentence(setting: Sysctl, line: BootSetting, what: str, again: str) -> str:
    where = f"{line.file}, line {line.line}," if line.line else line.file
    off = line.value == "0" and any(is_forwarding(setting.name, family) for family in Family)
    then = "forwarding is off" if off else f"{setting.name} is not {setting.value}"
    return f"{where} sets {line.name} = {line.value}: {what}. From then on {then} until {again} sets it again"
