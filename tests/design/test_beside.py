"""Forwarding that docker switches on at the boot, and drops by policy then, is left to it: only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet.facts import Facts
from crossnet.facts.firewall import Firewall
from crossnet.facts.init import Init, InitScripts
from crossnet.facts.managers import Manager, managers_of
from crossnet.facts.setters import Setters
from crossnet.facts.sysctls import BootSetting
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.xtables_save import parse_save
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.planning import make_plan
from crossnet.resources import File, RuleTable
from crossnet.spec import Spec
from crossnet.specfile import parse
from design.factsheet import SEED, facts_from

DOCKER = "*filter\n:FORWARD {} [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n"


UFW = Setters({"ufw": (BootSetting("/etc/ufw/sysctl.conf", "net.ipv4.ip_forward", "1", 8),)})
FIREWALLD = "*nat\n:{} - [0:0]\n-A {} -j MASQUERADE\nCOMMIT\n*filter\n:FORWARD_IN_ZONES - [0:0]\nCOMMIT\n"


@pytest.mark.parametrize(
    ("save", "setters", "file", "fence", "whom"),
    [
        (DOCKER.format("DROP"), Setters(), "", "auto", "docker"),
        (DOCKER.format("ACCEPT"), Setters(), SYSCTL_FILE, "auto", "docker"),
        (
            DOCKER.format("DROP"),
            Setters(),
            "/etc/sysctl.d/50-mine.conf",
            "auto",
            "",
        ),  # on, whatever crossnet does
        (DOCKER.format("DROP"), Setters(), "", "on", ""),  # the fence is there before
        (DOCKER.format("DROP").replace("DOCKER-USER", "theirs"), Setters(), "", "auto", ""),
        (FIREWALLD.format("POST_public_allow", "POST_public_allow"), Setters(), "", "auto", "firewalld"),
        (FIREWALLD.format("theirs", "theirs"), Setters(), "", "auto", ""),  # firewalld switches on nothing
        ("*filter\nCOMMIT\n", UFW, "", "auto", "ufw"),
        (DOCKER.format("DROP"), UFW, "", "auto", "docker and ufw"),
    ],
)
@pytest.mark.parametrize("name", ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.ipv4.ip_*"])
def test_forwarding_is_left_to_who_switches_it_on_and_keeps_others_out(
    save: str, setters: Setters, file: str, fence: str, whom: str, name: str
) -> None:
    """In a file of sysctl.d it would be on before their rules are there, and also without them."""
    rules = Firewall(foreign=tuple(parse_save(save, "ip", Tool.IPTABLES_NFT)))
    hosts = facts_from(SEED)
    own = hosts["gateway"]
    hosts["gateway"] = replace(
        own,
        firewall=rules,
        managers=managers_of((), (), rules.foreign),
        setters=setters,
        sysctls={**own.sysctls, "net.ipv4.ip_forward": "1"},
        boot_settings=(BootSetting(file, name, "1"),) if file else (),
    )
    made = make_plan(asking(f", fence: '{fence}'"), hosts)
    files = [each for each in made.wanted["gateway"] if isinstance(each, File)]
    by_crossnet = any(each.path == SYSCTL_FILE and b"net.ipv4.ip_forward = 1" in each.data for each in files)
    told = [impact.text for impact in made.impacts if impact.code == "forwarding-left"]
    assert by_crossnet is not bool(whom)
    assert [f" is left to {whom} at a boot" in text for text in told] == [True] * bool(whom)


@pytest.mark.parametrize("value", ["0", "1"])
def test_a_plan_beside_docker_where_forwarding_is_off_has_a_fence_and_brings_both_back(value: str) -> None:
    """After dockerd somebody may switch it off, such as `sysctl -p` with a hardening's file."""
    rules = Firewall(foreign=tuple(parse_save(DOCKER.format("DROP"), "ip", Tool.IPTABLES_NFT)))
    hosts = facts_from(SEED)
    own = replace(hosts["gateway"], firewall=rules, managers=managers_of((), (), rules.foreign))
    hosts["gateway"] = replace(own, sysctls={**own.sysctls, "net.ipv4.ip_forward": value})
    made = make_plan(asking(""), hosts)
    files = [each for each in made.wanted["gateway"] if isinstance(each, File)]
    by_crossnet = any(each.path == SYSCTL_FILE and b"net.ipv4.ip_forward = 1" in each.data for each in files)
    fenced = any(each.holds_fence for each in made.wanted["gateway"] if isinstance(each, RuleTable))
    assert (by_crossnet, fenced) == ((True, True) if value == "0" else (False, False))


# ---- what is promised is what is written ----------------------------------------------------------

RUNS_NFTABLES = replace(
    facts_from(SEED)["gateway"], managers=(Manager("nftables.service", ("unit nftables",)),)
)


def asking(more: str) -> Spec:
    return parse(
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
        f"crossings: {{business: {{from: app, via: gateway, to: 10.0.44.0/24{more}}}}}\n",
        "crossnet.yaml",
    )


def told(code: str, gateway: Facts, more: str = "") -> str:
    made = make_plan(asking(more), {**facts_from(SEED), "gateway": gateway})
    return " ".join(each.text for each in made.impacts if each.code == code)


@pytest.mark.parametrize(
    ("more", "systemd", "init", "words"),
    [
        ("", True, None, "after its unit crossnet's units load it again"),
        (
            ", persist: none",
            True,
            None,
            "nothing loads it again until `crossnet apply`, and the gateway is open for everybody until then",
        ),
        (
            "",
            False,
            InitScripts(Init.OPENRC, ()),
            "nothing loads it again until the next boot or `crossnet apply`, and the gateway is open for everybody "
            "until then",
        ),
    ],
)
def test_what_loads_flushed_rules_again_is_there(
    more: str, systemd: bool, init: InitScripts | None, words: str
) -> None:
    able = replace(RUNS_NFTABLES.capabilities, systemd=systemd)
    gateway = replace(RUNS_NFTABLES, capabilities=able, init=init)
    said = told("beside-others", gateway, more)
    assert said.endswith(f"which goes when nftables.service flushes all rules; {words}")


def test_rules_that_a_file_of_iptables_flushes_come_back_only_where_something_brings_them() -> None:
    rules = Firewall(foreign=tuple(parse_save(DOCKER.format("DROP"), "ip", Tool.IPTABLES_NFT)))
    known = tuple(Manager(name, ("unit",)) for name in ("netfilter-persistent", "iptables-services"))
    gateway = replace(facts_from(SEED)["gateway"], firewall=rules, managers=known)
    said = told("beside-others", gateway)
    assert "when it loads its file; a plugin of crossnet's brings it back" in said
    assert "when it loads its file; after its unit crossnet's units load it again" in said
    assert told("beside-others", gateway, ", persist: none").count("nothing loads it again until") == 2


def test_what_sets_forwarding_again_without_systemd_is_a_script() -> None:
    own = facts_from(SEED)["gateway"]
    without = replace(own.capabilities, systemd=False)
    line = (BootSetting("/etc/sysctl.conf", "net.ipv4.ip_forward", "0", 3),)
    gateway = replace(own, capabilities=without, init=InitScripts(Init.OPENRC, ()), boot_settings=line)
    said = told("setting-overridden", gateway)
    assert "it is read at boot, and `sysctl -p`" in said
    assert "until crossnet's init script (later in a boot) or `crossnet apply` sets it again" in said
    assert "crossnet.service" not in said


@pytest.mark.parametrize(
    ("more", "until"),
    [
        ("", "`crossnet apply` puts them back"),
        (", heal: auto", "crossnet-heal.service puts them back, within seconds"),
    ],
)
def test_what_firewalld_takes_away_comes_back_by_itself_where_the_host_heals(more: str, until: str) -> None:
    hosts = facts_from(f"{SEED}  tools ip sysctl iptables systemctl\n  firewalld 0.6.3 trusted\n")
    assert told("firewalld-flushes", hosts["gateway"], more).endswith(f"until {until}")
