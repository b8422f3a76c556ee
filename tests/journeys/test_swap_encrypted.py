"""Lists are swapped while clients hold connections of every encrypted transport: the next query has the new list.

Rules:
- A client keeps its connection: a test that needed a second one fails, unless it was so slow that the first was idle.
- While a test waits for a list, each connection asks for a name that stays listed.
"""

import os
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from resolver.edge.link import ANSWER_S
from resolver.query.transport import IDLE_S
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys import edges
from tests.journeys.edges import COLUMNS, DOQ, DOT, Clients, Place
from tests.journeys.processes import CLIENT, REAL, Site, came, hang_up, list_of, operate, query_for, series, wait_for
from tests.journeys.running import LIST_ID, PAGE_V4, ROOT, Authority, Service, stop
from tests.journeys.test_order import ALIASES, chains
from tests.journeys.test_proof import receipt_of

BLOCKED: Final = f"{PAGE_V4} EDE 4"
ALWAYS: Final = "other.test"
LATER: Final = "victim.test"
NAMES: Final = (LATER, "www.victim.test", "alias.test", "long.test")
"""A name that is listed later, one below it, and two whose aliases lead to it."""
HTTP: Final = tuple(column for column in COLUMNS if column not in (DOT, DOQ))
TRIES: Final = 3


@dataclass
class Lab:
    """A service, its upstream, and clients of the edge before it."""

    site: Site
    service: Service
    upstream: Upstream
    place: Place
    clients: Clients

    def publish(self, *entries: str) -> int:
        return self.site.publish([ALWAYS, *entries])

    def until(self, serial: int, list_id: str = LIST_ID) -> None:
        """Wait until this serial is in force."""

        def is_in_force() -> bool:
            for column in COLUMNS:
                assert came(self.clients.ask(column, query_for(ALWAYS))) == BLOCKED, column
            return f'list_serial{{list="{list_id}"}} {float(serial)}'.encode() in self.service.get("/metrics")[1]

        wait_for(is_in_force, f"serial {serial} of {list_id}")

    def list_now(self, *entries: str) -> int:
        serial = self.publish(*entries)
        hang_up(self.service)
        self.until(serial)
        return serial

    def said(self, name: str) -> dict[str, tuple[str, str]]:
        """What comes for a name over each transport, and for how long an HTTP cache may keep it."""
        found = {}
        for column in COLUMNS:
            what = came(self.clients.ask(column, query_for(name)))
            kept = self.clients.fields(column)["cache-control"] if column in HTTP else ""
            found[column] = (what.split()[-1] if "EDE" not in what else what, kept)
        return found

    def hold_is_blocked(self, name: str) -> None:
        assert self.said(name) == {column: (BLOCKED, "no-store" if column in HTTP else "") for column in COLUMNS}, name

    def hold_flows(self, name: str) -> None:
        for column, (what, kept) in self.said(name).items():
            assert what == REAL, (name, column)
            if column in HTTP:
                assert 0 <= int(kept.removeprefix("private, max-age=")) <= 300, (name, column)

    def hold_the_connections_are_the_first(self) -> None:
        assert self.clients.paused_s > IDLE_S / 2 or self.clients.made == dict.fromkeys(COLUMNS, 1)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("swap")
    place, text = edges.configured(folder)
    with in_thread(chains) as upstream:
        site = Site(folder, [upstream.address], {"upstream": {"timeout": "30s"}})
        site.set("edge", **tomllib.loads(text)["edge"])
        site.set("limits", exempt=["127.0.0.0/8"])
        site.publish([ALWAYS])
        service = site.launch()
        try:
            service.until("/readyz")
            with edges.started(place, site.config), edges.clients(place, CLIENT) as clients:
                yield Lab(site, service, upstream, place, clients)
        finally:
            if service.process.poll() is None:
                stop(service.process)
        said = edges.said(place) + service.said
        assert not [word for word in (LATER, ALWAYS, CLIENT, "Traceback") if word in said]


def test_what_was_kept_is_blocked_on_an_open_connection_once_it_is_listed_and_flows_again_after(lab: Lab) -> None:
    lab.list_now()
    for name in NAMES:
        lab.hold_flows(name)
        lab.hold_flows(name)
    lab.list_now(LATER)
    for name in NAMES:
        lab.hold_is_blocked(name)
        lab.hold_is_blocked(name)
    lab.list_now()
    for name in NAMES:
        lab.hold_flows(name)
    lab.hold_the_connections_are_the_first()


def test_a_list_that_comes_while_upstream_is_asked_holds_for_the_answers(lab: Lab) -> None:
    """An edge waits ANSWER_S for the service: on a busy machine a swap may take longer, and is tried again."""
    for number in range(TRIES):
        names = {column: f"{column}-{number}.test" for column in COLUMNS}
        ALIASES.update({f"{names[column]}.": f"{LATER}." for column in COLUMNS[::2]})
        lab.list_now()
        found: dict[str, str] = {}

        def ask(column: str, name: str, found: dict[str, str] = found) -> None:
            found[column] = came(lab.clients.ask(column, query_for(name)))

        wanted = len(lab.upstream.queries) + len(names)
        lab.upstream.hold()
        threads = [threading.Thread(target=ask, args=one) for one in names.items()]
        try:
            for thread in threads:
                thread.start()
            wait_for(lambda wanted=wanted: len(lab.upstream.queries) >= wanted, "all to be asked upstream")  # type: ignore[misc]  # a default is no argument
            serial = lab.publish(LATER, *(names[column] for column in COLUMNS[1::2]))
            hang_up(lab.service)
            lab.service.until_serial(serial)
        finally:
            lab.upstream.release()
            for thread in threads:
                thread.join()
        if "SERVFAIL EDE 14" not in found.values():
            break
    assert found == dict.fromkeys(COLUMNS, BLOCKED), f"an edge waits {ANSWER_S:.0f} s"
    lab.hold_the_connections_are_the_first()


def test_a_list_that_a_reload_adds_holds_on_an_open_connection(lab: Lab) -> None:
    lab.hold_flows("second.test")
    second = Authority(lab.site.folder / "second", list_id="second")
    serial = second.publish(["second.test"])
    lab.site.lists.append(list_of(second.folder, "second"))
    lab.site.write()
    hang_up(lab.service)
    lab.until(serial, "second")
    lab.hold_is_blocked("second.test")
    lab.hold_the_connections_are_the_first()


def test_a_list_just_swapped_has_its_receipt_and_is_seen_by_ask(lab: Lab) -> None:
    serial = lab.list_now("asked.test")
    assert receipt_of(lab.site, serial)["serial"] == serial
    for over in ("tls", "https", "quic"):
        words = ("ask", "asked.test", "--over", over, "--config", str(lab.site.config), "--ca", str(lab.place.ca))
        command = [sys.executable, "-m", "resolver", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
        assert f"answer     asked.test. 60 A {PAGE_V4}" in done.stdout, done.stderr
        assert f"certificate verified for {edges.NAME}" in done.stdout, over


def test_the_last_process_after_a_hand_over_judges_what_comes_by_an_open_connection(lab: Lab) -> None:
    """The last test: another process serves after it."""
    name = "handed.test"
    lab.hold_flows(name)
    serial = lab.publish(name)
    assert operate(lab.site, "list", "fetch", LIST_ID).returncode == 0
    done = operate(lab.site, "hand-over")
    assert done.returncode == 0, lab.service.said
    process = int(done.stdout.split("process ")[1].split()[0])
    try:
        lab.hold_is_blocked(name)
        assert lab.service.process.wait(60) == 0
        lab.hold_is_blocked(name)
        lab.hold_flows("after.test")
        assert series(lab.service, "list_serial", list=LIST_ID) == serial
        lab.hold_the_connections_are_the_first()
    finally:
        os.kill(process, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{process}").exists(), "the end of the service")
