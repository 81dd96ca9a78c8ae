"""What stops packets at the destination, and on the way back from it."""

from __future__ import annotations

from crossnet.codes.code import Code

DESTINATION = (
    Code(
        "destination-absent",
        "Perhaps no host has the destination's address: it was asked for, and did not answer.",
        "The neighbour is FAILED in the list of neighbours.",
        "`arping -I INTERFACE DESTINATION`; correct the address, or start the host.",
    ),
    Code(
        "destination-port-closed",
        "The destination answers that nothing listens on that port: the path is fine.",
        "A connection was refused.",
        "Start the service there, or correct the port in `probe`.",
    ),
    Code(
        "destination-silent",
        "The flow left the gateway as the spec promises, and no reply came back there.",
        "The crossing's counter moved, connection tracking knows the flow and no answer to it, whoever it is sent "
        "to has answered ARP, and nothing on the gateway or the client is known to stop it.",
        "Check that the destination is up, answers this probe and knows the way back to the source.",
    ),
    Code(
        "destination-is-broadcast",
        "The destination is a broadcast or multicast address, which is not forwarded.",
        "The type of the route to it.",
        "Name the addresses of hosts in `to`.",
    ),
    Code(
        "reply-lost",
        "The destination answers: the answer came back to the gateway, and did not reach the client.",
        "Connection tracking has seen the reply, and the client has not.",
        "Look at others' rules on the gateway for the way back, at what lies between gateway and client, and at "
        "the client's own rules.",
    ),
)
