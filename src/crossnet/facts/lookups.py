"""Where the kernel itself sends a packet: `ip route get`, in the words of any `ip`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from crossnet.facts.question import Question
from crossnet.facts.routes import Route, parse_routes
from crossnet.transport.batch import Answer
from crossnet.values import Address, family_of, host_network


@dataclass(frozen=True, slots=True)
class Lookup:
    """A packet of which the kernel is asked where it goes: one that came by `iif`, or the host's own without.

    Without `source` the host chooses one, and the answer tells which.
    """

    destination: Address
    source: Address | None = None
    iif: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        words = ["ip", f"-{family_of(self.destination).value}", "route", "get", str(self.destination)]
        words += ["from", str(self.source)] if self.source else []
        return (*words, *(("iif", self.iif) if self.iif else ()))

    def __str__(self) -> str:
        return " ".join(("ip", *self.argv[2:]))


@dataclass(frozen=True, slots=True)
class Answered:
    """What the kernel says: the way it takes, or the error with which it takes none.

    Of the way, `table` is told by kernels since 4.11 only, and not by busybox. An error has several causes: "No route
    to host" is a route of the type unreachable, or that the host does not forward; "Invalid argument" a blackhole, a
    source that rp_filter refuses, or an address of the host itself (net/ipv4/route.c, fib_props).
    """

    route: Route | None = None
    error: str = ""

    def __str__(self) -> str:
        return str(self.route) if self.route else self.error


# rtnetlink's own words, behind which libc's text of the error stands.
_ERROR = re.compile(r"RTNETLINK answers: ([^\n]+)")
# An IPv6 lookup that finds nothing was no failure before iproute2 4.15: `unreachable … error -101`.
_REFUSED = {
    "-101": "Network is unreachable",
    "-113": "No route to host",
    "-13": "Permission denied",
    "-22": "Invalid argument",
}


def parse_lookup(answer: str, lookup: Lookup) -> Answered | None:
    """The first line that `ip route get` prints; None where it is of another packet, or not understood.

    busybox takes a word that it does not know for the destination, and answers of that (measured).
    """
    line = next((line for line in answer.splitlines() if line.strip()), "")
    try:
        [route] = parse_routes(line, family_of(lookup.destination))
    except ValueError:
        return None
    if route.destination != host_network(lookup.destination):
        return None
    if route.type in ("unreachable", "prohibit", "blackhole"):
        code = re.search(r" error (-\d+)", line)
        return Answered(error=_REFUSED.get(code[1], route.type) if code else route.type)
    return Answered(route) if route.device else None


def _without_an_answer(answer: Answer) -> Answered | None:
    """The kernel's error; None where it is the tool that did not know what was asked."""
    found = _ERROR.search(answer.error_text)
    return Answered(error=found[1].strip()) if found else None


def question(lookup: Lookup) -> Question[Answered | None]:
    """The question for a host, whose answer is None where nobody can say."""
    return Question(f"ran `{lookup}`", lookup.argv, partial(parse_lookup, lookup=lookup), _without_an_answer)
