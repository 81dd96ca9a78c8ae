"""What a host is given back when others live on what crossnet switched on, and when it was started again since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet.dependents import fenced, parting
from crossnet.errors import PlanRefused
from crossnet.facts import Facts, FileState
from crossnet.facts.managers import managers_of
from crossnet.facts.sysctls import FORWARDING, BootSetting, at_boot
from crossnet.opening import told_opening
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.planning import make_plan, make_undo_plan
from crossnet.record import APPLIED, Record, read_record
from crossnet.resources import Sysctl
from crossnet.show.text import plan_text
from crossnet.spec import Fence, Persist
from crossnet.specfile import parse
from crossnet.values import Family
from design.factsheet import facts_from, host_facts, networks, with_files
from planning.fakehost import carry_out, facts_of, hosts_of

SPEC = parse(
    """
crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings:
  business: {from: app, via: gateway, to: 10.0.44.0/24, fence: FENCE}
""".replace("FENCE", "off"),
    "crossnet.yaml",
)
FIRST, SECOND = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
APP = "eth0 10.0.43.15/24"
GATEWAY = "eth1 10.0.43.101/24\neth0 10.0.44.63/24\n"
DOCKER = """
docker0 bridge 172.17.0.1/16
iptables nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables filter -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
"""
FIREWALLD = """
iptables nat -A POST_external_allow ! -o lo -j MASQUERADE
iptables filter -A FORWARD_direct -j RETURN
"""
V4 = FORWARDING[Family.V4]
ON = Sysctl(V4, "1")


def gateway(more: str = "", *, on: str = "0", boot: str = FIRST) -> Facts:
    found = host_facts("gateway", f"{GATEWAY}{more}\nsysctl {V4} {on}\nmachine {boot} net:[1]")
    return replace(found, managers=managers_of(found.links, found.policy_rules, found.firewall.foreign))


def record(before: str = "") -> Record:
    """What crossnet keeps of a gateway that had this more than its two interfaces when it came."""
    made = make_plan(SPEC, {"app": host_facts("app", APP), "gateway": gateway(before)})
    (own,) = (host for host in made.hosts if host.host == "gateway")
    return own.after


def now(more: str, before: str = "", boot: str = FIRST) -> tuple[Facts, Record]:
    """The gateway while the crossing stands, and what its record tells when it is read there."""
    facts = gateway(f"{more}\nboot {SYSCTL_FILE} {V4} 1", on="1", boot=boot)
    facts = with_files(facts, {APPLIED: FileState(record(before).to_json(), 0o600, "0:0")})
    return facts, read_record(facts)


def told(more: str, before: str = "", boot: str = FIRST) -> dict[str, str]:
    """What a plan says that takes the last crossing from the gateway, by the codes."""
    return {impact.code: impact.text for impact in parting(*now(more, before, boot), ()).impacts}


def switched_off(more: str, before: str = "", boot: str = FIRST) -> bool:
    facts, _ = now(more, before, boot)
    made = make_undo_plan(SPEC, {"app": host_facts("app", APP), "gateway": facts})
    return any(change.resource.key == V4 for _, change in made.changes)


def test_without_others_a_host_is_as_it_was() -> None:
    assert switched_off("")
    assert told("") == {}


def test_whoever_came_later_keeps_forwarding_and_is_named() -> None:
    assert not switched_off(DOCKER)
    assert told(DOCKER) == {
        "forwarding-stays": (
            "net.ipv4.ip_forward stays 1, though it was 0 before crossnet: since crossnet switched it on, others have "
            "come to need it: docker, interface docker0; iptables-nft filter FORWARD: rule -i docker0 ! -o docker0 -j "
            "ACCEPT; iptables-nft nat POSTROUTING: rule -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE. Without "
            "crossnet's rules it also forwards for everybody what comes in by eth0 and eth1. `sysctl -w "
            "net.ipv4.ip_forward=0` switches it off when nobody needs it any more"
        ),
        "other-at-boot": (
            "net.ipv4.ip_forward is 1 until the next boot, when no file of the host's own sets it; docker switches it "
            "on when it starts"
        ),
    }


@pytest.mark.parametrize(
    ("there", "who"),
    [
        (FIREWALLD, "firewalld"),
        ("set by ufw /etc/ufw/sysctl.conf net.ipv4.ip_forward 1 7", "ufw"),
    ],
)
def test_whoever_switches_it_on_himself_gets_no_line_in_a_file(there: str, who: str) -> None:
    """It would be on before their rules are there that keep others out."""
    assert told(f"{DOCKER}\n{there}")["other-at-boot"] == (
        "net.ipv4.ip_forward is 1 until the next boot, when no file of the host's own sets it; "
        f"docker and {who} switch it on when they start"
    )


@pytest.mark.parametrize(
    "came",
    [
        "br0 bridge 192.168.9.1/24",
        "virbr0 bridge 192.168.122.1/24",
        "wg0 10.99.0.1/24",
        "vethc1 veth 10.88.0.1/24",
        "iptables nat -A POSTROUTING -o eth0 -j MASQUERADE",
        "iptables nat -A PREROUTING -d 10.0.44.63 -p tcp --dport 80 -j DNAT --to-destination 10.0.43.7",
        "iptables filter -A FORWARD -i eth1 -o eth0 -j ACCEPT",
        "iptables filter -A FORWARD -s 10.0.43.0/24 -d 10.0.44.0/24 -j ACCEPT",
        "iptables filter -A FORWARD -s 10.0.43.15 -d 10.9.0.0/24 -j ACCEPT",
        f"boot /etc/sysctl.d/50-router.conf {V4} 1",
    ],
)
def test_each_of_these_is_somebody_who_needs_it(came: str) -> None:
    assert not switched_off(came)
    assert "forwarding-stays" in told(came)


@pytest.mark.parametrize(
    "came",
    [
        "eth2 10.0.45.63/24",  # a card: who is behind it knows nothing of a gateway
        "br0 bridge",  # without an address nothing is routed there
        "iptables nat -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080",
        "iptables nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.44.63:8080",
        "iptables filter -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "iptables filter -A FORWARD -i lo -j ACCEPT",
        # As the plan may have advised: for the crossing itself.
        "iptables filter -A FORWARD -s 10.0.43.15 -d 10.0.44.0/25 -o eth0 -j ACCEPT",
        "iptables filter -A FORWARD -s 10.0.43.15 -j ACCEPT",
        "iptables filter -A FORWARD -s 10.0.44.0/24 -d 10.0.43.15 -j ACCEPT",
        "iptables filter -A INPUT -i docker0 -j ACCEPT",
        f"boot /etc/sysctl.d/50-router.conf {V4} 0",
        f"boot /etc/sysctl.d/50-router.conf {V4} no",
        # Nothing of it passes, so nobody lives on it.
        "br0 bridge 192.168.9.1/24\niptables filter -A FORWARD -j DROP",
    ],
)
def test_none_of_these_needs_it(came: str) -> None:
    assert switched_off(came)
    assert "forwarding-stays" not in told(came)


def test_what_was_there_before_crossnet_did_without_it() -> None:
    assert switched_off(DOCKER, before=DOCKER)
    assert not switched_off(f"{DOCKER}\nbr-0123456789ab bridge 172.18.0.1/16", before=DOCKER)


def test_of_a_record_that_does_not_tell_who_was_there_rules_are_no_newcomers() -> None:
    """0.1.0 did not look; a rule that somebody wrote before it must not keep the gateway open when it leaves."""

    def as_of_0_1_0(kept: Record) -> Record:
        return replace(kept, owned=tuple(replace(one, others=None) for one in kept.owned))

    facts, kept = now("iptables filter -A FORWARD -i eth1 -o eth0 -j ACCEPT")
    assert parting(facts, kept, ()).stays
    assert not parting(facts, as_of_0_1_0(kept), ()).stays
    facts, kept = now(DOCKER)
    assert parting(facts, as_of_0_1_0(kept), ()).stays  # an interface tells itself that it is new


def test_where_the_record_is_lost_those_who_are_there_decide() -> None:
    """Nobody knows whether it was on before: for nobody it is not decided, for those who need it it stays."""
    hosts = {"app": host_facts("app", APP), "gateway": gateway("rules of crossnet open", on="1")}
    with pytest.raises(PlanRefused, match="forwarding-unknown"):
        make_undo_plan(SPEC, hosts)
    hosts["gateway"] = gateway(f"{DOCKER}\nrules of crossnet open", on="1")
    made = make_undo_plan(SPEC, hosts)
    assert not any(change.resource.key == V4 for _, change in made.changes)
    (told,) = (impact.text for impact in made.impacts if impact.code == "forwarding-stays")
    assert told.startswith(
        "net.ipv4.ip_forward stays 1, and whether it was 0 before crossnet is not known: since crossnet switched it "
        "on, others have come to need it: docker, interface docker0"
    )


def test_with_ipv6_forwarding_the_routers_stay_heard() -> None:
    """Else a gateway that forwards forgets the default route that it learned."""
    spec = replace(
        SPEC, crossings=(replace(SPEC.crossings[0], to=networks("fd00:44::/64"), persist=Persist.NONE),)
    )
    sheet = """
app:
  eth0 fd00:43::15/64
gateway:
  eth1 fd00:43::101/64
  eth0 fd00:44::63/64
  route default via fe80::1 dev eth0 proto ra
  sysctl net.ipv6.conf.all.forwarding 0
"""
    hosts = hosts_of(facts_from(sheet))
    carry_out(make_plan(spec, facts_of(hosts)), hosts)
    facts = facts_of(hosts)
    (came,) = host_facts("gateway", "br0 bridge fd00:9::1/64").links
    wanted = {("net.ipv6.conf.all.forwarding", "1", "0"), ("net.ipv6.conf.eth0.accept_ra", "2", "1")}

    def given_back() -> set[tuple[str, str, str]]:
        return {
            (change.have.name, change.have.value, change.want.value)
            for _, change in make_undo_plan(spec, facts).changes
            if isinstance(change.have, Sysctl) and isinstance(change.want, Sysctl)
        }

    assert given_back() == wanted
    own = facts["gateway"]
    facts["gateway"] = replace(own, links=(*own.links, came))
    assert given_back() == set()


def test_an_interface_that_is_there_under_another_name_is_nobody_new() -> None:
    before = "eth7 veth 10.0.47.63/24"
    assert switched_off("lan7 veth 10.0.47.63/24", before)


def test_a_host_that_was_started_again_is_given_what_its_own_files_set() -> None:
    router = f"boot /etc/sysctl.d/50-router.conf {V4} 1"
    # It was there before crossnet, and somebody had switched forwarding off by hand.
    assert switched_off(router, before=router)
    assert not switched_off(router, before=router, boot=SECOND)
    assert told(router, router, SECOND)["forwarding-stays"].startswith(
        "net.ipv4.ip_forward stays 1, though it was 0 before crossnet: /etc/sysctl.d/50-router.conf switches it on"
    )
    hardened = "boot /etc/sysctl.d/60-hard.conf net.ipv4.conf.all.accept_redirects 0"
    facts, kept = now(hardened, boot=SECOND)
    given = parting(facts, kept, ()).originals[Sysctl.kind, V4]
    assert isinstance(given, Sysctl)
    assert dict(given.disturbed)["net.ipv4.conf.all.accept_redirects"] == "0"
    assert told(hardened, boot=SECOND) == {
        "earlier-boot": (
            "was rebooted since crossnet came, so it gets back what its own files set at boot, not what was live "
            "before: net.ipv4.conf.all.accept_redirects = 0 by /etc/sysctl.d/60-hard.conf (it was 1)"
        )
    }
    assert told(hardened) == {}


def test_an_interface_forwards_as_the_files_have_it_for_all() -> None:
    """Somebody had switched it off by hand, in a start of the host that is over."""
    own = "net.ipv4.conf.eth1.forwarding"
    router = f"boot /etc/sysctl.d/50-router.conf {V4} 1"
    before = f"{router}\nsysctl {own} 0"
    hosts = {"app": host_facts("app", APP), "gateway": gateway(before, on="1")}
    kept = next(host.after for host in make_plan(SPEC, hosts).hosts if host.host == "gateway")
    for boot, given in ((FIRST, "0"), (SECOND, None)):
        facts = gateway(f"{router}\nsysctl {own} 1", on="1", boot=boot)
        facts = with_files(facts, {APPLIED: FileState(kept.to_json(), 0o600, "0:0")})
        made = make_undo_plan(SPEC, {**hosts, "gateway": facts})
        found = [change.want for _, change in made.changes if change.resource.key == own]
        assert [each.value for each in found if isinstance(each, Sysctl)] == ([given] if given else [])
        assert ("earlier-boot" in {impact.code for impact in made.impacts}) is (given is None)


def test_what_the_next_boot_brings_is_told_where_it_is_something_else() -> None:
    router = f"boot /etc/sysctl.d/50-router.conf {V4} 1"
    assert told(router, before=router) == {
        "other-at-boot": (
            "net.ipv4.ip_forward is 0 now, and 1 after the next boot: /etc/sysctl.d/50-router.conf sets it, and "
            "crossnet's fence is gone then"
        )
    }


def test_what_opens_and_closes_counts_with_forwarding_that_stays() -> None:
    fenced = replace(SPEC, crossings=(replace(SPEC.crossings[0], fence=Fence.ON, persist=Persist.NONE),))
    hosts = hosts_of({"app": host_facts("app", APP), "gateway": gateway()})
    carry_out(make_plan(fenced, facts_of(hosts)), hosts)
    facts, docker = facts_of(hosts), gateway(DOCKER)
    own = facts["gateway"]
    rules = replace(own.firewall, foreign=(*own.firewall.foreign, *docker.firewall.foreign))
    facts["gateway"] = replace(own, links=docker.links, routes=docker.routes, firewall=rules)
    shown = plan_text(told_opening(make_undo_plan(fenced, facts), facts)).splitlines()
    assert "  opens   everybody between docker0, eth0 and eth1 of gateway: any IPv4 traffic" in shown
    assert "  closes  app 10.0.43.15 → 10.0.44.0/24: any traffic, seen there as 10.0.44.63" in shown


def test_status_names_whom_the_fence_stops() -> None:
    facts, kept = now(DOCKER)
    assert list(fenced(facts, kept)) == []  # there is none
    fence = "rules of crossnet fenced"
    (line,) = fenced(*now(f"{DOCKER}\n{fence}"))
    assert line.startswith("gateway: the fence stops IPv4 packets that others there want forwarded: docker, ")
    assert list(fenced(*now(fence))) == []


@pytest.mark.parametrize(
    ("files", "systemd", "value"),
    [
        ({}, True, None),
        ({"/etc/sysctl.conf": "1"}, True, None),
        ({"/etc/sysctl.conf": "1"}, False, "1"),
        # What the kernel refuses: systemd-sysctl writes the last line of a name alone, `sysctl --system` each.
        ({"/etc/sysctl.d/50-a.conf": "1", "/etc/sysctl.d/60-b.conf": "no"}, True, None),
        ({"/etc/sysctl.d/50-a.conf": "1", "/etc/sysctl.d/60-b.conf": "no"}, False, "1"),
        ({"/etc/sysctl.d/99-sysctl.conf": "1", "/usr/lib/sysctl.d/50-default.conf": "0"}, True, "1"),
        ({"/etc/sysctl.d/50-a.conf": "1", "/usr/lib/sysctl.d/60-b.conf": "0"}, True, "0"),
        # Of one name that of /etc counts.
        ({"/usr/lib/sysctl.d/50-a.conf": "1", "/etc/sysctl.d/50-a.conf": "0"}, True, "0"),
    ],
)
def test_the_files_are_taken_in_the_order_of_systemd(
    files: dict[str, str], systemd: bool, value: str | None
) -> None:
    settings = tuple(BootSetting(file, V4, each) for file, each in files.items())
    found = at_boot(settings, V4, systemd=systemd)
    assert (found.value if found else None) == value


def test_two_names_and_patterns_are_one_setting() -> None:
    other = BootSetting("/etc/sysctl.d/a.conf", "net.ipv4.conf.all.forwarding", "1")
    assert at_boot((other,), V4, systemd=True) == other
    pattern = BootSetting("/etc/sysctl.d/a.conf", "net.ipv6.conf.*.accept_ra", "0")
    assert at_boot((pattern,), "net.ipv6.conf.eth0.accept_ra", systemd=True) == pattern
