"""The same seed in a cloud: port security lets no answer through, and is opened no wider than needed."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping
from typing import Any

from crossnet.demo.chapters import Chapters, Say
from crossnet.lab.build import Lab
from crossnet.lab.neutron import install
from crossnet.lab.topology import spec_for
from crossnet.openstack.access import Access
from crossnet.show.paint import Paint
from crossnet.specfile import parse
from crossnet.transport.local import Local

_PICTURE = """\
      management 10.0.43.0/24                    business 10.0.44.0/24
  ──┬───────────────┬───────────────┬──        ──┬──────────────────┬──
    │.15            │.99            │.101        │.63               │.1
  ┌─┴───┐     ┌─────┴─────┐       ┌─┴────────────┴─┐           ┌────┴───┐
  │ app │     │ bystander │       │ eth1  gateway  │           │ target │
  └─────┘     └───────────┘       └────────────────┘           └────────┘"""

_REACH = ["ping", "-c", "1", "-W", "1", "10.0.44.1"]
_WAY = ["ip", "route", "add", "10.0.44.0/24", "via", "10.0.43.101"]
_SNAT = """\
add table ip by_hand
add chain ip by_hand nat { type nat hook postrouting priority 100; }
add rule ip by_hand nat oifname eth0 snat to 10.0.44.63
"""

# What counts changes, and is no setting.
_COUNTS = ("revision_number", "updated_at")

Settings = Mapping[str, Mapping[str, Any]]


class InCloud(Chapters):
    """The story of hosts whose ports a real Neutron filters."""

    topology = "seed-port-security"

    def __init__(self, say: Say, paint: Paint, lab: Lab, firewall: str) -> None:
        text = spec_for(lab.topology, lab.name).rstrip() + f"\n    firewall: {firewall}\n"
        super().__init__(say, paint, lab, parse(text, "demo"))
        self._name = lab.name
        self._clouds = str(lab.clouds)
        os.environ["OS_CLIENT_CONFIG_FILE"] = self._clouds

    async def tell(self) -> None:
        ports, before = await self._settings(), await self._fingerprints()
        await self._hosts_and_ports()
        await self._by_hand()
        await self._plan_and_apply()
        await self._it_works()
        await self._who_still_cannot()
        await self._undo()
        await self._tell_hosts_as(before)
        self._say("   And the ports and groups, as the API of the cloud writes them:")
        self._tell_equal("cloud", _differences(ports, await self._settings()))
        await self._run("app", _REACH, only="packets")

    async def _settings(self) -> Settings:
        """All ports and security groups as the API writes them, by their names and ids."""

        def ask() -> Settings:
            access = Access(self._name)
            try:
                return {
                    f"{entry['name']} {entry['id']}": {
                        key: value for key, value in entry.items() if key not in _COUNTS
                    }
                    for kind in ("ports", "security-groups")
                    for entry in access.list(f"/{kind}", f"asked for all {kind}")
                }
            finally:
                access.close()

        return await asyncio.to_thread(ask)

    async def _hosts_and_ports(self) -> None:
        self._chapter("Four hosts, three of them with ports of a cloud")
        self._say(_PICTURE)
        self._say("   The ports of app, bystander and gateway are Neutron's: a real one runs here,")
        self._say("   and its own firewall filters them. All are in one security group, which")
        self._say("   admits its members and lets everything out, as `default` does:")
        await self._openstack("port", "list", "-c", "Name", "-c", "MAC Address", "-c", "Status")

    async def _by_hand(self) -> None:
        self._chapter("By hand, as it works without a cloud: `crossnet diagnose`")
        gateway = self._hosts["gateway"]
        await self._run("app", _WAY)
        await self._run("gateway", ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        (await gateway.run(["nft", "-f", "-"], stdin=_SNAT.encode())).check()
        self._say(
            self._paint("   gateway$ nft add rule ip by_hand nat oifname eth0 snat to 10.0.44.63", "cyan")
        )
        await self._diagnose()
        self._say("   The usual cure switches port security off on both ports of the gateway. One")
        self._say("   thing at one port is enough. All three are taken back; crossnet does it in")
        self._say("   one piece, together with the port.")
        (await gateway.run(["nft", "delete", "table", "ip", "by_hand"])).check()
        (await gateway.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"])).check()
        (await self._hosts["app"].run(["ip", "route", "del", "10.0.44.0/24"])).check()

    async def _it_works(self) -> None:
        self._chapter("app reaches the business network")
        await self._run("app", _REACH, only="from")
        self._say("   What Neutron lets the gateway's port send now:")
        await self._openstack("port", "show", "gateway-eth1", "-f", "json", "-c", "allowed_address_pairs")

    async def _who_still_cannot(self) -> None:
        self._chapter("Who still cannot get through")
        self._say("   bystander is in the same security group, and takes the gateway as its next")
        self._say("   hop. Neutron lets its packets through to the gateway, whose fence drops them:")
        await self._run("bystander", _WAY)
        await self._run("bystander", _REACH, only="packets")
        await self._counters()
        (await self._hosts["bystander"].run(["ip", "route", "del", "10.0.44.0/24"])).check()

    async def _openstack(self, *words: str) -> None:
        """What the client of the cloud says, as an operator asks it."""
        self._say(self._paint(f"   $ openstack {shlex.join(words)}", "cyan"))
        cloud = (f"OS_CLIENT_CONFIG_FILE={self._clouds}", f"OS_CLOUD={self._name}")
        client = str(install.program("openstack"))
        answer = (await Local("localhost").run(["env", *cloud, client, *words])).check()
        for line in answer.text.splitlines():
            self._say(f"   {line}")


def _differences(before: Settings, after: Settings) -> list[str]:
    """Which ports and groups are not as they were, in a line each."""
    changed = [name for name in before.keys() & after.keys() if before[name] != after[name]]
    return [
        *(f"{name}: it is gone" for name in sorted(before.keys() - after.keys())),
        *(f"{name}: it is new" for name in sorted(after.keys() - before.keys())),
        *(f"{name}: its settings differ" for name in sorted(changed)),
    ]
