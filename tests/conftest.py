"""The order of all tests: what needs no lab first, so that a plain mistake is told in the first minute.

Then those that take minutes: begun last, they would be waited for alone.
"""

from __future__ import annotations

import pytest

from cloud.fixtures import asking, installed, logged_in, seed, seed_apart, seed_networks, served

# One Neutron for all that speak to it, wherever their tests are.
__all__ = ["asking", "installed", "logged_in", "seed", "seed_apart", "seed_networks", "served"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if item.get_closest_marker("lab") is None:
        return 0
    return 2 if item.get_closest_marker("long") is None else 1
