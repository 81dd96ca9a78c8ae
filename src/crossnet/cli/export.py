"""export: the same changes for people who may not run crossnet on a host."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crossnet.cli.crossings import planned
from crossnet.cli.interrupt import run
from crossnet.cli.options import Speech, command, speaking
from crossnet.cli.outcome import outcome
from crossnet.cli.printing import printer

if TYPE_CHECKING:
    from crossnet.export import Document

FORMATS = ("sh", "ansible", "nft", "iptables", "ticket")


@command(short_help="Write the plan as a script, playbook or rules.")
@click.argument("planfile", required=False, metavar="[PLANFILE]")
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="The form of the export.")
@click.option("--host", metavar="NAME", help="Only for this host.")
@click.option("--out", metavar="PATH", help="Write to this folder, or to this file if there is one document.")
@speaking()
def export(speech: Speech, planfile: str | None, form: str, host: str | None, out: str | None) -> None:
    """Write what apply would do as text, to be reviewed and run by your own means.

    sh: a script for each host. ansible: a playbook. nft, iptables: the rules of the gateways alone. ticket: one page
    with the commands a person would type, and their undo.
    """
    from crossnet import export as exporting
    from crossnet.errors import Locked
    from crossnet.show import json
    from crossnet.standing import stamp_now

    try:
        made = run(planned(speech, planfile))
    except Locked as error:
        raise click.ClickException(str(error)) from None
    made.spec.expect(hosts=[host] if host is not None else ())
    documents = exporting.export(made, exporting.Format(form), host=host, stamp=stamp_now(f"{form} export"))
    written = _write(documents, out) if out is not None else []
    if written:
        outcome.settle(0)
    if speech.json:
        speech.say(json.document(_data(form, documents, written)))
    elif written:
        speech.say("\n".join(f"Wrote {path}." for path in written))
    elif len(documents) == 1:
        printer.out(documents[0].text, end="")
    else:
        listed = ", ".join(one.name for one in documents)
        raise click.ClickException(
            f"there are {len(documents)} documents: {listed}\n"
            "  Write them into a folder with --out FOLDER, or choose one host with --host NAME."
        )


def _write(documents: Sequence[Document], out: str) -> list[Path]:
    """A folder gets each under its name; one document may have a name of its own. Only yours to read."""
    from crossnet.localfile import File, replace

    place = Path(out)
    made = False
    try:
        if len(documents) == 1 and not place.is_dir() and not out.endswith("/"):
            paths = [place]
        else:
            if place.is_symlink():
                raise OSError(0, "it is a link, which is not followed")
            made = not place.is_dir()
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            paths = [place / one.name for one in documents]
        replace(
            [
                File(path, one.text, 0o700 if one.executable else 0o600)
                for path, one in zip(paths, documents, strict=True)
            ]
        )
    except OSError as error:
        if made:
            with suppress(OSError):
                place.rmdir()
        raise click.ClickException(
            f"cannot write to {out}: {error.strerror}\n  Name another place."
        ) from None
    return paths


def _data(form: str, documents: Sequence[Document], written: Sequence[Path]) -> dict[str, object]:
    files = dict(zip((one.name for one in documents), map(str, written), strict=False))
    return {
        "format": form,
        "documents": [
            {"name": one.name, "host": one.host, "file": files.get(one.name), "text": one.text}
            for one in documents
        ],
    }
