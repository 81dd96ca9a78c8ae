"""What the commands do, as functions; each comes with what it needs, when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossnet.api.adopting import Adoption, adopt
    from crossnet.api.applying import Applied, apply
    from crossnet.api.capturing import Captured, capture
    from crossnet.api.diagnosing import Asked, diagnose
    from crossnet.api.finishing import Ended, confirm, recover, rollback
    from crossnet.api.loading import load
    from crossnet.api.looking import carried, history, in_order, observe, plan, plan_in_turn, status, survey
    from crossnet.api.undoing import UndoPlan, plan_forget, plan_undo, undo
    from crossnet.api.verifying import verify
    from crossnet.planning import Undo
    from crossnet.site import Ways, reach
    from crossnet.transaction.guard import Guard
    from crossnet.transaction.history import Past

__all__ = [
    "Adoption",
    "Applied",
    "Asked",
    "Captured",
    "Ended",
    "Guard",
    "Past",
    "Undo",
    "UndoPlan",
    "Ways",
    "adopt",
    "apply",
    "capture",
    "carried",
    "confirm",
    "diagnose",
    "history",
    "in_order",
    "load",
    "observe",
    "plan",
    "plan_forget",
    "plan_in_turn",
    "plan_undo",
    "reach",
    "recover",
    "rollback",
    "status",
    "survey",
    "undo",
    "verify",
]

_MODULES = {
    "crossnet.api.adopting": ("Adoption", "adopt"),
    "crossnet.api.applying": ("Applied", "apply"),
    "crossnet.api.capturing": ("Captured", "capture"),
    "crossnet.api.diagnosing": ("Asked", "diagnose"),
    "crossnet.api.finishing": ("Ended", "confirm", "recover", "rollback"),
    "crossnet.api.loading": ("load",),
    "crossnet.api.looking": (
        "carried",
        "history",
        "in_order",
        "observe",
        "plan",
        "plan_in_turn",
        "status",
        "survey",
    ),
    "crossnet.api.undoing": ("UndoPlan", "plan_forget", "plan_undo", "undo"),
    "crossnet.api.verifying": ("verify",),
    "crossnet.planning": ("Undo",),
    "crossnet.site": ("Ways", "reach"),
    "crossnet.transaction.guard": ("Guard",),
    "crossnet.transaction.history": ("Past",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    # Late: planning and changing take a tenth of a second to import, which who only diagnoses would wait for.
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
