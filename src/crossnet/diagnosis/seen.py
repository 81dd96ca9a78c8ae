"""What is seen of a flow's probes while they are on their way."""

from __future__ import annotations

from crossnet.capture import Packet, Sighting, Watch
from crossnet.diagnosis.course import Course
from crossnet.diagnosis.probes import LADDER
from crossnet.diagnosis.trail import Part, Tags, Trail


class Seen:
    """The packets of one flow among all that are seen, so far."""

    def __init__(self, watch: Watch, tags: Tags, course: Course) -> None:
        self.watch, self.tags, self.course = watch, tags, course
        self._mark: int | None = None  # how much had been seen when neighbours began to ask each other
        self._over: tuple[Sighting, ...] | None = None

    def set_apart(self) -> None:
        """From now on neighbours ask each other."""
        self._mark = len(self.watch.sightings)

    @property
    def is_set_apart(self) -> bool:
        return self._mark is not None

    def end(self) -> None:
        """What comes from now on is none of it."""
        self._over = self.sightings()

    def sightings(self) -> tuple[Sighting, ...]:
        """What was seen, without what neighbours have asked each other meanwhile: that is not about the probes."""
        if self._over is not None:
            return self._over
        seen = tuple(self.watch.sightings)
        if self._mark is None:
            return seen
        tags = self.tags.knowing(seen, self.course.client.host)
        others = (Part.NEIGHBOUR, Part.OTHER)
        late = (
            each
            for each in seen[self._mark :]
            if tags.part(each.packet) not in others or _is_of_a_size(each.packet)
        )
        return (*seen[: self._mark], *(late if tags.own is not None else ()))

    def trail(self) -> Trail:
        """How far it came."""
        sightings = self.sightings()
        tags = self.tags.knowing(sightings, self.course.client.host)
        return Trail(tags, self.course, sightings, self.watch.points)


def _is_of_a_size(packet: Packet) -> bool:
    """Whether it is an echo of one of the sizes that the client tries, or its answer."""
    return (packet.is_echo_request or packet.is_echo_reply) and packet.length in LADDER
