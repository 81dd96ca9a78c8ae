"""Editors that read the JSON Schema accept and refuse what the parser accepts and refuses in shape."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from crossnet import specfile
from crossnet.specfile.schema import Crossing, Excepting, File, Host, OpenStack, SnatTo

CASES = Path(__file__).parent / "cases"
SHAPELY = sorted([*CASES.glob("good/*.yaml"), *CASES.glob("bad/meaning/*.yaml")])
MISSHAPEN = sorted(CASES.glob("bad/shape/*.yaml"))

# Misshapen for the parser only, because JSON has no other 1 than 1.0.
ONLY_THE_PARSER_KNOWS = {"format-with-a-point"}


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = specfile.json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def data(path: Path) -> object:
    """The file as another reader of YAML 1.2 sees it, with text keys as in JSON."""
    text = path.read_text(encoding="utf-8").replace("%YAML 1.1\n", "").replace("  15:", '  "15":')
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True
    return yaml.load(text)


@pytest.mark.parametrize("path", SHAPELY, ids=lambda path: path.stem)
def test_accepts(path: Path, validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(data(path))] == []


@pytest.mark.parametrize("path", MISSHAPEN, ids=lambda path: path.stem)
def test_refuses(path: Path, validator: Draft202012Validator) -> None:
    assert validator.is_valid(data(path)) is (path.stem in ONLY_THE_PARSER_KNOWS)


def mappings(schema: object) -> Iterator[dict[str, dict[str, object]]]:
    """The `properties` of every object in the schema."""
    if isinstance(schema, dict):
        if isinstance(properties := schema.get("properties"), dict):
            yield properties
        for value in schema.values():
            yield from mappings(value)


def test_every_key_is_described_in_one_sentence() -> None:
    described = {
        key: text["description"] for keys in mappings(specfile.json_schema()) for key, text in keys.items()
    }
    assert set(described) == {
        key for model in (File, Host, Crossing, Excepting, SnatTo, OpenStack) for key in model.key_names()
    }
    assert [text for text in described.values() if not str(text).endswith(".")] == []


def test_nothing_of_pydantic_shows() -> None:
    text = str(specfile.json_schema())
    assert text.count("'title'") == 1
    assert "None" not in text
