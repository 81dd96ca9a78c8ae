"""The one process that is a lab: it holds the networks, forks the hosts, and ends everything.

`python -m crossnet.lab.supervisor FOLDER DEPTH READY LIFELINE HOME`, started by crossnet.lab.build through
unshare(1) as process 1 of a pid namespace of its own: when it dies, even by SIGKILL, the kernel kills
every process of every host (pid_namespaces(7)), and with them go all other namespaces.

FOLDER holds `topology.json`. READY and LIFELINE are numbers of open files. To READY it writes one line
of JSON when the lab is up, or why it is not; when LIFELINE (-1: none) reaches its end, so does the lab. HOME is the
network namespace in which the lab's cloud is to be reached (-1: it has none).
A machine that reboots itself is booted again, one that is switched off stays off.

FOLDER/control takes one line of JSON per connection and gives one back:

    {"do": "down"}                     → nothing; the lab ends
    {"do": "reboot", "host": "app"}    → {}  once the host has booted again
                                       → {"error": "…"} when it cannot be done
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from crossnet.errors import LabError
from crossnet.lab import cgroups, files, machine, namespaces, node
from crossnet.lab.boot import freshen
from crossnet.lab.depth import Depth
from crossnet.lab.neutron.cloud import Cloud
from crossnet.lab.switch import Switch
from crossnet.lab.topology import Host, Topology, from_data

CONSOLE = "console.log"
CONTROL = "control"
DISKS = "disks"
PID = "supervisor.pid"
TOPOLOGY = "topology.json"

_PATIENCE = 2.0  # seconds for a client of the control socket to say what it wants


def host_folder(lab: Path, host: str) -> Path:
    return lab / "hosts" / host


def host_socket(lab: Path, host: str) -> Path:
    """Where process 1 of a lab host listens."""
    return host_folder(lab, host) / "socket"


class _Supervisor:
    def __init__(self, folder: Path, topology: Topology, depth: Depth, home: int) -> None:
        self._folder = folder
        self._topology = topology
        self._depth = depth
        self._home = home
        self._cloud: Cloud | None = None
        self._switches: dict[str, Switch] = {}
        self._pids: dict[str, int] = {}
        self._networks: dict[str, int] = {}

    def build(self) -> None:
        # Seen only in this process's mount namespace, so that it is gone with the lab, also after a crash;
        # and sync(1) of a host's files costs nothing.
        disks = self._folder / DISKS
        disks.mkdir()
        namespaces.mount_tmpfs(str(disks), 0o755)
        if self._topology.is_in_cloud:
            self._cloud = Cloud(self._folder, self._topology, self._home)
        for network in self._topology.networks:
            filtered = self._cloud if network.port_security else None
            self._switches[network.name] = filtered.switch(network) if filtered else Switch(network)
        for host in self._topology.hosts:
            host_folder(self._folder, host.name).mkdir(parents=True)
            if self._depth is Depth.MACHINE:
                machine.prepare(disks / host.name, host)
            else:
                files.prepare(disks / host.name, host.name)
        self._bring_up(self._topology.hosts)

    def reboot(self, name: str) -> None:
        """Pull the plug and switch the host on again: what it had in /run and in memory is gone."""
        host = self._topology.host(name)
        pid = self._pids.pop(name, None)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._unplug(name)
        self._bring_up((host,))

    def collect(self) -> None:
        """Note which hosts have died, and boot those again that wanted it."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
                for name in [name for name, pid in self._pids.items() if pid == ended[0]]:
                    del self._pids[name]
                    try:
                        self._unplug(name)
                        if os.waitstatus_to_exitcode(ended[1]) == machine.REBOOTED:
                            # Nobody waits for it; what goes wrong stands in its console.
                            host = self._topology.host(name)
                            self._plug_in((host,))
                            self._start(host, os.open(os.devnull, os.O_WRONLY))
                    except LabError as error:  # nobody asked: the host stays off, the others live on
                        sys.stderr.write(f"{name}: {error}\n")

    def end(self) -> None:
        """Kill all hosts and remove the lab's folder."""
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids.values():
            os.waitpid(pid, 0)
        self._pids.clear()
        if self._cloud is not None:
            self._cloud.end()
        disks = self._folder / DISKS
        if disks.is_mount():  # a place where something is mounted cannot be removed
            namespaces.unmount(str(disks))
        if self._depth is Depth.MACHINE:
            cgroups.remove(self._folder.name)
        files.remove(self._folder)

    def _unplug(self, name: str) -> None:
        for switch in self._switches.values():
            switch.unplug(name)
        network = self._networks.pop(name, None)
        if network is not None:
            os.close(network)
        self._tell_cloud()

    def _bring_up(self, hosts: tuple[Host, ...]) -> None:
        self._plug_in(hosts)
        # All hosts boot at the same time, then all are waited for.
        reports = {}
        for host in hosts:
            reports[host.name], report = os.pipe()
            self._start(host, report)
        problems = []
        for name, told in reports.items():
            with open(told, "rb") as file:
                said = file.read()
            if said != node.READY:
                problems.append(f"{name} did not boot: {said.decode(errors='replace') or 'it died'}")
        if problems:
            raise LabError("\n".join(problems))

    def _plug_in(self, hosts: tuple[Host, ...]) -> None:
        for host in hosts:
            self._networks[host.name] = network = namespaces.new_network()
            with namespaces.inside(network):
                freshen()
        for switch in self._switches.values():
            switch.plug(self._topology, [(host, self._networks[host.name]) for host in hosts])
        self._tell_cloud()

    def _tell_cloud(self) -> None:
        """Have the ports filtered as they are plugged now."""
        if self._cloud is not None:
            self._cloud.follow()

    def _start(self, host: Host, report: int) -> None:
        """Switch a host on; it reports to that file, which is closed here."""
        folder = host_folder(self._folder, host.name)
        disk = self._folder / DISKS / host.name
        if self._depth is Depth.LAB:
            files.switch_on(disk)
        place = host_socket(self._folder, host.name)
        place.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(place))
            listener.listen(512)
            with namespaces.inside(self._networks[host.name]):
                pid = namespaces.fork_as_init()
                if pid == 0:
                    if self._depth is Depth.MACHINE:
                        machine.live(host, disk, self._folder.name, folder / CONSOLE, listener, report)
                    node.live(host, disk, folder / CONSOLE, listener, report)
        os.close(report)
        self._pids[host.name] = pid

    def serve(self, lifeline: int, ready: int) -> None:
        """Do what is asked until told to end."""
        selector = selectors.DefaultSelector()
        heard, wake = socket.socketpair()
        wake.setblocking(False)
        heard.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        control.bind(str(self._folder / CONTROL))
        control.listen(64)
        selector.register(heard, selectors.EVENT_READ)
        selector.register(control, selectors.EVENT_READ)
        if lifeline >= 0:
            selector.register(lifeline, selectors.EVENT_READ)
        _tell(ready, {})
        while True:
            for key, _ in selector.select():
                if key.fileobj is heard:
                    if signal.SIGTERM in heard.recv(4096):
                        return
                    self.collect()
                elif key.fileobj is control:
                    if self._answer(control.accept()[0]):
                        return
                elif not os.read(lifeline, 1):
                    return

    def _answer(self, client: socket.socket) -> bool:
        """Do one request; True when the lab is to end."""
        with client, suppress(OSError, ValueError):
            client.settimeout(_PATIENCE)
            with client.makefile("rwb") as stream:
                request = json.loads(stream.readline())
                answer: dict[str, Any] = {}
                if request["do"] == "down":
                    return True
                try:
                    if request["do"] == "reboot":
                        self.reboot(request["host"])
                    if request["do"] == "switch":
                        self._switches[request["network"]].run(request["argv"])
                except LabError as error:
                    answer = {"error": str(error)}
                stream.write(json.dumps(answer).encode() + b"\n")
        return False


def _tell(ready: int, answer: dict[str, str]) -> None:
    os.write(ready, json.dumps(answer).encode() + b"\n")
    os.close(ready)


def main(folder: Path, depth: Depth, ready: int, lifeline: int, home: int) -> None:
    os.umask(0o022)
    # The machine's /proc is still the one that is mounted, so this is the number by which a person or
    # `crossnet lab down` can kill this process; os.getpid() is 1 here.
    (folder / PID).write_text(os.readlink("/proc/self"))
    topology = from_data(json.loads((folder / TOPOLOGY).read_text()), source=str(folder / TOPOLOGY))
    for number in (signal.SIGTERM, signal.SIGCHLD):
        # The loop reads them from the wake-up file; process 1 does not even get a signal without a handler.
        signal.signal(number, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # else the first collection in every host would write to, and so copy, all shared memory
    supervisor = _Supervisor(folder, topology, depth, home)
    try:
        supervisor.build()
        supervisor.serve(lifeline, ready)
    except BrokenPipeError:
        pass  # whoever asked for the lab is gone
    except LabError as error:
        _tell(ready, {"error": str(error)})
    finally:
        supervisor.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Depth(sys.argv[2]), *(int(number) for number in sys.argv[3:6]))
