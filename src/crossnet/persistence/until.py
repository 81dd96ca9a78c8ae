"""The units that take back what is over: at its time, and what was over while the host was down before it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from crossnet import record
from crossnet.persistence import rules
from crossnet.persistence.start import UNIT
from crossnet.resources import Service
from crossnet.resources.service import BOOT, GUARD_UNIT, unit_file

AT_ITS_TIME = "crossnet-until.service"
TIMER = "crossnet-until.timer"
OVERDUE = "crossnet-overdue.service"

_TIMER = Service(TIMER)
_BEFORE_ALL = Service(OVERDUE, stays=False)

FILES = (
    unit_file(AT_ITS_TIME),
    *(path for service in (_TIMER, _BEFORE_ALL) for path in (service.file, *service.links)),
)

# Not oneshot: systemd before 244 never starts such a one again, and what is ordered after it would wait as long as it
# waits for somebody else's transaction.
_AT_ITS_TIME_TEXT = f"""\
[Unit]
Description=crossnet: takes back the crossings that are over
ConditionPathExists={record.UNTIL_SCRIPT}

[Service]
ExecStart=/bin/sh {record.UNTIL_SCRIPT} lapse now
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=76
StartLimitInterval=0
"""

# By the host's clock, whatever is done to it meanwhile: OnCalendar= follows it (systemd: src/core/timer.c,
# timer_time_change). What the host missed while it was down the other unit sees to.
_TIMER_TEXT = f"""\
[Unit]
Description=crossnet: when crossings are over

[Timer]
{{times}}
AccuracySec=1s

[Install]
WantedBy={BOOT}
"""

# Before the settings, the rules and the routes are loaded: what is over is open for no moment. The boot does not wait
# for what cannot be done there; the other unit goes on with it.
_OVERDUE_TEXT = f"""\
[Unit]
Description=crossnet: takes back what was over while the host was down
DefaultDependencies=no
ConditionPathExists={record.UNTIL_SCRIPT}
Wants=network-pre.target
Before=systemd-sysctl.service {rules.UNIT} {UNIT} network-pre.target shutdown.target
After=local-fs.target {GUARD_UNIT}
Conflicts=shutdown.target
OnFailure={AT_ITS_TIME}

[Service]
Type=oneshot
TimeoutStartSec=120
ExecStart=/bin/sh {record.UNTIL_SCRIPT} lapse boot

[Install]
WantedBy={BOOT}
"""


def units(until: Sequence[datetime]) -> dict[str, str]:
    """The units by their names, for these times."""
    times = "\n".join(f"OnCalendar={each}" for each in _times(until))
    return {
        AT_ITS_TIME: _AT_ITS_TIME_TEXT,
        TIMER: _TIMER_TEXT.format(times=times),
        OVERDUE: _OVERDUE_TEXT,
    }


def services(until: Sequence[datetime]) -> dict[str, Service]:
    """Those of them that are enabled."""
    return {TIMER: replace(_TIMER, times=_times(until)), OVERDUE: _BEFORE_ALL}


def _times(until: Sequence[datetime]) -> tuple[str, ...]:
    return tuple(f"{at:%Y-%m-%d %H:%M:%S} UTC" for at in until)
