"""A host whose disk has lost what was not flushed when the power went: OLD, or NEW where that was confirmed.

The host's /etc and /var/lib lie on an ext4 of their own in a file. What the kernel has not written to that file
at an instant is what a power cut takes: the file is copied then, and the host boots from the copy. With
`noauto_da_alloc` (ext4(5)) a file that is renamed into place unflushed is empty afterwards, as on most other
file systems.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossnet.lab.supervisor import DISKS, PID
from faults.hostside import (
    CROSSINGS,
    ENGINES,
    FEW_AND_MANY,
    ROOT,
    VERBS,
    HostSide,
    T,
    calls_of,
    on_each,
    sides_of,
    spread,
    start_units,
    words_of,
)
from faults.oracle import NEW, OLD, count
from lacking import lacking

pytestmark = pytest.mark.lab

# Everything before is on the disk; from then on nothing is but what is flushed: the kernel itself would write
# what is older than 30 s (Documentation/admin-guide/sysctl/vm.rst), and a point takes less.
ON_A_DISK = """
set -e
truncate -s 40M /tmp/disk
mkfs.ext4 -q -F /tmp/disk
mount -o loop,noauto_da_alloc,commit=900 /tmp/disk /mnt
cp -a /etc /mnt/etc
cp -a /var/lib /mnt/lib
mount --bind /mnt/etc /etc
mount --bind /mnt/lib /var/lib
sync -f /mnt
"""

# On the machine, in a mount namespace of its own: what the disk has kept becomes what the host boots from.
WHAT_IS_LEFT = """
set -e
cp "$1/tmp/disk" "$2/disk"
mkdir "$2/mnt"
mount -o loop "$2/disk" "$2/mnt"
for folder in etc lib; do
    find "$1/$folder" -mindepth 1 -delete
    cp -a "$2/mnt/$folder/." "$1/$folder"
done
umount "$2/mnt"
rm -r "$2/mnt" "$2/disk"
"""


@pytest.fixture(scope="module")
def disk_possible(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip, with the reason, where no file can be mounted."""
    script = 'truncate -s 4M "$1/disk" && mkfs.ext4 -q -F "$1/disk" && mount -o loop "$1/disk" /mnt'
    tried = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path_factory.mktemp("disk"))],
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        lacking(f"no ext4 in a file here: {tried.stderr.strip()}")


@pytest.fixture(scope="module", params=ENGINES)
def sides(
    request: pytest.FixtureRequest, lab_possible: None, disk_possible: None
) -> Iterator[list[HostSide]]:
    with sides_of(CROSSINGS[request.param], own_clock=False, prepare=start_units) as made:
        yield made


def lose_power(side: HostSide, folder: Path) -> None:
    """Boot from what has reached the disk."""
    lab = side.bench.lab.folder
    # The disks of a lab are mounted where only its supervisor sees them (proc_pid_root(5)).
    disk = Path(f"/proc/{(lab / PID).read_text()}/root/{lab / DISKS / side.host}")
    folder.mkdir()
    subprocess.run(["unshare", "-m", "sh", "-c", WHAT_IS_LEFT, "sh", str(disk), str(folder)], check=True)
    side.reboot()


@pytest.mark.parametrize(("verb", "number"), FEW_AND_MANY)
def test_cache_lost_in_a_verb(sides: list[HostSide], verb: str, number: int, tmp_path: Path) -> None:
    calls = calls_of(sides[0], verb)
    # The last of them is after its end.
    points = [(verb, n) for n in (*spread(calls * 9 // 10, number), 2 * calls)]

    def attempt(side: HostSide, point: tuple[str, int]) -> None:
        _lose_cache(side, *point, tmp_path / "-".join(map(str, (side.bench.lab.name, *point))))

    on_each(sides, points, attempt)
    count(f"power and cache lost: {verb}", len(points))


def _lose_cache(side: HostSide, verb: str, number: int, folder: Path) -> None:
    start = side.state
    other = NEW if start == OLD else OLD
    side.check_run(ON_A_DISK)
    side.begin(start, VERBS[verb])
    killed = side.killing("all", number, *words_of(side, verb))
    side.log.append(f"  killed: {killed.told}")
    lose_power(side, folder)
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


def test_history_is_not_lost(sides: list[HostSide], tmp_path: Path) -> None:
    side = sides[0]
    side.check_run(ON_A_DISK)
    side.begin(side.state, ("stage", "arm", "apply", "commit", "release"))
    side.state = NEW if side.state == OLD else OLD
    had = side.check_run(f"cat {ROOT}/history")
    lose_power(side, tmp_path / "disk")
    assert side.check_run(f"cat {ROOT}/history") == had
    assert not side.run(f"test -e {T}").ok
    side.check(side.state)
    count("power and cache lost: at rest")
