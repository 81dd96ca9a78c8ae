"""crossnet itself, killed or stopped at a message that it sends to a host; a program, run by the tests.

It runs the command line on its arguments, as `crossnet` does. What happens to it is in the environment:

    CROSSNET_FAULT   `kill|stop before|during|after N`: at the N-th message, counted from 1 over all hosts.
                     Before it is sent, when it is sent and not yet answered, or when the answer is here.
    CROSSNET_TOLD    a file: `process` and its number, a line for each message as it begins, and `fault` when
                     the fault is reached
    CROSSNET_MACHINE what this machine says it is, to come from another one
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from crossnet.transaction import journal
from crossnet.transport.lab import LabHost

ON_ITS_WAY = 0.03  # seconds for a message to leave, and for the host to begin with it

Verb = Callable[..., Coroutine[Any, Any, Any]]


class Faulted:
    """The messages of this process, and what happens at one of them."""

    def __init__(self) -> None:
        self._file = os.environ["CROSSNET_TOLD"]
        self._what, self._when, number = (os.environ.get("CROSSNET_FAULT") or "none before 0").split()
        self._number = int(number)
        self._sent = 0
        self._tell(f"process {os.getpid()}")

    def of(self, verb: Verb) -> Verb:
        async def message(host: Any, argv: Any, **more: Any) -> Any:
            self._sent += 1
            is_it = self._sent == self._number
            self._tell(f"{self._sent} {host.name} {subject(argv)}")
            if is_it and self._when == "before":
                self._happen()
            answering = asyncio.ensure_future(verb(host, argv, **more))
            if is_it and self._when == "during":
                await asyncio.sleep(ON_ITS_WAY)
                self._happen()
            answer = await answering
            if is_it and self._when == "after":
                self._happen()
            return answer

        return message

    def _happen(self) -> None:
        self._tell("fault")
        os.kill(os.getpid(), signal.SIGKILL if self._what == "kill" else signal.SIGSTOP)

    def _tell(self, line: str) -> None:
        with open(self._file, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def subject(argv: list[str]) -> str:
    """A word for what a message is about: a verb of host.sh, or the tool."""
    verbs = {"stage", "arm", "apply", "status", "extend", "commit", "release", "rollback", "recover"}
    return next((word for word in argv if word in verbs), argv[0] if argv[0] != "sh" else "ask")


def main() -> None:
    faulted = Faulted()
    hosts: list[Any] = [LabHost]
    if "CROSSNET_OVER_SSH" in os.environ:
        from crossnet.transport.ssh import Ssh

        hosts.append(Ssh)
    for kind in hosts:
        kind.run = faulted.of(kind.run)
        kind.start = faulted.of(kind.start)
    if "CROSSNET_MACHINE" in os.environ:
        journal.machine_id = lambda: os.environ["CROSSNET_MACHINE"]
    from crossnet.cli import main as crossnet

    crossnet()


if __name__ == "__main__":
    main()
