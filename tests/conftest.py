"""The order of all tests: what needs no lab first, so that a plain mistake is told in the first minute."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("lab") is not None)
