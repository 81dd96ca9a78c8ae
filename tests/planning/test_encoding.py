"""Every kind of thing comes back from JSON as it was, whatever it is: a record remembers what was applied."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet import netfilter
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route
from crossnet.netfilter import (
    Accept,
    Chain,
    Counter,
    Drop,
    Endpoint,
    Engine,
    Hook,
    Interface,
    NamedSet,
    Rule,
    Table,
)
from crossnet.netfilter.iptables_own import PLACES
from crossnet.record import Owned, Record
from crossnet.resources import (
    KINDS,
    File,
    Jump,
    Lines,
    PolicyRuleResource,
    ProfileRoute,
    Resource,
    RouteResource,
    RuleTable,
    Service,
    Sysctl,
)
from crossnet.standing import Standing
from crossnet.values import Family, Network, Ports, address, network
from planning.test_record import kept

# Also such as no host prints; but what can be a word of a command.
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
paths = words.map("/{}".format)
addresses = st.ip_addresses()


def networks() -> st.SearchStrategy[Network]:
    return st.builds(
        lambda base, bits: network(f"{base}/{base.max_prefixlen}").supernet(
            new_prefix=min(bits, base.max_prefixlen)
        ),
        addresses,
        st.integers(0, 128),
    )


port = st.integers(1, 65535)
st.register_type_strategy(
    Ports, st.builds(lambda one, other: Ports(min(one, other), max(one, other)), port, port)
)


def any_of(kind: type[Any], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any value of a dataclass, by its types; counters and the like are no part of it."""
    asked = {field.name: given.get(field.name, ...) for field in fields(kind) if field.compare}
    return st.builds(kind, **asked)


tables = any_of(Table)
families, engines = st.sampled_from(Family), st.sampled_from(Engine)
RULES = RuleTable(
    Engine.NFTABLES,
    Family.V4,
    Table(
        "ip",
        "crossnet",
        (
            Chain(
                "forward",
                (
                    Rule(
                        (Interface("in", "eth1"), Endpoint("destination", NamedSet("to-business"))),
                        Accept(),
                        "business",
                        Counter(7, 420),
                    ),
                    Rule((Interface("in", "eth1"),), Drop(), "fence"),
                ),
                Hook("forward", "filter", 0),
            ),
        ),
        (netfilter.Set("to-business", frozenset({network("10.0.44.0/24")})),),
    ),
    "1 crossing, fence on",
    waits=False,
)
any_kind: st.SearchStrategy[Resource] = st.one_of(
    st.builds(RouteResource, any_of(Route)),
    st.builds(PolicyRuleResource, any_of(PolicyRule)),
    st.builds(Sysctl, words, words, st.lists(st.tuples(words, words), max_size=3).map(tuple)),
    st.builds(
        File, paths, st.binary(max_size=40), st.integers(0, 0o7777), st.none() | words, st.none() | words
    ),
    st.builds(
        Lines,
        paths,
        words.map(lambda word: f"{word}x\n".encode()),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(ProfileRoute, words, any_of(Route)),
    st.builds(Service, words, st.booleans(), st.booleans(), st.lists(words, max_size=3).map(tuple)),
    st.builds(
        Jump, engines, families, st.sampled_from(list(PLACES)), words, st.booleans(), st.integers(1, 9)
    ),
    st.builds(
        RuleTable,
        engines,
        families,
        tables,
        words,
        words,
        st.booleans(),
        st.lists(st.sampled_from(["filter", "nat", "mangle"]), unique=True).map(tuple),
    ),
)


@settings(max_examples=200, deadline=None)
@given(any_kind)
def test_every_kind_comes_back_as_it_was(resource: Resource) -> None:
    written = json.loads(json.dumps(resource.encode()))
    again = KINDS[resource.kind].decode(written)
    assert again == resource
    # `==` leaves out what is no part of the identity; undo and whoever looks need it all the same.
    assert [getattr(again, field.name) for field in fields(resource)] == [  # type: ignore[arg-type]
        getattr(resource, field.name)
        for field in fields(resource)  # type: ignore[arg-type]
    ]
    assert again.encode() == resource.encode()


def test_a_record_keeps_the_rules_that_were_applied() -> None:
    assert isinstance(RULES.table.sets, tuple)
    (owned,) = kept(Record((Standing("crossnet", "business"),), (Owned(None, RULES),)).to_json()).owned
    assert owned.applied == RULES
    assert isinstance(owned.applied, RuleTable)
    assert (owned.applied.summary, owned.applied.is_known) == ("1 crossing, fence on", True)


def test_a_table_of_an_older_record_is_one_whose_rules_are_not_known() -> None:
    """What 0.1.0 wrote: only which table it is."""
    told = {"engine": "nftables", "family": 4, "command": "", "waits": False}
    older = RuleTable.decode(told)
    assert not older.is_known
    assert older.encode() == told
    record = Record((Standing("crossnet", "business"),), (Owned(None, older),))
    assert kept(record.to_json()).same_as(record)


def test_what_an_older_record_says_of_the_other_kinds_is_read() -> None:
    way = {"destination": "10.0.44.0/24", "via": "10.0.43.101", "device": "eth0", "source": None}
    assert RouteResource.decode({**way, "protocol": "143", "metric": 0}) == RouteResource(
        Route(network("10.0.44.0/24"), address("10.0.43.101"), "eth0")
    )
    rule = {
        "family": 4,
        "priority": 9,
        "source": None,
        "destination": "10.0.44.0/24",
        "iif": "lo",
        "origin": "143",
    }
    assert PolicyRuleResource.decode(rule).rule == PolicyRule(
        Family.V4, 9, table="main", destination=network("10.0.44.0/24"), iif="lo", origin="143"
    )
    jump = {"engine": "iptables-nft", "family": 4, "chain": "forward", "command": "iptables-nft"}
    assert Jump.decode(jump) == Jump(Engine.IPTABLES_NFT, Family.V4, "forward")


@pytest.mark.parametrize(
    "content",
    [
        {"family": "ip", "name": "crossnet"},
        {"family": 4, "name": "crossnet", "chains": []},
        {"family": "ip", "name": "crossnet", "chains": {}},
        {"family": "ip", "name": "crossnet", "chains": [{"is": "Rule", "name": "forward", "rules": []}]},
        {"family": "ip", "name": "crossnet", "chains": [{"is": "Chain", "name": "forward", "rules": [7]}]},
        {
            "family": "ip",
            "name": "crossnet",
            "chains": [],
            "sets": [{"is": "Set", "name": "a", "members": ["b"]}],
        },
    ],
)
def test_rules_that_mean_nothing_are_refused(content: dict[str, Any]) -> None:
    told = {"engine": "nftables", "family": 4, "command": "", "waits": False, "content": content}
    with pytest.raises((ValueError, KeyError)):
        RuleTable.decode(told)


def test_two_thousand_destinations_are_kept_in_a_small_record() -> None:
    destinations = frozenset(network(f"10.{n // 256}.{n % 256}.0/24") for n in range(0, 4000, 2))
    table = Table("ip", "crossnet", RULES.table.chains, (netfilter.Set("to-business", destinations),))
    record = Record(
        (Standing("crossnet", "business"),), (Owned(None, RuleTable(Engine.NFTABLES, Family.V4, table)),)
    )
    written = record.to_json()
    assert len(written) < 100_000
    assert kept(written) == record
