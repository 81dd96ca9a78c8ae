"""The rules of the gateways alone, in the words of the tool that loads them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from crossnet.export.document import Document, ExportError, comment, origin, story
from crossnet.netfilter.iptables import delete_jump, insert_jump
from crossnet.planning import Plan
from crossnet.resources import Jump, RuleTable
from crossnet.specfile.words import listed


def documents(plan: Plan, *, iptables: bool, host: str | None) -> tuple[Document, ...]:
    """The rules of every gateway, or of one, as they should be; ExportError where its engine is the other one."""
    gateways = [name for name in dict.fromkeys(name for name, _ in plan.tables) if host in (None, name)]
    if not gateways:
        known = listed(list(dict.fromkeys(name for name, _ in plan.tables)))
        raise ExportError(
            f"{host} is not a gateway, so it has no rules\n  The gateways of this plan: {known}."
        )
    for name in gateways:
        choice = plan.engines[name]
        if choice.engine.is_iptables != iptables:
            raise ExportError(_other_engine(plan, name, iptables))
    return tuple(one for name in gateways for one in _of(plan, name))


def _other_engine(plan: Plan, gateway: str, iptables: bool) -> str:
    choice = plan.engines[gateway]
    wanted, other = ("iptables", "nft") if iptables else ("nftables", "iptables")
    crossings = listed([one.name for one in plan.spec.crossings if one.via == gateway])
    more = ", or leave it out with --host" if len(plan.engines) > 1 else ""
    return (
        f"{gateway}: its rules are for {choice.engine}: {choice.reason}\n"
        f"  Use --format {other}; or write `firewall: {wanted}` in crossing {crossings}{more}."
    )


def _of(plan: Plan, gateway: str) -> Iterator[Document]:
    """What each engine has of the rules: beside nftables iptables may have to accept, too."""
    tables = tuple(table for name, table in plan.tables if name == gateway)
    in_nft = tuple(table for table in tables if not table.engine.is_iptables)
    in_iptables = tuple(table for table in tables if table.engine.is_iptables)
    if in_nft:
        yield from _nft(plan, gateway, in_nft)
    if in_iptables:
        yield from _iptables(plan, gateway, in_iptables)


def _head(plan: Plan, gateway: str, *load: str) -> str:
    return comment(
        (
            f"The rules of crossnet for {gateway}. Load them as root:",
            "",
            *(f"    {line}" for line in load),
            "",
            *story(plan),
            "",
            *_left_out(plan),
            "",
            origin(plan),
        )
    )


def _left_out(plan: Plan) -> Iterator[str]:
    yield "Rules only: forwarding, the clients' routes, the next boot and crossnet's own record are not in here;"
    participants = dict.fromkeys(change.resource.changed_by for _, change in plan.changes)
    if where := ", ".join(filter(None, participants)):
        yield f"nor is what {where} has to change. `crossnet export --format sh` has all of it."
    else:
        yield "`crossnet export --format sh` has all of it."


def _nft(plan: Plan, gateway: str, tables: Sequence[RuleTable]) -> Iterator[Document]:
    """One file that puts crossnet's tables in place of those that are loaded."""
    name = f"{gateway}.nft"
    texts = (step.stdin.decode() for table in tables for step in RuleTable.load(None, table))
    yield Document(name, "\n".join((_head(plan, gateway, f"nft -f {name}"), *texts)), gateway)


def _iptables(plan: Plan, gateway: str, tables: Sequence[RuleTable]) -> Iterator[Document]:
    """For each family the ipsets if there are any, and the chains; then the jumps that make iptables use them."""
    load: list[str] = []
    texts: list[tuple[str, str]] = []
    for table in tables:
        for step in RuleTable.load(None, table):
            kind = "ipset" if step.argv[0] == "ipset" else "iptables"
            name = f"{gateway}.{kind}-{table.family.value}.rules"
            load.append(f"{shlex.join(step.argv)} <{name}")
            texts.append((name, step.stdin.decode()))
    jumps = f"{gateway}.jumps.sh"
    load.append(f"sh {jumps}")
    head = _head(plan, gateway, *load)
    for name, text in texts:
        yield Document(name, f"{head}\n{text}", gateway)
    lines = "".join(
        f"{shlex.join((jump.command, '-w', *_check(jump)))} 2>/dev/null ||\n"
        f"    {shlex.join((jump.command, '-w', *insert_jump(jump.chain)))}\n"
        for jump in plan.wanted[gateway]
        if isinstance(jump, Jump)
    )
    yield Document(jumps, f"#!/bin/sh\n{head}\nset -e\n{lines}", gateway, executable=True)


def _check(jump: Jump) -> tuple[str, ...]:
    return tuple("-C" if word == "-D" else word for word in delete_jump(jump.chain))
