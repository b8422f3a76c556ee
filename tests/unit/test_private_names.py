"""Tests ask for what is public: a test that reaches inside breaks with every change of the inside."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
OWN = {"self", "cls"}
PATCHES = {"setattr", "delattr", "getattr", "hasattr"}

# The most uses of private names that a file may hold, and why.
LEFT: dict[str, tuple[int, str]] = {
    "peers/conftest.py": (1, "pytest has no other way to a folder for a whole session"),
    "test_privacy.py": (2, "makes each step of a connection raise with a name in its text"),
    "unit/control/test_server.py": (6, "asks how long the server rests after a walk"),
    "unit/feed/test_approve.py": (2, "says what ssh-keygen would; peers/test_approve.py asks a real one"),
    "unit/feed/test_audit.py": (3, "writes to the log while old entries are read"),
    "unit/edge/quic_lab.py": (1, "has aioquic send frames that it would not send"),
    "unit/query/test_accept_limits.py": (6, "holds the counts of a thousand random steps against a model"),
    "unit/query/test_accept_stream.py": (2, "lets connections be older than they are"),
    "unit/service/test_service.py": (6, "has parts of a service fail that do not fail by themselves"),
}


def is_private(name: str) -> bool:
    """True for a name with one underscore before it, alone or at the end of a dotted path."""
    last = name.rpartition(".")[2]
    return last.startswith("_") and not last.startswith("__")


def private_names(source: str) -> Counter[str]:
    """Count the private names that `source` uses of others: attributes, names that it patches, imports."""
    found: Counter[str] = Counter()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=owner)) if owner in OWN:
                continue
            case ast.Attribute(attr=name) if is_private(name):
                found[name] += 1
            case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called), args=args) if called in PATCHES:
                texts = [one.value for one in args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                found.update(filter(is_private, texts[:1]))
            case ast.ImportFrom(names=names):
                found.update(one.name for one in names if is_private(one.name))
    return found


def test_no_test_reaches_into_what_is_private_more_than_is_said() -> None:
    used = {
        path.relative_to(TESTS).as_posix(): private_names(path.read_text())
        for path in sorted(TESTS.rglob("*.py"))
        if "stubs" not in path.parts
    }
    most = {name: LEFT[name][0] if name in LEFT else 0 for name in used}
    assert {name: dict(found) for name, found in used.items() if found.total() > most[name]} == {}
    assert [name for name in LEFT if not used.get(name)] == [], "nothing private is used there: take it from LEFT"


@pytest.mark.parametrize(
    "source",
    [
        "one._inside",
        "one.two._inside()",
        "monkeypatch.setattr(module, '_inside', 1)",
        "monkeypatch.setattr('package.module._inside', 1)",
        "getattr(one, '_inside')",
        "from module import _inside",
    ],
)
def test_a_private_name_is_found(source: str) -> None:
    assert private_names(source).total() == 1


@pytest.mark.parametrize(
    "source", ["self._own", "one.__class__", "monkeypatch.setenv('_A', '')", "from a import __version__"]
)
def test_what_is_a_tests_own_or_pythons_is_not(source: str) -> None:
    assert private_names(source).total() == 0
