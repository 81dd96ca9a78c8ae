"""YAML that a person reads and that Ansible takes literally: lists, mappings, texts, numbers, true and false."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

Value = str | int | bool | Sequence["Value"] | Mapping[str, "Value"]

# Plain in YAML 1.1 as in 1.2, and none of the words that one of them takes for something else than text.
_PLAIN = re.compile(
    r"(?!(?i:y|n|yes|no|on|off|true|false|null)$)[A-Za-z/][A-Za-z0-9_./()-]*( [A-Za-z0-9_./()-]+)*"
)
# A block keeps it as it is: printable, whole lines, and nothing in front that could pass for indentation.
_BLOCK = re.compile(r"(?![ \t\n])([\x20-\x7e\t]*\n)*[\x20-\x7e\t]*[\x21-\x7e]\n")
# What Ansible takes for a template; written as text it has to be marked.
_TEMPLATE = re.compile(r"\{[{%#]")
_WIDTH = 100


class Template(str):
    """A text that Ansible is meant to evaluate."""

    __slots__ = ()


def block(value: Value, indent: int = 0) -> str:
    """The value as lines, each ended."""
    return "".join(f"{line}\n" for line in _lines(value, indent))


def _lines(value: Value, indent: int) -> Iterator[str]:
    room = " " * indent
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _item(f"{room}{key}:", item, indent)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            lines = list(_lines(item, indent + 2))
            yield f"{room}- {lines[0].lstrip(' ')}"
            yield from lines[1:]
    else:
        yield f"{room}{_scalar(value)}"


def _item(key: str, item: Value, indent: int) -> Iterator[str]:
    if isinstance(item, str):
        mark = "" if isinstance(item, Template) or not _TEMPLATE.search(item) else " !unsafe"
        if "\n" in item[:-1] and _BLOCK.fullmatch(item):
            yield f"{key}{mark} |"
            yield from (f"{' ' * (indent + 2)}{line}" if line else "" for line in item.splitlines())
        else:
            yield f"{key}{mark} {_scalar(item)}"
    elif isinstance(item, int):
        yield f"{key} {_scalar(item)}"
    elif isinstance(item, Sequence) and all(isinstance(one, str) for one in item):
        short = f"{key} [{', '.join(_scalar(one) for one in item)}]"
        if len(short) <= _WIDTH:
            yield short
        else:
            yield key
            yield from _lines(item, indent + 2)
    else:
        yield key
        yield from _lines(item, indent + 2)


def _scalar(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return f'"{"".join(map(_escaped, value))}"'
    return str(value)


def _escaped(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    return one if one.isprintable() else f"\\U{ord(one):08x}"
