"""`make demo` without Prometheus: ledgers, reports, a national figure. tests/peers has the spring in Prometheus."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.running import ROOT

SCRIPT = ROOT / "deploy" / "spring" / "demonstrate.py"


def demonstrated(folder: Path) -> "subprocess.CompletedProcess[str]":
    """The demonstration on a host that has no Prometheus and no browser."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--folder", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": str(folder.parent)},
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("demo") / "spring"
    done = demonstrated(made)
    assert (done.returncode, done.stderr) == (0, "")
    (made / "said").write_text(done.stdout)
    return made


def test_every_operator_has_a_ledger_and_a_report(folder: Path) -> None:
    said = (folder / "said").read_text()
    assert said.startswith("A made-up spring of 2020: nothing in it was ever counted.\n")
    homes = sorted(one.parent.name for one in folder.glob("*/ledger.sqlite"))
    assert len(homes) == said.count("  ledger  ") == 9
    for home in homes:
        assert "made-up" in (folder / home / "report.html").read_text()
    assert "not installed" in said
    assert said.rstrip().endswith("report.html")


def test_each_month_has_a_sum_that_no_submission_shows(folder: Path) -> None:
    for month in ("2020-03", "2020-04"):
        summed = json.loads((folder / f"{month}-national.json").read_text())
        ((list_id, total),) = ((one["list"], one["attempts"]) for one in summed["sums"])
        assert list_id == "made-up"
        assert f"{month}: {total:,} attempts, of 9 operators" in (folder / "said").read_text()
        files = [*folder.glob(f"{month}-*-*.json")]
        assert len(files) == 9
        assert all(str(total) not in one.read_text() for one in files)


def test_a_second_run_removes_what_the_first_made_and_nothing_else(folder: Path) -> None:
    (folder / "old").write_text("of the run before")
    assert demonstrated(folder).returncode == 0
    assert not (folder / "old").exists()
    (folder / "MADE-UP").unlink()
    (folder / "mine").write_text("no demonstration's")
    done = demonstrated(folder)
    assert done.returncode == 2
    assert "none that a demonstration has made" in done.stderr
    assert (folder / "mine").read_text() == "no demonstration's"
