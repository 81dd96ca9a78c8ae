"""What a user sees when something does not work, and the exit code that a script sees."""

from __future__ import annotations

import os
import sys

import click

from crossnet.errors import CrossnetError

# Set to see the traceback of a mistake of crossnet itself.
TRACEBACK = "CROSSNET_TRACEBACK"


def run(cli: click.Group) -> int:
    """The exit code of the command line; usage errors are 1, because 2 means only "changes pending"."""
    try:
        result = cli.main(prog_name="crossnet", standalone_mode=False)
        sys.stdout.flush()
    except CrossnetError as error:
        _tell(error)
        return error.exit_code
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        _tell(CrossnetError(error.format_message()))
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("crossnet: interrupted", err=True)
        return 1
    except BrokenPipeError:
        # Whoever read our output has gone (`crossnet plan | head`): nothing to say, no noise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if TRACEBACK in os.environ:
            raise
        click.echo(
            f"crossnet: this is a mistake of crossnet itself, not yours: {type(error).__name__}: {error}\n"
            f"  Please report it with the output of the same command under {TRACEBACK}=1.",
            err=True,
        )
        return 1
    return result if isinstance(result, int) else 0


def _tell(error: CrossnetError) -> None:
    if "--json" in sys.argv[1:]:
        from crossnet.show import json

        click.echo(json.document(json.error_data(error)))
    click.echo(f"crossnet: {error}", err=True)
