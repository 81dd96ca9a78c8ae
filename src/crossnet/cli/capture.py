"""capture: packets on several hosts at once, as they pass."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crossnet.cli.interrupt import run
from crossnet.cli.options import Speech, command, duration, speaking
from crossnet.cli.printing import OUT, printer
from crossnet.cli.progress import say

if TYPE_CHECKING:
    from crossnet.api import Captured
    from crossnet.capture import Filter
    from crossnet.spec import Spec
    from crossnet.values import Address, Network

_LONGEST = 24 * 3600  # seconds
_TOGETHER = 0.2  # seconds in which what several hosts saw of one packet comes here, to be shown in order
_SPARE = 5  # seconds that a host watches longer, should crossnet be slow to end it


@command(short_help="Show packets on several hosts as they pass.")
@click.argument("crossing", required=False)
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only on this host; may be repeated.")
@click.option("--proto", type=click.Choice(["icmp", "tcp", "udp"]), help="Only this protocol.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Only this port of tcp or udp.")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="ADDR",
    help="Only from or to this address or network; may be repeated.",
)
@click.option(
    "--for", "seconds", type=duration, default="30s", show_default=True, metavar="TIME", help="How long."
)
@click.option(
    "--count",
    type=click.IntRange(1, 10**6),
    default=10_000,
    show_default=True,
    metavar="N",
    help="End after so many packets, of all hosts together.",
)
@click.option("--pcap", metavar="FILE", help="Write what was seen as a pcapng file, for Wireshark.")
@speaking()
def capture(
    speech: Speech,
    crossing: str | None,
    hosts: tuple[str, ...],
    proto: str | None,
    port: int | None,
    addresses: tuple[str, ...],
    seconds: int,
    count: int,
    pcap: str | None,
) -> int:
    """Show packets on the hosts of a crossing, or of the spec, as they pass: a column for each interface.

    Changes nothing on the hosts, and leaves nothing there. Ctrl-C ends it.
    """
    if not 1 <= seconds <= _LONGEST:
        raise click.UsageError("--for takes 1s to 24h, in seconds or minutes")
    if pcap is not None and Path(pcap).resolve() == Path(speech.file).resolve():
        raise click.UsageError(f"--pcap would replace the spec, {speech.file}")
    wanted = _wanted(proto, port, addresses)
    spec = speech.spec()
    captured = run(_watch(speech, spec, wanted, crossing, hosts, seconds, count))
    return _tell(speech, captured, count, pcap)


def _wanted(proto: str | None, port: int | None, addresses: tuple[str, ...]) -> Filter:
    from crossnet.capture import Filter
    from crossnet.values import Protocol

    try:
        return Filter(tuple(map(_end, addresses)), Protocol(proto) if proto is not None else None, port)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _end(text: str) -> Address | Network:
    from crossnet.values import address, network

    return network(text) if "/" in text else address(text)


async def _watch(
    speech: Speech,
    spec: Spec,
    wanted: Filter,
    crossing: str | None,
    hosts: tuple[str, ...],
    seconds: int,
    count: int,
) -> Captured:
    """What was seen until the time was over, enough was seen, nobody read it, or somebody has asked to end it."""
    import asyncio

    from crossnet import api
    from crossnet.show.capture import Columns, unwatched_text

    columns = Columns(speech.paint)
    async with api.capture(
        spec,
        wanted,
        crossing=crossing,
        hosts=hosts,
        most=count,
        seconds=seconds + _SPARE,
        watch=speech.watch,
    ) as captured:
        watch = captured.watch
        for line in unwatched_text(captured.unwatched):
            say(f"crossnet: {line}")
        if not speech.quiet:
            names = ", ".join(host for host, names in watch.points.items() if names)
            say(f"… watching {names} for {seconds} s; Ctrl-C ends it")
        shown, until = 0, time.monotonic() + seconds
        try:
            while shown < count and (left := until - time.monotonic()) > 0 and watch.is_open:
                if printer.is_deserted(OUT):
                    break
                if not await watch.changed(min(left, 1.0)):
                    continue
                await asyncio.sleep(min(left, _TOGETHER))
                seen = watch.sightings[:count]
                if not speech.json and len(seen) > shown:
                    speech.say("\n".join(columns.lines(seen, shown)))
                shown = len(seen)
        except asyncio.CancelledError:
            # The first signal is how this ends; whoever is impatient sends another.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
    return captured


def _tell(speech: Speech, captured: Captured, count: int, pcap: str | None) -> int:
    from crossnet.capture import timeline
    from crossnet.capture.pcapng import pcapng, save
    from crossnet.show import capture as show
    from crossnet.show import json

    watch = captured.watch
    told = timeline(watch.sightings[:count])
    if pcap is not None:
        try:
            save(Path(pcap), pcapng(told))
        except OSError as error:
            raise click.ClickException(f"cannot write {pcap}: {error.strerror}") from None
    if speech.json:
        data = show.capture_data(told, watch.points, captured.unwatched, watch.lost, pcap)
        speech.say(json.document(data))
    else:
        said = show.summary_text(told, watch.points, watch.lost, pcap)
        speech.say(f"\n{said}" if told.sightings else said)
        ended = {host: why for host, why in watch.failed.items() if host not in captured.unwatched}
        for host, why in ended.items():
            say(f"crossnet: {host} was not watched to the end: {why}")
    return 1 if captured.unwatched else 0
