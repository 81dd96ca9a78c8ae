"""What `ip route get` of any age says, and what becomes of an answer to something else."""

from __future__ import annotations

import pytest

from crossnet.facts.lookups import Answered, Lookup, question
from crossnet.transport.batch import Answer
from crossnet.values import address

HERE = Lookup(address("10.20.0.5"))
BY_ETH1 = Lookup(address("10.20.0.5"), address("10.33.0.77"), "eth1")
SIX = Lookup(address("fd44::1"), address("fd00:1::5"), "e1")


def answered(lookup: Lookup, code: int = 0, said: str = "", complained: str = "") -> Answered | None:
    return question(lookup).meaning("host", Answer(code, said.encode(), complained.encode()))


@pytest.mark.parametrize(
    "said",
    [
        "10.20.0.5 via 10.1.0.254 dev eth0  src 10.1.0.10 \n    cache \n",
        "10.20.0.5 via 10.1.0.254 dev eth0 src 10.1.0.10 uid 0 \n    cache \n",
        "10.20.0.5 via 10.1.0.254 dev eth0  src 10.1.0.10 \n",
    ],
    ids=["iproute2 3.10", "iproute2 6.1", "busybox"],
)
def test_a_way_in_the_words_of_any_tool(said: str) -> None:
    found = answered(HERE, said=said)
    assert found is not None
    route = found.route
    assert route is not None
    assert (str(route.via), route.device, str(route.source), route.table) == (
        "10.1.0.254",
        "eth0",
        "10.1.0.10",
        "main",
    )


def test_the_question_as_it_is_typed_and_a_table_that_is_told() -> None:
    assert BY_ETH1.argv == (
        *("ip", "-4", "route", "get", "10.20.0.5"),
        *("from", "10.33.0.77", "iif", "eth1"),
    )
    said = "10.20.0.5 from 10.33.0.77 via 10.2.0.8 dev e2 table 52 \n    cache iif eth1 \n"
    found = answered(BY_ETH1, said=said)
    assert found is not None
    assert found.route is not None
    assert (found.route.device, found.route.table) == ("e2", "52")
    six = answered(SIX, said="fd44::1 from fd00:1::5 via fd00:2::9 dev e2 metric 1024 iif e1 pref medium\n")
    assert six is not None
    assert six.route is not None
    assert six.route.device == "e2"


@pytest.mark.parametrize("error", ["No route to host", "Invalid argument", "Invalid cross-device link"])
def test_an_error_of_the_kernel_is_an_answer(error: str) -> None:
    assert answered(BY_ETH1, 2, "", f"RTNETLINK answers: {error}") == Answered(error=error)
    assert answered(BY_ETH1, 2, "", f"ip: RTNETLINK answers: {error}") == Answered(error=error)


def test_a_lookup_of_ipv6_that_finds_nothing_was_no_failure_once() -> None:
    said = "unreachable fd44::1 from fd00:1::5 dev lo  table unspec  proto kernel  metric 4294967295  error -101\n"
    assert answered(SIX, said=said) == Answered(error="Network is unreachable")


@pytest.mark.parametrize(
    ("code", "said", "complained"),
    [
        (
            0,
            "80.0.0.0 via 10.1.0.1 dev eth0  src 10.1.0.10 \n",
            "",
        ),  # busybox took a word for the destination
        (1, "", 'Error: inet prefix is expected rather than "iif".'),
        (127, "", "sh: ip: not found"),
        (1, "", 'Cannot find device "eth1"'),
        (0, "", ""),
        (0, "10.20.0.5\n", ""),
        (0, "\x00 nonsense via via", ""),
    ],
)
def test_what_is_no_answer_to_the_question_is_none(code: int, said: str, complained: str) -> None:
    assert answered(BY_ETH1, code, said, complained) is None
