"""How far the journal of a host is believed by somebody who has not written it.

Whoever controls a host can write there whatever they like. What is asked of a cloud by such a journal stays within
what the spec of whoever ends it would have that cloud hold, and what it holds already: less may be made open than there
is, never more than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from crossnet.design import design
from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.openstack.entry import parted
from crossnet.openstack.ports import CloudFacts, Port, Unasked
from crossnet.planning.scope import going_on
from crossnet.record import APPLIED, read_record
from crossnet.resources import AtCloud
from crossnet.spec import Crossing, PortSecurity, Spec
from crossnet.standing import Identity
from crossnet.values import Address, Network, contains, together


@dataclass(frozen=True, slots=True)
class Believed:
    """The spec, and what the hosts and their clouds say now."""

    spec: Spec
    facts: Mapping[str, Facts]

    def doubt(self, cloud: str) -> tuple[str, str]:
        """Why nothing is asked of this cloud, and what to do; nothing where it is the spec's, and has answered."""
        if parted(cloud)[0] != parted(self.spec.cloud)[0]:
            named = f"cloud {self.spec.cloud}" if self.spec.cloud else "no cloud"
            return (
                f"the spec names {named}, and a host alone does not say where crossnet writes",
                f"If it is right, write `openstack: {{cloud: {cloud}}}` into the spec, and do this again.",
            )
        if not any(self.clouds(cloud)):
            said = (facts.said_by(cloud) for facts in self.facts.values())
            why = next((one.seen for one in said if isinstance(one, Unasked)), "nobody has asked it")
            return f"which ports are the hosts' is not known: {why}", "Do this again when it answers."
        return "", ""

    def clouds(self, cloud: str) -> Iterator[CloudFacts]:
        for facts in self.facts.values():
            said = facts.said_by(cloud)
            if isinstance(said, CloudFacts):
                yield said

    def port(self, cloud: str, port: str) -> Port | None:
        """The port, where it is plugged into an interface of one of the hosts."""
        ports = (one for said in self.clouds(cloud) for one in said.ports.values())
        return next((one for one in ports if one.id == port), None)

    def wanted(self) -> Mapping[Identity, AtCloud]:
        """What the spec itself would have its cloud hold; nothing where that cannot be told."""
        bare = {
            name: replace(one, files={path: file for path, file in one.files.items() if path != APPLIED})
            for name, one in self.facts.items()
        }
        try:
            made = design(going_on(self.spec, bare), bare)
        except PlanRefused:
            return {}
        return {
            one.identity: one for items in made.wanted.values() for one in items if isinstance(one, AtCloud)
        }

    def names_destination(self, asked: Network) -> bool:
        return lies_within(asked, (each for crossing in self.spec.crossings for each in crossing.to))

    @property
    def addresses(self) -> frozenset[Address]:
        """Those of the hosts."""
        return frozenset(
            item.address for facts in self.facts.values() for link in facts.links for item in link.addresses
        )

    @property
    def has_disabled(self) -> bool:
        """Whether the spec, or what stands on a host, has it switched off."""
        return any(map(_disables, (*self.spec.crossings, *self._standing())))

    def _standing(self) -> Iterator[Crossing]:
        for facts in self.facts.values():
            try:
                record = read_record(facts)
            except PlanRefused:
                continue
            yield from (path.crossing for one in record.crossings for path in one.paths)


def _disables(crossing: Crossing) -> bool:
    return crossing.port_security is PortSecurity.DISABLE


def lies_within(asked: Network, networks: Iterable[Network]) -> bool:
    """Whether an address range is part of these."""
    return any(contains(one, asked) for one in together(networks))
