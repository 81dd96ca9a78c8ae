"""What the lab's Neutron is installed from is told when it cannot be, and nothing half made is taken for whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from crossnet.errors import LabError
from crossnet.lab.neutron import install


def test_an_installation_that_fails_is_told_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(install, "_RECIPE", install._RECIPE.replace('-m venv "', '-m venv --without-pip "'))
    with pytest.raises(LabError, match=r"cannot be installed in .*: pip ended with (.|\n)*It needs PyPI"):
        asyncio.run(install.make())
    assert not install.is_made()
    assert not install.place().exists()


def test_what_was_left_half_made_is_not_taken_for_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recipe = '[ ! -e "$2" ] && mkdir -p "$2/bin" && ln -s "$1" "$2/bin/python" && : > "$2/made"'
    monkeypatch.setattr(install, "_RECIPE", recipe)
    (install.place() / "lib").mkdir(parents=True)
    assert not install.is_made()
    asyncio.run(install.make())
    assert install.is_made()
    assert not (install.place() / "lib").exists()
    install.program().unlink()
    install.program().symlink_to("/no/such/python")  # of a system that has another one now
    assert not install.is_made()
    asyncio.run(install.make())
    assert install.is_made()
