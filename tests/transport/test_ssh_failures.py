"""Whatever leaves asyncssh becomes an error that names the host, what was seen and what to do."""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
from pathlib import Path

import asyncssh
import pytest

from crossnet.errors import HostError
from crossnet.transport.ssh import failures, settings
from crossnet.transport.ssh.configuration import Configuration
from crossnet.transport.ssh.destination import parse
from crossnet.transport.ssh.hostkeys import Witness

STRANGER = "\x1b]0;PWNED\x07\x1b[2J\u202eno\x9b such host" + "x" * 5000


def exceptions() -> list[type[Exception]]:
    found: set[type[Exception]] = {
        TimeoutError,
        OSError,
        ConnectionResetError,
        ConnectionRefusedError,
        socket.gaierror,
        ValueError,
    }
    found |= {UnicodeError, AssertionError, KeyError, EOFError, asyncio.IncompleteReadError}
    for name, module in tuple(sys.modules.items()):
        if name.partition(".")[0] == "asyncssh":
            found |= {
                one for one in vars(module).values() if inspect.isclass(one) and issubclass(one, Exception)
            }
    return sorted(found, key=lambda one: f"{one.__module__}.{one.__qualname__}")


def made(kind: type[Exception]) -> Exception:
    """One that says what a stranger says; made without its arguments, which differ, but with its words."""
    error = kind.__new__(kind, STRANGER)
    error.args = (STRANGER,)
    for name, value in (("code", 2), ("reason", STRANGER), ("lang", ""), ("strerror", STRANGER)):
        try:
            setattr(error, name, value)
        except (AttributeError, TypeError):
            continue
    return error


@pytest.fixture
def there(tmp_path: Path) -> settings.Settings:
    return settings.of(Configuration(parse("ops@jump"), {"user": ("ops",)}, str(tmp_path), str(tmp_path)))


@pytest.mark.parametrize("kind", exceptions(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("way", [failures.Way(), failures.Way(is_jump=True)], ids=["host", "jump-host"])
def test_every_exception_is_told(kind: type[Exception], way: failures.Way, there: settings.Settings) -> None:
    error = made(kind)
    told = [
        asyncio.run(failures.not_connected("app", there, Witness(), way, error)),
        failures.not_started("app", there, "true", error),
        failures.unreadable_settings("app", there.destination, error, jump=way.is_jump),
    ]
    for one in told:
        assert isinstance(one, HostError)
        assert one.seen
        assert one.todo
        assert str(one).replace("\n", "").isprintable()
        assert len(str(one)) < 1500
    if way.is_jump:
        assert "the jump host ops@jump" in str(told[0])
        assert "the jump host ops@jump" in str(told[2])


@pytest.mark.parametrize("code", range(16))
def test_every_disconnect_is_told(code: int, there: settings.Settings) -> None:
    error = asyncssh.DisconnectError(code, STRANGER)
    told = str(asyncio.run(failures.not_connected("app", there, Witness(), failures.Way(), error)))
    assert "the other side ended the connection before the login" in told
    assert "\x1b" not in told


@pytest.mark.parametrize("code", [1, 2, 3, 4, 99])
def test_every_refusal_of_a_jump_host_names_it(code: int, there: settings.Settings) -> None:
    error = asyncssh.ChannelOpenError(code, STRANGER)
    way = failures.Way(before=there)
    told = str(asyncio.run(failures.not_connected("app", there, Witness(), way, error)))
    assert "the jump host ops@jump port 22 " in told
    assert ("permits no way on" in told) == (code == 1)
