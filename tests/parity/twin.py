"""The plain twin of resolver.core: the whole package under another name, read from its .py files.

Compiled modules lie beside the sources and Python prefers them; so the twin has its own finder, and its relative
imports end inside the twin. Otherwise a comparison of both builds would compare C with C.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import resolver

# Of the package that is tested: this tree's, or an installed one's.
CORE = Path(str(resolver.__file__)).parent / "core"
PLAIN = "plain_core"


class SourceFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of package `name` among the .py files of `folder`, whatever else lies there."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's spec, None where it is none of the package's."""
        if fullname == self.name:
            return importlib.util.spec_from_file_location(
                fullname, self._folder / "__init__.py", submodule_search_locations=[str(self._folder)]
            )
        parent, _, name = fullname.rpartition(".")
        if parent != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._folder / f"{name}.py")


def load(name: str) -> ModuleType:
    """The plain build of resolver.core.<name>."""
    if not any(isinstance(one, SourceFinder) and one.name == PLAIN for one in sys.meta_path):
        sys.meta_path.insert(0, SourceFinder(PLAIN, CORE))
    return importlib.import_module(f"{PLAIN}.{name}")


def compiled(name: str) -> ModuleType:
    """The compiled build of resolver.core.<name> (core.codes has only numbers and is never compiled)."""
    return importlib.import_module(f"resolver.core.{name}")
