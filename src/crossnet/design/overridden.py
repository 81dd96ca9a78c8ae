"""What would undo kernel settings of crossnet later, or at boot: files that are read after its own, other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crossnet.design.again import Again
from crossnet.design.impacts import Impact
from crossnet.facts import Facts
from crossnet.facts.cloud_init import When
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.sysctls import (
    SYSCTL_CONF,
    BootSetting,
    at_boot,
    deciding,
    interface_of,
    interface_setting,
    is_forwarding,
    later,
)
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.resources import Sysctl
from crossnet.several import joined
from crossnet.values import Family

_STARTS = {
    "ufw": "ufw sets it whenever it is started or reloaded",
    "shorewall": "shorewall sets it whenever it is started, reloaded or stopped",
    "shorewall6": "shorewall6 sets it whenever it is started, reloaded or stopped",
    "tuned": "tuned sets it whenever it is started, and `reapply_sysctl` is off in /etc/tuned/tuned-main.conf",
    "systemd-networkd": "systemd-networkd sets it whenever it is started, from version 256 on",
}
_CLOUD_INIT = {
    When.BOOT: "cloud-init does so at each boot (bootcmd)",
    When.BOOT_END: "cloud-init does so at the end of each boot",
    When.INSTANCE: "cloud-init does so at the end of the first boot of a new instance",
    When.INSTANCE_FILE: "cloud-init writes it into a file at the first boot of a new instance (write_files), and it "
    "counts when that is read",
}


@dataclass(frozen=True, slots=True)
class _Override:
    """A line that sets something after crossnet, and when; `is_last` where a boot does so after crossnet.service."""

    line: BootSetting
    when: str
    is_last: bool = False


def overridden(facts: Facts, settings: Sequence[Sysctl], back: Again) -> Iterator[Impact]:
    """Each line that gives one of the settings another value, and what brings crossnet's own back."""
    lasts = SYSCTL_FILE in back.paths
    found: dict[_Override, list[Sysctl]] = {}
    for setting in settings:
        for one in _overrides(facts, setting.name, lasts=lasts):
            if one.line.value != setting.value:
                found.setdefault(one, []).append(setting)
    for one, changed in found.items():
        again = "`crossnet apply`"
        if back.heals:
            again = "crossnet-heal.service, within seconds,"
        elif lasts and back.at_boot and not one.is_last:
            again = f"{back.at_boot} (later in a boot) or `crossnet apply`"
        yield Impact("setting-overridden", facts.host, _sentence(one, changed, again))
    for file in dict.fromkeys((*facts.setters.unreadable, *facts.cloud_init.unreadable)):
        text = f"whether {file} changes crossnet's kernel settings is not known, because it cannot be read"
        yield Impact("setting-overridden", facts.host, text)


def switched_off(facts: Facts, interface: str) -> bool:
    """Whether somebody switches forwarding of IPv4 off on this interface alone, or on each that is made anew.

    Where forwarding of the host is on already, setting it once more changes no interface (net/ipv4/devinet.c).
    """
    own, new = (interface_setting(4, name, "forwarding") for name in (interface, "default"))
    others = tuple(item for item in facts.boot_settings if item.file != SYSCTL_FILE)
    conf = tuple(item for item in others if item.file == SYSCTL_CONF)
    lines = [at_boot(others, name, systemd=True) for name in (own, new)]
    lines += [deciding(conf, name) for name in (own, new)]
    lines += [deciding(settings, own) for settings in facts.setters.settings.values()]
    lines += [deciding(facts.cloud_init.of(when), own) for when in When]
    if owner := facts.owners.get(interface):
        lines.append(facts.setters.of(owner))
    return any(line is not None and line.value == "0" for line in lines)


def _overrides(facts: Facts, name: str, *, lasts: bool) -> Iterator[_Override]:
    """The lines that set it after crossnet, and when they do."""
    others = [item for item in facts.boot_settings if item.file != SYSCTL_FILE]
    restart = ", by `systemctl restart network`" if _has_network_scripts(facts) else ""
    after = f", after {SYSCTL_FILE}" if lasts else ""
    if line := later(others, SYSCTL_FILE, name):
        yield _Override(line, f"it is read at boot{restart} and by `sysctl --system`{after}")
    # What the kernel refuses of it sets nothing: each of its lines is written.
    if line := deciding([item for item in others if item.file == SYSCTL_CONF and item.is_number], name):
        # systemd-sysctl alone does not read it (sysctl.d(5)).
        boots = "it is read at boot, and " if facts.init is not None else ""
        yield _Override(line, f"{boots}`sysctl -p` and `sysctl --system` set it")
    for program, settings in facts.setters.settings.items():
        if line := deciding(settings, name):
            yield _Override(line, _STARTS[program])
    for when, said in _CLOUD_INIT.items():
        if line := deciding(facts.cloud_init.of(when), name):
            yield _Override(line, said, is_last=when in (When.BOOT_END, When.INSTANCE))
    for interface, owner in facts.owners.items():
        if name == interface_setting(4, interface, "forwarding"):
            yield from _by_keeper(facts, owner)
        if name == interface_setting(6, interface, "accept_ra") and owner.keeper is Keeper.NETWORK_SCRIPTS:
            # initscripts 9.49; 0 with IPV6FORWARDING=yes in /etc/sysconfig/network.
            line = BootSetting("/etc/sysconfig/network-scripts/ifup-ipv6", name, "1")
            yield _Override(line, f"`ifup {interface}` runs it where IPV6INIT is on in {owner.file}")


def _by_keeper(facts: Facts, owner: Owner) -> Iterator[_Override]:
    """Who keeps an interface, of its forwarding (measured with systemd-networkd 262 and NetworkManager 1.58)."""
    by_networkd = Keeper.NETWORKD in (owner.keeper, owner.below)
    who, since = ("systemd-networkd", "256") if by_networkd else ("NetworkManager", "1.54")
    when = f"whenever it sets up {owner.interface}, from version {since} on"
    if line := facts.setters.of(owner):
        yield _Override(line, f"{who} sets it {when}")
    elif Keeper.NETWORKMANAGER in (owner.keeper, owner.below):
        new = interface_setting(4, "default", "forwarding")
        others = [item for item in facts.boot_settings if item.file != SYSCTL_FILE]
        conf = [item for item in others if item.file == SYSCTL_CONF]
        for line in (later(others, SYSCTL_FILE, new), deciding(conf, new)):
            if line is not None:
                yield _Override(line, f"{who} gives that to {owner.interface} {when}")


def _has_network_scripts(facts: Facts) -> bool:
    """Their restart runs systemd-sysctl again (initscripts 9.49: apply_sysctl)."""
    return any(owner.keeper is Keeper.NETWORK_SCRIPTS for owner in facts.owners.values())


def _sentence(one: _Override, changed: Sequence[Sysctl], again: str) -> str:
    line = one.line
    where = f"{line.file}, line {line.line}," if line.line else line.file
    off = [
        each
        for each in changed
        if line.value == "0" and any(is_forwarding(each.name, family) for family in Family)
    ]
    then = " and ".join(f"{each.name} is not {each.value}" for each in changed)
    if off:
        interfaces = [interface_of(each.name) for each in off]
        then = "forwarding is off" + (f" on {joined(interfaces)}" if all(interfaces) else "")
    return f"{where} sets {line.name} = {line.value}: {one.when}. From then on {then} until {again} sets it again"
