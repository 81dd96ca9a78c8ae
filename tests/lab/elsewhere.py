"""crossnet and what it needs, where a lab host can see it.

A lab host has its own /tmp, /run and /etc, and a checkout may lie in one of them; /var/tmp is the machine's.
"""

from __future__ import annotations

import atexit
import compileall
import functools
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import crossnet

# What only checks and other tests need, and what is large.
UNNEEDED = ("mypy*", "*__mypyc*", "ruff*", "pip*", "hypothesis*", "virtualenv*", "setuptools*")

# Not the interpreter of the venv, which may lie in a closed folder, but the one it was made from.
PYTHON = str(getattr(sys, "_base_executable", sys.executable))


@functools.cache
def python_path() -> str:
    """A PYTHONPATH for `PYTHON`, of copies that everybody may read; they go with this process.

    They are compiled already: whoever starts there writes nothing beside them, and would do it each time.
    """
    copies = Path(tempfile.mkdtemp(prefix="crossnet-tests-", dir="/var/tmp"))
    atexit.register(shutil.rmtree, copies, ignore_errors=True)
    unneeded = shutil.ignore_patterns(*UNNEEDED)
    shutil.copytree(Path(crossnet.__file__).parent, copies / "src" / "crossnet", ignore=unneeded)
    shutil.copytree(sysconfig.get_path("purelib"), copies / "packages", ignore=unneeded)
    compileall.compile_dir(copies / "src", quiet=1)
    copies.chmod(0o755)
    return os.pathsep.join([str(copies / "src"), str(copies / "packages")])
