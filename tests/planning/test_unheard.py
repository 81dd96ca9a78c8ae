"""A host that does not answer: `forget` is advised where nothing is heard of it, and of one that answers never."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncssh
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
from crossnet.transport.ssh.configuration import Configuration
from crossnet.transport.ssh.destination import parse as parse_destination
from crossnet.transport.ssh.failures import Way, not_connected
from crossnet.transport.ssh.hostkeys import Witness
from crossnet.transport.ssh.settings import of
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


def by_ssh(
    error: Exception, known: str = "", key: asyncssh.SSHKey | None = None, proxy: str = "none"
) -> HostError:
    """What a connection by SSH tells that ended in this error; `known` is known_hosts, and `key` what was shown."""
    witness = Witness()
    witness.key = key
    with tempfile.TemporaryDirectory() as home:
        Path(home, "known").write_text(known)
        values = {
            "user": ("ops",),
            "userknownhostsfile": (f"{home}/known",),
            "globalknownhostsfile": ("none",),
            "proxycommand": (proxy,),
        }
        settings = of(Configuration(parse_destination("ops@gw"), values, home, home))
        return asyncio.run(not_connected("gateway", settings, witness, Way(), error))


KEY = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
OTHER_KEY = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
NOT_TRUSTED = asyncssh.HostKeyNotVerifiable("Host key is not trusted")
UNREACHABLE, UNREACHABLE_6, FULL = (
    OSError(number, "Connect call failed") for number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMFILE)
)


@pytest.mark.parametrize(
    "error",
    [
        by_ssh(NOT_TRUSTED, key=KEY),
        by_ssh(NOT_TRUSTED, f"gw {OTHER_KEY}", KEY),
        by_ssh(asyncssh.HostKeyNotVerifiable("Host key is revoked"), f"@revoked * {OTHER_KEY}"),
        by_ssh(FULL),
        by_ssh(FULL, proxy="nc gw 22"),
        by_ssh(OSError(f"Multiple exceptions: {UNREACHABLE}, {FULL}")),
        by_ssh(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")),
        by_ssh(socket.gaierror(socket.EAI_SYSTEM, "System error")),
        HostError("gateway", "ran `ip addr`", "cannot be understood", "Run it by hand."),
        HostError("gateway", "asked 9 questions", "no answer within 30 s; it was ended", "Look at its load."),
        Locked("another transaction is under way", host="gateway"),
    ],
)
def test_a_host_that_answers_is_not_to_be_forgotten(
    monkeypatch: pytest.MonkeyPatch, error: CrossnetError
) -> None:
    assert "forget" not in advice(monkeypatch, error)


def test_a_name_is_not_called_unknown_where_this_machine_can_open_no_file() -> None:
    held: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    settings = of(Configuration(parse_destination("ops@gw"), {"user": ("ops",)}, "/nowhere", "/nowhere"))
    asked = not_connected("gateway", settings, Witness(), Way(), unknown)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(StopIteration) as told:
            asked.send(None)  # it waits for nothing
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "the name gw is not resolved: Too many open files" in str(told.value.value)
    assert not told.value.value.is_silent


@pytest.mark.parametrize(
    "error",
    [
        UNREACHABLE,
        OSError(f"Multiple exceptions: {UNREACHABLE}, {UNREACHABLE_6}"),
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    ],
)
def test_a_host_that_no_way_leads_to_may_be_forgotten(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    assert "crossnet forget gateway" in advice(monkeypatch, by_ssh(error))


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
