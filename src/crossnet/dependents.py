"""What a host is given back when crossnet leaves it, where others live on what crossnet switched on.

The state before crossnet is the rule. But whoever came since, and found the host forwarding, cannot know that crossnet
made it so; and what was live in an earlier start of the host is not what it would be without crossnet today.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from crossnet.design import Impact
from crossnet.design.applied import as_applied
from crossnet.design.forwarded import rules_for_forwarded, said
from crossnet.design.settings import switching_on
from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.facts.managers import manager_of
from crossnet.facts.sysctls import FORWARDING, BootSetting, at_boot
from crossnet.path import Path
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.record import Owned, Record
from crossnet.resources import Resource, RuleTable, Sysctl
from crossnet.several import few, joined
from crossnet.values import Family, family_of

# Kinds of interfaces behind which there is somebody else: containers, machines, the other end of a tunnel.
_LEADING = frozenset(
    {
        *("bridge", "veth", "tun", "wireguard", "ipip", "gre", "gretap", "sit", "ip6tnl", "ip6gre"),
        *("vti", "vti6", "xfrm", "ppp", "vxlan", "geneve", "netkit"),
    }
)

# So many are named in one sentence, and of so many interfaces it is asked where packets go that come by them.
_NAMED = 3
_WALKED = 12

Identity = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Parting:
    """What some of a host's resources become when they are given back; `stays` are left as they are.

    `impacts` say why, and what holds after the next boot where that is something else.
    """

    originals: Mapping[Identity, Resource] = field(default_factory=lambda: MappingProxyType({}))
    stays: frozenset[Identity] = frozenset()
    impacts: tuple[Impact, ...] = ()

    def original(self, owned: Owned) -> Resource | None:
        return self.originals.get(owned.identity, owned.original)


def before(resource: Resource, facts: Facts) -> tuple[str, ...] | None:
    """What others have on a host that is of no use while this is off: what its record keeps of that time.

    None of what nobody needs.
    """
    for family, name in FORWARDING.items():
        if name in resource.values:
            return tuple(dict.fromkeys(_declared(facts, family)))
    return None


def parting(facts: Facts, record: Record, keep: Collection[Identity]) -> Parting:
    """What the host gets back of what nobody wants any more; `keep` is what stays crossnet's there."""
    going = [owned for owned in record.owned if owned.identity not in keep]
    stays: set[Identity] = set()
    originals: dict[Identity, Resource] = {}
    impacts: list[Impact] = []
    for family, name in FORWARDING.items():
        owned = next((one for one in going if one.identity == (Sysctl.kind, name)), None)
        if owned is not None and _switches_off(owned, facts) and (why := _need(owned, facts, record, family)):
            stays.add(owned.identity)
            if family is Family.V6:  # else it forgets its routers, and the routes that they advertise
                stays |= {
                    one.identity
                    for one in going
                    if isinstance(one.applied, Sysctl) and one.applied.name.endswith(".accept_ra")
                }
            impacts.append(_staying(facts, family, why, known=not owned.is_unknown))
    for owned in going:
        was = owned.original
        if not isinstance(was, Sysctl) or owned.identity in stays or not _is_of_an_earlier_boot(owned, facts):
            continue
        given = _by_the_files(was, facts)
        if differing := _values(given).items() - _values(was).items():
            originals[owned.identity] = given
            impacts.append(_of_an_earlier_boot(facts, was, sorted(differing)))
    found = Parting(MappingProxyType(originals), frozenset(stays), tuple(impacts))
    return replace(found, impacts=(*found.impacts, *_then_at_boot(facts, going, keep, found)))


def fenced(facts: Facts, record: Record) -> Iterator[str]:
    """What of others came since crossnet did, and is stopped by its fence, a line for each family."""
    for family, name in FORWARDING.items():
        owned = record.find(Sysctl(name, "1"))
        tables = [one for one in RuleTable.traces(facts) if one.family is family]
        if owned is None or owned.original is None or not any(table.holds_fence for table in tables):
            continue
        if came := _came(owned, facts, record, family):
            yield (
                f"{facts.host}: the fence stops {family.label} packets that others there want forwarded: "
                f"{_listed(came)}, which came after crossnet. Name them in a crossing; `fence: off` lets everybody "
                "pass"
            )


# ---- who needs forwarding ---------------------------------------------------------------------------


def _switches_off(owned: Owned, facts: Facts) -> bool:
    """Whether it would go off, or may: where its record is lost, nobody knows whether it was on before."""
    on = facts.sysctls.get(owned.identity[1], "0") != "0"
    was_off = isinstance(owned.original, Sysctl) and owned.original.value == "0"
    return on and (was_off or owned.is_unknown)


def _need(owned: Owned, facts: Facts, record: Record, family: Family) -> str:
    """Why forwarding stays on, in words; nothing where nobody needs it."""
    setting = _at_boot(facts, FORWARDING[family])
    if setting is not None and setting.switches_on and _is_of_an_earlier_boot(owned, facts):
        return (
            f"{setting.file} switches it on, and without crossnet would have done so at the host's last boot"
        )
    came = _came(owned, facts, record, family)
    if not came:
        return ""
    ways = _ways(facts, family, came)
    used = {name for way in ways for name in way}
    passing = [one for one in came if one.link is None or one.link.name in used]
    if not (passing and ways):
        return ""
    return (
        f"since crossnet switched it on, others have come to need it: {_listed(passing)}{_open(ways, came)}"
    )


@dataclass(frozen=True, slots=True)
class _Dependent:
    """What of others is of no use where nothing is forwarded; `link` where that is an interface."""

    words: str
    link: Link | None = None


def _came(owned: Owned, facts: Facts, record: Record, family: Family) -> list[_Dependent]:
    """What of others was not there before crossnet."""
    found = [
        _Dependent(f"{f'{whose}, ' if (whose := manager_of(link)) else ''}interface {link.name}", link)
        for link in _new_interfaces(owned, facts)
        if _is_used(link, facts, family)
    ]
    if owned.others is None and not owned.is_unknown:
        return found  # it was off, and what is written there may be older than crossnet
    paths = [one for each in record.crossings for one in each.carried if one.family is family]
    declared = dict.fromkeys(
        each for each in _declared(facts, family, paths) if each not in (owned.others or ())
    )
    return [*found, *map(_Dependent, declared)]


def _declared(facts: Facts, family: Family, paths: Collection[Path] = ()) -> Iterator[str]:
    """What somebody has written for forwarded packets: rules, and files that switch it on."""
    setting = _at_boot(facts, FORWARDING[family])
    if setting is not None and setting.switches_on:
        yield f"{setting.file} sets {setting.name} = {setting.value}"
    own = [item.address for link in facts.links for item in link.of(family)]
    yield from map(said, rules_for_forwarded(facts.firewall, family, own, paths))


def _new_interfaces(owned: Owned, facts: Facts) -> Iterator[Link]:
    """Interfaces of others behind which there is somebody, and that were not there when crossnet came."""
    names = _interfaces_then(owned)
    # An interface that is gone may be here under another name.
    gone = names - {link.name for link in facts.links}
    for link in facts.links:
        leads = link.kind in _LEADING and bool(names) and not (gone and link.kind == "veth")
        if link.name not in names and (leads or manager_of(link)):
            yield link


def _interfaces_then(owned: Owned) -> frozenset[str]:
    """The interfaces that there were, as far as the record tells: those whose own settings it has."""
    disturbed = owned.original.disturbed if isinstance(owned.original, Sysctl) else ()
    names = (name.split(".")[3].replace("/", ".") for name, _ in disturbed if name.endswith(".forwarding"))
    return frozenset(names) - {"all", "default"}


def _is_used(link: Link, facts: Facts, family: Family) -> bool:
    """Whether an interface has an address of the family, or a route of it leads there."""
    return bool(link.of(family)) or any(
        route.device == link.name and route.type == "unicast"
        for route in facts.routes
        if family_of(route.destination) is family
        and not (route.destination.is_link_local or route.destination.is_multicast)
    )


def _ways(facts: Facts, family: Family, came: Sequence[_Dependent]) -> set[tuple[str, str]]:
    """From which interface to which other one anything passes when crossnet's rules are gone, those first that came."""
    from crossnet.reach.transit import forwarded

    then = as_applied(facts, [Sysctl(FORWARDING[family], "1")])
    new = [one.link.name for one in came if one.link is not None]
    used = [link.name for link in facts.links if link.name != "lo" and _is_used(link, facts, family)]
    first = sorted(used, key=lambda name: name not in new)[:_WALKED]
    return {(each.ingress, each.egress) for each in forwarded(then, family, first)}


def _open(ways: Collection[tuple[str, str]], came: Sequence[_Dependent]) -> str:
    new = {one.link.name for one in came if one.link is not None}
    others = sorted({ingress for ingress, egress in ways if not {ingress, egress} & new})
    if not others:
        return ""
    by = joined(others[:_NAMED])
    return f". Without crossnet's rules it also forwards for everybody what comes in by {by}"


def _staying(facts: Facts, family: Family, why: str, *, known: bool) -> Impact:
    name = FORWARDING[family]
    though = (
        "though it was 0 before crossnet" if known else "and whether it was 0 before crossnet is not known"
    )
    return Impact(
        "forwarding-stays",
        facts.host,
        f"{name} stays 1, {though}: {why}. `sysctl -w {name}=0` switches it off when nobody needs it any more",
    )


# ---- earlier boots, and the next one ----------------------------------------------------------------


def _is_of_an_earlier_boot(owned: Owned, facts: Facts) -> bool:
    return bool(owned.boot and facts.boot) and owned.boot != facts.boot


def _values(setting: Sysctl) -> dict[str, str]:
    return dict([(setting.name, setting.value), *setting.disturbed])


def _by_the_files(was: Sysctl, facts: Facts) -> Sysctl:
    """A setting as the host's own files give it at boot, where they do: today's start began with that."""
    given = {
        name: line.value if (line := _deciding(facts, name)) else value
        for name, value in _values(was).items()
    }
    return Sysctl(was.name, given.pop(was.name), tuple(given.items()))


def _of_an_earlier_boot(facts: Facts, was: Sysctl, differing: Sequence[tuple[str, str]]) -> Impact:
    values = _values(was)
    words = [
        f"{name} = {value} by {setting.file} (it was {values[name]})"
        for name, value in differing
        if (setting := _deciding(facts, name)) is not None
    ]
    return Impact(
        "earlier-boot",
        facts.host,
        "was rebooted since crossnet came, so it gets back what its own files set at boot, not what was live before: "
        f"{few(words, _NAMED)}",
    )


def _deciding(facts: Facts, name: str) -> BootSetting | None:
    """The line that gives a setting its value at boot: its own, or that of forwarding, which sets every interface."""
    found = _at_boot(facts, name)
    family = next((each for each in Family if name.startswith(f"net.ipv{each.value}.conf.")), None)
    if found is None and family is not None and name.endswith(".forwarding") and name != FORWARDING[family]:
        return _at_boot(facts, FORWARDING[family])
    return found


def _at_boot(facts: Facts, name: str) -> BootSetting | None:
    """What sets it at boot when crossnet's own file is gone."""
    others = tuple(item for item in facts.boot_settings if item.file != SYSCTL_FILE)
    return at_boot(others, name, systemd=facts.capabilities.systemd)


def _then_at_boot(
    facts: Facts, going: Sequence[Owned], keep: Collection[Identity], found: Parting
) -> Iterator[Impact]:
    """Where forwarding is something else after the next boot than after this change."""
    goes = {owned.identity for owned in going}
    for name in FORWARDING.values():
        if (Sysctl.kind, name) in keep:
            continue
        persisted = any(item.file == SYSCTL_FILE and item.name == name for item in facts.boot_settings)
        stays = (Sysctl.kind, name) in found.stays
        if not (stays or (persisted and ("file", SYSCTL_FILE) in goes)):
            continue
        now = _after(facts, name, going, found) != "0"
        setting = _at_boot(facts, name)
        then = setting is not None and setting.switches_on
        if now and not then:
            yield Impact("other-at-boot", facts.host, _off_at_boot(facts, name, setting))
        elif then and not now:
            assert setting is not None
            yield Impact(
                "other-at-boot",
                facts.host,
                f"{name} is 0 now, and {setting.value} after the next boot: {setting.file} sets it, and crossnet's "
                "fence is gone then",
            )


def _after(facts: Facts, name: str, going: Sequence[Owned], found: Parting) -> str:
    """The value of a setting after the change."""
    for owned in going:
        if owned.identity == (Sysctl.kind, name) and owned.identity not in found.stays:
            original = found.original(owned)
            return original.value if isinstance(original, Sysctl) else facts.sysctls.get(name, "0")
    return facts.sysctls.get(name, "0")


def _off_at_boot(facts: Facts, name: str, setting: BootSetting | None) -> str:
    starting = list(switching_on(facts, name))
    by = f"{setting.file} sets it to 0" if setting else "no file of the host's own sets it"
    if starting:
        when = "switches it on when it starts" if len(starting) == 1 else "switch it on when they start"
        return f"{name} is 1 until the next boot, when {by}; {joined(starting)} {when}"
    return (
        f"{name} is 1 until the next boot, when {by}. Write `{name} = 1` into a file of its own in /etc/sysctl.d for "
        "whoever needs it then"
    )


def _listed(came: Sequence[_Dependent]) -> str:
    return few([one.words for one in came], _NAMED)
