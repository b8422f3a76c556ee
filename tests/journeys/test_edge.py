"""Service and edge together: what UDP says is said over TLS and HTTPS, and whatever the edge suffers, UDP does not."""

import contextlib
import signal
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.encrypted import Encrypted, ask, encrypted, started
from tests.journeys.processes import REAL, Site, asked, came, honest, query_for, wait_for
from tests.journeys.running import PAGE_V4, Service, stop

BLOCKED = f"{PAGE_V4} EDE 4"
LISTED = "listed-canary.test"
FREE = "free.example"
DNS = "application/dns-message"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Site:
    site = Site(Path(tmp_path_factory.mktemp("edge")), upstreams=(upstream.address,))
    site.set("limits", exempt=["127.0.0.0/8"])
    site.publish([LISTED, f"*.{LISTED}"])
    return site


@pytest.fixture(scope="module")
def edge(site: Site) -> Encrypted:
    return encrypted(site)


@pytest.fixture(scope="module")
def service(site: Site, edge: Encrypted) -> Iterator[list[Service]]:
    """The running service; a test that restarts it puts the new one in its place."""
    found = [site.launch()]
    try:
        found[0].until("/readyz")
        with started(edge):
            yield found
    finally:
        assert stop(found[0].process) == 0


def test_over_tls_each_gets_what_udp_gets(edge: Encrypted, service: list[Service]) -> None:
    queries = [query_for(name, kind) for name in (LISTED, f"a.{LISTED}", FREE) for kind in ("A", "AAAA", "HTTPS")]
    answers = {reply[:2]: came(reply) for reply in edge.over_tls(*(queries * 3))}
    assert answers == {query[:2]: asked_again(service[0], query) for query in queries}
    assert set(answers.values()) >= {BLOCKED, REAL}


def asked_again(service: Service, query: bytes) -> str:
    question = dns.message.from_wire(query).question[0]
    return asked(service.dns, str(question.name), question.rdtype.name)


def test_over_https_each_gets_what_udp_gets_and_caches_know_how_long(
    edge: Encrypted, service: list[Service]
) -> None:
    del service
    for name, said in ((LISTED, BLOCKED), (FREE, REAL)):
        query = query_for(name)
        text = urlsafe_b64encode(query).rstrip(b"=").decode()
        get = edge.over_https("GET", f"/dns-query?dns={text}")
        post = edge.over_https("POST", "/dns-query", query, content_type=DNS, x_forwarded_for="203.0.113.9")
        for response in (get, post):
            assert (response.status, came(response.content)) == (200, said)  # type: ignore[attr-defined]  # kept there by over_https
            fields = {name.lower() for name, _ in response.getheaders()}
            assert fields == {"content-type", "content-length", "cache-control"}
            kept = response.getheader("cache-control")
            if said == BLOCKED:
                assert kept == "no-store"
            else:
                assert 0 < int((kept or "").removeprefix("private, max-age=")) <= 300


def test_the_service_knows_its_edge_and_counts_by_transport(edge: Encrypted, service: list[Service]) -> None:
    edge.over_tls(query_for(FREE))
    body = service[0].get("/metrics")[1].decode()
    (counted,) = [line for line in body.splitlines() if 'queries_total{transport="dot"}' in line]
    assert float(counted.split()[1]) >= 1
    assert [line for line in body.splitlines() if "certificate_expiry_timestamp_seconds" in line and "edge" in line]


def test_a_certificate_is_renewed_under_load_and_nobody_is_refused(
    edge: Encrypted, service: list[Service]
) -> None:
    del service
    done, refused, counts = threading.Event(), [], [0, 0]
    context = edge.context

    def connect(place: int) -> None:
        while not done.is_set():
            try:
                with edge.connect(context) as one:
                    assert came(ask(one, query_for(LISTED))[0]) == BLOCKED
                counts[place] += 1
            except (OSError, AssertionError) as error:
                refused.append(error)

    threads = [threading.Thread(target=connect, args=(place,)) for place in (0, 1)]
    with edge.connect() as kept:
        seen = {kept.getpeercert(binary_form=True)}
        for thread in threads:
            thread.start()
        try:
            for _ in range(4):
                edge.files.issue(days=3650)
                before = sum(counts)
                assert edge.process is not None
                edge.process.send_signal(signal.SIGHUP)
                wait_for(lambda before=before: sum(counts) > before + 5, "connections go on")  # type: ignore[misc]  # a default is no argument
                with edge.connect() as one:
                    seen.add(one.getpeercert(binary_form=True))
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert came(ask(kept, query_for(FREE))[0]) == REAL
    assert refused == []
    assert len(seen) == 5


def test_an_edge_that_is_killed_takes_no_query_over_udp_with_it(edge: Encrypted, service: list[Service]) -> None:
    done, lost, count = threading.Event(), [], [0]

    def over_udp() -> None:
        while not done.is_set():
            said = asked(service[0].dns, LISTED)
            count[0] += 1
            if said != BLOCKED:
                lost.append(said)

    thread = threading.Thread(target=over_udp)
    thread.start()
    try:
        for _ in range(5):
            with edge.connect() as one:
                one.sendall((2**16 - 1).to_bytes(2, "big") + bytes(1000))
                edge.kill()
            edge.start()
            assert came(edge.over_tls(query_for(LISTED))[0]) == BLOCKED
    finally:
        done.set()
        thread.join()
    assert lost == []
    assert count[0] > 5


def test_a_service_that_restarts_keeps_the_edge_s_connections(
    edge: Encrypted, service: list[Service], site: Site
) -> None:
    with edge.connect() as one:
        assert came(ask(one, query_for(LISTED))[0]) == BLOCKED
        assert stop(service[0].process) == 0
        failed = dns.message.from_wire(ask(one, query_for(FREE))[0])
        assert failed.rcode() == dns.rcode.SERVFAIL
        assert came(failed.to_wire()) == "SERVFAIL EDE 14"
        service[0] = site.launch()
        service[0].until("/readyz")
        wait_for(lambda: came(ask(one, query_for(LISTED))[0]) == BLOCKED, "the service is found again")


def test_an_edge_ends_in_order_and_its_log_has_nobody(edge: Encrypted, service: list[Service]) -> None:
    del service
    with edge.connect() as one:
        ask(one, query_for(LISTED))
        assert edge.stop() == 0
        with contextlib.suppress(OSError):
            assert one.recv(1) == b""
    edge.start()
    said = edge.said.read_text()
    assert "edge 1: takes queries" in said
    assert not [word for word in (LISTED, FREE, "127.0.0", "Traceback") if word in said]
