"""The profile by which NetworkManager has an interface once it activates one by itself, as it does at a boot.

nm-settings(5), and measured with 1.42.4: of those that are for the interface and connect automatically the one with the
highest autoconnect-priority, else the one that was in use last.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from crossnet.facts.links import Link

ROUTES = ("ipv4.routes", "ipv6.routes")
SETTINGS = ",".join(
    (
        *("connection.uuid", "connection.type", "connection.interface-name"),
        *("connection.autoconnect", "connection.autoconnect-priority", "connection.timestamp"),
        *("connection.permissions", "802-3-ethernet.mac-address", "match"),
        *ROUTES,
    )
)
"""What nmcli is asked of every profile; a version that does not know one of these fails."""

_WIRED = "802-3-ethernet"
_LEAST = -1000  # less than any priority


def taken_next(
    link: Link, now: str, profiles: Mapping[str, Mapping[str, str]], elsewhere: Collection[str]
) -> str:
    """The uuid of its profile at the next boot; `now` is that of today, `elsewhere` are those of other interfaces.

    One that may fit or not, as one for a user, or with a `match`, is not taken into account.
    """
    own = profiles.get(now, {})
    if own.get("connection.type") != _WIRED:
        return now
    least = _priority(own) if own.get("connection.autoconnect") == "yes" else _LEAST
    better = {
        uuid: (_priority(each), each.get("connection.timestamp", "").zfill(20))
        for uuid, each in profiles.items()
        if uuid != now and uuid not in elsewhere and _fits(link, each) and _priority(each) > least
    }
    return max(better, key=lambda uuid: better[uuid], default=now)


def _fits(link: Link, said: Mapping[str, str]) -> bool:
    hardware = said.get("802-3-ethernet.mac-address", "").lower()
    return (
        said.get("connection.type") == _WIRED
        and said.get("connection.autoconnect") == "yes"
        and said.get("connection.interface-name") in ("", link.name)
        and hardware in ("", link.hardware.lower())
        and not said.get("connection.permissions")
        and not any(value for key, value in said.items() if key.startswith("match."))
        and ROUTES[0] in said  # a port of a bond or a bridge has none
    )


def _priority(said: Mapping[str, str]) -> int:
    text = said.get("connection.autoconnect-priority", "")
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 6 else 0
