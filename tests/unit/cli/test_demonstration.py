"""The demonstration as `make run` starts it, on ports of its own and with an upstream on loopback or with none."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from resolver.cli import demonstration
from resolver.cli.demonstration_lists import FORGED
from resolver.config.config import ConfigError, parse
from resolver.config.values import Endpoint
from resolver.dns_client import client as dns_client
from tests.fakes.upstream import in_thread
from tests.journeys.processes import asked, honest, wait_for
from tests.journeys.running import HOST, PAGE_V4, ROOT, free_ports, stop

NOBODY = f"{HOST}:9"
CODE = "from tests.unit.cli.test_demonstration import demonstrate; demonstrate('{upstream}')"
ROW = re.compile(r"^  (\S.*?) {2,}(.*?) +(yes|NO)$", re.MULTILINE)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short path: the demonstration's control socket stands three folders below it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def demonstrate(upstream: str) -> None:
    """Be the demonstration on a host whose resolv.conf names nobody; `upstream` is asked instead."""

    def none_given(path: Path) -> None:
        raise ConfigError(str(path), "upstream.servers", "none given")

    # A shell starts what it puts into the background with SIGINT ignored, and all children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    demonstration.load = none_given  # type: ignore[assignment]  # what this launcher is for
    demonstration.NO_UPSTREAM = f'servers = ["{upstream}"]'  # type: ignore[misc]
    sys.exit(demonstration.main())


@contextmanager
def demonstrated(folder: Path, upstream: str = NOBODY) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A running demonstration and its ports; what it prints is in `folder`/out and err, its files in `folder`/tmp."""
    (folder / "tmp").mkdir()
    ports = free_ports(3)
    words = [f"--{name}-port={port}" for name, port in zip(("dns", "page", "metrics"), ports, strict=True)]
    code = CODE.format(upstream=upstream)
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
        running = subprocess.Popen([sys.executable, "-c", code, *words], stdout=out, stderr=err, env=environment)
    try:
        yield running, ports
    finally:
        stop(running)


def printed(folder: Path) -> str:
    return (folder / "out").read_text()


def leaves_nothing(folder: Path, running: subprocess.Popen[bytes], ports: list[int]) -> None:
    """It has ended with 0 and without a word, and took its folder and the service along."""
    assert running.wait(200) == 0
    assert (folder / "err").read_text() == ""
    assert list((folder / "tmp").iterdir()) == []
    for port in ports:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections linger, a listener would not
            one.bind((HOST, port))


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_it_shows_the_whole_way_then_serves_until_it_is_stopped(by: int, tmp_path: Path) -> None:
    with in_thread(honest) as upstream, demonstrated(tmp_path, upstream.address) as (running, ports):
        wait_for(lambda: "Serving" in printed(tmp_path) or running.poll() is not None, "the demonstration to serve")
        text = printed(tmp_path)
        rows = {question: (came, good) for question, came, good in ROW.findall(text)}
        assert [row for row, (_, good) in rows.items() if good != "yes"] == []
        assert len(rows) == 13
        assert rows["blocked: blocked.test A over udp"][0] == PAGE_V4
        assert rows[FORGED][0] == "refused: tampered"
        assert rows["a list with 600 new names"][0] == "held: growth"
        assert rows["allowed: example.com A"][0] == "NOERROR from upstream"
        assert "All answers are right." in text
        assert asked(ports[0], "blocked.test") == f"{PAGE_V4} EDE 4"
        running.send_signal(by)
        leaves_nothing(tmp_path, running, ports)


def test_without_an_upstream_it_says_so_and_still_blocks(tmp_path: Path) -> None:
    with demonstrated(tmp_path) as (running, ports):
        wait_for(lambda: "Serving" in printed(tmp_path) or running.poll() is not None, "the demonstration to serve")
        text = printed(tmp_path)
        assert text.count("no upstream can be reached from here") == 2
        assert "All answers are right." in text
        running.terminate()
        leaves_nothing(tmp_path, running, ports)


@pytest.mark.parametrize("moment", ["blocklist-resolver-*", "blocklist-resolver-*/authority/*", "*/service.log"])
def test_stopped_at_any_moment_it_leaves_nothing(moment: str, tmp_path: Path) -> None:
    with demonstrated(tmp_path) as (running, ports):
        wait_for(lambda: list((tmp_path / "tmp").glob(moment)), moment)
        running.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGTERM)
        leaves_nothing(tmp_path, running, ports)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (socket.SOCK_STREAM, "dns"),
        (socket.SOCK_DGRAM, "dns"),
        (socket.SOCK_STREAM, "page"),
        (socket.SOCK_STREAM, "metrics"),
    ],
)
def test_a_port_that_is_taken_is_said(tmp_path: Path, kind: socket.SocketKind, word: str) -> None:
    (tmp_path / "tmp").mkdir()
    ports = dict(zip(("dns", "page", "metrics"), free_ports(3), strict=True))
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((HOST, ports[word]))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(upstream=NOBODY), *(f"--{key}-port={ports[key]}" for key in ports)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
            timeout=200,
            check=False,
        )
    assert done.returncode == 1
    said = f"Port {ports[word]} of {HOST}: Address already in use. Choose another: make run PORT_{word.upper()}=\n"
    assert done.stderr == said
    assert list((tmp_path / "tmp").iterdir()) == []


def test_its_configuration_is_one_for_a_demonstration(tmp_path: Path) -> None:
    text = demonstration.CONFIG.format(servers=demonstration.NO_UPSTREAM, dns=1, page=2, metrics=3, folder=tmp_path)
    config = parse(text, "resolver.toml")
    assert all(one.demonstration for one in config.lists)
    assert str(config.page.addresses[0]) == demonstration.PAGE


def test_an_answer_that_does_not_come_is_a_row_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(*_: object, **__: object) -> dns_client.Reply:
        raise dns_client.AskError("no reply")

    monkeypatch.setattr(dns_client, "ask", silence)
    monkeypatch.setattr(demonstration, "fetched", lambda url: (0, ""))
    monkeypatch.setattr(demonstration, "counted", lambda port: ("the counter", "missing", False))
    ports = SimpleNamespace(dns_port=1, page_port=2, metrics_port=3)
    rows = list(demonstration.outcomes(Endpoint(HOST, 1), ports))  # type: ignore[arg-type]  # the ports it reads
    assert len(rows) == 9
    assert not any(good for *_, good in rows)
    assert rows[0][1] == "no reply"
