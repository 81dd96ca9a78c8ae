"""By which requests a cloud changes what it holds, a module for each kind of resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crossnet.openstack.api import Cloud
from crossnet.resources import HostRoutes, PortSecurity
from crossnet.transaction.requests.ports import Ports
from crossnet.transaction.requests.requests import Requests
from crossnet.transaction.requests.subnets import Subnets

REQUESTS: Mapping[str, Callable[[Cloud], Requests[Any]]] = {
    PortSecurity.kind: Ports,
    HostRoutes.kind: Subnets,
}

__all__ = ["REQUESTS", "Requests"]
