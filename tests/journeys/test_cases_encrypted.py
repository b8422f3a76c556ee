"""Over TLS, HTTPS (HTTP/1.1, HTTP/2, HTTP/3) and QUIC, through an edge: the table of cases, errors, and discovery."""

import http.client
import itertools
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

import dns.edns
import dns.message
import dns.rcode
import pytest

from resolver.doctor.ask import Asker, Endpoint
from resolver.doctor.probes import Examination
from resolver.doctor.verdicts import Verdict
from resolver.doctor.wire import name_of
from resolver.doctor.zone import Zone
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys import edges
from tests.journeys.cases import table
from tests.journeys.cases.packets import (
    EACH,
    LISTED,
    ONCE,
    TCP,
    Row,
    header,
    opt,
    option,
    query,
    question,
    record,
    wire,
)
from tests.journeys.cases.reading import said
from tests.journeys.cases.rows_query import PAGE
from tests.journeys.cases.upstream import answer
from tests.journeys.edges import COLUMNS, DOQ, DOT, Clients, Place
from tests.journeys.processes import CLIENT, Site, exchange
from tests.journeys.running import HOST, PAGE_V4, ROOT, Service
from tests.journeys.test_cases import MARK, key_of, packets, seen_by
from tests.unit.doctor.resolvers import responder, saying

DDR = "_dns.resolver.arpa"
STRUCTURED = 65100
ENTRY = "listed.doctor.test"


@dataclass(frozen=True)
class Edged:
    """A service, its upstream, and the edge before it."""

    site: Site
    service: Service
    upstream: Upstream
    place: Place
    clients: Clients


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edged]:
    folder = tmp_path_factory.mktemp("edged")
    place, text = edges.configured(folder)
    with in_thread(answer) as upstream, saying(responder(Zone(name_of(ENTRY), [HOST]))) as zone:
        site = Site(folder, upstreams=[upstream.address])
        site.change("upstream", zone=[{"name": "doctor.test", "servers": [str(zone)]}])
        errors = {"structured_errors": True, "option_code": STRUCTURED, "incident": "programme-1"}
        site.change("page", contact="help@isp.example", **errors)
        site.set("edge", **tomllib.loads(text)["edge"])
        site.publish([LISTED, ENTRY])
        with (
            site.started() as service,
            edges.started(place, site.config),
            edges.clients(place, CLIENT) as clients,
        ):
            yield Edged(site, service, upstream, place, clients)
            assert "event loop" not in service.said


# Here something is designated: that has a test of its own.
ROWS = [row for row in table.ROWS if TCP in row.over and row.case != "ddr"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.case)
def test_row(row: Row, edged: Edged) -> None:
    """As over TCP, where the transport does not say otherwise; what was kept by one is given over the next."""
    known: set[bytes] = set()
    found = {}
    for column in COLUMNS:
        for number, packet in enumerate(packets(row)):
            before, again = len(edged.upstream.queries), key_of(packet) in known
            expected = edges.as_over(column, row.expected(TCP, again=again))
            reply = edged.clients.case(column, packet, after=MARK if expected == "silence" else b"")
            outcome = said(packet, reply, row.zones[number] if row.zones else "")
            if outcome != expected:
                found[column, number] = (outcome, expected)
            wanted = row.upstream == EACH or (row.upstream == ONCE and not again)
            if bool(seen_by(edged.upstream, before, packet)) != wanted:
                found[column, number, "upstream"] = wanted
            known.add(key_of(packet))
    assert found == {}


def test_clients_of_https_are_told_of_http3(edged: Edged) -> None:
    """Once in each connection; at that port the table above asks over HTTP/3."""
    with edges.connected(edged.place, "https", "http/1.1", CLIENT) as below:
        spoken = http.client.HTTPConnection(edges.NAME)
        spoken.sock = below
        told = []
        for _ in range(2):
            spoken.request("GET", f"{edges.PATH}?dns={edges.in_url(query('told', name=LISTED))}")
            response = spoken.getresponse()
            assert (response.status, len(response.read()) > 0) == (200, True)
            told.append(response.headers.get("alt-svc"))
    assert told == [f'h3=":{edged.place.ports["http3"]}"; ma=3600', None]


def asked(edged: Edged, column: str, name: str, kind: str, *options: dns.edns.Option) -> dns.message.Message:
    """The answer to a query with EDNS."""
    made = dns.message.make_query(name, kind, use_edns=0, options=list(options))
    reply = dns.message.from_wire(edged.clients.ask(column, made.to_wire()))
    assert made.is_response(reply)
    return reply


def test_every_transport_says_what_is_designated_and_nobody_else_is_asked(edged: Edged) -> None:
    before = len(edged.upstream.queries)
    ports = edged.place.ports
    for column in COLUMNS:
        [found] = asked(edged, column, DDR, "SVCB").answer
        assert [str(one) for one in found] == [
            f'1 {edges.NAME}. alpn="dot" port="{ports["tls"]}"',
            f'2 {edges.NAME}. alpn="h2" port="{ports["https"]}" dohpath="/dns-query{{?dns}}"',
            f'3 {edges.NAME}. alpn="doq" port="{ports["quic"]}"',
            f'4 {edges.NAME}. alpn="h3" port="{ports["http3"]}" dohpath="/dns-query{{?dns}}"',
        ], column
        assert asked(edged, column, DDR, "HTTPS").answer == []
    assert len(edged.upstream.queries) == before


INTO = "into.signal.test"
"""A name that the upstream leads into the list."""


def test_structured_errors_are_the_same_over_every_transport(edged: Edged) -> None:
    """In full, whatever payload size a client states: over a stream it counts for nothing (RFC 7766 8)."""
    long = ".".join(["a" * 63] * 3 + ["b" * 40, LISTED])
    asks = [*itertools.product((LISTED, f"a.{LISTED}", long), ("A", "AAAA", "HTTPS", "SVCB", "TXT")), (INTO, "A")]
    texts, ends = set(), set()
    for (name, kind), payload in itertools.product(asks, (512, 4096)):
        signals = query("signal", kind, opt(option(STRUCTURED), payload=payload), name=name)
        plain = query("signal", kind, opt(payload=payload), name=name)
        over_tcp = [exchange(edged.service.dns, one, over=TCP) for one in (signals, plain)]
        for column in COLUMNS:
            assert [edged.clients.case(column, one) for one in (signals, plain)] == over_tcp, (name, kind, column)
        message = dns.message.from_wire(over_tcp[0])
        assert (message.rcode(), message.answer) == (dns.rcode.NOERROR, []), (name, kind)
        [error] = message.options
        assert isinstance(error, dns.edns.EDEOption)
        texts.add((int(error.code), error.text))
        ends.add(over_tcp[0].rpartition(b"\0\0\x29\x04\xd0")[2])
    [(code, text)] = texts
    assert code == 16
    assert text is not None
    assert json.loads(text)["inc"] == "programme-1"
    assert len(ends) == 1, "no octet of an error depends on the name or the type"


def of_opcode(opcode: int, *extra: bytes, sections: tuple[int, int] = (0, 0)) -> bytes:
    return query("opcode", "SOA", *extra, name=LISTED, flags=opcode << 11, sections=sections)


TSIG_DATA = wire("hmac-sha256") + bytes(6) + b"\1\x2c\0\4abcd\0\1\0\0\0\0"
TSIG = record(wire("key.test"), 250, TSIG_DATA, rdclass=255)
SOA = record(wire(LISTED), 6, wire("ns.test") + wire("nobody.test") + bytes(20))
NOTIMP, REFUSED = "NOTIMP, header only", "REFUSED; EDNS"
LOCAL = "NODATA, AA; authority: SOA of {} (10800 s); EDNS"
NEIGHBOURS = {
    "NOTIFY": (of_opcode(4, opt()), NOTIMP),
    "NOTIFY with a SOA and TSIG": (of_opcode(4, SOA, opt(), TSIG, sections=(1, 0)), NOTIMP),
    "UPDATE": (of_opcode(5, SOA, opt(), sections=(0, 1)), NOTIMP),
    "UPDATE with TSIG": (of_opcode(5, SOA, opt(), TSIG, sections=(0, 1)), NOTIMP),
    "AXFR": (query("axfr", "AXFR", opt(), name=LISTED), REFUSED),
    "AXFR with TSIG": (query("axfr", "AXFR", opt(), TSIG, name=LISTED), REFUSED),
    "IXFR": (query("ixfr", "IXFR", SOA, opt(), name=LISTED, sections=(0, 1)), REFUSED),
    "A with TSIG": (query("tsig", "A", opt(), TSIG, name=LISTED), REFUSED),
    "version.bind": (query("chaos", "TXT", opt(), name="version.bind", qclass=3), REFUSED),
    "id.server": (query("chaos", "TXT", opt(), name="id.server", qclass=3), REFUSED),
    "ANY": (query("any", "ANY", opt(), name=LISTED), f"NODATA; authority: SOA of {LISTED}. (60 s); EDNS, EDE 4"),
    "two questions": (
        header("two", counts=(2, 0, 0, 1)) + 2 * question(wire(LISTED)) + opt(),
        "FORMERR, header only",
    ),
    "an empty cookie": (query("cookie", "A", opt(option(10)), name=LISTED), "FORMERR"),
    "padding": (query("pad", "A", opt(option(12, bytes(400))), name=LISTED), f"{PAGE}; EDNS, EDE 4"),
    "letters": (query("letters", "A", opt(), name="wWw.LiStEd.TeSt"), f"{PAGE}; EDNS, EDE 4"),
    "an id of 0": (bytes(2) + query("id", "A", opt(), name=LISTED)[2:], f"{PAGE}; EDNS, EDE 4"),
    "SVCB at a name designated for no one": (
        query("ddr", "SVCB", opt(), name="_dns.dns.resolver.arpa"),
        LOCAL.format("resolver.arpa."),
    ),
    "TXT of localhost": (query("local", "TXT", opt(), name="localhost"), LOCAL.format("localhost.")),
    "a client's network": (
        query("ecs", "A", opt(option(8, b"\0\1\x18\0\xc0\0\2")), name=LISTED),
        f"{PAGE}; EDNS, EDE 4",
    ),
}
"""What clients send over TLS, HTTPS and QUIC as over TCP, and what is answered, in the words of the table of cases."""


@pytest.mark.parametrize("case", NEIGHBOURS)
def test_what_is_said_over_tcp_is_said_over_each_octet_by_octet(case: str, edged: Edged) -> None:
    packet, words = NEIGHBOURS[case]
    before = len(edged.upstream.queries)
    over_tcp = exchange(edged.service.dns, packet, over=TCP)
    assert said(packet, over_tcp) == words
    assert {column: edged.clients.case(column, packet) for column in COLUMNS} == dict.fromkeys(COLUMNS, over_tcp)
    assert len(edged.upstream.queries) == before


def test_an_answer_that_is_not_padded_is_seen(edged: Edged) -> None:
    packet = query("padded", "A", opt(), name=LISTED)
    bare, padded = exchange(edged.service.dns, packet, over=TCP), edged.clients.ask(DOT, packet)
    assert edges.without_padding(padded) == bare
    for wrong in (bare, padded[:-1] + b"\1"):
        with pytest.raises(AssertionError):
            edges.without_padding(wrong)


HTTP = [column for column in COLUMNS if column not in (DOT, DOQ)]
NO_STORE = "no-store"
KEPT = {
    "a listed name": (query("http", "A", opt(), name=LISTED), NO_STORE),
    "a type of a listed name": (query("http", "TXT", opt(), name=LISTED), NO_STORE),
    "a structured error": (query("http", "A", opt(option(STRUCTURED)), name=LISTED), NO_STORE),
    "an alias into the list": (query("http", "A", opt(), name="into.http.test"), NO_STORE),
    "a local zone": (query("http", "A", opt(), name="x.invalid"), NO_STORE),
    "what is designated": (query("http", "SVCB", opt(), name=DDR), NO_STORE),
    "REFUSED": (query("http", "A", opt(), name=LISTED, flags=0), NO_STORE),
    "SERVFAIL": (query("http", "A", opt(), name="rcode-2.http.test"), NO_STORE),
    "YXDOMAIN": (query("http", "A", opt(), name="overlong.http.test"), NO_STORE),
    "TC=1": (query("http", "A", opt(), name="truncated.http.test"), NO_STORE),
    "NXDOMAIN without a SOA": (query("http", "A", opt(), name="nxdomain-bare.http.test"), NO_STORE),
    "a TTL of 0": (query("http", "A", opt(), name="zero.http.test"), "0"),
    "an address": (query("http", "A", opt(), name="right.http.test"), "300"),
    "NXDOMAIN": (query("http", "A", opt(), name="nxdomain.http.test"), "300"),
    "NODATA": (query("http", "AAAA", opt(), name="right.http.test"), "300"),
    "ANY": (query("http", "ANY", opt(), name="right.http.test"), "3600"),
}
"""For how long an HTTP cache of the client's may keep an answer that has just come, in seconds."""


@pytest.mark.parametrize("case", KEPT)
def test_no_http_cache_keeps_what_a_list_or_the_configuration_says(case: str, edged: Edged) -> None:
    packet, wanted = KEPT[case]
    for column in HTTP:
        reply = edged.clients.case(column, packet)
        assert reply is not None
        fields = dict(edged.clients.fields(column))
        fields.pop(":status", None)
        assert set(fields) == {"content-type", "content-length", "cache-control"}, column
        kept = fields["cache-control"]
        if wanted == NO_STORE:
            assert kept == NO_STORE, column
        else:
            message = dns.message.from_wire(reply)
            least = min(one.ttl for one in (*message.answer, *message.authority))
            assert kept == f"private, max-age={least}", column
            assert int(wanted) - 60 <= least <= int(wanted), column


@pytest.mark.parametrize("over", ["tls", "https", "quic"])
def test_ask_verifies_the_edge_that_the_configuration_names(over: str, edged: Edged) -> None:
    def run(*more: str) -> "subprocess.CompletedProcess[str]":
        words = ("ask", LISTED, "--over", over, "--config", str(edged.site.config), *more)
        return subprocess.run(
            [sys.executable, "-m", "resolver", *words],
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
            cwd=ROOT,
        )

    found = run("--ca", str(edged.place.ca))
    assert f"answer     {LISTED}. 60 A {PAGE_V4}" in found.stdout, found.stderr
    assert f"certificate verified for {edges.NAME}, until 3000-01-01T00:00:00Z\n" in found.stdout
    refused = run()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "does not verify" in refused.stderr


def test_the_doctor_finds_no_leak_over_any_of_them_and_none_in_what_is_designated(edged: Edged) -> None:
    ports = edged.place.ports
    tls, https, quic = (Endpoint(HOST, ports[one]) for one in ("tls", "https", "quic"))
    asker = Asker(
        Endpoint(HOST, edged.service.dns), tls_name=edges.NAME, ca=edged.place.ca, dot=tls, doh=https, doq=quic,
        wait_s=20.0,
    )  # fmt: skip
    found = {one.id: one for one in Examination(asker=asker, entry=name_of(ENTRY)).run().results}
    for probe in ("dot", "doh", "doq"):
        assert found[probe].verdict is Verdict.ENFORCED, found[probe]
    # HTTP/3 is designated too, and is not asked: what is not asked is unknown, never enforced.
    assert found["designated"].said == "a resolver is designated over a transport that is not asked here"
    assert not [one for one in found.values() if one.verdict in (Verdict.LEAKS, Verdict.OVER_BLOCKS)]
