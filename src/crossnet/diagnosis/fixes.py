"""What to do about a cause: commands for its host, with the values of the case at hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from crossnet.diagnosis.course import Course, best
from crossnet.diagnosis.finding import Direction, Finding, is_own
from crossnet.facts import Facts
from crossnet.netfilter import Engine
from crossnet.netfilter.foreign import Field, Rewrite, Tool
from crossnet.reach.rules import Place as Chain
from crossnet.values import Address, Family, Network, Probe, Protocol, contains, family_of, show_network
from crossnet.verdict import Fix


def fix_of(
    cause: Finding, course: Course, probe: Probe, facts: Mapping[str, Facts], source: Address | None
) -> tuple[Fix, ...]:
    """The commands that take a cause away; none where no command of a managed host does."""
    if cause.host not in facts:
        return ()
    made = _FIXES.get(cause.code)
    chain, remedy = cause.chain, cause.remedy
    names = (cause.interface, remedy.device, remedy.table, *((chain.table, chain.chain) if chain else ()))
    if made is None or not all(_NAME.fullmatch(name) for name in names if name):
        return ()
    fixes = made(Case(cause, course, probe, facts, source))
    return tuple(
        fix for fix in fixes if all(_PLAIN.fullmatch(each) or each in _NAT_CHAINS for each in fix.commands)
    )


# A person pastes it into a shell of root: what a host calls its interfaces and chains is a name there, or there is no
# command.
_NAME = re.compile(r"[A-Za-z0-9_.:@+][A-Za-z0-9_.:@+/-]*")
_PLAIN = re.compile(r"[A-Za-z0-9 _.,:/@+=-]+")
_NAT_CHAINS = tuple(
    f"nft 'add chain {ip} by_hand postrouting {{ type nat hook postrouting priority -150; }}'"
    for ip in ("ip", "ip6")
)


def engine_of(chain: Chain, facts: Facts) -> Engine:
    """In whose words a chain is changed: nft's own also where iptables can do nothing with the table any more."""
    firewall = facts.firewall
    if chain.tool is not Tool.NFT:
        return Engine(chain.tool)
    if (chain.family, chain.table) in firewall.left_to_nft:
        return Engine.NFTABLES
    for engine, table, each in firewall.others():
        if (table.tool, table.family, table.name, each.name) == (
            Tool.NFT,
            chain.family,
            chain.table,
            chain.chain,
        ):
            return engine
    return Engine.NFTABLES


class Case:
    """A cause with what its fix has to know."""

    def __init__(
        self,
        cause: Finding,
        course: Course,
        probe: Probe,
        facts: Mapping[str, Facts],
        source: Address | None,
    ) -> None:
        self.cause, self.course, self.probe, self.facts, self.source = cause, course, probe, facts, source
        self.here = facts[cause.host]
        self.family = family_of(probe.destination)
        self.ip = "ip" if self.family is Family.V4 else "ip -6"
        self.version = "4" if self.family is Family.V4 else "6"

    def fix(
        self, *commands: str | None, by_crossnet: str | None = None, host: str | None = None
    ) -> tuple[Fix, ...]:
        said = tuple(command for command in commands if command)
        return (Fix(host or self.cause.host, said, by_crossnet),) if said or by_crossnet else ()

    def setting(self, interface: str, key: str) -> str:
        family = "ipv4" if self.family is Family.V4 else "ipv6"
        return (
            f"net/{family}/conf/{interface}/{key}"
            if "." in interface
            else f"net.{family}.conf.{interface}.{key}"
        )

    def is_management(self, network: Network) -> bool:
        """Whether crossnet itself comes from there: what leads packets there is not for a line to be pasted."""
        known = (self.here.controller, self.here.reached_at)
        return any(each is not None and contains(network, each) for each in known)

    @property
    def is_client(self) -> bool:
        return self.cause.host == self.course.client.host

    @property
    def ends(self) -> tuple[str | None, str]:
        """Source and destination as the cause's host sees them, in its direction."""
        source, destination = self.cause.ends
        if source is not None and destination is not None:
            own = self.is_client and self.cause.direction is Direction.FORWARD
            return None if own else str(source), str(destination)
        client = self.course.source
        seen = client
        if self.course.target is not None and self.cause.host == self.course.target.host:
            seen = self.source or client
        forward = str(seen) if seen is not None else None
        if self.cause.direction is Direction.FORWARD:
            return (None if self.is_client else forward), str(self.probe.destination)
        return str(self.probe.destination), forward or ""

    def iptables(self, engine: Engine, chain: Chain) -> str:
        family = Family.V6 if chain.family == "ip6" else Family.V4
        if engine is Engine.IPTABLES_LEGACY:
            return self.here.iptables(engine, family)
        plain = "iptables" if family is Family.V4 else "ip6tables"
        return plain if self.here.capabilities.iptables_is_nft else self.here.iptables(engine, family)


# ---- routes, links, addresses -----------------------------------------------------------------------


def _route(case: Case) -> tuple[Fix, ...]:
    """The route that should be taken, as one that wins."""
    remedy = case.cause.remedy
    if remedy.destination is None or remedy.device is None:
        return ()
    via = f" via {remedy.next_hop}" if remedy.next_hop is not None else ""
    table = f" table {remedy.table}" if remedy.table else ""
    if remedy.next_hop is not None and not _is_near(case, remedy.next_hop, remedy.device):
        table += " onlink"
    network = show_network(remedy.destination)
    # What a spec asks for is no more than that a client has a route, where none of another's is more specific.
    asked = case.cause.code in ("src-no-route", "src-route-other-next-hop", "src-route-on-link")
    whole = remedy.destination.num_addresses > 1 and not remedy.table
    by_crossnet = "crossnet apply" if case.is_client and asked and whole else None
    if case.family is Family.V6 and remedy.metric is not None:
        table += f" metric {remedy.metric}"
    if case.is_management(remedy.destination):
        return case.fix(by_crossnet=by_crossnet)
    return case.fix(
        f"{case.ip} route replace {network}{via} dev {remedy.device}{table}", by_crossnet=by_crossnet
    )


def _is_near(case: Case, next_hop: Address, device: str) -> bool:
    """Whether a route leads straight to a next hop: without one the kernel takes it only as `onlink`."""
    route = best(case.here, next_hop)
    return route is not None and route.via is None and route.device == device


def _refused_route(case: Case) -> tuple[Fix, ...]:
    wrong = case.cause.remedy.wrong
    return case.fix(f"{case.ip} route del {wrong}") if wrong else _route(case)


def _policy_rule(case: Case) -> tuple[Fix, ...]:
    """Ahead of the rule, one for this destination alone."""
    remedy = case.cause.remedy
    if remedy.destination is None or remedy.priority is None:
        return ()
    if case.is_management(remedy.destination):
        return ()
    network = show_network(remedy.destination)
    made = _route(case) if remedy.device and (remedy.next_hop or not case.is_client) else ()
    route = made[0].commands if made else ()
    plain = tuple(command.partition(" table ")[0] for command in route)
    if remedy.priority < 2:
        return ()  # the kernel's own first rule has the priority 0, and none comes before it
    rule = f"{case.ip} rule add pref {remedy.priority - 1} to {network} lookup main"
    known = best_is(case, plain)
    return case.fix(rule, *(() if known else plain))


def best_is(case: Case, commands: tuple[str, ...]) -> bool:
    """Whether the main table leads there as it should already."""
    remedy = case.cause.remedy
    if remedy.destination is None:
        return not commands
    route = best(case.here, remedy.destination.network_address)
    return (
        route is not None
        and route.device == remedy.device
        and (remedy.next_hop is None or route.via == remedy.next_hop)
    )


def _link(case: Case) -> tuple[Fix, ...]:
    remedy = case.cause.remedy
    link = case.here.link(remedy.device or case.cause.interface or "")
    if link is None or "UP" in link.flags:
        return ()  # a cable, or a port of a switch
    up = f"ip link set {link.name} up"
    if remedy.destination is None or remedy.next_hop is None:
        return case.fix(up)
    route = (
        f"{case.ip} route replace {show_network(remedy.destination)} via {remedy.next_hop} dev {link.name}"
    )
    return case.fix(up, route)


def _address(case: Case) -> tuple[Fix, ...]:
    remedy = case.cause.remedy
    if remedy.address is None or remedy.device is None:
        return ()
    add = f"ip addr add {remedy.address}/{remedy.prefix} dev {remedy.device}"
    # In this order: who comes by that address keeps it.
    drop = f"ip addr del {remedy.wrong} dev {remedy.device}" if remedy.wrong else None
    return case.fix(add, None if remedy.address == case.here.reached_at else drop)


def _own_address(case: Case) -> tuple[Fix, ...]:
    """An address that stands there alone is taken away; one with a network is perhaps how the host is reached."""
    remedy = case.cause.remedy
    if remedy.address is None or remedy.device is None or remedy.address == case.here.reached_at:
        return ()
    if remedy.prefix != remedy.address.max_prefixlen and remedy.device != "lo":
        return ()
    return case.fix(f"ip addr del {remedy.address}/{remedy.prefix} dev {remedy.device}")


def _martian(case: Case) -> tuple[Fix, ...]:
    """The client's address is to be on the client alone."""
    source = case.course.source
    owner = case.here.owner_of(source) if source is not None and not case.is_client else None
    if owner is None or source == case.here.reached_at:
        return ()
    own = next(item for item in owner.addresses if item.address == source)
    return case.fix(f"ip addr del {own.address}/{own.prefix} dev {owner.name}")


def _reverse_path(case: Case) -> tuple[Fix, ...]:
    """The way back to the source by the interface that it comes in by; loose checking where there is one already."""
    remedy = case.cause.remedy
    if remedy.destination is not None and remedy.device is not None:
        return _route(case)
    interface = case.cause.interface or "all"
    every = case.here.sysctls.get("net.ipv4.conf.all.rp_filter") == "1"
    return case.fix(
        f"sysctl -w {case.setting(interface, 'rp_filter')}=2" if interface != "all" else None,
        "sysctl -w net.ipv4.conf.all.rp_filter=2" if every and interface == "all" else None,
    )


def _neighbour(case: Case) -> tuple[Fix, ...]:
    remedy = case.cause.remedy
    if remedy.address is None or remedy.device is None:
        return case.fix(f"ip link set {remedy.device} arp on") if remedy.wrong == "NOARP" else ()
    if case.cause.code == "duplicate-address" and remedy.hardware:
        words = f"{case.ip} neigh replace {remedy.address} lladdr {remedy.hardware} nud reachable dev {remedy.device}"
        return case.fix(words)
    return case.fix(f"{case.ip} neigh del {remedy.address} dev {remedy.device}")


def _question(case: Case) -> tuple[Fix, ...]:
    """Questions for one address, and the answers to them, are let through ahead of rules on ARP."""
    chain, wanted = case.cause.chain, case.cause.remedy.address
    if chain is None or chain.family != "arp" or wanted is None:
        return ()
    is_question = (chain.hook == "output") == (case.cause.code == "next-hop-unresolved")
    words = f"arp {'daddr' if is_question else 'saddr'} ip {wanted} accept"
    return case.fix(f"nft insert rule arp {chain.table} {chain.chain} {words}")


def _arp(case: Case) -> tuple[Fix, ...]:
    if case.cause.chain is not None:
        return _question(case)
    interface = case.cause.interface or "all"
    settings = case.here.sysctls
    link = case.here.link(interface)
    return case.fix(
        f"ip link set {interface} arp on" if link is not None and "NOARP" in link.flags else None,
        *(
            f"sysctl -w {case.setting(each, key)}=0"
            for key in ("arp_ignore", "arp_filter")
            for each in dict.fromkeys(("all", interface))
            if settings.get(f"net.ipv4.conf.{each}.{key}", "0") != "0"
        ),
    )


# ---- settings -----------------------------------------------------------------------------------------


def _forward(case: Case) -> tuple[Fix, ...]:
    if case.family is Family.V4:
        return case.fix("sysctl -w net.ipv4.ip_forward=1", by_crossnet="crossnet apply")
    # A host that forwards takes no routes of routers' advertisements any more, but where it is told to (ip-sysctl).
    told = dict.fromkeys(
        route.device for route in case.here.routes if route.protocol == "ra" and route.device
    )
    keep = (f"sysctl -w {case.setting(device, 'accept_ra')}=2" for device in told)
    return case.fix(*keep, "sysctl -w net.ipv6.conf.all.forwarding=1", by_crossnet="crossnet apply")


def _interface_forward(case: Case) -> tuple[Fix, ...]:
    return case.fix(f"sysctl -w {case.setting(case.cause.interface or 'all', 'forwarding')}=1")


def _time_to_live(case: Case) -> tuple[Fix, ...]:
    """What the client starts with, by its setting or its route, and rules that set it."""
    client = case.course.client.host
    facts = case.facts.get(client)
    for host in dict.fromkeys((case.cause.host, client)):
        if host not in case.facts:
            continue
        for _, table, chain in case.facts[host].firewall.others():
            sets = any(
                isinstance(each, Rewrite) and each.field is Field.TTL
                for rule in chain.rules
                for each in rule.statements
            )
            if sets and chain.hook is not None:
                place = Chain(table.tool, table.family, table.name, chain.name, chain.hook.name)
                of = replace(case.cause, host=host, chain=place)
                return _accept(Case(of, case.course, case.probe, case.facts, case.source))
    if facts is not None and int(facts.sysctls.get("net.ipv4.ip_default_ttl") or 64) > len(
        case.course.gateways
    ):
        route = best(facts, case.probe.destination)
        if route is not None and route.device is not None:
            # Without the `hoplimit` that a route may have.
            via = f" via {route.via}" if route.via is not None else ""
            metric = f" metric {route.metric}" if route.metric else ""
            words = f"{show_network(route.destination)}{via} dev {route.device}{metric}"
            return case.fix(f"{case.ip} route replace {words}", host=client)
    return case.fix("sysctl -w net.ipv4.ip_default_ttl=64", host=client)


def _connections(case: Case) -> tuple[Fix, ...]:
    """A larger table; where the host cannot have one, the entries of who fills it away."""
    if case.cause.remedy.address is not None:
        return case.fix(f"conntrack -D -s {case.cause.remedy.address}")
    most = case.here.sysctls.get("net.netfilter.nf_conntrack_max", "65536")
    return case.fix(f"sysctl -w net.netfilter.nf_conntrack_max={int(most) * 2}")


def _echo(case: Case) -> tuple[Fix, ...]:
    return case.fix("sysctl -w net.ipv4.icmp_echo_ignore_all=0")


# ---- rules ----------------------------------------------------------------------------------------------


def _accept(case: Case) -> tuple[Fix, ...]:
    """An accept of this flow in front of the rule that stops it, in the same chain."""
    chain = case.cause.chain
    if chain is None or not chain.table:
        return ()
    if is_own(chain):
        who = f"{case.course.source} ({case.course.client.host})"
        port = f"/{case.probe.port}" if case.probe.port is not None else ""
        words = (
            f"a crossing with {who} in `from`, {case.probe.destination} in `to` and, where it has an `allow`, "
            f"{case.probe.protocol}{port} in that; then `crossnet apply`"
        )
        return case.fix(by_crossnet=words)
    source, destination = case.ends
    if not destination:
        return ()
    engine = engine_of(chain, case.here)
    if engine is Engine.NFTABLES:
        words = _nft_match(case, source, destination, reply=case.cause.direction is Direction.REPLY)
        return case.fix(f"nft insert rule {chain.family} {chain.table} {chain.chain} {words} accept")
    table = "" if chain.table == "filter" else f" -t {chain.table}"
    into = _chain_for_people(case, chain)
    words = _iptables_match(case, source, destination, reply=case.cause.direction is Direction.REPLY)
    return case.fix(f"{case.iptables(engine, chain)}{table} -I {into} 1 {words} -j ACCEPT")


def _chain_for_people(case: Case, chain: Chain) -> str:
    """Docker asks people to put what they accept into a chain of its own for that."""
    if chain.chain != "FORWARD":
        return chain.chain
    theirs = any(
        "DOCKER-USER" in table.chains
        for table in case.here.firewall.foreign
        if (table.tool, table.family, table.name) == (chain.tool, chain.family, chain.table)
    )
    return "DOCKER-USER" if theirs else chain.chain


def _iptables_match(case: Case, source: str | None, destination: str | None, *, reply: bool) -> str:
    words = [f"-s {source}"] if source else []
    words += [f"-d {destination}"] if destination else []
    protocol, port = case.probe.protocol, case.probe.port
    name = "ipv6-icmp" if protocol is Protocol.ICMP and case.family is Family.V6 else str(protocol)
    words.append(f"-p {name}")
    if port is not None:
        words.append(f"{'--sport' if reply else '--dport'} {port}")
    if reply and _is_tracked_at(case):
        words.append("-m conntrack --ctstate ESTABLISHED,RELATED")
    return " ".join(words)


def _is_tracked_at(case: Case) -> bool:
    """Whether connection tracking has seen packets by then: an answer is one to a request, and opens nothing."""
    chain = case.cause.chain
    if chain is None or case.cause.untracked or case.cause.code == "reply-not-untranslated":
        return False
    late = chain.hook in ("forward", "input", "postrouting") and chain.table != "raw"
    return late and chain.family in ("ip", "ip6", "inet")


def _nft_match(case: Case, source: str | None, destination: str | None, *, reply: bool) -> str:
    ip = "ip" if case.family is Family.V4 else "ip6"
    words = [f"{ip} saddr {source}"] if source else []
    words += [f"{ip} daddr {destination}"] if destination else []
    protocol, port = case.probe.protocol, case.probe.port
    if port is not None:
        words.append(f"{protocol} {'sport' if reply else 'dport'} {port}")
    else:
        words.append(f"meta l4proto {'ipv6-icmp' if case.family is Family.V6 else 'icmp'}")
    if reply and _is_tracked_at(case):
        words.append("ct state established,related")
    return " ".join(words)


def _both_tracked(case: Case) -> tuple[Fix, ...]:
    """Request and answer past the rule that keeps connection tracking from knowing one by the other."""
    if case.cause.chain is None:
        return ()
    request = replace(case.cause, direction=Direction.FORWARD, ends=(None, None))
    asked = Case(request, case.course, case.probe, case.facts, case.source)
    (back,), (out,) = _accept(case), _accept(asked)
    return (Fix(back.host, (*back.commands, *out.commands)),)


def _is_early(case: Case) -> bool:
    """Whether a chain of nft's own decides before those of iptables, which stand at 100 (NF_IP_PRI_NAT_SRC)."""
    hooks = [chain.hook for _, _, chain in case.here.firewall.others() if chain.hook is not None]
    return any(hook.type == "nat" and hook.name == "postrouting" and hook.priority < 100 for hook in hooks)


def _translate(case: Case) -> tuple[Fix, ...]:
    """A translation of this client to the gateway's own address, ahead of all others."""
    remedy, chain = case.cause.remedy, case.cause.chain
    accept = _accept(case) if chain is not None else ()
    if chain is not None:
        # Only what is tracked is translated: the request is what must be.
        source, destination = str(case.course.source or ""), str(case.probe.destination)
        tracked = Finding(
            case.cause.code, case.cause.host, case.cause.interface, Direction.FORWARD, "", chain=chain
        )
        accept = _accept(Case(tracked, case.course, case.probe, case.facts, case.source))
        return tuple(Fix(each.host, each.commands) for each in accept) if source and destination else ()
    if remedy.address is None or remedy.device is None or remedy.destination is None:
        return accept
    network = show_network(remedy.destination)
    client = case.course.source
    has = case.here.capabilities.has
    by_crossnet = "crossnet apply" if case.cause.code == "snat-missing" else None
    if remedy.ahead_of is not Tool.NFT and not _is_early(case) and (has("iptables") or not has("nft")):
        tool = "iptables" if case.family is Family.V4 else "ip6tables"
        if remedy.ahead_of is Tool.IPTABLES_LEGACY:
            tool = case.here.iptables(Engine.IPTABLES_LEGACY, case.family)
        of = f"-s {client} " if client else ""
        rule = f"{of}-d {network} -o {remedy.device} -j SNAT --to-source {remedy.address}"
        return case.fix(f"{tool} -t nat -I POSTROUTING 1 {rule}", by_crossnet=by_crossnet)
    ip = "ip" if case.family is Family.V4 else "ip6"
    of = f"{ip} saddr {client} " if client else ""
    rule = f"{of}{ip} daddr {network} oifname {remedy.device} snat to {remedy.address}"
    return case.fix(
        f"nft add table {ip} by_hand",
        _NAT_CHAINS[case.family is Family.V6],
        f"nft add rule {ip} by_hand postrouting {rule}",
        by_crossnet=by_crossnet,
    )


# ---- programs, large packets -----------------------------------------------------------------------------


def _program(case: Case) -> tuple[Fix, ...]:
    interface = case.cause.interface
    if interface is None:
        return ()
    if "XDP" in case.cause.text:
        return case.fix(f"ip link set dev {interface} xdp off", f"ip link set dev {interface} xdpgeneric off")
    text = case.cause.text
    queue = re.fullmatch(r"tc qdisc \S+ dev \S+ (root handle [0-9a-f]+:)", text)
    if queue is not None:
        return case.fix(f"tc qdisc del dev {interface} {queue[1]}")
    # One of a network plugin is for that to take away; of several nobody can tell which of them it is.
    if any(manager.name in ("kubernetes", "cilium") for manager in case.here.managers):
        return ()
    return case.fix(
        f"tc filter del {text.removeprefix('tc filter ')}" if text.startswith("tc filter ") else None
    )


def _ipsec(case: Case) -> tuple[Fix, ...]:
    """A policy is deleted by its whole selector and its direction (ip-xfrm(8))."""
    selector, said, rest = case.cause.text.partition(" dir ")
    return case.fix(f"ip xfrm policy delete {selector} dir {rest.split()[0]}") if said and rest else ()


def _large(case: Case) -> tuple[Fix, ...]:
    """TCP is told to send what fits; of everything else the network has to be mended."""
    remedy = case.cause.remedy
    if remedy.device is None:
        return ()
    heads = 40 if case.family is Family.V4 else 60
    tool = "iptables" if case.family is Family.V4 else "ip6tables"
    syn = "-p tcp --tcp-flags SYN,RST SYN -j TCPMSS"
    most = f"--set-mss {remedy.mtu - heads}" if remedy.mtu else "--clamp-mss-to-pmtu"
    ends = (("-o", remedy.device), ("-i", remedy.device)) if remedy.mtu else (("-o", remedy.device),)
    if not case.here.capabilities.has(tool):
        return ()
    return case.fix(*(f"{tool} -t mangle -A FORWARD {way} {device} {syn} {most}" for way, device in ends))


_FIXES: dict[str, Callable[[Case], tuple[Fix, ...]]] = {
    **dict.fromkeys(
        (
            *(
                "src-no-route",
                "src-route-other-next-hop",
                "src-route-on-link",
                "no-route",
                "gateway-route-elsewhere",
            ),
            *("no-return-route", "return-route-elsewhere", "forwarding-loop", "src-address-unsuitable"),
        ),
        _route,
    ),
    **dict.fromkeys(("route-blackhole", "route-unreachable", "route-prohibit"), _refused_route),
    "policy-rule-diverts": _policy_rule,
    "link-down": _link,
    **dict.fromkeys(("address-missing", "prefix-mismatch"), _address),
    "destination-is-local": _own_address,
    "martian-source": _martian,
    "reverse-path-filter": _reverse_path,
    **dict.fromkeys(("wrong-destination-mac", "duplicate-address"), _neighbour),
    "arp-not-answered": _arp,
    "next-hop-unresolved": _question,
    "ip-forward-disabled": _forward,
    "interface-forwarding-disabled": _interface_forward,
    "ttl-expired": _time_to_live,
    "conntrack-table-full": _connections,
    "echo-ignored": _echo,
    **dict.fromkeys(
        (
            *("filter-rule-drop", "filter-policy-drop", "filter-reject", "src-output-filtered"),
            *("queue-without-listener", "dnat-captures", "conntrack-invalid"),
        ),
        _accept,
    ),
    **dict.fromkeys(
        (
            "snat-missing",
            "snat-skipped",
            "snat-address-not-local",
            "snat-address-unsuitable",
            "snat-ports-exhausted",
        ),
        _translate,
    ),
    "reply-not-untranslated": _both_tracked,
    "tc-or-xdp-drop": _program,
    "ipsec-policy-drop": _ipsec,
    "pmtu-black-hole": _large,
}
