"""No packet of an outsider passes the fence, whatever it is and whenever it is sent."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossnet.errors import RolledBack
from crossnet.lab.build import Lab
from crossnet.lab.topology import from_data
from crossnet.netfilter import Engine
from lab import packets
from lab.crossing import Bench

pytestmark = pytest.mark.lab

TOPOLOGY = {
    "name": "outsiders",
    "networks": {"management": {}, "business": {}, "third": {}},
    "hosts": {
        name: {
            "role": role,
            "interfaces": {
                interface: {"network": network, "addresses": [f"10.0.{net}.{n}/24", f"fd00:{net}::{n}/64"]}
                for interface, network, net, n in plugs
            },
        }
        for name, role, plugs in (
            ("app", "client", [("eth0", "management", 43, 15)]),
            ("second", "client", [("eth0", "management", 43, 16)]),
            ("neighbour", "bystander", [("eth0", "management", 43, 77)]),
            (
                "gateway",
                "gateway",
                [("eth1", "management", 43, 101), ("eth0", "business", 44, 63), ("eth2", "third", 45, 101)],
            ),
            ("target", "target", [("eth0", "business", 44, 1)]),
            ("stranger", "bystander", [("eth0", "business", 44, 77)]),
            ("outsider", "bystander", [("eth0", "third", 45, 5)]),
        )
    },
}
HOSTS = ("app", "second", "neighbour", "target", "stranger", "outsider")
# Who sends by which interface of the gateway, and the addresses that it may not pretend to have: on its own wire
# a client's (or a destination's) cannot be told from the real one's.
SENDERS = {"neighbour": ("eth1", (15, 16)), "stranger": ("eth0", (1,)), "outsider": ("eth2", ())}
LEAST = 10_000
PYTHON = os.path.realpath(
    sys.executable
)  # a virtual environment may lie where the lab has a folder of its own


def pairs(sender: str, family: int) -> Iterator[tuple[str, str, str, str]]:
    """Source and destination of each packet, and those of the live flow that an ICMP error tells of."""

    def at(net: int, number: int) -> str:
        return f"10.0.{net}.{number}" if family == 4 else f"fd00:{net}::{number}"

    app, target, seen = at(43, 15), at(44, 1), at(44, 63)
    net = {"neighbour": 43, "stranger": 44, "outsider": 45}[sender]
    own = at(net, {43: 77, 44: 77, 45: 5}[net])
    hidden = {at(net, number) for number in SENDERS[sender][1]}
    sources = [
        each for each in (own, at(43, 15), at(43, 16), at(43, 99), target, at(44, 99)) if each not in hidden
    ]
    for source, destination in itertools.product(
        sources, (app, at(43, 16), target, seen, at(45, 5), at(44, 77))
    ):
        if source != destination:
            for flow in ((app, target), (seen, target), (target, app), (target, seen)):
                yield (source, destination, *flow)


def plan(sender: str) -> list[tuple[str, ...]]:
    found = []
    for family in (4, 6):
        for source, destination, *flow in pairs(sender, family):
            told = [shape for shape in packets.SHAPES if shape in packets.ERRORS or flow == _first(family)]
            # The gateway itself answers an echo request to its own address, with what that carried.
            if destination in ("10.0.44.63", "fd00:44::63"):
                told = [shape for shape in told if shape != "echo"]
            found += [(shape, source, destination, *flow) for shape in told]
    return found


def _first(family: int) -> list[str]:
    return ["10.0.43.15", "10.0.44.1"] if family == 4 else ["fd00:43::15", "fd00:44::1"]


class Field:
    """The lab, with watchers on every host and senders on three of them."""

    def __init__(self, bench: Bench) -> None:
        self.b = bench
        program = Path(packets.__file__).read_bytes()
        for host in HOSTS:
            bench.check(host, "cat > /tmp/packets.py", stdin=program)
            for family, cidr in (("-4", "10.0.0.0/16"), ("-6", "fd00::/16")):
                net = {"app": 43, "second": 43, "neighbour": 43, "outsider": 45}.get(host, 44)
                number = {43: 101, 44: 63, 45: 101}[net]
                via = f"10.0.{net}.{number}" if family == "-4" else f"fd00:{net}::{number}"
                if host not in ("app", "second"):
                    bench.check(host, f"ip {family} route add {cidr} via {via}")

    def start(self, host: str, words: str, *, name: str) -> None:
        self.b.check(
            host,
            f"{PYTHON} /tmp/packets.py {words} >/tmp/{name}.said 2>&1 </dev/null & echo $! >/tmp/{name}.pid",
        )

    def stop(self, host: str, name: str) -> None:
        self.b.check(
            host, f"kill $(cat /tmp/{name}.pid); test ! -s /tmp/{name}.said || cat /tmp/{name}.said >&2"
        )

    def watch(self) -> None:
        for host in HOSTS:
            self.b.check(host, "rm -f /tmp/seen")
            self.start(host, "watch eth0 /tmp/seen", name="watch")
            self.b.check(host, "until [ -e /tmp/seen ]; do sleep 0.05; done")

    def arrived(self) -> dict[str, list[str]]:
        """What the watchers saw, and they end."""
        time.sleep(0.2)
        for host in HOSTS:
            self.stop(host, "watch")
        return {host: lines for host in HOSTS if (lines := self.b.check(host, "cat /tmp/seen").splitlines())}

    def send(self) -> None:
        for host, (interface, _) in SENDERS.items():
            mac = self.b.check("gateway", f"cat /sys/class/net/{interface}/address").strip()
            self.b.check(host, "rm -f /tmp/sent; cat > /tmp/plan.json", stdin=json.dumps(plan(host)).encode())
            self.start(host, f"send eth0 {mac} /tmp/plan.json /tmp/sent", name="send")

    def until_all_are_sent(self) -> None:
        """Each packet of each plan once more."""
        for host in SENDERS:
            count = "$(cat /tmp/sent 2>/dev/null || echo 0)"
            self.b.check(
                host,
                f"wanted=$(({count} + {len(plan(host))})); until [ {count} -ge $wanted ]; do "
                "kill -0 $(cat /tmp/send.pid) || exit; sleep 0.1; done",
            )

    def until_the_flow_lives(self, port: str = "[0-9]*") -> None:
        """The client's, in both families, with answers that come back to this port of the gateway."""
        for family, (app, target) in (("ipv4", _first(4)), ("ipv6", _first(6))):
            way = f"src={app} dst={target} .*src={target} .*dport={port} .*ASSURED"
            listed = f"conntrack -L -f {family} -p udp 2>/dev/null | grep -q '{way}'"
            self.b.check("gateway", f"for _ in $(seq 200); do {listed} && exit; sleep 0.05; done; exit 1")

    def sent(self) -> dict[str, int]:
        """How many each has sent, and they end."""
        for host in SENDERS:
            self.stop(host, "send")
        return {host: int(self.b.check(host, "cat /tmp/sent")) for host in SENDERS}

    def reached(self) -> dict[str, int]:
        """The packets that came in by each interface of the gateway."""
        return {
            host: int(self.b.check("gateway", f"cat /sys/class/net/{interface}/statistics/rx_packets"))
            for host, (interface, _) in SENDERS.items()
        }


@pytest.mark.parametrize(
    ("engine", "rp_filter"), [(Engine.NFTABLES, 0), (Engine.IPTABLES_NFT, 0), (Engine.IPTABLES_LEGACY, 2)]
)
def test_no_packet_of_an_outsider_arrives(
    lab_up: Callable[..., Lab], engine: Engine, rp_filter: int, record_property: Callable[[str, object], None]
) -> None:
    b = Bench(lab_up(from_data(TOPOLOGY, source="outsiders")), ("app", "second", "gateway"))
    field = Field(b)
    for name in ("all", "eth0", "eth1", "eth2"):
        b.check("gateway", f"sysctl -q -w net.ipv4.conf.{name}.rp_filter={rp_filter}")
    if engine.is_iptables:
        variant = engine.removeprefix("iptables")
        b.check("gateway", f"iptables{variant} -w -A OUTPUT -d 192.0.2.77 -j ACCEPT")
        b.check("gateway", f"ip6tables{variant} -w -A OUTPUT -d 2001:db8::77 -j ACCEPT")
    for family, (app, target) in (("v4", _first(4)), ("v6", _first(6))):
        field.start("app", f"live {app} {target}", name=f"live-{family}")
        field.start("target", f"echo {target}", name=f"echo-{family}")

    # Without a fence they arrive: at every host that the three can reach, and each shape at the target.
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    field.watch()
    field.send()
    field.until_all_are_sent()
    field.until_all_are_sent()  # the first ones may wait in vain for the next hop's address
    field.sent()
    control = field.arrived()
    assert set(control) == set(HOSTS)
    shapes = {tuple(line.split()[:2]) for line in control["target"]}
    assert shapes == set(itertools.product(packets.SHAPES, ("4", "6")))
    b.check(
        "gateway",
        "sysctl -q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0; conntrack -F 2>/dev/null",
    )

    words = f"via: gateway, firewall: {'iptables' if engine.is_iptables else 'nftables'}, fence: on"
    to = "10.0.44.0/26, 'fd00:44::/123'"

    def crossing(clients: str = "app", more: str = "", where: str = to) -> str:
        return f"crossings:\n  business: {{from: [{clients}], to: [{where}], {words}{more}}}\n"

    first = b.spec(crossing())
    # It stands before they fire: one of their packets may take its port, and then they would miss it.
    assert b.apply(first).confirmed
    field.until_the_flow_lives("5514")
    before = field.reached()
    field.watch()
    field.send()
    field.until_all_are_sent()
    for what, spec in (
        ("change", b.spec(crossing("app, second", ", allow: [icmp, tcp, udp]"))),
        ("shrink", first),
        ("undo", None),
        ("apply", first),
    ):
        applied = b.apply(spec) if spec else b.undo(first)
        assert applied.confirmed, what
        if spec:
            assert {table.engine for _, table in applied.plan.tables} == {engine}
            assert b.pings("app", "10.0.44.1")
            assert b.pings("app", "fd00:44::1")
            field.until_the_flow_lives()
    with pytest.raises(RolledBack):
        b.apply(b.spec(crossing("app, second", ", probe: icmp/10.0.44.9")))
    assert b.undo(first).confirmed
    field.until_all_are_sent()
    sent = field.sent()
    arrived = field.arrived()

    assert arrived == {}
    for host, number in sent.items():
        assert field.reached()[host] - before[host] >= number
    record_property("packets", sum(sent.values()))
    sys.stdout.write(f"{engine}: {sum(sent.values())} packets of outsiders sent {sent}, 0 arrived\n")
    assert sum(sent.values()) >= LEAST
