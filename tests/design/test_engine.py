"""Which engine a gateway gets: what is live there and what it has decides, unless the spec does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from crossnet.design.engine import Choice, choose
from crossnet.errors import Refusal
from crossnet.facts import Facts, firewall
from crossnet.netfilter import TABLE_FAMILY, Engine
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.xtables_save import parse_save
from crossnet.spec import Firewall
from crossnet.values import Family
from design.factsheet import host_facts

DEBIAN = "tools ip sysctl nft iptables iptables-nft iptables-legacy ip6tables ip6tables-nft ip6tables-legacy"
CENTOS7 = "kernel 3.10.0\ntools ip sysctl iptables ip6tables\niptables legacy"
NO_NFT = "tools ip sysctl iptables iptables-nft ip6tables ip6tables-nft"
ONLY_NFT = "tools ip sysctl nft"
ONLY_NFT_IPTABLES = "tools ip sysctl iptables-nft"

ACCEPT = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
"""
INPUT_RULE = ACCEPT.replace("COMMIT", "-A INPUT -i lo -j ACCEPT\nCOMMIT")
FORWARD_DROPS = ACCEPT.replace(":FORWARD ACCEPT", ":FORWARD DROP")
FORWARD_REJECTS = ACCEPT.replace("COMMIT", "-A FORWARD -j REJECT --reject-with icmp-port-unreachable\nCOMMIT")
OURS = """*filter
:FORWARD ACCEPT [0:0]
:CROSSNET-FORWARD - [0:0]
-A FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD
-A CROSSNET-FORWARD -m comment --comment crossnet:fence -j DROP
COMMIT
"""

LEGACY, WITH_NFT, NFTABLES = Engine.IPTABLES_LEGACY, Engine.IPTABLES_NFT, Engine.NFTABLES


@dataclass(frozen=True)
class Case:
    name: str
    sheet: str
    live: dict[Engine, str]
    wanted: Firewall
    engine: Engine | None
    reason: str
    accepts: Engine | None = None


def case(
    name: str,
    sheet: str,
    engine: Engine | None,
    reason: str,
    *,
    wanted: Firewall = Firewall.AUTO,
    legacy: str = "",
    nft: str = "",
    accepts: Engine | None = None,
) -> Case:
    return Case(name, sheet, {LEGACY: legacy, WITH_NFT: nft}, wanted, engine, reason, accepts)


CASES = [
    case("nothing-live", DEBIAN, NFTABLES, "no iptables rule stands in its way"),
    case("empty-tables-are-nothing", DEBIAN, NFTABLES, "no iptables rule", legacy=ACCEPT, nft=ACCEPT),
    case("legacy-live", DEBIAN, LEGACY, "it already holds rules", legacy=INPUT_RULE),
    case("legacy-policy-live", DEBIAN, LEGACY, "it already holds rules", legacy=FORWARD_DROPS),
    case("nft-variant-that-cannot-drop", DEBIAN, NFTABLES, "no iptables rule", nft=INPUT_RULE),
    case("nft-variant-policy-drop", DEBIAN, NFTABLES, "FORWARD chain can drop", nft=FORWARD_DROPS, accepts=WITH_NFT),
    case("nft-variant-rejects", DEBIAN, NFTABLES, "FORWARD chain can drop", nft=FORWARD_REJECTS, accepts=WITH_NFT),
    case("nft-variant-drops-and-no-nft", NO_NFT, WITH_NFT, "FORWARD chain of iptables can drop", nft=FORWARD_DROPS),
    case("forced-nftables-beside-a-drop", DEBIAN, NFTABLES, "asked for", wanted=Firewall.NFTABLES, nft=FORWARD_DROPS),
    case("forced-iptables-beside-a-drop", DEBIAN, WITH_NFT, "asked for", wanted=Firewall.IPTABLES, nft=FORWARD_DROPS),
    case("both-live", DEBIAN, WITH_NFT, "both live", legacy=INPUT_RULE, nft=FORWARD_DROPS),
    case("both-live-named-legacy", f"{DEBIAN}\niptables legacy", LEGACY, "live", legacy=INPUT_RULE, nft=FORWARD_DROPS),
    case("own-rules-are-nobodys", DEBIAN, NFTABLES, "no iptables rule", legacy=OURS, nft=OURS),
    case("nft-missing", CENTOS7, LEGACY, "nft is missing or too old"),
    case("nft-on-an-old-kernel", f"{CENTOS7}\ntools ip sysctl nft iptables", LEGACY, "nft is missing or too old"),
    case("kernel-just-old", f"{DEBIAN}\nkernel 4.17.19", WITH_NFT, "too old"),
    case("kernel-just-new", f"{DEBIAN}\nkernel 4.18.0", NFTABLES, "no iptables rule"),
    case("only-nft", ONLY_NFT, NFTABLES, "no iptables rule"),
    case("only-the-nft-variant", f"{ONLY_NFT_IPTABLES}\niptables legacy", WITH_NFT, "nft is missing"),
    case("neither", "tools ip sysctl", None, "neither nft nor iptables"),
    case("old-kernel-and-only-nft", f"{ONLY_NFT}\nkernel 3.10.0", None, "nftables"),
    case("forced-nftables", DEBIAN, NFTABLES, "asked for", wanted=Firewall.NFTABLES, legacy=INPUT_RULE),
    case("forced-nftables-old-kernel", f"{DEBIAN}\nkernel 4.17.0", None, "4.18", wanted=Firewall.NFTABLES),
    case("forced-nftables-missing", CENTOS7, None, "install nftables", wanted=Firewall.NFTABLES),
    case("forced-iptables", DEBIAN, WITH_NFT, "asked for", wanted=Firewall.IPTABLES),
    case("forced-iptables-legacy-live", DEBIAN, LEGACY, "holds rules", wanted=Firewall.IPTABLES, legacy=INPUT_RULE),
    case("forced-iptables-named-legacy", CENTOS7, LEGACY, "asked for", wanted=Firewall.IPTABLES),
    case("forced-iptables-missing", ONLY_NFT, None, "install iptables", wanted=Firewall.IPTABLES),
]  # fmt: skip


def gateway(case: Case, family: Family = Family.V4) -> Facts:
    name = TABLE_FAMILY[family]
    live = [table for engine, text in case.live.items() for table in parse_save(text, name, Tool(engine))]
    return host_facts("gateway", case.sheet, firewall=firewall.Firewall(foreign=tuple(live)))


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_engine(one: Case) -> None:
    choice = choose(gateway(one), one.wanted)
    if one.engine is None:
        assert isinstance(choice, Refusal)
        assert (choice.code, choice.where) == ("no-firewall-engine", "gateway")
        assert one.reason in f"{choice.message} {choice.todo}".casefold()
    else:
        assert isinstance(choice, Choice)
        assert (choice.engine, choice.accepts) == (one.engine, one.accepts)
        assert one.reason in choice.reason


def test_a_drop_in_ipv6_alone_decides_as_well() -> None:
    one = next(one for one in CASES if one.name == "nft-variant-policy-drop")
    choice = choose(gateway(one, Family.V6), Firewall.AUTO)
    assert isinstance(choice, Choice)
    assert (choice.engine, choice.accepts) == (NFTABLES, WITH_NFT)


@pytest.mark.parametrize("moves", [True, False])
def test_accepts_stay_while_nothing_drops(moves: bool) -> None:
    """Somebody's rules are gone for a moment, or for good: theirs to say."""
    one = next(one for one in CASES if one.name == "nothing-live")
    choice = choose(gateway(one), Firewall.AUTO, (NFTABLES, WITH_NFT), moves=moves)
    assert isinstance(choice, Choice)
    assert (choice.engine, choice.accepts, choice.better) == (NFTABLES, WITH_NFT, None)


def test_what_comes_to_drop_is_told_and_gets_an_accept_with_the_next_plan() -> None:
    one = next(one for one in CASES if one.name == "nft-variant-policy-drop")
    planned = choose(gateway(one), Firewall.AUTO, (NFTABLES,))
    assert isinstance(planned, Choice)
    assert (planned.engine, planned.accepts) == (NFTABLES, WITH_NFT)
    seen = choose(gateway(one), Firewall.AUTO, (NFTABLES,), moves=False)
    assert isinstance(seen, Choice)
    assert (seen.engine, seen.accepts, seen.better) == (NFTABLES, None, planned)


def test_rules_that_stand_in_iptables_stay_there() -> None:
    one = next(one for one in CASES if one.name == "nft-variant-policy-drop")
    choice = choose(gateway(one), Firewall.AUTO, (WITH_NFT,))
    assert isinstance(choice, Choice)
    assert (choice.engine, choice.accepts) == (WITH_NFT, None)


@pytest.mark.parametrize(
    ("tools", "engine", "family", "name"),
    [
        ("iptables iptables-legacy iptables-nft", LEGACY, Family.V4, "iptables-legacy"),
        ("iptables iptables-legacy iptables-nft", WITH_NFT, Family.V4, "iptables-nft"),
        ("ip6tables ip6tables-legacy", LEGACY, Family.V6, "ip6tables-legacy"),
        ("iptables ip6tables", LEGACY, Family.V4, "iptables"),
        ("iptables ip6tables", LEGACY, Family.V6, "ip6tables"),
        ("iptables ip6tables", WITH_NFT, Family.V6, "ip6tables"),
    ],
)
def test_what_the_host_calls_the_variant(tools: str, engine: Engine, family: Family, name: str) -> None:
    facts = host_facts("gateway", "")
    able = replace(facts.capabilities, tools=frozenset(tools.split()))
    assert replace(facts, capabilities=able).iptables(engine, family) == name
