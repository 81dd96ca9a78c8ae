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


def said(tools: Path, tasks: Sequence[tuple[str, str, str]]) -> dict[int, tuple[int, str]]:
    """The exit code and the words of each."""

    async def all_of_them() -> dict[int, tuple[int, str]]:
        sending = Sending(Full(tools), tasks)
        await sending.start()
        while not sending.is_over:
            sending.news.clear()
            await sending.news.wait()
        await sending.stop()
        return sending.ended

    return asyncio.run(asyncio.wait_for(all_of_them(), 20))


def test_what_one_says_is_never_taken_for_the_words_of_another(tmp_path: Path) -> None:
    """All end at the same time, and bash writes line by line."""
    if not BASH.exists():
        lacking("bash")
    words = "#!/bin/sh\nfor word in here are some lines of; do echo $word; done\necho $8\nexit 1\n"
    for name, text in (("sh", SH), ("ping", words)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    tasks = [("echo_of", f"10.0.0.{number}", str(100 + number)) for number in range(40)]
    ended = said(tmp_path, tasks)
    lines = "here\nare\nsome\nlines\nof"
    assert ended == {number: (1, f"{lines}\n{100 + number}") for number in range(40)}


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

    ended = said(tmp_path, tasks)
    assert ended[0] == (0, "-n -q -c 3 -i 0.2 -W 4 -r -s 137 -I eth0 10.0.43.101")
    assert ended[1] == (0, "-n -q -c 3 -i 0.2 -W 4 -r -s 138 -I a*b -I 10.0.44.63 10.0.43.15")
