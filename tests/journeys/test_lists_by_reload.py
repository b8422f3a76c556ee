"""Lists are added, changed, moved and removed by `reload` while clients ask: no query is lost, no count goes back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.authority import Authority, names
from tests.fakes.upstream import in_thread
from tests.journeys.processes import REAL, Site, asked, honest, list_of, operate, wait_for
from tests.journeys.running import PAGE_V4, Service
from tests.journeys.test_second_list import HOSTS, SECOND, series, source_of

BLOCKED = f"{PAGE_V4} EDE 4"
CLIENTS = ("127.0.0.2", "127.0.0.3")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with in_thread(honest) as upstream:
        yield Site(tmp_path, [upstream.address])


def second_of(folder: Path, data: bytes) -> dict[str, Any]:
    """A second list from an authority of its own in `folder`."""
    authority = Authority(folder)
    authority.publish(data, 1, list_id=SECOND, target=SECOND)
    return {**list_of(folder, SECOND), "source": source_of(authority)}


def reloaded(site: Site) -> str:
    """Take the configuration as it is now; what the command said."""
    site.write()
    done = operate(site, "reload")
    assert done.returncode == 0, done.stderr
    return done.stdout


class Clients:
    """Ask without a pause, over UDP and TCP: what came for each name."""

    def __init__(self, port: int) -> None:
        self.said: dict[str, set[str]] = {"ok.test": set(), "bad.test": set()}
        self.number = 0
        self._port = port
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(over,)) for over in ("udp", "tcp")]

    def _ask(self, over: str) -> None:
        while not self._ended.is_set():
            for name, said in self.said.items():
                try:
                    said.add(asked(self._port, name, over=over, seconds=10.0))
                except OSError as error:
                    said.add(f"no answer over {over}: {type(error).__name__}")
                self.number += 1

    def start(self) -> None:
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        self._ended.set()
        for one in self._threads:
            one.join(30)


@contextmanager
def clients(port: int) -> Iterator[Clients]:
    one = Clients(port)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def counted(service: Service, list_id: str) -> float:
    return series(service, f'blocked_queries_total{{list="{list_id}"}}')


def test_lists_come_and_go_under_load_and_no_query_is_lost(site: Site, tmp_path: Path) -> None:
    site.publish(["bad.test"])
    first, second = site.lists[0], second_of(tmp_path / "second-authority", names(30, "site"))
    with site.started() as service, clients(site.dns) as load:
        for turn in range(3):
            site.lists = [first, second]
            assert f"list.{SECOND}" in reloaded(site)
            wait_for(lambda: asked(site.dns, "site1.test") == BLOCKED, "the second list to be in force")
            site.lists = [second, first]
            assert "changed: list\n" in reloaded(site)
            assert asked(site.dns, "site1.test") == BLOCKED
            site.lists = [first]
            assert f"list.{SECOND}" in reloaded(site)
            assert asked(site.dns, "site1.test") == REAL, turn
            status = operate(site, "status").stdout
            assert SECOND not in status
            assert "enforcing" in status
        load.stop()
        print(f"{load.number} queries while lists came and went, nine times")
        assert load.said == {"ok.test": {REAL}, "bad.test": {BLOCKED}}
        assert series(service, "enforcing") == 1
        assert service.get("/readyz")[0] == 200
    assert f"list {SECOND}: removed" in service.said


def test_counts_of_a_list_that_goes_and_comes_back_never_go_back(site: Site, tmp_path: Path) -> None:
    site.publish(["bad.test"])
    first, second = site.lists[0], second_of(tmp_path / "second-authority", names(30, "site"))
    site.lists = [first, second]
    with site.started() as service:
        wait_for(lambda: asked(site.dns, "site1.test") == BLOCKED, "the second list")
        for number in range(5):
            asked(site.dns, f"site{number}.test")
        wait_for(lambda: counted(service, SECOND) >= 6, "its queries to be counted")
        before = counted(service, SECOND)
        site.lists = [first]
        reloaded(site)
        assert f'list="{SECOND}"' not in service.get("/metrics")[1].decode()
        site.lists = [first, second]
        reloaded(site)
        assert counted(service, SECOND) == before
        assert asked(site.dns, "site1.test") == BLOCKED, "at once, from what was saved"
        wait_for(lambda: counted(service, SECOND) > before, "more queries to be counted")
        last = counted(service, SECOND)
        site.lists = [first]
        reloaded(site)
    site.lists = [first, second]
    with site.started() as service:
        assert counted(service, SECOND) == last


def test_a_list_that_is_added_by_reload_and_not_accepted_takes_nothing_down(site: Site, tmp_path: Path) -> None:
    site.publish(["bad.test"])
    with site.started() as service:
        site.lists.append(second_of(tmp_path / "second-authority", HOSTS))
        reloaded(site)
        failures = f'feed_failures_total{{list="{SECOND}",reason="empty"}}'
        wait_for(lambda: series(service, failures) == 1, "the second list to be tried")
        assert (asked(site.dns, "ok.test"), asked(site.dns, "bad.test")) == (REAL, BLOCKED)
        assert service.get("/readyz")[0] == 200
        assert series(service, f'list_forwarded{{list="{SECOND}"}}') == 1
        assert operate(site, "list", "fetch", SECOND).returncode == 3


def test_what_needs_a_restart_is_refused_with_its_key_and_nothing_changes(site: Site, tmp_path: Path) -> None:
    site.publish(["bad.test"])
    with site.started() as service:
        site.lists.append(second_of(tmp_path / "second-authority", names(30, "site")))
        site.sections["cache"] = {"size": "1MiB"}
        site.write()
        done = operate(site, "reload")
        assert (done.returncode, "restart to change: cache.size" in done.stderr) == (2, True)
        assert f'list="{SECOND}"' not in service.get("/metrics")[1].decode()
        assert asked(site.dns, "site1.test") == REAL
