"""A site's own unit of a firewall that comes after its network: no circle with crossnet's units at a boot."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crossnet.lab.build import Lab
from crossnet.verdict import Result
from lab.crossing import Bench
from lab.test_machine import Eventually

pytestmark = pytest.mark.machine

_HOME_MADE = """\
[Unit]
After={after}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
"""
# As cloud-init is: before sysinit.target, after which comes whatever says nothing of that.
_NETWORK_EARLY = """\
[Unit]
DefaultDependencies=no
After=systemd-networkd.service
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/true
[Install]
WantedBy=sysinit.target
"""
UNITS = {
    "iptables": _HOME_MADE.format(after="site.service"),
    "site": _HOME_MADE.format(after="network.target"),
}
LATE = {"ip6tables": _HOME_MADE.format(after="local-fs.target"), "site-network": _NETWORK_EARLY}


@pytest.mark.parametrize("units", [UNITS, LATE], ids=["after-the-network", "network-before-sysinit"])
def test_a_firewall_after_the_network_makes_no_circle(
    machines_up: Callable[..., Lab], eventually: Eventually, units: dict[str, str]
) -> None:
    b = Bench(machines_up("seed"))
    for name, text in units.items():
        b.check("gateway", f"cat >/etc/systemd/system/{name}.service", stdin=text.encode())
        b.check("gateway", f"systemctl -q enable {name}.service")
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    ordered = b.check("gateway", "systemctl show -p After crossnet-rules.service")
    assert "nftables.service" in ordered
    assert not [name for name in units if f" {name}.service" in ordered]

    b.power_cut()

    assert "ordering cycle" not in b.check("gateway", "systemd-analyze verify multi-user.target 2>&1 || :")
    assert "ordering cycle" not in b.check("gateway", "journalctl -b -o cat")
    eventually(lambda: b.pings("app", "10.0.44.1"), "the crossing is back")
    assert b.verify(spec).result is Result.REACHABLE
    assert b.plan(spec).is_empty
