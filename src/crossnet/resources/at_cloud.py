"""What a cloud holds for a host: the participant of that cloud changes it, by requests."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from crossnet.errors import CloudUnasked
from crossnet.facts import Facts
from crossnet.openstack.ports import CloudFacts, Sought
from crossnet.resources.encoding import decode_fields, encode_fields
from crossnet.resources.resource import Encoded, Resource
from crossnet.resources.sh_tests import Locate, Test
from crossnet.resources.steps import Look, Step


@dataclass(frozen=True, slots=True)
class AtCloud(Resource):
    """One thing at `cloud`, an entry of clouds.yaml, of which crossnet owns a part."""

    place_shown: ClassVar[int] = 7
    is_only_ours: ClassVar[bool] = True
    is_of_all_crossings: ClassVar[bool] = True
    cloud: str

    @property
    def changed_by(self) -> str:
        return f"cloud {self.cloud}"

    @property
    @abstractmethod
    def sought(self) -> Sought:
        """What the cloud is asked for to see it."""

    def look(self) -> tuple[Look, ...]:
        return ()

    def holds(self, locate: Locate) -> Test:
        return Test("false")  # a host cannot see it

    def lacks(self, locate: Locate) -> Test:
        return Test("false")

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        return ()  # the participant makes it by requests

    def encode(self) -> Encoded:
        return encode_fields(self)

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return decode_fields(cls, encoded)


def cloud_of(facts: Facts, cloud: str) -> CloudFacts:
    """What the cloud of this name says of a host; HostError where it could not be asked, or another one was."""
    said = facts.said_by(cloud)
    if isinstance(said, CloudFacts):
        return said
    seen, todo = (said.seen, said.todo) if said is not None else ("nobody has asked it", "")
    raise CloudUnasked(
        f"cloud {cloud}",
        f"asked for what it holds for {facts.host}",
        seen,
        f"{todo} What crossnet opened there stays as it is until the cloud can be asked, by an entry {cloud} of "
        "clouds.yaml with credentials of its project; then do this again.".strip(),
    )
