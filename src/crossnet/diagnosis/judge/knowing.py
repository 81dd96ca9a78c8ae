"""What is known of a flow where it is judged: of its end, of the hosts, and of what nobody could see."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from crossnet.capture import NO_RIGHT, Packet
from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.ending import End
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.judge import ports, reasons, seen_past
from crossnet.diagnosis.judge.evidence import Evidence
from crossnet.diagnosis.judge.words import of_host
from crossnet.diagnosis.signs import (
    AT_PORTS,
    ENDS_THERE,
    ERRORS,
    USUAL_QUEUES,
)
from crossnet.diagnosis.tracing import Traced
from crossnet.diagnosis.trail import Part, forward_end, reply_end
from crossnet.netfilter.foreign import Tool
from crossnet.reach.rules import Place as Chain
from crossnet.values import Address, Family, family_of
from crossnet.verdict import (
    Note,
)
from crossnet.verification.probe import Reply, Sent


class Knowing:
    """What every judgement has in its hands, and what it has noted beside it."""

    def __init__(self, evidence: Evidence) -> None:
        evidence = replace(evidence, tracked=evidence.own_tracked())
        dropped = evidence.dropped
        if dropped is not None and reasons.is_of_others(dropped, evidence.tracked, evidence.course.source):
            dropped = None
        self.e = replace(evidence, foretold=reasons.confirmed(evidence.foretold, dropped), dropped=dropped)
        self.course, self.probe = evidence.course, evidence.probe
        self.trail = evidence.trail.asked()
        self.notes: list[Note] = []
        self.forward_end, self.reply_end = forward_end(self.trail), reply_end(self.trail)
        if evidence.counted is not None:
            self.forward_end, self.reply_end = evidence.counted.forward, evidence.counted.reply

    def _answered(self, sent: Sent) -> bool:
        if sent.reply is Reply.ANSWERED:
            return True
        client = self.course.client.host
        return (
            sent.reply is Reply.UNKNOWN
            and bool(self.trail.came(client, Part.REPLY))
            and not any(each.certain for each in self._of(Direction.REPLY, client))
        )

    @property
    def _refused(self) -> bool:
        return any(each.reply is Reply.REFUSED for each in self.e.small)

    def _what_is_missing(self) -> None:
        for host, why in self.e.unread.items():
            self.notes.append(Note("facts-missing", of_host(host, why)))
        for cloud, why in ports.unasked(self.e.facts).items():
            self.notes.append(Note("cloud-unasked", of_host(cloud, why)))
        for host, why in self.e.failed.items():
            code = "insufficient-privilege" if why.startswith(NO_RIGHT) else "host-not-observed"
            self.notes.append(Note(code, of_host(host, why)))
        for host, number in self.e.lost.items():
            words = f"{host} could not keep {number} packets: what was not seen there may have passed"
            self.notes.append(Note("observer-lost-packets", words))
        if self.e.untold is not None:
            code = {"right": "insufficient-privilege", "kernel": "reason-not-specified-by-kernel"}.get(
                self.e.untold.lacking, "facts-missing"
            )
            self.notes.append(Note(code, str(self.e.untold)))
        if self.e.dropped is not None and not self.e.dropped.is_specified:
            self.notes.append(Note("reason-not-specified-by-kernel", str(self.e.dropped)))
        for host in self.e.unaligned:
            if any(self.trail.at(host, Part.REQUEST)):
                words = f"the clock of {host} could only be guessed: nothing was seen to go there and to come back"
                self.notes.append(Note("clock-not-aligned", words))

    def _what_is_open(self) -> None:
        """What crossnet does not understand of the hosts that may have stopped the packets, and that do not say it."""
        told = {(each.host, each.direction) for each in (self.e.traced, self.e.dropped) if each is not None}
        for each in self.e.foretold.findings:
            part = Part.REQUEST if each.direction is Direction.FORWARD else Part.REPLY
            if each.certain or (each.host, each.direction) in told or self.trail.left(each.host, part):
                continue
            for words in each.unread:
                detail = (
                    f"{each.host}: crossnet does not understand `{words}`, and what it does to the {part}"
                )
                self.notes.append(Note("unmodelled-rule", detail))
            if each.code == "tc-or-xdp-drop":
                detail = f"{each.host}: crossnet does not read what {each.text} does to the {part}"
                self.notes.append(Note("unmodelled-hook", detail))
        self.notes += [Note("port-unknown", words) for words in ports.untold(self.e.facts, self.course)]

    @property
    def _heads(self) -> int:
        """The bytes in front of the data of an echo."""
        return 48 if family_of(self.probe.destination) is Family.V6 else 28

    def _of(self, direction: Direction, host: str, codes: frozenset[str] | None = None) -> list[Finding]:
        """What a host itself does; what it is plugged into stands between two of them."""
        return [
            each
            for each in self.e.foretold.of(direction)
            if each.host == host and (each.code not in AT_PORTS if codes is None else each.code in codes)
        ]

    def _on_either_of(self, direction: Direction, stop: Stop, following: Stop) -> list[Finding]:
        """What either host does, and the ports between them, in the order in which packets meet it."""
        near = ports.between(self.e.foretold, direction, stop, following)
        return [
            each
            for each in self.e.foretold.of(direction)
            if each in near or (each.host in (stop.host, following.host) and each.code not in AT_PORTS)
        ]

    def _leave_out(self, refuted: Collection[Finding]) -> None:
        """Go on without what was seen not to be so."""
        left = tuple(each for each in self.e.foretold.findings if each not in refuted)
        self.e = replace(self.e, foretold=replace(self.e.foretold, findings=left))

    def _believe_what_was_seen(self) -> None:
        """Of what got past a port no cloud can say that it does not."""
        refuted = seen_past.refuted(self.e.foretold, self.trail)
        for each, host in refuted.items():
            part = Part.REQUEST if each.direction is Direction.FORWARD else Part.REPLY
            if each.certain and host:
                words = f"{each.text} ({each.code}), and the {part} was seen to get past it to {host}"
                self.notes.append(Note("static-dynamic-disagree", words))
        self._leave_out(refuted)

    def _counted_at(self, stop: Stop, interface: str | None) -> Finding | None:
        """What a host has counted, and at least with every probe."""
        for each in self.e.moved.get(stop.host, ()):
            if each.cause and each.by >= len(self.e.small):
                return self._finding(each.cause, stop, interface, str(each))
        return None

    def _queue(self, stop: Stop, device: str | None, direction: Direction) -> Finding | None:
        """A queue that somebody has set where packets leave: it may take them though no fact says so."""
        facts = self.e.facts.get(stop.host)
        link = facts.link(device or "") if facts is not None else None
        if facts is None or link is None or not link.qdisc or link.qdisc in USUAL_QUEUES:
            return None
        words = facts.queue_of(link)
        return Finding("tc-or-xdp-drop", stop.host, link.name, direction, words, False, "egress")

    @staticmethod
    def _named_by(packet: Packet) -> str:
        """The code of what an ICMP error says."""
        return ERRORS.get((packet.icmp_type, packet.icmp_code), "filter-reject")

    def _of_error(self, packet: Packet, stop: Stop, end: End) -> Finding:
        """What an ICMP error of a host says."""
        return self._finding(self._named_by(packet), stop, end.interface, str(packet))

    def _traced(self, stop: Stop, direction: Direction) -> Finding | None:
        """What a host itself names as the packets' end: a finding that was doubtful, or another.

        The trace of its firewall names the very rule; what its kernel drops otherwise has a reason.
        """
        traced = self.e.traced
        if traced is None or (traced.host, traced.direction) != (stop.host, direction):
            return self._reasoned(stop, direction)
        code = {"policy": "filter-policy-drop", "queue": "queue-without-listener"}.get(
            traced.verdict, "filter-reject" if " reject" in f" {traced.text}" else "filter-rule-drop"
        )
        chain = self._chain(traced)
        near = [
            each
            for each in self._of(direction, stop.host)
            if each.chain is not None
            and (each.chain.family, each.chain.table, each.chain.chain)
            == (traced.family, traced.table, traced.chain)
            and (each.code == code or each.code == "src-output-filtered")
        ]
        same = [each for each in near if each.text == traced.text] or near
        if len(same) == 1 and (same[0].text == traced.text or chain.tool is not Tool.NFT):
            return replace(same[0], certain=True)
        if stop == self.course.client and direction is Direction.FORWARD and traced.verdict == "drop":
            code = "src-output-filtered"
        interface = stop.ingress if direction is Direction.FORWARD else stop.egress
        return Finding(code, stop.host, interface, direction, traced.text, chain=chain)

    def _reasoned(self, stop: Stop, direction: Direction) -> Finding | None:
        dropped = self.e.dropped
        if dropped is None or (dropped.host, dropped.direction) != (stop.host, direction):
            return None
        if codes := reasons.disagrees(dropped, self.e.foretold):
            words = f"facts say that {stop.host} perhaps stops it ({', '.join(codes)}); {dropped}"
            self.notes.append(Note("static-dynamic-disagree", words))
        if dropped.is_of_queue:
            queue = self._queue(stop, dropped.interface, direction)
            if queue is not None:
                return replace(queue, certain=True)
        return reasons.cause(dropped, self.e.foretold, stop)

    def _chain(self, traced: Traced) -> Chain:
        """The chain that a trace names; iptables-nft has its own among those of nftables."""
        facts = self.e.facts.get(traced.host)
        for engine, table, chain in facts.firewall.others() if facts is not None else ():
            if (table.family, table.name, chain.name) == (traced.family, traced.table, traced.chain):
                tool = Tool.IPTABLES_NFT if engine.is_iptables else Tool.NFT
                return Chain(
                    tool, traced.family, traced.table, traced.chain, chain.hook.name if chain.hook else ""
                )
        return Chain(Tool.NFT, traced.family, traced.table, traced.chain, "")

    def _finding(self, code: str, stop: Stop, interface: str | None, text: str = "") -> Finding:
        return Finding(code, stop.host, interface, Direction.FORWARD, text)

    def _misaddressed(
        self, stop: Stop, interface: str | None, direction: Direction, wanted: Address | None
    ) -> Finding:
        """A host whose frames were seen to have another hardware address than the next host's."""
        return Finding(
            "wrong-destination-mac",
            stop.host,
            interface,
            direction,
            "its frames are addressed to another host",
            remedy=Remedy(device=interface, address=wanted),
        )

    def _disagree(self, said: str) -> None:
        if self.e.foretold.passes:
            self.notes.append(Note("static-dynamic-disagree", f"facts say that it passes, but {said}"))

    def _kept_by_bridge(self, host: str, part: Part) -> bool:
        """Whether what a host gave to its bridge left by none of the ports, all of which were watched.

        What is seen to leave by the bridge itself has not met the bridge's own rules yet (net/bridge/br_device.c).
        """
        facts = self.e.facts.get(host)
        links = facts.links if facts is not None else ()
        left = {each.interface for each in self.trail.left(host, part)}
        bridges = {link.name for link in links if link.kind == "bridge" and link.name in left}
        ports = {link.name for link in links if link.master in bridges}
        return bool(ports) and left == bridges and ports <= {*self.trail.points.get(host, ())}

    def _goes_on(self) -> None:
        """What facts surely say of a host from which packets were seen to go on."""
        for each in self.e.foretold.findings:
            part = Part.REQUEST if each.direction is Direction.FORWARD else Part.REPLY
            if not (each.certain and each.code in ENDS_THERE) or self._kept_by_bridge(each.host, part):
                continue
            if self.trail.left(each.host, part):
                words = (
                    f"facts say that {each.host} stops the {part} ({each.code}), and it was seen to leave it"
                )
                self.notes.append(Note("static-dynamic-disagree", words))

    def _filters(self, stop: Stop, following: Stop, direction: Direction) -> tuple[str, ...]:
        return ports.filters_between(self.e.facts, direction, stop, following, self.probe.destination)

    def _moved(self, host: str) -> tuple[str, ...]:
        known = [f"{host}: connection tracking: {entry.text}" for entry in self.e.tracked.get(host, ())[:1]]
        if self.e.dropped is not None and self.e.dropped.host == host:
            known.append(str(self.e.dropped))
        return (*(f"{host}: {words}" for words in self.e.moved.get(host, ())), *known, *self._looked_up(host))

    def _looked_up(self, host: str) -> Iterator[str]:
        """What the kernel of a host itself says that it would not send on, or by another interface."""
        stop = next((each for each in self.course.stops if each.host == host), None)
        for lookup, answer in self.e.lookups.get(host, {}).items():
            if answer is None or stop is None:
                continue
            meant = stop.egress if lookup.destination == self.probe.destination else stop.ingress
            if answer.error or (answer.route is not None and meant and answer.route.device != meant):
                yield f"{host}: `{lookup}`: {answer}"

    def _evidence_of(self, end: End, direction: Direction) -> tuple[str, ...]:
        host = end.stop.host if end.stop is not None else ""
        return tuple(self._moved(host)) if host else ()
