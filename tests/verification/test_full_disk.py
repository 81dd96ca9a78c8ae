"""What hosts send where nothing can be written any more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from crossnet.transport import Process
from crossnet.transport.local import Local
from crossnet.verification.probe import Sending
from lacking import lacking

BASH = Path("/bin/bash")

# As bash 4 is (CentOS 7, AlmaLinux 8), on a disk that is full.
SH = f"""#!{BASH}
trap '' XFSZ
ulimit -f 0
export BASH_COMPAT=4.2
exec -a sh {BASH} "$@"
"""


class Full(Local):
    """This machine, with tools of its own."""

    def __init__(self, tools: Path) -> None:
        super().__init__("app")
        self.tools = tools

    async def start(self, argv: Sequence[str]) -> Process:
        return await super().start(["env", f"PATH={self.tools}:{os.environ['PATH']}", *argv])


def test_neighbours_ask_each_other(tmp_path: Path) -> None:
    if not BASH.exists():
        lacking("bash")
    for name, text in (("sh", SH), ("ping", '#!/bin/sh\necho "$*"\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    tasks = [
        ("near", "10.0.43.101", "137 eth0"),
        ("foreign", "10.0.43.15", "138 a*b 10.0.44.63"),
    ]

    async def said() -> dict[int, tuple[int, str]]:
        sending = Sending(Full(tmp_path), tasks)
        await sending.start()
        while not sending.is_over:
            sending.news.clear()
            await sending.news.wait()
        await sending.stop()
        return sending.ended

    ended = asyncio.run(asyncio.wait_for(said(), 10))
    assert ended[0] == (0, "-n -q -c 3 -i 0.2 -W 4 -r -s 137 -I eth0 10.0.43.101")
    assert ended[1] == (0, "-n -q -c 3 -i 0.2 -W 4 -r -s 138 -I a*b -I 10.0.44.63 10.0.43.15")
