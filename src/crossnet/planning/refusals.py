"""Why there is no plan for hosts as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from crossnet.errors import PlanRefused, Refusal
from crossnet.facts import Facts
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.planning.plan import HostPlan
from crossnet.record import Record, read_record


def _same_machine(facts: Mapping[str, Facts]) -> Iterator[Refusal]:
    """Hosts that are one: it would be changed twice, and its transaction would lock out itself."""
    names: dict[tuple[str, str], list[str]] = {}
    for name, one in facts.items():
        if one.boot and one.network:
            names.setdefault((one.boot, one.network), []).append(name)
    for same in names.values():
        if len(same) > 1:
            yield Refusal(
                "same-machine",
                " and ".join(same),
                "are one machine (the same boot and network namespace)",
                f"Name it once under `hosts:`, as `{same[0]}` for one, and use that name in every crossing.",
            )


def records_of(facts: Mapping[str, Facts]) -> dict[str, Record]:
    """The record of every host; PlanRefused with all that cannot be used."""
    records: dict[str, Record] = {}
    refusals = list(_same_machine(facts))
    for name, one in facts.items():
        try:
            records[name] = read_record(one)
        except PlanRefused as refused:
            refusals += refused.refusals
    if refusals:
        raise PlanRefused(refusals)
    return records


def flawed(hosts: Iterable[HostPlan]) -> Iterator[Refusal]:
    """What would be changed and could not be put back: somebody else has written into what is crossnet's."""
    for host in hosts:
        for change in host.changes:
            if change.have is not None and (flaw := change.have.flaw):
                yield Refusal(
                    "foreign-in-own",
                    host.host,
                    f"{change.have.kind} {change.have.key} is not as crossnet writes it, so a roll-back could not "
                    f"put it back: {flaw}",
                    change.have.repair,
                )


def unknown_originals(facts: Facts, record: Record, keep: set[tuple[str, str]]) -> Iterator[Refusal]:
    """What is to be given back, and nobody knows how it was; unless the host's own files say how it is to be."""
    for owned in record.owned:
        if not owned.is_unknown or owned.identity in keep:
            continue
        others = [item for item in facts.boot_settings if item.file != SYSCTL_FILE]
        for name in owned.applied.values:
            is_on = facts.sysctls.get(name, "0") != "0"
            if not is_on or any(item.sets(name) and item.switches_on for item in others):
                continue
            yield Refusal(
                "forwarding-unknown",
                facts.host,
                f"{name} is on, its record of whether it was on before crossnet is lost, and crossnet's own rules "
                "there keep nobody out: leaving it on may leave the host open, switching it off may cut others off",
                f"If nothing else needs it: `sysctl -w {name}=0` on the host, then plan again. If something does: "
                f"write `{name} = 1` into a file of its own in /etc/sysctl.d there.",
            )
