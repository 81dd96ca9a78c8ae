"""Routes are found by their destination as a look at all of them would find them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from crossnet.facts.routes import Route, Routes, inside, matching
from crossnet.values import Network

# Few bits, so that they lie in each other and are equal.
V4 = st.builds(
    lambda bits, n: IPv4Network((bits >> 32 - n << 32 - n, n)), st.integers(0, 7), st.integers(0, 32)
) | (
    st.builds(
        lambda bits, n: IPv4Network((bits << 29 >> 32 - n << 32 - n, n)), st.integers(0, 7), st.integers(0, 4)
    )
)
V6 = st.builds(
    lambda bits, n: IPv6Network((bits << 125 >> 128 - n << 128 - n, n)), st.integers(0, 7), st.integers(0, 4)
)
NETWORKS: st.SearchStrategy[Network] = V4 | V6
ROUTES = st.lists(
    st.builds(
        Route,
        NETWORKS,
        device=st.sampled_from(["eth0", "eth1"]),
        metric=st.integers(0, 2),
        table=st.sampled_from(["main", "main", "7"]),
        dead=st.sampled_from([False, False, True]),
    ),
    max_size=12,
)


@given(ROUTES, NETWORKS, st.sampled_from(["main", "7"]))
def test_as_all_of_them_looked_at(routes: list[Route], target: Network, table: str) -> None:
    known = Routes(routes)
    assert known == tuple(routes)
    assert matching(known, target, table) == matching(routes, target, table)
    assert inside(known, target, table) == inside(routes, target, table)
    assert known.to(target) == tuple(route for route in routes if route.destination == target)
