"""Prints the leak table that tests/peers/test_leak_table.py has filled, and the figures that other tests tell."""

from pathlib import Path

import pytest

TABLE = pytest.StashKey[dict[tuple[str, str], str]]()
FIGURES = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """The table: (row, column) to what came back; the figures: title to text."""
    config.stash[TABLE] = {}
    config.stash[FIGURES] = {}


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> dict[tuple[str, str], str]:
    """The table to be filled."""
    return request.config.stash[TABLE]


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> dict[str, str]:
    """Figures to be shown at the end: title to text."""
    return request.config.stash[FIGURES]


def rendered(cells: dict[tuple[str, str], str]) -> str:
    """The table as text, rows and columns in the order in which they came."""
    rows, columns = list(dict.fromkeys(r for r, _ in cells)), list(dict.fromkeys(c for _, c in cells))
    lines = [["", *columns], *([row, *(cells.get((row, one), "-") for one in columns)] for row in rows)]
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns) + 1)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Shows figures and table, and keeps the table beside the other temporary files of the run."""
    for title, said in config.stash[FIGURES].items():
        terminalreporter.section(title)
        terminalreporter.write_line(said)
    cells = config.stash[TABLE]
    if not cells:
        return
    text = rendered(cells)
    terminalreporter.section("leak table")
    terminalreporter.write_line(text)
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        path: Path = factory.getbasetemp() / "leak-table.txt"
        path.write_text(text + "\n")
        terminalreporter.write_line(f"also in {path}")
