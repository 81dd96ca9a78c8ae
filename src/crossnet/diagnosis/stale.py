"""What was changed on hosts after they had been read, where facts and packets disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.signs import AT_PORTS
from crossnet.facts import Facts


def changed(before: Mapping[str, Facts], after: Mapping[str, Facts]) -> frozenset[str]:
    """The hosts that somebody has changed, of those that were read again."""
    return frozenset(name for name, each in after.items() if _set_up(each) != _set_up(before.get(name)))


def differences(before: Foretold, after: Foretold, hosts: frozenset[str]) -> Sequence[str]:
    """What facts surely say of these hosts now and did not say before, and the other way round."""
    words = []
    for one, other, what in ((after, before, "now"), (before, after, "no longer")):
        known = {(each.host, each.code, each.direction, each.text) for each in other.findings}
        for each in one.findings:
            key = (each.host, each.code, each.direction, each.text)
            if each.host in hosts and each.certain and key not in known:
                whose = f"a port of {each.host}" if each.code in AT_PORTS else each.host
                words.append(f"{whose} was changed after it had been read: {what} {each.code}, {each.text}")
    return words


def _set_up(facts: Facts | None) -> object:
    """What somebody has to change: neighbours and the like come and go by themselves."""
    if facts is None:
        return None
    return (
        [(each.name, each.flags, each.mtu, each.addresses, each.xdp) for each in facts.links],
        list(facts.routes),
        facts.policy_rules,
        dict(facts.sysctls),
        facts.firewall,
        facts.ipsec,
        facts.cloud,
    )
