"""A running service is replaced by a new process under load: no query is lost, none is answered wrongly."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.processes import REAL, Site, asked, hang_up, operate, series, wait_for
from tests.journeys.running import LIST_ID, PAGE_V4, ROOT, Service, free_ports, stop

LISTED = "blocked.test"
RATE = 2000
KINDS = (
    *("--ask", "blocked", LISTED, PAGE_V4),
    *("--ask", "below", f"*.{LISTED}", PAGE_V4),
    *("--ask", "kept", "kept.example", REAL),
    *("--ask", "blocked", LISTED, PAGE_V4),
    *("--ask", "kept", "kept.example", REAL),
    *("--ask", "forwarded", "n*.example", REAL),
)
HAND_OVERS = 3

Told = dict[str, Any]


@pytest.fixture(params=["python", "compiled"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """With either engine, the compiled one on two threads, so that it has two sockets at its address."""
    site = Site(tmp_path, upstreams=(f"127.0.0.1:{free_ports(1)[0]}",))
    site.set("listen", engine=request.param, threads=2)
    site.set("limits", exempt=["127.0.0.0/8"])
    site.publish([LISTED, f"*.{LISTED}"])
    return site


@contextmanager
def loaded(site: Site, rate: int = RATE) -> Iterator[Callable[[], Told]]:
    """A load on the service; the function ends it and returns its result."""
    ports = ("--port", str(site.dns), "--upstream", site.upstreams[0].partition(":")[2])
    command = [sys.executable, "-m", "tests.journeys.steady", *ports, "--rate", str(rate), *KINDS]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdout
    assert process.stdout.readline() == "asking\n"

    def told() -> Told:
        said, _ = process.communicate(timeout=60)
        found: Told = json.loads(said)
        print(found)
        return found

    try:
        yield told
    finally:
        process.kill()
        process.wait()


@dataclass
class Running:
    """A service whose processes change. first: the one that was started here."""

    site: Site
    first: Service
    process: int

    def hand_over(self) -> None:
        """Have a new process take over."""
        done = operate(self.site, "hand-over")
        assert done.returncode == 0, self.first.said
        process = int(done.stdout.split("process ")[1].split()[0])
        assert process != self.process
        self.process = process


@contextmanager
def running(site: Site) -> Iterator[Running]:
    """A service; it has ended after the block, whoever is its process by then."""
    first = site.launch()
    found = Running(site, first, first.process.pid)
    try:
        first.until("/readyz")
        yield found
    finally:
        if found.process == first.process.pid:
            stop(first.process)
        else:
            assert first.process.wait(20) == 0, first.said
            os.kill(found.process, signal.SIGTERM)
            wait_for(lambda: not Path(f"/proc/{found.process}").exists(), "the end of the service")
        print(first.said)


def test_no_query_is_lost_over_several_hand_overs_and_none_is_counted_twice(site: Site) -> None:
    with running(site) as service:
        with loaded(site) as told:
            for _ in range(HAND_OVERS):
                service.hand_over()
            found = told()
        assert not found["lost"]
        assert not found["wrong"]
        assert found["answered"] == found["sent"]
        blocked = sum(number for kind, number in found["answered"].items() if kind.startswith(("blocked", "below")))
        assert blocked > 1000

        def counted() -> bool:
            said = service.first.metric("blocked_queries_total")
            # Who asked again by another connection may have been answered, and counted, by the first one.
            return said is not None and blocked <= said <= blocked + found["again"]

        wait_for(counted, "the count of all that was blocked")


def test_a_list_that_has_just_come_is_enforced_by_the_next_process_too(site: Site) -> None:
    with running(site) as service:
        for number in (2, 3):
            name = f"later{number}.test"
            serial = site.publish([LISTED, name])
            assert operate(site, "list", "fetch", LIST_ID).returncode == 0
            service.hand_over()
            assert asked(site.dns, name) == f"{PAGE_V4} EDE 4"
            assert series(service.first, "list_serial", list=LIST_ID) == serial
        chain = operate(site, "list", "audit")
        assert chain.returncode == 0, chain.stderr
        assert "serial 3" in chain.stdout


def test_a_new_process_that_cannot_start_changes_nothing(site: Site) -> None:
    with running(site) as service:
        good = site.config.read_text()
        site.config.write_text("nonsense = 1\n" + good)
        done = operate(site, "hand-over")
        assert done.returncode == 1
        assert "this process goes on: the new process ended (status 2): the log says why" in done.stderr
        site.config.write_text(good)
        image = next((site.folder / "state" / "lists" / LIST_ID).glob("*.image"))
        sealed = image.read_bytes()
        image.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
        done = operate(site, "hand-over")
        assert done.returncode == 1
        assert "the new process ended (status 4)" in done.stderr
        assert "nothing is taken over: ImageUnusable" in service.first.said
        image.write_bytes(sealed)
        # It polls again, and can hand over as if nothing had been.
        serial = site.publish([LISTED, "later.test"])
        hang_up(service.first)
        service.first.until_serial(serial)
        service.hand_over()
        assert asked(site.dns, "later.test") == f"{PAGE_V4} EDE 4"


def test_two_services_never_share_a_state_folder(site: Site) -> None:
    with running(site) as service:
        second = site.launch(write=False)
        assert second.process.wait(20) == 4
        assert "state.directory: another process of the service, or `compile`, works in it" in second.said
        assert asked(site.dns, LISTED) == f"{PAGE_V4} EDE 4"
        assert service.first.process.poll() is None
