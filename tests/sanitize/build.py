"""Builds the core with a sanitizer, and a Python to run it: `python -m tests.sanitize.build address -- -m pytest ...`.

Rules:
- A build is a tree of its own, build/sanitize/<sanitizer>: copies of resolver/ and tests/ with the core compiled in it.
  What was built and has not changed is not built again.
- The sanitizer is linked into the program that runs Python (interpreter.c), and the modules find it there: nothing is
  preloaded, so that the compilers that tests start run as ever. libFuzzer's driver is in the same program.
- Each block of memory is malloc's own (PYTHONMALLOC), or the sanitizer could not see its end.
- The tree is a virtual environment of its own, and what a sanitizer is told stands in the program: the services that
  journeys start, with hardly any environment, run in it like pytest.
- A finding ends the process, but a race does not: it is printed, and the process ends with 66. threads.supp has the
  races that are meant, each with its reason.
- Leaks are not looked for: Python keeps much until its end, and says so of nothing.
- A sandbox's bound on addresses is not set: the shadow of an address sanitizer is larger than any.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPILER = "clang-14"
COPIED = ("resolver", "tests", "blocklists", "deploy", "pyproject.toml", "README.md", "LICENSE")
MADE = (".so", ".c", ".o")

CHECKS = {
    "address": "-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined",
    "thread": "-fsanitize=thread",
}
OPTIONS = {
    "address": {},
    "thread": {"TSAN_OPTIONS": f"second_deadlock_stack=1:suppressions={Path(__file__).with_name('threads.supp')}"},
}


def tree_of(sanitizer: str) -> Path:
    """The folder of a build."""
    return ROOT / "build" / "sanitize" / sanitizer


def files(folder: Path) -> Iterator[Path]:
    """The files below, or the file itself, as paths from the root; what Python and tools leave there is left out."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.is_file() and not any(part == "__pycache__" or part.endswith(".egg-info") for part in path.parts):
            yield path.relative_to(ROOT)


def copy(tree: Path) -> None:
    """Copy what has changed, with its times; what is gone goes."""
    wanted = {path for name in COPIED for path in files(ROOT / name) if path.suffix not in (".so", ".o")}
    for path in wanted:
        source, target = ROOT / path, tree / path
        if target.is_file() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    for name in COPIED:
        for path in (tree / name).rglob("*"):
            if path.is_file() and path.suffix not in MADE and path.relative_to(tree) not in wanted:
                path.unlink()


def environment(sanitizer: str) -> dict[str, str]:
    """How the modules that tests build are compiled, and what the program is told that it does not know by itself."""
    launcher = ["ccache"] if shutil.which("ccache") else []
    return {
        **os.environ,
        **OPTIONS[sanitizer],
        "CC": " ".join([*launcher, COMPILER]),
        "CFLAGS": f"-O0 -g1 -fno-omit-frame-pointer -Wno-ignored-optimization-argument {CHECKS[sanitizer]}",
        "PYTHONMALLOC": "malloc",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def make_environment(tree: Path) -> None:
    """Make the tree a virtual environment with the packages of this one."""
    packages = [tree, *(path for path in sys.path if Path(path).name.endswith("-packages"))]
    home = Path(sys.base_prefix) / "bin"
    (tree / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
    folder = Path(sysconfig.get_path("purelib", vars={"base": str(tree)}))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "packages.pth").write_text("".join(f"{path}\n" for path in packages))


def build(sanitizer: str) -> Path:
    """Build what has changed; return the program."""
    if shutil.which(COMPILER) is None:
        raise SystemExit(f"{COMPILER} is missing: `make sanitize` installs it")
    tree = tree_of(sanitizer)
    tree.mkdir(parents=True, exist_ok=True)
    copy(tree)
    make_environment(tree)
    there = {name: value for name, value in environment(sanitizer).items() if not name.startswith("PYTHON")}
    setup = [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q", "build_ext", "--inplace"]
    subprocess.run(setup, cwd=tree, env=there, check=True)
    program, source = tree / "bin" / "python", Path(__file__).with_name("interpreter.c")
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        library = Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("INSTSONAME")
        if not library.is_file():
            raise SystemExit(f"{library} is missing; on Debian: apt-get install python3-dev")
        asked = [COMPILER, "-print-runtime-dir"]
        runtime = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        driver = f"{runtime}/libclang_rt.fuzzer_no_main-{os.uname().machine}.a"
        command = [
            *there["CC"].split(), *there["CFLAGS"].split(), f"-I{sysconfig.get_path('include')}",
            str(source), str(library), f"-Wl,-rpath,{library.parent}",
            "-Wl,-export-dynamic",
        ]  # fmt: skip
        if sanitizer == "address":
            command += [f"-Wl,--whole-archive,{driver},--no-whole-archive", "-lstdc++", "-lm", "-lpthread"]
        program.parent.mkdir(exist_ok=True)
        subprocess.run([*command, "-o", str(program)], cwd=tree, env=there, check=True)
    return program


def main() -> None:
    """Build, then run Python in the tree with what follows `--`."""
    parser = argparse.ArgumentParser(prog="python -m tests.sanitize.build")
    parser.add_argument("sanitizer", choices=CHECKS)
    parser.add_argument("arguments", nargs="*")
    given = parser.parse_args()
    program = build(given.sanitizer)
    if given.arguments:
        os.chdir(tree_of(given.sanitizer))
        os.execve(program, [str(program), *given.arguments], environment(given.sanitizer))


if __name__ == "__main__":
    main()
