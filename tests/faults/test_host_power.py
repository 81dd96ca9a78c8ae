"""A host whose disk has lost what was not flushed when the power went: OLD, or NEW where that was confirmed.

The host's /etc and /var/lib are two file systems, each in a file: what is flushed in one takes nothing of the other
with it. What the kernel has not written to these files at an instant is what a power cut takes: they are copied
then, and the host boots from the copies.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from crossnet.lab.supervisor import DISKS, PID
from faults.hostside import FEW_AND_MANY, HostSide, on_each, spread
from faults.oracle import NEW, OLD, count
from lacking import lacking

pytestmark = pytest.mark.lab


@dataclass(frozen=True, slots=True)
class FileSystem:
    """How it is made, the least size with which it can be, and how it is mounted.

    The kernel itself would write what is older than 30 s (Documentation/admin-guide/sysctl/vm.rst), and the file
    system what is older than `commit`; a point takes less.
    """

    make: str
    size: str
    options: str


FILE_SYSTEMS = {
    # With `noauto_da_alloc` (ext4(5)) a file that is renamed into place unflushed is empty afterwards. Whatever is
    # flushed takes all earlier changes of folders with it: they are in one journal.
    "ext4": FileSystem("mkfs.ext4 -q -F", "40M", "loop,noauto_da_alloc,commit=900"),
    # A flush writes the one file or folder, and nothing else that was changed before (btrfs(5), the log tree).
    "btrfs": FileSystem("mkfs.btrfs -q", "120M", "loop,commit=900"),
    # With `nouuid` (xfs(5)) its copy can be mounted beside it; the others let that without an option.
    "xfs": FileSystem("mkfs.xfs -q", "300M", "loop,nouuid"),
}

ON_DISKS = """
set -e
for folder in /etc /var/lib; do
    disk=/tmp/${folder##*/}
    truncate -s "$1" "$disk"
    $2 "$disk"
    mount -o "$3" "$disk" /mnt
    cp -a "$folder/." /mnt
    mount --move /mnt "$folder"
    sync -f "$folder"
done
"""

# On the machine, in a mount namespace of its own: what the disks have kept becomes what the host boots from.
WHAT_IS_LEFT = """
set -e
mkdir "$2/mnt"
for folder in etc lib; do
    mount -o "$3" "$2/$folder" "$2/mnt"
    [ ! -e "$2/mnt/later" ] || { echo "not the copy was mounted" >&2; exit 1; }
    find "$1/$folder" -mindepth 1 -delete
    cp -a "$2/mnt/." "$1/$folder"
    umount "$2/mnt"
    rm "$2/$folder"
done
rmdir "$2/mnt"
"""


@pytest.fixture(params=["btrfs", *(pytest.param(kind, marks=pytest.mark.faults) for kind in ("ext4", "xfs"))])
def file_system(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    """Skip, with the reason, where no file of that kind can be mounted."""
    one = FILE_SYSTEMS[request.param]
    script = 'truncate -s "$1" "$4/disk" && $2 "$4/disk" && mount -o "$3" "$4/disk" /mnt'
    tried = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", one.size, one.make, one.options, str(tmp_path)],
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        lacking(f"no {request.param} in a file here: {tried.stderr.strip()}")
    return one


def put_on_disks(side: HostSide, one: FileSystem) -> None:
    """Everything before is on the disks; from then on nothing is but what is flushed."""
    side.words("sh", "-c", ON_DISKS, "sh", one.size, one.make, one.options).check()


def lose_power(side: HostSide, one: FileSystem, folder: Path) -> None:
    """Boot from what has reached the disks."""
    lab = side.bench.lab.folder
    # The disks of a lab are mounted where only its supervisor sees them (proc_pid_root(5)).
    disk = Path(f"/proc/{(lab / PID).read_text()}/root/{lab / DISKS / side.host}")
    folder.mkdir()
    subprocess.run(["cp", disk / "tmp/etc", disk / "tmp/lib", folder], check=True)
    side.check_run("touch /etc/later /var/lib/later")
    words = [str(disk), str(folder), one.options]
    subprocess.run(["unshare", "-m", "sh", "-c", WHAT_IS_LEFT, "sh", *words], check=True)
    side.reboot()


@pytest.mark.parametrize(("verb", "number"), FEW_AND_MANY)
def test_cache_lost_in_a_verb(
    booting: list[HostSide], file_system: FileSystem, verb: str, number: int, tmp_path: Path
) -> None:
    calls = booting[0].calls_of(verb)
    # The last of them is after its end.
    points = [(verb, n) for n in (*spread(calls * 9 // 10, number), 2 * calls)]

    def attempt(side: HostSide, point: tuple[str, int]) -> None:
        _lose_cache(side, file_system, *point, tmp_path / "-".join(map(str, (side.bench.lab.name, *point))))

    on_each(booting, points, attempt)
    count(f"power and cache lost: {verb}", len(points))


def _lose_cache(side: HostSide, one: FileSystem, verb: str, number: int, folder: Path) -> None:
    start = side.state
    other = NEW if start == OLD else OLD
    put_on_disks(side, one)
    side.begin_before(verb)
    killed = side.killed_in(verb, number)
    side.log.append(f"  killed: {killed.told}")
    lose_power(side, one, folder)
    if verb in ("release", "rollback") and not killed.reached:
        side.check(other if verb == "release" else start)
    # Where the boot unit was not on the disk yet, nothing but files was changed: the next who asks ends it.
    side.place()
    side.recover()
    if verb == "release" or (verb == "commit" and killed.completed.text.strip() == "confirmed"):
        expected = other
    elif verb == "commit":
        expected = side.state_by_record()
    else:
        expected = start
    side.check(expected)
    side.state = expected


def test_what_is_over_stays_over(booting: list[HostSide], file_system: FileSystem, tmp_path: Path) -> None:
    side = booting[0]
    for _ in range(2):
        put_on_disks(side, file_system)
        side.begin(side.state, ("stage", "arm", "apply", "commit", "release"))
        side.state = NEW if side.state == OLD else OLD
        had = side.history()
        lose_power(side, file_system, tmp_path / side.state)
        side.check(side.state)
        assert side.history() == had
    count("power and cache lost: at rest", 2)
