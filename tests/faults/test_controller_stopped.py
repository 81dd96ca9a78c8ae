"""Controllers that stand still, that come at the same time, that wait for a person: what they tell is true."""

from __future__ import annotations

import signal
import time

import pytest

from faults.controller import Fault, Ground, Running
from faults.oracle import NEW, OLD, count

pytestmark = pytest.mark.lab
SLOW = pytest.mark.faults

APPLY = ("apply", "--yes", "--guard", "30s")
UNDO = ("undo", "--yes", "--guard", "30s")
WAIT = ("apply", "--yes", "--guard", "30s", "--confirm-within")


def stopped(ground: Ground, when: str, host: str, subject: str, *command: str) -> Running:
    """A controller that stands still at a message."""
    clean = ground.undone if command[:1] == ("undo",) else ground.applied
    fault = Fault(clean.number(host, subject), "stop", when)
    running = ground.operator.start(*(command or APPLY), fault=fault)
    running.until_stopped()
    return running


def waiting(ground: Ground, seconds: int) -> Running:
    """An apply that waits for a person."""
    running = ground.operator.start(*WAIT, f"{seconds}s")
    running.until_sent("status")
    return running


# ---- who wakes up late ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "host", "subject"),
    [
        pytest.param("before", "app", "apply", marks=SLOW),
        pytest.param("after", "app", "extend", marks=SLOW),
        ("before", "gateway", "commit"),
    ],
)
def test_who_wakes_up_late_is_refused_and_says_so(ground: Ground, when: str, host: str, subject: str) -> None:
    running = stopped(ground, when, host, subject)
    ground.operator.pass_time("gateway", "app")
    ground.alike(OLD)
    running.go_on()
    told = running.end()
    assert told.code == 3, told
    assert "Rolled back: every host was read again" in told.err
    ground.alike(OLD)
    count("controller wakes up late")


@SLOW
def test_who_wakes_up_after_the_guards_at_any_kind_of_message(ground: Ground) -> None:
    """With the guards' real time; an apply that finds another one's there changes nothing of it."""
    kinds = list(dict.fromkeys(line.split(maxsplit=1)[1] for line in ground.applied.messages))
    for kind in kinds[: kinds.index("app commit")]:
        fault = Fault(ground.applied.number(*kind.split()), "stop", "before")
        running = ground.operator.start(*APPLY, fault=fault)
        running.until_stopped()
        ground.operator.elsewhere().recovered(90)
        ground.alike(OLD, told=kind)
        other = ground.operator.elsewhere().run(*APPLY)
        assert other.code == 0, f"{kind}: {other}"
        running.go_on()
        told = running.end()
        # Until the first change is made nothing has to be put back; one that had not yet planned finds nothing to do.
        changed = any(line.endswith("gateway apply") for line in told.messages)
        assert told.code in ((3, 4) if changed else (0, 1)), f"{kind}: {told}"
        assert told.code == 0 or "Confirmed" not in told.out, told
        ground.alike(NEW, told=f"{kind}: {told}")
        ground.restore()
        count("controller wakes up late")


@SLOW
def test_who_wakes_up_when_another_one_has_applied_changes_nothing(ground: Ground) -> None:
    running = stopped(ground, "before", "gateway", "arm")
    ended = ground.operator.run("rollback", ground.operator.transaction())
    assert ended.code == 3, ended
    assert ground.operator.elsewhere().run(*APPLY).code == 0
    ground.alike(NEW)
    running.go_on()
    told = running.end()
    assert told.code == 1, told
    assert "is over on the host" in told.err
    ground.alike(NEW)
    count("controller wakes up late")


@SLOW
def test_who_wakes_up_while_another_one_waits_decides_nothing_for_it(ground: Ground) -> None:
    late = stopped(ground, "before", "gateway", "commit")
    ground.operator.pass_time("gateway", "app")
    other = waiting(ground, 300)
    late.go_on()
    told = late.end()
    # Its own change is rolled back; that the hosts are as before it cannot say, because they are changed again.
    assert told.code == 4, told
    assert ground.operator.held() == {"gateway": "", "app": ""}
    assert ground.operator.elsewhere().run("confirm", ground.operator.transaction()).code == 0
    assert other.end().code == 0
    ground.alike(NEW)
    count("controller wakes up late")


@SLOW
def test_who_stands_still_is_not_taken_for_dead_on_the_same_machine(ground: Ground) -> None:
    running = stopped(ground, "before", "app", "apply", "apply", "--yes", "--guard", "300s")
    for operator in (ground.operator, ground.operator.elsewhere()):
        refused = operator.run("recover", "--yes")
        assert refused.code == 5, refused
        assert "is under way" in refused.err
    running.process.kill()
    running.end()
    assert ground.operator.elsewhere().run("recover", "--yes").code == 5
    assert ground.operator.run("recover", "--yes").code == 3
    ground.alike(OLD)


@pytest.mark.parametrize("host", ["gateway", pytest.param("app", marks=SLOW)])
def test_who_decides_second_is_refused(ground: Ground, host: str) -> None:
    """The guard has decided, and has not yet done anything: what was decided stays so."""
    running = stopped(ground, "before", "gateway", "commit")
    ground.operator.freeze_guards()
    ground.bench.check(host, "cd /var/lib/crossnet/transaction && ln rollback decision")
    running.go_on()
    told = running.end()
    # The first host decides for all: with it all go back, without the other one the hosts disagree.
    assert told.code == (3 if host == "gateway" else 6), told
    if host == "app":
        assert ground.operator.elsewhere().run("recover", "--yes").code == 0
    ground.alike(OLD if host == "gateway" else NEW)
    count("decision made twice")


@SLOW
def test_who_decides_after_the_deadline_is_refused(ground: Ground) -> None:
    """Also where no guard was there to act on it."""
    running = stopped(ground, "before", "gateway", "commit")
    ground.operator.freeze_guards()
    ground.operator.let_pass("gateway", "app")
    running.go_on()
    told = running.end()
    assert told.code == 3, told
    ground.alike(OLD)
    count("decision made twice")


# ---- hosts that ended it differently -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "lives"),
    [
        pytest.param(APPLY, False, id="apply-killed", marks=SLOW),
        pytest.param(APPLY, True, id="apply-late"),
        pytest.param(UNDO, False, id="undo-killed", marks=SLOW),
        pytest.param(UNDO, True, id="undo-late", marks=SLOW),
    ],
)
def test_a_split_is_told_and_brought_together_from_another_machine(
    ground: Ground, command: tuple[str, ...], lives: bool
) -> None:
    """One host confirmed, the guard of the other one was faster, and neither knows of it any more."""
    if command is UNDO:
        ground.carry_out("apply")
    running = stopped(ground, "after", "gateway", "commit", *command)
    ground.operator.pass_time("gateway", "app")
    if lives:
        running.go_on()
        told = running.end()
        assert told.code == 6, told
        assert "crossnet recover" in told.err
    else:
        running.process.kill()
        running.end()
    was, other = (OLD, NEW) if command is APPLY else (NEW, OLD)
    ground.oracle.check("app", was)
    ground.oracle.check("gateway", other)
    assert {host: past[-1] for host, past in ground.operator.history().items()} == {
        "app": "rolled-back",
        "gateway": "confirmed",
    }
    elsewhere = ground.operator.elsewhere()
    asked = elsewhere.run("recover")  # nobody is there to say yes, and the hosts still disagree
    assert asked.code == 6, asked
    assert "--yes" in asked.err
    told = elsewhere.run("recover", "--yes")
    assert told.code == 0, told
    assert "app had gone back before that" in told.out
    ground.alike(other)
    assert "Nothing to recover" in elsewhere.run("recover", "--yes").out
    count("hosts that ended it differently")


def test_a_split_is_seen_where_a_host_had_only_files_to_write(ground: Ground) -> None:
    ground.carry_out("apply")
    ground.bench.check("gateway", "sysctl -q -w net.ipv4.ip_forward=0")
    ground.bench.check("app", "rm /etc/crossnet/routes")
    clean = ground.carry_out("apply")
    ground.bench.check("gateway", "sysctl -q -w net.ipv4.ip_forward=0")
    ground.bench.check("app", "rm /etc/crossnet/routes")
    running = ground.operator.start(*APPLY, fault=Fault(clean.number("gateway", "commit"), "stop", "after"))
    running.until_stopped()
    ground.operator.pass_time("gateway", "app")
    running.process.kill()
    running.end()
    assert {host: past[-1] for host, past in ground.operator.history().items()} == {
        "app": "rolled-back",
        "gateway": "confirmed",
    }
    told = ground.operator.elsewhere().run("recover", "--yes")
    assert told.code == 0, told
    assert "app had gone back before that" in told.out
    ground.alike(NEW)
    count("hosts that ended it differently")


@SLOW
def test_a_split_is_settled_by_an_undo_too(ground: Ground) -> None:
    running = stopped(ground, "after", "gateway", "commit")
    ground.operator.pass_time("gateway", "app")
    running.process.kill()
    running.end()
    undone = ground.operator.elsewhere().run("undo", "--yes")
    assert undone.code == 0, undone
    ground.alike(OLD)
    assert "Nothing to recover" in ground.operator.run("recover", "--yes").out
    count("hosts that ended it differently")


# ---- a person has the last word ------------------------------------------------------------------------------


def test_a_person_confirms_from_another_machine(ground: Ground) -> None:
    running = waiting(ground, 20)
    confirmed = ground.operator.elsewhere().run("confirm", ground.operator.transaction())
    assert confirmed.code == 0, confirmed
    told = running.end()
    assert told.code == 0, told
    assert "Confirmed. Transaction " in told.out
    ground.alike(NEW)
    count("the last word of a person")


def test_nobody_confirms(ground: Ground) -> None:
    began = time.monotonic()
    told = ground.operator.run(*WAIT, "10s")
    assert told.code == 3, told
    assert "Rolled back: every host was read again" in told.err
    assert time.monotonic() - began > 10
    ground.alike(OLD)
    count("the last word of a person")


def test_a_person_rolls_back_from_another_machine(ground: Ground) -> None:
    running = waiting(ground, 60)
    ended = ground.operator.elsewhere().run("rollback", ground.operator.transaction())
    assert ended.code == 3, ended
    told = running.end()
    assert told.code == 3, told
    ground.alike(OLD)
    count("the last word of a person")


# Somebody else ends the transaction, and takes the script away with it, between the fence and the ending.
FASTER = r"""#!/bin/sh
case " $* " in
*" conclude "*)
    ! mkdir /tmp/once 2>/dev/null ||
        /tmp/real-setsid sh /var/lib/crossnet/transaction/host.sh conclude "$4" </dev/null >/dev/null 2>&1
    ;;
esac
exec /tmp/real-setsid "$@"
"""


@pytest.mark.parametrize("who", ["the apply itself", "a person on another machine"])
def test_who_ends_it_when_somebody_else_is_faster_tells_the_same(ground: Ground, who: str) -> None:
    running = waiting(ground, 60)
    place = ground.bench.check("gateway", "readlink -f $(command -v setsid)").strip()
    ground.bench.check("gateway", f"cp {place} /tmp/real-setsid; cat >/tmp/setsid <<'END'\n{FASTER}END")
    ground.bench.check("gateway", f"chmod 755 /tmp/setsid; mount --bind /tmp/setsid {place}")
    ended = []
    if who == "the apply itself":
        running.process.signal(signal.SIGINT)
    else:
        ended.append(ground.operator.elsewhere().run("rollback", ground.operator.transaction()))
    ended.append(running.end())
    ground.bench.check("gateway", f"umount {place}; rmdir /tmp/once")
    assert [each.code for each in ended] == [3] * len(ended), ended
    ground.alike(OLD)
    count("the last word of a person")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="SIGINT"),
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=SLOW),
        pytest.param(signal.SIGHUP, id="SIGHUP", marks=SLOW),
    ],
)
def test_an_interrupt_while_it_waits_puts_the_hosts_back(ground: Ground, number: signal.Signals) -> None:
    running = waiting(ground, 60)
    running.process.signal(number)
    running.process.signal(number)
    told = running.end()
    assert told.code == 3, told
    assert told.err.endswith("is as it was before.\n")
    ground.alike(OLD)
    count("the last word of a person")


def test_who_confirms_when_the_first_host_has_gone_back_takes_the_others_back(ground: Ground) -> None:
    """Found as open, its time over before the word is said: then it holds nowhere."""
    running = waiting(ground, 60)
    transaction = ground.operator.transaction()
    person = ground.operator.elsewhere()
    fault = Fault(5, "stop", "before")
    confirming = person.start("confirm", transaction, fault=fault)
    confirming.until_stopped()
    assert confirming.lines[-2].endswith("gateway commit"), confirming.lines
    running.process.signal(signal.SIGSTOP)
    ground.operator.pass_time("gateway")
    assert list(ground.operator.held()) == ["app"]
    confirming.go_on()
    told = confirming.end()
    assert told.code == 3, told
    running.go_on()
    assert running.end().code == 3
    ground.alike(OLD)
    count("the last word of a person")


@SLOW
def test_who_confirms_and_is_killed_after_the_first_host(ground: Ground) -> None:
    running = waiting(ground, 60)
    fault = Fault(5, "kill", "after")
    killed = ground.operator.elsewhere().run("confirm", ground.operator.transaction(), fault=fault)
    assert killed.reached, killed
    told = running.end()
    assert told.code == 0, told
    ground.alike(NEW)
    count("controller killed: confirm")


@SLOW
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_confirm_killed_at_every_message(ground: Ground, when: str) -> None:
    for number in range(1, 20):
        waiting_one = waiting(ground, 60)
        transaction = ground.operator.transaction()
        person = ground.operator.elsewhere()
        killed = person.run("confirm", transaction, fault=Fault(number, "kill", when))
        if not killed.reached:
            assert killed.code == 0, killed
        elif not any(line.endswith("commit") for line in killed.messages):
            again = person.run("confirm", transaction)
            assert again.code == 0, f"{number}: {again}"
        elif ground.operator.held() and not waiting_one.process.code:
            again = person.run("confirm", transaction)
            assert again.code in (0, 1), f"{number}: {again}"  # 1: over already
        told = waiting_one.end()
        assert told.code == 0, f"{killed}\n{told}"
        ground.alike(NEW, told=killed)
        ground.restore()
        if not killed.reached:
            return
        count("controller killed: confirm")
    raise AssertionError("confirm never came to its end")


@SLOW
@pytest.mark.parametrize("decided", [False, True], ids=["back", "forward"])
def test_recover_killed_and_recovered(ground: Ground, decided: bool) -> None:
    kill_recover(ground, decided, [Fault(5, "kill", "during"), Fault(6, "kill", "before")])


@SLOW
@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("decided", [False, True], ids=["back", "forward"])
def test_recover_killed_at_every_message(ground: Ground, decided: bool, when: str) -> None:
    faults = [Fault(number, "kill", when) for number in range(1, 20)]
    assert not kill_recover(ground, decided, faults)


def kill_recover(ground: Ground, decided: bool, faults: list[Fault]) -> bool:
    """Whether all of these were reached; each time a recover that is not killed ends it."""
    for fault in faults:
        when, host, subject = ("after", "gateway", "commit") if decided else ("after", "app", "apply")
        died = Fault(ground.applied.number(host, subject), "kill", when)
        assert ground.operator.run(*APPLY, fault=died).reached
        killed = ground.operator.run("recover", "--yes", fault=fault)
        told = ground.operator.run("recover", "--yes")
        assert told.code in (0, 3), f"{killed}\n{told}"
        ground.alike(NEW if decided else OLD, told=f"{killed}\n{told}")
        if decided:
            ground.restore()
        if not killed.reached:
            return False
        count("controller killed: recover")
    return True


# ---- two at the same time ------------------------------------------------------------------------------------


def at_once(ground: Ground, rounds: int, contenders: int) -> None:
    number = ground.applied.number("gateway", "stage")
    for _ in range(rounds):
        operators = [ground.operator, *[ground.operator.elsewhere()] * (contenders - 1)]
        running = [one.start(*APPLY, fault=Fault(number, "stop", "before")) for one in operators]
        for one in running:
            one.until_stopped()
        for one in running:
            one.go_on()
        ended = [one.end() for one in running]
        # Who comes second waits, and finds nothing left to do; or gives up where that takes too long.
        won = [one for one in ended if "Confirmed." in one.out]
        assert [one.code for one in won] == [0], "\n".join(map(str, ended))
        for told in ended:
            waited = told.code == 0 and "No changes." in told.out
            refused = told.code == 5 and ("crossnet rollback" in told.err or "recover" in told.err)
            assert told in won or waited or refused, told
        ground.alike(NEW)
        assert all(past[-1] == "confirmed" for past in ground.operator.history().values())
        ground.restore()
        count("controllers at the same time")


def test_of_two_controllers_at_the_same_time_one_changes_and_the_other_nothing(ground: Ground) -> None:
    at_once(ground, 1, 2)


@SLOW
@pytest.mark.parametrize("contenders", [2, 3])
def test_of_several_controllers_at_the_same_time_one_wins(ground: Ground, contenders: int) -> None:
    at_once(ground, 8, contenders)


# As somebody who begins a transaction, or ends one, holds the folder.
HOLD = """
rm -f /tmp/held /tmp/enough
setsid flock /var/lib/crossnet sh -c 'echo >/tmp/held; until [ -e /tmp/enough ]; do sleep 0.1; done' \\
    </dev/null >/dev/null 2>&1 &
until [ -e /tmp/held ]; do sleep 0.05; done
"""


def test_who_comes_while_another_one_begins_or_ends_waits_for_its_turn(ground: Ground) -> None:
    running = stopped(ground, "before", "gateway", "stage")
    ground.bench.check("gateway", HOLD)
    running.go_on()
    running.until(lambda: ground.bench.run("gateway", "ls /var/lib/crossnet/begin.*").ok, "that it comes")
    for _ in range(20):
        begun = ground.bench.run("gateway", "cd /var/lib/crossnet && ls -d new || ls -d transaction")
        assert not begun.ok, begun.text
        time.sleep(0.1)
    ground.bench.check("gateway", "echo >/tmp/enough")
    told = running.end()
    assert told.code == 0, told
    ground.alike(NEW)
    count("controllers at the same time")


@SLOW
def test_who_comes_while_another_one_changes_is_refused(ground: Ground) -> None:
    running = stopped(ground, "before", "app", "apply", "apply", "--yes", "--guard", "300s")
    late = [ground.operator.elsewhere().run(*words) for words in (APPLY, UNDO, ("plan",))]
    assert [one.code for one in late] == [5, 5, 1], "\n".join(map(str, late))
    assert all("is under way" in one.err for one in late)
    running.go_on()
    assert running.end().code == 0
    ground.alike(NEW)
    count("controllers at the same time", 3)
