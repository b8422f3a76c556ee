"""Lets a verb that root typed act as the account whose folder it writes, so that nothing of root's is left there.

Rules:
- Only root changes, and only to the owner of the folder, or of the nearest folder above that exists.
- A folder of root's is used as root.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def owner_of(folder: Path) -> Iterator[None]:
    """Act as the owner of `folder` within the block, with that account's groups."""
    with _acting(*owner(folder)):
        yield


@contextmanager
def account(name: str) -> Iterator[None]:
    """Act as the account `name` within the block; nothing changes if this host does not have it."""
    try:
        found = pwd.getpwnam(name)
        ids = found.pw_uid, found.pw_gid
    except KeyError:
        ids = 0, 0
    with _acting(*ids):
        yield


@contextmanager
def _acting(uid: int, gid: int) -> Iterator[None]:
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    groups, before = os.getgroups(), os.getegid()
    os.setgroups(_groups(uid, gid))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(before)
        os.setgroups(groups)


def owner(folder: Path) -> tuple[int, int]:
    """Return uid and gid of the owner of `folder`, or of the nearest folder above it that exists."""
    here = folder.absolute()
    found = next(one for one in (here, *here.parents) if one.exists()).stat()
    return found.st_uid, found.st_gid


def _groups(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]
