"""The line that a failed compile ends in names what Debian lacks."""

from pathlib import Path

import pytest
from setuptools import Distribution
from setuptools.errors import CompileError

from resolver.install import BuildCore, advice


@pytest.fixture
def headers(tmp_path: Path) -> Path:
    (tmp_path / "Python.h").write_text("")
    return tmp_path


def test_a_missing_compiler_is_named(headers: Path) -> None:
    assert advice("no-such-compiler", headers).endswith("on Debian: apt-get install gcc libc6-dev")


def test_missing_headers_of_python_are_named(tmp_path: Path) -> None:
    assert advice("sh", tmp_path).endswith("on Debian: apt-get install python3-dev")


def test_a_compiler_that_fails_names_all_it_needs(headers: Path) -> None:
    assert advice("sh", headers).endswith("on Debian: apt-get install gcc libc6-dev python3-dev")


def test_a_failed_compile_stops_with_that_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: BuildCore) -> None:
        raise CompileError("exit status 1")

    monkeypatch.setattr(BuildCore.__bases__[0], "build_extensions", failing)
    with pytest.raises(SystemExit, match=r"the core was not compiled: .* on Debian: apt-get install"):
        BuildCore(Distribution()).build_extensions()
