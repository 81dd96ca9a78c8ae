"""What crossnet makes of ssh_config(5), asked of the `ssh` of this machine; nothing is connected."""

from __future__ import annotations

import asyncio
import builtins
import errno
import grp
import os
import pwd
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from crossnet.errors import HostError
from crossnet.site import Ways
from crossnet.spec import HostSpec
from crossnet.transport.ssh import Ssh, configuration, failures, files, settings
from crossnet.transport.ssh.destination import parse
from crossnet.transport.ssh.hostkeys import Witness
from crossnet.transport.ssh.settings import REFUSED, Refusal, Settings
from lacking import lacking

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "ssh.md"

# Every keyword of ssh_config(5) in OpenSSH 9.2, as the manual spells it.
KEYWORDS = (
    "Host",
    "Match",
    "AddKeysToAgent",
    "AddressFamily",
    "BatchMode",
    "BindAddress",
    "BindInterface",
    "CanonicalDomains",
    "CanonicalizeFallbackLocal",
    "CanonicalizeHostname",
    "CanonicalizeMaxDots",
    "CanonicalizePermittedCNAMEs",
    "CASignatureAlgorithms",
    "CertificateFile",
    "CheckHostIP",
    "Ciphers",
    "ClearAllForwardings",
    "Compression",
    "ConnectionAttempts",
    "ConnectTimeout",
    "ControlMaster",
    "ControlPath",
    "ControlPersist",
    "DynamicForward",
    "EnableEscapeCommandline",
    "EnableSSHKeysign",
    "EscapeChar",
    "ExitOnForwardFailure",
    "FingerprintHash",
    "ForkAfterAuthentication",
    "ForwardAgent",
    "ForwardX11",
    "ForwardX11Timeout",
    "ForwardX11Trusted",
    "GatewayPorts",
    "GlobalKnownHostsFile",
    "GSSAPIAuthentication",
    "GSSAPIClientIdentity",
    "GSSAPIDelegateCredentials",
    "GSSAPIKeyExchange",
    "GSSAPIKexAlgorithms",
    "GSSAPIRenewalForcesRekey",
    "GSSAPIServerIdentity",
    "GSSAPITrustDns",
    "HashKnownHosts",
    "HostbasedAcceptedAlgorithms",
    "HostbasedAuthentication",
    "HostKeyAlgorithms",
    "HostKeyAlias",
    "HostName",
    "IdentitiesOnly",
    "IdentityAgent",
    "IdentityFile",
    "IgnoreUnknown",
    "Include",
    "IPQoS",
    "KbdInteractiveAuthentication",
    "KbdInteractiveDevices",
    "KexAlgorithms",
    "KnownHostsCommand",
    "LocalCommand",
    "LocalForward",
    "LogLevel",
    "LogVerbose",
    "MACs",
    "NoHostAuthenticationForLocalhost",
    "NumberOfPasswordPrompts",
    "PasswordAuthentication",
    "PermitLocalCommand",
    "PermitRemoteOpen",
    "PKCS11Provider",
    "Port",
    "PreferredAuthentications",
    "ProxyCommand",
    "ProxyJump",
    "ProxyUseFdpass",
    "PubkeyAcceptedAlgorithms",
    "PubkeyAuthentication",
    "RekeyLimit",
    "RemoteCommand",
    "RemoteForward",
    "RequestTTY",
    "RequiredRSASize",
    "RevokedHostKeys",
    "SecurityKeyProvider",
    "SendEnv",
    "ServerAliveCountMax",
    "ServerAliveInterval",
    "SessionType",
    "SetEnv",
    "StdinNull",
    "StreamLocalBindMask",
    "StreamLocalBindUnlink",
    "StrictHostKeyChecking",
    "SyslogFacility",
    "TCPKeepAlive",
    "Tunnel",
    "TunnelDevice",
    "UpdateHostKeys",
    "User",
    "UserKnownHostsFile",
    "VerifyHostKeyDNS",
    "VisualHostKey",
    "XAuthLocation",
)

# Since then; a version that does not know one says so itself.
LATER = (
    "ChannelTimeout",
    "ObscureKeystrokeTiming",
    "RefuseConnection",
    "Tag",
    "VersionAddendum",
    "WarnWeakCrypto",
)

# A value that makes a difference to the plain `ssh web`, for what is done as `ssh` does it.
SAME = {
    "AddressFamily": "inet6",
    "BindAddress": "192.0.2.7",
    "CASignatureAlgorithms": "ssh-ed25519",
    "CertificateFile": "~/cert.pub",
    "CheckHostIP": "yes",
    "Ciphers": "aes256-ctr",
    "Compression": "yes",
    "ConnectTimeout": "1m10s",
    "GlobalKnownHostsFile": "/etc/other",
    "GSSAPIAuthentication": "yes",
    "Host": "web\n  Port 24",
    "HostKeyAlgorithms": "rsa-sha2-512",
    "HostKeyAlias": "other",
    "HostName": "%h.example",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "~/agent-%h",
    "IdentityFile": "~/.ssh/%n",
    "Include": "~/more/*.conf",
    "KexAlgorithms": "curve25519-sha256",
    "MACs": "-hmac-sha1",
    "Match": 'exec "test %h = web"\n  Port 24',
    "Port": "24",
    "PreferredAuthentications": "publickey",
    "ProxyCommand": "nc %h %p",
    "ProxyJump": "jump",
    "PubkeyAcceptedAlgorithms": "ssh-ed25519",
    "PubkeyAuthentication": "no",
    "RekeyLimit": "1G 1h",
    "RequiredRSASize": "3072",
    "RevokedHostKeys": "~/revoked",
    "TCPKeepAlive": "no",
    "User": "somebody",
    "UserKnownHostsFile": "~/%h /etc/second",
}

# A value other than the usual one, of what `ssh` is to refuse here or what has no effect.
OTHER = {
    "BindInterface": "lo",
    "GSSAPIClientIdentity": "me\nGSSAPIAuthentication yes",
    "GSSAPIServerIdentity": "host\nGSSAPIAuthentication yes",
    "HostbasedAuthentication": "yes",
    "KnownHostsCommand": "/bin/cat /dev/null",
    "PKCS11Provider": "/usr/lib/opensc.so",
    "ProxyUseFdpass": "yes",
    "SecurityKeyProvider": "/usr/lib/sk.so",
    "AddKeysToAgent": "yes",
    "BatchMode": "yes",
    "ClearAllForwardings": "yes",
    "ConnectionAttempts": "3",
    "ControlMaster": "auto",
    "ControlPath": "~/control",
    "ControlPersist": "yes",
    "DynamicForward": "1080",
    "EscapeChar": "none",
    "FingerprintHash": "md5",
    "ForwardAgent": "yes",
    "HashKnownHosts": "yes",
    "IPQoS": "cs1",
    "LocalCommand": "echo\nPermitLocalCommand yes",
    "LocalForward": "8080 localhost:80",
    "LogLevel": "DEBUG",
    "NoHostAuthenticationForLocalhost": "yes",
    "NumberOfPasswordPrompts": "1",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "RemoteCommand": "uptime",
    "RemoteForward": "8080 localhost:80",
    "RequestTTY": "force",
    "SendEnv": "LANG",
    "ServerAliveCountMax": "7",
    "ServerAliveInterval": "3m",
    "SessionType": "none",
    "SetEnv": "A=b",
    "StdinNull": "yes",
    "StrictHostKeyChecking": "no",
    "Tunnel": "yes",
    "UpdateHostKeys": "no",
    "VerifyHostKeyDNS": "yes",
    "VisualHostKey": "yes",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    mask = os.umask(0o022)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / "revoked").write_text("")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.conf").write_text("User somebody\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    yield tmp_path
    os.umask(mask)


def meant(home: Path, text: str, destination: str = "web") -> Settings:
    (home / ".ssh" / "config").write_text(text)
    return asyncio.run(settings.read(parse(destination)))


def told(home: Path, text: str) -> dict[str, object]:
    """Everything that a configuration comes to, as values that can be compared."""
    found = meant(home, text)
    known = found.known_hosts
    keywords = {key: value for key, value in found.keywords.items() if key != "known_hosts"}
    keywords["client_keys"] = keywords["agent_identities"] = None
    return {
        **{field: getattr(found, field) for field in ("user", "host", "port", "jumps", "proxy", "agent")},
        "time": found.connect_timeout,
        "bits": found.least_rsa_bits,
        "identities": found.identities,
        "known": {key: value for key, value in vars(known).items() if key not in ("_asked", "entry")},
        **keywords,
    }


def table() -> dict[str, str]:
    """Keyword and what becomes of it, from the page."""
    return dict(re.findall(r"^\| `(\w+)` \| (same|refused|without effect)\b", PAGE.read_text(), re.MULTILINE))


def test_the_page_has_every_keyword() -> None:
    assert sorted(table()) == sorted((*KEYWORDS, *LATER))
    assert {keyword for keyword, becomes in table().items() if becomes == "refused"} == set(REFUSED)


def test_this_ssh_knows_no_keyword_that_the_page_lacks(home: Path) -> None:
    (home / ".ssh" / "config").write_text("")
    found = asyncio.run(configuration.read(parse("web"), None)).values
    assert set(found) - {"host"} <= {keyword.lower() for keyword in table()}


@pytest.mark.parametrize("keyword", [word for word in (*KEYWORDS, *LATER) if word in SAME])
def test_what_is_the_same_makes_its_difference(home: Path, keyword: str) -> None:
    assert table()[keyword] == "same"
    plain = told(home, "")
    if keyword == "IdentitiesOnly":
        with pytest.raises(ValueError, match="IdentitiesOnly is set"):
            meant(home, "IdentitiesOnly yes\nIdentityFile ~/none\n")
    elif keyword == "CertificateFile":
        assert "certificatefile" in asyncio.run(_values(home, f"{keyword} {SAME[keyword]}\n"))
    elif keyword == "RevokedHostKeys":
        with pytest.raises(ValueError, match=r"RevokedHostKeys: .*none cannot be read"):
            meant(home, "RevokedHostKeys ~/none\n")
    elif keyword == "GSSAPIAuthentication":
        assert told(home, "GSSAPIAuthentication no\n")["gss_auth"] is False
        assert told(home, "GSSAPIAuthentication yes\n")["gss_auth"] is True
    else:
        assert told(home, f"{keyword} {SAME[keyword]}\n") != plain


async def _values(home: Path, text: str) -> Mapping[str, tuple[str, ...]]:
    (home / ".ssh" / "config").write_text(text)
    return (await configuration.read(parse("web"), None)).values


@pytest.mark.parametrize("keyword", [word for word in KEYWORDS if word in REFUSED])
def test_what_cannot_be_honoured_is_refused_by_its_name(home: Path, keyword: str) -> None:
    more = "\nProxyCommand nc %h %p" if keyword == "ProxyUseFdpass" else ""
    with pytest.raises(Refusal, match=f"`{keyword}` in your configuration") as caught:
        meant(home, f"Host web\n  {keyword} {OTHER[keyword]}{more}\n")
    assert caught.value.todo
    meant(home, f"Host another\n  {keyword} {OTHER[keyword]}{more}\n")


@pytest.mark.parametrize("keyword", [word for word in OTHER if word not in REFUSED])
def test_what_is_without_effect_changes_nothing(home: Path, keyword: str) -> None:
    assert table()[keyword] == "without effect"
    assert told(home, f"{keyword} {OTHER[keyword]}\n") == told(home, "")


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("Match originalhost web user somebody\n Port 24\nUser somebody\n", 22),
        ("User somebody\nMatch originalhost web user somebody\n Port 24\n", 24),
        ("Match localuser nobody-at-all\n Port 24\n", 22),
        ("HostName 192.0.2.1\nMatch host 192.0.2.1\n Port 24\n", 24),
        ("Match final host 192.0.2.1\n Port 24\nHost web\n HostName 192.0.2.1\n", 24),
        ("Host w?b !web\n Port 24\n", 22),
        ("Host other\n Include ~/more/*.conf\nHost *\n Port 25\n", 25),
    ],
)
def test_match(home: Path, text: str, port: int) -> None:
    assert meant(home, text).port == port


@pytest.mark.parametrize("pattern", ["more/*.conf", "~/.ssh/more/*.conf", "{home}/.ssh/more/b.conf"])
def test_include_is_of_this_home(home: Path, pattern: str) -> None:
    (home / ".ssh" / "more").mkdir()
    (home / ".ssh" / "more" / "b.conf").write_text("Host web\n Port 24\n Include third\n")
    (home / ".ssh" / "third").write_text("User third\n")
    found = meant(home, f"Include {pattern.format(home=home)}\nPort 25\nHost *\n User nobody\n")
    assert (found.port, found.user) == (24, "third")


def test_tokens_of_a_proxy_and_of_files(home: Path) -> None:
    found = meant(
        home,
        "HostName %h.example\nPort 24\nUser u\nProxyCommand nc -X '5 4' %h %p %r %n %%\n"
        "UserKnownHostsFile ~/known-%n-%p\nIdentityAgent ~/a-%r\nIdentityFile %d/%h\n",
    )
    assert found.proxy == "nc -X '5 4' web.example 24 u web %"
    assert home / "known-web-24" in found.known_hosts.files
    assert found.agent == str(home / "a-u")


def test_each_jump_host_over_those_before_it(home: Path) -> None:
    assert meant(home, "ProxyJump a,u@10.0.0.1:24\n").jumps == "a,u@[10.0.0.1]:24"
    assert meant(home, "ProxyCommand nc %h %p\nHost *\n ProxyJump a\n").jumps == ""
    found = asyncio.run(settings.read(parse("web"), "a,b"))
    assert (found.jumps, found.proxy) == ("a,b", "")


def test_errors_are_told_as_ssh_tells_them(home: Path) -> None:
    config = home / ".ssh" / "config"
    with pytest.raises(ValueError, match=re.escape(f"`ssh -G` says: {config} line 2: Bad port 'many'.")):
        meant(home, "Host *\nPort many\n")
    (home / ".ssh" / "more").write_text("NoSuchWord yes\n")
    with pytest.raises(ValueError, match=re.escape(f"{home}/.ssh/more: line 1: Bad configuration option")):
        meant(home, "Include more\n")


def test_what_match_exec_complains_of_does_not_hide_the_mistake(home: Path) -> None:
    config = home / ".ssh" / "config"
    with pytest.raises(ValueError, match=re.escape(f"`ssh -G` says: {config} line 3: Bad port 'many'.")):
        meant(home, 'Match exec "echo noise >&2"\nHost *\nPort many\n')


def test_a_known_hosts_file_may_have_blanks_in_its_name(home: Path) -> None:
    (home / "my known hosts").touch()
    (home / "my").touch()
    found = meant(home, f'UserKnownHostsFile "{home}/my known hosts" {home}/other {home}/my\n')
    assert found.known_hosts.files[:3] == (home / "my known hosts", home / "other", home / "my")


@pytest.mark.parametrize("ssh", [True, False])
def test_a_comment_of_the_configuration_ends_where_ssh_has_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, ssh: bool
) -> None:
    if not ssh:
        monkeypatch.setenv("PATH", str(home))
    found = meant(home, "Host *\r\n# by José\fPort 25\n# so\x85Port 26\n# so\u2028Port 27\nPort 24\r\n")
    assert found.port == 24


@pytest.mark.parametrize("ssh", [True, False])
@pytest.mark.parametrize("name", ["config", "more"])
@pytest.mark.parametrize("mode", [0o646, 0o664, None])
def test_a_configuration_that_others_can_write_to_is_refused_as_ssh_refuses_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None, name: str, *, ssh: bool
) -> None:
    """It says who is reached and trusted, and can name commands."""
    if not ssh:
        monkeypatch.setenv("PATH", str(home))
    monkeypatch.setattr(files, "_has_group_alone", lambda _: False)
    more = home / ".ssh" / "more"
    more.write_text("Port 24\n")
    text = "Include more\n"
    assert meant(home, text).port == 24
    file = home / ".ssh" / name
    if mode is not None:
        file.chmod(mode)
    elif os.getuid() == 0:
        os.chown(file, 65534, 65534)
    else:
        lacking("only root can give a file away")
    with pytest.raises(ValueError, match=re.escape(f"{file}: bad owner or permissions")):
        meant(home, text)


def test_the_owner_of_the_home_and_a_group_of_its_owner_alone_may_write(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under `sudo -E`, and where every user has a group to himself and the umask is 002."""
    if os.getuid() != 0:
        lacking("only root can give a file away")
    config = home / ".ssh" / "config"
    config.write_text("Port 24\n")
    for file in (home, config):
        os.chown(file, 4711, 4711)
    assert meant(home, "Port 24\n").port == 24
    config.chmod(0o664)
    own = pwd.struct_passwd(("me", "x", 4711, 4711, "", str(home), "/bin/sh"))
    other = pwd.struct_passwd(("you", "x", 4712, 4712, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {4711: own, 0: _ROOT}[uid])
    monkeypatch.setattr(pwd, "getpwall", lambda: [_ROOT, own, other])
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(("me", "x", 4711, [])))
    assert meant(home, "Port 24\n").port == 24
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(("me", "x", 4711, ["you"])))
    with pytest.raises(ValueError, match="bad owner or permissions"):
        meant(home, "Port 24\n")


_ROOT = pwd.struct_passwd(("root", "x", 0, 0, "", "/root", "/bin/sh"))


def test_match_exec_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "_TIME", 0.5)
    with pytest.raises(ValueError, match="did not end within"):
        meant(home, f'Match exec "echo $$ > {home}/pid; exec sleep 60"\n Port 24\n')
    stat = Path(f"/proc/{(home / 'pid').read_text().strip()}/stat")
    # Killed it is; nobody but process 1 can tell when it takes the dead one away.
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_the_usual_home_is_left_to_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of its own stands in between where $HOME is what passwd(5) says."""
    monkeypatch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    monkeypatch.setattr(configuration, "_Copies", _NeverBoth)
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert asyncio.run(configuration.read(parse("u@web"), None)).user == "u"


def test_a_full_folder_for_temporary_files_is_told_as_that(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(home / "gone"))
    with pytest.raises(HostError, match="or name a folder that has some in TMPDIR") as told:
        asyncio.run(Ssh("web", "ssh://root@127.0.0.1:1").run(["true"]))
    assert "Check ~/.ssh/config" not in str(told.value)


@pytest.mark.parametrize("full", [True, False])
def test_what_asyncssh_needs_a_temporary_file_for_is_no_mistake_of_crossnet(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, full: bool
) -> None:
    why = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    def load(name: str, *more: Any, **words: Any) -> Any:
        if name == "crossnet.transport.ssh":
            raise why
        return imported(name, *more, **words)

    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", load)
    if full:
        monkeypatch.setattr(tempfile, "tempdir", str(home / "gone"))
    app = HostSpec("app", ssh="root@192.0.2.1")
    with pytest.raises(HostError if full else FileNotFoundError) as told:
        Ways().to(app)
    assert str(told.value).startswith(f"app: tried to load what connects with SSH: {why.strerror}") is full


class _NeverBoth:
    def __init__(self, *_: object) -> None:
        pass

    def of_both(self) -> Path:
        raise AssertionError

    def with_true_names(self, text: str) -> str:
        return text


_LARGE = "UserKnownHostsFile", "GlobalKnownHostsFile", "RevokedHostKeys", "Include"


@pytest.mark.parametrize("keyword", _LARGE)
def test_what_is_too_large_for_a_file_of_ssh_is_not_read(home: Path, keyword: str) -> None:
    """Such as /dev/zero; the file is a sparse one, so that reading all of it would not end the test."""
    with (home / "large").open("wb") as large:
        large.truncate(files.LARGEST + 1)
    with pytest.raises(ValueError, match=re.escape(f"{home}/large cannot be read: it is larger than")):
        meant(home, f"{keyword} {home}/large\n")


def test_a_pipe_is_named_where_ssh_waits_for_a_configuration(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the usual home it is `ssh` that reads all of it."""
    monkeypatch.setattr(configuration, "_TIME", 0.5)
    monkeypatch.setattr(configuration, "_home_in_passwd", lambda: str(home))
    ssh = home / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {home}/.ssh/config "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(home))
    os.mkfifo(home / "pipe")
    with pytest.raises(ValueError, match=r"within 0\.5 s; see `Match exec`, and an `Include` that is a pipe"):
        meant(home, f"Include {home}/pipe\n")


@pytest.mark.parametrize("keyword", ["IdentityFile", "CertificateFile"])
def test_a_file_of_a_user_who_is_gone_is_told_of_its_host(home: Path, keyword: str) -> None:
    (home / ".ssh" / "config").write_text(f"{keyword} ~gone-from-here/.ssh/id\n")
    with pytest.raises(HostError, match="gone-from-here") as told:
        asyncio.run(Ssh("web", "ssh://root@127.0.0.1:1").run(["true"]))
    assert "read how to connect to ssh://root@127.0.0.1:1" in str(told.value)
    assert "Check ~/.ssh/config" in str(told.value)


def test_keys_that_were_offered_are_told_without_those_of_a_user_who_is_gone(home: Path) -> None:
    there = replace(meant(home, ""), identities=("~gone-from-here/.ssh/id",))
    error = asyncssh.PermissionDenied("no")
    told = asyncio.run(failures.not_connected("web", there, Witness(), failures.Way(), error))
    assert "there was no key to offer" in str(told)


def test_a_pipe_in_place_of_known_hosts_is_not_waited_for_without_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_EACH", 0.2)
    os.mkfifo(home / "pipe")
    with _written_into(home / "pipe"), pytest.raises(ValueError, match="pipe cannot be read: it did not end"):
        meant(home, f"UserKnownHostsFile {home}/pipe\n")


@pytest.mark.parametrize("ssh", [True, False])
def test_who_waits_for_a_file_can_be_interrupted(
    home: Path, monkeypatch: pytest.MonkeyPatch, ssh: bool
) -> None:
    """Also where crossnet reads the configuration itself: without `ssh`, and in a home that is not the one of `ssh`."""
    os.mkfifo(home / "pipe")
    if ssh:
        (home / ".ssh" / "config").symlink_to(home / "pipe")
    else:
        monkeypatch.setenv("PATH", str(home))
        (home / ".ssh" / "config").write_text(f"Include {home}/pipe\n")

    async def is_still_waiting(clock: threading.Timer) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await settings.read(parse("web"))
        still = clock.is_alive()
        _end(home / "pipe")
        return still

    with _written_into(home / "pipe") as clock:
        assert asyncio.run(is_still_waiting(clock))


@contextmanager
def _written_into(pipe: Path) -> Iterator[threading.Timer]:
    """Whoever waits for somebody to write into the pipe has waited for five seconds when its end comes."""
    clock = threading.Timer(5, _end, [pipe])
    clock.start()
    try:
        yield clock
    finally:
        clock.cancel()
        _end(pipe)


def _end(pipe: Path) -> None:
    with suppress(OSError):  # nobody waits
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


@pytest.fixture
def no_ssh(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(home))
    return home


def test_without_ssh_the_plain_part_is_read(no_ssh: Path) -> None:
    (no_ssh / ".ssh" / "more").write_text("Port 24\nConnectTimeout 1m10s\n")
    found = meant(
        no_ssh,
        'Host other\n BindInterface lo\nHost w*\n Include more\n User = somebody\n IdentityFile "~/a b"\n'
        "Match host web user somebody\n HostName %h.example # so\n ProxyJump jump\n",
    )
    assert (found.user, found.host, found.port, found.jumps) == ("somebody", "web.example", 24, "jump")
    assert found.connect_timeout == 70
    assert found.identities == ("~/a b",)


@pytest.mark.parametrize(
    "line",
    [
        "Match exec true",
        "Match final",
        "Match canonical",
        "CanonicalizeHostname yes",
        "ProxyCommand nc %h %p",
        "RevokedHostKeys ~/revoked",
        "KnownHostsCommand /bin/true",
        "Ciphers +3des-cbc",
        "ConnectTimeout soon",
    ],
)
def test_without_ssh_what_only_ssh_can_tell_is_refused(no_ssh: Path, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{no_ssh}/.ssh/config line 2: ")):
        meant(no_ssh, f"Host web\n{line}\n")
    if not line.startswith("Match"):
        meant(no_ssh, f"Host other\n{line}\n")


@pytest.mark.parametrize(
    "destination",
    [
        "a;b",
        "a$b",
        "a`b`",
        "-oX",
        "a|b",
        "u;v@a",
        "u'v@a",
        "-u@a",
        "u -o@a",
        "u\\@a",
        "ssh://u%3Bv@a",
        "a\x1bb",
    ],
)
def test_names_with_signs_of_the_shell_are_refused(destination: str) -> None:
    with pytest.raises(ValueError, match=r"`ssh` refuses|names no host"):
        parse(destination)


@pytest.mark.parametrize(
    "line",
    [
        "HostName ops:geheim@10.0.0.1",
        "HostName ssh://ops:geheim@10.0.0.1",
        "User ops:geheim",
        "ProxyJump ops:geheim@bastion",
        "KnownHostsCommand /bin/lookup --token geheim",
        "PKCS11Provider pkcs11:token=x?pin-value=geheim",
    ],
)
def test_a_password_in_the_configuration_is_not_repeated(home: Path, line: str) -> None:
    async def reach() -> None:
        await Ssh("app", "web").run(["true"])

    (home / ".ssh" / "config").write_text(f"Host web\n  {line}\n")
    with pytest.raises(HostError) as caught:
        asyncio.run(reach())
    assert "geheim" not in str(caught.value)
    assert "configuration" in str(caught.value) or "ssh_config" in str(caught.value)


@pytest.mark.parametrize(
    "destination", ["ssh://u:geheim@a", "ssh://u:geheim@a:22", "u:geheim@a", "ssh://u%3Ageheim@a:x"]
)
def test_a_password_is_refused_and_not_repeated(destination: str) -> None:
    with pytest.raises(ValueError, match="password") as caught:
        parse(destination)
    assert "geheim" not in str(caught.value)
