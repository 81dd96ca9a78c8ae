"""What a cloud changes is in no export: each says so, with the commands that a person types, and when."""

from __future__ import annotations

import subprocess

import pytest

from crossnet import specfile
from crossnet.export import Format, export
from crossnet.openstack.ports import AddressPair, GroupRule
from crossnet.planning import Plan, make_plan
from crossnet.resources import Change, PortSecurity
from crossnet.resources.port_security import Kept
from crossnet.values import Family, network
from design.test_host_routes import said
from design.test_port_security import hosts, spec
from export.test_playbook import read

GROUP = "crossnet-id-B-eth1"
SET = f"openstack --os-cloud prod port set --allowed-address ip-address=10.0.44.0/24 --security-group {GROUP} id-B-eth1"
UNSET = (
    f"openstack --os-cloud prod port unset --security-group {GROUP} "
    '--allowed-address "ip-address=10.0.44.0/24,mac-address=$mac" id-B-eth1'
)
OFFER = "openstack --os-cloud prod subnet set --host-route destination=10.0.44.0/24,gateway=10.0.43.101 s-43"


def plan(more: str = ", routes: neutron") -> Plan:
    lasting = specfile.parse(spec(more).source.replace(", persist: none", ""), "crossnet.yaml")
    return make_plan(lasting, hosts(said()))


@pytest.mark.parametrize("more", ["", ", port-security: disable", ", routes: neutron", ", translate: none"])
@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "sh"]], ids=lambda shell: shell[0])
def test_a_script_is_one_that_a_shell_reads_and_has_nothing_of_the_cloud(shell: list[str], more: str) -> None:
    for one in export(plan(more), Format.SH):
        told = subprocess.run([*shell, "-n"], input=one.text, text=True, capture_output=True)
        assert (told.returncode, told.stderr) == (0, "")
        assert not [line for line in one.text.splitlines() if "openstack" in line and line[0] != "#"]


def test_the_script_of_the_gateway_says_what_to_type_and_the_others_where_that_stands() -> None:
    heads = (one.text.partition("\n\n")[0] for one in export(plan(), Format.SH))
    gateway, app = (head.replace("\n# ", " ") for head in heads)
    for line in (SET, UNSET, OFFER):
        assert line in gateway
        assert line not in app
    assert "Not in here: what cloud prod has to change for gateway." in gateway
    assert "What it opens, together with what is changed by hand:" in gateway
    assert (
        "1. cloud prod, by hand (above), 2. gateway (this script), 3. cloud prod, by hand (above)," in gateway
    )
    assert "1. cloud prod, by hand (see gateway.sh), 2. gateway," in app
    assert "# port_security" not in gateway


def test_a_playbook_says_it_too_and_has_no_task_for_it() -> None:
    (one,) = export(plan(), Format.ANSIBLE)
    head = one.text.partition("\n---")[0].replace("\n# ", " ")
    assert SET in head
    assert "1. cloud prod, by hand, 2. gateway, 3. cloud prod, by hand, 4. app;" in head
    tasks = [task["name"] for play in read(one.text) for task in play["tasks"]]
    assert not [name for name in tasks if "port_security" in name or "host_routes" in name]


def test_a_page_has_the_commands_in_their_places() -> None:
    (one,) = export(plan(), Format.TICKET)
    marks = (
        "1. cloud prod for gateway",
        SET,
        "1. back:",
        UNSET,
        "2. gateway (lab gateway)",
        "3. cloud prod",
        OFFER,
    )
    assert sorted(marks, key=one.text.index) == list(marks)
    assert "The way back: 3, 2, 1. On hosts as root." in one.text
    assert "export --format sh` writes all that hosts do of it" in one.text
    only = export(plan(), Format.TICKET, host="app")
    assert "openstack" not in only[0].text.partition("Not in here")[0]


def test_rules_alone_say_that_the_cloud_is_left_out() -> None:
    (one,) = export(plan(), Format.NFT)
    assert "nor is what cloud prod has to change" in one.text


def test_what_others_had_is_typed_where_port_security_comes_back() -> None:
    pair = AddressPair(network("10.0.9.0/24"), "fa:16:3e:00:00:09")
    off = PortSecurity("prod", "p 1", "lab", "eth1", "10.0.43.101", off=Kept(("g-1", "g-2"), (pair,)))
    (back,) = Change(off, None).typed
    assert back == (
        "openstack --os-cloud prod port set --enable-port-security --security-group g-1 --security-group g-2 "
        "--allowed-address ip-address=10.0.9.0/24,mac-address=fa:16:3e:00:00:09 'p 1'"
    )


def test_a_group_whose_rules_change_is_made_anew_and_the_port_stays_in_it() -> None:
    def port(*rules: GroupRule) -> PortSecurity:
        return PortSecurity(
            "prod", "p", "lab", "eth1", "10.0.43.101", pairs=(network("10.0.44.0/24"),), rules=rules
        )

    client = network("10.0.43.15/32")
    web = GroupRule("ingress", Family.V4, "tcp", (443, 445), client)
    *_, last = Change(port(GroupRule("ingress", Family.V4, "icmp", None, client)), port(web)).typed
    assert last == (
        "openstack --os-cloud prod security group rule create --ingress --ethertype IPv4 --protocol tcp "
        "--dst-port 443:445 --remote-ip 10.0.43.15/32 crossnet-p"
    )
