"""The tests of machines that run with all others wherever crossnet is tested: at most four minutes of them."""

from __future__ import annotations

import pytest

# One after the other: beside each other they would wait for the same two cores, and for the same archives.
SMOKE = (pytest.mark.smoke, pytest.mark.xdist_group("smoke"))
