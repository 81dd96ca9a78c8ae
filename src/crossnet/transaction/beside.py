"""Units beside each firewall of a host while its transaction is open: they end it before the firewall may flush rules.

What is persistent stands beside firewalls only after the confirmation, and what an undo takes away stands there until
then: in between neither may open what the other closed. They are in /run, so no boot finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crossnet.persistence.rules import EARLY, LATE
from crossnet.persistence.start import UNIT
from crossnet.record import HOST_SCRIPT
from crossnet.resources import Change

CLOSE = "crossnet-open-close@.service"
GATE = "crossnet-open-gate@.service"

# Beside crossnet's own as well: whoever starts that has it load what was applied before.
UNITS = (*EARLY.split(), *LATE.split(), UNIT)

# A transaction that has ended since has nothing to yield.
_ENDS = f"/bin/sh {HOST_SCRIPT} yield %i"
_ENDS_BESIDE_A_JOB = (
    f"""/bin/sh -c "! systemctl show -p Job %i.service | grep -q '=[1-9]' || exec {_ENDS}\""""
)
_HEAD = """\
[Unit]
Description=crossnet: ends its open transaction before %i is {}
ConditionPathExists={}
DefaultDependencies=no
"""
_SERVICE = """\
[Service]
Type=oneshot
RemainAfterExit=yes
StartLimitInterval=0
"""

# As those that stay are beside it (`persistence.rules`), and before them: when they close it, nothing may open again.
# Each asks twice: of one that was killed in the middle of it the firewall must not find what is left.
_CLOSE_TEXT = f"""\
{_HEAD.format("started or reloaded", HOST_SCRIPT)}\
Wants={GATE.replace("@", "@%i")}
Before=%i.service crossnet-close@%i.service shutdown.target
Conflicts=shutdown.target
StopWhenUnneeded=yes
ReloadPropagatedFrom=%i.service

{_SERVICE}\
ExecStart=-{_ENDS_BESIDE_A_JOB}
ExecStart=-{_ENDS_BESIDE_A_JOB}
ExecReload=-{_ENDS}
ExecReload=-{_ENDS}
"""
_GATE_TEXT = f"""\
{_HEAD.format("stopped", HOST_SCRIPT)}\
After=%i.service crossnet-gate@%i.service
Before=shutdown.target
Conflicts=shutdown.target
PartOf=%i.service

{_SERVICE}\
ExecStart=/bin/true
ExecStop=-{_ENDS}
ExecStop=-{_ENDS}
"""


def beside_firewalls(live: Iterable[Change]) -> Iterator[tuple[str, bytes]]:
    """The files of the units and which units they stand beside; nothing where no firewall takes away any of it."""
    if not any(change.resource.is_flushed for change in live):
        return
    yield "beside/units", "".join(f"{unit}\n" for unit in UNITS).encode()
    yield f"beside/{CLOSE}", _CLOSE_TEXT.encode()
    yield f"beside/{GATE}", _GATE_TEXT.encode()
