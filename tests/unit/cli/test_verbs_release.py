"""The verbs about a wrongful block, as they are typed."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from resolver.cli import terminal
from resolver.control import requests
from resolver.feed import audit
from resolver.feed.release import Covered, Releases
from resolver.feed.seal import Keys
from tests.fakes.enforcer import wire
from tests.unit.cli.running import Running, running
from tests.unit.cli.test_verbs_list import config, status_of

__all__ = ["config", "running"]
Asked = list[requests.Request[Any]]
RELEASE = {
    "number": 3,
    "lists": [{"list": "demo", "serial": 412, "line": 1733}],
    "reason": "a school",
    "at": 0,
    "until": 86400,
    "uid": 1000,
    "confirmed_by": None,
}


@pytest.fixture
def asked(running: Running, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the running service was asked; a name waits on stdin."""
    running.replies = [requests.ReleaseReply(release=RELEASE)]
    monkeypatch.setattr("sys.stdin", io.StringIO("Canary.isp\n"))
    return running.asked


def test_a_name_of_stdin_is_released(config: Path, asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "release", "-", "--reason", "a school", "--config", str(config)) == 0
    assert asked == [requests.Release(name=wire("Canary.isp").hex(), reason="a school", for_s=7 * 86400.0)]
    said = capsys.readouterr().out
    assert said.startswith("released now: release 3; list demo, serial 412, line 1733; it ends by itself at 1970-01-02")
    assert "canary" not in said.lower()


def test_a_pasted_url_releases_its_host_and_the_reading_is_shown_first(
    config: Path, asked: Asked, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("https://x.example/p\n"))
    assert status_of("list", "release", "-", "--reason", "a school", "--config", str(config)) == 0
    (request,) = asked
    assert request.name == wire("x.example").hex()
    assert capsys.readouterr().out.splitlines()[0] == "of the URL: x.example"
    for text in ("192.0.2.1", "two words.example", "=x.example", "x.example # c"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
        assert status_of("list", "release", "-", "--reason", "x", "--config", str(config)) == 2
    assert len(asked) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("canary.isp", "--reason", "x"),
        ("-",),
        ("-", "--reason", "x", "--for", "soon"),
        ("-", "--reason", "x", "--end"),
        ("3",),
        ("3", "--end", "--statement"),
        ("3", "--signature", "/nowhere"),
        ("-", "--reason", "x", "--statement"),
    ],
)
def test_what_cannot_be_carried_out(
    words: tuple[str, ...], config: Path, asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("list", "release", *words, "--config", str(config)) == 2
    assert "canary" not in "".join(capsys.readouterr())
    assert asked == []


def test_a_reserved_name_may_stand_on_the_command_line(config: Path, asked: Asked) -> None:
    words = ("release", "a.test", "--reason", "x", "--for", "2d", "--config", str(config))
    assert status_of("list", *words) == 0
    assert asked == [requests.Release(name=wire("a.test").hex(), reason="x", for_s=172800.0)]


def test_a_release_is_ended(config: Path, asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "release", "3", "--end", "--config", str(config)) == 0
    assert asked == [requests.EndRelease(number=3)]
    assert capsys.readouterr().out == (
        "release 3 has ended: its name is blocked again; list demo, serial 412, line 1733\n"
    )


def test_a_refusal_has_its_own_status(
    config: Path, running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.replies = [requests.Refused(said="not listed")]
    assert status_of("list", "release", "a.test", "--reason", "x", "--config", str(config)) == terminal.REFUSED
    assert capsys.readouterr().err == "blocklist-resolver: not listed\n"


def test_what_is_released_is_told_without_a_service(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("list", "releases", "--config", str(config)) == 0
    assert capsys.readouterr().out == "nothing is released\n"
    state = config.parent / "state"
    releases = Releases(
        state / "releases",
        Keys(bytes(16), bytes(32)),
        audit.Audit(state / "audit.log"),
        now=lambda: 0.0,
        enforce=lambda _: None,
        report=lambda *_: None,
    )
    releases.recover()
    covered = (Covered(list="demo", serial=412, digest="ab" * 32, line=1733),)
    releases.add(wire("canary.isp"), covered, uid=1000, reason="a school", for_s=86400)
    assert status_of("list", "releases", "--config", str(config)) == 0
    assert capsys.readouterr().out == (
        "release 1: list demo, serial 412, line 1733; until 1970-01-02T00:00:00Z; NOT CONFIRMED; by uid 1000\n"
        "  reason: a school\n"
    )
    assert status_of("list", "releases", "--json", "--config", str(config)) == 0
    assert '"number": 1' in capsys.readouterr().out
    assert status_of("list", "release", "1", "--statement", "--config", str(config)) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["action"], said["list"], said["serial"]) == ("release", "demo", 1)
    assert said["digest"] == releases.of(1).digest
    assert status_of("list", "release", "2", "--statement", "--config", str(config)) == terminal.REFUSED
    (state / "releases" / "releases.json").write_text("{")
    assert status_of("list", "releases", "--config", str(config)) == 1


def test_a_release_is_confirmed(config: Path, asked: Asked, tmp_path: Path) -> None:
    signature = tmp_path / "signature"
    signature.write_text("-----BEGIN SSH SIGNATURE-----\n")
    words = ("release", "3", "--signature", str(signature), "--config", str(config))
    assert status_of("list", *words) == 0
    assert asked == [requests.ConfirmRelease(number=3, signature="-----BEGIN SSH SIGNATURE-----\n")]
