"""`python -m tests.journeys.cases.table` writes corpus/*.bin and the table in tests/CASES.md."""

from pathlib import Path
from typing import Final

from tests.journeys.cases import rows_edns, rows_local, rows_query
from tests.journeys.cases.packets import Row, framed

CORPUS: Final = Path(__file__).parent / "corpus"
CASES: Final = Path(__file__).parents[2] / "CASES.md"
BEGIN, END = "<!-- the table of cases begins -->", "<!-- the table of cases ends -->"
ROWS: Final[tuple[Row, ...]] = (*rows_query.ROWS, *rows_edns.ROWS, *rows_local.ROWS)


def files() -> dict[str, bytes]:
    """The corpus: name of a file to its octets."""
    return {f"{row.case}.bin": framed(row.packets) for row in ROWS}


def answer_of(row: Row) -> str:
    """What we answer, in one cell."""
    by_tcp = f"; by TCP: {row.by_tcp}" if row.by_tcp else ""
    kept = f"; when kept: {row.kept}" if row.kept else ""
    return row.answer + kept + by_tcp + (" (UDP only)" if len(row.over) == 1 else "")


def rendered() -> str:
    """The table."""
    head = ["| case | what comes | RFC | we answer | upstream asked |", "|---|---|---|---|---|"]
    lines = (f"| {row.case} | {row.comes} | {row.rfc} | {answer_of(row)} | {row.upstream} |" for row in ROWS)
    return "\n".join([*head, *lines])


def printed() -> str:
    """The table as tests/CASES.md has it."""
    return CASES.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    """Write files and table; a file that no row makes goes."""
    CORPUS.mkdir(exist_ok=True)
    for path in CORPUS.glob("*.bin"):
        if path.name not in files():
            path.unlink()
    for name, octets in files().items():
        (CORPUS / name).write_bytes(octets)
    before, _, rest = CASES.read_text().partition(BEGIN)
    CASES.write_text(f"{before}{BEGIN}\n{rendered()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    write()
