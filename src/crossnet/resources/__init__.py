"""The kinds of things that crossnet owns on a host, one small module each."""

from __future__ import annotations

from crossnet.resources.at_cloud import AtCloud
from crossnet.resources.file import File
from crossnet.resources.firewalld import FirewalldPolicy
from crossnet.resources.host_routes import HostRoutes
from crossnet.resources.init_script import InitScript
from crossnet.resources.jump import Jump
from crossnet.resources.lines import Lines
from crossnet.resources.policy_rule import PolicyRuleResource
from crossnet.resources.port_security import PortSecurity
from crossnet.resources.profile_route import ProfileRoute
from crossnet.resources.resource import Change, Encoded, Phase, Resource, Within
from crossnet.resources.route import RouteResource
from crossnet.resources.service import Service
from crossnet.resources.sh_tests import Listed, Locate, Test, is_absent
from crossnet.resources.steps import Check, Command, Line, Link, Look, Splice, Step, Write, goes_with_its_last
from crossnet.resources.sysctl import Sysctl
from crossnet.resources.table import EndFlows, RuleTable

KINDS: dict[str, type[Resource]] = {
    kind.kind: kind
    for kind in (
        RuleTable,
        Jump,
        FirewalldPolicy,
        Sysctl,
        RouteResource,
        PolicyRuleResource,
        File,
        Lines,
        ProfileRoute,
        Service,
        InitScript,
        PortSecurity,
        HostRoutes,
    )
}

__all__ = [
    "KINDS",
    "AtCloud",
    "Change",
    "Check",
    "Command",
    "Encoded",
    "EndFlows",
    "File",
    "FirewalldPolicy",
    "HostRoutes",
    "InitScript",
    "Jump",
    "Line",
    "Lines",
    "Link",
    "Listed",
    "Locate",
    "Look",
    "Phase",
    "PolicyRuleResource",
    "PortSecurity",
    "ProfileRoute",
    "Resource",
    "RouteResource",
    "RuleTable",
    "Service",
    "Splice",
    "Step",
    "Sysctl",
    "Test",
    "Within",
    "Write",
    "goes_with_its_last",
    "is_absent",
]
