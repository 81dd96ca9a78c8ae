"""What `crossnet diagnose` finds out about broken paths, and what ping, traceroute, mtr, tcptraceroute and nft do.

The faults are those of a catalogue: a folder with `faults.jsonl`, one broken thing in a healthy path of client, gateway
and target in each row, and with `bench.py`, which builds the path, breaks it and judges crossnet's verdict. Each tool
gets each fault on a path that was built and broken for it alone, so that no other tool has warmed its caches or used up
the errors that a kernel sends in a second. crossnet and the builders take turns; the others mostly wait, so several do
at the same time.

The same four questions are asked of all: does it say whether the target can be reached (`reach`), at which host it
stops (`place`), why (`cause`), and a command that mends it (`fix`: it is run, and the path heals)? A control, in which
nothing is wrong, is a false alarm when a tool says anything but that the target can be reached. What the others print
is read as by somebody who knows the addresses of client and gateway, and in doubt in their favour:

* `ping` (3 echoes; where only full-sized packets suffer, 2 of them with DF as well): reachable when all are answered,
  ambiguous when some are. An ICMP error locates at who sent it: the client, the gateway or what is behind it; a refusal
  of the client's own kernel, at the client. Errors name a cause where they say so: `Net Unreachable` a missing or
  unreachable route, `Host Unreachable` the same or a neighbour that does not answer, `Port Unreachable` and
  `prohibited` a rule that rejects, `Time to live exceeded` and `Frag needed` themselves, the gateway's `Redirect` a
  route that leads elsewhere, any error of another router in the client's network the wrong next hop. So do errors of
  the client's kernel: `Network is unreachable`, `No route to host`, `Permission denied`, `Operation not permitted` and
  `Invalid argument` are taken for what is behind them.
* `traceroute` (`-I`; of TCP rows `-T -p 80`), `mtr` (the same) and `tcptraceroute` (always port 80): reachable when the
  last line is the target; `[closed]` names a closed port. The last that answered locates: nobody is the client or its
  link to the gateway, the gateway is itself or what is behind it, another router in the client's network is the client.
  That router is named as the next hop, behind the gateway as the gateway's route, and as a loop when it comes
  twice. `!N`, `!H`, `!P`, `!X`, `!A` and `!F` count as the errors of ping.
* `nft monitor trace` on the gateway, with a rule that marks requests and replies, while two echoes are sent (of TCP
  rows, a connection): reachable when a reply is traced and nothing dropped. No trace is the client or its link to the
  gateway; a drop, or a trace that ends before the forward hook, is the gateway; one that ends behind it, the gateway or
  what is behind it. The rule or the policy with a drop verdict is the cause, and so are rules that queue or that
  translate the destination. What is not in a trace, such as a translation, names nothing.

None of them is asked for the direction, and none says what to do. `any of them` is right where at least one of the five
is: somebody who runs all five, and trusts the right one each time.

With `--pairs` two of the faults that stop an echo are broken at once, of different classes and by lot, and crossnet
alone is asked: does its verdict name both, as the cause, among what it cannot tell from it, or as what comes next?
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from benchmarks.measure import Spread, bar, compiled, report

CATALOGUE = Path(__file__).resolve().parents[2] / "shared" / "faults"
REACHABLE, BLOCKED = 1.0, 2.5  # seconds, promised

CROSSNET, ANY = "crossnet diagnose", "any of them"
ECHO = {"to": "10.0.44.1", "protocol": "icmp", "port": None}
QUESTIONS = ("reach", "place", "cause", "fix")

CLIENT, ROUTER, FAR_ROUTER = "10.0.43.15", "10.0.43.1", "10.0.44.254"
GATEWAY = {"10.0.43.101", "10.0.44.63"}

AT_CLIENT = frozenset({"app", "app-gateway"})
AT_GATEWAY = frozenset({"gateway", "gateway:eth0", "gateway:eth1"})
BEHIND = frozenset({"gateway-target", "target"})

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """What the output of a tool states; codes are those of crossnet's list that its words mean."""

    result: str
    places: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Mark:
    """What of it was right; `fix` is None where no command on a managed host mends it."""

    tool: str
    row: Row
    seconds: float
    right: Mapping[str, bool | None]


# ---- reading what the others say ---------------------------------------------------------------------------

# What an ICMP error says, and the codes that it means.
_ERRORS = (
    (r"Net(work)? Unreachable|!N\b", ("no-route", "route-unreachable")),
    (r"Host Unreachable|!H\b", ("destination-absent", "next-hop-unresolved", "route-unreachable")),
    (r"(Port|Protocol) Unreachable|![Pp]\b", ("filter-reject",)),
    (r"[Pp]rohibited|Packet filtered|![XACZ]\b", ("filter-reject", "route-prohibit")),
    (r"Time to live exceeded", ("ttl-expired", "forwarding-loop")),
    (r"Frag needed|!F", ("mtu-exceeded",)),
)

# What the client's own kernel says, and what it means.
_REFUSALS = (
    (r"Network is unreachable", ("src-no-route", "no-route")),
    (r"No route to host", ("route-unreachable",)),
    (r"Permission denied", ("route-prohibit",)),
    (r"Operation not permitted", ("src-output-filtered", "filter-rule-drop")),
    (r"Invalid argument", ("route-blackhole",)),
    (r"Cannot assign requested address", ("address-missing",)),
    (r"libnet_write failed|Destination not set|unable to|cannot find", ()),
)


def _codes(said: str, table: Sequence[tuple[str, Sequence[str]]]) -> frozenset[str]:
    return frozenset(code for words, codes in table if re.search(words, said) for code in codes)


def _located(address: str, to: str) -> frozenset[str]:
    if address == CLIENT:
        return AT_CLIENT
    if address == to:
        return BEHIND
    if address in GATEWAY:
        return AT_GATEWAY | BEHIND
    return AT_CLIENT if address == ROUTER else BEHIND


def _refused(said: str) -> Said | None:
    if any(re.search(words, said) for words, _ in _REFUSALS):
        return Said("unreachable", AT_CLIENT, _codes(said, _REFUSALS))
    return None


def read_ping(said: str, row: Row) -> Said:
    to = row["probe"]["to"]
    counts = [
        (int(sent), int(got)) for sent, got in re.findall(r"(\d+) packets transmitted, (\d+) received", said)
    ]
    errors = re.findall(r"^From ([\d.]+):? icmp_seq=\d+ (.*)$", said, re.MULTILINE)
    places, codes = frozenset[str](), frozenset[str]()
    for sender, words in errors:
        places |= _located(sender, to)
        codes |= _codes(words, _ERRORS)
        if sender == ROUTER:
            codes |= {"src-route-other-next-hop"}
        if words.startswith("Redirect") and sender in GATEWAY:
            codes |= {"gateway-route-elsewhere", "forwarding-loop"}
    if "message too long" in said and not errors:
        places, codes = AT_GATEWAY, frozenset({"mtu-exceeded"})
    if not counts or all(got == 0 for _, got in counts):
        return _refused(said) or Said("unreachable", places, codes)
    if all(sent == got for sent, got in counts) or "mtu-exceeded" in codes:
        return Said("reachable", places, codes)
    if len(counts) > 1 and counts[0][0] == counts[0][1]:  # the small ones pass
        return Said("unreachable", places, codes)
    return Said("ambiguous", places, codes)


def _by_hops(
    hops: Sequence[str | None], flags: str, to: str, *, closed: bool = False, lossy: bool = False
) -> Said:
    """`hops`: who answered at each distance."""
    answered = [hop for hop in hops if hop]
    codes = _codes(flags, _ERRORS)
    if answered and answered[-1] == to and not codes:
        named = frozenset({"destination-port-closed"} if closed else ())
        return Said("ambiguous" if lossy else "reachable", frozenset(BEHIND if closed else ()), named)
    if not answered:
        return Said("unreachable", AT_CLIENT, codes)
    last = answered[-1]
    places = _located(last, to)
    if ROUTER in answered:
        through = any(hop in GATEWAY for hop in answered[: answered.index(ROUTER)])
        places = AT_GATEWAY | {"app-gateway"} if through else AT_CLIENT
        codes |= {"gateway-route-elsewhere" if through else "src-route-other-next-hop"}
        if answered.count(ROUTER) > 1:
            codes |= {"forwarding-loop"}
    if FAR_ROUTER in answered:
        codes |= {"gateway-route-elsewhere"}
    return Said("unreachable", places, codes)


_HOP = re.compile(r"^\s*(\d+)\s+(.*)$", re.MULTILINE)


def read_traceroute(said: str, row: Row) -> Said:
    lines = _HOP.findall(said)
    hops: list[str | None] = []
    for _, words in lines:
        found = re.match(r"([\d.]+)\b", words)
        hops.append(found[1] if found else None)
    if not any(hops) and (refused := _refused(said)):
        return refused
    flags = " ".join(words for _, words in lines if "!" in words)
    return _by_hops(hops, flags, row["probe"]["to"], closed="[closed]" in said)


def read_mtr(said: str, row: Row) -> Said:
    found = re.findall(r"^\s*\d+\.\|-- (\S+)\s+([\d.]+)%?", said, re.MULTILINE)
    if not found and (refused := _refused(said)):
        return refused
    hops = [None if name == "???" else name for name, _ in found]
    lossy = bool(found) and float(found[-1][1]) > 0
    return _by_hops(hops, "", row["probe"]["to"], lossy=lossy)


_TRACE = re.compile(r"^trace id (\w+) \S+ \S+ \S+ (packet:|rule|policy) ?(.*?)\s*$", re.MULTILINE)


def read_trace(said: str, row: Row) -> Said:
    to = row["probe"]["to"]
    requests, replies, beyond = set[str](), set[str](), set[str]()
    codes, stopped = frozenset[str](), set[str]()
    for number, kind, words in _TRACE.findall(said):
        if kind == "packet:":
            if f"ip daddr {to} " in words:
                requests.add(number)
            elif f"ip saddr {to} " in words:
                replies.add(number)
            if 'oif "' in words and 'iif "' in words:
                beyond.add(number)
        elif kind == "policy" and words == "drop":
            codes |= {"filter-policy-drop"}
            stopped.add(number)
        elif words.endswith("(verdict drop)"):
            codes |= {"filter-rule-drop"} | ({"filter-reject"} if re.search("reject", words, re.I) else set())
            stopped.add(number)
        elif "(verdict queue" in words:
            codes |= {"queue-without-listener", "filter-rule-drop"}
            stopped.add(number)
        elif re.search(r"\b(dnat|redirect)\b", words, re.I):
            codes |= {"dnat-captures"}
            stopped.add(number)
    if stopped:
        passed = replies - stopped
        return Said("ambiguous" if passed else "unreachable", AT_GATEWAY, codes)
    if replies:
        return Said("reachable")
    if not requests:
        return Said("unreachable", AT_CLIENT)
    return Said("unreachable", AT_GATEWAY | BEHIND if requests & beyond else AT_GATEWAY)


# ---- running them ------------------------------------------------------------------------------------------


def _inside(lab: Any, host: str, argv: Sequence[str], seconds: float) -> str:
    """What a tool prints; it is ended after so many seconds."""
    with subprocess.Popen(
        ["ip", "netns", "exec", lab.ns(host), "timeout", str(seconds), *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
    ) as process:
        return process.communicate()[0]


def run_ping(lab: Any, row: Row) -> str:
    to = row["probe"]["to"]
    said = _inside(lab, "app", ("ping", "-nb", "-c3", "-i0.3", "-W3", to), 6)
    if row["probe"].get("full_size"):
        said += _inside(lab, "app", ("ping", "-nb", "-c2", "-i0.3", "-W2", "-Mdo", "-s1472", to), 6)
    return said


def run_traceroute(lab: Any, row: Row) -> str:
    way = ("-T", "-p", str(row["probe"]["port"])) if row["probe"]["protocol"] == "tcp" else ("-I",)
    return _inside(lab, "app", ("traceroute", "-n", *way, "-q1", "-w4", "-m5", row["probe"]["to"]), 8)


def run_tcptraceroute(lab: Any, row: Row) -> str:
    return _inside(lab, "app", ("tcptraceroute", "-n", "-q1", "-w1", "-m5", row["probe"]["to"], "80"), 8)


def run_mtr(lab: Any, row: Row) -> str:
    way = ("-T", "-P", str(row["probe"]["port"])) if row["probe"]["protocol"] == "tcp" else ()
    return _inside(lab, "app", ("mtr", "-n", "-r", *way, "-c3", "-i1", "-G2", "-m5", row["probe"]["to"]), 10)


def run_trace(lab: Any, row: Row) -> str:
    to = row["probe"]["to"]
    marked = f"ip daddr {to} meta nftrace set 1; ip saddr {to} meta nftrace set 1;"
    rules = f"table inet person {{ chain asked {{ type filter hook prerouting priority -350; {marked} }}; }}"
    said = _inside(lab, "gateway", ("nft", rules), 2)
    listening = ["ip", "netns", "exec", lab.ns("gateway"), "nft", "monitor", "trace"]
    with subprocess.Popen(listening, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as monitor:
        time.sleep(0.3)
        if row["probe"]["protocol"] == "tcp":
            _inside(lab, "app", ("bash", "-c", f"</dev/tcp/{to}/{row['probe']['port']}"), 2)
        else:
            _inside(lab, "app", ("ping", "-nb", "-c2", "-i0.3", "-W1", to), 4)
        time.sleep(0.2)
        monitor.terminate()
        return said + monitor.communicate()[0]


PEERS: Mapping[str, tuple[Callable[[Any, Row], str], Callable[[str, Row], Said]]] = {
    "ping": (run_ping, read_ping),
    "traceroute": (run_traceroute, read_traceroute),
    "mtr": (run_mtr, read_mtr),
    "tcptraceroute": (run_tcptraceroute, read_traceroute),
    "nft monitor trace": (run_trace, read_trace),
}


def judged(said: Said, row: Row) -> dict[str, bool | None]:
    """By the same rules as crossnet's verdicts are, but that any of several causes and places counts."""
    expected = row["expect"]
    right: dict[str, bool | None] = {"fix": False if expected["fixable"] else None}
    if row["kind"] == "control":
        fine = said.result == "reachable" and not said.codes
        return {**right, "reach": fine, "place": fine, "cause": fine}
    causes = accepted(expected)
    cause = bool(said.codes & causes) if causes else not said.codes
    in_passing = said.result == "reachable" and bool(said.codes & causes)
    reach = said.result in expected["result"]
    reach = reach or (cause and said.result in expected.get("result_if_named", ()))
    place = bool(said.places & set(expected["places"])) or in_passing
    place = place or not (expected["places"] or said.places)
    return {**right, "reach": reach, "place": place, "cause": cause}


def accepted(expected: Mapping[str, Any]) -> frozenset[str]:
    """The codes that count for a fault."""
    return frozenset((*expected["codes"], *(() if expected["decidable"] else expected["candidates"])))


def named_by(verdict: Mapping[str, Any]) -> frozenset[str]:
    """The codes in a verdict of crossnet, with the first five that it cannot tell apart."""
    halves = [half for half in (verdict["forward"], verdict["reply"]) if half["code"]]
    together = [code for half in halves for code in (half["code"], *half["candidates"][:5])]
    return frozenset((*together, *(each["code"] for each in verdict["also"])))


# ---- all of it ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """The catalogue, and labs that are free."""

    bench: Any
    labs: SimpleQueue[Any]
    alone: threading.Lock = field(default_factory=threading.Lock)  # what uses the processor takes turns

    @contextlib.contextmanager
    def broken(self, row: Row) -> Iterator[Any]:
        """A path that was built and broken for this row."""
        lab = self.labs.get()
        try:
            with self.alone:
                lab.build()
                lab.sh(row["break"])
            yield lab
        finally:
            self.labs.put(lab)

    def crossnet(self, row: Row) -> Mark:
        program = [str(Path(sys.executable).with_name("crossnet"))]
        with self.broken(row) as lab:
            with self.alone:
                ran = self.bench.diagnose(lab, program, row, 30)
            score = self.bench.score(row, ran, False)
            fix = None
            if row["kind"] != "control" and row["expect"]["fixable"]:
                tried = ran["verdict"] and score["main"]
                fix = bool(tried) and self.bench.try_fix(lab, ran, score["main"], False, row["probe"])[0]
        right = {"reach": score["reachable"], "place": score["place"], "cause": score["code"], "fix": fix}
        return Mark(CROSSNET, row, ran["seconds"], right)

    def both(self, pair: tuple[Row, Row]) -> tuple[int, float]:
        """How many of two faults a verdict names that were broken one after the other."""
        program = [str(Path(sys.executable).with_name("crossnet"))]
        with self.broken(pair[0]) as lab, self.alone:
            lab.sh(pair[1]["break"])
            ran = self.bench.diagnose(lab, program, pair[0], 30)
        named = named_by(ran["verdict"]) if ran["verdict"] else frozenset[str]()
        found = [bool(named & accepted(row["expect"])) for row in pair]
        signs = " ".join(f"{row['id']} {_SIGN[one]}" for row, one in zip(pair, found, strict=True))
        print(f"{signs}  {ran['seconds']:.1f} s", file=sys.stderr, flush=True)
        return sum(found), ran["seconds"]

    def peer(self, tool: str, row: Row) -> Mark:
        run, read = PEERS[tool]
        with self.broken(row) as lab:
            start = time.monotonic()
            said = run(lab, row)
            seconds = time.monotonic() - start
        return Mark(tool, row, seconds, judged(read(said, row), row))

    def one(self, work: tuple[str, Row]) -> Mark:
        tool, row = work
        mark = self.crossnet(row) if tool == CROSSNET else self.peer(tool, row)
        signs = " ".join(f"{one} {_SIGN[mark.right[one]]}" for one in QUESTIONS)
        print(f"{row['id']:<26} {tool:<18} {signs}  {mark.seconds:.1f} s", file=sys.stderr, flush=True)
        return mark


_SIGN = {True: "+", False: "-", None: " "}


def loaded(catalogue: Path) -> tuple[Any, list[Row]]:
    """The catalogue's own program as a module, and its rows."""
    program = importlib.util.spec_from_file_location("catalogue", catalogue / "bench.py")
    if program is None or program.loader is None or not (catalogue / "faults.jsonl").exists():
        raise SystemExit(
            f"faults: {catalogue} has no faults.jsonl and bench.py; name their folder with --catalogue"
        )
    module = importlib.util.module_from_spec(program)
    program.loader.exec_module(module)
    return module, [json.loads(line) for line in (catalogue / "faults.jsonl").open() if line.strip()]


def measure(bench: Any, rows: Sequence[Row], places: int) -> list[Mark]:
    free: SimpleQueue[Any] = SimpleQueue()
    for number in range(places):
        free.put(bench.Lab(f"cnf{number}-", False))
    run = Run(bench, free)
    order = random.Random(1)
    work = [(tool, row) for row in rows for tool in order.sample((CROSSNET, *PEERS), len(PEERS) + 1)]
    with compiled(), ThreadPoolExecutor(places) as pool:
        subprocess.run(
            [Path(sys.executable).with_name("crossnet"), "diagnose", "--help"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        run.crossnet(rows[0])  # compiles what it uses
        return list(pool.map(run.one, work))


def in_pairs(bench: Any, rows: Sequence[Row], number: int) -> None:
    """Two at once: what stops an echo, of different classes."""
    stopping = [
        row
        for row in rows
        if row["expect"]["result"] == ["unreachable"] and row["probe"] == ECHO and row["kind"] == "fault"
    ]
    lots = random.Random(1)
    pairs: list[tuple[Row, Row]] = []
    while len(pairs) < number:
        one, other = lots.sample(stopping, 2)
        if one["class"] != other["class"]:
            pairs.append((one, other))
    free: SimpleQueue[Any] = SimpleQueue()
    free.put(bench.Lab("cnf-", False))
    run = Run(bench, free)
    with compiled():
        marks = [run.both(pair) for pair in pairs]
    found = [named for named, _ in marks]
    seconds = Spread.of([each for _, each in marks])
    report(
        "pairs",
        (f"of {number} pairs of {len(stopping)} faults", "both", "one", "none", "s"),
        [(CROSSNET, *(str(found.count(each)) for each in (2, 1, 0)), seconds.show(2))],
        {"pairs": number, "both": found.count(2), "one": found.count(1), "seconds": seconds.data()},
    )


def best(marks: Sequence[Mark]) -> list[Mark]:
    """Of each row, what at least one of the peers has right; it takes as long as all of them."""
    of_row: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        if mark.tool != CROSSNET:
            of_row[mark.row["id"]].append(mark)
    return [
        Mark(
            ANY,
            some[0].row,
            sum(each.seconds for each in some),
            {
                one: None if some[0].right[one] is None else any(each.right[one] for each in some)
                for one in QUESTIONS
            },
        )
        for some in of_row.values()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--catalogue", type=Path, default=CATALOGUE, metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--only", metavar="ID,ID", help="only these faults")
    parser.add_argument("--quick", action="store_true", help="every eighth row")
    parser.add_argument("--pairs", type=int, metavar="N", help="two at once instead, so many times")
    parser.add_argument(
        "--at-once", type=int, default=4, metavar="N", help="paths that stand at the same time"
    )
    chosen = parser.parse_args()
    missing = [
        name for name in ("ping", "traceroute", "mtr", "tcptraceroute", "nft") if not shutil.which(name)
    ]
    if os.geteuid() != 0 or missing:
        raise SystemExit(f"faults: needs root, and: {' '.join(missing) or 'nothing else'}")
    bench, rows = loaded(chosen.catalogue)
    if chosen.only:
        rows = [row for row in rows if row["id"] in chosen.only.split(",")]
    if chosen.quick:
        rows = rows[::8]
    if not rows:
        parser.error("no row of the catalogue is left")
    if chosen.pairs:
        in_pairs(bench, rows, chosen.pairs)
        return
    marks = measure(bench, rows, max(chosen.at_once, 1))
    tell(rows, [*marks, *best(marks)])


def tell(rows: Sequence[Row], marks: Sequence[Mark]) -> None:
    faults = sum(row["kind"] != "control" for row in rows)
    fixable = sum(row["kind"] != "control" and row["expect"]["fixable"] for row in rows)
    table, results = [], []
    times: dict[str, dict[str, list[float]]] = {}
    for tool in (CROSSNET, *PEERS, ANY):
        own = [mark for mark in marks if mark.tool == tool]
        of_faults = [mark for mark in own if mark.row["kind"] != "control"]
        right = {one: sum(bool(mark.right[one]) for mark in of_faults) for one in QUESTIONS}
        alarms = sum(not mark.right["reach"] for mark in own if mark.row["kind"] == "control")
        seconds = times[tool] = {"reachable": [], "blocked": []}
        for mark in own:
            seconds["reachable" if "reachable" in mark.row["expect"]["result"] else "blocked"].append(
                mark.seconds
            )
        shown = [Spread.of(each).show(2) if each else "" for each in seconds.values()]
        table.append((tool, *(str(right[one]) for one in QUESTIONS), str(alarms), *shown))
        spreads = {kind: Spread.of(each).data() for kind, each in seconds.items() if each}
        results.append({"tool": tool, "right": right, "false_alarms": alarms, "seconds": spreads})
    bars = [
        bar(f"a {kind} path within {most:g} s", times[CROSSNET][kind], most)
        for kind, most in (("reachable", REACHABLE), ("blocked", BLOCKED))
        if times[CROSSNET][kind]
    ]
    head = f"of {faults} faults, {fixable} to mend, {len(rows) - faults} controls"
    report(
        "faults",
        (head, *QUESTIONS, "false alarms", "s, reachable", "s, blocked"),
        table,
        {
            "faults": faults,
            "fixable": fixable,
            "controls": len(rows) - faults,
            "results": results,
            "bars": bars,
        },
    )


if __name__ == "__main__":
    main()
