"""What a firewall's tool says when it fails: that the kernel has no such thing, or why it could not look."""

from __future__ import annotations

from crossnet.facts.question import refuse
from crossnet.transport.batch import Answer

_MOST = 200  # characters of what a tool says of its failure
_SIGNALLED = 128  # POSIX sh: the exit code of a command that a signal ended is greater

# What the tools say where the kernel has nothing for rules to be in, neither built in nor as a module (measured, and
# nfnetlink.c, libiptc.c). Everything else that fails only could not look.
_NOT_IN_KERNEL = (
    "Protocol not supported",
    "Operation not supported",
    "Address family not supported",
    "cache initialization failed: Invalid argument",
    "generation id: Invalid argument",
    "do you need to insmod?",
    "Cannot open session to kernel",
)


def is_in_kernel(answer: Answer) -> bool:
    """False where the tool tells that the kernel has no such firewall at all."""
    return bool(answer.stdout.strip()) or not any(words in answer.error_text for words in _NOT_IN_KERNEL)


def in_kernel(answer: Answer, tool: str) -> None:
    """Nothing where the kernel has no such firewall at all; else the error that the tool told."""
    if is_in_kernel(answer):
        refuse(answer, tool)


def reason(answer: Answer, tool: str) -> str:
    """Why the rules could not be read, in the tool's words; an error where only the right to do so is missing."""
    if any(word in answer.error_text for word in ("ermission denied", "not permitted")):
        refuse(answer, tool)
    if answer.returncode > _SIGNALLED:
        return f"{tool} was ended by signal {answer.returncode - _SIGNALLED}"
    lines = [line for line in answer.error_text.splitlines() if not line.startswith("#")]
    return lines[0][:_MOST] if lines else f"{tool} failed with exit code {answer.returncode} and no word"
