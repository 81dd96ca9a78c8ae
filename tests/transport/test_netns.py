"""Hosts that are named namespaces of this machine: their own network, and files below a root of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

import crossnet
from crossnet import api
from crossnet.errors import HostError
from crossnet.persistence import unit
from crossnet.planning import Plan
from crossnet.resources import Change
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.transport import ENVIRONMENT
from crossnet.transport.local import Local
from crossnet.transport.netns import ROOT, Netns
from crossnet.verdict import Result
from lacking import lacking

# One after the other: whoever is last removes the folder in which the files of namespaces are.
pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("netns")]

WIRES = """
ip -n {app} link add eth0 type veth peer name eth1 netns {gateway}
ip -n {gateway} link add eth0 type veth peer name eth0 netns {target}
ip -n {app} addr add 10.0.43.15/24 dev eth0
ip -n {gateway} addr add 10.0.43.101/24 dev eth1
ip -n {gateway} addr add 10.0.44.63/24 dev eth0
ip -n {target} addr add 10.0.44.1/24 dev eth0
ip -n {app} link set eth0 up
ip -n {gateway} link set eth1 up
ip -n {gateway} link set eth0 up
ip -n {target} link set eth0 up
"""


@dataclass(frozen=True)
class Names:
    app: str
    gateway: str
    target: str

    @property
    def all(self) -> tuple[str, ...]:
        return (self.app, self.gateway, self.target)


@pytest.fixture
def names() -> Iterator[Names]:
    """Three wired namespaces that nobody else on this machine has; gone after the test, with their files."""
    made = Names(*(f"crossnet-test-{os.getpid()}-{role}" for role in ("app", "gateway", "target")))
    try:
        for name in made.all:
            added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
            if added.returncode != 0:
                lacking(f"no named namespaces here: {added.stderr.strip()}")
        for line in WIRES.format(app=made.app, gateway=made.gateway, target=made.target).strip().splitlines():
            subprocess.run(line.split(), check=True)
        yield made
    finally:
        for name in made.all:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            shutil.rmtree(Path(ROOT) / name, ignore_errors=True)
        for folder in (Path(ROOT), Path(ROOT).parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def namespace(name: str) -> Netns:
    return Netns(Local("host"), name)


def spec_of(names: Names, more: str = "") -> Spec:
    return parse(
        f"crossnet: 1\nhosts: {{app: {{netns: {names.app}}}, gateway: {{netns: {names.gateway}}}}}\n"
        f"crossings: {{business: {{from: app, via: gateway, to: 10.0.44.0/24{more}}}}}\n",
        "test.yaml",
    )


def planned(spec: Spec) -> Plan:
    async def plan() -> Plan:
        return crossnet.plan(spec, await crossnet.observe(spec))

    return asyncio.run(plan())


def applied(spec: Spec) -> api.Applied:
    return asyncio.run(crossnet.apply(planned(spec)))


def machine() -> dict[str, str | None]:
    """What of this machine itself a mistake would change."""
    read = {path: Path(path).read_text() if Path(path).is_file() else None for path in unit.FILES}
    forwarding = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")
    return read | {path: Path(path).read_text() for path in forwarding if Path(path).exists()}


def test_files_live_below_a_root_of_the_namespace(names: Names) -> None:
    host = namespace(names.app)
    path = PurePosixPath("/etc/sysctl.d/99-zz-crossnet.conf")
    before = machine()
    assert asyncio.run(host.read(path)) is None
    asyncio.run(host.write(path, b"net.ipv4.ip_forward = 1\n", mode=0o600))
    place = Path(ROOT) / names.app / "etc/sysctl.d/99-zz-crossnet.conf"
    assert place.read_bytes() == b"net.ipv4.ip_forward = 1\n" == asyncio.run(host.read(path))
    assert place.stat().st_mode & 0o777 == 0o600
    assert asyncio.run(namespace(names.gateway).read(path)) is None
    assert machine() == before
    asyncio.run(host.write(path, None))
    assert not place.exists()


def test_settings_are_the_namespaces_own(names: Names) -> None:
    before = machine()
    host = namespace(names.gateway)
    asyncio.run(host.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])).check()
    assert (
        asyncio.run(host.read(PurePosixPath("/proc/sys/net/ipv4/ip_forward"))) is None
    )  # a file of its root
    assert asyncio.run(host.run(["cat", "/proc/sys/net/ipv4/ip_forward"])).text == "1\n"
    assert asyncio.run(namespace(names.app).run(["cat", "/proc/sys/net/ipv4/ip_forward"])).text == "0\n"
    assert machine() == before


def test_a_namespace_that_is_not_there_is_told_by_name() -> None:
    spec = parse(
        "crossnet: 1\nhosts: {app: {netns: no-such-namespace}, gateway: {netns: no-such-namespace}}\n"
        "crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24}}\n",
        "test.yaml",
    )
    with pytest.raises(crossnet.errors.HostsFailed) as caught:
        planned(spec)
    assert [error.host for error in caught.value.errors if isinstance(error, crossnet.errors.HostError)] == [
        "app",
        "gateway",
    ]
    assert str(caught.value).count("no-such-namespace") == 4
    assert "ip netns list" in str(caught.value)


def test_a_crossing_of_namespaces_and_back(names: Names) -> None:
    """Nothing of it touches the machine itself, and nobody claims that it will survive a reboot."""
    spec = spec_of(names)
    before = machine()
    network = _network(names)

    plan = planned(spec)
    assert sorted(impact.where for impact in plan.impacts if impact.code == "not-persistent") == [
        "app",
        "gateway",
    ]
    assert not any(_is_for_the_next_boot(change) for _, change in plan.changes)

    done = applied(spec)

    assert done.confirmed
    assert done.unwritten == ()
    assert done.verification
    assert done.verification.result is Result.REACHABLE
    assert str(done.verification.verdicts[0].translated_to) == "10.0.44.63"
    assert _pings(names)
    assert machine() == before
    assert (Path(ROOT) / names.gateway / "var/lib/crossnet/applied.json").exists()
    assert not Path("/var/lib/crossnet/applied.json").exists()
    assert applied(spec).confirmed is None
    (state,) = asyncio.run(crossnet.status(spec))
    assert (state.state, state.reasons) == ("up", ())

    assert asyncio.run(crossnet.undo(spec)).confirmed
    assert not _pings(names)
    assert _network(names) == network
    assert machine() == before
    assert [
        path
        for name in names.all
        for path in (Path(ROOT) / name).rglob("*")
        if path.is_file() and path.name != "history"
    ] == []


def _is_for_the_next_boot(change: Change) -> bool:
    return change.resource.kind in ("file", "service")


def _pings(names: Names) -> bool:
    return asyncio.run(namespace(names.app).run(["ping", "-n", "-c", "1", "-W", "1", "10.0.44.1"])).ok


def _network(names: Names) -> list[str]:
    script = "ip -4 route show table all; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward"
    return [asyncio.run(namespace(name).run(["sh", "-c", script])).text for name in names.all]


def test_what_sudo_has_started_in_a_namespace_is_ended(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started where nobody but root may signal it: in a session of its own."""
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\n[ "$1 $2" = "-n --" ] || exit 9\nshift 2\nsetsid "$@"\n')
    sudo.chmod(0o755)
    found = {**ENVIRONMENT, "PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}"}
    for module in ("leash", "child"):
        monkeypatch.setattr(f"crossnet.transport.{module}.ENVIRONMENT", found)
    host = Netns(Local("app", become=True), names.app)
    addresses = asyncio.run(host.run(["ip", "-br", "-4", "addr"]))
    assert "10.0.43.15/24" in addresses.text
    mark = tmp_path / "pid"
    with pytest.raises(HostError, match="no answer within 2 s; it was ended"):
        asyncio.run(
            host.run(["sh", "-c", 'echo $$ > "$1"; trap "" TERM; sleep 600', "sh", str(mark)], timeout=2)
        )
    left = subprocess.run(
        ["ps", "-o", "stat=", "-p", mark.read_text().strip()], capture_output=True, text=True
    )
    assert left.stdout.strip() in ("", "Z", "Zs")  # whoever inherits it may be slow to take note of its end
