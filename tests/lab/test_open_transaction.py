"""Nobody passes when a firewall of others is restarted while a transaction is open, on a real systemd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event as Signal
from threading import Thread

import pytest

import crossnet
from crossnet.errors import CrossnetError, RolledBack
from crossnet.events import Event, Kind
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.spec import Spec
from crossnet.transaction.guard import Guard
from lab.crossing import Bench
from lab.engines import WITH_IPTABLES_NFT
from lab.firewalls import IPTABLES, NFTABLES, Firewall
from lab.test_fence_in_time import TO, flush, with_outsider
from lab.test_firewalls import FORWARDING, with_firewall, works

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

UNITS = "systemctl list-units --all --no-legend 'crossnet*'; find /run /etc -name '*crossnet*'"


class Waiting:
    """An apply that waits for its confirmation; `error` is how it ended."""

    def __init__(self, b: Bench, spec: Spec) -> None:
        self.transaction = ""
        self.error: CrossnetError | None = None
        self._waits = Signal()
        self._thread = Thread(target=self._run, args=(b, spec))
        self._thread.start()
        assert self._waits.wait(120), self.error

    def _run(self, b: Bench, spec: Spec) -> None:
        try:
            plan = b.plan(spec)
            asyncio.run(crossnet.apply(plan, guard=Guard(confirm_within=300), watch=self._say))
        except CrossnetError as error:
            self.error = error
            self._waits.set()

    def _say(self, event: Event) -> None:
        if event.kind is Kind.WAITS:
            self.transaction = event.transaction
            self._waits.set()

    def ended(self) -> CrossnetError | None:
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.error


@contextmanager
def waiting(b: Bench, spec: Spec) -> Iterator[Waiting]:
    """Whatever becomes of the test, it does not wait on."""
    apply = Waiting(b, spec)
    try:
        yield apply
    finally:
        if apply._thread.is_alive():
            with suppress(CrossnetError):
                asyncio.run(crossnet.rollback(spec, apply.transaction))
            apply.ended()


@pytest.mark.machine
@pytest.mark.parametrize(
    ("firewall", "engine"),
    [(NFTABLES, Engine.NFTABLES), (IPTABLES, Engine.IPTABLES_NFT)],
    ids=["nftables", "iptables"],
)
def test_a_firewall_that_is_restarted_ends_an_apply_that_waits(
    machines_up: LabUp, firewall: Firewall, engine: Engine
) -> None:
    fire = with_firewall(machines_up(with_outsider()), firewall)
    b, unit = fire.bench, firewall.unit
    spec = b.spec(f"{TO}, firewall: {'iptables' if engine.is_iptables else 'nftables'}")
    b.check("gateway", f"systemctl enable --now {unit}")
    before = b.check("gateway", UNITS)
    for verb in ("restart", "reload", "stop", "start"):
        with fire.burning(), waiting(b, spec) as apply:
            assert works(b)
            b.check("gateway", f"systemctl {verb} {unit}")
            error = apply.ended()
        assert isinstance(error, RolledBack), error
        assert f"{unit}.service was started, stopped or reloaded" in str(error)
        assert b.check("gateway", FORWARDING) == "0\n0\n"
        assert b.check("gateway", UNITS) == before
        assert not b.plan(spec).is_empty
    b.apply(spec)
    assert works(b)


# Between the end of forwarding and that of the rules somebody restarts the firewall.
RESTARTS = """\
#!/bin/sh
if [ -e /run/once ] && [ -e /var/lib/crossnet/transaction ] && [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ]; then
    rm /run/once
    systemctl restart nftables
    for _ in 1 2 3 4 5 6 7 8 9 10; do [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ] || break; sleep 0.2; done
fi
exec /usr/sbin/nft "$@"
"""


@pytest.mark.machine
def test_a_firewall_that_is_restarted_ends_an_undo(machines_up: LabUp, eventually: Eventually) -> None:
    """The units of what is to go load its rules again, and switch forwarding on, which the undo had switched off."""
    fire = with_firewall(machines_up(with_outsider()), NFTABLES)
    b = fire.bench
    b.check("gateway", "systemctl enable --now nftables")
    before = b.check("gateway", UNITS)
    spec = b.spec(TO)
    with fire.burning():
        b.apply(spec)
        b.check(
            "gateway",
            "cat >/usr/local/sbin/nft && chmod 755 /usr/local/sbin/nft && touch /run/once",
            stdin=RESTARTS.encode(),
        )
        with pytest.raises(RolledBack, match=r"nftables\.service was started, stopped or reloaded"):
            b.undo(spec)
        assert not b.run("gateway", "test -e /run/once").ok
        eventually(lambda: works(b), "the crossing works as before the undo")
        assert b.plan(spec).is_empty
        b.undo(spec)
    b.check("gateway", "rm /usr/local/sbin/nft")
    assert b.check("gateway", FORWARDING) == "0\n0\n"
    assert b.check("gateway", UNITS) == before


@pytest.mark.lab
@pytest.mark.parametrize("engine", WITH_IPTABLES_NFT)
def test_a_fence_that_is_taken_away_ends_an_apply_that_waits(
    lab_up: Callable[..., Lab], engine: Engine
) -> None:
    """No unit sees it, so the guard does, within a second or two, and whoever would confirm it."""
    b = Bench(lab_up("seed"))
    spec = b.spec(f"to: 10.0.44.0/24, firewall: {'iptables' if engine.is_iptables else 'nftables'}")
    if engine is Engine.IPTABLES_LEGACY:
        b.check("gateway", "ln -sf /usr/sbin/iptables-legacy /etc/alternatives/iptables")
        b.check("gateway", "ln -sf /usr/sbin/iptables-legacy-restore /etc/alternatives/iptables-restore")
    before = b.fingerprints()
    with waiting(b, spec) as apply:
        b.check("gateway", flush(engine))
        error = apply.ended()
    assert isinstance(error, RolledBack), error
    assert "somebody took its fence away" in str(error)
    assert b.differences(before) == []

    with waiting(b, spec) as apply:
        b.check("gateway", "kill -STOP $(cut -d' ' -f1 /var/lib/crossnet/transaction/watcher)")
        b.check("gateway", flush(engine))
        (found,) = asyncio.run(crossnet.status(spec))
        assert found.exposures
        assert "gateway is open for everybody: its fence for IPv4 is gone" in found.reasons[0]
        with pytest.raises(RolledBack):
            asyncio.run(crossnet.confirm(spec, apply.transaction))
        assert isinstance(apply.ended(), RolledBack)
    assert b.differences(before) == []
