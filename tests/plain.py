"""`python -m tests.plain run --config X`: the whole service on the plain core, with the same arguments.

Processes that it starts itself (fetch, compile) are `python -m resolver...` again and keep the compiled core.
"""

import importlib
import runpy
import sys
from pathlib import Path

import msgspec

from tests.parity.twin import CORE, SourceFinder


def put_first() -> None:
    """Make every later import of resolver.core take the .py files; nothing of it may be loaded yet."""
    if any(name.startswith("resolver.core") for name in sys.modules):
        raise ImportError("resolver.core is loaded already")
    sys.meta_path.insert(0, SourceFinder("resolver.core", CORE))
    for path in CORE.glob("*.pxd"):
        module = importlib.import_module(f"resolver.core.{path.stem}")
        if Path(str(module.__file__)).suffix != ".py":
            raise ImportError(f"{module.__file__} is not the plain build")


if __name__ == "__main__":
    put_first()
    # Only now, as it imports of the core. The engine is compiled with the core, and works with that alone.
    engine = importlib.import_module("tests.engine")
    engine.put_first(lambda listen: msgspec.structs.replace(listen, engine="python"))
    runpy.run_module("resolver", run_name="__main__", alter_sys=True)
