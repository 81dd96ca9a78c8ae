"""Facts from a few lines of text, so that a case says only what matters to it.

    app:
      controller 10.0.99.5 at 10.0.43.15
      eth0 10.0.43.15/24
      route default via 10.0.43.1 dev eth0
      rule 5270: from all lookup 52
      no rule 0
      told 10.9.0.0/16 metric 10
    gateway:
      eth1 10.0.43.101/24
      eth0 10.0.44.63/24 mtu 1400
      eth2 down
      eth3 10.0.46.63/24 off
      sysctl net.ipv4.ip_forward 1
      boot /etc/sysctl.conf net.ipv4.ip_forward 0
      file /var/lib/crossnet/applied.json {"format": 9}
      rules of crossnet fenced
      kept eth0 network-scripts /etc/sysconfig/network-scripts/ifcfg-eth0: ifcfg-eth0
      kept eth2 networkmanager/UUID /etc/NetworkManager/system-connections/a.nmconnection: its profile
      profile UUID 10.0.45.0/24 10.0.43.254 100, 10.0.46.0/24 10.0.43.254
      kept eth1 netplan/networkd /run/systemd/network/10-netplan-eth1.network: its file
      saved /etc/iptables/rules.v4 CROSSNET-FORWARD xnet4-from-business
      iptables raw -A PREROUTING -j NOTRACK
      firewalld 1.3.3 public
      zone internal eth1
      zone trusted eth0 target ACCEPT
      not permanent + zone public: services http
      policy unsigned
      tools ip sysctl nft
      kernel 3.10
      clock 2026-12-24T18:00Z ahead 75
      asked 10.8.0.1 from 10.0.43.15 iif eth1: via 10.0.45.1 dev eth2

The routes to the networks of the addresses are there by themselves, as the kernel makes them; so are
the settings of a host that does not forward, and the tools of a current Debian.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from crossnet.design.lacking import NEEDED
from crossnet.facts import Facts, FileState, Unreadable
from crossnet.facts.capabilities import TOOLS, Capabilities
from crossnet.facts.cloud_init import CloudInit, CloudSetting, When
from crossnet.facts.firewall import Firewall
from crossnet.facts.firewalld import FIREWALLD, POLICY, Firewalld, Listed
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.lookups import Answered, Lookup, parse_lookup
from crossnet.facts.managers import managers_of
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.policy import PolicyRule, parse_rules
from crossnet.facts.routes import Hop, Route, default_network, parse_routes
from crossnet.facts.saved import SavedRules
from crossnet.facts.setters import Setters
from crossnet.facts.sysctls import BootSetting, interface_setting
from crossnet.netfilter import Accept, Chain, Drop, Rule, Table, foreign
from crossnet.netfilter.own import HOOKS, TABLE
from crossnet.netfilter.xtables_save import parse_save
from crossnet.values import Address, Family, Network, address, moment, network


@dataclass
class _Sheet:
    links: list[Link] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    rules: list[PolicyRule] = field(default_factory=list)
    taken_away: set[int] = field(default_factory=set)
    sysctls: dict[str, str] = field(default_factory=dict)
    boot: list[BootSetting] = field(default_factory=list)
    setters: dict[str, tuple[BootSetting, ...]] = field(default_factory=dict)
    unreadable_setters: list[str] = field(default_factory=list)
    interface_setters: dict[str, tuple[BootSetting, ...]] = field(default_factory=dict)
    cloud_init: CloudInit = field(default_factory=CloudInit)
    files: dict[str, FileState | Unreadable] = field(default_factory=dict)
    nft: list[Table] = field(default_factory=list)
    saved: dict[str, list[str]] = field(default_factory=dict)
    firewalld: Firewalld | None = None
    saved_rules: list[SavedRules] = field(default_factory=list)
    tools: frozenset[str] = frozenset(TOOLS)
    kernel: tuple[int, ...] = (6, 1, 0)
    systemd: bool = True
    iptables_is_nft: bool = True
    controller: Address | None = None
    reached_at: Address | None = None
    machine: tuple[str, str] = ("", "")
    lookups: dict[Lookup, Answered | None] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)
    profiles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    clock: int = 0
    ahead: int = 0


def facts_from(text: str) -> dict[str, Facts]:
    """The hosts of a whole sheet, by name."""
    hosts: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith((" ", "#")):
            hosts[line.rstrip(":")] = current = []
        elif line.strip() and not line.strip().startswith("#"):
            current.append(line)
    return {name: host_facts(name, "\n".join(lines)) for name, lines in hosts.items()}


def host_facts(name: str, text: str, *, firewall: Firewall | None = None) -> Facts:
    """One host of a sheet."""
    sheet = _Sheet()
    for line in text.splitlines():
        words = line.split()
        if words:
            _read(sheet, words)
    usual = {"net.ipv4.ip_forward": "0", "net.ipv4.conf.all.accept_redirects": "1"}
    for interface in ("all", "default", *(link.name for link in sheet.links)):
        usual[interface_setting(4, interface, "forwarding")] = "0"
        usual[interface_setting(6, interface, "forwarding")] = "0"
        usual[interface_setting(6, interface, "accept_ra")] = "1"
    if sheet.sysctls.get("net.ipv4.ip_forward") == "1":
        usual |= {name: "1" for name in usual if name.startswith("net.ipv4.conf.") and "forwarding" in name}
    rules = firewall or Firewall(nft=tuple(sheet.nft), foreign=_foreign(sheet.saved))
    return Facts(
        host=name,
        links=tuple(sheet.links),
        routes=(*_connected(sheet.links), *sheet.routes),
        sysctls=usual | sheet.sysctls,
        boot_settings=tuple(sheet.boot),
        setters=Setters(sheet.setters, tuple(sheet.unreadable_setters), sheet.interface_setters),
        cloud_init=sheet.cloud_init,
        neighbours=(),
        capabilities=Capabilities(
            tools=sheet.tools,
            kernel=sheet.kernel,
            systemd=sheet.systemd,
            iptables_is_nft=sheet.iptables_is_nft,
            restore_waits=True,
        ),
        firewall=rules,
        managers=managers_of((), (), rules.foreign),
        files=sheet.files,
        boot=sheet.machine[0],
        network=sheet.machine[1],
        controller=sheet.controller,
        reached_at=sheet.reached_at,
        policy_rules=(
            *(rule for rule in _OF_EVERY_HOST if rule.priority not in sheet.taken_away),
            *sheet.rules,
        ),
        lookups=sheet.lookups,
        owners=sheet.owners,
        profiles=sheet.profiles,
        answers={FIREWALLD: sheet.firewalld} if sheet.firewalld else {},
        clock=sheet.clock,
        ahead=sheet.ahead,
        saved=tuple(sheet.saved_rules),
    )


def with_files(facts: Facts, files: dict[str, FileState]) -> Facts:
    return replace(facts, files={**facts.files, **files})


def _read(sheet: _Sheet, words: list[str]) -> None:
    match words:
        case ["route", *rest]:
            sheet.routes.append(route(" ".join(rest)))
        case ["told", *rest]:  # in the words of an `ip` that tells less, busybox's
            sheet.routes += parse_routes(" ".join(rest) + "\n", Family.V4)
        case ["no", "rule", priority]:
            sheet.taken_away.add(int(priority))
        case ["rule", priority, *rest]:
            sheet.rules.append(_rule(int(priority.removesuffix(":")), rest))
        case ["sysctl", name, value]:
            sheet.sysctls[name] = value
        case ["boot", file, name, value, *line]:
            sheet.boot.append(BootSetting(file, name, value, int("".join(line) or 0)))
        case ["set", "by", "somebody", file, "that", "cannot", "be", "read"]:
            sheet.unreadable_setters.append(file)
        case ["set", "by", program, file, name, value, line]:
            one = BootSetting(file, name, value, int(line))
            sheet.setters[program] = (*sheet.setters.get(program, ()), one)
        case ["forwarding", "by", program, file, value, line]:
            one = BootSetting(file, "forwarding", value, int(line))
            sheet.interface_setters[program] = (*sheet.interface_setters.get(program, ()), one)
        case ["cloud-init", "writes", "the", "network"]:
            sheet.cloud_init = replace(sheet.cloud_init, writes_network=True)
        case ["cloud-init", when, file, name, value, line]:
            setting = CloudSetting(BootSetting(file, name, value, int(line)), When(when))
            sheet.cloud_init = replace(sheet.cloud_init, settings=(*sheet.cloud_init.settings, setting))
        case ["file", path, *text]:
            sheet.files[path] = FileState(" ".join(text).encode(), 0o600, "0:0")
        case ["machine", boot, network]:
            sheet.machine = (boot, network)
        case ["kept", name, keeper, file, *evidence]:
            keeper, _, below = keeper.partition("/")
            told, under = " ".join(evidence), Keeper(below) if keeper == Keeper.NETPLAN else None
            profile = "" if under else below
            sheet.owners[name] = Owner(name, Keeper(keeper), told, file.rstrip(":"), profile, under)
        case ["profile", uuid, *entries]:
            sheet.profiles[uuid] = tuple(each.strip() for each in " ".join(entries).split(",") if each)
        case ["saved", path, *names]:
            sheet.saved_rules.append(SavedRules(path, tuple(each.replace("_", " ") for each in names)))
        case ["unreadable", path, *why]:
            sheet.files[path] = Unreadable(" ".join(why))
        case ["rules", "of", "crossnet", fence]:
            rules = [
                Rule((), Accept(), "business"),
                *([Rule((), Drop(), "fence")] if fence == "fenced" else []),
            ]
            sheet.nft.append(Table("ip", TABLE, (Chain("forward", tuple(rules), HOOKS["forward"]),)))
        case ["iptables", table, "-A", chain, *rule]:
            sheet.saved.setdefault(table, []).append(" ".join(("-A", chain, *rule)))
        case ["firewalld", version, zone]:
            sheet.firewalld = Firewalld(tuple(map(int, version.split("."))), zone, ())
        case ["zone", name, interface, *settings] if sheet.firewalld:
            given = dict(zip(settings[0::2], ((each,) for each in settings[1::2]), strict=True))
            usual = {"target": ("default",), "forward": ("yes",)}
            listed = Listed(name, {**usual, **given, "interfaces": (interface,)})
            sheet.firewalld = replace(sheet.firewalld, zones=(*sheet.firewalld.zones, listed))
        case ["not", "permanent", *what] if sheet.firewalld:
            sheet.firewalld = replace(sheet.firewalld, unsaved=(*sheet.firewalld.unsaved, " ".join(what)))
        case ["policy", "unsigned"] if sheet.firewalld:
            listed = Listed(POLICY, {"rich rules": ('rule family="ipv4" accept',)})
            sheet.firewalld = replace(sheet.firewalld, policy=listed, is_unsigned=True)
        case ["tools", *tools]:
            sheet.tools = frozenset((*tools, *NEEDED))
        case ["without", *tools]:
            sheet.tools -= set(tools)
        case ["kernel", version]:
            sheet.kernel = tuple(int(number) for number in version.split("."))
        case ["iptables", "legacy"]:
            sheet.iptables_is_nft = False
        case ["asked", *rest]:
            lookup = _lookup(" ".join(rest).partition(": ")[0].split())
            said = " ".join(rest).partition(": ")[2]
            sheet.lookups[lookup] = (
                parse_lookup(f"{lookup.destination} {said}", lookup)
                if "dev " in said
                else Answered(error=said)
            )
        case ["controller", controller, *at]:
            sheet.controller = address(controller)
            sheet.reached_at = address(at[1]) if at else None
        case ["clock", at, *ahead]:
            sheet.clock = int(moment(at).timestamp())
            sheet.ahead = int(ahead[1]) if ahead else 0
        case ["no", "systemd"]:
            sheet.systemd = False
        case [name, *rest]:
            sheet.links.append(_link(name, rest))


def _link(name: str, words: list[str]) -> Link:
    left = iter(words)
    flags = frozenset({"UP", "LOWER_UP"})
    mtu, up, kind, master, parent, table = 1500, True, "", "", "", ""
    addresses: list[LinkAddress] = []
    for word in left:
        if word == "mtu":
            mtu = int(next(left))
        elif word in ("down", "off"):
            up, flags = False, frozenset({"UP"}) if word == "down" else frozenset()
        elif word in ("bridge", "veth"):
            kind = word
        elif word == "macvlan":
            kind, parent = word, next(left)
        elif word == "vrf":
            kind, table = word, next(left)
        elif word == "master":
            master = next(left)
        elif word == "leased":
            addresses[-1] = replace(addresses[-1], leased=True, lifetime=int(next(left)))
        elif word == "advertised":
            addresses[-1] = replace(addresses[-1], leased=True, advertised=True)
        elif word == "passing":
            addresses[-1] = replace(addresses[-1], stable=False)
        else:
            own, _, prefix = word.partition("/")
            addresses.append(LinkAddress(address(own), int(prefix)))
    narrow = [each for each in addresses if each.address.is_link_local and each.address.version == 6]
    wide = tuple(each for each in addresses if each not in narrow)
    return Link(name, mtu, up, wide, kind, master, parent, table=table, flags=flags, narrow=tuple(narrow))


def _foreign(saved: Mapping[str, list[str]]) -> tuple[foreign.Table, ...]:
    """The rules that others made with iptables."""
    text = "".join("\n".join((f"*{table}", *rules, "COMMIT\n")) for table, rules in saved.items())
    declared = {rule.split()[1] for rules in saved.values() for rule in rules}
    chains = "".join(f":{chain} ACCEPT [0:0]\n" for chain in sorted(declared))
    for table in saved:
        text = text.replace(f"*{table}\n", f"*{table}\n{chains}")
    return parse_save(text, "ip", foreign.Tool.IPTABLES_NFT, {})


_OF_EVERY_HOST = tuple(
    PolicyRule(family, priority, table=table)
    for family in Family
    for priority, table in ((0, "local"), (32766, "main"), (32767, "default"))
)


def _lookup(words: list[str]) -> Lookup:
    target, *rest = words
    given = dict(zip(rest[0::2], rest[1::2], strict=True))
    return Lookup(address(target), address(given["from"]) if "from" in given else None, given.get("iif", ""))


def _rule(priority: int, words: list[str]) -> PolicyRule:
    """A policy rule in the words of `ip rule`: `5270: from all to 10.44.0.0/16 iif eth1 lookup 52`."""
    line = " ".join(words)
    (rule,) = parse_rules(f"{priority}:\t{line}", Family.V6 if ":" in line else Family.V4)
    return rule


def _connected(links: Iterable[Link]) -> list[Route]:
    return [
        Route(item.network, device=link.name, source=item.address, protocol="kernel")
        for link in links
        if "UP" in link.flags
        for item in (*link.addresses, *link.narrow)
        if item.prefix < item.address.max_prefixlen  # of a host address only the local table knows
    ]


def route(text: str) -> Route:
    """A route in the words of `ip route`: `10.1.0.0/16 via 10.0.44.1 dev eth0 proto static metric 5`."""
    words = text.split()
    kind = words.pop(0) if words[0] in ("blackhole", "unreachable", "prohibit") else "unicast"
    target, *rest = words
    rest, *hops = _split(rest, "nexthop")
    given = dict(zip(rest[0::2], rest[1::2], strict=True))
    via = address(given["via"]) if "via" in given else None
    family = Family.V6 if ":" in text else Family.V4
    return Route(
        destination=default_network(family) if target == "default" else network(target),
        via=via,
        device=given.get("dev"),
        source=address(given["src"]) if "src" in given else None,
        protocol=given.get("proto", "boot"),
        metric=int(given.get("metric", 1024 if family is Family.V6 else 0)),
        table=given.get("table", "main"),
        type=kind,
        mtu=int(given["mtu"]) if "mtu" in given else None,
        hops=tuple(_hop(hop) for hop in hops),
        tos=int(given.get("tos", "0"), 0),
    )


def _split(words: list[str], at: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == at:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _hop(words: list[str]) -> Hop:
    given = dict(zip(words[0::2], words[1::2], strict=True))
    return Hop(address(given["via"]) if "via" in given else None, given["dev"])


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(network(text) for text in texts)


SEED = """
app:
  eth0 10.0.43.15/24
  route default via 10.0.43.1 dev eth0
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
  route default via 10.0.44.254 dev eth0
"""
