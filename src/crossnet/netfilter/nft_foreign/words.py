"""A rule of `nft -j` in the words that `nft list ruleset` has for it, so that its owner knows it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_OPERATORS = ("&", "|", "^", "<<", ">>")
_NAMES = frozenset({"iif", "oif", "iifname", "oifname", "ibrname", "obrname", "sdif", "sdifname"})
# Keys of meta that nft prints without the word
_BARE = _NAMES | {"iiftype", "oiftype", "iifgroup", "oifgroup"}


def words(printed: Any) -> str:
    """One statement as nft lists it, without what was counted until now; never fails, whatever nft invents next."""
    try:
        return _words(printed)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return repr(printed)  # no nft prints that


def _words(printed: Any) -> str:
    match printed:
        case str():  # what nft has no JSON for, a chain without a name among them
            return " ".join(printed.split())
        case dict() if len(printed) == 1:
            ((key, body),) = printed.items()
            return _statement(str(key), body)
        case _:
            return expression(printed)


def _statement(key: str, body: Any) -> str:
    match key, body:
        case "match", {"left": left, "right": right, **rest}:
            return _match(left, str(rest.get("op", "==")), right)
        case "vmap", {"key": looked_up, "data": data}:
            return f"{expression(looked_up)} vmap {_value(data, _parts(looked_up))}"
        case "mangle", {"key": written, "value": value}:
            return f"{expression(written)} set {_value(value, [written])}"
        case "counter", None | {"packets": _}:
            return "counter"
        case (("counter" | "quota" | "limit" | "synproxy"), (str() | {"map": _})):
            return f"{key} name {_quoted(body)}"
        case (("ct helper" | "ct timeout" | "ct expectation"), (str() | {"map": _})):
            return f"{key} set {_quoted(body)}"
        case "limit", {"rate": rate, "per": per}:
            return _limit(body, rate, per)
        case "quota", {"val": value, "val_unit": unit}:
            return f"quota {_over(body)}{value} {unit}"
        case "ct count", {"val": value}:
            return f"ct count {_over(body)}{value}"
        case "log", _:
            return " ".join(("log", *_log(body if isinstance(body, dict) else {})))
        case "reject", {"type": kind, **rest}:
            return " ".join(filter(None, ("reject with", expression(kind), expression(rest.get("expr")))))
        case (("snat" | "dnat" | "masquerade" | "redirect"), _):
            return _translation(key, body if isinstance(body, dict) else {})
        case "tproxy", {**to}:
            return " ".join(filter(None, ("tproxy", expression(to.get("family")), "to", _end(to))))
        case (("jump" | "goto"), {"target": target}):
            return f"{key} {target}"
        case "set", {"op": operation, "set": name, "elem": element, **rest}:
            return f"{operation} {name} {{ {_element(element, rest.get('stmt'))} }}"
        case "map", {"op": operation, "map": name, "elem": element, "data": data, **rest}:
            return f"{operation} {name} {{ {_element(element, rest.get('stmt'))} : {expression(data)} }}"
        case "meter", {"name": name, "key": element, "stmt": statement}:
            return f"meter {name} {{ {_element(element, [statement])} }}"
        case "flow", {"op": operation, "flowtable": name}:
            return f"flow {operation} {name}"
        case "queue", {**to}:
            flags = f" flags {expression(to['flags'])}" if "flags" in to else ""
            return f"queue{flags} to {expression(to.get('num', 0))}"
        case "dup", {"addr": address, **rest}:
            return " ".join(
                ("dup to", expression(address), *(("device", _quoted(rest["dev"])) if "dev" in rest else ()))
            )
        case "xt", {"type": kind, "name": name}:
            return f"xt {kind} {_quoted(name)}"
        case _, None:
            return key
        case _:
            return f"{key} {expression(body)}"


def _match(left: Any, operator: str, right: Any) -> str:
    match left, right:
        # `tcp flags syn / syn,rst` of nft 1.0.6; a later one prints the mask with `|`
        case {"&": [flags, [*mask]]}, str() | [*_] if operator in ("==", "!="):
            said = (
                expression(flags),
                *(() if operator == "==" else ("!=",)),
                expression(right),
                "/",
                expression(mask),
            )
            return " ".join(said)
    # nft leaves the operator out where no other could be meant: of flags it is `in`, of a set a lookup
    flags = isinstance(left, dict) and ("&" in left or left in _FLAGGED)
    implicit = operator == "in" or (operator == "==" and (not flags or _is_set(right)))
    return " ".join((expression(left), *(() if implicit else (operator,)), _value(right, _parts(left))))


_FLAGGED = (
    {"ct": {"key": "state"}},
    {"ct": {"key": "status"}},
    {"payload": {"protocol": "tcp", "field": "flags"}},
)


def _is_set(right: Any) -> bool:
    return (isinstance(right, dict) and "set" in right) or (isinstance(right, str) and right.startswith("@"))


def _parts(left: Any) -> list[Any]:
    return left["concat"] if isinstance(left, dict) and isinstance(left.get("concat"), list) else [left]


# ---- values by what they are compared with -----------------------------------------------------------


def _value(printed: Any, of: Sequence[Any]) -> str:
    """A value as nft prints it beside these operands: names of interfaces in quotes, marks in hexadecimal digits."""
    match printed:
        case {"set": [*elements]}:
            return f"{{ {', '.join(_value(each, of) for each in elements)} }}"
        case [key, {**gives}] if len(of) != 2 or len(gives) == 1:
            return f"{_value(key, of)} : {words(gives)}"
        case {"elem": {"val": inner}}:
            return _value(inner, of)
        case {"concat": [*parts]} if len(parts) == len(of):
            return " . ".join(_value(part, [each]) for part, each in zip(parts, of, strict=True))
        case {"range": [first, last]}:
            return f"{_value(first, of)}-{_value(last, of)}"
        case str() if len(of) == 1 and _is_name(of[0]) and not printed.startswith("@"):
            return f'"{printed}"'
        case int() if len(of) == 1 and _is_mark(of[0]) and not isinstance(printed, bool):
            return f"0x{printed:08x}"
        case dict() if len(printed) == 1 and (operator := next(iter(printed))) in _OPERATORS:
            shifts = operator in ("<<", ">>")
            operands = printed[operator]
            return f" {operator} ".join(
                expression(each) if shifts and index else _value(each, of)
                for index, each in enumerate(operands)
            )
        case _:
            return expression(printed)


def _is_name(left: Any) -> bool:
    return isinstance(left, dict) and isinstance(meta := left.get("meta"), dict) and meta.get("key") in _NAMES


def _is_mark(left: Any) -> bool:
    match left:
        case {"meta": {"key": "mark"}} | {"ct": {"key": "mark"}}:
            return True
        case dict() if len(left) == 1 and (operator := next(iter(left))) in _OPERATORS:
            return _is_mark(left[operator][0])
        case _:
            return False


def _quoted(printed: Any) -> str:
    return f'"{printed}"' if isinstance(printed, str) else expression(printed)


# ---- statements of several words --------------------------------------------------------------------


def _over(body: Any) -> str:
    return "over " if body.get("inv") else ""


def _limit(body: Any, rate: Any, per: Any) -> str:
    unit = body.get("rate_unit", "packets")
    said = f"limit rate {_over(body)}{rate}{'' if unit == 'packets' else f' {unit}'}/{per}"
    burst = body.get("burst")
    return f"{said} burst {burst} {body.get('burst_unit', 'packets')}" if burst else said


def _log(body: Any) -> Iterable[str]:
    for key, value in body.items():
        yield f"{key} {_quoted(value) if key == 'prefix' else expression(value)}"


def _translation(key: str, body: Any) -> str:
    flags = body.get("flags", ())
    said = [each for each in ([flags] if isinstance(flags, str) else flags) if each != "netmap"]
    prefix = "prefix" if body.get("type_flags") == "prefix" else ""
    to = _end(body)
    return " ".join(
        filter(
            None,
            (key, expression(body.get("family")), prefix, "to" if to else "", to, ",".join(map(str, said))),
        )
    )


def _end(body: Any) -> str:
    address, port = body.get("addr"), body.get("port")
    said = expression(address) if address is not None else ""
    if port is None:
        return said
    return (
        f"[{said}]:{expression(port)}"
        if isinstance(address, str) and ":" in said
        else f"{said}:{expression(port)}"
    )


def _element(element: Any, statements: Any) -> str:
    said = [expression(element)]
    match element:
        case {"elem": {"timeout": int(seconds), **_rest}}:
            said.append(f"timeout {_time(seconds)}")
    return " ".join((*said, *(words(each) for each in (statements if isinstance(statements, list) else ()))))


def _time(seconds: int) -> str:
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


# ---- expressions ------------------------------------------------------------------------------------


def expression(value: Any) -> str:
    """What is read or compared, where the words do not depend on what it is compared with."""
    match value:
        case None:
            return ""
        case bool():
            return "exists" if value else "missing"
        case [*items]:
            return ",".join(expression(item) for item in items)
        case {"payload": {"protocol": protocol, "field": field, **rest}}:
            return " ".join((*(str(each) for each in rest.values()), str(protocol), str(field)))
        case {"payload": {"base": base, "offset": offset, "len": length}}:
            return f"@{base},{offset},{length}"
        case {"meta": {"key": key}}:
            return str(key) if key in _BARE else f"meta {key}"
        case {"ct": {"key": key, **rest}}:
            return " ".join(("ct", *(expression(item) for item in rest.values()), str(key)))
        case {"rt": {"key": key, **rest}} | {"socket": {"key": key, **rest}}:
            return " ".join((next(iter(value)), *(expression(each) for each in rest.values()), str(key)))
        case {"exthdr": {"name": name, **rest}}:
            return f"{name} {rest['field']}" if "field" in rest else f"exthdr {name}"
        case {"tcp option": {"name": name, **rest}}:
            return " ".join(("tcp option", str(name), *(str(each) for each in rest.values())))
        case {"fib": {"result": result, "flags": flags}}:
            return f"fib {' . '.join(flags) if isinstance(flags, list) else flags} {result}"
        case {"prefix": {"addr": address, "len": length}}:
            return f"{expression(address)}/{length}"
        case {"range": [first, last]}:
            return f"{expression(first)}-{expression(last)}"
        case {"concat": [*items]}:
            return " . ".join(expression(item) for item in items)
        case {"set": [*items]}:
            return f"{{ {', '.join(_entry(item) for item in items)} }}"
        case {"elem": {"val": inner}}:
            return expression(inner)
        case {"map": {"key": key, "data": data}}:
            return f"{expression(key)} map {expression(data)}"
        case {"numgen": {"mode": mode, "mod": modulus, **_rest}}:
            return f"numgen {mode} mod {modulus}"
        case {"jhash": {"mod": modulus, "expr": of}}:
            return f"jhash {expression(of)} mod {modulus}"
        case {"symhash": {"mod": modulus}}:
            return f"symhash mod {modulus}"
        case dict() if len(value) == 1 and (operator := next(iter(value))) in _OPERATORS:
            return f" {operator} ".join(
                _value(item, [value]) if index and _is_mark(value) else _grouped(item)
                for index, item in enumerate(value[operator])
            )
        case dict():
            return " ".join(f"{key} {expression(inner)}".strip() for key, inner in value.items())
        case _:
            return str(value)


def _grouped(operand: Any) -> str:
    joined = isinstance(operand, dict) and "|" in operand
    return f"({expression(operand)})" if joined else expression(operand)


_VERDICTS = frozenset({"accept", "drop", "return", "continue", "jump", "goto", "queue"})


def _entry(item: Any) -> str:
    match item:
        case [key, dict() as gives] if _VERDICTS & gives.keys():
            return f"{expression(key)} : {words(gives)}"
        case [key, gives]:
            return f"{expression(key)} : {expression(gives)}"
        case _:
            return expression(item)
