"""The own table through nft, iptables and ipset themselves, each in a network namespace of its own.

Written, listed, parsed: what comes back must equal what was wanted, and nothing of others may move.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossnet.netfilter import (
    Accept,
    Chain,
    ClampMss,
    Continue,
    DestinationPorts,
    Drop,
    Endpoint,
    FlowDirection,
    FlowEnd,
    Interface,
    L4Protocol,
    Map,
    Masquerade,
    Match,
    NamedSet,
    Reject,
    Return,
    Rule,
    Set,
    Snat,
    SnatByDestination,
    State,
    SynOnly,
    Table,
    Verdict,
    iptables,
    nft,
    own,
)
from crossnet.netfilter.normal_form import in_order, join_ports
from crossnet.netfilter.own import HOOKS, check_own, collapsed
from crossnet.values import Address, Network, Ports, network
from netfilter.namespace import IS_ROOT, Namespace, new_namespace

pytestmark = pytest.mark.lab

# An ordinary user may not widen the socket buffer, and nft sends a whole file at once ("Message too long").
MANY = 10_000 if IS_ROOT else 500


# ---- a namespace ---------------------------------------------------------------------------------


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[Namespace]:
    with new_namespace(tmp_path / "lock") as each:
        yield each


# ---- the wanted tables ---------------------------------------------------------------------------


def chain(name: str, *rules: Rule) -> Chain:
    return Chain(name, rules, HOOKS[name])


def gateway(family: str, *, maps: bool) -> Table:
    """Three crossings: many single clients, networks with ports, and one with many translations."""
    v4 = family == "ip"

    def net(four: str, six: str) -> Network:
        return network(four if v4 else six)

    icmp = L4Protocol("icmp" if v4 else "ipv6-icmp")
    inward, outward = Interface("in", "eth1"), Interface("out", "eth0")
    back = (Interface("in", "eth0"), Interface("out", "eth1"))
    base = int(IPv4Address("10.100.0.0")) if v4 else int(IPv6Address("fd00:100::"))
    many = collapsed(
        frozenset(host(family, base + 3 * number) for number in range(MANY))  # no two are neighbours
    )
    source: Address = IPv4Address("10.0.44.63") if v4 else IPv6Address("fd00:44::63")
    to_many = Endpoint("destination", NamedSet("to-many"))
    pairs = tuple(sorted(many, key=lambda member: int(member.network_address))[:100])
    by_rule = tuple(
        Rule((outward, Endpoint("destination", pair)), Snat(source + number), "many")
        for number, pair in enumerate(pairs[:3])
    )
    return Table(
        family,
        "crossnet",
        (
            chain(
                "forward",
                Rule((State(frozenset({"established", "related"})),), Accept()),
                Rule(
                    (
                        inward,
                        outward,
                        Endpoint("source", net("10.0.43.15", "fd00:43::15")),
                        Endpoint("destination", net("10.0.44.0/24", "fd00:44::/64")),
                        icmp,
                    ),
                    Accept(),
                    "business",
                ),
                Rule(
                    (
                        inward,
                        outward,
                        Endpoint("source", NamedSet("from-business")),
                        Endpoint("destination", net("10.0.44.0/24", "fd00:44::/64")),
                        L4Protocol("tcp"),
                        DestinationPorts((Ports(443, 443), Ports(8000, 8010))),
                    ),
                    Accept(),
                    "business",
                ),
                Rule(
                    (
                        inward,
                        outward,
                        Endpoint("source", NamedSet("from-business")),
                        to_many,
                        L4Protocol("udp"),
                    ),
                    Accept(),
                    "business",
                ),
                Rule(
                    (inward, outward, L4Protocol("udp"), DestinationPorts((Ports(53, 53),))),
                    Accept(),
                    "one.port",
                ),
                Rule((*back, Endpoint("source", NamedSet("from-business"), negated=True)), Reject(), "a: b"),
                Rule((Interface("in", "eth1", negated=True), outward), Return()),
                Rule((L4Protocol("tcp", negated=True),), Continue()),
                Rule((), Drop(), "fence"),
            ),
            chain(
                "postrouting",
                Rule((outward, to_many), SnatByDestination("snat-many"), "many") if maps else by_rule[0],
                *by_rule[1:],
                Rule((outward, Endpoint("source", NamedSet("from-business"))), Snat(source), "business"),
                Rule((outward,), Masquerade(), "rest"),
            ),
            chain(
                "mangle",
                Rule((outward, L4Protocol("tcp"), SynOnly()), ClampMss(), "business"),
                Rule((Interface("in", "eth0"), L4Protocol("tcp"), SynOnly()), ClampMss(), "business"),
            ),
        ),
        (
            Set("empty", frozenset()),
            Set("everything", frozenset({net("0.0.0.0/0", "::/0")})),
            Set(
                "from-business",
                frozenset(
                    {
                        net("10.0.43.15", "fd00:43::15"),
                        net("10.9.0.0/16", "fd00:9::/32"),
                        net("10.8.0.0/25", "fd01::/17"),
                    }
                ),
            ),
            Set("to-many", many),
        ),
        (
            Map("snat-many", frozenset((pair, source) for pair in pairs)),
            Map("wide", frozenset({(net("10.0.0.0/8", "fc00::/7"), source)})),
        )
        if maps
        else (),
    )


def host(family: str, number: int) -> Network:
    return IPv4Network(number) if family == "ip" else IPv6Network(number)


def changed(table: Table) -> Table:
    """Another rule, a set whose members became single addresses, one set more and one less."""
    forward, *rest = table.chains
    fewer = frozenset(sorted(table.sets[3].members, key=str)[:7])
    return replace(
        table,
        chains=(replace(forward, rules=forward.rules[:-1]), *rest),
        sets=(
            replace(table.sets[2], members=fewer),
            Set("from-other", table.sets[2].members),
            table.sets[3],
        ),
    )


# ---- nftables ------------------------------------------------------------------------------------

FOREIGN_NFT = """
table inet filter {
  set hosts { type ipv4_addr
    elements = { 192.0.2.1 }
  }
  chain forward { type filter hook forward priority 0; policy drop;
    ip saddr @hosts counter accept
  }
}
table ip nat {
  chain POSTROUTING { type nat hook postrouting priority 100; policy accept;
  }
}
"""


def listed(namespace: Namespace) -> tuple[Table, ...]:
    return nft.parse_ruleset(namespace.run("nft", "-j", "list", "ruleset"))


def own_nft(namespace: Namespace, family: str) -> Table | None:
    found = [table for table in listed(namespace) if (table.family, table.name) == (family, "crossnet")]
    return found[0] if found else None


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_nftables_gives_back_the_table_that_was_written(namespace: Namespace, family: str) -> None:
    namespace.run("nft", "-f", "-", text=FOREIGN_NFT)
    foreign = listed(namespace)
    wanted = gateway(family, maps=True)
    for want in (wanted, changed(wanted), wanted):
        namespace.run("nft", "-f", "-", text=nft.write_table(want))
        assert own_nft(namespace, family) == want
    namespace.run("nft", "-f", "-", text=nft.remove_table(family))
    assert listed(namespace) == foreign
    namespace.run("nft", "-f", "-", text=nft.remove_table(family))  # nothing to remove is no error
    assert listed(namespace) == foreign


def test_nftables_holds_both_families_side_by_side(namespace: Namespace) -> None:
    for family in ("ip", "ip6"):
        namespace.run("nft", "-f", "-", text=nft.write_table(gateway(family, maps=True)))
    assert set(listed(namespace)) == {gateway("ip", maps=True), gateway("ip6", maps=True)}


def test_a_refused_table_leaves_the_one_before(namespace: Namespace) -> None:
    want = gateway("ip", maps=True)
    namespace.run("nft", "-f", "-", text=nft.write_table(want))
    broken = nft.write_table(changed(want)).replace("masquerade", "masquerade to nowhere")
    assert namespace.attempt("nft", "-f", "-", text=broken).returncode != 0
    assert own_nft(namespace, "ip") == want


def test_counters_of_nftables_are_read(namespace: Namespace) -> None:
    namespace.run("nft", "-f", "-", text=nft.write_table(gateway("ip", maps=True)))
    table = own_nft(namespace, "ip")
    assert table is not None
    assert all(rule.counter is not None for chain in table.chains for rule in chain.rules)


# ---- iptables ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Iptables:
    """One of the two variants of iptables in a namespace, for one family."""

    namespace: Namespace
    variant: str
    family: str

    def command(self, name: str) -> str:
        return f"{'iptables' if self.family == 'ip' else 'ip6tables'}-{self.variant}{name}"

    def tables(self) -> tuple[Table, ...]:
        return iptables.parse_save(self.namespace.run(self.command("-save"), "-c"), self.family)

    def ipsets(self) -> tuple[Set, ...]:
        return iptables.parse_ipset_save(self.namespace.run("ipset", "save"))

    def own(self) -> Table | None:
        return iptables.own_table(self.tables(), self.ipsets(), self.family)

    def write(self, have: Table | None, want: Table | None) -> None:
        before, after = iptables.write_ipsets(have, want)
        self.namespace.run("ipset", "restore", text=before)
        self.namespace.run(self.command("-restore"), "--noflush", text=iptables.write_chains(have, want))
        self.namespace.run("ipset", "restore", text=after)

    def jump(self, arguments: tuple[str, ...]) -> None:
        self.namespace.run(self.command(""), *arguments)


def in_use(tables: tuple[Table, ...]) -> tuple[Table, ...]:
    """Without tables of nothing but empty built-in chains, which iptables makes on first use and keeps."""
    return tuple(
        table
        for table in tables
        if any(each.rules or each.hook is None or each.hook.policy != "accept" for each in table.chains)
    )


@pytest.fixture(params=["nft", "legacy"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["ip", "ip6"])
def host_iptables(namespace: Namespace, variant: str, request: pytest.FixtureRequest) -> Iptables:
    found = Iptables(namespace, variant, request.param)
    for arguments in (
        ("-P", "FORWARD", "DROP"),
        ("-N", "THEIRS"),
        ("-A", "FORWARD", "-m", "comment", "--comment", 'say "it"', "-j", "THEIRS"),
        ("-A", "THEIRS", "-p", "tcp", "--dport", "22", "-j", "ACCEPT"),
        ("-t", "nat", "-A", "POSTROUTING", "-o", "wan", "-j", "MASQUERADE"),
    ):
        found.jump(arguments)
    namespace.run("ipset", "create", "theirs", "hash:net")
    namespace.run("ipset", "create", "xnet-not-ours", "hash:ip")
    return found


def test_iptables_gives_back_the_table_that_was_written(host_iptables: Iptables) -> None:
    foreign, foreign_sets = host_iptables.tables(), host_iptables.ipsets()
    assert host_iptables.own() is None
    wanted = gateway(host_iptables.family, maps=False)
    have: Table | None = None
    for want in (wanted, changed(wanted), wanted):
        host_iptables.write(have, want)
        if have is None:
            for name in HOOKS:
                host_iptables.jump(iptables.insert_jump(name))
        have = host_iptables.own()
        assert have == want
        assert iptables.write_ipsets(have, want) == ("", "")
        assert iptables.write_chains(have, want) == ""
    for name in HOOKS:
        assert iptables.jump_positions(host_iptables.tables(), name, host_iptables.family) == (1,)
        host_iptables.jump(iptables.delete_jump(name))
        assert iptables.jump_positions(host_iptables.tables(), name, host_iptables.family) == ()
    host_iptables.write(have, None)
    assert host_iptables.own() is None
    assert in_use(host_iptables.tables()) == foreign
    assert host_iptables.ipsets() == foreign_sets


def test_a_chain_comes_and_goes_alone(host_iptables: Iptables) -> None:
    """The chains of one table change without a word to the others, whose counters go on."""
    both = gateway(host_iptables.family, maps=False)
    one = replace(both, chains=both.chains[:1])
    host_iptables.write(None, both)
    assert "*filter" not in iptables.write_chains(both, one)
    host_iptables.write(both, one)
    assert host_iptables.own() == one
    host_iptables.write(one, both)
    assert host_iptables.own() == both


def test_a_chain_with_its_jump_is_not_removed(host_iptables: Iptables) -> None:
    want = gateway(host_iptables.family, maps=False)
    host_iptables.write(None, want)
    host_iptables.jump(iptables.insert_jump("forward"))
    text = iptables.write_chains(want, None)
    command = host_iptables.command("-restore")
    assert host_iptables.namespace.attempt(command, "--noflush", text=text).returncode != 0
    found = host_iptables.own()
    assert found is not None
    assert found.chain("forward") == want.chain("forward")


@pytest.mark.parametrize("times", [1, 3])
def test_a_jump_is_moved_to_the_top(host_iptables: Iptables, times: int) -> None:
    """What others put in front stays, and a jump that is not there any more changes nothing."""
    host_iptables.write(None, gateway(host_iptables.family, maps=False))
    for _ in range(times):
        host_iptables.jump(iptables.insert_jump("forward"))
        host_iptables.jump(("-I", "FORWARD", "-i", "eth9", "-j", "ACCEPT"))
    restore = iptables.restore_command(host_iptables.command(""), waits=False)
    host_iptables.namespace.run(*restore, text=iptables.move_jump("forward", times))
    positions = iptables.jump_positions(host_iptables.tables(), "forward", host_iptables.family)
    assert positions == (1,)
    listed = host_iptables.namespace.run(host_iptables.command(""), "-S", "FORWARD")
    assert listed.count("-i eth9 -j ACCEPT") == times
    refused = host_iptables.namespace.attempt(*restore, text=iptables.move_jump("forward", 2))
    assert refused.returncode != 0
    assert host_iptables.namespace.run(host_iptables.command(""), "-S", "FORWARD") == listed


def test_sets_cut_off_in_the_middle_are_written_again(host_iptables: Iptables) -> None:
    whole = gateway(host_iptables.family, maps=False)
    want = replace(whole, sets=(*whole.sets[:3], replace(whole.sets[3], members=whole.sets[2].members)))
    before, _ = iptables.write_ipsets(None, want)
    lines = before.splitlines(keepends=True)
    for cut in (1, 2, 5, len(lines) // 2, len(lines) - 1):
        host_iptables.namespace.run("ipset", "restore", text="".join(lines[:cut]))
        host_iptables.write(host_iptables.own(), want)
        assert host_iptables.own() == want
        host_iptables.write(want, None)
        assert host_iptables.own() is None


def test_the_families_share_ipset_and_do_not_mix(namespace: Namespace, variant: str) -> None:
    four, six = Iptables(namespace, variant, "ip"), Iptables(namespace, variant, "ip6")
    four.write(None, gateway("ip", maps=False))
    six.write(None, gateway("ip6", maps=False))
    assert four.own() == gateway("ip", maps=False)
    assert six.own() == gateway("ip6", maps=False)
    four.write(gateway("ip", maps=False), None)
    assert four.own() is None
    assert six.own() == gateway("ip6", maps=False)


def test_the_most_ports_that_fit_do_fit(host_iptables: Iptables) -> None:
    most = (*(Ports(port, port) for port in range(100, 126, 2)), Ports(8000, 8010))
    one_more = (*most, Ports(9000, 9000))
    assert iptables.fits_multiport(most)
    assert not iptables.fits_multiport(one_more)
    for ranges, accepted in ((most, True), (one_more, False)):
        numbers = ",".join(str(ports).replace("-", ":") for ports in ranges)
        done = host_iptables.namespace.attempt(
            host_iptables.command(""), *f"-A FORWARD -p tcp -m multiport --dports {numbers}".split()
        )
        assert (done.returncode == 0) is accepted


# ---- any table -----------------------------------------------------------------------------------


def addresses(family: str) -> st.SearchStrategy[Address]:
    return st.ip_addresses(v=4) if family == "ip" else st.ip_addresses(v=6)


def networks(family: str, shortest: int = 1) -> st.SearchStrategy[Network]:
    longest = 32 if family == "ip" else 128
    return st.builds(
        lambda address, length: ip_network((address, length), strict=False),
        addresses(family),
        st.integers(shortest, longest) | st.just(longest),
    )


INTERFACES = st.from_regex(r"[a-z][a-z0-9_.@-]{0,13}[a-z0-9]", fullmatch=True)
PORTS = st.builds(
    lambda one, other: Ports(min(one, other), max(one, other)), st.integers(1, 65535), st.integers(1, 65535)
) | st.builds(lambda port: Ports(port, port), st.integers(1, 65535))
COMMENTS = st.just("") | st.from_regex(r"[a-z0-9](?:[a-z0-9 .:/_-]{0,30}[a-z0-9])?", fullmatch=True)
SET_NAMES = st.from_regex(r"(?:from|to)-[A-Za-z0-9_.-]{1,20}", fullmatch=True)


@st.composite
def rules(
    draw: st.DrawFn, family: str, chain_name: str, sets: list[str], maps: list[str], *, nft: bool
) -> Rule:
    matches: list[Match] = []
    for direction in ("in", "out"):
        # iptables knows no incoming interface after routing
        if draw(st.booleans()) and not (direction == "in" and chain_name == "postrouting"):
            matches.append(
                Interface("in" if direction == "in" else "out", draw(INTERFACES), draw(st.booleans()))
            )
    for side in ("source", "destination"):
        named = st.sampled_from(sets).map(NamedSet) if sets else st.nothing()
        for where in (networks(family), named):
            if where is not st.nothing() and not where.is_empty and draw(st.booleans()):
                matches.append(
                    Endpoint(
                        "source" if side == "source" else "destination", draw(where), draw(st.booleans())
                    )
                )
    states = st.frozensets(
        st.sampled_from(("new", "established", "related", "invalid", "untracked")), min_size=1
    )
    if draw(st.booleans()):
        matches.append(State(draw(states)))
    if draw(st.booleans()):
        matches.append(FlowDirection(draw(st.sampled_from(("original", "reply")))))
    if draw(st.booleans()):
        # only nft compares the ends of a flow with a set
        ends = networks(family) | st.sampled_from(sets).map(NamedSet) if sets and nft else networks(family)
        matches.append(FlowEnd(draw(st.sampled_from(("source", "destination"))), draw(ends)))
    verdicts: list[Verdict] = [Accept(), Return(), Continue()]
    if chain_name == "forward":
        verdicts += [Drop(), Reject()]
    if chain_name == "postrouting":
        verdicts += [Masquerade(), Snat(draw(addresses(family))), *(SnatByDestination(name) for name in maps)]
    protocol = draw(st.sampled_from(("", "tcp", "udp", "icmp" if family == "ip" else "ipv6-icmp")))
    if protocol:
        ports = protocol in ("tcp", "udp") and draw(st.booleans())
        syn = protocol == "tcp" and draw(st.booleans())
        matches.append(L4Protocol(protocol, False if ports or syn else draw(st.booleans())))
        if ports:
            ranges = draw(st.lists(PORTS, min_size=1, max_size=7).map(join_ports))
            matches.append(DestinationPorts(ranges))
        if syn:
            matches.append(SynOnly())
            verdicts += [ClampMss()] if chain_name == "mangle" else []
    return Rule(in_order(matches), draw(st.sampled_from(verdicts)), draw(COMMENTS))


@st.composite
def own_tables(draw: st.DrawFn, family: str, *, maps: bool) -> Table:
    names = sorted(draw(st.sets(SET_NAMES, max_size=4)))
    members = st.frozensets(networks(family, 0) | networks(family, 32 if family == "ip" else 128), max_size=6)
    sets = tuple(Set(name, collapsed(draw(members))) for name in names)
    named_maps: list[Map] = []
    for name in sorted(draw(st.sets(SET_NAMES, max_size=2)) - set(names)) if maps else ():
        keys = collapsed(draw(members))
        named_maps.append(Map(name, frozenset((key, draw(addresses(family))) for key in keys)))
    chains = tuple(
        Chain(
            name,
            tuple(
                draw(
                    st.lists(
                        rules(family, name, names, [each.name for each in named_maps], nft=maps), max_size=4
                    )
                )
            ),
            HOOKS[name],
        )
        for name in HOOKS
        if draw(st.integers(0, 3))
    )
    return Table(family, own.TABLE, chains, sets, tuple(named_maps))


# A namespace serves many examples: each removes what the one before left.
REAL = settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@REAL
@given(data=st.data())
@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_any_own_table_comes_back_from_nftables(
    namespace: Namespace, family: str, data: st.DataObject
) -> None:
    want = data.draw(own_tables(family, maps=True))
    check_own(want)
    namespace.run("nft", "-f", "-", text=nft.write_table(want))
    assert own_nft(namespace, family) == want


@REAL
@given(data=st.data())
def test_any_own_table_comes_back_from_iptables(host_iptables: Iptables, data: st.DataObject) -> None:
    want = data.draw(own_tables(host_iptables.family, maps=False))
    have = host_iptables.own()
    host_iptables.write(have, want)
    assert host_iptables.own() == (want if want.chains or want.sets else None)
