"""One JSON document per command, for programs; a minor version only adds."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crossnet.errors import (
    CrossnetError,
    HostsDisagree,
    Locked,
    PlanRefused,
    RollbackNotProved,
    RolledBack,
    SpecError,
    StalePlan,
)
from crossnet.resources import Change, Command, Splice, Step, Write
from crossnet.values import write_moment
from crossnet.verdict import Between, Diagnosis, Fix, Half, Place

if TYPE_CHECKING:  # a verdict is told without what plans and changes
    from crossnet.api import Applied, Ended
    from crossnet.codes import Code
    from crossnet.design import Impact
    from crossnet.facts import Facts
    from crossnet.healed import Healing
    from crossnet.health import CrossingStatus
    from crossnet.path import Path
    from crossnet.planning import Plan
    from crossnet.record import Record
    from crossnet.standing import Standing
    from crossnet.transaction.history import Past
    from crossnet.verdict import Diagnosis, Verification

FORMAT_VERSION = "1.0"


def document(content: Mapping[str, Any]) -> str:
    """The document as text; what a terminal would not print but obey stands as an escape of JSON."""
    text = json.dumps({"format_version": FORMAT_VERSION, **content}, indent=2, ensure_ascii=False)
    return _harmless(text)


def line(content: Mapping[str, Any]) -> str:
    """The same in one line."""
    return _harmless(json.dumps({"format_version": FORMAT_VERSION, **content}, ensure_ascii=False))


def _harmless(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(each if each.isprintable() else "".join(map(_printable, each)) for each in lines)


def _printable(one: str) -> str:
    return one if one.isprintable() else json.dumps(one)[1:-1]


def plan_data(plan: Plan) -> dict[str, Any]:
    from crossnet.show.opening import opening_data

    return {
        "crossings": [
            {
                "crossing": path.crossing.name,
                "family": int(path.family),
                "clients": [
                    {
                        "host": client.host,
                        "network": str(client.network),
                        "interface": client.interface,
                        "next_hop": str(client.next_hop),
                    }
                    for client in path.clients
                ],
                "gateway": path.gateway,
                "ingress": path.ingress,
                "egress": path.egress,
                "source": path.leg.source_text,
                "to": [str(network) for network in path.destinations],
                "until": _moment(path.crossing.until),
            }
            for path in plan.paths
        ],
        "hosts": [
            {
                "host": host.host,
                "engine": str(plan.engines[host.host].engine) if host.host in plan.engines else None,
                "accepts_in": _accepts_in(plan, host.host),
                "changes": [
                    {**change_data(change), "touches_management_path": change in host.touching}
                    for change in host.changes
                ],
                "adopted": [{"kind": item.kind, "key": item.key} for item in host.adopted],
            }
            for host in plan.hosts
        ],
        "kept": [standing_data(one) for one in plan.kept],
        "impacts": [_impact(impact) for impact in plan.impacts],
        "opening": None if plan.opening is None else opening_data(plan.opening),
    }


def _accepts_in(plan: Plan, host: str) -> str | None:
    """The variant of iptables in which the crossings are accepted besides."""
    choice = plan.engines.get(host)
    return str(choice.accepts) if choice is not None and choice.accepts is not None else None


def standing_data(one: Standing) -> dict[str, Any]:
    return {
        "spec": one.spec,
        "crossing": one.crossing,
        "who": one.stamp.who,
        "when": one.stamp.when,
        "from": one.stamp.source,
        "message": one.stamp.message,
        "until": _moment(one.until),
    }


def _moment(at: datetime | None) -> str | None:
    return write_moment(at) if at is not None else None


def carried_data(found: Mapping[str, Record]) -> dict[str, Any]:
    return {
        "hosts": [
            {
                "host": host,
                "lost": record.lost or None,
                "left_over": [
                    {"kind": owned.applied.kind, "key": owned.applied.key}
                    for owned in record.owned
                    if not record.crossings
                ],
                "crossings": [
                    {
                        **standing_data(one),
                        "role": "gateway" if one.carried else "client" if one.paths else None,
                        "paths": [_carried(path) for path in one.paths],
                    }
                    for one in record.crossings
                ],
            }
            for host, record in found.items()
        ]
    }


def _carried(path: Path) -> dict[str, Any]:
    allow = path.crossing.allow
    return {
        "family": int(path.family),
        "gateway": path.gateway,
        "ingress": path.ingress,
        "egress": path.egress,
        "clients": [
            {"host": client.host, "network": str(client.network), "next_hop": str(client.next_hop)}
            for client in path.clients
        ],
        "to": [str(network) for network in path.destinations],
        "allow": [str(one) for one in allow] if allow is not None else ["any"],
        "source": path.leg.source_text,
    }


def change_data(change: Change) -> dict[str, Any]:
    return {
        "kind": change.resource.kind,
        "action": change.action,
        "key": change.resource.key,
        "have": change.have.shown() if change.have else None,
        "want": change.want.shown() if change.want else None,
        "steps": [_step(step) for step in change.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    if isinstance(step, Command):
        return {"run": list(step.argv), "stdin": step.stdin.decode(errors="replace")}
    if isinstance(step, Write):
        data = None if step.data is None else base64.b64encode(step.data).decode()
        return {"write": str(step.path), "data": data, "mode": f"{step.mode:04o}"}
    if isinstance(step, Splice):
        part = {"offset": step.offset, "length": step.length, "data": base64.b64encode(step.data).decode()}
        return {"splice": str(step.path), **part, "before": step.before, "after": step.after}
    return {"link": str(step.path), "target": step.target}


def _impact(impact: Impact) -> dict[str, Any]:
    return {"code": impact.code, "where": impact.where, "detail": impact.text}


def applied_data(applied: Applied) -> dict[str, Any]:
    return {
        "transaction": applied.confirmed.transaction if applied.confirmed else None,
        "outcome": _outcome(applied),
        "proved": not applied.unproved if applied.verification else None,
        "hosts": [{"host": host.host, "changes": len(host.changes)} for host in applied.plan.hosts],
        "impacts": [_impact(impact) for impact in applied.plan.impacts],
        "not_written": list(applied.unwritten),
        "changed_by_others": list(applied.meanwhile),
        "verification": verification_data(applied.verification) if applied.verification else None,
    }


def _outcome(applied: Applied) -> str:
    if applied.confirmed is None:
        return "unchanged"
    if applied.unwritten:
        return "confirmed-not-persistent"
    return "confirmed-not-proved" if applied.unproved else "confirmed"


def ended_data(ended: Sequence[Ended]) -> dict[str, Any]:
    return {
        "transactions": [
            {
                "transaction": one.transaction,
                "what": one.what,
                "outcome": "confirmed" if one.is_confirmed else "rolled-back",
                "not_written": list(one.unwritten),
                "not_proved": list(one.unproved),
                "went_back": list(one.went_back),
            }
            for one in ended
        ]
    }


def history_data(found: Sequence[Past], healed: Sequence[Healing] = ()) -> dict[str, Any]:
    return {
        "transactions": [
            {
                "host": past.host,
                "transaction": past.transaction,
                "started": past.started,
                "ended": past.ended,
                "who": past.who,
                "what": past.what,
                "outcome": past.outcome.replace(", ", "-").replace(" ", "-"),
                "why": past.why or None,
                "message": past.message or None,
                "crossings": list(past.crossings),
            }
            for past in found
        ],
        "healings": [
            {
                "host": one.host,
                "at": one.when,
                "outcome": one.outcome,
                "what": one.what,
                "just_before": list(one.beside),
            }
            for one in sorted(healed, key=lambda one: one.at)
        ],
    }


def verification_data(found: Verification) -> dict[str, Any]:
    return {
        "result": str(found.result),
        "differences": list(found.differences),
        "exposed": list(found.exposed),
        "verdicts": [_verdict(verdict) for verdict in found.verdicts],
    }


def _verdict(verdict: Diagnosis) -> dict[str, Any]:
    return {
        "crossing": verdict.crossing,
        "flow": _flow(verdict),
        "result": str(verdict.result),
        "how_far": str(verdict.how_far),
        "stopped": verdict.stopped,
        "forward": _half(verdict.forward),
        "reply": _half(verdict.reply),
        "translated_to": str(verdict.translated_to) if verdict.translated_to else None,
        "counted": verdict.counted,
        "observations": list(verdict.forward.evidence),
        "notes": [note.detail for note in verdict.notes],
    }


def _flow(verdict: Diagnosis) -> dict[str, Any]:
    probe = verdict.probe
    return {
        "from": verdict.client,
        "source": str(verdict.source) if verdict.source else None,
        "to": str(probe.destination) if probe else None,
        "protocol": str(probe.protocol) if probe else None,
        "port": probe.port if probe else None,
    }


def _half(half: Half) -> dict[str, Any]:
    return {
        "disposition": half.disposition,
        "at": _at(half.at),
        "code": half.code,
        "confidence": str(half.confidence) if half.confidence else None,
        "candidates": list(half.candidates),
        "detail": half.detail,
        "hops": [],
        "fix": [fix_data(each) for each in half.fix],
    }


def diagnosis_data(found: Diagnosis) -> dict[str, Any]:
    return {
        "crossing": found.crossing,
        "flow": _flow(found),
        "result": str(found.result),
        "forward": _direction(found.forward),
        "reply": _direction(found.reply),
        "also": [
            {
                "direction": each.direction,
                "at": _at(each.at),
                "code": each.code,
                "detail": each.detail,
                "fix": [fix_data(fix) for fix in each.fix],
            }
            for each in found.also
        ],
        "notes": [{"code": note.code, "detail": note.detail} for note in found.notes],
        "observations": [
            {
                "t": round(each.at, 6),
                "host": each.host,
                "interface": each.interface,
                "hook": each.hook,
                "action": str(each.action),
                "direction": each.direction,
                "packet": each.packet,
                "translation": each.translation,
                "by": each.by,
            }
            for each in found.observations
        ],
    }


def _direction(half: Half) -> dict[str, Any]:
    return {
        "disposition": half.disposition,
        "at": _at(half.at),
        "code": half.code,
        "confidence": str(half.confidence) if half.confidence else None,
        "candidates": list(half.candidates),
        "detail": half.detail,
        "evidence": list(half.evidence),
        "fix": [fix_data(each) for each in half.fix],
    }


def _at(at: Place | Between | None) -> dict[str, Any] | None:
    match at:
        case Place():
            return {"host": at.host, "interface": at.interface}
        case Between():
            return {"between": [_at(at.sender), _at(at.receiver)]}
        case None:
            return None


def fix_data(fix: Fix) -> dict[str, Any]:
    warning = {"warning": fix.warning} if fix.warning else {}
    return {"host": fix.host, "commands": list(fix.commands), "spec": fix.by_crossnet, **warning}


def status_data(found: tuple[CrossingStatus, ...]) -> dict[str, Any]:
    return {
        "crossings": [
            {
                "crossing": status.crossing,
                "state": str(status.state),
                "until": _moment(status.until),
                "reasons": list(status.reasons),
                "drift": list(status.drift),
                "pending": list(status.pending),
                "open_for_everybody": [
                    {
                        "gateway": exposure.gateway,
                        "family": int(exposure.family),
                        "interfaces": list(exposure.interfaces),
                    }
                    for exposure in status.exposures
                ],
                "counters": {
                    name: {
                        "packets": sum(getattr(counters, name).packets for counters in status.counters),
                        "bytes": sum(getattr(counters, name).bytes for counters in status.counters),
                    }
                    for name in ("admitted", "translated", "fenced")
                },
                "verified": status.verified,
                "result": status.result,
                "resources": [
                    {
                        "host": each.host,
                        "kind": each.resource.kind,
                        "key": each.resource.key,
                        "live": each.live,
                        "persistent": each.persistent,
                        "kept_in": list(each.kept_in),
                        "broken": list(each.broken),
                    }
                    for each in status.lasting
                ],
            }
            for status in found
        ]
    }


def unreached_data(errors: Mapping[str, CrossnetError]) -> dict[str, Any]:
    """Why hosts are missing in a document; nothing where none is."""
    return {"unreached": {host: str(error) for host, error in errors.items()}} if errors else {}


def facts_data(found: Mapping[str, Facts]) -> dict[str, Any]:
    return {"hosts": [_facts(name, facts) for name, facts in found.items()]}


def _facts(name: str, facts: Facts) -> dict[str, Any]:
    able = facts.capabilities
    return {
        "host": name,
        "kernel": ".".join(map(str, able.kernel)),
        "systemd": able.systemd,
        "controller": str(facts.controller) if facts.controller else None,
        "reached_at": str(facts.reached_at) if facts.reached_at else None,
        "tools": sorted(able.tools),
        "interfaces": [
            {
                "name": link.name,
                "up": link.up,
                "mtu": link.mtu,
                "addresses": [f"{item.address}/{item.prefix}" for item in link.addresses],
                "leased": [str(item.address) for item in link.addresses if item.leased],
                "kind": link.kind,
                "master": link.master or None,
                "parent": link.parent or None,
                "vlan": link.vlan,
                "programs": list(
                    dict.fromkeys(
                        words for hook in ("ingress", "egress") for words in facts.programs(link.name, hook)
                    )
                ),
            }
            for link in facts.links
        ],
        "policy_rules": [
            {
                "family": int(rule.family),
                "priority": rule.priority,
                "action": rule.action,
                "table": rule.table or None,
                "text": str(rule),
            }
            for rule in facts.policy_rules
        ],
        "routes": [
            {
                "destination": str(route.destination),
                "via": str(route.via) if route.via else None,
                "device": route.device,
                "source": str(route.source) if route.source else None,
                "protocol": route.protocol,
                "metric": route.metric,
                "table": route.table,
                "type": route.type,
            }
            for route in facts.routes
        ],
        "neighbours": [
            {
                "address": str(neighbour.address),
                "device": neighbour.device,
                "hardware": neighbour.hardware or None,
                "state": neighbour.state,
            }
            for neighbour in facts.neighbours
        ],
        "ipsec": [policy.text for policy in facts.ipsec],
        "managers": [
            {"name": manager.name, "evidence": list(manager.evidence)} for manager in facts.managers
        ],
        "owners": [
            {"interface": owner.interface, "name": str(owner.keeper), "evidence": owner.evidence}
            for owner in facts.owners.values()
            if owner.is_known
        ],
        "saved_rules": [{"file": each.file, "names": list(each.names)} for each in facts.saved],
        "sysctls": dict(facts.sysctls),
        "files": sorted(facts.files),
    }


def code_data(code: Code) -> dict[str, Any]:
    return {"code": code.name, "meaning": code.meaning, "evidence": code.evidence, "fix": code.fix}


_OUTCOMES: dict[type[CrossnetError], str] = {
    RolledBack: "rolled-back",
    RollbackNotProved: "rollback-not-proved",
    HostsDisagree: "hosts-disagree",
    Locked: "locked",
    StalePlan: "stale",
}


def error_data(error: CrossnetError) -> dict[str, Any]:
    data: dict[str, Any] = {
        "outcome": _OUTCOMES.get(type(error), "error"),
        "type": type(error).__name__,
        "exit_code": error.exit_code,
        "message": str(error),
    }
    if isinstance(error, SpecError):
        data["problems"] = [
            {"file": p.file, "line": p.line, "column": p.column, "message": p.message} for p in error.problems
        ]
    if isinstance(error, StalePlan):
        data["moved"] = list(error.moved)
    if isinstance(error, PlanRefused):
        data["refusals"] = [
            {
                "code": refusal.code,
                "where": refusal.where,
                "detail": refusal.message,
                "fix": refusal.todo,
                "candidates": list(refusal.candidates),
            }
            for refusal in error.refusals
        ]
    return {"error": data}
