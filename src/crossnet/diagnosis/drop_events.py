"""What a host's kernel tells of the packets that it drops: which of them are ours, and why.

Echoes of unusual lengths are told from others by those: the events of their arrival are filtered by them in the
kernel, and a drop is theirs where it is of the same buffer, on the same processor, at once, and interrupts the same
task: on a busy machine the buffer is somebody else's within a millisecond (measured). No event tells in which network
namespace it was: somebody else's echoes in another one have to meet two lengths that have been sent by then, and those
stand in no row, as the lengths of others may. Where they are sent no arrival tells of them: a drop is theirs there in
the very call of ping that sends so many bytes. Once one waits to be sent, only who sends it can drop it: the same
kernel may have the next host, too, and drops answers that have come there. Of the reasons only names are known here:
their numbers differ from kernel to kernel, which prints each by its name (its own `format` file).
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from crossnet.diagnosis.finding import Direction

_AT_ONCE = 0.002  # seconds from an arrival to its drop: a buffer is used again for somebody else's packet

_ETHERNET = 14  # bytes in front of an IP packet where it waits to be sent; some links have none
_TAG = 4  # bytes of a VLAN that may still be in it
_ICMP = 8  # bytes of its head


@dataclass(frozen=True, slots=True)
class Echo:
    """One with so many bytes of data, and so many of heads where the kernel tells its length."""

    size: int
    head: int


@dataclass(frozen=True, slots=True)
class Spot:
    """A host that echoes came to and did not leave, to be asked what it does to them.

    `arrives` are the interfaces by which they came, `leaves` the one by which they should go on; `echoes` are the bytes
    of data in each. Of a host that sends them itself `arrives` is empty.
    """

    host: str
    direction: Direction
    arrives: tuple[str, ...]
    leaves: str | None
    echoes: tuple[int, ...]
    v6: bool = False

    @property
    def is_sender(self) -> bool:
        return not self.arrives

    @property
    def hands_answers_on(self) -> bool:
        return self.direction is Direction.REPLY and self.leaves is not None

    def received(self) -> str:
        """Which arrivals are theirs, as the kernel's event filter takes it."""
        return self._filter(self.arrives, "netif_receive_skb")

    def queued(self) -> str:
        """The same where they wait to be sent."""
        return self._filter((self.leaves,) if self.leaves else (), "net_dev_queue")

    def sent(self) -> str:
        """Which calls send them."""
        return _any(self._lengths("sys_sendto"))

    def echo(self, event: str, length: int) -> Echo | None:
        """Which of them has the length that an event of this name tells; None where none has."""
        return self._lengths(event).get(length)

    def _filter(self, names: Sequence[str], event: str) -> str:
        known = " || ".join(f'name == "{name}"' for name in names)
        # No packet is shorter than its head: where there is no such interface, none is meant.
        return f"({_any(self._lengths(event))}) && ({known or 'len < 1'})"

    def _lengths(self, event: str) -> dict[int, Echo]:
        """The lengths that an event of this name may tell of each."""
        ip = 40 if self.v6 else 20
        before = {
            "sys_sendto": (0,),
            "netif_receive_skb": (ip, ip + _TAG),
            "net_dev_queue": (ip, ip + _TAG, ip + _ETHERNET, ip + _ETHERNET + _TAG),
        }
        return {each + _ICMP + head: Echo(each, head) for each in self.echoes for head in before[event]}


def _any(lengths: Collection[int]) -> str:
    return " || ".join(f"len == {length}" for length in sorted(lengths))


@dataclass(frozen=True, slots=True)
class Dropped:
    """That a host's kernel dropped a flow's packet, and why, in its own words.

    `interface` is the one that it had come to last; `function` where in the kernel it ended, `hook` where in the way
    of packets that is, as far as the kernel tells. NOT_SPECIFIED is a `reason` that says nothing.
    """

    host: str
    direction: Direction
    interface: str | None
    reason: str
    function: str
    hook: str | None = None

    @property
    def is_specified(self) -> bool:
        return self.reason != "NOT_SPECIFIED"

    @property
    def is_of_nft(self) -> bool:
        """Whether a rule of nftables did it, so that a trace of those can tell which."""
        return self.reason == "NETFILTER_DROP" and self.function.startswith("nft_")

    @property
    def is_of_queue(self) -> bool:
        """Whether there was no room for it just then."""
        return self.reason.startswith(("QDISC_", "FQ_", "CAKE_", "DUALPI2_", "CPU_BACKLOG"))

    def __str__(self) -> str:
        at = f" at {self.hook}" if self.hook else ""
        return f"{self.host}: the kernel dropped it: {self.reason} in {self.function}{at}"


# `  ping-27825   [001] b.s1. 72624.308419: kfree_skb: skbaddr=0000… rx_sk=0000… protocol=2048
# location=ip_rcv_finish_core+0x25b/0x470 reason: IP_RPFILTER`, on one line.
_EVENT = re.compile(
    r" *(?P<task>.*\S) +\[(?P<cpu>\d+)\] \S+ +(?P<time>\d+\.\d+): (?P<name>\w+)(?:: |\()(?P<words>.*)"
)
_POINT = re.compile(r"dev=(?P<device>\S+) .*?skbaddr=(?P<address>\S+)")
_DROP = re.compile(
    r"skbaddr=(?P<address>\S+) .*location=(?P<location>\S+)(?: \[\w+\])? reason: (?P<reason>\w+)"
)
_LENGTH = re.compile(r"\blen(?:=|: )((?:0x)?[0-9a-f]+)\b")
_FUNCTION = re.compile(
    r"([A-Za-z_]\w*)"
)  # the compiler's .constprop.0, .isra.0 and the place behind it tell nothing

# Of a stack: what drops whatever it is given, and what tells of drops.
_OF_DROPPING = re.compile(
    r"(?:sk_)?(?:skb|kfree_skb)\w*(?:drop|reason|free)\w*|kfree_skb\w*|.*trace_?event.*|__trace\w+"
)

_SENDS = re.compile(r"(?:ping|raw)(?:_v[46]|v6)?_sendmsg")
_INTERRUPTS = re.compile(r".*softirq.*|net_rx_action|__napi_poll|process_backlog")

# Which function of a stack, from within, tells which hook ended it.
_HOOKS = (
    (re.compile(r"br_.*"), "bridge"),
    (re.compile(r"ip6?_forward|ip6?_forward_finish"), "forward"),
    (re.compile(r"ip_local_deliver|ip6_input"), "input"),
    (re.compile(r"ip_rcv|ipv6_rcv|ip_list_rcv|ipv6_list_rcv|ip_sabotage_in"), "prerouting"),
    (re.compile(r"ip6?_output|ip_mc_output"), "postrouting"),
    (re.compile(r"__ip6?_local_out|ip6_xmit|rawv6_sendmsg|raw_sendmsg"), "output"),
    (re.compile(r"__netif_receive_skb_core"), "ingress"),
    (re.compile(r"__dev_queue_xmit"), "egress"),
)
# Who drops what waits to be sent.
_SENDING = re.compile(
    r"__dev_queue_xmit|__dev_xmit_skb|dev_hard_start_xmit|sch_direct_xmit|__qdisc_run|net_tx_action"
)
_OF_TC = {"TC_INGRESS": "ingress", "TC_EGRESS": "egress"}


def drops(printed: str, spot: Spot, sent: Mapping[int, float]) -> Iterator[tuple[int, Dropped]]:
    """The drops of a spot's echoes, in events as the kernel prints them, each with the bytes of heads before the data.

    `sent` says of which sizes they are, and when each was not sent yet: what has one of before that is somebody else's.
    Each has a size of its own: what has that of one before it is so, too.
    """
    told = set[tuple[Echo, Dropped]]()
    for when, echo, dropped in _drops(printed, spot):
        if echo is None or when <= sent.get(echo.size, when) or (echo, dropped) in told:
            continue
        told.add((echo, dropped))
        yield echo.head, dropped


def _drops(printed: str, spot: Spot) -> Iterator[tuple[float, Echo | None, Dropped]]:
    """Each with its time and the echo, None where none of the spot's has that length."""
    seen: _Seen | None = None
    call: _Call | None = None
    for event, stack in _events(printed):
        when, cpu, task = float(event["time"]), event["cpu"], event["task"]
        if event["name"] == "sys_sendto":
            call = _Call(when, task, _echo(event, spot))
            continue
        if event["name"] != "kfree_skb":
            if (point := _POINT.match(event["words"])) is None:
                seen = None
                continue
            before, waits = seen, event["name"] == "net_dev_queue"
            came = not waits or (
                before is not None and before.came and before.is_same(point["address"], cpu, when)
            )
            during = "" if waits else task
            seen = _Seen(
                when, cpu, point["address"], point["device"], _echo(event, spot), came, waits, during
            )
            continue
        before, seen = seen, None  # its buffer may be anybody's from now on
        if (drop := _DROP.match(event["words"])) is None:
            continue
        if drop["reason"] == "NO_SOCKET" and not spot.hands_answers_on:
            continue  # so every answer to an echo ends that has come to who asked
        interface = None
        if (
            before is not None
            and before.is_same(drop["address"], cpu, when)
            and before.during in ("", task)
            and before.is_of(spot, stack)
        ):
            interface, echo = before.device, before.echo
        elif call is not None and call.task == task and when - call.when <= _AT_ONCE and _is_sent(stack):
            echo = call.echo
        else:
            continue
        function = _function(drop["location"], stack)
        hook = _hook(drop["reason"], stack)
        yield when, echo, Dropped(spot.host, spot.direction, interface, drop["reason"], function, hook)


@dataclass(frozen=True, slots=True)
class _Call:
    """That a task sent an echo, and when."""

    when: float
    task: str
    echo: Echo | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where a buffer was last; whether it `came` to the host before, and whether it `waits` to be sent.

    `during` is the task that it interrupted: what drops it as it arrives is called in the same interrupt. Nothing where
    it may be anybody, who takes it from a queue.
    """

    when: float
    cpu: str
    address: str
    device: str
    echo: Echo | None
    came: bool
    waits: bool
    during: str = ""

    def is_same(self, address: str, cpu: str, when: float) -> bool:
        return (self.address, self.cpu) == (address, cpu) and when - self.when <= _AT_ONCE

    def is_of(self, spot: Spot, stack: Sequence[str]) -> bool:
        """Whether the host of a spot can be who drops it."""
        if not (self.came or spot.is_sender):
            return False
        return not self.waits or any(map(_SENDING.fullmatch, _within(stack)))


def commonest(found: Iterator[tuple[int, Dropped]]) -> Dropped | None:
    """What most of them tell, with as many bytes of heads; None where that is one alone, or as many tell otherwise."""
    counted = Counter(found).most_common(2)
    others = counted[1][1] if counted[1:] else 1
    return counted[0][0][1] if counted and counted[0][1] > others else None


def latest(printed: str) -> float:
    """When the last of the events was, by the kernel's clock; 0 where there is none."""
    return max((float(event["time"]) for event, _ in _events(printed)), default=0.0)


def _events(printed: str) -> Iterator[tuple[re.Match[str], tuple[str, ...]]]:
    """Each event with the functions on its stack, the innermost first."""
    event: re.Match[str] | None = None
    stack: list[str] = []
    for line in printed.split("\n"):
        if line.startswith(" => "):
            stack += _FUNCTION.findall(line)[:1]
        elif (found := _EVENT.match(line)) is not None:
            if event is not None:
                yield event, tuple(stack)
            event, stack = found, []
    if event is not None:
        yield event, tuple(stack)


def _echo(event: re.Match[str], spot: Spot) -> Echo | None:
    """The echo of a spot that an event tells of: of a call the kernel prints the length in hex."""
    found = _LENGTH.search(event["words"])
    base = 16 if event["name"] == "sys_sendto" else 10
    return spot.echo(event["name"], int(found[1], base)) if found is not None else None


def _is_sent(stack: Sequence[str]) -> bool:
    """Whether a program was sending it, and was not just interrupted by a packet that came."""
    return any(map(_SENDS.fullmatch, stack)) and not any(map(_INTERRUPTS.fullmatch, stack))


def _within(stack: Sequence[str]) -> list[str]:
    """The functions of a stack up to where it interrupted what was under way."""
    return list(itertools.takewhile(lambda name: _INTERRUPTS.fullmatch(name) is None, stack))


def _function(location: str, stack: Sequence[str]) -> str:
    """Where it ended; some kernels print an address only, and on their stack who called to drop it."""
    if (named := _FUNCTION.match(location)) is not None and "+0x" in location:
        return named[1]
    return next((each for each in stack if not _OF_DROPPING.fullmatch(each)), location)


def _hook(reason: str, stack: Sequence[str]) -> str | None:
    """The hook of a filter or a program that ended it; none of what the kernel does by itself."""
    if reason in _OF_TC:
        return _OF_TC[reason]
    inner = _within(stack)
    if not any(
        each.startswith(("nf_hook", "nft_do_chain", "nf_queue", "ipt_do_table", "ip6t_do_table"))
        for each in inner
    ):
        return None
    for each in inner:
        for named, hook in _HOOKS:
            if named.fullmatch(each):
                return hook
    return None
