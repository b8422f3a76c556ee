"""The line that a failed compile ends in names what Debian lacks."""

import shutil
import subprocess
from pathlib import Path

import pytest
from setuptools import Distribution, Extension
from setuptools.errors import CompileError

from resolver.build_core import COMPILER_OPTIONS, LINKER_OPTIONS, BuildCore, advice, taken
from tests.parity import probe, twin


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


def test_an_option_that_a_compiler_ends_at_is_left_out(tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\n[ "$1" != -fno-peephole2 ]\n')
    compiler.chmod(0o755)
    assert taken([str(compiler)], ["-fno-peephole2", "-g1"]) == ["-g1"]


def test_the_option_that_keeps_listed_names_from_passing_is_left_out_for_no_gcc() -> None:
    assert taken(["gcc"], COMPILER_OPTIONS) == COMPILER_OPTIONS
    assert taken(["no-such-compiler"], COMPILER_OPTIONS) == COMPILER_OPTIONS


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


VIEW = "from resolver.core.octets cimport Layout\ncpdef int first(const unsigned char[::1] data):\n    return data[0]\n"


@pytest.mark.parametrize(
    ("dimensions", "said"),
    [(0, ""), (8, "ValueError: resolver.core.octets.Layout size changed, may indicate binary incompatibility.")],
)
def test_a_module_whose_views_have_another_size_is_not_imported_beside_core(
    tmp_path: Path, dimensions: int, said: str
) -> None:
    source = tmp_path / "beside.pyx"
    source.write_text(f"# cython: language_level=3\n{VIEW}")
    assert probe.imported(probe.build(source, dimensions)).partition(" Expected")[0] == said


def test_octets_is_not_imported_if_its_own_views_have_another_size(tmp_path: Path) -> None:
    for path in (twin.CORE / "octets.py", twin.CORE / "octets.pxd"):
        shutil.copy(path, tmp_path)
    made = probe.build(tmp_path / "octets.py", 8)
    (tmp_path / "octets.py").unlink()
    assert probe.imported(made).startswith("ImportError: resolver.core.octets was not built by resolver.build_core")


def test_every_module_of_core_compares_the_size_of_its_views() -> None:
    """Those without a type of their own with a view would otherwise be called with another size, and read on."""
    paths = [path for path in twin.CORE.glob("*.pxd") if path.stem != "octets"]
    assert [path.name for path in paths if "\nfrom .octets cimport Layout" not in f"\n{path.read_text()}"] == []
    for path in paths:
        words = Path(str(twin.compiled(path.stem).__file__)).read_bytes().split(b"\0")
        assert {b"Layout", b"resolver.core.octets"} <= set(words), path.name
