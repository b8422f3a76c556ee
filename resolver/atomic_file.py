"""A file that is written whole or not at all; whoever keeps one that must outlive a crash writes it here.

Rules:
- It is written beside its place, fsynced, renamed into it, and the folder fsynced: a crash leaves the old file or the
  new one, and at the most a part beside it.
- A part has a name of its own, begins with a dot and ends in PART: two writers never meet in one, and `drop_parts`
  removes what a crash left.
- A file is for its owner alone where nothing else is said.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

PART: Final = ".part"


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Have `data` on the disk as the whole of `path`; OSError where that fails, and then the old file stands."""
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        Path(part).replace(path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Have a file's bytes, or the names in a folder, on the disk; OSError where that fails."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def drop_parts(folder: Path) -> None:
    """Remove what a crash left half written; nobody else may write in `folder` meanwhile."""
    for part in folder.glob(f"*{PART}"):
        part.unlink(missing_ok=True)
