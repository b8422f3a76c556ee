"""The line that a failed compile ends in names what Debian lacks."""

import subprocess
from pathlib import Path

import pytest
from setuptools import Distribution, Extension
from setuptools.errors import CompileError

from resolver.build_core import COMPILER_OPTIONS, LINKER_OPTIONS, BuildCore, advice


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
    step = BuildCore(Distribution())
    step.extensions = [Extension("a", ["a.c"])]
    with pytest.raises(SystemExit, match=r"the core was not compiled: .* on Debian: apt-get install"):
        step.build_extensions()
    assert step.extensions[0].extra_compile_args == COMPILER_OPTIONS
    assert step.extensions[0].extra_link_args == LINKER_OPTIONS


SOURCE = """
static int OTHER = 4, OWN = 1, ABOVE = 8, BELOW = 2;
int *written[] = {&OTHER, &OWN, &ABOVE, &BELOW};
struct name { int labels, marked; };
static int __attribute__((noinline)) say(int bits, int depth, struct name *name) {
  int own = depth == name->labels;
  if (name->marked && depth == name->labels - 2 && bits & (OTHER | OWN)) own = 1;
  if (own) {
    if (bits & OTHER) return OTHER;
    if (bits & OWN) return OWN;
    return 0;
  }
  if (bits & ABOVE) return OTHER;
  if (bits & BELOW) return OWN;
  return 0;
}
int main(void) {
  struct name name = {2, 0};
  return say(3, 2, &name) != 1 || say(1, 2, &name) != 1 || say(3, 1, &name) != 1;
}
"""


@pytest.mark.parametrize("level", ["-O1", "-O2", "-O3"])
def test_the_compiler_gets_a_flag_right(tmp_path: Path, level: str) -> None:
    """What GCC 12.2 gets wrong from -O2 on without our options: the shape of policy's `_say`."""
    source, program = tmp_path / "say.c", tmp_path / "say"
    source.write_text(SOURCE)
    subprocess.run(["cc", level, *COMPILER_OPTIONS, str(source), "-o", str(program)], check=True)
    assert subprocess.run([str(program)], check=False).returncode == 0
