"""What the routes of a host say that an address is, by the kernel's numbers."""

from __future__ import annotations

# rtnetlink.h: RTN_*
ADDRESS_TYPES: dict[str, int] = {
    "unspec": 0,
    "unicast": 1,
    "local": 2,
    "broadcast": 3,
    "anycast": 4,
    "multicast": 5,
    "blackhole": 6,
    "unreachable": 7,
    "prohibit": 8,
    "throw": 9,
    "nat": 10,
    "xresolve": 11,
}
