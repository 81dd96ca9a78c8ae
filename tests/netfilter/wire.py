"""A network of its own, in which the frames of a test arrive and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from lacking import lacking
from netfilter.frames import Drawn

FRAMES = Path(__file__).with_name("frames.py")
# Nothing but the test's own frames comes by: no address is made up, nobody asks for neighbours or routers.
LINKS = """
set -e
for name in wan0 lan0; do
    ip link add "$name" type veth peer name "to-$name"
    for end in "$name" "to-$name"; do
        ip link set "$end" addrgenmode none
        ip link set "$end" up
    done
done
"""


class Host:
    """A network of its own in which frames arrive."""

    def __init__(self) -> None:
        new = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--net")
        self._first = subprocess.Popen(
            (*new, "sh", "-c", "echo up; exec cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._first.stdout is not None
        if self._first.stdout.readline() != "up\n":
            self.close()
            lacking("this kernel or this user may not make network namespaces")
        users = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        self._enter = ("nsenter", "--target", str(self._first.pid), "--net", *users)

    def run(self, *argv: str, text: str = "") -> str:
        done = subprocess.run((*self._enter, *argv), input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def close(self) -> None:
        self._first.communicate()

    def hardware(self, name: str) -> str:
        return self.run(
            "sh", "-c", f"ip -o link show dev {name} | sed 's/.*ether \\([^ ]*\\).*/\\1/'"
        ).strip()


def send(host: Host, drawn: Iterable[Drawn]) -> None:
    host.run(
        sys.executable, str(FRAMES), text="".join(f"to-{each.iif} {each.frame.hex()}\n" for each in drawn)
    )


def listing(host: Host) -> str:
    """The ruleset as nft prints it, once nothing counts any more: frames wait in the queue of their link."""
    before = ""
    for _ in range(50):
        now = host.run("nft", "-j", "list", "ruleset")
        if now == before:
            return now
        before = now
        time.sleep(0.1)
    raise AssertionError("packets of somebody else arrive all the while")
