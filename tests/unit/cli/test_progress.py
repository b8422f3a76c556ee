"""Progress is a terminal's alone, is wiped, and never reaches stdout."""

import io
import sys
import threading

import pytest

from resolver.cli import progress


class Terminal(io.StringIO):
    """Stands for stderr; says that it is a terminal, and notes when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        done = super().write(text)
        if "compiling" in self.getvalue():
            self.written.set()
        return done


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called by a test and no fixture: pytest puts its own stderr in place when a test begins."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    return made


def test_nothing_is_written_to_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.working("compiling"):
        print("result")
    assert list(progress.steps([1, 2], "asking")) == [1, 2]
    assert capsys.readouterr() == ("result\n", "")


def test_a_terminal_sees_what_is_done_and_stdout_stays_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setattr(progress, "AFTER_S", 0.0)
    with progress.working("compiling"):
        assert terminal.written.wait(20)
        print("result")
    assert capsys.readouterr().out == "result\n"
    assert terminal.getvalue().endswith("\x1b[2K"), "the line is wiped"


def test_a_verb_that_is_done_at_once_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setattr(progress, "AFTER_S", 3600.0)
    with progress.working("compiling"):
        pass
    assert "compiling" not in terminal.getvalue()


def test_an_error_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    monkeypatch.setattr(progress, "AFTER_S", 0.0)
    def fails() -> None:
        with progress.working("compiling"):
            assert terminal.written.wait(20)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fails()
    assert terminal.getvalue().endswith("\x1b[2K")


def test_a_long_task_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    assert list(progress.steps([1, 2, 3], "compiling")) == [1, 2, 3]
    assert "compiling" in terminal.getvalue()
