"""A night: one after the other on one running host, what status, journal and /readyz say, and what is answered.

Rules:
- Needs root: the state folder lies on a small disk of its own. Each moment is printed, so that a run shows the night.
- A real Prometheus scrapes each second with the rules and alerts of deploy/prometheus as they are shipped. Their `for:`
  are minutes, so what is seen of most alerts is that they are pending.
"""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.upstream import in_thread
from tests.journeys.processes import Site, asked, honest, operate, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service, stop
from tests.peers.test_scraped_fleet import PATIENCE_S, Prometheus, scraping

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


def alerted(prometheus: Prometheus, *names: str) -> None:
    """Wait until these alerts are pending or firing."""

    def holding() -> set[str]:
        return {name for name, _, _ in prometheus.alerts()}

    wait_for(lambda: set(names) <= holding(), f"the alerts {names}", PATIENCE_S)
    print(f"alerts: {', '.join(sorted(f'{name} {state}' for name, _, state in prometheus.alerts()))}\n")


def quiet(prometheus: Prometheus, name: str) -> None:
    """Wait until this alert is neither pending nor firing."""
    wait_for(lambda: name not in {one for one, _, _ in prometheus.alerts()}, f"{name} to end", PATIENCE_S)


def fails_again(site: Site, prometheus: Prometheus) -> bool:
    """Poll once more; true where the alert on failed polls is there."""
    operate(site, "list", "fetch", "demo")
    return "FeedFailing" in {name for name, _, _ in prometheus.alerts()}


@pytest.mark.timeout(300)
def test_a_night_takes_nothing_down_and_status_and_alerts_name_each_trouble(
    tmp_path: Path, disk: Path, program: Callable[[str], str]
) -> None:
    path = program("prometheus")
    site = Site(tmp_path)
    with scraping(path, tmp_path, [f"{HOST}:{site.ports[2]}"], hurry=(), each="1s") as prometheus:
        a_night(site, disk, prometheus)


def a_night(site: Site, disk: Path, prometheus: Prometheus) -> None:
    feed = site.authority.folder / "metadata"
    away = feed.with_name("away")
    with in_thread(honest) as upstream:
        site.change("upstream", servers=[upstream.address])
        site.publish(["bad.test"])
        service = site.launch()
        service.until("/readyz")
        wait_for(lambda: asked(site.dns, "bad.test") == BLOCKED, "the block")
        moment(site, service, "evening")
        wait_for(lambda: prometheus.values("up") and not prometheus.alerts(), "a quiet evening", PATIENCE_S)
    # The upstream is gone.
    try:
        wait_for(lambda: asked(site.dns, "free.test", seconds=10.0).startswith("SERVFAIL"), "an unlisted name to fail")
        until_status(site, service, "upstream gone", "NO upstream answers")
        assert service.get("/readyz")[0] == 503
        alerted(prometheus, "UpstreamsDown", "UpstreamDown")

        feed.rename(away)
        operate(site, "list", "fetch", "demo")
        until_status(site, service, "feed gone", "unreachable")
        wait_for(lambda: fails_again(site, prometheus), "the alert that counts failed polls", PATIENCE_S)
        alerted(prometheus, "UpstreamsDown", "FeedFailing")

        away.rename(feed)
        site.publish(["bad.test", *(f"n{number}.test" for number in range(2000))])
        operate(site, "list", "fetch", "demo")
        until_status(site, service, "a list that has grown", "held")
        alerted(prometheus, "ListHeld")
        assert "ListHeld" in {name for name, _ in prometheus.firing()}  # it waits for nothing

        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/fill", "bs=4k"], capture_output=True, check=False)
        operate(site, "list", "fetch", "demo")
        moment(site, service, "disk full")
        assert asked(site.dns, "bad.test") == BLOCKED
        alerted(prometheus, "UpstreamsDown", "FeedFailing", "ListHeld")
    finally:
        ended = stop(service.process)
    assert ended == 0, service.said
    alerted(prometheus, "MetricsMissing")
    # Still full, and a port is busy at the restart.
    with socket.create_server((HOST, site.ports[1])):
        service = site.launch(write=False)
        try:
            wait_for(lambda: "answering on" in service.said, "DNS")
            until_status(site, service, "restart, disk full, port busy", "NOT page.listen")
            alerted(prometheus, "SocketsMissing", "UpstreamsDown", "ListHeld", "FeedFailing")
            failures = 'blocklist_resolver_feed_failures_total{reason="state_not_written"} > 0'
            wait_for(lambda: prometheus.values(failures), "the full disk in Prometheus", PATIENCE_S)
        except BaseException:
            stop(service.process)
            raise
    try:
        wait_for(lambda: "page.listen: now listening" in service.said, "the page")
        (disk / "fill").unlink()
        assert "NOT page.listen" not in moment(site, service, "morning")
        quiet(prometheus, "SocketsMissing")
        quiet(prometheus, "MetricsMissing")
        assert asked(site.dns, "bad.test") == BLOCKED
    finally:
        assert stop(service.process) == 0
