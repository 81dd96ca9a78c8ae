"""What a gateway says of crossnet's own counters, also where somebody has taken its chains away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossnet.errors import HostError
from crossnet.netfilter import Accept, Chain, Counter, Engine, Rule, Table
from crossnet.netfilter.own import HOOKS
from crossnet.resources import RuleTable
from crossnet.transport.batch import Answer
from crossnet.values import Family
from crossnet.verification.counters import of_crossing, question
from netfilter.namespace import Namespace, new_namespace

WANTED = Table("ip", "crossnet", (Chain("forward", (Rule((), Accept(), "business"),), HOOKS["forward"]),))


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[Namespace]:
    with new_namespace(tmp_path / "lock") as each:
        yield each


def counted(namespace: Namespace, engine: Engine) -> Counter:
    asked = question(RuleTable(engine, Family.V4, WANTED, "", str(engine)))
    done = namespace.attempt(*asked.argv)
    answer = Answer(done.returncode, done.stdout.encode(), done.stderr.encode())
    return of_crossing(asked.meaning("gateway", answer), "business").admitted


@pytest.mark.lab
@pytest.mark.parametrize("engine", [engine for engine in Engine if engine.is_iptables], ids=str)
def test_counters_are_zero_where_the_chain_is_gone(namespace: Namespace, engine: Engine) -> None:
    """iptables-nft says of a chain that is not there what it says of one that it cannot print."""
    assert counted(namespace, engine) == Counter(0, 0)
    namespace.run(engine, "-P", "FORWARD", "DROP")
    namespace.run(engine, "-A", "FORWARD", "-i", "eth7", "-j", "ACCEPT")
    assert counted(namespace, engine) == Counter(0, 0)
    namespace.run(engine, "-N", "CROSSNET-FORWARD")
    comment = ("-m", "comment", "--comment", "crossnet:business")
    namespace.run(engine, "-A", "CROSSNET-FORWARD", "-c", "3", "180", *comment, "-j", "ACCEPT")
    assert counted(namespace, engine) == Counter(3, 180)


@pytest.mark.lab
def test_a_chain_that_cannot_be_printed_is_not_one_that_is_gone(namespace: Namespace) -> None:
    namespace.run("iptables-nft", "-N", "CROSSNET-FORWARD")
    namespace.run("nft", "add rule ip filter CROSSNET-FORWARD masquerade")
    with pytest.raises(HostError, match="incompatible"):
        counted(namespace, Engine.IPTABLES_NFT)


def test_a_table_that_is_gone_counts_nothing() -> None:
    assert not of_crossing(None, "business").counts
