"""The shape of a spec file: which keys there are and what each takes, as pydantic models.

The models stop here: what leaves `specfile` are the frozen values of `spec`. Each value is read by an
annotation of this module, which speaks the user's words where pydantic would speak its own, and shows
the same shape to editors as JSON Schema. Absent keys have an empty default, so that a file with
mistakes can still be looked at as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from crossnet import values
from crossnet.spec import (
    CLOUD_NAME,
    CROSSING_NAME,
    FORMAT,
    HOST_NAME,
    LONGEST_NAME,
    REGION_NAME,
    SPEC_NAME,
    Fence,
    Firewall,
    Heal,
    Persist,
    PortSecurity,
    Routes,
)
from crossnet.specfile import naming
from crossnet.specfile.document import describe, short
from crossnet.specfile.words import listed, nearest
from crossnet.values import Address, Network, Probe, Traffic

LONGEST = 255  # no text of a spec is longer: not even a host's full name (RFC 1035)

# Written in the common part of Python's and ECMA-262's regular expressions, because editors read them.
_LAB_HOST = r"([A-Za-z0-9][A-Za-z0-9._-]{0,62}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_ADDRESS = r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
_NETWORK = rf"({_ADDRESS})(/[0-9.]+)?"
_PORTS = r"[0-9]{1,5}"
_TRAFFIC = rf"(icmp|(tcp|udp)(/{_PORTS}(-{_PORTS})?)?)"
_UNTIL = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
_PROBE = rf"(icmp/\[?({_ADDRESS})\]?|(tcp|udp)/\[?({_ADDRESS})\]?:{_PORTS})"


@dataclass(frozen=True, slots=True)
class _Text:
    """Annotation: a YAML text, refused when `parse` raises ValueError or when `pattern` does not fit."""

    expected: str
    pattern: str
    parse: Callable[[str], object] = str

    def read(self, value: object) -> object:
        if not isinstance(value, str):
            raise ValueError(f"expected {self.expected}, got {describe(value)}")
        if len(value) > LONGEST or not value.isprintable():
            raise ValueError(f"{short(value)} is too long or cannot be printed: expected {self.expected}")
        meaning = self.parse(value)
        # After `parse`, whose reasons are better; what Python's parsers take beyond the pattern (other
        # scripts' digits, zones) is refused, so that the JSON Schema never refuses what is read here.
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"{value!r} is not {self.expected}")
        return meaning

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^({self.pattern})$", "maxLength": LONGEST}


@dataclass(frozen=True, slots=True)
class _Destination(_Text):
    """Annotation: a text that a password may stand in, which no message repeats."""

    def read(self, value: object) -> object:
        return _Text.read(self, values.without_password(value) if isinstance(value, str) else value)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Annotation: one word of an enumeration."""

    words: type[StrEnum]
    also: str = ""

    def read(self, value: object) -> object:
        words = [str(word) for word in self.words]
        if isinstance(value, str) and value in words:
            return self.words(value)
        expected = listed([*words, self.also] if self.also else words, "or")
        near = nearest(value, words) if isinstance(value, str) else ""
        raise ValueError(f"expected {expected}, got {describe(value)}{near}")

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"enum": [str(word) for word in self.words]}


@dataclass(frozen=True, slots=True)
class _Only:
    """Annotation: a key that can have one value."""

    value: object
    expected: str

    def read(self, value: object) -> object:
        # The type as well: True == 1 == 1.0 for Python, not for the user.
        if type(value) is not type(self.value) or value != self.value:
            raise ValueError(f"expected {self.expected}, got {describe(value)}")
        return value

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"const": self.value}


@dataclass(frozen=True, slots=True)
class _OneOrList:
    """Annotation: one item, or a list of different items."""

    expected: str

    def read(self, value: object) -> tuple[object, ...]:
        if value == []:
            raise ValueError(f"the list is empty: expected {self.expected}")
        return tuple(value) if isinstance(value, list) else (value,)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        array = handler(core)
        return {"oneOf": [array["items"], {**array, "minItems": 1, "uniqueItems": True}]}


@dataclass(frozen=True, slots=True)
class _Table:
    """Annotation: a mapping, with at least one entry where names are freely chosen; `empty` is what to do instead."""

    expected: str
    named: bool = False
    empty: str = ""

    def read(self, value: object) -> object:
        if not isinstance(value, dict) or (self.named and not value):
            todo = f"; {self.empty}" if self.empty and isinstance(value, dict | None) else ""
            raise ValueError(f"expected {self.expected}, got {describe(value)}{todo}")
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        return {**schema, "minProperties": 1, "additionalProperties": False} if self.named else schema


def looks_like_address(word: str) -> bool:
    """Whether the user meant an address or a network, right or wrong, and not a host's name."""
    return "/" in word or ":" in word or re.fullmatch(r"[0-9.]+", word) is not None


def is_host_name(word: str) -> bool:
    return re.fullmatch(HOST_NAME, word) is not None


def is_crossing_name(word: str) -> bool:
    return re.fullmatch(CROSSING_NAME, word) is not None


def _host_name(text: str) -> str:
    if looks_like_address(text):
        raise ValueError(f"{text!r} looks like an address: a host needs a name, such as app")
    return text


def _client(text: str) -> str | Network:
    return values.network(text) if looks_like_address(text) else text


def _traffic(text: str) -> Traffic | None:
    return None if text == "any" else Traffic.from_text(text)


_ANY_HOST = _Text("a host's name: up to 63 letters, digits, dots, `_` and `-`", HOST_NAME, _host_name)
_ANY_ADDRESS = _Text("an address such as 10.0.44.63", _ADDRESS, values.address)
_INTERFACE = _Text("an interface name such as eth0", r"(?!\.{1,2}$)[^/:\s]{1,15}", values.interface_name)

HostName = Annotated[str, _ANY_HOST]
CrossingName = Annotated[
    str,
    _Text(
        f"a crossing's name: a lower-case letter, then up to {LONGEST_NAME - 1} lower-case letters, digits, dots and "
        "`-`",
        CROSSING_NAME,
    ),
]


class _Model(BaseModel):
    """Keys that are not listed are refused; `required` are those that have no default for the user."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    required: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def key_names(cls) -> list[str]:
        """The keys as the user writes them."""
        return [info.alias or name for name, info in cls.model_fields.items()]


WAYS = ("ssh", "local", "netns", "lab")


class Host(_Model):
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [way]} for way in WAYS]})

    ssh: Annotated[
        str | None,
        _Destination("what `ssh` takes: an alias, user@host or ssh://user@host:port", r"[^\s-]\S*"),
    ] = Field(None, description="Reach the host with ssh: an alias, user@host or ssh://user@host:port.")
    local: Annotated[
        bool, _Only(True, "true (leave the key out where the host is reached in another way)")
    ] = Field(False, description="The host is this machine.")
    netns: Annotated[
        str | None,
        # The name becomes a part of a path and an argument of `ip netns exec`.
        _Text("the name of a network namespace, as `ip netns` lists it", r"(?!\.{1,2}$)[^\s/-][^\s/]*"),
    ] = Field(None, description="The host is a network namespace of this machine, as `ip netns` lists it.")
    lab: Annotated[str | None, _Text("the name of a lab's host: HOST or LAB/HOST", _LAB_HOST)] = Field(
        None,
        description="The host is one of a running lab, HOST or LAB/HOST as `crossnet lab list` names it.",
    )
    become: Annotated[Literal["sudo"] | None, _Only("sudo", "sudo")] = Field(
        None, description="Run as root through `sudo -n`; leave it out where you log in as root."
    )


class Translate(StrEnum):
    SNAT = "snat"
    MASQUERADE = "masquerade"
    NONE = "none"


class SnatTo(_Model):
    """`translate: {snat: ADDRESS}`."""

    model_config = ConfigDict(json_schema_extra={"required": ["snat"]})

    snat: Annotated[Address | None, _ANY_ADDRESS] = Field(
        None, description="The source address that translated packets get."
    )


@dataclass(frozen=True, slots=True)
class _WordOrSnatTo:
    """Annotation: one of the words, or a mapping."""

    word: ClassVar[_Choice] = _Choice(Translate, also="{snat: ADDRESS}")

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object, snat_to: core_schema.ValidatorFunctionWrapHandler) -> object:
            return snat_to(value) if isinstance(value, dict) and value else self.word.read(value)

        return core_schema.no_info_wrap_validator_function(read, handler(SnatTo))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"oneOf": [self.word.__get_pydantic_json_schema__(core, handler), handler(core)]}


_DESTINATION = "a network such as 10.0.44.0/24"
_Networks = Annotated[
    tuple[Annotated[Network, _Text(_DESTINATION, _NETWORK, values.network)], ...], _OneOrList(_DESTINATION)
]


class Excepting(_Model):
    """`to: {networks: [10.0.0.0/8], except: [10.0.5.0/24]}`."""

    model_config = ConfigDict(json_schema_extra={"required": ["networks", "except"]})
    required = ("networks", "except")

    networks: _Networks = Field((), description="The networks or addresses that the clients reach.")
    excepted: _Networks = Field(
        (),
        alias="except",
        description="Parts of these that the clients reach as they would without the crossing.",
    )


@dataclass(frozen=True, slots=True)
class _NetworksOrExcepting:
    """Annotation: networks, or a mapping that excepts some."""

    networks: ClassVar[TypeAdapter[tuple[Network, ...]]] = TypeAdapter(_Networks)

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object, excepting: core_schema.ValidatorFunctionWrapHandler) -> object:
            mapped = isinstance(value, dict) and value
            return excepting(value) if mapped else self.networks.validate_python(value)

        return core_schema.no_info_wrap_validator_function(read, handler(Excepting))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"oneOf": [*self.networks.json_schema()["oneOf"], handler(core)]}


def _any_stands_alone(schema: dict[str, Any]) -> None:
    traffic = {"type": "string", "pattern": f"^{_TRAFFIC}$"}
    schema["oneOf"][1]["items"] = traffic
    schema["oneOf"].append({"const": ["any"]})


class Crossing(_Model):
    model_config = ConfigDict(json_schema_extra={"required": ["from", "via", "to"]})
    required = ("from", "via", "to")

    clients: Annotated[
        tuple[
            Annotated[
                str | Network,
                _Text("a host name, an address or a network", f"{HOST_NAME}|{_NETWORK}", _client),
            ],
            ...,
        ],
        _OneOrList("a host name, an address or a network"),
    ] = Field((), alias="from", description="Who needs the way: host names, addresses, networks.")
    via: Annotated[str, _Text("the name of a host", HOST_NAME, _host_name)] = Field(
        "", description="The host that stands in both networks: the gateway."
    )
    to: Annotated[tuple[Network, ...] | Excepting, _NetworksOrExcepting()] = Field(
        (), description="The networks or addresses that the clients reach."
    )
    allow: Annotated[
        tuple[
            Annotated[
                Traffic | None,
                _Text("any, icmp, tcp/PORT, tcp/PORT-PORT or the same with udp", f"any|{_TRAFFIC}", _traffic),
            ],
            ...,
        ],
        _OneOrList("any, icmp, tcp/443, tcp/8000-8010, udp/53"),
    ] = Field(
        (),
        description="What may cross: icmp, tcp/443, tcp/8000-8010, udp/53; any traffic by default.",
        json_schema_extra=_any_stands_alone,
    )
    translate: Annotated[Translate | SnatTo, _WordOrSnatTo()] = Field(
        Translate.SNAT, description="What happens to the clients' source address on the gateway."
    )
    ingress: Annotated[str | None, _INTERFACE] = Field(
        None, description="The gateway's interface that faces the clients; discovered by default."
    )
    egress: Annotated[str | None, _INTERFACE] = Field(
        None, description="The gateway's interface that faces the destinations; discovered by default."
    )
    next_hop: Annotated[Address | None, _ANY_ADDRESS] = Field(
        None,
        alias="next-hop",
        description="The gateway's address on the clients' network; discovered by default.",
    )
    firewall: Annotated[Firewall, _Choice(Firewall)] = Field(
        Firewall.AUTO, description="Which firewall of the gateway takes the rules."
    )
    persist: Annotated[Persist, _Choice(Persist)] = Field(
        Persist.AUTO, description="Whether the changes are written for the next boot as well, and for whom."
    )
    fence: Annotated[Fence, _Choice(Fence)] = Field(
        Fence.AUTO, description="Whether everything outside the crossings is kept from being forwarded."
    )
    probe: Annotated[
        tuple[
            Annotated[
                Probe, _Text("icmp/ADDRESS, tcp/ADDRESS:PORT or udp/ADDRESS:PORT", _PROBE, Probe.from_text)
            ],
            ...,
        ],
        _OneOrList("icmp/ADDRESS, tcp/ADDRESS:PORT or udp/ADDRESS:PORT"),
    ] = Field((), description="What `crossnet verify` sends, such as icmp/10.0.44.1 or tcp/10.0.44.10:443.")
    until: Annotated[
        datetime | None, _Text("a time with its zone such as 2026-12-24T18:00Z", _UNTIL, values.moment)
    ] = Field(None, description="When the hosts take it back by themselves, such as 2026-12-24T18:00Z.")
    heal: Annotated[Heal, _Choice(Heal)] = Field(
        Heal.NONE,
        description="Whether the hosts bring back by themselves, at once, what another program takes away.",
    )
    port_security: Annotated[PortSecurity | None, _Choice(PortSecurity)] = Field(
        None,
        alias="port-security",
        description="How far the gateway's ports in the OpenStack cloud are opened: by default as narrowly as can be.",
    )
    routes: Annotated[Routes, _Choice(Routes)] = Field(
        Routes.HOST,
        description="Whether each client gets its routes itself, or the OpenStack cloud offers them with DHCP leases.",
    )


class OpenStack(_Model):
    """`openstack: {cloud: prod}`, or `openstack: {cloud: prod, region: east}`."""

    model_config = ConfigDict(json_schema_extra={"required": ["cloud"]})
    required = ("cloud",)

    cloud: Annotated[str, _Text("the name of an entry of clouds.yaml", CLOUD_NAME)] = Field(
        "", description="The entry of clouds.yaml, or `envvars` for OS_* of the environment."
    )
    region: Annotated[str, _Text("the name of a region of that cloud", REGION_NAME)] = Field(
        "", description="Its region; by default that of the entry or of OS_REGION_NAME, where it has several."
    )


class File(_Model):
    model_config = ConfigDict(json_schema_extra={"required": ["crossnet", "hosts", "crossings"]})
    required = ("crossnet", "hosts", "crossings")

    crossnet: Annotated[int, _Only(FORMAT, f"the format of this file, the number {FORMAT}")] = Field(
        FORMAT, description="The version of this format."
    )
    name: Annotated[str, _Text(f"a spec's name: {naming.MEANS}", SPEC_NAME)] = Field(
        "",
        description="Whose crossings these are on a gateway; by default the file's name without .yaml.",
    )
    hosts: Annotated[
        dict[HostName, Annotated[Host, _Table("how to reach the host, such as {ssh: root@10.0.43.15}")]],
        _Table("one host or more, each with a name", named=True),
    ] = Field({}, description="The hosts that crossnet manages, each with the way to reach it.")
    crossings: Annotated[
        dict[CrossingName, Annotated[Crossing, _Table("the keys from, via and to")]],
        _Table(
            "one crossing or more, each with a name",
            named=True,
            empty="`crossnet undo`, before the last one leaves the file, takes back what was applied",
        ),
    ] = Field({}, description="The needs: which clients reach which destinations through which gateway.")
    openstack: Annotated[OpenStack | None, _Table("the key cloud, such as {cloud: prod}")] = Field(
        None, description="The cloud that the hosts are machines of."
    )


def named(crossing: Crossing) -> tuple[Network, ...]:
    """The networks that `to` names, with those that it excepts."""
    return crossing.to.networks if isinstance(crossing.to, Excepting) else crossing.to


def excepted(crossing: Crossing) -> tuple[Network, ...]:
    return crossing.to.excepted if isinstance(crossing.to, Excepting) else ()


def destinations(crossing: Crossing) -> tuple[Network, ...]:
    """What the clients reach by the crossing: as it is written where nothing is excepted."""
    gone = excepted(crossing)
    return values.without(named(crossing), gone) if gone else named(crossing)


def permitted(crossing: Crossing) -> tuple[Traffic, ...] | None:
    """What `allow` permits; None is any traffic."""
    allow = tuple(traffic for traffic in crossing.allow if traffic is not None)
    return allow if allow and len(allow) == len(crossing.allow) else None


# Shown in the documentation, so better refused with a reason than as a word nobody knows.
KEYS_NOT_YET = frozenset({"netmap"})


def model_at(path: Sequence[str | int]) -> type[_Model]:
    """The model of the mapping at this path of a file."""
    match tuple(path):
        case ():
            return File
        case ("hosts", _):
            return Host
        case ("crossings", _):
            return Crossing
        case ("crossings", _, "to"):
            return Excepting
        case ("openstack",):
            return OpenStack
        case _:
            return SnatTo


class _ForEditors(GenerateJsonSchema):
    """Without pydantic's titles, which only repeat the keys, and without defaults that mean "absent"."""

    schema_dialect = "https://json-schema.org/draft/2020-12/schema"

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        json = self.generate_inner(schema["schema"])
        default = schema.get("default")
        return {**json, "default": str(default)} if isinstance(default, StrEnum) else json


def json_schema() -> dict[str, object]:
    """The shape of a spec file as JSON Schema (draft 2020-12), for editors."""
    schema = File.model_json_schema(schema_generator=_ForEditors)
    for model in [schema, *schema["$defs"].values()]:
        model.pop("title")
        model.pop("description", None)
    return {"$schema": _ForEditors.schema_dialect, "title": "crossnet spec", **schema}
