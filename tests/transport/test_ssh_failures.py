"""Whatever leaves asyncssh becomes an error that names the host, what was seen and what to do."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

import asyncssh
import pytest

from crossnet.errors import HostError
from crossnet.transport.ssh import failures, settings
from crossnet.transport.ssh.configuration import Configuration
from crossnet.transport.ssh.connection import Connection, _Hop
from crossnet.transport.ssh.destination import parse
from crossnet.transport.ssh.hostkeys import KnownHosts, Witness

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
    assert ("permits no forwarding" in told) == (code == 1)


@pytest.fixture
def bastion(tmp_path: Path) -> settings.Settings:
    values = {"user": ("root",), "hostname": ("10.0.43.50",)}
    return settings.of(Configuration(parse("bastion"), values, str(tmp_path), str(tmp_path)))


BASTION = "the jump host bastion (root@10.0.43.50 port 22)"


def seen(host: settings.Settings, error: Exception, way: failures.Way, witness: Witness | None = None) -> str:
    return str(asyncio.run(failures.not_connected("app", host, witness or Witness(), way, error)))


def answered() -> Witness:
    """Of a server that said its version."""

    class Answered(Witness):
        has_answered = True

    return Answered()


def test_a_jump_host_is_named_as_the_user_knows_it(
    there: settings.Settings, bastion: settings.Settings
) -> None:
    behind = failures.Way(before=bastion)
    assert f"{BASTION} permits no forwarding" in seen(there, asyncssh.ChannelOpenError(1, "no"), behind)
    assert f"{BASTION} does not get through" in seen(there, asyncssh.ChannelOpenError(2, "no"), behind)
    assert f"via {BASTION}" in seen(there, ConnectionRefusedError(), behind)
    assert f"tried to connect to {BASTION}" in seen(
        bastion, ConnectionRefusedError(), failures.Way(is_jump=True)
    )


def test_a_lost_jump_host_is_not_where_the_command_ran(
    there: settings.Settings, bastion: settings.Settings
) -> None:
    told = str(failures.cut("app", there, Witness(), "true", bastion))
    assert "ran `true` as ops@jump port 22" in told
    assert f"the connection to {BASTION} was cut" in told
    assert "the connection was cut" in str(failures.cut("app", there, Witness(), "true"))
    before = failures.cut_before_login("app", there, failures.Way(before=bastion), bastion, Witness())
    assert f"the connection to {BASTION} was cut" in str(before)


def test_no_answer_behind_a_jump_host_is_looked_for_from_there(
    there: settings.Settings, bastion: settings.Settings
) -> None:
    told = seen(there, TimeoutError(), failures.Way(before=bastion))
    assert f"through {BASTION}" in told
    assert "from the jump host" in told
    assert "jump host" not in seen(there, TimeoutError(), failures.Way())


def test_a_number_that_is_no_errno_is_not_explained(there: settings.Settings) -> None:
    told = seen(there, OSError(-2, "Name or service not known"), failures.Way())
    assert "Name or service not known" in told
    assert "Unknown error" not in told


def test_too_many_keys_are_told_as_that(there: settings.Settings) -> None:
    error = asyncssh.ProtocolError("Too many authentication failures")
    told = seen(there, error, failures.Way(), answered())
    assert "MaxAuthTries" in told
    assert "IdentitiesOnly" in told
    assert "MaxStartups" not in told


def test_a_proxy_command_is_blamed_until_a_server_answers(tmp_path: Path) -> None:
    values = {"user": ("ops",), "proxycommand": ("nc -X 5 %h %p",)}
    host = settings.of(Configuration(parse("app"), values, str(tmp_path), str(tmp_path)))
    way = failures.Way(complaint="no way")
    for error in (TimeoutError(), asyncssh.ConnectionLost("closed"), asyncssh.KeyExchangeFailed("none")):
        told = seen(host, error, way)
        assert "gives no connection" in told
        assert "no way" in told
    assert "no algorithm in common" in seen(host, asyncssh.KeyExchangeFailed("none"), way, answered())
    assert "ended the connection" in seen(host, asyncssh.ConnectionLost("closed"), way, answered())
    assert "no way" in seen(host, asyncssh.ConnectionLost("closed"), way, answered())


def test_a_password_in_a_proxy_command_is_not_repeated(tmp_path: Path) -> None:
    """However it stands in there, and where the command says it too."""
    values = {"user": ("ops",), "proxycommand": ("sshpass -p geheim ssh -W %h:%p http://ops:geheim@proxy",)}
    host = settings.of(Configuration(parse("app"), values, str(tmp_path), str(tmp_path)))
    way = failures.Way(complaint="http://ops:geheim@proxy: no such host")
    told = seen(host, ConnectionResetError("ssh://ops:geheim@proxy"), way)
    assert "geheim" not in told
    assert "http://ops:…@proxy: no such host" in told
    assert "`ssh -G app` shows it" in told


def test_a_command_without_a_session_is_not_told_as_slow(there: settings.Settings) -> None:
    """Streams hold every session that the host permits, so the command was never started."""
    nothing_sent = cast(asyncssh.SSHClientConnection, None)

    async def run() -> None:
        made = Connection("app", [_Hop(there, Witness(), nothing_sent, None)], become=False)
        made._places.most = made._places.taken = 1
        await made.run(["true"], stdin=b"", timeout=0.05)

    with pytest.raises(HostError) as told:
        asyncio.run(run())
    assert "all sessions that the host permits on a connection (1) are in use" in str(told.value)
    assert "MaxSessions" in str(told.value)


def test_a_command_whose_jump_host_is_lost_names_both(
    there: settings.Settings, bastion: settings.Settings
) -> None:
    nothing_sent = cast(asyncssh.SSHClientConnection, None)
    hops = [_Hop(host, Witness(), nothing_sent, None) for host in (bastion, there)]
    for hop in hops:  # the end of a jump host's connection ends those over it
        hop.witness.connection_lost(None)
    told = str(Connection("app", hops, become=False)._cut(["true"]))
    assert "ran `true` as ops@jump port 22" in told
    assert f"the connection to {BASTION} was cut" in told


def settings_of(home: Path, **values: tuple[str, ...]) -> settings.Settings:
    return settings.of(Configuration(parse("ops@jump"), {"user": ("ops",), **values}, str(home), str(home)))


@pytest.mark.parametrize(
    ("text", "host", "port", "trusted", "revoked"),
    [
        ("GW {key}", "gw", None, True, False),
        ("[GW]:2222 {key}", "gw", 2222, True, False),
        ("gw {key}@revoked GW {key}", "gw", None, True, True),
        ("gw.example.com {key}@revoked *.Example.COM {key}", "gw.example.com", None, True, True),
        ("!GW,* {key}", "gw", None, False, False),
        ("@cert-authority *.Example.COM {key}", "gw.example.com", None, False, False),
    ],
)
def test_names_in_known_hosts_are_compared_without_regard_to_case(
    tmp_path: Path, text: str, host: str, port: int | None, *, trusted: bool, revoked: bool
) -> None:
    """As `ssh-keygen -F` finds them (OpenSSH 9.2, measured)."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (tmp_path / "known").write_text(text.format(key=key))
    known = KnownHosts([tmp_path / "known"], alias=None)
    known.look_up(host, port)
    assert (bool(known.keys), bool(known.revoked)) == (trusted, revoked)
    assert bool(known.authorities) is ("@cert" in text)


@pytest.mark.parametrize(
    ("text", "trusted"),
    [
        *(
            (f"# other:22 SSH-2.0-x{sign}gw {{key}}\n", False)
            for sign in "\f\v\r\x1c\x1d\x1e\x85\u2028\u2029"
        ),
        ("@cert-authority *.else {key} by me\fgw {key}\n", False),
        ("else {key} \rgw {key}\n", False),
        ("gw\f {key}\n", False),
        ("\fgw {key}\n", False),
        ("else\fgw {key}\n", False),
        ("else {key}\r\ngw {key}\r\n", True),
        ("gw\t{key} José’s gateway\n", True),
        (" \tgw {key} by\fme", True),
    ],
)
def test_a_line_of_known_hosts_ends_and_is_divided_where_ssh_has_it(
    tmp_path: Path, text: str, *, trusted: bool
) -> None:
    """What a stranger has put into a comment, as in a banner that `ssh-keyscan` writes there, is trusted by nobody."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    (tmp_path / "known").write_bytes(text.format(key=key).encode())
    known = KnownHosts([tmp_path / "known"], alias=None)
    known.look_up("gw", None)
    assert bool(known.keys) is trusted
    found = subprocess.run(
        ["ssh-keygen", "-F", "gw", "-f", tmp_path / "known"], stdout=subprocess.DEVNULL, check=False
    )
    assert (found.returncode == 0) is trusted


def test_a_key_is_revoked_whatever_its_comment_is(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    (tmp_path / "known").write_text(f"gw {key}\n@revoked gw {key} José’s old one\n")
    known = KnownHosts([tmp_path / "known"], alias=None)
    known.look_up("gw", None)
    assert known.revoked


@pytest.mark.parametrize(("listed", "entry"), [(True, False), (False, True), (True, True)])
def test_a_revoked_key_is_told_with_the_file_that_revokes_it(
    tmp_path: Path, *, listed: bool, entry: bool
) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known, revoked = tmp_path / "known", tmp_path / "revoked"
    known.write_text(f"jump {key}" + (f"@revoked * {key}" if entry else ""))
    revoked.write_text(key if listed else "")
    there = settings_of(
        tmp_path,
        userknownhostsfile=(str(known), str(tmp_path / "other")),
        globalknownhostsfile=("none",),
        revokedhostkeys=(str(revoked),),
    )
    told = seen(there, asyncssh.HostKeyNotVerifiable("Host key is revoked"), failures.Way())
    assert "its host key is refused: Host key is revoked" in told
    assert (f"{revoked} (RevokedHostKeys)" in told) is listed
    assert (f"{known} (@revoked)" in told) is entry
    assert str(tmp_path / "other") not in told


@pytest.mark.parametrize(
    ("values", "todo"),
    [
        ({}, "To accept it, connect once with `ssh ops@jump` and say yes"),
        ({"stricthostkeychecking": ("ask",)}, "connect once with `ssh ops@jump` and say yes"),
        ({"stricthostkeychecking": ("true",)}, "once with `ssh -o StrictHostKeyChecking=ask ops@jump` and"),
        (
            {"stricthostkeychecking": ("false",), "userknownhostsfile": ("/dev/null",)},
            "let your configuration keep it for this host, where the first name of UserKnownHostsFile is no file now, "
            "then connect once with `ssh -o StrictHostKeyChecking=ask ops@jump` and say yes",
        ),
        (
            {"userknownhostsfile": ("/dev/null ~/.ssh/work",)},
            "where the first name of UserKnownHostsFile is no file now, then connect once with `ssh ops@jump`",
        ),
        (
            {"userknownhostsfile": ("~/.ssh/work /dev/null",)},
            "To accept it, connect once with `ssh ops@jump`",
        ),
        ({"batchmode": ("yes",)}, "connect once with `ssh -o BatchMode=no ops@jump` and say yes"),
    ],
    ids=["usual", "ask", "yes", "no, and kept nowhere", "first nowhere", "second nowhere", "batch"],
)
def test_how_to_accept_an_unknown_key_is_a_way_that_ssh_goes(
    tmp_path: Path, values: dict[str, tuple[str, ...]], todo: str
) -> None:
    witness = Witness()
    witness.key = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    told = seen(
        settings_of(tmp_path, **values),
        asyncssh.HostKeyNotVerifiable("Host key is not trusted"),
        failures.Way(),
        witness,
    )
    assert "its host key is not known" in told
    assert todo in told


def test_a_changed_key_is_taken_out_of_each_file_that_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    own, of_system = tmp_path / "work hosts", tmp_path / "etc" / "ssh_known_hosts"
    of_system.parent.mkdir()
    own.write_text(f"[jump]:2222 {old}")
    of_system.write_text(f"other {old}[jump]:2222,10.0.43.50 {old}")
    (tmp_path / "without").write_text(f"jump,other {old}")
    witness = Witness()
    witness.key = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()

    def told(*files: Path) -> str:
        there = settings_of(
            tmp_path,
            port=("2222",),
            userknownhostsfile=tuple(map(str, files)),
            globalknownhostsfile=(str(of_system),),
        )
        changed = asyncssh.HostKeyNotVerifiable("Host key is not trusted")
        said = seen(there, changed, failures.Way(), witness)
        assert "its host key has changed" in said
        return said.partition("If it is right: ")[2]

    monkeypatch.setattr(os, "access", lambda folder, _: folder != of_system.parent)
    entry = "-R '[jump]:2222'`"
    from_system = f"`ssh-keygen -f {of_system} {entry} as root, then"
    assert told(own, tmp_path / "without").startswith(f"`ssh-keygen -f '{own}' {entry} and {from_system}")
    assert told(Path("/dev/null")).startswith(from_system)
    # What is known without a port counts for each of them, and has no other name there.
    of_system.unlink()
    name = f"`ssh-keygen -f {tmp_path / 'without'} -R jump`, then connect once"
    assert told(tmp_path / "without").startswith(name)


def test_another_key_of_the_address_is_taken_out_where_it_stands(tmp_path: Path) -> None:
    key, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    (tmp_path / "names").write_text(f"jump {key.export_public_key().decode()}")
    (tmp_path / "addresses").write_text(f"10.0.43.50 {other.export_public_key().decode()}")
    there = settings_of(
        tmp_path,
        checkhostip=("yes",),
        userknownhostsfile=(str(tmp_path / "names"), str(tmp_path / "addresses")),
        globalknownhostsfile=("none",),
    )
    assert there.known_hosts("jump", "10.0.43.50", None)[0] == []
    witness = Witness()
    witness.key = key.convert_to_public()
    told = seen(there, asyncssh.HostKeyNotVerifiable("Host key is not trusted"), failures.Way(), witness)
    assert f"`ssh-keygen -f {tmp_path / 'addresses'} -R 10.0.43.50` once you are sure" in told
