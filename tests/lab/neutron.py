"""The cloud of a lab, spoken to without crossnet: plain requests to the API that its clouds.yaml names."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Sequence
from typing import Any

from crossnet.lab.build import Lab

Json = dict[str, Any]

# Whatever proxy the environment names, this is this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Neutron:
    """Ports by their names, such as `gateway-eth1`; groups by their ids."""

    def __init__(self, lab: Lab) -> None:
        assert lab.clouds is not None
        [self.url] = re.findall(r"http://[\d.:]+", lab.clouds.read_text())

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        request = urllib.request.Request(
            f"{self.url}/v2.0/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with _OPENER.open(request, timeout=60) as answer:
            said = answer.read()
        read: Json = json.loads(said) if said else {}
        return read

    def ports(self) -> dict[str, Json]:
        return {port["name"]: port for port in self.ask("GET", "ports")["ports"]}

    def settings(self) -> Json:
        """All that somebody could have set: ports and groups, without what counts their changes."""
        found = {
            "ports": self.ask("GET", "ports?sort_key=id&sort_dir=asc"),
            "groups": self.ask("GET", "security-groups?sort_key=id&sort_dir=asc"),
        }
        text = json.dumps(found, sort_keys=True)
        read: Json = json.loads(re.sub(r'"(revision_number|updated_at)": [^,}]+', r'"\1": null', text))
        return read

    def change(self, port: str, **wanted: object) -> None:
        self.ask("PUT", f"ports/{self.ports()[port]['id']}", {"port": wanted})

    def new_group(self, name: str, ingress_from: Sequence[str] = ()) -> str:
        """The id of a group that lets everything out, as each new one, and in what comes from these networks."""
        made = self.ask("POST", "security-groups", {"security_group": {"name": name}})["security_group"]
        for network in ingress_from:
            rule = {
                "security_group_id": made["id"],
                "direction": "ingress",
                "ethertype": "IPv4",
                "remote_ip_prefix": network,
            }
            self.ask("POST", "security-group-rules", {"security_group_rule": rule})
        return str(made["id"])
