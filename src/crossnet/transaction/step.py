"""Perform one step on a host, and say it as JSON so that another controller can perform it."""

from __future__ import annotations

import base64
from pathlib import PurePosixPath
from typing import Any

from crossnet.resources import Command, Link, Step, Write
from crossnet.transport import Host

# Folders of crossnet's own vanish with their last file.
_REMOVE_FOLDER = 'rmdir -- "$1" 2>/dev/null; true'
_OWN_FOLDERS = frozenset({"crossnet"})

_LINK = 'mkdir -p -m 755 -- "${2%/*}" && ln -sfn -- "$1" "$2"'


async def perform(host: Host, step: Step) -> None:
    """Do it; CommandFailed or HostError when the host says no."""
    match step:
        case Command():
            (await host.run(list(step.argv), stdin=step.stdin)).check()
        case Link(target=None):
            await host.write(step.path, None)
        case Link():
            argv = ["sh", "-c", _LINK, "sh", str(step.target), str(host.locate(step.path))]
            (await host.run(argv)).check()
        case Write(data=None):
            await host.write(step.path, None)
            if step.path.parent.name in _OWN_FOLDERS:
                await host.run(["sh", "-c", _REMOVE_FOLDER, "sh", str(host.locate(step.path.parent))])
        case Write():
            await host.write(step.path, step.data, mode=step.mode)
            if step.owner is not None:
                (await host.run(["chown", step.owner, "--", str(host.locate(step.path))])).check()


def encode_step(step: Step) -> dict[str, Any]:
    match step:
        case Command():
            return {"run": list(step.argv), "stdin": _text(step.stdin)}
        case Link():
            return {"link": str(step.path), "target": step.target}
        case Write():
            data = None if step.data is None else _text(step.data)
            return {"write": str(step.path), "data": data, "mode": step.mode, "owner": step.owner}


def decode_step(encoded: dict[str, Any]) -> Step:
    if "run" in encoded:
        return Command(tuple(encoded["run"]), base64.b64decode(encoded["stdin"]))
    if "link" in encoded:
        return Link(PurePosixPath(encoded["link"]), encoded["target"])
    data = None if encoded["data"] is None else base64.b64decode(encoded["data"])
    return Write(PurePosixPath(encoded["write"]), data, encoded["mode"], encoded["owner"])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
