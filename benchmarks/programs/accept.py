"""On the target: take every connection and close it; on a second port say how much CPU time that took.

usage: accept.py ADDRESS PORT CLOCK_PORT CPU

CPU time is the process's own in nanoseconds. What the kernel does with a packet while this process sends or
receives is in it (see benchmarks/dataplane.py).
"""

import os
import select
import socket
import sys
import time


def listen(address: str, port: int) -> socket.socket:
    listener = socket.create_server((address, port), backlog=4096)
    listener.setblocking(False)
    return listener


def main() -> None:
    address, port, clock_port, cpu = sys.argv[1], *map(int, sys.argv[2:])
    os.sched_setaffinity(0, {cpu})
    connections, clock = listen(address, port), listen(address, clock_port)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([connections, clock], [], [])
        if clock in ready:
            asked, _ = clock.accept()
            with asked:
                asked.sendall(b"%d\n" % time.process_time_ns())
        if connections in ready:
            try:
                while True:
                    connections.accept()[0].close()
            except OSError:
                pass


main()
