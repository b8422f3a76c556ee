"""Over TLS, HTTPS (HTTP/1.1, HTTP/2, HTTP/3) and QUIC, through an edge: the table of cases, errors, and discovery."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

import dns.edns
import dns.message
import pytest

from resolver.doctor import wire
from resolver.doctor.ask import Asker, Endpoint
from resolver.doctor.probes import Examination
from resolver.doctor.verdicts import Verdict
from resolver.doctor.zone import Zone
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys import edges
from tests.journeys.cases import table
from tests.journeys.cases.packets import EACH, LISTED, ONCE, TCP, Row
from tests.journeys.cases.reading import said
from tests.journeys.cases.upstream import answer
from tests.journeys.edges import COLUMNS, Clients, Place
from tests.journeys.processes import CLIENT, Site
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
    with in_thread(answer) as upstream, saying(responder(Zone(wire.name_of(ENTRY), [HOST]))) as zone:
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


def test_structured_errors_are_the_same_over_every_transport(edged: Edged) -> None:
    wants = dns.edns.GenericOption(STRUCTURED, b"")
    texts = set()
    for column in COLUMNS:
        reply = asked(edged, column, LISTED, "A", wants)
        assert reply.answer == []
        [error] = [one for one in reply.options if isinstance(one, dns.edns.EDEOption)]
        texts.add((int(error.code), error.text))
        plain = asked(edged, column, LISTED, "A")
        assert [str(one) for one in plain.answer[0]] == [PAGE_V4]
    [(code, text)] = texts
    assert code == 16
    assert text is not None
    assert json.loads(text)["inc"] == "programme-1"


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
    found = {one.id: one for one in Examination(asker=asker, entry=wire.name_of(ENTRY)).run().results}
    for probe in ("dot", "doh", "doq"):
        assert found[probe].verdict is Verdict.ENFORCED, found[probe]
    # HTTP/3 is designated too, and is not asked: what is not asked is unknown, never enforced.
    assert found["designated"].said == "a resolver is designated over a transport that is not asked here"
    assert not [one for one in found.values() if one.verdict in (Verdict.LEAKS, Verdict.OVER_BLOCKS)]
