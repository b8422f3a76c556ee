"""`edge` as it is typed: it says what is missing, and is replaced by the process that receives encrypted queries."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from resolver.cli import main, verbs_edge
from resolver.config import config
from resolver.config.for_core import ranges
from resolver.config.values import prefixes
from resolver.edge.request import MODULE, EdgeRequest
from tests.journeys.processes import Site

SAID: dict[str, Any] = {
    "socket": "/run/x",
    "name": "dns.isp.example",
    "tls": ["127.0.0.1:8853"],
    "https": ["[::1]:8443"],
    "certificate": "/etc/tls/own.pem",
    "key": "/etc/tls/own.key",
}


def site_of(folder: Path, **edge: Any) -> Path:
    site = Site(folder)
    if edge:
        site.set("edge", **edge)
    return site.write()


def test_without_a_configured_edge_it_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["edge", "--config", str(site_of(tmp_path))]) == 2
    assert "edge.socket" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("--number", "0"), ("--number", "1025"), ("--number", "one"), ("--keep", "0"), ("--keep", "65")]
)
def test_a_number_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["edge", "--config", str(site_of(tmp_path, **SAID)), *words])
    assert ended.value.code == 2
    assert f"argument {words[0]}: expected a number from 1 to" in capsys.readouterr().err


def test_the_request_says_what_the_configuration_says(tmp_path: Path) -> None:
    path = site_of(tmp_path, **SAID)
    found = verbs_edge.request_of(config.parse(path.read_text(), str(path)), 2)
    assert (found.number, found.socket, found.name, found.path) == (2, "/run/x", "dns.isp.example", "/dns-query")
    assert (found.tls, found.https, found.quic, found.http3) == ((("127.0.0.1", 8853),), (("::1", 8443),), (), ())
    assert found.alternative == 0
    assert (found.certificate, found.key) == ("/etc/tls/own.pem", "/etc/tls/own.key")
    assert (found.state, found.demonstration) == (str(tmp_path / "state"), True)
    loopback = ranges(prefixes("127.0.0.0/8", "::1/128"))
    assert (found.allow, found.exempt, found.proxies) == (loopback, loopback, b"")
    assert (found.connections, found.per_client) == (10_000, 100)


def test_the_request_names_the_port_of_http3(tmp_path: Path) -> None:
    path = site_of(tmp_path, **SAID, http3=["[::1]:8444"])
    assert verbs_edge.request_of(config.parse(path.read_text(), str(path)), 1).alternative == 8444


@pytest.mark.parametrize(
    ("words", "number", "program"),
    [(("--number", "3"), 3, ("resolver.edge.process",)), (("--keep", "4"), 1, ("resolver.edge.keep", "4"))],
)
def test_it_is_replaced_by_the_process_with_the_request_on_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str], number: int, program: tuple[str, ...]
) -> None:
    path = site_of(tmp_path, **SAID)
    seen: list[Any] = []

    def replaced(environment: dict[str, str], words: tuple[str, ...]) -> None:
        seen.append((environment, words, os.read(0, 65536)))
        raise OSError(2, "not here")

    monkeypatch.setattr(verbs_edge, "replace_this", replaced)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("SECRET", "not for it")
    before = os.dup(0)
    try:
        assert main.main(["edge", "--config", str(path), *words]) == 1
    finally:
        os.dup2(before, 0)
        os.close(before)
    ((environment, started, line),) = seen
    assert (environment, started) == ({"NOTIFY_SOCKET": "/run/notify"}, program)
    assert msgspec.json.decode(line, type=EdgeRequest).number == number


def test_the_program_is_the_edge_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *words: seen.append(words))
    verbs_edge.replace_this({}, (MODULE,))
    ((_, words, environment),) = seen
    assert (words[1:], environment) == (["-I", "-m", "resolver.edge.process"], {})
