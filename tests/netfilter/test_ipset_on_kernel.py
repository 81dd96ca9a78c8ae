"""What a set holds, asked of the kernel: `ipset test` answers, and what was read of `ipset save` must say the same."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from beside import beside
from crossnet.netfilter.foreign import Names, Numbers, Rows, Values
from crossnet.netfilter.ipset_save import IpSet, parse_ipset_save
from netfilter.evaluate import is_among
from netfilter.namespace import Namespace, new_namespace

pytestmark = pytest.mark.lab

SEED = 8
PROBES = 60  # of one state of one set


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[Namespace]:
    with new_namespace(tmp_path / "lock") as each:
        yield each


@dataclass(frozen=True, slots=True)
class Probe:
    """What `ipset test` is asked, and the same as values of the set's columns, by the shape of the set."""

    words: str
    shape: str
    values: tuple[int | str, ...]


def test_every_state_of_the_corpus_holds_what_the_kernel_says(namespace: Namespace) -> None:
    # each command, and `save` behind it; ipset reads them all in one run and goes on after an error
    chance = random.Random(SEED)
    commands = [
        line.removeprefix("ipset ").strip()
        for path in sorted((beside("corpus") / "ipset" / "t").glob("*.cmds"))
        for line in (*path.read_text().splitlines(), "ipset destroy")
    ]
    asked = "".join(f"{command}\nversion\nsave\nversion\n" for command in commands)
    states = re.split(
        r"(?:ipset> )*ipset v[^\n]*protocol version[^\n]*\n",
        namespace.attempt("ipset", "-", text=asked).stdout,
    )
    texts = sorted({re.sub("ipset> ", "", text) for text in states if "create" in text})
    assert len(texts) > 200
    sets = {text: parse_ipset_save(text) for text in texts}
    assert all(len(each) == text.count("create ") for text, each in sets.items())
    # the fullest state of each kind of set, exceptions first
    best: dict[str, str] = {}
    for text in sorted(texts, key=lambda each: (each.count("nomatch"), each.count("add "))):
        create = text.partition("\n")[0]
        best[re.sub(r" (hashsize|timeout|initval|bucketsize|maxelem) \w+", "", create)] = text
    known = 0
    for text in best.values():
        (ipset,) = sets[text].values()
        known += ipset.held is not None
        compare(namespace, without_timeouts(text), ipset, chance)
    assert known >= 0.8 * len(best), (known, len(best))


ODD = {
    "exceptions": """\
create s hash:net family inet
add s 10.0.0.0/8
add s 10.1.0.0/16 nomatch
add s 10.1.2.0/24
add s 10.1.2.128/25 nomatch
add s 10.1.2.192/32
add s 11.0.0.0/9
add s 10.255.255.255/32 nomatch
""",
    "exceptions with ports": """\
create s hash:net,port family inet
add s 10.0.0.0/8,tcp:80
add s 10.1.0.0/16,tcp:80 nomatch
add s 10.1.0.0/16,udp:80
add s 10.0.0.0/8,icmp:8/0
add s 10.1.0.0/24,icmp:8/0 nomatch
add s 10.0.0.0/8,gre:0
""",
    "exceptions by interface": """\
create s hash:net,iface family inet
add s 10.0.0.0/8,eth0
add s 10.1.0.0/16,eth0 nomatch
add s 10.1.0.0/16,eth1
add s 0.0.0.0/0,eth2
add s 10.1.0.0/16,physdev:eth0
""",
    "two networks": """\
create s hash:ip,port,net family inet
add s 10.0.0.1,tcp:80,192.168.0.0/16
add s 10.0.0.1,tcp:80,192.168.1.0/24 nomatch
add s 10.0.0.1,tcp:81,192.168.1.0/24
add s 10.0.0.2,udp:53,0.0.0.0/1
""",
    "masked": "create s hash:ip family inet6 netmask 64\nadd s 2001:db8:0:1::\nadd s 2001:db8:0:2::\n",
    "map": "create s bitmap:ip range 10.0.0.0/16 netmask 24\nadd s 10.0.1.0\nadd s 10.0.255.0\n",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_what_the_corpus_has_not_holds_what_the_kernel_says(namespace: Namespace, text: str) -> None:
    namespace.run("ipset", "restore", text=text)
    (ipset,) = parse_ipset_save(namespace.run("ipset", "save")).values()
    namespace.run("ipset", "destroy")
    assert ipset.held is not None
    assert compare(namespace, text, ipset, random.Random(SEED)) > 20


# ---- asking -----------------------------------------------------------------------------------------


def without_timeouts(text: str) -> str:
    """The same set with members that stay as long as the test runs."""
    return re.sub(r" timeout \d+", "", text)


def compare(namespace: Namespace, text: str, ipset: IpSet, chance: random.Random) -> int:
    """Ask the kernel and what was read; how many answers were compared, of which some must be yes."""
    if ipset.held is None:
        return 0
    probes = list(probes_of(ipset, chance))
    asked = text + "".join(f"test {ipset.name} {probe.words}\n" for probe in probes)
    told = namespace.attempt("ipset", "-", text=asked + "destroy\n").stderr
    # one line for each question, in order; ipset answers in its own words for a member, so they say nothing
    lines = [line for line in told.splitlines() if " in set " in line or line.startswith("ipset v")]
    assert len(lines) == len(probes), told
    answers = {
        probe.words: " is in set " in line
        for probe, line in zip(probes, lines, strict=True)
        if " in set " in line
    }
    held = {each.name.partition(" ")[2]: each.members for each in ipset.sets if each.members is not None}
    compared = [probe for probe in probes if probe.words in answers]
    for probe in compared:
        members = held.get(probe.shape)
        mine = members is not None and is_among(list(probe.values), members)
        assert mine == answers[probe.words], (text, probe)
    assert {True, False} == {answers[probe.words] for probe in compared} or len(compared) < 8, text
    return len(compared)


def probes_of(ipset: IpSet, chance: random.Random) -> Iterator[Probe]:
    """Members, what lies at their edges, and combinations of parts of different members."""
    assert ipset.held is not None
    for _, each in ipset.held:
        shape = each.name.partition(" ")[2]
        rows = each.members.rows if isinstance(each.members, Rows) else ((each.members,),)
        columns = [
            [value for row in rows for value in edges(row[at])] for at in range(len(rows[0]) if rows else 0)
        ]
        for _ in range(PROBES if rows else 0):
            row = chance.choice(rows)
            values = tuple(probed(part, column, chance) for part, column in zip(row, columns, strict=True))
            words = written(values, ipset, shape)
            if words is not None:
                yield Probe(words, shape, values)


def probed(part: Values | Rows | None, column: list[int | str], chance: random.Random) -> int | str:
    """Mostly a value that is in the part, and else one beside it or of another member."""
    if chance.random() < 0.7:
        return chance.choice([value for value in edges(part) if is_among([value], part)]) if part else 0
    return chance.choice(column if chance.random() < 0.5 else edges(part))


def edges(part: Values | Rows | None) -> list[int | str]:
    if isinstance(part, Names):
        return [*part.exact, "other0"]
    assert isinstance(part, Numbers)
    return [value for first, last in part.ranges[:50] for value in (first, last, max(first - 1, 0), last + 1)]


def written(values: tuple[int | str, ...], ipset: IpSet, shape: str) -> str | None:
    """The values as `ipset test` takes them; None for what it does not take."""
    six = ipset.family == "ip6"
    parts = list(values)
    columns = next(columns for columns, each in ipset.held or () if each.name.partition(" ")[2] == shape)
    names = [side.source.value for side in columns]
    said: list[str] = []
    while names:
        kind, value = names.pop(0), parts.pop(0)
        match kind:
            case "source4" | "source6":
                assert isinstance(value, int)
                if value >= 1 << (128 if six else 32):
                    return None
                said.append(str(ip_address(value.to_bytes(16 if six else 4, "big"))))
            case "protocol" if names[:1] == ["source-port"]:
                port = parts.pop(0)
                names.pop(0)
                if value not in (6, 17, 132, 136) or not isinstance(port, int) or port > 65535:
                    return None
                # a map of ports knows no protocol: those of TCP and UDP are its
                said.append(str(port) if len(columns) == 2 and ipset.dimension == 1 else f"{value}:{port}")
                if len(columns) == 2 and ipset.dimension == 1 and value == 132:
                    return None
            case "protocol" if names[:1] == ["icmp-type"]:
                type_and_code = [parts.pop(0), parts.pop(0)]
                del names[:2]
                if value not in (1, 58) or any(
                    isinstance(each, int) and each > 255 for each in type_and_code
                ):
                    return None
                said.append(f"{'icmp' if value == 1 else 'icmpv6'}:{type_and_code[0]}/{type_and_code[1]}")
            case "protocol":
                if value in (0, 1, 6, 17, 58, 132, 136):
                    return None
                said.append(f"{value}:0")
            case "mark":
                assert isinstance(value, int)
                said.append(hex(value))
            case "phys-in":
                said.append(f"physdev:{value}")
            case _:
                said.append(str(value))
    return ",".join(said)
