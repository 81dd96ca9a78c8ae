"""Routes where network-scripts look for them, and NetworkManager's ifcfg-rh plugin too: `route-eth0`, `rule-eth0`.

By ifup-routes of initscripts 9.49, and the reader of NetworkManager 1.18. A file is of one of two forms. With a single
`ADDRESSn=` in it all of it is variables, which a shell sources, and which are read from 0 to the first gap; else each
line is what `ip route add` takes, whole, with no comment behind it. The suffix is that of the ifcfg file, because the
plugin looks for no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from crossnet.facts import Facts
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route
from crossnet.persistence.needs import Needs, Unfit, file_of_others
from crossnet.resources import Lines, Resource, numbered
from crossnet.resources.policy_rule import words as rule_words
from crossnet.values import Family, family_of

FOLDER = "/etc/sysconfig/network-scripts"
_OF_NETWORKMANAGER = "static"

_VARIABLES = re.compile(rb"^[ \t]*ADDRESS[0-9]+=", re.MULTILINE)  # the very test of ifup-routes


def files(owner: Owner) -> tuple[str, ...]:
    """The files beside its ifcfg file in which something may stand."""
    suffix = owner.suffix
    return tuple(f"{FOLDER}/{kind}{six}-{suffix}" for kind in ("route", "rule") for six in ("", "6"))


def protocol(owner: Owner) -> str:
    """As whose a route comes back: `ip route add` says boot, NetworkManager static."""
    return _OF_NETWORKMANAGER if owner.keeper is Keeper.NETWORKMANAGER else "boot"


def keep(needs: Needs, facts: Facts) -> tuple[Lines, ...]:
    """The lines for all of it; Unfit where one of the files cannot say it."""
    return tuple(_lines(needs, facts))


def has_route(written: Resource, route: Route) -> bool:
    """Whether it is crossnet's entry there with this very route, in whichever form."""
    entry = _entry(written)
    metric = route.protocol == _OF_NETWORKMANAGER
    if not numbered.is_numbered(entry):
        return _words(route, metric=metric).encode() in entry.splitlines()
    try:
        return any(numbered.places(entry, _numbered(0, route, "", metric=metric).encode()))
    except Unfit:
        return False


def has_rule(written: Resource, rule: PolicyRule) -> bool:
    """Whether it is crossnet's entry there with this very policy rule."""
    return " ".join(rule_words(rule)).encode() in _entry(written).splitlines()


def _entry(written: Resource) -> bytes:
    return written.entry if isinstance(written, Lines) and written.path.startswith(f"{FOLDER}/") else b""


def _lines(needs: Needs, facts: Facts) -> Iterable[Lines]:
    told = needs.owner.keeper is Keeper.NETWORKMANAGER  # its own metric is not that of the kernel
    for six, family in (("", Family.V4), ("6", Family.V6)):
        path = f"{FOLDER}/route{six}-{needs.owner.suffix}"
        routes = [route for route in needs.routes if family_of(route.destination) is family]
        if routes:
            data = file_of_others(facts, path)
            is_sourced = bool(_VARIABLES.search(data))
            if is_sourced:
                if line := numbered.unplain(data):
                    raise Unfit(f"line {line} of {path} is more than plain assignments, and a shell runs it")
                entry = "".join(
                    _numbered(number, route, path, metric=told) for number, route in enumerate(routes)
                )
                if not numbered.is_whole(data):
                    raise Unfit(f"the numbers in {path} have a gap, and nothing behind it is read")
            else:
                entry = "".join(f"{_words(route, metric=told)}\n" for route in routes)
            yield Lines(path, entry.encode(), checked_by=("bash", "-n") if is_sourced else ())
        path = f"{FOLDER}/rule{six}-{needs.owner.suffix}"
        rules = [rule for rule in needs.rules if rule.family is family]
        if rules:
            if told:
                # NetworkManager 1.18 leaves all routes of an interface alone that has such a file.
                raise Unfit(f"NetworkManager does not read {path}")
            file_of_others(facts, path)
            yield Lines(path, "".join(f"{' '.join(rule_words(rule))}\n" for rule in rules).encode())


def _words(route: Route, *, metric: bool) -> str:
    """Without its protocol, with which the plugin would leave the line out."""
    words = [str(route.destination), *(["via", str(route.via)] if route.via else [])]
    words += ["dev", str(route.device)]
    words += ["src", str(route.source)] if route.source else []
    words += ["metric", str(route.metric)] if metric or route.metric else []
    return " ".join(words)


def _numbered(number: int, route: Route, path: str, *, metric: bool) -> str:
    if route.source is not None or (route.metric and not metric) or family_of(route.destination) is Family.V6:
        raise Unfit(f"the form of {path} (ADDRESS0=) has no word for its source or its metric")
    said = {
        "ADDRESS": str(route.destination.network_address),
        "NETMASK": str(route.destination.netmask),
        **({"GATEWAY": str(route.via)} if route.via else {}),
        **({"METRIC": str(route.metric)} if metric else {}),
    }
    return "".join(f"{name}{number}={value}\n" for name, value in said.items())
