"""What brings back, when the host around it fails: tools, disks, clocks, logs. Its script, without systemd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from crossnet.lab.build import Lab
from crossnet.spec import Spec
from lab.crossing import Bench

pytestmark = pytest.mark.lab

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

FORWARDING = "sysctl -n net.ipv4.ip_forward"
ROUTE = "ip route show 10.0.44.0/24"
# Nobody boots these hosts: what would start there is taken for started, and what would be logged stands in a file.
SYSTEMCTL = '#!/bin/sh\necho "$*" >>/run/systemctl\n[ "$1" = show ] && echo ActiveState=active\n'
LOGGER = '#!/bin/sh\nshift 3\nprintf "%s\\n" "$*" >>/run/logged\n'
NO_NAMESPACES = "setpriv --bounding-set=-sys_admin "
TABLES = {"nftables": "nft list table ip crossnet", "iptables": "iptables -S CROSSNET-FORWARD"}


@dataclass(frozen=True, slots=True)
class Healing:
    """A crossing that is applied, and whatever its hosts run to heal it."""

    b: Bench
    spec: Spec
    eventually: Eventually

    @classmethod
    def up(cls, lab: Lab, eventually: Eventually, crossing: str = "to: 10.0.44.0/24") -> Healing:
        b = Bench(lab)
        spec = b.spec(f"{crossing}, heal: auto")
        b.apply(spec)
        made = cls(b, spec, eventually)
        for host in b.managed:
            b.check(host, "mount -t tmpfs tools /usr/local/sbin")
            made.tool(host, "systemctl", SYSTEMCTL)
            made.tool(host, "logger", LOGGER)
        return made

    def tool(self, host: str, name: str, text: str) -> None:
        path = f"/usr/local/sbin/{name}"
        self.b.check(host, f"cat >{path} && chmod 755 {path}", stdin=text.encode())

    def starts(self, host: str, before: str = "") -> None:
        self.b.check(
            host, f"{{ {before}sh /etc/crossnet/heal; echo $? >/run/ended; }} </dev/null >/dev/null 2>&1 &"
        )

    def notes(self, host: str) -> list[str]:
        """What became of what was gone, each time."""
        said = self.b.run(host, "cut -f 2 /var/lib/crossnet/healed").text
        return said.split()

    def logged(self, host: str) -> str:
        return self.b.run(host, "cat /run/logged").text

    def flush(self, number: int) -> None:
        """Somebody flushes all, and it is noted as brought back so often by now."""
        self.b.check("gateway", "nft flush ruleset")
        self.eventually(
            lambda: self.notes("gateway").count("brought-back") == number, f"it comes back, {number}"
        )
        assert self.b.check("gateway", FORWARDING) == "1\n"


@pytest.mark.parametrize("firewall", TABLES)
def test_rules_that_cannot_be_compared_are_not_gone(
    lab_up: LabUp, eventually: Eventually, firewall: str
) -> None:
    """Where no network namespace can be made, as in a container that may only set up its network."""
    h = Healing.up(lab_up("seed"), eventually, f"to: 10.0.44.0/24, firewall: {firewall}")
    h.starts("gateway", NO_NAMESPACES)
    eventually(lambda: "cannot look whether" in h.logged("gateway"), "it says that it cannot look")
    assert h.notes("gateway") == []
    assert h.b.check("gateway", FORWARDING) == "1\n"
    h.b.check("gateway", "nft flush ruleset")
    eventually(lambda: h.b.run("gateway", TABLES[firewall]).ok, "rules that are gone come back all the same")
    eventually(lambda: h.notes("gateway") == ["brought-back"], "that is noted")
    assert h.b.check("gateway", FORWARDING) == "1\n"
    assert not h.b.run("gateway", "cat /run/ended").ok


def test_times_that_the_clock_has_not_come_to_are_no_fight(lab_up: LabUp, eventually: Eventually) -> None:
    """A clock that was ahead, and was set right."""
    h = Healing.up(lab_up("seed"), eventually)
    lines = (f'echo "$(($(date +%s) + {days} * 86400))\tbrought-back\troute"' for days in range(1, 7))
    h.b.check("gateway", f"{{ {'; '.join(lines)}; }} >/var/lib/crossnet/healed")
    h.starts("gateway")
    h.flush(7)
    assert not h.b.run("gateway", "cat /run/ended").ok
    assert "gave up" not in h.logged("gateway")


def test_it_gives_up_also_where_it_can_note_nothing(lab_up: LabUp, eventually: Eventually) -> None:
    h = Healing.up(lab_up("seed"), eventually)
    h.b.check(
        "gateway",
        "cp -a /var/lib/crossnet /run/kept && mount -t tmpfs -o size=400k,mode=700 full /var/lib/crossnet && "
        "cp -a /run/kept/. /var/lib/crossnet && ! cat /dev/zero >/var/lib/crossnet/zeros 2>/dev/null",
    )
    h.starts("gateway")
    for number in range(6):
        h.b.check("gateway", "nft flush ruleset")
        eventually(lambda: h.b.run("gateway", TABLES["nftables"]).ok, f"it comes back, {number}")
        eventually(lambda: h.b.check("gateway", FORWARDING) == "1\n", "it forwards again")
        eventually(
            lambda number=number: h.logged("gateway").count("and is brought back") == number + 1, "it says so"
        )
    h.b.check("gateway", "nft flush ruleset")
    eventually(lambda: h.b.run("gateway", "cat /run/ended").text == "70\n", "it gives up")
    assert h.b.check("gateway", FORWARDING) == "0\n"
    assert "gave up, because it was brought back 6 times within 600 seconds" in h.logged("gateway")
    assert "cannot write in /var/lib/crossnet/healed: brought-back: table crossnet" in h.logged("gateway")
    assert not h.b.run("gateway", "ls /var/lib/crossnet/healed.aside").ok


def test_it_gives_up_soon_where_all_is_gone_again_at_once(lab_up: LabUp, eventually: Eventually) -> None:
    """For as long as it fights the gateway is open without its fence."""
    h = Healing.up(lab_up("seed"), eventually)
    h.b.check(
        "gateway",
        "{ while :; do nft flush ruleset; done; } </dev/null >/dev/null 2>&1 & echo $! >/run/flushes",
    )
    h.starts("gateway")
    # One after the other, at the next look each: a pause in between would be longer with each.
    for times in (2, 4, 6):
        eventually(
            lambda times=times: h.notes("gateway").count("brought-back") >= times, f"it tries, {times}"
        )
    eventually(lambda: h.b.run("gateway", "cat /run/ended").text == "70\n", "it gives up")
    h.b.check("gateway", "kill $(cat /run/flushes)")
    assert h.b.check("gateway", FORWARDING) == "0\n"


def test_a_log_that_hangs_holds_nothing_up(lab_up: LabUp, eventually: Eventually) -> None:
    h = Healing.up(lab_up("seed"), eventually)
    h.tool("gateway", "logger", "#!/bin/sh\nexec sleep 600\n")
    h.starts("gateway")
    h.flush(1)
    h.flush(2)
    h.b.check("gateway", "rm /usr/local/sbin/systemctl")
    h.b.undo(h.spec)
    eventually(lambda: h.b.run("gateway", "cat /run/ended").text == "0\n", "it ends with the undo")


def test_what_cannot_come_back_is_not_tried_again_and_again(lab_up: LabUp, eventually: Eventually) -> None:
    """A route whose interface is down; it comes back when that is up."""
    h = Healing.up(lab_up("seed"), eventually)
    h.tool("app", "ip", '#!/bin/sh\necho "$*" >>/run/ip\nexec /usr/sbin/ip "$@"\n')
    h.b.check("app", "ip link set eth0 down")
    h.starts("app")
    eventually(lambda: "cannot be brought back now: route 10.0.44.0/24" in h.logged("app"), "it says so")

    def rests() -> bool:
        """Whether it has looked often since it tried last."""
        counted = "awk '/-batch -$/ { n = 0 } /route show proto/ { n++ } END { print n }' /run/ip"
        return int(h.b.check("app", counted)) >= 4

    eventually(rests, "it does not try each time")
    assert h.notes("app") == []
    assert h.logged("app").count("\n") == 1
    h.b.check("app", "ip link set eth0 up")
    eventually(lambda: "10.0.43.101" in h.b.run("app", ROUTE).text, "it comes back")
    eventually(lambda: h.notes("app") == ["brought-back"], "that is noted")


def test_many_routes_come_back_together(lab_up: LabUp, eventually: Eventually) -> None:
    networks = ", ".join(f"10.44.{number}.0/24" for number in range(200))
    h = Healing.up(lab_up("seed"), eventually, f"to: [10.0.44.0/24, {networks}]")
    before = h.b.check("app", "ip route")
    h.b.check("app", "ip route flush proto 143 && ip route add 10.44.7.0/24 via 10.0.43.9")
    h.starts("app")
    theirs = "10.44.7.0/24 via 10.0.43.9 dev eth0 \n"
    gone = "10.44.7.0/24 via 10.0.43.101 dev eth0"
    eventually(
        lambda: f"cannot be brought back now: route {gone}\n" in h.logged("app"), "all but one are back"
    )
    after = h.b.check("app", "ip route").splitlines(keepends=True)
    assert theirs in after
    assert len(after) == len(before.splitlines())
    h.b.check("app", "ip route del 10.44.7.0/24")
    eventually(
        lambda: h.b.check("app", "ip route") == before, "it comes back when that of somebody else is gone"
    )
    eventually(lambda: f"is brought back: route {gone}\n" in h.logged("app"), "that is said")


def test_without_room_in_run_it_stays_closed_and_says_so(lab_up: LabUp, eventually: Eventually) -> None:
    h = Healing.up(lab_up("seed"), eventually)
    h.b.check(
        "gateway",
        "mount -t tmpfs -o size=8k run /run && mkdir -p /run/systemd/system && : >/run/systemctl && "
        "! cat /dev/zero >/run/zeros 2>/dev/null",
    )
    for verb in ("", "heal"):
        h.b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")
        said = h.b.run("gateway", f"sh /etc/crossnet/start {verb}")
        assert said.returncode == 1
        assert "/run/crossnet.leave cannot be written" in said.stderr.decode()
        assert h.b.check("gateway", FORWARDING) == "0\n"
    h.b.check("gateway", "rm /run/zeros && sh /etc/crossnet/start")
    assert h.b.check("gateway", FORWARDING) == "1\n"
    assert "restart" not in h.b.check("gateway", "cat /run/systemctl")
