"""Sets of networks hold exactly the addresses that they should, in as few networks as can be."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from crossnet.values import Network, Networks, contains, network, together, without

V4, V6 = 0x0A000000, 0xFD << 120


def small(base: int) -> st.SearchStrategy[Network]:
    """A network among 32 addresses, so that two of them often meet."""
    bits = 32 if base == V4 else 128
    return st.builds(
        lambda at, size: ipaddress.ip_network((base + at, bits - size), strict=False),
        st.integers(0, 31),
        st.integers(0, 5),
    )


some = st.lists(small(V4) | small(V6), max_size=6)


def addresses(networks: tuple[Network, ...] | list[Network]) -> set[object]:
    return {address for each in networks for address in each}


@given(some, some)
def test_without_holds_what_is_left(networks: list[Network], excepted: list[Network]) -> None:
    left = without(networks, excepted)
    assert addresses(left) == addresses(networks) - addresses(excepted)
    assert left == together(left)
    assert together(networks) == without(networks, [])


def test_the_whole_of_a_family_without_one_address() -> None:
    left = without([network("0.0.0.0/0")], [network("255.255.255.255")])
    assert len(left) == 32
    assert sum(each.num_addresses for each in left) == 2**32 - 1


@given(some, small(V4) | small(V6))
def test_the_nearest_network_around_another(networks: list[Network], inner: Network) -> None:
    held = Networks(networks)
    for larger in (False, True):
        around = [each for each in networks if contains(each, inner) and not (larger and each == inner)]
        nearest = max(around, key=lambda each: each.prefixlen, default=None)
        assert held.around(inner, larger=larger) == nearest
