"""The verbs with which persons decide, as they are typed."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.control import requests
from tests.unit.cli.running import Running, running
from tests.unit.cli.test_verbs_list import config, status_of

__all__ = ["config", "running"]
SIGNATURE = "-----BEGIN SSH SIGNATURE-----\nAAAA\n"


DECIDED = requests.DecideReply(
    principal="anna", key="SHA256:x", missing=0, carried_out=True, confirmed=False, in_force=8
)
CONFIRMED = replace(DECIDED, confirmed=True)


@pytest.fixture
def signature(tmp_path: Path) -> str:
    path = tmp_path / "one.sig"
    path.write_text(SIGNATURE)
    return str(path)


@pytest.mark.parametrize(
    ("reply", "status", "said"),
    [
        (requests.FetchReply(found="in_force", serial=8, reasons=()), 0, "demo: serial 8 is in force now"),
        (requests.FetchReply(found="held", serial=8, reasons=("growth",)), 0, "demo: serial 8 is held (growth)"),
        (requests.FetchReply(found="nothing", serial=7, reasons=()), 0, "demo: nothing new; serial 7 stays"),
        (
            requests.FetchReply(found="nothing", serial=7, reasons=(), again_at=1795608000),
            0,
            "demo: its list is dated ahead of this host's clock; it is tried again at 2026-11-25T12:00:00Z",
        ),
        (
            requests.FetchReply(found="nothing", serial=7, reasons=(), passed_over="files passed over in /drop: 2"),
            0,
            "demo: nothing new; serial 7 stays\ndemo: files passed over in /drop: 2",
        ),
        (requests.FetchReply(found="nothing", serial=0, reasons=()), 0, "demo: nothing new; no list is in force"),
        (
            requests.FetchReply(found="nothing", serial=7, reasons=(), taken_out=8),
            0,
            "demo: serial 8 was taken out; serial 7 stays until the authority publishes a corrected list",
        ),
        (requests.Refused(said="refused: expired; serial 7 stays"), 3, "refused: expired"),
        (requests.Failed(said="no such list"), 1, "no such list"),
    ],
)
def test_fetch(
    reply: requests.Reply, status: int, said: str, config: Path, running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.replies = [reply]
    assert status_of("list", "fetch", "demo", "--config", str(config)) == status
    assert said in "".join(capsys.readouterr())


def test_fetch_explained(config: Path, running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    steps = (("looking up authority.example", 0.0121), ("reading its list: 7 octets", 1.5))
    fetched = requests.FetchReply(found="in_force", serial=8, reasons=())
    words = ("list", "fetch", "demo", "--explain", "--config", str(config))
    running.replies = [requests.ExplainReply(steps=steps, fetched=fetched)]
    assert status_of(*words) == 0
    lines = ["      12 ms  looking up authority.example", "    1500 ms  reading its list: 7 octets"]
    assert capsys.readouterr().out.splitlines() == [*lines, "demo: serial 8 is in force now"]
    running.replies = [requests.ExplainReply(steps=steps, refused="refused: denied; serial 7 stays", do="compare keys")]
    assert status_of(*words) == 3
    told = ["demo: refused: denied; serial 7 stays", "next: compare keys"]
    assert capsys.readouterr().out.splitlines() == [*lines, *told]


@pytest.mark.parametrize(
    ("words", "decision", "reply", "said"),
    [
        (["approve", "demo", "8"], requests.Approve, replace(DECIDED, missing=1), "1 more needed, of another person"),
        (["approve", "demo", "8"], requests.Approve, DECIDED, "serial 8 is in force"),
        (["approve", "demo", "8", "--set-aside"], requests.ApproveSetAside, DECIDED, "set aside of serial 8 block now"),
        (["resume", "demo", "8"], requests.Resume, DECIDED, "new entries of serial 8 block again"),
        (["rollback", "demo", "8"], requests.Rollback, DECIDED, "in force again; have another person confirm it"),
        (["rollback", "demo", "8"], requests.Rollback, CONFIRMED, "the rollback to serial 8 is confirmed"),
    ],
)
def test_decisions(
    words: list[str],
    decision: type[requests.Decide],
    reply: requests.DecideReply,
    said: str,
    config: Path,
    running: Running,
    signature: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    running.replies = [reply]
    assert status_of("list", *words, "--signature", signature, "--config", str(config)) == 0
    assert running.asked == [decision(list="demo", serial=8, signature=SIGNATURE)]
    assert said in capsys.readouterr().out


def test_a_refused_signature_takes_none_with_it(
    config: Path, running: Running, signature: str, capsys: pytest.CaptureFixture[str]
) -> None:
    running.replies = [replace(DECIDED, missing=1), requests.Refused(said="signed by no key of control.approvers")]
    words = ["approve", "demo", "8", "--signature", signature, "--signature", signature]
    assert status_of("list", *words, "--config", str(config)) == 3
    out, err = capsys.readouterr()
    assert "counts; 1 more" in out
    assert "signed by no key" in err


@pytest.mark.parametrize("content", [None, "name0.test", SIGNATURE + "A" * 6144])
def test_what_is_no_signature_goes_nowhere(
    content: str | None, config: Path, running: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    assert status_of("list", "resume", "demo", "8", "--signature", str(path), "--config", str(config)) == 2
    assert running.asked == []
    assert "name0" not in capsys.readouterr().err


def test_held_of_a_host_without_lists(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "held", "demo", "--config", str(config)) == 0
    assert "nothing waits for a person" in capsys.readouterr().out
    assert status_of("list", "held", "demo", "--json", "--config", str(config)) == 0
    assert status_of("list", "held", "demo", "--statement", "approve", "--config", str(config)) == 3
    assert status_of("list", "held", "other", "--config", str(config)) == 1
    assert status_of("list", "held", "demo", "--statement", "delete", "--config", str(config)) == 2
