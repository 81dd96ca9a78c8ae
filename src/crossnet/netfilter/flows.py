"""The tracked flows whose fate changes with crossnet's rules, ended on the host itself.

A flow keeps for its life what was decided on its first packet: whether it is translated, and as whom. So after
the rules of `have` have become those of `want`, the entries of connection tracking end which

- a crossing names that had named them otherwise or not at all, unless they are translated as it wants already,
- a crossing named that names them no more,
- are forwarded and no crossing names, where a fence comes.

Flows to and from the host itself, other crossings' and, without a fence, everybody else's stay as they are. The next
packet of a flow that was ended is judged by the rules as a first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crossnet.netfilter import (
    Accept,
    Chain,
    DestinationPorts,
    Drop,
    Endpoint,
    L4Protocol,
    Masquerade,
    NamedSet,
    Rule,
    Snat,
    SnatByDestination,
    State,
    Table,
)
from crossnet.netfilter.own import networks_in_order
from crossnet.values import Network, show_network

# As conntrack(8) calls them.
_PROTOCOLS = {"ipv6-icmp": "icmpv6"}
_MASQUERADE = "*"

SECONDS = 8
MANY = 10_000
"""With so many tracked flows it may be that not all are ended in the time that there is."""

# It is asked for the whole list once, and told which entries to delete: each of a few, and of many those that
# share an address if nothing else does, the most at once first. `conntrack -D` walks the list each time (measured:
# 0.2 s for 50,000 entries, and 10 ms of an empty list that has room for many), so there is a time after which it begins
# no other walk. The echos of one source go in one walk where all of them are to go: one that began meanwhile loses an
# answer at most, where anything else might lose its connection. It exits 1 when it deletes nothing, because a flow
# ended meanwhile. Zones other than 0 belong to others (Open vSwitch, VRFs).
_SCRIPT = r"""for tool in conntrack awk; do command -v $tool >/dev/null || exit 0; done
{
    cat <<'END'
@RULES@END
    for type in local broadcast; do ip -@VERSION@ route show table all type $type; done
    conntrack -L -f ipv@VERSION@
} 2>/dev/null | awk '
# The awk of busybox may have no ^.
BEGIN { power[0] = 1; for (bit = 0; bit < 16; bit++) power[bit + 1] = 2 * power[bit] }
function hex(text,   i, number) {
    for (i = 1; i <= length(text); i++) number = number * 16 + index("123456789abcdef", substr(text, i, 1))
    return number + 0
}
# The 16-bit groups of an address.
function take_apart(address, group,   i, at, left, right, before, after) {
    if (address !~ /:/) {
        split(address, left, ".")
        group[1] = left[1] * 256 + left[2]; group[2] = left[3] * 256 + left[4]
        return
    }
    at = index(address, "::")
    before = split(at ? substr(address, 1, at - 1) : address, left, ":")
    after = at ? split(substr(address, at + 2), right, ":") : 0
    for (i = 1; i <= 8; i++) group[i] = 0
    for (i = 1; i <= before; i++) group[i] = hex(left[i])
    for (i = 1; i <= after; i++) group[8 - after + i] = hex(right[i])
}
# The first bits of an address.
function prefix(address, bits,   i, group, rest, text) {
    if ((address, bits) in prefixes) return prefixes[address, bits]
    take_apart(address, group)
    rest = bits
    for (i = 1; rest > 0; i++) {
        text = text ":" (rest < 16 ? int(group[i] / power[16 - rest]) : group[i])
        rest -= 16
    }
    return prefixes[address, bits] = text
}
function put(set, network, value,   slash, bits, address) {
    slash = index(network, "/")
    address = slash ? substr(network, 1, slash - 1) : network
    bits = slash ? substr(network, slash + 1) + 0 : network ~ /:/ ? 128 : 32
    if (!((set, bits) in sizes)) { sizes[set, bits]; lengths[set] = lengths[set] " " bits }
    members[set, bits, prefix(address, bits)] = value
}
function holds(set, address,   i, n, bits) {
    n = split(lengths[set], bits, " ")
    for (i = 1; i <= n; i++) if ((set, bits[i], prefix(address, bits[i])) in members) {
        found = members[set, bits[i], prefix(address, bits[i])]
        return 1
    }
    return 0
}
function fits(rule,   i, n, range, end) {
    if (rule[4] != "-" && rule[4] != protocol) return 0
    if (rule[5] != "-") {
        n = split(rule[5], range, ",")
        for (i = 1; i <= n; i++) {
            split(range[i], end, "-")
            if (port >= end[1] + 0 && port <= (end[2] == "" ? end[1] : end[2]) + 0) break
        }
        if (i > n) return 0
    }
    return holds(rule[2], source) && holds(rule[3], destination)
}
# Whether a crossing of that side names the flow; `seen` is the source that it gives it.
function names(side,   i, rule) {
    for (i = 1; i <= count[side, "admit"]; i++) {
        split(rules[side, "admit", i], rule, " ")
        if (fits(rule)) break
    }
    seen = source
    if (i > count[side, "admit"]) return 0
    for (i = 1; i <= count[side, "snat"]; i++) {
        split(rules[side, "snat", i], rule, " ")
        if (fits(rule)) { seen = rule[6] == "-" ? found : rule[6]; break }
    }
    return 1
}
function ends(   had, was) {
    had = names("have"); was = seen
    if (names("want")) return !(had && was == seen) && (seen == "*" ? replies == source : replies != seen)
    return had || (fenced["want"] && !fenced["have"])
}
function part(name) { return " --" protocol "-" name " " field[name] }
function exactly() {
    if (protocol ~ /^(tcp|udp|udplite|sctp|dccp)$/)
        return " -p " protocol " --sport " field["sport"] " --dport " field["dport"]
    if (protocol ~ /^icmp/)
        return " -p " protocol part("type") part("code") part("id")
    if (protocol == "gre") return " -p gre --srckey " field["srckey"] " --dstkey " field["dstkey"]
    return ""
}
function of_source() { return "-p " protocol " -s " source }
$1 == "set" { put($2, $3, $4); next }
$1 == "fence" { fenced[$2] = 1; next }
$1 == "have" || $1 == "want" { rules[$1, $2, ++count[$1, $2]] = $2 " " $3 " " $4 " " $5 " " $6 " " $7; next }
$1 == "local" || $1 == "broadcast" { if ($2 != "default") put("here", $2, ""); next }
{
    split("", field); split("", answer)
    for (i = 3; i <= NF; i++) {
        at = index($i, "="); word = substr($i, 1, at - 1)
        if (word in field) answer[word] = substr($i, at + 1); else field[word] = substr($i, at + 1)
    }
    if (!("src" in answer)) next
    protocol = $1; source = field["src"]; destination = field["dst"]; port = field["dport"]; replies = answer["dst"]
    pair = source " " destination
    if (("zone" in field) || holds("here", source) || holds("here", answer["src"]) || !ends()) {
        keeps["-s " source]; keeps["-d " destination]; keeps["-q " replies]; keeps[pair]
        keeps[of_source()]
        next
    }
    from[++n] = source; to[n] = destination; as[n] = replies; number[n] = $2; which[n] = exactly()
    if (protocol ~ /^icmp/) echos[n] = of_source()
    many["-s " source]++; many["-d " destination]++; many["-q " replies]++
}
function wider(words) { if (!(words in keeps) && many[words] > many[widest]) widest = words }
END {
    many[""] = 0
    for (i = 1; i <= n; i++) {
        widest = ""
        if (n > 16) { wider("-s " from[i]); wider("-d " to[i]); wider("-q " as[i]) }
        both = "-s " from[i] " -d " to[i]
        if (widest != "") words = widest
        else if ((i in echos) && !(echos[i] in keeps)) words = echos[i]
        else if ((n > 16 || which[i] == "") && !((from[i] " " to[i]) in keeps)) words = both
        else words = both (which[i] == "" ? " -p " number[i] : which[i])
        total[words]++
    }
    for (words in total) print total[words], words
}' | sort -rn | while read -r _ words; do
    read -r now _ </proc/uptime
    [ "${now%.*}" -lt "${end:=$((${now%.*} + @SECONDS@))}" ] || break
    # shellcheck disable=SC2086  # the words are wanted
    conntrack -D -f ipv@VERSION@ $words >/dev/null 2>&1
done
exit 0
"""


def ending(have: Table | None, want: Table | None) -> str:
    """The script that ends the flows whose fate changes between the two; empty where none can.

    It succeeds whatever it finds, also where there is no conntrack(8) or awk.
    """
    sets: dict[object, tuple[str, Iterable[str]]] = {}
    sides = [list(_side(table, sets)) for table in (have, want)]
    if sides[0] == sides[1]:
        return ""
    lines = [f"set {name} {member}\n" for name, members in sets.values() for member in members]
    for name, side in zip(("have", "want"), sides, strict=True):
        lines += [f"fence {name}\n" if line == "fence" else f"{name} {line}\n" for line in side]
    table = want or have
    assert table is not None, "a change has at least one side"
    lines += [f"set here {network}\n" for network in _NOT_FORWARDED[table.family]]
    script = _SCRIPT.replace("@VERSION@", _VERSIONS[table.family]).replace("@SECONDS@", str(SECONDS))
    return script.replace("@RULES@", "".join(lines))


_VERSIONS = {"ip": "4", "ip6": "6"}
# Multicast, broadcast and link-local flows are tracked, but are not forwarded as a flow.
_NOT_FORWARDED = {
    "ip": ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255", "0.0.0.0"),
    "ip6": ("::1", "::", "fe80::/10", "ff00::/8"),
}


def _side(table: Table | None, sets: dict[object, tuple[str, Iterable[str]]]) -> Iterator[str]:
    """What the rules of one side say of a flow: which crossings name it, as whom it is seen, and the fence."""
    for rule in _rules(table, "forward"):
        assert table is not None
        if isinstance(rule.verdict, Drop) and not rule.matches:
            yield "fence"
        elif isinstance(rule.verdict, Accept) and not any(isinstance(each, State) for each in rule.matches):
            yield f"admit {_flow(table, rule, sets)}"
    for rule in _rules(table, "postrouting"):
        assert table is not None
        match rule.verdict:
            case Snat(address=source):
                yield f"snat {_flow(table, rule, sets)} {source}"
            case Masquerade():
                yield f"snat {_flow(table, rule, sets)} {_MASQUERADE}"
            case SnatByDestination(map=name):
                entries = next((each.entries for each in table.maps if each.name == name), frozenset())
                shown = sorted(f"{show_network(network)} {address}" for network, address in entries)
                to = _number(("map", entries), shown, sets)
                yield f"snat {_flow(table, rule, sets, to)} -"
            case _:
                pass


def _rules(table: Table | None, name: str) -> tuple[Rule, ...]:
    chain: Chain | None = table.chain(name) if table else None
    return chain.rules if chain else ()


def _flow(table: Table, rule: Rule, sets: dict[object, tuple[str, Iterable[str]]], to: str = "") -> str:
    """The sets of source and destination, the protocol and the ports that a rule asks for."""
    ends: dict[str, str] = {}
    protocol = ports = "-"
    for match in rule.matches:
        match match:
            case Endpoint(side=side, where=where):
                members = _members(table, where)
                ends[side] = _number(members, map(show_network, networks_in_order(members)), sets)
            case L4Protocol(name=name):
                protocol = _PROTOCOLS.get(name, name)
            case DestinationPorts(ranges=ranges):
                ports = ",".join(str(each) for each in ranges)
            case _:
                pass
    everything = _number("everything", ("::/0",), sets) if len(ends) < 2 else ""
    source, destination = (ends.get(side, everything) for side in ("source", "destination"))
    return f"{source} {to or destination} {protocol} {ports}"


def _members(table: Table, where: Network | NamedSet) -> frozenset[Network]:
    if not isinstance(where, NamedSet):
        return frozenset({where})
    return next((each.members for each in table.sets if each.name == where.name), frozenset())


def _number(key: object, members: Iterable[str], sets: dict[object, tuple[str, Iterable[str]]]) -> str:
    """The number of a set; one that both sides have is told once."""
    if key not in sets:
        sets[key] = (str(len(sets) + 1), tuple(members))
    return sets[key][0]
