"""What a shell offers for a word: the hosts and crossings of the spec, files, codes, labs and their hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import click
from click.types import StringParamType

from crossnet.cli.hints import USUAL_FILE

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_Words = Callable[[click.Context], Iterable[str]]


class _Word(StringParamType):
    """A text, with what may stand there; all that is typed is taken, and judged by the command."""

    def __init__(self, words: _Words) -> None:
        self._words = words

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from shlex import quote

        from click.shell_completion import CompletionItem

        # A shell takes what is offered as if it had been typed, and the names in a spec are somebody's.
        plain = [word for word in self._words(ctx) if quote(word) == word]
        return [CompletionItem(word) for word in plain if word.startswith(incomplete)]


class _File(StringParamType):
    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


def _hosts(ctx: click.Context) -> Iterable[str]:
    from crossnet.specfile import names

    return names(_file(ctx))[0]


def _crossings(ctx: click.Context) -> Iterable[str]:
    from crossnet.specfile import names

    return names(_file(ctx))[1]


def _codes(_ctx: click.Context) -> Iterable[str]:
    from crossnet.codes import CODES

    return CODES


def _file(ctx: click.Context) -> str:
    """The spec that the words before this one name."""
    return str(ctx.params.get("file") or USUAL_FILE)


def _labs(_ctx: click.Context) -> Iterable[str]:
    from crossnet.lab import build

    return build.names()


def _lab_hosts(_ctx: click.Context) -> Iterable[str]:
    """As `lab exec` takes them: with their lab where several have one of that name."""
    from crossnet.lab import build

    found = [(lab.name, host) for lab in build.running() for host in lab.hosts]
    alone = Counter(host for _, host in found)
    return [host if alone[host] == 1 else f"{lab}/{host}" for lab, host in found]


def _faults(ctx: click.Context) -> Iterable[str]:
    """What the lab can break, where none is meant the seed."""
    from crossnet.errors import LabError
    from crossnet.lab import build, faults, topology

    try:
        broken = build.chosen(ctx.params.get("name")).topology
    except LabError:
        broken = topology.load("seed")
    return [one.name for one in faults.catalogue(broken)]


def _broken(ctx: click.Context) -> Iterable[str]:
    from crossnet.errors import LabError
    from crossnet.lab import breaking, build

    try:
        return breaking.broken(build.chosen(ctx.params.get("name")))
    except LabError:
        return ()


class _Topology(_File):
    """A name of those that come with crossnet; what has a slash or a dot is a file."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from crossnet.lab import topology

        if "/" in incomplete or "." in incomplete:
            return super().shell_complete(ctx, param, incomplete)
        return _Word(lambda _: topology.shipped()).shell_complete(ctx, param, incomplete)


Types = Mapping[str, StringParamType]
"""By what an argument is called, or an option is written."""

OF_A_SPEC: Types = {
    **dict.fromkeys(("host", "hosts", "--host"), _Word(_hosts)),
    **dict.fromkeys(("crossing", "--crossing"), _Word(_crossings)),
    "code": _Word(_codes),
    **dict.fromkeys(("planfile", "--file", "--out", "--pcap", "--save"), _File()),
}
OF_A_LAB: Types = {
    "topology": _Topology(),
    **dict.fromkeys(("name", "--lab"), _Word(_labs)),
    "fault": _Word(_faults),
    "faults": _Word(_broken),
    "host": _Word(_lab_hosts),
    "--spec": _File(),
}


def completing(commands: Iterable[click.Command], types: Types = OF_A_SPEC) -> None:
    """Give every parameter of these commands that takes such a word what a shell offers there."""
    for command in commands:
        for param in command.params:
            for called in _called(param):
                if param.type is click.STRING and called in types:
                    param.type = types[called]
                elif param.type is click.STRING and called == "--from" and not param.multiple:
                    param.type = types["--host"]  # `init` makes its hosts, and takes several


def _called(param: click.Parameter) -> Iterator[str]:
    if isinstance(param, click.Option):
        yield from param.opts
    elif param.name is not None:
        yield param.name
