"""The seed: a client without a way into the business network, and a gateway that could be one."""

from __future__ import annotations

from collections.abc import Mapping

from crossnet.demo.chapters import Chapters, Say
from crossnet.lab.build import Lab
from crossnet.lab.fingerprint import Fingerprint
from crossnet.show.paint import Paint
from crossnet.specfile import parse

_PICTURE = """\
      management 10.0.43.0/24                    business 10.0.44.0/24
  ──┬───────────────┬───────────────┬──        ──┬──────────────────┬──
    │.15            │.99            │.101        │.63               │.1
  ┌─┴───┐     ┌─────┴─────┐       ┌─┴────────────┴─┐           ┌────┴───┐
  │ app │     │ neighbour │       │ eth1  gateway  │           │ target │
  └─────┘     └───────────┘       └────────────────┘           └────────┘"""

_SPEC = """\
crossnet: 1
hosts:
  app: {{lab: {lab}/app}}
  gateway: {{lab: {lab}/gateway}}
crossings:
  business:
    from: app
    via: gateway
    to: 10.0.44.0/24
    probe: icmp/10.0.44.1
    firewall: {firewall}
"""


class Seed(Chapters):
    """The whole story without a cloud."""

    topology = "demo"

    def __init__(self, say: Say, paint: Paint, lab: Lab, firewall: str) -> None:
        spec = _SPEC.format(lab=lab.name, firewall=firewall)
        super().__init__(say, paint, lab, parse(spec, "demo"))

    async def tell(self) -> None:
        before = await self._fingerprints()
        await self._hosts_and_need()
        await self._by_hand()
        await self._plan_and_apply()
        await self._it_works()
        await self._who_still_cannot()
        await self._back_again(before)

    async def _hosts_and_need(self) -> None:
        self._chapter("Four hosts, and a need")
        self._say(_PICTURE)
        self._say("   app has to reach the business network. It has no route there, the gateway")
        self._say("   does not forward, and nothing on the business side knows a way back.")
        await self._run("app", ["ping", "-c", "1", "-W", "1", "10.0.44.1"], only="packets")
        await self._run("gateway", ["sysctl", "net.ipv4.ip_forward"])
        await self._run("target", ["ip", "route"])

    async def _by_hand(self) -> None:
        self._chapter("By hand, and where it stops each time: `crossnet diagnose`")
        steps = (
            ("app", ["ip", "route", "add", "10.0.44.0/24", "via", "10.0.43.101"]),
            ("gateway", ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]),
        )
        await self._diagnose()
        for host, argv in steps:
            await self._run(host, argv)
            await self._diagnose()
        self._say("   One rule more, and it works:")
        rules = (
            "add table ip by_hand\n"
            "add chain ip by_hand nat { type nat hook postrouting priority 100; }\n"
            "add rule ip by_hand nat oifname eth0 snat to 10.0.44.63\n"
        )
        (await self._hosts["gateway"].run(["nft", "-f", "-"], stdin=rules.encode())).check()
        self._say(
            self._paint("   gateway$ nft add rule ip by_hand nat oifname eth0 snat to 10.0.44.63", "cyan")
        )
        await self._diagnose()
        self._say("   But now the gateway forwards for everybody, and a reboot ends it.")
        self._say("   All three are taken back; crossnet does it in one piece.")
        (await self._hosts["gateway"].run(["nft", "delete", "table", "ip", "by_hand"])).check()
        (await self._hosts["gateway"].run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"])).check()
        (await self._hosts["app"].run(["ip", "route", "del", "10.0.44.0/24"])).check()

    async def _it_works(self) -> None:
        self._chapter("app reaches the business network")
        await self._run("app", ["ping", "-c", "1", "10.0.44.1"], only="from")
        self._say("   Why it works: the gateway gives its own address as the source, so that the")
        self._say("   target can answer. The gateway's connection tracking shows it:")
        await self._run("gateway", ["conntrack", "-L", "-p", "icmp", "-d", "10.0.44.1"], only="src=", most=1)
        self._say("   request 10.0.43.15 → 10.0.44.1, reply 10.0.44.1 → 10.0.44.63. Counted so far:")
        await self._counters()

    async def _who_still_cannot(self) -> None:
        self._chapter("Who still cannot get through: the fence")
        self._say("   neighbour is not in the spec. It takes the gateway as its next hop anyway:")
        await self._run("neighbour", ["ip", "route", "add", "10.0.44.0/24", "via", "10.0.43.101"])
        await self._run("neighbour", ["ping", "-c", "1", "-W", "1", "10.0.44.1"], only="packets")
        self._say("   And the business side tries to open a connection to app:")
        await self._run("target", ["ip", "route", "add", "10.0.43.0/24", "via", "10.0.44.63"])
        await self._run("target", ["ping", "-c", "1", "-W", "1", "10.0.43.15"], only="packets")
        self._say("   Neither passed. The gateway counted them:")
        await self._counters()
        for host, network in (("neighbour", "10.0.44.0/24"), ("target", "10.0.43.0/24")):
            (await self._hosts[host].run(["ip", "route", "del", network])).check()

    async def _back_again(self, before: Mapping[str, Fingerprint]) -> None:
        await self._undo()
        await self._tell_hosts_as(before)
        await self._run("app", ["ping", "-c", "1", "-W", "1", "10.0.44.1"], only="packets")
