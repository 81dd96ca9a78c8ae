"""Persistence that works on every systemd host: units that load the files in /etc/crossnet, at boot and after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from crossnet.facts import boot_order, firewalls
from crossnet.facts.firewalld import POLICY_FILE
from crossnet.facts.sysctls import interface_of
from crossnet.persistence import boot_guard, heal, rules, start, until
from crossnet.persistence.rules import EARLY, LATE
from crossnet.persistence.start import UNIT
from crossnet.resources import File, Resource, RouteResource, Service, Sysctl
from crossnet.resources.service import GUARD_UNIT, unit_file

_SERVICES = {
    service.unit: service for service in (Service(UNIT), *rules.SERVICES, boot_guard.SERVICE, heal.SERVICE)
}

FILES = (
    *start.FILES,
    *(path for service in _SERVICES.values() for path in (service.file, *service.links)),
    unit_file(rules.GATE),
    heal.SCRIPT,
    *until.FILES,
    POLICY_FILE,
)

# After everything that may flush rules; order only, so that nothing is started that the host would not start by
# itself. What is ordered after a firewall is stopped before it.
_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: routes, rules and settings of its crossings
Documentation=man:ip-route(8) man:nft(8) man:iptables(8)
{{network}} {rules.UNIT}
After={EARLY}
After={LATE} {" ".join(firewalls.services(firewalls.LEAVING))}

[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
ExecStart=/bin/sh {start.SCRIPT}
{{stop}}
[Install]
WantedBy=multi-user.target
"""

# Routes need the interfaces up, and a setting of one interface somebody else may set when he sets that up. So does
# NetworkManager with that of IPv6 for all: it was off again on one interface after three of four boots (seen with
# 1.42.4). For all others it is enough that the network is begun with: one interface without carrier delays the rest by
# two minutes.
_ONLINE = "Wants=network-online.target\nAfter=network-online.target"
_BEGUN = "After=network.target cloud-init.service"

_STOP = f"ExecStop=/bin/sh {start.SCRIPT} close\n"


def persistent(
    live: Sequence[Resource],
    crossings: Iterable[str],
    fenced: Collection[Sysctl] = (),
    ends: Sequence[datetime] = (),
    kept: Sequence[Resource] = (),
    healed: Sequence[Resource] = (),
    before_network: Collection[str] = boot_order.UNITS,
    *,
    by_networkmanager: bool = False,
) -> tuple[Resource, ...]:
    """The files and the units that bring `live` back at boot, with what others have `kept`; nothing for nothing.

    `fenced` are the settings that switch forwarding on for the crossings alone: they are off whenever the fence
    is not there. `ends` are the times at which crossings are over. `healed` are brought back also without a boot,
    whenever they are taken away. `before_network` are the units of firewalls that come before the network there.
    `by_networkmanager` is whether that keeps an interface there.
    """
    first = head(crossings)
    files, has_rules = start.script_and_files(live, fenced, first, heals=bool(healed))
    if not files and not kept:
        return ()
    waits = any(map(_needs_interfaces, live)) or (by_networkmanager and any(map(_is_of_v6, live)))
    network = _ONLINE if waits else _BEGUN
    units = {UNIT: _UNIT_TEXT.format(network=network, stop=_STOP if fenced else "")} if files else {}
    if has_rules:
        script = next(file for file in files if file.path == start.SCRIPT)
        units |= rules.units(script, fenced, before_network)
    units[GUARD_UNIT] = boot_guard.TEXT
    if healed:
        files = (*files, heal.script(healed, files, fenced, first))
        units[heal.UNIT] = heal.TEXT
    services = _SERVICES
    if ends:
        units |= until.units(ends)
        services = {**_SERVICES, **until.services(ends)}
    return (
        *kept,
        *files,
        *(File(unit_file(unit), (first + text).encode()) for unit, text in units.items()),
        *(services[unit] for unit in units if unit in services),
    )


def _needs_interfaces(item: Resource) -> bool:
    return isinstance(item, RouteResource) or (isinstance(item, Sysctl) and bool(interface_of(item.name)))


def _is_of_v6(item: Resource) -> bool:
    return isinstance(item, Sysctl) and item.name.startswith("net.ipv6.")


def head(crossings: Iterable[str]) -> str:
    """The first line of each file, which says whose it is and for which crossings."""
    return f"# {whose(crossings)}\n"


def whose(crossings: Iterable[str]) -> str:
    """What the first line of each file says, in whatever notation."""
    names = ", ".join(crossings) or "no crossing any more"
    return f"crossnet: {names}. Written by crossnet; `crossnet undo` removes it."
