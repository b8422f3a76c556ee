"""Compiles modules against the core, as other compiled modules meet it; never in this process, whose build is set."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).with_suffix(".pyx")

_BUILD = """
import sys
from pathlib import Path
from Cython.Compiler import Options
from setuptools import Distribution, Extension
from resolver.build_core import BuildCore

source, dimensions = Path(sys.argv[1]), int(sys.argv[2])
if dimensions:
    Options.buffer_max_dims = dimensions
step = BuildCore(Distribution({"ext_modules": [Extension(source.stem, [str(source)])]}))
step.build_lib = step.build_temp = str(source.parent)
step.ensure_finalized()
step.run()
"""


def build(source: Path, dimensions: int = 0) -> Path:
    """Compile a .pyx or .py file beside itself, as resolver.build_core does; return the module's file.

    dimensions: of its memoryviews, if not those that all of core has.
    """
    command = [sys.executable, "-c", _BUILD, str(source), str(dimensions)]
    subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "CFLAGS": os.environ.get("CFLAGS", "-O1")},
        capture_output=True,
        check=True,
    )
    (made,) = source.parent.glob(f"{source.stem}.*.so")
    return made


def load(made: Path) -> ModuleType:
    """The module of this file."""
    spec = importlib.util.spec_from_file_location(made.name.partition(".")[0], made)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imported(made: Path) -> str:
    """The last line of a process that imports the module: nothing if it can."""
    script = f"import sys; sys.path.append({str(made.parent)!r}); import {made.name.partition('.')[0]}"
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    return said.stderr.strip().rpartition("\n")[2]
