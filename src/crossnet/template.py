"""The spec files that `crossnet init` writes: every key explained, the optional ones ready to be used."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from urllib.parse import urlsplit

from crossnet import specfile
from crossnet.errors import Problem, SpecError
from crossnet.openstack import entry
from crossnet.spec import LONGEST_NAME, HostSpec
from crossnet.specfile.document import plain_scalar
from crossnet.specfile.schema import is_crossing_name, is_host_name, looks_like_address
from crossnet.values import without_password


@dataclass(frozen=True, slots=True)
class Need:
    """What somebody needs, in the words that a command line has for it; each word is checked as a spec's are.

    `snat` is the source address that the destinations get to see, `name` that of the crossing, `until` when the hosts
    take it back. `become` is for the
    hosts to which one does not log in as root.
    """

    clients: tuple[str, ...]
    via: str
    to: tuple[str, ...]
    excepted: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    become: bool = False
    ingress: str | None = None
    egress: str | None = None
    next_hop: str | None = None
    snat: str | None = None
    name: str | None = None
    until: str | None = None

    @property
    def crossing(self) -> str:
        """What its crossing is called."""
        return self.name if self.name is not None else _of_its_ends(self)

    def connect(self) -> list[str]:
        """The command that makes it, as it is typed."""
        return ["crossnet", "connect", *self.clients, "--via", self.via, *self._typed("to"), *self.options()]

    def init(self, file: str) -> list[str]:
        """The command that writes its spec into a file."""
        ends = [*(word for one in self.clients for word in ("--from", one)), "--via", self.via]
        return ["crossnet", "init", *ends, *self._typed("to"), *self.options(), "-f", file]

    def options(self) -> list[str]:
        """What it asks for beyond its ends, as `connect` and `init` take it."""
        names = [field.name for field in fields(self) if field.name not in ("clients", "via", "to")]
        return [word for name in names for word in self._typed(name)]

    def _typed(self, name: str) -> list[str]:
        given = getattr(self, name)
        if given in (None, (), False):
            return []
        option = "--except" if name == "excepted" else f"--{name.replace('_', '-')}"
        values = given if isinstance(given, tuple) else (given,)
        return [word for one in values for word in ((option,) if one is True else (option, one))]

    def keys(self) -> dict[str, str]:
        """The optional keys of its crossing, each with what a spec says there."""
        one = {"ingress": self.ingress, "egress": self.egress, "next-hop": self.next_hop, "until": self.until}
        several = {"allow": self.allow, "probe": self.probe}
        return {
            **{key: one_or_list(words) for key, words in several.items() if words},
            **{key: _scalar(word) for key, word in one.items() if word is not None},
            **({"translate": f"{{snat: {_scalar(self.snat)}}}"} if self.snat is not None else {}),
        }


def blank(name: str = "") -> str:
    """A spec of this name to be changed by hand; it holds the addresses of the documentation's example."""
    hosts = (HostSpec("app", ssh="root@10.0.43.15"), HostSpec("gateway", ssh="root@10.0.43.101"))
    return written(name, hosts, [Entry("business", ("app",), "gateway", "10.0.44.0/24", {})])


def alone(need: Need) -> str:
    """A spec of its own for a need, named after its crossing: it changes no other that stands on the same hosts."""
    name = need.crossing  # where it can be none, it is refused as that of the crossing
    return complete(need, name if is_crossing_name(name) else "")


def complete(need: Need, name: str = "") -> str:
    """A spec of this name for a need.

    What `ssh` takes (`root@10.0.43.15`, an alias) becomes a host of the spec, as `local`, `netns:NAME` and
    `lab:NAME` do; an address or a network stays one in `from`, and its owner adds the route. The gateway is always
    a host, so its bare address is taken as what `ssh` takes. SpecError says what cannot be meant, without lines:
    there is no file yet.
    """
    clients, via = need.clients, need.via
    try:
        for word in (*clients, via):
            without_password(word)
    except ValueError as error:
        raise _refused(str(error)) from None
    words = (*clients, via, *need.to, *need.excepted, *need.keys().values(), need.name or "")
    unprintable = [word for word in words if not word.isprintable()]
    if unprintable:
        raise _refused(*(f"{word!r} has characters that cannot be printed" for word in unprintable))
    if "/" in via and not _only_a_host(via):
        raise _refused(f"via: {via!r} is no host: give what `ssh` takes, such as ops@10.0.43.101")
    hosts: dict[str, HostSpec] = {}  # by the words that mean them
    for client in clients:
        if client not in hosts and (_only_a_host(client) or not looks_like_address(client)):
            hosts[client] = host_of(client, "client", hosts.values(), become=need.become)
    if via not in hosts:
        hosts[via] = host_of(via, "gateway", hosts.values(), become=need.become)
    to = one_or_list(need.to)
    entry = Entry(
        need.crossing,
        tuple(hosts[client].name if client in hosts else client for client in clients),
        hosts[via].name,
        f"{{networks: {to}, except: {one_or_list(need.excepted)}}}" if need.excepted else to,
        need.keys(),
    )
    text = written(name, hosts.values(), [entry])
    try:
        specfile.parse(text, "")
    except SpecError as error:
        raise _refused(*{problem.message for problem in error.problems}) from None
    return text


def _of_its_ends(need: Need) -> str:
    """`app-to-10.0.44.0-24`: a name for the crossing that no other has, and that is the same each time.

    The gateway is no part of it: by another one the same clients reach the same networks all the same.
    """
    clients = [_of_this_machine(client) or client for client in need.clients]
    said = f"{'-'.join(map(_end, clients))}-to-{'-'.join(need.to)}".lower()
    plain = re.sub("[/:]", "-", said)
    plain = plain if re.match("[a-z]", plain) else f"from-{plain}"
    if is_crossing_name(plain):
        return plain
    digest = hashlib.sha256("\n".join((*clients, "", *need.to)).encode()).hexdigest()
    return f"{re.sub('[^a-z0-9.]+', '-', plain)[: LONGEST_NAME - 9]}.{digest[:8]}"


def _of_this_machine(client: str) -> str:
    """What it is called for others, for whom `local` and `netns:NAME` mean another machine; else nothing."""
    host = HostSpec.of_word(client)
    if not host.local and host.netns is None:
        return ""
    return "-".join(filter(None, (socket.gethostname().partition(".")[0], host.netns)))


def _end(client: str) -> str:
    """A machine with its port, or a network."""
    if not _only_ssh_takes(client):
        return client
    _, _, behind = client.rpartition("@")
    return behind.removeprefix("ssh://").strip("[]").replace("]", "")


def _refused(*messages: str) -> SpecError:
    return SpecError([Problem("command line", 0, 0, message) for message in messages])


def _only_ssh_takes(word: str) -> bool:
    return "@" in word or word.startswith("ssh://")


def _only_a_host(word: str) -> bool:
    """Whether it can be no address, and no network."""
    return _only_ssh_takes(word) or HostSpec.of_word(word).ssh is None


def host_of(word: str, role: str, others: Iterable[HostSpec], *, become: bool) -> HostSpec:
    """The host that a word of a command line means, with a name that no other has: its own, or else its role's."""
    host = HostSpec.of_word(word, become=become)
    own = host.netns or (host.lab or "").rpartition("/")[2] or _machine(word)
    name = own if is_host_name(own) else role
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    taken = {other.name for other in others}
    return replace(host, name=next(free for free in itertools.chain([name], numbered) if free not in taken))


def _machine(target: str) -> str:
    """`web` of `web`, `ops@web` and `ssh://ops@web:22`."""
    if not target.startswith("ssh://"):
        return target.rpartition("@")[2]
    try:
        return urlsplit(target).hostname or ""
    except ValueError:  # a bracket that is not closed: the spec's own check says so
        return ""


_HEAD = """\
# Which hosts reach which network through which host.
# `crossnet plan` shows what this would change, `crossnet apply` does it, `crossnet undo` takes it back.
"""

_OPTIONAL_FOR_A_HOST = (
    ("become: sudo", "run as root through `sudo -n`"),
    ("local: true", "in place of ssh: this machine"),
    ("netns: blue", "in place of ssh: a namespace that `ip netns` lists"),
    ("lab: app", "in place of ssh: a host of `crossnet lab`"),
)

_OPTIONAL_FOR_A_CROSSING = (
    ("allow: [icmp, tcp/443, tcp/8000-8010]", "what may cross; any traffic by default"),
    ("translate: snat", "snat, masquerade, none or {snat: 10.0.44.63}"),
    ("ingress: eth1", "the gateway's interface that faces the clients"),
    ("egress: eth0", "the gateway's interface that faces the destinations"),
    ("next-hop: 10.0.43.101", "the gateway's address on the clients' network"),
    ("firewall: auto", "auto, nftables or iptables"),
    ("persist: auto", "auto: also after a reboot; none: until the next one"),
    ("fence: auto", "auto, on or off: forward only what a crossing names"),
    ("probe: icmp/10.0.44.1", "what `crossnet verify` sends; one or a list"),
    ("until: 2036-12-24T18:00Z", "when the hosts take it back by themselves"),
    ("heal: none", "auto: the hosts bring back at once what others take away"),
    ("port-security: least", "least, disable or leave: only with `openstack`"),
    ("routes: host", "neutron: their subnet offers them with DHCP leases, only with `openstack`"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A crossing as a spec has it: each word as the user would write it, `to` and `keys` already as YAML."""

    name: str
    clients: tuple[str, ...]
    via: str
    to: str
    keys: Mapping[str, str]


def written(name: str, hosts: Iterable[HostSpec], crossings: Sequence[Entry], cloud: str = "") -> str:
    """The text of a spec; the optional keys are explained once, at its first crossing."""
    lines = [
        _explained("crossnet: 1", "the version of this format"),
        _explained(
            f"name: {_scalar(name)}" if name else "# name: business",
            "whose crossings these are on a gateway: no other spec's",
        ),
        "",
        _explained("hosts:", "what crossnet manages, and how to reach it"),
    ]
    for host in hosts:
        lines += _host(host)
    lines += [_explained(f"    # {key}", why) for key, why in _OPTIONAL_FOR_A_HOST]
    lines += ["", "crossings:"]
    for number, crossing in enumerate(crossings):
        lines += _crossing(crossing, explained=number == 0)
    section = _openstack(cloud) if cloud else "# openstack: {cloud: prod}"
    lines += ["", _explained(section, "an entry of clouds.yaml, where hosts are its instances")]
    return _HEAD + "\n".join(lines) + "\n"


def _openstack(cloud: str) -> str:
    name, region = entry.parted(cloud)
    more = f", region: {_scalar(region)}" if region else ""
    return f"openstack: {{cloud: {_scalar(name)}{more}}}"


def _host(host: HostSpec) -> Iterator[str]:
    yield f"  {_scalar(host.name)}:"
    if host.local:
        yield _explained("    local: true", "this machine")
    elif host.netns is not None:
        yield _explained(f"    netns: {_scalar(host.netns)}", "a namespace that `ip netns` lists")
    elif host.lab is not None:
        yield _explained(f"    lab: {_scalar(host.lab)}", "a host of `crossnet lab`")
    elif host.ssh is not None:
        yield _explained(f"    ssh: {_scalar(host.ssh)}", "an alias, user@host or ssh://user@host:port")
    if host.become:
        yield _explained("    become: sudo", "run as root through `sudo -n`")


def _crossing(crossing: Entry, *, explained: bool) -> Iterator[str]:
    yield _explained(f"  {_scalar(crossing.name)}:", "a name of your choice")
    yield _explained(
        f"    from: {one_or_list(crossing.clients)}", "host names, addresses, networks; one or a list"
    )
    yield _explained(f"    via: {_scalar(crossing.via)}", "the host that stands in both networks")
    yield _explained(f"    to: {crossing.to}", "networks or addresses; one or a list")
    if explained:
        yield "    # Everything below is optional; what is left out is discovered and shown in the plan."
    for line, why in _OPTIONAL_FOR_A_CROSSING:
        key = line.partition(":")[0]
        if key in crossing.keys:
            yield _explained(f"    {key}: {crossing.keys[key]}", why)
        elif explained:
            yield _explained(f"    # {line}", why)


def _explained(line: str, why: str) -> str:
    return f"{line:<44}  # {why}"


def one_or_list(words: Sequence[str]) -> str:
    """Words as YAML: one alone, several as a list."""
    return _scalar(words[0]) if len(words) == 1 else f"[{', '.join(_scalar(word) for word in words)}]"


def _scalar(word: str) -> str:
    """A word of the user as YAML that says exactly this word, quoted where it could say something else."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9@._/-]*", word) and isinstance(plain_scalar(word), str)
    return word if plain else json.dumps(word, ensure_ascii=False)
