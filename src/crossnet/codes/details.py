"""What an answer leaves open: honesty about it, never a cause."""

from __future__ import annotations

from crossnet.codes.code import Code

DETAILS = (
    Code(
        "static-dynamic-disagree",
        "The flow passes, but not in the way the spec promises.",
        "The crossing's counter did not move, or connection tracking shows another source.",
        "Look at the client's routes and at other translation rules on the gateway.",
    ),
)
