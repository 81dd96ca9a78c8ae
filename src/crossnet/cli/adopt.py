"""adopt: the spec of what somebody has made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crossnet.cli.hints import USUAL_FILE, hints
from crossnet.cli.interrupt import run
from crossnet.cli.need import write_new
from crossnet.cli.options import Speech, command, speaking
from crossnet.cli.outcome import outcome

if TYPE_CHECKING:
    from crossnet.api import Adoption


@command(short_help="Write the spec of what was made by hand.")
@click.argument("clients", nargs=-1, required=True, metavar="CLIENT...")
@click.option("--via", multiple=True, required=True, metavar="GW", help="The gateway; may be repeated.")
@click.option("--to", multiple=True, metavar="NET", help="Only these networks, of all that it leads to.")
@click.option(
    "--cloud", default="", metavar="NAME", help="An entry of clouds.yaml: the OpenStack cloud of the hosts."
)
@click.option("--become", is_flag=True, help="Use `sudo -n` on hosts where you do not log in as root.")
@speaking()
def adopt(
    speech: Speech,
    clients: tuple[str, ...],
    via: tuple[str, ...],
    to: tuple[str, ...],
    cloud: str,
    become: bool,
) -> int:
    """Write the spec of a way over GW that CLIENT has already, and say what of it is wider than needed.

    Routes, forwarding, rules and ports are read, and nothing is changed. CLIENT and GW are anything that ssh takes,
    `local`, `netns:NAME` or `lab:NAME`.
    """
    from crossnet import api
    from crossnet.adoption.hosts import hosts_of
    from crossnet.show import json
    from crossnet.show.adoption import adoption_data, adoption_text
    from crossnet.specfile.naming import suggested
    from crossnet.standing import who
    from crossnet.values import network

    try:
        networks = tuple(map(network, to))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from None
    if Path(speech.file).exists():
        raise click.ClickException(
            f"{speech.file} already exists, and is left as it is\n  Give another name with -f FILE."
        )
    hints.file = USUAL_FILE  # the file is not there before it is written
    sources, gateways = hosts_of(clients, via, become=become)
    found = run(
        api.adopt(
            sources,
            gateways,
            to=networks,
            cloud=cloud,
            name=suggested(speech.file, who()),
            file=speech.file,
            watch=speech.watch,
        )
    )
    write_new(speech.file, found.spec.source, "-f")
    hints.file = speech.file
    outcome.settle(0)
    if speech.json:
        speech.say(json.document({"file": speech.file, **adoption_data(found)}))
        return 0
    shown = adoption_text(found, verbose=speech.verbose, paint=speech.paint)
    speech.say(f"{shown}\n\nWrote {speech.file}. {_next(found)}")
    return 0


def _next(found: Adoption) -> str:
    steps = ["`crossnet apply`"] if found.plan.touched else []
    steps += ["the commands above"] if any(each.fix for each in found.findings) else []
    # A port whose security was off has lost the groups that let the clients in.
    steps += (
        ["`crossnet apply` again"] if any(each.code == "port-security-off" for each in found.findings) else []
    )
    return f"Next: {', then '.join(steps)}." if steps else "Nothing of it has to be changed."
