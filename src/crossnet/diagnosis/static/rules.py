"""Rules, settings and programs that stop packets, over all hosts at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from crossnet.diagnosis.finding import Direction, Finding, is_own
from crossnet.diagnosis.static.search import (
    AT_TARGET,
    OF_ROUTES,
    one_address,
    sources,
)
from crossnet.diagnosis.static.translation import OfTranslation
from crossnet.facts import Facts
from crossnet.netfilter.foreign import AnyOf, Field, Perhaps, Rewrite, Statement, Unknown, Why
from crossnet.reach.blockers import Blocker
from crossnet.reach.packets import ESTABLISHED, INVALID
from crossnet.reach.path import Walked, reached
from crossnet.reach.rules import Effect, Place
from crossnet.values import (
    Address,
    family_of,
)


def _not_understood(facts: Facts) -> frozenset[str]:
    """Matches that crossnet does not know, and rules with an action that it does not know."""

    def unknown(each: Statement) -> Iterator[str]:
        if isinstance(each, Perhaps) and each.why is Why.NOT_UNDERSTOOD:
            yield each.text
        elif isinstance(each, AnyOf):
            for test in each.tests:
                yield from unknown(test)

    found = set[str]()
    for _, _, chain in facts.firewall.others():
        for rule in chain.rules:
            found.update(words for each in rule.statements for words in unknown(each))
            if any(isinstance(each, Unknown) for each in rule.statements):
                found.add(rule.text)
    return frozenset(found)


class OfRules(OfTranslation):
    """Rules, settings and programs that stop packets, over all hosts at once."""

    def _whole_way(self) -> None:
        client = self.course.client
        if client.host not in self.mended:
            return
        walked = self._walked(self.mended)
        self._along(walked)
        first = self.course.gateways[0] if self.course.gateways else client
        if first.host in self.mended and not any(each.host == first.host for each in walked.visits):
            # Facts do not lead the client's packets to it: what it would do with them if they came.
            self._along(Walked(self._asked(first.host, self.course.source, first.ingress or ""), self.mended))

    def _along(self, walked: Walked) -> None:
        """What stops packets on one walk over the hosts, and what is made of their addresses."""
        client = self.course.client
        answer = reached(walked)
        for direction, journey in ((Direction.FORWARD, answer.request), (Direction.REPLY, answer.reply)):
            for blocker in journey.blockers:
                told = blocker.code in OF_ROUTES
                told |= direction is Direction.REPLY and blocker.code == "link-down"
                if told and (self.course.target is None or blocker.host != self.course.target.host):
                    continue
                own_client = blocker.host == client.host and blocker.hook == "forward"
                if own_client or any(
                    each.code == blocker.code == "reverse-path-filter" for _, each in self.found
                ):
                    continue  # answers that come to it are not to be forwarded
                code = blocker.code
                if self._is_of_no_connection(walked, direction, blocker):
                    code = "conntrack-invalid"
                if self.course.target is not None and blocker.host == self.course.target.host:
                    code = AT_TARGET.get(code, code) if direction is Direction.REPLY else code
                found = Finding(
                    code,
                    blocker.host,
                    blocker.interface or self._egress(walked, direction, blocker),
                    direction,
                    blocker.text,
                    blocker.certain,
                    blocker.hook,
                    blocker.place,
                    ends=self._ends(walked, direction, blocker),
                    untracked=blocker.packets is not None
                    and (blocker.packets & ~walked.turned.state(ESTABLISHED)).satisfiable(),
                    unread=self._unread(blocker),
                )
                self._add(self._with_reason(found, walked))
        self._translation(walked)
        self._otherwise(walked)
        if not self.course.gateways:
            return
        seen_as = sources(walked, family_of(self.probe.destination))
        if len(seen_as) == 1:
            self.source = seen_as[0]

    def _otherwise(self, walked: Walked) -> None:
        """Rules, not crossnet's, that translate it, or keep it from connection tracking."""
        codes = {Effect.TRANSLATES: "others-translate", Effect.NOT_TRACKED: "not-tracked"}
        for direction, visits in ((Direction.FORWARD, walked.visits), (Direction.REPLY, walked.back)):
            for visit in visits:
                for each in visit.outcome.decisions:
                    if each.effect in codes and not is_own(each.place):
                        device = visit.interface or None
                        found = Finding(codes[each.effect], visit.host, device, direction, each.text)
                        self.others.append(
                            replace(found, certain=not each.doubts, hook=each.place.hook, chain=each.place)
                        )

    def _unread(self, blocker: Blocker) -> tuple[str, ...]:
        """The words that are not understood and leave it open whether this stops packets."""
        if blocker.certain:
            return ()
        unknown = self.facts[blocker.host].derived(_not_understood)
        return tuple(words for words in (blocker.text, *blocker.doubts) if words in unknown)[:1]

    def _egress(self, walked: Walked, direction: Direction, blocker: Blocker) -> str | None:
        """By which interface packets would leave that are stopped on their way out, where it is one."""
        space = walked.space if direction is Direction.FORWARD else walked.turned
        if blocker.hook not in ("output", "postrouting") or blocker.packets is None:
            return None
        names = [space.interface(number) for number in space.values_of(blocker.packets, Field.OIF)]
        return names[0] or None if len(names) == 1 else None

    def _ends(
        self, walked: Walked, direction: Direction, blocker: Blocker
    ) -> tuple[Address | None, Address | None]:
        """From whom to whom packets are where something stops them: a translation may stand before or behind it."""
        space = walked.space if direction is Direction.FORWARD else walked.turned
        family = family_of(self.probe.destination)
        if blocker.packets is None:
            return None, None
        source, destination = (
            one_address(space, blocker.packets, each, family) for each in (Field.SOURCE6, Field.DESTINATION6)
        )
        return source, destination

    def _is_of_no_connection(self, walked: Walked, direction: Direction, blocker: Blocker) -> bool:
        """Whether a rule stops packets because connection tracking knows nothing that they belong to."""
        if blocker.code != "filter-rule-drop" or blocker.packets is None:
            return False
        space = walked.space if direction is Direction.FORWARD else walked.turned
        return (
            "invalid" in blocker.text.lower() and not (blocker.packets & ~space.state(INVALID)).satisfiable()
        )

    def _with_reason(self, found: Finding, walked: Walked) -> Finding:
        """Where answers are not translated back: the rule that keeps them, or the requests, from being known."""
        if found.code != "reply-not-untranslated":
            return found
        for visit in walked.back:
            for decision in visit.outcome.decisions:
                if visit.host == found.host and decision.effect is Effect.NOT_TRACKED:
                    words = f"a rule keeps it from connection tracking: {decision.text}"
                    return replace(found, text=words, chain=decision.place)
        for _, table, chain in self.facts[found.host].firewall.others():
            for rule in chain.rules:
                if any(isinstance(each, Rewrite) and each.field is Field.CT_ZONE for each in rule.statements):
                    words = f"a rule puts requests or answers into a zone of connection tracking: {rule.text}"
                    hook = chain.hook.name if chain.hook is not None else "prerouting"
                    at = Place(table.tool, table.family, table.name, chain.name, hook)
                    return replace(found, text=words, chain=at)
        return found
