"""The story of an install: from the sdist into a fresh environment, and without a compiler.

Compiling takes most of the time. So some modules stand for all: the sdist holds, octet for octet, the sources that the
set-up of these tests has compiled whole in this tree. `make test-install` compiles all of them on a bare Debian.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_COMPILED = re.compile(r"^\[\[tool\.setuptools\.ext-modules\]\]\nname = \"(.*)\"\nsources = .*\n", re.MULTILINE)

# Those that the last of them is compiled with, and the one that is C alone.
SOME = ("core.octets", "core.scratch", "core.siphash", "core.name", "service.host._crash")

pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command away from the work tree; its output is returned, whatever its exit status."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built by the back end that pip would use."""
    folder = tmp_path_factory.mktemp("sdist")
    build = f"from setuptools import build_meta; print(build_meta.build_sdist({str(folder)!r}))"
    done = run(sys.executable, "-c", build, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    return next(folder.glob("*.tar.gz"))


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Python of a fresh virtual environment."""
    venv.create(tmp_path / "venv", with_pip=True)
    return tmp_path / "venv" / "bin" / "python"


def with_some_modules(sdist: Path, folder: Path, kept: Collection[str]) -> Path:
    """The sdist unpacked, with these of its compiled modules alone."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (project,) = folder.glob("*/pyproject.toml")
    wanted = {f"resolver.{name}" for name in kept}
    text = _COMPILED.sub(lambda found: found[0] if found[1] in wanted else "", project.read_text())
    assert set(_COMPILED.findall(text)) == wanted < set(_COMPILED.findall(project.read_text()))
    project.write_text(text)
    return project.parent


def test_the_sdist_holds_both_halves_of_the_core(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    core = {
        f"resolver/core/{path.name}"
        for kind in ("py", "pxd")
        for path in (ROOT / "resolver/core").glob(f"*.{kind}")
    }
    assert core <= names
    assert {"pyproject.toml", "LICENSE", "README.md", "resolver/py.typed", "resolver/build_core.py"} <= names
    assert "resolver/service/host/_crash.c" in names
    page = {f"resolver/page/texts/{path.name}" for path in (ROOT / "resolver/page/texts").iterdir()}
    page |= {f"resolver/page/{name}" for name in ("page.html", "page.css", "sources.toml")}
    assert page | {"resolver/config/resolver.toml"} <= names


def test_the_sources_of_the_sdist_are_those_of_this_tree(sdist: Path) -> None:
    compared = 0
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            name = member.name.partition("/")[2]
            # resolver.toml is a link in this tree, and a copy there.
            if name == "pyproject.toml" or name.endswith((".py", ".pxd", ".h", "_crash.c", "/resolver.toml")):
                source = archive.extractfile(member)
                assert source is not None
                assert source.read() == (ROOT / name).read_bytes(), name
                compared += 1
    assert compared > 200


def test_an_install_from_the_sdist_runs_the_compiled_core(
    sdist: Path, environment: Path, tmp_path: Path
) -> None:
    # Whether it compiles is asked here, not how fast it runs: optimising takes most of the time.
    source = with_some_modules(sdist, tmp_path, SOME)
    done = run(environment, "-m", "pip", "install", "--no-deps", source, cwd=tmp_path, CFLAGS="-O0")
    assert done.returncode == 0, done.stdout
    script = f"""
import importlib
for name in {SOME!r}:
    print(importlib.import_module("resolver." + name).__file__)
"""
    done = run(environment, "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    files = done.stdout.split()
    assert len(files) == len(SOME)
    assert all(name.endswith(".so") and str(tmp_path) in name for name in files), files
    # The help of the verbs needs msgspec, which --no-deps left out: here it comes from the tests' own packages.
    packages = sysconfig.get_paths()["purelib"]
    done = run(environment.with_name("blocklist-resolver"), "--version", cwd=tmp_path, PYTHONPATH=packages)
    assert (done.returncode, done.stdout) == (0, "blocklist-resolver 0.1.0\n")


def test_an_install_without_a_compiler_stops_and_names_the_package(
    sdist: Path, environment: Path, tmp_path: Path
) -> None:
    source = with_some_modules(sdist, tmp_path, SOME[:1])
    done = run(environment, "-m", "pip", "install", "--no-deps", source, cwd=tmp_path, CC="/bin/false")
    assert done.returncode != 0
    assert "the core was not compiled" in done.stdout
    assert "on Debian: apt-get install gcc libc6-dev python3-dev" in done.stdout
    assert not list((tmp_path / "venv").rglob("resolver/core"))
