"""Pass connections on to addresses, each byte so many seconds later; for a lab host, whose kernel may have no netem.

delaying.py SECONDS PORT=ADDRESS:PORT … says "ready" when it listens on all these ports of the loopback interface.
"""

import asyncio
import contextlib
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable


async def pass_on(reader: StreamReader, writer: StreamWriter, delay: float) -> None:
    """What was read first is due first, so the order stays."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            loop.call_later(delay, writer.write, data)
    loop.call_later(delay, writer.close)


def to(address: str, delay: float) -> Callable[[StreamReader, StreamWriter], Awaitable[None]]:
    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        host, port = address.split(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pass_on(reader, far_writer, delay), pass_on(far_reader, writer, delay))

    return connected


async def main(seconds: str, *pairs: str) -> None:
    for pair in pairs:
        port, address = pair.split("=")
        await asyncio.start_server(to(address, float(seconds)), "127.0.0.1", int(port))
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
