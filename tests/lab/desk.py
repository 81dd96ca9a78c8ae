"""A lab whose hosts are plugged into ports of a real Neutron, and who works there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloud.between import Between, between
from cloud.fixtures import MACHINES, Seed
from crossnet.lab.build import Lab
from crossnet.record import CLOUD
from crossnet.spec import Spec
from crossnet.specfile import parse
from lab.crossing import Bench

# One Neutron and one Keystone for each of these groups of tests, so that they run side by side.
PORTS = pytest.mark.xdist_group("openstack-ports")
KILLS = pytest.mark.xdist_group("openstack-kills")
SUBNETS = pytest.mark.xdist_group("openstack-subnets")

HARDWARE = {"A": "02:00:00:00:00:00", "B-eth1": "02:00:00:00:01:00", "B-eth0": "02:00:00:00:01:01"}
CROSSING = "to: 10.0.44.0/24, allow: [icmp, tcp/443], persist: none"


@dataclass
class Desk:
    """A lab whose hosts are plugged into ports of a cloud, and who works there as a member of the project."""

    bench: Bench
    seed: Seed
    between: Between
    folder: Path

    def spec(self, crossing: str = CROSSING, name: str = "crossnet", cloud: str = "member") -> Spec:
        hosts = "".join(f"  {host}: {{lab: {self.bench.lab.name}/{host}}}\n" for host in self.bench.managed)
        crossings = f"  business: {{from: app, via: gateway, {crossing}}}\n"
        text = f"crossnet: 1\nname: {name}\nhosts:\n{hosts}crossings:\n{crossings}"
        text += f"openstack: {{cloud: {cloud}}}\n" if cloud else ""
        return parse(text, f"{name}.yaml")

    def state(self) -> tuple[Mapping[str, Any], list[str]]:
        """The ports as the API writes them, and the groups that their project has."""
        own = f"/security-groups?fields=name&project_id={self.seed.project}"
        groups = self.seed.ask("GET", own)["security_groups"]
        return {name: self.seed.document(name) for name in HARDWARE}, sorted(one["name"] for one in groups)

    def crossnet(self, *words: str, crossing: str = CROSSING) -> subprocess.Popen[str]:
        file = self.folder / "crossnet.yaml"
        file.write_text(self.spec(crossing).source)
        return subprocess.Popen(
            [sys.executable, "-m", "crossnet", *words, "-f", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )

    def said(self, *words: str, crossing: str = CROSSING) -> tuple[int, str]:
        process = self.crossnet(*words, crossing=crossing)
        text, _ = process.communicate(timeout=120)
        return process.returncode, text

    def kept(self) -> bool:
        return self.bench.run("gateway", f"test -e {CLOUD}").ok


@pytest.fixture
def desk(
    lab_up: Callable[..., Lab], seed_networks: Seed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    bench = Bench(lab_up("seed"))
    served = seed_networks.served
    for name, mac in HARDWARE.items():
        network, address = MACHINES[name]
        seed_networks.make_port(name, seed_networks.networks[network], address, mac_address=mac)
    with between(served.neutron) as one:
        entries = {
            user: {**served.entry(user), "network_endpoint_override": one.url}
            for user in ("member", "reader")
        }
        (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": entries}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        yield Desk(bench, seed_networks, one, tmp_path)
    seed_networks.remove()


def killed(desk: Desk, number: int, when: str, *words: str, crossing: str = CROSSING) -> str:
    """What crossnet said until it was killed at its n-th change of the cloud; `before`: the cloud never hears of it."""
    process = desk.crossnet(*words, crossing=crossing)
    seen = list[int]()

    def kill(at: int) -> bool:
        if at == number:
            seen.append(at)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        return at != number

    setattr(desk.between, when, kill)
    text, _ = process.communicate(timeout=120)
    assert seen == [number], f"it was never reached: {text}"
    return text


def recovered(desk: Desk) -> None:
    desk.between.before = lambda number: None
    desk.between.after = lambda number: None
    code, text = desk.said("recover")
    assert code in (0, 3), text  # whether hosts had anything to put back
