"""The members of an ipset as values: exceptions (`nomatch`) and longest prefixes worked out, like rows joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from crossnet.netfilter.foreign import Names, Numbers, Rows, Values

# Ranges of each part, or the name of an interface
Ranges = tuple[tuple[int, int], ...]
Row = tuple[Ranges | str, ...]
Entry = tuple[Row, bool]  # true: an exception (`nomatch`)
Nets = Mapping[tuple[int, int], Ranges]  # of each network what it decides

# Behind the name of an interface that is only the beginning of names; no name can have it
BEGINNING = "/"

# Beyond this, exceptions (`nomatch`) in two dimensions are not worked out
MOST_EXCEPTIONS = 200_000


def values_of(entries: list[Entry], shape: tuple[str, ...], nets: Nets) -> Values | Rows | None:
    rows: list[Row] | None = [row for row, _ in entries]
    if nets or any(nomatch for _, nomatch in entries):
        rows = _decided(entries, shape, nets)
    if rows is None:
        return None
    if len(shape) == 1:
        return Numbers.of(ranges for row in rows for ranges in row[0])  # type: ignore[misc]
    # what differs in one column only is one row: first of the last column, then of the first
    for at in (len(shape) - 1, 0):
        rows = _joined(rows, at)
    return Rows(tuple(tuple(_column(part) for part in row) for row in rows))


def _column(part: Ranges | str) -> Values:
    if isinstance(part, str):
        return (
            Names(frozenset(), frozenset({part[:-1]}))
            if part.endswith(BEGINNING)
            else Names(frozenset({part}))
        )
    return Numbers(part)


def _joined(rows: list[Row], at: int) -> list[Row]:
    same: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        same.setdefault((*row[:at], *row[at + 1 :]), []).append(row)
    joined: list[Row] = []
    for each in same.values():
        if len(each) == 1 or isinstance(each[0][at], str):
            joined += each
            continue
        ranges = Numbers.of(part for row in each for part in row[at]).ranges  # type: ignore[misc]
        joined.append((*each[0][:at], ranges, *each[0][at + 1 :]))
    return joined


def _decided(entries: list[Entry], shape: tuple[str, ...], nets: Nets) -> list[Row] | None:
    """What is left of each row when the longest prefix decides, as ip_set_hash_gen.h looks them up.

    With `nets` that is the longest of all these networks, else of those that are equal in all other parts.
    """
    columns = [at for at, part in enumerate(shape) if part == "net"]
    groups: dict[tuple[object, ...], list[Entry]] = {}
    for row, nomatch in entries:
        if nomatch and any(isinstance(part, str) and part.endswith(BEGINNING) for part in row):
            return None  # which of a name and its wildcard is found first depends on the hash
        rest = () if nets else tuple(part for at, part in enumerate(row) if at not in columns)
        groups.setdefault(rest, []).append((row, nomatch))
    left: list[Row] = []
    for group in groups.values():
        if len(columns) == 1:
            (at,) = columns
            own = nets or own_parts(first_of(row[at]) for row, _ in group)
            for row, nomatch in group:
                if not nomatch:
                    left.append((*row[:at], own[first_of(row[at])], *row[at + 1 :]))
            continue
        excepted = sum(nomatch for _, nomatch in group)
        if excepted * (len(group) - excepted) > MOST_EXCEPTIONS:
            return None
        earlier: list[Row] = []
        for row, nomatch in sorted(group, key=lambda entry: [_size(entry[0][at]) for at in columns]):
            if nomatch:
                earlier.append(row)
                continue
            pieces = [row]
            for other in earlier:
                pieces = [piece for each in pieces for piece in _subtracted(each, other, columns)]
            left += pieces
    return [row for row in left if all(row)]


def own_parts(networks: Iterable[tuple[int, int]]) -> Nets:
    """Of each network what lies in no longer prefix of the others."""
    own: dict[tuple[int, int], list[tuple[int, int]]] = {}
    around: list[tuple[int, int]] = []
    free = 0  # the first number of the innermost network that is given to none yet
    for network in sorted(set(networks), key=lambda each: (each[0], -each[1])):
        own[network] = []
        while around and around[-1][1] < network[0]:
            outer = around.pop()
            if free <= outer[1]:
                own[outer].append((free, outer[1]))
                free = outer[1] + 1
        if around and free < network[0]:
            own[around[-1]].append((free, network[0] - 1))
        free = network[0]
        around.append(network)
    while around:
        outer = around.pop()
        if free <= outer[1]:
            own[outer].append((free, outer[1]))
            free = outer[1] + 1
    return {network: tuple(ranges) for network, ranges in own.items()}


def first_of(part: Ranges | str) -> tuple[int, int]:
    assert not isinstance(part, str)
    return part[0]


def _size(part: Ranges | str) -> int:
    first, last = first_of(part)
    return last - first


def _subtracted(row: Row, other: Row, nets: Sequence[int]) -> list[Row]:
    """The part of a row that is not in the other, which differs from it in the networks only."""
    inside = row
    pieces: list[Row] = []
    for at in nets:
        mine, theirs = inside[at], other[at]
        assert not isinstance(mine, str)
        assert not isinstance(theirs, str)
        (first, last), (low, high) = mine[0], theirs[0]
        if high < first or last < low:
            return [row]
        if first < low:
            pieces.append((*inside[:at], ((first, low - 1),), *inside[at + 1 :]))
        if high < last:
            pieces.append((*inside[:at], ((high + 1, last),), *inside[at + 1 :]))
        inside = (*inside[:at], ((max(first, low), min(last, high)),), *inside[at + 1 :])
    return pieces
