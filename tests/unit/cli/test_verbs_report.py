"""The verb `report`: exit statuses, files, and errors in one line."""

import json
import re
from pathlib import Path

import pytest

from resolver.cli import main
from resolver.count.ledger import Ledger
from tests.unit.cli.test_main import FILE
from tests.unit.count import spring


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose state folder holds the ledger of a few days of the spring."""
    state = tmp_path / "state"
    state.mkdir()
    region = spring.replay.REGIONS[0]
    february = {day: {"skip": True} for day in spring.replay.days() if (day.month, day.day) > (1, 5)}
    spring.write(Ledger(state / "ledger.sqlite", spring.NOW), region, february)
    path = tmp_path / "resolver.toml"
    path.write_text(f'[state]\ndirectory = "{state}"\n{FILE}')
    return path


def run(config: Path, *words: str) -> int | str | None:
    try:
        return main.main(["report", "--config", str(config), *words])
    except SystemExit as left:
        return left.code


def test_a_table_of_the_days_asked_for(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "--from", "2020-01-01", "--to", "2020-01-05") == 0
    said = capsys.readouterr()
    assert "Ruritania-made-up, list made-up" in said.out
    assert re.search(r"2020-01 +16,230 +48,690 ", said.out)
    assert said.err == ""


def test_a_file_with_noise_by_region(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    words = ("--from", "2020-01-01", "--to", "2020-01-06", "--by", "region", "--noise", "--format", "json")
    assert run(config, *words, "--out", str(out)) == 0
    found = json.loads(out.read_text())
    assert "discrete Laplace" in found["noise"]
    assert [one["gap"] for one in found["places"][0]["days"]] == [None] * 5 + ["no figures"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--from", "2020-02-30"), 2, "not understood"),
        (("--from", "2020-03-01", "--to", "2020-02-01"), 2, "--from: expected a day"),
        (("--to", "9999-01-01"), 2, "not over"),
        (("--from", "2019-01-01", "--to", "2019-01-31"), 1, "no figures from 2019-01-01 to 2019-01-31"),
        (("--prometheus", "ftp://a.example"), 1, "not a server's URL"),
        (("--format", "pdf"), 2, "expected one of"),
        (("--from", "2020-01-01", "--to", "2020-01-05", "--out", "/nowhere/at/all"), 1, "No such file"),
    ],
)
def test_what_goes_wrong_is_one_line(
    config: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], status: int, said: str
) -> None:
    assert run(config, *words) == status
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_without_a_ledger_it_says_so(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state" / "ledger.sqlite").unlink()
    assert run(config) == 1
    assert "no ledger here" in capsys.readouterr().err
    assert not (tmp_path / "state" / "ledger.sqlite").exists()
