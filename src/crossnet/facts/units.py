"""Which units systemd runs, of crossnet's own and of those that manage a network or keep its interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossnet.facts import managers, owners
from crossnet.facts.question import Question

# A oneshot unit with RemainAfterExit stays active; systemd.unit(5), org.freedesktop.systemd1(5).
_RUNNING = frozenset({"active", "activating", "reloading"})

# A pattern finds the units that are loaded; those that do not run are dropped from memory. So systemd looks for no
# file of a unit that is not there.
_SERVICES = (*managers.SERVICES, *owners.SERVICES)
_PATTERNS = ("crossnet*.service", "crossnet-until[.]timer", *(name.replace(".", "[.]") for name in _SERVICES))
_LIST = ("systemctl", "show", "-p", "Id", "-p", "ActiveState", "-p", "Job", *_PATTERNS)
# It is asked over one of these sockets, and answers over none where it does not run as process 1: in a lab, say.
_IF_THERE = '[ -S /run/systemd/private ] || [ -S /run/dbus/system_bus_socket ] || exit; exec "$@"'


@dataclass(frozen=True, slots=True)
class Units:
    """Whether a unit runs, or is about to, by its name; and which have failed."""

    runs: Mapping[str, bool] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()


def parse_units(answer: str) -> Units:
    """Blocks of `Name=value` lines, one for each unit."""
    runs, failed = dict[str, bool](), set[str]()
    for block in answer.split("\n\n"):
        said = dict(line.partition("=")[::2] for line in block.splitlines() if line)
        if said:
            is_waited_for = said.get("Job", "0") not in ("", "0")
            runs[said["Id"]] = said["ActiveState"] in _RUNNING or is_waited_for
            if said["ActiveState"] == "failed" and not is_waited_for:
                failed.add(said["Id"])
    return Units(runs, frozenset(failed))


# Where systemd does not run as process 1, systemctl says so and fails: then nothing is known.
UNITS: Question[Units | None] = Question(
    "asked which units run",
    ("sh", "-c", _IF_THERE, "sh", *_LIST),
    parse_units,
    failed=lambda answer: None,
)
