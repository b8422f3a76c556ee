"""The table of field cases over TLS, HTTPS (HTTP/1.1, HTTP/2, HTTP/3) and QUIC, through an edge.

Each row that test_field_cases.py asks over TCP is asked here over every encrypted transport, on one connection of each;
what is not has its reason in NOT_OVER.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import pytest

from resolver.query.transport import IDLE_S
from tests.fakes.octets import OctetsUpstream, in_thread
from tests.journeys import edges
from tests.journeys.edges import COLUMNS, DOQ, DOT, H1, H2, H3, Clients
from tests.journeys.field import asking, table
from tests.journeys.field.rows import TCP, Row
from tests.journeys.processes import CLIENT
from tests.journeys.running import Service, serve

NOT_OVER: Final = {
    "12b": "which option gives way in a datagram: a stream has room for all of them",
}
"""Rows of UDP alone, and why: every other row is asked over each encrypted transport."""
TAGS: Final = {DOT: "dot", H2: "dh2", H1: "dh1", DOQ: "doq", H3: "dh3"}
"""As long as those of UDP and TCP: of some rows every octet is counted."""
FORMS: Final = {
    ("12", TAGS[DOQ]): "edns",
}
"""Rows that ask otherwise over a transport: edns-tcp-keepalive ends a connection of QUIC (RFC 9250 5.5.2)."""
ROWS: Final = [row for row in table.ROWS if row.case not in NOT_OVER]


@dataclass(frozen=True)
class Lab:
    """A service, the upstream that says octets, and clients of the edge before it."""

    service: Service
    upstream: OctetsUpstream
    clients: Clients


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("field")
    place, text = edges.configured(folder)
    with (
        in_thread(asking.Script(tuple(TAGS.values()))) as upstream,
        serve(folder, upstreams=[upstream.address], entries=asking.entries(tuple(TAGS.values())), more=text) as service,
        edges.started(place, folder / "resolver.toml"),
        edges.clients(place, CLIENT) as clients,
    ):
        yield Lab(service, upstream, clients)
        assert "event loop" not in service.said
        assert "Traceback" not in service.said + edges.said(place)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.case)
def test_row(row: Row, lab: Lab) -> None:
    ways = {TAGS[column]: partial(lab.clients.case, column) for column in COLUMNS}
    forms = {tag: form for (case, tag), form in FORMS.items() if case == row.case}
    asking.play(row, ways, lab.upstream, forms)


def test_every_connection_has_lasted(lab: Lab) -> None:
    """No answer was one that an edge gave up a connection for, unless this test was so slow that they were idle."""
    for column in COLUMNS:
        assert lab.clients.case(column, asking.query_for("listed.test", table.ROWS[0].asks[0])) is not None
    assert lab.clients.paused_s > IDLE_S / 2 or lab.clients.made == dict.fromkeys(COLUMNS, 1)


def test_every_row_of_tcp_is_asked() -> None:
    assert set(NOT_OVER) == {row.case for row in table.ROWS if TCP not in row.over}
    assert {case for case, _ in FORMS} < {row.case for row in ROWS}
