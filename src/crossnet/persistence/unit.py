"""Persistence that works on every systemd host: units that load the files in /etc/crossnet, at boot and after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from crossnet import record
from crossnet.persistence import start
from crossnet.persistence.start import SYSCTL_FILE, UNIT
from crossnet.resources import File, Resource, Service, Sysctl

__all__ = ["BOOT_GUARD", "FILES", "SYSCTL_FILE", "persistent"]

RULES_UNIT = "crossnet-rules.service"
CLOSE_UNIT = "crossnet-close.service"
GATE_UNIT = "crossnet-gate.service"
RECOVER_UNIT = "crossnet-recover.service"


def _unit_file(unit: str) -> str:
    return f"/etc/systemd/system/{unit}"


FILES = (
    *start.FILES,
    *(
        path
        for unit in (UNIT, RULES_UNIT, GATE_UNIT, CLOSE_UNIT, RECOVER_UNIT)
        for path in (_unit_file(unit), Service(unit).link)
    ),
)

# What ends a transaction that a power cut left open; the only thing that is written before a confirmation.
BOOT_GUARD = frozenset({("file", _unit_file(RECOVER_UNIT)), ("service", RECOVER_UNIT)})

# Units whose start, stop, restart or reload may flush crossnet's rules: those that come before the network, and
# those that come later in the boot. Not docker and libvirtd, which leave them: and docker sets a policy of DROP
# where it finds forwarding off.
_EARLY = "nftables.service iptables.service ip6tables.service netfilter-persistent.service"
_LATE = "firewalld.service shorewall.service shorewall6.service"

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

# A reload of a firewall flushes without stopping anything. systemd orders reloads as it orders starts, and a stop goes
# before either (systemd: src/core/job.c, job_compare): so this one comes before the firewall's, which waits until the
# units below are stopped, and they are started when it is done. They are not reloaded themselves: systemd may begin
# the next reload of the firewall while they still work on the last. Nor with try-restart, which passes over a unit
# that is just being started (job_type_collapse), and that would then open what was flushed.
_CLOSE_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: closes the gateway while a firewall loads its rules again
DefaultDependencies=no
Before={_EARLY}
Before={_LATE}
Before=shutdown.target
Conflicts=shutdown.target
ReloadPropagatedFrom={_EARLY}
ReloadPropagatedFrom={_LATE}

[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
ExecStart=/bin/sh -c :
ExecReload=/bin/sh -c "systemctl --no-block restart {RULES_UNIT} {GATE_UNIT} {UNIT}"

[Install]
WantedBy=multi-user.target
"""

# The start of the unit that opens the gateway takes a while, and in that while an older systemd does not stop it when
# a firewall is restarted (job_type_collapse). This one has nothing to do at its start and is up before that begins: so
# there is always one that is stopped before a firewall is, and the start that it overtakes does not open.
_GATE_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: closes the gateway before a firewall is stopped
DefaultDependencies=no
After=local-fs.target {RULES_UNIT}
After={_EARLY}
After={_LATE}
Before=shutdown.target
Conflicts=shutdown.target
PartOf={_EARLY}
PartOf={_LATE}

[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
ExecStart=/bin/sh -c :
{{stop}}
[Install]
WantedBy=multi-user.target
"""

# systemd-sysctl switches forwarding on long before the network comes up. The rules are in place in between,
# so that there is no moment at which a gateway forwards without its fence. Without default dependencies, as
# nftables.service has it: cloud-init orders the network before sysinit.target. What is ordered after a firewall
# is stopped before it, so the gateway is closed before its rules are flushed.
_RULES_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: rules of its crossings, before the network is up
Documentation=man:nft(8) man:iptables(8)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=local-fs.target {_EARLY}
Conflicts=shutdown.target
PartOf={_EARLY}

[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
ExecStart=/bin/sh {start.SCRIPT} rules
{{stop}}
[Install]
WantedBy=multi-user.target
"""

# After everything that may flush rules, and again when one of them is restarted; order only, so that nothing
# is started that the host would not start by itself. Routes need the interfaces up.
_UNIT_TEXT = f"""\
[Unit]
Description=crossnet: routes, rules and settings of its crossings
Documentation=man:ip-route(8) man:nft(8) man:iptables(8)
Wants=network-online.target
After=network-online.target {RULES_UNIT}
After={_EARLY}
After={_LATE} ufw.service docker.service libvirtd.service
PartOf={_EARLY}
PartOf={_LATE}
{{gate}}
[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
ExecStart=/bin/sh {start.SCRIPT}
{{stop}}
[Install]
WantedBy=multi-user.target
"""

_BEHIND_GATE = f"Requires={GATE_UNIT}\nAfter={GATE_UNIT}\n"
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
    stop = _STOP if fenced else ""
    units = {UNIT: _UNIT_TEXT.format(gate=_BEHIND_GATE if fenced else "", stop=stop)}
    if has_rules:
        units[RULES_UNIT] = _RULES_UNIT_TEXT.format(stop=stop)
    if fenced:
        units[GATE_UNIT] = _GATE_UNIT_TEXT.format(stop=stop)
        units[CLOSE_UNIT] = _CLOSE_UNIT_TEXT
    units[RECOVER_UNIT] = _RECOVER_UNIT_TEXT
    return (
        *files,
        *(File(_unit_file(unit), (head + text).encode()) for unit, text in units.items()),
        *(Service(unit, stays=unit != RECOVER_UNIT) for unit in units),
    )


def _head(crossings: Iterable[str]) -> str:
    names = ", ".join(crossings)
    return f"# crossnet: {names}. Written by crossnet; `crossnet undo` removes it.\n"
