"""Kill -9 of the whole service at each step of an update, then a start: blocked from the first answer on.

Serial 1 lists a.test, serial 2 lists a.test and b.test; the upstream has an address for both. Somebody asks all the
time, from before the process is there: no answer may be any other than the page's.
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from resolver.feed import poll
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import (
    REAL,
    Site,
    asked,
    came,
    child_of,
    command_of,
    descendants,
    exchange,
    hang_up,
    honest,
    query_for,
    wait_for,
)
from tests.journeys.running import LIST_ID, PAGE_V4, Service
from tests.journeys.test_update_crash import STEPS, killed

BLOCKED = f"{PAGE_V4} EDE 4"
ENOUGH = 20


def kill_at(step: str, when: str) -> None:
    """Be the service, but with no process any more before or after one step of an update."""
    from resolver.cli import main

    recover = poll.Feed.recover
    where, method, _ = STEPS[step]

    def recovered(self: poll.Feed) -> None:
        recover(self)
        setattr(where, method, killed(getattr(where, method), when))

    poll.Feed.recover = recovered  # type: ignore[method-assign]  # what this launcher is for
    sys.exit(main.main(sys.argv[1:]))


def launcher(step: str, when: str) -> Sequence[str]:
    return "-c", f"from tests.journeys.test_kill import kill_at; kill_at({step!r}, {when!r})"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture(scope="module")
def updated(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Serial 1 is in force in a service that has stopped, serial 2 is published."""
    site = Site(tmp_path_factory.mktemp("site"), [upstream.address])
    site.publish(["a.test"])
    with site.started():
        pass
    shutil.copytree(site.folder / "state", site.folder / "saved")
    site.publish(["a.test", "b.test"])
    return site


@pytest.fixture
def site(updated: Site) -> Site:
    """The same, as it was."""
    shutil.rmtree(updated.folder / "state")
    shutil.copytree(updated.folder / "saved", updated.folder / "state")
    return updated


@contextmanager
def without_authority(site: Site) -> Iterator[None]:
    """No update comes between a start and the first answers."""
    away = site.authority.folder.with_name("away")
    (site.authority.folder / "metadata").rename(away)
    try:
        yield
    finally:
        away.rename(site.authority.folder / "metadata")


@contextmanager
def asking(port: int, name: str, over: str) -> Iterator[list[str]]:
    """Ask for a name without pause, and every 2 ms while nobody is there; what came is kept."""
    kept: list[str] = []
    stop, query = threading.Event(), query_for(name)

    def ask() -> None:
        while not stop.is_set():
            try:
                kept.append(came(exchange(port, query, over=over, seconds=0.2)))
            except OSError:
                stop.wait(0.002)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield kept
    finally:
        stop.set()
        thread.join()


def starts_blocking_and_goes_on(site: Site, good: int) -> None:
    """A start with what is saved, and with nobody to fetch from: every answer is right from the first one on. The next
    poll fetches what is published."""
    b = BLOCKED if good == 2 else REAL
    with ExitStack() as until_stopped:
        with (
            without_authority(site),
            asking(site.dns, "a.test", "udp") as first,
            asking(site.dns, "b.test", "udp") as second,
            asking(site.dns, "a.test", "tcp") as third,
        ):
            service = until_stopped.enter_context(site.started())
            wait_for(lambda: min(map(len, (first, second, third))) >= ENOUGH, "answers")
            assert f'list_serial{{list="{LIST_ID}"}} {good:.1f}' in service.get("/metrics")[1].decode()
        assert (set(first), set(second), set(third)) == ({BLOCKED}, {b}, {BLOCKED})
        hang_up(service)
        service.until_serial(2)
        assert asked(site.dns, "a.test") == BLOCKED
        assert asked(site.dns, "b.test") == BLOCKED


def dies(service: Service) -> None:
    """Wait until it was killed, and everything it started with it."""
    below = descendants(service.process.pid)
    assert service.process.wait(60) == -signal.SIGKILL, service.said
    wait_for(lambda: not any(b"resolver.feed" in command_of(pid) for pid in below), "its children to be gone")


# What is after a step is before the next one: each step once, and the end.
CASES = [(step, "before", 2 if STEPS[step][2] == 8 and step != "floor raised" else 1) for step in STEPS]
CASES += [("cleaned", "after", 2)]


@pytest.mark.parametrize(("step", "when", "good"), CASES, ids=[f"{when} {step}" for step, when, _ in CASES])
def test_killed_at_a_step_of_an_update(step: str, when: str, good: int, site: Site) -> None:
    dies(site.launch(launcher(step, when)))
    starts_blocking_and_goes_on(site, good)


@pytest.mark.parametrize("module", ["resolver.feed.fetch.tuf", "resolver.feed.names.compile"])
def test_killed_while_a_child_works(module: str, site: Site) -> None:
    service = site.launch()
    child_of(service, module)
    service.process.kill()
    dies(service)
    starts_blocking_and_goes_on(site, 1)


@pytest.mark.parametrize("module", ["resolver.feed.fetch.tuf", "resolver.feed.names.compile"])
def test_a_child_that_is_killed_costs_one_update(module: str, site: Site) -> None:
    with site.started(until="") as service:
        os.kill(child_of(service, module), signal.SIGKILL)
        failed = f'feed_failures_total{{list="{LIST_ID}",reason="process"}} 1.0'.encode()
        service.until("/metrics", lambda body: failed in body)
        assert asked(site.dns, "a.test") == BLOCKED
        assert asked(site.dns, "b.test") == REAL
        hang_up(service)
        service.until_serial(2)
        assert asked(site.dns, "b.test") == BLOCKED


def test_killed_while_it_serves(site: Site) -> None:
    with without_authority(site):
        service = site.launch()
        service.until("/readyz")
        service.process.kill()
        dies(service)
    starts_blocking_and_goes_on(site, 1)


def test_a_start_that_is_killed_again_and_again(site: Site) -> None:
    """Nothing a start does makes the next one worse."""
    dies(site.launch(launcher("state written", "before")))
    for _ in range(3):
        with without_authority(site):
            service = site.launch()
            wait_for(partial(command_of, service.process.pid), "a process")
            service.process.kill()
            dies(service)
    starts_blocking_and_goes_on(site, 2)
