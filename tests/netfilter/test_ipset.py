"""The sets of iptables: what `ipset save` says, what is handed to `ipset restore`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crossnet.netfilter import Chain, Set, Table, iptables
from crossnet.netfilter.ipset import own_name, set_name
from crossnet.netfilter.own import HOOKS
from crossnet.values import network

GOLDEN = Path(__file__).parent / "golden"


def members(*texts: str) -> frozenset[object]:
    return frozenset(network(text) for text in texts)


def table(**sets: str) -> Table:
    return Table(
        "ip",
        "crossnet",
        (Chain("forward", (), HOOKS["forward"]),),
        tuple(Set(name, frozenset(map(network, text.split()))) for name, text in sorted(sets.items())),
    )


def test_sets_of_addresses_are_read_and_others_left_out() -> None:
    theirs = (GOLDEN / "ipset-7.17-save.txt").read_text()
    assert iptables.parse_ipset_save(theirs) == ()
    as_own = re.sub("(?m)^(create|add) ", r"\1 xnet4-", theirs)
    found = iptables.parse_ipset_save(as_own)
    assert {each.name.removeprefix("xnet4-"): each.members for each in found} == {
        "hosts": members("192.0.2.1", "192.0.2.2"),
        "nets": members("10.0.0.0/24", "192.0.2.1"),
        "six": members("fd00::/8"),
        "half": members("0.0.0.0/0"),
        "empty": members(),
    }


@pytest.mark.parametrize("text", ["ipset v7.17: Kernel error\n", "what is this\n"])
def test_what_ipset_does_not_print_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ipset save"):
        iptables.parse_ipset_save(text)


def test_nothing_to_do_is_no_text() -> None:
    assert iptables.write_ipsets(None, None) == ("", "")
    assert iptables.write_ipsets(table(a="10.0.0.1"), table(a="10.0.0.1")) == ("", "")


def test_a_set_is_filled_aside_and_swapped_in() -> None:
    before, after = iptables.write_ipsets(table(a="10.0.0.1"), table(a="10.0.0.1 10.9.0.0/16"))
    assert after == ""
    assert before == (
        "create xnet4-a hash:net family inet maxelem 1048576 -exist\n"
        "create xnet4-~ hash:net family inet maxelem 1048576 -exist\n"
        "flush xnet4-~\n"
        "add xnet4-~ 10.0.0.1\n"
        "add xnet4-~ 10.9.0.0/16\n"
        "swap xnet4-~ xnet4-a\n"
        "destroy xnet4-~\n"
    )


def test_a_set_that_no_rule_names_any_more_goes_after_the_rules() -> None:
    assert iptables.write_ipsets(table(a="10.0.0.1", b="10.0.0.1"), table(b="10.0.0.1")) == (
        "",
        "destroy xnet4-a\n",
    )
    assert iptables.write_ipsets(table(a="10.0.0.1"), None) == ("", "destroy xnet4-a\n")


def test_everything_is_two_halves() -> None:
    before, _ = iptables.write_ipsets(None, table(a="0.0.0.0/0"))
    assert "add xnet4-~ 0.0.0.0/1\nadd xnet4-~ 128.0.0.0/1\n" in before


def test_names() -> None:
    longest = "from-" + 20 * "x"
    assert set_name("ip", longest) == f"xnet4-{longest}"
    assert set_name("ip6", longest) == f"xnet6-{longest}"
    with pytest.raises(ValueError, match="31 characters"):
        set_name("ip", longest + "y")
    assert own_name("ip", f"xnet4-{longest}") == longest
    assert own_name("ip", f"xnet6-{longest}") is None
    assert own_name("ip", "xnet4-~") is None
    assert own_name("ip", "theirs") is None
