"""Make reach wrong in one way at a time, and see the conformance test go red: a program, `mutations.py [NAME…]`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.controller_mutations import Mutation, goes_red

CONFORMANCE = "tests/reach/test_conformance.py::test_what_reach_says_is_what_happens"

WAYS = "tests/reach/test_ip_route_get.py"
PATH = "tests/reach/test_path.py"
RULES = "tests/reach/test_what_happens.py"
BESIDE = "tests/reach/test_beside_ip.py"
INTERFACES = "tests/reach/test_interfaces.py"

MUTATIONS = tuple(
    Mutation(name, f"reach/{file}", old, new, CONFORMANCE)
    for name, file, old, new in (
        (
            "chains in the reverse order of priority",
            "order.py",
            "sorted(steps, key=_priority)",
            "sorted(steps, key=lambda step: -step.priority)",
        ),
        (
            "translation behind the filter",
            "rules.py",
            '{"prerouting": -100, "output": -100, "input": 100, "postrouting": 100}',
            '{"prerouting": 900, "output": 900, "input": -900, "postrouting": -900}',
        ),
        (
            "the lower of two rp_filter counts",
            "routing.py",
            "strict = effective_rp_filter(self.facts.sysctls, ingress)",
            'strict = min(int(self.setting(Family.V4, each, "rp_filter")) for each in ("all", ingress))',
        ),
        (
            "a table sees both families",
            "rules.py",
            'family = self.space.ipv4 if table.family == "ip" else self.space.ipv6',
            "family = self.space.all",
        ),
        (
            "no policy rule but the usual ones",
            "routing.py",
            "for rule in self.rules[family]:\n            for",
            "for rule in _USUAL[family]:\n            for",
        ),
        (
            "answers are not given back what their flow had",
            "tracking.py",
            "back = back.through(lambda packets: space.given_back(packets, sides))",
            "pass",
        ),
        (
            "accept ends every chain of the hook",
            "rules.py",
            "return self._all([others, *self._base(table, chain, seen).accepted]) if seen else here",
            'return others if seen and chain.hook.policy == "drop" else here',
        ),
        (
            "the shorter prefix wins",
            "routing.py",
            "return -route.destination.prefixlen,",
            "return route.destination.prefixlen,",
        ),
    )
) + tuple(
    Mutation(name, f"reach/{file}", old, new, test)
    for test, name, file, old, new in (
        (
            WAYS,
            "a goto is followed whose rule is not there",
            "routing.py",
            "if rule.target in priorities and",
            "if",
        ),
        (
            WAYS,
            "a route that refuses is suppressed",
            "routing.py",
            "if route.type in REFUSING:  #",
            "if not route.type:  #",
        ),
        (
            WAYS,
            "the group of an interface is not asked",
            "routing.py",
            "return bool(rule.suppress_group) and",
            "return False and",
        ),
        (
            WAYS,
            "of the traffic class of IPv6 three bits count",
            "routing.py",
            "bits = 0x7 if asked.family is Family.V4 else 0x3F",
            "bits = 0x7",
        ),
        (
            WAYS,
            "the metric before the source of a route",
            "routing.py",
            "else _length(route.from_network)",
            "else 0",
        ),
        (WAYS, "the router that is least preferred", "routing.py", "best = max(", "best = min("),
        (
            WAYS,
            "a program's source is near the destination, not the first",
            "sources.py",
            "self._selected(way.device, way.hop.via if way.hop else None)",
            "self.masquerading(way.device, family, way.hop.via, packets)[0].address",
        ),
        (
            WAYS,
            "the label of an address is not asked",
            "sources.py",
            "(self._labelled(one.label), self._labelled(other.label)),",
            "",
        ),
        (
            WAYS,
            "the network of an address is not asked",
            "sources.py",
            "(self._closer(one.item, other.item), self._closer(other.item, one.item)),",
            "",
        ),
        (
            PATH,
            "all packets of an interface leave to one router",
            "packets.py",
            "self._routers.setdefault(router, len(self._routers))",
            "0",
        ),
        (
            BESIDE,
            "no chain of a device is entered",
            "hooks.py",
            "if name in devices or not devices:",
            "if not devices:",
        ),
        (
            BESIDE,
            "no chain of a bridge is entered",
            "hooks.py",
            'self.walk.base_chains(hook, ("bridge",))',
            "[]",
        ),
        (
            BESIDE,
            "br_netfilter calls the chains of IP whatever it is told",
            "hooks.py",
            "if bridge in self.facts.bridges_filtered(family)]",
            "if bridge]",
        ),
        (
            BESIDE,
            "fragments stay as they are",
            "tracking.py",
            "here = self.reassembled(here, self.families)",
            "return here",
        ),
        (
            BESIDE,
            "a later fragment has what stands in place of its ports in no kernel",
            "matching.py",
            "if not self.later or",
            "if True or",
        ),
        (
            BESIDE,
            "of several sources the first counts",
            "rules.py",
            "self.chose = True",
            "given = self._perhaps(given)",
        ),
        (
            RULES,
            "of two tools at one priority the first that was read comes first",
            "order.py",
            "if not others or",
            "if others or not others or",
        ),
        (
            RULES,
            "a zone is none",
            "rules.py",
            "if field_ is Field.CT_ZONE:",
            "if field_ is Field.CT_ZONE:\n            return live",
        ),
        (
            RULES,
            "what has no flow is given back what some flow had",
            "tracking.py",
            "answers = space.tracked & space.value(Field.CT_DIRECTION, 1)",
            "answers = space.value(Field.CT_DIRECTION, 1)",
        ),
        (
            RULES,
            "what stands in place of ports is no port",
            "matching.py",
            "return having & found, found | ~having",
            "return having & found, having & found",
        ),
        (
            INTERFACES,
            "an address that two hosts have makes a wire",
            "path.py",
            "if mine.address not in both and their.address not in both",
            "",
        ),
        (
            INTERFACES,
            "what comes by a port of a VRF did not come by it",
            "host.py",
            "if vrf and vrf != ingress:",
            "if not here:",
        ),
        (
            INTERFACES,
            "a host whose forwarding is not told forwards",
            "host.py",
            "if own not in settings and whole not in settings:",
            "if not here:",
        ),
        (INTERFACES, "circles are followed as long as they turn", "path.py", "_TIMES = 8", "_TIMES = 99"),
        (
            INTERFACES,
            "of IPv6 the local table tells the type of every address",
            "address_types.py",
            'wanted <= {"local", "anycast", "multicast"}',
            "wanted",
        ),
        (
            PATH,
            "a route that is not told is none",
            "routing.py",
            "and not route.unknown else (None,))",
            "else (None,))",
        ),
    )
)


def main(names: list[str]) -> int:
    unseen = 0
    for mutation in MUTATIONS:
        if names and mutation.name not in names:
            continue
        red = goes_red(mutation)
        sys.stdout.write(f"{'red' if red else 'GREEN'}\t{mutation.name}\n")
        sys.stdout.flush()
        unseen += not red
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
