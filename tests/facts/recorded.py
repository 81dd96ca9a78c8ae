"""A host on paper: it plays back what a real one answered, so that reading facts is tested without a host.

A recording is one JSON object: the question as an operator would type it → the answer. JSON output is
kept as JSON, any other output as a list of its lines; a file that is not there is absent, any other question that is
not there fails. A `Failure` fails with its exit code and words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from crossnet.errors import HostError
from crossnet.facts import Facts, capabilities, files, firewall, observe
from crossnet.facts.cloud_init import CLOUD_INIT
from crossnet.facts.links import LINKS
from crossnet.facts.nexthops import NEXTHOPS
from crossnet.facts.nft import LISTING
from crossnet.facts.owners import OWNERS
from crossnet.facts.policy import RULES4, RULES6
from crossnet.facts.programs import PROGRAMS
from crossnet.facts.routes import ROUTES6
from crossnet.facts.saved import SAVED
from crossnet.facts.setters import SETTERS
from crossnet.facts.start import START
from crossnet.facts.sysctls import BOOT_SETTINGS, SYSCTLS
from crossnet.site import READ
from crossnet.transport import LIMIT, TIMEOUT, Completed, Host, Process, ShellHost
from crossnet.transport.batch import ask

Recording = Mapping[str, Any]

_SAVES = tuple(
    f"{command}-{which}"
    for command in ("iptables", "ip6tables")
    for which in ("legacy-save", "nft-save", "save")
)
_FIREWALL = ("nft -j list ruleset", "ipset save", *_SAVES)
_NAMES = {
    **{question.argv: name for question, name in zip(firewall.QUESTIONS, _FIREWALL, strict=True)},
    LINKS.argv: "ip addr",
    START.argv: "cat /proc/uptime /proc/sys/kernel/random/boot_id",
    ROUTES6.argv: "ip -6 route show table all",
    NEXTHOPS.argv: "ip nexthop",
    RULES4.argv: "ip -4 rule",
    RULES6.argv: "ip -6 rule",
    SYSCTLS.argv: "sysctls",
    BOOT_SETTINGS.argv: "sysctl files",
    PROGRAMS.argv: "programs",
    SAVED.argv: "saved rules",
    SETTERS.argv: "setters",
    CLOUD_INIT.argv: "cloud-init",
    OWNERS.argv: "owners",
    LISTING.argv: "nft -t list ruleset",
}
MISSING = 66


def question_name(words: Sequence[str]) -> str:
    """What a recording calls a question of `facts.observe`."""
    if words[0] != "sh":
        return " ".join(words)
    if words[2] == capabilities.READ:
        return "tools"
    if words[2] == files.READ:
        return "files"
    return _NAMES.get(tuple(words)) or f"file {words[-1]}"


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer of a tool that failed."""

    code: int
    words: str = ""
    said: str = ""


class Recorded(ShellHost):
    """Answers a batch of questions from a recording, and nothing else."""

    def __init__(self, name: str, recording: Recording) -> None:
        self._name = name
        self._recording = recording

    @property
    def name(self) -> str:
        return self._name

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        _, _, _, _, boundary, *words = argv
        said, complaints = [], [f"{boundary}\n"]
        while words:
            count = int(words[0])
            question, words = words[1 : count + 1], words[count + 1 :]
            name = question_name(question)
            text, code, complaint = self._files(question) if name == "files" else self._answer(name)
            said.append(f"{text}\n{boundary} {code}\n")
            complaints.append(f"{complaint}\n{boundary}\n")
        return Completed(self._name, tuple(argv), 0, "".join(said).encode(), "".join(complaints).encode())

    def _files(self, question: Sequence[str]) -> tuple[str, int, str]:
        """All files in one answer, of which the recording has each by itself."""
        boundary, *places = question[4:]
        told = []
        for place in places:
            text, code, complaint = self._answer(f"file {place}")
            told.append(f"{text}{complaint}\n{boundary} {code}\n")
        return "".join(told), 0, ""

    def _answer(self, name: str) -> tuple[str, int, str]:
        answer = self._recording.get(name)
        if answer is None:
            return "", MISSING, ""
        if isinstance(answer, Failure):
            return answer.said, answer.code, answer.words
        if isinstance(answer, str):
            return answer, 0, ""
        if isinstance(answer, list) and all(isinstance(line, str) for line in answer):
            return "".join(f"{line}\n" for line in answer), 0, ""
        return json.dumps(answer), 0, ""

    async def start(self, argv: Sequence[str]) -> Process:
        raise HostError(self._name, "started a command", "it is only a recording", "Use a lab.")


def facts_of(name: str, recording: Recording) -> Facts:
    """The facts of a recorded host, read by the very code that reads a real one."""
    return asyncio.run(observe(Recorded(name, recording), READ))


def facts_in(path: Path) -> Facts:
    """The same from a file; its name is the host's."""
    return facts_of(path.stem, json.loads(path.read_text(encoding="utf-8")))


async def record(host: Host) -> dict[str, Any]:
    """A recording of a real host."""
    taken: dict[str, Any] = {}

    class Overheard(Recorded):
        async def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
        ) -> Completed:
            _, _, _, _, _, *words = argv
            questions = []
            while words:
                count = int(words[0])
                questions.append(words[1 : count + 1])
                words = words[count + 1 :]
            for question, answer in zip(questions, await ask(host, questions), strict=True):
                if answer.ok:
                    taken[question_name(question)] = _kept(answer.text)
            return await host.run(argv, stdin=stdin, timeout=timeout, limit=limit)

    await observe(Overheard(host.name, {}), [PurePosixPath(path) for path in READ])
    return taken


def _kept(text: str) -> Any:
    if text.startswith(("[", "{")):
        return json.loads(text)
    return text.splitlines()
