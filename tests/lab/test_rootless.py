"""What the lab does otherwise for an ordinary user with no capability at all, tried as one."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.elsewhere import PYTHON, UNNEEDED

pytestmark = pytest.mark.lab

ORDINARY = 4242  # a user that owns nothing, and that no password file knows

# Not the whole again: what crossnet asks of a host is the same. Otherwise are the namespaces and what is mounted in
# them (the whole of the first two), which tables of iptables can be listed (the legacy ones, in each family),
# ipsets, counters, and the netlink of nftables for each tool, who may capture and trace, what a boot may write, and who
# may end the demo's processes.
AGAIN = (
    ("test_lab_build.py", ""),
    ("test_lab_transport.py", ""),
    (
        "test_crossing.py",
        "seed_on_every_engine and (nftables or legacy) or seed_in_ipv6 and iptables"
        " or (fence_stops_everybody_else or is_not_managed) and legacy",
    ),
    ("test_diagnose_traced.py", "dropped_it or iptables_words"),
    ("test_boot.py", "comes_back_after_a_reboot and legacy and not v6"),
    ("test_demo.py", "tells_the_truth and nftables or is_killed"),
    (
        "test_breaking.py",
        "shows_and_is_healed and (port or legacy or queue or snat or arp or ingress or mtu) or made_by_hand",
    ),
)
TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A copy that the user can read: where this checkout and its packages lie may be closed to others."""
    work = Path(tempfile.mkdtemp(prefix="crossnet-rootless-", dir="/tmp"))
    try:
        unread = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TOP / "src", work / "src", ignore=unread)
        shutil.copytree(TOP / "tests", work / "tests", ignore=unread)
        shutil.copy(TOP / "pyproject.toml", work)
        packages = sysconfig.get_path("purelib")
        shutil.copytree(packages, work / "packages", ignore=shutil.ignore_patterns(*UNNEEDED))
        for compiled in ("src", "tests"):  # the user can write nothing beside them
            compileall.compile_dir(work / compiled, quiet=1)
        work.chmod(0o755)
        (work / "tmp").mkdir()
        os.chown(work / "tmp", ORDINARY, ORDINARY)
        yield work
    finally:
        shutil.rmtree(work)


@pytest.mark.xdist_group("ordinary user")  # of one copy of all packages
@pytest.mark.parametrize(("file", "chosen"), AGAIN, ids=[file for file, _ in AGAIN])
def test_the_same_as_an_ordinary_user(lab_possible: None, checkout: Path, file: str, chosen: str) -> None:
    if os.geteuid() != 0:
        return  # this run is an ordinary user's already
    as_user = [
        *("setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"),
        *("--inh-caps=-all", "--bounding-set=-all"),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(checkout / "src"), str(checkout / "packages")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    answer = subprocess.run(
        [
            *(*as_user, PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(f"--rootdir={checkout}", f"--basetemp={checkout}/tmp/pytest"),
            *(str(checkout / "tests" / "lab" / file), "-k", chosen),
        ],
        env=environment,
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert " passed" in answer.stdout
    assert " skipped" not in answer.stdout
