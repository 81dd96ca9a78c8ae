"""What makes a spec from a command line: the options of `connect` and `init`, and the file that is written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option("--except", "excepted", multiple=True, metavar="NET", help="A part of NET to leave out."),
    click.option(
        "--allow", multiple=True, metavar="A", help="icmp, tcp/443, udp/53 …; default: any traffic."
    ),
    click.option("--probe", multiple=True, metavar="P", help="What has to answer: tcp/10.0.44.10:443."),
    click.option("--become", is_flag=True, help="Use `sudo -n` on hosts where you do not log in as root."),
    click.option("--ingress", metavar="IF", help="The gateway's interface that faces the clients."),
    click.option("--egress", metavar="IF", help="The gateway's interface that faces the destinations."),
    click.option("--next-hop", metavar="ADDR", help="The gateway's address on the clients' network."),
    click.option("--snat", metavar="ADDR", help="The source address that the destinations see."),
    click.option("--until", metavar="TIME", help="When the hosts take it back: 2026-12-24T18:00Z."),
    click.option("--name", metavar="NAME", help="The crossing's name; default: made from its ends."),
)
_NAMES = ("excepted", "allow", "probe", "become", "ingress", "egress", "next_hop", "snat", "until", "name")


def needing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, and its function those that were given as `how`: fields of `template.Need`."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in _NAMES}
        how = {name: one for name, one in given.items() if one not in (None, (), False)}
        return function(*args, how=how, **kwargs)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def write_new(file: str, text: str, option: str) -> None:
    """A new file with all of it, or none; `option` is where its name was given."""
    from crossnet.localfile import create

    try:
        create(file, text)
    except FileExistsError:
        raise click.ClickException(
            f"{file} already exists, and is left as it is\n  Give another name with {option} FILE."
        ) from None
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from None
