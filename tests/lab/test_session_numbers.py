"""Process and session numbers of a host: what is not crossnet's own is never ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import crossnet
from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.test_other_version import LEFT, leave

pytestmark = pytest.mark.lab


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    return Bench(lab_up("seed"))


# Somebody's session whose leader has gone; it tells its number and that of the one who is left.
LEADERLESS = """
rm -f /tmp/leader /tmp/left
setsid sh -c 'echo $$ >/tmp/leader; sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/left' </dev/null >/dev/null 2>&1
until [ -s /tmp/left ]; do sleep 0.1; done
while kill -0 "$(cat /tmp/leader)" 2>/dev/null; do sleep 0.1; done
"""


@pytest.mark.parametrize(
    "worker",
    [
        'echo "$(cat /tmp/leader) 1 $(readlink /proc/self/ns/pid)"',
        'echo "$(cat /tmp/leader) 1"',
        "rm /tmp/left; setsid sh -c 'echo $$ >/tmp/left; exec sleep 1000' </dev/null >/dev/null 2>&1 & "
        "until [ -s /tmp/left ]; do sleep 0.1; done; "
        'echo "$(cat /tmp/left) $(cut -d" " -f22 /proc/$(cat /tmp/left)/stat) pid:[1]"',
        "echo 0 1",
    ],
    ids=["leader gone", "as older ones wrote it", "another namespace", "no session"],
)
@pytest.mark.parametrize("file", ["worker", "watcher"])
def test_a_number_that_is_used_again_ends_nobody(bench: Bench, worker: str, file: str) -> None:
    spec = bench.spec("to: 10.0.44.0/24, persist: none")
    bench.check("gateway", LEADERLESS)
    leave(bench, spec, due=True)
    bench.check("gateway", f"{worker} >{LEFT}/{file}")
    asyncio.run(crossnet.recover(spec))
    assert not bench.run("gateway", f"ls -d {LEFT}").ok
    assert bench.run("gateway", "kill $(cat /tmp/left)").ok


@pytest.mark.parametrize(
    "mark", ["CROSSNET_WORKS_IN=/var/lib/crossnet", ""], ids=["leader gone", "leader alive"]
)
def test_what_a_transaction_left_running_is_ended(bench: Bench, mark: str) -> None:
    """A tool that goes on alone would make its change after the undo of it."""
    spec = bench.spec("to: 10.0.44.0/24, persist: none")
    if mark:
        bench.check("gateway", f"export {mark}; {LEADERLESS}")
        leader = 'echo "$(cat /tmp/leader) 1 $(readlink /proc/self/ns/pid)"'
    else:
        alone = "setsid sh -c 'echo $$ >/tmp/left; exec sleep 1000' </dev/null >/dev/null 2>&1 &"
        bench.check("gateway", f"rm -f /tmp/left; {alone} until [ -s /tmp/left ]; do sleep 0.1; done")
        begun = '$(cut -d" " -f22 /proc/$(cat /tmp/left)/stat)'
        leader = f'echo "$(cat /tmp/left) {begun} $(readlink /proc/self/ns/pid)"'
    leave(bench, spec, due=True)
    bench.check("gateway", f"{leader} >{LEFT}/worker")
    asyncio.run(crossnet.recover(spec))
    assert not bench.run("gateway", f"ls -d {LEFT}").ok
    assert not bench.run(
        "gateway", "read -r state </proc/$(cat /tmp/left)/stat && case $state in *' Z '*) false ;; esac"
    ).ok
