"""Break one thing on a lab's path, and put exactly that back: `crossnet lab break`, `crossnet lab heal`.

Which faults a lab has, and what has to be known to put them back, stands in `broken.json` in the lab's folder; it
is written before anything is broken, and goes with the lab. What the hosts were before stands in `before.json`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from crossnet.errors import CommandFailed, CrossnetError, LabError
from crossnet.lab.build import Lab, on_switch
from crossnet.lab.faults import Fault, Scene, Step, fault, scene
from crossnet.lab.fingerprint import RUNNING, Fingerprint, fingerprint
from crossnet.transport.lab import LabHost

_STATE = "broken.json"
_BEFORE = "before.json"

# What ip(8) says of something that is not there any more: ESRCH of a route, ENOENT of a rule and of a neighbour,
# EADDRNOTAVAIL of an address, in its own words since Linux 6.
_GONE = (
    "No such process",
    "No such file or directory",
    "Cannot assign requested address",
    "Address not found",
)

# As in sh: 127 where there is no such program, 126 where it cannot be run. Without it, nothing it makes is there.
_NO_PROGRAM = (126, 127)


def broken(lab: Lab) -> tuple[str, ...]:
    """The names of the faults that the lab has now, in the order in which they came."""
    return tuple(_state(lab))


async def break_(lab: Lab, name: str) -> Fault:
    """Break it; LabError when it is broken already, or when there is no working path to break."""
    one, state = fault(lab.topology, name), _state(lab)
    if name in state:
        raise LabError(f"{name} is broken already: `crossnet lab heal {name}` puts it back")
    if not state:
        await _expect_path(lab, scene(lab.topology))
    kept = "".join([await _run(lab, step) for step in one.keeps])
    if one.keeps and not kept:
        raise LabError(f"there is nothing to break on {one.place}: what {name} takes away is not there")
    _write(lab, {**state, name: kept})
    try:
        for step in one.breaks:
            await _run(lab, step, kept)
    except BaseException:
        await heal(lab, [name])
        raise
    return one


async def heal(lab: Lab, names: Sequence[str] = ()) -> tuple[Fault, ...]:
    """Put these faults back, or all, the last one first; what somebody has mended meanwhile stays as it is.

    One that cannot be put back keeps no other from it; its error comes at the end.
    """
    there = _state(lab)
    for name in names:
        if name not in there:
            known = f"broken are {', '.join(there)}" if there else "nothing is broken"
            raise LabError(f"{fault(lab.topology, name).name} is not broken: {known}")
    healed: list[Fault] = []
    failed: CrossnetError | None = None
    for name in reversed(there):
        if names and name not in names:
            continue
        one = fault(lab.topology, name)
        try:
            for step in one.heals:
                await _run(lab, step, there[name], gone_is_fine=True)
        except CrossnetError as error:
            failed = failed or error
            continue
        _write(lab, {other: kept for other, kept in _state(lab).items() if other != name})
        healed.append(one)
    if failed is not None:
        raise failed
    return tuple(healed)


# What a section of a fingerprint is to people.
_WORDS = {
    "routes": "routes or addresses",
    "nftables": "rules of nftables or iptables",
    "iptables-legacy": "rules of iptables-legacy",
    "ip6tables-legacy": "rules of ip6tables-legacy",
    "sysctls": "settings",
}


async def remember(lab: Lab) -> None:
    """Keep what the hosts are like, as long as nothing is broken."""
    if not _state(lab):
        found = {host: each.sections for host, each in (await _fingerprints(lab)).items()}
        _keep(lab.folder / _BEFORE, found)


async def left(lab: Lab) -> Mapping[str, tuple[str, ...]]:
    """What hosts have otherwise than they were remembered, now that nothing is broken: fixes made by hand.

    Nothing is told as long as something is broken, and each time once.
    """
    place = lab.folder / _BEFORE
    if _state(lab) or not place.exists():
        return {}
    before = {
        host: Fingerprint({name: tuple(lines) for name, lines in sections.items()})
        for host, sections in json.loads(place.read_text(encoding="utf-8")).items()
    }
    place.unlink()
    now = await _fingerprints(lab)
    found = {
        host: dict.fromkeys(line.partition(": ")[0] for line in each.differences(now[host]))
        for host, each in before.items()
    }
    return {host: tuple(_WORDS.get(name, name) for name in names) for host, names in found.items() if names}


async def _fingerprints(lab: Lab) -> dict[str, Fingerprint]:
    hosts = [host.name for host in lab.topology.hosts]
    found = await asyncio.gather(*(fingerprint(LabHost(host, lab.socket(host)), RUNNING) for host in hosts))
    return dict(zip(hosts, found, strict=True))


async def _expect_path(lab: Lab, on: Scene) -> None:
    """A fault on a path that does not work would teach nothing."""
    route = await _run(lab, Step(on.client.host, ("sh", "-c", _WAY, "sh", on.ip[1], on.target.address)))
    forwards = await _run(lab, Step(on.ingress.host, ("cat", f"/proc/sys/{_FORWARDING[on.v6]}")))
    if f" via {on.ingress.address} " not in route:
        seen = f"{on.client.host} has no route to {on.target.address} through {on.ingress.host}"
    elif forwards.strip() != "1":
        seen = f"{on.ingress.host} does not forward"
    else:
        return
    raise LabError(
        f"nothing is broken, because nothing works yet: {seen}\n"
        "  Run `crossnet apply` first, or make route, forwarding and translation by hand."
    )


_WAY = 'ip "$1" route get "$2" 2>&1 || :'
_FORWARDING = {False: "net/ipv4/ip_forward", True: "net/ipv6/conf/all/forwarding"}


async def _run(lab: Lab, step: Step, given: str = "", *, gone_is_fine: bool = False) -> str:
    if step.on_switch:
        await on_switch(lab, step.host, step.argv)
        return ""
    host = LabHost(step.host, lab.socket(step.host))
    ran = await host.run(step.argv, stdin=given.encode())
    gone = ran.returncode in _NO_PROGRAM or any(words in ran.error_text for words in _GONE)
    if not ran.ok and not (gone_is_fine and gone):
        raise CommandFailed(step.host, step.argv, ran.returncode, ran.error_text)
    return ran.text


def _state(lab: Lab) -> dict[str, str]:
    """The faults, oldest first, each with what its steps have kept."""
    place = lab.folder / _STATE
    try:
        state: dict[str, str] = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return state


def _write(lab: Lab, state: dict[str, str]) -> None:
    _keep(lab.folder / _STATE, state)


def _keep(place: Path, state: object) -> None:
    new = place.with_suffix(".new")
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(file, "w", encoding="utf-8") as stream:
        json.dump(state, stream)
    new.replace(place)
