"""The change itself cuts the way on which it is made: the host puts itself back, and the controller says so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from faults.controller_over_ssh import SshGround
from faults.oracle import OLD, count

# How soon a host is back is what is tried here.
pytestmark = [pytest.mark.lab, pytest.mark.deadlines]

GUARD = 10  # seconds
APPLY = ("apply", "--yes", "--guard", f"{GUARD}s")

# The controller is behind the router that app uses for all that is far; the crossing sends that another way.
BEHIND_THE_ROUTER = {
    "name": "trap",
    "networks": {"management": {}, "business": {}, "far": {}},
    "hosts": {
        "controller": {
            "interfaces": {"eth0": {"network": "far", "addresses": ["10.0.99.200/24"]}},
            "routes": [{"to": "default", "via": "10.0.99.1"}],
        },
        "router": {
            "interfaces": {
                "eth0": {"network": "management", "addresses": ["10.0.43.1/24"]},
                "eth1": {"network": "business", "addresses": ["10.0.44.254/24"]},
                "eth2": {"network": "far", "addresses": ["10.0.99.1/24"]},
            },
            "sysctls": {"net.ipv4.ip_forward": "1"},
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
        "target": {
            "role": "target",
            "interfaces": {"eth0": {"network": "business", "addresses": ["10.0.44.1/24"]}},
        },
    },
}
SERVERS = {"app": ("10.0.43.15", 22), "gateway": ("10.0.44.63", 2222)}
SPEC = """\
crossnet: 1
hosts:
  app: {ssh: root@10.0.43.15}
  gateway: {ssh: "ssh://root@10.0.44.63:2222"}
crossings:
  far: {from: app, via: gateway, to: 10.0.99.0/24}
"""

# The route of the crossing takes with it, as long as it is there, the one to the controller.
HOOK = r"""#!/bin/sh
case " $* " in
*" route add 10.0.44.0/24 "*) /tmp/real-ip route add blackhole 10.0.43.200/32 ;;
*" route del 10.0.44.0/24 "*) /tmp/real-ip route del blackhole 10.0.43.200/32 ;;
esac
exec /tmp/real-ip "$@"
"""


@pytest.fixture
def ground(sshd_possible: None) -> Iterator[Callable[..., SshGround]]:
    made: list[SshGround] = []

    def make(*more: object) -> SshGround:
        made.append(SshGround(f"t{os.getpid()}-trap{len(made)}", *more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.down()


def cut_for(ground: SshGround, is_cut: Callable[[], bool]) -> float:
    """Seconds for which the host was cut off."""
    deadline = time.monotonic() + 90
    while not is_cut():
        assert time.monotonic() < deadline, "the change never cut the way"
        time.sleep(0.1)
    since = time.monotonic()
    while is_cut():
        assert time.monotonic() < deadline, "the host never put itself back"
        time.sleep(0.1)
    return time.monotonic() - since


@pytest.mark.faults
def test_change_that_cuts_its_own_way_is_put_back_by_the_host(ground: Callable[..., SshGround]) -> None:
    here = ground()
    here.learn()
    place = here.bench.check("app", "readlink -f $(command -v ip)").strip()
    here.place.check("app", f"cp {place} /tmp/real-ip && cat >/tmp/hook", stdin=HOOK.encode())
    here.place.check("app", f"chmod 755 /tmp/hook && mount --bind /tmp/hook {place}")
    running = here.start(*APPLY)
    seconds = cut_for(
        here, lambda: here.bench.run("app", "/tmp/real-ip route | grep -q blackhole.10.0.43.200").ok
    )
    assert seconds < GUARD + 5
    told = running.end()
    here.place.check("app", f"umount {place}")
    assert told.code == 3, told
    assert "Rolled back: every host was read again" in told.err
    here.alike(OLD)
    count("change that cuts its own way")


def test_route_to_the_controllers_own_network_is_put_back_by_the_host(
    ground: Callable[..., SshGround],
) -> None:
    """The trap of the seed: what the client says to the controller goes by way of the gateway."""
    here = ground(SPEC, BEHIND_THE_ROUTER, SERVERS)
    planned = here.run("plan")
    assert planned.code == 0, planned
    before = here.bench.fingerprints()
    running = here.start(*APPLY)
    seconds = cut_for(here, lambda: "proto 143" in here.bench.check("app", "ip route show 10.0.99.0/24"))
    assert seconds < GUARD + 5
    told = running.end()
    assert told.code == 3, told
    assert "Rolled back: every host was read again" in told.err
    assert here.bench.differences(before) == []
    count("change that cuts its own way")
