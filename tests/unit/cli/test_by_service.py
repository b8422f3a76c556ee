"""Reading through the service: the same output, page by page; files are the caller's own."""

from pathlib import Path

import pytest

from resolver.cli import by_service, main
from resolver.config import config as configs
from resolver.control import client, requests
from resolver.control.requests import Failed, ReadReply
from tests.unit.cli.running import Running, running
from tests.unit.cli.test_main import FILE

__all__ = ["running"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "resolver.toml"
    path.write_text(f'[state]\ndirectory = "{tmp_path}/state"\n{FILE}')
    (tmp_path / "state").mkdir()
    return path


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folder is another account's."""
    monkeypatch.setattr(by_service, "reads_here", lambda loaded: False)


def status_of(*words: str) -> int | str | None:
    try:
        return main.main(list(words))
    except SystemExit as left:
        return left.code


VERBS = [
    ("list", "status"),
    ("list", "held", "demo"),
    ("list", "held", "demo", "--statement", "approve"),
    ("list", "audit", "--head"),
    ("list", "releases", "--json"),
    ("list", "release", "3", "--statement"),
    ("list", "receipt", "--key"),
    ("report", "--so-far"),
    ("report", "--from", "2026-01-01", "--to", "2026-01-02", "--format", "csv"),
]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_member_of_the_group_reads_by_the_service(
    words: tuple[str, ...], config: Path, closed: None, running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.replies = [
        ReadReply(status=3, out="one ", err="why\n", token="a" * 32, next=4),
        ReadReply(status=3, out="two\n", err="why\n"),
    ]
    assert status_of(*words, "--config", str(config)) == 3
    said = capsys.readouterr()
    assert said.err == "why\n"
    assert said.out == ("" if words[0] == "report" else "one two\n"), "no half report"
    assert running.asked == [requests.Read(words=words), requests.ReadMore(token="a" * 32, start=4)]


def test_a_report_and_evidence_are_written_where_their_reader_wants_them(
    config: Path, closed: None, running: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running.replies = [ReadReply(status=0, out="figures\n")]
    out = tmp_path / "report.csv"
    assert status_of("report", "--so-far", "--format=csv", "--out", str(out), "--config", str(config)) == 0
    assert out.read_text() == "figures\n"
    assert running.asked == [requests.Read(words=("report", "--so-far", "--format", "csv"))]
    running.replies = [ReadReply(status=2, out="", err="no day of 2026-11 is over yet\n")]
    words = ("evidence", "--month", "2026-11", "--so-far", "--out", str(tmp_path / "e.json"))
    assert status_of(*words, "--config", str(config)) == 2
    assert "no day of" in capsys.readouterr().err
    assert not (tmp_path / "e.json").exists()


def test_who_may_not_read_and_reaches_no_service_learns_both(
    config: Path, closed: None, running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.replies = [client.Unreachable("/run/x: permission denied: run this as root")]
    assert status_of("list", "status", "--config", str(config)) == 1
    said = "the state folder is not yours to read, and the service did not read it for you: /run/x: permission denied"
    assert said in capsys.readouterr().err
    running.replies = [Failed(said="unknown command: the service may be an older version; restart it")]
    assert status_of("list", "status", "--config", str(config)) == 1
    assert "older version" in capsys.readouterr().err


def test_root_the_account_and_the_services_own_process_read_the_folder(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = configs.load(config)
    assert by_service.reads_here(loaded)
    monkeypatch.setattr(by_service.os, "access", lambda *_: False)
    assert not by_service.reads_here(loaded)
    monkeypatch.setenv(by_service.HERE, "1")
    assert by_service.reads_here(loaded)
    monkeypatch.delenv(by_service.HERE)
    (tmp_path / "state").rmdir()
    assert by_service.reads_here(loaded), "there is nothing yet that anybody could read"
