"""The verb `report`: exit statuses, files, and errors in one line."""

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from resolver.cli import main, verbs_report
from resolver.count.ledger import Ledger
from resolver.count.report.noise import EPSILONS
from resolver.count.report.prometheus import Server
from resolver.feed import seal
from tests.unit.cli.test_main import FILE
from tests.unit.count import spring


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose state folder holds the ledger of a few days of the spring."""
    state = tmp_path / "state"
    state.mkdir()
    seal.load_keys(state)
    seal.host_key(state, make=True)
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
    assert run(config, *words, "--out", str(out)) == 0
    assert json.loads(out.read_text()) == found, "a second run is the first one again"


def test_the_budget_refuses_the_query_that_is_too_much(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--from", "2020-01-01", "--to", "2020-01-05", "--noise", "--epsilon")
    assert run(config, *words, "2") == 0
    assert run(config, *words, "1") == 0
    assert "at most 1.5 of 2 for one day" in " ".join(capsys.readouterr().out.split())
    assert run(config, *words, "0.5") == 0
    assert run(config, *words, "0.2") == 0
    ledger = Ledger(config.parent / "state/ledger.sqlite", spring.NOW)
    assert {one.epsilon for one in ledger.draws()} == {100, 50, 25, 10}
    capsys.readouterr()
    ledger.draw([replace(one, source="fleet") for one in ledger.draws() if one.epsilon == 25], lambda _: None)
    assert run(config, *words, "0.1") == 3
    error = capsys.readouterr().err
    assert "the budget of noise refuses this report: with it, list made-up, 2020: " in error
    assert len(error.splitlines()) == 1
    assert run(config, *words, "2") == 0, "what was given out is given again"


def test_a_fleets_noise_is_drawn_by_a_host_with_keys_and_a_ledger(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = spring.facts()
    monkeypatch.setattr("resolver.count.report.report.of_fleet", lambda *_: facts)
    words = ("--prometheus", "http://prometheus.example", "--from", "2020-03-01", "--to", "2020-03-31", "--noise")
    assert run(tmp_path / "absent.toml", *words) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert run(config, *words, "--format", "json") == 0
    before = json.loads(capsys.readouterr().out)
    (tmp_path / "state" / "ledger.sqlite").unlink()
    assert run(config, *words) == 1
    assert "--noise keeps its figures" in capsys.readouterr().err
    Ledger(tmp_path / "state" / "ledger.sqlite", spring.NOW)
    assert run(config, *words, "--format", "json") == 0
    after = json.loads(capsys.readouterr().out)
    assert after["places"] == before["places"], "a new ledger has the same noise: it is the key's"
    (tmp_path / "state" / "seal.key").unlink()
    assert run(config, *words) == 1
    assert "seal.key: No such file" in capsys.readouterr().err


def test_epsilon_goes_with_noise(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "--epsilon", "1") == 2
    assert "goes with --noise" in capsys.readouterr().err
    assert run(config, "--noise", "--epsilon", "3") == 2
    assert tuple(verbs_report.EPSILONS) == tuple(EPSILONS)


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


def test_on_its_first_day_a_host_has_numbers_marked_as_unfinished(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = spring.replay.midnight(date(2020, 1, 5)) + 90_000  # the beat of the midnight is published
    monkeypatch.setattr(verbs_report.time, "time", lambda: float(noon - 7200))
    assert run(config, "--so-far", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["last"]) == ("2020-01-01", "2020-01-05")
    assert found["so_far"].startswith("So far, at 2020-01-05 23:00 UTC: the month and its last day are not over")
    assert [one["gap"] for one in found["places"][0]["days"]] == [None] * 4 + ["the day is not over"]
    assert found["places"][0]["months"][0]["attempts"] == 16_230, "what was published is in the sum"
    assert run(config, "--so-far") == 0
    said = capsys.readouterr().out
    assert "2020-01-01 to 2020-01-05 so far" in said
    assert "So far, at 2020-01-05 23:00 UTC" in said
    monkeypatch.setattr(verbs_report.time, "time", lambda: float(noon + 40 * 86400))
    assert run(config, "--so-far") == 1
    assert "no beat of this month is published yet" in capsys.readouterr().err


@pytest.mark.parametrize("more", [("--from", "2020-01-01"), ("--to", "2020-01-01"), ("--noise",)])
def test_a_report_so_far_is_of_this_month_and_not_for_publication(
    config: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert run(config, "--so-far", *more) == 2
    assert "goes without" in capsys.readouterr().err


def test_a_fleet_is_reported_on_without_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int, int]] = []

    def ask(_: object, query: str, first: int, last: int) -> list[object]:
        asked.append((query, first, last))
        return []

    monkeypatch.setattr(Server, "ask", ask)
    assert run(tmp_path / "absent.toml", "--prometheus", "http://prometheus.example") == 1
    assert "no figures from" in capsys.readouterr().err
    before = len(asked)
    assert run(tmp_path / "absent.toml", "--prometheus", "http://prometheus.example", "--so-far") == 1
    assert any(first == last for _, first, last in asked[before:]), "one more moment is asked for: now"
    assert run(tmp_path / "absent.toml") == 2
    assert "cannot be read" in capsys.readouterr().err
