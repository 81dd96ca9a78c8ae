"""`local: true`: crossnet runs on the gateway itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.elsewhere import PYTHON, python_path

pytestmark = pytest.mark.lab

SPEC = """\
crossnet: 1
hosts:
  here: {local: true}
crossings:
  business:
    from: 10.0.43.15
    via: here
    to: 10.0.44.0/24
"""


def test_gateway_is_the_machine_that_crossnet_runs_on(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check("gateway", f"cat > /tmp/crossnet.yaml <<'EOF'\n{SPEC}EOF")

    def here(command: str, code: int = 0) -> str:
        environment = f"PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={python_path()}"
        words = f"cd /tmp && {environment} {PYTHON} -m crossnet {command}"
        ran = b.run("gateway", words)
        assert ran.returncode == code, ran.text + ran.error_text
        return ran.text

    before = b.fingerprints()
    # Nobody can send a packet from a client that is not managed.
    assert "Confirmed, not proved" in here("apply --yes", 8)
    assert "No changes." in here("apply --yes", 8)
    b.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101")
    assert b.pings("app", "10.0.44.1")
    assert "unproved" in here("status", 3)
    b.check("app", "ip route del 10.0.44.0/24")
    assert "Undone." in here("undo --yes")
    assert b.differences(before) == []
