"""Who else works on a host, from what is read of it anyway."""

from __future__ import annotations

import pytest

from crossnet.facts.links import parse_links
from crossnet.facts.managers import managers_of
from crossnet.facts.policy import parse_rules
from crossnet.netfilter.foreign import Chain, Hook, Table, Tool
from crossnet.netfilter.nft_foreign import read_ruleset
from crossnet.netfilter.xtables_save import parse_save
from crossnet.values import Family

PLAIN_LINK = "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noop state UP group default\n"
USUAL_RULES = "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n"


def link(name: str, kind: str) -> str:
    first = f"7: {name}: <BROADCAST,UP> mtu 1500 qdisc noop state UP group default\n"
    return f"{first}    link/ether 02:00:00:00:00:01\n    {kind}\n"


def saved(*chains: str) -> list[Table]:
    text = "*filter\n" + "".join(f":{chain} - [0:0]\n" for chain in ("FORWARD", *chains)) + "COMMIT\n"
    return list(parse_save(text.replace(":FORWARD -", ":FORWARD ACCEPT"), "ip", Tool.IPTABLES_LEGACY, {}))


def nft(family: str, name: str) -> list[Table]:
    return list(
        read_ruleset(
            f'{{"nftables": [{{"table": {{"family": "{family}", "name": "{name}", "handle": 1}}}}]}}'
        )
    )


def told(
    links: str = PLAIN_LINK, rules: str = USUAL_RULES, tables: list[Table] | None = None, **units: bool
) -> list[str]:
    running = {f"{name.replace('_', '-')}.service": runs for name, runs in units.items()}
    found = managers_of(parse_links(links).links, parse_rules(rules, Family.V4), tables or [], running)
    return [str(manager) for manager in found]


def test_a_host_of_nobody() -> None:
    lonely = link("br0", "bridge forward_delay 1500") + link("br-lan", "bridge forward_delay 1500")
    assert told(PLAIN_LINK + lonely, tables=saved("MINE"), docker=False) == []


@pytest.mark.parametrize(
    ("name", "kind", "manager"),
    [
        ("docker0", "bridge forward_delay 1500", "docker"),
        ("br-0123456789ab", "bridge forward_delay 1500", "docker"),
        ("virbr0", "bridge forward_delay 200", "libvirt"),
        ("cni0", "bridge forward_delay 1500", "kubernetes"),
        ("flannel.1", "vxlan id 1 local 10.0.0.1 dev eth0", "kubernetes"),
        ("cali1a2b3c4d5e6", "veth", "kubernetes"),
        ("tailscale0", "tun type tun pi off", "tailscale"),
        ("wg0", "wireguard", "wireguard"),
        ("office", "wireguard", "wireguard"),
        ("wg0", "tun type tun pi off", "wireguard"),
    ],
)
def test_by_an_interface(name: str, kind: str, manager: str) -> None:
    assert told(PLAIN_LINK + link(name, kind)) == [f"{manager}: interface {name}"]


def test_a_name_alone_is_no_bridge() -> None:
    assert told(link("virbr0", "dummy")) == []
    without_kinds = link("docker0", "").replace("    \n", "")
    assert told(without_kinds) == ["docker: interface docker0"]


@pytest.mark.parametrize(
    ("chain", "manager"),
    [
        ("DOCKER-USER", "docker"),
        ("ufw-user-forward", "ufw"),
        ("LIBVIRT_FWI", "libvirt"),
        ("KUBE-FORWARD", "kubernetes"),
        ("cali-FORWARD", "kubernetes"),
        ("ts-forward", "tailscale"),
        ("FORWARD_IN_ZONES", "firewalld"),
        ("FORWARD_direct", "firewalld"),
    ],
)
def test_by_a_chain(chain: str, manager: str) -> None:
    assert told(tables=saved(chain)) == [f"{manager}: chain {chain} of table ip filter"]


def test_many_chains_in_few_words() -> None:
    chains = [f"KUBE-SVC-{number}" for number in range(40)]
    shown = "chains KUBE-SVC-0, KUBE-SVC-1, KUBE-SVC-2 and 37 more of table ip filter"
    assert told(tables=saved(*chains)) == [f"kubernetes: {shown}"]


@pytest.mark.parametrize(
    ("family", "table", "manager"),
    [
        ("inet", "firewalld", "firewalld"),
        ("ip", "docker-bridges", "docker"),
        ("ip", "libvirt_network", "libvirt"),
        ("ip", "wg-quick-wg0", "wireguard"),
    ],
)
def test_by_a_table_of_nftables(family: str, table: str, manager: str) -> None:
    assert told(tables=nft(family, table)) == [f"{manager}: table {family} {table}"]


def test_by_policy_rules() -> None:
    own = "5210:\tfrom all fwmark 0x80000/0xff0000 lookup main\n5270:\tfrom all lookup 52\n"
    assert told(rules=USUAL_RULES + own) == [
        "tailscale: policy rule 5210: from all fwmark 0x80000/0xff0000 lookup main; "
        "policy rule 5270: from all lookup 52"
    ]
    assert told(rules=USUAL_RULES + "5230:\tfrom 10.0.0.0/8 lookup 100\n") == []


def test_by_a_unit_that_runs() -> None:
    assert told(docker=True, firewalld=False, rke2_server=True) == [
        "docker: unit docker",
        "kubernetes: unit rke2-server",
    ]


def test_all_evidence_together() -> None:
    found = told(PLAIN_LINK + link("docker0", "bridge"), tables=saved("DOCKER", "DOCKER-USER"), docker=True)
    assert found == [
        "docker: interface docker0; chains DOCKER, DOCKER-USER of table ip filter; unit docker",
    ]


def test_rules_that_nobody_can_list_are_nobodys() -> None:
    """A table that no tool lists has no name."""
    chain = Chain("forward", Hook("forward", "filter", 0), 0, lambda: ())
    assert told(tables=[Table(Tool.IPTABLES_LEGACY, "ip", "", {"forward": chain})]) == []


def test_a_script_that_is_started_at_boot_and_leaves_nothing() -> None:
    found = managers_of((), (), (), None, {"netfilter-persistent", "cron"})
    assert [str(manager) for manager in found] == ["netfilter-persistent: init script netfilter-persistent"]
