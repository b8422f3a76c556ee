"""Lets a process load the compiled modules of core again, after its Python interpreter was ended and started.

Unbound ends its interpreter at each reload. A compiled module can be loaded once from a file: the library stays in the
process, and its names are gone with the interpreter. So from the second time on, each comes from a copy of its file.

Rules:
- The count of loads is in the environment of the process, the only thing of Python's that outlives an interpreter.
- The copies are removed once they are loaded. Their memory stays until the process ends: some megabytes for each time.
- This module is imported before any of core, and imports none.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOADS: Final = "BLOCKLIST_RESOLVER_LOADS"
PREFIX: Final = "blocklist-core-"


@contextmanager
def loadable(copies: Path) -> Iterator[bool]:
    """Let core be imported in this block; yield whether it is a copy, made in the folder `copies`."""
    loads = int(os.environ.get(LOADS, "0"))
    os.environ[LOADS] = str(loads + 1)
    if not loads:
        yield False
        return
    from resolver import core

    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=copies) as copy:
        for path in Path(core.__path__[0]).iterdir():
            if path.suffix in (".py", ".so"):
                shutil.copy(path, copy)
        core.__path__ = [copy]
        yield True
