"""A cloud is asked for the ports of hosts that were read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from crossnet.errors import CrossnetError, HostError
from crossnet.facts import Facts
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import CloudFacts, Sought, Unasked


async def ask_cloud(
    name: str, hosts: Mapping[str, Facts], sought: Mapping[str, Sought], seconds: float | None = None
) -> Mapping[str, CloudFacts | Unasked]:
    """What it says of each; why it says nothing is an answer too, since hosts can be looked at without it.

    `sought` is what is asked for of a host besides. It is given up after so many `seconds`, where somebody waits no
    longer than that.
    """
    cloud = Cloud(name)
    try:
        async with asyncio.timeout(seconds):
            return await cloud.look(hosts, sought)
    except TimeoutError:
        return dict.fromkeys(hosts, Unasked(name, f"it has not answered within {seconds:g} s"))
    except CrossnetError as error:
        where = f"{error.host}: " if isinstance(error, HostError) else ""
        return dict.fromkeys(hosts, Unasked(name, str(error).removeprefix(where)))
    finally:
        await cloud.close()
