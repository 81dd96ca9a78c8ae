"""What a plan says of crossings with many clients, and when nothing of them would pass."""

from __future__ import annotations

import pytest

from crossnet.api import plan
from crossnet.design.foresight import MOST_CLIENTS
from crossnet.errors import PlanRefused
from crossnet.planning import Plan
from crossnet.specfile import parse
from design.factsheet import facts_from

GATEWAY = """
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
"""


def planned(rules: dict[str, str], clients: int, admitted: str = "") -> Plan:
    """The seed with so many clients, and rules of iptables on some of the hosts."""
    names = [f"c{number}" for number in range(clients)]
    sheet = GATEWAY + rules.get("gateway", "")
    for number, name in enumerate(names):
        sheet += f"\n{name}:\n  eth0 10.0.43.{number + 10}/24\n{rules.get(name, '')}"
    hosts = "".join(f"  {name}: {{lab: {name}}}\n" for name in ("gateway", *names))
    entries = ", ".join([*names, *([admitted] if admitted else [])])
    crossing = f"{{from: [{entries}], via: gateway, to: 10.0.44.0/24, persist: none, firewall: nftables}}"
    text = f"crossnet: 1\nhosts:\n{hosts}crossings:\n  business: {crossing}\n"
    return plan(parse(text, "crossnet.yaml"), facts_from(sheet))


def told(made: Plan) -> set[str]:
    return {impact.where for impact in made.impacts if impact.code == "others-may-drop"}


FEW, MANY = 2, MOST_CLIENTS + 2
OUT = "  iptables filter -A OUTPUT -d 10.0.44.0/24 -j DROP\n"
IN = "  iptables filter -A INPUT -s 10.0.44.0/24 -p tcp -j DROP\n"
FORWARD = "  iptables filter -A FORWARD -d 10.0.44.0/24 -j DROP\n"


@pytest.mark.parametrize("clients", [FEW, MANY])
def test_what_stops_one_client_is_told_and_the_others_have_their_crossing(clients: int) -> None:
    last = f"c{clients - 1}"
    made = planned({last: OUT, "c0": IN}, clients)
    assert told(made) == {last, "c0"}
    [one] = [impact for impact in made.impacts if impact.where == last and impact.code == "others-may-drop"]
    assert "-A OUTPUT -d 10.0.44.0/24 -j DROP" in one.text


@pytest.mark.parametrize("clients", [FEW, MANY])
def test_nothing_passes_where_all_clients_or_their_gateway_are_stopped(clients: int) -> None:
    with pytest.raises(PlanRefused, match=r"on gateway all IPv4 requests are stopped") as refused:
        planned({"gateway": FORWARD}, clients)
    assert len(refused.value.refusals) == 1
    every = {f"c{number}": OUT for number in range(clients)}
    with pytest.raises(PlanRefused, match=r"on c0 all IPv4 requests are stopped"):
        planned(every, clients)
    assert told(planned(every, clients, admitted="10.0.43.0/28")) >= {"c0"}


def test_nothing_is_refused_for_what_stops_a_part_or_what_may_not_stay() -> None:
    for rule in (
        "-A FORWARD -d 10.0.44.0/25 -j DROP",
        "-A FORWARD -p tcp -j DROP",
        "-A FORWARD -m limit --limit 1/s -j DROP",
        "-A FORWARD -m mystery -j DROP",
    ):
        assert told(planned({"gateway": f"  iptables filter {rule}\n"}, FEW)) == {"gateway"}, rule
    made = planned({}, FEW)
    assert not told(made)


def test_what_is_for_the_gateway_itself_is_not_forwarded() -> None:
    made = planned({"gateway": "  iptables filter -A FORWARD -d 10.0.44.63/32 -j DROP\n"}, FEW)
    assert not told(made)
