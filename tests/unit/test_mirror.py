"""tests/unit mirrors resolver/ one to one; files stay small enough to read; core compiles as it is listed."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "resolver"
UNIT = ROOT / "tests" / "unit"
MAX_LINES = 600

# Modules without a test file of their own, each with the reason.
WITHOUT_TEST = {
    "__main__.py": "two lines; tests/unit/cli/test_main.py runs it",
}

SOURCES = [path for kind in ("py", "pyx") for path in PACKAGE.rglob(f"*.{kind}")]
MODULES = sorted(path.relative_to(PACKAGE) for path in SOURCES if path.name != "__init__.py")
TESTS = sorted(path.relative_to(UNIT) for path in UNIT.rglob("test_*.py"))

# Only compiled: it has no form in Python.
ONLY_COMPILED = {
    **{f"resolver.engine.{name}": f"resolver/engine/{name}.pyx" for name in ("loop_relay", "relay", "shared", "udp")},
    "resolver.quiet_http.calls": "resolver/quiet_http/calls.pyx",
}

# Rooms with modules that are typed by a .pxd beside them, and so compiled.
TYPED = ("core", "edge", "query", "quiet_http")

# What a signal handler runs can be no Python; resolver/service/host/crash.py is its face, and has the test.
IN_C = {"resolver.service.host._crash": "resolver/service/host/_crash.c"}

# Tests of the house itself, not of one module.
OF_THE_HOUSE = {"test_imports.py", "test_mirror.py", "test_private_names.py", "test_syntax.py", "test_words.py"}


def test_every_module_has_its_test() -> None:
    wanted = [module for module in MODULES if str(module) not in WITHOUT_TEST]
    assert [module for module in wanted if not (UNIT / module.parent / f"test_{module.stem}.py").is_file()] == []


def test_every_test_has_its_module() -> None:
    mirrors = [test for test in TESTS if str(test) not in OF_THE_HOUSE]
    modules = {test: test.parent / test.stem.removeprefix("test_") for test in mirrors}
    assert [test for test, module in modules.items() if module not in {one.with_suffix("") for one in MODULES}] == []


def test_exceptions_are_of_modules_that_exist_and_have_no_test() -> None:
    for name in WITHOUT_TEST:
        assert (PACKAGE / name).is_file()
        assert not (UNIT / Path(name).parent / f"test_{Path(name).name}").exists()


def test_no_file_is_too_long_to_read() -> None:
    # Other .c files are Cython's.
    sources = [path for kind in ("py", "pyx", "pxd", "h") for path in PACKAGE.rglob(f"*.{kind}")]
    sources += [ROOT / path for path in IN_C.values()]
    lines = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in sources}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_every_typed_module_is_compiled_and_none_is_optional() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["ext-modules"]
    paths = [path for room in TYPED for path in PACKAGE.glob(f"{room}/*.pxd") if path.with_suffix(".py").exists()]
    others = {**IN_C, **ONLY_COMPILED}
    typed = [one for one in listed if one["name"] not in others]
    assert {one["name"] for one in typed} == {f"resolver.{path.parent.name}.{path.stem}" for path in paths}
    assert all(one["sources"] == [one["name"].replace(".", "/") + ".py"] for one in typed)
    assert {one["name"]: one["sources"] for one in listed if one not in typed} == {
        name: [source] for name, source in others.items()
    }
    assert not any("optional" in one for one in listed)


def test_only_octets_and_siphash_run_without_bounds_checks() -> None:
    unchecked = {path.name for path in PACKAGE.rglob("*.p*") if re.search(r"boundscheck[=(]False", source(path))}
    assert unchecked == {"octets.pxd", "siphash.py"}


def source(path: Path) -> str:
    """Text of a source file; empty for what is no source."""
    return path.read_text().replace(" ", "") if path.suffix in {".py", ".pyx", ".pxd"} else ""


def test_the_table_of_lists_and_nights_names_files_that_exist() -> None:
    named = set(re.findall(r"`([a-z_/]+/test_[a-z_0-9]+\.py)`", (ROOT / "tests" / "LISTS.md").read_text()))
    assert len(named) > 40
    assert [name for name in sorted(named) if not (ROOT / "tests" / name).is_file()] == []
