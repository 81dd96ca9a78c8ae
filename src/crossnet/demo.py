"""The story of the seed, told on the lab: what does not work, why, what crossnet does, and that it goes back."""

from __future__ import annotations

import asyncio
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence

from crossnet import api
from crossnet.events import Event, Kind
from crossnet.lab import build
from crossnet.lab.fingerprint import Fingerprint, fingerprint
from crossnet.lab.topology import load
from crossnet.opening import told_opening
from crossnet.planning import make_undo_plan
from crossnet.show.diagnosis import summary
from crossnet.show.paint import Paint, plain
from crossnet.show.progress import event_text
from crossnet.show.text import WIDTH, plan_text
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.transport import Host
from crossnet.transport.lab import LabHost
from crossnet.verification.counters import read_counters

Say = Callable[[str], None]

_PICTURE = """\
      management 10.0.43.0/24                    business 10.0.44.0/24
  ──┬───────────────┬───────────────┬──        ──┬──────────────────┬──
    │.15            │.99            │.101        │.63               │.1
  ┌─┴───┐     ┌─────┴─────┐       ┌─┴────────────┴─┐           ┌────┴───┐
  │ app │     │ neighbour │       │ eth1  gateway  │           │ target │
  └─────┘     └───────────┘       └────────────────┘           └────────┘"""

_SPEC = """\
crossnet: 1
hosts:
  app: {{lab: {lab}/app}}
  gateway: {{lab: {lab}/gateway}}
crossings:
  business:
    from: app
    via: gateway
    to: 10.0.44.0/24
    probe: icmp/10.0.44.1
    firewall: {firewall}
"""


async def tell(say: Say, *, paint: Paint = plain, firewall: str = "auto") -> None:
    """Tell the story; the lab lives and ends with it, also after Ctrl-C."""
    name = f"demo-{os.getpid()}"
    say("One crossing, start to end. The hosts are network namespaces of this machine;")
    say("nothing else on it is touched.")
    lab = await build.up(load("demo"), name=name, lifeline=True)
    try:
        hosts = {host: LabHost(host, lab.socket(host)) for host in lab.hosts}
        await _Story(say, paint, parse(_SPEC.format(lab=name, firewall=firewall), "demo"), hosts).tell()
    finally:
        await asyncio.shield(build.down(name))
    say("\nThe lab is gone. Your own hosts next:  crossnet init")


class _Story:
    def __init__(self, say: Say, paint: Paint, spec: Spec, hosts: Mapping[str, Host]) -> None:
        self._say, self._paint, self._spec, self._hosts = say, paint, spec, hosts
        self._chapter_number = 0

    async def tell(self) -> None:
        before = await self._fingerprints()
        await self._hosts_and_need()
        await self._by_hand()
        await self._plan_and_apply()
        await self._it_works()
        await self._who_still_cannot()
        await self._back_again(before)

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

    async def _hosts_and_need(self) -> None:
        self._chapter("Four hosts, and a need")
        self._say(_PICTURE)
        self._say("   app has to reach the business network. It has no route there, the gateway")
        self._say("   does not forward, and nothing on the business side knows a way back.")
        await self._run("app", ["ping", "-c", "1", "-W", "1", "10.0.44.1"], only="packets")
        await self._run("gateway", ["sysctl", "net.ipv4.ip_forward"])
        await self._run("target", ["ip", "route"])

    async def _by_hand(self) -> None:
        self._chapter("By hand, and where it stops each time: `crossnet diagnose`")
        steps = (
            ("app", ["ip", "route", "add", "10.0.44.0/24", "via", "10.0.43.101"]),
            ("gateway", ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]),
        )
        await self._diagnose()
        for host, argv in steps:
            await self._run(host, argv)
            await self._diagnose()
        self._say("   One rule more, and it works:")
        rules = (
            "add table ip by_hand\n"
            "add chain ip by_hand nat { type nat hook postrouting priority 100; }\n"
            "add rule ip by_hand nat oifname eth0 snat to 10.0.44.63\n"
        )
        (await self._hosts["gateway"].run(["nft", "-f", "-"], stdin=rules.encode())).check()
        self._say(
            self._paint("   gateway$ nft add rule ip by_hand nat oifname eth0 snat to 10.0.44.63", "cyan")
        )
        await self._diagnose()
        self._say("   But now the gateway forwards for everybody, and a reboot ends it.")
        self._say("   All three are taken back; crossnet does it in one piece.")
        (await self._hosts["gateway"].run(["nft", "delete", "table", "ip", "by_hand"])).check()
        (await self._hosts["gateway"].run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"])).check()
        (await self._hosts["app"].run(["ip", "route", "del", "10.0.44.0/24"])).check()

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
            self._say(f"   {event_text(event)}")

    async def _it_works(self) -> None:
        self._chapter("app reaches the business network")
        await self._run("app", ["ping", "-c", "1", "10.0.44.1"], only="from")
        self._say("   Why it works: the gateway gives its own address as the source, so that the")
        self._say("   target can answer. The gateway's connection tracking shows it:")
        await self._run("gateway", ["conntrack", "-L", "-p", "icmp", "-d", "10.0.44.1"], only="src=", most=1)
        self._say("   request 10.0.43.15 → 10.0.44.1, reply 10.0.44.1 → 10.0.44.63. Counted so far:")
        await self._counters()

    async def _who_still_cannot(self) -> None:
        self._chapter("Who still cannot get through: the fence")
        self._say("   neighbour is not in the spec. It takes the gateway as its next hop anyway:")
        await self._run("neighbour", ["ip", "route", "add", "10.0.44.0/24", "via", "10.0.43.101"])
        await self._run("neighbour", ["ping", "-c", "1", "-W", "1", "10.0.44.1"], only="packets")
        self._say("   And the business side tries to open a connection to app:")
        await self._run("target", ["ip", "route", "add", "10.0.43.0/24", "via", "10.0.44.63"])
        await self._run("target", ["ping", "-c", "1", "-W", "1", "10.0.43.15"], only="packets")
        self._say("   Neither passed. The gateway counted them:")
        await self._counters()
        for host, network in (("neighbour", "10.0.44.0/24"), ("target", "10.0.43.0/24")):
            (await self._hosts[host].run(["ip", "route", "del", network])).check()

    async def _counters(self) -> None:
        made = api.plan(self._spec, facts := await api.observe(self._spec))
        for host, table in made.tables:
            counters = read_counters(table, self._spec.crossings[0].label, facts[host])
            self._say(
                f"   {host}: {counters.admitted.packets} packets of new flows let through, "
                f"{counters.translated.packets} translated, {counters.fenced.packets} packets fenced"
            )

    async def _back_again(self, before: Mapping[str, Fingerprint]) -> None:
        self._chapter("Everything back: `crossnet undo`")
        facts = await api.observe(self._spec)
        made = told_opening(make_undo_plan(self._spec, facts), facts)
        self._say(_indent(plan_text(made, paint=self._paint, width=WIDTH - 3)))
        await api.undo(self._spec)
        after = await self._fingerprints()
        self._say("   Routes, rules of every firewall engine, net.* settings and files, compared")
        self._say("   with what they were at the beginning:")
        for host, old in before.items():
            changed = old.differences(after[host])
            said = self._paint("equal", "green") if not changed else self._paint("DIFFERENT", "red")
            self._say(f"   {host:<10} {said}")
            for line in changed:
                self._say(f"      {line}")
        await self._run("app", ["ping", "-c", "1", "-W", "1", "10.0.44.1"], only="packets")


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
