"""A host that does not answer: `forget` is advised where nothing is heard of it, and of one that answers never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crossnet import api
from crossnet.api import looking
from crossnet.errors import CrossnetError, HostError, LabError, Locked
from crossnet.facts import FileState
from crossnet.record import APPLIED, Record
from crossnet.site import Answers
from crossnet.specfile import parse
from crossnet.standing import Standing
from crossnet.transport import ShellHost
from crossnet.transport.lab import LabHost
from crossnet.transport.local import Local
from crossnet.transport.netns import Netns
from crossnet.transport.ssh import Ssh
from design.factsheet import SEED, facts_from, with_files

SPEC = parse(
    "crossnet: 1\nname: office\n"
    "hosts: {app: {ssh: root@10.0.43.15}, gateway: {ssh: root@10.0.43.101}}\n"
    "crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24}}\n",
    "crossnet.yaml",
)


def advice(monkeypatch: pytest.MonkeyPatch, error: CrossnetError) -> str:
    """What is told where the gateway of a crossing that its client knows ends in this error."""
    app = facts_from(SEED)["app"]
    kept = Record((Standing("office", "business", "app", hosts=SPEC.hosts),)).to_json()
    said = {"app": with_files(app, {APPLIED: FileState(kept, 0o600, "0:0")})}

    class Site:
        async def look(self) -> Answers[object]:
            return Answers(said, {"gateway": error})

    @asynccontextmanager
    async def reach(*_: object, **__: object) -> AsyncIterator[Site]:
        yield Site()

    monkeypatch.setattr(looking, "reach", reach)
    with pytest.raises(CrossnetError) as raised:
        asyncio.run(api.survey(SPEC))
    return str(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        HostError("gateway", "ran `ip addr`", "cannot be understood", "Run it by hand."),
        HostError("gateway", "asked 9 questions", "no answer within 30 s; it was ended", "Look at its load."),
        Locked("another transaction is under way", host="gateway"),
    ],
)
def test_a_host_that_answers_is_not_to_be_forgotten(
    monkeypatch: pytest.MonkeyPatch, error: CrossnetError
) -> None:
    assert "forget" not in advice(monkeypatch, error)


@pytest.mark.parametrize(
    "host",
    [
        Ssh("gateway", "ssh://root@127.0.0.1:1"),
        Netns(Local("gateway"), "crossnet-none"),
        LabHost("gateway", Path("/nowhere/socket")),
    ],
    ids=["ssh", "netns", "lab"],
)
def test_a_host_of_which_nothing_is_heard_may_be_forgotten(
    monkeypatch: pytest.MonkeyPatch, host: ShellHost
) -> None:
    with pytest.raises(HostError) as raised:
        asyncio.run(host.run(["true"]))
    assert "If gateway will never come back: `crossnet forget gateway`." in advice(monkeypatch, raised.value)
    assert "forget gateway" in advice(monkeypatch, LabError("there is no lab"))
