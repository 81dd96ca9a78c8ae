"""Whatever the hosts have and whatever the specs ask for: plans end, undo takes back, order holds."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossnet.errors import PlanRefused, SpecError
from crossnet.facts import FileState
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.planning import Plan, Restoring, make_plan, make_undo_plan
from crossnet.resources import KINDS, Change, File, Phase, Service
from crossnet.spec import Spec
from crossnet.specfile import parse
from design.factsheet import facts_from, host_facts
from planning.fakehost import FakeHost, Hosts, carry_out, facts_of, hosts_of, make_all, states

WORLD = """
app:
  eth0 10.0.43.15/24 fd00:43::15/64
web:
  eth0 10.0.43.16/24 fd00:43::16/64
gateway:
  eth1 10.0.43.101/24 fd00:43::101/64
  eth0 10.0.44.63/24 fd00:44::63/64
  eth2.7 10.0.45.63/24
other:
  eth1 10.0.43.102/24
  eth0 10.0.46.63/24
"""
# Each host may have some of these from somebody else before crossnet comes.
FOUND = {
    "app": (
        "route 10.0.44.0/24 via 10.0.43.101 dev eth0 proto static",
        "route 10.0.45.0/24 via 10.0.43.101 dev eth0 proto dhcp metric 100",
    ),
    "web": ("no systemd",),
    "gateway": (
        "sysctl net.ipv4.ip_forward 1",
        "sysctl net.ipv4.conf.eth0.forwarding 0",
        "sysctl net.ipv4.conf.eth2/7.forwarding 0",
        "sysctl net.ipv6.conf.all.forwarding 1",
        "tools ip sysctl iptables ip6tables ipset\n  iptables legacy",
        "route default via fd00:44::1 dev eth0 proto ra",
    ),
    "other": ("sysctl net.ipv4.ip_forward 1", "tools ip sysctl iptables ip6tables\n  iptables legacy"),
}


@st.composite
def worlds(draw: st.DrawFn) -> str:
    """A sheet of hosts."""
    lines = []
    for line in WORLD.strip().splitlines():
        lines.append(line)
        if line.endswith(":"):
            found = draw(st.lists(st.sampled_from(FOUND[line[:-1]]), unique=True))
            lines += [f"  {one}" for one in found]
    return "\n".join(lines)


def crossing(name: str) -> st.SearchStrategy[str]:
    return st.builds(
        lambda clients, way, extra: f"  {name}: {{from: {clients}, {way}{extra}}}\n",
        st.sampled_from(["app", "web", "[app, web]", "[app, 10.0.43.64/28]"]),
        st.sampled_from(
            [
                "via: gateway, to: 10.0.44.0/24",
                "via: gateway, to: [10.0.44.1, 10.0.44.7]",
                "via: gateway, to: 10.0.45.0/24",
                "via: gateway, to: 'fd00:44::/64'",
                "via: gateway, to: [10.0.44.0/24, 'fd00:44::/64']",
                "via: other, to: 10.0.46.0/24",
            ]
        ),
        st.lists(
            st.sampled_from(
                [", allow: [icmp, tcp/443]", ", translate: masquerade", ", fence: on", ", persist: none"]
            ),
            unique=True,
        ).map("".join),
    )


@st.composite
def specs(draw: st.DrawFn) -> str:
    """The crossings of a spec."""
    names = draw(st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, unique=True))
    return "".join(draw(crossing(name)) for name in names)


HOSTS = "".join(f"  {name}: {{lab: {name}}}\n" for name in FOUND)


def spec_of(crossings: str) -> Spec:
    """Their spec; one that contradicts itself is no case."""
    try:
        return parse(f"crossnet: 1\nhosts:\n{HOSTS}crossings:\n{crossings}", "crossnet.yaml")
    except SpecError:
        assume(False)
        raise


def begin(world: str, *, foreign_file: bool = True) -> dict[str, FakeHost]:
    """The hosts of a sheet; the gateway has a file of somebody else where crossnet will write its own."""
    hosts = hosts_of(facts_from(world))
    if foreign_file:
        hosts["gateway"].files[SYSCTL_FILE] = FileState(b"net.ipv4.ip_forward = 0\n", 0o640, "0:4")
    return hosts


def planned(spec: Spec, hosts: Hosts) -> Plan:
    """Their plan; a spec that these hosts do not allow is no case."""
    try:
        return make_plan(spec, facts_of(hosts))
    except PlanRefused:
        assume(False)
        raise


def applied(spec: Spec, hosts: Hosts) -> Plan:
    plan = planned(spec, hosts)
    carry_out(plan, hosts)
    return plan


def undone(spec: Spec, hosts: Hosts) -> Plan:
    plan = make_undo_plan(spec, facts_of(hosts))
    carry_out(plan, hosts)
    return plan


@given(worlds(), specs())
@settings(max_examples=60, deadline=None)
def test_a_second_plan_is_empty(world: str, crossings: str) -> None:
    hosts, spec = begin(world), spec_of(crossings)
    applied(spec, hosts)
    again = planned(spec, hosts)
    assert again.is_empty
    assert again.touched == ()


@given(worlds(), specs())
@settings(max_examples=60, deadline=None)
def test_undo_gives_every_host_back(world: str, crossings: str) -> None:
    hosts, spec = begin(world), spec_of(crossings)
    before = states(hosts)
    applied(spec, hosts)
    undone(spec, hosts)
    assert states(hosts) == before
    again = make_undo_plan(spec, facts_of(hosts))
    assert again.touched == ()


@given(worlds(), st.lists(specs(), min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_last_spec_is_all_that_counts(world: str, texts: list[str]) -> None:
    """A → B → A equals A alone, and undo still gives back what was there before all of them."""
    hosts, alone = begin(world), begin(world)
    several = [spec_of(text) for text in texts]
    before = states(hosts)
    for spec in several:
        applied(spec, hosts)
    applied(several[-1], alone)
    assert states(hosts) == states(alone)
    undone(several[-1], hosts)
    assert states(hosts) == before


@given(worlds(), specs(), specs())
@settings(max_examples=60, deadline=None)
def test_what_was_adopted_is_never_taken_away(world: str, first: str, second: str) -> None:
    hosts, one, other = begin(world), spec_of(first), spec_of(second)
    plan = applied(one, hosts)
    adopted = {(host.host, item.kind, item.key) for host in plan.hosts for item in host.adopted}
    for plan in (planned(other, hosts), make_undo_plan(one, facts_of(hosts))):
        taken = {
            (name, c.resource.kind, c.resource.key) for name, c in plan.changes if isinstance(c, Restoring)
        }
        assert not taken & adopted


@given(worlds(), specs(), specs(), st.integers(0))
@settings(max_examples=60, deadline=None)
def test_a_roll_back_from_any_point_is_the_state_before(
    world: str, first: str, second: str, stop: int
) -> None:
    hosts, one, other = begin(world), spec_of(first), spec_of(second)
    applied(one, hosts)
    before = states(hosts)
    changes = planned(other, hosts).live()
    begun = changes[: stop % (len(changes) + 1)]
    make_all(begun, hosts)
    make_all([(name, change.inverse()) for name, change in reversed(begun)], hosts)
    assert states(hosts) == before


@given(worlds(), specs(), specs())
@settings(max_examples=60, deadline=None)
def test_order_of_work(world: str, first: str, second: str) -> None:
    hosts, one, other = begin(world), spec_of(first), spec_of(second)
    applied(one, hosts)
    moved = planned(other, hosts)
    assert_order(unguarded(moved.live()))
    assert_order(before_the_guard_goes(moved))
    carry_out(moved, hosts)
    undo = make_undo_plan(other, facts_of(hosts))
    assert_order(undo.live())
    assert_order(before_the_guard_goes(undo))
    assert all(_takes_away(change) for _, change in undo.changes)


# The other way round, but for units: systemd forgets one only when its file is gone.
RETREAT = {kind: resource.rank for kind, resource in KINDS.items()} | {
    "file": Service.rank,
    "service": File.rank,
}


def assert_order(changes: tuple[tuple[str, Change], ...]) -> None:
    # A chain can go only when nothing jumps into it any more: such a jump goes before its table changes.
    shrinking = {
        host for host, change in changes if change.resource.kind == "table" and change.action == "change"
    }
    first = [item for item in changes if item[0] in shrinking and item[1].resource.kind == "jump"]
    early = [item for item in first if _takes_away(item[1])]
    assert list(changes[: len(early)]) == early
    changes = changes[len(early) :]
    away = [_takes_away(change) for _, change in changes]
    assert away == sorted(away), "adds come before removes"
    for name in {name for name, _ in changes}:
        own = [change for host, change in changes if host == name]
        adds = [change.resource.rank for change in own if not _takes_away(change)]
        removes = [RETREAT[change.resource.kind] for change in own if _takes_away(change)]
        assert adds == sorted(adds)
        assert removes == sorted(removes, reverse=True)


def _takes_away(change: Change) -> bool:
    return change.action == "remove" or isinstance(change, Restoring)


def test_the_gateway_is_ready_before_a_client_sends() -> None:
    facts = facts_from(WORLD)
    spec = parse(
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}, web: {lab: web}, other: {lab: other}}\n"
        "crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24, firewall: iptables}}\n",
        "crossnet.yaml",
    )
    kinds = [(name, change.resource.kind) for name, change in unguarded(make_plan(spec, facts).live())]
    assert list(dict.fromkeys(kinds)) == [
        ("gateway", "table"),
        ("gateway", "jump"),
        ("gateway", "sysctl"),
        ("app", "route"),
    ]


def before_the_guard_goes(plan: Plan) -> tuple[tuple[str, Change], ...]:
    """Something must end it at the boot when the power goes, until there is nothing else left to remove."""
    later = plan.persistent()
    rest = tuple(item for item in later if item[1].resource.phase is not Phase.GUARD)
    assert later[: len(rest)] == rest
    return rest


def unguarded(changes: tuple[tuple[str, Change], ...]) -> tuple[tuple[str, Change], ...]:
    """Without what guards the change over a power cut, which is first on each host."""
    seen: set[str] = set()
    rest = []
    for host, change in changes:
        if change.resource.phase is Phase.GUARD:
            assert host not in seen, f"{host} is changed before it is guarded"
        else:
            seen.add(host)
            rest.append((host, change))
    return tuple(rest)


def test_nothing_but_the_guard_is_written_for_the_next_boot_before_the_confirmation() -> None:
    facts = facts_from(WORLD)
    spec = parse(
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}, web: {lab: web}, other: {lab: other}}\n"
        "crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24}}\n",
        "crossnet.yaml",
    )
    plan = make_plan(spec, facts)
    assert not any(change.resource.phase is Phase.PERSISTENT for _, change in unguarded(plan.live()))
    assert {change.resource.kind for _, change in plan.persistent()} == {"file", "service"}
    assert len(plan.live()) + len(plan.persistent()) == len(plan.changes)


def test_switching_forwarding_back_puts_back_what_it_disturbed() -> None:
    """The kernel resets every interface's `forwarding` and flips `accept_redirects` (net/ipv4/devinet.c)."""
    own = "eth1 10.0.43.101/24\neth0 10.0.44.63/24\neth2.7 10.9.0.1/24\nsysctl net.ipv4.conf.eth2/7.forwarding 1"
    world = {
        "app": host_facts("app", "eth0 10.0.43.15/24"),
        "gateway": host_facts("gateway", own),
    }
    spec = parse(
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
        "crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24}}\n",
        "crossnet.yaml",
    )
    hosts = hosts_of(world)
    before = dict(hosts["gateway"].sysctls)
    applied(spec, hosts)
    assert hosts["gateway"].sysctls["net.ipv4.conf.all.accept_redirects"] == "0"
    assert hosts["gateway"].sysctls["net.ipv4.conf.eth1.forwarding"] == "1"
    undone(spec, hosts)
    assert hosts["gateway"].sysctls == before
    assert before["net.ipv4.conf.eth2/7.forwarding"] == "1"


def test_what_interfaces_of_ipv6_forwarded_by_themselves_they_do_again_after_an_undo() -> None:
    """The kernel ends it with forwarding of the host (net/ipv6/addrconf.c, Linux 6.17)."""
    force = "".join(
        f"\nsysctl net.ipv6.conf.{name}.force_forwarding {value}"
        for name, value in {"all": 0, "default": 0, "eth0": 1, "eth1": 0, "eth2": 1}.items()
    )
    own = f"eth1 fd00:43::101/64\neth0 fd00:44::63/64\neth2 fd00:45::101/64{force}"
    world = {"app": host_facts("app", "eth0 fd00:43::15/64"), "gateway": host_facts("gateway", own)}
    spec = parse(
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
        'crossings: {business: {from: app, via: gateway, to: "fd00:44::/64"}}\n',
        "crossnet.yaml",
    )
    hosts = hosts_of(world)
    before = dict(hosts["gateway"].sysctls)
    applied(spec, hosts)
    assert hosts["gateway"].sysctls["net.ipv6.conf.all.forwarding"] == "1"
    undone(spec, hosts)
    assert hosts["gateway"].sysctls == before
