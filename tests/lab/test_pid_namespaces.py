"""Processes that cannot be seen, in another container of the same machine, are not taken for dead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from crossnet.lab.build import Lab
from crossnet.transport import Completed
from crossnet.transport.lab import LabHost
from lab.crossing import Bench

pytestmark = pytest.mark.lab

APART = ("unshare", "--pid", "--fork", "--mount-proc")

# A lab host keeps its own number of this boot over that of /proc.
BOOT = "/proc/sys/kernel/random/boot_id"
KEEP_BOOT = f"""
cat {BOOT} >/tmp/boot
exec {" ".join(APART)} sh -c 'mount --bind /tmp/boot {BOOT} && exec "$@"' sh "$@"
"""


def crossnet(*words: str, apart: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*(APART if apart else ()), sys.executable, "-m", "crossnet", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("hidden", [True, False], ids=["the first", "the second"])
def test_a_controller_in_another_container_is_not_dead(
    lab_up: Callable[..., Lab],
    sshd_possible: None,
    tmp_path: Path,
    eventually: Callable[..., None],
    hidden: bool,
) -> None:
    b = Bench(lab_up("seed"))
    file = tmp_path / "crossnet.yaml"
    file.write_text(b.spec("to: 10.0.44.0/24, persist: none, probe: icmp/10.0.44.1").source)
    spec = ("-q", "-f", str(file))
    waiting = crossnet("apply", "--yes", *spec, "--confirm-within", "120s", apart=hidden)
    transaction = "cat /var/lib/crossnet/transaction/id"
    try:
        eventually(lambda: b.pings("app", "10.0.44.1"), "the crossing is made")
        for verb in ("recover", "undo"):
            other = crossnet(verb, "--yes", *spec, apart=not hidden)
            said, _ = other.communicate(timeout=60)
            assert other.returncode == 5, said
            assert "is under way" in said
        confirming = crossnet("confirm", b.check("gateway", transaction).strip(), *spec, apart=not hidden)
        said, _ = confirming.communicate(timeout=60)
        assert confirming.returncode == 0, said
        said, _ = waiting.communicate(timeout=60)
        assert waiting.returncode == 0, said
    finally:
        waiting.kill()
        waiting.communicate()


def test_a_watcher_in_another_container_is_not_dead(
    lab_up: Callable[..., Lab], sshd_possible: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who makes the changes does not see the process that guards them, only its sign."""
    b = Bench(lab_up("seed"))
    spec = b.spec("to: 10.0.44.0/24, persist: none, probe: icmp/10.0.44.1")
    run = LabHost.run
    inside: list[str] = []

    async def run_apart(host: LabHost, argv: Sequence[str], **more: Any) -> Completed:
        if verb := next((word for word in argv if word in ("apply", "extend")), None):
            inside.append(verb)
            argv = ["sh", "-c", KEEP_BOOT, "sh", *argv]
        return await run(host, argv, **more)

    monkeypatch.setattr(LabHost, "run", run_apart)
    assert b.apply(spec).confirmed
    assert "apply" in inside
    assert b.pings("app", "10.0.44.1")
