"""A lab whose switches do what a real Neutron's API says, through Neutron's own firewall."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.error import URLError

import pytest

from crossnet.errors import LabError
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.lab.neutron import install
from crossnet.lab.topology import load, spec_for
from crossnet.specfile import parse
from crossnet.transport import Completed
from crossnet.transport.lab import LabHost
from lab.crossing import Bench
from lab.neutron import Neutron
from lab.test_lab_build import processes

pytestmark = [pytest.mark.lab, pytest.mark.openstack]

LabUp = Callable[..., Lab]
RunOn = Callable[..., Completed]
Eventually = Callable[..., None]

# What is tried in each state: the seed's client, its gateway and the host that Neutron does not manage.
PINGS = (
    ("app", "10.0.43.101"),
    ("gateway", "10.0.44.1"),
    ("app", "10.0.44.1"),
    ("app", "10.0.44.63"),
    ("target", "10.0.44.63"),
)


def answered(lab: Lab, pings: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the pings, each from a host to an address, that are answered; all are new flows: others may pass."""

    async def is_answered(host: str, destination: str) -> bool:
        # The second is for a machine that is so busy that the first comes too late.
        argv = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", destination]
        return (await LabHost(host, lab.socket(host)).run(argv)).ok

    async def all_() -> list[bool]:
        await build.on_switch(lab, "management", ["conntrack", "-F"])
        (await LabHost("gateway", lab.socket("gateway")).run(["conntrack", "-F"])).check()
        return await asyncio.gather(*(is_answered(*ping) for ping in pings))

    return {ping for ping, ok in zip(pings, asyncio.run(all_()), strict=True) if ok}


def reached(lab: Lab) -> str:
    """Which of PINGS are answered, `ok` or `-` each."""
    those = answered(lab, PINGS)
    return " ".join("ok" if ping in those else "-" for ping in PINGS)


def cross_by_hand(lab: Lab, run_on: RunOn) -> None:
    run_on(lab, "app", "ip route add 10.0.44.0/24 via 10.0.43.101").check()
    run_on(
        lab,
        "gateway",
        "sysctl -qw net.ipv4.ip_forward=1 && nft -f -",
        stdin=b"""table ip t { chain c { type nat hook postrouting priority srcnat;
            ip saddr 10.0.43.0/24 oifname "eth0" snat to 10.0.44.63;
            }
        }""",
    ).check()


@pytest.fixture(scope="module")
def lab(cloud_possible: None) -> Iterator[Lab]:
    """One for all tests that leave it as they found it."""
    up = asyncio.run(build.up(load("seed-port-security"), name=f"t{os.getpid()}-cloud", lifeline=True))
    yield up
    asyncio.run(build.down(up.name))


def test_its_ports_are_those_of_the_hosts(lab: Lab, run_on: RunOn) -> None:
    plugged = {
        f"{host}-{link['ifname']}": (
            link["address"],
            [a["local"] for a in link["addr_info"] if "." in a["local"]],
        )
        for host in lab.hosts
        for link in json.loads(run_on(lab, host, "ip -j address").check().text)
        if link["ifname"] != "lo"
    }
    del plugged["target-eth0"]
    ports = Neutron(lab).ports()
    assert plugged == {
        name: (port["mac_address"], [fixed["ip_address"] for fixed in port["fixed_ips"]])
        for name, port in ports.items()
    }
    assert {port["status"] for port in ports.values()} == {"ACTIVE"}
    [group] = {tuple(port["security_groups"]) for port in ports.values()}
    assert len(group) == 1
    assert len({port["device_id"] for port in ports.values()}) == 3  # the gateway's two are one machine's


def test_its_clouds_file_is_the_users_alone_and_works_with_the_client(lab: Lab) -> None:
    assert lab.clouds is not None
    assert stat.S_IMODE(lab.clouds.stat().st_mode) == 0o600
    listed = subprocess.run(
        [install.program("openstack"), "port", "list", "-f", "value", "-c", "Name"],
        env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(lab.clouds), "OS_CLOUD": lab.name},
        check=True,
        capture_output=True,
        text=True,
    )
    assert sorted(listed.stdout.split()) == ["app-eth0", "bystander-eth0", "gateway-eth0", "gateway-eth1"]


def test_it_listens_on_this_machine_alone(lab: Lab) -> None:
    port = f":{int(Neutron(lab).url.rpartition(':')[2]):04X}"
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path("/proc/net", table).read_text().splitlines()[1:])
        if fields[1].endswith(port) and fields[3] == "0A"  # TCP_LISTEN
    ]
    assert listening == [f"0100007F{port}"]


def test_a_port_sends_from_its_own_addresses_alone(lab: Lab, run_on: RunOn) -> None:
    assert run_on(lab, "app", "ping -n -c1 -W2 10.0.43.99").ok
    run_on(lab, "app", "ip address add 10.0.43.77/24 dev eth0").check()
    try:
        assert not run_on(lab, "app", "ping -n -c1 -W1 -I 10.0.43.77 10.0.43.99").ok
    finally:
        run_on(lab, "app", "ip address delete 10.0.43.77/24 dev eth0").check()


def test_what_gets_through_in_each_state(lab_up: LabUp, run_on: RunOn, cloud_possible: None) -> None:
    """The seed's operations in the words of the API; the values were measured with two of Neutron's drivers."""
    lab = lab_up("seed-port-security")
    cross_by_hand(lab, run_on)
    cloud = Neutron(lab)
    ports = cloud.ports()
    [shared] = ports["gateway-eth1"]["security_groups"]
    seen: dict[str, str] = {"one group": reached(lab)}

    def after(state: str, port: str, **wanted: object) -> None:
        cloud.change(port, **wanted)
        seen[state] = reached(lab)

    off = {"port_security_enabled": False, "security_groups": []}
    on = {"port_security_enabled": True, "security_groups": [shared]}
    after("off on eth1", "gateway-eth1", **off)
    after("on again, groups forgotten", "gateway-eth1", port_security_enabled=True)
    after("on again", "gateway-eth1", **on)
    after("off on eth0", "gateway-eth0", **off)
    after("on again on eth0", "gateway-eth0", **on)
    after("pair of a network", "gateway-eth1", allowed_address_pairs=[{"ip_address": "10.0.44.0/24"}])
    after("pair of one host", "gateway-eth1", allowed_address_pairs=[{"ip_address": "10.0.44.1/32"}])
    after("no pair", "gateway-eth1", allowed_address_pairs=[])

    own = {name: cloud.new_group(name) for name in ports}
    for name, group in own.items():
        cloud.change(name, security_groups=[group])
    seen["groups of their own"] = reached(lab)
    pair = [{"ip_address": "10.0.44.0/24"}]
    both = [own["gateway-eth1"], cloud.new_group("for app", ["10.0.43.15/32"])]
    after("own, pair", "gateway-eth1", allowed_address_pairs=pair)
    after("own, rule", "gateway-eth1", allowed_address_pairs=[], security_groups=both)
    after("own, pair and rule", "gateway-eth1", allowed_address_pairs=pair)
    after("own, neither", "gateway-eth1", allowed_address_pairs=[], security_groups=[own["gateway-eth1"]])
    for name in own:
        cloud.change(name, security_groups=[shared])
    seen["one group again"] = reached(lab)

    assert seen == {
        "one group": "ok ok - - -",
        "off on eth1": "ok ok ok ok -",
        "on again, groups forgotten": "- ok - - -",
        "on again": "ok ok - - -",
        "off on eth0": "ok ok - - ok",
        "on again on eth0": "ok ok - - -",
        "pair of a network": "ok ok ok ok ok",
        "pair of one host": "ok ok ok - ok",
        "no pair": "ok ok - - -",
        "groups of their own": "- ok - - -",
        "own, pair": "- ok - - -",
        "own, rule": "ok ok - - -",
        "own, pair and rule": "ok ok ok ok -",
        "own, neither": "- ok - - -",
        "one group again": "ok ok - - -",
    }


def test_a_crossing_opens_what_its_plan_says_and_nothing_else(
    lab_up: LabUp, run_on: RunOn, cloud_possible: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From each host to each address: before, while the crossing stands, and after; all of them try to cross."""
    lab = lab_up("seed-port-security")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(lab.clouds))
    run_on(lab, "bystander", "ip route add 10.0.44.0/24 via 10.0.43.101").check()
    run_on(lab, "target", "ip route add 10.0.43.0/24 via 10.0.44.63").check()
    bench, cloud, text = Bench(lab), Neutron(lab), spec_for(lab.topology, lab.name).rstrip()
    everything = [
        (one.name, str(address.ip))
        for one in lab.topology.hosts
        for other in lab.topology.hosts
        if other != one
        for interface in other.interfaces
        for address in interface.addresses
    ]

    def pairs() -> set[tuple[str, str]]:
        return answered(lab, everything)

    def opened_and_closed(how: str) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """What passes while the crossing stands and not before, and the other way round."""
        spec = parse(f"{text}\n    port-security: {how}\n", "crossnet.yaml")
        ports, hosts, before = cloud.settings(), bench.fingerprints(), pairs()
        bench.apply(spec)
        during = pairs()
        bench.undo(spec)
        assert pairs() == before
        assert cloud.settings() == ports
        assert bench.differences(hosts) == []
        return during - before, before - during

    needed = {("app", "10.0.44.1"), ("app", "10.0.44.63")}
    # What the plan warns of: all ports are in one group, and what one of them may send counts as a member of it.
    assert opened_and_closed("least") == (
        needed | {("bystander", "10.0.44.63"), ("target", "10.0.44.63")},
        set(),
    )
    # A port without port security takes anybody's packets, and is a member of no group that others admit.
    assert opened_and_closed("disable") == (
        needed | {("bystander", "10.0.44.63")},
        {("gateway", "10.0.43.15"), ("gateway", "10.0.43.99")},
    )
    for name in cloud.ports():
        cloud.change(name, security_groups=[cloud.new_group(name)])
    assert opened_and_closed("least") == (needed | {("app", "10.0.43.101")}, set())


def test_a_host_that_reboots_is_filtered_as_before(lab: Lab, run_on: RunOn) -> None:
    before = Neutron(lab).ports()["bystander-eth0"]
    asyncio.run(build.reboot(lab, "bystander"))
    after = Neutron(lab).ports()["bystander-eth0"]
    assert (after["id"], after["status"]) == (before["id"], "ACTIVE")
    assert after["revision_number"] > before["revision_number"]  # its port was down meanwhile
    assert run_on(lab, "bystander", "ping -n -c1 -W2 10.0.43.101").ok
    run_on(lab, "bystander", "ip address add 10.0.43.77/24 dev eth0").check()
    assert not run_on(lab, "bystander", "ping -n -c1 -W1 -I 10.0.43.77 10.0.43.101").ok
    asyncio.run(build.reboot(lab, "bystander"))


def answers(cloud: Neutron) -> bool:
    try:
        cloud.ports()
    except (URLError, OSError):
        return False
    return True


def test_it_leaves_nothing_behind(lab_up: LabUp, eventually: Eventually, cloud_possible: None) -> None:
    links = subprocess.run(["ip", "-br", "link"], check=True, capture_output=True, text=True).stdout
    lab = lab_up("seed-port-security")
    assert subprocess.run(["ip", "-br", "link"], check=True, capture_output=True, text=True).stdout == links
    cloud = Neutron(lab)
    assert answers(cloud)
    assert [
        pid for pid in processes(str(lab.folder)) if "serve.py" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
    asyncio.run(build.down(lab.name))
    assert not answers(cloud)
    assert not processes(str(lab.folder))
    assert not lab.folder.exists()


def test_a_crash_ends_its_server_too(lab_up: LabUp, eventually: Eventually, cloud_possible: None) -> None:
    lab = lab_up("seed-port-security")
    cloud = Neutron(lab)
    assert answers(cloud)
    os.kill(int((lab.folder / "supervisor.pid").read_text()), signal.SIGKILL)
    eventually(lambda: not processes(str(lab.folder)), "the server is dead")
    assert not answers(cloud)
    asyncio.run(build.down(lab.name))
    assert not lab.folder.exists()


def test_a_neutron_that_does_not_start_is_told_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lab_name: Callable[[], str], cloud_possible: None
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    python = install.program()
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho it is broken\nexit 1\n")
    python.chmod(0o755)
    (install.place() / "made").touch()
    name = lab_name()
    with pytest.raises(LabError, match=r"Neutron does not answer: (.|\n)*it is broken"):
        asyncio.run(build.up(load("seed-port-security"), name=name))
    assert name not in build.names()
    assert not processes(f"/{name}/")
