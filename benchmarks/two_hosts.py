"""One client and one gateway over SSH: how long an apply takes, against `ssh` by hand and against Ansible.

The promises are for hosts whose timers were tried before: then an apply takes less than three seconds, from
the start of the command to its end, the probe included, and at most half the time of a playbook. Another crossing
stands all the time, so that the hosts keep what they know; the crossing that is measured comes and goes.

The playbook is what is written by hand for the same: forwarding, rules and route, now and at the next boot, in seven
tasks. Pipelining is on, no facts are gathered, and each run makes its own connections, which it keeps for all tasks.
It looks at nothing, tries nothing and knows no way back.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys

from benchmarks.many_hosts import (
    BY_HAND,
    CONTROLLER,
    HOME,
    NO_ROUTE,
    NO_RULES,
    ROUTE,
    RULES,
    TARGET,
    TARGET_ADDRESS,
    Place,
    place_up,
    python,
)
from benchmarks.measure import Spread, bar, in_alternation, options, ratios, report

from crossnet.transport import PATH

PROMISE = 3.0  # seconds
OF_ANSIBLE = 0.5

FIRST, APPLY, UNDO = "crossnet apply, timers tried", "crossnet apply", "crossnet undo"
BY_SSH, ANSIBLE = "ssh by hand", "ansible-playbook"
GATEWAY, CLIENT = "gateway", "client-1"

STANDING = (
    "  standing: {from: client-1, via: gateway, to: 198.51.100.0/24, allow: icmp, probe: icmp/198.51.100.1}\n"
)


async def with_crossings(place: Place, *crossings: str) -> None:
    """Write the spec with these crossings besides what it says of the hosts."""
    spec = (await place.run(CONTROLLER, f"cat {HOME}/hosts.yaml")).text
    await place.run(
        CONTROLLER, f"cat > {HOME}/crossnet.yaml", stdin=spec + "crossings:\n" + "".join(crossings)
    )


UNIT = """\
[Unit]
Description={what}
Before=network-online.target
[Service]
Type=oneshot
ExecStart={command}
[Install]
WantedBy=multi-user.target
"""


def _indented(text: str) -> str:
    return text.replace("\n", "\n          ").rstrip(" ")


PLAYBOOK = f"""\
- hosts: gateway
  gather_facts: false
  tasks:
    - name: Forwarding at the next boot
      ansible.builtin.copy:
        dest: /etc/sysctl.d/90-byhand.conf
        content: "net.ipv4.ip_forward = 1\\n"
        mode: "0644"
    - name: Forwarding now
      ansible.builtin.command: sysctl -q -w net.ipv4.ip_forward=1
    - name: The rules
      ansible.builtin.copy:
        dest: /etc/byhand.nft
        mode: "0600"
        content: |
          {_indented(RULES)}
    - name: The rules now
      ansible.builtin.command: nft -f /etc/byhand.nft
    - name: The rules at the next boot
      ansible.builtin.copy:
        dest: /etc/systemd/system/multi-user.target.wants/byhand.service
        mode: "0644"
        content: |
          {_indented(UNIT.format(what="Rules", command="/usr/sbin/nft -f /etc/byhand.nft"))}
- hosts: client-1
  gather_facts: false
  tasks:
    - name: The route now
      ansible.builtin.command: {ROUTE}
    - name: The route at the next boot
      ansible.builtin.copy:
        dest: /etc/systemd/system/multi-user.target.wants/byhand.service
        mode: "0644"
        content: |
          {_indented(UNIT.format(what="Route", command=f"/usr/sbin/{ROUTE}"))}
"""
SETTINGS = (
    "LC_ALL=C.UTF-8 ANSIBLE_HOME=/tmp/ansible ANSIBLE_PIPELINING=1 ANSIBLE_SSH_TRANSFER_METHOD=piped "
    f"ANSIBLE_SSH_ARGS='-F {HOME}/.ssh/config -o ControlMaster=auto -o ControlPersist=10s' "
    "ANSIBLE_SSH_CONTROL_PATH_DIR=/tmp/cp-{number}"
)


async def by_ansible(place: Place, number: int) -> float:
    words = ("-i", "hosts.ini", "-e", f"ansible_python_interpreter={python()}", "playbook.yml")
    ran = await place.measured(
        *(python(), "-m", "ansible", "playbook", *words),
        environment=SETTINGS.replace("{number}", str(number)),
    )
    await place.check(reached=True)
    await place.run(GATEWAY, f"{NO_RULES}; rm /etc/byhand.nft /etc/sysctl.d/90-byhand.conf")
    await place.run(CLIENT, NO_ROUTE)
    for host in (GATEWAY, CLIENT):
        await place.run(host, "rm /etc/systemd/system/multi-user.target.wants/byhand.service")
    return ran.seconds


async def prepare_ansible(place: Place) -> None:
    hosts = "".join(f"{host} ansible_host={place.addresses[host]}\n" for host in (GATEWAY, CLIENT))
    await place.run(CONTROLLER, f"cat > {HOME}/hosts.ini", stdin=hosts)
    await place.run(CONTROLLER, f"cat > {HOME}/playbook.yml", stdin=PLAYBOOK)
    for host in (GATEWAY, CLIENT):
        await place.run(host, "mkdir -p /etc/sysctl.d /etc/systemd/system/multi-user.target.wants")


async def by_hand(place: Place) -> float:
    address = place.addresses[CLIENT]
    ran = await place.measured("sh", "-c", f'{BY_HAND}$SSH "$1" "{ROUTE}"', "sh", address)
    await place.check(reached=True)
    await place.run(GATEWAY, NO_RULES)
    await place.run(CLIENT, NO_ROUTE)
    return ran.seconds


async def measure(rounds: int) -> dict[str, list[float]]:
    ran: dict[str, list[float]] = {name: [] for name in (FIRST, APPLY, UNDO, BY_SSH, ANSIBLE)}
    async with place_up(clients=1) as place:
        whole = (await place.run(CONTROLLER, f"cat {HOME}/crossnet.yaml")).text
        hosts, _, crossing = whole.partition("crossings:\n")
        await place.run(CONTROLLER, f"cat > {HOME}/hosts.yaml", stdin=hosts)
        await place.crossnet("plan")  # compiles the modules
        await place.run(TARGET, "ip addr add 198.51.100.1/32 dev lo")
        await place.run(GATEWAY, f"ip route add 198.51.100.0/24 via {TARGET_ADDRESS}")
        await prepare_ansible(place)
        for name in in_alternation(rounds, (APPLY, BY_SSH, ANSIBLE)):
            if name == ANSIBLE:
                ran[ANSIBLE].append(await by_ansible(place, len(ran[ANSIBLE])))
                print(f"ansible-playbook: {ran[ANSIBLE][-1]:.2f} s", file=sys.stderr)
                continue
            if name == BY_SSH:
                ran[BY_SSH].append(await by_hand(place))
                continue
            await with_crossings(place, STANDING)
            ran[FIRST].append((await place.crossnet("apply", "--yes")).seconds)
            await with_crossings(place, STANDING, crossing)
            ran[APPLY].append((await place.crossnet("apply", "--yes")).seconds)
            await place.check(reached=True)
            ran[UNDO].append((await place.crossnet("undo", "--yes")).seconds)
            print(f"apply: {ran[APPLY][-1]:.2f} s", file=sys.stderr)
    return ran


def main() -> None:
    rounds = options(__doc__, rounds=11, quick=2).rounds
    if os.geteuid() != 0 or shutil.which("sshd", path=PATH) is None:
        raise SystemExit("two_hosts: needs root, and sshd (Debian, Ubuntu, EL: openssh-server)")
    ran = asyncio.run(measure(rounds))
    rows = [
        (
            name,
            Spread.of(seconds).show(2),
            Spread.of(ratios(seconds, ran[BY_SSH])).show(1),
            Spread.of(ratios(seconds, ran[ANSIBLE])).show(2),
        )
        for name, seconds in ran.items()
    ]
    bars = [
        bar(f"apply within {PROMISE:g} s", ran[APPLY], PROMISE),
        bar(f"apply in {OF_ANSIBLE:g} × {ANSIBLE}", ratios(ran[APPLY], ran[ANSIBLE]), OF_ANSIBLE),
    ]
    results = [{"what": name, "seconds": Spread.of(seconds).data()} for name, seconds in ran.items()]
    report(
        "two_hosts",
        ("a client and a gateway over SSH", "seconds", f"× {BY_SSH}", f"× {ANSIBLE}"),
        rows,
        {"rounds": rounds, "results": results, "bars": bars},
    )


if __name__ == "__main__":
    main()
