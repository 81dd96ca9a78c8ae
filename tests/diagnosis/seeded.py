"""The seed scenario for tests of a diagnosis: two hosts as they are when all is well."""

from __future__ import annotations

from dataclasses import replace

from crossnet.facts import Facts
from design.factsheet import facts_from

HARDWARE = {"app": "02:00:00:00:43:0f", "gateway": "02:00:00:00:43:65"}
SEED = """
app:
  eth0 10.0.43.15/24
  route 10.0.44.0/24 via 10.0.43.101 dev eth0
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
  sysctl net.ipv4.ip_forward 1
  iptables nat -A POSTROUTING -d 10.0.44.0/24 -o eth0 -j SNAT --to-source 10.0.44.63
"""


def seed(text: str = SEED) -> dict[str, Facts]:
    """Hosts of a fact sheet, each interface with a hardware address of its host."""
    return {
        host: replace(facts, links=tuple(replace(link, hardware=HARDWARE[host]) for link in facts.links))
        for host, facts in facts_from(text).items()
    }
