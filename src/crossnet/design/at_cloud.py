"""What a cloud says of a gateway, where its crossings ask for something there."""

from __future__ import annotations

from collections.abc import Iterable

from crossnet.design.question import Refused
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.openstack.ports import CloudFacts, Unasked
from crossnet.path import Path


def cloud_of_paths(facts: Facts, paths: Iterable[Path]) -> CloudFacts:
    """What the cloud of these crossings says of their gateway; Refused where they name several, or it says nothing."""
    names = sorted({path.crossing.cloud for path in paths})
    if len(names) > 1:
        raise Refused(
            Refusal(
                "several-clouds",
                facts.host,
                f"its crossings name several clouds: {', '.join(names)}",
                "A machine is in one cloud, and all specs on a gateway have to call it alike: agree on one entry of "
                "clouds.yaml, which each of you has with credentials of their own. Whoever opens ports by other means "
                "leaves `openstack` out, or writes `port-security: leave`.",
            )
        )
    said: CloudFacts | Unasked | None = facts.said_by(names[0])
    if isinstance(said, CloudFacts):
        return said
    raise Refused(
        Refusal(
            "cloud-unasked",
            f"cloud {names[0]}",
            f"nothing is known of the ports of {facts.host}: {said.seen if said is not None else 'nobody asked'}",
            f"{said.todo if said is not None else ''} Then plan again; or write `port-security: leave`, and open the "
            "ports by other means.".strip(),
        )
    )


def port_unknown(facts: Facts, cloud: CloudFacts, interface: str, otherwise: str) -> Refusal:
    """That an interface has no port; `otherwise` is what to write where it needs none."""
    reason = cloud.unfound.get(interface, "it has no port with its hardware address that may be seen")
    return Refusal(
        "port-unknown",
        facts.host,
        f"cloud {cloud.cloud} does not tell which port {interface} is plugged into: {reason}",
        f"Use credentials of the project of that port. {otherwise}",
    )


__all__ = ["cloud_of_paths", "port_unknown"]
