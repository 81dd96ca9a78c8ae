"""What a diagnosis offers for a flow that no crossing carries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet import template
from crossnet.api import Asked
from crossnet.api.offering import need_of, offering
from crossnet.specfile import parse
from crossnet.values import Protocol, address
from crossnet.verdict import Also, Diagnosis, Fix, Half, Result

GATEWAY = "ops@10.0.43.101"
ECHO = Asked(client="root@10.0.43.15", via=(GATEWAY,), to=address("10.0.44.1"))


def test_a_port_that_is_named_is_all_that_is_let_through() -> None:
    asked = Asked(None, "root@10.0.43.15", (GATEWAY,), address("10.0.44.1"), Protocol.TCP, 443)
    need = need_of(asked, become=True)
    assert need is not None
    assert need.connect() == [
        *("crossnet", "connect", "root@10.0.43.15", "--via", GATEWAY, "--to", "10.0.44.1"),
        *("--allow", "tcp/443", "--probe", "tcp/10.0.44.1:443", "--become"),
    ]


@pytest.mark.parametrize(
    ("client", "ssh"),
    [("10.0.43.15", "ssh://10.0.43.15"), ("fd00:43::15", "ssh://[fd00:43::15]"), ("app", "app")],
)
def test_whoever_is_asked_is_a_managed_client(client: str, ssh: str) -> None:
    """To `connect` a bare address is a client whose owner adds the route."""
    need = need_of(Asked(client=client, via=(GATEWAY,), to=address("10.0.44.1")))
    assert need is not None
    spec = parse(template.alone(need), "")
    (crossing,) = spec.crossings
    (name,) = crossing.clients
    assert isinstance(name, str)
    assert spec.host(name).ssh == ssh


@pytest.mark.parametrize("via", [(), (GATEWAY, "root@10.0.44.2")])
def test_a_crossing_has_one_gateway(via: tuple[str, ...]) -> None:
    assert need_of(Asked(client="root@10.0.43.15", via=via, to=address("10.0.44.1"))) is None


def test_hosts_that_ssh_does_not_reach_get_one_too() -> None:
    need = need_of(Asked(client="lab:app", via=("netns:gw",), to=address("10.0.44.1")))
    assert need is not None
    assert need.connect()[:5] == ["crossnet", "connect", "lab:app", "--via", "netns:gw"]
    spec = parse(template.alone(need), "")
    assert [(host.lab, host.netns) for host in spec.hosts] == [("app", None), (None, "gw")]


def test_hosts_of_a_spec_get_none_beside_it() -> None:
    need = need_of(ECHO)
    assert need is not None
    spec = parse(template.alone(need), "")
    assert need_of(ECHO, spec) is not None, "it names them otherwise"
    named = Asked(client="app", via=("gateway",), to=address("10.0.44.1"))
    text = "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
    crossing = "crossings: {one: {from: app, via: gateway, to: 10.0.44.0/24}}\n"
    assert need_of(named, parse(text + crossing, "")) is None


@pytest.mark.parametrize("via", [(GATEWAY,), ()])
def test_where_there_is_no_spec_to_apply_what_makes_one_is_offered(via: tuple[str, ...]) -> None:
    need = need_of(replace(ECHO, via=via))
    forwarding = Fix("gateway", ("sysctl -w net.ipv4.ip_forward=1",), "crossnet apply")
    by_hand = Fix("gateway", ("iptables -I FORWARD 1 -j ACCEPT",))
    stops = Half("dropped", "ip-forward-disabled", fix=(forwarding,))
    also = Also("forward", None, "filter-rule-drop", "", (by_hand,))
    found = Diagnosis(None, "app", None, None, Result.UNREACHABLE, stops, Half("not-sent"), (also,))
    told = offering(found, need)
    (fix,) = told.forward.fix
    assert (fix.commands, fix.by_crossnet is None) == (forwarding.commands, not via)
    assert (fix.by_crossnet or "crossnet connect").startswith("crossnet connect")
    assert told.also == (also,)
