"""Which tools a host has: a current Debian, a CentOS 7, and one that has nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crossnet.errors import HostError, PlanRefused
from crossnet.facts import FileState, Unreadable
from crossnet.facts.capabilities import Capabilities, parse_capabilities
from crossnet.facts.iptables import PIECES, SAVES
from crossnet.netfilter import Engine
from crossnet.record import read_record
from crossnet.transport.batch import Answer
from crossnet.values import Family
from facts.recorded import Failure, facts_in, facts_of

RECORDINGS = Path(__file__).parent / "recordings"

CENTOS7 = [
    "systemd yes",
    "tool ip /usr/sbin/ip",
    "tool sysctl /usr/sbin/sysctl",
    "tool iptables /usr/sbin/iptables",
    "tool ip6tables /usr/sbin/ip6tables",
    "tool ping /usr/bin/ping",
    "tool bash /usr/bin/bash",
    "kernel 3.10.0-1160.119.1.el7.x86_64",
    "iptables iptables v1.4.21",
]
ALPINE = [
    "tool ip /sbin/ip",
    "kernel 6.6.31-0-lts",
    "iptables iptables v1.8.10 (nf_tables)",
    "nft nftables v1.0.9 (Old Doc Yak #3)",
]


def test_debian() -> None:
    able = facts_in(RECORDINGS / "everything.json").capabilities
    assert able.kernel == (6, 1, 0)
    assert able.systemd
    assert (able.nft, able.iptables) == ((1, 0, 6), (1, 8, 9))
    assert able.iptables_is_nft
    assert able.restore_waits
    assert all(able.has(tool) for tool in ("ip", "nft", "iptables-legacy", "conntrack", "ipset"))
    assert not able.has("tcpdump")


def test_a_machine_of_openstack_is_told() -> None:
    assert parse_capabilities("\n".join((*ALPINE, "openstack yes"))).openstack
    assert not parse_capabilities("\n".join(ALPINE)).openstack


def test_centos_7() -> None:
    """Its iptables-restore says "invalid option" to -w and goes on; so it is not asked to wait."""
    able = parse_capabilities("\n".join(CENTOS7))
    assert able.kernel == (3, 10, 0)
    assert able.iptables == (1, 4, 21)
    assert able.nft == ()
    assert not able.iptables_is_nft
    assert not able.restore_waits
    assert able.systemd
    assert not able.has("nft")


def test_without_systemd() -> None:
    able = parse_capabilities("\n".join(ALPINE))
    assert not able.systemd
    assert (able.kernel, able.nft, able.iptables) == ((6, 6, 31), (1, 0, 9), (1, 8, 10))


@pytest.mark.parametrize("answer", ["", "kernel \n", "kernel unknown\niptables \nnft \n"])
def test_tools_that_say_nothing_of_their_version(answer: str) -> None:
    assert parse_capabilities(answer) == Capabilities(frozenset(), (), systemd=False)


# ---- whole hosts that cannot be read ---------------------------------------------------------------


@pytest.fixture
def recording() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((RECORDINGS / "everything.json").read_text(encoding="utf-8"))
    return read


def test_an_ip_that_prints_something_else(recording: dict[str, Any]) -> None:
    recording["ip addr"] = ["Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }"]
    with pytest.raises(HostError) as refused:
        facts_of("strange", recording)
    assert str(refused.value) == (
        "strange: ran `ip addr`: cannot be understood (no interface: 'Usage: ip [ OPTIONS ] OBJECT { COMMAND | help "
        "}'): 'Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }'\n"
        "  Run it by hand on the host to see more."
    )


def test_no_ip_at_all(recording: dict[str, Any]) -> None:
    recording["ip addr"] = Failure(127, "sh: 1: ip: not found")
    with pytest.raises(HostError, match=r"ip: not found\n  Install iproute2 .* or iproute"):
        facts_of("bare", recording)


@pytest.mark.parametrize("family", [4, 6])
def test_an_ip_that_prints_no_routes_of_a_host_with_addresses_is_not_believed(
    recording: dict[str, Any], family: int
) -> None:
    question = f"ip -{family} route show table all"
    recording[question] = []
    with pytest.raises(HostError, match=rf"^gateway: ran `{question}`: it printed no route, and \w+ has the"):
        facts_of("gateway", recording)
    recording["ip addr"] = [line.replace(",UP", "") for line in recording["ip addr"]]
    assert {route.destination.version for route in facts_of("gateway", recording).routes} == {10 - family}


def test_a_kernel_without_ipv6_has_no_ipv6_routes(recording: dict[str, Any]) -> None:
    """There is no /proc/net/if_inet6, so `ip` is not asked."""
    recording["ip addr"] = [line for line in recording["ip addr"] if "inet6" not in line]
    recording["ip -6 route show table all"] = []
    facts = facts_of("four", recording)
    assert {route.destination.version for route in facts.routes} == {4}


WITHOUT_RULES = [
    ("nft -j list ruleset", "Unable to initialize Netlink socket: Protocol not supported"),
    ("nft -j list ruleset", "internal:0:0-0: Error: cache initialization failed: Invalid argument"),
    ("iptables-nft-save", "iptables-nft-save: Could not fetch rule set generation id: Invalid argument"),
    (
        "iptables-nft-save",
        "iptables-nft-save v1.8.9 (nf_tables): Failed to initialize nft: Protocol not supported",
    ),
    (
        "ip6tables-legacy-save",
        "ip6tables-save v1.4.21: Cannot initialize: Address family not supported by protocol",
    ),
    ("iptables-save", "iptables-save v1.4.21: Cannot initialize: iptables who? (do you need to insmod?)"),
    ("ipset save", "ipset v7.17: Cannot open session to kernel."),
]


@pytest.mark.parametrize(("question", "words"), WITHOUT_RULES, ids=lambda value: value[:40])
def test_a_kernel_that_lacks_it_holds_no_rules(recording: dict[str, Any], question: str, words: str) -> None:
    recording[question] = Failure(1, words)
    found = facts_of("gateway", recording).firewall
    assert (found.nft, dict(found.iptables), found.ipsets) == ((), {}, ())


ASKED = [
    "ip addr",
    "ip -4 route show table all",
    "ip -6 route show table all",
    "ip nexthop",
    "ip -4 rule",
    "ip -6 rule",
    "ip neigh",
    "sysctls",
    "sysctl files",
    "tools",
]


FAILURES = [
    Failure(1, "something: went wrong"),
    Failure(1),
    Failure(2, "tool: out of memory"),
    Failure(66),
    Failure(127, "sh: 1: exec: tool: not found"),
    Failure(137, "Killed"),
    Failure(1, "Error: Protocol not supported", said="[{}]\n"),
    "\0\0\0",
    "\x1b[31m\ufffd",
]


@pytest.mark.parametrize("question", ASKED)
@pytest.mark.parametrize("failure", FAILURES, ids=repr)
def test_a_tool_that_fails_is_never_nothing_there(
    recording: dict[str, Any], question: str, failure: Failure | str
) -> None:
    recording[question] = failure
    with pytest.raises(HostError, match=r"^gateway: ") as told:
        facts_of("gateway", recording)
    assert len(str(told.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("ip addr", ""),
        ("ip addr", "2: eth0: <UP> qdisc noqueue"),
        ("ip addr", "2: eth0: <UP> mtu many"),
        ("ip addr", f"2: eth0: <UP> mtu {'9' * 5000}"),
        ("ip addr", "2: a-name-that-is-too-long: <UP> mtu 1500"),
        ("ip addr", "2: eth0    inet 10.0.44.63/33 scope global eth0"),
        ("ip addr", "2: eth0    inet 10.0.44 scope global eth0"),
        ("ip -4 route show table all", "10.0.0.0/33 dev eth0"),
        ("ip -4 route show table all", "10.0.0 dev eth0"),
        ("ip -4 route show table all", "fd00::/64 dev eth0"),
        ("ip -4 route show table all", "default dev"),
        ("ip -4 route show table all", "default dev eth0 metric high"),
        ("ip -4 route show table all", "default dev eth0 src fd00::1"),
        ("ip -6 route show table all", "10.0.0.0/8 dev eth0"),
        ("ip -4 rule", "from all lookup local"),
        ("ip neigh", "lladdr"),
        ("ip nexthop", "5 via 10.0.44.1"),
    ],
    ids=lambda value: value[:60],
)
def test_every_value_in_an_answer_is_checked(recording: dict[str, Any], question: str, line: str) -> None:
    recording[question] = [line]
    with pytest.raises(HostError, match=f"gateway: ran `{question}`: cannot be understood"):
        facts_of("gateway", recording)


HOLDERS = {
    "nft -j list ruleset": (Engine.NFTABLES,),
    "ipset save": (Engine.IPTABLES_NFT, Engine.IPTABLES_LEGACY),
    "iptables-legacy-save": (Engine.IPTABLES_LEGACY,),
    "iptables-nft-save": (Engine.IPTABLES_NFT,),
    "iptables-save": (Engine.IPTABLES_NFT,),
    "ip6tables-legacy-save": (Engine.IPTABLES_LEGACY,),
    "ip6tables-nft-save": (Engine.IPTABLES_NFT,),
    "ip6tables-save": (Engine.IPTABLES_NFT,),
}
HALVES = [
    ("iptables-legacy-save", ["*filter", ":INPUT ACCEPT [0:0]"]),
    ("ip6tables-nft-save", ["what is this"]),
    ("ipset save", ["what is this"]),
    ("nft -j list ruleset", ["what is this"]),
]


@pytest.mark.parametrize(
    ("question", "answer"),
    [*((question, failure) for question in HOLDERS for failure in FAILURES), *HALVES],
    ids=repr,
)
def test_rules_that_cannot_be_read_are_not_understood_and_the_host_is_none_the_less_read(
    recording: dict[str, Any], question: str, answer: Failure | str | list[str]
) -> None:
    """No answer, or half of one, must never be taken for "there are no rules"."""
    recording[question] = answer
    facts = facts_of("gateway", recording)
    assert facts.firewall.unusable.keys() == set(HOLDERS[question])
    for engine in HOLDERS[question]:
        assert facts.firewall.holds_rules(engine) is (question != "ipset save")
        with pytest.raises(HostError, match=f"gateway: read crossnet's own rules in {engine}: ."):
            facts.readable(engine)


@pytest.mark.parametrize("printed", [[], ["*filter", ":INPUT ACCEPT [0:0]", "COMMIT"]], ids=["none", "one"])
def test_a_tool_that_is_silent_about_a_table_of_the_kernel_is_not_believed(
    recording: dict[str, Any], printed: list[str]
) -> None:
    named = [f"# in the kernel: {table}" for table in ("filter", "nat")]
    recording["iptables-legacy-save"] = [*named, *printed]
    facts = facts_of("gateway", recording)
    assert facts.firewall.unusable.keys() == {Engine.IPTABLES_LEGACY}
    assert facts.firewall.holds_rules(Engine.IPTABLES_LEGACY)

    recording["iptables-legacy-save"] = [*named, *SAVED, "*nat", ":PREROUTING ACCEPT [0:0]", "COMMIT"]
    found = facts_of("gateway", recording).firewall
    assert found.unusable == {}
    assert [table.name for table in found.of(Engine.IPTABLES_LEGACY, Family.V4)] == ["filter", "nat"]


@pytest.mark.parametrize("question", HOLDERS)
def test_rules_that_only_root_may_read_are_an_error(recording: dict[str, Any], question: str) -> None:
    recording[question] = Failure(1, "Permission denied (you must be root)")
    with pytest.raises(HostError, match="become: sudo"):
        facts_of("gateway", recording)


def test_an_nft_without_json_and_without_rules_is_not_for_crossnet(recording: dict[str, Any]) -> None:
    recording["nft -j list ruleset"] = Failure(64, "nft: invalid option -- 'j'")
    firewall = facts_of("gateway", recording).firewall
    assert firewall.foreign == ()
    assert firewall.unusable == {Engine.NFTABLES: "this nft prints no JSON"}


def test_an_interface_that_goes_away_meanwhile_is_no_failure(recording: dict[str, Any]) -> None:
    lines = "".join(f"{line}\n" for line in recording["sysctls"])
    gone = "grep: /proc/sys/net/ipv4/conf/veth7/forwarding: No such file or directory"
    recording["sysctls"] = Failure(2, gone, said=lines)
    assert facts_of("gateway", recording).sysctls["net.ipv4.ip_forward"] == "0"
    recording["sysctls"] = Failure(
        2, gone.replace("No such file or directory", "Permission denied"), said=lines
    )
    with pytest.raises(HostError, match="become: sudo"):
        facts_of("gateway", recording)


@pytest.mark.parametrize("value", ["\0\x1b[1m", "banana", "", "1 2", "\u0661", "1\r", "9" * 5000])
@pytest.mark.parametrize("setting", ["ip_forward", "conf/eth0/rp_filter"])
def test_a_setting_that_is_no_number_decides_nothing(
    recording: dict[str, Any], setting: str, value: str
) -> None:
    path = f"/proc/sys/net/ipv4/{setting}:"
    lines = [line for line in recording["sysctls"] if not line.startswith(path)]
    recording["sysctls"] = [*lines, f"{path}{value}"]
    with pytest.raises(HostError, match="gateway: read the kernel's settings: cannot be understood") as told:
        facts_of("gateway", recording)
    assert "which is no number" in str(told.value)


SAVED = ["*filter", ":FORWARD DROP [0:0]", "[7:420] -A FORWARD -i eth1 -j ACCEPT", "COMMIT"]


def test_where_iptables_is_the_only_name_its_rules_are_of_its_variant(recording: dict[str, Any]) -> None:
    for variant, engine in (
        ("(nf_tables)", Engine.IPTABLES_NFT),
        ("(legacy)", Engine.IPTABLES_LEGACY),
        ("", Engine.IPTABLES_LEGACY),
    ):
        tools = [line for line in recording["tools"] if not line.startswith("iptables ")]
        changed = {
            **recording,
            "tools": [*tools, f"iptables iptables v1.8.7 {variant}"],
            "iptables-save": SAVED,
        }
        firewall = facts_of("gateway", changed).firewall
        assert set(firewall.iptables) == {(engine, Family.V4)}
        assert firewall.holds_rules(engine)


def test_a_file_with_its_mode_and_owner_and_any_bytes(recording: dict[str, Any]) -> None:
    recording["file /etc/crossnet/start"] = ["755 0:4 1", "AAEC/w=="]
    recording["file /etc/crossnet/routes"] = ["644 0:0 1"]
    recording["file /etc/systemd/system/multi-user.target.wants/crossnet.service"] = [
        "link 0:4",
        "/etc/systemd/system/crossnet.service",
    ]
    files = facts_of("gateway", recording).files
    assert files["/etc/crossnet/start"] == FileState(b"\x00\x01\x02\xff", 0o755, "0:4", None)
    assert files["/etc/crossnet/routes"] == FileState(b"", 0o644, "0:0", None)
    link = files["/etc/systemd/system/multi-user.target.wants/crossnet.service"]
    assert link == FileState(b"", 0o777, "0:4", "/etc/systemd/system/crossnet.service")


@pytest.mark.parametrize(
    "failure",
    [
        Failure(1, "it is no regular file"),
        Failure(1, "stat: cannot statx '/var/lib/crossnet/applied.json': Permission denied"),
        Failure(1, "base64: read error: Input/output error", said="600 0:0 1\n"),
        Failure(66, "out of memory"),
        Failure(137),
    ],
    ids=repr,
)
def test_a_file_that_cannot_be_read_is_not_absent(recording: dict[str, Any], failure: Failure) -> None:
    path = "/var/lib/crossnet/applied.json"
    recording[f"file {path}"] = failure
    facts = facts_of("gateway", recording)
    assert facts.file("/etc/crossnet/start") is None
    assert isinstance(facts.files[path], Unreadable)
    with pytest.raises(HostError, match=f"gateway: read {path}: "):
        facts.file(path)
    with pytest.raises(PlanRefused, match=r"record-unreadable"):
        read_record(facts)


@pytest.mark.parametrize(
    "answer", ["", "644 0:0\n", "rw 0:0 1\n", "644 root:root 1\n", "644 0:0 1\n!!!\n", "644 0:0 1\nA\n"]
)
def test_a_file_whose_bytes_are_none_is_an_error(recording: dict[str, Any], answer: str) -> None:
    recording["file /etc/crossnet/start"] = answer
    with pytest.raises(HostError, match="gateway: read /etc/crossnet/start: cannot be understood"):
        facts_of("gateway", recording)


@pytest.mark.parametrize(
    ("names", "plain", "expected"),
    [
        (None, None, ""),
        ("", None, ""),
        (
            "filter\nnat\n",
            None,
            "the kernel holds tables of iptables-legacy (filter nat), and no tool there lists their rules",
        ),
        (
            "nat\n",
            "v1.8.9 (nf_tables)",
            "the kernel holds tables of iptables-legacy (nat), and no tool there lists their rules",
        ),
        ("nat\n", "v1.8.9 (legacy)", ""),
        ("nat\n", "v1.4.21", ""),
    ],
)
def test_rules_that_act_and_that_no_tool_lists_are_not_taken_for_none(
    tmp_path: Path, names: str | None, plain: str | None, expected: str
) -> None:
    tools = {"iptables": f"echo 'iptables {plain}'", "iptables-save": ":"} if plain else {}
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for tool in ("cat", "sh"):
        (bin_folder / tool).symlink_to(f"/bin/{tool}")
    for tool, text in tools.items():
        (bin_folder / tool).write_text(f"#!/bin/sh\n{text}\n")
        (bin_folder / tool).chmod(0o755)
    if names is not None:
        (tmp_path / "ip_tables_names").write_text(names)
    legacy, *_ = SAVES[Family.V4]
    for question in (legacy, PIECES[legacy]):
        script = question.argv[2].replace("/proc/net/", f"{tmp_path}/")
        ran = subprocess.run(
            ["/bin/sh", "-c", script, *question.argv[3:]],
            env={"PATH": str(bin_folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        answer = Answer(ran.returncode, ran.stdout.encode(), ran.stderr.encode())
        saved = question.meaning("gateway", answer)
        assert (saved.reason, saved.text) == (expected, "")
