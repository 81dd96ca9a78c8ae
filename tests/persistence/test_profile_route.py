"""A route in a profile of NetworkManager: what nmcli is told, and what is believed of it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from crossnet.resources import Change, Command, ProfileRoute, Step
from crossnet.resources.sh_tests import Test as HostTest
from crossnet.transaction.batches import batched
from design.factsheet import route

UUID = "11111111-2222-3333-4444-555555555555"
BUSINESS = ProfileRoute(UUID, route("10.0.44.0/24 via 10.0.43.101 dev eth0 proto static"))
SIX = ProfileRoute(UUID, route("fd00:44::/64 via fd00:43::101 dev eth0 proto static metric 1024"))
PARTICULAR = ProfileRoute(UUID, route("10.0.44.0/24 via 10.0.43.101 dev eth0 src 10.0.43.15 proto static"))

# As 1.42.4 does it: routes in one line with `, ` between, each `:` behind a backslash, and an end that is always well.
NMCLI = (
    r"""#!/bin/sh
cd "${0%/*}" || exit
case "$1 $2 $3" in
'-g ipv'*' connection')
    [ "$6" = """
    + UUID
    + r""" ] || { echo "Error: no such connection profile." >&2; exit 10; }
    sed 's/:/\\:/g' "$2" | paste -sd, | sed 's/,/, /g' ;;
'connection modify uuid')
    [ ! -e deaf ] || exit 0
    shift 4
    while [ $# -gt 0 ]; do
        file=${1#?}
        case $1 in
        +*) grep -qxF -e "$2" "$file" || echo "$2" >>"$file" ;;
        -*) grep -vxF -e "$2" "$file" >new; mv new "$file" ;;
        esac
        shift 2
    done ;;
*) exit 2 ;;
esac
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nmcli").write_text(NMCLI)
    (tmp_path / "nmcli").chmod(0o755)
    for name in ("ipv4.routes", "ipv6.routes"):
        (tmp_path / name).write_text("")
    return tmp_path


def ran(folder: Path, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run(argv, env=environment, input=stdin, capture_output=True, text=True, check=False)


def step(
    folder: Path, have: ProfileRoute | None, want: ProfileRoute | None
) -> subprocess.CompletedProcess[str]:
    (command,) = ProfileRoute.render(have, want)
    assert isinstance(command, Command)
    return ran(folder, *command.argv)


def is_so(folder: Path, test: HostTest) -> bool:
    return ran(folder, "sh", "-c", f"{''.join(test.functions)}\n{test.line}").returncode == 0


@pytest.mark.parametrize(
    ("resource", "entry"),
    [
        (BUSINESS, "10.0.44.0/24 10.0.43.101 0"),
        (SIX, "fd00:44::/64 fd00:43::101 1024"),
        (PARTICULAR, "10.0.44.0/24 10.0.43.101 0 src=10.0.43.15"),
    ],
)
def test_it_is_put_in_and_taken_out(folder: Path, resource: ProfileRoute, entry: str) -> None:
    file = folder / resource.setting
    file.write_text(f"{entry} onlink=true\n1{entry}\n")  # others, which look alike
    before = file.read_text()
    assert is_so(folder, resource.lacks(str))
    assert not is_so(folder, resource.holds(str))
    assert step(folder, None, resource).returncode == 0
    assert file.read_text() == f"{before}{entry}\n"
    assert is_so(folder, resource.holds(str))
    assert not is_so(folder, resource.lacks(str))
    assert step(folder, resource, None).returncode == 0
    assert file.read_text() == before


def test_what_nmcli_says_it_did_is_read_again(folder: Path) -> None:
    (folder / "deaf").touch()
    assert step(folder, None, BUSINESS).returncode == 1
    (folder / "ipv4.routes").write_text(f"{BUSINESS.entry}\n")
    done = step(folder, BUSINESS, None)
    assert done.returncode == 1
    assert "nmcli has not done it: the profile has 10.0.44.0/24 10.0.43.101 0" in done.stderr


def test_many_are_one_call(folder: Path) -> None:
    file = folder / "ipv4.routes"
    file.write_text("10.9.0.0/16 10.0.43.9 7\n")
    many = [ProfileRoute(UUID, route(f"10.60.{n}.0/24 via 10.0.43.101 dev eth0")) for n in range(40)]
    (batch,) = batched([Change(None, each) for each in many])

    def made(steps: Sequence[Step]) -> subprocess.CompletedProcess[str]:
        (command,) = steps
        assert isinstance(command, Command)
        return ran(folder, *command.argv, stdin=command.stdin.decode())

    assert made(batch.steps).returncode == 0
    assert file.read_text().splitlines()[1:] == [each.entry for each in many]
    # Of what it takes back not all may be there.
    file.write_text("\n".join(line for line in file.read_text().splitlines() if ".7.0" not in line) + "\n")
    assert made(batch.undo).returncode == 0
    assert file.read_text() == "10.9.0.0/16 10.0.43.9 7\n"

    (folder / "deaf").touch()
    file.write_text("".join(f"{each.entry}\n" for each in many[:4]))
    said = made(batch.steps)
    assert said.returncode == 1
    assert many[4].entry in " ".join(batch.failing(1, said.stderr))


def test_of_a_profile_that_is_not_there_nothing_is_so(folder: Path) -> None:
    gone = ProfileRoute("another", BUSINESS.route)
    assert not is_so(folder, gone.holds(str))
    assert not is_so(folder, gone.lacks(str))
    assert step(folder, None, gone).returncode != 0


def test_routes_come_and_go_among_others(folder: Path) -> None:
    random = Random(11)
    theirs = [f"10.{n}.0.0/16 10.0.43.{random.randrange(2, 99)}" for n in random.sample(range(50, 99), 9)]
    file = folder / "ipv4.routes"
    file.write_text("".join(f"{line}\n" for line in theirs))
    ours: list[ProfileRoute] = []
    for number in range(20):
        if ours and random.random() < 0.5:
            gone = ours.pop(random.randrange(len(ours)))
            assert step(folder, gone, None).returncode == 0
        else:
            came = ProfileRoute(
                UUID, route(f"10.{random.randrange(100, 120)}.{number}.0/24 via 10.0.43.101 dev eth0")
            )
            ours.append(came)
            assert step(folder, None, came).returncode == 0
        assert file.read_text().splitlines() == [*theirs, *(one.entry for one in ours)]
