"""A plan in a file: the spec it was made from, and the changes that were shown.

Applying it makes the plan anew on the hosts as they are then; when that is not the plan that was saved,
somebody changed something, and it is refused as stale.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from crossnet import api
from crossnet.errors import CrossnetError, StalePlan
from crossnet.events import Watcher, nobody
from crossnet.planning import Plan
from crossnet.show.json import FORMAT_VERSION, plan_data
from crossnet.specfile import parse

KIND = "crossnet-plan"
_KEYS = {"format_version", "spec_file", "spec", "plan"}


class SavedPlanError(CrossnetError):
    """The file is not a plan that this version can apply."""


def save(plan: Plan, path: Path) -> None:
    """Write a plan; the file holds addresses and rules of your hosts, and is only yours to read."""
    document = {
        "format_version": FORMAT_VERSION,
        "kind": KIND,
        "spec_file": plan.spec.file,
        "spec": plan.spec.source,
        "plan": plan_data(plan),
    }
    if path.is_dir() or not path.name:
        raise SavedPlanError(f"cannot write the plan to {path}: it is a folder\n  Name a file.")
    aside = path.with_name(f".{path.name}.crossnet")
    try:
        with open(
            os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(document, file, indent=1)
        aside.replace(path)
    except OSError as error:
        raise SavedPlanError(f"cannot write the plan to {path}: {error.strerror}") from None


async def load(path: Path, *, watch: Watcher = nobody) -> Plan:
    """The plan of a file, made anew; StalePlan when the hosts are not what it was made from."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SavedPlanError(
            f"cannot read the plan {path}: {reason}\n  `crossnet plan --out {path}` writes one."
        ) from None
    except ValueError as error:
        raise SavedPlanError(f"{path} is not a saved plan: {error}") from None
    if not isinstance(document, dict) or document.get("kind") != KIND or not set(document) >= _KEYS:
        raise SavedPlanError(f"{path} is not a saved plan\n  `crossnet plan --out FILE` writes one.")
    version = str(document["format_version"])
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise SavedPlanError(
            f"{path} is a plan of format {version}, this crossnet reads {FORMAT_VERSION}\n  Make a new plan."
        )
    spec = parse(str(document["spec"]), str(document["spec_file"]))
    made = api.plan(spec, await api.observe(spec, watch=watch))
    if json.loads(json.dumps(plan_data(made))) != document["plan"]:
        raise StalePlan(
            f"Saved plan is stale: the hosts are not any more what {path} was made from\n"
            "  Nothing was changed. Make a new plan with `crossnet plan --out FILE`."
        )
    return made
