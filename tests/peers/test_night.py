"""A night: one after the other on one running host, what status, journal and /readyz say, and what is answered.

Needs root: the state folder lies on a small disk of its own. Each moment is printed, so that a run shows the night.
"""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, asked, honest, operate, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service, stop

BLOCKED = f"{PAGE_V4} EDE 4"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def moment(site: Site, service: Service, what: str) -> str:
    """The status now; printed with what the balancer and the journal say."""
    said = operate(site, "status").stdout
    ready = service.get("/readyz")
    last = service.said.splitlines()[-1]
    print(f"== {what}\n/readyz {ready[0]} {ready[1].decode().strip()}\n{said}journal: {last}\n")
    return said


def until_status(site: Site, service: Service, what: str, wanted: str) -> None:
    wait_for(lambda: wanted in operate(site, "status").stdout, f"{what}: {wanted}")
    moment(site, service, what)
    assert asked(site.dns, "bad.test") == BLOCKED, what


def test_a_night_takes_nothing_down_and_status_names_each_trouble(tmp_path: Path, disk: Path) -> None:
    with in_thread(honest) as upstream:
        site = Site(tmp_path, [upstream.address])
        site.publish(["bad.test"])
        service = site.launch()
        service.until("/readyz")
        wait_for(lambda: asked(site.dns, "bad.test") == BLOCKED, "the block")
        moment(site, service, "evening")
    # The upstream is gone.
    try:
        wait_for(lambda: asked(site.dns, "free.test", seconds=10.0).startswith("SERVFAIL"), "an unlisted name to fail")
        until_status(site, service, "upstream gone", "NO upstream answers")
        assert service.get("/readyz")[0] == 503

        (tmp_path / "authority" / "metadata").rename(tmp_path / "gone")
        operate(site, "list", "fetch", "demo")
        until_status(site, service, "feed gone", "unreachable")

        (tmp_path / "gone").rename(tmp_path / "authority" / "metadata")
        site.publish(["bad.test", *(f"n{number}.test" for number in range(2000))])
        operate(site, "list", "fetch", "demo")
        until_status(site, service, "a list that has grown", "held")

        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/fill", "bs=4k"], capture_output=True, check=False)
        operate(site, "list", "fetch", "demo")
        moment(site, service, "disk full")
        assert asked(site.dns, "bad.test") == BLOCKED
    finally:
        ended = stop(service.process)
    assert ended == 0, service.said
    # Still full, and a port is busy at the restart.
    with socket.create_server((HOST, site.ports[1])):
        service = site.launch(write=False)
        try:
            wait_for(lambda: "answering on" in service.said, "DNS")
            until_status(site, service, "restart, disk full, port busy", "NOT page.listen")
        except BaseException:
            stop(service.process)
            raise
    try:
        wait_for(lambda: "page.listen: now listening" in service.said, "the page")
        (disk / "fill").unlink()
        assert "NOT page.listen" not in moment(site, service, "morning")
        assert asked(site.dns, "bad.test") == BLOCKED
    finally:
        assert stop(service.process) == 0
