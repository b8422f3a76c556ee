"""The verbs: exit statuses, one or two lines on stderr, nothing that was typed is repeated."""

import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from resolver import __version__
from resolver.cli import main, screen_service, terminal
from resolver.config.config import Control
from resolver.control import server
from tests.unit.cli.test_screen_service import GOOD

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


def stdin(monkeypatch: pytest.MonkeyPatch, text: str, *, terminal: bool = False) -> None:
    stream = io.StringIO(text)
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdin", stream)


class AskError(Exception):
    pass


class NotAQuestion(AskError):
    """As ask has it."""


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
    served: list[Path] = []
    replace("service.service", serve=lambda path: served.append(path) or 0)
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


def test_check_config_says_what_is_hardly_meant_and_accepts_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FILE.replace('group = ""', 'group = "no-such-group"')
    config.write_text(text + '[listen]\nallow = ["192.0.2.1/32"]\n')
    assert status_of("check-config", str(config)) == 0
    said = capsys.readouterr()
    assert said.out == f"{config}: ok, 1 list\n"
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


def asking(replace: Replace, answer: object = "reply") -> list[tuple[object, ...]]:
    """Puts a client in place that notes what it is asked and gives `answer` or raises it."""
    asked: list[tuple[object, ...]] = []

    def ask(*what: object) -> object:
        asked.append(what)
        if isinstance(answer, Exception):
            raise answer
        return answer

    replace(
        "dns_client",
        ask=ask,
        render=lambda reply: f"read {reply}",
        as_json=lambda reply: '{"x": 1}',
        AskError=AskError,
        NotAQuestion=NotAQuestion,
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


@pytest.mark.parametrize("more", [(), ("--as", "192.0.2.7")])
@pytest.mark.parametrize("words", [(f"{CANARY}..", "A"), ("a.test", "NOSUCH")])
def test_what_cannot_be_asked_for_is_a_fault_of_the_command_line(
    words: tuple[str, str], more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("ask", *words, *more) == 2
    said = capsys.readouterr().err
    assert said.startswith("blocklist-resolver: not a ")
    assert CANARY not in said


# What a running service answers.


class Running:
    """A service at the end of a control socket: what it is asked, and what it answers next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[dict[str, object]] = []
        self.files: list[Path] = []
        self.waits: list[float] = []
        self.answer: dict[str, object] | Exception = {"outcome": "done"}
        monkeypatch.setattr(server, "settings", self._settings)
        monkeypatch.setattr(server, "call", self._call)

    def _settings(self, file: Path) -> Control:
        self.files.append(file)
        return Control()

    def _call(self, settings: Control, request: dict[str, object], *, answer_s: float) -> dict[str, object]:
        self.asked.append(request)
        self.waits.append(answer_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    return Running(monkeypatch)


def test_status_is_one_screen_or_json(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.answer = {"outcome": "done", "health": screen_service.told(GOOD)}
    assert status_of("status", "--config", "x.toml") == 0
    assert capsys.readouterr().out.startswith("service    ready, enforcing; ")
    assert status_of("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["version"] == GOOD.version
    assert running.files == [Path("x.toml"), terminal.DEFAULT_CONFIG]
    assert running.asked == [{"verb": "status"}] * 2
    assert running.waits == [10.0] * 2, "a service that hangs is told soon"


def test_a_status_of_another_version_is_told(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.answer = {"outcome": "done", "health": {"version": 1}}
    assert status_of("status") == 1
    assert "is of another version" in capsys.readouterr().err


def test_a_reload_says_what_changed(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.answer = {"outcome": "done", "file": "/r.toml", "changed": ["a.b", "c.d"], "warnings": ["hm"]}
    assert status_of("reload") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "/r.toml: taken; changed: a.b, c.d"
    assert said.err == "warning: hm\n"
    running.answer = {"outcome": "done", "file": "/r.toml", "changed": [], "warnings": []}
    assert status_of("reload") == 0
    assert capsys.readouterr().out.splitlines()[0] == "/r.toml: taken; changed: nothing"


def test_a_reload_that_is_refused_exits_2_with_the_reason(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.answer = {"outcome": "refused", "said": "/r.toml: a.b: no such thing"}
    assert status_of("reload") == 2
    said = capsys.readouterr()
    assert said.err == "blocklist-resolver: /r.toml: a.b: no such thing; the old configuration stays\n"
    assert said.out == ""


@pytest.mark.parametrize(
    ("words", "name", "subtree"),
    [
        (("a.test",), "016104746573740" "0", False),
        (("A.test.", "--subtree"), "0141047465737400", True),
        (("b\u00fccher.test",), "0d786e2d2d62636865722d6b76610474657374" "00", False),
        ((".", "--subtree"), "00", True),
    ],
)
def test_flush_asks_for_the_name_in_wire_format(
    words: tuple[str, ...], name: str, subtree: bool, running: Running
) -> None:
    running.answer = {"outcome": "done", "forgotten": 1}
    assert status_of("cache", "flush", *words) == 0
    assert running.asked == [{"verb": "flush", "name": name, "subtree": subtree}]


@pytest.mark.parametrize(
    ("forgotten", "said"),
    [
        (None, "forgotten: all that was kept below it\n"),
        (0, "nothing was kept for it\n"),
        (1, "forgotten: 1 kept answer\n"),
        (2, "forgotten: 2 kept answers\n"),
    ],
)
def test_flush_says_how_much_was_forgotten_and_not_what(
    forgotten: int | None,
    said: str,
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    running.answer = {"outcome": "done", "forgotten": forgotten}
    stdin(monkeypatch, f"{CANARY}\n")
    assert status_of("cache", "flush", "-") == 0
    assert capsys.readouterr().out == said


def test_ask_as_a_client_walks_inside_the_service(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [["client", "is one of listen.allow", 0.00002]]
    running.answer = {"outcome": "done", "steps": steps, "reply": None, "seconds": 0.1}
    assert status_of("ask", "a.test", "AAAA", "--as", "192.0.2.7") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["client", "is", "one", "of", "listen.allow", "0.02", "ms"]
    assert said[-1] == "no answer is sent"
    (request,) = running.asked
    packet = bytes.fromhex(str(request["packet"]))
    assert (request["verb"], request["as"], packet[12:24]) == ("ask", "192.0.2.7", b"\x01a\x04test\0\0\x1c\0\x01"[:12])
    reply = packet[:2] + b"\x81\x83" + packet[4:6] + bytes(6) + packet[12:24]
    running.answer = {"outcome": "done", "steps": steps, "reply": reply.hex(), "seconds": 0.1}
    assert status_of("ask", "a.test", "AAAA", "--as", "192.0.2.7", "--json") == 1, "an answer to another query"


@pytest.mark.parametrize(
    "words", [("status",), ("reload",), ("cache", "flush", "a.test"), ("ask", "a.test", "--as", "::1")]
)
def test_where_no_service_answers_it_exits_1_in_one_line(
    words: tuple[str, ...], running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.answer = server.Unreachable("/run/x: no service answers: look there")
    assert status_of(*words) == 1
    assert capsys.readouterr() == ("", "blocklist-resolver: /run/x: no service answers: look there\n")
    running.answer = {"outcome": "failed", "said": "failed inside; please report it"}
    assert status_of(*words) == 1
    assert capsys.readouterr() == ("", "blocklist-resolver: failed inside; please report it\n")


def test_ask_reads_a_name_from_stdin(replace: Replace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asking(replace)
    stdin(monkeypatch, "\n  b.test  \nc.test\n")
    assert status_of("ask", "-") == 0
    assert [what[0] for what in asked] == ["b.test"]
    stdin(monkeypatch, "")
    assert status_of("ask", "-") == 2


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
    replace("service.service", serve=serve)
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
