"""What becomes of a crossing's packets as the hosts are now, whatever was applied: what a drift means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from crossnet.design.foresight import questions
from crossnet.design.others import is_own, told_of
from crossnet.facts import Facts
from crossnet.path import Path

MOST_NAMED = 3  # destinations

if TYPE_CHECKING:  # sets of packets are slow to import, and not every command asks for them
    from crossnet.reach.blockers import Blocker
    from crossnet.reach.path import Journey, Reached, Walked


def today(path: Path, facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """What passes no more, in words that follow `so`; nothing where the hosts' facts let everything pass."""
    from crossnet.reach.path import Walked, reached

    found: dict[str, None] = {}
    for asked, names in questions(path, facts):
        walked = Walked(asked, {name: facts[name] for name in names})
        found |= dict.fromkeys(_ended(path, walked, reached(walked), asked.host))
    return tuple(found)


def _ended(path: Path, walked: Walked, answer: Reached, sender: str) -> Iterator[str]:
    who = "its clients" if sender == path.gateway else sender
    if path.gateway != sender and path.gateway in walked.hosts:
        comes = any(visit.host == path.gateway for visit in walked.visits)
        if not comes and not answer.request.blockers:
            to = path.crossing.shown(path.family, MOST_NAMED)
            yield f"what {who} sends to {to} does not go to {path.gateway}"
            return
    for what, journey in ((f"what {who} sends", answer.request), ("what comes back", answer.reply)):
        if blocker := _end(journey):
            part = "" if journey.whole else "some of "
            if blocker.place is not None and is_own(blocker.place):
                by = "crossnet's own rules there no longer admit it"
            else:
                by = told_of(blocker)
            yield f"{part}{what} is stopped on {blocker.host}: {by}"
            return
    if path.leg.translates and any(
        each.code == "snat-missing" and each.now for each in answer.reply.blockers
    ):
        yield f"what {who} sends leaves {path.gateway} with its own source, and perhaps nobody there knows a way back"


def _end(journey: Journey) -> Blocker | None:
    """What surely stops packets of one direction as things are."""
    aside = {"destination-absent", "destination-is-broadcast"}
    for blocker in journey.blockers:
        if blocker.now and blocker.certain and blocker.code not in aside:
            return blocker
    return None
