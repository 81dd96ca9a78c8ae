"""Persistence that works on every systemd host: units that load the files in /etc/crossnet, at boot and after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from crossnet import record
from crossnet.persistence import start
from crossnet.persistence.start import SYSCTL_FILE, UNIT
from crossnet.resources import File, Resource, Service, Sysctl
from crossnet.resources.service import GUARD_UNIT, unit_file

__all__ = ["FILES", "SYSCTL_FILE", "persistent"]

CLOSE_UNIT = "crossnet-close@.service"
GATE_UNIT = "crossnet-gate@.service"
RULES_UNIT = "crossnet-rules.service"


# Units whose start, stop, restart or reload may flush crossnet's rules: those that come before the network, and
# those that come later in the boot. Not docker and libvirtd, which leave them: and docker sets a policy of DROP
# where it finds forwarding off.
_EARLY = "nftables.service iptables.service ip6tables.service netfilter-persistent.service"
_LATE = "firewalld.service shorewall.service shorewall6.service"

# What is enabled, with what enables it and whether it is to run from now on; the gate comes with what closes.
_SERVICES = {
    service.unit: service
    for service in (
        Service(UNIT),
        Service(RULES_UNIT),
        Service(CLOSE_UNIT, wanted_by=(*_EARLY.split(), *_LATE.split())),
        Service(GUARD_UNIT, stays=False),
    )
}

FILES = (
    *start.FILES,
    *(path for service in _SERVICES.values() for path in (service.file, *service.links)),
    unit_file(GATE_UNIT),
)

# Before the rules are loaded: files that were not confirmed go, and those that were are completed.
_RECOVER_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: ends a transaction that was open when the host went down
DefaultDependencies=no
ConditionPathExists={record.HOST_SCRIPT}
Wants=network-pre.target
Before={RULES_UNIT} network-pre.target shutdown.target
After=local-fs.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh {record.HOST_SCRIPT} recover

[Install]
WantedBy=multi-user.target
"""

# StartLimitInterval=0 in all that follows: a firewall that is restarted five times in ten seconds must not leave the
# gateway closed. It stands where systemd 219 looks for it, and later ones do too.

# One beside each firewall, and it runs as long as that one does: so it is started before the firewall is, whoever
# starts it, and is there to be reloaded before the firewall is. Either way the firewall waits: systemd orders reloads
# as it orders starts, and a stop goes before both (systemd: src/core/job.c, job_compare), so what is ordered after the
# firewall has stopped by then. StopWhenUnneeded= and not PartOf=: it stops also when the firewall fails or ends by
# itself, and not for a restart, which the gate sees. At boot it comes after what switches forwarding on. Without a job
# of the firewall it has nothing to do: then it is started beside one that runs.
_CLOSE_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: closes the gateway before %i is started or reloaded
DefaultDependencies=no
Wants={GATE_UNIT.replace("@", "@%i")}
After=systemd-sysctl.service
Before=%i.service shutdown.target
Conflicts=shutdown.target
StopWhenUnneeded=yes
ReloadPropagatedFrom=%i.service

[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
ExecStart=/bin/sh -c "! systemctl show -p Job %i.service | grep -q '=[1-9]' || exec sh {start.SCRIPT} before %i"
ExecReload=/bin/sh {start.SCRIPT} before %i

[Install]
WantedBy={_EARLY} {_LATE}
"""

# One for each firewall, because firewalls are in conflict with each other: restarting firewalld stops nftables, and
# systemd refuses to stop and to restart one and the same unit. Up before the unit that opens begins: that one takes a
# while, and in that while an older systemd does not stop it when a firewall is restarted (job_type_collapse). It is
# started again only where the host has it started at boot: not in rescue mode.
_GATE_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: closes the gateway before %i is stopped, and opens it when it was started
DefaultDependencies=no
After=local-fs.target {_EARLY}
After={_LATE}
Before={UNIT} shutdown.target
Conflicts=shutdown.target
PartOf=%i.service

[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
ExecStart=/bin/sh {start.SCRIPT} after
ExecStop=/bin/sh {start.SCRIPT} stopped
"""

# A script that was emptied or cut loads no fence, and ends well.
_AS_WRITTEN = f"""\
ExecStart=/bin/sh -c "echo '{{sha256}}  {start.SCRIPT}' | sha256sum -c || {{{{ {{close}}; exit 1; }}}}"
"""

# systemd-sysctl switches forwarding on long before the network comes up. The rules are in place in between,
# so that there is no moment at which a gateway forwards without its fence; and where they cannot be loaded it is off
# again before the network. Without default dependencies, as nftables.service has it: cloud-init orders the network
# before sysinit.target.
_RULES_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: rules of its crossings, before the network is up
Documentation=man:nft(8) man:iptables(8)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=local-fs.target systemd-sysctl.service {_EARLY}
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
{{as_written}}ExecStart=/bin/sh {start.SCRIPT} rules

[Install]
WantedBy=multi-user.target
"""

# After everything that may flush rules; order only, so that nothing is started that the host would not start by
# itself. What is ordered after a firewall is stopped before it. Routes need the interfaces up.
_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: routes, rules and settings of its crossings
Documentation=man:ip-route(8) man:nft(8) man:iptables(8)
Wants=network-online.target
After=network-online.target {RULES_UNIT}
After={_EARLY}
After={_LATE} ufw.service docker.service libvirtd.service

[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
ExecStart=/bin/sh {start.SCRIPT}
{{stop}}
[Install]
WantedBy=multi-user.target
"""

_STOP = f"ExecStop=/bin/sh {start.SCRIPT} close\n"


def persistent(
    live: Sequence[Resource], crossings: Iterable[str], fenced: Collection[Sysctl] = ()
) -> tuple[Resource, ...]:
    """The files and the units that bring `live` back at boot; nothing for nothing.

    `fenced` are the settings that switch forwarding on for the crossings alone: they are off whenever the fence
    is not there.
    """
    head = _head(crossings)
    files, has_rules = start.script_and_files(live, fenced, head)
    if not files:
        return ()
    units = {UNIT: _UNIT_TEXT.format(stop=_STOP if fenced else "")}
    if has_rules:
        sha256 = start.sha256_of(next(file for file in files if file.path == start.SCRIPT))
        as_written = _AS_WRITTEN.format(sha256=sha256, close=start.switch_off(fenced)) if fenced else ""
        units |= {
            RULES_UNIT: _RULES_UNIT_TEXT.format(as_written=as_written),
            GATE_UNIT: _GATE_UNIT_TEXT,
            CLOSE_UNIT: _CLOSE_UNIT_TEXT,
        }
    units[GUARD_UNIT] = _RECOVER_UNIT_TEXT
    return (
        *files,
        *(File(unit_file(unit), (head + text).encode()) for unit, text in units.items()),
        *(_SERVICES[unit] for unit in units if unit in _SERVICES),
    )


def _head(crossings: Iterable[str]) -> str:
    names = ", ".join(crossings)
    return f"# crossnet: {names}. Written by crossnet; `crossnet undo` removes it.\n"
