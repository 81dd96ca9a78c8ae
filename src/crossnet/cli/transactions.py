"""confirm, rollback, recover, history: transactions as any machine sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from crossnet.cli.crossings import carry_out, make_plan, take_back
from crossnet.cli.interrupt import run, staying
from crossnet.cli.options import Speech, command, guarding, moment, speaking

if TYPE_CHECKING:
    from crossnet.api import Ended, Guard
    from crossnet.site import Answers
    from crossnet.transaction.history import Past
    from crossnet.transport import Host


# How transactions end, in the words of `history`, and as the hosts write it.
_DECISIONS = {"confirmed": "confirm", "rolled-back": "rollback"}
_HEALED = "healed"


@command(short_help="Keep what a transaction changed.")
@click.argument("transaction", metavar="TXN")
@speaking()
def confirm(speech: Speech, transaction: str) -> int:
    """Confirm a transaction that waits for it (`apply --confirm-within`), from any machine."""
    from crossnet import api

    work = api.confirm(speech.spec(), transaction, watch=speech.watch)
    return _tell(speech, [run(work, lambda ended: _code([ended]))])


@command(short_help="Put the hosts of a transaction back.")
@click.argument("transaction", metavar="TXN")
@speaking()
def rollback(speech: Speech, transaction: str) -> int:
    """Put every host of an open transaction back now, from any machine, and prove it."""
    from crossnet import api

    work = api.rollback(speech.spec(), transaction, watch=speech.watch)
    return _tell(speech, [run(work, lambda ended: _code([ended]))])


@command(short_help="Finish or undo interrupted transactions.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@guarding
@speaking()
def recover(speech: Speech, guard: Guard, yes: bool) -> int:
    """End every transaction that was left open, from any machine.

    What one host has confirmed is finished on all of them; otherwise all go back. If a host went back before
    the others confirmed, a new plan is made for it, shown, and applied when you say yes.
    """
    from crossnet import api

    spec = speech.spec()
    ended = run(api.recover(spec, watch=speech.watch), _code)
    behind = [one for one in ended if one.went_back]
    if not behind:
        return _tell(speech, ended)
    if not speech.json:  # there it is one document: that of the change
        _tell(speech, ended)
    rest = behind[-1].still_to_undo()
    if rest is not None:
        return take_back(speech, guard, yes=yes, what=rest)
    with staying() as ways:
        made = run(make_plan(spec, speech, ways))
        return carry_out(speech, made, guard, ways, yes=yes)


@command(short_help="Show who changed what, when, and how it ended.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only of this host; may be repeated.")
@click.option("--crossing", metavar="NAME", help="Only what was about this crossing.")
@click.option("--since", type=moment, metavar="TIME", help="Only what ended since: 90m, 7d, 2026-12-24.")
@click.option("--outcome", type=click.Choice([*_DECISIONS, _HEALED]), help="Only what ended this way.")
@speaking()
def history(
    speech: Speech, hosts: tuple[str, ...], crossing: str | None, since: str | None, outcome: str | None
) -> int:
    """Show the transactions that ended on the hosts: when, who, what, outcome and why; kept also after an undo.

    With `heal: auto` also what the hosts brought back by themselves.
    """
    from dataclasses import replace

    from crossnet import api
    from crossnet.healed import Healing, read_healings
    from crossnet.show import json, text
    from crossnet.spec import label
    from crossnet.transaction.history import chosen, read_history

    spec = speech.spec()
    spec.expect(hosts=hosts)
    spec = replace(spec, hosts=tuple(one for one in spec.hosts if not hosts or one.name in hosts))

    async def read(host: Host) -> tuple[tuple[Past, ...], tuple[Healing, ...]]:
        return await read_history(host, legible=True), await read_healings(host)

    async def ask() -> Answers[tuple[tuple[Past, ...], tuple[Healing, ...]]]:
        async with api.reach(spec, watch=speech.watch) as site:
            return await site.ask(read)

    found = run(ask())
    if not found.said:
        found.all()
    named = label(spec.name, crossing) if crossing and "/" not in crossing else crossing
    past: tuple[Past, ...] = ()
    if outcome != _HEALED:
        ended = api.in_order({host: said for host, (said, _) in found.said.items()})
        past = chosen(ended, crossing=named, since=since or "", decision=_DECISIONS.get(outcome or ""))
    healed = [one for _, noted in found.said.values() for one in noted if one.when >= (since or "")]
    if (
        crossing or outcome in _DECISIONS
    ):  # what was gone is a rule, a route or a setting, of whichever crossings
        healed = []
    if speech.json:
        speech.say(json.document({**json.history_data(past, healed), **json.unreached_data(found.errors)}))
    else:
        speech.quote(text.history_text(past, healed, whole=not (crossing or since or outcome)))
    return speech.unreached(found.errors)


def _tell(speech: Speech, ended: Sequence[Ended]) -> int:
    from crossnet.show import json, text

    if speech.json:
        speech.say(json.document(json.ended_data(ended)))
    else:
        speech.say(text.ended_text(ended, paint=speech.paint))
    return _code(ended)


def _code(ended: Sequence[Ended]) -> int:
    if any(one.went_back for one in ended):
        return 6
    if any(one.unwritten for one in ended):
        return 7
    if any(one.unproved for one in ended):
        return 8
    return 0 if all(one.is_confirmed or not one.was_begun for one in ended) else 3
