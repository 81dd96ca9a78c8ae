"""Labs come up, are real hosts of their own, and leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from crossnet.errors import HostError, LabError
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.lab.supervisor import TOPOLOGY
from crossnet.lab.topology import Host, Interface, Network, Route, Topology, load
from crossnet.transport import Completed
from crossnet.transport.lab import LabHost
from crossnet.values import address, network

pytestmark = pytest.mark.lab

LabUp = Callable[..., Lab]
RunOn = Callable[..., Completed]
Eventually = Callable[..., None]


def processes(needle: str) -> list[int]:
    """Processes whose command line has the text; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if needle.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def processes_in(namespace: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if os.readlink(entry / "ns" / "net") == namespace:
                    found.append(int(entry.name))
    return found


def test_the_seed_is_the_table_of_the_product(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up("seed")
    addresses = {
        (host, link["ifname"], f"{address['local']}/{address['prefixlen']}")
        for host in lab.hosts
        for link in json.loads(run_on(lab, host, ["ip", "-j", "-4", "address"]).check().stdout)
        if link["ifname"] != "lo"
        for address in link["addr_info"]
    }
    assert addresses == {
        ("app", "eth0", "10.0.43.15/24"),
        ("gateway", "eth1", "10.0.43.101/24"),
        ("gateway", "eth0", "10.0.44.63/24"),
        ("target", "eth0", "10.0.44.1/24"),
    }
    defaults = {
        host: [route["gateway"] for route in json.loads(run_on(lab, host, "ip -j route show default").text)]
        for host in lab.hosts
    }
    assert defaults == {"app": ["10.0.43.1"], "gateway": ["10.0.44.254"], "target": []}
    assert run_on(lab, "gateway", ["cat", "/proc/sys/net/ipv4/ip_forward"]).text == "0\n"


def test_neighbours_answer_and_nobody_crosses(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up("seed")
    assert run_on(lab, "app", "ping -c1 -W2 10.0.43.101").ok
    assert run_on(lab, "gateway", "ping -c1 -W2 10.0.44.1").ok
    assert not run_on(lab, "app", "ping -c1 -W1 10.0.44.1").ok


def test_ipv6_is_usable_at_once(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up("seed-v6")
    assert run_on(lab, "app", "ping -c1 -W2 fd00:43::101").ok
    assert run_on(lab, "gateway", "ping -c1 -W2 fd00:44::1").ok
    assert "tentative" not in run_on(lab, "app", "ip -6 address").text


def test_a_crossing_made_by_hand_works(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up("seed")
    run_on(lab, "app", "ip route add 10.0.44.0/24 via 10.0.43.101").check()
    run_on(
        lab,
        "gateway",
        "sysctl -qw net.ipv4.ip_forward=1 && nft -f -",
        stdin=b"""table ip t { chain c { type nat hook postrouting priority srcnat;
            ip daddr 10.0.44.0/24 oifname "eth0" counter snat to 10.0.44.63;
            }
        }""",
    ).check()
    assert run_on(lab, "app", "ping -c1 -W2 10.0.44.1").ok


def test_files_names_and_settings_are_the_hosts_own(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up("seed")
    name = f"crossnet-{lab.name}"
    machine = {key: Path(f"/proc/sys/{key}").read_text() for key in ("net/ipv4/ip_forward", "fs/file-max")}
    for folder in ("/etc", "/run", "/var/lib", "/tmp", "/dev/shm"):
        run_on(lab, "app", ["touch", f"{folder}/{name}"]).check()
        assert not Path(folder, name).exists()
        assert not run_on(lab, "gateway", ["test", "-e", f"{folder}/{name}"]).ok
    assert not run_on(lab, "app", ["touch", f"/usr/{name}"]).ok
    assert run_on(lab, "app", ["hostname"]).text == "app\n"
    run_on(lab, "gateway", "echo 1 > /proc/sys/net/ipv4/ip_forward").check()
    assert run_on(lab, "app", ["cat", "/proc/sys/net/ipv4/ip_forward"]).text == "0\n"
    assert not run_on(lab, "app", f"echo {machine['fs/file-max'].strip()} > /proc/sys/fs/file-max").ok
    assert not run_on(lab, "app", "echo h > /proc/sysrq-trigger").ok
    assert not run_on(lab, "app", "echo x > /proc/sys/kernel/random/boot_id").ok
    assert machine == {key: Path(f"/proc/sys/{key}").read_text() for key in machine}
    boot_ids = {run_on(lab, host, "cat /proc/sys/kernel/random/boot_id").check().text for host in lab.hosts}
    assert len(boot_ids | {Path("/proc/sys/kernel/random/boot_id").read_text()}) == 4
    assert run_on(lab, "app", "ls /sys/class/net").text.split() == ["eth0", "lo"]


def test_a_host_sees_only_its_own_processes(lab_up: LabUp, run_on: RunOn, eventually: Eventually) -> None:
    lab = lab_up("seed")
    pids = run_on(lab, "app", "ls /proc").check().text.split()
    assert len([pid for pid in pids if pid.isdigit()]) <= 3  # the init, sh, ls
    assert run_on(lab, "app", ["ls", "/proc/self/fd"]).text.split() == ["0", "1", "2", "3"]
    # Nothing of earlier commands, of the supervisor or of its lock; the command's own are closed soon.
    eventually(
        lambda: not re.search("pipe:|lock", run_on(lab, "app", "ls -l /proc/1/fd").text), "nothing is kept"
    )


def test_two_labs_at_once_are_strangers(lab_up: LabUp, run_on: RunOn) -> None:
    one, other = lab_up("seed"), lab_up("seed")
    run_on(one, "app", "ip address add 10.0.43.77/24 dev eth0").check()
    assert run_on(one, "gateway", "ping -c1 -W2 10.0.43.77").ok
    assert not run_on(other, "gateway", "ping -c1 -W1 10.0.43.77").ok
    assert {one, other} <= set(build.running())


def test_a_lab_of_another_version_hides_no_others(lab_up: LabUp) -> None:
    one, other = lab_up("seed"), lab_up("seed")
    topology = one.folder / TOPOLOGY
    topology.write_text(json.dumps({**json.loads(topology.read_text()), "of-a-later-version": True}))
    assert other in build.running()
    assert one.name in build.names()


def test_a_name_that_is_taken_is_refused(lab_up: LabUp, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_up("seed")
    monkeypatch.setenv("CROSSNET_LAB", lab.name)
    with pytest.raises(LabError, match=r"is up already(.|\n)*--name(.|\n)*CROSSNET_LAB"):
        asyncio.run(build.up(load("seed")))
    assert lab in build.running()


def test_of_two_that_want_one_name_at_once_one_gets_it(
    lab_possible: None, lab_name: Callable[[], str]
) -> None:
    name = lab_name()

    async def race() -> list[Lab | BaseException]:
        tries = (build.up(load("seed"), name=name, lifeline=True) for _ in range(3))
        return await asyncio.gather(*tries, return_exceptions=True)

    results = asyncio.run(race())
    assert sorted(type(result).__name__ for result in results) == ["Lab", "LabError", "LabError"]
    asyncio.run(build.down(name))


def test_down_leaves_nothing(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up("seed")
    run_on(lab, "app", "setsid sleep 1000 >/dev/null 2>&1 &").check()
    namespaces = [run_on(lab, host, "readlink /proc/self/ns/net").text.strip() for host in lab.hosts]
    assert processes(str(lab.folder))
    asyncio.run(build.down(lab.name))
    assert not lab.folder.exists()
    assert not list(lab.folder.parent.glob(f".{lab.name}.*"))
    assert not processes(str(lab.folder))
    assert not any(processes_in(namespace) for namespace in namespaces)
    with pytest.raises(LabError, match="no lab"):
        asyncio.run(build.down(lab.name))
    with pytest.raises(HostError, match="crossnet lab up"):
        run_on(lab, "app", "true")


def test_a_crash_kills_the_hosts_and_is_cleaned_up(
    lab_up: LabUp, run_on: RunOn, eventually: Eventually
) -> None:
    lab = lab_up("seed")
    run_on(lab, "app", "setsid sleep 1000 >/dev/null 2>&1 &").check()
    namespaces = [run_on(lab, host, "readlink /proc/self/ns/net").text.strip() for host in lab.hosts]
    os.kill(int((lab.folder / "supervisor.pid").read_text()), signal.SIGKILL)
    eventually(lambda: not any(processes_in(n) for n in namespaces), "the hosts are dead")
    eventually(lambda: lab not in build.running(), "the lab is not listed any more")
    assert lab.folder.exists()
    asyncio.run(build.down(lab.name))
    assert not lab.folder.exists()


def test_a_crashed_lab_is_replaced(lab_up: LabUp, run_on: RunOn, eventually: Eventually) -> None:
    lab = lab_up("seed")
    run_on(lab, "app", "touch /etc/old").check()
    os.kill(int((lab.folder / "supervisor.pid").read_text()), signal.SIGKILL)
    eventually(lambda: not processes(str(lab.folder)), "the supervisor is dead")
    again = lab_up("seed", name=lab.name)
    assert not run_on(again, "app", "test -e /etc/old").ok


def test_a_lab_on_a_lifeline_ends_with_its_process(
    lab_possible: None, lab_name: Callable[[], str], eventually: Eventually
) -> None:
    name = lab_name()
    program = f"""
import asyncio, signal
from crossnet.lab import build, topology
print(asyncio.run(build.up(topology.load("seed"), name={name!r}, lifeline=True)).folder, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        assert (folder / "supervisor.pid").exists()
        child.kill()
    eventually(lambda: not folder.exists() and not processes(str(folder)), "the lab is gone")


def test_a_lab_without_lifeline_outlives_its_process(
    lab_possible: None, lab_name: Callable[[], str], run_on: RunOn
) -> None:
    name = lab_name()
    program = f"""
import asyncio
from crossnet.lab import build, topology
asyncio.run(build.up(topology.load("seed"), name={name!r}))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    try:
        (lab,) = [lab for lab in build.running() if lab.name == name]
        assert lab.topology == load("seed")
        assert run_on(lab, "app", "true").ok
    finally:
        asyncio.run(build.down(name))


def test_an_impossible_lab_says_why_and_leaves_nothing(
    lab_possible: None, lab_name: Callable[[], str]
) -> None:
    name = lab_name()
    plain = Interface("eth0", "lan")
    unreachable = Route(network("10.9.0.0/24"), address("10.8.0.1"))
    for host, said in (
        (Host("a", interfaces=(plain,), boot=("exit 7",)), "`exit 7` ended with 7"),
        (Host("a", interfaces=(plain,), sysctls=(("net.ipv4.no_such", "1"),)), "net.ipv4.no_such"),
        (
            Host("a", interfaces=(plain,), routes=(unreachable,)),
            "`ip route add 10.9.0.0/24 via 10.8.0.1` fail",
        ),
    ):
        with pytest.raises(LabError, match=said):
            asyncio.run(build.up(Topology("bad", "", (Network("lan"),), (host,)), name=name))
        assert not [lab for lab in build.running() if lab.name == name]
        assert not processes(f"/{name}\0")


@pytest.mark.parametrize(
    ("disk", "said"),
    [("ro", "Read-only file system"), ("nr_inodes=1", "No space left on device")],
)
def test_a_lab_that_cannot_be_kept_anywhere_says_where_and_why(
    lab_possible: None, disk: str, said: str
) -> None:
    apart = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    script = 'mount -t tmpfs -o "$1" none /run && exec "$0" -m crossnet lab up seed'
    done = subprocess.run([*apart, script, sys.executable, disk], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines() == [
        f"crossnet: /run/crossnet, where this lab was to be kept: {said}",
        "  See whether the disk is full or read-only there, and to whom the folders above it belong.",
    ]


def test_it_is_known_when_no_more_machines_fit(lab_possible: None) -> None:
    """Systemd watches files with inotify, and a user has so many instances of that; here it is a user of three."""
    limited = ("unshare", "--user", "--map-root-user", "sh", "-c")
    script = 'echo 3 >/proc/sys/user/max_inotify_instances && exec "$0" -c "$1"'
    asks = "from crossnet.lab.namespaces import has_inotify_instances as has; print(has(3), has(4), has(3))"
    said = subprocess.run([*limited, script, sys.executable, asks], capture_output=True, text=True)
    assert said.stdout == "True False True\n", said.stderr


def test_given_up_while_it_is_built(
    lab_possible: None, lab_name: Callable[[], str], eventually: Eventually
) -> None:
    name = lab_name()
    slow = Topology("slow", "", (), (Host("a", boot=("sleep 0.5",)),))

    async def give_up() -> None:
        task = asyncio.create_task(build.up(slow, name=name))
        await asyncio.to_thread(eventually, lambda: bool(processes(f"/{name}\0")), "it is being built")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert not processes(f"/{name}\0")
    with pytest.raises(LabError, match="no lab"):
        asyncio.run(build.down(name))


def test_a_reboot_keeps_etc_and_forgets_the_rest(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up("seed")
    unit = """[Service]
Type=oneshot
ExecStart=-/no/such/program
ExecStart=/bin/sh -c 'echo "a b" > /run/marked; ip -o route > /run/routes'
"""
    run_on(lab, "gateway", "cat > /etc/systemd/system/mark.service", stdin=unit.encode()).check()
    run_on(
        lab,
        "gateway",
        """ln -s ../mark.service /etc/systemd/system/multi-user.target.wants/
        printf '%s\\n' '# on' 'net.ipv4.ip_forward = 1' '-net/ipv4/no_such=1' 'fs.file-max = 1' \
            > /etc/sysctl.d/99-zz-crossnet.conf
        touch /var/lib/kept /run/lost /tmp/lost
        ip route add 192.0.2.0/24 via 10.0.44.1
        nft add table ip lost""",
    ).check()
    before = run_on(lab, "gateway", "cat /proc/sys/kernel/random/boot_id; cat /sys/class/net/eth0/address")
    assert run_on(lab, "app", "ping -c1 -W2 10.0.43.101").ok
    asyncio.run(build.reboot(lab, "gateway"))
    after = run_on(lab, "gateway", "cat /proc/sys/kernel/random/boot_id; cat /sys/class/net/eth0/address")
    assert after.text.split()[0] != before.text.split()[0]
    assert after.text.split()[1] == before.text.split()[1]
    assert run_on(lab, "gateway", "test -e /var/lib/kept").ok
    assert run_on(lab, "gateway", "ls /tmp; nft list ruleset; ip route show 192.0.2.0/24").text == ""
    assert run_on(lab, "gateway", "cat /run/marked").text == "a b\n"
    assert "10.0.44.254" in run_on(lab, "gateway", "cat /run/routes").text
    assert not run_on(lab, "gateway", "test -e /run/lost").ok
    assert run_on(lab, "gateway", "cat /proc/sys/net/ipv4/ip_forward").text == "1\n"
    assert run_on(lab, "app", "ping -c1 -W2 10.0.43.101").ok  # with the old neighbour entry
    console = (lab.folder / "hosts" / "gateway" / "console.log").read_text()
    assert "/no/such/program" in console


def test_an_mtu_is_the_networks_or_the_interfaces(lab_up: LabUp, run_on: RunOn) -> None:
    lan = Network("lan", mtu=1400)
    one = Host("one", interfaces=(Interface("eth0", "lan"),))
    two = Host("two", interfaces=(Interface("eth0", "lan", mtu=1300),))
    lab = lab_up(Topology("mtu", "", (lan,), (one, two)))
    assert run_on(lab, "one", "cat /sys/class/net/eth0/mtu").text == "1400\n"
    assert run_on(lab, "two", "cat /sys/class/net/eth0/mtu").text == "1300\n"


def test_finding_a_host(lab_up: LabUp, lab_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CROSSNET_LAB", raising=False)
    host = lab_name()
    topology = Topology("one", "", (), (Host(host),))
    with pytest.raises(LabError, match="crossnet lab up seed"):
        build.find(host)
    one = lab_up(topology)
    assert build.find(host).lab == one
    other = lab_up(topology)
    with pytest.raises(LabError, match=f"lab: {one.name}/{host}\n(.|\n)*lab: {other.name}/{host}"):
        build.find(host)
    assert build.find(f"{other.name}/{host}").socket == other.socket(host)
    assert build.find(host, one.name).lab == one
    monkeypatch.setenv("CROSSNET_LAB", other.name)
    assert build.find(host).lab == other
    with pytest.raises(LabError, match="has no host 'nobody'"):
        build.find("nobody")
    monkeypatch.setenv("CROSSNET_LAB", "no-such-lab")
    with pytest.raises(LabError, match="no lab 'no-such-lab'"):
        build.find(host)


if os.geteuid() != 0:  # root has one place for its labs, which nobody else can make

    def test_a_lab_file_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        runtime = tmp_path / "runtime"
        (runtime / "crossnet" / "lab").mkdir(parents=True)
        (runtime / "crossnet" / "lab").chmod(0o755)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        with pytest.raises(LabError, match="chmod 700"):
            asyncio.run(build.up(load("seed"), name="x"))


def test_networks_of_a_route(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up("third-interface")
    assert run_on(lab, "outsider", "ping -c1 -W2 10.0.45.101").ok
    assert network("10.0.44.0/24") not in [r.destination for h in lab.topology.hosts for r in h.routes]


def test_many_commands_at_once(lab_up: LabUp) -> None:
    lab = lab_up("seed")

    async def many() -> list[Completed]:
        hosts = [LabHost(name, lab.socket(name)) for name in lab.hosts]
        return await asyncio.gather(*(hosts[n % 3].run(["echo", str(n)]) for n in range(90)))

    assert [answer.text for answer in asyncio.run(many())] == [f"{n}\n" for n in range(90)]
