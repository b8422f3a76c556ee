"""The verbs with which persons decide, as they are typed."""

from pathlib import Path
from typing import Any

import pytest

from resolver.control import server
from tests.unit.cli.test_verbs_list import config, status_of

__all__ = ["config"]
SIGNATURE = "-----BEGIN SSH SIGNATURE-----\nAAAA\n"


class Service:
    """Answers in the running service's place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        monkeypatch.setattr(server, "call", self._call)

    def _call(self, at: object, request: dict[str, Any], **_: object) -> dict[str, Any]:
        self.asked.append(request)
        return self.answers.pop(0)


def counted(missing: int = 0, **more: Any) -> dict[str, Any]:
    return {"outcome": "done", "principal": "anna", "missing": missing, "confirmed": False, **more}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(monkeypatch)


@pytest.fixture
def signature(tmp_path: Path) -> str:
    path = tmp_path / "one.sig"
    path.write_text(SIGNATURE)
    return str(path)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ({"found": "in_force", "serial": 8, "reasons": ()}, 0, "demo: serial 8 is in force now"),
        ({"found": "held", "serial": 8, "reasons": ["growth"]}, 0, "demo: serial 8 is held (growth)"),
        ({"found": "nothing", "serial": 7, "reasons": ()}, 0, "demo: nothing new; serial 7 stays"),
        ({"outcome": "refused", "said": "refused: expired; serial 7 stays"}, 3, "refused: expired"),
        ({"outcome": "failed", "said": "no such list"}, 1, "no such list"),
    ],
)
def test_fetch(
    answer: dict[str, Any], status: int, said: str, config: Path, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers = [{"outcome": "done", **answer}]
    assert status_of("list", "fetch", "demo", "--config", str(config)) == status
    assert said in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("words", "verb", "answer", "said"),
    [
        (["approve", "demo", "8"], "approve", counted(1), "1 more needed, of another person"),
        (["approve", "demo", "8"], "approve", counted(), "serial 8 is in force"),
        (["approve", "demo", "8", "--set-aside"], "approve-set-aside", counted(), "set aside of serial 8 count"),
        (["resume", "demo", "8"], "resume", counted(), "new entries of serial 8 count again"),
        (["rollback", "demo", "8"], "rollback", counted(), "in force again; have another person confirm it"),
        (["rollback", "demo", "8"], "rollback", counted(confirmed=True), "the rollback to serial 8 is confirmed"),
    ],
)
def test_decisions(
    words: list[str],
    verb: str,
    answer: dict[str, Any],
    said: str,
    config: Path,
    service: Service,
    signature: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.answers = [answer]
    assert status_of("list", *words, "--signature", signature, "--config", str(config)) == 0
    assert service.asked == [{"verb": verb, "list": "demo", "serial": 8, "signature": SIGNATURE}]
    assert said in capsys.readouterr().out


def test_a_refused_signature_takes_none_with_it(
    config: Path, service: Service, signature: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers = [counted(1), {"outcome": "refused", "said": "signed by no key of control.approvers"}]
    words = ["approve", "demo", "8", "--signature", signature, "--signature", signature]
    assert status_of("list", *words, "--config", str(config)) == 3
    out, err = capsys.readouterr()
    assert "counts; 1 more" in out
    assert "signed by no key" in err


@pytest.mark.parametrize("content", [None, "name0.test", SIGNATURE + "A" * 6144])
def test_what_is_no_signature_goes_nowhere(
    content: str | None, config: Path, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    assert status_of("list", "resume", "demo", "8", "--signature", str(path), "--config", str(config)) == 2
    assert service.asked == []
    assert "name0" not in capsys.readouterr().err


def test_held_of_a_host_without_lists(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "held", "demo", "--config", str(config)) == 0
    assert "nothing waits for a person" in capsys.readouterr().out
    assert status_of("list", "held", "demo", "--json", "--config", str(config)) == 0
    assert status_of("list", "held", "demo", "--statement", "approve", "--config", str(config)) == 3
    assert status_of("list", "held", "other", "--config", str(config)) == 1
    assert status_of("list", "held", "demo", "--statement", "delete", "--config", str(config)) == 2
