"""What hosts remember of what was done to them: by whom, why it was done, and why it was put back."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.test_commands import CROSSING, STEPS, Desk, Held, Site
from lab.test_transaction import break_tool, mend_tool, no_lock

pytestmark = pytest.mark.lab


@pytest.fixture
def held(tmp_path: Path, lab_up: Callable[..., Lab]) -> Held:
    lab = lab_up("seed")
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write(f"{CROSSING}, persist: none, probe: icmp/10.0.44.1")
    return Held(Site(desk, Bench(lab)))


def told(desk: Desk, *words: str) -> list[dict[str, object]]:
    ran = desk.run("history", "--json", *words)
    assert ran.code == 0, ran
    found = ran.json["transactions"]
    assert isinstance(found, list)
    return found


def test_messages_and_reasons_are_kept_and_chosen(held: Held) -> None:
    desk, bench = held.site.desk, held.site.bench
    assert desk.run("apply", "--yes", "--message", "CHG0012345 für Anna").code == 0
    again = desk.run("apply", "--yes", "--message", "CHG0012345 again")
    assert again.out.endswith("No changes.\nThe message is in no history, because nothing was changed.\n")
    assert desk.run("undo", "--yes", "--message", "CHG0012346").code == 0
    for one in told(desk):
        assert one["message"] == ("CHG0012346" if one["what"] == "undo" else "CHG0012345 für Anna")
        assert (one["crossings"], one["why"]) == (["business"], None)

    break_tool(bench, "app", "ip", "route add")
    assert desk.run("apply", "--yes").code == 3
    mend_tool(bench, "app", "ip")
    failed = told(desk, "--outcome", "rolled-back")
    assert {one["host"] for one in failed} == {"app", "gateway"}
    assert all("broken on purpose" in str(one["why"]) for one in failed)

    ran = desk.run("history", "--host", "app", "--crossing", "business", "--since", "1h")
    assert [line.split()[2] for line in ran.out.splitlines()[1:]] == ["app"] * 3
    assert "  CHG0012345 für Anna  confirmed" in ran.out
    assert re.search(r"rolled back: app: ran .* broken on purpose", ran.out)
    desk.write(f"{CROSSING}, persist: none", name="orders.yaml")
    said = "Bob ran `crossnet recover`"
    assert desk.run("apply", "--yes", "--message", said).code == 0
    for words in (("history",), ("list", "gateway")):
        assert said in desk.run(*words, "-f", "orders.yaml").out, "nobody else's words are changed"
    assert desk.run("undo", "--yes").code == 0
    assert told(desk, "-f", "orders.yaml", "--crossing", "business") == [], (
        "another spec has another `business`"
    )
    nothing = desk.run("history", "--crossing", "other", "-q")
    assert nothing.out == "No such transaction on these hosts.\n"
    for wrong in (("--host", "ap"), ("--since", "soon"), ("--outcome", "odd")):
        assert desk.run("history", *wrong).code == 1


def test_why_a_host_put_itself_back(held: Held, eventually: Callable[..., None]) -> None:
    desk, bench = held.site.desk, held.site.bench
    with desk.start("apply", "--yes", "--confirm-within", "10s") as process:
        _until_waits(process.stderr)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    eventually(lambda: no_lock(bench), "the hosts put themselves back")
    assert {one["why"] for one in told(desk)} == {"nobody confirmed it in time"}


def test_who_put_the_hosts_back(held: Held) -> None:
    desk = held.site.desk
    with desk.start("apply", "--yes", "--confirm-within", "5m") as process:
        transaction = _until_waits(process.stderr)
        process.send_signal(signal.SIGSTOP)
        try:
            assert desk.run("rollback", transaction).code == 3
        finally:
            process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
    reasons = {str(one["why"]) for one in told(desk)}
    assert len(reasons) == 1
    assert re.fullmatch(r"\S+@\S+ said `crossnet rollback`", reasons.pop())
    with held.until(*STEPS["route"]) as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert {one["why"] for one in told(desk)[-2:]} == {"interrupted"}


def test_what_a_client_writes_into_its_own_history_decides_nothing_elsewhere(held: Held) -> None:
    """Whoever is root on a client can write there whatever they like."""
    desk, bench = held.site.desk, held.site.bench
    with desk.start("apply", "--yes", "--confirm-within", "60s") as process:
        transaction = _until_waits(process.stderr)
        bench.check(
            "app",
            "cd /var/lib/crossnet && said=$(cat transaction/audit) && rm -rf transaction && "
            r"""printf '%s\t2026-11-30T00:00:00Z\t\tconfirm\twritten\n' "$said" >>history""",
        )
        assert desk.run("rollback", transaction).code == 3
        process.communicate(timeout=60)
    assert not bench.pings("app", "10.0.44.1")


def test_what_was_undone_stays_so_whatever_a_client_says_that_it_was(held: Held) -> None:
    desk, bench = held.site.desk, held.site.bench
    assert desk.run("apply", "--yes").code == desk.run("undo", "--yes").code == 0
    bench.check(
        "app",
        r"cd /var/lib/crossnet && sed -i '$ { s/\tundo\t/\tapply business\t/; s/confirm\twritten$/rollback\tclean/ }' "
        "history && tail -n 1 history | grep -q 'apply business.*rollback'",
    )
    assert desk.run("recover", "--yes").code == 0
    assert not bench.pings("app", "10.0.44.1")


def _until_waits(progress: object) -> str:
    """The number of the transaction that waits for a person."""
    for line in progress:  # type: ignore[attr-defined]
        if found := re.search(r"waits \d+ s for `crossnet confirm (\w+)`", line):
            return found[1]
    raise AssertionError("it never waited for a person")
