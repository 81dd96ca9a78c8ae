"""The seed scenario of the product page, value by value, on every engine and both families."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import crossnet
from crossnet.errors import PlanRefused, RolledBack
from crossnet.health import State
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.spec import Spec
from crossnet.transaction.apply import NotAsPromised
from crossnet.verdict import Result
from lab.crossing import Bench
from lab.engines import WITH_IPTABLES_LEGACY, WITH_IPTABLES_NFT

pytestmark = pytest.mark.lab


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Callable[..., Bench]:
    def make(topology: str = "seed", *managed: str) -> Bench:
        return Bench(lab_up(topology), managed or ("app", "gateway"))

    return make


def force(bench: Bench, engine: Engine) -> str:
    """The spec words for an engine; legacy is chosen by a rule that is live there already."""
    if engine is Engine.NFTABLES:
        return "firewall: nftables"
    command = "iptables-legacy" if engine is Engine.IPTABLES_LEGACY else "iptables-nft"
    bench.check("gateway", f"{command} -w -A OUTPUT -d 192.0.2.77 -j ACCEPT")
    return "firewall: iptables"


@pytest.mark.parametrize("engine", list(Engine))
def test_seed_on_every_engine(bench: Callable[..., Bench], engine: Engine) -> None:
    b = bench()
    words = force(b, engine)
    spec = b.spec(f"to: 10.0.44.0/24, {words}")
    before = b.fingerprints()
    assert not b.pings("app", "10.0.44.1")

    applied = b.apply(spec)

    assert applied.confirmed
    assert {table.engine for _, table in applied.plan.tables} == {engine}
    assert applied.verification
    assert applied.verification.result is Result.REACHABLE
    route = b.check("app", "ip route show 10.0.44.0/24").split()
    assert route == ["10.0.44.0/24", "via", "10.0.43.101", "dev", "eth0", "proto", "143"]
    assert b.check("gateway", "cat /proc/sys/net/ipv4/ip_forward") == "1\n"
    assert "net.ipv4.ip_forward = 1" in b.check("gateway", "cat /etc/sysctl.d/99-zz-crossnet.conf")
    assert "10.0.44.0/24 via 10.0.43.101" in b.check("app", "cat /etc/crossnet/routes")
    assert b.pings("app", "10.0.44.1")
    tracked = b.check("gateway", "conntrack -L -p icmp -s 10.0.43.15 2>/dev/null")
    assert "dst=10.0.44.63" in tracked
    (verdict,) = applied.verification.verdicts
    assert str(verdict.translated_to) == "10.0.44.63"
    assert verdict.counted == 1

    held = b.fingerprints()
    again = b.apply(spec)
    assert again.confirmed is None
    assert again.plan.is_empty
    assert b.differences(held) == []

    assert b.undo(spec).confirmed
    assert b.differences(before) == []
    assert not b.pings("app", "10.0.44.1")
    assert b.undo(spec).confirmed is None


@pytest.mark.parametrize("engine", WITH_IPTABLES_LEGACY)
def test_seed_in_ipv6(bench: Callable[..., Bench], engine: Engine) -> None:
    b = bench("seed-v6")
    if engine.is_iptables:
        command = "ip6tables-legacy" if engine is Engine.IPTABLES_LEGACY else "ip6tables-nft"
        b.check("gateway", f"{command} -w -A OUTPUT -d 2001:db8::77 -j ACCEPT")
    spec = b.spec(f"to: 'fd00:44::/64', firewall: {'iptables' if engine.is_iptables else 'nftables'}")
    before = b.fingerprints()
    assert not b.pings("app", "fd00:44::1")

    applied = b.apply(spec)

    assert {table.engine for _, table in applied.plan.tables} == {engine}
    assert applied.verification
    assert applied.verification.result is Result.REACHABLE
    assert str(applied.verification.verdicts[0].translated_to) == "fd00:44::63"
    assert b.pings("app", "fd00:44::1")
    assert b.apply(spec).confirmed is None
    b.undo(spec)
    assert b.differences(before) == []


def test_rules_that_a_change_of_the_spec_needs_no_more_are_gone(bench: Callable[..., Bench]) -> None:
    """iptables removes a chain only when nothing jumps there any more."""
    b = bench()
    words = force(b, Engine.IPTABLES_LEGACY)
    b.check("target", "ip route add 10.0.43.0/24 via 10.0.44.63")
    before = b.fingerprints()
    b.apply(b.spec(f"to: 10.0.44.0/24, {words}"))
    assert "crossnet" in b.check("gateway", "iptables-legacy-save -t nat")
    spec = b.spec(f"to: 10.0.44.0/24, {words}, translate: none")
    assert b.apply(spec).confirmed
    assert "crossnet" not in b.check("gateway", "iptables-legacy-save -t nat")
    b.undo(spec)
    assert b.differences(before) == []


def test_both_families_in_one_crossing(bench: Callable[..., Bench]) -> None:
    b = bench("seed-dual")
    spec = b.spec("to: [10.0.44.0/24, 'fd00:44::/64']")
    before = b.fingerprints()
    applied = b.apply(spec)
    assert applied.verification
    assert {v.result for v in applied.verification.verdicts} == {Result.REACHABLE}
    assert b.pings("app", "10.0.44.1")
    assert b.pings("app", "fd00:44::1")
    assert b.apply(spec).confirmed is None
    b.undo(spec)
    assert b.differences(before) == []


def test_destination_sees_the_promised_source(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.apply(b.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1"))
    b.check(
        "target", "nc -l -n -v -p 8080 >/tmp/seen 2>&1 </dev/null & until ss -ltn | grep -q :8080; do :; done"
    )
    assert b.connects("app", "10.0.44.1", 8080)
    assert "10.0.44.63" in b.check("target", "until grep received /tmp/seen; do :; done")


@pytest.mark.parametrize("engine", WITH_IPTABLES_NFT)
def test_allow_lets_only_that_traffic_through(bench: Callable[..., Bench], engine: Engine) -> None:
    b = bench()
    words = force(b, engine)
    b.check("target", "for p in 443 8004 9000; do nc -l -k -n -p $p >/dev/null 2>&1 & done")
    b.check("target", "until [ $(ss -Hltn | wc -l) -ge 3 ]; do :; done")
    spec = b.spec(f"to: 10.0.44.0/24, allow: [tcp/443, tcp/8000-8010], probe: tcp/10.0.44.1:443, {words}")
    applied = b.apply(spec)
    assert applied.verification
    assert applied.verification.result is Result.REACHABLE
    assert b.connects("app", "10.0.44.1", 443)
    assert b.connects("app", "10.0.44.1", 8004)
    assert not b.connects("app", "10.0.44.1", 9000)
    assert not b.pings("app", "10.0.44.1")
    assert b.apply(spec).confirmed is None


@pytest.mark.parametrize("engine", WITH_IPTABLES_LEGACY)
def test_fence_stops_everybody_else(bench: Callable[..., Bench], engine: Engine) -> None:
    """A neighbour of the client, the business side, and the gateway's third interface; each with a route."""
    b = bench("third-interface")
    words = force(b, engine)
    b.check("app", "ip addr add 10.0.43.99/24 dev eth0")  # a second host of the management network
    b.check("target", "ip route add 10.0.43.0/24 via 10.0.44.63; ip route add 10.0.45.0/24 via 10.0.44.63")
    spec = b.spec(f"to: 10.0.44.0/24, probe: icmp/10.0.44.1, {words}")
    applied = b.apply(spec)
    assert applied.verification
    assert b.pings("app", "10.0.44.1")
    assert not b.run("app", "ping -c 1 -W 1 -I 10.0.43.99 10.0.44.1").ok
    assert not b.pings("target", "10.0.43.15")
    assert not b.pings("outsider", "10.0.44.1")
    assert not b.pings("outsider", "10.0.43.15")
    assert not b.pings("target", "10.0.45.5")
    (state,) = asyncio.run(crossnet.status(spec))
    assert state.counters[0].fenced.packets >= 5


UDP_FLOW = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5514))
while True:
    try:
        s.sendto(b"x", ("10.0.44.1", 514))
    except OSError:
        pass
    time.sleep(0.02)
"""


@pytest.mark.parametrize("engine", WITH_IPTABLES_NFT)
def test_a_flow_older_than_the_crossing_is_translated_and_an_outsiders_ends(
    bench: Callable[..., Bench], engine: Engine, eventually: Callable[..., None]
) -> None:
    b = bench("third-interface")
    words = force(b, engine)
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")
    # Somebody else's rule, without which the kernel tracks nothing.
    track = "table ip theirs { chain f { type filter hook forward priority 0; ct state new counter; }; }"
    b.check("gateway", f"nft '{track}'")
    b.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0")
    for host, own in (("app", "10.0.43.15"), ("outsider", "10.0.45.5")):
        b.check(host, "cat > /tmp/flow.py", stdin=UDP_FLOW.encode())
        b.check(host, f"python3 /tmp/flow.py {own} >/dev/null 2>&1 </dev/null &")

    def tracked(own: str) -> str:
        return b.run("gateway", f"conntrack -L -p udp -s {own} 2>/dev/null").text

    eventually(lambda: "dst=10.0.43.15" in tracked("10.0.43.15"), "the client's flow")
    eventually(lambda: "dst=10.0.45.5" in tracked("10.0.45.5"), "the outsider's flow")
    spec = b.spec(f"to: 10.0.44.0/24, fence: on, probe: icmp/10.0.44.1, {words}")
    b.apply(spec)
    assert "dst=10.0.44.63" in tracked("10.0.43.15")
    assert tracked("10.0.45.5") == ""
    b.undo(spec)
    assert "dst=10.0.43.15" in tracked("10.0.43.15")  # it goes on, as before crossnet


@pytest.mark.parametrize("engine", WITH_IPTABLES_LEGACY)
def test_gateway_that_forwarded_before_keeps_others_traffic(
    bench: Callable[..., Bench], engine: Engine
) -> None:
    b = bench("third-interface")
    words = force(b, engine)
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")
    b.check("target", "ip route add 10.0.45.0/24 via 10.0.44.63")
    assert b.pings("outsider", "10.0.44.1")
    before = b.fingerprints()
    spec = b.spec(f"to: 10.0.44.0/24, {words}")
    applied = b.apply(spec)
    assert "fence-off" in {impact.code for impact in applied.plan.impacts}
    assert b.pings("outsider", "10.0.44.1")
    assert b.pings("target", "10.0.45.5")
    assert b.pings("app", "10.0.44.1")
    tracked = b.check("gateway", "conntrack -L -p icmp -s 10.0.45.5 2>/dev/null")
    assert "dst=10.0.45.5" in tracked  # not translated
    assert b.apply(spec).confirmed is None
    b.undo(spec)
    assert b.differences(before) == []
    assert b.check("gateway", "cat /proc/sys/net/ipv4/ip_forward") == "1\n"


def test_one_interface_that_does_not_forward_is_switched_on_and_back(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.eth0.forwarding=0")
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    assert b.apply(spec).verification
    assert b.pings("app", "10.0.44.1")
    assert b.apply(spec).confirmed is None
    b.undo(spec)
    assert b.differences(before) == []


@pytest.mark.parametrize(
    ("translate", "source"),
    [("masquerade", "10.0.44.63"), ("{snat: 10.0.44.64}", "10.0.44.64"), ("snat", "10.0.44.63")],
)
def test_translations(bench: Callable[..., Bench], translate: str, source: str) -> None:
    b = bench()
    b.check("gateway", "ip addr add 10.0.44.64/24 dev eth0")
    applied = b.apply(b.spec(f"to: 10.0.44.0/24, translate: {translate}"))
    assert applied.verification
    assert str(applied.verification.verdicts[0].translated_to) == source


def test_translate_none_leaves_the_source_alone(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.check("target", "ip route add 10.0.43.0/24 via 10.0.44.63")
    applied = b.apply(b.spec("to: 10.0.44.0/24, translate: none"))
    assert applied.verification
    assert applied.verification.result is Result.REACHABLE
    assert str(applied.verification.verdicts[0].translated_to) == "10.0.43.15"


@pytest.mark.parametrize("engine", WITH_IPTABLES_NFT)
def test_client_that_is_not_managed_is_admitted(bench: Callable[..., Bench], engine: Engine) -> None:
    b = bench("seed", "gateway")
    words = force(b, engine)
    spec = b.spec(
        f"crossings:\n  business: {{from: [10.0.43.15, 10.0.43.64/28], via: gateway, to: 10.0.44.0/24, {words}}}"
    )
    made = b.plan(spec)
    told = [impact.text for impact in made.impacts if impact.code == "route-by-owner"]
    assert any("ip route add 10.0.44.0/24 via 10.0.43.101" in text for text in told)
    b.apply(spec)
    b.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101; ip addr add 10.0.43.70/24 dev eth0")
    b.check("app", "ip addr add 10.0.43.80/24 dev eth0")
    assert b.pings("app", "10.0.44.1")
    assert b.run("app", "ping -c 1 -W 1 -I 10.0.43.70 10.0.44.1").ok
    assert not b.run("app", "ping -c 1 -W 1 -I 10.0.43.80 10.0.44.1").ok
    assert b.apply(spec).confirmed is None


def test_mss_is_clamped_in_both_directions_where_the_path_is_narrower(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.check("gateway", "ip link set eth0 mtu 1300")
    b.check("target", "ip link set eth0 mtu 1300")
    applied = b.apply(b.spec("to: 10.0.44.0/24"))
    ((_, table),) = applied.plan.tables
    assert table.table.chain("mangle")
    b.check("target", "nc -l -k -n -p 80 >/dev/null 2>&1 & until ss -ltn | grep -q :80; do :; done")
    # ss shows the MSS that each end agreed to: 1300 less 40 of IPv4 and TCP headers, or 12 less with timestamps.
    b.check("app", "nc -n 10.0.44.1 80 </dev/zero >/dev/null 2>&1 & echo $! >/tmp/pid")
    seen = b.check("app", "until ss -Htni dst 10.0.44.1 | grep mss:; do :; done; kill $(cat /tmp/pid)")
    sizes = {int(word.removeprefix("mss:")) for word in seen.split() if word.startswith("mss:")}
    assert sizes <= {1248, 1260}


def test_what_is_there_already_is_adopted_and_left_by_undo(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0 proto static")
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    made = b.plan(spec)
    adopted = {(host.host, item.kind) for host in made.hosts for item in host.adopted}
    assert adopted == {("app", "route"), ("gateway", "sysctl")}
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    b.undo(spec)
    assert b.differences(before) == []
    assert "proto static" in b.check("app", "ip route show 10.0.44.0/24")


def test_route_that_is_there_is_adopted_for_a_client_with_several_addresses_too(
    bench: Callable[..., Bench],
) -> None:
    """crossnet's own would name a source, and the kernel takes no second route that differs only in that."""
    b = bench()
    b.check("app", "ip addr add 10.0.43.99/24 dev eth0")
    b.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0")
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    applied = b.apply(spec)
    assert applied.confirmed
    assert ("app", "route") in {
        (host.host, item.kind) for host in applied.plan.hosts for item in host.adopted
    }
    assert b.pings("app", "10.0.44.1")
    b.undo(spec)
    assert b.differences(before) == []


@pytest.mark.parametrize(
    ("topology", "ip", "destination", "next_hop"),
    [
        ("seed", "ip -4", "10.0.44.0/24", "10.0.43.101"),
        ("seed-v6", "ip -6", "fd00:44::/64", "fd00:43::101"),
    ],
    ids=["v4", "v6"],
)
def test_undo_leaves_the_same_route_that_somebody_else_made_later(
    bench: Callable[..., Bench], topology: str, ip: str, destination: str, next_hop: str
) -> None:
    b = bench(topology)
    spec = b.spec(f"to: '{destination}'")
    b.apply(spec)
    b.check("app", f"{ip} route add {destination} via {next_hop} dev eth0 proto static metric 100")
    b.undo(spec)
    (left,) = b.check("app", f"{ip} route show {destination}").splitlines()
    assert "proto static metric 100" in left


def test_crossing_taken_out_of_the_spec_is_taken_back(bench: Callable[..., Bench]) -> None:
    b = bench("third-interface")
    both = """crossings:
  business: {from: app, via: gateway, to: 10.0.44.0/24}
  third: {from: app, via: gateway, to: 10.0.45.0/24}
"""
    one = "crossings:\n  business: {from: app, via: gateway, to: 10.0.44.0/24}\n"
    before = b.fingerprints()
    b.apply(b.spec(both))
    assert b.pings("app", "10.0.44.1")
    assert b.pings("app", "10.0.45.5")
    b.apply(b.spec(one))
    assert b.pings("app", "10.0.44.1")
    assert not b.pings("app", "10.0.45.5")
    assert b.check("app", "ip route show 10.0.45.0/24") == ""
    b.undo(b.spec(one))
    assert b.differences(before) == []


def test_verifying_one_crossing_forgets_nothing_of_the_others(bench: Callable[..., Bench]) -> None:
    b = bench("third-interface")
    spec = b.spec("""crossings:
  business: {from: app, via: gateway, to: 10.0.44.0/24}
  third: {from: app, via: gateway, to: 10.0.45.0/24}
""")
    b.apply(spec)
    before = {each.crossing: each.verified for each in asyncio.run(crossnet.status(spec))}
    assert all(before.values())
    asyncio.run(crossnet.verify(spec, crossing="business"))
    after = {each.crossing: each.verified for each in asyncio.run(crossnet.status(spec))}
    assert after["third"] == before["third"]
    assert after["business"]


def test_what_was_never_applied_is_told_in_one_line(bench: Callable[..., Bench]) -> None:
    found = asyncio.run(crossnet.verify(bench().spec("to: 10.0.44.0/24")))
    assert found.differences == ("business: not applied: `crossnet apply`",)


def test_promise_of_the_spec_that_does_not_hold_is_rolled_back(bench: Callable[..., Bench]) -> None:
    b = bench()
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.77")
    with pytest.raises(RolledBack, match="probe of the spec") as told:
        b.apply(spec)
    assert "name another probe" in str(told.value).splitlines()[-1]
    cause = told.value.__cause__
    assert isinstance(cause, NotAsPromised)
    assert cause.diagnosis is not None
    assert cause.diagnosis.forward.code == "destination-absent"
    assert str(cause.diagnosis.forward.at) == "between gateway eth0 and 10.0.44.77"
    assert b.differences(before) == []


@pytest.mark.parametrize("kind", ["table", "sysctl", "route"])
def test_change_that_fails_is_rolled_back_everywhere(bench: Callable[..., Bench], kind: str) -> None:
    """A tool on one host says no in the middle; the fault is proved to have been reached."""
    b = bench()
    host, tool = {"table": ("gateway", "nft"), "sysctl": ("gateway", "sysctl"), "route": ("app", "ip")}[kind]
    refused = {"table": "-f -", "sysctl": "-w", "route": "route add"}[kind]
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    _break_tool(b, host, tool, refused)
    with pytest.raises(RolledBack, match="broken on purpose"):
        b.apply(spec)
    assert b.run(host, "test -e /tmp/fault-reached").ok
    assert b.differences(before) == []


def _break_tool(b: Bench, host: str, tool: str, words: str) -> None:
    """Put a tool before the real one that fails once, for its changing call only."""
    script = f"""#!/bin/sh
case " $* " in *" {words} "*)
    if mkdir /tmp/fault-reached 2>/dev/null; then
        echo broken on purpose >&2
        exit 1
    fi ;;
esac
exec /tmp/real-{tool} "$@"
"""
    b.check(host, f"place=$(readlink -f $(command -v {tool})); cp $place /tmp/real-{tool}")
    b.check(host, f"cat > /tmp/{tool} <<'EOF'\n{script}EOF\nchmod 755 /tmp/{tool}")
    b.check(host, f"mount --bind /tmp/{tool} $(readlink -f $(command -v {tool}))")


def test_refusals_that_only_hosts_can_tell(bench: Callable[..., Bench]) -> None:
    b = bench("two-gateways", "app", "gateway", "gateway-2")

    def refused(spec: Spec) -> set[str]:
        with pytest.raises(PlanRefused) as caught:
            b.plan(spec)
        return {refusal.code for refusal in caught.value.refusals}

    assert refused(b.spec("to: 10.0.43.0/25")) == {"destination-on-link"}
    assert refused(b.spec("to: 10.0.44.0/24, next-hop: 10.9.9.9")) == {"next-hop-not-on-link"}
    assert refused(b.spec("to: 10.0.44.0/24, translate: {snat: 10.0.44.99}")) == {"snat-address-not-local"}


def test_overlapping_networks_are_ambiguous_until_the_spec_decides(bench: Callable[..., Bench]) -> None:
    b = bench("overlap")
    with pytest.raises(PlanRefused) as caught:
        b.plan(b.spec("to: 192.0.2.0/24"))
    assert {refusal.code for refusal in caught.value.refusals} >= {"ambiguous-ingress"} or {
        refusal.code for refusal in caught.value.refusals
    } >= {"no-route"}


def test_both_engines_live_is_told_and_the_one_that_holds_rules_is_used(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.check("gateway", "iptables-legacy -w -t nat -A POSTROUTING -s 192.0.2.0/24 -o eth0 -j MASQUERADE")
    b.check("gateway", "nft 'add table inet theirs; add chain inet theirs c; add rule inet theirs c accept'")
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    applied = b.apply(spec)
    assert {table.engine for _, table in applied.plan.tables} == {Engine.IPTABLES_LEGACY}
    assert "engines-mixed" in {impact.code for impact in applied.plan.impacts}
    assert b.pings("app", "10.0.44.1")
    b.undo(spec)
    assert b.differences(before) == []


def test_forward_chain_that_drops_is_entered_before_its_drop(bench: Callable[..., Bench]) -> None:
    """As docker and others leave it: the FORWARD policy of iptables-nft drops."""
    b = bench()
    b.check("gateway", "iptables-nft -w -P FORWARD DROP")
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    applied = b.apply(spec)
    of_engines = {(table.engine, table.only_accepts) for _, table in applied.plan.tables}
    assert of_engines == {(Engine.NFTABLES, False), (Engine.IPTABLES_NFT, True)}
    # Whoever flushes iptables takes the accept and not the fence.
    b.check("gateway", "iptables-nft -F FORWARD; iptables-nft -P FORWARD ACCEPT")
    assert b.pings("app", "10.0.44.1")
    assert not b.pings("target", "10.0.43.15")
    b.check("gateway", "iptables-nft -w -P FORWARD DROP")
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    assert b.apply(spec).confirmed is None
    b.undo(spec)
    assert b.differences(before) == []


@pytest.mark.parametrize(
    ("hook", "rule", "which"),
    [
        ("forward", "", "requests are stopped"),
        ("forward", "ct state established drop", "answers are stopped"),
        ("prerouting", "iifname eth1 ip daddr 10.0.44.0/24 drop", "requests are stopped"),
    ],
)
def test_a_crossing_of_which_nothing_would_pass_is_refused(
    bench: Callable[..., Bench], hook: str, rule: str, which: str
) -> None:
    b = bench()
    policy = "accept" if rule else "drop"
    b.check(
        "gateway",
        f"nft 'table inet theirs {{ chain f {{ type filter hook {hook} priority 0; policy {policy}; {rule}; }}; }}'",
    )
    with pytest.raises(PlanRefused, match="table inet theirs chain f") as refused:
        b.plan(b.spec("to: 10.0.44.0/24"))
    assert "[nothing-passes]" in str(refused.value)
    assert which in str(refused.value)


def test_a_drop_that_comes_after_the_crossing_is_no_reason_not_to_look(bench: Callable[..., Bench]) -> None:
    b = bench()
    spec = b.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1")
    b.apply(spec)
    b.check(
        "gateway",
        "nft 'table inet theirs { chain f { type filter hook forward priority 0; policy drop; }; }'",
    )
    assert b.verify(spec).result is Result.UNREACHABLE
    [now] = asyncio.run(crossnet.status(spec))
    assert now.state is State.DEGRADED
    assert "table inet theirs chain f: policy drop" in now.reasons[0]


def test_foreign_nft_chain_that_drops_the_probe_is_told(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.check(
        "gateway",
        "nft 'table inet theirs { chain f { type filter hook forward priority 0; meta l4proto icmp drop; }; }'",
    )
    spec = b.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1")
    made = b.plan(spec)
    (told,) = [impact.text for impact in made.impacts if impact.code == "others-may-drop"]
    assert "table inet theirs chain f" in told
    before = b.fingerprints()
    with pytest.raises(RolledBack):
        b.apply(spec)
    assert b.differences(before) == []


@pytest.mark.parametrize("engine", [Engine.NFTABLES, Engine.IPTABLES_NFT])
def test_everything_through_the_gateway(bench: Callable[..., Bench], engine: Engine) -> None:
    """A default route for a client that has none: its own network stays what it is."""
    b = bench()
    b.check("app", "ip route del default")
    spec = b.spec(f"to: 0.0.0.0/0, probe: icmp/10.0.44.1, {force(b, engine)}")
    before = b.fingerprints()
    applied = b.apply(spec)
    assert applied.verification
    assert applied.verification.result is Result.REACHABLE
    assert b.check("app", "ip route show default").split()[:3] == ["default", "via", "10.0.43.101"]
    assert b.pings("app", "10.0.43.101")
    assert b.apply(spec).plan.is_empty
    assert b.undo(spec).confirmed
    assert b.differences(before) == []


@pytest.mark.parametrize("engine", [Engine.NFTABLES, Engine.IPTABLES_NFT])
def test_an_exception_goes_on_as_before(bench: Callable[..., Bench], engine: Engine) -> None:
    b = bench()
    b.check("target", "ip address add 10.0.44.2/24 dev eth0")
    spec = b.spec(f"to: {{networks: 10.0.44.0/24, except: 10.0.44.1}}, {force(b, engine)}")
    before = b.fingerprints()
    assert b.apply(spec).confirmed
    assert b.pings("app", "10.0.44.2")
    assert b.check("app", "ip route get 10.0.44.1").split()[:3] == ["10.0.44.1", "via", "10.0.43.1"]
    b.check("app", "ip route add 10.0.44.1 via 10.0.43.101")
    assert not b.pings("app", "10.0.44.1"), "who goes to the gateway all the same is not let through"
    # It has a longer route of its own now, so one to the whole network is enough.
    b.apply(spec)
    assert b.check("app", "ip route show proto 143").split()[:3] == ["10.0.44.0/24", "via", "10.0.43.101"]
    b.check("app", "ip route del 10.0.44.1")
    assert b.undo(spec).confirmed
    assert b.differences(before) == []


def test_emptied_sets_hide_no_rule_in_front_of_the_jump(bench: Callable[..., Bench]) -> None:
    """While nobody is in them no rule in front decides about a client; filled again, it does."""
    b = bench("seed")
    wider = b.spec(
        "crossings:\n  business: {from: [app, 10.0.43.128/25], via: gateway, to: [10.0.44.1, 10.0.44.2], "
        "firewall: iptables, probe: icmp/10.0.44.1}\n"
    )
    b.apply(wider)
    b.check("gateway", "ipset flush")
    b.check(
        "gateway", "iptables -t nat -I POSTROUTING 1 -s 10.0.43.15 -o eth0 -j SNAT --to-source 10.0.44.63"
    )
    moved = [change.description for _, change in b.plan(wider).changes if change.resource.kind == "jump"]
    assert moved == ["nat POSTROUTING → CROSSNET-POSTROUTING  (back to the top)"]
    b.apply(wider)
    assert b.plan(wider).touched == ()
