"""The life of an edge: renewed certificates, a kill, a service that restarts, the end; UDP suffers none of it."""

import contextlib
import http.client
import signal
import ssl
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import dns.message
import dns.rcode
import pytest
import trustme

from tests.fakes.upstream import in_thread
from tests.journeys import edges
from tests.journeys.edges import DNS_MESSAGE, DOT, H1, NAME, PATH, Place, pipelined
from tests.journeys.processes import REAL, Site, asked, came, honest, query_for, wait_for
from tests.journeys.running import PAGE_V4, Service, stop

BLOCKED = f"{PAGE_V4} EDE 4"
LISTED = "listed-canary.test"
FREE = "free.example"


@dataclass
class Edged:
    """A service and the edge before it; a test that ends one puts the next in its place."""

    site: Site
    place: Place
    authority: trustme.CA
    service: Service
    edge: "subprocess.Popen[bytes]"


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edged]:
    authority = trustme.CA()
    with in_thread(honest) as upstream:
        site = Site(Path(tmp_path_factory.mktemp("life")), upstreams=(upstream.address,))
        place, table = edges.configured(site.folder, [DOT, H1], authority=authority)
        site.set("edge", **tomllib.loads(table)["edge"])
        site.set("limits", exempt=["127.0.0.0/8"])
        site.publish([LISTED, f"*.{LISTED}"])
        service = site.launch()
        try:
            service.until("/readyz")
            found = Edged(site, place, authority, service, edges.launch(place, site.config))
        except BaseException:
            stop(service.process)
            raise
        try:
            yield found
        finally:
            ended = [stop(one) for one in (found.edge, found.service.process)]
        assert ended == [0, 0], edges.said(place)


def connected(place: Place) -> ssl.SSLSocket:
    return edges.connected(place, "tls", "dot")


def over_tls(place: Place, *queries: bytes) -> list[bytes]:
    """Ask over one connection, all at once; return the answers as they come."""
    with connected(place) as one:
        return pipelined(one, *queries)


def over_https(
    place: Place, method: str, target: str, body: bytes | None = None, **fields: str
) -> tuple[int, Message, bytes]:
    """Send one request over HTTP/1.1; return status, header and body of the response."""
    one = http.client.HTTPConnection(NAME)
    one.sock = edges.connected(place, "https", "http/1.1")
    with contextlib.closing(one):
        one.request(method, target, body, {name.replace("_", "-"): value for name, value in fields.items()})
        response = one.getresponse()
        return response.status, response.headers, response.read()


def test_over_tls_each_gets_what_udp_gets(edged: Edged) -> None:
    queries = [query_for(name, kind) for name in (LISTED, f"a.{LISTED}", FREE) for kind in ("A", "AAAA", "HTTPS")]
    answers = {reply[:2]: came(reply) for reply in over_tls(edged.place, *(queries * 3))}
    assert answers == {query[:2]: asked_again(edged.service, query) for query in queries}
    assert set(answers.values()) >= {BLOCKED, REAL}


def asked_again(service: Service, query: bytes) -> str:
    question = dns.message.from_wire(query).question[0]
    return asked(service.dns, str(question.name), question.rdtype.name)


@pytest.mark.parametrize(("name", "wanted"), [(LISTED, BLOCKED), (FREE, REAL)])
def test_over_https_each_gets_what_udp_gets_and_caches_know_how_long(edged: Edged, name: str, wanted: str) -> None:
    query = query_for(name)
    get = over_https(edged.place, "GET", f"{PATH}?dns={edges.in_url(query)}")
    post = over_https(edged.place, "POST", PATH, query, content_type=DNS_MESSAGE, x_forwarded_for="203.0.113.9")
    for status, fields, body in (get, post):
        assert (status, came(body)) == (200, wanted)
        assert {field.lower() for field in fields} == {"content-type", "content-length", "cache-control"}
        kept = fields["cache-control"]
        if wanted == BLOCKED:
            assert kept == "no-store"
        else:
            assert 0 < int(kept.removeprefix("private, max-age=")) <= 300


def test_the_service_knows_its_edge_and_counts_by_transport(edged: Edged) -> None:
    over_tls(edged.place, query_for(FREE))
    body = edged.service.get("/metrics")[1].decode()
    (counted,) = [line for line in body.splitlines() if 'queries_total{transport="dot"}' in line]
    assert float(counted.split()[1]) >= 1
    assert [line for line in body.splitlines() if "certificate_expiry_timestamp_seconds" in line and "edge" in line]


def test_a_certificate_is_renewed_under_load_and_nobody_is_refused(edged: Edged) -> None:
    done, refused, counts = threading.Event(), list[Exception](), [0, 0]

    def connect(number: int) -> None:
        while not done.is_set():
            try:
                assert came(over_tls(edged.place, query_for(LISTED))[0]) == BLOCKED
                counts[number] += 1
            except (OSError, AssertionError) as error:
                refused.append(error)

    threads = [threading.Thread(target=connect, args=(number,)) for number in (0, 1)]
    with connected(edged.place) as kept:
        seen = {kept.getpeercert(binary_form=True)}
        for thread in threads:
            thread.start()
        try:
            for _ in range(4):
                edges.issue(edged.place.folder, edged.authority)
                before = sum(counts)
                edged.edge.send_signal(signal.SIGHUP)
                wait_for(lambda before=before: sum(counts) > before + 5, "connections go on")  # type: ignore[misc]  # a default is no argument
                with connected(edged.place) as one:
                    seen.add(one.getpeercert(binary_form=True))
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert came(pipelined(kept, query_for(FREE))[0]) == REAL
    assert refused == []
    assert len(seen) == 5


def test_an_edge_that_is_killed_takes_no_query_over_udp_with_it(edged: Edged) -> None:
    done, lost, count = threading.Event(), list[str](), [0]

    def over_udp() -> None:
        while not done.is_set():
            said = asked(edged.service.dns, LISTED)
            count[0] += 1
            if said != BLOCKED:
                lost.append(said)

    thread = threading.Thread(target=over_udp)
    thread.start()
    try:
        for _ in range(5):
            with connected(edged.place) as one:
                one.sendall((2**16 - 1).to_bytes(2, "big") + bytes(1000))
                edged.edge.kill()
                edged.edge.wait()
            edged.edge = edges.launch(edged.place, edged.site.config)
            assert came(over_tls(edged.place, query_for(LISTED))[0]) == BLOCKED
    finally:
        done.set()
        thread.join()
    assert lost == []
    assert count[0] > 5


def test_a_service_that_restarts_keeps_the_edge_s_connections(edged: Edged) -> None:
    with connected(edged.place) as one:
        assert came(pipelined(one, query_for(LISTED))[0]) == BLOCKED
        assert stop(edged.service.process) == 0
        failed = dns.message.from_wire(pipelined(one, query_for(FREE))[0])
        assert failed.rcode() == dns.rcode.SERVFAIL
        assert came(failed.to_wire()) == "SERVFAIL EDE 14"
        edged.service = edged.site.launch()
        edged.service.until("/readyz")
        wait_for(lambda: came(pipelined(one, query_for(LISTED))[0]) == BLOCKED, "the service is found again")


def test_an_edge_ends_in_order_and_its_log_has_nobody(edged: Edged) -> None:
    with connected(edged.place) as one:
        pipelined(one, query_for(LISTED))
        assert stop(edged.edge) == 0
        left = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            left = one.recv(1)
        assert left == b""
    edged.edge = edges.launch(edged.place, edged.site.config)
    said = edges.said(edged.place)
    assert "edge 1: takes queries" in said
    assert not [word for word in (LISTED, FREE, "127.0.0", "Traceback") if word in said]
