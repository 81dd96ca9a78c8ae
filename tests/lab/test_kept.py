"""A route that the files of a distribution bring back, on a real kernel: written, read by `ip`, changed, taken back."""

from __future__ import annotations

from collections.abc import Callable

from crossnet.lab.build import Lab
from lab.crossing import Bench

LabUp = Callable[..., Lab]

FOLDER = "/etc/sysconfig/network-scripts"
FILE = f"{FOLDER}/route-net"
SHOW = "ip route show 10.0.44.0/24"

# What ifup-routes of initscripts does with such a file.
IFUP = (
    f"while read -r line; do case $line in [0-9]*) ip route add $line;; esac; done <{FILE}; "
    f"while read -r line; do ip rule add $line; done <{FOLDER}/rule-net"
)


def test_a_client_of_network_scripts(lab_up: LabUp) -> None:
    """Also the policy rule that a route needs; brought back by others it has not crossnet's mark any more."""
    b = Bench(lab_up("seed"))
    b.check(
        "app",
        f"mkdir -p {FOLDER}; touch {FOLDER}/ifup-eth; printf 'DEVICE=eth0\\n' >{FOLDER}/ifcfg-net; "
        f"printf '# mine' >{FILE}; chmod 640 {FILE}; chown 5:6 {FILE}; "
        "ip rule add pref 5270 table 52; ip route add 10.0.44.0/24 via 10.0.43.7 dev eth0 table 52",
    )
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    assert b.check("app", f"cat {FILE}") == "# mine\n10.0.44.0/24 via 10.0.43.101 dev eth0\n"
    assert b.check("app", f"stat -c '%a %u:%g' {FILE}") == "640 5:6\n"
    assert not b.run("app", "ls /etc/crossnet /etc/systemd/system/crossnet.service").ok
    live = b.check("app", f"{SHOW}; ip rule")

    b.check("app", "ip route del 10.0.44.0/24; ip rule del pref 5269")
    b.check("app", IFUP)
    assert b.check("app", f"{SHOW}; ip rule") == live.replace(" proto 143", "")
    assert b.plan(spec).is_empty
    assert b.pings("app", "10.0.44.1")

    b.check("app", f"sed -i '1i # above' {FILE}; echo '# below' >>{FILE}")
    b.undo(spec)
    assert b.check("app", f"cat {FILE}") == "# above\n# mine\n# below\n"
    b.check("app", f"printf '# mine' >{FILE}")
    assert b.differences(before) == []


def test_a_client_of_ifup_without_systemd(lab_up: LabUp) -> None:
    b = Bench(lab_up("seed"))
    b.check("app", "rm -r /run/systemd/system")
    b.check(
        "app", "mkdir -p /run/network; echo eth0=eth0 >/run/network/ifstate; mkdir -p /etc/network/if-up.d"
    )
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    live = b.check("app", SHOW)
    assert live
    assert not b.run("app", "ls /etc/systemd/system/crossnet*").ok
    b.check("app", "ip link set eth0 down && ip link set eth0 up && ip route replace default via 10.0.43.1")
    assert b.check("app", SHOW) == ""
    # ifup runs what is there in this way (interfaces(5)).
    b.check("app", "IFACE=eth0 MODE=start ADDRFAM=inet run-parts /etc/network/if-up.d")
    assert b.check("app", SHOW) == live
    assert b.plan(spec).is_empty
    assert b.pings("app", "10.0.44.1")
    b.undo(spec)
    assert b.differences(before) == []
