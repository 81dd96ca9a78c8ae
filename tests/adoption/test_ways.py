"""What somebody typed by hand, and the spec that it amounts to."""

from __future__ import annotations

import pytest

from adoption.by_hand import (
    APP,
    GATEWAY,
    ROUTE,
    SEED,
    SNAT,
    Made,
    adopt,
    nft_chain,
    nft_rule,
    nft_table,
    with_nft,
    with_rules,
)
from crossnet.errors import CrossnetError, PlanRefused
from crossnet.netfilter.foreign import Tool
from crossnet.planning import make_plan
from crossnet.record import with_record
from crossnet.spec import Fence, SnatTo
from crossnet.translation import Masquerade, Untranslated
from crossnet.values import Ports, Protocol, Traffic, address
from design.factsheet import facts_from

# What only narrows what is there, or lasts longer.
NARROWS = {"table", "jump"}


def only(made: Made) -> str:
    """The one crossing of what is written, in a line."""
    (one,) = made.spec.crossings
    to, clients = ",".join(map(str, one.to)), ",".join(map(str, one.clients))
    return f"{clients} -> {one.via} -> {to}"


def narrows(made: Made) -> None:
    """Whatever stands there is used as it is: nothing but the rules is new, and what brings it back at a boot."""
    assert made.live <= NARROWS
    assert ("app", "route") in made.kept
    assert ("gateway", "sysctl") in made.kept


def test_the_seed() -> None:
    made = adopt(SEED)
    assert only(made) == "app -> gateway -> 10.0.44.0/24"
    (crossing,) = made.spec.crossings
    assert (crossing.translate, crossing.fence, crossing.allow) == (SnatTo(), Fence.ON, None)
    assert (crossing.ingress, crossing.egress, crossing.next_hop) == (None, None, None)
    narrows(made)
    assert made.codes == [
        ("gateway", "snat-for-everybody"),
        ("gateway", "forwards-for-everybody"),
        ("gateway", "lost-at-boot"),
        ("app", "lost-at-boot"),
    ]
    (fix,) = made.finding("snat-for-everybody").fix
    assert fix.commands == ("iptables-nft -t nat -D POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63",)


@pytest.mark.parametrize("tool", [Tool.IPTABLES_NFT, Tool.IPTABLES_LEGACY])
def test_the_rule_goes_by_the_tool_that_made_it(tool: Tool) -> None:
    facts = with_rules(
        APP + ROUTE + GATEWAY,
        "*nat",
        ":POSTROUTING ACCEPT [0:0]",
        "-A POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63",
        "COMMIT",
        tool=tool,
    )
    made = adopt(facts)
    assert [one.fence for one in made.spec.crossings] == [Fence.ON]
    narrows(made)
    (fix,) = made.finding("snat-for-everybody").fix
    assert fix.commands == (f"{tool} -t nat -D POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63",)


def test_nft() -> None:
    facts = with_nft(
        APP + ROUTE + GATEWAY,
        nft_table("by_hand"),
        nft_chain("by_hand", "post", type="nat", hook="postrouting", prio=100, policy="accept"),
        nft_rule(
            "by_hand",
            "post",
            {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "eth0"}},
            {"snat": {"addr": "10.0.44.63"}},
        ),
    )
    made = adopt(facts)
    assert only(made) == "app -> gateway -> 10.0.44.0/24"
    assert [one.fence for one in made.spec.crossings] == [Fence.ON]
    narrows(made)
    (fix,) = made.finding("snat-for-everybody").fix
    assert fix.commands == ("nft -a list chain ip by_hand post",)
    assert "nft delete rule ip by_hand post handle N" in fix.warning


def test_masquerade() -> None:
    made = adopt(APP + ROUTE + GATEWAY + "  iptables nat -A POSTROUTING -o eth0 -j MASQUERADE\n")
    (crossing,) = made.spec.crossings
    assert crossing.translate == Masquerade()
    narrows(made)


def test_masquerade_of_firewalld() -> None:
    rules = [
        ("nat_POSTROUTING", {"jump": {"target": "nat_POST_public"}}),
        ("nat_POST_public", {"jump": {"target": "nat_POST_public_allow"}}),
    ]
    masquerade = (
        {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "ipv4"}},
        {"match": {"op": "!=", "left": {"meta": {"key": "oifname"}}, "right": "lo"}},
        {"masquerade": None},
    )
    facts = with_nft(
        APP + ROUTE + GATEWAY + "  firewalld 1.3.3 public\n  zone public eth0 masquerade yes\n",
        nft_table("firewalld", "inet"),
        nft_chain(
            "firewalld",
            "nat_POSTROUTING",
            "inet",
            type="nat",
            hook="postrouting",
            prio=110,
            policy="accept",
        ),
        nft_chain("firewalld", "nat_POST_public", "inet"),
        nft_chain("firewalld", "nat_POST_public_allow", "inet"),
        *(nft_rule("firewalld", chain, rule, family="inet") for chain, rule in rules),
        nft_rule("firewalld", "nat_POST_public_allow", *masquerade, family="inet"),
    )
    made = adopt(facts)
    (crossing,) = made.spec.crossings
    assert (crossing.translate, crossing.fence) == (Masquerade(), Fence.ON)
    (fix,) = made.finding("snat-for-everybody").fix
    assert fix.commands == (
        "firewall-cmd --zone=public --remove-masquerade",
        "firewall-cmd --permanent --zone=public --remove-masquerade",
    )


def test_without_translation() -> None:
    made = adopt(APP + ROUTE + GATEWAY)
    (crossing,) = made.spec.crossings
    assert crossing.translate == Untranslated()
    narrows(made)
    assert "snat-for-everybody" not in {code for _, code in made.codes}


def test_another_address_of_the_gateway() -> None:
    sheet = APP + ROUTE + GATEWAY.replace("10.0.44.63/24", "10.0.44.63/24 10.0.44.64/24")
    made = adopt(sheet + SNAT.replace("10.0.44.63", "10.0.44.64"))
    (crossing,) = made.spec.crossings
    assert crossing.translate == SnatTo(address("10.0.44.64"))
    narrows(made)


def test_several_destinations_of_rules() -> None:
    """The route leads further than the rules translate: what answers comes back from is what they name."""
    rules = "".join(
        f"  iptables nat -A POSTROUTING -d {to} -o eth0 -j SNAT --to-source 10.0.44.63\n"
        for to in ("10.0.44.0/26", "10.0.44.128/25")
    )
    made = adopt(APP + ROUTE + GATEWAY + rules)
    assert only(made) == "app -> gateway -> 10.0.44.0/26,10.0.44.128/25"
    assert len([code for _, code in made.codes if code == "snat-for-everybody"]) == 2


def test_several_destinations_of_routes() -> None:
    routes = ROUTE + "  route 10.0.50.0/24 via 10.0.43.101 dev eth0\n"
    made = adopt(APP + routes + GATEWAY + "  route 10.0.50.0/24 via 10.0.44.1 dev eth0\n" + SNAT)
    assert only(made) == "app -> gateway -> 10.0.44.0/24,10.0.50.0/24"
    narrows(made)


def test_routes_to_neighbouring_networks_stay_two() -> None:
    routes = ROUTE + "  route 10.0.45.0/24 via 10.0.43.101 dev eth0\n"
    made = adopt(APP + routes + GATEWAY + "  route 10.0.45.0/24 via 10.0.44.1 dev eth0\n" + SNAT)
    assert only(made) == "app -> gateway -> 10.0.44.0/24,10.0.45.0/24"
    narrows(made)


def test_networks_by_two_interfaces_of_the_gateway_are_two_crossings() -> None:
    routes = ROUTE + "".join(f"  route 10.0.{number}.0/24 via 10.0.43.101 dev eth0\n" for number in (45, 50))
    gateway = GATEWAY + "  eth2 10.0.50.63/24\n  route 10.0.45.0/24 via 10.0.44.1 dev eth0\n"
    more = "  iptables nat -A POSTROUTING -o eth2 -j SNAT --to-source 10.0.50.63\n"
    made = adopt(APP + routes + gateway + SNAT + more)
    assert [[*map(str, one.to)] for one in made.spec.crossings] == [
        ["10.0.44.0/24", "10.0.45.0/24"],
        ["10.0.50.0/24"],
    ]
    narrows(made)


def test_a_default_route_and_one_of_its_own() -> None:
    app = APP.replace("10.0.43.1 ", "10.0.43.101 ") + ROUTE
    made = adopt(app + GATEWAY + SNAT)
    assert only(made) == "app -> gateway -> 0.0.0.0/0"
    narrows(made)


def test_only_what_is_asked_for() -> None:
    routes = ROUTE + "  route 10.0.50.0/24 via 10.0.43.101 dev eth0\n"
    sheet = APP + routes + GATEWAY + "  route 10.0.50.0/24 via 10.0.44.1 dev eth0\n" + SNAT
    assert only(adopt(sheet, to=["10.0.50.0/24"])) == "app -> gateway -> 10.0.50.0/24"


def test_several_clients_of_one_way_are_one_crossing() -> None:
    other = APP.replace("app", "web").replace("10.0.43.15", "10.0.43.16") + ROUTE
    made = adopt(APP + ROUTE + other + GATEWAY + SNAT, ["app", "web"])
    assert only(made) == "app,web -> gateway -> 10.0.44.0/24"


def test_clients_of_different_networks_are_two_crossings() -> None:
    other = APP.replace("app", "web").replace("10.0.43.15", "10.0.43.16")
    other += "  route 10.0.50.0/24 via 10.0.43.101 dev eth0\n"
    gateway = GATEWAY + "  route 10.0.50.0/24 via 10.0.44.1 dev eth0\n" + SNAT
    made = adopt(APP + ROUTE + other + gateway, ["app", "web"])
    assert [(one.clients, [*map(str, one.to)]) for one in made.spec.crossings] == [
        (("app",), ["10.0.44.0/24"]),
        (("web",), ["10.0.50.0/24"]),
    ]
    assert len({one.name for one in made.spec.crossings}) == 2


def test_two_gateways_of_which_each_carries_a_part() -> None:
    second = GATEWAY.replace("gateway", "other").replace("10.0.43.101", "10.0.43.102")
    second = second.replace("10.0.44.", "10.0.50.") + SNAT.replace("10.0.44.63", "10.0.50.63")
    routes = ROUTE + "  route 10.0.50.0/24 via 10.0.43.102 dev eth0\n"
    made = adopt(APP + routes + GATEWAY + SNAT + second, gateways=["gateway", "other"])
    assert [(one.via, [*map(str, one.to)]) for one in made.spec.crossings] == [
        ("gateway", ["10.0.44.0/24"]),
        ("other", ["10.0.50.0/24"]),
    ]


def test_a_gateway_that_nothing_leads_to_is_left_out() -> None:
    second = GATEWAY.replace("gateway", "other").replace("10.0.43.101", "10.0.43.102")
    made = adopt(
        SEED + second.replace("10.0.44.63", "10.0.44.64"),
        gateways=["other", "gateway"],
    )
    assert only(made) == "app -> gateway -> 10.0.44.0/24"
    assert [host.name for host in made.spec.hosts] == ["app", "gateway"]


def test_a_default_route_in_place_of_one_of_its_own() -> None:
    app = "app:\n  eth0 10.0.43.15/24\n  route default via 10.0.43.101 dev eth0\n"
    made = adopt(app + GATEWAY + SNAT)
    assert only(made) == "app -> gateway -> 0.0.0.0/0"
    narrows(made)
    assert "default via 10.0.43.101" in made.finding("default-route-by-gateway").text


def test_a_default_route_and_the_network_that_is_needed() -> None:
    app = "app:\n  eth0 10.0.43.15/24\n  route default via 10.0.43.101 dev eth0\n"
    made = adopt(app + GATEWAY + SNAT, to=["10.0.44.0/24"])
    assert only(made) == "app -> gateway -> 10.0.44.0/24"
    assert "default-route-by-gateway" not in {code for _, code in made.codes}


def test_a_default_route_whose_rules_name_the_network() -> None:
    app = "app:\n  eth0 10.0.43.15/24\n  route default via 10.0.43.101 dev eth0\n"
    made = adopt(app + GATEWAY + SNAT.replace("-o eth0", "-d 10.0.44.0/24 -o eth0"))
    assert only(made) == "app -> gateway -> 10.0.44.0/24"


FORWARD = (
    "*filter",
    ":FORWARD DROP [0:0]",
    "-A FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT",
    "{rules}",
    "COMMIT",
    "*nat",
    ":POSTROUTING ACCEPT [0:0]",
    "-A POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63",
    "COMMIT",
)


def filtered(*rules: str) -> Made:
    lines = [each for line in FORWARD for each in (rules if line == "{rules}" else (line,))]
    return adopt(with_rules(APP + ROUTE + GATEWAY, *lines))


def test_a_filter_says_what_is_allowed() -> None:
    made = filtered(
        "-A FORWARD -s 10.0.43.15/32 -i eth1 -o eth0 -p tcp -m tcp --dport 443 -j ACCEPT",
        "-A FORWARD -s 10.0.43.15/32 -i eth1 -o eth0 -p icmp -j ACCEPT",
    )
    (crossing,) = made.spec.crossings
    assert crossing.allow == (Traffic(Protocol.ICMP), Traffic(Protocol.TCP, Ports(443, 443)))
    assert "forwards-for-everybody" not in {code for _, code in made.codes}
    assert crossing.fence is Fence.ON


def test_a_filter_says_to_whom() -> None:
    made = filtered("-A FORWARD -i eth1 -o eth0 -d 10.0.44.1/32 -j ACCEPT")
    assert only(made) == "app -> gateway -> 10.0.44.1/32"


def test_what_others_need_is_not_closed() -> None:
    made = filtered(
        "-A FORWARD -s 10.0.43.15/32 -i eth1 -o eth0 -j ACCEPT",
        "-A FORWARD -s 10.0.60.0/24 -d 10.0.70.0/24 -j ACCEPT",
    )
    (crossing,) = made.spec.crossings
    assert crossing.fence is Fence.AUTO
    assert "10.0.60.0/24" in made.finding("others-forwarded").text


def test_a_translation_for_everybody_behind_a_narrow_filter() -> None:
    made = filtered("-A FORWARD -s 10.0.43.15/32 -i eth1 -o eth0 -j ACCEPT")
    assert "what anybody sends" in made.finding("snat-for-everybody").text


def test_what_is_open_for_everybody_in_part() -> None:
    made = filtered("-A FORWARD -i eth1 -o eth0 -d 10.0.44.0/24 -p tcp -j ACCEPT")
    assert "a part of what anybody sends from eth1 to eth0" in made.finding("forwards-for-everybody").text


def test_a_next_hop_that_is_not_the_gateways_first_address() -> None:
    gateway = GATEWAY.replace("10.0.43.101/24", "10.0.43.101/24 10.0.43.102/24")
    made = adopt(APP + ROUTE.replace("10.0.43.101", "10.0.43.102") + gateway + SNAT)
    (crossing,) = made.spec.crossings
    assert (crossing.ingress, crossing.egress) == ("eth1", "eth0")
    assert crossing.next_hop == address("10.0.43.102")
    narrows(made)


def test_what_can_be_no_crossing_is_refused_as_by_a_plan() -> None:
    gateway = GATEWAY.replace("  eth0 10", "  eth2 10.0.43.102/24\n  eth0 10")
    with pytest.raises(PlanRefused, match="no-route-to-client"):
        adopt(APP + ROUTE.replace("10.0.43.101", "10.0.43.102") + gateway + SNAT)


def test_the_usual_filter_names_nobody() -> None:
    made = filtered(
        "-A FORWARD -i eth1 -o eth0 -j ACCEPT",
        "-A FORWARD -i eth0 -o eth1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    )
    (crossing,) = made.spec.crossings
    assert crossing.fence is Fence.ON
    assert "eth1 to eth0 (IPv4)" in made.finding("forwards-for-everybody").text


@pytest.mark.parametrize("checked", ["0", "1"])
def test_a_rule_for_the_clients_whole_network_is_for_others_too(checked: str) -> None:
    made = adopt(
        APP
        + ROUTE
        + GATEWAY
        + f"  sysctl net.ipv4.conf.all.rp_filter {checked}\n"
        + SNAT.replace("-o eth0", "-s 10.0.43.0/24 -o eth0")
    )
    (crossing,) = made.spec.crossings
    assert crossing.fence is Fence.AUTO
    assert "10.0.43.0/24" in made.finding("others-forwarded").text
    assert not made.finding("forwards-for-everybody").by_crossnet
    narrows(made)


def test_a_rule_for_all_the_clients_is_for_nobody_else() -> None:
    other = APP.replace("app", "web").replace("10.0.43.15", "10.0.43.16")
    other += "  route 10.0.50.0/24 via 10.0.43.101 dev eth0\n"
    facts = with_rules(
        APP + ROUTE + other + GATEWAY + "  route 10.0.50.0/24 via 10.0.44.1 dev eth0\n",
        "*nat",
        ":POSTROUTING ACCEPT [0:0]",
        "-A POSTROUTING -o eth0 -m set --match-set who src -j SNAT --to-source 10.0.44.63",
        "COMMIT",
        sets="create who hash:ip family inet hashsize 1024 maxelem 65536\nadd who 10.0.43.15\nadd who 10.0.43.16\n",
    )
    made = adopt(facts, ["app", "web"])
    assert [one.fence for one in made.spec.crossings] == [Fence.ON, Fence.ON]
    assert made.finding("snat-by-hand")


def test_a_port_that_is_published_is_somebody_elses() -> None:
    made = adopt(
        SEED + "  iptables nat -A PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 10.0.43.20\n"
    )
    (crossing,) = made.spec.crossings
    assert crossing.fence is Fence.AUTO


# ---- whose packets a rule takes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "code", "words"),
    [
        ("-s 10.0.43.15/32 ", "snat-by-hand", "what the crossing translates itself"),
        ("-s 10.0.43.0/24 ", "snat-for-everybody", "more than what the clients send"),
        ("-s 10.0.43.0/28 ", "snat-for-everybody", "more than what the clients send"),
        ("", "snat-for-everybody", "what anybody sends"),
    ],
)
def test_whose_packets_a_rule_takes(match: str, code: str, words: str) -> None:
    made = adopt(APP + ROUTE + GATEWAY + SNAT.replace("-o eth0", f"{match}-o eth0"))
    assert words in made.finding(code).text


def test_a_rule_that_stands_several_times_is_taken_away_as_often() -> None:
    made = adopt(APP + ROUTE + GATEWAY + SNAT * 3)
    found = made.finding("snat-for-everybody")
    assert found.text.endswith("--to-source 10.0.44.63 (it stands there 3 times)")
    ((command,),) = (fix.commands for fix in found.fix)
    once = "iptables-nft -t nat -D POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63"
    assert command == f"for each in $(seq 3); do {once}; done"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ("add who 10.0.43.15\n", "snat-by-hand"),
        ("add who 10.0.43.15\nadd who 10.0.43.16\n", "snat-for-everybody"),
    ],
)
def test_a_set_of_ipset(members: str, code: str) -> None:
    facts = with_rules(
        APP + ROUTE + GATEWAY,
        "*nat",
        ":POSTROUTING ACCEPT [0:0]",
        "-A POSTROUTING -o eth0 -m set --match-set who src -j SNAT --to-source 10.0.44.63",
        "COMMIT",
        sets=f"create who hash:ip family inet hashsize 1024 maxelem 65536\n{members}",
    )
    made = adopt(facts)
    narrows(made)
    assert made.finding(code)


def test_a_source_that_is_asked_before_the_jump() -> None:
    facts = with_rules(
        APP + ROUTE + GATEWAY,
        "*nat",
        ":POSTROUTING ACCEPT [0:0]",
        ":business - [0:0]",
        "-A POSTROUTING -s 10.0.43.15/32 -j business",
        "-A business -o eth0 -j SNAT --to-source 10.0.44.63",
        "COMMIT",
    )
    made = adopt(facts)
    (fix,) = made.finding("snat-by-hand").fix
    assert fix.commands == ("iptables-nft -t nat -D business -o eth0 -j SNAT --to-source 10.0.44.63",)


def test_the_words_of_a_rule_run_nothing_when_they_are_pasted() -> None:
    facts = with_rules(
        APP + ROUTE + GATEWAY,
        "*nat",
        ":POSTROUTING ACCEPT [0:0]",
        '-A POSTROUTING -o eth0 -m comment --comment "by $(touch /tmp/x) `me`" -j SNAT --to-source 10.0.44.63',
        "COMMIT",
    )
    (fix,) = adopt(facts).finding("snat-for-everybody").fix
    (command,) = fix.commands
    assert "--comment 'by $(touch /tmp/x) `me`' -j" in command


# ---- what is no way ---------------------------------------------------------------------------------


def test_no_route() -> None:
    with pytest.raises(CrossnetError, match="app has no route to an address of gateway"):
        adopt(APP + GATEWAY + SNAT)


def test_a_route_to_somebody_else() -> None:
    with pytest.raises(CrossnetError, match="no route to an address of gateway"):
        adopt(APP + ROUTE.replace("10.0.43.101", "10.0.43.102") + GATEWAY + SNAT)


@pytest.mark.parametrize(
    "route",
    [
        "10.0.44.0/24 via 10.0.43.101 dev eth0 table 100",
        "10.0.44.0/24 nexthop via 10.0.43.101 dev eth0 nexthop via 10.0.43.102 dev eth0",
        "10.0.44.0/24 via 10.0.43.101 dev eth0 tos 0x10",
        "10.0.44.0/24 via 10.0.43.101 dev eth0 metric 50\n  route 10.0.44.0/24 via 10.0.43.9 dev eth0 metric 5",
    ],
)
def test_a_route_that_no_crossing_has(route: str) -> None:
    with pytest.raises(CrossnetError, match=r"app gets to gateway by .*: no crossing has a route"):
        adopt(f"{APP}  route {route}\n{GATEWAY}{SNAT}")


def test_a_gateway_in_reserve_is_left_out() -> None:
    second = GATEWAY.replace("gateway", "other").replace("10.0.43.101", "10.0.43.102")
    reserve = "  route 10.0.44.0/24 via 10.0.43.102 dev eth0 metric 100\n"
    sheet = APP + ROUTE + reserve + GATEWAY + SNAT + second.replace("10.0.44.63", "10.0.44.64")
    assert only(adopt(sheet, gateways=["other", "gateway"])) == "app -> gateway -> 10.0.44.0/24"


def test_what_a_crossing_carries_already() -> None:
    facts = facts_from(SEED)
    after = {host.host: host.after for host in adopt(facts).plan.hosts}
    applied = {name: with_record(one, after[name]) for name, one in facts.items()}
    with pytest.raises(CrossnetError, match=r"by crossing by-hand/app-to-10.0.44.0-24 already"):
        adopt(applied)


def test_a_route_that_crossnet_has_made() -> None:
    spec = adopt(SEED).spec
    before = facts_from(APP + GATEWAY)
    after = {host.host: host.after for host in make_plan(spec, before).hosts}
    made = "  route 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143\n"
    facts = facts_from(APP + made + GATEWAY + SNAT)
    with pytest.raises(CrossnetError, match=r"app: crossnet has made 10.0.44.0/24 via 10.0.43.101"):
        adopt({"app": with_record(facts["app"], after["app"]), "gateway": facts["gateway"]})


def test_another_network_than_its_routes_lead_to() -> None:
    with pytest.raises(CrossnetError, match=r"no route to 10.0.99.0/24 by gateway: it has 10.0.44.0/24 via"):
        adopt(SEED, to=["10.0.99.0/24"])


def test_a_gateway_that_does_not_forward() -> None:
    with pytest.raises(CrossnetError, match="leaves gateway on the other side"):
        adopt(SEED.replace("ip_forward 1", "ip_forward 0"))


def test_a_filter_that_lets_nothing_pass() -> None:
    with pytest.raises(CrossnetError, match="leaves gateway on the other side"):
        filtered("-A FORWARD -s 10.0.60.0/24 -j ACCEPT")


# ---- boot -------------------------------------------------------------------------------------------


def test_what_is_written_for_the_boot_is_not_told() -> None:
    made = adopt(SEED + "  boot /etc/sysctl.d/50.conf net.ipv4.ip_forward 1\n")
    assert ("gateway", "lost-at-boot") not in made.codes


def test_a_file_that_switches_it_off_again_is_named() -> None:
    made = adopt(SEED + "  boot /etc/sysctl.d/50.conf net.ipv4.ip_forward 0\n")
    (found,) = [each for each in made.findings if (each.where, each.code) == ("gateway", "lost-at-boot")]
    assert "/etc/sysctl.d/50.conf sets it to 0" in found.text


KEPT = "  kept eth0 network-scripts /etc/sysconfig/network-scripts/ifcfg-eth0: ifcfg-eth0\n"
FILE = "  file /etc/sysconfig/network-scripts/route-eth0 "


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("10.0.44.0/24 via 10.0.43.101 dev eth0", False),
        ("10.0.44.0/24 via 10.0.43.101", False),
        ("# 10.0.44.0/24 via 10.0.43.101 dev eth0", True),
        ("10.0.45.0/24 via 10.0.43.101 dev eth0", True),
        ("10.0.44.0/24 via 10.0.43.10 dev eth0", True),
    ],
)
def test_a_route_that_its_distribution_keeps_is_not_lost(line: str, *, is_told: bool) -> None:
    made = adopt(f"{APP}{ROUTE}{KEPT}{FILE}{line}\n{GATEWAY}{SNAT}")
    assert (("app", "lost-at-boot") in made.codes) is is_told
    assert ("app", "route") in made.kept


def test_a_route_of_a_profile_is_not_lost() -> None:
    keeper = (
        "  kept eth0 networkmanager/UUID /etc/NetworkManager/system-connections/a.nmconnection: its profile\n"
    )
    profile = "  profile UUID 10.0.44.0/24 10.0.43.101\n"
    assert ("app", "lost-at-boot") in adopt(APP + ROUTE + keeper + GATEWAY + SNAT).codes
    assert ("app", "lost-at-boot") not in adopt(APP + ROUTE + keeper + profile + GATEWAY + SNAT).codes


# ---- IPv6 -------------------------------------------------------------------------------------------


def test_ipv6() -> None:
    made = adopt(
        """
app:
  eth0 fd00:43::15/64
  route fd00:44::/64 via fd00:43::101 dev eth0
gateway:
  eth1 fd00:43::101/64
  eth0 fd00:44::63/64
  sysctl net.ipv6.conf.all.forwarding 1
"""
    )
    assert only(made) == "app -> gateway -> fd00:44::/64"
    (crossing,) = made.spec.crossings
    assert crossing.translate == Untranslated()
