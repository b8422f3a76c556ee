"""doctor/command.py: exit status, what is printed where, and what a command line may not be."""

import argparse
import io
import json
import os
import signal
import threading

import pytest

from resolver.doctor import command, watch
from tests.journeys.running import free_ports
from tests.unit.doctor.resolvers import Enforcing, saying

SILENT = "doctor: 127.0.0.1:1: nothing answers at the port; --server ADDR:PORT names the resolver\n"


@pytest.mark.parametrize(("faults", "status"), [((), 0), (("do",), 3), (("too-wide",), 3), (("everything",), 3)])
def test_the_exit_status_is_what_was_found(
    faults: tuple[str, ...], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with saying(Enforcing(*faults)) as place:
        assert command.main(["--server", str(place), "--dot", "127.0.0.1:1", "--doh", "127.0.0.1:1"]) == status
    said = capsys.readouterr()
    assert said.err == ""
    assert ("\nLEAKS: DO=1, a signed name" in said.out) == bool({"do", "everything"} & set(faults))
    assert "listed.doctor" not in said.out, "the test entry is not shown without need"


def test_json_and_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    with saying(Enforcing()) as place:
        words = ["--server", str(place), "--json", "--policy-zone", "rpz.policy.test", "--dot", "127.0.0.1:1"]
        words += ["--doh", "127.0.0.1:1", "--expect", "192.0.2.1", "2001:db8::1"]
        assert command.main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["blocked_answers"] == "192.0.2.1 2001:db8::1"
    assert not said["learnt"]
    assert command.main(["--json-schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--server", "secret.test"], "--server: an address with a port"),
        (["--server", "192.0.2.1", "--name", "secret"], "--name: the test entry needs a zone"),
        (["--server", "192.0.2.1", "--name", "secret..test"], "--name: not a domain name"),
        (["--server", "192.0.2.1", "--expect", "secret"], "--expect: expected addresses"),
        (["--server", "192.0.2.1", "--policy-zone", "secret..x"], "--policy-zone: not a domain name"),
        (["--server", "192.0.2.1", "--stranger", "secret"], "--stranger: an address"),
        (["--server", "192.0.2.1", "--structured-option", "70000"], "--structured-option: from 0"),
        (["--server", "192.0.2.1", "--dot", "secret"], "--dot: an address"),
        (["--server", "192.0.2.1", "--ca", "/secret"], "--ca: the file cannot be read"),
        (["--wait", "99"], "--wait: from"),
        (["--against", "192.0.2.1"], "--against and --names - belong together"),
        (["--names", "-"], "--against and --names - belong together"),
        (["--watch", "192.0.2.1:1", "--every", "1"], "--every: from 30"),
        (["--against", "192.0.2.1", "--names", "-", "--rate", "0"], "--rate: more than 0"),
        (["--serve-zone", "0.0.0.0:53"], "--serve-zone: the address that the delegation"),
    ],
)
def test_what_cannot_be_carried_out_is_said_and_nothing_is_repeated(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(words) == 2
    said = capsys.readouterr()
    assert reason in said.err
    assert "secret" not in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    "words", [["secret.test"], ["--product", "secret"], ["--wait", "secret"], ["--names", "secret.test"]]
)
def test_words_that_are_none_are_not_repeated(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(words)
    assert ended.value.code == 2
    assert "secret" not in capsys.readouterr().err


def test_a_resolver_that_does_not_answer_is_no_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--server", "127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == SILENT
    with saying(Enforcing("everything")) as place:
        assert command.main(["--server", str(place), "--against", str(place), "--names", "-"]) == 1
    assert "does not block the test entry: --expect-old says" in capsys.readouterr().err


def test_names_are_compared_from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with saying(Enforcing()) as old, saying(Enforcing("child")) as new:
        words = ["--server", str(new), "--against", str(old), "--names", "-", "--rate", "1000"]
        for text, status in (("good.doctor.test\n", 0), ("good.doctor.test\nwww.listed.doctor.test\n", 3)):
            monkeypatch.setattr("sys.stdin", io.StringIO(text))
            assert command.main(words) == status
        assert "old blocked, new answered: 1, in line 2" in capsys.readouterr().out
        for text in ("a..b\n", "a" * 2000):
            monkeypatch.setattr("sys.stdin", io.StringIO(text))
            assert command.main(words) == 2
            assert "stdin: " in capsys.readouterr().err


def test_it_watches_until_it_is_ended(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    (port,) = free_ports(1)
    look = watch.Watch.look

    def look_and_end(self: watch.Watch) -> str:
        reason = look(self)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return reason

    monkeypatch.setattr(watch.Watch, "look", look_and_end)
    try:
        assert command.main(["--server", "127.0.0.1:1", "--watch", f"127.0.0.1:{port}"]) == 0
    finally:
        for number, one in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, one)
    said = capsys.readouterr()
    assert said.out == f"serving /metrics at port {port}\n"
    assert said.err == SILENT


def test_the_examples_parse() -> None:
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    for line in command.EXAMPLES:
        assert parser.parse_args(line.split()[1:]).name.endswith(".isp.example")


def test_the_help_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    assert "examples:\n  doctor --server" in capsys.readouterr().out
