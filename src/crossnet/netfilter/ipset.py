"""ipset, which holds the named sets of iptables: `ipset save` read, `ipset restore` written."""

from __future__ import annotations

from collections.abc import Iterable

from crossnet.netfilter import Set, Table
from crossnet.netfilter.iptables_words import split_words
from crossnet.netfilter.own import check_own, collapsed, networks_in_order
from crossnet.netfilter.xtables_words import split_lines
from crossnet.values import Network, network, show_network

# One size for all: `create -exist` takes a set as the same only with the same maxelem, which reserves
# nothing (the hash grows with its members).
_MOST_MEMBERS = 1_048_576
_NAME_LENGTH = 31  # IPSET_MAXNAMELEN 32 with the final NUL
# New members are collected here and swapped in. No name of an own set can have this character.
_ASIDE = "~"


_PREFIX = "xnet"


def _prefix(family: str) -> str:
    # Sets of both families share one name space; `from-` and the name of a crossing take up to 25 characters.
    return f"{_PREFIX}4-" if family == "ip" else f"{_PREFIX}6-"


def is_own_set(full: str) -> bool:
    """Whether a set of ipset is crossnet's, by its name."""
    return full.startswith((_prefix("ip"), _prefix("ip6")))


def set_name(family: str, name: str) -> str:
    """What ipset calls a set of the own table: `xnet4-from-business`; ValueError above 31 characters."""
    full = _prefix(family) + name
    if len(full) > _NAME_LENGTH:
        raise ValueError(f"{full!r} has more than the {_NAME_LENGTH} characters of an ipset name")
    return full


def own_name(family: str, full: str) -> str | None:
    """The name in the own table of a set of ipset; None when it is not crossnet's."""
    name = full.removeprefix(_prefix(family))
    return name if name not in (full, _ASIDE) else None


def parse_ipset_save(text: str) -> tuple[Set, ...]:
    """crossnet's own sets in what `ipset save` prints, sorted by name.

    Left out: those of another type than crossnet's, with exceptions (`nomatch`) and those that mask addresses before
    they compare. ValueError for a member that is no network.
    """
    held: dict[str, list[Network]] = {}
    unsayable: set[str] = set()
    for line in split_lines(text):
        if not line.startswith(("create ", "add ")) and line.strip():
            raise ValueError(f"not a line of `ipset save`: {line!r}")
        if _PREFIX not in line:
            continue
        match split_words(line):
            case [_, name, *_] if not is_own_set(name):
                pass
            case ["create", name, kind, *options]:
                held[name] = []
                if kind not in ("hash:ip", "hash:net") or {"netmask", "bitmask"} & set(options):
                    unsayable.add(name)
            case ["add", name, _, *options] if name in held and (name in unsayable or "nomatch" in options):
                unsayable.add(name)
            case ["add", name, member, *_] if name in held:
                held[name].append(network(member))
    return tuple(
        Set(name, collapsed(members)) for name, members in sorted(held.items()) if name not in unsayable
    )


def write_ipsets(have: Table | None, want: Table | None) -> tuple[str, str]:
    """Two texts for `ipset restore`: one before the rules change, one after.

    Before: every set that the wanted rules name is there with its members; one that exists gets them in one
    swap, so no packet meets a half-filled set. After: the sets that no rule names any more go. A text
    is empty when there is nothing to do. The first can be repeated after a failure.
    """
    had = {} if have is None else {each.name: each for each in have.sets}
    wanted: dict[str, Set] = {}
    before: list[str] = []
    if want is not None:
        check_own(want)
        wanted = {each.name: each for each in want.sets}
        for each in want.sets:
            if had.get(each.name) != each:
                before += _fill(want.family, each)
    after: list[str] = []
    if have is not None:
        after += [f"destroy {set_name(have.family, name)}\n" for name in had if name not in wanted]
    return "".join(before), "".join(after)


def _fill(family: str, each: Set) -> Iterable[str]:
    # hash:net for single addresses too: ipset swaps only sets of one type (7.17: "type does not match"),
    # and a set that rules use can be neither renamed nor made anew.
    kind = f"hash:net family {'inet' if family == 'ip' else 'inet6'} maxelem {_MOST_MEMBERS} -exist"
    name, aside = set_name(family, each.name), _prefix(family) + _ASIDE
    members = [part for member in networks_in_order(each.members) for part in _halves(member)]
    if len(members) > _MOST_MEMBERS:
        raise ValueError(f"set {each.name} has more than {_MOST_MEMBERS} members")
    return (
        f"create {name} {kind}\n",
        f"create {aside} {kind}\n",
        f"flush {aside}\n",  # left over from a run that was cut off
        *(f"add {aside} {show_network(member)}\n" for member in members),
        f"swap {aside} {name}\n",
        f"destroy {aside}\n",
    )


def _halves(member: Network) -> tuple[Network, ...]:
    """hash:net refuses a prefix length of 0 (ipset(8)): everything is its two halves."""
    return tuple(member.subnets()) if member.prefixlen == 0 else (member,)
