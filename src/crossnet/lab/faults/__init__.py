"""What a lab can break, one thing at a time, on the path from its client to its target.

The path is meant to work: after `crossnet apply`, or with a route, forwarding and translation made by hand.
"""

from __future__ import annotations

import difflib

from crossnet.errors import LabError
from crossnet.lab.faults import client, filters, gateway, segment, target, translation
from crossnet.lab.faults.fault import Fault, Step
from crossnet.lab.faults.scene import Scene, scene
from crossnet.lab.topology import Topology

__all__ = ["Fault", "Scene", "Step", "catalogue", "fault", "scene"]


def catalogue(topology: Topology) -> tuple[Fault, ...]:
    """All faults of a topology, from the client to the target; LabError where it has no path to break."""
    on = scene(topology)
    places = (client, segment, gateway, filters, translation, target)
    return tuple(one for place in places for one in place.faults(on))


def fault(topology: Topology, name: str) -> Fault:
    """The fault of that name, else LabError with the nearest one."""
    known = {one.name: one for one in catalogue(topology)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`crossnet lab break --list` lists all."
        raise LabError(f"there is no fault {name!r}: {hint}")
    return known[name]
