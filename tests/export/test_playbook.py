"""What an exported playbook says; it is run in tests/lab/test_export.py."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from crossnet.export import ExportError, Format, export
from crossnet.export.yaml import Template, block
from crossnet.planning import Plan
from export.plans import BUSINESS, ON_LEGACY, plan

TEXTS = st.one_of(
    st.text(),
    st.text("ab:#-{%}'\"\\ \n\t!&*|>", max_size=30),
    st.sampled_from(
        ["on", "No", "~", "null", "0644", "1:30", "1e3", "=", "<<", "2026-11-22", "- x", "{{ x }}"]
    ),
)
VALUES = st.recursive(
    TEXTS | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.sampled_from("abc"), inner, min_size=1),
    max_leaves=12,
)


def read(text: str, version: tuple[int, int] = (1, 1)) -> Any:
    """As Ansible reads it (YAML 1.1), and as others do."""

    class Constructor(SafeConstructor):
        pass

    Constructor.add_constructor("!unsafe", Constructor.construct_yaml_str)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    yaml.version = version
    return yaml.load(io.StringIO(text))


@given(value=VALUES)
@example(value={"a": "x\n", "b": "one\ntwo\n", "c": " one\ntwo\n"})
@example(value=[["a", "b"], {"a": ["c"]}])
@example(value={"a": "one\n\n"})
def test_yaml_says_what_was_meant(value: Any) -> None:
    for version in ((1, 1), (1, 2)):
        assert read(block({"key": value}), version) == {"key": value}


def test_what_looks_like_a_template_is_marked_unless_it_is_one() -> None:
    text = block({"a": "{{ x }}", "b": "one\n{% two\n", "c": Template("{{ x }}"), "d": "{ x }"})
    assert text == 'a: !unsafe "{{ x }}"\nb: !unsafe |\n  one\n  {% two\nc: "{{ x }}"\nd: "{ x }"\n'


def plays(made: Plan) -> list[dict[str, Any]]:
    (document,) = export(made, Format.ANSIBLE)
    assert document.name == "playbook.yml"
    found: list[dict[str, Any]] = read(document.text)
    return found


def test_one_play_for_each_host_in_order_and_the_way_back_only_when_asked() -> None:
    told = [(play["hosts"], play.get("tags")) for play in plays(plan())]
    assert told == [
        ("localhost", ["always"]),
        ("gateway", None),
        ("app", None),
        ("app", ["never", "undo"]),
        ("gateway", ["never", "undo"]),
    ]


def test_hosts_are_reached_as_the_spec_says() -> None:
    reach, gateway, app, *_ = plays(plan())
    added = [task["ansible.builtin.add_host"] for task in reach["tasks"]]
    assert added == [
        {"name": "gateway", "ansible_host": "10.0.43.101", "ansible_user": "ops", "ansible_port": 2222},
        {"name": "app", "ansible_host": "10.0.43.15", "ansible_user": "root"},
    ]
    assert gateway["become"] is True
    assert "become" not in app


def test_only_modules_that_ansible_core_has() -> None:
    (document,) = export(plan(world=ON_LEGACY), Format.ANSIBLE)
    modules = set(re.findall(r"^      (\w+\.\w+\.\w+):", document.text, re.MULTILINE))
    known = {"add_host", "assert", "command", "copy", "file", "meta", "set_fact", "shell", "stat"}
    assert modules <= {f"ansible.builtin.{name}" for name in known}
    assert len(modules) > 5


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ("app: {netns: app}, gateway: {netns: gw}", "is a network namespace"),
        ("app: {ssh: app}, all: {ssh: gw}", "'all' does not name one host"),
    ],
)
def test_hosts_that_ansible_cannot_mean(hosts: str, told: str) -> None:
    name = "all" if "all:" in hosts else "gateway"
    made = plan(
        BUSINESS.replace("via: gateway", f"via: {name}"),
        hosts=hosts,
        world=ON_LEGACY.replace("gateway:", f"{name}:"),
    )
    with pytest.raises(ExportError, match=told):
        export(made, Format.ANSIBLE)
