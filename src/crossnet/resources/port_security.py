"""What crossnet has opened at a port of a cloud: address pairs and a security group of its own, or all of it.

What others have set at the port is no part of it: it is neither changed nor put back. So undo takes out what is
crossnet's and leaves what came meanwhile. Only where port security is switched off nothing of others can stay there
(the API refuses groups and pairs then): they are kept here, to be written back.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.openstack.api import is_made_as
from crossnet.openstack.entry import command
from crossnet.openstack.ports import AddressPair, CloudFacts, GroupRule, Port, SecurityGroup, Sought
from crossnet.openstack.typed import pair_words, rule_words
from crossnet.resources.at_cloud import AtCloud, cloud_of
from crossnet.resources.resource import Lingering, Resource
from crossnet.several import few
from crossnet.values import Network, show_network

MOST = 4  # networks or rules that a line names


@dataclass(frozen=True, slots=True)
class Kept:
    """What a port had before its port security was switched off: ids of groups, and pairs.

    `names` are what the cloud calls these groups now; `gone` were among them, and are no more.
    """

    groups: tuple[str, ...] = ()
    pairs: tuple[AddressPair, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)
    gone: tuple[str, ...] = field(default=(), compare=False)

    def seen_in(self, cloud: CloudFacts, project: str) -> Kept:
        """The same without groups that are gone, which nobody could write back."""
        gone = tuple(each for each in self.groups if each not in cloud.groups and cloud.would_see(project))
        left = tuple(each for each in self.groups if each not in gone)
        names = tuple(cloud.groups[each].name or each if each in cloud.groups else each for each in left)
        return Kept(left, self.pairs, names, gone)


@dataclass(frozen=True, slots=True)
class PortSecurity(AtCloud):
    """What a port lets through for crossnet.

    `pairs` are the networks whose addresses it may send besides its own, `given` those of them that others had let it
    send already. `rules` are those of a security group that crossnet made for it, none where it has none; where that
    `has_group_left`, the port is not in it any more, so that they admit nothing. `off` is what port security is
    switched off for: all else is empty then. `applied` is it as crossnet applied it last, `other_name` what its cloud
    calls the port where it has not the address, or is plugged in elsewhere.
    """

    kind: ClassVar[str] = "port_security"
    rank: ClassVar[int] = -1  # the cloud lets it through before a host sends it, and stops after
    port: str
    project: str
    interface: str
    address: str
    pairs: tuple[Network, ...] = ()
    given: tuple[Network, ...] = ()
    rules: tuple[GroupRule, ...] = ()
    off: Kept | None = None
    has_group_left: bool = False
    applied: PortSecurity | None = field(default=None, compare=False, repr=False)
    other_name: str = field(default="", compare=False, repr=False)

    @property
    def key(self) -> str:
        return self.port

    @property
    def group(self) -> str:
        """What its security group is called."""
        return f"crossnet-{self.port}"

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        """Those at whose ports a group of crossnet's own is; which pairs there are crossnet's, it does not tell."""
        cloud = facts.cloud
        if not isinstance(cloud, CloudFacts):
            return ()
        found = (
            cls(cloud.cloud, port.id, port.project, device, address_at(facts, device))
            for device, port in cloud.ports.items()
        )
        known = ((one, own_group(one, facts)) for one in found)
        return tuple(replace(one, rules=group.rules) for one, group in known if group is not None)

    @property
    def untraced(self) -> str:
        return f"address pairs of the port of {self.shown_at} in cloud {self.cloud}"

    @property
    def sought(self) -> Sought:
        kept = self.off.groups if self.off is not None else ()
        return Sought(frozenset((self.port,)), frozenset(kept), frozenset((self.group,)))

    def knowing(self, before: Resource | None, facts: Facts) -> Self:
        applied = before if isinstance(before, PortSecurity) else None
        port = self._port(facts)
        if port is None:
            return replace(self, applied=applied)
        own = frozenset(applied.pairs) if applied else frozenset()
        if self.off is not None:
            is_ours = applied is not None and applied.off is not None and port.secured is False
            kept = applied.off if applied is not None and is_ours else self._kept(port, facts, own)
            return replace(self, applied=applied, off=kept)
        there = _sent(port)
        wanted = (*self.pairs, *self.given)
        given = tuple(each for each in wanted if each in there and each not in own)
        pairs = tuple(each for each in wanted if each not in given)
        return replace(self, applied=applied, pairs=pairs, given=given)

    def _kept(self, port: Port, facts: Facts, own: frozenset[Network]) -> Kept:
        """What others have set at the port."""
        group = own_group(self, facts)
        mine = group.id if group else ""
        groups = tuple(each for each in port.groups if each != mine)
        return Kept(groups, tuple(each for each in port.pairs if not _is_own(each, port, own)))

    def current(self, facts: Facts) -> PortSecurity | None:
        port = self._port(facts)
        if port is not None:
            return self._now(port, facts)
        group = own_group(self, facts)
        if group is None or self.untold(facts):
            return None
        # What is left of a port that was deleted.
        return replace(
            self, pairs=(), given=(), rules=group.rules, off=None, has_group_left=True, applied=None
        )

    def _now(self, port: Port, facts: Facts) -> PortSecurity | None:
        """What there is of it at a port, which is of the project that its cloud says."""
        own = replace(self, project=port.project)
        applied, group = self.applied or self, own_group(own, facts)
        cloud = cloud_of(facts, self.cloud)
        is_it = _is_plugged(port, cloud) and self.address in map(str, port.addresses)
        name = "" if is_it else port.shown
        if port.secured is False and applied.off is not None:
            kept = applied.off.seen_in(cloud, self.project)
            return replace(applied, project=port.project, off=kept, applied=None, other_name=name)
        there = _sent(port)
        attached = group is not None and group.id in port.groups
        now = replace(
            own,
            pairs=tuple(each for each in dict.fromkeys((*self.pairs, *applied.pairs)) if each in there),
            given=tuple(each for each in self.given if each in there),
            rules=group.rules if group is not None else (),
            off=None,
            has_group_left=group is not None and not attached,
            applied=None,
            other_name=name,
        )
        return now if now.is_ours or now.given else None

    def ours(self, facts: Facts) -> PortSecurity | None:
        now = self.current(facts)
        return now if now is not None and now.is_ours else None

    @property
    def admits(self) -> frozenset[GroupRule]:
        """What its group has the port take."""
        return frozenset() if self.has_group_left else frozenset(self.rules)

    @property
    def is_ours(self) -> bool:
        """Whether anything of it is crossnet's."""
        return bool(self.pairs or self.rules) or self.off is not None

    def untold(self, facts: Facts) -> str:
        cloud = cloud_of(facts, self.cloud)
        if self._port(facts) is not None:
            return ""
        if cloud.would_see(self.project):
            return ""
        return (
            f"the port of {self.shown_at} in cloud {self.cloud} is not seen, and cannot be told from one that was "
            f"deleted: it is of project {self.project}, the credentials of {cloud.project or 'another'}. What crossnet "
            f"opened there stays, and stays recorded: do this again with credentials of project {self.project}, or of "
            "an administrator"
        )

    def satisfied_by(self, have: Self) -> bool:
        return _content(self) == _content(have)

    def has_place(self, facts: Facts) -> bool:
        return self._port(facts) is not None

    def without(self, facts: Facts) -> tuple[str, ...]:
        if (port := self._port(facts)) is not None:
            if not _is_plugged(port, cloud_of(facts, self.cloud)):
                return (
                    f"the port {port.shown} of {self.shown_at} is plugged into no interface of it any more",
                )
            return ()
        if why := self.untold(facts):
            return (why,)
        return (f"the port {self.port} of {self.shown_at} is no more in cloud {self.cloud}",)

    def differences(self, now: Self | None) -> tuple[str, ...]:
        at = f"port of {self.shown_at}"
        if self.off is not None:
            return (f"{at}: port security is on, was switched off",)
        if now is None or not (now.pairs or now.given or now.admits):
            return (f"{at}: what was opened there is closed, or its port security is off",)
        lost = [
            show_network(each) for each in (*self.pairs, *self.given) if each not in (*now.pairs, *now.given)
        ]
        found = [f"{at}: it may not send {few(lost, MOST)} any more"] if lost else []
        if now.admits != self.admits:
            less, more = self.admits - now.admits, now.admits - self.admits
            found += (
                [f"{at}: its group {self.group} lacks {few(sorted(map(shown_rule, less)), MOST)}"]
                if less
                else []
            )
            found += (
                [f"{at}: its group {self.group} also admits {few(sorted(map(shown_rule, more)), MOST)}"]
                if more
                else []
            )
        return tuple(found) or (f"{at}: its security was changed",)

    @property
    def shown_at(self) -> str:
        return f"{self.interface} {self.address}"

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        name = have.other_name if have is not None else ""
        which = f"{side.shown_at} (port {name})" if name else side.shown_at
        return f"{which}: {'; '.join(_told(have, want))}"

    @classmethod
    def lingers(cls, have: Self, want: Self | None, facts: Facts) -> Lingering | None:
        """Flows to services of the host itself: they need no pair (measured with Neutron's iptables driver)."""
        if (want is not None and want.off is not None) or not (
            have.off is not None or have.admits - (want.admits if want is not None else frozenset())
        ):
            return None
        return Lingering(
            "flows-live-on",
            f"what is open by then to services of {facts.host} itself at {have.shown_at} goes on until it ends: the "
            f"cloud lets known flows pass. `ss -tn src {have.address}` on {facts.host} shows them",
        )

    @classmethod
    def typed(cls, have: Self | None, want: Self | None) -> tuple[str, ...]:
        return tuple(_typed(have, want))

    @property
    def found(self) -> str:
        return self.shown_at

    @property
    def made_for(self) -> str:
        """How its security group is described."""
        return f"made by crossnet for port {self.port}"

    def _port(self, facts: Facts) -> Port | None:
        """By its id, into whatever it is plugged by now: what crossnet opened there is to be closed there."""
        cloud = cloud_of(facts, self.cloud)
        stray = cloud.stray(self.port)
        plugged = (each for each in cloud.ports.values() if each.id == self.port)
        return next(plugged, stray if isinstance(stray, Port) else None)


def address_at(facts: Facts, device: str) -> str:
    """The first address of an interface, by which people know its port."""
    link = facts.link(device)
    return str(link.addresses[0].address) if link is not None and link.addresses else ""


def _is_plugged(port: Port, cloud: CloudFacts) -> bool:
    """Whether it is that of one of the host's interfaces."""
    return port.id in {each.id for each in cloud.ports.values()}


def own_group(one: PortSecurity, facts: Facts) -> SecurityGroup | None:
    """The security group that crossnet made for a port, as far as it may be seen."""
    groups = cloud_of(facts, one.cloud).groups.values()
    known = [side.rules for side in (one, one.applied) if side is not None and side.rules]
    return next(
        (
            each
            for each in groups
            if (each.name, each.project) == (one.group, one.project) and is_made_as(each, one.made_for, known)
        ),
        None,
    )


def made_at(port: Port, have: PortSecurity | None, want: PortSecurity | None, group: str | None) -> Port:
    """A port as it is with what is wanted in place of what crossnet had there; `group` is the id of its own one.

    What others have set stays.
    """
    own = frozenset(have.pairs) if have is not None else frozenset()
    # Where it is on, somebody has switched it on again, with what they want there.
    is_ours = have is not None and have.off is not None and port.secured is False
    if have is not None and have.off is not None and is_ours:
        groups, pairs = have.off.groups, have.off.pairs
    else:
        groups = tuple(each for each in port.groups if each != group)
        pairs = tuple(each for each in port.pairs if not _is_own(each, port, own))
    if want is not None and want.off is not None:
        return replace(port, secured=False, groups=(), pairs=())
    if want is not None and want.admits and group is not None:
        groups = (*groups, group)
    there = {(each.network, each.mac) for each in pairs}
    more = [AddressPair(each, port.mac) for each in (want.pairs if want is not None else ())]
    pairs = (*pairs, *(each for each in more if (each.network, each.mac) not in there))
    return replace(port, secured=True if is_ours else port.secured, groups=groups, pairs=pairs)


def shown_traffic(rule: GroupRule) -> str:
    """`tcp/443`."""
    what = rule.protocol or "any traffic"
    if rule.ports is not None and rule.protocol in ("tcp", "udp"):
        first, last = rule.ports
        what += f"/{first}" if first == last else f"/{first}-{last}"
    return what


def shown_rule(rule: GroupRule) -> str:
    """`tcp/443 from 10.0.43.15`."""
    what = shown_traffic(rule)
    way = "from" if rule.direction == "ingress" else "to"
    if rule.remote_group is not None:
        return f"{what} {way} the group {rule.remote_group}"
    if rule.remote_addresses is not None:
        return f"{what} {way} the address group {rule.remote_addresses}"
    return f"{what} {way} {show_network(rule.remote) if rule.remote is not None else 'anybody'}"


def _content(one: PortSecurity) -> tuple[object, ...]:
    pairs = frozenset((*one.pairs, *one.given))
    return one.port, pairs, one.admits, one.off is not None


def _sent(port: Port) -> frozenset[Network]:
    """The networks of its pairs that it may send with its own hardware address."""
    return frozenset(each.network for each in port.pairs if each.mac == port.mac)


def _is_own(pair: AddressPair, port: Port, own: frozenset[Network]) -> bool:
    return pair.mac == port.mac and pair.network in own


def _told(have: PortSecurity | None, want: PortSecurity | None) -> Iterator[str]:
    if want is not None and want.off is not None:
        yield "port security off: it sends and takes anything"
        return
    if have is not None and have.off is not None:
        yield f"port security on again, with {shown_kept(have.off)}"
    if have is not None and have.has_group_left and (want is None or not want.rules):
        yield f"its security group {have.group} goes, in which it is not any more"
    before = frozenset(have.pairs) if have else frozenset()
    after = frozenset(want.pairs) if want else frozenset()
    if added := [show_network(each) for each in (want.pairs if want else ()) if each not in before]:
        yield f"may also send {few(added, MOST)}"
    if gone := [show_network(each) for each in (have.pairs if have else ()) if each not in after]:
        yield f"may not send {few(gone, MOST)} any more"
    admits = want.admits if want else frozenset()
    admitted = have.admits if have else frozenset()
    if new := sorted(map(shown_rule, admits - admitted)):
        yield f"admits {few(new, MOST)}"
    if old := sorted(map(shown_rule, admitted - admits)):
        yield f"admits {few(old, MOST)} no more"


def _typed(have: PortSecurity | None, want: PortSecurity | None) -> Iterator[str]:
    """A group is whole before the port is in it, and is left before it goes."""
    one = want or have
    assert one is not None, "a change has at least one side"
    before, after = (side.rules if side is not None else () for side in (have, want))
    if after and frozenset(after) != frozenset(before):
        yield from _typed_group(one, after)
    if want is not None and want.off is not None:
        closed = ("--no-security-group", "--no-allowed-address", "--disable-port-security")
        yield command(one.cloud, "port", "set", *closed, one.port)
    else:
        yield from _typed_port(one, have, want)
    if before and not after:
        yield command(one.cloud, "security", "group", "delete", one.group)


def _typed_group(one: PortSecurity, rules: Sequence[GroupRule]) -> Iterator[str]:
    """The group with these rules alone: a new one lets everything out (measured)."""
    group = ("security", "group")
    known = command(one.cloud, *group, "show", "-c", "id", one.group)
    # Its own `--project` asks Keystone for the name, which not every cloud has, and not everybody may.
    owned = ("--extra-property", f"type=str,name=project_id,value={one.project}") if one.project else ()
    new = command(one.cloud, *group, "create", *owned, "--description", one.made_for, one.group)
    yield f"{known} || {new}"
    listed = command(one.cloud, *group, "rule", "list", "-f", "value", "-c", "ID", one.group)
    yield f"{listed} | xargs -r {command(one.cloud, *group, 'rule', 'delete')}"
    for rule in dict.fromkeys(rules):
        yield command(one.cloud, *group, "rule", "create", *rule_words(rule), one.group)


def _typed_port(one: PortSecurity, have: PortSecurity | None, want: PortSecurity | None) -> Iterator[str]:
    opened: list[str] = []
    before, after = (side.pairs if side is not None else () for side in (have, want))
    if have is not None and have.off is not None:
        opened += ["--enable-port-security"]
        opened += (word for each in have.off.groups for word in ("--security-group", each))
        opened += pair_words(have.off.pairs)
    opened += pair_words(AddressPair(each, "") for each in after if each not in before)
    own = ("--security-group", one.group)
    is_in, stays_in = (bool(side is not None and side.admits) for side in (have, want))
    opened += own if stays_in and not is_in else ()
    closed = own if is_in and not stays_in else ()
    if opened:
        yield command(one.cloud, "port", "set", *opened, one.port)
    pairs = ""
    if gone := [each for each in before if each not in after]:
        # It takes out only what it is told as the cloud has it: with the port's hardware address.
        yield f"mac=$({command(one.cloud, 'port', 'show', '-f', 'value', '-c', 'mac_address', one.port)})"
        pairs = "".join(
            f' --allowed-address "ip-address={show_network(each)},mac-address=$mac"' for each in gone
        )
    if closed or pairs:
        yield f"{command(one.cloud, 'port', 'unset', *closed)}{pairs} {shlex.quote(one.port)}"


def shown_kept(off: Kept) -> str:
    """What is written back to a port, all of it: the host's record says it, and nobody has seen it for long."""
    groups = off.names or off.groups
    parts = [
        f"its group{'s' if len(groups) > 1 else ''} {', '.join(groups)}" if groups else "no group",
        *([f"its pairs {', '.join(map(_shown_pair, off.pairs))}"] if off.pairs else []),
    ]
    gone = f" ({', '.join(off.gone)}, which it had too, is no more)" if off.gone else ""
    return " and ".join(parts) + gone


def _shown_pair(pair: AddressPair) -> str:
    return f"{show_network(pair.network)} of {pair.mac}"


__all__ = [
    "Kept",
    "PortSecurity",
    "address_at",
    "made_at",
    "own_group",
    "shown_kept",
    "shown_rule",
    "shown_traffic",
]
