"""What `crossnet init` writes is a spec: it loads, explains every key, and no input can break it."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet import specfile, template
from crossnet.errors import SpecError
from crossnet.spec import Crossing, HostSpec, SnatTo, Spec
from crossnet.specfile import naming, schema
from crossnet.values import Family, Ports, Probe, Protocol, Traffic, address, network

OPTIONAL = [line for line in template.blank().splitlines() if re.match(r" +# [a-z-]+: ", line)]


def complete(clients: list[str], via: str, to: list[str], **how: Any) -> Spec:
    return specfile.parse(
        template.complete(template.Need(tuple(clients), via, tuple(to), **how)), "crossnet.yaml"
    )


def refusal(clients: list[str], via: str, to: list[str]) -> str:
    with pytest.raises(SpecError) as refused:
        complete(clients, via, to)
    return str(refused.value)


def test_blank_loads() -> None:
    spec = specfile.parse(template.blank(), "crossnet.yaml")
    assert [host.name for host in spec.hosts] == ["app", "gateway"]
    (crossing,) = spec.crossings
    assert (crossing.clients, crossing.via, crossing.to) == (("app",), "gateway", (network("10.0.44.0/24"),))


def test_every_key_is_explained() -> None:
    explained = re.findall(r"^ +(?:# )?([a-z-]+): .*  # \w", template.blank(), re.MULTILINE)
    assert {*schema.Host.key_names(), *schema.Crossing.key_names()} <= {*explained}


@pytest.mark.parametrize("line", OPTIONAL, ids=lambda line: line.split()[1])
def test_every_optional_key_can_be_uncommented(line: str) -> None:
    used = line.replace("# ", "", 1)
    text = template.blank().replace(line, used)
    if "in place of ssh" in line:
        before, gateway, after = text.partition("  gateway:\n")
        text = before + gateway + re.sub(r"    ssh: .*\n", "", after, count=1)
    if "only with `openstack`" in line:
        text = text.replace("# openstack:", "openstack:")
    assert specfile.parse(text, "crossnet.yaml").source != template.blank()


def test_complete() -> None:
    spec = complete(
        ["root@10.0.43.15", "web", "ops@db.example.org", "10.0.50.0/24", "10.0.43.20"],
        "ops@10.0.43.101",
        ["10.0.44.0/24", "10.0.45.7"],
    )
    assert spec.hosts == (
        HostSpec("client", ssh="root@10.0.43.15"),
        HostSpec("web", ssh="web"),
        HostSpec("db.example.org", ssh="ops@db.example.org"),
        HostSpec("gateway", ssh="ops@10.0.43.101"),
    )
    (crossing,) = spec.crossings
    assert crossing.clients == (
        "client",
        "web",
        "db.example.org",
        network("10.0.50.0/24"),
        network("10.0.43.20"),
    )
    assert crossing.via == "gateway"
    assert crossing.to == (network("10.0.44.0/24"), network("10.0.45.7"))


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("10.0.43.101", "gateway"),
        ("root@fd00::1", "gateway"),
        ("ssh://ops@10.0.43.101:2222", "gateway"),
        ("ssh://ops@[fd00::1]:2222", "gateway"),
        ("ssh://ops@[fd00::1", "gateway"),
        ("ssh://ops@gw:2222", "gw"),
        ("ops@gw", "gw"),
        ("yes", "yes"),
        ("null", "null"),
        ("0x1F", "0x1F"),
        ("ops@wörld", "gateway"),
        ("ops@#1", "gateway"),
    ],
)
def test_the_gateway_is_a_host_with_a_name(target: str, name: str) -> None:
    spec = complete(["app"], target, ["10.0.44.0/24"])
    assert spec.hosts[1] == HostSpec(name, ssh=target)


@pytest.mark.parametrize("target", ["ssh://web", "root@fd00::1", "ssh://root@[fd00::1]:22", "web"])
def test_what_only_ssh_takes_is_a_managed_client(target: str) -> None:
    spec = complete([target], "gw", ["10.0.44.0/24"])
    assert spec.hosts[0].ssh == target
    assert spec.crossings[0].clients == (spec.hosts[0].name,)


def test_hosts_that_ssh_does_not_reach_are_meant_as_everywhere_else() -> None:
    spec = complete(
        ["local", "netns:blue", "lab:app", "lab:two/app"], "lab:gateway", ["10.0.44.0/24"], become=True
    )
    assert spec.hosts == (
        HostSpec("local", local=True, become=True),
        HostSpec("blue", netns="blue", become=True),
        HostSpec("app", lab="app"),
        HostSpec("app-2", lab="two/app"),
        HostSpec("gateway", lab="gateway"),
    )
    assert spec.crossings[0].clients == tuple(host.name for host in spec.hosts[:4])
    assert complete(["app"], "lab:two/gateway", ["10.0.44.0/24"]).hosts[1].lab == "two/gateway"


def test_names_differ() -> None:
    spec = complete(["root@10.0.43.15", "root@10.0.43.16", "web", "ops@web"], "gw", ["10.0.44.0/24"])
    assert [host.name for host in spec.hosts] == ["client", "client-2", "web", "web-2", "gw"]


def test_all_mistakes_at_once() -> None:
    assert refusal(["10.0.50.1/24", "web", "web"], "web", ["10.0.44.1/24"]).splitlines() == [
        "command line: from: '10.0.50.1/24' has host bits set: the network is 10.0.50.0/24",
        "command line: from: 'web' is given twice",
        "command line: from: 'web' is the gateway itself: it needs no crossing",
        "command line: to: '10.0.44.1/24' has host bits set: the network is 10.0.44.0/24",
    ]


@pytest.mark.parametrize(
    ("clients", "via", "to", "message"),
    [
        ([], "gw", ["10.0.44.0/24"], "from: the list is empty"),
        (["app"], "gw", [], "to: the list is empty"),
        (["app"], "10.0.43.0/24", ["10.0.44.0/24"], "via: '10.0.43.0/24' is no host: give what `ssh` takes"),
        (["app"], "-oProxyCommand=x", ["10.0.44.0/24"], "ssh: '-oProxyCommand=x' is not what `ssh` takes"),
        (["app", ""], "gw", ["10.0.44.0/24"], "ssh: '' is not what `ssh` takes"),
        (["app"], "gw", ["10.0.44.0/24\n"], "'10.0.44.0/24\\n' has characters that cannot be printed"),
        (["app"], "g\udcffw", ["10.0.44.0/24"], "'g\\udcffw' has characters that cannot be printed"),
    ],
)
def test_refused(clients: list[str], via: str, to: list[str], message: str) -> None:
    assert refusal(clients, via, to).startswith(f"command line: {message}")


odd = st.text(max_size=8) | st.text("a1@:/.#-'\"{}[]&*!%,\\ ", max_size=8)


@given(odd, odd)
@settings(max_examples=300, deadline=None)
def test_no_input_breaks_the_file(client: str, via: str) -> None:
    try:
        spec = complete([client, "root@10.0.43.15"], via, ["10.0.44.0/24"])
    except SpecError as error:
        told = str(error)
    else:
        # What was given is in the spec exactly as it was given.
        targets = {host.ssh for host in spec.hosts}
        assert via in targets
        assert client in targets or network(client) in spec.crossings[0].clients
        return
    assert told.startswith("command line: ")
    assert "YAML" not in told


def test_everything_that_can_be_said_of_a_crossing() -> None:
    spec = complete(
        ["app"],
        "ops@gw",
        ["10.0.0.0/8", "fd00:44::/64"],
        excepted=("10.0.5.0/24",),
        allow=("icmp", "tcp/443", "tcp/8000-8010"),
        probe=("tcp/[fd00:44::1]:443",),
        become=True,
        ingress="eth1",
        egress="ens3.44",
        next_hop="10.0.43.101",
        snat="10.0.44.63",
        until="2026-12-24T19:00+01:00",
        name="business",
    )
    (crossing,) = spec.crossings
    assert crossing == Crossing(
        "business",
        ("app",),
        "gw",
        crossing.to,
        (
            Traffic(Protocol.ICMP),
            Traffic(Protocol.TCP, Ports(443, 443)),
            Traffic(Protocol.TCP, Ports(8000, 8010)),
        ),
        translate=SnatTo(address("10.0.44.63")),
        ingress="eth1",
        egress="ens3.44",
        next_hop=address("10.0.43.101"),
        probes=(Probe.from_text("tcp/[fd00:44::1]:443"),),
        excepted=(network("10.0.5.0/24"),),
        until=datetime(2026, 12, 24, 18, tzinfo=UTC),
    )
    assert crossing.networks(Family.V4) == (network("10.0.0.0/8"),)
    assert [host.become for host in spec.hosts] == [True, True]


def test_sudo_is_not_for_hosts_where_one_is_root() -> None:
    spec = complete(["root@10.0.43.15", "ssh://root@web"], "ops@gw", ["10.0.44.0/24"], become=True)
    assert [host.become for host in spec.hosts] == [False, False, True]


@pytest.mark.parametrize(
    ("clients", "to", "name"),
    [
        (["app"], ["10.0.44.0/24"], "app-to-10.0.44.0-24"),
        (["root@app"], ["10.0.44.0/24"], "app-to-10.0.44.0-24"),
        (["root@10.0.43.15"], ["10.0.44.0/24"], "from-10.0.43.15-to-10.0.44.0-24"),
        (["root@10.0.43.16"], ["10.0.44.0/24"], "from-10.0.43.16-to-10.0.44.0-24"),
        (["ssh://root@app:2222"], ["10.0.44.7"], "app-2222-to-10.0.44.7"),
        (["ssh://app:2222"], ["10.0.44.7"], "app-2222-to-10.0.44.7"),
        (["ssh://[fd00::1]"], ["fd00:44::/64"], "fd00--1-to-fd00-44---64"),
        (["10.0.43.0/24"], ["10.0.44.7"], "from-10.0.43.0-24-to-10.0.44.7"),
        (["app"], ["10.0.44.0/24", "10.0.45.7"], "app-to-10.0.44.0-24-10.0.45.7"),
    ],
)
def test_a_crossing_is_called_as_its_ends(clients: list[str], to: list[str], name: str) -> None:
    assert [one.name for one in complete(clients, "gw", to).crossings] == [name]


def test_what_means_another_machine_for_somebody_else_is_called_after_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = []
    for machine in ("desk-alice", "desk-bob.example.org", "d" * 60, "d" * 61):
        monkeypatch.setattr(socket, "gethostname", lambda machine=machine: machine)
        names += [
            complete([word], "gw", ["10.0.44.0/24"]).crossings[0].name for word in ("local", "netns:blue")
        ]
    assert names[:4] == [
        *("desk-alice-to-10.0.44.0-24", "desk-alice-blue-to-10.0.44.0-24"),
        *("desk-bob-to-10.0.44.0-24", "desk-bob-blue-to-10.0.44.0-24"),
    ]
    assert len(set(names)) == len(names)


def test_names_that_are_too_long_or_strange_differ_all_the_same() -> None:
    ends = [
        (["a-host-with-a-long-name.example.org"], ["10.0.44.0/24"]),
        (["a-host-with-a-long-name.example.org"], ["10.0.45.0/24"]),
        (["a_host"], ["10.0.44.0/24"]),
        (["a-host"], ["10.0.44.0/24"]),
        (["app"], [f"10.0.{number}.0/24" for number in range(100)]),
    ]
    names = [complete(clients, "gw", to).crossings[0].name for clients, to in ends]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 40 for name in names)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("work/office/crossnet.yaml", "office"),
        ("work/office/crossnet.yml", "office"),
        ("work/my office (2)/crossnet.yaml", "my-office-2-321b3b"),  # not as that of `my-office-2`
        ("work/crossnet/crossnet.yaml", "ops-desk"),  # as everybody's
        ("home/crossnet.yaml", "ops-desk"),
        ("work/-业务-/crossnet.yaml", "spec-c05aa8"),
        ("home/业务.yaml", "spec-9bd023"),  # of several such files no two are called alike
        ("home/备份 1.yaml", "1-29ec55"),
        ("home/++.yaml", "spec-cfc0c0"),
        ("home/--.yaml", "spec-d8156b"),
        ("home/.yaml", "ops-desk"),
        ("home/backup.yaml", "backup"),
        ("home/my spec.yaml", "my-spec-6e3a2b"),
        ("home/my-spec.yaml", "my-spec"),
        ("home/c.yaml", "c"),
        ("home/c-.yaml", "c-"),
        ("home/c++.yaml", "c-cedb1b"),
        ("home/" + 60 * "n" + ".yaml", 33 * "n" + "-fb886b"),
        ("home/" + 40 * "n" + ".yaml", 40 * "n"),
    ],
)
def test_a_new_spec_gets_a_name_that_others_hardly_give_to_theirs(
    file: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    suggested = naming.suggested(str(tmp_path / file), "ops@desk")
    assert suggested == name
    for text in (
        template.blank(suggested),
        template.complete(template.Need(("app",), "gw", ("10.0.44.0/24",)), suggested),
    ):
        assert specfile.parse(text, "crossnet.yaml").name == name


def test_what_is_connected_is_a_spec_of_its_own_that_init_writes_again() -> None:
    need = template.Need(("root@app",), "root@gw", ("10.0.44.0/24",), allow=("tcp/443",))
    spec = specfile.parse(template.alone(need), "")
    assert spec.name == "app-to-10.0.44.0-24"
    again = template.complete(need, naming.suggested(f"{spec.name}.yaml", "ops@desk"))
    assert specfile.parse(again, f"{spec.name}.yaml") == replace(spec, source=again, file=f"{spec.name}.yaml")
    assert specfile.parse(template.complete(need, "office"), "crossnet.yaml").name == "office"
    named = template.Need(("root@app",), "root@gw", ("10.0.44.0/24",), name="help desk")
    with pytest.raises(SpecError) as refused:
        template.alone(named)
    assert len(refused.value.problems) == 1
