"""A network namespace of its own for the real tools: nft, iptables, ipset."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lacking import lacking

IS_ROOT = os.geteuid() == 0
TOOLS = ("unshare", "nsenter", "nft", "iptables-nft", "iptables-legacy", "ipset")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network of its own, alive as long as its first process."""

    enter: tuple[str, ...]
    lock: Path

    def run(self, *argv: str, text: str | None = None) -> str:
        done = self.attempt(*argv, text=text)
        assert done.returncode == 0, f"{argv}: {done.stderr}\n{text or ''}"
        return done.stdout

    def attempt(self, *argv: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
            # an ordinary user may not open the lock in /run, and nobody else shares this namespace
            "XTABLES_LOCKFILE": str(self.lock),
        }
        return subprocess.run(
            (*self.enter, *argv), input=text, capture_output=True, text=True, env=environment, timeout=60
        )


@contextmanager
def new_namespace(lock: Path) -> Iterator[Namespace]:
    """A namespace with the real tools; the test is skipped where there can be none."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    if missing:
        lacking(f"not on this machine: {', '.join(missing)}")
    # First the user, mapped: the network takes the owner of its /proc/net/ip_tables_names from that map.
    new = ("unshare", "--net") if IS_ROOT else ("unshare", "--user", "--map-root-user", "unshare", "--net")
    with subprocess.Popen(
        (*new, "sh", "-c", "echo up; exec cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        if first.stdout.readline() != "up\n":
            lacking("this kernel or this user may not make network namespaces")
        users = () if IS_ROOT else ("--user", "--preserve-credentials")
        yield Namespace(("nsenter", "--target", str(first.pid), "--net", *users), lock)
        first.stdin.close()
