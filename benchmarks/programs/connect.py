"""On the client: open and reset connections one after the other, and print what that took as JSON.

usage: connect.py ADDRESS PORT CLOCK_PORT CPU SECONDS MOST

A few hundred come first that do not count, so that what ran before matters less.

Every connection is ended with a reset, which leaves no TIME_WAIT and so gives its port back.
"""

import json
import os
import socket
import struct
import sys
import time

WARM_UP = 500
RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


def clock(address: str, port: int) -> int:
    """The server's CPU time in nanoseconds."""
    with socket.create_connection((address, port), timeout=5) as asked:
        return int(asked.makefile().readline())


def connect(place: tuple[str, int]) -> None:
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(5)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.connect(place)
    connection.close()


def main() -> None:
    address, port, clock_port, cpu = sys.argv[1], *map(int, sys.argv[2:5])
    seconds, most = float(sys.argv[5]), int(sys.argv[6])
    os.sched_setaffinity(0, {cpu})
    place = (address, port)
    for _ in range(WARM_UP):
        connect(place)
    server = clock(address, clock_port)
    own, start = time.process_time_ns(), time.perf_counter()
    end = start + seconds
    made = 0
    while made < most and time.perf_counter() < end:
        connect(place)
        made += 1
    elapsed = time.perf_counter() - start
    own = time.process_time_ns() - own
    server = clock(address, clock_port) - server
    print(json.dumps({"connections": made, "seconds": elapsed, "cpu_ns": own + server}))


main()
