"""Routes in the profile by which NetworkManager has an interface: nmcli changes it, and NetworkManager writes its file.

nmcli(1), nm-settings(5): ipv4.routes. Measured with 1.42.4: a route with a metric of its own is as crossnet makes it
live, so that a `device reapply` finds it there; a profile in memory would become a file in /etc.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossnet.facts import Facts
from crossnet.facts.owners import Owner
from crossnet.facts.routes import Route
from crossnet.persistence.needs import Needs, Unfit
from crossnet.resources import ProfileRoute, Resource

FOLDER = "/etc/NetworkManager/system-connections/"
PROTOCOL = "static"


def keep(needs: Needs, facts: Facts) -> Sequence[ProfileRoute]:
    """The routes, each in the profile; Unfit where it is in no file that stays."""
    owner = needs.owner
    if not owner.file.startswith(FOLDER):
        raise Unfit(f"its profile is not in {FOLDER}, and nmcli would make a file there of it")
    if owner.profile not in facts.profiles:
        raise Unfit("nmcli does not tell the routes of its profile")
    return [ProfileRoute(owner.profile, route) for route in needs.routes]


def has_route(written: Resource, route: Route) -> bool:
    """Whether it is this very route in a profile."""
    return isinstance(written, ProfileRoute) and ProfileRoute(written.profile, route).entry == written.entry


def told(owner: Owner) -> str:
    """Where they are, in words."""
    return f"its profile (NetworkManager writes {owner.file} anew, and comments in it go)"
