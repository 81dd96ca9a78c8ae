"""What every story is told with: commands on hosts, verdicts, a plan that is applied, and a comparison."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable, Mapping, Sequence

from crossnet import api
from crossnet.events import Event, Kind
from crossnet.lab.build import Lab
from crossnet.lab.fingerprint import Fingerprint, fingerprint
from crossnet.opening import told_opening
from crossnet.planning import make_undo_plan
from crossnet.show.diagnosis import summary
from crossnet.show.paint import Paint
from crossnet.show.progress import event_text
from crossnet.show.text import WIDTH, plan_text
from crossnet.spec import Spec
from crossnet.transport.lab import LabHost
from crossnet.verification.counters import read_counters

Say = Callable[[str], None]


class Chapters:
    """A story's numbered chapters, said one after the other while they happen in the lab."""

    def __init__(self, say: Say, paint: Paint, lab: Lab, spec: Spec) -> None:
        self._say, self._paint, self._spec = say, paint, spec
        self._hosts = {host: LabHost(host, lab.socket(host)) for host in lab.hosts}
        self._chapter_number = 0

    def _chapter(self, title: str) -> None:
        self._chapter_number += 1
        self._say(self._paint(f"\n{self._chapter_number}. {title}", "bold"))

    async def _run(self, host: str, argv: Sequence[str], *, only: str = "", most: int = 8) -> None:
        """Run a command, show it and what it printed; `only` keeps the lines that hold this word."""
        self._say(self._paint(f"   {host}$ {' '.join(argv)}", "cyan"))
        answer = await self._hosts[host].run(argv)
        text = answer.text + answer.error_text
        shown = [" ".join(line.split()) for line in text.splitlines() if line.strip() and only in line]
        for line in shown[:most]:
            self._say(_wrapped(line))

    async def _fingerprints(self) -> dict[str, Fingerprint]:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(fingerprint(host)) for name, host in self._hosts.items()}
        return {name: task.result() for name, task in tasks.items()}

    async def _diagnose(self) -> None:
        """The verdict and what to do, without what was seen on the way."""
        found = (await api.diagnose(api.Asked("business"), self._spec)).verdict
        for line in summary(found, paint=self._paint, width=WIDTH - 3).splitlines():
            self._say(f"   {line.removeprefix('  ')}")

    async def _plan_and_apply(self) -> None:
        self._chapter("What crossnet would do: `crossnet plan`")
        made = api.plan(self._spec, await api.observe(self._spec))
        self._say(_indent(plan_text(made, paint=self._paint, width=WIDTH - 3)))
        self._chapter("Do it, all or nothing: `crossnet apply`")
        applied = await api.apply(made, watch=self._watch)
        assert applied.confirmed is not None, "the lab was new, so there was something to do"
        self._say(self._paint(f"   Confirmed. Transaction {applied.confirmed.transaction}.", "green"))

    def _watch(self, event: Event) -> None:
        if event.kind is not Kind.DONE:
            self._say(_wrapped(event_text(event)))

    async def _counters(self) -> None:
        made = api.plan(self._spec, facts := await api.observe(self._spec))
        for host, table in made.tables:
            counters = read_counters(table, self._spec.crossings[0].label, facts[host])
            self._say(
                f"   {host}: {counters.admitted.packets} packets of new flows let through, "
                f"{counters.translated.packets} translated, {counters.fenced.packets} packets fenced"
            )

    async def _undo(self) -> None:
        self._chapter("Everything back: `crossnet undo`")
        facts = await api.observe(self._spec)
        made = told_opening(make_undo_plan(self._spec, facts), facts)
        self._say(_indent(plan_text(made, paint=self._paint, width=WIDTH - 3)))
        await api.undo(self._spec)

    async def _tell_hosts_as(self, before: Mapping[str, Fingerprint]) -> None:
        after = await self._fingerprints()
        self._say("   Routes, rules of every firewall engine, net.* settings and files, compared")
        self._say("   with what they were at the beginning:")
        for host, old in before.items():
            self._tell_equal(host, old.differences(after[host]))

    def _tell_equal(self, what: str, differences: Sequence[str]) -> None:
        said = self._paint("DIFFERENT", "red") if differences else self._paint("equal", "green")
        self._say(f"   {what:<10} {said}")
        for line in differences:
            self._say(f"      {line}")


def _indent(text: str) -> str:
    lines = (_wrapped(line) if len(line) > WIDTH - 3 else f"   {line}".rstrip() for line in text.splitlines())
    return "\n".join(lines)


def _wrapped(line: str) -> str:
    return textwrap.fill(
        line,
        WIDTH,
        initial_indent="   ",
        subsequent_indent="     ",
        break_long_words=False,
        break_on_hyphens=False,
    )
