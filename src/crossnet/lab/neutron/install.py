"""The virtual environment that the lab's Neutron runs in, made once and kept in this user's cache.

It is `neutron/KEY` in the cache (crossnet.lab.cache); KEY changes with the versions in constraints.txt, beside this
file, and with Python's. Nothing of crossnet is in it, and crossnet imports nothing of it. It may be removed whenever
no lab of it is up.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from crossnet.errors import LabError
from crossnet.lab import cache

# Keystone is for those who want to be asked who they are, the client to look at the lab as an operator would.
PACKAGES = ("neutron", "keystone", "python-openstackclient", "openstacksdk", "cheroot")

SERVE = Path(__file__).with_name("serve.py")

_CONSTRAINTS = Path(__file__).with_name("constraints.txt")

# A virtual environment does not work at another path than it was made at, so that the last step makes it whole.
_MADE = "made"
_RECIPE = """
python=$1 place=$2 constraints=$3; shift 3
"$python" -m venv "$place"
"$place/bin/python" -m pip install --no-input --disable-pip-version-check -c "$constraints" "$@"
: > "$place/made"
"""

_LOG = "making.log"


def place() -> Path:
    """Where the environment is, or will be."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    recipe = "\n".join((*PACKAGES, version, _RECIPE, _CONSTRAINTS.read_text(encoding="utf-8")))
    return cache.folder() / "neutron" / hashlib.sha256(recipe.encode()).hexdigest()[:8]


def program(name: str = "python") -> Path:
    """A program of the environment, such as `python` or `openstack`."""
    return place() / "bin" / name


def is_made() -> bool:
    # Its Python is a link to the one that it was made with, which may have been removed since.
    return (place() / _MADE).exists() and program().exists()


async def make() -> None:
    """Have the environment made, which takes a minute and PyPI; nothing when it is there already."""
    wanted = place()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    async with cache.alone(wanted.parent / "lock") as lock:
        if is_made():
            return
        log = wanted.parent / _LOG
        try:
            if wanted.exists():  # of one that was killed
                shutil.rmtree(wanted)
            recipe = ("sh", "-euc", _RECIPE, "sh", sys.executable, str(wanted), str(_CONSTRAINTS), *PACKAGES)
            status = await cache.run(recipe, log, lock=lock)
            if status != 0:
                raise LabError(
                    f"the lab's Neutron cannot be installed in {wanted}: pip ended with {status}\n    "
                    f"{cache.last_lines(log)}\n"
                    f"  All it said is in {log}. It needs PyPI or what pip is configured for, 410 MB, and "
                    "Python's venv (Debian: python3-venv)."
                )
        except BaseException:
            shutil.rmtree(wanted, ignore_errors=True)
            raise
