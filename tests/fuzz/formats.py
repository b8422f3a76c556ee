"""Gives odd lists to all readers of lists: `python -m tests.fuzz.formats --seconds 3600 --seed 1` prints what it tried.

A line of progress comes each minute, so that a run that is ended early has told its count.

Held of each file, which is a good file of one format with lines, words and octets of others in it:

- No reader fails but with its own error, whatever the octets: plain, CSV, master file, all that convert reads.
- What a converted list blocks, the file blocks, by the rules of `fakes.formats`, a second implementation.
- Of a CSV and of a master file the converted list says what their reader says.
- Each name of an ASCII file stands in that file.
"""

import argparse
import random
import sys
import time
from collections import Counter

from resolver.authority.check import FORMATS as READ
from resolver.authority.convert import FORMATS, convert
from resolver.authority.issue import is_demonstration
from resolver.authority.repository import Refused
from resolver.feed.names import read, shape
from tests.fakes.formats import WRITERS, Entries
from tests.unit.authority.test_convert import scopes, wider
from tests.unit.feed.names.test_read import SMALL, pairs

_LABELS = ("a", "b", "x", "n-1", "_dmarc", "b\u00fccher", "xn--bcher-kva", "A", "co", "rpz-ip", "1", "*", "")
_VOCABULARY = (
    "0.0.0.0 # / \\ || ^ @@ ! = *. !=  $third-party $badfilter $important ## #@# address= server= local= local-zone: "
    "local-data: always_nxdomain redirect transparent static A IN CNAME SOA NS $ORIGIN $GENERATE $TTL ( ) \" ' ; , . "
    "http:// https:// :443 /path ? 192.0.2.1 :: ::1 localhost rpz-passthru. rpz-drop. \u00ad \u200b \ufeff \u3002 "
    "\uff01 \uff0a \x00 \x0c \x85 \u2028 \t"
)
_ODD = _VOCABULARY.split(" ")
_PROGRESS = 60.0
_TLDS = ("test", "test", "test", "example", "com", "co.uk", "invalid", "localhost")


class Drawn:
    """Files drawn with one seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def name(self) -> str:
        """A name, mostly a good one."""
        draw = self.draw
        labels = draw.choices(_LABELS[:8] if draw.random() < 0.9 else _LABELS, k=draw.choice((1, 1, 2, 3)))
        return ".".join([*labels, draw.choice(_TLDS[:4] if draw.random() < 0.9 else _TLDS)])

    def lines(self, form: str) -> list[str]:
        """Lines of a good file in a format."""
        writer, sayings = WRITERS[form]
        entries: Entries = {self.name(): self.draw.choice(sayings) for _ in range(self.draw.randrange(1, 8))}
        return writer(entries).split("\n")

    def file(self) -> tuple[str, bytes]:
        """A format, and a file of it that others have been in."""
        draw, form = self.draw, self.draw.choice(FORMATS)
        lines = self.lines(form)
        for _ in range(draw.choice((0, 0, 1, 2, 6))):
            lines.insert(draw.randrange(len(lines) + 1), draw.choice(self.lines(draw.choice(FORMATS))))
        for _ in range(draw.choice((0, 1, 2, 6))):
            at = draw.randrange(len(lines))
            words = lines[at].split(" ")
            words.insert(draw.randrange(len(words) + 1), draw.choice((*_ODD, self.name())))
            lines[at] = draw.choice(("", " ")).join(words)
        data = bytearray(draw.choice(("\n", "\n", "\n", "\r\n", "\r")).join(lines).encode())
        for _ in range(draw.choice((0, 0, 0, 1, 4))):
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
        return form, bytes(data)


def fault(form: str, data: bytes, seen: Counter[str]) -> str:
    """What a file does that it must not, "" if it does nothing of the kind."""
    shape.looks_like(data)
    low = data.lower()
    for name, reader in READ.items():
        try:
            found = reader(data, SMALL, demonstration=True, max_entries=99)
        except read.ReadError:
            continue
        seen[f"read as {name}"] += 1
        if data.isascii() and b"\\" not in data and not all(one in low for one, _ in pairs(found)):
            return f"{name}: a name that is not in the file"
    try:
        made = convert(data, form, psl=SMALL)
    except Refused:
        return ""
    seen[f"converted from {form}"] += 1
    if form in READ:
        # The same rules for reserved names as the conversion took.
        demonstration = is_demonstration(made.data, SMALL)
        theirs: dict[str, int] = {}
        for one, bits in pairs(READ[form](data, SMALL, demonstration=demonstration, max_entries=99)):
            theirs[one.decode()] = theirs.get(one.decode(), 0) | bits
        return "" if scopes(made) == theirs else f"{form}: another list"
    # U-labels are mapped before they are compared; the rules of `fakes.formats` know ASCII alone.
    text = data.decode()
    return "" if not text.isascii() or wider(form, text) is None else f"{form}: wider than the file"


def progress(tried: int, seen: Counter[str], seconds: float) -> str:
    """The line that says how far a run is."""
    return f"{seconds:.0f} s: {tried} files tried, {seen.total()} times read or converted, no fault"


def main() -> int:
    """Try files until the time is over; return 1 and print the file at the first fault."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    drawn, seen, tried, started = Drawn(asked.seed), Counter[str](), 0, time.monotonic()
    told = started
    while (now := time.monotonic()) - started < asked.seconds:
        if now - told >= _PROGRESS:
            told = now
            print(progress(tried, seen, now - started), flush=True)
        form, data = drawn.file()
        tried += 1
        found = fault(form, data, seen)
        if found:
            print(f"fault after {tried} files: {found}\n{data!r}", flush=True)
            return 1
    print(f"{tried} files in {time.monotonic() - started:.0f} s, no fault")
    for what, count in sorted(seen.items()):
        print(f"  {what}: {count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
