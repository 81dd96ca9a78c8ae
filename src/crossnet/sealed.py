"""JSON that tells whether all of it is there: what crossnet keeps on a host carries a checksum of its content.

A file that lost a part may be JSON all the same. The checksum is no signature: it tells of damage and of edits by
hand, not of somebody who makes a file of their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from crossnet.facts.question import mapping

_CHECKSUM = "sha256"


def seal(document: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """The document in JSON, with its checksum."""
    return (json.dumps({**document, _CHECKSUM: _checksum(document)}, indent=indent) + "\n").encode()


def unseal(document: Any) -> Mapping[str, Any]:
    """What was sealed, read from JSON; ValueError where it is not all there, or not as it was."""
    content = dict(mapping(document))
    checksum = content.pop(_CHECKSUM, None)
    if checksum is None:
        raise ValueError("it has no checksum")
    if checksum != _checksum(content):
        raise ValueError("its checksum is not that of its content")
    return content


def _checksum(document: Mapping[str, Any]) -> str:
    """Of the content, however it is spaced and ordered."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
