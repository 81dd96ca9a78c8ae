"""A page for a change ticket: what a person would type on each host, and what takes it back."""

from __future__ import annotations

import pytest

from crossnet.export import ExportError, Format, export
from crossnet.opening import told_opening
from crossnet.planning import Plan, make_plan
from crossnet.specfile import parse
from design.factsheet import SEED, facts_from
from export.plans import BUSINESS, HOSTS, ON_LEGACY, applied, plan, plan_on


def page(made: Plan, host: str | None = None) -> str:
    (document,) = export(made, Format.TICKET, host=host)
    assert (document.name, document.host, document.executable) == ("change.txt", None, False)
    return document.text


def commands(text: str, title: str) -> list[str]:
    """What stands below a line of the page."""
    _, _, behind = text.partition(f"\n{title}\n\n")
    return behind.partition("\n\n")[0].splitlines()


def test_a_client_gets_its_route_and_gives_it_back() -> None:
    text = page(plan())
    assert commands(text, "2. app (root@10.0.43.15)") == [
        "ip -4 route add 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"
    ]
    assert commands(text, "2. back:") == ["ip -4 route del 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"]
    assert "Order: 1, 2. The way back: 2, 1." in text


def test_rules_of_nft_are_loaded_whole_and_go_by_one_command() -> None:
    text = page(plan())
    there = commands(text, "1. gateway (ssh://ops@10.0.43.101:2222, sudo)")
    assert there[0] == "nft -f - <<'END'"
    assert there[there.index("END") + 1 :] == [
        "# conntrack -D: flows that would otherwise keep what they had",
        "sysctl -w net.ipv4.ip_forward=1",
    ]
    back = commands(text, "1. back:")
    assert back[0].startswith("sysctl -w net.ipv4.ip_forward=0 ")
    assert back[1] == "nft delete table ip crossnet"


def test_rules_of_iptables_are_calls_of_iptables() -> None:
    text = page(plan(world=ON_LEGACY))
    there = commands(text, "1. gateway (ssh://ops@10.0.43.101:2222, sudo)")
    assert there[0] == "iptables -t filter -N CROSSNET-FORWARD"
    assert "iptables -t filter -A CROSSNET-FORWARD -m comment --comment crossnet:fence -j DROP" in there
    assert any(line.startswith("iptables -w -t nat -I POSTROUTING 1 ") for line in there)
    back = commands(text, "1. back:")
    assert back.index("iptables -t nat -X CROSSNET-POSTROUTING") > next(
        place for place, line in enumerate(back) if line.startswith("iptables -w -t nat -D POSTROUTING ")
    )
    assert not [line for line in (*there, *back) if "restore" in line]


def test_what_opens_and_what_is_left_out_is_said() -> None:
    facts = facts_from(SEED)
    spec = parse(f"crossnet: 1\nhosts: {{{HOSTS}}}\ncrossings: {{{BUSINESS}}}\n", "crossnet.yaml")
    text = page(told_opening(make_plan(spec, facts), facts))
    assert "\n  opens   app 10.0.43.15 → 10.0.44.0/24: any traffic" in text
    assert "Not in here: the files and units for the next boot (" in text
    assert "for the next boot" not in page(plan(BUSINESS.replace("}", ", persist: none}")))


def test_hosts_with_the_same_commands_stand_together() -> None:
    world = SEED.replace("app:", "app-2:\n  eth0 10.0.43.16/24\napp-1:")
    hosts = "app-1: {lab: app-1}, app-2: {netns: blue}, gateway: {local: true}"
    text = page(
        plan("business: {from: [app-1, app-2], via: gateway, to: 10.0.44.0/24}", world=world, hosts=hosts)
    )
    assert "\n1. gateway (this machine)\n" in text
    assert "\n2. app-2 (namespace blue), app-1 (lab app-1)\n" in text
    assert text.count("ip -4 route add 10.0.44.0/24") == 1


def test_one_host_alone() -> None:
    text = page(plan(), host="app")
    assert "1. app (root@10.0.43.15)" in text
    assert "gateway (ssh" not in text
    assert "Order:" not in text


def test_nothing_to_change_is_said() -> None:
    made = plan_on(applied(BUSINESS), BUSINESS, hosts=HOSTS)
    with pytest.raises(ExportError, match="nothing to export"):
        page(made)


@pytest.mark.parametrize("wanted", [Format.SH, Format.ANSIBLE, Format.TICKET])
def test_what_ends_at_a_time_only_an_apply_can_prepare(wanted: Format) -> None:
    with pytest.raises(ExportError, match="crossing business has `until`"):
        export(plan(BUSINESS.replace("}", ", until: 2036-12-24T18:00Z}")), wanted)
