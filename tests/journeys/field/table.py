"""`python -m tests.journeys.field.table` writes the table in tests/FIELD.md from the rows and scenes."""

import re
from pathlib import Path
from typing import Final

from tests.journeys.field import rows_kept, rows_rdata, rows_reply, scenes
from tests.journeys.field.rows import Row, Scene

FIELD: Final = Path(__file__).parents[2] / "FIELD.md"
BEGIN, END = "<!-- the table of field cases begins -->", "<!-- the table of field cases ends -->"
ROWS: Final[tuple[Row, ...]] = (*rows_reply.ROWS, *rows_kept.ROWS, *rows_rdata.ROWS)
ALL: Final[tuple[Row | Scene, ...]] = (*ROWS, *scenes.SCENES)


def _place(one: Row | Scene) -> tuple[bool, int, int, str]:
    """Numbers first, then what others' test suites found; each kind before its neighbours, these in their order."""
    found = re.fullmatch(r"F?(\d+)(.*)", one.case)
    assert found, f"{one.case}: not the number of a case"
    kind, rest = found.groups()
    place = re.sub(r"\D", "", rest)
    return one.case.startswith("F"), int(kind), int(place or 0), rest


def rendered() -> str:
    """The table."""
    head = ["| case | source | what comes | ours before | ours now |", "|---|---|---|---|---|"]
    lines = (
        f"| {one.case} | {one.source} | {one.comes} | {one.before} | {one.now} |" for one in sorted(ALL, key=_place)
    )
    return "\n".join([*head, *(line.replace("{name}", "the name").replace("{there}", "target") for line in lines)])


def printed() -> str:
    """The table as tests/FIELD.md has it."""
    return FIELD.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    """Write the table."""
    before, _, rest = FIELD.read_text().partition(BEGIN)
    FIELD.write_text(f"{before}{BEGIN}\n{rendered()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    write()
