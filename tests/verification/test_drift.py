"""Drift is a host against its record, pending a plan against the record; both say what, in which direction, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations

import pytest

from crossnet.api import plan
from crossnet.design.flows import Effect
from crossnet.errors import CrossnetError, PlanRefused
from crossnet.facts import Facts, FileState
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route
from crossnet.facts.saved import SavedRules
from crossnet.health import CrossingStatus, State, crossing_status, refused_status, unknown_status
from crossnet.netfilter import (
    Accept,
    DestinationPorts,
    Drop,
    Endpoint,
    Engine,
    Interface,
    L4Protocol,
    Rule,
    Table,
)
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.own_walked import with_own
from crossnet.netfilter.xtables_save import parse_save
from crossnet.planning import make_plan
from crossnet.record import APPLIED, VERIFIED, Owned, Record, read_record
from crossnet.resources import RuleTable
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.values import Family, Ports, address, host_network, network
from crossnet.verification.comparing import compared
from design.factsheet import SEED, facts_from, route, with_files
from planning.fakehost import carry_out, facts_of, hosts_of

SEED_HOSTS = f"{SEED}\n  tools ip sysctl nft iptables iptables-nft conntrack awk systemctl"
ROUTE = "route 10.0.44.0/24 via 10.0.43.101 dev eth0"
TABLE = "gateway: table crossnet"
OPEN = (
    "gateway is open for everybody: its fence for IPv4 is gone, and it forwards what comes in by eth1, eth0. "
    "`crossnet apply` brings the fence back; `sysctl -w net.ipv4.ip_forward=0` on gateway closes it at once"
)
NOT_ADMITTED = "so what app sends is stopped on gateway: crossnet's own rules there no longer admit it"
UNTRANSLATED = (
    "so what app sends leaves gateway with its own source, and perhaps nobody there knows a way back"
)
UNTIL_BOOT = "it works as applied until the next boot, which may not bring all of it back"
Hosts = dict[str, Facts]


def asked(more: str = "", to: str = "10.0.44.0/24") -> str:
    hosts = "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
    return f"{hosts}crossings: {{business: {{from: app, via: gateway, to: {to}{more}}}}}"


def applied(sheet: str = SEED_HOSTS) -> Hosts:
    hosts = hosts_of(facts_from(sheet))
    carry_out(plan(parse(asked(), "crossnet.yaml"), facts_of(hosts)), hosts)
    found = facts_of(hosts)
    proved = b'{"business": {"time": "2026-11-28T12:00:00+00:00", "result": "reachable", "end": "proved"}}'
    found["gateway"] = with_files(found["gateway"], {VERIFIED: FileState(proved, 0o600, "0:0")})
    # A host tells crossnet's own rules among everybody's.
    return rules(lambda table: table)(found)


def status(facts: Hosts, text: str = "") -> CrossingStatus:
    made = make_plan(parse(text or asked(), "crossnet.yaml"), facts, moves=False)
    (found,) = crossing_status(made, facts)
    # verify tells the same in the same words, but for what it means
    told = compared(made, facts)
    assert [reason for reason in found.reasons if reason in told] == list(told)
    assert (*found.drift, *found.pending) == told
    return found


def on(host: str, change: Callable[[Facts], Facts]) -> Callable[[Hosts], Hosts]:
    return lambda hosts: {**hosts, host: change(hosts[host])}


def rules(change: Callable[[Table], Table | None]) -> Callable[[Hosts], Hosts]:
    """Somebody's hand in crossnet's table."""

    def changed(facts: Facts) -> Facts:
        tables = tuple(table for each in facts.firewall.nft if (table := change(each)) is not None)
        walked = with_own(facts.firewall.foreign, [(Engine.NFTABLES, table) for table in tables])
        return replace(facts, firewall=replace(facts.firewall, nft=tables, foreign=walked))

    return on("gateway", changed)


def proved(found: Hosts) -> Hosts:
    """The same where the gateway keeps that an answer came back through the crossing."""
    kept = b'{"business": {"time": "2026-11-28T12:00:00+00:00", "result": "reachable", "end": "proved"}}'
    gateway = with_files(found["gateway"], {VERIFIED: FileState(kept, 0o600, "0:0")})
    return rules(lambda table: table)({**found, "gateway": gateway})


def chain(name: str, change: Callable[[tuple[Rule, ...]], tuple[Rule, ...]]) -> Callable[[Hosts], Hosts]:
    return rules(
        lambda table: replace(
            table,
            chains=tuple(
                replace(each, rules=change(each.rules)) if each.name == name else each
                for each in table.chains
            ),
        )
    )


def file(path: str, mode: int | None) -> Callable[[Hosts], Hosts]:
    def changed(facts: Facts) -> Facts:
        state = facts.file(path)
        assert state is not None
        left = {name: each for name, each in facts.files.items() if name != path}
        return replace(facts, files=left if mode is None else {**left, path: replace(state, mode=mode)})

    return on("gateway", changed)


def renamed(facts: Facts) -> Facts:
    return replace(
        facts,
        links=tuple(
            replace(
                link,
                addresses=tuple(replace(item, address=address("10.0.44.70")) for item in link.addresses),
            )
            if link.name == "eth0"
            else link
            for link in facts.links
        ),
    )


def _switched(facts: Facts) -> Iterator[str]:
    """What the kernel sets with net.ipv4.ip_forward."""
    return (name for name in facts.sysctls if name.startswith("net.ipv4.") and "forward" in name)


DRIFTS: dict[str, tuple[Callable[[Hosts], Hosts], list[str]]] = {
    "the route is gone": (
        on("app", lambda facts: replace(facts, routes=tuple(r for r in facts.routes if r.protocol != "143"))),
        [f"app: {ROUTE} was removed", "so what app sends to 10.0.44.0/24 does not go to gateway"],
    ),
    "the route goes elsewhere": (
        on(
            "app",
            lambda facts: replace(
                facts,
                routes=tuple(
                    replace(r, via=address("10.0.43.7")) if r.protocol == "143" else r for r in facts.routes
                ),
            ),
        ),
        [
            f"app: route 10.0.44.0/24 via 10.0.43.7 dev eth0, was applied as {ROUTE.removeprefix('route ')}",
            "so what app sends to 10.0.44.0/24 does not go to gateway",
        ],
    ),
    "forwarding is off": (
        on(
            "gateway",
            lambda facts: replace(facts, sysctls={**facts.sysctls, **dict.fromkeys(_switched(facts), "0")}),
        ),
        [
            "gateway: net.ipv4.ip_forward is 0, was applied as 1",
            "so what app sends is stopped on gateway: forward eth1: net.ipv4.ip_forward = 0 (ip-forward-disabled)",
        ],
    ),
    "the table is gone": (
        rules(lambda table: None),
        [OPEN, f"{TABLE} was removed, with all of its rules", UNTRANSLATED],
    ),
    "the table is flushed": (
        rules(lambda table: replace(table, chains=tuple(replace(one, rules=()) for one in table.chains))),
        [
            OPEN,
            f"{TABLE}: its fence was removed",
            f"{TABLE}: a rule for admitting crossing business was removed",
            f"{TABLE}: a rule for translating crossing business was removed",
            f"{TABLE}: 2 rules for packets of open flows were removed",
            UNTRANSLATED,
        ],
    ),
    "nobody is admitted": (
        chain("forward", lambda old: tuple(rule for rule in old if rule.comment != "business")),
        [f"{TABLE}: a rule for admitting crossing business was removed", NOT_ADMITTED],
    ),
    "the fence is gone": (
        chain("forward", lambda old: old[:-1]),
        [OPEN, f"{TABLE}: its fence was removed"],
    ),
    "nothing is translated": (
        chain("postrouting", lambda old: ()),
        [f"{TABLE}: a rule for translating crossing business was removed", UNTRANSLATED],
    ),
    "a rule was put in": (
        chain("forward", lambda old: (Rule((), Drop(), "mine"), *old)),
        [f"{TABLE}: somebody put in the rule drop", NOT_ADMITTED],
    ),
    "the order is another": (
        chain("forward", lambda old: tuple(reversed(old))),
        [f"{TABLE}: its rules stand in another order", NOT_ADMITTED],
    ),
    "a set was emptied": (
        rules(
            lambda table: replace(
                table,
                sets=tuple(
                    replace(each, members=frozenset()) if each.name == "to-business" else each
                    for each in table.sets
                ),
            )
        ),
        [f"{TABLE}: 10.0.44.0/24 was taken out of the set to-business", NOT_ADMITTED],
    ),
    "a client was put into a set": (
        rules(
            lambda table: replace(
                table,
                sets=tuple(
                    replace(each, members=each.members | {network("10.0.43.16")})
                    if each.name == "from-business"
                    else each
                    for each in table.sets
                ),
            )
        ),
        [
            f"{TABLE}: 10.0.43.16/32 was put into the set from-business",
            "so what 10.0.43.16 sends to 10.0.44.0/24 gets through gateway by eth1 → eth0: any traffic",
        ],
    ),
    "a file has another mode": (
        file("/etc/crossnet/start", 0o600),
        ["gateway: file /etc/crossnet/start has mode 0600, was applied with 0755", UNTIL_BOOT],
    ),
    "a file is gone": (
        file("/etc/crossnet/start", None),
        ["gateway: file /etc/crossnet/start was removed", UNTIL_BOOT],
    ),
}


def test_nothing_differs_from_what_was_just_applied() -> None:
    found = status(applied())
    assert (found.state, found.reasons) == (State.UP, ())


@pytest.mark.parametrize("edit", [asked(", allow: tcp/443"), asked(to="[10.0.44.0/24, 10.0.45.0/24]")])
def test_what_the_spec_asks_for_since_is_pending_and_no_drift(edit: str) -> None:
    found = status(applied(), edit)
    assert found.state is State.PENDING
    assert "gateway: not applied yet: change table crossnet: 1 crossing, fence on" in found.reasons
    assert "gateway: not applied yet: 4 files and units for the next boot" in found.reasons
    assert all("not applied yet" in reason for reason in found.reasons)


def test_a_word_of_the_spec_that_is_not_applied_is_told_as_it_stands_there() -> None:
    found = status(applied(), asked(", heal: auto"))
    assert found.state is State.PENDING
    assert found.reasons == (
        "gateway: not applied yet: `heal: auto`",
        "app: not applied yet: `heal: auto`",
    )


def test_a_drift_is_told_though_the_spec_asks_for_something_else_since() -> None:
    change, _ = DRIFTS["forwarding is off"]
    found = status(change(applied()), asked(", allow: tcp/443"))
    assert found.state is State.DRIFTED
    assert found.reasons[0] == "gateway: net.ipv4.ip_forward is 0, was applied as 1"
    assert "gateway: not applied yet: change table crossnet: 1 crossing, fence on" in found.reasons


def test_an_address_that_the_rules_give_and_nobody_has_any_more_is_drift() -> None:
    found = status(on("gateway", renamed)(applied()))
    assert found.state is State.DRIFTED
    assert (
        found.reasons[0] == f"{TABLE} gives the source 10.0.44.63, which is no longer an address of the host"
    )


def test_rules_that_an_older_record_does_not_tell_are_compared_with_the_plan() -> None:
    """0.1.0 kept only which table it is."""
    facts = applied()
    kept = read_record(facts["gateway"])
    owned = tuple(
        Owned(one.original, replace(one.applied, is_known=False, table=Table("ip", "crossnet", ())))
        if isinstance(one.applied, RuleTable)
        else one
        for one in kept.owned
    )
    state = facts["gateway"].file(APPLIED)
    assert state is not None
    older = replace(state, data=Record(kept.crossings, owned).to_json())
    facts = {**facts, "gateway": with_files(facts["gateway"], {APPLIED: older})}
    assert status(facts).state is State.UP
    assert make_plan(parse(asked(), "crossnet.yaml"), facts).is_empty
    change, reasons = DRIFTS["nobody is admitted"]
    found = status(change(facts))
    assert (found.state, list(found.reasons)) == (State.DRIFTED, reasons)


def test_what_was_changed_of_one_crossing_is_no_drift_of_another() -> None:
    text = (
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\ncrossings:\n"
        "  business: {from: app, via: gateway, to: 10.0.44.0/25}\n"
        "  storage: {from: app, via: gateway, to: 10.0.44.128/25}\n"
    )
    hosts = hosts_of(facts_from(SEED_HOSTS))
    spec = parse(text, "crossnet.yaml")
    carry_out(plan(spec, facts_of(hosts)), hosts)
    told = rules(lambda table: table)(facts_of(hosts))

    def states(change: Callable[[Hosts], Hosts]) -> dict[str, bool]:
        facts = change(told)
        found = crossing_status(make_plan(spec, facts, moves=False), facts)
        return {one.crossing: one.state is State.DRIFTED for one in found}

    removed = chain("forward", lambda old: tuple(rule for rule in old if rule.comment != "storage"))
    assert states(removed) == {"business": False, "storage": True}
    emptied = rules(
        lambda table: replace(
            table,
            sets=tuple(
                replace(one, members=frozenset()) if one.name == "to-storage" else one for one in table.sets
            ),
        )
    )
    assert states(emptied) == {"business": False, "storage": True}
    assert states(chain("forward", lambda old: old[:-1])) == {"business": True, "storage": True}
    assert states(chain("forward", lambda old: (Rule((), Drop(), "mine"), *old))) == {
        "business": True,
        "storage": True,
    }
    assert states(rules(lambda table: None)) == {"business": True, "storage": True}


def test_a_crossing_that_is_as_it_was_applied_does_not_wait_for_another() -> None:
    """What all crossings of a host share is changed for whichever of them the spec asks something else of."""
    text = (
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\ncrossings:\n"
        "  business: {from: app, via: gateway, to: 10.0.44.0/25}\n"
        "  storage: {from: app, via: gateway, to: 10.0.44.128/25}\n"
    )
    hosts = hosts_of(facts_from(SEED_HOSTS))
    spec = parse(text, "crossnet.yaml")
    carry_out(plan(spec.only(["business"]), facts_of(hosts)), hosts)

    def states(spec: Spec) -> dict[str, State]:
        facts = rules(lambda table: table)(facts_of(hosts))
        return {
            one.crossing: one.state for one in crossing_status(make_plan(spec, facts, moves=False), facts)
        }

    assert states(spec) == {"business": State.UNPROVED, "storage": State.DOWN}
    carry_out(plan(spec.only(["storage"]), facts_of(hosts)), hosts)
    assert states(spec) == {"business": State.UNPROVED, "storage": State.UNPROVED}
    edited = parse(text.replace("/25}\n  s", "/25, allow: icmp}\n  s"), "crossnet.yaml")
    assert states(edited) == {"business": State.PENDING, "storage": State.UNPROVED}


def links(host: str, change: Callable[[Link], Link]) -> Callable[[Hosts], Hosts]:
    return on(host, lambda facts: replace(facts, links=tuple(map(change, facts.links))))


def _has_another(link: Link) -> Link:
    own = tuple(replace(item, address=address("10.0.43.16")) for item in link.addresses)
    return replace(link, addresses=own) if link.name == "eth0" else link


def _of_a_vpn(facts: Facts) -> Facts:
    """A rule that is asked before the main table, and a table that has a way for everything in 10.0.0.0/8."""
    rule = PolicyRule(Family.V4, 5270, table="52")
    route = Route(network("10.0.0.0/8"), via=address("10.0.43.77"), device="eth0", table="52")
    return replace(facts, policy_rules=(*facts.policy_rules, rule), routes=(*facts.routes, route))


REMADE = "gateway: `crossnet apply` would change table crossnet: 1 crossing, fence on"
MOVES: dict[str, tuple[Callable[[Hosts], Hosts], list[str]]] = {
    "a rule and a route of a VPN": (
        on("app", _of_a_vpn),
        [
            "app: policy rule `5270: from all lookup 52` (10.0.0.0/8 via 10.0.43.77 dev eth0) leads packets from "
            "10.0.43.15 to 10.0.44.0/24 elsewhere; a rule of crossnet's own before it looks them up in the main table",
            "app: `crossnet apply` would add ip-rule 5269: from all to 10.0.44.0/24 iif lo lookup main",
            "so what app sends to 10.0.44.0/24 does not go to gateway",
        ],
    ),
    "the client has another address": (
        links("app", _has_another),
        [
            "app: sends from 10.0.43.16 now, and from 10.0.43.15 when it was applied",
            REMADE,
            NOT_ADMITTED,
        ],
    ),
    "a bridge whose frames meet the rules": (
        on(
            "gateway",
            lambda facts: replace(
                facts,
                links=(*facts.links, replace(facts.links[0], name="br0", kind="bridge", addresses=())),
                sysctls={**facts.sysctls, "net.bridge.bridge-nf-call-iptables": "1"},
            ),
        ),
        [
            "gateway: what bridge br0 carries from port to port meets the rules now, and did not when they were "
            "applied: the fence stops it",
            REMADE,
        ],
    ),
    "the gateway's link is narrower": (
        links("gateway", lambda link: replace(link, mtu=1300) if link.name == "eth0" else link),
        [
            "gateway: an MTU on the way is smaller than when it was applied: TCP packets that fit one link may be too "
            "large for another, and connections hang",
            REMADE,
        ],
    ),
}


@pytest.mark.parametrize("name", [*DRIFTS, *MOVES])
def test_what_changed_on_the_hosts_is_told_with_its_direction_and_what_it_means(name: str) -> None:
    change, reasons = {**DRIFTS, **MOVES}[name]
    found = status(change(applied()))
    assert (found.state, list(found.reasons)) == (State.DRIFTED, reasons)


OUTSIDER = Endpoint("source", network("10.0.45.5/32"))
SSH = (L4Protocol("tcp"), DestinationPorts((Ports(22, 22),)))
FROM_ETH2 = Interface("in", "eth2")
THIRD = SEED_HOSTS.replace("  eth0 10.0.44.63/24", "  eth0 10.0.44.63/24\n  eth2 10.0.45.63/24")


@pytest.mark.parametrize(
    ("rule", "words", "closes"),
    [
        (
            Rule((FROM_ETH2, *SSH), Accept()),
            "anybody sends gets through gateway by eth2 → eth1, eth2 → eth0: tcp/22",
            {("eth2", "eth1"), ("eth2", "eth0")},
        ),
        (
            Rule((OUTSIDER,), Accept()),
            "10.0.45.5 sends gets through gateway by eth1 → eth0, eth1 → eth2 and 4 more: any traffic",
            set(permutations(("eth0", "eth1", "eth2"), 2)),
        ),
        (
            Rule((FROM_ETH2, Interface("out", "eth1")), Accept()),
            "anybody sends gets through gateway by eth2 → eth1: any traffic",
            {("eth2", "eth1")},
        ),
        (
            Rule((FROM_ETH2, Interface("out", "eth1")), Accept(), "mine"),
            "anybody sends gets through gateway by eth2 → eth1: any traffic",
            {("eth2", "eth1")},
        ),
    ],
    ids=["by an interface", "an address", "everybody", "with a comment"],
)
def test_who_gets_through_by_somebodys_rule_is_told_and_not_the_crossings_own_client(
    rule: Rule, words: str, closes: set[tuple[str, str]]
) -> None:
    facts = chain("forward", lambda old: (rule, *old))(applied(THIRD))
    assert status(facts).reasons[1:] == (f"so what {words}",)
    opening = plan(parse(asked(), "crossnet.yaml"), facts).opening or ()
    closed = [each for each in opening if each.effect is Effect.CLOSES]
    assert {(each.ingress, each.egress) for each in closed} == closes
    assert all(each.exact and each.certain for each in closed)


def test_what_a_crossing_goes_on_admitting_is_not_closed_with_somebodys_rule() -> None:
    """The traffic of a crossing by the same interfaces is no part of what closes."""
    two = asked("}, web: {from: 10.0.45.0/24, via: gateway, to: 10.0.44.0/24, allow: tcp/443")
    hosts = hosts_of(facts_from(THIRD))
    spec = parse(two, "crossnet.yaml")
    carry_out(plan(spec, facts_of(hosts)), hosts)
    rule = Rule((FROM_ETH2, *SSH), Accept())
    facts = chain("forward", lambda old: (rule, *old))(facts_of(hosts))
    opening = plan(spec, facts).opening or ()
    closed = {
        (each.ingress, each.egress, each.traffic, each.exact)
        for each in opening
        if each.effect is Effect.CLOSES
    }
    assert closed == {("eth2", "eth1", "tcp/22", True), ("eth2", "eth0", "tcp/22", True)}


def dropping(*accepts: str) -> Callable[[Hosts], Hosts]:
    """Somebody's own rules, which forward nothing but this."""
    lines = (
        "*filter",
        ":FORWARD DROP [0:0]",
        *(f"-A FORWARD {each} -j ACCEPT" for each in accepts),
        "COMMIT",
    )
    others = tuple(parse_save("\n".join(lines) + "\n", "ip", Tool.IPTABLES_LEGACY, {}))

    def changed(facts: Facts) -> Facts:
        firewall = facts.firewall
        return replace(facts, firewall=replace(firewall, foreign=(*firewall.foreign, *others)))

    return on("gateway", changed)


@pytest.mark.parametrize(
    ("accepts", "interfaces"),
    [
        ((), ()),
        (("-s 10.0.43.15",), ()),
        (("-s 10.0.43.15", "-i eth0"), ("eth0",)),
        (("-s 10.0.43.16",), ("eth1", "eth0")),
        (("-s 10.0.43.15", "-p tcp -m recent --rcheck"), ("eth1", "eth0")),  # perhaps
    ],
    ids=["nothing", "its client", "whatever comes by an interface", "somebody else", "nobody knows"],
)
def test_a_gateway_without_its_fence_is_open_where_something_of_others_passes(
    accepts: tuple[str, ...], interfaces: tuple[str, ...]
) -> None:
    facts = dropping(*accepts)(rules(lambda table: None)(applied()))
    (found,) = crossing_status(make_plan(parse(asked(), "crossnet.yaml"), facts, moves=False), facts)
    assert tuple(name for each in found.exposures for name in each.interfaces) == interfaces
    assert any("is open for everybody" in reason for reason in found.reasons) is bool(interfaces)


def test_a_link_local_next_hop_of_the_gateway_is_no_one_elses() -> None:
    sheet = """
app:
  eth0 fd00:43::15/64 fe80::15/64
gateway:
  eth0 fd00:44::63/64 fe80::2/64
  eth1 fd00:43::101/64 fe80::1/64
  tools ip sysctl nft iptables iptables-nft conntrack awk systemctl
"""
    text = asked(", next-hop: 'fe80::1'", to="'fd00:44::/64'")
    hosts = hosts_of(facts_from(sheet))
    carry_out(plan(parse(text, "crossnet.yaml"), facts_of(hosts)), hosts)
    found = proved(facts_of(hosts))
    assert (status(found, text).state, status(found, text).reasons) == (State.UP, ())


def test_clients_among_which_the_gateway_stands_are_stopped_by_nobody() -> None:
    """As whom a gateway can send itself no client does: what would become of it is no drift."""
    sheet = """
app:
  eth0 fd00:43::15/64
gateway:
  eth1 fd00:43::101/64
  eth0 fd00:44::63/64
  tools ip sysctl nft iptables iptables-nft conntrack awk systemctl
"""
    text = asked(to="'fd00:44::/64'").replace("from: app", "from: 'fd00:43::/64'")
    hosts = hosts_of(facts_from(sheet))
    carry_out(plan(parse(text, "crossnet.yaml"), facts_of(hosts)), hosts)

    def forwarding(facts: Facts) -> Facts:
        """What the kernel adds then: the first address of each network is the router's own too."""
        own = [(item, link.name) for link in facts.links for item in link.of(Family.V6)]
        first = [(host_network(item.network.network_address), "anycast", name) for item, name in own]
        taken = [(host_network(item.address), "local", name) for item, name in own]
        added = (
            Route(to, None, name, protocol="kernel", table="local", type=kind)
            for to, kind, name in (*first, *taken)
        )
        return replace(facts, routes=(*facts.routes, *added))

    found = status(on("gateway", forwarding)(rules(lambda table: table)(facts_of(hosts))), text)
    assert not [reason for reason in found.reasons if "that crossnet does not own" in reason]


@pytest.mark.parametrize(
    ("on_its_own", "closing"),
    [
        ("net.ipv4.conf.eth0.forwarding", "sysctl -w net.ipv4.conf.eth0.forwarding=0"),
        ("net.ipv6.conf.eth0.force_forwarding", "sysctl -w net.ipv6.conf.all.forwarding=0"),
    ],
)
def test_a_gateway_without_its_fence_is_open_by_an_interface_that_forwards_by_itself(
    on_its_own: str, closing: str
) -> None:
    """Also where the host's forwarding is off, and for IPv4 it helps no more to switch that off."""
    v6 = on_its_own.startswith("net.ipv6")
    sheet = SEED_HOSTS.replace("10.0.43.", "fd00:43::").replace("10.0.44.", "fd00:44::") if v6 else SEED_HOSTS
    sheet = sheet.replace("/24", "/64") if v6 else sheet
    wanted = asked().replace("10.0.44.0/24", "'fd00:44::/64'") if v6 else asked()
    hosts = hosts_of(facts_from(sheet))
    carry_out(plan(parse(wanted, "crossnet.yaml"), facts_of(hosts)), hosts)

    def opened(facts: Facts) -> Facts:
        off = {name: "0" for name in facts.sysctls if name.endswith(("forwarding", "ip_forward"))}
        return replace(facts, sysctls={**facts.sysctls, **off, on_its_own: "1"})

    facts = on("gateway", opened)(rules(lambda table: None)(facts_of(hosts)))
    (found,) = crossing_status(make_plan(parse(wanted, "crossnet.yaml"), facts, moves=False), facts)
    assert [each.interfaces for each in found.exposures] == [("eth0",)]
    assert f"`{closing}` on gateway closes it at once" in found.reasons[0]


def test_no_apply_is_promised_where_nothing_would_pass() -> None:
    facts = dropping("-s 10.0.43.16")(rules(lambda table: None)(applied()))
    made = make_plan(parse(asked(), "crossnet.yaml"), facts, moves=False)
    assert [refusal.code for refusal in made.stopped] == ["nothing-passes"]
    (found,) = crossing_status(made, facts)
    assert [each.mendable for each in found.exposures] == [False]
    assert "brings the fence back once nothing of what follows refuses it" in found.reasons[0]


def test_what_was_used_and_is_not_crossnets_is_drift_when_it_is_gone() -> None:
    there = SEED_HOSTS.replace(
        "  eth0 10.0.43.15/24\n", "  eth0 10.0.43.15/24\n  route 10.0.44.0/24 via 10.0.43.101 dev eth0\n"
    )
    assert there != SEED_HOSTS
    used = applied(there)
    assert not any(one.applied.kind == "route" for one in read_record(used["app"]).owned)
    gone = on(
        "app",
        lambda facts: replace(
            facts, routes=tuple(r for r in facts.routes if str(r.destination) != "10.0.44.0/24")
        ),
    )
    found = status(gone(used))
    assert found.state is State.DRIFTED
    _, *meaning = DRIFTS["the route is gone"][1]
    assert list(found.reasons) == [f"app: adopted {ROUTE} was removed since", *meaning]


@pytest.mark.parametrize(
    "edit", [", egress: eth0", ", translate: masquerade", ", translate: {snat: 10.0.44.99}"]
)
def test_what_the_spec_names_since_instead_of_what_was_found_is_pending_where_it_is_another(
    edit: str,
) -> None:
    second = SEED_HOSTS.replace("10.0.44.63/24", "10.0.44.63/24 10.0.44.99/24")
    assert second != SEED_HOSTS
    found = status(applied(second), asked(edit))
    assert found.state is (State.UP if "egress" in edit else State.PENDING)


def test_an_open_gateway_is_told_without_promising_what_apply_refuses() -> None:
    def led_elsewhere(facts: Facts) -> Facts:
        other = route("10.0.44.0/24 via 10.0.43.102 dev eth0 proto static")
        return replace(
            facts, routes=(*(one for one in facts.routes if one.destination != other.destination), other)
        )

    hosts = on("app", led_elsewhere)(rules(lambda table: None)(applied()))
    wanted = parse(asked(), "crossnet.yaml")
    with pytest.raises(PlanRefused) as refused:
        make_plan(wanted, hosts)
    (found,) = refused_status(wanted, hosts, refused.value)
    assert "brings the fence back once nothing of what follows refuses it; `sysctl -w" in found.reasons[0]
    assert any("app: already has a route to 10.0.44.0/24" in reason for reason in found.reasons[1:])


def test_an_open_gateway_is_told_without_promising_an_apply_for_which_a_host_is_missing() -> None:
    hosts = rules(lambda table: None)(applied())
    wanted = parse(asked(), "crossnet.yaml")
    lost = {"app": CrossnetError("app: does not answer")}
    found = unknown_status(wanted, wanted.crossings[0], {"gateway": hosts["gateway"]}, lost)
    assert "brings the fence back once nothing of what follows refuses it; `sysctl -w" in found.reasons[0]
    assert found.reasons[1:] == ("app: does not answer",)


def test_both_crossings_of_an_open_gateway_promise_the_same_where_a_host_of_one_is_missing() -> None:
    hosts = rules(lambda table: None)(applied())
    made = make_plan(parse(asked(), "crossnet.yaml"), hosts, moves=False)
    (known,) = crossing_status(made, hosts)
    assert [each.mendable for each in known.exposures] == [True]
    left_out = replace(made.spec.crossings[0], name="store", clients=("app2",))
    (known,) = crossing_status(made, hosts, [left_out])
    assert [each.mendable for each in known.exposures] == [False], "apply reads every host first"


def test_an_interface_that_is_down_is_told_before_the_refusal_that_comes_of_it() -> None:
    def lost_eth1(facts: Facts) -> Facts:
        """What the kernel does: its routes go too."""
        links = tuple(replace(each, up=each.up and each.name != "eth1") for each in facts.links)
        return replace(facts, links=links, routes=tuple(r for r in facts.routes if r.device != "eth1"))

    hosts = on("gateway", lost_eth1)(applied())
    wanted = parse(asked(), "crossnet.yaml")
    with pytest.raises(PlanRefused) as refused:
        make_plan(wanted, hosts)
    (found,) = refused_status(wanted, hosts, refused.value)
    assert found.state is State.DEGRADED
    assert found.reasons[0] == "gateway: eth1 is down"
    assert len(found.reasons) == 2


@pytest.mark.parametrize("name", ["ens4", None])
def test_an_interface_that_is_not_there_is_not_down(name: str | None) -> None:
    def without_eth1(facts: Facts) -> Facts:
        links = (replace(each, name=name or "") if each.name == "eth1" else each for each in facts.links)
        routes = (replace(each, device=name) if each.device == "eth1" else each for each in facts.routes)
        return replace(
            facts,
            links=tuple(each for each in links if each.name),
            routes=tuple(each for each in routes if each.device),
        )

    hosts = on("gateway", without_eth1)(applied())
    wanted = parse(asked(", ingress: eth1"), "crossnet.yaml")
    with pytest.raises(PlanRefused) as refused:
        make_plan(wanted, hosts)
    (found,) = refused_status(wanted, hosts, refused.value)
    first, last = found.reasons
    assert first == "gateway: table crossnet is for eth1, and that interface no longer exists"
    assert last.startswith("gateway has no interface eth1")


def test_a_network_that_the_gateway_got_later_is_named_where_it_takes_a_part_of_the_destinations() -> None:
    def with_bridge(facts: Facts) -> Facts:
        return replace(facts, routes=(*facts.routes, route("10.0.44.128/25 dev br-1 proto kernel")))

    hosts = on("gateway", with_bridge)(applied())
    wanted = parse(asked(), "crossnet.yaml")
    with pytest.raises(PlanRefused) as refused:
        make_plan(wanted, hosts)
    (found,) = refused_status(wanted, hosts, refused.value)
    assert found.reasons[-1] == (
        "gateway reaches 10.0.44.0/24 through more than one interface: "
        "10.0.44.128/25 leaves by br-1  (10.0.44.128/25 dev br-1)"
    )


def test_what_does_not_work_is_not_told_to_work_until_the_next_boot() -> None:
    drops = facts_from(f"{SEED_HOSTS}\n  iptables filter -A FORWARD -j DROP")["gateway"].firewall.foreign
    came_later = on(
        "gateway",
        lambda facts: replace(
            facts, firewall=replace(facts.firewall, foreign=(*facts.firewall.foreign, *drops))
        ),
    )
    change, _ = DRIFTS["a file is gone"]
    found = status(came_later(change(applied())))
    assert UNTIL_BOOT not in found.reasons
    assert "the next boot may not bring all of it back" in found.reasons
    assert any("the FORWARD chain of iptables can drop" in reason for reason in found.reasons)


def test_what_others_have_saved_is_told_by_what_stands_now() -> None:
    """As after an undo: no set of crossnet's comes later at a boot, whatever the spec asks for."""
    saved = SavedRules("/etc/iptables/rules.v4", ("CROSSNET-FORWARD", "xnet4-from-business"))
    has_saved = on("gateway", lambda facts: replace(facts, saved=(saved,)))
    for hosts, why in (
        (facts_from(SEED_HOSTS), "does not exist then"),
        (applied(), "does not exist yet at that moment"),
    ):
        facts = has_saved(hosts)
        (found,) = crossing_status(make_plan(parse(asked(), "crossnet.yaml"), facts, moves=False), facts)
        (told,) = (each for each in found.reasons if "has saved" in each)
        assert f"because the set xnet4-from-business {why}." in told


BESIDE = "app: still reaches 10.0.44.0/28 another way: 10.0.44.0/28 dev br-1"


def _beside(facts: Facts) -> Facts:
    """As docker makes a bridge for its containers."""
    bridge = Link("br-1", 1500, True, (LinkAddress(address("10.0.44.14"), 28),), "bridge")
    return replace(
        facts,
        links=(*facts.links, bridge),
        routes=(*facts.routes, route("10.0.44.0/28 dev br-1 proto kernel")),
    )


def test_a_network_of_the_clients_own_that_came_since_is_told_and_stops_a_probe_to_it() -> None:
    now = on("app", _beside)(applied())
    told = status(now, asked(", probe: icmp/10.0.44.77"))
    assert (told.state, told.reasons) == (State.UP, (BESIDE,))
    stopped = status(now, asked(", probe: icmp/10.0.44.1"))
    assert stopped.state is State.DEGRADED
    first, second = stopped.reasons
    assert "app → icmp/10.0.44.1: app: does not send it to gateway, but by 10.0.44.0/28 dev br-1" in first
    assert second == BESIDE


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("10.0.0.0/8", ["10.0.47.0/24 dev br-1 src 10.0.47.1"]),
        ("0.0.0.0/0", []),
        ("{networks: 0.0.0.0/0, except: 169.254.0.0/16}", []),
        ("[0.0.0.0/1, 128.0.0.0/1]", []),
    ],
)
def test_what_a_client_stands_in_and_always_has_is_nobodys_doing(to: str, told: list[str]) -> None:
    """In all there is every network of its own lies; in a larger network that towards the gateway."""
    there = facts_from(
        """
app:
  eth0 10.0.43.15/24
  br-1 10.0.47.1/24 bridge
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
  route default via 10.0.44.1 dev eth0
"""
    )
    made = plan(parse(asked(", egress: eth0", to=to), "crossnet.yaml"), there)
    found = [impact for impact in made.impacts if impact.code == "src-route-other-next-hop"]
    assert len(found) == 2
    assert [impact.text.partition(": ")[2] for impact in found if impact.crossings] == told


def test_a_next_hop_that_is_nowhere_any_more_degrades_the_crossing() -> None:
    second = SEED_HOSTS.replace("10.0.43.101/24", "10.0.43.101/24 10.0.43.200/24")
    text = asked(", next-hop: 10.0.43.200")
    hosts = hosts_of(facts_from(second))
    carry_out(plan(parse(text, "crossnet.yaml"), facts_of(hosts)), hosts)
    found = proved(facts_of(hosts))
    assert status(found, text).state is State.UP
    gone = links("gateway", lambda link: replace(link, addresses=link.addresses[:1]))(found)
    told = status(gone, text)
    assert told.state is State.DEGRADED
    (reason,) = told.reasons
    assert reason.startswith("crossing business: the next hop 10.0.43.200 is not an address of gateway")
