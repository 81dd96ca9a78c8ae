"""What the lab needs of this machine is told with the packages that have it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossnet.cli import cli
from crossnet.errors import LabError
from crossnet.lab import image, needs
from crossnet.lab.depth import Depth


def test_machines_need_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root: systemd-nspawn boots nothing for an ordinary user"):
        needs.check(Depth.MACHINE)


def test_missing_programs_are_told_with_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "setsid").touch(0o755)
    monkeypatch.setattr(needs, "PATH", str(tmp_path))
    with pytest.raises(LabError) as caught:
        needs.check()
    assert str(caught.value) == (
        "`ip`, `unshare` are not installed, and the lab needs them: "
        "install iproute2 (iproute on Red Hat), util-linux"
    )


def test_machines_need_debootstrap_only_for_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for program in ("ip", "unshare", "setsid"):
        (tmp_path / program).touch(0o755)
    monkeypatch.setattr(needs, "PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LabError, match=r"`systemd-nspawn`, `debootstrap`.*systemd-container, debootstrap"):
        needs.check(Depth.MACHINE)
    image.place().mkdir(parents=True)
    with pytest.raises(LabError) as caught:
        needs.check(Depth.MACHINE)
    assert "systemd-nspawn" in str(caught.value)
    assert "debootstrap" not in str(caught.value)


def test_port_security_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        LabError, match="needs root: its Neutron is reached in this machine's own network and "
    ):
        needs.check(cloud=True)


def test_bridges_that_iptables_does_not_see_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for program in ("ip", "unshare", "setsid", "iptables", "conntrack"):
        (tmp_path / program).touch(0o755)
    monkeypatch.setattr(needs, "PATH", str(tmp_path))
    monkeypatch.setattr(needs, "FILTERED", tmp_path / "bridge")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(LabError, match="`modprobe br_netfilter`"):
        needs.check(cloud=True)
    (tmp_path / "conntrack").unlink()
    with pytest.raises(LabError, match=r"`conntrack` is not installed.*install conntrack"):
        needs.check(cloud=True)


@pytest.mark.parametrize("words", [["seed-port-security"], ["seed", "--depth", "machine"]])
def test_nothing_is_said_to_be_made_for_a_lab_that_cannot_be(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LabError, match="needs root"):
        cli(["lab", "up", *words], standalone_mode=False)
    assert capsys.readouterr().err == ""
    assert not list(tmp_path.iterdir())
