"""A published policy without a service: tables of lists from lines, written to a folder as the service writes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from resolver.core.lane import Tables
from resolver.plugin.folder import Writer
from tests.unit.query import parts

KEY = parts.KEY
PAGE = bytes([192, 0, 2, 1])


def tables(
    lists: parts.Lists,
    number: int = 1,
    *,
    answer: Literal["page", "nodata", "nxdomain"] = "page",
    released: Sequence[Sequence[str]] = (),
    exempt: Mapping[int, str] | None = None,
    complete: bool = True,
) -> Tables:
    """Tables of these lists, in this order."""
    judging = parts.generation(number, lists, answer, released)
    return parts.tables_of(judging, parts.access(exempt=exempt), complete=complete)


def published(folder: Path, *lists: Sequence[str], number: int = 1, exempt: Mapping[int, str] | None = None) -> Path:
    """The folder, with a policy of these lists."""
    Writer(folder, KEY).write(tables(lists, number, exempt=exempt))
    return folder
