"""Send one new flow from a client, with what the client has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from crossnet.transport import Host
from crossnet.values import Address, Network, Probe, Protocol, contains, family_of

# Address resolution gives up after about 3 s (measured), so that a shorter wait would call it silence.
WAIT = 4  # seconds


class Reply(StrEnum):
    """What came back to the client."""

    ANSWERED = "answered"
    REFUSED = "refused"  # an answer too: the path works, nobody listens
    SILENT = "silent"
    NOT_SENT = "not-sent"
    UNKNOWN = "unknown"  # sent; this protocol promises no answer


@dataclass(frozen=True, slots=True)
class Sent:
    """A probe that was sent, or could not be; `detail` is what the client's tool said."""

    probe: Probe
    reply: Reply
    detail: str = ""


# ping(8): with -c and -w it sends one a second until one is answered or the deadline is over.
_PING = 'exec ping -n -q -c 1 -w "$2" "$1"'

# A connection by bash where there is one, else by nc; 70 says that neither is there.
_TCP = r"""
if command -v bash >/dev/null && command -v timeout >/dev/null; then
    exec timeout "$3" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2"
fi
command -v nc >/dev/null || exit 70
exec nc -z -w "$3" "$1" "$2"
"""
_UDP = r"""
if command -v bash >/dev/null; then
    exec bash -c 'printf crossnet >"/dev/udp/$0/$1"' "$1" "$2"
fi
command -v nc >/dev/null || exit 70
printf crossnet | exec nc -u -w 1 "$1" "$2"
"""
_NO_TOOL = 70


async def send(host: Host, probe: Probe) -> Sent:
    """Send a probe and say what came back."""
    target = str(probe.destination)
    if probe.protocol is Protocol.ICMP:
        answer = await host.run(["sh", "-c", _PING, "sh", target, str(WAIT)], timeout=WAIT + 5)
    else:
        script = _TCP if probe.protocol is Protocol.TCP else _UDP
        words = [target, str(probe.port), str(WAIT)]
        answer = await host.run(["sh", "-c", script, "sh", *words], timeout=WAIT + 5)
    said = (answer.error_text or answer.text).strip()
    detail = said.splitlines()[-1] if said else ""
    if answer.returncode in (_NO_TOOL, 127):
        return Sent(probe, Reply.NOT_SENT, f"no tool on {host.name} can send {probe}")
    if "unreachable" in said and "etwork" in said and answer.returncode != 0:
        return Sent(probe, Reply.NOT_SENT, detail)
    if answer.ok:
        return Sent(probe, Reply.UNKNOWN if probe.protocol is Protocol.UDP else Reply.ANSWERED)
    if "refused" in said:
        return Sent(probe, Reply.REFUSED, detail)
    return Sent(probe, Reply.SILENT, detail)


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
