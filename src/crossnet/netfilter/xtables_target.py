"""The targets of iptables (`-j …`) as actions: verdicts, translations, and what they change of a packet.

From net/netfilter/xt_*.c, net/ipv4/netfilter/ipt_*.c and iptables-extensions(8). A target that only counts, logs or
touches what no rule looks at says nothing here.
"""

from __future__ import annotations

from collections.abc import Callable

from crossnet.netfilter.foreign import (
    Accept,
    Action,
    Drop,
    Field,
    Jump,
    NoTrack,
    Numbers,
    Offload,
    Queue,
    Reject,
    Return,
    Rewrite,
    Tproxy,
    Translate,
    Translation,
    Unknown,
)
from crossnet.netfilter.iptables_words import join_words
from crossnet.netfilter.xtables_names import DSCP_CLASSES, TOS_VALUES
from crossnet.netfilter.xtables_options import Module, Option, Surroundings, masked, parse_address

_EVERY_BIT = 0xFFFFFFFF
ANY_ZONE = 0xFFFF
_DESTINATION_CHAINS = frozenset({"PREROUTING", "OUTPUT"})

# After these the packet goes on with the next rule, and is what it was for whatever rules look at.
SAYS_NOTHING = frozenset(
    {
        "ACCOUNT",
        "AUDIT",
        "CHECKSUM",
        "CLASSIFY",
        "CONNSECMARK",
        "IDLETIMER",
        "LED",
        "LOG",
        "NFLOG",
        "RATEEST",
        "SECMARK",
        "TCPMSS",
        "TCPOPTSTRIP",
        "TEE",
        "TRACE",
        "ULOG",
    }
)


def target_actions(target: Module, chain: str, where: Surroundings) -> list[Action]:
    """What the target of a rule does, in order; a target that is not understood keeps its words."""
    name = target.name
    if target.goto or name in where.chains:
        return [Jump(name, target.goto)]
    verdict = _VERDICTS.get(name)
    if verdict is not None and not target.options:
        return [verdict]
    if name in SAYS_NOTHING:
        return []
    read = _TARGETS.get(name)
    if read is not None:
        try:
            return read(target.options, chain, where)
        except (ValueError, KeyError, OSError, IndexError):
            pass
    return [Unknown(_text(target))]


def _text(target: Module) -> str:
    return " ".join((f"-j {join_words([target.name])}", *(option.text for option in target.options)))


def _reject(options: list[Option], _: str, where: Surroundings) -> list[Action]:
    for option in options:
        if option.name == "--reject-with":
            return [Reject(option.value)]
    return [Reject("icmp-port-unreachable" if where.family == "ip" else "icmp6-port-unreachable")]


def _queue(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    return [Queue(any(option.name == "--queue-bypass" for option in options))]


# ---- translation ------------------------------------------------------------------------------------

# What a source is given at random; a destination keeps its port then (nf_nat_core.c: nf_nat_l4proto_unique_tuple).
ANY_PORT = Numbers(((1, 65535),))


def _port_range(text: str) -> Numbers:
    ports, _, _ = text.partition("/")  # `1000-2000/3000` is the same range, begun elsewhere
    first, _, last = ports.partition("-")
    low, high = int(first), int(last or first)
    if not 0 <= low <= high <= 65535:
        raise ValueError("not a range of ports")
    return Numbers(((low, high),))


def _end(text: str) -> tuple[tuple[int, int] | None, Numbers | None]:
    """`10.0.0.1-10.0.0.9:1000-2000`, `[2001:db8::1]:80`, `:53`: addresses and ports."""
    if text.startswith("["):
        addresses, _, ports = text[1:].partition("]")
        ports = ports.removeprefix(":")
    elif text.count(":") > 1:
        addresses, ports = text, ""
    else:
        addresses, _, ports = text.partition(":")
    held: tuple[int, int] | None = None
    if addresses:
        first, dash, last = addresses.partition("-")
        held = (parse_address(first), parse_address(last if dash else first))
    return held, _port_range(ports) if ports else None


def _translate(
    kind: Translation, option_name: str
) -> Callable[[list[Option], str, Surroundings], list[Action]]:
    def read(options: list[Option], _: str, __: Surroundings) -> list[Action]:
        ranges: list[tuple[int, int]] = []
        ports: Numbers | None = None
        is_random = False
        for option in options:
            if option.name == option_name:
                held, its_ports = _end(option.value)
                if held is not None:
                    ranges.append(held)
                ports = its_ports if ports is None else ports
            elif option.name in ("--random", "--random-fully"):
                is_random = True
            elif option.name != "--persistent":
                raise ValueError("an option of no iptables yet")
        if ports is None and is_random and kind is Translation.SOURCE:
            ports = ANY_PORT
        return [Translate(kind, Numbers.of(ranges) if ranges else None, ports)]

    return read


def _with_ports(kind: Translation) -> Callable[[list[Option], str, Surroundings], list[Action]]:
    def read(options: list[Option], _: str, __: Surroundings) -> list[Action]:
        ports: Numbers | None = None
        for option in options:
            if option.name == "--to-ports":
                ports = _port_range(option.value)
            elif option.name in ("--random", "--random-fully"):
                ports = ports or (ANY_PORT if kind is Translation.MASQUERADE else None)
            else:
                raise ValueError("an option of no iptables yet")
        return [Translate(kind, None, ports)]

    return read


def _netmap(options: list[Option], chain: str, where: Surroundings) -> list[Action]:
    """Which end it changes depends on the hook (xt_NETMAP.c), so on the built-in chains that lead there."""
    network, _, length = options[0].value.partition("/")
    first = parse_address(network)
    bits = 128 if ":" in network else 32
    host = ((1 << bits) - 1) >> int(length or bits)
    first &= ~host
    addresses = Numbers(((first, first | host),))
    hooks = where.reached_from(chain)
    if hooks <= _DESTINATION_CHAINS:
        return [Translate(Translation.NETMAP_DESTINATION, addresses)]
    if not hooks & _DESTINATION_CHAINS:
        return [Translate(Translation.NETMAP_SOURCE, addresses)]
    raise ValueError("both ends, by the chain that jumps here")


# ---- what is changed --------------------------------------------------------------------------------


def _mark(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    (option,) = options
    return [_set_mark(Field.MARK, option)]


def _set_mark(field: Field, option: Option) -> Rewrite:
    match option.name:
        case "--set-xmark":
            value, mask = masked(option.value)
            return Rewrite(field, value, mask)
        case "--set-mark":  # what is set, and what the mask has besides, is cleared first
            value, mask = masked(option.value)
            return Rewrite(field, value, mask | value)
        case "--and-mark":
            return Rewrite(field, 0, int(option.value, 0) ^ _EVERY_BIT)
        case "--or-mark":
            bits = int(option.value, 0)
            return Rewrite(field, bits, bits)
        case "--xor-mark":
            return Rewrite(field, int(option.value, 0), 0)
    raise ValueError("an option of no iptables yet")


def _connmark(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    first, *masks = options
    if first.name not in ("--save-mark", "--restore-mark"):
        if masks:
            raise ValueError("a mask beside the mark")
        return [_set_mark(Field.CT_MARK, first)]
    of_packet = of_flow = _EVERY_BIT
    for option in masks:
        bits = int(option.value, 0)
        if option.name in ("--nfmask", "--mask"):
            of_packet = bits
        if option.name in ("--ctmask", "--mask"):
            of_flow = bits
        if option.name not in ("--nfmask", "--ctmask", "--mask"):
            raise ValueError("an option of no iptables yet")
    field, source = (
        (Field.CT_MARK, Field.MARK) if first.name == "--save-mark" else (Field.MARK, Field.CT_MARK)
    )
    if of_packet != of_flow:  # other bits go than come
        return [Rewrite(field, None, of_packet | of_flow)]
    return [Rewrite(field, None, of_packet, source)]


def _ct(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    actions: list[Action] = []
    for option in options:
        match option.name:
            case "--notrack":
                actions.append(NoTrack())
            case "--zone" | "--zone-reply":
                actions.append(_zone(option.value))
            case "--zone-orig":  # its answers are of zone 0 as before, and looked up there too
                actions.append(Rewrite(Field.CT_ZONE, 0, ANY_ZONE))
            case "--helper" | "--ctevents" | "--expevents" | "--timeout" | "--orig" | "--reply":
                pass
            case _:
                raise ValueError("an option of no iptables yet")
    return actions


def _zone(text: str) -> Rewrite:
    if text == "mark":
        return Rewrite(Field.CT_ZONE, None, ANY_ZONE, Field.MARK)
    return Rewrite(Field.CT_ZONE, int(text, 0), ANY_ZONE)


def _tproxy(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    return [Tproxy(_text(Module("TPROXY", options)))]


def _dscp(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    (option,) = options
    if option.name == "--set-dscp-class":
        return [Rewrite(Field.DSCP, DSCP_CLASSES[option.value.upper()], 0x3F)]
    if option.name == "--set-dscp":
        return [Rewrite(Field.DSCP, int(option.value, 0), 0x3F)]
    raise ValueError("an option of no iptables yet")


def _tos(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    (option,) = options
    match option.name:
        case "--set-tos" if option.value.lower() in TOS_VALUES:
            value, mask = TOS_VALUES[option.value.lower()], 0x3F
        case "--set-tos":
            value, mask = masked(option.value, 0xFF)
        case "--and-tos":
            value, mask = 0, int(option.value, 0) ^ 0xFF
        case "--or-tos":
            value = mask = int(option.value, 0)
        case "--xor-tos":
            value, mask = int(option.value, 0), 0
        case _:
            raise ValueError("an option of no iptables yet")
    parts = ((Field.DSCP, value >> 2, mask >> 2), (Field.ECN, value & 3, mask & 3))
    return [Rewrite(field, number, bits) for field, number, bits in parts if number or bits]


def _hop_limit(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    (option,) = options
    if option.name in ("--ttl-set", "--hl-set"):
        return [Rewrite(Field.TTL, int(option.value, 0), 0xFF)]
    int(option.value, 0)
    return [Rewrite(Field.TTL, None, 0xFF)]


def _ecn(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    (option,) = options
    if option.name != "--ecn-tcp-remove":
        raise ValueError("an option of no iptables yet")
    return [Rewrite(Field.TCP_FLAGS, 0, 0xC0)]


def _hmark(_: list[Option], __: str, ___: Surroundings) -> list[Action]:
    return [Rewrite(Field.MARK, None, _EVERY_BIT)]


def _set(options: list[Option], _: str, __: Surroundings) -> list[Action]:
    # the sets that it fills are known as unsettled: xtables_save.filled_sets
    maps_mark = any(option.name == "--map-mark" for option in options)
    return [Rewrite(Field.MARK, None, _EVERY_BIT)] if maps_mark else []


_VERDICTS: dict[str, Action] = {
    "ACCEPT": Accept(),
    "DROP": Drop(),
    "RETURN": Return(),
    "QUEUE": Queue(),
    "NOTRACK": NoTrack(),
}

_TARGETS: dict[str, Callable[[list[Option], str, Surroundings], list[Action]]] = {
    "FLOWOFFLOAD": lambda options, chain, where: [Offload("")],  # OpenWrt's
    "REJECT": _reject,
    "NFQUEUE": _queue,
    "SNAT": _translate(Translation.SOURCE, "--to-source"),
    "DNAT": _translate(Translation.DESTINATION, "--to-destination"),
    "MASQUERADE": _with_ports(Translation.MASQUERADE),
    "REDIRECT": _with_ports(Translation.REDIRECT),
    "NETMAP": _netmap,
    "MARK": _mark,
    "CONNMARK": _connmark,
    "CT": _ct,
    "TPROXY": _tproxy,
    "DSCP": _dscp,
    "TOS": _tos,
    "TTL": _hop_limit,
    "HL": _hop_limit,
    "ECN": _ecn,
    "HMARK": _hmark,
    "SET": _set,
}
