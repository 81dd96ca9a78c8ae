"""What the kernel tells of the packets that it drops, which of them are ours, and what its reasons mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import cast

import pytest

from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.drop_events import Dropped, Spot, commonest, drops
from crossnet.diagnosis.drops import Dropping
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.judge import reasons
from crossnet.netfilter.foreign import Tool
from crossnet.reach.rules import Place
from crossnet.transport import Host
from crossnet.verification.conntrack import Entry

SPOT = Spot("gateway", Direction.FORWARD, ("eth1",), "eth0", (333, 444))
SENDER = Spot("app", Direction.FORWARD, (), "eth0", (333, 444))

# Linux 6.18, the `trace` of an instance with `options/stacktrace`.
ARRIVAL = "       ping-27825   [001] ..s1. 72624.308413: netif_receive_skb: dev=eth1 skbaddr=00000000eba6eb11 len=361"
SOFTIRQ = " => process_backlog\n => net_rx_action\n => ip_output\n => raw_sendmsg\n"


def drop(
    reason: str, location: str, *stack: str, when: str = "308419", cpu: str = "001", of: str = "eba6eb11"
) -> str:
    functions = "".join(
        f" => {name}\n" for name in ("trace_event_raw_event_kfree_skb", "sk_skb_reason_drop", *stack)
    )
    return (
        f"            ping-27825   [{cpu}] ..s1. 72624.{when}: kfree_skb: skbaddr=00000000{of} rx_sk=0000000000000000 "
        f"protocol=2048 location={location} reason: {reason}\n"
        f"            ping-27825   [{cpu}] ..s1. 72624.308435: <stack trace>\n{functions}"
    )


SENT = dict.fromkeys(SPOT.echoes, 0.0)


def found(printed: str, spot: Spot, sent: Mapping[int, float] = SENT) -> list[Dropped]:
    return [dropped for _, dropped in drops(printed, spot, sent)]


def dropped(reason: str, function: str, hook: str | None = None, interface: str | None = "eth1") -> Dropped:
    return Dropped("gateway", Direction.FORWARD, interface, reason, function, hook)


def test_a_buffer_that_is_somebody_elses_by_then_is_none_of_ours() -> None:
    """The echo was taken in; 75 µs later, on the same processor, another task's packet was dropped in its buffer."""
    taken = drop("IP_INADDRERRORS", "ip_error+0x94/0x220", "ip_error", "__netif_receive_skb_one_core")
    assert found(f"{ARRIVAL}\n{taken}", SPOT) == [dropped("IP_INADDRERRORS", "ip_error")]
    assert found(f"{ARRIVAL}\n{taken.replace('ping-27825', 'perl-4045 ')}", SPOT) == []


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            drop("IP_RPFILTER", "ip_rcv_finish_core+0x25b/0x470", "ip_rcv_finish_core", "ip_rcv"),
            dropped("IP_RPFILTER", "ip_rcv_finish_core"),
        ),
        (
            drop("TC_INGRESS", "__netif_receive_skb_core.constprop.0+0x4a1/0x1350"),
            dropped("TC_INGRESS", "__netif_receive_skb_core", "ingress"),
        ),
        (
            drop(
                "NETFILTER_DROP",
                "nft_do_chain+0x3e8/0x610 [nf_tables]",
                "nft_do_chain",
                "nft_do_chain_ipv4",
                "nf_hook_slow",
                "ip_forward",
                "ip_rcv",
            ),
            dropped("NETFILTER_DROP", "nft_do_chain", "forward"),
        ),
        (
            drop("NETFILTER_DROP", "nf_hook_slow+0x9a/0xf0", "nf_hook_slow", "ip_output", "ip_forward"),
            dropped("NETFILTER_DROP", "nf_hook_slow", "postrouting"),
        ),
        (
            drop("NOT_SPECIFIED", "ip_error+0x8b/0x2c0", "ip_error", "ip_rcv"),
            dropped("NOT_SPECIFIED", "ip_error"),
        ),
        # Some kernels print where it was as an address that nobody can read.
        (
            drop("NOT_SPECIFIED", "00000000c0ffee00", "do_xdp_generic", "__netif_receive_skb_core"),
            dropped("NOT_SPECIFIED", "do_xdp_generic"),
        ),
    ],
)
def test_why_a_packet_of_ours_was_dropped_is_read(event: str, expected: Dropped) -> None:
    assert found(f"{ARRIVAL}\n{event}{SOFTIRQ}", SPOT) == [expected]


@pytest.mark.parametrize(
    "event",
    [
        drop("IP_RPFILTER", "ip_rcv_finish_core+0x25b/0x470", of="00c0ffee"),
        drop("IP_RPFILTER", "ip_rcv_finish_core+0x25b/0x470", cpu="000"),
        drop("NOT_SPECIFIED", "ip6_mc_input+0x1/0x2", when="518419"),
    ],
    ids=["another-buffer", "another-processor", "used-again-later"],
)
def test_what_happens_to_others_is_not_ours(event: str) -> None:
    assert found(f"{ARRIVAL}\n{event}", SPOT) == []


def test_a_buffer_is_ours_until_it_is_freed() -> None:
    ours = drop("XFRM_POLICY", "ip_forward+0x1f5/0x5d0", "ip_forward")
    later = drop("NETFILTER_DROP", "nft_do_chain+0x1/0x2", "nft_do_chain", when="308425")
    assert [each.reason for each in found(f"{ARRIVAL}\n{ours}{SOFTIRQ}{later}", SPOT)] == ["XFRM_POLICY"]


QUEUED = (
    "       ping-27825   [001] ..s1. 72624.308416: net_dev_queue: dev=eth0 skbaddr=00000000eba6eb11 len=375"
)


def test_an_answer_is_for_no_program_only_where_it_should_be_handed_on() -> None:
    """On who has asked every answer ends so, when its program has it."""
    event = drop("NO_SOCKET", "ping_rcv+0xab/0xd0", "ping_rcv", "icmp_rcv", "ip_rcv")
    answers = replace(SPOT, direction=Direction.REPLY)
    assert [each.reason for each in found(f"{ARRIVAL}\n{event}{SOFTIRQ}", answers)] == ["NO_SOCKET"]
    assert found(f"{ARRIVAL}\n{event}{SOFTIRQ}", replace(answers, leaves=None)) == []
    assert found(f"{ARRIVAL}\n{event}{SOFTIRQ}", SPOT) == []


def test_what_waits_to_be_sent_is_dropped_by_who_sends() -> None:
    """All hosts of a lab have one kernel, and a buffer may be used again for the answer."""
    full = drop(
        "QDISC_DROP", "__dev_queue_xmit+0x6ee/0xf90", "__dev_queue_xmit", "ip_finish_output2", "ip_forward"
    )
    events = f"{ARRIVAL}\n{QUEUED}\n{full}{SOFTIRQ}"
    assert found(events, SPOT) == [dropped("QDISC_DROP", "__dev_queue_xmit", interface="eth0")]
    answer = drop(
        "NO_SOCKET", "ping_rcv+0xab/0xd0", "ping_rcv", "icmp_rcv", "ip_local_deliver_finish", "ip_rcv"
    )
    assert found(f"{ARRIVAL}\n{QUEUED}\n{answer}{SOFTIRQ}", SPOT) == []
    assert found(f"{QUEUED}\n{full}{SOFTIRQ}", SPOT) == [], "it never came to this host"
    assert [each.reason for each in found(f"{QUEUED}\n{full}{SOFTIRQ}", SENDER)] == ["QDISC_DROP"]


def test_what_a_program_could_not_send() -> None:
    """No arrival tells of it: it is dropped in the call that sends it."""
    call = "            ping-{}   [001] ..... 72624.308401: sys_sendto(fd: 3, buff: 55d7c1e0, len: 0x155, flags: 0)\n"
    sent = ("__dev_queue_xmit", "ip_finish_output2", "ip_output", "raw_sendmsg", "__sys_sendto")
    event = drop("TC_EGRESS", "__dev_queue_xmit+0x6ee/0xf90", *sent)
    assert found(call.format(27825) + event, SENDER) == [
        Dropped("app", Direction.FORWARD, None, "TC_EGRESS", "__dev_queue_xmit", "egress")
    ]
    assert found(event, SENDER) == [], "one of another size"
    assert found(call.format(33) + event, SENDER) == [], "another's"
    late = drop("TC_EGRESS", "__dev_queue_xmit+0x6ee/0xf90", *sent, when="518401")
    assert found(call.format(27825) + late, SENDER) == []
    interrupted = drop("NO_SOCKET", "ping_rcv+0xab/0xd0", "ping_rcv", "net_rx_action", *sent)
    assert found(call.format(27825) + interrupted, SENDER) == []


def test_what_the_most_tell_counts() -> None:
    one, other = (28, dropped("XFRM_POLICY", "ip_forward")), (28, dropped("NETFILTER_DROP", "nf_hook_slow"))
    assert commonest(iter([one, other, one])) == one[1]
    assert commonest(iter([one, other])) is None
    assert commonest(iter([one])) is None, "it may be somebody else's, in a buffer that was used again"
    assert commonest(iter([])) is None


def test_echoes_of_one_length_are_somebody_elses_where_each_of_ours_has_its_own() -> None:
    event = drop("NO_SOCKET", "ping_rcv+0xab/0xd0", "ping_rcv", "icmp_rcv", "ip_rcv")
    answers = replace(SPOT, direction=Direction.REPLY)
    one, other = ARRIVAL, ARRIVAL.replace("len=361", "len=472")
    tagged = ARRIVAL.replace("len=361", "len=365")
    assert len(found(f"{one}\n{event}{one}\n{event}", answers)) == 1
    assert len(found(f"{one}\n{event}{other}\n{event}", answers)) == 2
    for both in ((one, tagged), (other, tagged)):
        printed = "\n".join(f"{each}\n{event}" for each in both)
        assert commonest(drops(printed, answers, SENT)) is None, "ours go with a VLAN all of them, or none"


def test_what_has_a_length_that_was_not_sent_yet_is_somebody_elses() -> None:
    event = drop("IP_RPFILTER", "ip_rcv_finish_core+0x25b/0x470", "ip_rcv_finish_core", "ip_rcv")
    assert found(f"{ARRIVAL}\n{event}", SPOT, {444: 0.0}) == []
    assert found(f"{ARRIVAL}\n{event}", SPOT, {444: 0.0, 333: 72624.3}) == [
        dropped("IP_RPFILTER", "ip_rcv_finish_core")
    ]
    assert found(f"{ARRIVAL}\n{event}", SPOT, {333: 72624.4}) == [], "before it was"


def test_what_came_before_a_length_was_sent_is_not_ours_later_either() -> None:
    """The ring is printed whole again and again."""
    event = drop("IP_RPFILTER", "ip_rcv_finish_core+0x25b/0x470", "ip_rcv_finish_core", "ip_rcv")
    second = ARRIVAL.replace("len=361", "len=472")
    theirs = f"{ARRIVAL}\n{event}{second}\n{event}".rstrip("\n")
    later = theirs.replace("72624.", "72625.")

    async def told() -> list[Dropped | None]:
        dropping = Dropping(cast(Host, None), SPOT)

        async def lines() -> AsyncIterator[str]:
            for each in (*theirs.splitlines(), "--"):
                yield each
            dropping.sends(SPOT.echoes)
            for each in (*theirs.splitlines(), "--"):
                yield each
            said.append(dropping.found)
            for each in (*theirs.splitlines(), *later.splitlines(), "--"):
                yield each

        said = list[Dropped | None]()
        await dropping._take(lines())
        return [*said, dropping.found]

    assert asyncio.run(told()) == [None, dropped("IP_RPFILTER", "ip_rcv_finish_core")]


def test_the_kernel_itself_keeps_the_others_out() -> None:
    # With the four bytes of a VLAN; in a queue the head of Ethernet stands before it.
    lengths = "len == 361 || len == 365 || len == 472 || len == 476"
    queued = "len == 361 || len == 365 || len == 375 || len == 379"
    assert SPOT.received() == f'({lengths}) && (name == "eth1")'
    assert (
        SPOT.queued()
        == f'({queued} || len == 472 || len == 476 || len == 486 || len == 490) && (name == "eth0")'
    )
    assert "len < 1" in SENDER.received()
    # Without the head of IP.
    assert SENDER.sent() == "len == 341 || len == 452"
    six = replace(SPOT, v6=True)
    assert six.received().startswith("(len == 381 || len == 385 || ")
    assert replace(SENDER, v6=True).sent() == SENDER.sent()


@pytest.mark.parametrize("printed", ["155", "0x155"])
def test_how_many_bytes_a_call_sends_is_told_in_hex(printed: str) -> None:
    """Older kernels print it without the 0x."""
    call = f"   ping-27825   [001] ..... 72624.308401: sys_sendto(fd: 3, buff: 55d7c1e0, len: {printed}, flags: 0)\n"
    event = drop(
        "TC_EGRESS", "__dev_queue_xmit+0x6ee/0xf90", "__dev_queue_xmit", "raw_sendmsg", "__sys_sendto"
    )
    assert [each.reason for each in found(call + event, SENDER)] == ["TC_EGRESS"]


# ---- what a reason means -------------------------------------------------------------------------


def finding(code: str, *, tool: Tool | None = None, certain: bool = False) -> Finding:
    chain = Place(tool, "ip", "filter", "FORWARD", "forward") if tool is not None else None
    return Finding(code, "gateway", "eth1", Direction.FORWARD, "the rule", certain, chain=chain)


def foretold(*findings: Finding) -> Foretold:
    return Foretold(findings, ip_address("10.0.44.63"), None)


NFT = finding("filter-rule-drop", tool=Tool.NFT)
LEGACY = finding("filter-rule-drop", tool=Tool.IPTABLES_LEGACY)
FULL = finding("conntrack-table-full")
IPSEC = finding("ipsec-policy-drop")
PROGRAM = finding("tc-or-xdp-drop")
HOLE = finding("route-blackhole")


@pytest.mark.parametrize(
    ("what", "proved"),
    [
        (dropped("XFRM_POLICY", "ip_forward"), IPSEC),
        (dropped("TC_INGRESS", "__netif_receive_skb_core"), PROGRAM),
        (dropped("NOT_SPECIFIED", "do_xdp_generic"), PROGRAM),
        (dropped("NOT_SPECIFIED", "ip_error"), HOLE),
        (dropped("NETFILTER_DROP", "nft_do_chain"), NFT),
    ],
)
def test_a_doubtful_finding_of_which_the_kernel_gives_the_reason_is_certain(
    what: Dropped, proved: Finding
) -> None:
    known = foretold(NFT, LEGACY, FULL, IPSEC, PROGRAM, HOLE)
    assert [each.code for each in reasons.confirmed(known, what).findings if each.certain] == [proved.code]
    assert reasons.disagrees(what, known) == ()


def test_one_of_several_that_it_can_be_is_not_certain() -> None:
    """A full table and a rule of the older iptables end a packet in the same function."""
    known = foretold(NFT, LEGACY, FULL)
    assert reasons.confirmed(known, dropped("NETFILTER_DROP", "nf_hook_slow")) == known
    (only,) = reasons.confirmed(foretold(FULL), dropped("NETFILTER_DROP", "nf_hook_slow")).findings
    assert only.certain


def test_one_at_another_hook_is_not_what_dropped_it() -> None:
    known = foretold(LEGACY, FULL)
    for hook, proved in (("forward", LEGACY), ("prerouting", FULL)):
        found = reasons.confirmed(known, dropped("NETFILTER_DROP", "nf_hook_slow", hook))
        assert [each.code for each in found.findings if each.certain] == [proved.code]
    assert reasons.agreeing(dropped("NETFILTER_DROP", "nft_do_chain", "postrouting"), foretold(NFT)) == []


@pytest.mark.parametrize(
    ("what", "code", "certain"),
    [
        (dropped("IP_INADDRERRORS", "ip_error"), "ip-forward-disabled", False),
        (dropped("IP_RPFILTER", "ip_rcv_finish_core"), "reverse-path-filter", True),
        (dropped("IP_LOCAL_SOURCE", "ip_rcv_finish_core"), "martian-source", True),
        (dropped("IP_INHDR", "ip_forward"), "ttl-expired", True),
        (dropped("NOT_SPECIFIED", "nf_queue"), "queue-without-listener", True),
        (dropped("QDISC_DROP", "__dev_queue_xmit"), "tc-or-xdp-drop", True),
        (dropped("NO_SOCKET", "ping_rcv"), "reply-not-untranslated", True),
    ],
)
def test_what_facts_do_not_know_has_the_code_of_its_reason(what: Dropped, code: str, certain: bool) -> None:
    stop = Stop("gateway", "eth1", "eth0")
    found = reasons.cause(what, foretold(), stop)
    assert found is not None
    assert (found.code, found.certain, found.interface) == (code, certain, "eth1")
    assert what.reason in found.text


def test_a_reason_that_says_nothing_of_a_cause_is_no_cause() -> None:
    stop = Stop("gateway", "eth1", "eth0")
    assert reasons.cause(dropped("NOT_SPECIFIED", "skb_release_all"), foretold(IPSEC), stop) is None
    assert reasons.cause(dropped("CAN_RX_INVALID_FRAME", "can_rcv"), foretold(), stop) is None


def test_a_reason_that_facts_have_another_one_for_is_a_disagreement() -> None:
    assert list(reasons.disagrees(dropped("IP_RPFILTER", "ip_rcv_finish_core"), foretold(PROGRAM))) == [
        PROGRAM.code
    ]


def test_an_answer_that_is_tracked_as_one_is_not_what_no_program_waits_for() -> None:
    client, gateway = ip_address("10.0.43.15"), ip_address("10.0.44.63")
    business = ip_address("10.0.44.1")
    answered = Entry("icmp", client, business, gateway, True, None, 29, "icmp 1 29 src=10.0.43.15")
    unknown = dropped("NO_SOCKET", "ping_rcv")
    assert reasons.is_of_others(unknown, {"gateway": [answered]}, client)
    assert not reasons.is_of_others(unknown, {"gateway": [replace(answered, replied=False)]}, client)
    assert not reasons.is_of_others(unknown, {"gateway": [replace(answered, source=gateway)]}, client)
    older, ours = answered, replace(answered, replied=False)
    assert not reasons.is_of_others(unknown, {"gateway": [older, ours]}, client)
    assert reasons.is_of_others(unknown, {"gateway": [*[answered] * 5, ours]}, client), "one was too large"
    assert not reasons.is_of_others(unknown, {"gateway": [older, *[ours] * 5]}, client)
    others = replace(ours, source=gateway)
    assert reasons.is_of_others(unknown, {"gateway": [answered, others]}, client)
    assert not reasons.is_of_others(unknown, {}, client)
    assert not reasons.is_of_others(dropped("XFRM_POLICY", "ip_forward"), {"gateway": [answered]}, client)
