"""What an exported script looks like, and what its parts do; whole scripts run in tests/lab/test_export.py."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crossnet.design import Impact
from crossnet.export import Document, ExportError, Format, export
from crossnet.export.sh import script
from crossnet.export.work import Work, works
from crossnet.facts import FileState
from crossnet.planning import Plan
from crossnet.record import APPLIED, read_record
from crossnet.resources import Change, File
from crossnet.spec import HostSpec
from crossnet.standing import Stamp
from export.plans import BUSINESS, ON_LEGACY, applied, plan, plan_on
from lacking import lacking
from planning.fakehost import facts_of

SHELLS = [["dash"], ["bash"], ["busybox", "sh"]]
OTHER = "business: {from: [app, 10.0.43.64/28], via: gateway, to: [10.0.44.1, 10.0.44.7], translate: none}"

PLANS = {
    "nftables": plan(),
    "iptables": plan(world=ON_LEGACY),
    "sets": plan(OTHER, world=ON_LEGACY),
    "change": plan_on(applied(BUSINESS, world=ON_LEGACY), OTHER),
}


def scripts(made: Plan) -> list[Document]:
    return list(export(made, Format.SH))


@pytest.mark.parametrize("name", PLANS)
def test_scripts_pass_shellcheck(name: str) -> None:
    if shutil.which("shellcheck") is None:
        lacking("shellcheck is not installed")
    for one in scripts(PLANS[name]):
        for dialect in ("sh", "dash", "bash"):
            told = subprocess.run(
                ["shellcheck", "-s", dialect, "-"], input=one.text, text=True, capture_output=True
            )
            assert told.stdout == ""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("name", PLANS)
def test_scripts_can_be_read_by_each_shell(name: str, shell: list[str]) -> None:
    for one in scripts(PLANS[name]):
        told = subprocess.run([*shell, "-n"], input=one.text, text=True, capture_output=True)
        assert (told.returncode, told.stderr) == (0, "")


def texts(data: bytes) -> str:
    """The part of a script in which a file with this content is defined."""
    change = Change(None, File("/etc/crossnet/any", data))
    work = Work(HostSpec("gateway", local=True), (change,), None, b"{}\n", b"{}\n", ())
    text = script(PLANS["nftables"], work, [work]).text
    start = text.index("text_1()")
    return text[start : text.index("is_made_1()")]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@settings(max_examples=25, deadline=None)
@given(data=st.one_of(st.binary(max_size=200), st.text("END_\n \t$`'\"\\é\x00", max_size=60).map(str.encode)))
@example(data=b"END\nEND_\n")
@example(data=b"no end of line")
@example(data=b"")
@example(data=bytes(range(256)) * 40)
def test_any_data_comes_out_as_it_is(shell: list[str], data: bytes) -> None:
    ran = subprocess.run([*shell, "-s"], input=f"{texts(data)}\ntext_1\n".encode(), capture_output=True)
    assert (ran.stdout, ran.stderr) == (data, b"")


def test_clean_text_stands_in_the_script_as_it_is() -> None:
    assert "net.ipv4.ip_forward = 1\n" in scripts(PLANS["nftables"])[0].text
    assert "base64 -d" not in scripts(PLANS["nftables"])[0].text.split("# ---- crossnet's own record")[0]


def test_nothing_that_a_host_said_can_end_a_comment() -> None:
    told = replace(
        PLANS["nftables"], impacts=(Impact("others-may-drop", "gateway", "chain x\nreboot\r\x1b[2J"),)
    )
    head = scripts(told)[0].text.partition("\n\n")[0]
    assert "reboot" in head
    assert "\x1b" not in head
    assert all(line.startswith("#") for line in head.splitlines())


def test_header_says_what_for_whom_and_in_which_order() -> None:
    gateway, app = scripts(plan(file="/secret/folder/mine.yaml"))
    assert (gateway.name, app.name) == ("gateway.sh", "app.sh")
    assert "Order of the hosts: 1. gateway (this script), 2. app." in gateway.text
    assert "Order of the hosts: 1. gateway, 2. app (this script)." in app.text
    assert "#    3. + table crossnet: 1 crossing, fence on\n" in gateway.text
    assert "[gains-reachability]" in app.text
    (number,) = {line for text in (gateway.text, app.text) for line in text.splitlines() if "Made by" in line}
    assert "from mine.yaml, plan " in number
    assert number not in scripts(PLANS["sets"])[0].text
    assert "secret" not in gateway.text + app.text
    # How crossnet gets there is for crossnet's own record alone.
    assert "2222" not in gateway.text.split("# ---- crossnet's own record")[0]


def test_hosts_that_only_lose_something_come_last() -> None:
    world = (
        "gateway:\n  eth1 10.0.43.101/24\n  eth0 10.0.44.63/24\n"
        "app:\n  eth0 10.0.43.15/24\n"
        "other:\n  eth1 10.0.43.102/24\n  eth0 10.0.44.64/24\n"
    )
    hosts = "gateway: {ssh: gw}, app: {ssh: app}, other: {ssh: other}"
    made = applied(BUSINESS, world=world, hosts=hosts)
    moved = plan_on(made, BUSINESS.replace("via: gateway", "via: other"), hosts=hosts)
    assert [work.name for work in works(moved)] == ["other", "app", "gateway"]


def test_a_namespace_keeps_its_record_apart_and_is_entered_first() -> None:
    hosts = "app: {netns: app}, gateway: {netns: gw}"
    world = ON_LEGACY.replace("app:", "app:\n  no systemd").replace("gateway:", "gateway:\n  no systemd")
    gateway, app = scripts(plan(hosts=hosts, world=world))
    assert "ip netns exec gw sh gateway.sh" in gateway.text
    for one in (gateway, app):
        assert " /var/lib/crossnet/applied.json" not in one.text
        assert "/etc/" not in one.text
    assert "/var/lib/crossnet/netns/gw/var/lib/crossnet/applied.json" in gateway.text


def test_the_record_says_who_exported_it() -> None:
    made = export(plan(), Format.SH, stamp=Stamp("ann", "2026-11-28T09:00:00Z", "desk", "sh export"))
    for one in made:
        for word in ('"who": "ann"', '"when": "2026-11-28T09:00:00Z"', '"message": "sh export"'):
            assert word in one.text
    kept = Stamp("bob", "2026-11-27T09:00:00Z", "laptop")
    hosts = applied(BUSINESS)
    for name, host in hosts.items():
        record = read_record(facts_of(hosts)[name]).stamped(kept, anew=True)
        host.files[APPLIED] = FileState(record.to_json(), 0o600, "0:0")
    done = plan_on(hosts, f"{BUSINESS}, second: {{from: 10.0.43.77, via: gateway, to: 10.0.44.0/24}}")
    for one in export(done, Format.SH, stamp=Stamp("ann", "2026-11-28T09:00:00Z", "desk")):
        assert '"who": "bob"' in one.text
        assert '"who": "ann"' in one.text


def test_nothing_to_export_is_said() -> None:
    done = plan_on(applied(BUSINESS), BUSINESS)
    with pytest.raises(ExportError, match="there is nothing to export"):
        export(done, Format.SH)
    assert export(done, Format.NFT)
    changed = plan_on(applied(BUSINESS), BUSINESS.replace("to:", "allow: icmp, to:"))
    # Of a client only what its record says of the crossing.
    assert [one.host for one in export(changed, Format.SH)] == ["gateway", "app"]
    with pytest.raises(ExportError, match="nothing changes on web; the plan changes: gateway, app"):
        export(changed, Format.SH, host="web")
