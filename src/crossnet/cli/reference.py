"""facts, explain, schema, completion: things to look up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crossnet.cli.interrupt import run
from crossnet.cli.options import Speech, command, speaking
from crossnet.cli.printing import printer

if TYPE_CHECKING:
    from crossnet.facts import Facts
    from crossnet.site import Answers


@command(short_help="Show what a host says about itself.")
@click.argument("host", required=False)
@speaking()
def facts(speech: Speech, host: str | None) -> int:
    """Show what is known of a host, or of all hosts of the spec; read only."""
    from dataclasses import replace

    from crossnet import api
    from crossnet.show import json, text

    spec = speech.spec()
    if host is not None:
        spec.expect(hosts=[host])
        spec = replace(spec, hosts=(spec.host(host),))

    async def look() -> Answers[Facts]:
        async with api.reach(spec, watch=speech.watch) as site:
            return await site.look()

    found = run(look())
    if not found.said:
        found.all()
    if speech.json:
        speech.say(json.document({**json.facts_data(found.said), **json.unreached_data(found.errors)}))
    else:
        speech.say(text.facts_text(found.said, paint=speech.paint))
    return speech.unreached(found.errors)


@command("list", short_help="Show which crossings a host carries.")
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@click.option("--become", is_flag=True, help="Read as root, through `sudo -n`, on a host that no spec names.")
@speaking()
def list_hosts(speech: Speech, hosts: tuple[str, ...], become: bool) -> int:
    """Show which crossings hosts carry, by what they say themselves; no spec is needed.

    HOST is a host of the spec where there is one, else what ssh takes, `local`, `netns:NAME` or `lab:NAME`.
    """
    from crossnet import api
    from crossnet.show import json
    from crossnet.show.standing import carried_text
    from crossnet.spec import HostSpec

    known = {one.name: one for one in speech.spec().hosts} if Path(speech.file).exists() else {}
    asked = [known.get(host) or HostSpec.of_word(host, become=become) for host in hosts]
    found = run(api.carried(asked, watch=speech.watch))
    if speech.json:
        speech.say(json.document({**json.carried_data(found.said), **json.unreached_data(found.errors)}))
    elif found.said:
        speech.quote(carried_text(found.said, paint=speech.paint))
    return speech.unreached(found.errors)


@command(short_help="Explain a code of a plan or a verdict.")
@click.argument("code", required=False)
@speaking(with_spec=False)
def explain(speech: Speech, code: str | None) -> None:
    """Explain one code of a plan or a verdict; without one, list all codes."""
    import difflib

    from crossnet.codes import CODES
    from crossnet.show import json, text

    if code is None:
        if speech.json:
            speech.say(json.document({"codes": [json.code_data(one) for one in CODES.values()]}))
        else:
            width = max(len(name) for name in CODES)
            speech.say("\n".join(f"{one.name:<{width}}  {one.meaning}" for one in CODES.values()))
        return
    if code not in CODES:
        near = difflib.get_close_matches(code, CODES, n=1)
        hint = f"did you mean {near[0]}?" if near else "`crossnet explain` lists all codes."
        raise click.ClickException(f"there is no code {code!r}: {hint}")
    one = CODES[code]
    speech.say(json.document(json.code_data(one)) if speech.json else text.code_text(one, paint=speech.paint))


@command(short_help="Print the JSON Schema of the spec.")
def schema() -> None:
    """Print the JSON Schema of the spec, for editors."""
    import json

    from crossnet.specfile import json_schema

    printer.out(json.dumps(json_schema(), indent=2))


@command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell, e.g. for `eval "$(crossnet completion bash)"`."""
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    made = get_completion_class(shell)
    assert made is not None, "click completes these three shells"
    printer.out(made(root, {}, "crossnet", "_CROSSNET_COMPLETE").source())
