"""What a plan says of others is what packets do before it and after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from crossnet import api
from crossnet.lab.build import Lab
from crossnet.planning import Plan
from crossnet.show.text import plan_text, undo_plan_text
from crossnet.spec import Spec
from lab.crossing import Bench

pytestmark = pytest.mark.lab

# A rule of somebody else: the outsider may not send to the management side, whatever is forwarded.
RULES = """table inet others {
  chain forward { type filter hook forward priority filter; iifname "eth2" oifname "eth1" ct state new counter drop; }
}
"""
EVERYBODY = (
    "everybody between eth0 and eth1 of gateway: any IPv4 traffic",
    "everybody between eth0 and eth2 of gateway: any IPv4 traffic",
    "everybody from eth1 to eth2 of gateway: any IPv4 traffic",
)
OWN = "app 10.0.43.15 → 10.0.44.0/24: any traffic, seen there as 10.0.44.63"


def router(lab_up: Callable[..., Lab]) -> Bench:
    b = Bench(lab_up("third-interface"))
    b.check("gateway", "nft -f -", stdin=RULES.encode())
    b.check("app", "ip route add 10.0.45.0/24 via 10.0.43.101")
    b.check("target", "ip route add default via 10.0.44.63")
    return b


def passing(b: Bench) -> dict[str, bool]:
    """What gets through that is not the crossing's."""
    return {
        "outsider to target": b.pings("outsider", "10.0.44.1"),
        "target to outsider": b.pings("target", "10.0.45.5"),
        "app to outsider": b.pings("app", "10.0.45.5"),
        "outsider to app": b.pings("outsider", "10.0.43.15"),
    }


def told(made: Plan) -> dict[str, list[str]]:
    """The lines of each effect, as they are printed."""
    return _lines(plan_text(made, width=200))


def _lines(shown: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    effect = ""
    for line in shown.splitlines():
        if line[2:9].strip() in ("opens", "closes", "stays"):
            effect = line[2:9].strip()
            found[effect] = [line[10:]]
        elif line.startswith(" " * 10) and effect:
            found[effect].append(line[10:])
        else:
            effect = ""
    return found


def undo_told(spec: Spec) -> dict[str, list[str]]:
    made = asyncio.run(api.plan_undo(spec))
    return _lines(undo_plan_text(made))


FORWARDED = {
    "outsider to target": True,
    "target to outsider": True,
    "app to outsider": True,
    "outsider to app": False,  # it is not forwarded: somebody's rule stops it
}
NOTHING = dict.fromkeys(FORWARDED, False)


def test_a_fence_closes_what_it_says_and_undo_opens_it_again(lab_up: Callable[..., Lab]) -> None:
    b = router(lab_up)
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")
    assert passing(b) == FORWARDED
    spec = b.spec("to: 10.0.44.0/24, fence: on, persist: none")
    made = b.plan(spec)
    assert told(made) == {"opens": [OWN], "closes": list(EVERYBODY)}
    b.apply(spec)
    assert passing(b) == NOTHING
    assert undo_told(spec)["opens"] == list(EVERYBODY)
    b.undo(spec)
    assert passing(b) == FORWARDED


def test_forwarding_without_a_fence_opens_what_it_says_and_undo_closes_it(
    lab_up: Callable[..., Lab],
) -> None:
    b = router(lab_up)
    assert passing(b) == NOTHING
    spec = b.spec("to: 10.0.44.0/24, fence: off, persist: none")
    assert told(b.plan(spec)) == {"opens": [OWN, *EVERYBODY], "closes": ["nothing"]}
    b.apply(spec)
    assert passing(b) == FORWARDED
    assert told(b.plan(b.spec("to: 10.0.44.0/24, fence: on, persist: none")))["closes"] == list(EVERYBODY)
    b.undo(spec)
    assert passing(b) == NOTHING


@pytest.mark.parametrize("firewall", ["auto, fence: on", "auto, fence: off", "iptables"])
def test_what_others_stop_since_the_apply_is_opened_by_the_next_one(
    lab_up: Callable[..., Lab], firewall: str
) -> None:
    b = Bench(lab_up())
    spec = b.spec(f"to: 10.0.44.0/24, firewall: {firewall}, persist: none")
    b.apply(spec)
    b.check("gateway", "iptables -P FORWARD DROP")
    if firewall == "iptables":  # crossnet's accepts stand in the chain already: put the drop in front of them
        b.check("gateway", "iptables -I FORWARD -j DROP")
    assert not b.pings("app", "10.0.44.1")
    made = b.plan(spec)
    assert OWN in told(made)["opens"]
    assert "stays" not in told(made)
    assert not [line for line in undo_told(spec)["closes"] if "app" in line]
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    assert OWN in undo_told(spec)["closes"]
