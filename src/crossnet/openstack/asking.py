"""A cloud is asked for the ports of hosts that were read."""

from __future__ import annotations

from collections.abc import Mapping

from crossnet.errors import CrossnetError
from crossnet.facts import Facts
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import CloudFacts, Unasked


async def ask_cloud(name: str, hosts: Mapping[str, Facts]) -> Mapping[str, CloudFacts | Unasked]:
    """What it says of each; why it says nothing is an answer too, since hosts can be looked at without it."""
    cloud = Cloud(name)
    try:
        return await cloud.look(hosts)
    except CrossnetError as error:
        return dict.fromkeys(hosts, Unasked(name, str(error)))
    finally:
        await cloud.close()
