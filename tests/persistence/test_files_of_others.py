"""Lines among any content of somebody else, in each format that takes them: his bytes stay his, ours come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest

from crossnet.facts import Facts, FileState
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route
from crossnet.persistence import network_scripts, networkd, wicked
from crossnet.persistence.needs import Needs, Unfit
from crossnet.resources import Change, Lines
from crossnet.values import Family, address, network
from design.factsheet import host_facts, with_files
from persistence.ifcfg_readers import by_initscripts, rules_by_initscripts
from persistence.test_network_scripts import carried_out
from persistence.wicked_reader import by_wicked

SCRIPTS = Owner("eth0", Keeper.NETWORK_SCRIPTS, "", f"{network_scripts.FOLDER}/ifcfg-net")
WICKED = Owner("eth0", Keeper.WICKED, "", f"{wicked.FOLDER}/ifcfg-eth0")
NETWORKD = Owner("eth0", Keeper.NETWORKD, "", "/etc/systemd/network/10-eth0.network")
EMPTY = host_facts("app", "")


@dataclass(frozen=True, slots=True)
class Format:
    """Where it stands, what is put there, lines as others write them, and what its program reads of a file."""

    path: str
    needs: Callable[[Random], Needs]
    keep: Callable[[Needs, Facts], Sequence[Lines]]
    theirs: tuple[str, ...]
    read: Callable[[bytes], list[str]]


def _routes(random: Random) -> tuple[Route, ...]:
    found = []
    for n in range(random.randrange(1, 4)):
        to = network(f"10.{60 + n}.{random.choice((0, 128))}.0/{random.choice((17, 24, 32))}")
        source = address("10.0.43.15") if random.random() < 0.3 else None
        metric = random.choice((0, 0, 7))
        found.append(Route(to, address("10.0.43.101"), "eth0", source, "boot", metric))
    return tuple(found)


def _routes6(random: Random) -> tuple[Route, ...]:
    return tuple(
        Route(
            network(f"fd00:{n}::/{random.choice((48, 64, 128))}"),
            address("fd00:43::101"),
            "eth0",
            None,
            "boot",
            1024,
        )
        for n in range(60, 60 + random.randrange(1, 4))
    )


def _rules(random: Random) -> tuple[PolicyRule, ...]:
    return tuple(
        PolicyRule(Family.V4, 5200 + n, table="main", destination=network(f"10.{60 + n}.0.0/16"))
        for n in range(random.randrange(1, 4))
    )


FORMATS = {
    "route6": Format(
        f"{network_scripts.FOLDER}/route6-net",
        lambda random: Needs(SCRIPTS, _routes6(random)),
        network_scripts.keep,
        ("fd00:9::/64 via fd00:43::9 dev eth0", "  fd00:8::/64   via fd00:43::9", "::/0 via fd00:43::1"),
        lambda data: by_initscripts(data.decode()),
    ),
    "rule": Format(
        f"{network_scripts.FOLDER}/rule-net",
        lambda random: Needs(SCRIPTS, (), _rules(random)),
        network_scripts.keep,
        ("from 10.9.0.0/16 table 7", "  to  10.8.0.0/16 lookup 9 pref 100", "fwmark 1 table 7"),
        lambda data: rules_by_initscripts(data.decode()),
    ),
    "ifroute": Format(
        f"{wicked.FOLDER}/ifroute-eth0",
        lambda random: Needs(WICKED, (*_routes(random), *_routes6(random))),
        wicked.keep,
        (
            "10.9.0.0/16 10.0.43.9 - eth0",
            "10.8.0.0  10.0.43.9\t255.255.0.0 - # mine",
            "default 10.0.43.1 - -",
            "fd00:9::/64 fd00:43::9",
            "10.7.0.0/16 - - eth0 unreachable",
            "10.6.0.0/16 10.0.43.9 \\\n   - eth0 mtu 1400",
            "nonsense that nobody reads",
            "10.5.0.0/16 10.0.43.9\r",
        ),
        lambda data: by_wicked(data, "eth0"),
    ),
}


def foreign(random: Random, theirs: Sequence[str]) -> list[str]:
    neutral = ("", "# caf\xe9 \u2192 x", "#10.60.0.0/16 10.0.43.101 - eth0", "  # x", " ", "\t")
    return [random.choice(theirs if random.random() < 0.6 else neutral) for _ in range(random.randrange(6))]


def as_meant(needs: Needs, form: Format) -> list[str]:
    """What the program reads of a file in which nothing else stands."""
    (alone,) = form.keep(needs, EMPTY)
    return form.read(alone.entry)


@pytest.mark.parametrize("form", FORMATS.values(), ids=list(FORMATS))
@pytest.mark.parametrize("seed", range(20))
def test_a_hundred_additions_and_removals_among_lines_of_others(form: Format, seed: int) -> None:
    random = Random(seed)

    def on(data: bytes | None) -> Facts:
        return EMPTY if data is None else with_files(EMPTY, {form.path: FileState(data, 0o600, "5:6")})

    for _ in range(100):
        head = foreign(random, form.theirs)
        text = "\n".join(head) + random.choice(("", "\n")) * bool(head)
        before = text.encode() if head or random.random() < 0.5 else None
        needs = form.needs(random)
        wanted = as_meant(needs, form)
        assert len(wanted) == len(needs.routes) + len(needs.rules)
        (entry,) = form.keep(needs, on(before))
        assert entry.path == form.path
        first = entry.knowing(None, on(before))
        data = carried_out(before, Change(None, first))
        assert data is not None
        assert data.startswith(before or b"")
        assert form.read(data) == form.read(before or b"") + wanted
        assert carried_out(data, Change(None, first).inverse()) == before  # at once: to the byte

        # Somebody writes above and below it.
        above = "".join(f"{line}\n" for line in foreign(random, form.theirs)).encode()
        below = "".join(f"{line}\n" for line in foreign(random, form.theirs)).encode()
        edited = above + data + below
        have = Lines.decode(first.encode()).ours(on(edited))
        assert have is not None
        assert not have.flaw
        left = carried_out(edited, Change(have, None))
        line_that_has_an_end = b"\n" if first.ended and below else b""
        assert (left or b"") == above + (before or b"") + line_that_has_an_end + below
        assert not set(wanted) & set(form.read(left or b""))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"10.9.0.0/16 10.0.43.9 \\\n", "ends with a backslash"),
        (b"10.9.0.0/16 10.0.43.9 \\", "ends with a backslash"),
        (b"10.9.0.0/16 \\ 10.0.43.9\n", "does not read it"),
        (b"10.9.0.0/16\0 10.0.43.9\n", "does not read it"),
    ],
)
def test_what_wicked_would_not_read_is_left_alone(data: bytes, why: str) -> None:
    facts = with_files(EMPTY, {f"{wicked.FOLDER}/ifroute-eth0": FileState(data, 0o644, "0:0")})
    needs = Needs(WICKED, _routes(Random(1)))
    with pytest.raises(Unfit, match=why):
        wicked.keep(needs, facts)
    (entry,) = wicked.keep(needs, EMPTY)
    assert not set(by_wicked(data + entry.entry, "eth0")) >= set(by_wicked(entry.entry, "eth0"))


@pytest.mark.parametrize("seed", range(20))
def test_a_hundred_drop_ins_say_what_they_are_for(seed: int) -> None:
    """systemd.network(5): sections, keys, values; the file is all crossnet's own."""
    random = Random(seed)
    for _ in range(100):
        routes = tuple(replace(route, protocol="143") for route in (*_routes(random), *_routes6(random)))
        rules = _rules(random)
        file = networkd.keep(Needs(NETWORKD, routes, rules), EMPTY, "# crossnet\n")
        sections = [
            dict(line.split("=", 1) for line in section.splitlines()[1:])
            for section in file.data.decode().split("\n[")[1:]
        ]
        assert [(each.get("Destination"), each.get("Gateway")) for each in sections[: len(routes)]] == [
            (str(route.destination), str(route.via)) for route in routes
        ]
        assert [each.get("Metric", "0") for each in sections[: len(routes)]] == [
            str(route.metric) for route in routes
        ]
        assert [(each["Priority"], each["To"]) for each in sections[len(routes) :]] == [
            (str(rule.priority), str(rule.destination)) for rule in rules
        ]
