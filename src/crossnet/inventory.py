"""The hosts of a spec, each with the transport that reaches it."""

from __future__ import annotations

from collections.abc import Callable

from crossnet.errors import HostError
from crossnet.spec import HostSpec, Spec
from crossnet.transport import Host, ShellHost
from crossnet.transport.local import Local
from crossnet.transport.netns import Netns

# How a `lab: NAME` is found is the lab's business; it stands beside the pipeline and is handed in.
FindLabHost = Callable[[str, str], ShellHost]


def connect(spec: Spec, find_lab_host: FindLabHost) -> dict[str, Host]:
    """Each host of the spec by its name; HostError where one cannot be reached in this version."""
    return {host.name: _connect(host, find_lab_host) for host in spec.hosts}


def _connect(host: HostSpec, find_lab_host: FindLabHost) -> Host:
    if host.lab is not None:
        return find_lab_host(host.name, host.lab)
    if host.netns is not None:
        return Netns(Local(host.name, become=host.become), host.netns)
    if host.local:
        return Local(host.name, become=host.become)
    raise HostError(
        host.name,
        f"would connect to ssh {host.ssh}",
        "this version of crossnet does not speak SSH yet",
        "Use `local: true`, `netns: NAME` or `lab: NAME`; SSH comes with the next version.",
    )
