"""What verbs share: names that are typed, and what the running service answers."""

import io
import sys

import pytest

from resolver import terminal

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
