"""The command line: arguments in, the library's functions, text or JSON out; no logic of its own."""

from __future__ import annotations

import gc
import os

import click

import crossnet
from crossnet.cli import crossings, diagnose, lab, reference, transactions
from crossnet.cli.adopt import adopt
from crossnet.cli.capture import capture
from crossnet.cli.completion import OF_A_LAB, completing
from crossnet.cli.export import export
from crossnet.cli.hints import hints
from crossnet.cli.options import Ordered
from crossnet.cli.printing import keep_numbers, printer


@click.group(
    cls=Ordered,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(crossnet.__version__, prog_name="crossnet", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Let hosts reach a network they have no route to, through a host that stands in both.

    A first look, on this machine and without changing it:  crossnet demo

    For your own hosts:  crossnet init, then plan, apply, verify; undo puts everything back.
    """
    if context.invoked_subcommand is None:
        printer.out(crossings.first_words())


for command in (
    crossings.init,
    crossings.connect,
    adopt,
    crossings.plan,
    crossings.apply,
    crossings.verify,
    diagnose.diagnose,
    capture,
    crossings.status,
    crossings.undo,
    crossings.forget,
    transactions.confirm,
    transactions.rollback,
    transactions.recover,
    transactions.history,
    export,
    reference.list_hosts,
    reference.facts,
    reference.explain,
    lab.demo,
    lab.lab,
    reference.schema,
    reference.completion,
):
    cli.add_command(command)

hints.commands = {name for name, one in cli.commands.items() if any("-f" in each.opts for each in one.params)}
hints.choosing = {
    name for name, one in cli.commands.items() if any(each.name == "crossings" for each in one.params)
}
completing(cli.commands.values())
completing(lab.lab.commands.values(), OF_A_LAB)


def main() -> None:
    """Run the command line; every error becomes a message and an exit code, never a traceback."""
    # What is imported and read stays to the end: to look through it for garbage again and again is a tenth of the
    # work of a plan (measured).
    gc.set_threshold(100_000, 20, 20)
    keep_numbers()
    from crossnet.cli.failure import run

    # Nothing that is left over, a flush, a thread that still asks a name server, changes the code or holds it up.
    os._exit(run(cli))
