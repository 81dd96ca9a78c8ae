"""crossnet's own chains where iptables-save says only that their table is incompatible."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from crossnet.netfilter.left_to_nft import LeftToNft, left_to_nft, own_jumps
from crossnet.netfilter.nft_foreign import read_ruleset

COMMENT = {"xt": {"type": "match", "name": "comment"}}
FROM_ETH1 = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth1"}}
JUMP = {"jump": {"target": "CROSSNET-FORWARD"}}


def chain(name: str, *rules: list[Any], **hook: Any) -> list[dict[str, Any]]:
    of = {"family": "ip", "table": "filter"}
    return [
        {"chain": {**of, "name": name, "handle": 1, **hook}},
        *(
            {"rule": {**of, "chain": name, "handle": number, "expr": each}}
            for number, each in enumerate(rules, 10)
        ),
    ]


def table(*entries: list[dict[str, Any]]) -> tuple[Any, ...]:
    there = {"table": {"family": "ip", "name": "filter", "handle": 1}}
    return read_ruleset(json.dumps({"nftables": [there, *(each for some in entries for each in some)]}))


FORWARD: dict[str, Any] = {"type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}
ACCEPTS = chain("CROSSNET-FORWARD", [FROM_ETH1, {"counter": {"packets": 0, "bytes": 0}}, {"accept": None}])


def test_a_jump_is_known_with_its_comment_and_without() -> None:
    """nft's JSON says of a comment of iptables only that there is one, and nothing of one that a dump has lost."""
    tables = table(
        chain("FORWARD", [FROM_ETH1, {"drop": None}], [COMMENT, JUMP], [JUMP], [FROM_ETH1, JUMP], **FORWARD),
        ACCEPTS,
    )
    assert own_jumps(tables, "forward") == (2, 3)
    assert own_jumps(tables, "postrouting") == ()


def test_what_stands_there_goes_in_one_transaction() -> None:
    """Also what somebody else has jump into it, which would hold the chain."""
    tables = table(
        chain("FORWARD", [COMMENT, JUMP], [FROM_ETH1, {"drop": None}], [FROM_ETH1, JUMP], **FORWARD), ACCEPTS
    )
    assert left_to_nft(tables) == LeftToNft(
        ("filter",),
        "nft 'delete rule ip filter FORWARD handle 10; delete rule ip filter FORWARD handle 12; "
        "flush chain ip filter CROSSNET-FORWARD; delete chain ip filter CROSSNET-FORWARD'",
        holds_fence=False,
    )


@pytest.mark.parametrize(
    "name", ["x'; id; '", "x; flush ruleset", "$(id)", "CROSSNET-'; id; '", "CROSSNET-;flush ruleset"]
)
def test_no_chain_of_others_is_a_word_of_a_shell_or_of_nft(name: str) -> None:
    theirs = chain(name, [JUMP])
    left = left_to_nft(table(chain("FORWARD", [JUMP], **FORWARD), chain("CROSSNET-FORWARD", []), theirs))
    assert left is not None
    tool, text = shlex.split(left.removing)
    assert tool == "nft"
    assert name not in text
    assert text.count(";") == 2  # of what else stands there


def test_a_fence_is_told() -> None:
    fence = chain("CROSSNET-FORWARD", [FROM_ETH1, {"accept": None}], [COMMENT, {"drop": None}])
    left = left_to_nft(table(chain("FORWARD", [JUMP], **FORWARD), fence))
    assert left is not None
    assert left.holds_fence


def test_nothing_is_left_where_nothing_of_crossnet_stands() -> None:
    assert left_to_nft(table(chain("FORWARD", [FROM_ETH1, {"drop": None}], **FORWARD))) is None
