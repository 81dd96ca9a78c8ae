"""Faults of translation on the gateway."""

from __future__ import annotations

from crossnet.lab.faults import scripts
from crossnet.lab.faults.fault import Fault, Step
from crossnet.lab.faults.making import dropping
from crossnet.lab.faults.scene import Scene


def faults(on: Scene) -> tuple[Fault, ...]:
    client, egress, target = on.client, on.egress, on.target
    host = egress.host
    leaving = (
        f'oifname "{egress.interface}" {on.word} saddr {client.address} {on.word} daddr {target.address}'
    )
    # The first chain that maps a flow decides, and no later one is asked.
    earlier = "type nat hook postrouting priority srcnat - 10;"
    arriving = "type nat hook prerouting priority dstnat - 10;"
    untracked = "type filter hook prerouting priority raw;"

    def rule(name: str, what: str, chain: str, text: str, *codes: str) -> Fault:
        return dropping(name, what, codes, host, on.word, chain, text)

    return (
        Fault(
            "snat-missing",
            f"the rules of {host} that give packets a source are gone",
            ("snat-missing", "no-return-route"),
            (Step(host, (*scripts.TAKE_TRANSLATIONS, on.word)),),
            (Step(host, (*scripts.PUT_TRANSLATIONS_BACK, on.word)),),
            (Step(host, (*scripts.TRANSLATIONS, on.word)),),
        ),
        rule(
            "snat-shadowed",
            f"an earlier rule on {host} lets {client.host} keep its own source",
            earlier,
            f"{leaving} snat to {client.address}",
            "snat-skipped",
            "snat-missing",
            "no-return-route",
        ),
        rule(
            "snat-wrong-address",
            f"an earlier rule on {host} gives the source {egress.vacant}, which nobody has",
            earlier,
            f"{leaving} snat to {egress.vacant}",
            "snat-address-not-local",
        ),
        rule(
            "snat-unsuitable",
            f"an earlier rule on {host} gives the source {on.ingress.address}, to which {target.host} has no way",
            earlier,
            f"{leaving} snat to {on.ingress.address}",
            "snat-address-unsuitable",
            "no-return-route",
        ),
        rule(
            "dnat-elsewhere",
            f"a rule on {host} sends what is for {target.address} to {target.vacant}, where nobody is",
            arriving,
            f"{on.word} daddr {target.address} dnat to {target.vacant}",
            "dnat-captures",
        ),
        rule(
            "dnat-to-gateway",
            f"a rule on {host} sends what is for {target.address} to {host} itself, which answers",
            arriving,
            f"{on.word} daddr {target.address} dnat to {on.ingress.address}",
            "dnat-captures",
        ),
        rule(
            "notrack",
            f"{host} does not track what is for {target.address}, so it does not translate it either",
            untracked,
            f"{on.word} daddr {target.address} notrack",
            "snat-skipped",
            "snat-missing",
            "no-return-route",
        ),
        rule(
            "notrack-reply",
            f"{host} does not track the answers of {target.address}, so they end on {host}",
            untracked,
            f'iifname "{egress.interface}" {on.word} saddr {target.address} notrack',
            "reply-not-untranslated",
        ),
    )
