"""nft's JSON said in words close to what `nft list` prints, for what the form cannot say."""

from __future__ import annotations

from typing import Any

_OPERATORS = ("&", "|", "^", "<<", ">>")


def say(value: Any) -> str:
    """One expression or statement of `nft -j` as a line of text; never fails, whatever nft invents next."""
    match value:
        case None:
            return ""
        case [*items]:
            return ",".join(say(item) for item in items)
        case {"match": {"left": left, "right": right, **rest}}:
            # nft leaves the operator out where no other could be meant
            implicit = rest.get("op", "==") in ("==", "in") and "&" not in left
            return " ".join((say(left), *(() if implicit else (rest.get("op", "=="),)), say(right)))
        case {"payload": {"protocol": protocol, "field": field}}:
            return f"{protocol} {field}"
        case {"meta": {"key": "iifname" | "oifname" | "iif" | "oif" as key}}:
            return str(key)
        case {"meta": {"key": key}}:
            return f"meta {key}"
        case {"ct": {"key": key, **rest}}:
            return " ".join(("ct", *(say(item) for item in rest.values()), key))
        case {"rt": {"key": key}}:
            return f"rt {key}"
        case {"fib": {"result": result, "flags": flags}}:
            return f"fib {' . '.join(flags) if isinstance(flags, list) else flags} {result}"
        case {"tcp option": {"name": name, "field": field}}:
            return f"tcp option {name} {field}"
        case {"prefix": {"addr": address, "len": length}}:
            return f"{say(address)}/{length}"
        case {"range": [first, last]}:
            return f"{say(first)}-{say(last)}"
        case {"set": [*items]}:
            return f"{{ {', '.join(_element(item) for item in items)} }}"
        case {"concat": [*items]}:
            return " . ".join(say(item) for item in items)
        case {"elem": {"val": inner}}:
            return say(inner)
        case {"map": {"key": key, "data": data}}:
            return f"{say(key)} map {say(data)}"
        case {"vmap": {"key": key, "data": data}}:
            return f"{say(key)} vmap {say(data)}"
        case {"mangle": {"key": key, "value": new}}:
            return f"{say(key)} set {say(new)}"
        case {"jump": {"target": target}}:
            return f"jump {target}"
        case {"goto": {"target": target}}:
            return f"goto {target}"
        case {"xt": {"type": kind, "name": name}}:
            return f"xt {kind} {name}"
        case dict() if len(value) == 1 and (operator := next(iter(value))) in _OPERATORS:
            return f" {operator} ".join(say(item) for item in value[operator])
        case dict():
            return " ".join(f"{key} {say(inner)}".strip() for key, inner in value.items())
        case _:
            return str(value)


def _element(item: Any) -> str:
    match item:
        case [key, verdict]:
            return f"{say(key)} : {say(verdict)}"
        case _:
            return say(item)
