"""Whatever stands on a host reaches nobody's terminal as it is: no name, no comment, no line of a history."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.test_printing import is_harmless
from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.test_commands import CROSSING, Desk, Site

pytestmark = pytest.mark.lab

# ESC and BEL, C1 as UTF-8 and as a byte, right to left
WORDS = r"\033[2J\033]0;x\007\302\233 2J\233\342\200\256\342\201\246\342\200\250\177"


@pytest.fixture
def site(tmp_path: Path, lab_up: Callable[..., Lab]) -> Site:
    lab = lab_up("seed")
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write(f"{CROSSING}, persist: none, probe: icmp/10.0.44.1")
    return Site(desk, Bench(lab))


def told(site: Site, *words: str) -> str:
    """What a command says, as text and as JSON, on both streams: seen to be harmless."""
    said = ""
    for more in ((), ("--json",), ("-v",)):
        ran = site.desk.run(*words, *more)
        assert is_harmless((ran.out + ran.err).encode()), ran
        if more == ("--json",):
            json.loads(ran.out)
        said += ran.out + ran.err
    return said


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (r"a\302\233", r"a\x9b"),
        (r"\342\200\256evil", r"\u202eevil"),
        pytest.param(r"\342\201\246\177", r"\u2066\x7f", marks=pytest.mark.variants),
        # ip -j prints no JSON of these (iproute2 6.1), and its text says them as they are.
        (r"\033[2J\007", r"\x1b[2J\x07"),
        pytest.param(r"\233]0;x\007", r"]0;x\x07", marks=pytest.mark.variants),
    ],
)
def test_the_name_of_an_interface(site: Site, name: str, shown: str) -> None:
    site.bench.check(
        "gateway",
        f"name=$(printf '{name}'); ip link add \"$name\" type veth peer name p0 && "
        'ip link set "$name" up && ip addr add 10.0.44.70/24 dev "$name"',
    )
    assert shown in told(site, "facts")
    told(site, "plan")
    told(site, "status")


def test_the_comment_of_a_rule(site: Site) -> None:
    rules = (
        "table inet hers { chain f { type filter hook forward priority 0; policy accept; "
        f'ip daddr 10.0.44.0/24 drop comment "{WORDS}"; }}; }}'
    )
    site.bench.check("gateway", f"printf '{rules}' | nft -f -")
    for command in ("facts", "plan", "status", "verify"):
        said = told(site, command)
        if command == "plan":
            assert "hers" in said


def test_the_history(site: Site) -> None:
    line = "\t".join(
        [
            f"2026{WORDS}",
            f"deadbeef{WORDS}",
            f"mallory{WORDS}",
            f"apply {WORDS}",
            "2026",
            "confirm",
            "written",
        ]
    )
    forged = r"2026\r\nConfirmed. Transaction 1234abcd.\r\n"
    site.bench.check(
        "gateway",
        f"mkdir -m 700 /var/lib/crossnet && printf '{line}\\n{forged}{line}\\n' > /var/lib/crossnet/history",
    )
    said = told(site, "history")
    assert r"mallory\x1b[2J" in said
    assert "\nConfirmed." not in said
    assert r"deadbeef\x1b" in said


def test_the_journal_of_somebody_else(site: Site) -> None:
    site.bench.check(
        "gateway",
        "mkdir -m 700 /var/lib/crossnet /var/lib/crossnet/transaction && cd /var/lib/crossnet/transaction && "
        f"printf '{WORDS}\\nConfirmed. Transaction 1234abcd.\\n' > id && printf '{WORDS}' > journal.json && "
        "echo 1 > step",
    )
    for command in ("plan", "status", "undo", "recover"):
        said = told(site, command)
        assert r"\x1b[2J" in said, command
        assert "\nConfirmed." not in said
