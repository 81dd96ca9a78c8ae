"""A finding as one sentence, and what became of packets by the code of what stopped them."""

from __future__ import annotations

from crossnet.diagnosis.signs import AT_PORTS, UNSUITABLE

DISPOSITIONS = {
    **dict.fromkeys(
        ("filter-reject", "no-route", "route-unreachable", "route-prohibit", "ttl-expired"), "rejected"
    ),
    **dict.fromkeys(("dnat-captures", "destination-is-local", "reply-not-untranslated"), "consumed-locally"),
    **dict.fromkeys(("wrong-destination-mac", "duplicate-address"), "lost-between"),
    **dict.fromkeys(UNSUITABLE, "undetermined"),
}


# What filters there where no cloud is known of.
ON_A_SWITCH = "a filter of a switch or of a hypervisor"


def of_host(host: str, why: str) -> str:
    """Why something is not known of a host, in one line; some reasons begin with its name, and go on with advice."""
    return f"{host}: {why.splitlines()[0].removeprefix(f'{host}: ')}"


# `where` is the chain, in brackets.
SENTENCES = {
    "src-no-route": "{host} has no route to it",
    "src-route-other-next-hop": "{host} sends it another way: {text}",
    "src-route-on-link": "{host} takes it for a neighbour on its own network: {text}",
    "policy-rule-diverts": "a policy rule of {host} leads it elsewhere: {text}",
    "gateway-route-elsewhere": "{host} sends it another way: {text}",
    "no-route": "{host} has no route for it",
    "route-blackhole": "a route of {host} drops it: {text}",
    "route-unreachable": "a route of {host} refuses it: {text}",
    "route-prohibit": "a route of {host} refuses it: {text}",
    "ip-forward-disabled": "{host} does not forward packets: {text}",
    "interface-forwarding-disabled": "{host} does not forward what comes in by {interface}: {text}",
    "reverse-path-filter": "{host} refuses the source on {interface}: {text}",
    "martian-source": "{host} refuses the source, which is one of its own addresses",
    "filter-rule-drop": "a rule of {host} drops it{where}: {text}",
    "filter-policy-drop": "no rule of {host} accepts it, and the chain's policy drops it{where}",
    "filter-reject": "a rule of {host} rejects it{where}: {text}",
    "conntrack-invalid": "a rule of {host} drops what belongs to no connection that it knows{where}: {text}",
    "src-output-filtered": "a rule of {host} does not let it out{where}: {text}",
    "queue-without-listener": "a rule of {host} gives it to a program, and none listens: {text}",
    "tc-or-xdp-drop": "a program of {host} drops it: {text}",
    "ipsec-policy-drop": "an IPsec policy of {host} drops it: {text}",
    "conntrack-table-full": "{host} can remember no more connections: {text}",
    "dnat-captures": "a rule of {host} gives it another destination: {text}",
    "destination-is-local": "{text}",
    "next-hop-elsewhere": "{text}",
    "snat-ports-exhausted": "{host} may have no port left to translate it to: {text}",
    "snat-missing": "no rule of {host} translates it: {text}",
    "snat-skipped": "{host} does not translate it: {text}",
    "link-down": "on {host}, {text}",
    "address-missing": "on {host}, {text}",
    "reply-not-untranslated": "{host} takes the reply for itself: {text}",
    **dict.fromkeys(AT_PORTS, "{text}"),
}
