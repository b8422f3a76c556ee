"""What an operator does at night: look, reload, flush, ask as a client would; each as a command of its own.

What the commands say is printed, so that a run shows the screens.
"""

import copy
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from resolver.config.values import many
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, RESOLVER, Site, asked, honest, operate, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service, stop

BLOCKED = f"{PAGE_V4} EDE 4"
PLAIN = ("-m", "tests.plain")


@dataclass
class House:
    """A service, what it is made of, and the upstream that it asks."""

    site: Site
    service: Service
    upstream: Upstream


@pytest.fixture(scope="module", params=[RESOLVER, PLAIN], ids=["compiled", "plain"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with in_thread(honest) as upstream:
        site = Site(tmp_path_factory.mktemp("site"), [upstream.address])
        site.publish(["bad.test"])
        with site.started(request.param) as service:
            yield House(site, service, upstream)


@pytest.fixture
def house(running: House) -> Iterator[House]:
    """The one that runs for all; what a test changes in its configuration is taken back."""
    site = running.site
    sections, written = copy.deepcopy(site.sections), site.config.read_text()
    yield running
    site.sections = sections
    if site.config.read_text() != written:
        site.config.write_text(written)
        assert operate(site, "reload").returncode == 0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """One for a test alone, that serves nobody."""
    site = Site(tmp_path)
    site.publish(["bad.test"])
    return site


def test_status_is_one_screen_with_what_to_do_next(house: House) -> None:
    done = operate(house.site, "status")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert lines[0].startswith("service    ready, enforcing; version ")
    serial = house.site.authority.serial
    # The list has as many entries as there were lists.
    assert lines[2] == f"list       demo: serial {serial} in force, {many(serial, 'entry', 'entries')}"
    assert lines[3].startswith("  dates    issued ")
    assert max(map(len, lines[2:])) <= 100
    assert lines[-1] == "next: nothing to do"
    told = json.loads(operate(house.site, "status", "--json").stdout)
    assert (told["ready"], told["enforcing"], told["next"]) == (True, True, [])
    assert told["lists"][0]["selftest_passed"] is True


def test_status_tells_no_number_that_a_block_moves(house: House) -> None:
    """The facts before and after a blocked name was asked for, up to what only time moves."""
    for name, wanted in (("open.test", REAL), ("bad.test", BLOCKED)):
        assert asked(house.site.dns, name) == wanted
    before = facts(house)
    for over in ("udp", "tcp"):
        assert asked(house.site.dns, "www.bad.test", over=over) == BLOCKED
    assert facts(house) == before


def facts(house: House) -> dict[str, object]:
    told: dict[str, object] = json.loads(operate(house.site, "status", "--json").stdout)
    for moved in ("beat", "cache_used", "connections"):  # on the beat; connections close in their own time
        del told[moved]
    return told


def test_status_says_what_to_do_about_an_upstream_that_is_down(site: Site) -> None:
    site.sections["upstream"] |= {"servers": [f"{HOST}:9"], "timeout": "1s"}
    with site.started():
        for number in range(12):
            assert asked(site.dns, f"n{number}.open.test").startswith("SERVFAIL")
        wait_for(lambda: "DOWN" in operate(site, "status").stdout, "the upstream to be down")
        lines = operate(site, "status").stdout.splitlines()
    assert any(line.startswith("next: NO upstream answers") for line in lines)
    assert f"--server {HOST}:9" in lines[-1]


def test_status_says_why_nothing_is_answered_without_a_list(tmp_path: Path) -> None:
    empty = Site(tmp_path / "empty")
    with empty.started(until="/healthz"):
        lines = operate(empty, "status").stdout.splitlines()
    assert lines[0].startswith("service    NOT READY, NOT ENFORCING")
    assert any(line.startswith("next: demo is NOT IN FORCE") for line in lines)


def test_a_reload_tells_what_changed(house: House) -> None:
    house.site.change("page", addresses=["192.0.2.77"])
    house.site.change("limits", queries_per_second=500, connections=7)
    house.site.change("cache", stale="0", rotate=False)
    house.site.change("upstream", timeout="3s", case_randomization=True)
    done = operate(house.site, "reload")
    assert (done.returncode, done.stderr) == (0, "")
    first = done.stdout.splitlines()[0]
    keys = "upstream.timeout, upstream.case_randomization, cache.stale, cache.rotate, page.addresses"
    assert first == f"{house.site.config}: taken; changed: {keys}, limits.queries_per_second, limits.connections"
    assert asked(house.site.dns, "bad.test") == "192.0.2.77 EDE 4"
    assert asked(house.site.dns, "open.test") == REAL
    assert "0 of 7 connections" in operate(house.site, "status").stdout
    assert operate(house.site, "reload").stdout.splitlines()[0].endswith("changed: nothing")


def test_a_reload_polls_every_list(house: House) -> None:
    serial = house.site.publish(["bad.test", "worse.test"])
    assert operate(house.site, "reload").returncode == 0
    house.service.until_serial(serial)
    assert asked(house.site.dns, "worse.test") == BLOCKED


BROKEN: tuple[tuple[str, dict[str, object], str], ...] = (
    ("limits", {"queries_per_second": "canary"}, "limits.queries_per_second: Expected int, got str"),
    ("page", {"addresses": ["canary.test"]}, "page.addresses[0]: expected an address such as 192.0.2.1"),
    ("listen", {"dns": ["127.0.0.1:canary"]}, "listen.dns[0]: expected ADDRESS:PORT"),
    ("cache", {"size": "1MiB"}, "restart to change: cache.size"),
    ("nonsense", {"x": 1}, "nonsense: unknown key"),
)


def test_a_reload_of_a_broken_file_says_why_and_changes_nothing(house: House) -> None:
    site, good, sections = house.site, house.site.config.read_text(), copy.deepcopy(house.site.sections)
    for section, values, words in BROKEN:
        site.sections = copy.deepcopy(sections)
        site.change(section, **values)
        done = operate(site, "reload")
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"blocklist-resolver: {site.config}: ")
        assert words in done.stderr
        assert done.stderr.endswith("; the old configuration stays\n")
        assert asked(site.dns, "bad.test") == BLOCKED
        screen = operate(site, "status").stdout
        assert "reload     REFUSED" in screen
        advice = f"the last reload was refused, correct the file: blocklist-resolver check-config {site.config}"
        said = " ".join(screen.split())
        assert f"next: {'the new configuration needs a restart' if 'restart' in words else advice}" in said
        assert "canary" not in house.service.said + screen
    site.config.write_text(good)
    assert operate(site, "reload").returncode == 0
    assert operate(site, "status").stdout.splitlines()[-1] == "next: nothing to do"


def test_a_file_that_is_no_toml_does_not_hide_the_service(house: House) -> None:
    house.site.config.write_text(house.site.config.read_text().replace("[listen]", "[listen"))
    done = operate(house.site, "reload")
    assert done.returncode == 2
    assert ": not TOML: " in done.stderr
    assert operate(house.site, "status").returncode == 0


def test_flush_forgets_and_the_next_answer_is_new(house: House) -> None:
    def times(name: str) -> int:
        asked(house.site.dns, name)
        return sum(str(seen.question[0].name) == f"{name}." for seen in house.upstream.queries)

    assert [times("a.kept.test"), times("b.kept.test"), times("a.kept.test")] == [1, 1, 1]
    assert operate(house.site, "cache", "flush", "a.kept.test").stdout == "removed: 1 cached answer\n"
    assert [times("a.kept.test"), times("b.kept.test")] == [2, 1]
    done = operate(house.site, "cache", "flush", "-", "--subtree", typed="KEPT.test\n")
    assert done.stdout == "removed: 2 cached answers\n"
    assert operate(house.site, "cache", "flush", "a.kept.test").stdout == "nothing was cached for it\n"
    assert [times("a.kept.test"), times("b.kept.test")] == [3, 2]
    assert operate(house.site, "cache", "flush", ".", "--subtree").stdout == "removed: all cached answers below it\n"
    assert [times("a.kept.test"), times("b.kept.test")] == [4, 3]


def test_a_blocked_name_is_blocked_whatever_is_flushed(house: House) -> None:
    assert asked(house.site.dns, "bad.test") == BLOCKED
    assert operate(house.site, "cache", "flush", "bad.test", "--subtree").stdout == "nothing was cached for it\n"
    assert asked(house.site.dns, "bad.test") == BLOCKED


def test_the_log_says_who_did_what_and_no_name(house: House) -> None:
    before = len(house.service.said)
    operate(house.site, "cache", "flush", "canary.test")
    operate(house.site, "reload")
    operate(house.site, "status")
    uid = os.geteuid()
    lines = [line for line in house.service.said[before:].splitlines() if "by uid" in line]
    assert lines == [
        f"INFO resolver.control: flush by uid {uid}: done",
        f"INFO resolver.control: reload by uid {uid}: done",
    ]
    assert "canary" not in house.service.said


def test_where_no_service_runs_it_says_so(site: Site) -> None:
    site.write()
    for words in (("status",), ("reload",), ("cache", "flush", "a.test")):
        done = operate(site, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no service listens there: it does not run" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_second_service_leaves_the_first_one_its_socket(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path / "other")
    with site.started():
        other.change("control", socket=str(site.folder / "control"))
        second = other.launch()
        wait_for(lambda: "answering on" in second.said, "DNS without a control socket")
        assert ": control.socket: another process listens there" in second.said
        assert operate(site, "status").returncode == 0
        assert stop(second.process) == 0
        assert operate(site, "status").returncode == 0


def test_after_a_crash_the_socket_is_taken_over(site: Site) -> None:
    service = site.launch()
    service.until("/readyz")
    service.process.kill()
    service.process.wait()
    assert (site.folder / "control").is_socket()
    assert operate(site, "status").returncode == 1
    with site.started():
        assert operate(site, "status").returncode == 0
    assert not (site.folder / "control").exists()


def test_mad_peers_do_not_hold_the_service(house: House) -> None:
    path = str(house.site.folder / "control")
    stop = threading.Event()

    def be_mad(number: int) -> None:
        texts = (b'{"verb": "reload"}\n', b"\xff" * 9000, b'{"verb": ' + b"[" * 5000 + b"\n", b'{"verb"')
        while not stop.is_set():
            with socket.socket(socket.AF_UNIX) as one:
                try:
                    one.settimeout(0.5)
                    one.connect(path)
                    one.sendall(texts[number])
                    one.recv(1)
                except OSError:
                    continue

    crowd = [threading.Thread(target=be_mad, args=(number,)) for number in range(4)]
    for one in crowd:
        one.start()
    try:
        for number in range(50):
            assert asked(house.site.dns, "bad.test", seconds=2.0) == BLOCKED
            assert asked(house.site.dns, f"n{number}.open.test", seconds=2.0) == REAL
    finally:
        stop.set()
        for one in crowd:
            one.join()
    wait_for(lambda: operate(house.site, "status").returncode == 0, "the operator to be heard")


def test_ask_as_a_client_tells_each_step_and_its_answer(house: House) -> None:
    house.site.change("listen", allow=["127.0.0.0/8", "192.0.2.0/24"])
    assert operate(house.site, "reload").returncode == 0
    # The beat that begins after this moment publishes all that the tests before this one counted.
    now = time.time()
    house.service.until("/metrics", lambda body: (house.service.metric("publish_timestamp_seconds", body) or 0.0) > now)
    counted = house.service.get("/metrics")[1]
    for name, client, said in (
        ("open.test", "192.0.2.7", REAL),
        ("bad.test", "192.0.2.7", PAGE_V4),
        ("open.test", "198.51.100.9", "REFUSED"),
    ):
        done = operate(house.site, "ask", name, "A", "--as", client)
        assert (done.returncode, done.stderr) == (int(said == "REFUSED"), "")
        steps, _, reply = done.stdout.partition("\n\n")
        assert steps.splitlines()[0].endswith(" ms")
        assert said in reply
        assert ("blocked by demo" in steps) is (name == "bad.test")
        assert client not in house.service.said
    told = json.loads(operate(house.site, "ask", "-", "--as", "192.0.2.7", "--json", typed="open.test\n").stdout)
    assert told["reply"]["answer"] == [f"open.test. 300 A {REAL}"] or told["reply"]["rcode"] == "NOERROR"
    queries = [line for line in counted.splitlines() if b"queries_total{" in line]
    assert [line for line in house.service.get("/metrics")[1].splitlines() if b"queries_total{" in line] == queries
