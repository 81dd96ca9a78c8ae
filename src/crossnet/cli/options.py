"""What every command takes, and how it speaks."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from crossnet.cli.hints import USUAL_FILE, as_typed, hints
from crossnet.cli.printing import ERR, printer
from crossnet.cli.progress import EVENTS, Progress, tell, wants_events

if TYPE_CHECKING:
    from crossnet.errors import CrossnetError
    from crossnet.events import Event
    from crossnet.show.paint import Paint
    from crossnet.spec import Spec

SPEC_FILE = USUAL_FILE
STDIN = "/dev/stdin"


class Once(click.Command):
    """A command that takes each option once, but for those that may be repeated: the last one would count alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        for option in self.params:
            takes_one = isinstance(option, click.Option) and not (
                option.multiple or option.is_flag or option.count
            )
            if takes_one and given.count(option) > 1:
                raise click.UsageError(
                    f"{option.opts[-1]} is given more than once, and only one can be meant.", ctx
                )
        return super().parse_args(ctx, args)


command = functools.partial(click.command, cls=Once)


class Ordered(click.Group):
    """Commands in the order in which a newcomer needs them, not of the alphabet."""

    command_class = Once

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@dataclass(frozen=True, slots=True)
class Speech:
    """How a command reads its spec and talks: file, JSON or text, colour, progress."""

    file: str
    json: bool
    colour: bool
    verbose: bool
    quiet: bool
    progress: Progress
    crossings: tuple[str, ...] = ()  # of the spec only these
    hosts: tuple[str, ...] = ()  # and only those that stand on one of these

    @property
    def paint(self) -> Paint:
        from crossnet.show.paint import marked, plain

        return marked if self.colour else plain

    def spec(self) -> Spec:
        """The spec file; where there is none the error says what to do first."""
        from crossnet.api import load

        return load(self.file).only(self.crossings, self.hosts)

    def say(self, text: str) -> None:
        """A result, on standard output."""
        printer.out(text if self.json else hints.own(text))

    def quote(self, text: str) -> None:
        """A result in the words of others: a command in them is what they ran, not what is advised."""
        printer.out(text)

    def unreached(self, errors: Mapping[str, CrossnetError]) -> int:
        """Tell why hosts are missing in a result; the exit code: 1 where one is."""
        for error in errors.values():
            tell(error)
        return 1 if errors else 0

    def watch(self, event: Event) -> None:
        """Progress, on standard error, so that standard output stays parseable."""
        self.progress.see(event)


def speaking(
    *, with_spec: bool = True, with_choice: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the shared options, and its function a `Speech` as first argument.

    `with_choice` adds those that choose among the crossings of the spec.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
        @click.option(
            "--no-color", is_flag=True, help="Plain text; NO_COLOR in the environment does the same."
        )
        @click.option(
            EVENTS,
            is_flag=True,
            expose_value=False,
            help="Progress as JSON, an object a line, on standard error.",
        )
        @click.option("-q", "--quiet", is_flag=True, help="No progress on standard error.")
        @click.option("-v", "--verbose", is_flag=True, help="More detail.")
        @functools.wraps(function)
        def command(
            *args: Any, as_json: bool, no_color: bool, quiet: bool, verbose: bool, **kwargs: Any
        ) -> Any:
            colour = printer.has_colours(no_color=no_color) and not as_json
            file = kwargs.pop("file", SPEC_FILE)
            file = STDIN if file == "-" else file
            hints.file = file
            progress = Progress(quiet=quiet or as_json, verbose=verbose)
            chosen = kwargs.pop("crossings", ()), kwargs.pop("hosts_of_crossings", ())
            hints.choice = _choice(*chosen)
            return function(Speech(file, as_json, colour, verbose, quiet, progress, *chosen), *args, **kwargs)

        if with_spec:
            command = click.option(
                "-f",
                "--file",
                default=SPEC_FILE,
                show_default=True,
                metavar="FILE",
                help="The spec.",
            )(command)
        if with_choice:
            command = click.option(
                "--host",
                "hosts_of_crossings",
                multiple=True,
                metavar="NAME",
                help="Only crossings of this host; may be repeated.",
            )(command)
            command = click.option(
                "--crossing",
                "crossings",
                multiple=True,
                metavar="NAME",
                help="Only this crossing; may be repeated.",
            )(command)
        return command

    return decorate


def _choice(crossings: tuple[str, ...], hosts: tuple[str, ...]) -> tuple[str, ...]:
    """The words that choose the same again."""
    chosen = {"--crossing": crossings, "--host": hosts}
    return tuple(word for option, names in chosen.items() for name in names for word in (option, name))


def duration(value: str) -> int:
    """Seconds, written as `90`, `90s` or `5m`."""
    found = re.fullmatch(r"(\d{1,6})([sm]?)", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a time: write 90s, or 5m")
    return int(found[1]) * (60 if found[2] == "m" else 1)


def guarding(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that changes hosts the options of the guard, and its function a `Guard`."""

    @click.option(
        "--guard",
        "seconds",
        type=duration,
        default="120s",
        metavar="TIME",
        help="How long a host waits before it puts itself back; 10s to 60m.  [default: 120s]",
    )
    @click.option(
        "--confirm-within",
        type=duration,
        metavar="TIME",
        help="Leave the last word to a person: `crossnet confirm TXN`.",
    )
    @click.option(
        "--i-have-a-console",
        "has_console",
        is_flag=True,
        help="Go on even if no timer on the host is seen to fire.",
    )
    @functools.wraps(function)
    def command(
        *args: Any, seconds: int, confirm_within: int | None, has_console: bool, **kwargs: Any
    ) -> Any:
        from crossnet.transaction.guard import Guard

        try:
            guard = Guard(seconds, confirm_within, has_console)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        return function(*args, guard=guard, **kwargs)

    return command


def noted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that changes hosts the option of a message."""
    return click.option(
        "--message",
        default="",
        callback=lambda _, __, value: _message(value),
        metavar="TEXT",
        help="A line for the hosts' history: a ticket, a reason.",
    )(function)


def _message(value: str) -> str:
    if value:
        from crossnet.transaction.journal import checked

        try:
            return checked(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return ""


def moment(value: str) -> str:
    """A time in UTC as hosts write it, given as one (`2026-12-24`, `2026-12-24T18:00`) or as one ago (`90m`, `7d`)."""
    from datetime import UTC, datetime, timedelta

    ago = re.fullmatch(r"(\d{1,5})([smhd])", value)
    try:
        if ago is not None:
            units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
            at = datetime.now(UTC) - timedelta(**{units[ago[2]]: int(ago[1])})
        else:
            at = datetime.fromisoformat(value)
            at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is not a time: write 90m, 7d, 2026-12-24 or 2026-12-24T18:00"
        ) from None
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def consent(question: str, speech: Speech, *, yes: bool) -> bool:
    """Ask; only the word yes is consent. Without a terminal, or with --json, there is nobody to ask."""
    if yes:
        return True
    silent = "--json" if speech.json else EVENTS if wants_events() else ""
    if silent or not os.isatty(0):
        why = f"with {silent} no question is asked" if silent else "there is no terminal to ask for consent"
        raise click.ClickException(f"{why}\n  Run `{as_typed('--yes')}` if that is what you want.")
    printer.err(f"\n{question} Type 'yes' to go on: ", end="")
    printer.drain()
    return printer.lost(ERR) is None and _typed() == b"yes"


def _typed() -> bytes:
    """A line of the terminal; nothing where it is hung up."""
    try:
        return os.read(0, 1024).strip()
    except OSError:
        return b""
