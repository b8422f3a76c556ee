"""The service with the compiled engine: its threads answer whatever the event loop does, and tell how busy they are."""

import ctypes
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest

from tests.engine import HOLDS_S
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import CLIENT, REAL, Site, asked, exchange, hang_up, honest, query_for, wait_for
from tests.journeys.running import HOST, LAUNCHERS, PAGE_V4, ROOT, Service

BLOCKED = f"{PAGE_V4} EDE 4"
LISTED = "canary-7f3a.test"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream) -> Site:
    one = Site(tmp_path, [upstream.address])
    one.publish([LISTED])
    return one


def threads_of(service: Service) -> list[str]:
    """The names of its threads that answer."""
    tasks = Path(f"/proc/{service.process.pid}/task").iterdir()
    return sorted(name for name in ((one / "comm").read_text().strip() for one in tasks) if name.startswith("udp-"))


def test_the_configuration_names_the_engine_and_its_threads(site: Site) -> None:
    site.set("listen", engine="compiled", threads=3)
    with site.started() as service:
        assert threads_of(service) == ["udp-0", "udp-1", "udp-2"]
        body = service.get("/metrics")[1].decode()
        assert 'engine="compiled"' in body
        assert re.findall(r'engine_busy_ratio{thread="(\d)"}', body) == ["0", "1", "2"]
        for _ in range(2):
            assert (asked(site.dns, LISTED), asked(site.dns, "open.test")) == (BLOCKED, REAL)
        wait_for(lambda: service.metric("selftest_success") == 1, "the self-test")
        assert service.metric("enforcing") == 1
        assert LISTED not in service.said


def test_on_the_event_loop_there_are_no_threads_and_no_series_of_them(site: Site) -> None:
    site.set("listen", engine="python")
    with site.started() as service:
        assert threads_of(service) == []
        assert service.metric("engine_busy_ratio") is None
        assert 'engine="python"' in service.get("/metrics")[1].decode()


@pytest.mark.parametrize(
    ("key", "value", "words"), [("engine", "fast", "listen.engine"), ("threads", 65, "listen.threads")]
)
def test_check_config_refuses_what_is_no_engine(key: str, value: object, words: str, site: Site) -> None:
    site.change("listen", **{key: value})
    command = [sys.executable, "-m", "resolver", "check-config", str(site.config)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert words in done.stderr


def test_listed_kept_and_new_names_are_answered_while_the_gil_is_held(site: Site) -> None:
    """For seconds, in which no line of Python runs: no health check, no loop, no exchange of Python's."""
    packets = {query_for(LISTED): PAGE_V4, query_for("kept.test"): REAL}
    with site.started(LAUNCHERS["engine"]) as service, socket.socket(type=socket.SOCK_DGRAM) as one:
        assert asked(site.dns, "kept.test") == REAL
        one.bind((CLIENT, 0))
        one.connect((HOST, site.dns))
        one.settimeout(HOLDS_S)
        # From then on the threads may ask it.
        wait_for(lambda: service.metric("upstream_answering") == 1, "a look at the upstream")
        service.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: not is_python_awake(site.dns), "the GIL to be held")
        end, answered = time.monotonic() + HOLDS_S / 2, 0
        while time.monotonic() < end:
            for packet, address in (*packets.items(), (query_for(f"new-{answered}.test"), REAL)):
                one.send(packet)
                reply = dns.message.from_wire(one.recv(512))
                assert [str(record[0]) for record in reply.answer] == [address]
                answered += 1
        assert answered > 30
        wait_for(lambda: is_python_awake(site.dns), "the loop to go on")
        assert service.metric("enforcing") == 1


def is_python_awake(port: int) -> bool:
    """Whether a query over TCP, which is Python's, is answered within a third of a second."""
    try:
        return bool(exchange(port, query_for("kept.test"), over="tcp", seconds=0.3))
    except TimeoutError:
        return False


def test_swaps_under_load_give_no_wrong_answer_and_lose_none(site: Site) -> None:
    stop, wrong, counted = threading.Event(), list[str](), [0]

    def ask() -> None:
        while not stop.is_set():
            said = asked(site.dns, LISTED)
            counted[0] += 1
            if said != BLOCKED:
                wrong.append(said)

    with site.started(LAUNCHERS["engine"]) as service:
        clients = [threading.Thread(target=ask) for _ in range(2)]
        for one in clients:
            one.start()
        try:
            for number in range(4):
                before = counted[0]
                serial = site.publish([LISTED, f"more-{number}.test"])
                hang_up(service)
                service.until_serial(serial)
                assert asked(site.dns, f"more-{number}.test") == BLOCKED
                wait_for(lambda before=before: counted[0] > before + 20, "queries")
        finally:
            stop.set()
            for one in clients:
                one.join()
        assert wrong == []


def test_what_the_threads_and_the_loop_counted_is_one_number(site: Site) -> None:
    with site.started(LAUNCHERS["engine"]) as service:
        before = service.metric("queries_total") or 0.0
        for number in range(40):
            assert asked(site.dns, LISTED) == BLOCKED
            assert asked(site.dns, f"open-{number}.test") == REAL
        body = service.get("/metrics")[1].decode()
        (udp,) = re.findall(r'queries_total{transport="udp"} (\S+)', body)
        assert float(udp) >= before + 80
        wait_for(lambda: (service.metric("blocked_queries_total") or 0) >= 40, "the beat")
        wait_for(lambda: (service.metric("answers_total") or 0) >= 80, "the beat")


def test_a_thread_that_crashes_tells_its_own_packet(site: Site) -> None:
    site.set("listen", engine="compiled", threads=1)
    service = site.launch()
    service.until("/readyz")
    wait_for(lambda: service.metric("selftest_success") == 1, "the self-test, whose packets are others")
    packet = query_for(LISTED, "AAAA")
    exchange(site.dns, packet)
    exchange(site.dns, query_for("open.test"), over="tcp")
    (thread,) = [
        int(task.name)
        for task in Path(f"/proc/{service.process.pid}/task").iterdir()
        if (task / "comm").read_text().strip() == "udp-0"
    ]
    assert ctypes.CDLL(None).tgkill(service.process.pid, thread, signal.SIGSEGV) == 0
    service.process.wait(20)
    assert f"packet: octets {len(packet)}, stream 0, reply 0, qtype 28" in service.said
    assert LISTED not in service.said
