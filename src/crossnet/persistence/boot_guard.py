"""What ends, at boot and before anything is loaded, a transaction that was open when the host went down."""

from __future__ import annotations

from crossnet import record
from crossnet.persistence.rules import UNIT as RULES_UNIT
from crossnet.resources import Service
from crossnet.resources.service import GUARD_UNIT

SERVICE = Service(GUARD_UNIT, stays=False)

# Before the rules are loaded, and firewalld's: files that were not confirmed go, and those that were are completed.
TEXT = f"""\
[Unit]
Description=crossnet: ends a transaction that was open when the host went down
DefaultDependencies=no
ConditionPathExists={record.HOST_SCRIPT}
Wants=network-pre.target
Before={RULES_UNIT} firewalld.service network-pre.target shutdown.target
After=local-fs.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh {record.HOST_SCRIPT} recover

[Install]
WantedBy=multi-user.target
"""
