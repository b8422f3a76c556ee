"""The story that systemd hears of a whole service, and what is left when it ends one that hangs."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, asked, exchange, hang_up, honest, query_for
from tests.journeys.running import PAGE_V4, ROOT, Service, stop

LISTED = "canary-7f3a.test"
PING_US = 200_000


class Heard:
    """The messages in the order in which they came."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(20)

    def until(self, wanted: str) -> list[str]:
        """What came up to `wanted`, without pings and sockets to keep; fails where it does not come."""
        found: list[str] = []
        while not found or found[-1] != wanted:
            message = self._socket.recv(4096).decode().partition("\nMONOTONIC_USEC=")[0]
            if not message.startswith(("WATCHDOG=1", "FDSTORE")) or wanted == message:
                found.append(message)
        return found

    def close(self) -> None:
        self._socket.close()


@contextmanager
def serving(site: Site, path: Path, **more: str) -> Iterator[Service]:
    """The service, told where to notify."""
    site.write()
    environment = {"PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(path), "PYTHONUNBUFFERED": "1", **more}
    with open(site.folder / "stdout", "ab") as out, open(site.folder / "stderr", "ab") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "resolver", "run", "--config", str(site.config)],
            stdout=out,
            stderr=err,
            env=environment,
            cwd=site.folder / "work",
        )
    dns, page, metrics = site.ports
    try:
        yield Service(
            dns=dns, page=page, metrics=metrics, folder=site.folder, authority=site.authority, process=process
        )
    finally:
        stop(process)


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    found = Heard(tmp_path / "notify")
    yield found
    found.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One with an upstream: when the lack of one is noticed is a matter of chance."""
    with in_thread(honest) as upstream:
        yield Site(tmp_path, [upstream.address])


def test_it_says_when_it_answers_how_it_is_and_when_it_stops(site: Site, heard: Heard, tmp_path: Path) -> None:
    with serving(site, tmp_path / "notify") as service:
        assert heard.until("READY=1") == ["STATUS=answering; not every list is enforced", "READY=1"]
        assert asked(site.dns, LISTED).startswith("SERVFAIL")
        site.publish([LISTED])
        hang_up(service)
        assert heard.until("READY=1")[0] == "RELOADING=1"
        assert heard.until("STATUS=answering; every list is enforced")
        assert asked(site.dns, LISTED) == f"{PAGE_V4} EDE 4"
        site.config.write_text("[broken")
        hang_up(service)
        said = heard.until("READY=1")
        assert said == [
            "RELOADING=1",
            "STATUS=answering; every list is enforced; the last reload was refused",
            "READY=1",
        ]
        service.process.send_signal(signal.SIGTERM)
        assert heard.until("STOPPING=1") == ["STOPPING=1"]
        assert service.process.wait(60) == 0


def test_the_watchdog_is_pinged_while_the_feed_and_every_upstream_fail(heard: Heard, tmp_path: Path) -> None:
    with serving(Site(tmp_path), tmp_path / "notify", WATCHDOG_USEC=str(PING_US)) as service:
        heard.until("READY=1")
        for _ in range(10):
            heard.until("WATCHDOG=1")
        assert service.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_service_that_is_ended_leaves_a_report_and_no_name(
    number: signal.Signals, site: Site, heard: Heard, tmp_path: Path
) -> None:
    site.publish([LISTED])
    with serving(site, tmp_path / "notify") as service:
        service.until("/readyz")
        exchange(site.dns, query_for(LISTED, "HTTPS"), over="tcp")
        os.kill(service.process.pid, number)
        assert service.process.wait(60) == -number
        assert f": ended by {number.name}\n  packet: " in service.said
        assert "  build id of " in service.said
        assert LISTED.split(".")[0] not in service.said
        assert "127.0.0.2" not in service.said
        assert not list((site.folder / "work").iterdir())


def test_the_report_tells_what_kind_of_packet_was_last(site: Site, heard: Heard, tmp_path: Path) -> None:
    site.publish([LISTED])
    query = query_for(LISTED, "HTTPS")
    with serving(site, tmp_path / "notify") as service:
        service.until("/readyz")
        exchange(site.dns, query, over="tcp")
        os.kill(service.process.pid, signal.SIGSEGV)
        service.process.wait(60)
        told = f"octets {len(query)}, stream 1, reply 0, qtype 65, qclass 1, labels 2, flags 256, edns 1\n"
        assert told in service.said
