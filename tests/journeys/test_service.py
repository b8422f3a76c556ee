"""The whole process: starts fast, stops in order, takes a new configuration, answers on while its feed is broken."""

import contextlib
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resolver.authority import publish
from tests.fakes.stopwatch import Stopwatch, waited
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import (
    CLIENT,
    REAL,
    Site,
    asked,
    child_of,
    command_of,
    descendants,
    exchange,
    hang_up,
    honest,
    list_of,
    query_for,
    wait_for,
)
from tests.journeys.running import HOST, LIST_ID, PAGE_V4, PAGE_V6, Service, stop

BLOCKED = f"{PAGE_V4} EDE 4"
OPEN = "open.test"
START_GENEROUS_S = 3.0


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream) -> Site:
    return Site(tmp_path, [upstream.address])


def metric(service: Service, series: str) -> float:
    """The value of one series."""
    lines = service.get("/metrics")[1].decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"blocklist_resolver_{series} ")).rpartition(" ")[2])


def told(service: Service, word: str) -> list[str]:
    """The lines of its log that hold a word."""
    return [line for line in service.said.splitlines() if word in line]


def lines(service: Service) -> list[str]:
    """The lines that it has written, but for the warning of who runs the tests as root."""
    return [line for line in service.said.splitlines() if "running as root" not in line]


# Start and stop.


def test_a_start_with_a_saved_image_answers_at_once(site: Site) -> None:
    site.publish(["bad.test"])
    with site.started():
        pass
    watch = Stopwatch()
    with site.started(until="") as service:
        assert first_answer(service, "bad.test") == BLOCKED
        took = watch.seconds - waited(service.process.pid)
    print(f"{took:.2f} s to the first answer")
    assert took < START_GENEROUS_S


def first_answer(service: Service, name: str) -> str:
    """Ask in a tight loop until something answers."""
    while service.process.poll() is None:
        with contextlib.suppress(OSError):
            return asked(service.dns, name, seconds=0.1)
    raise AssertionError(service.said)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_is_on_its_way(by: int, site: Site, upstream: Upstream) -> None:
    site.sections["upstream"]["timeout"] = "10s"  # What is in flight is seen on the beat.
    site.publish(["bad.test"])
    said: list[tuple[str, str]] = []
    with site.started() as service:
        upstream.hold()
        clients = [
            threading.Thread(target=lambda over=over: said.append((over, asked(site.dns, OPEN, over=over))))
            for over in ("udp", "tcp")
        ]
        for client in clients:
            client.start()
        wait_for(lambda: metric(service, "queries_in_flight") == 2, "the queries to be in flight")
        service.process.send_signal(by)
        wait_for(lambda: not answers(site.dns), "no new queries to be taken")
        assert service.process.poll() is None
        upstream.release()
        for client in clients:
            client.join(60)
        assert sorted(said) == [("tcp", REAL), ("udp", REAL)]
        assert service.process.wait(25) == 0
    assert "Traceback" not in service.said


def answers(port: int) -> bool:
    """Whether a new connection gets an answer."""
    try:
        return bool(exchange(port, query_for("bad.test"), over="tcp", seconds=0.5))
    except OSError:
        return False


def test_a_stop_does_not_wait_for_ever(site: Site, upstream: Upstream) -> None:
    site.sections["upstream"]["timeout"] = "30s"
    site.publish(["bad.test"])
    with site.started() as service:
        upstream.hold()
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.connect((HOST, site.dns))
            client.send(query_for(OPEN))
            wait_for(lambda: metric(service, "queries_in_flight") == 1, "the query to be in flight")
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(25) == 0
        upstream.release()
    assert told(service, "before all pending queries were answered")


@pytest.mark.parametrize("moment", ["answering", "a child", "fetch", "compile"])
def test_a_stop_while_a_list_is_fetched(moment: str, site: Site) -> None:
    """Whatever a child process is at, it ends with the service, in time and without a word."""
    site.publish(["bad.test"])
    service = site.launch()
    try:
        if moment == "answering":
            wait_for(lambda: "answering on" in service.said, "the service to answer")
        elif moment == "a child":
            wait_for(lambda: descendants(service.process.pid), "a child")
        else:
            child_of(service, {"fetch": "resolver.feed.fetch.tuf", "compile": "resolver.feed.names.compile"}[moment])
        below = descendants(service.process.pid)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(25) == 0
    finally:
        stop(service.process)
    assert len(lines(service)) == 1, service.said
    wait_for(lambda: not any(b"resolver.feed" in command_of(pid) for pid in below), "its children to be gone")


# What keeps a service from starting: exit 2, one line with the key.


def refused(site: Site, status: int = 2) -> str:
    """What the service says when it does not start for its configuration; 4: for this host."""
    service = site.launch(write=False)
    try:
        assert service.process.wait(60) == status
    finally:
        stop(service.process)
    (said,) = lines(service)
    assert said.startswith(f"blocklist-resolver: {site.config}: "), said
    return f"{said}\n"


def test_a_port_that_is_taken_is_no_fault_of_the_configuration(site: Site) -> None:
    site.write()
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind((HOST, site.dns))
        assert refused(site, 4).endswith(": listen.dns: cannot listen there: Address already in use\n")


@pytest.mark.parametrize(("number", "key"), [(0, "listen.dns"), (1, "page.listen"), (2, "metrics.listen")])
def test_a_port_that_is_busy_at_a_restart_is_listened_on_once_it_is_free(number: int, key: str, site: Site) -> None:
    """Queries over UDP are answered meanwhile."""
    site.publish(["bad.test"])
    with socket.create_server((HOST, site.ports[number])):
        service = site.launch()
        try:
            wait_for(lambda: "answering on" in service.said, "the service to answer")
            wait_for(lambda: asked(site.dns, "bad.test") == BLOCKED, "the block over UDP")
            said = f"{key}: {HOST}:{site.ports[number]} (TCP): Address already in use; it is tried again every 1 s"
            assert said in service.said
        except BaseException:
            stop(service.process)
            raise
    try:
        wait_for(lambda: f"{key}: now listening on {HOST}:{site.ports[number]} (TCP)" in service.said, "the socket")
        socket.create_connection((HOST, site.ports[number])).close()
        assert asked(site.dns, "bad.test", over="tcp") == BLOCKED
    finally:
        assert stop(service.process) == 0


def test_a_state_folder_that_cannot_be_used_is_named_by_its_key(site: Site) -> None:
    (site.folder / "file").touch()
    site.change("state", directory=str(site.folder / "file" / "state"))
    assert ": state.directory: cannot be used: Not a directory" in refused(site, 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("list = 1\n", ": list: "),
        ("[listen\n", ": not TOML: "),
        ("[nonsense]\n", ": nonsense: unknown key"),
    ],
)
def test_a_bad_configuration_does_not_start(text: str, reason: str, site: Site) -> None:
    site.config.write_text(text)
    assert reason in refused(site)


def test_a_production_page_does_not_show_the_marker(site: Site) -> None:
    site.sections["page"].pop("operator")
    site.sections["count"] = {}
    site.lists[0] |= {"demonstration": False, "expire": "keep"}
    site.write()
    assert ": page.operator: still holds REPLACE-ME" in refused(site)


# A new configuration while serving.


def test_sighup_polls_and_takes_addresses_and_limits(site: Site) -> None:
    site.publish(["bad.test"])
    with site.started() as service:
        assert asked(site.dns, "bad.test") == BLOCKED
        assert asked(site.dns, "worse.test") == REAL
        serial = site.publish(["bad.test", "worse.test"])
        site.change("page", addresses=["192.0.2.77"])
        site.change("listen", allow=["127.0.0.2/32"])
        site.change("limits", exempt=[], queries_per_second=1)
        assert asked(site.dns, "bad.test", source="127.0.0.9") == BLOCKED
        hang_up(service)
        service.until_serial(serial)
        assert asked(site.dns, "worse.test", over="tcp") == "192.0.2.77 EDE 4"
        assert asked(site.dns, "bad.test", source="127.0.0.9") == "REFUSED"
        assert metric(service, "config_reload_success") == 1
        for _ in range(8):
            with contextlib.suppress(OSError):
                asked(site.dns, "bad.test", seconds=0.2)
        assert metric(service, 'packets_dropped_total{reason="rate_limit"}') > 0
    assert len(told(service, "configuration read again")) == 1


BROKEN = (
    ('[listen]\ndns = ["canary-name.test"]\n', "listen.dns[0]"),
    ('[listen]\ndns = ["127.0.0.1:canary-name.test\n', "resolver.toml"),
    ('[state]\nwithout_list = "canary-name.test"\n[[list]]\n', "state.without_list"),
    ('[page]\naddresses = ["canary-name.test"]\n[[list]]\n', "page.addresses[0]"),
)


def test_sighup_refuses_a_broken_configuration(site: Site) -> None:
    site.publish(["bad.test"])
    with site.started() as service:
        good = site.config.read_text()
        for text, why in BROKEN:
            before = len(told(service, "reload refused"))
            site.config.write_text(text)
            hang_up(service)
            wait_for(lambda: metric(service, "config_reload_success") == 0, f"the reload to be refused: {why}")
            assert asked(site.dns, "bad.test") == BLOCKED
            (line,) = told(service, "reload refused")[before:]
            assert line.endswith(why)
            assert service.get("/readyz")[0] == 200
            site.config.write_text(good)
            hang_up(service)
            wait_for(lambda: metric(service, "config_reload_success") == 1, "the reload to succeed")
    assert "canary-name" not in service.said


def test_sighup_refuses_what_only_a_restart_can_change(site: Site) -> None:
    site.publish(["bad.test"])
    with site.started() as service:
        site.change("cache", size="1MiB")
        site.change("page", addresses=["192.0.2.77"])
        hang_up(service)
        wait_for(lambda: metric(service, "config_reload_success") == 0, "the reload to be refused")
        assert asked(site.dns, "bad.test") == BLOCKED
    (line,) = told(service, "reload refused")
    assert line.endswith("restart to change: cache.size")


# Without a list, and with a feed that is broken.


def test_without_a_list_nothing_is_answered_and_nobody_is_sent_here(site: Site) -> None:
    with site.started(until="/healthz") as service:
        wait_for(lambda: metric(service, f'feed_failures_total{{list="{LIST_ID}",reason="unknown_target"}}') == 1, "")
        assert asked(site.dns, OPEN) == "SERVFAIL EDE 14"
        assert asked(site.dns, OPEN, over="tcp") == "SERVFAIL EDE 14"
        assert service.get("/readyz")[0] == 503
        assert metric(service, "enforcing") == 0
        serial = site.publish(["bad.test"])
        hang_up(service)
        service.until_serial(serial)
        assert service.get("/readyz")[0] == 200
        assert asked(site.dns, OPEN) == REAL


def test_without_a_list_the_operator_may_choose_to_forward(site: Site) -> None:
    site.sections["state"]["without_list"] = "forward"
    with site.started() as service:
        assert asked(site.dns, OPEN) == REAL
        assert metric(service, "enforcing") == 0


def test_a_withdrawn_list_waits_for_a_person(site: Site) -> None:
    site.publish(["bad.test"])
    with site.started() as service:
        publish.withdraw(site.authority.folder, list_id=LIST_ID, serial=2, now=time.time())
        hang_up(service)
        wait_for(lambda: metric(service, f'list_held{{list="{LIST_ID}"}}') == 1, "the withdrawal to be held")
        assert asked(site.dns, "bad.test") == BLOCKED
        assert metric(service, f'list_serial{{list="{LIST_ID}"}}') == 1
        assert service.get("/readyz")[0] == 200
    assert len(told(service, "is held")) == 1


def unreachable(folder: Path) -> None:
    (folder / "metadata").rename(folder / "elsewhere")


def tampered(folder: Path) -> None:
    path = folder / "metadata" / "timestamp.json"
    timestamp = json.loads(path.read_bytes())
    timestamp["signed"]["version"] += 1
    path.write_text(json.dumps(timestamp))


def malformed(folder: Path) -> None:
    (folder / "metadata" / "timestamp.json").write_bytes(b"{")


def test_a_broken_feed_leaves_the_last_good_list_in_force(site: Site) -> None:
    site.publish(["bad.test"])
    whole = site.folder / "whole"
    shutil.copytree(site.authority.folder, whole)
    with site.started() as service:
        for harm in (unreachable, tampered, malformed):
            before = len(told(service, "update failed"))
            harm(site.authority.folder)
            hang_up(service)
            name = f'feed_failures_total{{list="{LIST_ID}",reason="{harm.__name__}"}}'
            wait_for(lambda name=name: metric(service, name) == 1, f"a failure of the feed: {harm.__name__}")
            assert asked(site.dns, "bad.test") == BLOCKED
            assert asked(site.dns, OPEN) == REAL
            assert service.get("/readyz")[0] == 200
            assert metric(service, "enforcing") == 1
            (line,) = told(service, "update failed")[before:]
            assert f"update failed: {harm.__name__}: " in line, "a reason has a detail beside it"
            assert line.endswith("; serial 1 stays")
            shutil.rmtree(site.authority.folder)
            shutil.copytree(whole, site.authority.folder)


def test_a_broken_feed_leaves_the_last_good_list_over_a_start(site: Site) -> None:
    site.publish(["bad.test"])
    with site.started():
        pass
    unreachable(site.authority.folder)
    with site.started():
        assert asked(site.dns, "bad.test") == BLOCKED


# Two lists.


def test_two_lists_answer_each_in_its_own_way(site: Site) -> None:
    folder = site.authority.folder
    site.lists = [
        list_of(folder, "court", exempt=["127.0.0.5/32"], addresses=["192.0.2.33"]),
        list_of(folder, "contract", answer="nxdomain", basis="contract", clients=["127.0.0.6/32", "127.0.0.5/32"]),
    ]
    site.publish(["both.test", "court.test"], "court")
    site.publish(["both.test", "contract.test", "x.below.test", "!y.x.below.test"], "contract")
    with site.started():
        rows = {
            ("court.test", CLIENT): "192.0.2.33 EDE 4",
            ("court.test", "127.0.0.5"): REAL,
            ("contract.test", CLIENT): REAL,
            ("contract.test", "127.0.0.6"): "NXDOMAIN EDE 15",
            ("both.test", CLIENT): "192.0.2.33 EDE 4",
            ("both.test", "127.0.0.5"): "NXDOMAIN EDE 15",
            ("both.test", "127.0.0.6"): "192.0.2.33 EDE 4",
            ("x.below.test", "127.0.0.6"): "NODATA EDE 15",
            ("y.x.below.test", "127.0.0.6"): REAL,
        }
        for over in ("udp", "tcp"):
            assert {row: asked(site.dns, row[0], over=over, source=row[1]) for row in rows} == rows
        assert asked(site.dns, "both.test", "AAAA") == "NODATA EDE 4"
        assert PAGE_V6 not in asked(site.dns, "court.test", "AAAA")


def test_one_list_that_is_missing_keeps_the_other_in_force(site: Site) -> None:
    site.lists = [list_of(site.authority.folder, "first"), list_of(site.authority.folder, "second")]
    site.publish(["bad.test"], "first")
    with site.started(until="/healthz") as service:
        wait_for(lambda: asked(site.dns, "bad.test") == BLOCKED, "the first list to be in force")
        assert asked(site.dns, OPEN) == "SERVFAIL EDE 14"
        assert service.get("/readyz")[0] == 503
