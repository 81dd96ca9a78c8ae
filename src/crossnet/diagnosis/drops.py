"""Ask a host's kernel itself why it drops a flow's packets: its drop events, in a trace instance of our own.

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

import asyncio
import itertools
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from crossnet.diagnosis.finding import Direction
from crossnet.transport import Host
from crossnet.transport.following import Following

_MOST_SECONDS = 10  # for which the instance stands, whatever becomes of us
_ARMED = 2.0  # seconds in which it stands, also on a busy host, else nothing is told
_AT_ONCE = 0.002  # seconds from an arrival to its drop: a buffer is used again for somebody else's packet

_ETHERNET = 14  # bytes in front of an IP packet where it waits to be sent; some links have none
_TAG = 4  # bytes of a VLAN that may still be in it
_ICMP = 8  # bytes of its head

# Where no tracefs is in sight, one is mounted for this command alone, in a mount namespace of its own. The older place
# below debugfs is not looked at: to look at it would mount it for all (an automount).
_PLACE = r"""
script=$1 place=/sys/kernel/tracing
shift
[ ! -w "$place/instances" ] || exec sh -c "$script" sh "$place" "$@"
grep -q tracefs /proc/filesystems || { echo 'cannot kernel it has no tracefs'; exit; }
command -v unshare >/dev/null || { echo 'cannot tool tracefs is not mounted, and unshare is missing'; exit; }
unshare -m true || { echo 'cannot right no mount namespace can be made'; exit; }
exec unshare -m sh -c '
    mount --make-rprivate / && mount -t tracefs tracefs "$3" && exec sh -c "$@"
    echo "cannot right tracefs cannot be mounted"
' sh "$script" sh "$place" "$@"
"""

# What is read of the ring is joined here already: of others' drops nothing leaves the host. Where one is dropped, the
# event of its arrival is printed, that of its drop, and the functions on the way to it.
_JOIN = r"""
/^ => / { if (told) print; next }
{ told = 0 }
! match($0, / \[[0-9]+\] /) { next }
{
    cpu = substr($0, RSTART, RLENGTH); task = substr($0, 1, RSTART)
    address = $0; sub(/.* skbaddr=/, "", address); sub(/ .*/, "", address)
}
/ sys_sendto\(/ { calls[task] = $0; ours[cpu] = 0; next }
/ netif_receive_skb: dev=/ { seen[address] = $0; during[address] = task; ours[cpu] = 0; next }
/ net_dev_queue: dev=/ {
    seen[address] = address in seen ? seen[address] RS $0 : $0
    during[address] = ""; ours[cpu] = 0
    next
}
/ kfree_skb: skbaddr=/ {
    if (address in seen && during[address] != "" && during[address] != task) delete seen[address]
    ours[cpu] = (address in seen || task in calls) && number++ < 16
    if (ours[cpu]) { if (task in calls) print calls[task]; if (address in seen) print seen[address]; print }
    delete seen[address]
    next
}
/ <stack trace>/ { told = ours[cpu]; ours[cpu] = 0 }
"""

# The instance is removed by two who watch each other: a janitor, when the pipe from who works ends, however that one
# ended, and who works when nobody reads that pipe any more. Who works ends when nobody reads standard error, as is so
# when crossnet is gone. What is left of both being killed goes with the next question: while it is in use a file of it
# is open, and the kernel removes none of those (EBUSY).
#
# The drop event is switched on by an arrival, so that drops of others do not fill the ring before.
_SCRIPT = r"""
place=$1 name=$2 turns=$3 protocol=$4 received=$5 queued=$6 sent=$7 join=$8
event=events/skb/kfree_skb call=events/syscalls/sys_enter_sendto
cannot() { echo "cannot $*"; exit; }
command -v awk >/dev/null || cannot tool 'awk is missing'
grep -q ' reason;' "$place/$event/format" 2>/dev/null ||
    cannot kernel 'it gives no reason for what it drops (Linux 5.17 does)'
[ -z "$sent" ] || [ -d "$place/$call" ] || cannot kernel 'it tells of no system calls'
digits=[0-9a-f][0-9a-f][0-9a-f][0-9a-f] # others may have names that begin like ours
for old in "$place"/instances/crossnet_drops_$digits$digits; do rmdir "$old" 2>/dev/null; done
instance=$place/instances/$name
remove='
    tries=40
    until rmdir "$1" 2>/dev/null || [ ! -d "$1" ] || [ "$tries" = 0 ]; do
        tries=$((tries - 1))
        sleep 0.05 2>/dev/null || sleep 1
    done
'

# No packet that is to be sent on ends so.
noise() {
    tr '{' '\n' <"$place/$event/format" |
        sed -n 's/^ *\([0-9][0-9]*\), *"\([A-Z]*\)_.*/\1 \2/p' |
        while read -r number word; do
            case $word in TCP | SOCKET | UNIX) printf ' && reason != %s' "$number" ;; esac
        done
}

# Who asks at the same moment takes it for left behind until a file of it is open; each of them does so once. While that
# is under way, which takes a while on a busy machine, the name is taken still, and is not there any more when it is
# looked at: so one refusal tells nothing.
make() {
    others=40 refusals=5
    until command exec 6<"$instance/tracing_on"; do
        if ! mkdir "$instance" 2>/dev/null; then
            [ -d "$instance" ] || refusals=$((refusals - 1))
            sleep 0.05 2>/dev/null || sleep 1
        fi
        others=$((others - 1))
        [ "$others" -gt 0 ] && [ "$refusals" -gt 0 ] || return
    done
}

arm() {
    make 2>/dev/null && cd "$instance" &&
        echo 256 >buffer_size_kb && echo 1 >options/stacktrace &&
        echo "$received" >events/net/netif_receive_skb/filter &&
        echo "$queued" >events/net/net_dev_queue/filter && echo "$dropped" >$event/filter || return
    if [ -n "$sent" ]; then
        echo "$sent" >$call/filter && echo 1 >$call/enable && echo 1 >$event/enable || return
    elif ! echo "enable_event:skb:kfree_skb if $received" >events/net/netif_receive_skb/trigger ||
        ! echo "enable_event:skb:kfree_skb if $queued" >events/net/net_dev_queue/trigger; then
        echo 1 >$event/enable || return
    fi
    echo 1 >events/net/netif_receive_skb/enable && echo 1 >events/net/net_dev_queue/enable
}

work() {
    trap '' PIPE
    trap turns=0 HUP INT TERM
    dropped="protocol == $protocol$(noise)${sent:+ && comm == \"ping\"}"
    if arm; then
        echo armed
        before=
        while [ "$turns" -gt 0 ] && kill -0 $$ && echo >&2 && echo >&3; do
            said=$(awk "$join" trace 3>&- 6<&-)
            [ "$said" = "$before" ] || printf '%s\n--\n' "$said"
            before=$said
            sleep 0.05 >/dev/null 2>&1 3>&- 6<&- || [ "$turns" = 0 ] ||
                { sleep 1 >/dev/null 2>&1 3>&- 6<&-; turns=$((turns - 19)); }
            turns=$((turns - 1))
        done
    else
        echo 'cannot right its trace instance cannot be made'
    fi
    exec 6<&-
    cd /
    sh -c "$remove" sh "$instance" 3>&-
}

janitor="trap '' HUP INT TERM; while read -r _; do :; done; cd /; $remove"
apart=
! command -v setsid >/dev/null || apart=setsid
exec 4>&1
work 3>&1 >&4 4>&- | $apart sh -c "$janitor" sh "$instance"
"""


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
        return _any("len", self._lengths("sys_sendto"))

    def echo(self, event: str, length: int) -> Echo | None:
        """Which of them has the length that an event of this name tells; None where none has."""
        return self._lengths(event).get(length)

    def _filter(self, names: Sequence[str], event: str) -> str:
        known = " || ".join(f'name == "{name}"' for name in names)
        # No packet is shorter than its head: where there is no such interface, none is meant.
        return f"({_any('len', self._lengths(event))}) && ({known or 'len < 1'})"

    def _lengths(self, event: str) -> dict[int, Echo]:
        """The lengths that an event of this name may tell of each."""
        ip = 40 if self.v6 else 20
        before = {
            "sys_sendto": (0,),
            "netif_receive_skb": (ip, ip + _TAG),
            "net_dev_queue": (ip, ip + _TAG, ip + _ETHERNET, ip + _ETHERNET + _TAG),
        }
        return {each + _ICMP + head: Echo(each, head) for each in self.echoes for head in before[event]}


def _any(field: str, values: Collection[int]) -> str:
    return " || ".join(f"{field} == {value}" for value in sorted(values))


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


@dataclass(frozen=True, slots=True)
class Untold:
    """That a host's kernel cannot be asked: what is `lacking` (`right`, `kernel` or `tool`), and why in words."""

    host: str
    lacking: str
    words: str

    def __str__(self) -> str:
        return f"{self.host}: its kernel cannot be asked why it drops packets: {self.words}"


class Dropping:
    """The drop events of one host, from `start` to `stop`; `found` is why it dropped the echoes."""

    def __init__(self, host: Host, spot: Spot) -> None:
        self.name = f"crossnet_drops_{secrets.token_hex(4)}"
        self.found: Dropped | None = None  # once two have ended so
        self.unable: Untold | None = None
        self._spot = spot
        self._sent: dict[int, float] = {}  # since when, by the clock of the events
        self._last = 0.0
        self._armed = asyncio.Event()
        words = [self.name, str(_MOST_SECONDS * 20), str(0x86DD if spot.v6 else 0x800)]
        words += [spot.received(), spot.queued(), spot.sent() if spot.is_sender else "", _JOIN]
        self._following = Following(host, ["sh", "-c", _PLACE, "sh", _SCRIPT, *words], self._read)
        self.over = self._following.over  # when there is one, or none can come
        self.stop = self._following.stop

    async def start(self) -> None:
        """Until it is armed, or known that it cannot be."""
        await self._following.start()
        try:
            async with asyncio.timeout(_ARMED):
                await self._armed.wait()
        except TimeoutError:
            self.over.set()

    def sends(self, echoes: Collection[int]) -> None:
        """These are sent from now on: what is dropped of another length is somebody else's."""
        self._sent.update(dict.fromkeys(echoes, self._last))

    async def _read(self, lines: AsyncIterator[str]) -> None:
        try:
            await self._take(lines)
        finally:
            self._armed.set()

    async def _take(self, lines: AsyncIterator[str]) -> None:
        told: list[str] = []  # what is in the ring now
        async for line in lines:
            if said := _CANNOT.fullmatch(line):
                self.unable = Untold(self._spot.host, said[1], said[2])
                return
            if line == "armed":
                self._armed.set()
            elif line != "--":
                told.append(line)
            else:
                printed = "\n".join(told)
                self.found = commonest(drops(printed, self._spot, self._sent))
                if self.found is not None:
                    return
                self._last = max((float(event["time"]) for event, _ in _events(printed)), default=self._last)
                told = []


_CANNOT = re.compile(r"cannot (\w+) (.*)")

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
