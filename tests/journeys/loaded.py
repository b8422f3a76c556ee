"""`python -m tests.journeys.loaded FILE run --config X`: run the whole service, and write the names of the modules that
it has loaded at its end to FILE, one a line."""

import atexit
import runpy
import sys
from pathlib import Path


def _write(path: Path) -> None:
    path.write_text("\n".join(sorted(sys.modules)))


if __name__ == "__main__":
    atexit.register(_write, Path(sys.argv.pop(1)).absolute())
    runpy.run_module("resolver", run_name="__main__", alter_sys=True)
