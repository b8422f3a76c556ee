"""The verbs: exit statuses, one or two lines on stderr, nothing that was typed is repeated."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from resolver import __version__
from resolver.cli import main

CANARY = "canary-7f3a.example"

FILE = """
[control]
group = ""
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
        room, _, last = f"resolver.{name}".rpartition(".")
        monkeypatch.setitem(sys.modules, f"resolver.{name}", module)
        monkeypatch.setattr(importlib.import_module(room), last, module, raising=False)
        return module

    return put


def status_of(*words: str) -> int | str | None:
    """Exit status of one command line, by return or by exit."""
    try:
        return main.main(words)
    except SystemExit as left:
        return left.code


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "resolver", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"blocklist-resolver {__version__}\n")


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
        ("ask", "a.test", "--as", "localhost"),
        ("ask", "a.test", "--as", "192.0.2.7", "--over", "udp"),
        ("ask", "a.test", "--as", "192.0.2.7", "--server", "127.0.0.1:53"),
        ("cache",),
        ("cache", "flush"),
        ("cache", "flush", "a..test"),
        ("cache", "fill", "a.test"),
    ],
)
def test_a_command_line_that_cannot_be_read_exits_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert 1 <= len(said.err.splitlines()) <= 2
    assert "( " not in said.err


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
        ("ask", "a.test", "--as", CANARY),
        ("ask", CANARY, "--as", "192.0.2.7", "--over", "tcp"),
        ("cache", "flush", f"{CANARY}..test"),
        ("cache", "flush", "a.test", CANARY),
        ("status", CANARY),
        ("reload", CANARY),
    ],
)
def test_what_was_typed_is_not_repeated(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(*words) == 2
    said = capsys.readouterr()
    assert CANARY not in said.out + said.err


def test_run_serves_the_file_and_hands_back_its_status(replace: Replace, tmp_path: Path) -> None:
    served: list[tuple[Path, int | None]] = []
    replace("service.start", serve=lambda *how: served.append(how) or 0)
    assert status_of("run", "--config", "x.toml", "--take-over", "7") == 0
    assert status_of("run") == 0
    assert served == [(Path("x.toml"), 7), (Path("/etc/blocklist-resolver/resolver.toml"), None)]


def test_check_config_accepts_a_good_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("check-config", str(config)) == 0
    said = capsys.readouterr()
    ok, new = said.out.splitlines()
    assert (ok, said.err) == (f"{config}: ok, 1 list", "")
    assert new == (
        "list demo has no serial in force yet: until its first serial is, names that no list blocks get SERVFAIL "
        "(without_list)"
    )


def test_check_config_takes_its_file_as_other_verbs_do(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("check-config", "--config", str(config)) == 0
    assert capsys.readouterr().out.startswith(f"{config}: ok")
    assert status_of("check-config", str(config), "--config", str(config)) == 2
    assert "named once" in capsys.readouterr().err
    assert status_of("check-config") == 2
    assert "/etc/blocklist-resolver/resolver.toml" in capsys.readouterr().err


def test_a_wrong_choice_names_the_right_ones_as_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "held", "demo", "--statement", "ACTION") == 2
    said = capsys.readouterr().err
    one_of = "approve, approve-set-aside, resume, rollback, revoke"
    assert f"argument --statement: expected one of {one_of}; see" in said, said
    assert "'" not in said
    assert "ACTION" not in said


def test_check_config_names_file_key_and_reason(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(FILE.replace("192.0.2.53:53", "192.0.2.53"))
    assert status_of("check-config", str(config)) == 2
    said = capsys.readouterr().err
    assert said == (
        f"blocklist-resolver: {config}: upstream.servers[0]: "
        "expected ADDRESS:PORT such as 127.0.0.1:5300 or [::1]:5300\n"
    )


def test_check_config_says_what_is_hardly_meant_and_accepts_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FILE.replace('group = ""', 'group = "no-such-group"')
    config.write_text(text + '[listen]\nallow = ["192.0.2.1/32"]\n')
    assert status_of("check-config", str(config)) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{config}: ok, 1 list\n")
    few, group = said.err.splitlines()
    assert few.startswith("warning: listen.allow is a handful of addresses")
    assert group.startswith("warning: control.group: no group no-such-group here: ")


def test_check_config_refuses_what_only_the_parts_can_tell(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(FILE.replace("[page]", f'[page]\noperator = "{"x" * 40_000}"'))
    assert status_of("check-config", str(config)) == 2
    assert capsys.readouterr().err.startswith(f"blocklist-resolver: {config}: page: the texts make a page of more")


def test_a_configuration_that_is_not_there_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("check-config", str(tmp_path / "absent")) == 2
    assert capsys.readouterr().err.endswith("absent: cannot be read: No such file or directory\n")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(13, "Permission denied", CANARY), 1, "Permission denied"),
        (OSError(13, "Permission denied", "/srv/keys/a.pem"), 1, "/srv/keys/a.pem: Permission denied"),
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
    def serve(path: Path, take_over: int | None) -> int:
        raise error

    monkeypatch.setattr(sys, "stdout", sys.stdout)
    replace("service.start", serve=serve)
    assert status_of("run") == status
    assert capsys.readouterr().err == (f"blocklist-resolver: {said}\n" if said else "")


def test_authority_is_handed_to_its_own_verbs(replace: Replace) -> None:
    seen: list[str] = []

    def add_verbs(steps: object) -> None:
        steps.add_parser("init").add_argument("directory")  # type: ignore[attr-defined]  # argparse names no type

    def run(arguments: SimpleNamespace) -> int:
        seen.append(arguments.directory)
        return 3

    replace("cli.verbs_authority", add_verbs=add_verbs, run=run)
    assert status_of("authority", "init", "somewhere") == 3
    assert seen == ["somewhere"]
