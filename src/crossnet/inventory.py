"""The hosts of a spec, each with the transport that reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from crossnet.errors import Bug
from crossnet.spec import HostSpec, Spec
from crossnet.transport import Host, ShellHost
from crossnet.transport.local import Local
from crossnet.transport.netns import Netns

# How a `lab: NAME` is found is the lab's business; it stands beside the pipeline and is handed in.
FindLabHost = Callable[[str, str], ShellHost]


def connect(spec: Spec, find_lab_host: FindLabHost) -> dict[str, Host]:
    """Each host of the spec by its name; nothing is opened yet. HostError where `ssh:` cannot be meant."""
    return {host.name: _connect(host, find_lab_host) for host in spec.hosts}


def _connect(host: HostSpec, find_lab_host: FindLabHost) -> Host:
    if host.lab is not None:
        return find_lab_host(host.name, host.lab)
    if host.netns is not None:
        return Netns(Local(host.name, become=host.become), host.netns)
    if host.local:
        return Local(host.name, become=host.become)
    if host.ssh is None:
        raise Bug(f"the host {host.name} says no way to reach it")
    from crossnet.transport.ssh import Ssh  # late: asyncssh takes longer to import than all of crossnet

    return Ssh(host.name, host.ssh, become=host.become)


@runtime_checkable
class _Connected(Protocol):
    async def close(self) -> None: ...


async def disconnect(hosts: Mapping[str, Host]) -> None:
    """End what stands between here and the hosts; a host that is used again is connected again."""
    async with asyncio.TaskGroup() as group:
        for host in hosts.values():
            if isinstance(host, _Connected):
                group.create_task(host.close())
