"""What iptables-save prints, read as foreign rules: every word means what the kernel does with it."""

from __future__ import annotations

import pytest

from crossnet.netfilter import Counter
from crossnet.netfilter.foreign import (
    Accept,
    AnyOf,
    Drop,
    Field,
    Hook,
    Jump,
    Named,
    Names,
    NoTrack,
    Numbers,
    Perhaps,
    Queue,
    Reject,
    Return,
    ReversePath,
    Rewrite,
    Rule,
    Statement,
    Table,
    Test,
    Tool,
    Tproxy,
    Translate,
    Translation,
    Unknown,
    Why,
)
from crossnet.netfilter.ipset_save import parse_ipset_save
from crossnet.netfilter.xtables_save import filled_sets, parse_save

EVERY_BIT = 0xFFFFFFFF
SETS = """\
create ports bitmap:port range 0-65535
add ports 22
add ports 443
create people hash:ip family inet hashsize 1024 maxelem 65536
add people 10.0.0.5
create six hash:ip family inet6 hashsize 1024 maxelem 65536
create services hash:ip,port family inet hashsize 1024 maxelem 65536
add services 10.0.0.5,tcp:80
create all list:set size 8
add all people
add all ports
"""


def number(value: int) -> Numbers:
    return Numbers(((value, value),))


def four(text: str) -> int:
    return int.from_bytes(bytes(map(int, text.split("."))), "big")


def held(
    field: Field, *ranges: int | tuple[int, int], negated: bool = False, mask: int | None = None
) -> Test:
    held = tuple((each, each) if isinstance(each, int) else each for each in ranges)
    return Test((field,), Numbers(held), negated, mask)


def bits(field: Field, which: int, negated: bool = False) -> Test:
    return Test((field,), Numbers(()), negated, any_bit=which)


def name(field: Field, *exact: str, prefix: str = "", negated: bool = False) -> Test:
    return Test((field,), Names(frozenset(exact), frozenset({prefix} if prefix else ())), negated)


def ipset(name: str) -> Named:
    return Named(name, ipset=True)


def unknown(text: str) -> Perhaps:
    return Perhaps(text, Why.NOT_UNDERSTOOD)


def momentary(text: str) -> Perhaps:
    return Perhaps(text, Why.DEPENDS_ON_THE_MOMENT)


def tables(text: str, family: str = "ip") -> dict[str, Table]:
    sets = parse_ipset_save(SETS)
    return {table.name: table for table in parse_save(text, family, Tool.IPTABLES_LEGACY, sets)}


def rule(words: str, family: str = "ip", table: str = "filter", chain: str = "FORWARD") -> Rule:
    text = f"*{table}\n:{chain} ACCEPT [0:0]\n:USER - [0:0]\n-A {chain} {words}\nCOMMIT\n"
    (read,) = tables(text, family)[table].chains[chain].rules
    return read


def statements(
    words: str, family: str = "ip", table: str = "filter", chain: str = "FORWARD"
) -> list[Statement]:
    return list(rule(words, family, table, chain).statements)


TCP, UDP, ICMP, ICMPV6 = (held(Field.PROTOCOL, each) for each in (6, 17, 1, 58))
WHOLE = held(Field.FRAGMENT, 0)
SOURCE_80, TO_80 = held(Field.SOURCE_PORT, 80), held(Field.DESTINATION_PORT, 80)
NEVER = AnyOf(())

MATCHES: dict[str, list[Statement]] = {
    "": [],
    "-s 10.1.2.0/24": [held(Field.SOURCE4, (four("10.1.2.0"), four("10.1.2.255")))],
    "! -d 10.1.2.3/32": [held(Field.DESTINATION4, four("10.1.2.3"), negated=True)],
    "-d ! 10.1.2.3": [held(Field.DESTINATION4, four("10.1.2.3"), negated=True)],
    "-s 0.0.0.0/0.0.0.255": [held(Field.SOURCE4, 0, mask=255)],
    "! -s 10.0.12.0/255.0.255.0": [
        held(Field.SOURCE4, four("10.0.12.0"), negated=True, mask=four("255.0.255.0"))
    ],
    "-s 10.0.0.0/255.255.0.0": [held(Field.SOURCE4, (four("10.0.0.0"), four("10.0.255.255")))],
    "-s 0/0": [],
    "! -s 0.0.0.0/0": [held(Field.SOURCE4, (0, EVERY_BIT), negated=True)],
    "-s 10.0.0.1,10.0.0.2,10.9.0.0/16": [
        held(Field.SOURCE4, (four("10.0.0.1"), four("10.0.0.2")), (four("10.9.0.0"), four("10.9.255.255")))
    ],
    "-s app.example": [unknown("-s app.example")],
    "-i eth0 ! -o wan+": [name(Field.IIF, "eth0"), name(Field.OIF, prefix="wan", negated=True)],
    "-i +": [],
    "-i ! eth0": [name(Field.IIF, "eth0", negated=True)],
    "-p all": [],
    "-p 47": [held(Field.PROTOCOL, 47)],
    "-p ospf": [held(Field.PROTOCOL, 89)],
    "! -p tcp": [held(Field.PROTOCOL, 6, negated=True)],
    "-p invented": [unknown("-p invented")],
    "-p icmp -f": [ICMP, held(Field.FRAGMENT, (1, 8191))],
    "! -f": [WHOLE],
    # ---- ports
    "-p tcp -m tcp": [TCP, WHOLE],
    "-p tcp -m tcp --sport 80 ! --dport 1024:": [
        TCP,
        SOURCE_80,
        held(Field.DESTINATION_PORT, (1024, 65535), negated=True),
    ],
    "-p udp -m udp --dport :1023": [UDP, held(Field.DESTINATION_PORT, (0, 1023))],
    "-p tcp -m tcp --dport 0:65535": [TCP, WHOLE],
    "-p tcp -m state --state NEW --dport 80": [TCP, bits(Field.CT_STATE, 8), TO_80],
    "-m state --state NEW -m tcp -p tcp --dport 80": [TCP, bits(Field.CT_STATE, 8), TO_80],
    "-p tcp --dport=80": [TCP, TO_80],
    "-p tcp --dport ! 80": [TCP, held(Field.DESTINATION_PORT, 80, negated=True)],
    "-p tcp -m multiport --dports 443,80:81,82": [TCP, held(Field.DESTINATION_PORT, (80, 82), 443)],
    "-p tcp -m multiport ! --sports 80": [TCP, held(Field.SOURCE_PORT, 80, negated=True)],
    "-p udp -m multiport --ports 80": [UDP, AnyOf((SOURCE_80, TO_80))],
    "-p udp -m multiport ! --ports 80": [
        UDP,
        held(Field.SOURCE_PORT, 80, negated=True),
        held(Field.DESTINATION_PORT, 80, negated=True),
    ],
    # ---- headers
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN": [TCP, held(Field.TCP_FLAGS, 2, mask=0x17)],
    "-p tcp ! --syn": [TCP, held(Field.TCP_FLAGS, 2, mask=0x17, negated=True)],
    "-p tcp -m tcp --tcp-flags ALL NONE": [TCP, held(Field.TCP_FLAGS, 0, mask=0x3F)],
    "-p tcp -m tcp --dport 80 --tcp-option 8": [TCP, TO_80, unknown("-m tcp --tcp-option 8")],
    "-p icmp -m icmp --icmp-type 8": [ICMP, held(Field.ICMP_TYPE, 8)],
    "-p icmp -m icmp --icmp-type 3/4": [ICMP, held(Field.ICMP_TYPE, 3), held(Field.ICMP_CODE, 4)],
    "-p icmp -m icmp ! --icmp-type fragmentation-needed": [
        ICMP,
        AnyOf((held(Field.ICMP_TYPE, 3, negated=True), held(Field.ICMP_CODE, 4, negated=True))),
    ],
    "-p icmp -m icmp --icmp-type any": [ICMP, WHOLE],
    "-p icmp -m icmp ! --icmp-type any": [ICMP, NEVER],
    "-m ttl --ttl-lt 5": [held(Field.TTL, (0, 4))],
    "-m ttl ! --ttl-eq 64": [held(Field.TTL, 64, negated=True)],
    "-m length --length 100:": [held(Field.LENGTH, (100, 65535))],
    "-m dscp --dscp-class AF41": [held(Field.DSCP, 34)],
    "-m tos --tos 0x10/0x3f": [held(Field.DSCP, 4, mask=0x0F), held(Field.ECN, 0)],
    "-m tos ! --tos 0x10/0x3f": [
        AnyOf((held(Field.DSCP, 4, mask=0x0F, negated=True), held(Field.ECN, 0, negated=True)))
    ],
    "-m ecn --ecn-ip-ect 3": [held(Field.ECN, 3)],
    "-p tcp -m ecn ! --ecn-tcp-ece": [TCP, unknown("-m ecn ! --ecn-tcp-ece")],
    # ---- connection tracking, marks
    "-m conntrack --ctstate RELATED,ESTABLISHED": [bits(Field.CT_STATE, 6)],
    "-m state ! --state NEW": [bits(Field.CT_STATE, 8, negated=True)],
    "-m conntrack --ctstate NEW,DNAT": [AnyOf((bits(Field.CT_STATE, 8), bits(Field.CT_STATUS, 32)))],
    "-m conntrack ! --ctstate DNAT": [AnyOf((bits(Field.CT_STATUS, 32),), negated=True)],
    "-m conntrack --ctorigdst 192.0.2.0/24 --ctproto udp --ctdir REPLY": [
        held(Field.CT_DESTINATION4, (four("192.0.2.0"), four("192.0.2.255"))),
        held(Field.CT_PROTOCOL, 17),
        held(Field.CT_DIRECTION, 1),
    ],
    "-m conntrack --ctreplsrcport 80 ! --ctstatus ASSURED,SEEN_REPLY": [
        held(Field.CT_REPLY_SOURCE_PORT, 80),
        bits(Field.CT_STATUS, 6, negated=True),
    ],
    # of a packet without a flow conntrack_mt() looks at the state alone
    "-m conntrack --ctstate INVALID --ctproto 6": [unknown("-m conntrack --ctstate INVALID --ctproto 6")],
    "-m conntrack --ctexpire 1:10": [momentary("-m conntrack --ctexpire 1:10")],
    "-m mark --mark 0x1/0xff": [held(Field.MARK, 1, mask=0xFF)],
    "-m connmark ! --mark 0x1": [held(Field.CT_MARK, 1, negated=True)],
    # ---- addresses
    "-m iprange ! --src-range 10.0.0.9-10.0.1.3": [
        held(Field.SOURCE4, (four("10.0.0.9"), four("10.0.1.3")), negated=True)
    ],
    "-m addrtype ! --src-type LOCAL,UNICAST --dst-type LOCAL": [
        held(Field.SOURCE_TYPE, (1, 2), negated=True),
        held(Field.DESTINATION_TYPE, 2),
    ],
    "-m addrtype --dst-type LOCAL --limit-iface-in": [
        unknown("-m addrtype --dst-type LOCAL --limit-iface-in")
    ],
    "-m set --match-set people src": [Test((Field.SOURCE4,), ipset("people"))],
    "-m set ! --match-set people dst": [AnyOf((Test((Field.DESTINATION4,), ipset("people")),), negated=True)],
    "-m set --match-set people src,dst": [Test((Field.SOURCE4,), ipset("people"))],
    "-m set --match-set ports dst": [Test((Field.PROTOCOL, Field.DESTINATION_PORT), ipset("ports"))],
    "-m set --match-set services src,dst": [
        Test((Field.SOURCE4, Field.PROTOCOL, Field.DESTINATION_PORT), ipset("services"))
    ],
    "-m set --match-set services src": [NEVER],
    "-m set ! --match-set services src": [],
    "-m set --match-set six src": [NEVER],
    "-m set --match-set all src": [
        AnyOf(
            (
                Test((Field.SOURCE4,), ipset("people")),
                Test((Field.PROTOCOL, Field.SOURCE_PORT), ipset("ports")),
            )
        )
    ],
    "-m set --match-set nobody src": [unknown("-m set --match-set nobody src")],
    "-m set --match-set people src --return-nomatch": [
        unknown("-m set --match-set people src --return-nomatch")
    ],
    "-m set --match-set people src ! --update-counters --packets-gt 5": [
        Test((Field.SOURCE4,), ipset("people")),
        momentary("-m set --packets-gt 5"),
    ],
    # ---- others
    "-m physdev --physdev-in vnet+ --physdev-is-bridged": [
        name(Field.PHYS_IN, prefix="vnet"),
        name(Field.PHYS_OUT, "", negated=True),
    ],
    "-m physdev ! --physdev-is-in": [name(Field.PHYS_IN, "")],
    "-m pkttype --pkt-type multicast": [held(Field.PACKET_TYPE, 2)],
    "-m rpfilter --loose --invert": [ReversePath(loose=True, negated=True)],
    "-m mac --mac-source 00:00:5e:00:53:01": [unknown("-m mac --mac-source 00:00:5e:00:53:01")],
    "-m policy --dir in --pol ipsec --strict --proto esp": [
        unknown("-m policy --dir in --pol ipsec --strict --proto esp")
    ],
    '-m u32 --u32 "0x0=0x0&&0x0=0x1"': [unknown('-m u32 --u32 "0x0=0x0&&0x0=0x1"')],
    "-m limit --limit 5/min -p tcp --dport 80": [TCP, momentary("-m limit --limit 5/min"), TO_80],
    "-m recent --set --name x --rsource": [],
    "-m recent --update --seconds 60 --name x --rsource": [
        momentary("-m recent --update --seconds 60 --name x --rsource")
    ],
    "-m statistic --mode random --probability 0.5": [
        momentary("-m statistic --mode random --probability 0.5")
    ],
    "-m invented --that 5 ! --this": [unknown("-m invented --that 5 ! --this")],
}


@pytest.mark.parametrize("words", MATCHES)
def test_a_match_tests_what_the_kernel_tests(words: str) -> None:
    assert statements(f"{words} -j DROP") == [*MATCHES[words], Drop()]


TARGETS: dict[str, list[Statement]] = {
    "": [],
    "-j ACCEPT": [Accept()],
    "-j RETURN": [Return()],
    "-j REJECT": [Reject("icmp-port-unreachable")],
    "-j REJECT --reject-with tcp-reset": [Reject("tcp-reset")],
    "-j USER": [Jump("USER")],
    "-g USER": [Jump("USER", goto=True)],
    "-j QUEUE": [Queue()],
    "-j NFQUEUE --queue-num 3 --queue-bypass": [Queue(bypass=True)],
    '-j LOG --log-prefix "-j DROP "': [],
    "-j NFLOG --nflog-group 3": [],
    "-j TCPMSS --clamp-mss-to-pmtu": [],
    "-j MARK --set-xmark 0x1/0xff": [Rewrite(Field.MARK, 1, 0xFF)],
    "-j MARK --set-mark 0x12/0xf": [Rewrite(Field.MARK, 0x12, 0x1F)],
    "-j MARK --and-mark 0xff": [Rewrite(Field.MARK, 0, 0xFFFFFF00)],
    "-j MARK --or-mark 0x4": [Rewrite(Field.MARK, 4, 4)],
    "-j MARK --xor-mark 0x4": [Rewrite(Field.MARK, 4, 0)],
    "-j CONNMARK --set-xmark 0x1/0x1": [Rewrite(Field.CT_MARK, 1, 1)],
    "-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff": [Rewrite(Field.CT_MARK, None, 0xFF, Field.MARK)],
    "-j CONNMARK --restore-mark": [Rewrite(Field.MARK, None, EVERY_BIT, Field.CT_MARK)],
    "-j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf0": [Rewrite(Field.MARK, None, 0xFF)],
    "-j CT --notrack": [NoTrack()],
    "-j NOTRACK": [NoTrack()],
    "-j CT --helper ftp": [],
    "-j CT --zone 5": [Rewrite(Field.CT_ZONE, 5, 0xFFFF)],
    "-j CT --zone-reply 0x7": [Rewrite(Field.CT_ZONE, 7, 0xFFFF)],
    "-j CT --zone-orig 5": [Rewrite(Field.CT_ZONE, 0, 0xFFFF)],
    "-j CT --zone mark": [Rewrite(Field.CT_ZONE, None, 0xFFFF, Field.MARK)],
    "-j TPROXY --on-port 3128 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1": [
        Tproxy("-j TPROXY --on-port 3128 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1")
    ],
    "-j TOS --set-tos 0x10/0x3f": [Rewrite(Field.DSCP, 4, 15), Rewrite(Field.ECN, 0, 3)],
    "-j DSCP --set-dscp 0x2e": [Rewrite(Field.DSCP, 46, 63)],
    "-j TTL --ttl-set 64": [Rewrite(Field.TTL, 64, 255)],
    "-j TTL --ttl-inc 1": [Rewrite(Field.TTL, None, 255)],
    "-j SET --add-set people src": [],
    "-j INVENTED --by us": [Unknown("-j INVENTED --by us")],
    "-j ELSEWHERE": [Unknown("-j ELSEWHERE")],
}


@pytest.mark.parametrize("words", TARGETS)
def test_a_target_does_what_the_kernel_does(words: str) -> None:
    assert statements(f"-p tcp {words}") == [TCP, *TARGETS[words]]


def addresses(*ends: str) -> Numbers:
    return Numbers(((four(ends[0]), four(ends[-1])),))


TRANSLATIONS: dict[str, tuple[str, Translate]] = {
    "-j SNAT --to-source 192.0.2.1": (
        "POSTROUTING",
        Translate(Translation.SOURCE, addresses("192.0.2.1")),
    ),
    "-j SNAT --to-source 192.0.2.1-192.0.2.4:1024-2000 --persistent": (
        "POSTROUTING",
        Translate(Translation.SOURCE, addresses("192.0.2.1", "192.0.2.4"), Numbers(((1024, 2000),))),
    ),
    "-j SNAT --to-source :53": ("POSTROUTING", Translate(Translation.SOURCE, None, number(53))),
    "-j SNAT --to-source 192.0.2.1 --random-fully": (
        "POSTROUTING",
        Translate(Translation.SOURCE, addresses("192.0.2.1"), Numbers(((1, 65535),))),
    ),
    "-j MASQUERADE": ("POSTROUTING", Translate(Translation.MASQUERADE)),
    "-p udp -j MASQUERADE --to-ports 1024-65535": (
        "POSTROUTING",
        Translate(Translation.MASQUERADE, None, Numbers(((1024, 65535),))),
    ),
    "-j DNAT --to-destination 10.0.0.2:8080": (
        "PREROUTING",
        Translate(Translation.DESTINATION, addresses("10.0.0.2"), number(8080)),
    ),
    # at random is a source's port only, where no range is given
    "-j DNAT --to-destination 10.0.0.2 --random": (
        "PREROUTING",
        Translate(Translation.DESTINATION, addresses("10.0.0.2")),
    ),
    "-p tcp -j REDIRECT --random": ("PREROUTING", Translate(Translation.REDIRECT)),
    "-j MASQUERADE --random-fully": (
        "POSTROUTING",
        Translate(Translation.MASQUERADE, None, Numbers(((1, 65535),))),
    ),
    "-j DNAT --to-destination 10.0.0.2:1000-2000/3000": (
        "PREROUTING",
        Translate(Translation.DESTINATION, addresses("10.0.0.2"), Numbers(((1000, 2000),))),
    ),
    "-p tcp -j REDIRECT --to-ports 3128": ("PREROUTING", Translate(Translation.REDIRECT, None, number(3128))),
    "-j NETMAP --to 10.5.0.0/16": (
        "PREROUTING",
        Translate(Translation.NETMAP_DESTINATION, addresses("10.5.0.0", "10.5.255.255")),
    ),
    "-s 10.0.0.0/8 -j NETMAP --to 10.5.0.0/16": (
        "POSTROUTING",
        Translate(Translation.NETMAP_SOURCE, addresses("10.5.0.0", "10.5.255.255")),
    ),
}


@pytest.mark.parametrize("words", TRANSLATIONS)
def test_a_translation_says_what_it_chooses_from(words: str) -> None:
    chain, wanted = TRANSLATIONS[words]
    assert statements(words, table="nat", chain=chain)[-1] == wanted


def test_two_negated_ports_of_iptables_nft_may_be_one_comparison() -> None:
    text = (
        "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp -m tcp ! --sport 53 ! --dport 22 -j DROP\nCOMMIT\n"
    )
    read = {tool: parse_save(text, "ip", tool)[0].chains["FORWARD"].rules[0] for tool in Tool}
    assert not [each for each in read[Tool.IPTABLES_LEGACY].statements if isinstance(each, Perhaps)]
    assert unknown("-m tcp ! --sport 53 ! --dport 22") in read[Tool.IPTABLES_NFT].statements


def test_netmap_in_a_chain_of_the_user_takes_the_end_of_the_hook_that_leads_there() -> None:
    text = """\
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:OUT - [0:0]
:DEEPER - [0:0]
:BOTH - [0:0]
-A PREROUTING -j BOTH
-A POSTROUTING -o eth0 -j OUT
-A POSTROUTING -j BOTH
-A OUT -g DEEPER
-A DEEPER -j NETMAP --to 10.5.0.0/16
-A BOTH -j NETMAP --to 10.5.0.0/16
COMMIT
"""
    chains = tables(text)["nat"].chains
    (outer,), (both,) = chains["DEEPER"].rules, chains["BOTH"].rules
    assert outer.statements == (Translate(Translation.NETMAP_SOURCE, addresses("10.5.0.0", "10.5.255.255")),)
    assert both.statements == (Unknown("-j NETMAP --to 10.5.0.0/16"),)


def test_ip6tables_has_the_fields_of_its_family() -> None:
    two = 0x20010DB8 << 96
    assert statements("-s 2001:db8::/32 -m conntrack --ctorigsrc 2001:db8::1", "ip6") == [
        held(Field.SOURCE6, (two, two | (1 << 96) - 1)),
        held(Field.CT_SOURCE6, two | 1),
    ]
    assert statements("-p ipv6-icmp -m icmp6 --icmpv6-type 1/0 -j REJECT", "ip6") == [
        ICMPV6,
        held(Field.ICMP_TYPE, 1),
        held(Field.ICMP_CODE, 0),
        Reject("icmp6-port-unreachable"),
    ]
    assert statements(
        "-j DNAT --to-destination [2001:db8::1-2001:db8::9]:80", "ip6", "nat", "PREROUTING"
    ) == [Translate(Translation.DESTINATION, Numbers(((two | 1, two | 9),)), number(80))]
    assert statements("-m set --match-set people src", "ip6") == [NEVER]
    # of IPv6 the address itself says whether it is of many (xt_addrtype.c: match_type6)
    assert statements("-m addrtype --dst-type MULTICAST", "ip6") == [
        held(Field.DESTINATION6, (0xFF << 120, (1 << 128) - 1))
    ]
    assert statements("-m addrtype ! --dst-type LOCAL,MULTICAST", "ip6") == [
        AnyOf(
            (
                held(Field.DESTINATION6, (0xFF << 120, (1 << 128) - 1), negated=True),
                held(Field.DESTINATION_TYPE, 2, negated=True),
            )
        )
    ]


# ---- lines, chains, tables --------------------------------------------------------------------------


WHOLE_TEXT = """\
# Generated by iptables-save v1.4.21 on Sun Nov 22 16:30:16 2026
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
*filter
:INPUT DROP [12:345]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:GOOD~STUFF - [0:0]
[7:420] -A INPUT -i lo -j ACCEPT
-A GOOD~STUFF -m comment --comment "say \\"no\\"" -j DROP -m comment --comment twice
COMMIT
*security
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
"""


def test_every_built_in_chain_stands_at_its_hook() -> None:
    hooks = {
        (table.name, chain.name): chain.hook
        for table in tables(WHOLE_TEXT).values()
        for chain in table.chains.values()
    }
    assert hooks == {
        ("raw", "PREROUTING"): Hook("prerouting", "filter", -300),
        ("raw", "OUTPUT"): Hook("output", "filter", -300),
        ("mangle", "PREROUTING"): Hook("prerouting", "filter", -150),
        ("mangle", "OUTPUT"): Hook("output", "route", -150),
        ("nat", "PREROUTING"): Hook("prerouting", "nat", -100),
        ("nat", "INPUT"): Hook("input", "nat", 100),
        ("nat", "OUTPUT"): Hook("output", "nat", -100),
        ("nat", "POSTROUTING"): Hook("postrouting", "nat", 100),
        ("filter", "INPUT"): Hook("input", "filter", 0, "drop"),
        ("filter", "FORWARD"): Hook("forward", "filter", 0),
        ("filter", "OUTPUT"): Hook("output", "filter", 0),
        ("filter", "GOOD~STUFF"): None,
        ("security", "INPUT"): Hook("input", "filter", 50),
        ("security", "FORWARD"): Hook("forward", "filter", 50),
        ("security", "OUTPUT"): Hook("output", "filter", 50),
    }


def test_a_chain_that_somebody_made_stands_at_no_hook_whatever_its_name() -> None:
    text = "*filter\n:FORWARD ACCEPT [0:0]\n:PREROUTING - [0:0]\n[0:0] -A FORWARD -j PREROUTING\nCOMMIT\n"
    chains = tables(text)["filter"].chains
    assert chains["PREROUTING"].hook is None
    assert chains["FORWARD"].rules[0].statements == (Jump("PREROUTING"),)


def test_a_rule_keeps_its_words_its_comments_and_its_counter() -> None:
    chains = tables(WHOLE_TEXT)["filter"].chains
    (lo,), (good,) = chains["INPUT"].rules, chains["GOOD~STUFF"].rules
    assert (lo.text, lo.counter) == ("-A INPUT -i lo -j ACCEPT", Counter(7, 420))
    assert good.comment == 'say "no" twice'
    assert good.statements == (Drop(),)
    assert good.counter is None


@pytest.mark.parametrize("odd", ["\n", "\r", "\v", "\x85", "\u2028", "a\n-A FORWARD -j ACCEPT\nb"])
def test_no_character_of_a_comment_ends_a_line(odd: str) -> None:
    words = f'-m comment --comment "one{odd}two" -j DROP'
    text = f"*filter\n:FORWARD ACCEPT [0:0]\n[1:2] -A FORWARD {words}\n[3:4] -A FORWARD -j ACCEPT\nCOMMIT\n"
    chain = tables(text)["filter"].chains["FORWARD"]
    first, second = chain.rules
    assert chain.count == 2
    assert (first.comment, first.statements) == (f"one{odd}two", (Drop(),))
    assert second.statements == (Accept(),)


def test_a_quote_that_nobody_closes_takes_no_other_rule_along() -> None:
    text = '*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m string --string a"b --algo bm\n-A FORWARD -j DROP\nCOMMIT\n'
    chain = tables(text)["filter"].chains["FORWARD"]
    assert [rule.statements[-1] for rule in chain.rules][1:] == [Drop()]


def test_a_line_of_no_iptables_is_one_unknown_rule() -> None:
    text = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A FORWARD -i lo -j ACCEPT
rule printed by nobody
-A FORWARD -j TRACE  <<<<<<
-A FORWARD -j
-A FORWARD -s
-A UNDECLARED -j DROP
COMMIT
"""
    chains = tables(text)["filter"].chains
    assert [rule.statements for rule in chains["FORWARD"].rules[1:]] == [
        (Unknown("rule printed by nobody"),),
        (Unknown("-A FORWARD -j TRACE  <<<<<<"),),
        (Unknown("-A FORWARD -j"),),
        (Unknown("-A FORWARD -s"),),
    ]
    assert chains["UNDECLARED"].rules[0].statements == (Drop(),)
    assert chains["INPUT"].rules == ()


def test_a_line_of_no_iptables_before_all_rules_may_belong_to_any_chain() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n:USER - [0:0]\n??\nCOMMIT\n"
    chains = tables(text)["filter"].chains
    assert chains["INPUT"].rules[0].statements == (Unknown("??"),)


def test_a_table_that_was_cut_off_is_told_and_not_taken_for_whole() -> None:
    with pytest.raises(ValueError, match=r"filter.*COMMIT"):
        tables("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\n")
    with pytest.raises(ValueError, match="outside"):
        tables("iptables-save: Permission denied\n")
    assert tables("") == {}


def test_rules_are_read_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Rule:
        raise AssertionError("nobody asked")

    monkeypatch.setattr("crossnet.netfilter.xtables_save.read_rule", refuse)
    chain = tables(WHOLE_TEXT)["filter"].chains["INPUT"]
    assert chain.count == 1
    with pytest.raises(AssertionError, match="nobody asked"):
        _ = chain.rules


def test_the_sets_that_rules_fill_are_known() -> None:
    rules = "-A INPUT -j SET --add-set seen src --exist\n-A INPUT -j SET --del-set gone src\n"
    assert filled_sets(f"*filter\n:INPUT ACCEPT [0:0]\n{rules}COMMIT\n") == {"seen", "gone"}
    assert filled_sets("*filter\nCOMMIT\n") == frozenset()


def test_the_sets_of_the_host_stand_in_each_table() -> None:
    sets = tables(WHOLE_TEXT)["filter"].ipsets
    assert sets["people"].members == Numbers(((four("10.0.0.5"), four("10.0.0.5")),))
    assert sets["all"].members is None
