"""init, plan, apply, verify, status, undo: the life of a crossing."""

from __future__ import annotations

import shlex
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crossnet.cli.hints import hints
from crossnet.cli.interrupt import run, staying
from crossnet.cli.need import needing, write_new
from crossnet.cli.options import SPEC_FILE, Speech, command, consent, guarding, noted, speaking
from crossnet.cli.outcome import outcome
from crossnet.cli.progress import say

if TYPE_CHECKING:
    from crossnet.api import Applied, Guard, Undo, UndoPlan, Ways
    from crossnet.planning import Plan
    from crossnet.spec import Spec
    from crossnet.template import Need
    from crossnet.values import Probe


def first_words() -> str:
    """What `crossnet` alone says: the next thing to do in this folder."""
    if Path(SPEC_FILE).exists():
        return (
            f"{SPEC_FILE} is here. Next:\n"
            "  crossnet plan     what would change, and what that opens\n"
            "  crossnet apply    do it, all or nothing, and verify it\n"
            "  crossnet status   how it stands\n"
            "crossnet --help lists all commands."
        )
    return (
        f"There is no {SPEC_FILE} in this folder. First:\n"
        "  crossnet demo     see it work, on this machine and without changing it\n"
        "  crossnet init     write a commented spec for your own hosts\n"
        "crossnet --help lists all commands."
    )


@command(short_help="Write a commented spec.")
@click.option("--from", "clients", multiple=True, metavar="A", help="A client: a host, or a network.")
@click.option("--via", metavar="B", help="The gateway.")
@click.option("--to", multiple=True, metavar="NET", help="A network for the clients to reach.")
@needing
@speaking()
def init(
    speech: Speech, clients: tuple[str, ...], via: str | None, to: tuple[str, ...], how: Mapping[str, Any]
) -> None:
    """Write a commented spec; with --from, --via and --to a complete one.

    A and B are anything that ssh takes, or `local`, `netns:NAME`, `lab:NAME`.
    """
    from crossnet import template
    from crossnet.specfile.naming import suggested
    from crossnet.standing import who

    given = (bool(clients), via is not None, bool(to))
    if (any(given) or how) and not all(given):
        raise click.UsageError("--from, --via and --to belong together: give all three, or none")
    name = suggested(speech.file, who())
    if via is not None:
        need = template.Need(clients, via, to, **how)
        text = template.complete(need, name)
        _refuse_past(need.until)
    else:
        text = template.blank(name)
    write_new(speech.file, text, "-f")
    outcome.settle(0)
    todo = "Next: `crossnet plan`." if via is not None else "Edit it, then run `crossnet plan`."
    if speech.json:
        from crossnet.show import json

        speech.say(json.document({"file": speech.file}))
    else:
        speech.say(f"Wrote {speech.file}. {todo}")


def _refuse_past(until: str | None) -> None:
    """A crossing whose time is over is none: nothing would be asked for."""
    from datetime import UTC, datetime

    from crossnet import values

    if until is None or values.moment(until) > (now := datetime.now(UTC)):
        return
    raise click.UsageError(
        f"--until {until} is past: this machine's clock says {values.show_moment(now)}\n"
        "  Give a time to come, or leave --until out."
    )


@command(short_help="The whole job without a spec file.")
@click.argument("source", metavar="SRC")
@click.option("--via", required=True, metavar="GW", help="The gateway.")
@click.option("--to", required=True, multiple=True, metavar="NET", help="A network for SRC to reach.")
@click.option("--save", metavar="FILE", help="Keep the spec, for status and undo later.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@needing
@noted
@guarding
@speaking(with_spec=False)
def connect(
    speech: Speech,
    source: str,
    via: str,
    to: tuple[str, ...],
    save: str | None,
    yes: bool,
    message: str,
    guard: Guard,
    how: Mapping[str, Any],
) -> int:
    """Let SRC reach NET through GW: plan, ask, apply, verify; no spec file needed.

    SRC and GW are anything that ssh takes, such as root@10.0.43.15, or `local`, `netns:NAME`, `lab:NAME`.
    """
    from crossnet import template
    from crossnet.specfile import parse

    need = template.Need((source,), via, to, **how)
    spec = parse(template.alone(need), save or "")
    _refuse_past(need.until)
    if guard.confirm_within is not None and save is None:
        raise click.UsageError("--confirm-within goes with --save FILE: `crossnet confirm` takes the spec")
    hints.file = spec.file or later_file(spec)

    with staying() as ways, nullcontext() if save is not None else telling_how_to_write(spec, need):
        made = run(make_plan(spec, speech, ways))
        with _kept(spec, save) if save is not None else nullcontext():
            code = carry_out(speech, made, guard, ways, yes=yes, message=message)
    if not speech.json:
        if save is not None:
            speech.say(f"Wrote {save}. `crossnet status`, `crossnet undo`.")
        else:
            speech.say(in_no_file(spec, need))
    return code


def in_no_file(spec: Spec, need: Need) -> str:
    """How a crossing is seen and taken back whose spec stands in no file."""
    become = ["--become"] if spec.host(spec.crossings[0].via).become else []
    shows = shlex.join(["crossnet", "list", need.via, *become])
    undo = f"`crossnet undo -f {later_file(spec)}`"
    return f"`{shows}` shows it later. To take it back: {_init(spec, need)} writes its spec, then {undo}."


def _init(spec: Spec, need: Need) -> str:
    # Its time is no matter of an undo, and may be past by then.
    return f"`{shlex.join(replace(need, until=None).init(later_file(spec)))}`"


def later_file(spec: Spec) -> str:
    """The file in which its spec will stand: a spec is called as its file, so it is the same one."""
    return f"{spec.name}.yaml"


@contextmanager
def telling_how_to_write(spec: Spec, need: Need) -> Iterator[None]:
    """A crossing whose spec stands in no file: how it is written, where a command is advised that takes it."""
    try:
        yield
    except BaseException as error:
        if outcome.code in (0, 7, 8):  # it stands, and it is the words about it that could not be told
            say(in_no_file(spec, need))
        elif outcome.code in (4, 6):
            say(
                f"{_init(spec, need)} writes this crossing's spec, for `crossnet recover -f {later_file(spec)}`."
            )
        elif hints.advises_own_file(str(error)):
            say(
                f"{_init(spec, need)} writes this crossing's spec, for what is advised with `-f {later_file(spec)}`."
            )
        raise


@contextmanager
def _kept(spec: Spec, file: str) -> Iterator[None]:
    """The spec in a file from before the first change, because to `recover` takes one; none where nothing changed."""
    write_new(file, spec.source, "--save")
    try:
        yield
    except BaseException:
        if outcome.code in (None, 1, 5):
            Path(file).unlink(missing_ok=True)
        raise


@command(short_help="Show what would change, and what that opens.")
@click.option("--out", metavar="FILE", help="Save the plan, for `crossnet apply FILE`.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@speaking(with_choice=True)
def plan(speech: Speech, out: str | None, detailed_exitcode: bool) -> int:
    """Show what would change on which host, and what that opens; changes nothing."""
    from crossnet.errors import Locked

    try:
        made = run(_plan_now(speech.spec(), speech))
    except Locked as error:
        raise click.ClickException(str(error)) from None
    if out is not None:
        from crossnet.savedplan import save

        save(made, Path(out))
    _show_plan(speech, made)
    return 2 if detailed_exitcode and made.touched else 0


async def _plan_now(spec: Spec, speech: Speech) -> Plan:
    from crossnet import api

    return api.plan(*await api.survey(spec, watch=speech.watch))


async def make_plan(spec: Spec, speech: Speech, ways: Ways | None = None) -> Plan:
    """The plan of a spec that has been read: as long as that takes, any signal interrupts at once."""
    from crossnet import api

    return await api.plan_in_turn(spec, watch=speech.watch, ways=ways)


def _show_plan(speech: Speech, made: Plan) -> None:
    from crossnet.show import json, text

    if speech.json:
        speech.say(json.document(json.plan_data(made)))
    else:
        speech.say(text.plan_text(made, verbose=speech.verbose, paint=speech.paint))


@command(short_help="Change the hosts, all or nothing, and verify.")
@click.argument("planfile", required=False, metavar="[PLANFILE]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@noted
@guarding
@speaking(with_choice=True)
def apply(speech: Speech, planfile: str | None, yes: bool, message: str, guard: Guard) -> int:
    """Plan, ask, change the hosts all or nothing, verify, confirm, and write it for the next boot."""
    with staying() as ways:
        made = run(planned(speech, planfile, ways))
        return carry_out(speech, made, guard, ways, yes=yes, message=message)


def planned(speech: Speech, planfile: str | None, ways: Ways | None = None) -> Coroutine[Any, Any, Plan]:
    """What makes the plan of the spec, or of a file that was saved; the file is read before it begins."""
    if planfile is None:
        return make_plan(speech.spec(), speech, ways)
    given = click.get_current_context().get_parameter_source("file")
    if given is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("a saved plan carries its spec: leave out -f, or leave out the plan")
    if speech.crossings or speech.hosts:
        raise click.UsageError("a saved plan names its crossings: leave out --crossing and --host")
    from crossnet import savedplan

    saved = savedplan.read(Path(planfile))
    hints.file = saved.spec.file
    return savedplan.renew(saved, watch=speech.watch, ways=ways)


def _code(applied: Applied) -> int:
    if applied.unwritten:
        return 7
    return 8 if applied.unproved else 0


def carry_out(speech: Speech, made: Plan, guard: Guard, ways: Ways, *, yes: bool, message: str = "") -> int:
    """Show, ask, apply; the exit code."""
    from crossnet import api
    from crossnet.show import json, text

    if made.touched:
        if not speech.json:
            speech.say(text.plan_text(made, verbose=speech.verbose, paint=speech.paint))
        if not _agreed("Apply this plan?", speech, ways, yes=yes):
            raise click.ClickException("no consent: nothing was changed")
    elif not speech.json and (known := text.known_text(made, verbose=speech.verbose, paint=speech.paint)):
        speech.say(f"{known}\n")
    applied = run(api.apply(made, guard=guard, message=message, watch=speech.watch, ways=ways), _code)
    if speech.json:
        speech.say(json.document(json.applied_data(applied)))
    else:
        shown = text.applied_text(applied, paint=speech.paint)
        speech.say(f"\n{shown}" if applied.confirmed else shown)
        if message and applied.confirmed is None:
            speech.say("The message is in no history, because nothing was changed.")
    return _code(applied)


def _agreed(question: str, speech: Speech, ways: Ways, *, yes: bool) -> bool:
    if not yes:
        run(ways.close())  # while a person thinks nobody here would answer what the hosts ask of a connection
    return consent(question, speech, yes=yes)


@command(short_help="Send a new flow and look at it on the gateway.")
@click.argument("crossing", required=False)
@click.option("--from", "client", metavar="CLIENT", help="Only from this host of the spec.")
@click.option("--to", metavar="PROBE", help="This flow, such as tcp/10.0.44.10:443, instead of the spec's.")
@speaking(with_choice=True)
def verify(speech: Speech, crossing: str | None, client: str | None, to: str | None) -> int:
    """Read back, send a new flow from each client, and look at it on the gateway.

    With --from and --to, try any flow of a crossing.
    """
    from crossnet import api
    from crossnet.show import json, text
    from crossnet.verdict import Result

    spec = speech.spec()
    spec.expect([crossing] if crossing else (), [client] if client else ())
    probe = _probe(to) if to is not None else None
    found = run(api.verify(spec, crossing=crossing, client=client, probe=probe, watch=speech.watch))
    if speech.json:
        speech.say(json.document(json.verification_data(found)))
    else:
        speech.say(text.verification_text(found, paint=speech.paint))
    return 0 if found.result is Result.REACHABLE else 3


def _probe(text: str) -> Probe:
    from crossnet.values import Probe

    try:
        return Probe.from_text(text)
    except ValueError as error:
        raise click.UsageError(f"--to: {error}") from None


@command(short_help="Show how each crossing stands.")
@speaking(with_choice=True)
def status(speech: Speech) -> int:
    """Show how each crossing stands: up, unproved, pending, degraded, drifted, down or over, and why."""
    from crossnet import api
    from crossnet.show import json, text

    found = run(api.status(speech.spec(), watch=speech.watch))
    if speech.json:
        speech.say(json.document(json.status_data(found)))
    else:
        speech.say(text.status_text(found, verbose=speech.verbose, paint=speech.paint))
    return 0 if all(status.is_well for status in found) else 3


@command(short_help="Remove a spec's crossings.")
@click.option("--crossing", metavar="NAME", help="Only this one.")
@click.option("--host", metavar="NAME", help="Only on this host; a gateway's crossings end on every host.")
@click.option("--all", "every", is_flag=True, help="The crossings of every spec on these hosts.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@noted
@guarding
@speaking()
def undo(
    speech: Speech, crossing: str | None, host: str | None, every: bool, yes: bool, message: str, guard: Guard
) -> int:
    """Remove the spec's crossings.

    When a host's last crossing is gone, it is as it was before crossnet.
    """
    from crossnet.api import Undo

    what = Undo(crossing, host, every)
    return take_back(speech, guard, yes=yes, message=message, what=what)


@command(short_help="Give up a host that will never come back.")
@click.argument("host", metavar="HOST")
@click.option("--yes", is_flag=True, help="Do not ask.")
@noted
@guarding
@speaking()
def forget(speech: Speech, host: str, yes: bool, message: str, guard: Guard) -> int:
    """Take back on the other hosts what stands for this one; it is not contacted itself, and keeps what it has."""
    from crossnet import api

    spec = speech.spec()
    with staying() as ways:
        made = run(api.plan_forget(spec, host, watch=speech.watch, ways=ways))
        return _carry_out_undo(
            speech,
            made,
            guard,
            ways,
            yes=yes,
            message=message,
            ask=f"Forget {host}?",
            forgotten=spec,
        )


def take_back(speech: Speech, guard: Guard, *, yes: bool, message: str = "", what: Undo | None = None) -> int:
    """Show, ask, undo; the exit code."""
    from crossnet import api

    asked = what or api.Undo()
    with staying() as ways:
        made = run(api.plan_undo(speech.spec(), asked, watch=speech.watch, ways=ways))
        ask = "Undo all this?"
        return _carry_out_undo(speech, made, guard, ways, yes=yes, message=message, ask=ask)


def _carry_out_undo(
    speech: Speech,
    made: UndoPlan,
    guard: Guard,
    ways: Ways,
    *,
    yes: bool,
    message: str,
    ask: str,
    forgotten: Spec | None = None,
) -> int:
    """Show, ask, undo; `forgotten` is the spec of which a host is given up."""
    from crossnet import api
    from crossnet.show import json, standing, text

    host = made.what.host or ""
    if not made.is_empty:
        if not speech.json:
            speech.say(text.undo_plan_text(made, verbose=speech.verbose, paint=speech.paint))
            if forgotten is not None and (stays := standing.forgotten_text(forgotten, host, made)):
                speech.say(f"\n{stays}")
        if not _agreed(ask, speech, ways, yes=yes):
            raise click.ClickException("no consent: nothing was changed")
    applied = run(
        api.undo(
            made.plan.spec,
            made.what,
            agreed=made.plan,
            guard=guard,
            message=message,
            watch=speech.watch,
            ways=ways,
        ),
        _code,
    )
    if speech.json:
        data = json.applied_data(applied)
        if forgotten is not None:
            data["stays"] = {"host": host, "what": standing.staying_on(host, made)}
        speech.say(json.document(data))
    else:
        speech.say(text.undone_text(applied, made.what, paint=speech.paint))
    return _code(applied)
