"""Files that would switch forwarding off again: named in the plan, and what then happens on a real kernel."""

from __future__ import annotations

from collections.abc import Callable

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
        "From then on forwarding is off until crossnet.service (at the end of a boot) or `crossnet apply` sets it "
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
