"""How each crossing stands."""

from crossnet.health.planned import crossing_status
from crossnet.health.status import CrossingStatus, State
from crossnet.health.unplanned import left_standing, refused_status, unknown_status

__all__ = [
    "CrossingStatus",
    "State",
    "crossing_status",
    "left_standing",
    "refused_status",
    "unknown_status",
]
