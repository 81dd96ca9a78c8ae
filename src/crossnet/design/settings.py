"""The kernel settings by which a gateway forwards, and whether it did so before crossnet came."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from crossnet.design.overridden import switched_off
from crossnet.facts import Facts
from crossnet.facts.sysctls import (
    FORWARDING,
    at_boot,
    deciding,
    interface_setting,
    is_forwarding,
)
from crossnet.path import Path
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.persistence.start import SCRIPT
from crossnet.record import Record
from crossnet.resources import File, Resource, RuleTable, Sysctl
from crossnet.values import Family

# They switch it on when they start, for what they bring along; firewalld where it translates (1.3.3).
_SWITCH_IT_ON = ("docker", "libvirt", "kubernetes")
_TRANSLATES = re.compile(r"\b(masquerade|dnat|snat)\b", re.I)


def forwarded_before(facts: Facts, record: Record, family: Family) -> bool:
    """Whether the host forwarded packets before crossnet came, by its own record where there is one.

    Where nobody knows, crossnet's own rules let others pass today, and go on to do so.
    """
    setting = Sysctl(FORWARDING[family], "1")
    owned, adopted = record.find(setting), record.adoption(setting)
    if owned and owned.is_unknown:
        return True
    if was_given_up(facts, record, family):
        return False
    before = owned.original if owned else adopted.found if adopted else setting.current(facts)
    return isinstance(before, Sysctl) and before.value != "0"


def was_given_up(facts: Facts, record: Record, family: Family) -> bool:
    """Whether forwarding that somebody else had on when crossnet came is off now, and he brings it back no more."""
    adopted = record.adoption(Sysctl(FORWARDING[family], "1"))
    return adopted is not None and adopted.found.is_given_up(facts)


def left_at_boot(facts: Facts, record: Record, live: Sequence[Resource]) -> Mapping[str, Sequence[str]]:
    """The settings that are left at a boot to programs that had forwarding on before, and to which; with a fence none.

    Written into sysctl.d they would be on before those programs keep everybody else out, and also where they do not
    start any more: dockerd sets the policy DROP of FORWARD only where it finds forwarding off (20.10), firewalld loads
    its rules after systemd-sysctl has run, and the network is up (1.3.3; both measured).
    """
    left: dict[str, Sequence[str]] = {}
    for family, main in FORWARDING.items():
        own = [one for one in live if isinstance(one, Sysctl) and is_forwarding(one.name, family)]
        fenced = any(isinstance(one, RuleTable) and one.family is family and one.holds_fence for one in live)
        if not own or fenced or not forwarded_before(facts, record, family) or _in_files(facts, main):
            continue
        if programs := tuple(switching_on(facts, main)):
            left |= dict.fromkeys((one.name for one in own), programs)
    return left


def left_to_others(record: Record) -> bool:
    """Whether crossnet brings everything of a gateway back at a boot but its forwarding of IPv4."""
    setting = Sysctl(FORWARDING[Family.V4], "1")
    written = {one.applied.path: one.applied for one in record.owned if isinstance(one.applied, File)}
    settings = written.get(SYSCTL_FILE)
    lines = settings.data.decode(errors="replace").splitlines() if settings is not None else []
    is_written = f"{setting.name} = {setting.value}" in lines
    return record.adoption(setting) is not None and SCRIPT in written and not is_written


def _in_files(facts: Facts, name: str) -> bool:
    """Whether a file of somebody else switches it on at a boot, whatever crossnet does."""
    others = tuple(one for one in facts.boot_settings if one.file != SYSCTL_FILE)
    line = at_boot(others, name, systemd=facts.capabilities.systemd)
    return line is not None and line.switches_on


def switching_on(facts: Facts, name: str) -> Iterator[str]:
    """The programs there that switch it on when they start."""
    for manager in facts.managers:
        if manager.name in _SWITCH_IT_ON or (manager.name == "firewalld" and _firewalld_translates(facts)):
            yield manager.name
    for program, settings in facts.setters.settings.items():
        line = deciding(settings, name)
        if line is not None and line.switches_on:
            yield program


def _firewalld_translates(facts: Facts) -> bool:
    return any(
        _TRANSLATES.search(rule.text)
        for _, table, chain in facts.firewall.others()
        if table.name == "firewalld" or chain.name.startswith(("POST_", "PRE_"))
        for rule in chain.rules
    )


def forwarding(facts: Facts, record: Record, paths: Sequence[Path]) -> list[Resource]:
    """Forwarding on, and what keeps it from being off on one interface, or from costing the default route."""
    family = paths[0].family
    main = Sysctl(FORWARDING[family], "1")
    interfaces = sorted({name for path in paths for name in (path.ingress, path.egress)})
    wanted: list[Resource] = []
    if family is Family.V6:
        wanted += _keep_advertised(facts, record)
    wanted.append(main)
    turns_on = facts.sysctls.get(main.name) == "0"  # which sets every interface
    for interface in interfaces:
        own = Sysctl(interface_setting(family, interface, "forwarding"), "1")
        is_off = facts.sysctls.get(own.name) == "0" and not turns_on
        comes_off = family is Family.V4 and switched_off(facts, interface)
        if is_off or (own.has_place(facts) and (comes_off or record.find(own))):
            wanted.append(own)
    return wanted


def closing(facts: Facts, record: Record, family: Family, live: Sequence[Resource]) -> list[Sysctl]:
    """What goes back to 0 whenever the fence is gone; nothing where others had forwarding on before crossnet."""
    if forwarded_before(facts, record, family):
        return []
    main = FORWARDING[family]
    own = [each for each in live if isinstance(each, Sysctl) and is_forwarding(each.name, family)]
    # Where the host's is off already, switching it off once more would leave those of interfaces on.
    return [Sysctl(main, "1"), *(each for each in own if each.name != main)]


def _keep_advertised(facts: Facts, record: Record) -> list[Resource]:
    """Switching IPv6 forwarding on drops default routes learned from router advertisements, and hears no more of them.

    Unless accept_ra is 2 (Documentation/networking/ip-sysctl, net/ipv6/addrconf.c): a gateway that
    learned its own default route would lose it, and its learned addresses and prefixes would run out: with
    them perhaps the operator.
    """
    learned = {route.device for route in facts.routes if route.protocol == "ra" and route.device}
    learned |= {link.name for link in facts.links if any(item.advertised for item in link.of(Family.V6))}
    wanted: list[Resource] = []
    for link in facts.links:
        setting = Sysctl(interface_setting(6, link.name, "accept_ra"), "2")
        needed = link.name in learned and facts.sysctls.get(setting.name) == "1"
        if needed or (setting.has_place(facts) and record.find(setting)):
            wanted.append(setting)
    return wanted
