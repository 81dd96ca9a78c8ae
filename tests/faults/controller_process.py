"""A controller as a process of its own, forked from one that has read crossnet's code already.

To read the code takes several times as long as to run it, and the faults are tried with thousands of controllers.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import crossnet

CODE = [
    module.name
    for module in pkgutil.walk_packages(crossnet.__path__, f"{crossnet.__name__}.")
    if not module.name.endswith("__main__")
]

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(CODE)


class ControllerProcess:
    """A program of the tests that runs; what it prints goes to files whose names begin with `said`."""

    def __init__(
        self,
        program: Callable[[], None],
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        said: Path,
    ) -> None:
        self._out, self._err = said.with_suffix(".out"), said.with_suffix(".err")
        self._process = _forking.Process(
            target=_become,
            args=(program, tuple(words), folder, dict(environment), self._out, self._err),
            daemon=True,
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, a signal's number below zero; None while it runs."""
        return self._process.exitcode

    def signal(self, number: signal.Signals) -> None:
        if self.code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def wait(self, patience: float | None = None) -> int | None:
        """Until it has ended, for so many seconds."""
        self._process.join(patience)
        return self.code

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8", errors="replace")


def _become(
    program: Callable[[], None],
    words: tuple[str, ...],
    folder: Path,
    environment: dict[str, str],
    out: Path,
    err: Path,
) -> None:
    """In the new process: what a shell would have set up."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["crossnet", *words]
    program()
