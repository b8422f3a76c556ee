"""Compiles the core while the package is built, or names the missing Debian package.

pyproject.toml uses it as setuptools' step; nothing at run time imports it. A module that does not compile stops the
install: there is no silent fall-back to Python.
"""

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, ExecError, LinkError, PlatformError


def advice(compiler: str, include: Path) -> str:
    """Return one line that names the Debian packages to install, after `compiler` failed with headers in `include`."""
    if shutil.which(compiler) is None:
        return f"no C compiler ({compiler} not found); on Debian: apt-get install gcc libc6-dev"
    if not (include / "Python.h").is_file():
        return f"no Python.h in {include}; on Debian: apt-get install python3-dev"
    return f"the C compiler {compiler} failed; on Debian: apt-get install gcc libc6-dev python3-dev"


# GCC 12.2 (Debian 12) gets `bits & FLAG` wrong in its peephole2 pass, from -O2 on: listed names passed.
# It costs nothing that can be measured. clang has no such pass, and ends at the option (`taken`).
# addr2line needs line numbers only (-g1); Python's own -g would take a third of the build time.
COMPILER_OPTIONS = ["-fno-peephole2", "-g1"]
# Debian's compiler adds a build id by default, others may not; a crash report identifies the build by it.
LINKER_OPTIONS = ["-Wl,--build-id"]


# A memoryview is passed by value: 64 octets for two dimensions, 208 for Cython's own eight. It must be the same in all
# modules of core, and core.octets refuses to be imported with another; `Layout` there refuses a module beside it.
Options.buffer_max_dims = 2


def taken(command: list[str], options: list[str]) -> list[str]:
    """Return the options that the compiler `command` knows, of `options`; all of them if it cannot be run."""

    def knows(option: str) -> bool:
        asked = [*command, option, "-E", "-x", "c", os.devnull, "-o", os.devnull]
        try:
            return subprocess.run(asked, capture_output=True, check=False).returncode == 0  # noqa: S603 - its own compiler
        except OSError:
            return True

    return [option for option in options if knows(option)]


class BuildCore(build_ext):
    """Compiles the core and _crash.c; on failure the last line names the missing Debian package."""

    def build_extensions(self) -> None:
        command = getattr(self.compiler, "compiler_so", None) or ["cc"]
        options = taken(command, COMPILER_OPTIONS)
        for extension in self.extensions:
            extension.extra_compile_args = [*extension.extra_compile_args, *options]
            extension.extra_link_args = [*extension.extra_link_args, *LINKER_OPTIONS]
        # Cython is not thread-safe, but each compiler is a process: first translate all, then compile one per CPU core.
        translate: Callable[..., list[Extension]] = cythonize
        for extension, translated in zip(self.extensions, translate(self.extensions, quiet=True), strict=True):
            extension.sources = translated.sources
        self.parallel = self.parallel or len(os.sched_getaffinity(0))
        try:
            super().build_extensions()
        except (CompileError, ExecError, LinkError, PlatformError) as error:
            line = advice(command[0], Path(sysconfig.get_paths()["include"]))
            raise SystemExit(f"{error}\nblocklist-resolver: the core was not compiled: {line}") from error
