"""A hundred clients of one gateway over SSH, in one transaction: time and memory, against `ssh` in a loop.

The controller is a host of the lab, every other host runs a real sshd. crossnet is started as a user would,
`crossnet apply --yes`: connect, read, plan, read again inside the lock, change, verify with a probe of each
client, write it for the next boot. The peer is what is typed by hand: one `ssh` for each client that adds its
route, one after the other or 16 at a time, and one for the gateway's rules and its forwarding. It reads
nothing, looks at nothing, writes nothing for the next boot and knows no way back.

With `--delay MS` everything that is sent takes so many milliseconds each way, for crossnet and its peer, as between
machines that are some distance apart; else there is none.

The promises: at most the time of `ssh` one after the other, and the largest process of the controller stays below
200 MB.
"""

from __future__ import annotations

import asyncio
import compileall
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import Spread, bar, in_alternation, options, ratios, report

import crossnet
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.lab.topology import load
from crossnet.transport import PATH, Completed
from crossnet.transport.lab import LabHost

HERE = Path(__file__).parent
TOPOLOGY = HERE / "topologies" / "many.yaml"
MEASURED = (HERE / "programs" / "measured.py").read_text(encoding="utf-8")
DELAYING = (HERE / "programs" / "delaying.py").read_text(encoding="utf-8")

CLIENTS = 100
PROMISE = 200.0  # MB
OF_LOOP = 1.0

CONTROLLER, GATEWAY, TARGET = "controller", "gateway", "target"
NEXT_HOP, DESTINATION, TARGET_ADDRESS, SNAT_ADDRESS = "10.50.0.2", "10.0.44.0/24", "10.0.44.1", "10.0.44.63"

APPLY, LOOP, AT_ONCE = "crossnet apply", "ssh, one after the other", "ssh, 16 at a time"
PLAN, VERIFY, UNDO = "crossnet plan", "crossnet verify", "crossnet undo"

TIMEOUT = 3600.0  # seconds for one command: what is slow is to be measured

# How many hosts are set up at the same time.
BUILDERS = 8

# A lab host has an /etc, a /run and a /tmp of its own; what the client trusts is the key that this prints.
# Its root has a home of its own too: bash reads ~/.bashrc before each command that comes over SSH, and what
# the machine's root has in there would be measured.
SERVE = r"""
set -e
sed -i 's|^root:.*|root:x:0:0:root:/tmp/sshd:/bin/bash|' /etc/passwd
echo 'root:*:19000:0:99999:7:::' > /etc/shadow
mkdir -p /run/sshd /tmp/sshd
cd /tmp/sshd
ssh-keygen -q -t ed25519 -N '' -f key
cat > authorized_keys
cat > config <<END
HostKey /tmp/sshd/key
AuthorizedKeysFile /tmp/sshd/authorized_keys
PidFile /tmp/sshd/pid
UsePAM no
StrictModes no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
END
/usr/sbin/sshd -f /tmp/sshd/config
cut -d ' ' -f 1,2 key.pub
"""

HOME = "/tmp/home"
CONFIG = f"""\
User root
IdentityFile {HOME}/.ssh/id_ed25519
UserKnownHostsFile {HOME}/.ssh/known_hosts
"""

# Where packets are delayed, a host is reached by a port of the controller's own.
DELAYED = "Host {0}\n    HostName 127.0.0.1\n    Port {1}\n    HostKeyAlias {0}\n"
FIRST_PORT = 20000

# What is typed by hand, with the addresses of the clients as arguments.
BY_HAND = rf"""
set -e
export SSH="ssh -F {HOME}/.ssh/config"
$SSH {NEXT_HOP} 'sysctl -q -w net.ipv4.ip_forward=1 && nft -f -' <{HOME}/rules
"""
ROUTE = f"ip route add {DESTINATION} via {NEXT_HOP}"
ONE_BY_ONE = f'{BY_HAND}for client; do $SSH "$client" "{ROUTE}"; done'
SIXTEEN = f"{BY_HAND}printf '%s\\n' \"$@\" | xargs -P 16 -I CLIENT $SSH CLIENT '{ROUTE}'"
RULES = f"""\
table ip byhand {{
    chain postrouting {{
        type nat hook postrouting priority srcnat
        oif eth0 ip daddr {DESTINATION} snat to {SNAT_ADDRESS}
    }}
}}
"""
NO_RULES, NO_ROUTE = (
    "nft delete table ip byhand; sysctl -q -w net.ipv4.ip_forward=0",
    "ip route del 10.0.44.0/24",
)


@dataclass(frozen=True, slots=True)
class Ran:
    """What one command on the controller took."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Place:
    """The lab, ready: an sshd on each host, and crossnet on the controller."""

    lab: Lab
    python_path: str
    addresses: Mapping[str, str]

    @property
    def clients(self) -> list[str]:
        return [name for name in self.addresses if name.startswith("client-")]

    async def run(self, host: str, command: str, *words: str, stdin: str = "") -> Completed:
        answer = await LabHost(host, self.lab.socket(host)).run(
            ["sh", "-c", command, "sh", *words], stdin=stdin.encode(), timeout=TIMEOUT
        )
        return answer.check()

    async def measured(self, *argv: str, environment: str = "") -> Ran:
        """Run it on the controller; what it says when it fails ends the benchmark."""
        command = (
            f'cd {HOME} && HOME={HOME} PYTHONPATH={self.python_path} {environment} exec "$@"',
            *(python(), "-c", MEASURED, *argv),
        )
        seen = json.loads((await self.run(CONTROLLER, *command)).text)
        if seen["code"] != 0:
            raise SystemExit(f"{' '.join(argv[:5])}: exit code {seen['code']}\n{seen['said']}")
        return Ran(seen["seconds"], seen["cpu_seconds"], seen["peak_kib"] * 1024 / 1e6)

    async def crossnet(self, *words: str) -> Ran:
        return await self.measured(python(), "-m", "crossnet", *words)

    async def check(self, reached: bool) -> None:
        """The first and the last client get through, or do not; else the numbers compare nothing."""
        for client in (self.clients[0], self.clients[-1]):
            ping = f"ping -n -c 1 -W 2 {TARGET_ADDRESS} >/dev/null && echo yes || echo no"
            said = (await self.run(client, ping)).text.strip()
            assert said == ("yes" if reached else "no"), f"{client} reaches the target: {said}"

    async def round(self, name: str) -> dict[str, Ran]:
        """From hosts as they were to hosts as they were; what is measured on the way."""
        await self.check(reached=False)
        ran: dict[str, Ran] = {}
        if name == APPLY:
            ran[PLAN] = await self.crossnet("plan")
            ran[APPLY] = await self.crossnet("apply", "--yes")
            await self.check(reached=True)
            ran[VERIFY] = await self.crossnet("verify")
            ran[UNDO] = await self.crossnet("undo", "--yes")
            return ran
        script = ONE_BY_ONE if name == LOOP else SIXTEEN
        addresses = [self.addresses[client] for client in self.clients]
        ran[name] = await self.measured("sh", "-c", script, "sh", *addresses)
        await self.check(reached=True)
        await self.run(GATEWAY, NO_RULES)
        for client in self.clients:
            await self.run(client, NO_ROUTE)
        return ran


def python() -> str:
    """Not the interpreter of the venv, which may lie in a folder that a lab host does not see."""
    return str(getattr(sys, "_base_executable", sys.executable))


@contextmanager
def copied() -> Iterator[str]:
    """A PYTHONPATH of copies of crossnet and what it needs; /var/tmp is the machine's in a lab host too."""
    unneeded = shutil.ignore_patterns("mypy*", "ruff*", "pip*", "hypothesis*")
    with tempfile.TemporaryDirectory(prefix="crossnet-bench-", dir="/var/tmp") as folder:
        source, packages = Path(folder, "src"), Path(folder, "packages")
        shutil.copytree(Path(crossnet.__file__).parent, source / "crossnet", ignore=unneeded)
        shutil.copytree(sysconfig.get_path("purelib"), packages, ignore=unneeded)
        compileall.compile_dir(source, quiet=1)  # as after an installation
        yield os.pathsep.join([str(source), str(packages)])


@asynccontextmanager
async def place_up(clients: int = CLIENTS, delay: float = 0.0) -> AsyncIterator[Place]:
    every = load(str(TOPOLOGY))
    unused = {f"client-{number}" for number in range(clients + 1, CLIENTS + 1)}
    topology = replace(every, hosts=tuple(host for host in every.hosts if host.name not in unused))
    addresses = {
        host.name: str(host.interfaces[0].addresses[0].ip) for host in topology.hosts if host.name != TARGET
    }
    addresses[GATEWAY] = NEXT_HOP
    lab = await build.up(topology, name=f"bench-{os.getpid()}", lifeline=True)
    try:
        with copied() as python_path:
            place = Place(lab, python_path, addresses)
            await _prepare(place)
            async with _apart(place, delay):
                yield place
    finally:
        await asyncio.shield(build.down(lab.name))


async def _prepare(place: Place) -> None:
    await place.run(CONTROLLER, f"mkdir -p -m 700 {HOME}/.ssh && cat > {HOME}/.ssh/config", stdin=CONFIG)
    await place.run(CONTROLLER, f"ssh-keygen -q -t ed25519 -N '' -f {HOME}/.ssh/id_ed25519")
    key = (await place.run(CONTROLLER, f"cat {HOME}/.ssh/id_ed25519.pub")).text
    gate = asyncio.Semaphore(BUILDERS)

    async def serve(host: str) -> str:
        async with gate:
            return f"{place.addresses[host]} {(await place.run(host, SERVE, stdin=key)).text}"

    servers = [*place.clients, GATEWAY]
    known = await asyncio.gather(*(serve(host) for host in servers))
    await place.run(CONTROLLER, f"cat > {HOME}/.ssh/known_hosts", stdin="".join(known))
    await place.run(CONTROLLER, f"cat > {HOME}/rules", stdin=RULES)
    hosts = "".join(f"  {host}: {{ssh: root@{place.addresses[host]}}}\n" for host in servers)
    spec = (
        f"crossnet: 1\nhosts:\n{hosts}crossings:\n  business:\n    from: [{', '.join(place.clients)}]\n"
        f"    via: {GATEWAY}\n    to: {DESTINATION}\n    probe: icmp/{TARGET_ADDRESS}\n"
    )
    await place.run(CONTROLLER, f"cat > {HOME}/crossnet.yaml", stdin=spec)


@asynccontextmanager
async def _apart(place: Place, delay: float) -> AsyncIterator[None]:
    """Every way from the controller takes `delay` seconds, and every way back."""
    if not delay:
        yield
        return
    ports = {address: FIRST_PORT + number for number, address in enumerate(sorted(place.addresses.values()))}
    ways = [f"{port}={address}:22" for address, port in ports.items()]
    passing = await LabHost(CONTROLLER, place.lab.socket(CONTROLLER)).start(
        [python(), "-c", DELAYING, str(delay), *ways]
    )
    try:
        if not await passing.said_more():
            raise SystemExit(f"many_hosts: nothing passes packets on: {passing.errors.decode()}")
        config = CONFIG + "".join(DELAYED.format(address, port) for address, port in ports.items())
        await place.run(CONTROLLER, f"cat > {HOME}/.ssh/config", stdin=config)
        yield
    finally:
        await passing.stop()


async def measure(rounds: int, delay: float) -> dict[str, list[Ran]]:
    ran: dict[str, list[Ran]] = {name: [] for name in (APPLY, LOOP, AT_ONCE, PLAN, VERIFY, UNDO)}
    async with place_up(delay=delay) as place:
        print(f"up: {len(place.clients)} clients", file=sys.stderr)
        await place.crossnet("plan")  # compiles the modules
        for name in in_alternation(rounds, (APPLY, LOOP, AT_ONCE)):
            for what, one in (await place.round(name)).items():
                ran[what].append(one)
                print(f"{what}: {one.seconds:.1f} s", file=sys.stderr)
    return ran


def _delay(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--delay",
        type=float,
        default=0.0,
        metavar="MS",
        help="milliseconds that everything sent takes, each way",
    )


def main() -> None:
    chosen = options(__doc__, rounds=5, quick=1, more=_delay)
    rounds, delay = chosen.rounds, chosen.delay
    if os.geteuid() != 0 or shutil.which("sshd", path=PATH) is None:
        raise SystemExit("many_hosts: needs root, and sshd (Debian, Ubuntu, EL: openssh-server)")
    ran = asyncio.run(measure(rounds, delay / 1000))
    seconds = {name: [one.seconds for one in some] for name, some in ran.items()}
    rows, results = [], []
    for name, some in ran.items():
        against = Spread.of(ratios(seconds[name], seconds[LOOP]))
        cpu = Spread.of([one.cpu_seconds for one in some])
        peak = Spread.of([one.peak_mb for one in some])
        took = Spread.of(seconds[name])
        rows.append((name, took.show(1), against.show(2), cpu.show(1), f"{peak.median:.0f}"))
        results.append(
            {
                "what": name,
                "seconds": took.data(),
                "ratio_to_loop": against.data(),
                "controller_cpu_seconds": cpu.data(),
                "peak_mb": peak.data(),
            }
        )
    bars = [
        bar(f"apply in {OF_LOOP:g} × {LOOP}", ratios(seconds[APPLY], seconds[LOOP]), OF_LOOP),
        bar(f"controller below {PROMISE:g} MB", [one.peak_mb for one in ran[APPLY]], PROMISE),
    ]
    data: dict[str, Any] = {
        "rounds": rounds,
        "clients": CLIENTS,
        "delay_ms": delay,
        "results": results,
        "bars": bars,
    }
    report(
        "many_hosts",
        ("100 clients over SSH", "seconds", f"× {LOOP}", "CPU s, controller", "peak MB"),
        rows,
        data,
    )


if __name__ == "__main__":
    main()
