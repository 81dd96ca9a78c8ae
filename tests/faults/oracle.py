"""What is asked after every fault: whether a host is as before or as planned, and nothing is left over."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from crossnet.lab.fingerprint import Fingerprint, fingerprint
from crossnet.transport.lab import LabHost
from lab.crossing import Bench

OLD, NEW = "OLD", "NEW"

_COUNTS = "CROSSNET_FAULT_COUNTS"
_PATIENCE = 20.0  # seconds for processes to end by themselves: a watcher looks once a second

# Things of somebody else, of every kind that crossnet makes; as boot lines of a topology they are there
# again after a reboot.
SENTINELS = (
    "nft 'add table ip foreign; add chain ip foreign watch { type filter hook forward priority 10; }; "
    'add rule ip foreign watch ip daddr 192.0.2.1 counter drop comment "foreign"\'',
    "iptables -N foreign; iptables -A foreign -d 192.0.2.2 -j DROP; iptables -A FORWARD -j foreign",
    "ip route add blackhole 192.0.2.0/24 proto static; ip rule add to 192.0.2.0/24 priority 777 table main",
    "sysctl -q -w net.ipv4.conf.all.log_martians=1",
    "mkdir -p /etc/sysctl.d; echo 'net.ipv4.conf.all.log_martians = 1' > /etc/sysctl.d/50-foreign.conf",
    "mkdir -p /var/lib/foreign; echo theirs > /var/lib/foreign/file; chmod 640 /var/lib/foreign/file",
)
_SEEN = ("foreign", "192.0.2.0/24", "log_martians = 1", "50-foreign.conf", "/var/lib/foreign/file", "777:")

# What may lie in /var/lib/crossnet: where nothing is applied, and where something is.
_KEPT = {
    OLD: ("history",),
    NEW: ("applied.json", "verified.json", "drill", "history", "host-"),
}

_OURS = "/var/lib/crossnet"

_LEFT = r"""
cd /
for place in /proc/[0-9]*; do
    words=$(tr '\0' ' ' 2>/dev/null <"$place/cmdline" | cut -c 1-200 | head -n 1)
    case ${place#/proc/} in 1 | $$) ;; *) [ -z "$words" ] || echo "process $words" ;; esac
done
find /etc -name '*.crossnet' | sed 's/^/file /'
[ ! -d /var/lib/crossnet ] || ls -A /var/lib/crossnet | sed 's/^/kept /'
ls /var/lib/crossnet/drill 2>/dev/null | grep -v -e '^proof$' -e '^timer' -e '^watch$' | sed 's/^/file drill /'
cut -f 2 /var/lib/crossnet/history 2>/dev/null | uniq -d | sed 's/^/twice in the history /'
"""


def count(kind: str, points: int = 1) -> None:
    """Note how many points of one kind were tried, for the sum that `scripts/faults` prints."""
    if _COUNTS in os.environ:
        with open(os.environ[_COUNTS], "a", encoding="utf-8") as file:
            file.write(f"{kind}\t{points}\n")


class Broken(AssertionError):
    """A host that kept its promise in neither way."""


@dataclass(frozen=True, slots=True)
class Oracle:
    """Knows how each host is before a change (OLD) and after it (NEW), from a clean run of it.

    `before` and `after` are fingerprints of all hosts of the lab; `processes` are those that run there anyway.
    """

    bench: Bench
    before: Mapping[str, Fingerprint]
    after: Mapping[str, Fingerprint]
    processes: frozenset[str] = frozenset()

    @classmethod
    def at(cls, bench: Bench, before: Mapping[str, Fingerprint]) -> Oracle:
        """Call it when the change was made and all is quiet; `before` is as the hosts were before that."""
        after = {host: _without_stamps(bench, host, one) for host, one in bench.fingerprints().items()}
        oracle = cls(bench, before, after)
        running = [line for host in before for line in oracle.left(host) if line.startswith("process ")]
        return cls(bench, before, oracle.after, frozenset(running))

    def is_old(self, host: str) -> bool:
        return not self.problems(host, OLD)

    def is_new(self, host: str) -> bool:
        return not self.problems(host, NEW)

    def check(self, host: str, expected: str | None = None, *, told: object = "") -> str:
        """OLD or NEW, with nothing left over; Broken when it is neither, or another one than expected."""
        candidates = [OLD, NEW] if expected is None else [expected]
        found = {state: self.problems(host, state) for state in candidates}
        for state, problems in found.items():
            if not problems:
                return state
        lines = [f"{state}: {line}" for state, problems in found.items() for line in problems[:12]]
        raise Broken(f"{host} is not {' or '.join(found)}\n{told}\n" + "\n".join(lines))

    def problems(self, host: str, state: str) -> list[str]:
        """What keeps a host from being in a state."""
        expected = {OLD: self.before, NEW: self.after}[state][host]
        left = self._when_quiet(host)
        # The folder's content is asked for by name: what is told of the drill and the proof differs each time.
        strange = [
            line
            for line in left
            if not line.startswith("kept ") or not line.removeprefix("kept ").startswith(_KEPT[state])
        ]
        found = asyncio.run(fingerprint(LabHost(host, self.bench.lab.socket(host))))
        now = _without_stamps(self.bench, host, found)
        differences = [
            line
            for line in _by_chain(expected).differences(_by_chain(now))
            if _OURS not in line or f"{_OURS}/applied.json" in line
        ]
        return strange + differences

    def _when_quiet(self, host: str) -> list[str]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            left = [line for line in self.left(host) if line not in self.processes]
            if not any(line.startswith("process ") for line in left) or time.monotonic() > deadline:
                return left
            time.sleep(0.05)

    def left(self, host: str) -> list[str]:
        """Processes, and what lies where crossnet writes, a line each."""
        return self.bench.check(host, _LEFT).splitlines()


def _without_stamps(bench: Bench, host: str, found: Fingerprint) -> Fingerprint:
    """The same with the digest of a record that does not tell who applied something, when, and beside whom."""
    path = f"{_OURS}/applied.json"
    text = bench.run(host, f"cat {path} 2>/dev/null").text
    try:
        record = json.loads(text)
    except ValueError:  # there is none, or it is damaged: its own digest says so
        return found
    record.pop("sha256", None)
    for crossing in record.get("crossings", ()):
        if isinstance(crossing, dict):
            for name in ("who", "when", "source", "message"):
                crossing.pop(name, None)
    for owned in record.get("owned", ()):
        if isinstance(owned, dict) and isinstance(owned.get("applied"), dict):
            owned["applied"].pop("summary", None)
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    contents = (
        f"{digest}  {path}" if line.endswith(f"  {path}") else line for line in found.sections["contents"]
    )
    return Fingerprint({**found.sections, "contents": tuple(sorted(contents))})


def _by_chain(found: Fingerprint) -> Fingerprint:
    """The rules of a chain stay in order; which chain was made first does not matter."""

    def chain(line: str) -> tuple[str, ...]:
        kind, body = json.loads(line)
        name = body.get("name", "")
        return (body["family"], body.get("table", name), body.get("chain", name), kind)

    return Fingerprint({**found.sections, "nftables": tuple(sorted(found.sections["nftables"], key=chain))})


def put_sentinels(bench: Bench, host: str) -> None:
    """Foreign things on a host, where its topology did not put them there at its boot."""
    for line in SENTINELS:
        bench.check(host, line)
    assert_sentinels(bench, host)


def assert_sentinels(bench: Bench, host: str) -> None:
    """Whether the foreign things are in the fingerprint, so that the oracle would miss them."""
    found = asyncio.run(fingerprint(LabHost(host, bench.lab.socket(host))))
    text = "\n".join(line for lines in found.sections.values() for line in lines)
    missing = [word for word in _SEEN if word not in text]
    assert not missing, f"{host} has no {missing} in its fingerprint"
