"""Whether the login shell of an account, and sudo behind it, pass on what they are given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from crossnet.errors import HostError
from crossnet.values import Address, address

# Everything that csh, fish and the like read otherwise than sh inside single quotes.
WORDS = "it's \"$HOME\" `id` \\\\ \\' ! * ~\n{a,b} "


@dataclass(frozen=True, slots=True)
class Answer:
    """What printing the words gave."""

    status: int | None  # None: it printed without an end
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """The last line on standard error: what stands before it may be a profile's."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else f"exit code {self.status} without a word"


# For any shell: where the connection comes from and where it arrives, in a line of its own.
ENDS = 'printf "SSH_CONNECTION=%s\\n" "$SSH_CONNECTION"; '
_ENDS = re.compile(rb"SSH_CONNECTION=([^\n]*)\n")


def without_ends(answer: Answer) -> tuple[Answer, Address | None, Address | None]:
    """The answer without that line, and the client's and the server's address; None where the line does not say."""
    found = _ENDS.search(answer.stdout)
    if found is None:
        return answer, None, None
    rest = replace(answer, stdout=answer.stdout[: found.start()] + answer.stdout[found.end() :])
    with suppress(ValueError):
        client, _, server, _ = found[1].decode(errors="replace").split()
        return rest, address(client), address(server)
    return rest, None, None


def check(host: str, place: str, user: str, words: str, answers: Sequence[Answer]) -> None:
    """HostError unless each answer is the words; the second one, if any, came through sudo."""
    plain, *through_sudo = answers
    if plain.stdout != words.encode():
        raise HostError(host, f"tried the login shell of {place}", *_shell_trouble(user, words, plain))
    for answer in through_sudo:
        if answer.stdout != words.encode():
            raise HostError(host, f"tried `sudo -n` as {place}", *_sudo_trouble(user, answer))


def _shell_trouble(user: str, words: str, answer: Answer) -> tuple[str, str]:
    text = answer.stdout.decode(errors="replace")
    if text.endswith(words) or answer.status is None:
        before = text.removesuffix(words)
        noise = (before.strip().splitlines() or [before])[0][:200]
        return (
            f"its profile prints even where no terminal is: {noise!r}",
            f"Make the profile of {user} silent for commands: in ~/.bashrc, "
            "`case $- in *i*) ;; *) return ;; esac` before anything that prints.",
        )
    if answer.status == 127 and ("sh'" in answer.complaint or "env" in answer.complaint):
        return (
            f"the host has no `sh` in the usual places: {answer.complaint}",
            "crossnet needs a POSIX sh with setsid and head (util-linux and coreutils, or busybox).",
        )
    if answer.status == 127:
        return (
            f"a program is missing there: {answer.complaint}",
            "crossnet needs env, a POSIX sh, setsid and head (coreutils and util-linux, or busybox).",
        )
    seen = text.strip().splitlines()[0][:200] if text.strip() else answer.complaint
    return (
        f"it is not a POSIX shell, or does not run what it is asked to: {seen!r}",
        f"Give {user} one, such as `chsh -s /bin/sh {user}`, without a ForceCommand, or use another account.",
    )


def _sudo_trouble(user: str, answer: Answer) -> tuple[str, str]:
    complaint = answer.complaint
    everything = answer.stderr.decode(errors="replace")
    rule = f"{user} ALL=(root) NOPASSWD: ALL"
    write = f"Write into /etc/sudoers.d/crossnet on the host (with visudo): `{rule}`"
    if user == "root":
        return complaint, "root needs no sudo: leave `become` out."
    if answer.status == 127:
        return f"sudo is not installed: {complaint}", f"Install it and permit {user}, or connect as root."
    if "tty" in everything:
        return f"sudo wants a terminal: {complaint}", f"{write}\n  and `Defaults:{user} !requiretty`."
    if "password is required" in everything:
        return f"sudo wants a password: {complaint}", f"{write}."
    if any(word in everything for word in ("not allowed", "not in the sudoers", "may not run")):
        return f"sudo refuses: {complaint}", f"{write}."
    return f"sudo fails: {complaint}", f"Try `sudo -n true` as {user} on the host. {write}."
