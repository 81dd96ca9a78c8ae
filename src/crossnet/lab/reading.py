"""Reading what YAML or JSON says, piece by piece, with errors that name the place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from crossnet.errors import LabError

# A host's name is its hostname too (hostname(7)), and a lab's name becomes part of a socket's path.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


class Reader:
    """A place in a topology file, which knows how to say where it is when something is wrong there."""

    def __init__(self, source: str, where: str, data: object) -> None:
        self.source, self.where, self.data = source, where, data
        self.key = where.rpartition(".")[2]

    def wrong(self, what: str) -> LabError:
        return LabError(f"{self.source}: {self.where + ': ' if self.where else ''}{what}")

    @property
    def mapping(self) -> Mapping[Any, Any]:
        if self.data is None:
            return {}
        if not isinstance(self.data, Mapping):
            raise self.wrong(f"`key: value` lines are expected here, not {self.data!r}")
        return self.data

    def only(self, *keys: str) -> None:
        for key in self.mapping:
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(keys)}"
                raise self.wrong(f"unknown key `{key}`; {hint}")

    def entries(self, key: str) -> list[Reader]:
        prefix = f"{self.where}.{key}" if self.where else key
        inner = Reader(self.source, prefix, self.mapping.get(key))
        made = []
        for name, value in inner.mapping.items():
            part = Reader(self.source, f"{prefix}.{name}", value)
            part.key = str(name)
            made.append(part)
        return made

    def items(self, key: str) -> list[Reader]:
        value = self.mapping.get(key)
        if value is None:
            return []
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self.wrong(f"`{key}` is a list")
        return [Reader(self.source, f"{self.where}.{key}[{n}]", part) for n, part in enumerate(value)]

    def plain_text(self) -> str:
        if not isinstance(self.data, str):
            raise self.wrong(f"a text is expected here, not {self.data!r}")
        return self.data

    def text(self, key: str, default: str | None = None) -> str:
        value = self.mapping.get(key)
        if value is None and default is not None:
            return default
        if value is None:
            raise self.wrong(f"`{key}` is missing")
        return Reader(self.source, f"{self.where}.{key}".lstrip("."), value).plain_text()

    def number(self, key: str) -> int | None:
        value = self.mapping.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise self.wrong(f"`{key}` is a number, not {value!r}")
        return value

    def flag(self, key: str) -> bool:
        value = self.mapping.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(f"`{key}` is true or false, not {value!r}")
        return value

    def name_of(self, text: str) -> str:
        if not _NAME.fullmatch(text):
            raise self.wrong(f"{text!r} is not a name: lower-case letters, digits and '-', at most 32")
        return text
