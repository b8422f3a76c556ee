"""The verbs of `list`, as they are typed."""

import io
import json
import sys
from pathlib import Path

import pytest

from resolver.cli import main
from resolver.feed import audit_details
from resolver.feed.audit import Audit, Event


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "resolver.toml"
    path.write_text(
        f"""
        [page]
        addresses = ["192.0.2.1"]
        [upstream]
        servers = ["192.0.2.53:53"]
        [state]
        directory = "{tmp_path}/state"
        [[list]]
        id = "demo"
        demonstration = true
        [list.source]
        kind = "tuf"
        url = "file:///srv/authority"
        root = "/srv/root.json"
        """
    )
    return path


def status_of(*words: str) -> int:
    try:
        return main.main(words)
    except SystemExit as left:
        return int(left.code or 0)


def test_status_of_a_host_without_lists(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "status", "--config", str(config)) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "list       demo: NOT IN FORCE, no verified list yet"
    assert rest == ["next: demo is NOT IN FORCE: look at its source, and journalctl -u blocklist-resolver"]


def test_a_name_is_never_taken_from_the_command_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "check", "name.isp", "--config", str(config)) == 2
    assert "name.isp" not in "".join(capsys.readouterr())
    assert status_of("list", "check", "a.test", "--config", str(config)) == 0
    assert capsys.readouterr().out == "not listed\n"


def test_a_pasted_url_is_understood_and_what_is_no_name_exits_2(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("https://x.example/p\nx.example\n"))
    assert status_of("list", "check", "-", "--config", str(config)) == 0
    assert capsys.readouterr().out == "of the URL: x.example: not listed\nnot listed\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("192.0.2.1\nx.example\n"))
    assert status_of("list", "check", "-", "--config", str(config)) == 2
    refused, after = capsys.readouterr().out.splitlines()
    assert (refused.partition(",")[0], after) == ("an address", "not listed")


def test_the_hosts_public_key_is_handed_over_once_it_is_made(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from resolver.config import config as read
    from resolver.feed import poll
    from resolver.signed import statement

    assert status_of("list", "receipt", "--key", "--config", str(config)) == 1
    assert "first start" in capsys.readouterr().err
    assert status_of("list", "receipt", "--config", str(config)) == 2
    capsys.readouterr()
    made = poll.host_key_of(read.load(config), make=True)
    assert status_of("list", "receipt", "--key", "--config", str(config)) == 0
    assert statement.pinned_of(capsys.readouterr().out.encode()) == statement.public_of(made)


# The audit log.


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "state/audit.log"
    audit = Audit(path)
    for serial in (7, 8):
        audit.append(Event.IN_FORCE, 1_700_000_000, list_id="demo", serial=serial, digest="ab", detail="by test")
    return path


def test_the_log_is_shown_and_its_head(config: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("list", "audit", "--config", str(config))
    assert status_of(*words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "2 2023-11-14T22:13:20Z in_force demo serial 8: by test"
    assert status_of(*words, "--head") == 0
    number, head = capsys.readouterr().out.split()
    assert number == "2"
    assert said[2] == f"verified; newest entry 2: {head}"
    assert status_of(*words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["head"] == {"number": 2, "hash": head}
    earlier = told["entries"][0]["hash"]
    for known in (head, earlier, head.upper()):
        assert status_of(*words, "--expect", known) == 0
    for unknown in ("0" * 64, "", "ab"):
        assert status_of(*words, "--expect", unknown) == 3


def test_dates_of_the_log_are_dates(config: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detail = audit_details.of_release(3, 17, audit_details.released(1_796_487_556, 1000))
    Audit(log).append(Event.RELEASED_NAME, 1_700_000_000, list_id="demo", serial=8, digest="ab", detail=detail)
    assert status_of("list", "audit", "--config", str(config)) == 0
    said = capsys.readouterr().out.splitlines()[2]
    assert said.endswith(": release 3 line 17: until 2026-12-05T16:19:16Z, by uid 1000"), said


def test_a_log_that_was_cut_exits_3(config: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    assert status_of("list", "audit", "--config", str(config)) == 3
    assert "entry 2, which was written, is missing" in capsys.readouterr().err


def test_no_log_is_an_empty_one(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "audit", "--head", "--config", str(config)) == 0
    assert capsys.readouterr().out == f"0 {'0' * 64}\n"


def test_a_log_that_cannot_be_read(config: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.unlink()
    log.mkdir()
    assert status_of("list", "audit", "--config", str(config)) == 1
    assert "Is a directory" in capsys.readouterr().err
