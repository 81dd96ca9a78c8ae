"""What the commands do, as functions."""

from __future__ import annotations

from crossnet.api.applying import Applied, apply
from crossnet.api.capturing import Captured, capture
from crossnet.api.diagnosing import Asked, diagnose
from crossnet.api.finishing import Ended, confirm, recover, rollback
from crossnet.api.looking import carried, history, in_order, load, observe, plan, plan_in_turn, status, survey
from crossnet.api.undoing import UndoPlan, plan_forget, plan_undo, undo
from crossnet.api.verifying import verify
from crossnet.planning import Undo, takes_back
from crossnet.site import Ways, reach
from crossnet.transaction.guard import Guard
from crossnet.transaction.history import Past

__all__ = [
    "Applied",
    "Asked",
    "Captured",
    "Ended",
    "Guard",
    "Past",
    "Undo",
    "UndoPlan",
    "Ways",
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
    "takes_back",
    "undo",
    "verify",
]
