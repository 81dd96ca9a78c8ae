"""Which tracked flows end with a change of the rules, by the real conntrack(8) in a network of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from crossnet.design.rules import Dialect, gateway_table
from crossnet.netfilter import Engine, Table
from crossnet.netfilter.flows import SECONDS, ending
from crossnet.path import Client
from crossnet.translation import Masquerade, Snat, Untranslated
from crossnet.values import Family, address, network
from design.test_rules import path
from lacking import lacking

NFT, IPTABLES = Dialect(Engine.NFTABLES), Dialect(Engine.IPTABLES_LEGACY)
ENTER = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
HERE = "ip link set lo up; for a in 10.0.43.101 10.0.44.63 10.0.44.64; do ip addr add $a/32 dev lo; done;"
SIX = "ip addr add fd00:43::101/128 dev lo nodad; ip addr add fd00:44::63/128 dev lo nodad;"


def flow(source: str, destination: str, *, seen: str = "", port: int = 443, protocol: str = "tcp") -> str:
    """The words with which conntrack makes a flow; `seen` is the source that its destination sees."""
    ends = f"-s {source} -d {destination} -r {destination} -q {seen or source}"
    if protocol == "icmp":
        return f"-p icmp {ends} --icmp-type 8 --icmp-code 0 --icmp-id {port} --timeout 100"
    if protocol == "gre":
        keys = f"--srckey {port} --dstkey {port} --reply-key-src {port} --reply-key-dst {port}"
        return f"-p gre {ends} {keys} --timeout 100"
    if protocol.isdigit():
        return f"-p {protocol} {ends} --timeout 100"
    state = "--state ESTABLISHED " if protocol == "tcp" else ""
    replies = f"--reply-port-src {port} --reply-port-dst 1234"
    return f"-p {protocol} {ends} --sport 1234 --dport {port} {replies} {state}--timeout 100"


def left(flows: list[str], have: Table | None, want: Table | None, *, path: str = PATH) -> list[str]:
    """Those of the flows that the change of the rules leaves."""
    if shutil.which("conntrack", path=PATH) is None:
        lacking("conntrack is not on this machine")
    make = "".join(f"conntrack -I {words} >/dev/null 2>&1 || exit 9;" for words in flows)
    listing = "echo; echo ====; conntrack -L -f ipv4 2>/dev/null; conntrack -L -f ipv6 2>/dev/null"
    script = f'{HERE} {SIX} {make} printf %s "$1" | PATH=$2 /bin/sh -s || exit 8; {listing}'
    ran = subprocess.run(
        (*ENTER, "sh", "-c", script, "sh", ending(have, want), path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    if ran.returncode == 1 and "unshare" in ran.stderr:
        lacking(ran.stderr.strip())
    assert ran.returncode == 0, ran
    said, _, listed = ran.stdout.partition("====")
    assert (said.strip(), ran.stderr) == ("", "")
    still = [_ends(line) for line in listed.splitlines() if "src=" in line]
    return [words for words in flows if _words_ends(words) in still]


def _ends(line: str) -> tuple[str, ...]:
    name, number = line.split()[:2]
    told = re.search(r"\b(?:dport|id|srckey)=(\w+)", line)
    protocol = number if name == "unknown" else name
    return (
        protocol,
        *re.findall(r"\b(?:src|dst)=(\S+)", line),
        str(int(told.group(1), 0)) if told else "",
    )


def _words_ends(words: str) -> tuple[str, ...]:
    said = dict(re.findall(r"--?(\S+) (\S+)", words))
    number = next((said[each] for each in ("dport", "icmp-id", "srckey") if each in said), "")
    return (said["p"], said["s"], said["d"], said["r"], said["q"], number)


MINE, OTHER = "10.0.43.15", "10.0.43.77"
UNTRANSLATED = flow(MINE, "10.0.44.1")
TRANSLATED = flow(MINE, "10.0.44.1", seen="10.0.44.63", port=444)
BY_UDP = flow(MINE, "10.0.44.9", port=514, protocol="udp")
BY_ICMP = flow(MINE, "10.0.44.9", port=77, protocol="icmp")
OTHERS = flow("10.0.43.77", "10.0.44.1")
ELSEWHERE = flow(MINE, "10.0.99.1")
BEGUN_THERE = flow("10.0.44.1", MINE)
TO_GATEWAY = flow("10.0.43.77", "10.0.43.101", port=22)
TO_ITS_OTHER_ADDRESS = flow(MINE, "10.0.44.63", port=22)
FROM_GATEWAY = flow("10.0.44.63", "10.0.44.1", port=22)
MULTICAST = flow("10.0.43.77", "224.0.0.251", port=5353, protocol="udp")
ALL = [UNTRANSLATED, TRANSLATED, BY_UDP, BY_ICMP, OTHERS, ELSEWHERE, BEGUN_THERE]
ALL += [TO_GATEWAY, TO_ITS_OTHER_ADDRESS, FROM_GATEWAY, MULTICAST]
OWN = [TO_GATEWAY, TO_ITS_OTHER_ADDRESS, FROM_GATEWAY, MULTICAST]

ENGINES = pytest.mark.parametrize("dialect", [NFT, IPTABLES])


def without(*gone: str) -> list[str]:
    return [each for each in ALL if each not in gone]


@ENGINES
def test_a_crossing_ends_the_flows_that_it_will_translate(dialect: Dialect) -> None:
    want = gateway_table([path()], False, dialect)
    assert left(ALL, None, want) == without(UNTRANSLATED, BY_UDP, BY_ICMP)


@ENGINES
def test_a_fence_ends_what_is_forwarded_for_others(dialect: Dialect) -> None:
    open_, fenced = (gateway_table([path()], fence, dialect) for fence in (False, True))
    # What the rules named before and after stays, also where it is translated by somebody else.
    assert left(ALL, open_, fenced) == without(OTHERS, ELSEWHERE, BEGUN_THERE)
    assert left(ALL, None, fenced) == [TRANSLATED, *OWN]


def test_nothing_ends_where_a_fence_goes() -> None:
    fenced, open_ = (gateway_table([path()], fence, NFT) for fence in (True, False))
    assert left(ALL, fenced, open_) == ALL


@ENGINES
def test_undo_ends_the_flows_of_the_crossings_and_no_others(dialect: Dialect) -> None:
    have = gateway_table([path()], True, dialect)
    assert left(ALL, have, None) == without(UNTRANSLATED, TRANSLATED, BY_UDP, BY_ICMP)


@ENGINES
def test_who_is_taken_out_loses_the_flows(dialect: Dialect) -> None:
    have = gateway_table([path(clients="10.0.43.15 10.0.43.77")], True, dialect)
    want = gateway_table([path()], True, dialect)
    assert left(ALL, have, want) == without(OTHERS)
    narrower = gateway_table([path("10.0.44.0/29")], True, dialect)
    assert left(ALL, want, narrower) == without(BY_UDP, BY_ICMP)
    allowed = gateway_table([path(allow="tcp/443-450 icmp")], True, dialect)
    assert left(ALL, want, allowed) == without(BY_UDP)
    assert left(ALL, want, gateway_table([path(allow="udp/500-600 tcp/1 tcp/443")], True, dialect)) == (
        without(TRANSLATED, BY_ICMP)
    )


@ENGINES
@pytest.mark.parametrize("others", [0, 40])
def test_a_protocol_without_ports_ends_beside_a_flow_that_stays(dialect: Dialect, others: int) -> None:
    stays = [flow(MINE, "10.0.44.1", seen="10.0.44.63")]
    esp, another = flow(MINE, "10.0.44.1", protocol="50"), flow(OTHER, "10.0.44.1", protocol="50")
    gre = [flow(MINE, "10.0.44.1", port=key, protocol="gre") for key in (0, 7)]
    many = [flow(MINE, f"10.0.44.{n}", protocol="udp") for n in range(2, 2 + others)]
    have = gateway_table([path(clients=f"{MINE} {OTHER}")], True, dialect)
    want = gateway_table([path(clients=f"{MINE} {OTHER}", allow="tcp/443")], True, dialect)
    assert left([*stays, esp, *gre, *many], have, want) == stays
    begun_elsewhere = [another, flow(OTHER, "10.0.44.1", port=7, protocol="gre")]
    fewer = gateway_table([path(clients=OTHER)], True, dialect)
    assert left([esp, *gre, *begun_elsewhere], have, fewer) == begun_elsewhere


@ENGINES
def test_another_translation_ends_what_has_the_old_one(dialect: Dialect) -> None:
    have = gateway_table([path(sources="10.0.44.64")], True, dialect)
    want = gateway_table([path()], True, dialect)
    assert left([TRANSLATED, UNTRANSLATED, OTHERS], have, want) == [TRANSLATED, OTHERS]
    none = gateway_table([path(translation=Untranslated())], True, dialect)
    assert left([TRANSLATED, UNTRANSLATED, OTHERS], want, none) == [UNTRANSLATED, OTHERS]
    hidden = gateway_table([path(translation=Masquerade())], True, dialect)
    assert left([TRANSLATED, UNTRANSLATED, OTHERS], none, hidden) == [TRANSLATED, OTHERS]


def test_another_crossing_leaves_the_first_one_alone() -> None:
    one, two = path(), path("10.0.99.0/24", name="third", sources="10.0.43.101")
    have, want = gateway_table([one], True, NFT), gateway_table([one, two], True, NFT)
    assert left(ALL, have, want) == without(ELSEWHERE)
    renamed = gateway_table([path(name="other"), two], True, NFT)
    assert left(ALL, want, renamed) == ALL


def test_ipv6_addresses_are_compared_however_they_are_written() -> None:
    v4 = path()
    want = gateway_table(
        [
            replace(
                v4,
                family=Family.V6,
                clients=(Client(network("fd00:43::15"), address("fd00:43::101")),),
                destinations=(network("fd00:44::/63"),),
                legs=(
                    replace(v4.leg, translation=Snat(((network("fd00:44::/63"), address("fd00:44::63")),))),
                ),
            )
        ],
        True,
        NFT,
    )
    flows = [
        flow("fd00:43::15", "fd00:44::1"),
        flow("fd00:43::15", "fd00:44:0:1::1", seen="fd00:44::63"),
        flow("fd00:43::16", "fd00:44::1"),
        flow("fd00:43::15", "fd00:44:0:2::1"),
        flow("fd00:43::15", "fd00:43::101"),
    ]
    assert left(flows, None, want) == [flows[1], flows[4]]
    assert left(flows, want, None) == flows[2:]


def test_each_of_many_ends_and_their_neighbours_do_not() -> None:
    many = [flow("10.0.43.77", f"10.0.44.{n}", port=1000 + n) for n in range(1, 60)]
    kept = [flow(MINE, f"10.0.44.{n}", port=2000 + n) for n in range(1, 50)] + OWN
    have = gateway_table([path(clients="10.0.43.15 10.0.43.77")], True, NFT)
    assert left(many + kept, have, gateway_table([path()], True, NFT)) == kept


@pytest.fixture(params=["mawk", "gawk", "busybox awk"])
def with_awk(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH on which awk is this one."""
    tool, *applet = request.param.split()
    place = shutil.which(tool, path=PATH)
    if place is None:
        lacking(f"{tool} is not on this machine")
    (tmp_path / "awk").write_text(f'#!/bin/sh\nexec {place} {" ".join(applet)} "$@"\n')
    (tmp_path / "awk").chmod(0o755)
    return f"{tmp_path}:{PATH}"


@pytest.mark.deadlines  # the script stops after its seconds
def test_every_awk_says_the_same(with_awk: str) -> None:
    have = gateway_table([path()], True, NFT)
    assert left(ALL, have, None, path=with_awk) == without(UNTRANSLATED, TRANSLATED, BY_UDP, BY_ICMP)
    many = [flow("10.0.43.77", f"10.0.44.{n}", port=1000 + n) for n in range(1, 40)]
    both = gateway_table([path(clients="10.0.43.15 10.0.43.77")], True, NFT)
    assert left([*many, *ALL], both, have, path=with_awk) == without(OTHERS)


# Ten thousand clients with five flows each, one of them to where no crossing leads, so that nobody's address alone says
# what ends. Read from standard input: the words of conntrack -R, and the script.
_CROWD = r"""
crowd='BEGIN { for (c = 0; c < 10000; c++) for (k = 0; k < 5; k++) {
    s = "10.1." int(c / 250) "." (c % 250 + 1)
    d = k < 4 ? "10.0.44." ((c + k * 37) % 250 + 1) : "10.9.9." (c % 250 + 1)
    printf "-I -p tcp -s %s -d %s -r %s -q %s --sport %d --dport 443 --reply-port-src 443 --reply-port-dst %d", \
        s, d, d, s, 2000 + k, 2000 + k
    print " --state ESTABLISHED --timeout 1000"
} }'
ip link set lo up
awk "$crowd" >"$1/flows" && conntrack -R "$1/flows" >"$1/said" 2>&1 || exit 9
conntrack -I -p tcp -s 10.2.0.1 -d 10.0.44.1 -r 10.0.44.1 -q 10.2.0.1 --sport 1 --dport 443 --reply-port-src 443 \
    --reply-port-dst 1 --state ESTABLISHED --timeout 1000 >"$1/said" 2>&1
read -r before _ </proc/uptime
PATH=$2 sh -s
read -r after _ </proc/uptime
echo "$before $after $(conntrack -C)"
conntrack -L -s 10.2.0.1 2>"$1/said" | grep -c ESTABLISHED
conntrack -L 2>"$1/said" | grep -c dst=10.9.9.
"""


# Seconds for the walks, instead of those that a gateway has.
SHORT = 2


@pytest.mark.deadlines
def test_many_flows_of_many_clients_are_ended_in_bounded_time(tmp_path: Path, with_awk: str) -> None:
    if os.geteuid() != 0:
        lacking("a table of 50,000 flows takes root")
    crowd = gateway_table([path(clients="10.1.0.0/16")], False, NFT)
    script = ending(None, crowd)
    assert f"+ {SECONDS}))" in script
    ran = subprocess.run(
        (*ENTER, "sh", "-c", _CROWD, "sh", str(tmp_path), with_awk),
        input=script.replace(f"+ {SECONDS}))", f"+ {SHORT}))").encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    if ran.returncode == 9:
        lacking("this conntrack loads no list of flows")
    times, others, elsewhere = ran.stdout.decode().splitlines()
    before, after, left_over = times.split()
    assert float(after) - float(before) < SHORT + 4 * SECONDS, (
        ran.stderr
    )  # to read the list takes time of its own
    assert int(left_over) < 50_001
    assert (others, elsewhere) == ("1", "10000")


def walks(tmp_path: Path, listed: list[str], want: Table) -> list[str]:
    """How conntrack is told to delete, where its list is this."""
    (tmp_path / "flows").write_text("".join(f"{line}\n" for line in listed))
    (tmp_path / "walks").touch()
    tool = tmp_path / "conntrack"
    tool.write_text(f'#!/bin/sh\n[ "$1" = -D ] || exec cat {tmp_path}/flows\necho "$*" >> {tmp_path}/walks\n')
    tool.chmod(0o755)
    script, path = ending(None, want).encode(), f"{tmp_path}:{PATH}"
    subprocess.run(["sh", "-s"], input=script, env={"PATH": path}, timeout=60, check=True)
    return (tmp_path / "walks").read_text().splitlines()


@pytest.mark.parametrize("one_stays", [False, True])
def test_echos_of_one_source_end_in_one_walk_where_none_of_them_stays(
    tmp_path: Path, one_stays: bool
) -> None:
    line = "icmp 1 29 src={0} dst={1} type=8 code=0 id={2} src={1} dst={0} type=0 code=0 id={2} mark=0 use=1"
    listed = [line.format(MINE, f"10.0.44.{number}", number) for number in range(1, 8)]
    listed.append(line.format(OTHER, "10.0.99.1", 8))
    if one_stays:
        listed.append(line.format(MINE, "10.0.99.1", 9))
    told = walks(tmp_path, listed, gateway_table([path()], False, NFT))
    if one_stays:
        assert len(told) == 7
        assert all("--icmp-id" in words for words in told)
    else:
        assert told == [f"-D -f ipv4 -p icmp -s {MINE}"]


def test_echos_that_end_take_nothing_else_with_them() -> None:
    others = flow(OTHER, "10.0.44.9", port=78, protocol="icmp")
    echos = [flow(MINE, f"10.0.44.{number}", port=number, protocol="icmp") for number in range(1, 8)]
    want = gateway_table([path()], False, NFT)
    assert left([*echos, others, ELSEWHERE, TO_GATEWAY], None, want) == [others, ELSEWHERE, TO_GATEWAY]
    stays = flow(MINE, "10.0.99.1", port=79, protocol="icmp")
    assert left([*echos, stays], None, want) == [stays]


@pytest.mark.deadlines
def test_no_walk_of_the_list_begins_when_the_time_is_over(tmp_path: Path) -> None:
    """With a conntrack that takes a second to delete: a change is not held up for as long as there are flows."""
    line = "tcp 6 100 ESTABLISHED src={0} dst={1} sport=1 dport=443 src={1} dst={0} sport=443 dport=1 mark=0 use=1"
    lines = [line.format(MINE, f"10.0.44.{number}") for number in range(1, 40)]
    listed = "\n".join(
        [*lines, line.format(MINE, "10.0.99.1")]
    )  # one that stays, so that each ends by itself
    (tmp_path / "flows").write_text(f"{listed}\n")
    (tmp_path / "conntrack").write_text(
        f'#!/bin/sh\n[ "$1" = -D ] || exec cat {tmp_path}/flows\necho "$*" >> {tmp_path}/walks; sleep 1\n'
    )
    (tmp_path / "conntrack").chmod(0o755)
    script = ending(None, gateway_table([path()], False, NFT))
    began = time.monotonic()
    subprocess.run(
        ["sh", "-s"], input=script.encode(), env={"PATH": f"{tmp_path}:{PATH}"}, timeout=60, check=True
    )
    took = time.monotonic() - began
    walks = (tmp_path / "walks").read_text().splitlines()
    assert len(set(walks)) == len(walks) > 1
    assert SECONDS - 2 <= took <= SECONDS + 2


def test_without_conntrack_nothing_happens_and_nothing_fails() -> None:
    assert left(ALL, None, gateway_table([path()], True, NFT), path="/nowhere") == ALL


def test_nothing_is_looked_at_where_no_fate_changes() -> None:
    table = gateway_table([path()], True, NFT)
    assert ending(table, table) == ""
    assert ending(None, gateway_table([path()], False, NFT)) != ""


def test_the_words_for_many_sources_are_the_same_in_every_process() -> None:
    """A saved plan holds them, and is stale where they differ."""
    to = " ".join(f"10.0.{n}.0/24" for n in range(60, 90))
    script = ending(None, gateway_table([path(to)], True, NFT))
    pairs = [line for line in script.splitlines() if line.startswith("set ") and line.endswith(" 10.0.44.63")]
    assert len(pairs) == 30
    assert pairs == sorted(pairs)
