"""crossnet lets hosts reach a network they have no route to, through a host that stands in both.

    spec = crossnet.load("crossnet.yaml")
    plan = crossnet.plan(*await crossnet.survey(spec))
    await crossnet.apply(plan)

What the commands do, as functions; `docs/library.md` has an example that runs.
"""

from __future__ import annotations

# That of `typing`, which takes as long to import as a third of `crossnet --help`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from crossnet.api import (
        Applied,
        Asked,
        Ended,
        Guard,
        Past,
        Undo,
        UndoPlan,
        apply,
        confirm,
        diagnose,
        history,
        load,
        observe,
        plan,
        plan_undo,
        reach,
        recover,
        rollback,
        status,
        survey,
        undo,
        verify,
    )

__version__ = "0.1.0"

__all__ = [
    "Applied",
    "Asked",
    "Ended",
    "Guard",
    "Past",
    "Undo",
    "UndoPlan",
    "__version__",
    "apply",
    "confirm",
    "diagnose",
    "history",
    "load",
    "observe",
    "plan",
    "plan_undo",
    "reach",
    "recover",
    "rollback",
    "status",
    "survey",
    "undo",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Late, because the command line imports this package first and `--help` needs none of it.
    if name in __all__:
        from crossnet import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
