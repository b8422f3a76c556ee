"""What verbs share: names that are typed, and what the running service answers."""

import io
import sys

import pytest

from resolver.cli import terminal

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
