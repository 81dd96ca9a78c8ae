"""Files that would switch forwarding off again: named in the plan, and what then happens on a real kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import crossnet
from crossnet.lab.build import Lab
from lab.crossing import Bench

FORWARDING = "cat /proc/sys/net/ipv4/ip_forward"


def test_a_line_that_sysctl_reads_later(lab_up: Callable[..., Lab]) -> None:
    """`sysctl -p` does what the plan says, an apply brings forwarding back, and without the lines nothing is told."""
    b = Bench(lab_up("seed"))
    b.check(
        "gateway",
        "printf '# mine\\nnet/ipv4/ip_forward = 0\\n' >/etc/sysctl.conf; mkdir -p /etc/ufw /etc/default; "
        "echo ENABLED=yes >/etc/ufw/ufw.conf; echo IPT_SYSCTL=/etc/ufw/sysctl.conf >/etc/default/ufw; "
        "printf '\\n-net.ipv4.conf.all.forwarding=0\\n' >/etc/ufw/sysctl.conf",
    )
    spec = b.spec("to: 10.0.44.0/24")
    again = (
        "From then on forwarding is off until crossnet.service (later in a boot) or `crossnet apply` sets it "
        "again"
    )
    assert [one.text for one in b.plan(spec).impacts if one.code == "setting-overridden"] == [
        "/etc/sysctl.conf, line 2, sets net.ipv4.ip_forward = 0: `sysctl -p` and `sysctl --system` set it. "
        + again,
        "/etc/ufw/sysctl.conf, line 2, sets net.ipv4.conf.all.forwarding = 0: ufw sets it whenever it is started or "
        "reloaded. " + again,
    ]
    b.apply(spec)
    assert b.check("gateway", FORWARDING) == "1\n"
    b.check("gateway", "sysctl -q -p")
    assert b.check("gateway", FORWARDING) == "0\n"
    b.apply(spec)
    assert b.check("gateway", FORWARDING) == "1\n"

    b.check("gateway", "rm /etc/sysctl.conf; echo ENABLED=no >/etc/ufw/ufw.conf")
    assert not [one for one in b.plan(spec).impacts if one.code == "setting-overridden"]


def test_a_file_may_be_called_and_hold_whatever_it_does(lab_up: Callable[..., Lab]) -> None:
    """Its line is named all the same, and no command stops because of it."""
    b = Bench(lab_up("seed"))
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    b.check(
        "gateway",
        "mkdir -p /etc/sysctl.d; cd /etc/sysctl.d; n='\n'; "
        "printf 'net.ipv4.ip_forward = 0\\n\\0\\0\\0\\n' >'99-zzz:5.conf'; "
        'echo "net.ipv4.conf.all.forwarding = 0" >"99-zzz${n}x.conf"',
    )
    (text,) = (one.text for one in b.plan(spec).impacts if one.code == "setting-overridden")
    assert text.startswith("/etc/sysctl.d/99-zzz?x.conf, line 1, sets net.ipv4.conf.all.forwarding = 0: ")
    b.check("gateway", 'rm /etc/sysctl.d/99-zzz"\n"x.conf')
    (text,) = (one.text for one in b.plan(spec).impacts if one.code == "setting-overridden")
    assert text.startswith("/etc/sysctl.d/99-zzz:5.conf, line 1, sets net.ipv4.ip_forward = 0: ")
    b.undo(spec)


def test_a_file_that_cloud_init_made(lab_up: Callable[..., Lab]) -> None:
    """Named in the plan and in the status, until cloud-init leaves the network alone."""
    b = Bench(lab_up("seed"))
    folder = "/etc/sysconfig/network-scripts"
    head = "# Created by cloud-init on instance boot automatically, do not edit."
    b.check("app", f"mkdir -p {folder} /etc/cloud/cloud.cfg.d; touch {folder}/ifup-eth /etc/cloud/cloud.cfg")
    b.check("app", f"echo DEVICE=eth0 >{folder}/ifcfg-eth0; echo '{head}' >{folder}/route-eth0")
    spec = b.spec("to: 10.0.44.0/24")
    told = f"app: cloud-init made {folder}/route-eth0. When it makes that file anew, crossnet's entry in it is lost:"

    def reasons() -> Sequence[str]:
        (now,) = asyncio.run(crossnet.status(spec))
        return now.reasons

    assert [one.where for one in b.plan(spec).impacts if one.code == "cloud-init-rewrites"] == ["app"]
    b.apply(spec)
    assert any(line.startswith(told) for line in reasons())
    b.check("app", "echo 'network: {config: disabled}' >/etc/cloud/cloud.cfg.d/99-net.cfg")
    assert not any("cloud-init" in line for line in reasons())
