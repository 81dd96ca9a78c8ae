"""Units that load the rules before the network is up, and again around each start, stop and reload of a firewall."""

from __future__ import annotations

from collections.abc import Collection

from crossnet.facts import boot_order, firewalls
from crossnet.persistence import start
from crossnet.persistence.start import UNIT as START_UNIT
from crossnet.resources import File, Service, Sysctl

UNIT = "crossnet-rules.service"
CLOSE = "crossnet-close@.service"
GATE = "crossnet-gate@.service"

# Units whose start, stop, restart or reload may flush crossnet's rules: those that come before the network, and
# those that come later in the boot. Not docker and libvirtd, which leave them: and docker sets a policy of DROP
# where it finds forwarding off.
EARLY = " ".join(boot_order.UNITS)
LATE = " ".join(firewalls.services(firewalls.LATE))

# What is enabled, and what enables it; the gate comes with what closes.
SERVICES = (Service(UNIT), Service(CLOSE, wanted_by=(*EARLY.split(), *LATE.split())))

# StartLimitInterval=0 in all that follows: a firewall that is restarted five times in ten seconds must not leave the
# gateway closed. It stands where systemd 219 looks for it, and later ones do too.

# One beside each firewall, and it runs as long as that one does: so it is started before the firewall is, whoever
# starts it, and is there to be reloaded before the firewall is. Either way the firewall waits: systemd orders reloads
# as it orders starts, and a stop goes before both (systemd: src/core/job.c, job_compare), so what is ordered after the
# firewall has stopped by then. StopWhenUnneeded= and not PartOf=: it stops also when the firewall fails or ends by
# itself, and not for a restart, which the gate sees. At boot it comes after what switches forwarding on. Without a job
# of the firewall it has nothing to do: then it is started beside one that runs.
_CLOSE_TEXT = f"""\
[Unit]
Description=crossnet: closes the gateway before %i is started or reloaded
DefaultDependencies=no
Wants={GATE.replace("@", "@%i")}
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
WantedBy={EARLY} {LATE}
"""

# One for each firewall, because firewalls are in conflict with each other: restarting firewalld stops nftables, and
# systemd refuses to stop and to restart one and the same unit. Up before the unit that opens begins: that one takes a
# while, and in that while an older systemd does not stop it when a firewall is restarted (job_type_collapse). It is
# started again only where the host has it started at boot: not in rescue mode.
_GATE_TEXT = f"""\
[Unit]
Description=crossnet: closes the gateway before %i is stopped, and opens it when it was started
DefaultDependencies=no
After=local-fs.target {EARLY}
After={LATE}
Before={START_UNIT} shutdown.target
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
_TEXT = f"""\
[Unit]
Description=crossnet: rules of its crossings, before the network is up
Documentation=man:nft(8) man:iptables(8)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
After={{after}}
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
{{as_written}}ExecStart=/bin/sh {start.SCRIPT} rules

[Install]
WantedBy=multi-user.target
"""


def units(script: File, fenced: Collection[Sysctl], before_network: Collection[str]) -> dict[str, str]:
    """The units by name, for this script and the settings that are off whenever the fence is not there.

    `before_network` are the units of firewalls that the host starts before its network.
    """
    sha256 = start.sha256_of(script)
    as_written = _AS_WRITTEN.format(sha256=sha256, close=start.switch_off(fenced)) if fenced else ""
    firewalls = [unit for unit in EARLY.split() if unit in before_network]
    after = " ".join(("local-fs.target", "systemd-sysctl.service", *firewalls))
    return {UNIT: _TEXT.format(as_written=as_written, after=after), GATE: _GATE_TEXT, CLOSE: _CLOSE_TEXT}
