"""The spec file of somebody."""

from __future__ import annotations

from pathlib import Path

from crossnet.spec import Spec


def load(path: str | Path) -> Spec:
    """The spec in a file; SpecError tells all its mistakes at once."""
    from crossnet.specfile import load as load_file

    return load_file(path)
