"""One crossing on a lab: spec text in, the library's functions on real hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import crossnet
from crossnet import api
from crossnet.facts import Facts
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.lab.fingerprint import Fingerprint, fingerprint
from crossnet.planning import Plan
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.transport import Completed
from crossnet.transport.lab import LabHost
from crossnet.verdict import Verification


@dataclass(frozen=True, slots=True)
class Bench:
    """A lab and what a user would do with it; `managed` hosts are in the spec."""

    lab: Lab
    managed: tuple[str, ...] = ("app", "gateway")

    def spec(self, crossing: str) -> Spec:
        """`crossing` is the body of crossing `business`, or of several when it has `crossings:`."""
        hosts = "".join(f"  {name}: {{lab: {self.lab.name}/{name}}}\n" for name in self.managed)
        if "crossings:" not in crossing:
            crossing = f"crossings:\n  business: {{from: app, via: gateway, {crossing}}}\n"
        return parse(f"crossnet: 1\nhosts:\n{hosts}{crossing}", "crossnet.yaml")

    def run(self, host: str, command: str, *, stdin: bytes = b"") -> Completed:
        return asyncio.run(LabHost(host, self.lab.socket(host)).run(["sh", "-c", command], stdin=stdin))

    def check(self, host: str, command: str, *, stdin: bytes = b"") -> str:
        return self.run(host, command, stdin=stdin).check().text

    def observe(self) -> dict[str, Facts]:
        return asyncio.run(crossnet.observe(self.spec("to: 10.0.44.0/24")))

    def plan(self, spec: Spec) -> Plan:
        return asyncio.run(_plan(spec))

    def apply(self, spec: Spec) -> api.Applied:
        return alone(asyncio.run(_apply(spec)))

    def undo(self, spec: Spec) -> api.Applied:
        return alone(asyncio.run(crossnet.undo(spec)))

    def verify(self, spec: Spec) -> Verification:
        return asyncio.run(crossnet.verify(spec))

    def power_cut(self) -> None:
        """Of all managed hosts; they have booted again when this returns."""
        for host in self.managed:
            asyncio.run(build.reboot(self.lab, host))

    def fingerprints(self) -> dict[str, Fingerprint]:
        return asyncio.run(_fingerprints(self.lab))

    def differences(self, before: Mapping[str, Fingerprint]) -> list[str]:
        """What any host has otherwise than before."""
        after = self.fingerprints()
        return [f"{host}: {line}" for host, old in before.items() for line in old.differences(after[host])]

    def pings(self, host: str, address: str, *, wait: int = 1) -> bool:
        return self.run(host, f"ping -n -c 1 -W {wait} {address}").ok

    def connects(self, host: str, address: str, port: int) -> bool:
        return self.run(host, f"nc -z -w 1 {address} {port}").ok


async def _plan(spec: Spec) -> Plan:
    return crossnet.plan(spec, await crossnet.observe(spec))


def alone(applied: api.Applied) -> api.Applied:
    """In the lab nobody else changes anything, unless a test does."""
    assert applied.meanwhile == ()
    return applied


async def _apply(spec: Spec) -> api.Applied:
    return await crossnet.apply(await _plan(spec))


async def _fingerprints(lab: Lab) -> dict[str, Fingerprint]:
    async with asyncio.TaskGroup() as group:
        tasks = {host: group.create_task(fingerprint(LabHost(host, lab.socket(host)))) for host in lab.hosts}
    return {host: task.result() for host, task in tasks.items()}
