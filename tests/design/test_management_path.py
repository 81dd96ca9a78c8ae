"""The way on which crossnet itself works on a client is never taken away by the client's new route."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crossnet.errors import PlanRefused
from crossnet.planning import make_plan
from crossnet.specfile import parse
from crossnet.values import address
from facts.recorded import facts_in

SEED = Path(__file__).parent / "cases" / "seed"


@pytest.mark.parametrize(
    ("controller", "refused"),
    [("10.0.44.200", True), ("10.0.43.200", False), ("192.0.2.1", False), ("fd00:44::1", False)],
)
def test_route_over_the_controllers_own_address_is_refused(controller: str, refused: bool) -> None:
    facts = {path.stem: facts_in(path) for path in sorted(SEED.glob("*.json"))}
    facts["app"] = replace(facts["app"], controller=address(controller))
    spec = parse((SEED / "spec.yaml").read_text(encoding="utf-8"), "crossnet.yaml")
    if not refused:
        assert make_plan(spec, facts).changes
        return
    with pytest.raises(PlanRefused) as caught:
        make_plan(spec, facts)
    (refusal,) = caught.value.refusals
    assert refusal.code == "cuts-management-path"
    for word in (controller, "10.0.44.0/24", "app", "gateway"):
        assert word in refusal.message
