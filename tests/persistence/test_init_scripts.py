"""Hosts without systemd: what OpenRC and SysV init start at boot, in which order, and how it goes again."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from crossnet.drift import drifted
from crossnet.facts.init import Init, InitScripts, parse_init
from crossnet.planning import make_plan, make_undo_plan
from crossnet.planning.plan import Plan
from crossnet.record import read_record
from crossnet.resources import Change, Command, File, InitScript
from crossnet.specfile import parse
from design.factsheet import facts_from
from planning.fakehost import FakeHost, carry_out, facts_of, hosts_of

SHEET = """
app:
  eth0 10.0.43.15/24
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
"""
SPEC = """\
crossnet: 1
hosts: {{app: {{lab: app}}, gateway: {{lab: gateway}}}}
crossings:
  business: {{from: app, via: gateway, to: 10.0.44.0/24{}}}
"""
OPENRC = InitScripts(Init.OPENRC, ("/etc/runlevels/boot/networking", "/etc/runlevels/boot/sysctl"))
# Where there is no rcS.d, as on EL 6.
SYSV = InitScripts(
    Init.SYSV,
    tuple(
        f"/etc/rc{level}.d/{name}" for level in "2345" for name in ("S08iptables", "S10network", "S99local")
    ),
)


def world(init: InitScripts) -> dict[str, FakeHost]:
    hosts = hosts_of(facts_from(SHEET))
    for host in hosts.values():
        capabilities = replace(host.base.capabilities, systemd=False)
        host.base = replace(host.base, capabilities=capabilities, init=init)
    return hosts


def applied(hosts: Mapping[str, FakeHost], more: str = "") -> Plan:
    made = make_plan(parse(SPEC.format(more), "crossnet.yaml"), facts_of(hosts))
    carry_out(made, hosts)
    return made


@pytest.mark.parametrize("init", [OPENRC, SYSV], ids=["openrc", "sysv"])
@pytest.mark.parametrize("more", ["", ", until: 2036-12-24T18:00Z"])
def test_all_of_it_is_started_at_boot_and_goes_without_a_trace(init: InitScripts, more: str) -> None:
    hosts = world(init)
    before = {name: host.state() for name, host in hosts.items()}
    made = applied(hosts, more)
    assert "not-persistent" not in {each.code for each in made.impacts}
    names = {path.rpartition("/")[2] for path in hosts["gateway"].files if path.startswith("/etc/init.d/")}
    assert names == {"crossnet", "crossnet-rules", "crossnet-recover"}
    assert {hosts["gateway"].files[f"/etc/init.d/{name}"].mode for name in names} == {0o755}
    assert "/etc/init.d/crossnet-rules" not in hosts["app"].files
    assert not [path for path in hosts["gateway"].files if path.startswith("/etc/systemd/")]
    for host in facts_of(hosts).values():
        assert not list(drifted(host, read_record(host)))
    assert applied(hosts, more).is_empty
    spec = parse(SPEC.format(""), "crossnet.yaml")
    carry_out(make_undo_plan(spec, facts_of(hosts)), hosts)
    assert {name: host.state() for name, host in hosts.items()} == before


def test_what_nobody_starts_any_more_is_told_and_put_back() -> None:
    hosts = world(OPENRC)
    applied(hosts)
    link = "/etc/runlevels/boot/crossnet-rules"
    del hosts["gateway"].files[link]
    facts = facts_of(hosts)["gateway"]
    (told,) = drifted(facts, read_record(facts))
    assert "init script crossnet-rules is no longer started at boot" in str(told)
    applied(hosts)
    assert hosts["gateway"].files[link].target == "/etc/init.d/crossnet-rules"


def test_sysv_starts_the_rules_behind_the_firewall_and_before_the_network() -> None:
    hosts = world(SYSV)
    applied(hosts)
    for level in "2345":
        folder = f"/etc/rc{level}.d/"
        links = [link for link in (*SYSV.links, *hosts["gateway"].files) if link.startswith(folder)]
        assert [re.sub("S[0-9]+", "", link.removeprefix(folder)) for link in sorted(links)] == (
            ["crossnet-recover", "iptables", "crossnet-rules", "network", "crossnet", "local"]
        )


@pytest.mark.parametrize(
    ("links", "order"),
    [
        (
            ("S08iptables", "S23NetworkManager", "S99local"),
            ("crossnet-recover", "iptables", "crossnet-rules", "NetworkManager", "crossnet", "local"),
        ),
        (("S10NetworkManager",), ("crossnet-recover", "crossnet-rules", "NetworkManager", "crossnet")),
        (
            ("S10NetworkManager", "S11network"),
            ("crossnet-recover", "crossnet-rules", "NetworkManager", "network", "crossnet"),
        ),
    ],
)
def test_sysv_starts_the_rules_before_the_network_whatever_its_name(
    links: tuple[str, ...], order: tuple[str, ...]
) -> None:
    hosts = world(InitScripts(Init.SYSV, tuple(f"/etc/rc2.d/{name}" for name in links)))
    applied(hosts)
    own = [
        path.removeprefix("/etc/rc2.d/") for path in hosts["gateway"].files if path.startswith("/etc/rc2.d/")
    ]
    assert [name[3:] for name in sorted((*links, *own))] == list(order)


def rules_script(init: InitScripts) -> str:
    made = make_plan(parse(SPEC.format(""), "crossnet.yaml"), facts_of(world(init)))
    (file,) = (
        one
        for one in made.wanted["gateway"]
        if one.key == "/etc/init.d/crossnet-rules" and isinstance(one, File)
    )
    return file.data.decode()


HEADS = {
    Init.INSSERV: ("/etc/rcS.d/S10networking", "/etc/rcS.d/S12{}", "/etc/rc2.d/S01cron"),
    Init.SYSV: ("/etc/rc2.d/S10network", "/etc/rc2.d/S12{}"),
    Init.OPENRC: ("/etc/runlevels/boot/networking", "/etc/runlevels/default/{}"),
}
SWITCHES_OFF = re.compile(r"start rules\n *result=\$\?\n *sysctl .*ip_forward=0\n")


@pytest.mark.parametrize("init", HEADS)
@pytest.mark.parametrize("name", ["netfilter-persistent", "shorewall", "firewalld"])
def test_a_firewall_after_the_network_makes_no_circle_and_the_gateway_is_closed_until_it_is_done(
    init: Init, name: str
) -> None:
    def rules(script: str) -> str:
        return rules_script(InitScripts(init, tuple(link.format(script) for link in HEADS[init])))

    assert SWITCHES_OFF.search(rules(name))
    assert not [
        line for line in rules(name).splitlines() if re.search("Should-Start|after ", line) and name in line
    ]
    assert not SWITCHES_OFF.search(rules("cron"))


def test_a_site_s_own_firewall_that_comes_later_counts_as_one() -> None:
    text = rules_script(InitScripts(Init.INSSERV, ("/etc/rcS.d/S10networking", "/etc/rc2.d/S01iptables")))
    (ordered,) = (line for line in text.splitlines() if "Should-Start" in line)
    assert " iptables" not in ordered
    assert " nftables" in ordered
    assert SWITCHES_OFF.search(text)


def test_where_insserv_orders_scripts_it_makes_the_links_and_keeps_no_number() -> None:
    mine = InitScript("crossnet-rules", Init.INSSERV, ("/etc/rcS.d",))
    (step,) = Change(None, mine).steps
    assert step == Command(("update-rc.d", "crossnet-rules", "defaults"))
    (step,) = Change(mine, None).steps
    assert step == Command(("update-rc.d", "-f", "crossnet-rules", "remove"))
    there = InitScripts(Init.INSSERV, ("/etc/rcS.d/S08procps", "/etc/rcS.d/S10crossnet-rules"))
    facts = replace(facts_of(world(OPENRC))["gateway"], init=there)
    assert mine.current(facts) == mine
    assert InitScript.traces(facts) == (mine,)
    hosts = world(InitScripts(Init.INSSERV, ("/etc/rcS.d/S08procps",)))
    made = make_plan(parse(SPEC.format(""), "crossnet.yaml"), facts_of(hosts))
    wanted = [one for one in made.wanted["gateway"] if isinstance(one, InitScript)]
    assert mine in wanted
    late = ("/etc/rc2.d", "/etc/rc3.d", "/etc/rc4.d", "/etc/rc5.d")
    assert InitScript("crossnet", Init.INSSERV, late) in wanted


def test_what_a_host_says_of_its_init() -> None:
    assert parse_init("") is None
    assert parse_init("openrc\n/etc/runlevels/boot/sysctl\n") == (
        InitScripts(Init.OPENRC, ("/etc/runlevels/boot/sysctl",))
    )
    with pytest.raises(ValueError, match="runit"):
        parse_init("runit\n")


SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("init", [OPENRC, SYSV], ids=["openrc", "sysv"])
def test_every_shell_reads_the_scripts(shell: list[str], init: InitScripts, tmp_path: Path) -> None:
    hosts = world(init)
    applied(hosts, ", persist: unit")
    for host in hosts.values():
        for path, state in host.files.items():
            if state.data.startswith(b"#!"):
                script = tmp_path / path.rpartition("/")[2]
                script.write_bytes(state.data)
                subprocess.run([*shell, "-n", str(script)], check=True)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_shell_sets_the_routes_one_by_one(shell: list[str], tmp_path: Path) -> None:
    """busybox has no `ip -batch`."""
    hosts = world(OPENRC)
    applied(hosts, ", persist: unit")
    made = hosts["app"].files
    for path in ("/etc/crossnet/start", "/etc/crossnet/routes"):
        place = tmp_path / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(made[path].data)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ip").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/said\n')
    (tools / "ip").chmod(0o755)
    start = (tmp_path / "etc/crossnet/start").read_text().replace("/etc/crossnet", f"{tmp_path}/etc/crossnet")
    run = subprocess.run(
        [*shell, "-s"], input=start, text=True, env={"PATH": f"{tools}:/usr/bin:/bin"}, check=False
    )
    assert run.returncode == 0
    said = (tmp_path / "said").read_text()
    assert said == "route replace 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143\n"
    early = subprocess.run(
        [*shell, "-s", "rules"], input=start, text=True, env={"PATH": f"{tools}:/usr/bin:/bin"}, check=False
    )
    assert (early.returncode, (tmp_path / "said").read_text()) == (0, said)
