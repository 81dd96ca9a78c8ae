"""The guard itself: it is believed only when it was seen to work, and it works where the other timer does not."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from faults.hostside import CROSSINGS, ROOT, HostSide, T, sides_of
from faults.oracle import NEW, OLD, count

# The timers' own times are what is tried here.
pytestmark = [pytest.mark.lab, pytest.mark.deadlines]

# Whatever the connection started, in a session of its own or not.
KILL_ALL = (
    "for place in /proc/[0-9]*; do one=${place#/proc/}; "
    '[ "$one" = 1 ] || [ "$one" = $$ ] || kill -KILL "$one" 2>/dev/null; done; true'
)

# A manager as far as host.sh uses one: a timer is a process that is nobody's child, and has a file while it runs.
SYSTEMD_RUN = """
for word; do
    shift
    case $word in
    --unit=*) unit=${word#*=} ;;
    --on-active=*) seconds=${word#*=} ;;
    --*) ;;
    *) set -- "$word" "$@"; break ;;
    esac
done
mkdir -p /run/timers
/tmp/real-setsid sh -c '
    echo $$ >"/run/timers/$1.timer"; sleep "$2"; rm -f "/run/timers/$1.timer"; shift 2; exec "$@"' \\
    sh "$unit" "$seconds" "$@" </dev/null >/dev/null 2>&1 &
"""
SYSTEMCTL = """
case "$*" in
*is-active*) for word; do :; done; [ -e "/run/timers/$word" ] ;;
stop*)
    for word; do
        [ ! -e "/run/timers/$word" ] || kill -KILL -- "-$(cat "/run/timers/$word")"
        rm -f "/run/timers/$word"
    done
    ;;
esac
"""


@pytest.fixture(scope="module")
def lab_side(lab_possible: None) -> Iterator[HostSide]:
    with sides_of(CROSSINGS["nftables"], 1, own_clock=False) as (made,):
        made.check_run("cp $(readlink -f $(command -v setsid)) /tmp/real-setsid")
        yield made


@pytest.fixture
def side(lab_side: HostSide) -> Iterator[HostSide]:
    yield lab_side
    lab_side.check(OLD)


def test_a_host_that_ends_what_a_connection_started_has_no_guard(side: HostSide) -> None:
    """As with KillUserProcesses=yes: what was started is gone with the connection."""
    assert "drilling" in side.stage(OLD, proved=False).text
    side.check_run(KILL_ALL)
    answer = side.arm()
    assert answer.returncode == 69, side.story()
    assert answer.text.startswith("unproved")
    assert not side.run(f"test -e {T}/unguarded").ok
    refused = side.apply()
    assert not refused.ok
    assert "unguarded" in refused.text
    assert side.rollback().ok
    count("guard not proved")


@pytest.mark.faults
def test_without_a_guard_only_who_has_a_console_goes_on(side: HostSide) -> None:
    side.stage(OLD, proved=False)
    side.check_run(KILL_ALL)
    assert side.arm("unproved").ok, side.story()
    assert side.apply().ok, side.story()
    side.check_run(KILL_ALL)
    assert side.commit().ok
    assert side.release().ok
    side.undo()


@pytest.mark.faults
def test_a_guard_in_another_network_is_none(side: HostSide) -> None:
    """It would put back the wrong host's routes."""
    side.shim("setsid", 'exec unshare -n /tmp/real-setsid "$@"')
    try:
        assert "drilling" in side.stage(OLD, proved=False).text
        answer = side.arm()
        assert answer.returncode == 69, side.story()
    finally:
        side.mend("setsid")
    assert side.rollback().ok
    count("guard not proved")


@pytest.mark.parametrize("tool", ["setsid", "flock", "sha256sum"])
def test_a_host_without_a_tool_says_which(side: HostSide, tool: str) -> None:
    side.check_run(
        f": >/tmp/none; chmod 644 /tmp/none; mount --bind /tmp/none $(readlink -f $(command -v {tool}))"
    )
    place = side.check_run(f"ls /usr/bin/{tool}").strip()
    try:
        answer = side.stage(OLD)
    finally:
        side.check_run(f"umount {place}")
    assert answer.returncode == 69
    assert answer.text == f"lacks {tool}\n"
    count("guard not proved")


def test_who_arms_what_somebody_ends_meanwhile_hears_just_that(side: HostSide) -> None:
    """Not that the disk may be full."""
    side.stage(OLD)
    # host.sh flushes the deadline that it has written; in that instant another controller rolls back.
    rollback = f"sh {side.script('rollback')} rollback {side.transaction} >/dev/null 2>&1"
    side.shim("sync", f'case "$*" in *deadline.aside) {rollback} ;; esac; exec "$real" "$@"')
    try:
        answer = side.arm()
    finally:
        side.mend("sync")
    assert answer.returncode == 76, side.story()
    assert answer.text.splitlines() == ["gone none"]


def test_who_begins_while_the_last_one_is_cleared_away_begins_once_more(side: HostSide) -> None:
    """A guard whose time is over clears away just when somebody waits for it: script and all."""
    side.begin(OLD, ("stage", "arm", "apply"))
    side.rollback()  # its history keeps the folder
    recover = f"sh {side.script('stage')} recover >/dev/null 2>&1"
    once = f"[ -e /tmp/cleared ] || {{ : >/tmp/cleared; {recover}; }}"
    side.shim("ln", f'"$real" "$@" || exit; case "$*" in *begin.*) {once} ;; esac')
    try:
        answer = side.stage(OLD)
    finally:
        side.mend("ln")
    side.check_run("rm /tmp/cleared")
    assert answer.ok, side.story()
    assert answer.text.endswith("staged\n")
    assert side.rollback().ok


def test_what_was_proved_before_a_boot_is_proved_again(side: HostSide) -> None:
    assert "drilling" not in side.stage(OLD).text
    side.check_run(f"sed -i '1s/^......../00000000/' {ROOT}/drill/proof; rm -r {T}")
    assert "drilling" in side.stage(OLD, placed=True).text
    assert "armed watch" in side.arm().text
    assert side.rollback().ok


@pytest.mark.parametrize("timer", ["watch", "timer", pytest.param("both", marks=pytest.mark.faults)])
def test_each_timer_alone_puts_the_host_back(side: HostSide, timer: str) -> None:
    """Over the real time; where both are there they meet, and one of them does it."""
    if timer != "watch":
        side.shim("systemd-run", SYSTEMD_RUN)
        side.shim("systemctl", SYSTEMCTL)
    try:
        side.stage(OLD, proved=False)
        armed = side.verb("arm", side.transaction, "4")
        assert "armed watch" in armed.text, side.story()
        assert ("armed timer" in armed.text) == (timer != "watch"), side.story()
        if timer == "timer":
            side.kill_watcher()
        begun = time.monotonic()
        assert side.apply().ok, side.story()
        side.until_over()
        assert time.monotonic() - begun < 15
        side.check(OLD)
        assert side.history()[-1][1:] == ("rollback", "clean")
    finally:
        if timer != "watch":
            side.mend("systemd-run")
            side.mend("systemctl")
    count("timer alone")


def test_with_no_timer_left_nothing_is_changed_or_confirmed_further(side: HostSide) -> None:
    side.begin(OLD, ("stage", "arm"))
    assert side.apply(1).ok
    side.kill_watcher()
    answer = side.apply()
    assert not answer.ok
    assert "unguarded" in answer.text
    assert side.verb("extend", side.transaction, "60").text.startswith("gone")
    assert side.rollback().ok
    count("timer alone")


def test_an_extended_guard_waits_longer(side: HostSide) -> None:
    side.stage(OLD)
    assert side.verb("arm", side.transaction, "3").ok
    assert side.apply().ok
    assert side.verb("extend", side.transaction, "60").ok, side.story()
    time.sleep(4)  # the time of the first deadline is over
    assert side.is_open()
    assert side.commit().ok, side.story()
    assert side.release().ok
    side.check(NEW)
    side.undo()


def test_another_ones_changes_meanwhile_stay(side: HostSide) -> None:
    """A loop adds and removes rules and routes of its own during apply and rollback; none of them is lost."""
    side.check_run(
        """
        cat >/tmp/foreign <<'END'
        number=0
        while [ ! -e /tmp/enough ]; do
            number=$((number + 1))
            iptables -w -A foreign -d "192.0.2.$((number % 250 + 1))" -j RETURN || echo "rule $number" >>/tmp/lost
            nft add table ip "other$number" || echo "table $number" >>/tmp/lost
            ip route add "198.51.100.$((number % 250))/32" dev eth0 || echo "route $number" >>/tmp/lost
            iptables -w -D foreign -d "192.0.2.$((number % 250 + 1))" -j RETURN || echo "rule gone $number" >>/tmp/lost
            nft delete table ip "other$number" || echo "table gone $number" >>/tmp/lost
            ip route del "198.51.100.$((number % 250))/32" dev eth0 || echo "route gone $number" >>/tmp/lost
            echo "$number" >/tmp/rounds
        done
        rm -f /tmp/enough
END
        rm -f /tmp/lost /tmp/enough
        setsid sh /tmp/foreign </dev/null >/tmp/foreign.log 2>&1 &
        """
    )
    for _ in range(3):
        side.begin(OLD, ("stage", "arm", "apply"))
        assert side.rollback().ok, side.story()
    side.check_run("echo >/tmp/enough")
    side.until(lambda: not side.run("test -e /tmp/enough").ok, "the end of the foreign loop")
    assert int(side.check_run("cat /tmp/rounds")) > 5
    assert not side.run("test -e /tmp/lost").ok, side.check_run("cat /tmp/lost /tmp/foreign.log")
    count("foreign changes meanwhile", 3)
