"""lab and demo: real hosts on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from crossnet.cli.interrupt import run
from crossnet.cli.options import SPEC_FILE, Ordered, Speech, command, speaking
from crossnet.cli.outcome import outcome
from crossnet.cli.printing import printer

if TYPE_CHECKING:
    from crossnet.lab.build import Lab
    from crossnet.lab.faults import Fault


@command(short_help="See the whole story on hosts of the lab.")
@click.option(
    "--firewall", type=click.Choice(["auto", "nftables", "iptables"]), default="auto", help="Which engine."
)
@click.option(
    "--openstack", is_flag=True, help="The story of hosts in a cloud: a real Neutron filters their ports."
)
@click.option("--no-color", is_flag=True, help="Plain text.")
def demo(firewall: str, openstack: bool, no_color: bool) -> None:
    """Tell the whole story on hosts of the lab, start to end; leaves nothing behind."""
    from crossnet import demo as story
    from crossnet.show.paint import marked, plain

    colour = printer.has_colours(no_color=no_color)
    paint = marked if colour else plain
    run(story.tell(printer.out, paint=paint, firewall=firewall, openstack=openstack))


@click.group(cls=Ordered, short_help="Hosts on this machine, to try and to test.")
def lab() -> None:
    """Hosts in network namespaces on this machine, to try and to test."""


@lab.command("up")
@click.argument("topology", default="seed")
@click.option(
    "--depth",
    type=click.Choice(["lab", "machine"]),
    default="lab",
    help="machine: each host a Debian that boots its own systemd.",
)
@click.option("--name", help="The lab's name; default CROSSNET_LAB, else the topology's name.")
@click.option("--count", type=click.IntRange(1, 1000), help="How many hosts a counted entry makes.")
@click.option("--spec", "spec_file", metavar="FILE", help="Write a spec for this lab.")
@speaking(with_spec=False)
def up(
    speech: Speech,
    topology: str,
    depth: str,
    name: str | None,
    count: int | None,
    spec_file: str | None,
) -> None:
    """Build a lab from a shipped topology (see `lab list`) or a file."""
    from crossnet.events import Event, Kind
    from crossnet.lab import build, image, needs
    from crossnet.lab import topology as topologies
    from crossnet.lab.depth import Depth
    from crossnet.lab.neutron import install
    from crossnet.localfile import create
    from crossnet.show import json

    loaded = topologies.load(topology, count=count)
    if spec_file is not None and os.path.lexists(spec_file):
        raise click.ClickException(f"{spec_file} already exists, and is left as it is\n  Give another name.")
    if spec_file is not None:
        topologies.spec_for(loaded)  # refused before anything is built
    needs.check(Depth(depth), cloud=loaded.is_in_cloud)  # before anything is said to be installed
    if Depth(depth) is Depth.MACHINE and not image.is_made():
        speech.watch(Event(Kind.MAKES_IMAGE))
    if loaded.is_in_cloud and not install.is_made():
        speech.watch(Event(Kind.INSTALLS_NEUTRON))
    built = run(build.up(loaded, depth=Depth(depth), name=name))
    if spec_file is not None:
        named = built.name if built.name != loaded.name else None
        try:
            create(spec_file, topologies.spec_for(loaded, named))
        except OSError as error:
            raise click.ClickException(
                f"lab {built.name} is up, but {spec_file} cannot be written: {error.strerror}\n"
                f"  `crossnet lab down {built.name}` takes it down."
            ) from None
    outcome.settle(0)
    if speech.json:
        speech.say(
            json.document(
                {
                    "lab": built.name,
                    "hosts": list(built.hosts),
                    "depth": built.depth.value,
                    "clouds": None if built.clouds is None else str(built.clouds),
                }
            )
        )
        return
    lines = [f"Lab {built.name} is up: {', '.join(built.hosts)}."]
    first = _as_found(built)
    if built.clouds is not None:
        lines.append(f"Its cloud:    export OS_CLIENT_CONFIG_FILE={built.clouds} OS_CLOUD={built.name}")
    if spec_file is not None:
        file = "" if spec_file == SPEC_FILE else f" -f {spec_file}"
        lines.append(f"Wrote {spec_file}: run `crossnet plan{file}`.")
    else:
        lines.append(f"A host is `lab: {first}` in a spec; --spec FILE writes one.")
    lines.append(f"Look around:  crossnet lab exec {first} -- ip addr")
    lines.append(f"Take it down: crossnet lab down {built.name}")
    speech.say("\n".join(lines))


def _as_found(lab: Lab) -> str:
    """Its first host, with the name of the lab where another lab has one of that name too, or is meant without one."""
    from crossnet.errors import LabError
    from crossnet.lab import build

    host = lab.hosts[0]
    try:
        meant = build.find(host).lab
    except LabError:
        meant = None
    return host if meant is not None and meant.name == lab.name else f"{lab.name}/{host}"


@lab.command("down")
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="All labs of this user, and what a crash left.")
@speaking(with_spec=False)
def down(speech: Speech, name: str | None, everything: bool) -> None:
    """Remove a lab and everything it made; without a name the only one."""
    from crossnet.lab import build
    from crossnet.show import json

    names = list(build.names()) if everything else [name or build.only()]
    for one in names:
        run(build.down(one))
    if speech.json:
        speech.say(json.document({"down": names}))
    else:
        speech.say("\n".join(f"Lab {one} is down." for one in names) or "No lab is up.")


@lab.command("list")
@speaking(with_spec=False)
def list_(speech: Speech) -> None:
    """List the labs that are up, and the topologies to build."""
    from crossnet.lab import build
    from crossnet.lab import topology as topologies
    from crossnet.lab.depth import Depth
    from crossnet.show import json

    running = build.running()
    shipped = [topologies.load(name) for name in topologies.shipped()]
    if speech.json:
        labs = [
            {
                "lab": one.name,
                "topology": one.topology.name,
                "hosts": list(one.hosts),
                "depth": one.depth.value,
            }
            for one in running
        ]
        known = [{"topology": one.name, "description": one.description} for one in shipped]
        speech.say(json.document({"labs": labs, "topologies": known}))
        return
    lines = [
        f"{one.name}: {', '.join(one.hosts)}{' (machines)' if one.depth is Depth.MACHINE else ''}"
        for one in running
    ] or ["No lab is up."]
    width = max(len(one.name) for one in shipped)
    lines += ["", "topologies for `crossnet lab up`:"]
    lines += [f"  {one.name:<{width}}  {one.description}" for one in shipped]
    speech.say("\n".join(lines))


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(host: str, command: tuple[str, ...]) -> int:
    """Run a command on a host of a lab: crossnet lab exec app -- ping -c 1 10.0.44.1."""
    from crossnet.lab import build
    from crossnet.transport.lab import attach

    place = build.find(host)
    return attach(host, place.socket, command)


@lab.command("break")
@click.argument("fault", required=False)
@click.option(
    "--list", "listed", is_flag=True, help="List the faults of this lab; those that it has are marked."
)
@click.option("--lab", "name", metavar="NAME", help="Which lab; without it the only one.")
@speaking(with_spec=False)
def break_(speech: Speech, fault: str | None, listed: bool, name: str | None) -> None:
    """Break one thing on a path of a lab that works, to learn how it shows."""
    from crossnet.lab import breaking, build
    from crossnet.show import json

    if (fault is None) is not listed:
        raise click.UsageError("name one fault, or give --list")
    if fault is not None:
        lab = build.chosen(name)
        run(breaking.remember(lab))
        broken = run(breaking.break_(lab, fault))
        if speech.json:
            speech.say(json.document({"broken": [_fault_data(broken)]}))
        else:
            lines = [f"Broken: {broken.what}."]
            of = f" --lab {name}" if name is not None else ""
            lines.append("Look for it: crossnet diagnose")
            lines.append(f"Put it back: crossnet lab heal {fault}{of}")
            speech.say("\n".join(lines))
        return
    _list_faults(speech, name)


def _list_faults(speech: Speech, name: str | None) -> None:
    """Those of the lab; where none is meant, those of the seed."""
    from crossnet.errors import LabError
    from crossnet.lab import breaking, build, faults
    from crossnet.lab import topology as topologies
    from crossnet.show import json

    try:
        up = build.chosen(name)
        there, topology = breaking.broken(up), up.topology
    except LabError:
        if name is not None:
            raise
        there, topology = (), topologies.load("seed")
    known = faults.catalogue(topology)
    if speech.json:
        speech.say(
            json.document({"faults": [{**_fault_data(one), "broken": one.name in there} for one in known]})
        )
        return
    width = max(len(one.name) for one in known)
    speech.say(
        "\n".join(f"{'*' if one.name in there else ' '} {one.name:<{width}}  {one.what}" for one in known)
    )


@lab.command("heal")
@click.argument("faults", metavar="[FAULT]...", nargs=-1)
@click.option("--lab", "name", metavar="NAME", help="Which lab; without it the only one.")
@speaking(with_spec=False)
def heal(speech: Speech, faults: tuple[str, ...], name: str | None) -> None:
    """Put back what `lab break` has broken: these faults, or all; says what else was changed meanwhile."""
    from crossnet.lab import breaking, build
    from crossnet.show import json

    lab = build.chosen(name)
    healed = run(breaking.heal(lab, faults))
    left = run(breaking.left(lab))
    if speech.json:
        data = {"healed": [_fault_data(one) for one in healed], "left": left}
        speech.say(json.document(data))
        return
    lines = [f"Healed {one.name}; a diagnosis calls it {' or '.join(one.codes)}." for one in healed]
    lines += [f"What else was changed on {host} stays: {', '.join(what)}." for host, what in left.items()]
    if left:
        lines.append("  `crossnet lab down` and `crossnet lab up` begin anew.")
    speech.say("\n".join(lines) or "Nothing is broken.")


def _fault_data(fault: Fault) -> dict[str, object]:
    return {"fault": fault.name, "place": fault.place, "what": fault.what, "codes": list(fault.codes)}
