"""What another version of crossnet left on a host, and what somebody else put into its folder there."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import pytest

import crossnet
from crossnet.errors import HostError, Locked
from crossnet.lab.build import Lab
from crossnet.spec import Spec
from crossnet.transaction import journal
from crossnet.transaction.agent import Agent, script_text
from crossnet.transaction.participant import Part
from crossnet.transport.lab import LabHost
from lab.crossing import Bench

pytestmark = pytest.mark.lab

FOLDER = "/var/lib/crossnet"
LEFT = f"{FOLDER}/transaction"
TRANSACTION = "0ddba115"
# Another version: the same, which tells us that it was run.
MARK = "/tmp/the-other-version-was-run"
OTHER = script_text().replace("set -u\n", f"set -u; : >{MARK}\n", 1)
PLACED = f"{FOLDER}/host-{hashlib.sha256(OTHER.encode()).hexdigest()[:16]}.sh"


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    return Bench(lab_up("seed"))


@pytest.fixture
def spec(bench: Bench) -> Spec:
    return bench.spec("to: 10.0.44.0/24, persist: none")


def leave(b: Bench, spec: Spec, *, due: bool, document: str = '{"format": 99}', whole: bool = True) -> None:
    """A transaction of another version on the gateway, whose controller died before it armed anything."""
    made = b.plan(spec)
    host = next(host for host in made.hosts if host.host == "gateway")
    live = [change for name, change in made.live() if name == "gateway"]
    gateway = LabHost("gateway", b.lab.socket("gateway"))
    written = journal.new(TRANSACTION, "apply business", ("gateway",))
    agent = Agent(gateway, TRANSACTION)
    if asyncio.run(agent.stage(Part(written, host, tuple(live), ()))):
        b.check("gateway", f"until [ -e {FOLDER}/drill/watch ]; do sleep 0.1; done")
    b.check("gateway", f"rm {FOLDER}/host-*.sh; cat >{PLACED}; chmod 600 {PLACED}", stdin=OTHER.encode())
    b.check("gateway", f"ln -f {PLACED} {LEFT}/host.sh")
    if not whole:
        b.check("gateway", f"rm {LEFT}/host.sh; cp {PLACED} {LEFT}/host.sh; echo >>{LEFT}/host.sh")
    b.check("gateway", f"printf %s '{document}' >{LEFT}/journal.json")
    b.check("gateway", f"read -r now of <{LEFT}/deadline; echo $((now + 3000)) $of >{LEFT}/deadline")
    if due:
        b.check("gateway", f"sed -i 's/^[0-9]*/1/' {LEFT}/deadline")


def was_run(b: Bench) -> bool:
    return b.run("gateway", f"rm {MARK} 2>/dev/null").ok


@pytest.mark.parametrize("document", ['{"format": 99}', "", '{"format": 2, "transaction": "ab', "[]"])
def test_before_its_time_is_over_it_is_locked_and_told(bench: Bench, spec: Spec, document: str) -> None:
    leave(bench, spec, due=False, document=document)
    held = bench.fingerprints()
    acts = (
        bench.plan,
        bench.undo,
        lambda s: asyncio.run(crossnet.recover(s)),
        lambda s: asyncio.run(crossnet.rollback(s, TRANSACTION)),
    )
    for act in acts:
        with pytest.raises(
            Locked, match=rf"gateway: transaction {TRANSACTION} is open there.*\n.*runs out in [0-9]+ s"
        ):
            act(spec)
    assert bench.differences(held) == []
    assert not was_run(bench)


@pytest.mark.parametrize("what", ["recover", "undo", "apply"])
def test_when_its_time_is_over_its_own_script_ends_it(bench: Bench, spec: Spec, what: str) -> None:
    before = bench.fingerprints()
    leave(bench, spec, due=True)
    if what == "recover":
        (ended,) = asyncio.run(crossnet.recover(spec))
        assert (ended.transaction, ended.is_confirmed) == (TRANSACTION, False)
    elif what == "undo":
        bench.undo(spec)
    else:
        bench.apply(spec)
        assert bench.pings("app", "10.0.44.1")
    assert was_run(bench)
    if what != "apply":
        assert bench.differences(before) == []


@pytest.mark.parametrize("document", ['{"format": 99}', ""])
def test_a_script_that_is_not_the_one_that_was_placed_is_never_run(
    bench: Bench, spec: Spec, document: str
) -> None:
    before = bench.fingerprints()
    leave(bench, spec, due=True, document=document, whole=False)
    asyncio.run(crossnet.recover(spec))
    assert not was_run(bench)
    assert bench.differences(before) == []


@pytest.mark.parametrize("content", ["foreign", "half", "empty", "link", "link to a folder"])
def test_what_stands_in_the_place_of_the_script_is_replaced_and_never_run(
    bench: Bench, spec: Spec, content: str
) -> None:
    own = f"{FOLDER}/host-{hashlib.sha256(script_text().encode()).hexdigest()[:16]}.sh"
    foreign = {
        "foreign": f": >{MARK}; exit 0",
        "half": f": >{MARK}\n" + script_text()[: len(script_text()) // 2],
    }
    bench.check("gateway", f"mkdir -m 700 {FOLDER}; echo ': >{MARK}' >/tmp/elsewhere; mkdir /tmp/folder")
    match content:
        case "link":
            bench.check("gateway", f"ln -s /tmp/elsewhere {own}")
        case "link to a folder":
            bench.check("gateway", f"ln -s /tmp/folder {own}")
        case _:
            bench.check("gateway", f"cat >{own}", stdin=foreign.get(content, "").encode())
    bench.apply(spec)
    assert not was_run(bench)
    assert bench.check("gateway", f"[ ! -L {own} ] && cat {own}") == script_text()
    assert bench.check("gateway", "ls /tmp/folder; cat /tmp/elsewhere") == f": >{MARK}\n"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (f"mkdir -m 700 {FOLDER}; chown 1234 {FOLDER}", "belongs to user 1234"),
        (f"mkdir -m 777 {FOLDER}", "others can write"),
        (f"mkdir -m 1770 {FOLDER}", "others can write"),
        (f"mkdir /tmp/theirs; ln -s /tmp/theirs {FOLDER}", "is a symbolic link"),
        (f"ln -s /tmp/nowhere {FOLDER}", "is a symbolic link"),
        (f": >{FOLDER}", "is no folder"),
        # What is in there is run as root at each boot, and who may write there leads crossnet's own writes elsewhere.
        (
            "mkdir /etc/crossnet; chown 1234 /etc/crossnet",
            "looked who owns /etc/crossnet: .* belongs to user 1234",
        ),
        ("mkdir /etc/crossnet; chmod 777 /etc/crossnet", "others can write to /etc/crossnet"),
        ("mkdir /tmp/theirs; ln -s /tmp/theirs /etc/crossnet", "/etc/crossnet is a symbolic link"),
    ],
    ids=["owner", "mode", "sticky", "link", "dangling", "file", "etc-owner", "etc-mode", "etc-link"],
)
def test_a_folder_that_is_not_crossnets_alone_is_refused(
    bench: Bench, spec: Spec, made: str, told: str
) -> None:
    bench.check("gateway", made)
    held = bench.fingerprints()
    with pytest.raises(HostError, match=told):
        bench.apply(spec)
    assert bench.differences(held) == []


def test_a_folder_that_others_may_only_read_is_closed(bench: Bench, spec: Spec) -> None:
    bench.check("gateway", f"mkdir -m 755 {FOLDER}")
    bench.apply(spec)
    assert bench.check("gateway", f"stat -c %a {FOLDER}").strip() == "700"
