"""Names of files, classes and functions say what a thing is: words that fit anything are not used."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "resolver"
BANNED = {"manager", "handler", "helper", "util", "utils", "common", "base", "misc"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def banned_in(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)} & BANNED


def names_of(source: str) -> list[str]:
    """Names of the classes and functions that `source` defines."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def test_no_name_uses_a_word_that_fits_anything() -> None:
    found = {
        path.relative_to(PACKAGE): [name for name in names if banned_in(name)]
        for path in sorted(PACKAGE.rglob("*.py"))
        for names in [[path.stem, path.parent.name, *names_of(path.read_text())]]
    }
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("name", ["ListManager", "query_handler", "utils", "BASE", "_misc_things"])
def test_a_banned_word_is_found(name: str) -> None:
    assert banned_in(name)


@pytest.mark.parametrize("name", ["database", "baseline", "handled", "management"])
def test_a_word_that_only_contains_one_is_not(name: str) -> None:
    assert not banned_in(name)


def test_names_are_read_from_classes_and_functions() -> None:
    assert names_of("class A:\n    async def b(self): ...\ndef c(): ...") == ["A", "c", "b"]
