"""A published policy without a service: tables of lists from lines, written to a folder as the service writes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from resolver.core import codes
from resolver.core.lane import Tables
from resolver.core.policy import Generation, Member
from resolver.core.reply import Replies
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


def structured(one: Tables, signal: int, full: bytes, brief: bytes) -> Tables:
    """The same tables, whose lists have structured errors for clients with the option `signal`."""
    members = []
    for member in one.generation.members:
        replies = Replies(
            codes.ANSWER_PAGE, statute=False, v4=[PAGE], text=b"why", signal=signal, structured=(full, brief)
        )
        words = getattr(member.words, "base", member.words)
        members.append(Member(words, replies, slot=member.slot, release=bool(member.release)))
    judging = Generation(one.generation.number, KEY, members)
    return parts.tables_of(judging, parts.access())


def published(folder: Path, *lists: Sequence[str], number: int = 1, exempt: Mapping[int, str] | None = None) -> Path:
    """The folder, with a policy of these lists."""
    Writer(folder, KEY).write(tables(lists, number, exempt=exempt))
    return folder
