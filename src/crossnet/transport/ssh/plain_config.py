"""ssh_config(5) for a controller without `ssh`: the plain part of it, and a refusal where there is more.

Host, Include, and Match by names are read. What only `ssh` itself can tell (a command's answer, a canonical name),
and keywords on which depends who is reached or trusted and that are not honoured, are refused with file and line.
"""

from __future__ import annotations

import getpass
import glob
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from crossnet.transport.ssh import files as ssh_files
from crossnet.transport.ssh.destination import Destination

_DEPTH = 16  # readconf.c: READCONF_MAX_DEPTH

# Of these every value counts; of all others the first one.
_MANY = {"identityfile", "certificatefile"}

# Without `ssh` nobody evaluates them.
_ONLY_SSH = {
    "canonicalizehostname",
    "proxycommand",
    "revokedhostkeys",
    "knownhostscommand",
    "refuseconnection",
}
_ALGORITHMS = {
    "casignaturealgorithms",
    "ciphers",
    "hostkeyalgorithms",
    "kexalgorithms",
    "macs",
    "pubkeyacceptedalgorithms",
    "pubkeyacceptedkeytypes",
}
_HARMLESS = {"no", "none", "false"}

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def read(
    destination: Destination, files: Iterable[tuple[Path, Path]], *, home: str
) -> Mapping[str, tuple[str, ...]]:
    """Keywords in small letters with their values; `files` come with the folder of their Include.

    ValueError says file and line.
    """
    reading = _Reading(destination, home)
    for file, base in files:
        if file.is_file():
            reading.read(file, base, matching=True, depth=0)
    return reading.values


def is_include(line: str) -> bool:
    return re.match(r"\s*include[\s=]", line, re.IGNORECASE) is not None


def words(line: str) -> list[str]:
    """The keyword and its arguments: blanks or one = after the keyword, double quotes around what has blanks."""
    found = re.match(r"\s*([^\s=\"]+)\s*=?\s*(.*?)\s*$", line)
    if found is None or line.lstrip().startswith("#"):
        return []
    rest = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^\s"]+)', found[2])]
    comment = next((number for number, word in enumerate(rest) if word.startswith("#")), len(rest))
    return [found[1], *rest[:comment]]


def whole(pattern: str, base: Path, home: str) -> str:
    """The name in an Include, which may begin with ~ or in the folder of the configuration."""
    if pattern.startswith("~/"):
        return home + pattern[1:]
    return pattern if pattern.startswith(("/", "~", "$")) else str(base / pattern)


def seconds(text: str) -> int:
    """A time of sshd_config(5), such as 90, 10s or 1m30s; ValueError for anything else."""
    parts = re.findall(r"(\d+)([smhdw]?)", text.lower())
    if not parts or "".join(number + unit for number, unit in parts) != text.lower():
        raise ValueError(f"{text!r} is not a time: write 90, 10s or 1m30s")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


class _Reading:
    def __init__(self, destination: Destination, home: str) -> None:
        self._destination = destination
        self._home = home
        self.values: dict[str, tuple[str, ...]] = {}
        if destination.user is not None:
            self.values["user"] = (destination.user,)
        if destination.port is not None:
            self.values["port"] = (str(destination.port),)

    def read(self, file: Path, base: Path, *, matching: bool, depth: int) -> None:
        if depth > _DEPTH:
            raise ValueError(f"{file}: Include leads in circles")
        text = ssh_files.read_config(file, self._home).decode(errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            keyword, *values = words(line) or [""]
            keyword = keyword.lower()
            try:
                match keyword:
                    case "host":
                        matching = _matches(values, self._destination.host)
                    case "match":
                        matching = self._match(values)
                    case "include" if matching:
                        for pattern in values:
                            for name in sorted(glob.glob(whole(pattern, base, self._home))):
                                self.read(Path(name), base, matching=True, depth=depth + 1)
                    case "" | "include":
                        pass
                    case _ if matching:
                        self._set(keyword, values)
            except _Refused as error:
                raise ValueError(f"{file} line {number}: {error}") from None

    def _set(self, keyword: str, values: list[str]) -> None:
        if not values:
            raise _Refused(f"{keyword} has no value")
        if keyword in _ONLY_SSH and values[0].lower() not in _HARMLESS:
            raise _Refused(
                f"{keyword} cannot be honoured without the `ssh` program: install OpenSSH's client here"
            )
        if keyword in _ALGORITHMS and values[0][0] in "+-^":
            raise _Refused(
                f"{keyword} {values[0][0]}… cannot be resolved without the `ssh` program: write the whole list"
            )
        if keyword in _MANY:
            self.values[keyword] = (*self.values.get(keyword, ()), values[0])
            return
        if keyword == "hostname":
            values = [values[0].replace("%h", self._destination.host).replace("%%", "%")]
        if keyword == "connecttimeout" and values[0].lower() != "none":
            values = [str(_checked(seconds, values[0]))]
        if keyword == "port":
            values = [str(_checked(int, values[0]))]
        self.values.setdefault(keyword, (" ".join(values),))

    def _match(self, values: list[str]) -> bool:
        matching = True
        words = iter(values)
        for word in words:
            criterion = word.lower().removeprefix("!")
            subject = {
                "host": (self.values.get("hostname") or (self._destination.host,))[0],
                "originalhost": self._destination.host,
                "user": (self.values.get("user") or (getpass.getuser(),))[0],
                "localuser": getpass.getuser(),
            }.get(criterion)
            if criterion == "all":
                found = True
            elif subject is not None:
                found = _matches(next(words, "").split(","), subject)
            else:
                raise _Refused(
                    f"Match {criterion} cannot be resolved without the `ssh` program: install OpenSSH's client here"
                )
            matching = matching and found != word.startswith("!")
        return matching


class _Refused(ValueError):
    pass


def _checked(read: Callable[[str], int], text: str) -> int:
    try:
        return read(text)
    except ValueError as error:
        raise _Refused(str(error)) from None


def _matches(patterns: Iterable[str], name: str) -> bool:
    """ssh_config(5), PATTERNS: one has to match, none with a ! before it."""
    named = False
    for pattern in patterns:
        # Only * and ? are wild there.
        if fnmatchcase(name.lower(), pattern.removeprefix("!").lower().replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            named = True
    return named
