"""What a user sees when something does not work, and the exit code that a script sees."""

from __future__ import annotations

import errno
import io
import os
import resource
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from itertools import pairwise

import click

from crossnet.cli.interrupt import listener
from crossnet.cli.outcome import outcome
from crossnet.cli.printing import OUT, is_reader_gone, printer
from crossnet.cli.progress import error_data, say, tell
from crossnet.errors import CrossnetError

# Set to see the traceback of a mistake of crossnet itself.
TRACEBACK = "CROSSNET_TRACEBACK"

_FILES = 8192  # open at once, which is enough for more than a thousand hosts
_PATIENCE = 2.0  # seconds for the last words, on a terminal that stands still when somebody wants to stop


def run(cli: click.Group) -> int:
    """The exit code of the command line; usage errors are 1, because 2 means only "changes pending"."""
    sys.unraisablehook = _unraisable
    _open_enough()
    listener.begin()
    try:
        code = _run(cli)
        printer.drain()
        code = _after_the_words(code)
        printer.drain()
    except KeyboardInterrupt:
        code = 1
    listener.end()
    printer.drain_within(_PATIENCE)
    return code if outcome.code is None else outcome.code


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    """Ctrl-C in what nobody calls, such as a finalizer: Python would print where, and go on as if it had not come."""
    if found.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(found)
        return
    say("crossnet: interrupted")
    printer.drain_within(_PATIENCE)
    os._exit(1 if outcome.code is None else outcome.code)


def _open_enough() -> None:
    """Let this process have as many files open as it may: each host takes some, and 256 is usual on macOS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _too_few_files(error: OSError) -> str:
    if error.errno == errno.ENFILE:
        return (
            "this machine has as many files open as it can\n  Raise fs.file-max, or end what holds so many."
        )
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    more = (
        f"`ulimit -n {limit * 4}`"
        if hard == resource.RLIM_INFINITY or hard >= limit * 4
        else "its hard limit"
    )
    return (
        f"crossnet may have {limit} files open at once, and its hosts need more\n"
        f"  Raise that ({more}), or ask fewer hosts at a time: `--host`."
    )


def _run(cli: click.Group) -> int:
    try:
        result = _heard(cli)
    except CrossnetError as error:
        _tell(error)
        return error.exit_code
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            say(error.ctx.get_usage())
        _tell(CrossnetError(error.format_message() + _hint(error)))
        return 1
    except (click.Abort, KeyboardInterrupt):
        _tell(CrossnetError("interrupted"))
        return 1
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            _tell(CrossnetError(_too_few_files(error)))
            return 1
        if TRACEBACK in os.environ:
            import traceback

            say(traceback.format_exc())
        _tell(
            CrossnetError(
                f"this is a mistake of crossnet itself, not yours: {type(error).__name__}: {error}\n"
                f"  Please report it with the output of the same command under {TRACEBACK}=1."
            )
        )
        return 1
    return result if isinstance(result, int) else 0


def _heard(cli: click.Group) -> object:
    """What the command gave; what click says by itself, such as the help, or a library, is printed where all is."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            return cli.main(prog_name="crossnet", standalone_mode=False)
    except SystemExit as end:  # a shell asked for completions
        return end.code
    finally:
        out.seek(0)
        err.seek(0)
        printer.out(out.read(), end="")
        if said := err.read():
            say(said.removesuffix("\n"))


def _after_the_words(code: int) -> int:
    """A result that could not be written was not given; what was done is done all the same."""
    lost = printer.lost(OUT)
    if lost is None:
        return code
    if not is_reader_gone(lost):
        say(f"crossnet: standard output cannot be written: {lost.strerror}")
    return 1


def _tell(error: CrossnetError) -> None:
    """What went wrong; beside a document of the command's own its document would be a second one."""
    diagnosis = getattr(error.__cause__, "diagnosis", None)
    if "--json" in sys.argv[1:] and not printer.has_result:
        from crossnet.show import json

        also = {"diagnosis": json.diagnosis_data(diagnosis)} if diagnosis is not None else {}
        printer.out(json.document({**error_data(error), **also}))
    tell(error)
    if diagnosis is not None:
        from crossnet.show.diagnosis import diagnosis_text

        say(f"\nWhere it stopped while the change stood:\n\n{diagnosis_text(diagnosis)}")


def _hint(error: click.ClickException) -> str:
    """Where a spec stands among the words of a command that takes it with -f."""
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return ""
    if all(parameter.name != "file" for parameter in error.ctx.command.params):
        return ""
    for before, word in pairwise(sys.argv):
        if word.endswith((".yaml", ".yml")) and not before.startswith("-"):
            return f"\n  A spec is given with -f: `crossnet {error.ctx.info_name} -f {word}`"
    return ""
