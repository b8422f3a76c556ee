"""Reads a list as a resolver does and says what would be in force, before anything is signed: `authority check`."""

from collections.abc import Callable, Iterator
from typing import Final

from resolver.authority.issue import is_demonstration
from resolver.authority.repository import Refused
from resolver.config.config import MAX_ENTRIES, MAX_TARGET_BYTES
from resolver.config.values import many
from resolver.feed import refusals
from resolver.feed.names import read, read_csv, read_master, shape
from resolver.feed.names.guard_lines import INFRASTRUCTURE, Protected
from resolver.signed import header

FORMATS: Final[dict[str, Callable[..., read.Entries]]] = {
    "plain": read.read,
    "csv": read_csv.read_csv,
    "rpz": read_master.read_master,
}


def check(data: bytes, form: str) -> Iterator[str]:
    """Yield what a resolver makes of a list, in lines of counts, reasons and line numbers; Refused if it is unusable.
    """
    if len(data) > MAX_TARGET_BYTES:
        raise Refused(f"larger than {MAX_TARGET_BYTES} bytes")
    psl = read.suffixes()
    looks = shape.looks_like(data) or ""
    try:
        said = _header(data, form)
        demonstration = is_demonstration(data, psl, FORMATS[form])
        found = FORMATS[form](
            data,
            psl,
            demonstration=demonstration,
            max_entries=MAX_ENTRIES,
            protected=Protected((), INFRASTRUCTURE.read_text("ascii"), "", psl),
        )
    except read.ReadError as error:
        raise Refused(
            refusals.unusable(
                error.reason, error.refused, error.refused_lines, shape=looks, line=error.line, read_as=form
            )
        ) from None
    numbers, refused = read.distinct(found), sum(found.refused.values())
    if not found.blocks:
        raise Refused("it holds only exceptions; to end the list, withdraw it")
    entries = many(numbers.entries, "entry", "entries")
    yield f"{entries}: {many(numbers.blocked, 'name')} blocked, {many(numbers.exceptions, 'exception')}{said}"
    if demonstration:
        yield "reserved names: only a demonstration list may hold them"
    if refused:
        yield f"{many(refused, 'line')} refused: {refusals.lines(found.refused, found.refused_lines)}"
        yield from (f"  {reason}: {refusals.ADVICE[reason]}" for reason in refusals.ADVICE if reason in found.refused)
        if refused > found.lines and (hint := refusals.hint(looks, read_as=form)):
            yield f"  most lines are refused; {hint}"
    if found.set_aside:
        lines = refusals.lines(found.set_aside, found.set_aside_lines)
        yield f"{many(sum(found.set_aside.values()), 'line')} set aside until two persons approve: {lines}"


def _header(data: bytes, form: str) -> str:
    """Return the serial of a list that states it, in words; read.ReadError, or Refused if a CSV states none."""
    if form == "rpz":
        return f"; serial {read_master.soa_serial(data)}"
    if form == "plain":
        return ""
    read.must_be_utf8(data)
    try:
        return f"; serial {header.of_csv(data).serial}"
    except header.HeaderMalformed as error:
        hint = refusals.hint(shape.looks_like(data) or "", read_as=form)
        what = f"a CSV begins with a row SERIAL;TIMESTAMP: {error}"
        raise Refused("; ".join(part for part in (what, hint) if part)) from None
