"""The schema for editors has every key that the structs and the documents have, and takes each example."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import msgspec.inspect as inspect
import pytest

from resolver.config import config, explained, schema
from resolver.config.values import Address, Endpoint, Prefix, Seconds, Size, ZoneName, decode

ROOT = Path(__file__).parents[3]
SCHEMA = schema.schema()
EXAMPLES = [ROOT / "deploy/resolver.toml", *sorted(ROOT.glob("tests/previous/*/resolver.toml"))]
LEAST: dict[str, Any] = {"list": [{"id": "demo", "source": {"kind": "tuf", "url": "file:///srv/a", "root": "/srv/r"}}]}

CHECK = jsonschema.Draft202012Validator(SCHEMA)


def faults(tables: dict[str, Any]) -> list[str]:
    return [one.json_path for one in CHECK.iter_errors(tables)]


def at(path: str) -> dict[str, Any]:
    """What the schema says of a key such as `list.source.url`."""
    here = SCHEMA
    for word in path.split("."):
        here = here.get("items", here)["properties"][word]
    return here


def keys(kind: inspect.Type, path: str = "") -> Iterator[str]:
    """Every key that the parser knows, as `list.source.url`."""
    if isinstance(kind, inspect.VarTupleType):
        yield from keys(kind.item_type, path)
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            below = f"{path}.{field.encode_name}".strip(".")
            yield below
            yield from keys(field.type, below)


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_every_key_that_is_parsed_is_in_it() -> None:
    known = list(keys(inspect.type_info(config.Config)))
    assert len(known) > 100
    for path in known:
        assert at(path)


def test_every_key_that_is_explained_is_in_it_with_its_words_and_its_default() -> None:
    for table in explained.tables(explained.text()):
        for option in table.options:
            said = at(f"{table.name}.{option.key}")
            assert said["description"] == option.said
            value = tomllib.loads(f"value = {option.value}")["value"]
            assert ("default" in said) != option.required
            assert option.required or said["default"] == value


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_each_example_is_valid(path: Path) -> None:
    assert faults(tomllib.loads(path.read_text())) == []


def test_each_example_with_every_option_set_is_valid() -> None:
    lines = [re.sub(r"^#(?=[a-z][a-z0-9_]* = )", "", line) for line in explained.text().splitlines()]
    assert faults(tomllib.loads("\n".join(lines))) == []


@pytest.mark.parametrize(
    "section",
    ["", "listen", "upstream", "cache", "page", "state", "limits", "control", "fleet", "rehearsal", "count", "bypass"],
)
def test_an_unknown_key_is_refused(section: str) -> None:
    assert faults(LEAST) == []
    assert faults({**LEAST, **({section: {"canary": 1}} if section else {"canary": 1})}) != []


@pytest.mark.parametrize("section", ["source", "guard"])
def test_an_unknown_key_of_a_list_is_refused(section: str) -> None:
    (one,) = LEAST["list"]
    assert faults({"list": [{**one, section: {**one.get(section, {}), "canary": 1}}]}) != []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("listen.dns", ["127.0.0.1"]),
        ("listen.dns", []),
        ("listen.threads", 65),
        ("cache.size", "64MB"),
        ("upstream.timeout", "2 seconds"),
        ("upstream.order", "any"),
        ("page.help", [{"text": "a", "tel": "1"}]),
        ("count.batch", 0),
        ("page.structured_keys", {"anything": "a"}),
    ],
)
def test_a_value_that_the_parser_refuses_is_refused(path: str, value: object) -> None:
    section, key = path.split(".")
    assert faults({**LEAST, section: {key: value}}) != []
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**LEAST, section: {key: value}}, config.Config, dec_hook=decode)


@pytest.mark.parametrize("kind", [Seconds, Size, Endpoint, ZoneName, Address, Prefix])
def test_the_examples_of_a_text_are_what_the_parser_takes(kind: type) -> None:
    said = schema.TEXTS[kind]
    for one in said["examples"]:
        assert re.search(said["pattern"], one)
        assert decode(kind, one) is not None


def test_a_kind_of_value_that_it_does_not_know_is_an_error() -> None:
    with pytest.raises(TypeError, match="no schema is known"):
        schema.of(inspect.type_info(bytes), "", {})
