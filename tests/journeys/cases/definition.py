"""Definition v2 of what is counted, as rows: clients, their queries and times, and the counts.

`python -m tests.journeys.cases.definition` writes the table in deploy/monitoring.md again.

Rules:
- A row is asked from a fresh table; `at` are seconds of a clock that the test moves.
- Names are told by their entry: `one` is listed by itself and what is below it, `two` is another entry of the same
  list, `third` an entry of another list.
- What a row comes to is the sum over both lists: blocked queries, attempts, capped attempts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = Path(__file__).parents[3] / "deploy" / "monitoring.md"
BEGIN, END = "<!-- the table of the definition begins -->", "<!-- the table of the definition ends -->"

V4, OTHER_V4 = "192.0.2.10", "192.0.2.11"
V6, SAME_64, OTHER_64 = "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"
HOUSEHOLD: Final = tuple(f"2001:db8:0:{number:x}::1" for number in range(4))
SITE: Final = tuple(f"2001:db8:1:{256 * household + number:x}::1" for household in range(5) for number in range(3))
"""The first /64s of one /56, and three of each of five /56s of one /48."""
EXEMPT = "192.0.2.99"
ONE, BELOW, TWO, THIRD = "one.test", "www.one.test", "two.test", "third.test"
RELEASED, UNLISTED = "released.test", "open.test"


class Ask(NamedTuple):
    """One query: when (seconds), of which type, by whom, for what."""

    at: int
    qtype: str = "A"
    client: str = V4
    name: str = ONE


@dataclass(frozen=True)
class Row:
    """What happens, the queries that it is, and what they come to."""

    happens: str
    asks: tuple[Ask, ...]
    queries: int
    attempts: int
    capped: int = 0


def _all(at: int, types: Iterable[str] = ("A", "AAAA", "HTTPS"), **more: str) -> tuple[Ask, ...]:
    return tuple(Ask(at, qtype, **more) for qtype in types)


_MANY: Final = tuple(f"x{number}.test" for number in range(25))
"""Each an entry of its own."""

ROWS: Final[tuple[Row, ...]] = (
    Row("a browser opens a page: A, AAAA and HTTPS", _all(0), 3, 1),
    Row(
        "the same, each asked again for want of an answer, then a reload after 20 s",
        (*_all(0), *_all(5), *_all(20)),
        9,
        1,
    ),
    Row("HTTPS comes first, A a second later", (Ask(0, "HTTPS"), Ask(1)), 2, 1),
    Row("again after 59 s", (Ask(0), Ask(59)), 2, 1),
    Row("again after 60 s", (Ask(0), Ask(60)), 2, 2),
    Row("every 20 s for two minutes: the window is not prolonged", tuple(map(Ask, range(0, 120, 20))), 6, 2),
    Row("a name below the entry, in the same minute", (Ask(0), Ask(1, name=BELOW)), 2, 1),
    Row("another entry of the list", (Ask(0), Ask(1, name=TWO)), 2, 2),
    Row("an entry of another list", (Ask(0), Ask(1, name=THIRD)), 2, 2),
    Row("another client", (Ask(0), Ask(1, client=OTHER_V4)), 2, 2),
    Row("another address of the same IPv6 /64", (Ask(0, client=V6), Ask(1, client=SAME_64)), 2, 1),
    Row("an address of another /64", (Ask(0, client=V6), Ask(1, client=OTHER_64)), 2, 2),
    Row("one device over IPv4 and IPv6", (*_all(0), *_all(0, client=V6)), 6, 2),
    Row("other types: TXT, MX, ANY", _all(0, ("TXT", "MX", "ANY")), 3, 0),
    Row("TXT, then A: other types open no window", (Ask(0, "TXT"), Ask(1)), 2, 1),
    Row("SVCB", (Ask(0, "SVCB"),), 1, 1),
    Row(
        "25 entries in an hour: 20 count", tuple(Ask(number, name=name) for number, name in enumerate(_MANY)), 25, 20, 5
    ),
    Row("one entry every minute for half an hour", tuple(map(Ask, range(0, 1800, 60))), 30, 20, 10),
    Row(
        "20 entries from each of four /64s of one /56: 60 count",
        tuple(Ask(0, name=name, client=client) for client in HOUSEHOLD for name in _MANY[:20]),
        80,
        60,
        20,
    ),
    Row(
        "20 entries from three /64s of each of five /56s of one /48: 240 count",
        tuple(Ask(0, name=name, client=client) for client in SITE for name in _MANY[:20]),
        300,
        240,
        60,
    ),
    Row(
        "25 entries, and another client meanwhile",
        (*(Ask(0, name=name) for name in _MANY), Ask(1, client=OTHER_V4)),
        26,
        21,
        5,
    ),
    Row("a client whom the list spares (`exempt`)", _all(0, client=EXEMPT), 0, 0),
    Row("a name that was released", _all(0, name=RELEASED), 0, 0),
    Row("a name that is not listed", _all(0, name=UNLISTED), 0, 0),
    Row("the self-test's synthetic name, from any client", _all(0, name=""), 0, 0),
)

ENTRIES: Final = (ONE, TWO, RELEASED, *_MANY)


def rendered() -> str:
    """The table."""
    head = ["| what happens | blocked queries | attempts | capped |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| {one.happens} | {one.queries} | {one.attempts} | {one.capped} |" for one in ROWS)])


def in_readme() -> str:
    """The table as deploy/monitoring.md has it."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    """Write the table."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{rendered()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    write()
