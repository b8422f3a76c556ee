"""Compares two resolvers over names that are read from stdin, and prints counts and line numbers, never a name.

Rules:
- A name's answers become one word each, WORDS; only the words are compared, since honest addresses differ.
- What blocked answers look like is known for both: said by the operator, or learnt from the test entry.
- A name is in a query and nowhere else: an error about a line has its number alone.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from resolver.doctor import verdicts, wire
from resolver.doctor.ask import Asker, Query, Silence, Spent
from resolver.doctor.verdicts import Expected
from resolver.doctor.wire import Malformed, Message, Name

BLOCKED, OPEN, NOTHING, MISSING, REFUSED, FAILED = (
    "blocked", "answered", "no data", "no such name", "refused", "no answer",
)  # fmt: skip
WORDS: Final = (BLOCKED, OPEN, NOTHING, MISSING, REFUSED, FAILED)
MOST_NAMES: Final = 100_000
MOST_LINES: Final = 50
"""Line numbers that are printed of one difference."""
_KINDS: Final = (wire.A, wire.AAAA)


class NotAName(Exception):
    """Raised for a line that holds no domain name; its text has the line's number alone."""


def names(lines: Iterable[str]) -> Iterator[tuple[int, Name]]:
    """Yield each line's number and name; blank lines and comments are passed over. NotAName for all else."""
    found = 0
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip().lower()
        if not text:
            continue
        found += 1
        if found > MOST_NAMES:
            raise NotAName(f"line {number}: more than {MOST_NAMES:,} names")
        try:
            ipaddress.ip_address(text)
        except ValueError:
            pass
        else:
            raise NotAName(f"line {number}: an address, not a domain name")
        try:
            yield number, wire.name_of(text)
        except Malformed as error:
            raise NotAName(f"line {number}: {error}") from None


def word_of(replies: dict[int, Message | None], expected: Expected) -> str:
    """Return the word of a name whose replies, by type, are these; None for a reply that did not come."""
    came = {kind: reply for kind, reply in replies.items() if reply is not None}
    if len(came) < len(replies):
        return FAILED
    if all(not verdicts.blocked(reply, kind, expected) for kind, reply in came.items()):
        return BLOCKED
    rcodes = {reply.rcode for reply in came.values()}
    if any(reply.rcode == wire.NOERROR and _has(reply, kind) for kind, reply in came.items()):
        return OPEN
    if rcodes == {wire.NXDOMAIN}:
        return MISSING
    if wire.REFUSED in rcodes:
        return REFUSED
    return NOTHING if rcodes <= {wire.NOERROR, wire.NXDOMAIN} else FAILED


def _has(reply: Message, kind: int) -> bool:
    return any(one.kind == kind for one in reply.answer)


@dataclass(slots=True)
class Comparison:
    """How often two resolvers gave each pair of words, and in which lines they differ."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    lines: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def take(self, number: int, old: str, new: str) -> None:
        """Add a line."""
        self.pairs[(old, new)] += 1
        if old != new:
            kept = self.lines.setdefault((old, new), [])
            if len(kept) < MOST_LINES:
                kept.append(number)

    @property
    def differs(self) -> bool:
        """Whether one blocks what the other does not."""
        return any(
            (old == BLOCKED) != (new == BLOCKED) and not {old, new} & {FAILED, REFUSED} for old, new in self.lines
        )

    @property
    def failed(self) -> bool:
        """Whether one did not answer at all."""
        return any(FAILED in pair or REFUSED in pair for pair in self.pairs)

    def text(self) -> str:
        """Return the counts, and the numbers of lines that differ."""
        total, same = self.pairs.total(), sum(count for (old, new), count in self.pairs.items() if old == new)
        shown = [f"names compared: {total:,}, with the same answer: {same:,}"]
        for old in WORDS:
            for new in WORDS:
                count = self.pairs[(old, new)]
                if not count:
                    continue
                if old == new:
                    shown.append(f"  both {old}: {count:,}")
                else:
                    shown.append(f"  old {old}, new {new}: {count:,}, {_numbers(self.lines[(old, new)], count)}")
        return "\n".join(shown)


def _numbers(lines: list[int], count: int) -> str:
    more = f" and {count - len(lines):,} more" if count > len(lines) else ""
    return f"in {'line' if count == 1 else 'lines'} {', '.join(map(str, lines))}{more}"


def compare(
    old: tuple[Asker, Expected],
    new: tuple[Asker, Expected],
    wanted: Iterable[tuple[int, Name]],
    pause: Callable[[], object],
) -> Comparison:
    """Ask both for each name; `pause` is called before each."""
    found = Comparison()
    for number, name in wanted:
        pause()
        found.take(number, _asked(*old, name), _asked(*new, name))
    return found


def _asked(asker: Asker, expected: Expected, name: Name) -> str:
    replies: dict[int, Message | None] = {}
    for kind in _KINDS:
        try:
            replies[kind] = asker.ask(Query(name=name, kind=kind))
        except Spent:
            raise
        except Silence:
            replies[kind] = None
    return word_of(replies, expected)
