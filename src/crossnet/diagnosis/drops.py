"""Ask a host's kernel itself why it drops a flow's packets: its drop events, in a trace instance of our own."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from crossnet.diagnosis.drop_events import Dropped, Spot, commonest, drops, latest
from crossnet.transport import Host
from crossnet.transport.following import Following

_MOST_SECONDS = 10  # for which the instance stands, whatever becomes of us
_ARMED = 2.0  # seconds in which it stands, also on a busy host, else nothing is told

_CANNOT = re.compile(r"cannot (\w+) (.*)")

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
                self._last = max(self._last, latest(printed))
                told = []
