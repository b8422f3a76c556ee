"""The verb `evidence`: exit statuses, files, the chain on the disk, and errors in one line."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resolver.cli import main
from resolver.evidence import check
from tests.unit.evidence import april
from tests.unit.evidence.conftest import host, written

__all__ = ["host", "written"]


def run(*words: object) -> int | str | None:
    try:
        return main.main(["evidence", *map(str, words)])
    except SystemExit as left:
        return left.code


def make(host: Path, name: str, *words: object) -> tuple[int | str | None, Path]:
    out = host / f"{name}.json"
    return run("--month", name, "--out", out, "--config", host / "resolver.toml", *words), out


def test_two_months_are_issued_and_verified(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, of_april = make(host, "2025-04")
    second, of_may = make(host, "2025-05")
    assert (first, second) == (0, 0)
    assert "number 2 of this host, SHA-256 " in capsys.readouterr().out
    pem = host / "host.pem"
    pem.write_bytes(april.host_key(host))
    summary = host / "summary.html"
    words = ("--verify", of_may, "--host-key", pem, "--previous", of_april, "--summary", summary)
    assert run(*words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{of_may}: holds"
    assert {one.split(":")[0] for one in said[1:]} == {"Proved", "Not proved"}
    assert summary.read_bytes() == of_may.with_name("2025-05.json.html").read_bytes()
    names = sorted(path.name for path in (host / "state/evidence").iterdir())
    assert names == [".lock", "0001-2025-04.json", "0002-2025-05.json", "issued.json"]


def test_a_month_again_is_the_same_to_the_octet_and_a_correction_is_another(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = make(host, "2025-04")
    once = out.read_bytes()
    again, _ = make(host, "2025-04", "--summary", host / "two.html")
    assert (again, out.read_bytes()) == (0, once)
    assert "issued before as number 1, octet for octet" in capsys.readouterr().out
    corrected, _ = make(host, "2025-04", "--correct", "subscribers were wrong")
    assert corrected == 0
    assert "number 2 of this host, replaces number 1" in capsys.readouterr().out
    chain = check.opened(out.read_bytes()).bundle.chain
    assert chain is not None
    assert chain.replaces is not None
    assert (chain.replaces.sha256, chain.why) == (check.opened(once).sha256, "subscribers were wrong")


def test_a_month_that_is_not_over_is_refused_or_marked(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.now(UTC)
    assert make(host, f"{now:%Y-%m}")[0] == 3
    assert "is not over" in capsys.readouterr().err
    assert not (host / "state/evidence").exists()
    status, out = make(host, f"{now:%Y-%m}", "--so-far")
    if now.day == 1:
        assert status == 2
        return
    assert status == 0
    assert check.opened(out.read_bytes()).bundle.chain is None
    assert run("--verify", out) == 0
    assert "not evidence of the month" in capsys.readouterr().out
    assert not (host / "state/evidence").exists()


def test_what_was_changed_on_its_way_is_refused(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = make(host, "2025-04")
    capsys.readouterr()
    data = out.read_bytes()
    out.write_bytes(data.replace(b"resolver-1", b"resolver-2", 1))
    assert run("--verify", out) == 3
    said = capsys.readouterr().err
    assert said == f"blocklist-resolver: {out}: refused: not as its host signed it: signature\n"
    out.write_bytes(data)
    thief = host / "thief.pem"
    thief.write_text("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA" + "A" * 42 + "I=\n-----END PUBLIC KEY-----\n")
    assert run("--verify", out, "--host-key", thief) == 3
    assert run("--verify", out, "--previous", out) == 3
    assert run("--verify", out, "--host-key", out) == 2


def test_what_was_changed_where_it_is_kept_is_told(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(host, "2025-04")
    kept = host / "state/evidence/0001-2025-04.json"
    kept.write_bytes(kept.read_bytes()[:-1])
    for name in ("2025-04", "2025-05"):
        assert make(host, name)[0] == 3
        assert "changed since it was issued" in capsys.readouterr().err


def test_a_log_that_does_not_hold_is_issued_and_told(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = host / "state/audit.log"
    log.write_bytes(log.read_bytes()[:-200])
    status, out = make(host, "2025-04")
    assert status == 3
    assert "does not verify" in capsys.readouterr().err
    assert run("--verify", out) == 3
    assert "states that the audit log was broken" in capsys.readouterr().err


def test_another_log_than_that_of_the_month_before_is_refused(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(host, "2025-04")
    for name in ("audit.log", "audit.head"):
        (host / "state" / name).unlink()
    assert make(host, "2025-05")[0] == 3
    assert "another log" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--month", "2025-13", "--out", "x"), 2, "YYYY-MM"),
        (("--month", "2025-04"), 2, "--month needs --out"),
        (("--month", "2025-04", "--verify", "x"), 2, "not allowed with"),
        ((), 2, "required"),
        (("--month", "2025-04", "--out", "x.html"), 2, "JSON"),
        (("--month", "2025-04", "--out", "x", "--host-key", "y"), 2, "go with --verify"),
        (("--month", "2025-04", "--out", "x", "--correct", " "), 2, "one printable line"),
        (("--month", "2025-04", "--out", "x", "--correct", "why", "--so-far"), 2, "not in the chain"),
        (("--month", "2025-04", "--out", "x", "--correct", "why"), 3, "nothing to correct"),
        (("--month", "2025-04", "--out", "x", "--so-far"), 2, "leave out --so-far"),
        (("--month", "2025-04", "--out", "/nowhere/x"), 1, "No such file"),
        (("--verify", "/nowhere/x"), 2, "No such file"),
        (("--verify", "/dev/null"), 3, "refused"),
        (("--verify", "x", "--out", "y"), 2, "goes without"),
    ],
)
def test_what_goes_wrong_is_one_line(
    host: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], status: int, said: str
) -> None:
    assert run(*words, "--config", host / "resolver.toml") == status
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("missing", ["ledger.sqlite", "host.key"])
def test_without_what_it_needs_it_says_so(host: Path, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    (host / "state" / missing).unlink()
    assert make(host, "2025-04")[0] == 1
    assert missing in capsys.readouterr().err
    assert not (host / "state/evidence/issued.json").exists()


def test_what_leaves_says_nothing_that_a_list_holds(host: Path) -> None:
    _, out = make(host, "2025-04")
    for path in (out, out.with_name("2025-04.json.html")):
        assert ".test" not in path.read_text()
    said = json.loads(json.loads(out.read_text())["statement"])
    assert said["definition"]["caveat"] in said["caveats"]


def test_a_month_before_the_host_existed_is_not_signed(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = make(host, "2025-02")
    assert (status, out.exists()) == (3, False)
    assert "2025-02 is before this host: its records begin on 2025-03-" in capsys.readouterr().err
    assert not list((host / "state/evidence").glob("*.json"))
    assert make(host, "2025-04")[0] == 0, "the chain begins with a month that the host knows"
