"""A command that is stopped or killed where it hurts: the next one finishes or puts back what it leaves."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.test_commands import CROSSING, Desk, Held, Site
from lab.test_transaction import break_tool, mend_tool, no_lock

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def no_nohup() -> Iterator[None]:
    """Whoever runs the tests may have been started with nohup, and what they start inherits it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


PROBE = ("app", "ping", "-n", "-q")
WRITES_START = ("gateway", "mv", "-f", "--", "/etc/crossnet/.start.crossnet", "/etc/crossnet/start")
REMOVES_START = ("gateway", "rm", "-f", "--", "/etc/crossnet/start")
ARMS = ("gateway", "sync", "/var/lib/crossnet/transaction/deadline.aside")


@pytest.fixture
def held(tmp_path: Path, lab_up: Callable[..., Lab]) -> Held:
    """The seed's hosts, and a spec for them that is written for the next boot."""
    lab = lab_up("seed")
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write(CROSSING)
    return Held(Site(desk, Bench(lab)))


def killed_at(held: Held, *step: str, command: str = "apply") -> None:
    host, tool, *words = step
    with held.until(host, tool, *words, command=command) as process:
        process.kill()
        process.communicate(timeout=60)


def test_an_undo_that_cannot_put_back_says_what_to_look_at_and_is_tried_again(held: Held) -> None:
    desk, bench = held.site.desk, held.site.bench
    before = bench.fingerprints()
    killed_at(held, *PROBE)
    break_tool(bench, "app", "ip", "route del")

    failed = desk.run("undo", "--yes")

    assert failed.code == 4
    _, _, look_at = failed.err.partition("Rollback not proved. Look at:")
    assert "app: route 10.0.44.0/24 metric 0 is not what it was before" in look_at
    assert "broken on purpose" in look_at
    assert "crossnet recover" in look_at
    assert not no_lock(bench)

    mend_tool(bench, "app", "ip")
    assert desk.run("undo", "--yes").code == 0
    assert bench.differences(before) == []


def test_an_undo_whose_controller_dies_while_files_are_removed_is_finished_by_the_host(
    held: Held, eventually: Callable[..., None]
) -> None:
    desk, bench = held.site.desk, held.site.bench
    before = bench.fingerprints()
    assert desk.run("apply", "--yes").code == 0
    killed_at(held, *REMOVES_START, command="undo")
    assert not no_lock(bench)
    held.go_on("gateway")
    eventually(lambda: no_lock(bench), "the hosts end what was confirmed")
    eventually(lambda: bench.differences(before) == [], "they clear away what they ended")
    assert "Nothing of crossnet" in desk.run("undo", "--yes").out


def test_an_apply_that_dies_while_files_are_written_can_be_undone(held: Held) -> None:
    desk, bench = held.site.desk, held.site.bench
    before = bench.fingerprints()
    killed_at(held, *WRITES_START)
    assert bench.pings("app", "10.0.44.1")
    held.go_on("gateway")
    assert desk.run("undo", "--yes").code == 0
    assert bench.differences(before) == []


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_after_the_confirmation_does_not_stop_what_is_written_for_the_next_boot(
    held: Held, first: signal.Signals
) -> None:
    desk, bench = held.site.desk, held.site.bench
    host, tool, *words = WRITES_START
    with held.until(host, tool, *words) as process:
        process.send_signal(first)
        process.send_signal(signal.SIGTERM)  # whoever does not want to wait is told the same
        held.go_on(host)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.count("it is confirmed, and is being finished; this takes a moment") == 2
    assert "Confirmed. Transaction " in out
    assert no_lock(bench)
    assert desk.run("status").code == 0


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_before_the_first_change_leaves_nothing(held: Held, first: signal.Signals) -> None:
    bench = held.site.bench
    before = bench.fingerprints()
    host, tool, *words = ARMS
    with held.until(host, tool, *words) as process:
        process.send_signal(first)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "nothing was changed, and what was prepared is cleared away; this takes a moment" in err
    assert err.endswith("crossnet: interrupted\n")
    assert "Traceback" not in out + err
    assert not bench.run("gateway", "test -e /var/lib/crossnet").ok
    assert bench.differences(before) == []
    assert held.site.desk.run("apply", "--yes").code == 0


@pytest.mark.parametrize("left", ["", r"\0\0"], ids=["empty", "zeroes"])
def test_a_deadline_that_is_torn_has_come(held: Held, left: str, eventually: Callable[..., None]) -> None:
    bench = held.site.bench
    before = bench.fingerprints()
    killed_at(held, *PROBE)
    bench.check("gateway", f"printf '{left}' > /var/lib/crossnet/transaction/deadline")
    bench.check("app", f"printf '{left}' > /var/lib/crossnet/transaction/deadline")
    eventually(lambda: no_lock(bench), "the watchers put the hosts back")
    assert bench.differences(before) == []
