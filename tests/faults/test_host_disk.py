"""A full disk, a folder that is read only, a lock of iptables that somebody holds, and files that are torn."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pytest

from faults.hostside import CROSSINGS, ENGINES, ROOT, HostSide, T, sides_of
from faults.oracle import NEW, OLD, count

pytestmark = pytest.mark.lab

ROLLED_BACK = ("stage", "arm", "apply")
CONFIRMED = (*ROLLED_BACK, "commit")


@pytest.fixture(scope="module")
def side(lab_possible: None) -> Iterator[HostSide]:
    with sides_of(CROSSINGS["nftables"], 1) as (made,):
        yield made


@pytest.fixture(scope="module")
def with_iptables(lab_possible: None) -> Iterator[HostSide]:
    with sides_of(CROSSINGS["iptables"], 1) as (made,):
        yield made


class Disk:
    """A small file system of its own under a folder, which can be full or read only."""

    def __init__(self, side: HostSide, folder: str) -> None:
        self._side, self.folder = side, folder
        side.check_run(
            f"mkdir -p -m 700 {folder}; rm -rf /tmp/kept; cp -a {folder} /tmp/kept; mode=$(stat -c %a {folder}); "
            f"mount -t tmpfs -o size=4m,mode=$mode none {folder}; cp -a /tmp/kept/. {folder}/"
        )

    def fill(self) -> None:
        self._side.check_run(
            f"cat /dev/zero 2>/dev/null >{self.folder}/.ballast; ! echo more >>{self.folder}/.ballast"
        )

    def empty(self) -> None:
        self._side.check_run(f"rm -f {self.folder}/.ballast")

    def read_only(self) -> None:
        self._side.check_run(
            f"mount -o remount,ro {self.folder} && ! touch {self.folder}/.ballast 2>/dev/null"
        )

    def writable(self) -> None:
        self._side.check_run(f"mount -o remount,rw {self.folder}")

    def away(self) -> None:
        """What lies there now lies in the folder below after that."""
        self._side.check_run(
            f"rm -rf /tmp/kept; cp -a {self.folder} /tmp/kept; umount -l {self.folder}; "
            f"find {self.folder} -mindepth 1 -delete; cp -a /tmp/kept/. {self.folder}/; "
            f"[ {self.folder} != {ROOT} ] || rmdir --ignore-fail-on-non-empty {self.folder}"
        )


FOLDERS = [
    ROOT,
    *(pytest.param(place, marks=pytest.mark.faults) for place in ("/etc/systemd/system", "/etc/sysctl.d")),
]


@pytest.mark.parametrize("how", ["full", "read only"])
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("verb", ["stage", "arm", "apply", "commit", "rollback", "release"])
def test_a_disk_that_takes_nothing(side: HostSide, verb: str, folder: str, how: str) -> None:
    """Whatever the answer is, it is true; and when there is room again, the host comes to an end."""
    before = {"stage": (), "arm": ("stage",), "apply": ("stage", "arm"), "commit": ROLLED_BACK}.get(verb)
    if before is None:
        before = CONFIRMED if verb == "release" else ROLLED_BACK
    disk = Disk(side, folder)
    side.begin(OLD, before)
    if verb == "stage":
        side.place()
        side.prove()
    disk.fill() if how == "full" else disk.read_only()

    answer = side.stage(OLD, placed=True) if verb == "stage" else getattr(side, verb)()
    said = answer.text.splitlines()
    confirmed = side.run(f"grep -qx confirm {T}/decision").ok

    disk.empty() if how == "full" else disk.writable()
    told = f"{side.story()}"
    assert "Traceback" not in told
    if verb == "commit":
        assert ("confirmed" in said) == confirmed, told
        # Nobody is told that it is over while it is not.
        assert not answer.text.startswith("gone"), told
    if verb == "arm":
        assert not answer.text.startswith("gone"), told
    if confirmed:
        side.release()
    side.pass_time()
    side.place()
    side.recover()
    disk.away()
    if verb == "release" and "unwritten" in said:
        assert "failed " in answer.text, told
        side.undo()
    elif verb == "release" or confirmed:
        side.check(NEW)
        side.undo()
    side.check(OLD)
    count("disk full" if how == "full" else "disk read only")


@pytest.mark.faults
@pytest.mark.parametrize("verb", ["apply", "rollback"])
def test_a_lock_of_iptables_that_somebody_holds(with_iptables: HostSide, verb: str) -> None:
    """For three seconds; both wait for it."""
    side = with_iptables
    side.begin(OLD, ("stage", "arm") if verb == "apply" else ROLLED_BACK)
    side.check_run(
        "rm -f /tmp/held; setsid flock /run/xtables.lock sh -c 'echo >/tmp/held; sleep 3' </dev/null >/dev/null 2>&1 &"
    )
    side.until(lambda: side.run("test -e /tmp/held").ok, "the lock held")
    answer = getattr(side, verb)()
    assert answer.ok, side.story()
    if verb == "apply":
        side.begin(OLD, ())
        assert side.rollback().ok, side.story()
    side.check(OLD)
    count("lock of iptables held")


def _often(name: str, short: Collection[str]) -> Any:
    """Those that stand for the others are tried each time."""
    return name if name in short else pytest.param(name, marks=pytest.mark.faults)


def deadlines() -> dict[str, str]:
    return {
        "0": "printf '0 %s\\n' $boot",
        "negative": "printf -- '-5 %s\\n' $boot",
        "past": "printf '1 %s\\n' $boot",
        "empty": ":",
        "no number": "printf 'soon %s\\n' $boot",
        "too large": "printf '3000000000 %s\\n' $boot",
        "far too large": "printf '99999999999999999999 %s\\n' $boot",
        "next year": "printf '%s %s\\n' 31536000 $boot",
        "octal": "printf '0%s %s\\n' $(($now + 50)) $boot",
        "another boot": "printf '%s %s\\n' $(($now + 50)) 11111111-2222-3333-4444-555555555555",
        "torn": "printf '%s' $now | cut -c 1-2",
        "without a boot": "printf '%s\\n' $(($now + 50))",
        "binary": "head -c 64 /dev/urandom | tr '\\000' 'x'",
        "gone": "",
    }


SHORT = ("empty", "too large", "another boot")


@pytest.mark.parametrize("deadline", [_often(name, SHORT) for name in deadlines()])
def test_a_deadline_that_is_no_deadline_has_come(side: HostSide, deadline: str) -> None:
    side.begin(OLD, ROLLED_BACK)
    text = deadlines()[deadline]
    read = "read -r now _ </proc/uptime; now=${now%%.*}; read -r boot </proc/sys/kernel/random/boot_id; "
    side.check_run(f"{read} rm -f {T}/deadline; " + (f"{{ {text}; }} >{T}/deadline" if text else ""))
    side.until_over()  # by the guard, without any time that passes
    side.check(OLD)
    assert side.history()[-1][1:] == ("rollback", "clean")
    count("deadline torn")


# What becomes of a transaction of which one file is missing or torn: the guard puts the host back, or, where it
# does not know its own transaction any more, the next one who asks.
TORN = (
    "id",
    "boot",
    "step",
    "worker",
    "watcher",
    "heartbeat",
    "journal.json",
    "audit",
    "host.sh",
    "services",
)


NAMES = [*TORN, "confirm", "rollback", "record.written", "live/0002/what"]
OFTEN = ("id", "boot", "step")


@pytest.mark.parametrize(
    ("name", "torn"),
    [
        *((name, "gone") for name in OFTEN),
        *(pytest.param(name, "gone", marks=pytest.mark.faults) for name in NAMES if name not in OFTEN),
        # An empty list of steps says that nothing was begun, and is no torn one.
        *(pytest.param(name, "empty", marks=pytest.mark.faults) for name in NAMES if name != "step"),
    ],
)
def test_a_file_of_a_transaction_that_is_torn(side: HostSide, name: str, torn: str) -> None:
    side.begin(OLD, ROLLED_BACK)
    side.check_run(f"rm -f {T}/{name}" if torn == "gone" else f": >{T}/{name}")
    side.pass_time()
    if name not in ("id", "watcher"):
        side.until_over()
    side.place()
    side.recover()
    side.check(OLD)
    count("file torn")


@pytest.mark.parametrize("state", [OLD, NEW])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_begun_and_not_made_is_not_undone_twice(
    request: pytest.FixtureRequest, engine: str, state: str
) -> None:
    """The step is written before it is made: whoever dies between leaves one that has nothing to undo."""
    one: HostSide = request.getfixturevalue({"nftables": "side", "iptables": "with_iptables"}[engine])
    if state == NEW:
        one.whole(OLD)
    for made in range(0, 5, 2):
        one.begin(state, ("stage", "arm"))
        assert one.apply(made).ok
        one.check_run(f"seq {one.steps} >{T}/step")
        assert "clean" in one.rollback().text, one.story()
        one.check(state)
        count("change begun and not made")
    # The next one begins where one was left that has nobody any more.
    one.begin(state, ("stage",))
    one.pass_time()
    one.begin(state, ("stage",))
    assert one.rollback().ok
    if state == NEW:
        one.undo()


@pytest.mark.parametrize("name", ["undo.01", "old"])
def test_an_undo_that_is_lost_is_told(side: HostSide, name: str) -> None:
    """Nobody can put it back then; the host must not say that it did."""
    side.begin(OLD, ROLLED_BACK)
    side.check_run(f"mv {T}/live/0003/{name} /tmp/lost")
    answer = side.rollback()
    assert not answer.ok
    assert "is not what it was before" in answer.text
    assert side.is_open()
    side.check_run(f"mv /tmp/lost {T}/live/0003/{name}")
    side.rollback()  # or its guard was faster
    assert not side.is_open(), side.story()
    side.check(OLD)
    count("file torn")


def test_a_bundle_that_is_torn_is_refused(side: HostSide) -> None:
    side.place()
    data = side.bundle(OLD)
    for cut in (1, 40, len(data) // 2, len(data) - 1):
        side.place()
        answer = side.stage(OLD, data=data[:cut])
        assert not answer.ok
        assert not side.is_open()
        side.check(OLD)
        count("file torn")


def test_a_confirmation_that_is_found_late_is_finished(side: HostSide) -> None:
    """The controller died after the decision: the guard goes forward, not back."""
    side.begin(OLD, CONFIRMED)
    side.pass_time()
    side.until_over()
    side.check(NEW)
    assert side.history()[-1][1:] == ("confirm", "written")
    side.undo()
