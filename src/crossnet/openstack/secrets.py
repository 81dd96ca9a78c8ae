"""What is secret of a login, and what a service says without it: some repeat what they were asked."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

_SECRET = re.compile(r"password|secret|token|passcode|assertion|code|key", re.IGNORECASE)
_LEAST = 4  # characters: whatever is shorter is in every other word


def secrets_of(entry: Mapping[str, Any]) -> Iterator[str]:
    """What stands in an entry of clouds.yaml, at any depth, under a name of a secret."""
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from secrets_of(value)
        elif isinstance(value, str) and _SECRET.search(name):
            yield value


def without(said: bytes, secrets: Collection[str]) -> bytes:
    """The same with `…` in the place of each secret, as it is, or as JSON or a URL writes it.

    JSON may write each letter in two ways (RFC 8259, 7): it is looked at as it would be shown.
    """
    with suppress(ValueError, RecursionError):
        said = json.dumps(json.loads(said), ensure_ascii=False).encode()
    forms = {
        form
        for secret in secrets
        if len(secret) >= _LEAST
        for form in (
            secret,
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            quote(secret, safe=""),
        )
    }
    for form in sorted(forms, key=len, reverse=True):
        said = said.replace(form.encode(), "…".encode())
    return said
