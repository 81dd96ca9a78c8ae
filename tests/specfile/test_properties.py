"""Whatever the text: a Spec or a SpecError, and every mistake stands at a place that the text has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet import specfile
from crossnet.errors import Problem, SpecError
from crossnet.specfile.schema import Crossing, File, Host

SEEDS = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("cases/*/**/*.yaml"))]
KEYS = [
    *File.key_names(),
    *Host.key_names(),
    *Crossing.key_names(),
    "snat",
    "networks",
    "except",
    "<<",
    "app",
    "gateway",
    "openstack",
]
WORDS = [
    "app",
    "gateway",
    "auto",
    "any",
    "10.0.44.0/24",
    "10.0.44.1",
    "fd00::/64",
    "tcp/443",
    "icmp/10.0.44.1",
    "sudo",
]

pieces = st.sampled_from(
    [*": -[]{},&*!|>'\"#%@`?\n\t\\", ": ", "\n- ", "&a ", "*a", "!!", "<<: ", "---\n", "%YAML ", "\\U", "\\x"]
)
words = st.sampled_from(WORDS) | st.text(max_size=5)
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | words, inner),
    max_leaves=12,
)
hosts = st.dictionaries(
    words, st.dictionaries(st.sampled_from(Host.key_names()) | words, values, max_size=3) | values, max_size=3
)
crossings = st.dictionaries(
    words, st.dictionaries(st.sampled_from(Crossing.key_names()) | words, values) | values, max_size=3
)
files = st.fixed_dictionaries(
    {}, optional={"crossnet": st.just(1) | values, "hosts": hosts | values, "crossings": crossings | values}
)


def problems(text: str) -> tuple[Problem, ...] | None:
    """None where the text is a spec."""
    try:
        specfile.parse(text, "crossnet.yaml")
    except SpecError as error:
        return error.problems
    return None


def check(text: str) -> None:
    found = problems(text)
    assert found != ()
    lines = re.split(r"\r\n|\n|\r", text)
    for problem in found or ():
        assert problem.file == "crossnet.yaml"
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert problem.message
        # Wordings of pydantic, of Python and of ruamel.yaml's insides.
        assert not re.search(
            r"Input should|Value error|int\(\)|unexpected keyword|<\w+ object", problem.message
        )


@given(
    st.text()
    | st.text("\x00\x07\x85\u2028\ufeff\r\n\t a:-[]{}&*!'\"\\")
    | st.lists(pieces | words, max_size=30).map("".join)
)
@settings(max_examples=500, deadline=None)
def test_any_text(text: str) -> None:
    check(text)


@given(st.sampled_from(SEEDS), st.integers(0), st.integers(0, 12), pieces | words)
@settings(max_examples=500, deadline=None)
def test_a_file_with_something_changed(text: str, place: int, cut: int, inserted: str) -> None:
    place %= len(text) + 1
    check(text[:place] + inserted + text[place + cut :])


@given(files)
@settings(max_examples=500, deadline=None)
def test_any_data(data: object) -> None:
    check(json.dumps(data))


@given(st.sampled_from(Host.key_names()), st.sampled_from(Crossing.key_names()), values, values)
@settings(max_examples=500, deadline=None)
def test_any_value_of_any_key(of_host: str, of_crossing: str, one: object, other: object) -> None:
    host = {"lab": "app", of_host: one}
    crossing = {"from": "app", "via": "gateway", "to": "10.0.44.0/24", of_crossing: other}
    hosts = {"app": host, "gateway": {"lab": "gateway"}}
    check(json.dumps({"crossnet": 1, "hosts": hosts, "crossings": {"business": crossing}}))


def test_aliases_of_aliases_cost_nothing() -> None:
    """Ten lists of ten aliases each would be 10^20 values if they were ever written out."""
    levels = "".join(
        f"k{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 20)
    )
    check(
        f"k0: &a0 [x]\n{levels}crossnet: 1\nhosts: *a19\n"
        "crossings: {a: {from: *a19, via: *a19, to: *a19}}\n"
    )
