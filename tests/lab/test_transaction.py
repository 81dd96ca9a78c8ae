"""A transaction when something goes wrong around it: it is refused, told truly, or finished later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import crossnet
from crossnet import api
from crossnet.errors import CrossnetError, HostError, RollbackNotProved, RolledBack, StalePlan
from crossnet.events import Event
from crossnet.health import State
from crossnet.lab.build import Lab
from crossnet.show import json
from crossnet.show.text import applied_text
from crossnet.spec import Spec
from lab.crossing import Bench
from lab.test_commands import Desk

pytestmark = pytest.mark.lab

TO = "to: 10.0.44.0/24, persist: none"
AGENT = "/var/lib/crossnet/transaction/host.sh"


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    return Bench(lab_up("seed"))


@pytest.fixture
def at_desk(bench: Bench, tmp_path: Path) -> Callable[[str], Desk]:
    """A folder with a spec, from which the commands reach this lab."""

    def sit_down(crossing: str) -> Desk:
        desk = Desk(tmp_path, {"CROSSNET_LAB": bench.lab.name})
        desk.write(crossing)
        return desk

    return sit_down


def state(b: Bench, spec: Spec) -> State:
    (found,) = asyncio.run(crossnet.status(spec))
    return found.state


def no_lock(b: Bench) -> bool:
    return not any(b.run(host, "test -e /var/lib/crossnet/transaction").ok for host in b.managed)


def break_tool(b: Bench, host: str, tool: str, words: str) -> None:
    """Put a tool before the real one that refuses calls with these words, until it is mended."""
    script = f"""#!/bin/sh
case " $* " in *" {words} "*) echo broken on purpose >&2; exit 1 ;; esac
exec /tmp/real-{tool} "$@"
"""
    b.check(host, f"place=$(readlink -f $(command -v {tool})); cp $place /tmp/real-{tool}")
    b.check(host, f"cat > /tmp/{tool} <<'EOF'\n{script}EOF\nchmod 755 /tmp/{tool}")
    b.check(host, f"mount --bind /tmp/{tool} $(readlink -f $(command -v {tool}))")


def mend_tool(b: Bench, host: str, tool: str) -> None:
    b.check(host, f"umount $(readlink -f $(command -v {tool}))")


@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
def test_a_fence_stays_where_forwarding_cannot_be_switched_off(bench: Bench, firewall: str) -> None:
    before = bench.fingerprints()
    break_tool(bench, "app", "ip", "route add")
    break_tool(bench, "gateway", "sysctl", "net/ipv4/ip_forward=0")
    bench.check("target", "ip route add 10.0.43.0/24 via 10.0.44.63")
    with pytest.raises(RollbackNotProved, match="ip_forward"):
        bench.apply(bench.spec(f"{TO}, firewall: {firewall}"))
    assert bench.check("gateway", "cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
    mend_tool(bench, "app", "ip")
    bench.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101")
    assert not bench.pings("target", "10.0.43.15")
    bench.check("app", "ip route del 10.0.44.0/24")
    mend_tool(bench, "gateway", "sysctl")
    asyncio.run(api.recover(bench.spec(TO)))
    bench.check("target", "ip route del 10.0.43.0/24")
    assert bench.differences(before) == []


@pytest.mark.parametrize(
    "moved",
    [
        "sysctl -q -w net.ipv4.ip_forward=1",
        "nft add table ip crossnet",
        "ip addr flush dev eth0; ip addr add 10.0.44.62/24 dev eth0",
    ],
    ids=["setting", "table", "address"],
)
def test_a_host_that_moved_since_the_plan_is_found_inside_the_lock(bench: Bench, moved: str) -> None:
    spec = bench.spec(TO)
    plan = bench.plan(spec)
    bench.check("gateway", moved)
    held = bench.fingerprints()
    with pytest.raises(StalePlan, match=r"(?s)stale.*gateway: .*Nothing was changed"):
        asyncio.run(crossnet.apply(plan))
    assert bench.differences(held) == []
    assert no_lock(bench)
    assert bench.apply(spec).confirmed


def test_a_host_that_cannot_be_planned_any_more_is_refused_inside_the_lock(bench: Bench) -> None:
    spec = bench.spec(TO)
    plan = bench.plan(spec)
    bench.check("gateway", "ip addr flush dev eth0")
    held = bench.fingerprints()
    with pytest.raises(crossnet.errors.PlanRefused, match="no-route"):
        asyncio.run(crossnet.apply(plan))
    assert bench.differences(held) == []
    assert no_lock(bench)


def test_a_host_that_is_gone_before_the_lock_leaves_none_on_the_others(bench: Bench) -> None:
    spec = bench.spec(TO)
    plan = bench.plan(spec)
    before = bench.fingerprints()
    break_tool(bench, "app", "mkdir", "/var/lib/crossnet")
    with pytest.raises(HostError, match="broken on purpose"):
        asyncio.run(crossnet.apply(plan))
    assert no_lock(bench)
    assert bench.differences(before) == []


def test_what_cannot_be_written_for_the_next_boot_is_told_and_written_later(
    bench: Bench, at_desk: Callable[[str], Desk]
) -> None:
    desk = at_desk("from: app, via: gateway, to: 10.0.44.0/24")
    before = bench.fingerprints()
    bench.check("gateway", "mkdir /etc/crossnet && mount --bind /etc/crossnet /etc/crossnet")
    bench.check("gateway", "mount -o remount,bind,ro /etc/crossnet")

    applied = desk.run("apply", "--yes")

    assert applied.code == 7
    assert "Confirmed. Transaction " in applied.out
    assert "Not written for the next boot: gateway: " in applied.out
    assert "/etc/crossnet" in applied.out
    assert bench.pings("app", "10.0.44.1")
    assert no_lock(bench)
    drifted = desk.run("status")
    assert drifted.code == 3
    assert "gateway: file /etc/crossnet/start" in drifted.out

    bench.check("gateway", "umount /etc/crossnet")
    assert desk.run("apply", "--yes").code == 0
    assert desk.run("status").code == 0
    assert desk.run("undo", "--yes").code == 0
    assert bench.differences(before) == []


def test_a_roll_back_that_fails_says_what_to_look_at(bench: Bench, at_desk: Callable[[str], Desk]) -> None:
    before = bench.fingerprints()
    desk = at_desk("from: app, via: gateway, to: 10.0.44.0/24, probe: icmp/10.0.44.77")
    break_tool(bench, "app", "ip", "route del")

    failed = desk.run("apply", "--yes")

    assert failed.code == 4
    reason, _, look_at = failed.err.partition("Look at:")
    assert "a probe of the spec does not pass" in reason
    assert "Rollback not proved." in reason
    assert "app: route 10.0.44.0/24 metric 0 is not what it was before" in look_at
    assert "broken on purpose" in look_at
    look_at, _, diagnosis = look_at.partition("Where it stopped while the change stood:")
    assert "gateway: " not in look_at  # that one is as it was
    assert "destination-absent (candidates)" in diagnosis
    assert "crossnet recover" in look_at
    assert bench.differences(before) != []

    mend_tool(bench, "app", "ip")
    assert desk.run("undo", "--yes").code == 0
    assert bench.differences(before) == []


def test_an_undo_that_fails_in_the_middle_leaves_the_crossing_up(bench: Bench) -> None:
    spec = bench.spec(TO)
    bench.apply(spec)
    held = bench.fingerprints()
    break_tool(bench, "gateway", "nft", "-f")
    with pytest.raises(RolledBack, match="broken on purpose"):
        bench.undo(spec)
    assert bench.differences(held) == []
    assert bench.pings("app", "10.0.44.1")
    assert state(bench, spec) is State.UP


def test_a_failed_change_of_a_standing_crossing_puts_the_old_one_back(bench: Bench) -> None:
    old = bench.spec(TO)
    bench.apply(old)
    held = bench.fingerprints()
    new = bench.spec(f"{TO}, allow: [icmp, tcp/443], probe: [icmp/10.0.44.1, icmp/10.0.44.77]")
    with pytest.raises(RolledBack, match=r"10\.0\.44\.77"):
        bench.apply(new)
    assert bench.differences(held) == []
    assert bench.plan(old).is_empty
    assert state(bench, old) is State.UP


BY_OTHERS = """
ip route add 198.51.100.0/24 via 10.0.44.1
ip route del 203.0.113.0/24 via 10.0.44.1
nft add table inet others
nft add chain inet others input "{ type filter hook input priority 5; policy drop; }"
nft add rule inet others input accept
iptables -A INPUT -s 192.0.2.7 -j DROP
sysctl -q -w net.ipv4.conf.eth1.send_redirects=0
"""


def test_what_somebody_else_changes_meanwhile_is_told_and_left_alone(bench: Bench) -> None:
    spec = bench.spec(TO)
    bench.check("gateway", "ip route add 203.0.113.0/24 via 10.0.44.1")
    plan = bench.plan(spec)

    def interfere(event: Event) -> None:
        if event.change and (event.change.action, event.change.kind) == ("create", "table"):
            with ThreadPoolExecutor(1) as elsewhere:  # this one has an event loop already
                elsewhere.submit(bench.check, "gateway", BY_OTHERS).result()

    applied = asyncio.run(crossnet.apply(plan, watch=interfere))
    assert applied.confirmed
    engine = "iptables-nft ip filter INPUT"
    assert applied.meanwhile == (
        "gateway: + policy drop of nftables inet others input",
        "gateway: + route 198.51.100.0/24 via 10.0.44.1 dev eth0",
        f"gateway: + rule of {engine}: -s 192.0.2.7/32 -j DROP",
        "gateway: + rule of nftables inet others input: accept",
        "gateway: - route 203.0.113.0/24 via 10.0.44.1 dev eth0",
        "gateway: ~ net.ipv4.conf.eth1.send_redirects  1 → 0",
    )
    assert "Meanwhile changed by somebody else, and left alone:\n  gateway: + policy" in applied_text(applied)
    assert json.applied_data(applied)["changed_by_others"] == list(applied.meanwhile)
    bench.undo(spec)
    bench.check("gateway", "nft list chain inet others input; iptables -C INPUT -s 192.0.2.7 -j DROP")


TAKES_THE_SCRIPT_AWAY = """#!/bin/sh
case "$*" in *begin.*) [ -e /tmp/taken ] || { : >/tmp/taken; rm -f /var/lib/crossnet/host-*.sh; } ;; esac
exec /tmp/real-ln "$@"
"""


def test_a_script_that_the_end_of_the_last_transaction_takes_away_is_placed_again(bench: Bench) -> None:
    bench.check(
        "gateway",
        "cp $(readlink -f $(command -v ln)) /tmp/real-ln; cat >/tmp/ln; chmod 755 /tmp/ln",
        stdin=TAKES_THE_SCRIPT_AWAY.encode(),
    )
    bench.check("gateway", "mount --bind /tmp/ln $(readlink -f $(command -v ln))")
    bench.apply(bench.spec(TO))
    bench.check("gateway", "test -e /tmp/taken")
    assert state(bench, bench.spec(TO)) is State.UP
    assert no_lock(bench)


def test_a_plan_without_changes_touches_no_host(bench: Bench) -> None:
    spec = bench.spec(TO)
    bench.apply(spec)
    held = bench.fingerprints()
    plan = bench.plan(spec)
    assert plan.is_empty
    assert asyncio.run(crossnet.apply(replace(plan))).confirmed is None
    assert bench.differences(held) == []


def test_what_an_operator_broke_is_mended_by_the_next_apply(bench: Bench) -> None:
    """Each kind of drift on its own: told by the status, and put right."""
    spec = bench.spec("to: 10.0.44.0/24")
    before = bench.fingerprints()
    bench.apply(spec)
    held = bench.fingerprints()
    for host, damage in (
        ("app", "ip route replace 10.0.44.0/24 via 10.0.43.7 dev eth0 proto 143"),
        ("app", "ip route del 10.0.44.0/24"),
        ("gateway", "nft delete table ip crossnet"),
        ("gateway", "nft insert rule ip crossnet forward counter drop"),
        ("gateway", "nft flush set ip crossnet from-business"),
        ("gateway", "sysctl -q -w net.ipv4.ip_forward=0"),
        ("gateway", "echo >> /etc/sysctl.d/99-zz-crossnet.conf"),
        ("gateway", "chmod 600 /etc/crossnet/start"),
        ("app", "rm /etc/systemd/system/multi-user.target.wants/crossnet.service"),
    ):
        bench.check(host, damage)
        assert state(bench, spec) is State.DRIFTED, damage
        assert bench.apply(spec).confirmed, damage
        assert [line for line in bench.differences(held) if "verified.json" not in line] == [], damage
    bench.undo(spec)
    assert bench.differences(before) == []


def test_a_full_disk_keeps_the_transaction_out_and_leaves_nothing(bench: Bench) -> None:
    spec = bench.spec(TO)
    bench.check(
        "gateway", "mkdir /var/lib/crossnet && mount -t tmpfs -o size=4k,mode=700 none /var/lib/crossnet"
    )
    bench.check("gateway", "head -c 4096 /dev/zero > /var/lib/crossnet/ballast")
    with pytest.raises(CrossnetError, match="No space left"):
        bench.apply(spec)
    bench.check("gateway", "rm /var/lib/crossnet/ballast && mount -o remount,size=1m /var/lib/crossnet")
    assert bench.check("gateway", "ls -A /var/lib/crossnet") == ""
    assert no_lock(bench)
    assert bench.apply(spec).confirmed


def test_a_file_that_cannot_be_removed_is_told_and_removed_by_the_next_undo(bench: Bench) -> None:
    spec = bench.spec("to: 10.0.44.0/24")
    before = bench.fingerprints()
    bench.apply(spec)
    bench.check("app", "mount --bind /etc/crossnet/routes /etc/crossnet/routes")
    (told,) = bench.undo(spec).unwritten
    assert told.startswith("app: ")
    assert "/etc/crossnet/routes" in told
    bench.check("app", "umount /etc/crossnet/routes")
    assert bench.undo(spec).confirmed
    assert bench.differences(before) == []


def test_a_probe_that_hangs_is_rolled_back_with_the_reason(bench: Bench) -> None:
    before = bench.fingerprints()
    bench.check("app", "printf '#!/bin/sh\\nexec sleep 1000\\n' > /tmp/ping; chmod 755 /tmp/ping")
    bench.check("app", "mount --bind /tmp/ping $(readlink -f $(command -v ping))")
    with pytest.raises(RolledBack, match=r"^app: ran .*: no answer within"):
        bench.apply(bench.spec(f"{TO}, probe: icmp/10.0.44.1"))
    assert bench.differences(before) == []


def test_an_undo_after_an_interface_that_the_kernel_took_away(bench: Bench) -> None:
    """The switch of forwarding remembers each interface's own; one that is gone has none to put back."""
    bench.check("gateway", "ip link add veth7 type veth peer name veth8")
    spec = bench.spec(TO)
    bench.apply(spec)
    bench.check("gateway", "ip link del veth7")
    assert bench.undo(spec).confirmed
    assert bench.check("gateway", "cat /proc/sys/net/ipv4/ip_forward") == "0\n"


def test_a_gateway_whose_egress_goes_down_is_told_by_the_status(bench: Bench) -> None:
    spec = bench.spec(TO)
    bench.apply(spec)
    bench.check("gateway", "ip link set eth0 down")
    (found,) = asyncio.run(crossnet.status(spec))
    assert found.state is State.DEGRADED
    assert found.reasons == (
        "gateway: eth0 is down",
        "gateway itself has no route to 10.0.44.0/24: its eth0, with 10.0.44.63/24, is down",
    )


def test_what_nobody_confirms_in_time_ends_with_what_was_to_be_said(
    bench: Bench, at_desk: Callable[[str], Desk]
) -> None:
    before = bench.fingerprints()
    desk = at_desk("from: app, via: gateway, to: 10.0.44.0/24, persist: none")

    ended = desk.run("apply", "--yes", "--confirm-within", "10s")

    assert ended.code == 3
    assert "nobody said `crossnet confirm " in ended.err
    assert "` within 10 s, or somebody said `crossnet rollback " in ended.err
    assert bench.differences(before) == []
