"""Resources that no crossing asks for, wanted beside those that do: how a test drives a kind through all stages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crossnet.design import Design, design
from crossnet.resources import Resource


def wanting(monkeypatch: pytest.MonkeyPatch, **more: tuple[Resource, ...]) -> None:
    """From now on each host wants these too, as long as there is a crossing at all."""

    def also(*words: Any, **options: Any) -> Design:
        found = design(*words, **options)
        if not found.paths:
            return found
        wanted = {name: (*items, *more.get(name, ())) for name, items in found.wanted.items()}
        return replace(found, wanted=wanted)

    monkeypatch.setattr("crossnet.planning.design", also)
