"""`authority check` and `authority convert` on a command line: exit status, what is said, and where names go."""

from pathlib import Path

import pytest

from tests.unit.cli.test_verbs_authority import run

HOSTS = b"# x\n127.0.0.1 localhost\n0.0.0.0 canary.test other.test\nwhat\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_bytes(HOSTS)
    return path


def test_a_hosts_file_becomes_a_list(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "list"
    assert run("check", source) == 3
    assert "it looks like a hosts file: blocklist-resolver authority convert --from hosts" in capsys.readouterr().err
    assert run("convert", source, "--from", "hosts", "--out", out) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        f"{out}: 2 names blocked, 0 exceptions, from 4 lines of {source}",
        "dropped: 1 local (line 2); 1 other syntax (line 4)",
        "  local: a name of the host itself, as in every hosts file",
        "  other syntax: not a line of this format",
        f"next: blocklist-resolver authority check {out}",
    ]
    assert "canary" not in told.out + told.err
    assert out.read_text().splitlines()[1:] == ["=canary.test", "=other.test"]
    assert out.stat().st_mode & 0o777 == 0o600
    assert run("check", out) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 2 entries: 2 names blocked, 0 exceptions\n")


def test_what_is_refused_writes_nothing(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "list"
    assert run("convert", source, "--from", "adblock", "--out", out) == 3
    assert f"refused: {source}: nothing of it blocks a name" in capsys.readouterr().err
    assert not out.exists()
    assert run("convert", source, "--from", "hosts", "--out", source) == 1
    assert source.read_bytes() == HOSTS
    assert run("convert", tmp_path / "none", "--from", "hosts", "--out", out) == 1
    assert run("convert", source, "--from", "hosts", "--out", tmp_path / "no" / "list") == 1
    assert run("check", tmp_path / "none", "--format", "csv") == 1


def test_repeated_entries_are_told(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source.write_bytes(HOSTS * 2)
    assert run("convert", source, "--from", "hosts", "--out", tmp_path / "list") == 0
    assert "repeated, written once: 2\n" in capsys.readouterr().out
