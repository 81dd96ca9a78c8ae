"""diagnose: where a flow stops, why, and what to do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crossnet.cli.hints import hints
from crossnet.cli.interrupt import listener, run, staying
from crossnet.cli.options import SPEC_FILE, Speech, command, guarding, speaking
from crossnet.cli.printing import OUT, printer

if TYPE_CHECKING:
    from crossnet.api import Asked, Guard
    from crossnet.diagnosis.diagnose import Diagnosed
    from crossnet.spec import Spec
    from crossnet.values import Address

_PAUSE = 2.0  # seconds between two of `--watch`


@command(short_help="Find where a flow stops, why, and what to do.")
@click.argument("crossing", required=False)
@click.option(
    "--from",
    "client",
    metavar="A",
    help="Who sends: a host of the spec, what ssh takes, local, netns:NAME or lab:NAME.",
)
@click.option("--to", metavar="ADDR[:PORT]", help="Whom it should reach.")
@click.option("--via", multiple=True, metavar="B", help="A gateway on the way; may be repeated, in order.")
@click.option("--proto", type=click.Choice(["icmp", "tcp", "udp"]), help="Default: icmp, with a port tcp.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="The port, if --to names none.")
@click.option(
    "--size", type=click.IntRange(28, 65535), metavar="BYTES", help="Ask about IP packets of this size."
)
@click.option(
    "--become", is_flag=True, help="Use `sudo -n` on hosts of no spec where you do not log in as root."
)
@click.option(
    "--cloud",
    metavar="NAME",
    help="Ask this cloud (of clouds.yaml) for the ports; default: that of the spec.",
)
@click.option("--html", metavar="FILE", help="Write it as one page that can be sent and printed.")
@click.option("--pcap", metavar="FILE", help="Write every packet that was seen, for Wireshark.")
@click.option("--watch", "again", is_flag=True, help="Repeat it, and say when it changes; Ctrl-C ends it.")
@click.option("--fix", is_flag=True, help="Offer what crossnet can do about it as a plan.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@guarding
@speaking()
def diagnose(
    speech: Speech,
    crossing: str | None,
    client: str | None,
    to: str | None,
    via: tuple[str, ...],
    proto: str | None,
    port: int | None,
    size: int | None,
    become: bool,
    cloud: str | None,
    html: str | None,
    pcap: str | None,
    again: bool,
    fix: bool,
    yes: bool,
    guard: Guard,
) -> int:
    """Send probes, watch them on every interface of the hosts on the way, and say where they stop and why.

    Of a CROSSING of the spec, or of any flow: --from A --to ADDR, with each gateway as --via. Changes nothing,
    but what --fix offers and you agree to.
    """
    from crossnet import api

    if again and (fix or html or pcap):
        raise click.UsageError("--watch goes with none of --fix, --html and --pcap")
    files = [Path(each).resolve() for each in (html, pcap, speech.file) if each is not None]
    if (html or pcap) and len(set(files)) < len(files):
        raise click.UsageError(
            "--html, --pcap and the spec are files of their own: one would replace another"
        )
    if fix and speech.json:
        raise click.UsageError("--fix asks and tells of an apply: it goes without --json")
    if len({client, *via}) != 1 + len(via):
        raise click.UsageError("--from and each --via are different hosts, in the order of the way")
    asked = replace(_asked(crossing, client, to, via, proto, port, size), cloud=_cloud(cloud))
    free = (
        crossing is None
        and client is not None
        and speech.file == SPEC_FILE
        and not Path(speech.file).exists()
    )
    if fix and free and len(via) != 1:
        raise click.UsageError(
            "without a spec --fix makes a crossing, which has one gateway: name it with --via B\n"
            "  For more of them write a spec, with a crossing over each: `crossnet init`."
        )
    spec = None if free else speech.spec()

    async def diagnosed() -> Diagnosed:
        found = await api.diagnose(asked, spec, become=become, watch=speech.watch)
        if not (again or fix):
            listener.end()  # what is left is to tell it
        return found

    def once() -> Diagnosed:
        return run(diagnosed())

    if again:
        return _watched(speech, once)
    found = once()
    _say(speech, found)
    if html is not None:
        from crossnet.show.page import page

        _write(html, page(found.verdict).encode(), "--html")
    if pcap is not None:
        _write(pcap, _captured(found), "--pcap")
    if found.interrupted:
        raise KeyboardInterrupt
    code = _code(found)
    if fix and code:
        return _fixed(speech, spec, asked, found, guard, become=become, yes=yes)
    return code


def _code(found: Diagnosed) -> int:
    from crossnet.verdict import Result

    return 0 if found.verdict.result is Result.REACHABLE else 3


def _say(speech: Speech, found: Diagnosed) -> None:
    from crossnet.show import diagnosis, fixing, json

    if speech.json:
        speech.say(json.document(json.diagnosis_data(found.verdict)))
    else:
        width = printer.columns() or fixing.LONGEST
        speech.say(diagnosis.diagnosis_text(found.verdict, paint=speech.paint, width=width))
        if found.flows > 1:
            before = "; those before it get through" if found.flow > 1 else ""
            speech.say(f"\nThat is flow {found.flow} of {found.flows} of the crossing{before}.")


def _watched(speech: Speech, once: Callable[[], Diagnosed]) -> int:
    """Again and again, while somebody reads it; what is told is the first verdict, and each that is another one."""
    from datetime import datetime

    told, code = None, 0
    while True:
        try:
            found = once()
            if found.interrupted:
                return code
            verdict = found.verdict
            known = (
                verdict.result,
                verdict.forward.code,
                verdict.forward.at,
                verdict.reply.code,
                verdict.reply.at,
            )
            if known != told:
                if not speech.json:
                    speech.say(f"{'' if told is None else chr(10)}{datetime.now().astimezone():%H:%M:%S %z}")
                _say(speech, found)
            told, code = known, _code(found)
            time.sleep(_PAUSE)
            if printer.is_deserted(OUT):
                return code
        except KeyboardInterrupt:
            return code


def _fixed(
    speech: Speech,
    spec: Spec | None,
    asked: Asked,
    found: Diagnosed,
    guard: Guard,
    *,
    become: bool,
    yes: bool,
) -> int:
    """The plan of the spec, or of a crossing for this flow, where that is what would help; the rest is for a person."""
    from crossnet import template
    from crossnet.api.offering import need_of
    from crossnet.cli.crossings import carry_out, in_no_file, later_file, make_plan, telling_how_to_write
    from crossnet.specfile import parse

    verdict = found.verdict
    halves = [half for half in (verdict.forward, verdict.reply) if half.code]
    fixes = [fix for half in halves for fix in half.fix] + [fix for also in verdict.also for fix in also.fix]
    need = need_of(asked, spec, become=become) if verdict.crossing is None else None
    if verdict.crossing is not None and spec is not None:
        meant = spec.only((verdict.crossing,))
    elif need is not None:
        meant = parse(template.alone(need), "")
        hints.file = later_file(meant)
    else:
        raise click.ClickException(
            f"the flow belongs to no crossing of {speech.file}: there is nothing to plan\n"
            "  Add one for it there, then `crossnet apply`."
        )
    if not any(fix.by_crossnet for fix in fixes):
        words = "crossnet changes nothing that it does not own: the commands above are for a person"
        raise click.ClickException(words if fixes else "no command of a host that is known mends this")
    with staying() as ways, nullcontext() if need is None else telling_how_to_write(meant, need):
        made = run(make_plan(meant, speech, ways))
        if not made.touched:
            raise click.ClickException(
                "all that the spec asks for is there already: the commands above are for a person"
            )
        code = carry_out(speech, made, guard, ways, yes=yes)
    if need is not None:
        speech.say(in_no_file(meant, need))
    return code


def _captured(found: Diagnosed) -> bytes:
    """The packets, with the verdict at the whole and at the packet that was seen last before it stopped."""
    from crossnet.capture.pcapng import pcapng
    from crossnet.show.diagnosis import summary

    comments = {} if found.last is None else {found.last: summary(found.verdict)}
    return pcapng(found.seen, comments=comments, summary=summary(found.verdict))


def _write(file: str, data: bytes, option: str) -> None:
    """Whole or not at all, readable by its owner alone: it tells how a network is made."""
    from crossnet.localfile import File, replace

    try:
        replace([File(Path(file), data, 0o600)])
    except OSError as error:
        raise click.ClickException(f"{option}: cannot write {file}: {error.strerror}") from None


def _asked(
    crossing: str | None,
    client: str | None,
    to: str | None,
    via: tuple[str, ...],
    proto: str | None,
    port: int | None,
    size: int | None,
) -> Asked:
    from crossnet.api import Asked
    from crossnet.values import Protocol, address

    if to is None:
        if proto is not None or port is not None:
            raise click.UsageError("--proto and --port belong to a flow: name its end with --to")
        return Asked(crossing, client, via, size=size)
    text, named = _parted(to)
    try:
        destination = address(text)
    except ValueError as error:
        raise click.UsageError(f"--to: {error}") from None
    if why := _no_host(destination):
        raise click.UsageError(f"--to: {text} {why}")
    if named is not None and port not in (None, named):
        raise click.UsageError(f"--to says port {named} and --port {port}: give it once")
    port = port if named is None else named
    protocol = Protocol(proto) if proto is not None else Protocol.TCP if port is not None else Protocol.ICMP
    if protocol is Protocol.ICMP and port is not None:
        raise click.UsageError("icmp has no ports")
    if protocol is not Protocol.ICMP and port is None:
        raise click.UsageError(f"{protocol} needs a port: --to {to}:PORT")
    if size is not None and protocol is not Protocol.ICMP:
        raise click.UsageError("--size is that of an echo: it goes with icmp only")
    return Asked(crossing, client, via, destination, protocol, port, size)


def _cloud(name: str | None) -> str:
    """An entry of clouds.yaml with its region, where one is named; nothing where no cloud is."""
    from crossnet.spec import CLOUD

    if name is None:
        return ""
    if not re.fullmatch(CLOUD, name):
        raise click.UsageError(
            f"--cloud: {name!r} is not the name of an entry of clouds.yaml, or NAME/REGION"
        )
    return name


def _no_host(destination: Address) -> str:
    """Why no host can be behind a router by that address; nothing where one can."""
    if destination.is_unspecified or destination.is_loopback:
        return "is no address that a host has on a network"
    return "is link-local: no router passes it on" if destination.is_link_local else ""


def _parted(to: str) -> tuple[str, int | None]:
    """An address and, where one stands behind it, a port: `10.0.44.1:80`, `[fd00::1]:80`."""
    host, colon, port = to.rpartition(":")
    if colon and port.isdecimal() and (":" not in host or host.startswith("[")):
        number = int(port)
        if not 1 <= number <= 65535:
            raise click.UsageError(f"--to: {port} is not a port between 1 and 65535")
        return host.removeprefix("[").removesuffix("]"), number
    return to.removeprefix("[").removesuffix("]"), None
