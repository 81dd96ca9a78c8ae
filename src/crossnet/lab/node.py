"""Process 1 of a lab host: it boots the host, then serves its socket.

It is forked, not executed, from the lab's supervisor, so that a host costs little memory. What happens at
boot is said in crossnet.lab.boot, what is served in crossnet.lab.server.
"""

from __future__ import annotations

import os
import signal
import socket
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from crossnet.lab import files
from crossnet.lab.boot import boot
from crossnet.lab.server import Server
from crossnet.lab.topology import Host

READY = b"ready"


def live(host: Host, disk: Path, console: Path, listener: socket.socket, report: int) -> NoReturn:
    """Be the host until killed; READY or what went wrong is written to `report`, which is then closed."""
    try:
        leave_supervisor(console, {listener.fileno(), report})
        files.move_in(disk)
        socket.sethostname(host.name)
        boot(host)
        os.write(report, READY)
        os.close(report)
    except BaseException as error:
        with suppress(OSError):
            os.write(report, str(error).encode() or repr(error).encode())
        os._exit(1)
    try:
        Server(listener).serve()
    except BaseException:
        traceback.print_exc()  # only the console is left to tell
        os._exit(1)


def leave_supervisor(log: Path, keep: set[int]) -> None:
    """Be a process of its own after the fork: no files but these, output to the log."""
    os.setsid()
    os.chdir("/")
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    console = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for wanted, file in enumerate((nothing, console, console)):
        os.dup2(file, wanted)
    # The supervisor's lock, lifeline and sockets must not live on in here.
    for file in [int(name) for name in os.listdir("/proc/self/fd")]:
        if file > 2 and file not in keep:
            with suppress(OSError):
                os.close(file)
