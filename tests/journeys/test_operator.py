"""What an operator does at night: look, reload, flush, ask as a client would; each as a command of its own.

What the commands say is printed, so that a run shows the screens.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, RESOLVER, Site, asked, honest, wait_for
from tests.journeys.running import HOST, PAGE_V4, ROOT, Service

BLOCKED = f"{PAGE_V4} EDE 4"
PLAIN = ("-m", "tests.plain")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream) -> Site:
    site = Site(tmp_path, [upstream.address])
    site.publish(["bad.test"])
    return site


@pytest.fixture(params=[RESOLVER, PLAIN], ids=["compiled", "plain"])
def service(request: pytest.FixtureRequest, site: Site) -> Iterator[Service]:
    with site.started(request.param) as running:
        yield running


Said = subprocess.CompletedProcess[str]
Operate = Callable[..., Said]


@pytest.fixture
def operate(site: Site) -> Operate:
    """Runs one command line of an operator's and prints what it says."""

    def run(*words: str, typed: str = "", config: Path = site.config) -> Said:
        done = subprocess.run(
            [sys.executable, *RESOLVER, *words, "--config", str(config)],
            input=typed,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=30,
            check=False,
        )
        print(f"$ blocklist-resolver {' '.join(words)}\n{done.stdout}{done.stderr}(exit {done.returncode})\n")
        return done

    return run


def test_status_is_one_screen_with_what_to_do_next(service: Service, site: Site, operate: Operate) -> None:
    done = operate("status")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert lines[0].startswith("service    ready, enforcing; version ")
    assert lines[2] == "list       demo: serial 1 in force, 1 entries"
    assert lines[3].startswith("  dates    issued ")
    assert max(map(len, lines[2:])) <= 100
    assert lines[-1] == "next: nothing to do"
    told = json.loads(operate("status", "--json").stdout)
    assert (told["ready"], told["enforcing"], told["next"]) == (True, True, [])
    assert told["lists"][0]["selftest_passed"] is True


def test_status_tells_no_number_that_a_block_moves(service: Service, site: Site, operate: Operate) -> None:
    """The facts before and after a blocked name was asked for, up to what only time moves."""
    for name, wanted in (("open.test", REAL), ("bad.test", BLOCKED)):
        assert asked(site.dns, name) == wanted
    before = facts(operate)
    for over in ("udp", "tcp"):
        assert asked(site.dns, "www.bad.test", over=over) == BLOCKED
    assert facts(operate) == before


def facts(operate: Operate) -> dict[str, object]:
    told: dict[str, object] = json.loads(operate("status", "--json").stdout)
    for moved in ("beat", "cache_used", "connections"):  # on the beat; connections close in their own time
        del told[moved]
    return told


def test_status_says_what_to_do_about_an_upstream_that_is_down(site: Site, operate: Operate) -> None:
    site.sections["upstream"] |= {"servers": [f"{HOST}:9"], "timeout": "1s"}
    with site.started():
        for number in range(12):
            assert asked(site.dns, f"n{number}.open.test").startswith("SERVFAIL")
        wait_for(lambda: "DOWN" in operate("status").stdout, "the upstream to be down")
        lines = operate("status").stdout.splitlines()
    assert any(line.startswith("next: NO upstream answers") for line in lines)
    assert f"--server {HOST}:9" in lines[-1]


def test_status_says_why_nothing_is_answered_without_a_list(tmp_path: Path, operate: Operate) -> None:
    empty = Site(tmp_path / "empty")
    with empty.started(until="/healthz"):
        lines = operate("status", config=empty.config).stdout.splitlines()
    assert lines[0].startswith("service    NOT READY, NOT ENFORCING")
    assert any(line.startswith("next: demo is NOT IN FORCE") for line in lines)


def test_a_reload_tells_what_changed(service: Service, site: Site, operate: Operate) -> None:
    site.change("page", addresses=["192.0.2.77"])
    site.change("limits", queries_per_second=500, connections=7)
    site.change("cache", stale="0")
    site.change("upstream", timeout="3s", case_randomization=True)
    done = operate("reload")
    assert (done.returncode, done.stderr) == (0, "")
    first = done.stdout.splitlines()[0]
    keys = "upstream.timeout, upstream.case_randomization, cache.stale, page.addresses, limits.queries_per_second"
    assert first == f"{site.config}: taken; changed: {keys}, limits.connections"
    assert asked(site.dns, "bad.test") == "192.0.2.77 EDE 4"
    assert asked(site.dns, "open.test") == REAL
    assert "0 of 7 connections" in operate("status").stdout
    assert operate("reload").stdout.splitlines()[0].endswith("changed: nothing")


def test_a_reload_polls_every_list(service: Service, site: Site, operate: Operate) -> None:
    serial = site.publish(["bad.test", "worse.test"])
    assert operate("reload").returncode == 0
    service.until_serial(serial)
    assert asked(site.dns, "worse.test") == BLOCKED


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("limits", {"queries_per_second": "canary"}, "limits.queries_per_second: Expected `int`, got `str`"),
        ("page", {"addresses": ["canary.test"]}, "page.addresses[0]: expected an address such as 192.0.2.1"),
        ("listen", {"dns": ["127.0.0.1:canary"]}, "listen.dns[0]: expected ADDRESS:PORT"),
        ("cache", {"size": "1MiB"}, "restart to change: cache.size"),
        ("nonsense", {"x": 1}, "nonsense: unknown key"),
    ],
)
def test_a_reload_of_a_broken_file_says_why_and_changes_nothing(
    section: str, values: dict[str, object], words: str, service: Service, site: Site, operate: Operate
) -> None:
    good = site.config.read_text()
    site.change(section, **values)
    done = operate("reload")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"blocklist-resolver: {site.config}: ")
    assert words.replace("`", "") in done.stderr
    assert done.stderr.endswith("; the old configuration stays\n")
    assert asked(site.dns, "bad.test") == BLOCKED
    screen = operate("status").stdout
    assert "reload     REFUSED" in screen
    advice = f"the last reload was refused, correct the file: blocklist-resolver check-config {site.config}"
    said = " ".join(screen.split())
    assert f"next: {'the new configuration needs a restart' if 'restart' in words else advice}" in said
    assert "canary" not in service.said + screen
    site.config.write_text(good)
    assert operate("reload").returncode == 0
    assert operate("status").stdout.splitlines()[-1] == "next: nothing to do"


def test_a_file_that_is_no_toml_does_not_hide_the_service(service: Service, site: Site, operate: Operate) -> None:
    site.config.write_text(site.config.read_text().replace("[listen]", "[listen"))
    done = operate("reload")
    assert done.returncode == 2
    assert ": not TOML: " in done.stderr
    assert operate("status").returncode == 0


def test_flush_forgets_and_the_next_answer_is_new(
    service: Service, site: Site, upstream: Upstream, operate: Operate
) -> None:
    def times(name: str) -> int:
        asked(site.dns, name)
        return sum(str(seen.question[0].name) == f"{name}." for seen in upstream.queries)

    assert [times("a.open.test"), times("b.open.test"), times("a.open.test")] == [1, 1, 1]
    assert operate("cache", "flush", "a.open.test").stdout == "removed: 1 cached answer\n"
    assert [times("a.open.test"), times("b.open.test")] == [2, 1]
    assert operate("cache", "flush", "-", "--subtree", typed="OPEN.test\n").stdout == "removed: 2 cached answers\n"
    assert operate("cache", "flush", "a.open.test").stdout == "nothing was cached for it\n"
    assert [times("a.open.test"), times("b.open.test")] == [3, 2]
    assert operate("cache", "flush", ".", "--subtree").stdout == "removed: all cached answers below it\n"
    assert [times("a.open.test"), times("b.open.test")] == [4, 3]


def test_a_blocked_name_is_blocked_whatever_is_flushed(service: Service, site: Site, operate: Operate) -> None:
    assert asked(site.dns, "bad.test") == BLOCKED
    assert operate("cache", "flush", "bad.test", "--subtree").stdout == "nothing was cached for it\n"
    assert asked(site.dns, "bad.test") == BLOCKED


def test_the_log_says_who_did_what_and_no_name(service: Service, site: Site, operate: Operate) -> None:
    operate("cache", "flush", "canary.test")
    operate("reload")
    operate("status")
    uid = os.geteuid()
    lines = [line for line in service.said.splitlines() if "by uid" in line]
    assert lines == [
        f"INFO resolver.control: flush by uid {uid}: done",
        f"INFO resolver.control: reload by uid {uid}: done",
    ]
    assert "canary" not in service.said


def test_where_no_service_runs_it_says_so(site: Site, operate: Operate) -> None:
    site.write()
    for words in (("status",), ("reload",), ("cache", "flush", "a.test")):
        done = operate(*words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no service listens there: it does not run" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_second_service_leaves_the_first_one_its_socket(site: Site, operate: Operate, tmp_path: Path) -> None:
    other = Site(tmp_path / "other")
    with site.started():
        other.change("control", socket=str(site.folder / "control"))
        second = other.launch()
        assert second.process.wait(20) == 2
        assert ": control.socket: another process listens there" in second.said
        assert operate("status").returncode == 0


def test_after_a_crash_the_socket_is_taken_over(site: Site, operate: Operate) -> None:
    service = site.launch()
    service.until("/readyz")
    service.process.kill()
    service.process.wait()
    assert (site.folder / "control").is_socket()
    assert operate("status").returncode == 1
    with site.started():
        assert operate("status").returncode == 0
    assert not (site.folder / "control").exists()


def test_mad_peers_do_not_hold_the_service(service: Service, site: Site, operate: Operate) -> None:
    path = str(site.folder / "control")
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
            assert asked(site.dns, "bad.test", seconds=2.0) == BLOCKED
            assert asked(site.dns, f"n{number}.open.test", seconds=2.0) == REAL
    finally:
        stop.set()
        for one in crowd:
            one.join()
    wait_for(lambda: operate("status").returncode == 0, "the operator to be heard")


def test_ask_as_a_client_tells_each_step_and_its_answer(service: Service, site: Site, operate: Operate) -> None:
    site.change("listen", allow=["127.0.0.0/8", "192.0.2.0/24"])
    assert operate("reload").returncode == 0
    counted = service.get("/metrics")[1]
    for name, client, said in (
        ("open.test", "192.0.2.7", REAL),
        ("bad.test", "192.0.2.7", PAGE_V4),
        ("open.test", "198.51.100.9", "REFUSED"),
    ):
        done = operate("ask", name, "A", "--as", client)
        assert (done.returncode, done.stderr) == (0, "")
        steps, _, reply = done.stdout.partition("\n\n")
        assert steps.splitlines()[0].endswith(" ms")
        assert said in reply
        assert "demo" not in done.stdout
        assert client not in service.said
    told = json.loads(operate("ask", "-", "--as", "192.0.2.7", "--json", typed="open.test\n").stdout)
    assert told["reply"]["answer"] == [f"open.test. 300 A {REAL}"] or told["reply"]["rcode"] == "NOERROR"
    queries = [line for line in counted.splitlines() if b"queries_total{" in line]
    assert [line for line in service.get("/metrics")[1].splitlines() if b"queries_total{" in line] == queries
