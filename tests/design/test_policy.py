"""Policy rules that take only some of a crossing's packets, and what they leave to the rules behind them."""

from __future__ import annotations

import time

from crossnet.design.policy import Flow, Rules
from crossnet.values import network
from design.factsheet import host_facts

HOST = "eth0 10.0.43.15/24\nroute 10.9.0.0/24 via 10.0.43.1 dev eth0\n"
SOURCE, TO = network("10.0.43.15/32"), network("10.9.0.0/24")


def deciding(*rules: str) -> list[str]:
    facts = host_facts("app", HOST + "\n".join(rules))
    found = Rules(facts, (SOURCE, TO)).deciding(Flow(SOURCE, TO, "lo"))
    return [f"{each.via} {each.table}" for each in found]


def test_a_rule_that_asks_for_more_than_the_destination_is_passed_over() -> None:
    there = "route 10.9.0.0/24 via 10.0.43.9 dev eth0 table 100"
    assert deciding(there, "rule 100: from all to 10.9.0.0/24 lookup 100") == ["10.0.43.9 100"]
    assert deciding(there, "rule 100: from all to 10.9.0.0/24 ipproto tcp lookup 100") == ["10.0.43.1 main"]


def test_what_a_goto_takes_along_is_not_lost_for_the_question() -> None:
    rules = (
        "route 10.9.0.0/24 via 10.0.43.9 dev eth0 table 100",
        "rule 10: from all ipproto udp goto 200",
        "rule 100: from all to 10.9.0.0/24 lookup 100",
        "rule 200: from all lookup main",
    )
    assert deciding(*rules) == ["10.0.43.1 main"]


def test_hundreds_of_such_rules_are_looked_up_at_once() -> None:
    rules = [
        f"rule {1000 + number}: from 10.0.43.15 to 10.9.0.{number} "
        f"ipproto tcp dport {number * 7 + 1}-{20000 + number * 50} lookup 100"
        for number in range(250)
    ]
    began = time.monotonic()
    assert deciding("route default via 10.0.43.9 dev eth0 table 100", *rules) == ["10.0.43.1 main"]
    assert time.monotonic() - began < 3  # each looked up anew they take more than ten
