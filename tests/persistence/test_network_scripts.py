"""Routes in the files of network-scripts: what both of their readers make of them, and whose bytes stay whose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_network
from random import Random

import pytest

from crossnet.facts import Facts, FileState
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route
from crossnet.persistence import network_scripts
from crossnet.persistence.needs import Needs, Unfit
from crossnet.resources import Change, Lines, Splice
from crossnet.values import Family, address, network
from design.factsheet import host_facts, with_files
from persistence.ifcfg_readers import by_initscripts, by_networkmanager, is_variables

ETH0 = Owner("eth0", Keeper.NETWORK_SCRIPTS, "ifcfg-net", f"{network_scripts.FOLDER}/ifcfg-net")
BY_NM = Owner("eth0", Keeper.NETWORKMANAGER, "a profile", ETH0.file, "uuid")
PATH = f"{network_scripts.FOLDER}/route-net"
EMPTY = host_facts("app", "")


def route(text: str, metric: int = 0, source: str | None = None) -> Route:
    to, _, via = text.partition(" via ")
    src = address(source) if source else None
    return Route(network(to), address(via), "eth0", src, "boot", metric)


BUSINESS = route("10.0.44.0/24 via 10.0.43.101")


def on(data: bytes | None) -> Facts:
    return EMPTY if data is None else with_files(EMPTY, {PATH: FileState(data, 0o600, "5:6")})


def lines(data: bytes | None, *routes: Route, owner: Owner = ETH0, before: Lines | None = None) -> Lines:
    facts = on(data)
    (found,) = network_scripts.keep(Needs(owner, routes), facts)
    assert found.path == PATH
    return found.knowing(before, facts)


def carried_out(data: bytes | None, change: Change) -> bytes | None:
    (step,) = change.steps
    assert isinstance(step, Splice)
    if step.after is None:
        return None
    old = data or b""
    return old[: step.offset] + step.data + old[step.offset + step.length :]


def added(data: bytes | None, *routes: Route, owner: Owner = ETH0) -> bytes:
    done = carried_out(data, Change(None, lines(data, *routes, owner=owner)))
    assert done is not None
    return done


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, b"10.0.44.0/24 via 10.0.43.101 dev eth0\n"),
        (b"# mine\n", b"# mine\n10.0.44.0/24 via 10.0.43.101 dev eth0\n"),
        (b"default via 10.0.43.1", b"default via 10.0.43.1\n10.0.44.0/24 via 10.0.43.101 dev eth0\n"),
        (
            b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\nGATEWAY0=10.0.43.9",
            b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\nGATEWAY0=10.0.43.9\n"
            b"ADDRESS1=10.0.44.0\nNETMASK1=255.255.255.0\nGATEWAY1=10.0.43.101\n",
        ),
        (b"# ADDRESS0=\n", b"# ADDRESS0=\n10.0.44.0/24 via 10.0.43.101 dev eth0\n"),
        (
            b"NETMASK0=255.255.0.0;GATEWAY0=10.0.43.9\nADDRESS0=10.9.0.0 # mine\nADDRESS00=10.8.0.0\n",
            b"NETMASK0=255.255.0.0;GATEWAY0=10.0.43.9\nADDRESS0=10.9.0.0 # mine\nADDRESS00=10.8.0.0\n"
            b"ADDRESS1=10.0.44.0\nNETMASK1=255.255.255.0\nGATEWAY1=10.0.43.101\n",
        ),
    ],
)
def test_a_route_is_written_in_the_form_that_the_file_has(data: bytes | None, expected: bytes) -> None:
    assert added(data, BUSINESS) == expected


def test_the_plugin_is_told_the_metric_because_it_has_one_of_its_own() -> None:
    assert added(None, BUSINESS, owner=BY_NM) == b"10.0.44.0/24 via 10.0.43.101 dev eth0 metric 0\n"
    counted = added(b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\n", BUSINESS, owner=BY_NM).decode()
    assert by_networkmanager(counted)[1] == "10.0.44.0/24 via 10.0.43.101 metric 0"
    assert network_scripts.protocol(BY_NM) == "static"
    assert network_scripts.protocol(ETH0) == "boot"


def test_a_source_and_a_metric_are_said_where_there_is_a_word_for_them() -> None:
    particular = route("10.0.44.0/24 via 10.0.43.101", metric=5, source="10.0.43.15")
    assert added(None, particular) == b"10.0.44.0/24 via 10.0.43.101 dev eth0 src 10.0.43.15 metric 5\n"
    with pytest.raises(Unfit, match="no word for its source or its metric"):
        lines(b"ADDRESS0=10.9.0.0\n", particular)


def test_ipv6_has_a_file_of_its_own() -> None:
    six = Route(network("fd00:44::/64"), address("fd00:43::101"), "eth0", None, "boot", 1024)
    found = network_scripts.keep(Needs(ETH0, (BUSINESS, six)), EMPTY)
    assert [(each.path, each.entry) for each in found] == [
        (PATH, b"10.0.44.0/24 via 10.0.43.101 dev eth0\n"),
        (f"{network_scripts.FOLDER}/route6-net", b"fd00:44::/64 via fd00:43::101 dev eth0 metric 1024\n"),
    ]


def test_policy_rules_have_files_of_their_own_too() -> None:
    rule = PolicyRule(Family.V4, 5200, destination=network("10.0.44.0/24"), table="main")
    (found,) = network_scripts.keep(Needs(ETH0, (), (rule,)), EMPTY)
    assert (found.path, found.entry) == (
        f"{network_scripts.FOLDER}/rule-net",
        b"pref 5200 to 10.0.44.0/24 table main\n",
    )
    with pytest.raises(Unfit, match="NetworkManager does not read"):
        network_scripts.keep(Needs(BY_NM, (), (rule,)), EMPTY)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"ADDRESS0=10.9.0.0\nADDRESS2=10.9.2.0\n", "have a gap"),
        (b"ADDRESS1=10.9.0.0\n", "have a gap"),
        (b"ADDRESS0=10.9.0.0\nexport ADDRESS1=10.9.1.0\n", "line 2 .* more than plain assignments"),
        (b'ADDRESS0=10.9.0.0\nGATEWAY0="$GATEWAY1"\n', "line 2 .* more than plain assignments"),
        (b"ADDRESS0=10.9.0.0 \\\nNETMASK0=255.255.0.0\n", "line 1 .* more than plain assignments"),
        (b"10.9.0.0/16 via 10.0.43.9 \\\n", "ends with a backslash"),
        (b"10.9.0.0/16 via 10.0.43.9 \\", "ends with a backslash"),
    ],
)
def test_a_file_in_which_an_entry_would_not_be_read_or_others_would_be_is_left_alone(
    data: bytes, why: str
) -> None:
    with pytest.raises(Unfit, match=why):
        lines(data, BUSINESS)


def test_entries_behind_one_that_goes_move_up() -> None:
    mine = b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\n"
    made = added(mine, BUSINESS)
    later = made + b"# later\n  ADDRESS2=10.8.0.0\n  NETMASK2=255.255.0.0\n"
    have = lines(mine, BUSINESS).ours(on(later))
    assert have is not None
    left = carried_out(later, Change(have, None))
    assert left == mine + b"# later\n  ADDRESS1=10.8.0.0\n  NETMASK1=255.255.0.0\n"
    assert by_initscripts(left.decode()) == ["10.9.0.0/16", "10.8.0.0/16"]


ONE_LINE = (
    b"ADDRESS2=10.8.0.0 NETMASK2=255.255.0.0;GATEWAY2=10.0.43.8 # OPTIONS2=\nX='ADDRESS2=a b' OPTIONS2=\n"
)


@pytest.mark.parametrize(
    ("behind", "left"),
    [
        (ONE_LINE, ONE_LINE.replace(b"SS2=10", b"SS1=10").replace(b"K2=2", b"K1=2").replace(b"Y2=", b"Y1=")
         .replace(b"b' OPTIONS2", b"b' OPTIONS1")),
        (b"ADDRESS00=10.8.0.0\nNETMASK00=255.255.0.0\n", b"ADDRESS00=10.8.0.0\nNETMASK00=255.255.0.0\n"),
        (b"ADDRESS1=10.8.0.0\nADDRESS2=10.7.0.0\n", b"ADDRESS1=10.8.0.0\nADDRESS2=10.7.0.0\n"),
        (b"export OTHER=2\n", b"export OTHER=2\n"),
    ],
)  # fmt: skip
def test_entries_of_others_are_read_as_before_when_one_goes(behind: bytes, left: bytes) -> None:
    mine = b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\n"
    edited = added(mine, BUSINESS) + behind
    have = lines(mine, BUSINESS).ours(on(edited))
    assert have is not None
    assert not have.flaw
    assert carried_out(edited, Change(have, None)) == mine + left


def test_entries_that_cannot_get_other_numbers_are_told_and_hold_up_nothing_else() -> None:
    mine = b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\n"
    edited = added(mine, BUSINESS) + b"export ADDRESS2=10.8.0.0\n"
    have = lines(mine, BUSINESS).ours(on(edited))
    assert have is not None
    assert have.flaw.startswith("line 6 is more than plain `NAME=value`")
    assert lines(mine, BUSINESS).satisfied_by(have)


def test_a_route_less_or_more_takes_the_place_of_what_was_there() -> None:
    other = route("10.0.46.0/24 via 10.0.43.101")
    for mine in (b"# mine\n", b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\n"):
        both = lines(mine, BUSINESS, other)
        data = carried_out(mine, Change(None, both))
        for wanted in ((BUSINESS,), (other,), (other, BUSINESS)):
            want = lines(data, *wanted, before=both)
            have = want.ours(on(data))
            assert have is not None
            assert not want.satisfied_by(have)
            changed = carried_out(data, Change(have, want))
            assert changed == added(mine, *wanted)
            # A roll-back, and an undo by the record alone.
            assert carried_out(changed, Change(want, have)) == data
            known = Lines.decode(want.encode()).ours(on(changed))
            assert known is not None
            assert carried_out(changed, Change(known, None)) == mine


def test_where_the_file_got_the_other_form_since_the_entry_is_written_anew() -> None:
    first = lines(b"# mine\n", BUSINESS)
    data = carried_out(b"# mine\n", Change(None, first))
    assert data is not None
    turned = data + b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\n"
    want = lines(turned, BUSINESS, before=first)
    have = want.ours(on(turned))
    assert have is not None
    now = carried_out(turned, Change(have, want))
    assert now is not None
    assert by_initscripts(now.decode()) == ["10.9.0.0/16", "10.0.44.0/24 via 10.0.43.101"]


# ---- any content ---------------------------------------------------------------------------------


def foreign_route(random: Random) -> tuple[str, str, str]:
    third = random.randrange(256)
    return f"10.{random.choice((50, 51))}.{third}.0", "255.255.255.0", f"10.0.43.{random.randrange(2, 99)}"


def foreign(random: Random, variables: bool, first: int) -> list[str]:
    """Lines of somebody else; entries that are counted begin with the number `first`."""
    found: list[str] = []
    for _ in range(random.randrange(5)):
        to, mask, via = foreign_route(random)
        if variables and random.random() < 0.7:
            lead = random.choice(("", "", "  ", "\t"))
            said: tuple[str, ...] = (
                f"ADDRESS{first}={to}",
                f"NETMASK{first}={mask}",
                f"GATEWAY{first}={via}",
            )
            if random.random() < 0.3:
                said = (random.choice((" ", "; ", ";")).join(said),)
            found += [f"{lead}{each}" for each in said]
            first += 1
            if random.random() < 0.1:
                found += [f"ADDRESS00={to}", f"NETMASK00={mask}"]
        elif not variables and random.random() < 0.6:
            word = random.choice(("", "", " metric 7", "  src 10.0.43.15", "\r", " # mine", " proto 186"))
            found.append(f"{to}/24  via {via} dev eth0{word}")
        else:
            found.append(
                random.choice(("", "# caf\xe9 \u2192 x", "#10.0.44.0/24 via 10.0.43.101", "  # x", " "))
            )
    return found


def bare(data: bytes | None) -> list[str]:
    """The lines without their numbers."""
    return [re.sub(r"\b([A-Z]+)[1-9]?[0-9]=", r"\1=", line) for line in (data or b"").decode().split("\n")]


def read(data: bytes | None, owner: Owner) -> list[str]:
    reader = by_networkmanager if owner is BY_NM else by_initscripts
    told = reader((data or b"").decode())
    return [" ".join(line.split()).removesuffix(" metric 0").replace(" dev eth0", "") for line in told]


def ours(routes: Sequence[Route]) -> list[str]:
    return [f"{each.destination} via {each.via}" for each in routes]


@pytest.mark.parametrize("seed", range(20))
def test_a_hundred_additions_and_removals_in_files_of_others(seed: int) -> None:
    random = Random(seed)
    for _ in range(100):
        owner = random.choice((ETH0, BY_NM))
        variables = random.random() < 0.5
        head = foreign(random, variables, 0)
        text = "\n".join(head) + random.choice(("", "\n")) * bool(head)
        before: bytes | None = text.encode() if head or random.random() < 0.5 else None
        routes = [
            Route(network(f"10.{60 + n}.0.0/{random.choice((16, 24, 32))}"), address("10.0.43.101"), "eth0")
            for n in range(random.randrange(1, 4))
        ]
        first = lines(before, *routes, owner=owner)
        data = carried_out(before, Change(None, first))
        assert read(data, owner) == read(before, owner) + ours(routes)
        assert carried_out(data, Change(None, first).inverse()) == before  # at once: to the byte

        # Somebody writes below it, in the form that the file has.
        assert data is not None
        there = data.decode()
        counted = is_variables(there)
        behind = foreign(random, counted, len(re.findall(r"^\s*ADDRESS[0-9]=", there, re.MULTILINE)))
        more = "".join(f"{line}\n" for line in behind)
        edited = data + more.encode()
        rest = read(before, owner) + read(edited, owner)[len(read(data, owner)) :]

        fewer = routes[: random.randrange(1, len(routes) + 1)]
        want = lines(edited, *fewer, owner=owner, before=Lines.decode(first.encode()))
        have = want.ours(on(edited))
        assert have is not None
        assert not have.flaw
        changed = carried_out(edited, Change(have, want)) if not want.satisfied_by(have) else edited
        assert sorted(read(changed, owner)) == sorted(rest + ours(fewer))

        last = Lines.decode(want.encode()).ours(on(changed))
        assert last is not None
        left = carried_out(changed, Change(last, None))
        assert read(left, owner) == rest
        # Whose line had no end has one by now, where somebody wrote behind it.
        expected = before or b""
        if more:
            expected += (b"\n" if first.ended else b"") + more.encode()
        assert bare(left) == bare(expected)
        if not counted:
            assert (left or b"") == expected


def test_a_network_is_told_as_an_address_and_a_mask() -> None:
    said = added(b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\n", route("10.0.44.7/32 via 10.0.43.101"))
    assert by_initscripts(said.decode())[1] == f"{ip_network('10.0.44.7/32')} via 10.0.43.101"
