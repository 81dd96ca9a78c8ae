"""What heals: many routes at once, by what each version of `ip` lists; and what a plan says of it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

import pytest

from crossnet.facts import FileState
from crossnet.facts.routes import Route
from crossnet.persistence import heal
from crossnet.record import HEALED
from crossnet.resources import RouteResource
from crossnet.values import address, network
from export.plans import applied, plan_on

HERE = "10.0.43.101"


def route(to: str, via: str = HERE, **more: object) -> RouteResource:
    """A route as crossnet makes one."""
    fields = {"metric": 1024 if ":" in to else 0, "protocol": "143", "device": "eth0", **more}
    return RouteResource(Route(network(to), via=address(via), **fields))  # type: ignore[arg-type]


def lacking(items: Sequence[RouteResource], said: str) -> list[str]:
    """What is told of them to whoever asks, where `ip` says this; with an `ip` that says nothing it ends with 2."""
    listed = [each for item in items if (each := item.listed()) is not None]
    assert len(listed) == len(items)
    (test,) = {each.test for each in listed}
    answer = f"printf '%s\\n' {shlex.quote(said)}" if said != "fails" else "return 1"
    text = f"ip() {{ {answer}; }}\n{''.join(test.functions)}\n{test.line}"
    lines = "".join(f"{each.line}\n" for each in listed)
    done = subprocess.run(["sh", "-c", text], input=lines, capture_output=True, text=True, timeout=10)
    assert done.stderr == ""
    return done.stdout.splitlines() if done.returncode == 0 else [f"exit {done.returncode}"]


@pytest.mark.parametrize(
    "said",
    [
        "10.0.44.0/24 via 10.0.43.101 dev eth0 ",
        "10.0.44.0/24 via 10.0.43.101 dev eth0  proto 143 ",
        "10.0.44.0/24 via 10.0.43.101 dev eth0  src 10.0.43.15 ",
        "10.0.44.0/24 nhid 7 via 10.0.43.101 dev eth0 proto 143 src 10.0.43.15 mtu 1400",
        "10.0.44.0/24 via 10.0.43.101 dev eth0 linkdown",
        "default via 10.0.43.1 dev eth0\n10.0.44.0/24 via 10.0.43.101 dev eth0 onlink\n10.0.45.0/24 dev eth1",
    ],
)
def test_a_route_is_found_however_ip_lists_it(said: str) -> None:
    assert lacking([route("10.0.44.0/24")], said) == []


@pytest.mark.parametrize(
    "said",
    [
        "",
        "10.0.44.0/24 via 10.0.43.102 dev eth0",
        "10.0.44.0/24 via 10.0.43.101 dev eth1",
        "10.0.44.0/24 via 10.0.43.101 dev eth0 metric 100",
        "10.0.44.0/25 via 10.0.43.101 dev eth0",
        "unreachable 10.0.44.0/24",
        "110.0.44.0/24 via 10.0.43.101 dev eth0",
    ],
)
def test_another_route_is_not_it(said: str) -> None:
    assert lacking([route("10.0.44.0/24")], said) == ["10.0.44.0/24 via 10.0.43.101 dev eth0"]


def test_of_many_those_that_are_gone_are_told() -> None:
    many = [route("10.0.44.7/32"), route("0.0.0.0/0"), route("10.1.0.0/16", source=address("10.0.43.15"))]
    said = "10.0.44.7 via 10.0.43.101 dev eth0\ndefault via 10.0.43.101 dev eth0 src 10.0.43.77"
    assert lacking(many, said) == ["10.1.0.0/16 via 10.0.43.101 dev eth0 src 10.0.43.15"]
    six = [route("fd00:44::/64", "fd00:43::101"), route("fd00:45::1/128", "fd00:43::101")]
    said = "fd00:44::/64 via fd00:43::101 dev eth0 metric 1024 pref medium"
    assert lacking(six, said) == ["fd00:45::1 via fd00:43::101 dev eth0 metric 1024"]


def test_an_ip_that_fails_has_said_nothing() -> None:
    assert lacking([route("10.0.44.0/24")], "fails") == ["exit 2"]


def test_thousands_of_routes_are_one_question() -> None:
    """And the script holds each twice: once to be found, once to be made."""
    text = heal.script([route(f"10.{n // 256}.{n % 256}.0/24") for n in range(2000)], [], [], "").data
    assert text.count(b"ip -4 route") < 10
    assert len(text) < 250_000
    assert subprocess.run(["sh", "-n"], input=text).returncode == 0


@pytest.mark.parametrize(("last", "told"), [("gave-up", True), ("brought-back", False)])
def test_a_plan_says_that_healing_had_given_up(last: str, told: bool) -> None:
    heals = "business: {from: app, via: gateway, to: 10.0.44.0/24, heal: auto}"
    hosts = applied(heals)
    notes = f"1\tgave-up\ttable crossnet\n2\tbrought-back\troute\n3\t{last}\ttable crossnet\n"
    hosts["gateway"].files[HEALED] = FileState(notes.encode(), 0o600, "0:0")
    said = {each.where: each.text for each in plan_on(hosts, heals).impacts if each.code == "heals"}
    assert ("it had given up" in said["gateway"]) is told
    assert "it had given up" not in said["app"]
