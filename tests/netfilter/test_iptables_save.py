"""What iptables-save prints, in three generations, as the form says it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from crossnet.netfilter import (
    Accept,
    ClampMss,
    Continue,
    Counter,
    DestinationPorts,
    Drop,
    Endpoint,
    Hook,
    Interface,
    Jump,
    L4Protocol,
    Masquerade,
    NamedSet,
    Reject,
    Return,
    Rule,
    Snat,
    State,
    SynOnly,
    Table,
    UnknownMatch,
    UnknownVerdict,
    iptables,
)
from crossnet.values import Ports, network

GOLDEN = Path(__file__).parent / "golden"

TCP, UDP, ICMP = L4Protocol("tcp"), L4Protocol("udp"), L4Protocol("icmp")
THEIRS = NamedSet("theirs")


def unknown(text: str) -> tuple[UnknownMatch]:
    return (UnknownMatch(text),)


def ports(*ranges: tuple[int, int]) -> DestinationPorts:
    return DestinationPorts(tuple(Ports(first, last) for first, last in ranges))


# Each rule of FORWARD in iptables-words.txt.
WORDS: dict[str, Rule] = {
    "-s 10.0.0.0/255.0.255.0": Rule(unknown("-s 10.0.0.0/255.0.255.0"), Continue()),
    "! -s 10.0.0.0/8 ! -d 10.1.2.3/32 ! -i eth0 ! -o eth1 ! -p udp -j USER": Rule(
        (
            Interface("in", "eth0", negated=True),
            Interface("out", "eth1", negated=True),
            Endpoint("source", network("10.0.0.0/8"), negated=True),
            Endpoint("destination", network("10.1.2.3"), negated=True),
            L4Protocol("udp", negated=True),
        ),
        Jump("USER"),
    ),
    "-i eth+ -o br+ -j DROP": Rule((UnknownMatch("-i eth+"), UnknownMatch("-o br+")), Drop()),
    "-f -j ACCEPT": Rule(unknown("-f"), Accept()),
    "-p tcp -m tcp --sport 22 --dport 443": Rule(
        (TCP, ports((443, 443)), UnknownMatch("-m tcp --sport 22")), Continue()
    ),
    "-p tcp -m tcp ! --dport 443": Rule((TCP, *unknown("-m tcp ! --dport 443")), Continue()),
    "-p udp -m udp --dport 1024:65535": Rule((UDP, ports((1024, 65535))), Continue()),
    "-p udp -m udp --dport 0:1023": Rule((UDP, *unknown("-m udp --dport 0:1023")), Continue()),
    "-p tcp -m multiport --dports 443,80,81:90,91": Rule((TCP, ports((80, 91), (443, 443))), Continue()),
    "-p tcp -m multiport --sports 443": Rule((TCP, *unknown("-m multiport --sports 443")), Continue()),
    "-p tcp -m multiport ! --dports 443": Rule((TCP, *unknown("-m multiport ! --dports 443")), Continue()),
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN": Rule(
        (TCP, *unknown("-m tcp --tcp-flags FIN,SYN,RST,ACK SYN")), Continue()
    ),
    "-p tcp -m tcp --tcp-flags SYN,RST SYN": Rule((TCP, SynOnly()), Continue()),
    "-p sctp -m sctp --dport 99": Rule((L4Protocol("sctp"), ports((99, 99))), Continue()),
    "-p ospf": Rule((L4Protocol("ospf"),), Continue()),
    "-p 253": Rule((L4Protocol("253"),), Continue()),
    "-p icmp": Rule((ICMP,), Continue()),
    "-p icmp -m icmp --icmp-type 8": Rule((ICMP, *unknown("-m icmp --icmp-type 8")), Continue()),
    "-m state --state NEW": Rule((State(frozenset({"new"})),), Continue()),
    "-m conntrack ! --ctstate NEW": Rule(unknown("-m conntrack ! --ctstate NEW"), Continue()),
    "-m conntrack --ctstate DNAT": Rule(unknown("-m conntrack --ctstate DNAT"), Continue()),
    "-m conntrack --ctstate INVALID,UNTRACKED --ctproto 6": Rule(
        (State(frozenset({"invalid", "untracked"})), *unknown("-m conntrack --ctproto 6")), Continue()
    ),
    "-m set --match-set theirs src": Rule((Endpoint("source", THEIRS),), Continue()),
    "-s 10.0.0.1/32 -m set ! --match-set theirs dst": Rule(
        (Endpoint("source", network("10.0.0.1")), Endpoint("destination", THEIRS, negated=True)), Continue()
    ),
    "-m set --match-set theirs src,dst": Rule(unknown("-m set --match-set theirs src,dst"), Continue()),
    # a second option turns the meaning of the first
    "-m set --match-set theirs src --return-nomatch": Rule(
        unknown("-m set --match-set theirs src --return-nomatch"), Continue()
    ),
    '-m comment --comment "a b" -m comment --comment -j -j RETURN': Rule((), Return(), "a b -j"),
    '-p tcp -m comment --comment "it\\\'s \\"quoted\\" \\\\ here" -j REJECT --reject-with tcp-reset': Rule(
        (TCP,), Reject(), 'it\'s "quoted" \\ here'
    ),
    '-m limit --limit 5/min -m mark --mark 0x1 -j LOG --log-prefix "-j DROP "': Rule(
        (UnknownMatch("-m limit --limit 5/min"), UnknownMatch("-m mark --mark 0x1")), Continue()
    ),
    '-m string --string "two words" --algo bm -j DROP': Rule(
        unknown('-m string --string "two words" --algo bm'), Drop()
    ),
    "-m physdev --physdev-is-bridged": Rule(unknown("-m physdev --physdev-is-bridged"), Continue()),
    "-m addrtype --dst-type LOCAL -g USER": Rule(
        unknown("-m addrtype --dst-type LOCAL"), Jump("USER", goto=True)
    ),
    "-j MARK --set-xmark 0x1/0xffffffff": Rule((), UnknownVerdict("-j MARK --set-xmark 0x1/0xffffffff")),
    "-j NFLOG": Rule((), Continue()),
    "-j NFQUEUE --queue-num 3": Rule((), UnknownVerdict("-j NFQUEUE --queue-num 3")),
    "-j USER": Rule((), Jump("USER")),
    "": Rule((), Continue()),
}


def read(name: str, family: str = "ip") -> dict[str, Table]:
    """What stands there, as if somebody had put his rules of a built-in chain into one of crossnet's."""
    text = (GOLDEN / name).read_text()
    for chain in ("INPUT", "FORWARD", "POSTROUTING"):
        text = re.sub(rf"(?m)^(:|(?:\[.*?\] )?-A ){chain}\b", rf"\g<1>CROSSNET-{chain}", text)
    tables = iptables.parse_save(text, family)
    assert all(table.family == family for table in tables)
    return {table.name: table for table in tables}


def rules(table: Table, chain: str) -> tuple[Rule, ...]:
    found = table.chain(chain)
    assert found is not None
    return found.rules


def test_every_line_is_said_or_kept_in_iptables_words() -> None:
    text = (GOLDEN / "iptables-words.txt").read_text()
    prefix = "[0:0] -A FORWARD"
    filter_part = text[text.index("*filter") :]
    lines = [
        line.removeprefix(prefix).strip() for line in filter_part.splitlines() if line.startswith(prefix)
    ]
    assert lines == list(WORDS)
    found = rules(read("iptables-words.txt")["filter"], "CROSSNET-FORWARD")
    for line, rule in zip(lines, found, strict=True):
        assert rule == WORDS[line], line


def test_translations_that_do_more_than_the_form_says_are_unknown() -> None:
    tables = read("iptables-words.txt")
    assert [rule.verdict for rule in rules(tables["nat"], "CROSSNET-POSTROUTING")] == [
        Masquerade(),
        UnknownVerdict("-j MASQUERADE --random"),
        Snat(IPv4Address("192.0.2.1")),
        UnknownVerdict("-j SNAT --to-source 192.0.2.1:80"),
        UnknownVerdict("-j SNAT --to-source 192.0.2.1-192.0.2.3"),
        UnknownVerdict("-j SNAT --to-source 192.0.2.1 --persistent"),
    ]
    assert [rule.verdict for rule in rules(tables["mangle"], "CROSSNET-FORWARD")] == [
        ClampMss(),
        UnknownVerdict("-j TCPMSS --set-mss 1400"),
    ]


def test_in_a_chain_of_others_only_the_jump_into_an_own_one_is_read() -> None:
    text = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:THEIRS - [0:0]
:CROSSNET-FORWARD - [0:0]
[3:9] -A FORWARD -m nobody --knows "this\r\u2028\x85
here" -j WHATEVER
-A FORWARD -m
[1:x] -A FORWARD
[7:70] -A FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD
-A THEIRS -m
-A nowhere -j DROP
what is this
COMMIT
"""
    (table,) = iptables.parse_save(text, "ip")
    assert [chain.name for chain in table.chains] == ["INPUT", "FORWARD", "CROSSNET-FORWARD"]
    *others, jump = rules(table, "FORWARD")
    assert (jump, jump.counter) == (Rule((), Jump("CROSSNET-FORWARD"), "crossnet"), Counter(7, 70))
    assert {type(rule.verdict) for rule in others} == {UnknownVerdict}
    assert iptables.jump_positions((table,), "forward", "ip") == (len(others) + 1,)
    hook = table.chains[1].hook
    assert hook == Hook("forward", "filter", 0, "drop")


GENERATIONS = (
    "iptables-1.4.21-save-c.txt",
    "iptables-legacy-1.8.9-save-c.txt",
    "iptables-nft-1.8.9-save-c.txt",
)


@pytest.mark.parametrize("name", GENERATIONS)
def test_three_generations_read_alike(name: str) -> None:
    tables = read(name)
    assert tables == read(GENERATIONS[0])
    assert rules(tables["filter"], "CROSSNET-FORWARD") == (
        Rule((), Jump("CROSSNET-FWD"), "crossnet"),
        Rule(unknown("-m physdev --physdev-is-bridged"), Accept()),
        Rule(unknown("-m limit --limit 5/min"), Continue()),
        Rule((), Reject()),
    )
    assert rules(tables["filter"], "CROSSNET-INPUT")[1] == Rule(
        (Interface("in", "lo"),), Accept(), "quote \" and ' and \\ back"
    )
    assert rules(tables["nat"], "CROSSNET-POSTROUTING")[0] == Rule(
        (
            Interface("out", "eth1"),
            Endpoint("source", network("10.1.0.0/24")),
            Endpoint("destination", network("10.2.0.0/24")),
        ),
        Snat(IPv4Address("10.2.0.254")),
        "crossnet:j1",
    )


def test_ip6tables() -> None:
    tables = read("ip6tables-legacy-1.8.9-save-c.txt", "ip6")
    icmp = L4Protocol("ipv6-icmp")
    assert rules(tables["filter"], "CROSSNET-FORWARD") == (
        Rule(
            (
                Interface("in", "eth0"),
                Endpoint("source", network("fd00::/8")),
                Endpoint("destination", network("fd00::1")),
                icmp,
            ),
            Accept(),
        ),
        Rule((icmp, *unknown("-m icmp6 --icmpv6-type 128")), Accept()),
        Rule((), Reject()),
    )
    assert [rule.verdict for rule in rules(tables["nat"], "CROSSNET-POSTROUTING")] == [
        Snat(IPv6Address("fd00:44::63")),
        UnknownVerdict("-j SNAT --to-source [fd00:44::63]:80"),
    ]


def test_counters_are_read_and_may_be_missing() -> None:
    text = "*filter\n:CROSSNET-FORWARD - [9:9]\n[12:3456] -A CROSSNET-FORWARD -j ACCEPT\n-A CROSSNET-FORWARD\nCOMMIT\n"
    (table,) = iptables.parse_save(text, "ip")
    assert [rule.counter for rule in rules(table, "CROSSNET-FORWARD")] == [Counter(12, 3456), None]


def test_a_host_that_has_used_no_table_has_none() -> None:
    assert iptables.parse_save("", "ip") == ()


WHOLE = (GOLDEN / GENERATIONS[0]).read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j ACCEPT\n", "not whole"),
        (WHOLE[: WHOLE.rindex("COMMIT")], "not whole"),
        ("iptables-save: Cannot initialize: oh no\n", "not a line of iptables-save"),
        ("-A FORWARD -j ACCEPT\n", "not a line of iptables-save"),
        ("*filter\n:CROSSNET-FORWARD - [0:0]\n-A CROSSNET-FORWARD -m\nCOMMIT\n", "not a rule"),
    ],
)
def test_a_text_that_is_not_whole_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        iptables.parse_save(text, "ip")


def test_a_rule_is_said_in_iptables_words_again() -> None:
    said = {line: iptables.rule_text(rule) for line, rule in WORDS.items()}
    assert said["-i eth+ -o br+ -j DROP"] == "-i eth+ -o br+ -j DROP"
    assert said["-s 10.0.0.1/32 -m set ! --match-set theirs dst"] == (
        "-s 10.0.0.1/32 -m set ! --match-set theirs dst"
    )
    assert said["-m addrtype --dst-type LOCAL -g USER"] == "-m addrtype --dst-type LOCAL -g USER"
