"""What stands behind `ssh:` in a spec, read as `ssh` itself reads its first argument."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from urllib.parse import unquote

from crossnet.values import without_password

_SCHEME = "ssh://"


@dataclass(frozen=True, slots=True)
class Destination:
    """An alias or a host; None where ~/.ssh/config or a default decides."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        """What `ssh` takes to get there."""
        user = f"{self.user}@" if self.user else ""
        if self.port is None:
            return f"{user}{self.host}"
        return f"{_SCHEME}{user}{bracketed(self.host)}:{self.port}"


def parse(text: str) -> Destination:
    """`alias`, `user@host` or `ssh://user@host:port`; ValueError says what is wrong and how to write it."""
    without_password(text)
    if text.startswith(_SCHEME):
        user, host, port = _split(text.removeprefix(_SCHEME).removesuffix("/"), text)
        return Destination(_host(host, text), _user(unquote(user), text), port)
    # ssh(1): the last @ separates, so that a user's name may hold one.
    user, _, host = text.rpartition("@")
    if ":" in host and not _is_ipv6(host):
        bare, _, port_text = host.rpartition(":")
        raise ValueError(
            f"`ssh` takes no port after a colon: write {_SCHEME}{user}{'@' if user else ''}"
            f"{bracketed(bare.strip('[]'))}:{port_text}, or an alias with `Port` in ~/.ssh/config"
        )
    return Destination(_host(host, text), _user(user, text))


def parse_jump(text: str) -> Destination:
    """One host of `ProxyJump` in ssh_config(5): [user@]host[:port] or an ssh:// URI."""
    if text.startswith(_SCHEME):
        return parse(text)
    without_password(text)
    user, host, port = _split(text, text)
    return Destination(_host(host, text), _user(user, text), port)


def bracketed(host: str) -> str:
    """As it stands before a colon and a port (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _split(authority: str, text: str) -> tuple[str, str, int | None]:
    user, _, place = authority.rpartition("@")
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        if not closed or not _is_address(host) or rest[:1] not in ("", ":"):
            raise ValueError(f"{text!r}: an IPv6 address stands in brackets, such as [2001:db8::1]:22")
        return user, host, _port(rest[1:], text)
    host, _, port = place.partition(":")
    if ":" in port:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, such as [2001:db8::1]:22")
    return user, host, _port(port, text)


def _port(digits: str, text: str) -> int | None:
    if not digits:
        return None
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536):
        raise ValueError(f"{text!r}: {digits!r} is no port: 1 to 65535")
    return int(digits)


# What `ssh` refuses since 9.6 (ssh.c: valid_hostname, valid_ruser), since it would reach a shell through the tokens
# of ProxyCommand and `Match exec`; a leading hyphen would be an option.
_FOR_A_SHELL = "'`\"\\;&<>|(){}"


def _host(host: str, text: str) -> str:
    if not host or any(sign in "/," or sign.isspace() for sign in host):
        raise ValueError(f"{text!r} names no host: write an alias, user@host or ssh://user@host:port")
    if host.startswith("-") or any(sign in _FOR_A_SHELL + "$" or not sign.isprintable() for sign in host):
        raise ValueError(
            f"{text!r}: `ssh` refuses a host's name with a leading hyphen or a shell metacharacter"
        )
    return host


def _user(user: str, text: str) -> str | None:
    if user.startswith("-") or any(
        sign in _FOR_A_SHELL.replace("\\", "") or not sign.isprintable() for sign in user
    ):
        raise ValueError(
            f"{text!r}: `ssh` refuses a user's name with a leading hyphen or a shell metacharacter"
        )
    if user.endswith("\\") or any(before.isspace() and sign == "-" for before, sign in pairwise(user)):
        raise ValueError(f"{text!r}: `ssh` refuses a user's name with \\ at its end or an option in it")
    return user or None


def _is_ipv6(host: str) -> bool:
    return ":" in host and _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
