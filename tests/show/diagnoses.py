"""Diagnoses as the hosts of the lab give them, for what shows them."""

from __future__ import annotations

from ipaddress import ip_address

from crossnet.values import Probe
from crossnet.verdict import (
    Action,
    Also,
    Between,
    Confidence,
    Diagnosis,
    Fix,
    Half,
    Note,
    Observation,
    Place,
    Result,
)

CLIENT = "10.0.43.15 > 10.0.44.1 icmp echo request"
TRANSLATED = "10.0.44.63 > 10.0.44.1 icmp echo request"
ANSWER = "10.0.44.1 > 10.0.44.63 icmp echo reply"
BACK = "10.0.44.1 > 10.0.43.15 icmp echo reply"
NOT_SENT = Half("not-sent")

SENT = Observation(0, "app", "eth0", None, Action.SENT, "request", CLIENT)
RECEIVED = Observation(0.00011, "gateway", "eth1", None, Action.RECEIVED, "request", CLIENT)


def absent(host: str, interface: str, direction: str = "request", packet: str = CLIENT) -> Observation:
    return Observation(1.0, host, interface, None, Action.ABSENT, direction, packet)


def seed(
    result: Result,
    forward: Half,
    reply: Half = NOT_SENT,
    *,
    also: tuple[Also, ...] = (),
    notes: tuple[Note, ...] = (),
    observations: tuple[Observation, ...] = (),
) -> Diagnosis:
    return Diagnosis(
        "business",
        "app",
        ip_address("10.0.43.15"),
        Probe.from_text("icmp/10.0.44.1"),
        result,
        forward,
        reply,
        also,
        notes,
        observations,
    )


SNAT_MISSING = Also(
    "reply",
    Place("gateway", "eth0"),
    "snat-missing",
    "requests would leave eth0 as 10.0.43.15, and 10.0.44.0/24 has no way back",
    (
        Fix(
            "gateway",
            (
                "iptables -t nat -A POSTROUTING -s 10.0.43.15/32 -d 10.0.44.0/24 -o eth0 -j SNAT "
                "--to-source 10.0.44.63",
            ),
        ),
    ),
)

NO_ROUTE = seed(
    Result.UNREACHABLE,
    Half(
        "not-sent",
        "src-no-route",
        "app has no route to 10.0.44.1: the kernel answered 'Network is unreachable'.",
        Place("app"),
        Confidence.PROVED,
        evidence=("`ip route get 10.0.44.1` on app: Network is unreachable", "Ip.OutNoRoutes rose by 1"),
        fix=(Fix("app", ("ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0",)),),
    ),
    also=(
        Also(
            "forward",
            Place("gateway", "eth1"),
            "ip-forward-disabled",
            "net.ipv4.ip_forward is 0 on gateway",
            (Fix("gateway", ("sysctl -w net.ipv4.ip_forward=1",)),),
        ),
        SNAT_MISSING,
    ),
    observations=(absent("app", "eth0"), absent("gateway", "eth1"), absent("gateway", "eth0")),
)

FORWARDING_OFF = seed(
    Result.UNREACHABLE,
    Half(
        "dropped",
        "ip-forward-disabled",
        "gateway does not forward packets: net.ipv4.ip_forward is 0.",
        Place("gateway", "eth1"),
        Confidence.PROVED,
        evidence=(
            "The request was received on gateway eth1 and did not leave eth0 within 1.0 s",
            "Ip.InAddrErrors on gateway rose by 3 while the probe ran",
            "kernel drop reason on gateway: IP_INADDRERRORS at ip_error",
        ),
        fix=(Fix("gateway", ("sysctl -w net.ipv4.ip_forward=1",)),),
    ),
    also=(SNAT_MISSING,),
    notes=(
        Note("return-path-not-checked", "No reply was sent, so its way back is known from the rules alone."),
    ),
    observations=(SENT, RECEIVED, absent("gateway", "eth0")),
)

FILTER_DROP = Diagnosis(
    "business",
    "app",
    ip_address("10.0.43.15"),
    Probe.from_text("tcp/10.0.44.1:443"),
    Result.UNREACHABLE,
    Half(
        "dropped",
        "filter-rule-drop",
        "A rule of gateway drops it: `-A FORWARD -i eth1 -p tcp -m tcp --dport 443 -j DROP`.",
        Place("gateway", "eth1"),
        Confidence.PROVED,
        evidence=(
            "nft trace: ip filter FORWARD rule handle 12, verdict drop",
            "The rule's counter rose from 40 to 43",
        ),
        fix=(
            Fix(
                "gateway",
                (
                    "iptables -I FORWARD 3 -s 10.0.43.15/32 -d 10.0.44.0/24 -i eth1 -o eth0 -p tcp "
                    "--dport 443 -j ACCEPT",
                ),
                "crossings:\n  - name: business\n    from: app\n"
                "    via: gateway\n    to: 10.0.44.0/24\n    allow: [tcp/443]\n",
            ),
        ),
    ),
    NOT_SENT,
    observations=(
        Observation(0, "app", "eth0", None, Action.SENT, "request", "10.0.43.15.40412 > 10.0.44.1.443 tcp S"),
        Observation(
            0.00009,
            "gateway",
            "eth1",
            None,
            Action.RECEIVED,
            "request",
            "10.0.43.15.40412 > 10.0.44.1.443 tcp S",
        ),
        Observation(
            0.00012,
            "gateway",
            None,
            "forward",
            Action.DROPPED,
            "request",
            "10.0.43.15.40412 > 10.0.44.1.443 tcp S",
            by="-A FORWARD -i eth1 -p tcp -m tcp --dport 443 -j DROP",
        ),
        absent("gateway", "eth0", packet="10.0.43.15.40412 > 10.0.44.1.443 tcp S"),
    ),
)

UNTRANSLATED = seed(
    Result.UNREACHABLE,
    Half("delivered-to-segment", at=Place("gateway", "eth0")),
    Half(
        "undetermined",
        "snat-missing",
        "Requests leave gateway eth0 as 10.0.43.15, and 10.0.44.0/24 has no way back to that address.",
        Place("gateway", "eth0"),
        Confidence.INFERRED,
        evidence=(
            "The request left gateway eth0 with the source 10.0.43.15, untranslated",
            "No reply came within 1.0 s",
        ),
        fix=SNAT_MISSING.fix,
    ),
    observations=(
        SENT,
        RECEIVED,
        Observation(0.00015, "gateway", "eth0", None, Action.SENT, "request", CLIENT),
        absent("gateway", "eth0", "reply", BACK),
        absent("app", "eth0", "reply", BACK),
    ),
)

REACHABLE = seed(
    Result.REACHABLE,
    Half("delivered-to-segment", at=Place("gateway", "eth0")),
    Half("delivered", at=Place("app", "eth0")),
    notes=(Note("host-not-observed", "10.0.44.1 was not watched; its reply was."),),
    observations=(
        SENT,
        RECEIVED,
        Observation(
            0.00016,
            "gateway",
            "eth0",
            None,
            Action.TRANSLATED,
            "request",
            TRANSLATED,
            "10.0.43.15 → 10.0.44.63",
            "table ip crossnet, chain postrouting: snat to 10.0.44.63",
        ),
        Observation(0.00024, "gateway", "eth0", None, Action.RECEIVED, "reply", ANSWER),
        Observation(
            0.00028, "gateway", "eth1", None, Action.TRANSLATED, "reply", BACK, "10.0.44.63 → 10.0.43.15"
        ),
        Observation(0.00035, "app", "eth0", None, Action.RECEIVED, "reply", BACK),
    ),
)

SILENT = seed(
    Result.UNDETERMINED,
    Half("delivered-to-segment", at=Place("gateway", "eth0")),
    Half(
        "undetermined",
        "destination-silent",
        "The request left gateway eth0 towards 10.0.44.1, and nothing came back. 10.0.44.1 is not managed, so what "
        "happened there cannot be seen: try another probe, or look there.",
        Place("gateway", "eth0"),
        Confidence.CANDIDATES,
        ("destination-silent", "no-return-route", "echo-ignored", "filter-rule-drop"),
        evidence=("10.0.44.1 answers ARP on gateway eth0 (52:54:00:12:34:56)",),
    ),
    observations=(
        SENT,
        RECEIVED,
        Observation(
            0.00016, "gateway", "eth0", None, Action.SENT, "request", TRANSLATED, "10.0.43.15 → 10.0.44.63"
        ),
        absent("gateway", "eth0", "reply", ANSWER),
    ),
)

REPLY_LOST = seed(
    Result.UNREACHABLE,
    Half("delivered-to-segment", at=Place("gateway", "eth0")),
    Half(
        "lost-between",
        "lost-between",
        "The reply left gateway eth1 and did not come to app eth0: whatever took it stands between them.",
        Between(Place("gateway", "eth1"), Place("app", "eth0")),
        Confidence.CANDIDATES,
        ("lost-between", "neutron-antispoof-source", "neutron-security-group"),
        (
            "The reply was seen leaving gateway eth1 as 10.0.44.1 > 10.0.43.15",
            "app eth0 was watched for 1.0 s",
        ),
        (Fix("the cloud", ("openstack port set --allowed-address ip-address=10.0.44.0/24 PORT",)),),
    ),
    observations=(
        *REACHABLE.observations[:5],
        absent("app", "eth0", "reply", BACK),
    ),
)

NOTHING_SEEN = seed(
    Result.UNDETERMINED,
    Half("undetermined", detail="Neither host has tcpdump, and no counter changed."),
    Half("undetermined"),
    notes=(Note("insufficient-privilege", "No root on app and gateway: nothing was watched."),),
)

SIX = "fd00:43::15 > fd00:44::1 icmp6 echo request"
WIDE = "fd00:43:aaaa:bbbb:cccc:dddd:eeee:15"
V6 = Diagnosis(
    None,
    WIDE,
    ip_address(WIDE),
    Probe.from_text("udp/[fd00:44:aaaa:bbbb:cccc:dddd:eeee:53]:53"),
    Result.UNREACHABLE,
    Half(
        "lost-between",
        "next-hop-unresolved",
        "The next hop does not answer neighbour solicitations.",
        Between(Place("router-a", "enp1s0f0np0.143"), Place("router-b", "enp2s0f1np1")),
        Confidence.INFERRED,
        evidence=("neighbour fd00:99::2 dev enp1s0f0np0.143 FAILED",),
    ),
    NOT_SENT,
    observations=(
        Observation(0, WIDE, "eth0", None, Action.SENT, "request", SIX),
        Observation(0.0002, "router-a", "eth0", None, Action.RECEIVED, "request", SIX),
        Observation(
            0.0003,
            "router-a",
            "enp1s0f0np0.143",
            "postrouting",
            Action.TRANSLATED,
            "request",
            SIX,
            f"{WIDE} → fd00:99:aaaa:bbbb:cccc:dddd:eeee:1",
        ),
        absent("router-b", "enp2s0f1np1", packet=SIX),
        Observation(
            3.01, "router-a", "eth0", None, Action.SENT, "error", "fd00:43::1 > fd00:43::15 icmp6 unreachable"
        ),
        Observation(
            3.0102, WIDE, "eth0", None, Action.RECEIVED, "error", "fd00:43::1 > fd00:43::15 icmp6 unreachable"
        ),
    ),
)

SCRIPT = "<script>alert(1)</script>"
HOSTILE_NAME = f'x"><img src=http://evil.example/ onerror=alert(2)>{SCRIPT}'
RIGHT_TO_LEFT = "gate\u202eyaw\x1b[31m\x00\u200f שער $title"
HOSTILE = Diagnosis(
    f"{SCRIPT}'\"",
    HOSTILE_NAME,
    ip_address("10.0.43.15"),
    Probe.from_text("tcp/10.0.44.1:80"),
    Result.UNREACHABLE,
    Half(
        f"{SCRIPT} disposition",
        f"code-{SCRIPT}",
        f"</section></main>{SCRIPT} & $script {'A' * 400}",
        Place(RIGHT_TO_LEFT, "<b>eth1</b>"),
        Confidence.CANDIDATES,
        (SCRIPT, "b"),
        (f"]]><!--{SCRIPT}", "line one\nline two <iframe src=//evil.example>"),
        (
            Fix(
                HOSTILE_NAME,
                (f"echo '{SCRIPT}'\nrm -rf /", "printf '\x1b]0;x\x07'"),
                f"</pre>{SCRIPT}\nnext: line",
            ),
        ),
    ),
    Half("not-sent", detail="javascript:alert(1)"),
    (Also("reply", Between(Place(RIGHT_TO_LEFT, "&amp;"), Place("</svg>", None)), f"also{SCRIPT}", SCRIPT),),
    (Note(f"note{SCRIPT}", "<style>*{display:none}</style>"),),
    (
        Observation(0, HOSTILE_NAME, "eth0", None, Action.SENT, "request", f"a > b {SCRIPT}"),
        Observation(
            0.1,
            RIGHT_TO_LEFT,
            "<b>eth1</b>",
            "</title><script>",
            Action.DROPPED,
            "request",
            f"a > b {SCRIPT}",
            f"{SCRIPT} → {SCRIPT}",
            f'-A FORWARD -m comment --comment "{SCRIPT}" -j DROP',
        ),
    ),
)

LONG = Diagnosis(
    "business",
    "app",
    ip_address("10.0.43.15"),
    Probe.from_text("udp/10.0.44.1:53"),
    Result.AMBIGUOUS,
    Half(
        "dropped",
        "partial-loss",
        "14 of 40 probes pass gateway and 26 do not: "
        "`-A FORWARD -m statistic --mode random --probability 0.65 -j DROP`.",
        Place("gateway", "eth1"),
        Confidence.PROVED,
        evidence=tuple(
            f"probe {number}: received on gateway eth1, {'left eth0' if number % 3 == 0 else 'did not leave eth0'}"
            for number in range(40)
        ),
        fix=(
            Fix(
                "gateway",
                tuple(
                    f"iptables -D FORWARD -s 10.{number}.0.0/16 -m statistic -j DROP" for number in range(6)
                ),
            ),
        ),
    ),
    Half("delivered", at=Place("app", "eth0")),
    tuple(
        Also("forward", Place("gateway", "eth0"), "filter-rule-drop", f"rule {number} would drop it next")
        for number in range(12)
    ),
    tuple(
        Note("unmodelled-rule", f"rule {number} has a match that is not known: -m u32")
        for number in range(15)
    ),
    tuple(
        Observation(
            0.05 * number + 0.0001 * step,
            host,
            interface,
            None,
            action,
            "request",
            f"10.0.43.15 > 10.0.44.1 udp #{number}",
        )
        for number in range(60)
        for step, (host, interface, action) in enumerate(
            (
                ("app", "eth0", Action.SENT),
                ("gateway", "eth1", Action.RECEIVED),
                ("gateway", "eth0", Action.FORWARDED),
            )
        )
        if step < 2 or number % 3 == 0
    ),
)

DIAGNOSES = {
    "no-route": NO_ROUTE,
    "forwarding-off": FORWARDING_OFF,
    "filter-drop": FILTER_DROP,
    "untranslated": UNTRANSLATED,
    "reachable": REACHABLE,
    "silent": SILENT,
    "reply-lost": REPLY_LOST,
    "nothing-seen": NOTHING_SEEN,
    "ipv6": V6,
    "hostile": HOSTILE,
    "long": LONG,
}
