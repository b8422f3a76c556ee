"""What verbs share: names that are typed, and what the running service answers."""

import argparse
import ast
import io
import re
import sys
from pathlib import Path

import pytest

from resolver.cli import main, terminal
from resolver.config.config import Control
from resolver.control import client, requests

CANARY = "canary-7f3a.example"


def stdin(monkeypatch: pytest.MonkeyPatch, text: str, *, terminal: bool = False) -> None:
    stream = io.StringIO(text)
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdin", stream)


def test_a_terminal_shows_nothing_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["a.test", " b.test ", ""])
    stdin(monkeypatch, CANARY, terminal=True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    assert list(terminal.names()) == ["a.test", "b.test"]


def test_a_line_longer_than_a_name_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "a" * 1024 + "\n" + "b" * 1025)
    with pytest.raises(terminal.UsageError, match="longer than a name can be"):
        list(terminal.names())


@pytest.mark.parametrize(
    ("tty", "environment", "colours"),
    [
        (True, {"TERM": "xterm"}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_a_terminal_that_wants_them(
    tty: bool, environment: dict[str, str], colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: tty, raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert terminal.coloured() is colours


@pytest.mark.parametrize(
    ("typed", "stdin_text", "name"), [("a.test", "", "a.test"), ("-", "\n b.test \nc.test\n", "b.test")]
)
def test_a_name_is_typed_or_the_first_of_stdin(
    typed: str, stdin_text: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, stdin_text)
    assert terminal.name_of(argparse.Namespace(name=typed)) == name


def test_no_name_is_told_before_the_service_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "")
    with pytest.raises(terminal.UsageError, match="no name given"):
        terminal.name_of(argparse.Namespace(name="-"))


ARGUMENTS = argparse.Namespace(config=Path("/etc/resolver.toml"))


def test_a_reply_of_the_service_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def call(control: Control, request: object, *, timeout_s: float) -> requests.Done:
        asked.append((control, request, timeout_s))
        return requests.FlushReply(forgotten=3)

    control = Control(socket="/run/x", group="")
    monkeypatch.setattr(client, "settings", lambda file: control)
    monkeypatch.setattr(client, "call", call)
    request = requests.Flush(name="0474657374", subtree=False)
    assert terminal.called(ARGUMENTS, request) == requests.FlushReply(forgotten=3)
    assert terminal.called(ARGUMENTS, request, 2.0) == requests.FlushReply(forgotten=3)
    assert asked == [(control, request, client.TIMEOUT_S), (control, request, 2.0)]


@pytest.mark.parametrize(
    ("request_", "reply", "said", "status"),
    [
        (requests.Status(), client.Unreachable("nobody there"), "nobody there", terminal.FAILED),
        (requests.Status(), requests.Failed(said="a fault"), "a fault", terminal.FAILED),
        (requests.Status(), requests.Refused(said="not now"), "not now", terminal.REFUSED),
        (requests.Reload(), requests.Refused(said="x"), "x; the old configuration stays", terminal.USAGE),
    ],
)
def test_what_was_not_carried_out_has_its_exit_status(
    request_: requests.Request[requests.Done],
    reply: requests.Reply | Exception,
    said: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def call(*_: object, **__: object) -> requests.Reply:
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(client, "settings", lambda file: Control(socket="/run/x", group=""))
    monkeypatch.setattr(client, "call", call)
    with pytest.raises(terminal.Refusal, match=f"^{said}$") as refusal:
        terminal.called(ARGUMENTS, request_)
    assert refusal.value.status == status


def test_a_complaint_is_one_line_and_its_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.complain("no name given", terminal.USAGE) == 2
    assert capsys.readouterr() == ("", "blocklist-resolver: no name given\n")


def test_exit_statuses_are_defined_here_and_no_verb_returns_a_number_of_its_own() -> None:
    package = Path(terminal.__file__).parent
    assert (terminal.DONE, terminal.FAILED, terminal.USAGE, terminal.REFUSED, terminal.NOT_NOW) == (0, 1, 2, 3, 4)
    own = []
    for path in (*package.glob("verbs_*.py"), package / "main.py", package / "acting.py", package / "by_service.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            returned = isinstance(node, ast.Return) and isinstance(node.value, ast.Constant)
            if returned and isinstance(node.value.value, int) and not isinstance(node.value.value, bool):
                own.append(f"{path.name}:{node.lineno}")
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            if stored and node.id in ("DONE", "FAILED", "USAGE", "REFUSED", "NOT_NOW"):
                own.append(f"{path.name}:{node.lineno}")
    assert own == []


def test_the_help_names_every_exit_status() -> None:
    said = main.parser_of(authority=False).epilog or ""
    assert re.findall(r"(\d) ", said) == ["0", "1", "2", "3", "4"]
