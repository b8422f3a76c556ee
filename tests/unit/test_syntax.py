"""What no module may contain, whichever Python reads it: a `finally` that swallows errors, calls nobody can read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("resolver", "tests", "deploy") for path in (ROOT / folder).rglob("*.py"))
MOST_POSITIONAL = 7
# Without the GIL a function of core has no keyword arguments, and is handed what its thread and its query own.
MOST_IN_CORE = 11

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def jumps(node: ast.AST, *, in_loop: bool = False) -> Iterator[int]:
    """Lines of the statements in `node` that leave it: return, and break or continue of a loop around it (PEP 765)."""
    if isinstance(node, ast.Return) or (isinstance(node, ast.Break | ast.Continue) and not in_loop):
        yield node.lineno
    if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        for one in ast.iter_child_nodes(node):
            yield from jumps(one, in_loop=in_loop or isinstance(node, _LOOPS))


def swallowing(tree: ast.AST) -> list[int]:
    """Lines that leave a `finally` and so swallow whatever was raised: a SyntaxWarning from Python 3.14 on."""
    blocks = (node.finalbody for node in ast.walk(tree) if isinstance(node, ast.Try | ast.TryStar))
    return [line for block in blocks for statement in block for line in jumps(statement)]


def crowded(tree: ast.AST, most: int = MOST_POSITIONAL) -> list[int]:
    """Lines of functions with more positional parameters than anybody can tell apart in a call."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
            if len(names) - (names[:1] in (["self"], ["cls"])) > most:
                found.append(node.lineno)
    return found


def test_no_finally_swallows_an_error() -> None:
    found = {str(path.relative_to(ROOT)): swallowing(ast.parse(path.read_text())) for path in SOURCES}
    assert len(found) > 100
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_no_function_takes_more_positional_arguments_than_a_reader() -> None:
    core = ROOT / "resolver" / "core"
    found = {
        path: crowded(ast.parse(path.read_text()), MOST_IN_CORE if path.is_relative_to(core) else MOST_POSITIONAL)
        for path in SOURCES
        if path.is_relative_to(ROOT / "resolver")
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("def f():\n try: g()\n finally: return 1", [3]),
        ("for x in y:\n try: g()\n finally: break", [3]),
        ("for x in y:\n try: g()\n finally:\n  if x: continue", [4]),
        ("def f():\n try: g()\n finally:\n  with h(): return 1", [4]),
        ("try: g()\nfinally:\n for x in y: break", []),
        ("try: g()\nfinally:\n def f(): return 1", []),
        ("def f():\n try: return g()\n finally: h()", []),
        ("def f():\n try:\n  try: g()\n  finally: h()\n except E: return 1", []),
    ],
)
def test_what_swallows_is_found(text: str, lines: list[int]) -> None:
    assert swallowing(ast.parse(text)) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("def f(a, b, c, d, e, f, g, h): ...", [1]),
        ("def f(a, b, c, d, e, f, g, *, h): ...", []),
        ("class A:\n def f(self, a, b, c, d, e, f, g): ...", []),
    ],
)
def test_what_is_crowded_is_found(text: str, lines: list[int]) -> None:
    assert crowded(ast.parse(text)) == lines
