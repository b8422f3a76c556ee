"""The verbs: exit statuses, one or two lines on stderr, nothing that was typed is repeated."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import resolver
from resolver import cli

CANARY = "canary-7f3a.example"

FILE = """
[page]
addresses = ["192.0.2.1"]
[upstream]
servers = ["192.0.2.53:53"]
[[list]]
id = "demo"
demonstration = true
[list.source]
kind = "tuf"
url = "file:///srv/authority"
root = "/srv/root.json"
"""

Replace = Callable[..., ModuleType]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "resolver.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Puts a module made of `members` in the place of resolver.`name`."""

    def put(name: str, **members: object) -> ModuleType:
        module = ModuleType(f"resolver.{name}")
        for key, value in members.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, f"resolver.{name}", module)
        monkeypatch.setattr(resolver, name, module, raising=False)
        return module

    return put


def status_of(*words: str) -> int | str | None:
    """Exit status of one command line, by return or by exit."""
    try:
        return cli.main(words)
    except SystemExit as left:
        return left.code


def stdin(monkeypatch: pytest.MonkeyPatch, text: str, *, terminal: bool = False) -> None:
    stream = io.StringIO(text)
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdin", stream)


class AskError(Exception):
    pass


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "resolver", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"blocklist-resolver {resolver.__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("frobnicate",),
        ("run", "--fast"),
        ("check-config",),
        ("list",),
        ("list", "approve"),
        ("list", "check"),
        ("ask",),
        ("ask", "a.test", "A", "B"),
        ("ask", "a.test", "--over", "tls"),
        ("ask", "a.test", "--server", "localhost"),
    ],
)
def test_a_command_line_that_cannot_be_read_exits_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert 1 <= len(said.err.splitlines()) <= 2


@pytest.mark.parametrize(
    "words",
    [
        (CANARY,),
        ("list", CANARY),
        ("list", "check", CANARY),
        ("list", "check", "-", CANARY),
        ("list", "check", "-", f"--{CANARY}"),
        ("list", "status", CANARY),
        ("ask", "a.test", "--over", CANARY),
        ("ask", "a.test", "--server", CANARY),
        ("ask", "a.test", "A", CANARY),
    ],
)
def test_what_was_typed_is_not_repeated(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(*words) == 2
    said = capsys.readouterr()
    assert CANARY not in said.out + said.err


def test_run_serves_the_file_and_hands_back_its_status(replace: Replace, tmp_path: Path) -> None:
    served: list[Path] = []
    replace("service", serve=lambda path: served.append(path) or 0)
    assert status_of("run", "--config", "x.toml") == 0
    assert status_of("run") == 0
    assert served == [Path("x.toml"), Path("/etc/blocklist-resolver/resolver.toml")]


def test_check_config_accepts_a_good_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("check-config", str(config)) == 0
    assert capsys.readouterr() == (f"{config}: ok, 1 list\n", "")


def test_check_config_names_file_key_and_reason(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(FILE.replace("192.0.2.53:53", "192.0.2.53"))
    assert status_of("check-config", str(config)) == 2
    said = capsys.readouterr().err
    assert said == (
        f"blocklist-resolver: {config}: upstream.servers[0]: "
        "expected ADDRESS:PORT such as 127.0.0.1:5300 or [::1]:5300\n"
    )


def test_a_configuration_that_is_not_there_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("check-config", str(tmp_path / "absent")) == 2
    assert capsys.readouterr().err.endswith("absent: cannot be read: No such file or directory\n")


def asking(replace: Replace, answer: object = "reply") -> list[tuple[object, ...]]:
    """Puts a client in place that notes what it is asked and gives `answer` or raises it."""
    asked: list[tuple[object, ...]] = []

    def ask(*what: object) -> object:
        asked.append(what)
        if isinstance(answer, Exception):
            raise answer
        return answer

    replace(
        "ask",
        ask=ask,
        render=lambda reply: f"read {reply}",
        as_json=lambda reply: '{"x": 1}',
        AskError=AskError,
    )
    return asked


def test_ask_asks_once_and_shows_the_reply(replace: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    asked = asking(replace)
    assert status_of("ask", "a.test") == 0
    assert status_of("ask", "a.test", "AAAA", "--server", "[::1]:53", "--over", "tcp", "--json") == 0
    assert capsys.readouterr().out == 'read reply\n{"x": 1}\n'
    assert asked == [
        ("a.test", "A", ("127.0.0.1", 5300), "udp", 5.0),
        ("a.test", "AAAA", ("::1", 53), "tcp", 5.0),
    ]


def test_ask_without_an_answer_exits_1_in_one_line(
    replace: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    asking(replace, AskError("no answer from 127.0.0.1:5300 within 5 s; is the service running?"))
    assert status_of("ask", "a.test") == 1
    assert capsys.readouterr().err == (
        "blocklist-resolver: no answer from 127.0.0.1:5300 within 5 s; is the service running?\n"
    )


def test_ask_reads_a_name_from_stdin(replace: Replace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asking(replace)
    stdin(monkeypatch, "\n  b.test  \nc.test\n")
    assert status_of("ask", "-") == 0
    assert [what[0] for what in asked] == ["b.test"]
    stdin(monkeypatch, "")
    assert status_of("ask", "-") == 2


def test_a_terminal_shows_nothing_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["a.test", " b.test ", ""])
    stdin(monkeypatch, CANARY, terminal=True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    assert list(cli.names()) == ["a.test", "b.test"]


def test_a_line_longer_than_a_name_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "a" * 1024 + "\n" + "b" * 1025)
    with pytest.raises(cli.UsageError, match="longer than a name can be"):
        list(cli.names())


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(13, "Permission denied", CANARY), 1, "Permission denied"),
        (ValueError(CANARY), 1, "internal error: ValueError; please report it"),
        (KeyboardInterrupt(), 1, ""),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_no_error_shows_a_traceback_or_a_name(
    replace: Replace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    said: str,
) -> None:
    def serve(path: Path) -> int:
        raise error

    monkeypatch.setattr(sys, "stdout", sys.stdout)
    replace("service", serve=serve)
    assert status_of("run") == status
    assert capsys.readouterr().err == (f"blocklist-resolver: {said}\n" if said else "")


def test_authority_is_handed_to_its_own_verbs(replace: Replace) -> None:
    seen: list[str] = []

    def add_verbs(steps: object) -> None:
        steps.add_parser("init").add_argument("directory")  # type: ignore[attr-defined]  # argparse names no type

    def run(arguments: SimpleNamespace) -> int:
        seen.append(arguments.directory)
        return 3

    package = replace("authority")
    package.verbs = replace("authority.verbs", add_verbs=add_verbs, run=run)  # type: ignore[attr-defined]  # a made-up module
    assert status_of("authority", "init", "somewhere") == 3
    assert seen == ["somewhere"]
