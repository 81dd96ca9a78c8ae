"""What stops packets at the destination, and on the way back from it."""

from __future__ import annotations

from crossnet.codes.code import Code

DESTINATION = (
    Code(
        "destination-absent",
        "Perhaps no host has the destination's address: it was asked for, and did not answer.",
        "The neighbour is FAILED in the list of neighbours, and questions for it leave the gateway without an answer.",
        "`arping -I INTERFACE DESTINATION`; correct the address, or start the host.",
    ),
    Code(
        "destination-port-closed",
        "The destination answers that nothing listens on that port: the path is fine.",
        "The destination itself refused a connection, or said that the port is unreachable.",
        "Start the service there, or correct the port in `probe`.",
    ),
    Code(
        "destination-silent",
        "Packets left the gateway as they should, and no reply came back there.",
        "They were seen to leave, or the crossing's counter moved and connection tracking knows the flow and no answer "
        "to it; whoever they are sent to has answered ARP, and nothing on the gateway or the client is known to stop "
        "them.",
        "Check on the destination that it is up, admits and answers this probe, and knows the way back to the source; "
        "try another probe, such as `tcp/ADDRESS:PORT`.",
    ),
    Code(
        "echo-ignored",
        "The destination does not answer pings; other packets pass.",
        "net.ipv4.icmp_echo_ignore_all is 1 there, or TCP passes where ping does not.",
        "Probe with TCP: `probe: tcp/ADDRESS:PORT`; or `sysctl -w net.ipv4.icmp_echo_ignore_all=0` on the destination.",
    ),
    Code(
        "no-return-route",
        "The destination has no route to the source of the requests, so it cannot answer.",
        "Its routing table; requests reach it, and nothing leaves. Without a look at it: they arrive untranslated, and "
        "no answer comes.",
        "Write `translate: snat` and run `crossnet apply`, or on the destination `ip route add NETWORK via GATEWAY`.",
    ),
    Code(
        "return-route-elsewhere",
        "The destination answers by another way than the gateway.",
        "Its route to the source of the requests; its answers leave for another next hop, and none comes to the "
        "gateway.",
        "Write `translate: snat` and run `crossnet apply`, or on the destination `ip route add NETWORK via GATEWAY`, "
        "more specific than the route that wins.",
    ),
    Code(
        "destination-is-broadcast",
        "The destination is a broadcast or multicast address, which is not forwarded.",
        "The type of the route to it, and the prefix lengths of the networks on the way.",
        "Ask for the address of a host; name such addresses in `to`.",
    ),
    Code(
        "reply-lost",
        "The destination answers: the answer came back to the gateway, and did not reach the client.",
        "The gateway, or its connection tracking, has seen the reply, and the client has not.",
        "Look at others' rules on the gateway for the way back, at what lies between gateway and client, and at "
        "the client's own rules.",
    ),
)
