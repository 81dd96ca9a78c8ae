"""What Wireshark's own reader finds in a file that crossnet has written."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from capture.test_timeline import exchange
from crossnet.capture import timeline
from crossnet.capture.pcapng import pcapng, save
from lacking import lacking


def tshark(file: Path, *words: str) -> str:
    if shutil.which("tshark") is None:
        lacking("there is no tshark")
    return subprocess.run(
        ["tshark", "-r", file, *words], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def read(file: Path) -> list[dict[str, Any]]:
    """The fields of each packet, as text."""
    names = [
        "frame.time_relative",
        "frame.interface_name",
        "frame.interface_description",
        "frame.packet_flags_direction",
        "frame.comment",
        "ip.src",
        "ip.dst",
        "icmp.type",
    ]
    fields = [word for name in names for word in ("-e", name)]
    told = json.loads(tshark(file, "-T", "json", *fields))
    return [{name: one["_source"]["layers"].get(name, [""])[0] for name in names} for one in told]


def test_wireshark_reads_points_times_directions_and_comments(tmp_path: Path) -> None:
    told = timeline(exchange(gateway=-3600.0, target=86400.0))
    comments = {told.sightings[2]: "snat-missing: requests leave as 10.0.43.15, → no way back"}
    points = {("gateway", "eth1"): "the gateway's ingress"}
    file = tmp_path / "seen.pcapng"
    save(file, pcapng(told, comments=comments, points=points, summary="app → 10.0.44.1: REACHABLE"))

    packets = read(file)

    assert [one["frame.interface_name"] for one in packets] == [
        "app:eth0", "gateway:eth1", "gateway:eth0", "target:eth0",
        "target:eth0", "gateway:eth0", "gateway:eth1", "app:eth0",
    ]  # fmt: skip
    assert packets[1]["frame.interface_description"] == "the gateway's ingress"
    assert packets[0]["frame.interface_description"] == "interface eth0 of app"
    assert [one["frame.comment"] for one in packets].count("") == 7
    assert packets[2]["frame.comment"] == "snat-missing: requests leave as 10.0.43.15, → no way back"
    assert (packets[0]["ip.src"], packets[2]["ip.src"]) == ("10.0.43.15", "10.0.44.63")
    times = [float(one["frame.time_relative"]) for one in packets]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(0.007, abs=1e-6)
    directions = [int(one["frame.packet_flags_direction"], 0) for one in packets]
    assert directions == [2, 1, 2, 1, 2, 1, 2, 1]


def test_only_its_owner_may_read_what_was_captured(tmp_path: Path) -> None:
    file = tmp_path / "seen.pcapng"
    file.write_text("an older one")
    file.chmod(0o644)
    save(file, pcapng(timeline(exchange(0.0, 0.0))))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(OSError, match="a link"):
        save(link, b"")


def test_a_file_of_nothing_is_still_one(tmp_path: Path) -> None:
    file = tmp_path / "seen.pcapng"
    save(file, pcapng(timeline([]), summary="nothing was seen"))
    assert tshark(file) == ""


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 70000])
def test_comments_of_any_length_are_read(tmp_path: Path, length: int) -> None:
    told = timeline(exchange(0.0, 0.0))
    file = tmp_path / "seen.pcapng"
    save(file, pcapng(told, comments={told.sightings[0]: "x" * length}))
    assert len(read(file)) == len(told.sightings)
