"""Where the kernels of the hosts on the way would send a flow's packets, as they say themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from crossnet.diagnosis.course import Course
from crossnet.errors import HostError
from crossnet.facts.lookups import Answered, Lookup, question
from crossnet.facts.question import put
from crossnet.transport import Host


async def looked_up(
    course: Course, hosts: Mapping[str, Host]
) -> Mapping[str, Mapping[Lookup, Answered | None]]:
    """The answers of each host, in both directions; none of one that cannot be asked."""

    async def of(name: str, lookups: Sequence[Lookup]) -> Mapping[Lookup, Answered | None]:
        questions = {lookup: question(lookup) for lookup in lookups}
        try:
            said = await put(hosts[name], list(questions.values()))
        except HostError:
            return {}
        return {lookup: said[asked] for lookup, asked in questions.items()}

    asked = {stop.host: course.lookups(stop) for stop in course.stops if stop.host in hosts}
    return dict(zip(asked, await asyncio.gather(*(of(*each) for each in asked.items())), strict=True))
