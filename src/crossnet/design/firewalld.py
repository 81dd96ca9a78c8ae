"""The policy with which firewalld lets crossings pass: where one is needed, for which zones, and what it lets pass.

An accept in a table of crossnet's own overrides nothing that firewalld rejects at the same hook (nft(8)).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossnet.design.again import Again
from crossnet.design.engine import Choice
from crossnet.design.impacts import Impact
from crossnet.design.question import Refused
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.firewalld import ANY, FIREWALLD, POLICY, POLICY_FILE, Firewalld, Listed
from crossnet.netfilter import Engine
from crossnet.netfilter.normal_form import join_ports
from crossnet.path import Path
from crossnet.record import Record
from crossnet.resources import FirewalldPolicy, Resource
from crossnet.resources.firewalld import Passing, rules_lost_by_a_reload
from crossnet.several import few
from crossnet.values import Family, Ports, Protocol, together

# firewalld takes 1 s for 100 rules and 11 s for 500 (measured with 1.3.3): each is made for itself.
MOST_RULES = 200

_ICMP = {Family.V4: "icmp", Family.V6: "ipv6-icmp"}
_MOST_LOST = 3  # lines of one refusal


def policy(
    facts: Facts, record: Record, paths: Sequence[Path], choice: Choice, *, asked: bool
) -> tuple[tuple[Resource, ...], tuple[Impact, ...]]:
    """The policy that a gateway needs for these paths, and what to know about it; Refused where it cannot be made.

    `asked` is whether any of them is asked for now: what only stays may not keep others from going.
    """
    running: Firewalld | None = facts.answers.get(FIREWALLD)
    if running is None:
        kept = next((one.applied for one in record.owned if isinstance(one.applied, FirewalldPolicy)), None)
        return ((kept,) if kept is not None else ()), ()
    in_front = choice.engine.is_iptables and not _is_in_nft(facts)
    if in_front or not running.has_policies:
        return (), ()
    stopped = [path for path in paths if not _is_open(running, path)]
    if not stopped:
        return (), ()
    rules = tuple(sorted({str(each) for path in stopped for each in _passing(path)}))
    if len(rules) > MOST_RULES:
        raise Refused(
            Refusal(
                "firewalld-many-rules",
                facts.host,
                f"firewalld would need {len(rules):,} rules to let just these crossings pass, and takes seconds for a "
                "hundred",
                "Name networks instead of single addresses, or let them pass in firewalld yourself.",
            )
        )
    if running.is_unsigned and not any(isinstance(one.applied, FirewalldPolicy) for one in record.owned):
        raise Refused(
            Refusal(
                "firewalld-name-taken",
                facts.host,
                f"firewalld has a policy {POLICY} that crossnet did not make ({POLICY_FILE}): its own would take that "
                "name",
                "Give that policy another name (`firewall-cmd --permanent --new-policy=…`), then plan again.",
            )
        )
    if running.policy is None and asked:
        _reloads(facts, running)
    ingress, egress = (
        _zones(running, [name for path in stopped for name in (getattr(path, side),)])
        for side in ("ingress", "egress")
    )
    wanted = FirewalldPolicy(ingress, egress, rules, may_reload=not rules_lost_by_a_reload(facts))
    once = ", for which firewalld is reloaded once" if running.policy is None else ""
    told = Impact(
        "beside-firewalld",
        facts.host,
        f"firewalld {_version(running)} rejects what it is not told to let pass: a policy of its own lets the crossing "
        f"pass there{once}",
    )
    return (wanted,), (told,)


def _is_in_nft(facts: Facts) -> bool:
    """Whether firewalld's rules are in a table of nftables, that of its own."""
    return any(table.family == "inet" and table.name == "firewalld" for table in facts.firewall.foreign)


def flushing(facts: Facts, choice: Choice, back: Again) -> tuple[Impact, ...]:
    """firewalld flushes all that the host's `iptables` shows, with either backend (measured with 1.3.3)."""
    running: Firewalld | None = facts.answers.get(FIREWALLD)
    plain = Engine.IPTABLES_NFT if facts.capabilities.iptables_is_nft else Engine.IPTABLES_LEGACY
    if running is None or plain not in (choice.engine, choice.accepts):
        return ()
    until = "`crossnet apply` puts them back"
    if back.heals:
        until = "crossnet-heal.service puts them back, within seconds"
    return (
        Impact(
            "firewalld-flushes",
            facts.host,
            f"`firewall-cmd --reload` takes crossnet's rules in {plain} away (firewalld {_version(running)}), until "
            f"{until}",
        ),
    )


def _version(running: Firewalld) -> str:
    return ".".join(map(str, running.version))


def _reloads(facts: Facts, running: Firewalld) -> None:
    """Refused where a reload would take anything from anybody."""
    if running.broken:
        raise Refused(
            Refusal(
                "firewalld-reload",
                facts.host,
                f"firewalld has to be reloaded for its new policy, and its permanent configuration is not valid: "
                f"{running.broken}",
                "Mend it (`firewall-cmd --check-config`), then plan again.",
            )
        )
    if running.uncompared:
        raise Refused(
            Refusal(
                "firewalld-reload",
                facts.host,
                "firewalld has to be reloaded for its new policy, and what that would undo is not known: "
                f"{running.uncompared}",
                "Look at `firewall-cmd --list-all-zones`, with and without `--permanent`; then plan again.",
            )
        )
    if running.unsaved:
        raise Refused(
            Refusal(
                "firewalld-reload",
                facts.host,
                "firewalld has to be reloaded for its new policy, which would undo what is not permanent (+ is in "
                f"force only, - is permanent only): {few(running.unsaved, _MOST_LOST)}",
                "Make it permanent with `firewall-cmd --runtime-to-permanent`, or drop it with "
                "`firewall-cmd --reload`; then plan again.",
            )
        )
    if lost := rules_lost_by_a_reload(facts):
        raise Refused(
            Refusal(
                "firewalld-reload",
                facts.host,
                "firewalld has to be reloaded for its new policy, which flushes rules of iptables that are not "
                f"its own: {few(lost, _MOST_LOST)}",
                "Give them to firewalld (`firewall-cmd --permanent --direct --add-rule …`), or take them away and put "
                "them back after `crossnet apply`.",
            )
        )


def _is_open(running: Firewalld, path: Path) -> bool:
    """Whether a zone surely lets it pass: one that accepts everything, or one zone within which packets pass."""
    ingress = running.zone_of(path.ingress)
    if running.tells_by_source:
        return False
    accepting = ingress or running.zone(running.default_zone)
    if accepting is not None and accepting.of("target") == ("ACCEPT",):
        return True
    # In the default zone for want of another an interface is not among those that the zone forwards between.
    return ingress is not None and ingress is running.zone_of(path.egress) and _forwards(ingress)


def _forwards(zone: Listed) -> bool:
    return zone.of("forward") == ("yes",)


def _zones(running: Firewalld, interfaces: Sequence[str]) -> tuple[str, ...]:
    """The zones of these interfaces; every one where that cannot be told from the interface.

    A policy for the default zone sees no packet of an interface that has no zone (measured with 1.3.3).
    """
    found = [running.zone_of(name) for name in interfaces]
    if running.tells_by_source or None in found:
        return (ANY,)
    return tuple(sorted({zone.name for zone in found if zone is not None}))


def _passing(path: Path) -> Iterator[Passing]:
    clients = together(client.network for client in path.clients)
    for source in clients:
        for destination in together(path.destinations):
            for protocol, ports in _traffic(path):
                yield Passing(source, destination, protocol, ports)


def _traffic(path: Path) -> Iterator[tuple[str | None, Ports | None]]:
    allow = path.crossing.allow
    if allow is None:
        yield None, None
        return
    for protocol in Protocol:
        entries = [traffic for traffic in allow if traffic.protocol is protocol]
        name = _ICMP[path.family] if protocol is Protocol.ICMP else str(protocol)
        if any(entry.ports is None for entry in entries):
            yield name, None
        else:
            yield from (
                (name, ports) for ports in join_ports(entry.ports for entry in entries if entry.ports)
            )
