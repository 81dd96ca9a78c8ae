"""Frozen values as JSON and back without loss, by the types of their fields.

A field that has its default is left out, so what was written before there was such a field is read as well. What is no
part of a value (`compare=False`), such as a counter, is left out always.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from crossnet.values import address, network

T = TypeVar("T")

_IS = "is"  # which one it is of the values that could stand in a place
_NETWORKS, _ADDRESSES = {IPv4Network, IPv6Network}, {IPv4Address, IPv6Address}


def encode_fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON."""
    return {
        field.name: _encode(part)
        for field in fields(value)
        if field.compare and (part := getattr(value, field.name)) != field.default
    }


def decode_fields(kind: type[T], encoded: Mapping[str, Any]) -> T:
    """The inverse; ValueError where a field cannot mean that, KeyError where one without a default is missing."""
    any_kind: Any = kind
    hints, found = _hints(any_kind), {}
    for field in fields(any_kind):
        if field.name in encoded and field.compare:
            found[field.name] = _decode(hints[field.name], encoded[field.name], field.name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise KeyError(field.name)
    return kind(**found)


def _encode(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case None | bool() | int() | str():
            return value
        case tuple():
            return [_encode(item) for item in value]
        case frozenset():
            return sorted((_encode(item) for item in value), key=repr)
        case IPv4Network() | IPv6Network() | IPv4Address() | IPv6Address():
            return str(value)
    return {_IS: type(value).__name__, **encode_fields(value)}


def _decode(kind: Any, encoded: Any, where: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _decode_one_of(parts, encoded, where)
    if origin is Literal:
        if encoded not in parts:
            raise _wrong(where, encoded)
        return encoded
    if origin in (tuple, frozenset):
        if not isinstance(encoded, list):
            raise _wrong(where, encoded)
        if origin is tuple and Ellipsis not in parts:
            return tuple(_decode(part, item, where) for part, item in zip(parts, encoded, strict=True))
        return origin(_decode(parts[0], item, where) for item in encoded)
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(encoded, Mapping) or encoded.get(_IS) != kind.__name__:
            raise _wrong(where, encoded)
        return decode_fields(kind, encoded)
    if issubclass(kind, Enum):
        return kind(encoded)
    if type(encoded) is not kind:
        raise _wrong(where, encoded)
    return encoded


def _decode_one_of(kinds: tuple[Any, ...], encoded: Any, where: str) -> Any:
    if encoded is None and type(None) in kinds:
        return None
    left = [kind for kind in kinds if kind is not type(None)]
    if len(left) == 1:
        return _decode(left[0], encoded, where)
    if isinstance(encoded, str) and _NETWORKS.issubset(left):
        return network(encoded)
    if isinstance(encoded, str) and _ADDRESSES.issubset(left):
        return address(encoded)
    for kind in left:
        if isinstance(encoded, Mapping) and encoded.get(_IS) == kind.__name__:
            return _decode(kind, encoded, where)
    raise _wrong(where, encoded)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _wrong(where: str, encoded: Any) -> ValueError:
    return ValueError(f"{where} cannot be {str(encoded)[:60]!r}")
