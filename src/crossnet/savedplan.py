"""A plan in a file: the spec it was made from, and the changes that were shown.

Applying it makes the plan anew on the hosts as they are then; when that is not the plan that was saved,
somebody changed something, and it is refused as stale.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from crossnet import api, localfile
from crossnet.design.impacts import OF_THE_MOMENT
from crossnet.errors import CrossnetError, StalePlan
from crossnet.events import Watcher, nobody
from crossnet.moved import moved_in_documents
from crossnet.planning import Plan
from crossnet.show.json import FORMAT_VERSION, plan_data
from crossnet.spec import Spec
from crossnet.specfile import parse

KIND = "crossnet-plan"
LARGEST = 32 * 1024 * 1024  # bytes; 10,000 routes are 12 MB
_KEYS = {"format_version", "spec_file", "spec", "plan"}
_OF_A_SPEC = (".yaml", ".yml")


class SavedPlanError(CrossnetError):
    """The file is not a plan that this version can apply."""


def save(plan: Plan, path: Path) -> None:
    """Write a plan; the file holds addresses and rules of your hosts, and is only yours to read."""
    document = {
        "format_version": FORMAT_VERSION,
        "kind": KIND,
        "spec_file": plan.spec.file,
        "spec": plan.spec.source,
        **({} if plan.spec.is_whole else {"crossings": [one.name for one in plan.spec.crossings]}),
        "plan": plan_data(plan),
    }
    try:
        localfile.replace([localfile.File(path, json.dumps(document, indent=1), 0o600)])
    except OSError as error:
        raise SavedPlanError(f"cannot write the plan to {path}: {error.strerror}\n  Name a file.") from None


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """What a file holds: the spec, and the changes that were shown."""

    path: Path
    spec: Spec
    shown: object


def _instead(path: Path) -> str:
    """What to type in place of a path that is no plan."""
    if path.suffix in _OF_A_SPEC:
        return f"If it is a spec, give it with -f: `crossnet apply -f {path}`"
    if path.suffix or path.parent != Path():
        return f"`crossnet plan --out {path}` writes one."
    return f"`crossnet plan --out {path}` writes one. If it is a crossing's name: `crossnet apply --crossing {path}`"


def read(path: Path) -> SavedPlan:
    """The plan of a file; SavedPlanError also when the file cannot be read."""
    try:
        text = localfile.read(path, LARGEST).decode()
    except (OSError, ValueError) as error:  # ValueError: no text, or a NUL byte in the path
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SavedPlanError(f"cannot read the plan {path}: {reason}\n  {_instead(path)}") from None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        if path.suffix in _OF_A_SPEC:
            raise SavedPlanError(f"{path} is not a saved plan\n  {_instead(path)}") from None
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise SavedPlanError(f"{path} is not a saved plan: {reason}") from None
    if not isinstance(document, dict) or document.get("kind") != KIND or not set(document) >= _KEYS:
        raise SavedPlanError(f"{path} is not a saved plan\n  `crossnet plan --out FILE` writes one.")
    version, file, text = (document[key] for key in ("format_version", "spec_file", "spec"))
    sound = isinstance(version, str) and isinstance(file, str) and isinstance(text, str)
    if not sound or not re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,9}", version):
        raise SavedPlanError(f"{path} is not a saved plan: it is damaged\n  Make a new plan.")
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise SavedPlanError(
            f"{path} is a plan of format {version}, this crossnet reads {FORMAT_VERSION}\n  Make a new plan."
        )
    chosen = document.get("crossings", [])
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise SavedPlanError(f"{path} is not a saved plan: it is damaged\n  Make a new plan.")
    return SavedPlan(path, parse(text, file).only(chosen), document["plan"])


async def renew(saved: SavedPlan, *, watch: Watcher = nobody, ways: api.Ways | None = None) -> Plan:
    """The plan, made anew; StalePlan when the hosts are not what it was made from."""
    made = await api.plan_in_turn(saved.spec, watch=watch, ways=ways)
    now = json.loads(json.dumps(plan_data(made)))
    if _own(now) != _own(saved.shown):
        raise StalePlan(
            f"Saved plan is stale: the hosts are no longer what {saved.path} was made from",
            moved_in_documents(saved.shown, now, made),
            "Make a new plan with `crossnet plan --out FILE`",
        )
    return made


def _own(document: object) -> object:
    """What is compared: not who applied what of others, or what is so just now."""
    if not isinstance(document, dict) or not isinstance(document.get("impacts"), list):
        return document
    impacts = [
        one for one in document["impacts"] if not (isinstance(one, dict) and one.get("code") in OF_THE_MOMENT)
    ]
    return {**document, "kept": None, "impacts": impacts}
