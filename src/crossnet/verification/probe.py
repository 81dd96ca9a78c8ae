"""Send new flows from a client, with what the client has; all at the same time and with one command."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from crossnet.facts.question import Unanswered, door
from crossnet.transport import Host
from crossnet.transport.following import Following
from crossnet.values import Address, Network, Probe, Protocol, contains, family_of

# Address resolution gives up after about 3 s (measured), so that a shorter wait would call it silence.
WAIT = 4  # seconds


class Reply(StrEnum):
    """What came back to the client."""

    ANSWERED = "answered"
    REFUSED = "refused"  # an answer too: the path works, nobody listens
    SILENT = "silent"
    NOT_SENT = "not-sent"  # the client's kernel had no way for it, or its own rules did not let it out
    NO_TOOL = "no-tool"  # nothing on the client can send it, or may
    UNKNOWN = "unknown"  # sent; this protocol promises no answer


@dataclass(frozen=True, slots=True)
class Sent:
    """A probe that was sent, or could not be; `detail` is what the client's tool said."""

    probe: Probe
    reply: Reply
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """What became of probes to several addresses; `answered` is the first one that did."""

    asked: tuple[Address, ...]
    answered: Address | None
    could_send: bool


# After the seconds to wait and a boundary come three words for each task: `icmp ADDRESS -`, `tcp ADDRESS PORT`,
# `udp ADDRESS PORT` or `first_of ADDRESSES -`. When a task is done each line that it has said is printed behind the
# boundary and its number, and then its exit code; 70 says that there is no tool for it. Lines of several tasks may
# mix: bash writes each by itself.
_TASKS = r"""
wait=$1 boundary=$2
shift 2

# ping(8): with -c and -w it sends one a second until one is answered or the deadline is over.
# That of busybox sends one, and without -W waits ten seconds for its answer whatever -w says (1.35, measured).
icmp() {
    command -v ping >/dev/null || return 70
    ping -n -q -c 1 -w "$wait" -W "$wait" "$1"
}

# What is still at it after so many seconds is ended, with 124. Not by timeout(1): some hosts have none, and that of
# busybox took another syntax until 1.30. Of a process that has ended and was not waited for there is no program.
for_at_most() { # SECONDS COMMAND…
    left=$(($1 * 50)) nap=0.02
    shift
    exec 3<&0 # of what runs beside, sh makes /dev/null of standard input
    "$@" <&3 3<&- &
    started=$!
    while [ -e "/proc/$started/exe" ] && [ "$left" -gt 0 ]; do
        if sleep "$nap" 2>/dev/null; then left=$((left - 1)); else sleep 1 && left=$((left - 50)); fi
    done
    [ "$left" -gt 0 ] || kill "$started" 2>/dev/null
    wait "$started" 2>/dev/null
    code=$?
    [ "$left" -gt 0 ] || return 124
    return $code
}

# One echo of so many bytes of data, and one that must not be cut on its way; some take no word for that and do so by
# themselves (busybox: its socket is a raw one, of which the kernel sets DF).
# That the kernel does not send it ping tells when it would send the next one.
echo_of() {
    command -v ping >/dev/null || return 70
    ping -n -q -c 1 -W "$wait" -s "$2" "$1"
}
whole() {
    command -v ping >/dev/null || return 70
    said=$(ping -n -c 1 -i 0.2 -W "$wait" -s "$2" -M do "$1" 2>&1)
    code=$?
    case $said in *[Uu]sage:* | *option*) echo_of "$1" "$2"; return ;; esac
    echo "$said"
    return $code
}

sized() {
    whole "$@"
}

# Echoes for a neighbour on one interface, whatever routes and policy rules say. With -r the kernel looks at routes
# without a next hop only, and where none takes the address for a neighbour on the interface that -I names
# (ip_route_output_key_hash_rcu); not so with IPv6. Other programs than that of iputils do not know -r. Three, because
# one that is lost says nothing.
foreign() { # ADDRESS "BYTES DEVICE [SOURCE]"
    command -v ping >/dev/null || return 70
    # Not by `read` of a here-document: bash before 5.1 writes those to files, and a disk may be full.
    size=${2%% *} device=${2#* }
    source=${device#"${device%% *}"} device=${device%% *}
    source=${source# } past=-r
    case $1 in *:*) past=-n ;; esac
    said=$(ping -n -q -c 3 -i 0.2 -W "$wait" "$past" -s "$size" -I "$device" ${source:+-I "$source"} "$1" 2>&1)
    code=$?
    case $said in *[Uu]sage:* | *option*) return 70 ;; esac
    echo "$said"
    return $code
}
near() {
    foreign "$@"
    code=$?
    [ $code -eq 70 ] || return $code
    size=${2%% *} device=${2#* }
    ping -n -q -c 1 -W "$wait" -s "$size" -I "${device%% *}" "$1"
}

# A connection by bash where there is one, else by nc: that of OpenBSD tells only with -v why there is none, and that of
# busybox has no -z, but ends with a program that it runs when it is connected.
tcp() {
    if command -v bash >/dev/null; then
        for_at_most "$wait" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2"
        return
    fi
    command -v nc >/dev/null || return 70
    by_nc -v -z -w "$wait" "$1" "$2"
    code=$?
    [ $code -eq 70 ] || return $code
    by_nc -w "$wait" "$1" "$2" -e true
}

udp() {
    if command -v bash >/dev/null; then
        bash -c 'printf crossnet >"/dev/udp/$0/$1"' "$1" "$2"
    else
        command -v nc >/dev/null || return 70
        printf crossnet | by_nc -u -w 1 "$1" "$2"
        code=$?
        [ $code -eq 124 ] || return $code # it was sent, and some wait for an answer for ever
    fi
}

by_nc() { # WORD…: 70 where this nc does not know one of them
    said=$(for_at_most "$wait" nc "$@" 2>&1)
    code=$?
    case $said in *[Uu]sage:*) return 70 ;; esac
    echo "$said"
    return $code
}

# The first answer ends the other pings: they would go on to send what the gateway then counts.
first_of() {
    command -v ping >/dev/null || return 70
    {
        for target in $1; do
            ping -n -c 1 -w "$wait" -W "$wait" "$target" 2>&1 &
            echo "started $!"
        done
        wait
    } | {
        started= answer=
        while read -r line; do
            case $line in
                "started "*) started="$started ${line#started }" ;;
                *" bytes from "*) answer=${answer:-$line} ;;
                *) [ -n "$answer" ] || echo "$line" ;;
            esac
            [ -z "$answer" ] || { kill $started 2>/dev/null; started=; }
        done
        [ -z "$answer" ] || echo "$answer"
        [ -n "$answer" ]
    }
}

number=0
while [ $# -gt 0 ]; do
    (
        said=$("$1" "$2" "$3" 2>&1 </dev/null)
        code=$?
        set -f
        IFS='
'
        for line in $said; do printf '%s %s: %s\n' "$boundary" "$number" "$line"; done
        printf '%s %s %s\n' "$boundary" "$number" "$code"
    ) &
    number=$((number + 1))
    shift 3
done
wait
"""
_NO_TOOL = (70, 127)
_BY_A_SIGNAL = 128  # and its number; a tool that is ended has seen nothing (sh(1))
_MOST_LINES, _LONGEST = 100, 1000  # of what one tool says, and characters of a line


async def send(host: Host, probes: Sequence[Probe]) -> list[Sent]:
    """Send all probes at the same time and say what came back, in their order."""
    answers = await _carry_out(
        host,
        [(str(probe.protocol), str(probe.destination), str(probe.port or "-")) for probe in probes],
    )
    return [sent(host.name, probe, *answer) for probe, answer in zip(probes, answers, strict=True)]


class Sending:
    """Probes on their way: what became of each comes as it becomes known.

    `tasks` are as the script takes them: `echo_of ADDRESS BYTES`, `whole ADDRESS BYTES`, `tcp ADDRESS PORT`,
    `udp ADDRESS PORT`. `ended` grows: the number of a task, its exit code and the words of its tool.
    """

    def __init__(self, host: Host, tasks: Sequence[tuple[str, str, str]]) -> None:
        self.host, self.tasks = host, tasks
        self.ended: dict[int, tuple[int, str]] = {}
        self.news = asyncio.Event()
        self._boundary = f"--crossnet-{secrets.token_hex(8)}"
        words = [word for task in tasks for word in task]
        argv = ["sh", "-c", _TASKS, "sh", str(WAIT), self._boundary, *words]
        self._following = Following(host, argv, self._read)
        self.start = self._following.start
        self.stop = self._following.stop  # what is still waiting for an answer ends

    @property
    def is_over(self) -> bool:
        return len(self.ended) == len(self.tasks) or self._following.over.is_set()

    @property
    def failed(self) -> str:
        """Why nothing more comes of the host."""
        return str(self._following.failed or "")

    async def _read(self, lines: AsyncIterator[str]) -> None:
        said: dict[int, list[str]] = {}
        try:
            async for line in lines:
                answer = _answer(line, self._boundary, said)
                if answer is not None and answer[0] < len(self.tasks):
                    self.ended[answer[0]] = answer[1]
                    self.news.set()
        finally:
            self.news.set()


async def search(host: Host, groups: Sequence[Sequence[Address]]) -> list[Search]:
    """Which address of each group is the first to answer an echo; all of them are asked at the same time."""
    answers = await _carry_out(
        host, [("first_of", " ".join(str(target) for target in group), "-") for group in groups]
    )
    return [_found(group, *answer) for group, answer in zip(groups, answers, strict=True)]


async def connect(host: Host, groups: Sequence[tuple[Sequence[Address], int]]) -> list[Search]:
    """The same with connections to a port of each group; who refuses one is up too, where nobody accepts."""
    probes = [Probe(Protocol.TCP, target, port) for group, port in groups for target in group]
    sent = iter(await send(host, probes))
    found = []
    for group, _ in groups:
        ends = [next(sent) for _ in group]
        answered = [one for reply in (Reply.ANSWERED, Reply.REFUSED) for one in ends if one.reply is reply]
        could_send = not all(one.reply in (Reply.NOT_SENT, Reply.NO_TOOL) for one in ends)
        found.append(Search(tuple(group), answered[0].probe.destination if answered else None, could_send))
    return found


async def _carry_out(host: Host, tasks: Sequence[tuple[str, str, str]]) -> list[tuple[int, str]]:
    """Exit status and words of each task, with one command on the host."""
    boundary = f"--crossnet-{secrets.token_hex(8)}"
    words = [word for task in tasks for word in task]
    completed = await host.run(["sh", "-c", _TASKS, "sh", str(WAIT), boundary, *words], timeout=WAIT + 5)
    with door(host.name, f"sent {len(tasks)} probes", completed.stdout):
        said: dict[int, list[str]] = {}
        answers = dict(
            answer
            for line in completed.text.split("\n")
            if (answer := _answer(line, boundary, said)) is not None
        )
        if answers.keys() != set(range(len(tasks))):
            raise Unanswered(
                f"got {len(answers)} results, then: {completed.error_text.strip()[-300:] or 'nothing'}",
                "Check that `sh` on the host is a POSIX shell and that the account may run commands.",
            )
    return [answers[number] for number in range(len(tasks))]


def _answer(line: str, boundary: str, said: dict[int, list[str]]) -> tuple[int, tuple[int, str]] | None:
    """The number of a task that is done, with its exit status and words; `said` is what each has printed so far."""
    found = re.fullmatch(rf"{boundary} ([0-9]{{1,9}})(?:: (.*)| ([0-9]{{1,3}}))", line)
    if found is None:
        return None
    lines = said.setdefault(int(found[1]), [])
    if found[3] is not None:
        return int(found[1]), (int(found[3]), "\n".join(lines).strip())
    lines.append(found[2][:_LONGEST])
    del lines[:-_MOST_LINES]
    return None


_TOLD = re.compile(r"message too long|nreachable|No route to host|ot permitted|xceeded|rag needed")


def sent(host: str, probe: Probe, code: int, said: str) -> Sent:
    """What the exit code and the words of a tool mean."""
    # bash names itself, its line and its own path for the connection before what the kernel said; ping says what it
    # was told, and statistics behind that.
    lines = [line for line in said.splitlines() if _TOLD.search(line)] or said.splitlines()[-1:]
    detail = re.sub(r"^\S+: line \d+: (/dev/(tcp|udp)/\S+: )?", "", lines[0]) if lines else ""
    if code in _NO_TOOL:
        return Sent(probe, Reply.NO_TOOL, f"{host} has no tool to send {probe}")
    if code == 0:
        return Sent(probe, Reply.UNKNOWN if probe.protocol is Protocol.UDP else Reply.ANSWERED)
    if code > _BY_A_SIGNAL:
        words = f"what should send {probe} on {host} was ended by signal {code - _BY_A_SIGNAL}"
        return Sent(probe, Reply.NO_TOOL, words)
    if _no_right(said):
        return Sent(probe, Reply.NO_TOOL, f"crossnet's account on {host} may not send {probe}: {detail}")
    if _no_way(said) or _not_let_out(said):
        return Sent(probe, Reply.NOT_SENT, detail)
    if "refused" in said:
        return Sent(probe, Reply.REFUSED, detail)
    return Sent(probe, Reply.SILENT, detail)


def _found(group: Sequence[Address], code: int, said: str) -> Search:
    """ping(8) prints `64 bytes from ADDRESS: …` of an answer."""
    answered = next((target for target in group if f" bytes from {target}: " in said), None)
    could_send = (
        code not in _NO_TOOL
        and code < _BY_A_SIGNAL
        and not any(what(said) for what in (_no_way, _no_right, _not_let_out))
    )
    return Search(tuple(group), answered, could_send)


def _no_way(said: str) -> bool:
    """Whether the client's kernel had no route for it."""
    return "unreachable" in said and "etwork" in said


def _no_right(said: str) -> bool:
    """Whether the account may not open a raw socket: the words of iputils' ping, of busybox's and of inetutils'."""
    words = (
        "socket: Operation not permitted",
        "socket: Permission denied",
        "are you root?",
        "Lacking privilege",
    )
    return any(each in said for each in words)


def _not_let_out(said: str) -> bool:
    """Whether a rule at the client's output hook dropped it: who sends hears of that as EPERM."""
    return "Operation not permitted" in said


def candidates(destination: Network, neighbours: Sequence[Address], most: int = 8) -> tuple[Address, ...]:
    """Hosts of a destination that may answer an echo: those the gateway knows, then the first addresses."""
    known = [item for item in neighbours if contains(destination, item)]
    if family_of(destination) == 6 and not known and destination.num_addresses > 2**16:
        first = 1
        return tuple(destination[first + index] for index in range(most // 2))
    usual = [
        destination[index]
        for index in range(0 if destination.num_addresses < 4 else 1, min(most, destination.num_addresses))
    ]
    return tuple(dict.fromkeys([*known[: most // 2], *usual]))[:most]
