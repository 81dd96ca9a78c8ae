"""Lines of others that switch forwarding off on one interface, and what a boot with the real systemd makes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crossnet.lab.build import Lab
from crossnet.verdict import Result
from lab.crossing import Bench
from lab.test_machine import Eventually, restart

pytestmark = pytest.mark.machine

OFF = "# mine\\nnet/ipv4/conf/eth1/forwarding = 0\\n"


@pytest.mark.parametrize("forwarded", [True, False])
def test_one_interface_forwards_again_after_a_boot(
    machines_up: Callable[..., Lab], eventually: Eventually, forwarded: bool
) -> None:
    """Where the host forwarded before, to switch it on once more changes no interface."""
    b = Bench(machines_up("seed"))
    b.check("gateway", f"printf '{OFF}' | tee /etc/sysctl.d/99-zzz-vendor.conf >/etc/sysctl.d/50-vendor.conf")
    b.check("gateway", f"echo net.ipv4.ip_forward = {forwarded:d} >/etc/sysctl.d/10-router.conf")
    restart(b, eventually)
    spec = b.spec("to: 10.0.44.0/24")
    told = [one.text for one in b.plan(spec).impacts if one.code == "setting-overridden"]
    assert len(told) == 1
    assert told[0].startswith(
        "/etc/sysctl.d/99-zzz-vendor.conf, line 2, sets net.ipv4.conf.eth1.forwarding = 0:"
    )
    before = b.fingerprints()
    b.apply(spec)

    restart(b, eventually)

    assert b.check("gateway", "systemctl is-system-running --wait") == "running\n"
    assert b.check("gateway", "cat /proc/sys/net/ipv4/conf/eth1/forwarding") == "1\n"
    assert b.pings("app", "10.0.44.1", wait=4)
    assert b.verify(spec).result is Result.REACHABLE
    assert b.plan(spec).is_empty
    # Once a boot is over it is as the plan says.
    b.check("gateway", "/usr/lib/systemd/systemd-sysctl")
    assert b.check("gateway", "cat /proc/sys/net/ipv4/conf/eth1/forwarding") == "0\n"
    assert not b.pings("app", "10.0.44.1")
    b.check("gateway", "systemctl restart crossnet.service")
    assert b.pings("app", "10.0.44.1", wait=4)

    if not forwarded:
        # As systemd-sysctl leaves it where a later file says ip_forward = 0: and the fence may be gone.
        both = "net.ipv4.conf.eth0.forwarding=1 net.ipv4.conf.eth1.forwarding=1"
        b.check("gateway", f"sysctl net.ipv4.ip_forward=0 {both}")
        assert b.pings("app", "10.0.44.1", wait=4)
        b.check("gateway", "/etc/crossnet/start close")
        assert not b.pings("app", "10.0.44.1")
    b.undo(spec)
    restart(b, eventually)
    assert b.check("gateway", "find /etc -name '*crossnet*'") == ""
    assert b.differences(before) == []
