"""Opens files in folders that others write to: receipts of a fleet's nodes, drop folders, seeds.

Rules:
- Only a regular file is read, within a bound of octets. A FIFO, a device, a socket or a folder is an error of that file
  alone, and opening it never waits: any account that may write to the folder could otherwise stop its reader.
- A symbolic link is not followed, unless the operator has named this very path.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotAFile(OSError):
    """The path is no regular file, or larger than allowed."""


def opened(path: str | Path, *, follow: bool = False) -> BinaryIO:
    """Return a regular file, open for reading; OSError if it is none. follow: the operator has named this path."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotAFile("not a regular file")
    return os.fdopen(handle, "rb")


def read(path: str | Path, most: int, *, follow: bool = False) -> bytes:
    """Return the content of a regular file of at most `most` octets; OSError if it is none. follow: as of `opened`."""
    with opened(path, follow=follow) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise NotAFile("larger than allowed")
    return data
