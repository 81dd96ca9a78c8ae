"""The explanation codes that this version can give: what each means, what shows it, what to do.

A code is a stable key: once released it is never renamed or used for something else.
"""

from __future__ import annotations

from crossnet.codes.adoption import ADOPTION
from crossnet.codes.client import CLIENT
from crossnet.codes.code import Code
from crossnet.codes.destination import DESTINATION
from crossnet.codes.details import DETAILS
from crossnet.codes.filters import FILTERS
from crossnet.codes.gateway import GATEWAY
from crossnet.codes.impacts import IMPACTS
from crossnet.codes.link import LINK
from crossnet.codes.nat import NAT
from crossnet.codes.openstack import OPENSTACK
from crossnet.codes.refusals import REFUSALS

__all__ = ["CODES", "Code"]

CODES = {
    code.name: code
    for code in (
        *REFUSALS,
        *IMPACTS,
        *CLIENT,
        *LINK,
        *OPENSTACK,
        *GATEWAY,
        *FILTERS,
        *NAT,
        *DESTINATION,
        *DETAILS,
        *ADOPTION,
    )
}
