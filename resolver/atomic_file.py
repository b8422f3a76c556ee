"""Writes a file whole or not at all, and waits until it is on the disk; for every file that must outlive a crash.

Rules:
- A new file is written beside its place, fsynced, renamed into it, and the folder is fsynced: a crash leaves the old
  file or the new one, and at most a partial file beside it.
- A partial file has a unique name, begins with a dot and ends in PART: two writers never share one, and `drop_parts`
  removes those that a crash left.
- Only the owner may read a file, unless `mode` says otherwise.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

PART: Final = ".part"


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the content of `path` by `data`, on the disk; on OSError the old file is unchanged."""
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
    """Flush a file's content, or the names in a folder, to the disk; OSError if that fails."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def drop_parts(folder: Path) -> None:
    """Remove the partial files that a crash left; no other process may write in `folder` meanwhile."""
    for part in folder.glob(f"*{PART}"):
        part.unlink(missing_ok=True)
