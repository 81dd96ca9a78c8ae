"""crossnet works over SSH from behind its client's router, and the crossing would take over the way back.

As root only, like everything with sshd (test_ssh.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress

import pytest

from crossnet.errors import LabError
from crossnet.lab import build
from crossnet.lab.topology import from_data
from lab.crossing import Bench
from lab.test_ssh import SERVE, USERS, Place

pytestmark = pytest.mark.lab

TOPOLOGY = {
    "name": "trap",
    "networks": {"management": {}, "business": {}, "office": {}},
    "hosts": {
        "controller": {
            "interfaces": {"eth0": {"network": "office", "addresses": ["10.0.99.5/24"]}},
            "routes": [{"to": "default", "via": "10.0.99.1"}],
        },
        "router": {
            "interfaces": {
                "eth0": {"network": "management", "addresses": ["10.0.43.1/24"]},
                "eth1": {"network": "business", "addresses": ["10.0.44.254/24"]},
                "eth2": {"network": "office", "addresses": ["10.0.99.1/24"]},
            },
            "sysctls": {"net.ipv4.ip_forward": 1},
        },
        "app": {
            "role": "client",
            "interfaces": {"eth0": {"network": "management", "addresses": ["10.0.43.15/24"]}},
            "routes": [{"to": "default", "via": "10.0.43.1"}],
        },
        "gateway": {
            "role": "gateway",
            "interfaces": {
                "eth1": {"network": "management", "addresses": ["10.0.43.101/24"]},
                "eth0": {"network": "business", "addresses": ["10.0.44.63/24"]},
            },
            "routes": [{"to": "default", "via": "10.0.44.254", "dev": "eth0"}],
        },
    },
}

SPEC = """\
crossnet: 1
hosts:
  app: {ssh: root@10.0.43.15}
  gateway: {ssh: root@10.0.44.63}
crossings:
  business: {from: app, via: gateway, to: %s}
"""


@pytest.fixture(scope="module")
def place(sshd_possible: None) -> Iterator[Place]:
    lab = asyncio.run(
        build.up(from_data(TOPOLOGY, source="test"), name=f"t{os.getpid()}-trap", lifeline=True)
    )
    try:
        place = Place(Bench(lab))
        place.check("controller", "mkdir -p -m 700 /tmp/home/.ssh")
        place.check("controller", "ssh-keygen -q -t ed25519 -N '' -f /tmp/home/.ssh/id_ed25519")
        key = place.check("controller", "cat /tmp/home/.ssh/id_ed25519.pub")
        known = []
        for host, address in (("app", "10.0.43.15"), ("gateway", "10.0.44.63")):
            place.check(host, USERS)
            place.check(host, f"sh -c {shlex.quote(SERVE)} sh 22", stdin=key.encode())
            known.append(f"{address} {place.host_key(host)}\n")
        place.known("".join(known))
        yield place
    finally:
        with suppress(LabError):
            asyncio.run(build.down(lab.name))


def test_plan_marks_the_route_over_the_controllers_own_network(place: Place) -> None:
    place.check("controller", "cat > /tmp/trap.yaml", stdin=(SPEC % "[10.0.44.0/24, 10.0.99.0/24]").encode())
    answer = place.crossnet("plan -q -f /tmp/trap.yaml")
    assert answer.ok, answer.error_text
    lines = answer.text.splitlines()
    assert [line for line in lines if line.startswith("!")] == [
        "! + route   10.0.99.0/24 via 10.0.43.101 dev eth0",
        "! touches the management path",
    ]
    said = " ".join(answer.text.split())
    assert (
        "route 10.0.99.0/24 changes the path by which crossnet reaches app from 10.0.99.5; the guard on app"
        in said
    )
    told = json.loads(place.crossnet("plan -q --json -f /tmp/trap.yaml").check().text)
    marked = [
        (host["host"], change["key"])
        for host in told["hosts"]
        for change in host["changes"]
        if change["touches_management_path"]
    ]
    assert marked == [("app", "10.0.99.0/24 metric 0")]


def test_plan_marks_nothing_where_the_way_back_stays(place: Place) -> None:
    place.check("controller", "cat > /tmp/fine.yaml", stdin=(SPEC % "10.0.44.0/24").encode())
    answer = place.crossnet("plan -q -f /tmp/fine.yaml")
    assert answer.ok, answer.error_text
    assert "!" not in answer.text


def test_facts_tell_both_ends_of_the_connection(place: Place) -> None:
    place.check("controller", "cat > /tmp/fine.yaml", stdin=(SPEC % "10.0.44.0/24").encode())
    told = json.loads(place.crossnet("facts -q --json -f /tmp/fine.yaml").check().text)
    assert {host["host"]: (host["controller"], host["reached_at"]) for host in told["hosts"]} == {
        "app": ("10.0.99.5", "10.0.43.15"),
        "gateway": ("10.0.99.5", "10.0.44.63"),
    }
