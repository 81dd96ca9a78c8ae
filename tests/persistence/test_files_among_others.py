"""Files of crossnet's own among any files of others: theirs stay as they are, ours come and go, and are read as meant.

The scripts of ifup are run by the real run-parts and sh, as ifup runs them, with an `ip` that says what it was told.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from random import Random

import pytest

from crossnet.facts import FileState
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.routes import Route
from crossnet.persistence import ifupdown, networkd
from crossnet.persistence.needs import Needs
from crossnet.resources import Change, File, Link, Step, Write
from crossnet.values import address, network
from design.factsheet import host_facts, with_files

HEAD = "# crossnet: any. Written by crossnet; `crossnet undo` removes it.\n"
EMPTY = host_facts("app", "")
# What the kernel lets an interface be called, and a shell may take for something else.
INTERFACES = (
    "eth0",
    "eth1.5",
    "eth*",
    "e[t]h0",
    "$(id)",
    "a'b",
    'a"b',
    "a;b",
    "a|b",
    "-n",
    "~",
    "#x",
    "a\\b",
    "`id`",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where it stands, what is put there, and what its program does with all that stands in that folder."""

    path: str
    keep: Callable[[Random], tuple[File, tuple[Needs, ...]]]
    does: Callable[[Path, Sequence[Needs]], Sequence[str]]
    means: Callable[[Sequence[Needs]], list[str]]


def _routes(random: Random, device: str) -> tuple[Route, ...]:
    return tuple(
        Route(
            network(f"10.{60 + n}.{random.choice((0, 128))}.0/{random.choice((17, 24, 32))}"),
            address("10.0.43.101"),
            device,
            address("10.0.43.15") if random.random() < 0.3 else None,
            "143",
            random.choice((0, 0, 7)),
        )
        for n in range(random.randrange(1, 4))
    )


def _by_ifup(random: Random) -> tuple[File, tuple[Needs, ...]]:
    devices = random.sample(INTERFACES, random.randrange(1, 4))
    needs = tuple(Needs(Owner(each, Keeper.IFUPDOWN, ""), _routes(random, each)) for each in devices)
    (script,) = ifupdown.keep(needs, HEAD)
    return script, needs


def _run_parts(folder: Path, needs: Sequence[Needs]) -> list[str]:
    """What is told to `ip` when the first of these interfaces comes up."""
    environment = {"PATH": f"{folder.parent}:/usr/bin:/bin", "IFACE": needs[0].owner.interface}
    ran = subprocess.run(["run-parts", str(folder)], env=environment, capture_output=True, text=True)
    return [line for line in ran.stdout.splitlines() if line.startswith("-4 route")]


def _ip(needs: Sequence[Needs]) -> list[str]:
    return [
        f"-4 route replace {route.destination} via {route.via} dev {route.device}"
        + f" src {route.source}" * (route.source is not None)
        + " proto 143"
        + f" metric {route.metric}" * (route.metric != 0)
        for route in needs[0].routes
    ]


def _by_networkd(random: Random) -> tuple[File, tuple[Needs, ...]]:
    owner = Owner("eth0", Keeper.NETWORKD, "", "/etc/systemd/network/10-eth0.network")
    needs = Needs(owner, _routes(random, "eth0"))
    return networkd.keep(needs, EMPTY, HEAD), (needs,)


def _sections(folder: Path, needs: Sequence[Needs]) -> list[str]:
    """systemd.network(5): what is in each [Route] of what ends in .conf, in the order of the names."""
    read = [each for each in sorted(folder.glob("*.conf")) if each.exists()]
    text = "\n".join(each.read_text(errors="replace") for each in read)
    return [" ".join(part.split("\n[")[0].split()) for part in text.split("[Route]\n")[1:]]


def _keys(needs: Sequence[Needs]) -> list[str]:
    return [
        f"Destination={route.destination} Gateway={route.via}"
        + f" PreferredSource={route.source}" * (route.source is not None)
        + f" Metric={route.metric}" * (route.metric != 0)
        + " Protocol=143"
        for route in needs[0].routes
    ]


PLACES = {
    "if-up.d": Place(ifupdown.PATH, _by_ifup, _run_parts, _ip),
    "drop-in": Place(
        "/etc/systemd/network/10-eth0.network.d/90-crossnet.conf", _by_networkd, _sections, _keys
    ),
}
# Names that run-parts and systemd read, and such that they do not; what stands in them is any bytes.
NAMES = ("ntpdate", "zz-mine", "0first", "mine.dpkg-old", "crossnet~", "10-mine.conf", "README", ".hidden")
CONTENTS = (
    b"#!/bin/sh\nexit 0\n",
    b"#!/bin/sh\nexit 1\n",
    b"#!/bin/sh\necho crossnet: any. Written by crossnet\n",
    b"[Network]\nDNS=10.0.43.1\n",
    b"",
    b"\xff\xfe\0 no text",
)


def others(random: Random, folder: Path, own: str) -> None:
    """Files and links of others, also in the place of crossnet's own."""
    for name in (*random.sample(NAMES, random.randrange(4)), *([own] if random.random() < 0.3 else [])):
        place = folder / name
        if random.random() < 0.1:
            place.symlink_to(random.choice(("/nowhere", "README")))
        else:
            place.write_bytes(random.choice(CONTENTS))
            place.chmod(random.choice((0o755, 0o644, 0o600)))


def standing(folder: Path) -> dict[str, tuple[bytes | str, int]]:
    """All that is in a folder, with its mode."""
    return {
        each.name: (os.readlink(each), 0) if each.is_symlink() else (each.read_bytes(), _mode(each))
        for each in folder.iterdir()
    }


def _mode(place: Path) -> int:
    return stat.S_IMODE(place.stat().st_mode)


def there(place: Path, path: str) -> File | None:
    """What a host would say of it."""
    if place.is_symlink():
        state = FileState(b"", 0o777, "0:0", os.readlink(place))
    elif place.exists():
        state = FileState(place.read_bytes(), _mode(place), "0:0")
    else:
        return None
    return File(path, b"").current(with_files(EMPTY, {path: state}))


def carry_out(folder: Path, steps: Sequence[Step]) -> None:
    for step in steps:
        assert isinstance(step, Write | Link)
        place = folder / step.path.name
        place.unlink(missing_ok=True)
        if isinstance(step, Link) and step.target is not None:
            place.symlink_to(step.target)
        elif isinstance(step, Write) and step.data is not None:
            place.write_bytes(step.data)
            place.chmod(step.mode)


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
@pytest.mark.parametrize("seed", range(20))
def test_a_hundred_files_among_those_of_others(tmp_path: Path, place: Place, seed: int) -> None:
    random = Random(seed)
    (tmp_path / "ip").symlink_to("/bin/echo")
    own = PurePosixPath(place.path).name
    for number in range(100):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        others(random, folder, own)
        before, had = standing(folder), there(folder / own, place.path)
        first, needs = place.keep(random)
        second, changed = place.keep(random)
        made, edited = Change(had, first), Change(first, replace(second, path=place.path))

        carry_out(folder, made.steps)
        after = standing(folder)
        assert after.pop(own) == (first.data, first.mode)
        assert after == {name: what for name, what in before.items() if name != own}
        assert first.satisfied_by(there(folder / own, place.path) or second)
        assert place.does(folder, needs) == place.means(needs)
        carry_out(folder, edited.steps)
        if number % 10 == 0:
            assert place.does(folder, changed) == place.means(changed)

        # Meanwhile somebody puts a file of his own beside it.
        (folder / "later").write_bytes(b"#!/bin/sh\n")
        (folder / "later").chmod(0o755)
        carry_out(folder, edited.inverse().steps)
        carry_out(folder, made.inverse().steps)
        left = standing(folder)
        assert left.pop("later") == (b"#!/bin/sh\n", 0o755)
        assert left == before
