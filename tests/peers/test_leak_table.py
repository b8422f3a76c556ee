"""The leak table with real upstreams: whatever is asked, in whatever way, no listed name's real data come back.

One service for each core and each upstream; each row is asked over UDP and TCP, without EDNS, with it, with DO and
with CD, in a signed and an unsigned zone, twice each: cold and from whatever was kept. Each is asked by clients of both
families that a load balancer names, too. Before one service stands an edge, and each row is asked over TLS, HTTPS
(HTTP/1.1, HTTP/2 and HTTP/3) and QUIC.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.edns
import dns.message
import dns.name
import dns.rcode
import pytest

from tests.fakes import upstream as fake
from tests.journeys import edges, running
from tests.journeys.processes import Site, hang_up, header_of, list_of
from tests.journeys.running import CORES, Core, Service
from tests.peers import leak_rows, servers
from tests.peers.leak_rows import LATE, LISTED, NO_LEAK, ROWS, SERIAL, SIGNED, UNSIGNED, Row
from tests.peers.servers import Server

CLIENT = "127.83.79.83"
EVERYBODY = ["0.0.0.0/0", "::/0"]
TRANSPORTS = {"udp": servers.ask_over_udp, "tcp": servers.ask_over_tcp}
WAYS = (
    {"edns": False, "do": False, "cd": False},
    {"edns": True, "do": False, "cd": False},
    {"edns": True, "do": True, "cd": False},
    {"edns": True, "do": True, "cd": True},
    {"edns": False, "do": False, "cd": True},
)
UPSTREAMS = ("nsd", "unbound")
Table = dict[tuple[str, str], str]

_tags = (f"t{number}" for number in itertools.count())


@dataclass(frozen=True)
class Lab:
    """Both upstreams: NSD with the zones, and Unbound before that NSD."""

    nsd: Server
    unbound: Server


@dataclass(frozen=True)
class Subject:
    """The service that is looked at, and its column of the table."""

    service: Service
    upstream: str
    column: str


@pytest.fixture(scope="module")
def lab(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    zones, anchors = leak_rows.zones(time.time())
    paths = {name: program(name) for name in UPSTREAMS}
    with (
        servers.nsd(folder / "nsd", zones, path=paths["nsd"]) as nsd,
        servers.unbound(folder / "unbound", nsd, list(zones), anchors=anchors, path=paths["unbound"]) as unbound,
    ):
        yield Lab(nsd, unbound)


@pytest.fixture(scope="module", params=list(itertools.product(CORES, UPSTREAMS)), ids="-".join)
def subject(request: pytest.FixtureRequest, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    core, upstream = request.param
    server: Server = getattr(lab, upstream)
    with running.serve(
        tmp_path_factory.mktemp("service"),
        upstreams=[server.address],
        entries=LISTED,
        core=core,
        first_serial=SERIAL,
    ) as service:
        yield Subject(service, upstream, f"{core}, {upstream}")


def ways_of(row: Row) -> Iterator[tuple[str, dns.message.Message]]:
    """Each transport and question of a row; every question comes twice in a row."""
    for transport, zone, way in itertools.product(TRANSPORTS, (SIGNED, UNSIGNED), WAYS):
        query = leak_rows.query_of(row, zone, next(_tags), **way)
        yield transport, query
        yield transport, query


def outcome_of(transport: str, port: int, query: dns.message.Message) -> str:
    try:
        return leak_rows.outcome(TRANSPORTS[transport](port, query.to_wire(), CLIENT), query)
    except OSError as error:
        return f"no answer: {type(error).__name__}"


def is_expected(found: str, row: Row, upstream: str) -> bool:
    if row.outcome == NO_LEAK:
        return found in {"real", "empty", "SERVFAIL"}
    return found == (row.by_unbound if upstream == "unbound" and row.by_unbound else row.outcome)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_row(row: Row, subject: Subject, table: Table) -> None:
    found: dict[str, str] = {}
    for number, (transport, query) in enumerate(ways_of(row)):
        how = f"{transport} {'warm' if number % 2 else 'cold'}: {query.question[0]} {query.edns} {query.flags:#x}"
        found.setdefault(outcome_of(transport, subject.service.dns, query), how)
    table[(row.what, subject.column)] = " | ".join(found)
    assert all(is_expected(one, row, subject.upstream) for one in found), found


@pytest.fixture(scope="module", params=CORES)
def behind(request: pytest.FixtureRequest, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a service behind a load balancer, whose ACL and whose list name all clients of both families."""
    site = Site(tmp_path_factory.mktemp("behind"), upstreams=[lab.nsd.address])
    site.set("listen", allow=EVERYBODY, proxy_from=[f"{CLIENT}/32"])
    site.set("limits", queries_per_second=1_000_000, distinct_blocked=0)
    site.lists = [list_of(site.authority.folder, clients=EVERYBODY)]
    site.publish(LISTED)
    with site.started(running.LAUNCHERS[request.param]):
        yield site.dns


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::8"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_row_of_a_client_that_a_load_balancer_names(row: Row, client: str, behind: int) -> None:
    """Clients on loopback lie below the mapped addresses (::ffff:0:0/96): these are in and above them."""
    found = set()
    for transport, zone, way in itertools.product(TRANSPORTS, (SIGNED, UNSIGNED), WAYS[1:3]):
        query = leak_rows.query_of(row, zone, next(_tags), **way)
        wire = TRANSPORTS[transport](behind, query.to_wire(), CLIENT, header=header_of(client))
        found.add(leak_rows.outcome(wire, query))
    assert all(is_expected(one, row, "nsd") for one in found), found


@dataclass(frozen=True)
class Edged:
    """A service, and the clients of the edge before it."""

    service: Service
    place: edges.Place
    clients: edges.Clients


@pytest.fixture(scope="module")
def edged(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edged]:
    folder = tmp_path_factory.mktemp("edged")
    place, table = edges.configured(folder)
    with (
        running.serve(
            folder, upstreams=[lab.unbound.address], entries=LISTED, first_serial=SERIAL, more=table
        ) as service,
        edges.started(place, folder / "resolver.toml"),
        edges.clients(place, CLIENT) as clients,
    ):
        yield Edged(service, place, clients)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_row_over_an_encrypted_transport(row: Row, edged: Edged, table: Table) -> None:
    """Cold and warm, with DO and without EDNS, in both zones."""
    for column in edges.COLUMNS:
        found: dict[str, str] = {}
        for zone, way in itertools.product((SIGNED, UNSIGNED), (WAYS[2], WAYS[4])):
            query = leak_rows.query_of(row, zone, next(_tags), **way)
            for turn in ("cold", "warm"):
                wire = edged.clients.ask(column, query.to_wire())
                how = f"{column} {turn}: {query.question[0]} {query.edns} {query.flags:#x}"
                found.setdefault(leak_rows.outcome(wire, query), how)
        table[(row.what, column)] = " | ".join(found)
        assert all(is_expected(one, row, "unbound") for one in found), found


def test_the_edge_knows_no_name_and_writes_no_client(edged: Edged, table: Table) -> None:
    """After all rows over it: what it has written, and what its files hold."""
    for column in edges.COLUMNS:
        query = dns.message.make_query("bad.test", "A", use_edns=0)
        assert leak_rows.outcome(edged.clients.ask(column, query.to_wire()), query) == leak_rows.PAGE
    folder = edged.service.folder
    words = [*(entry.lstrip("=!").encode() for entry in LISTED), CLIENT.encode()]
    written = {
        str(path.relative_to(folder)): path.read_bytes().lower()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != "authority"
    }
    assert {"edge-said", "stderr"} < set(written)
    written["/metrics"] = edged.service.get("/metrics")[1].lower()
    telling = {name for name, data in written.items() if any(word in data for word in words)}
    table[("client or name in logs and files", "with an edge")] = ", ".join(sorted(telling)) or "none"
    assert not telling


# What is refused for RD=0 an authoritative server need not answer either.
DIFFERENT = [row for row in ROWS if row.upstream_differs and (row.rd or row.outcome != leak_rows.REFUSED)]


@pytest.mark.parametrize("row", DIFFERENT, ids=lambda row: row.what)
def test_row_would_fail_without_us(row: Row, lab: Lab) -> None:
    """NSD, asked directly, gives something else than the outcome that we must give."""
    for transport, query in ways_of(row):
        assert outcome_of(transport, lab.nsd.port, query) != row.outcome


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_leak_is_seen(upstream: str, lab: Lab) -> None:
    server: Server = getattr(lab, upstream)
    for transport, query in ways_of(ROWS[0]):
        assert outcome_of(transport, server.port, query) == "LEAK"


def test_nobody_can_ask_for_the_list(subject: Subject, table: Table) -> None:
    """No zone of ours exists: neither the list's id nor anything else can be queried or transferred."""
    found = set()
    for name, kind in itertools.product(("demo", ".", "selftest.invalid", "bad.test"), ("AXFR", "IXFR")):
        query = dns.message.make_query(name, kind, use_edns=0)
        found.add(outcome_of("tcp", subject.service.dns, query))
    assert found == {"REFUSED"}
    for name, kind in itertools.product(("demo", "rpz", "selftest.invalid"), ("SOA", "ANY", "TXT", "NS")):
        query = dns.message.make_query(name, kind, use_edns=0)
        found.add(outcome_of("udp", subject.service.dns, query))
    table[("client asks for the list", subject.column)] = " | ".join(sorted(found))
    assert found <= {"REFUSED", "NXDOMAIN", "SERVFAIL", leak_rows.MINIMAL}


def test_what_was_kept_before_it_was_listed_is_blocked_at_once(subject: Subject, table: Table) -> None:
    """An answer kept under the list before is judged anew: by its name and by where its alias leads."""
    rows = [Row(what="late", name="late"), Row(what="late alias", name="{tag}.tardy")]
    asked = [pair for row in rows for pair in ways_of(row)]
    assert {outcome_of(transport, subject.service.dns, query) for transport, query in asked} == {"LEAK"}
    serial = subject.service.authority.publish((*LISTED, *LATE))
    hang_up(subject.service)
    subject.service.until_serial(serial)
    found = {outcome_of(transport, subject.service.dns, query) for transport, query in asked}
    table[("kept before it was listed", subject.column)] = " | ".join(sorted(found))
    assert found == {leak_rows.PAGE}


def test_nothing_is_written_about_names_or_clients(subject: Subject, table: Table) -> None:
    """After all rows: output, state, temporary files and counts hold no listed name and no client."""
    query = dns.message.make_query("bad.test", "A", use_edns=0)
    assert outcome_of("udp", subject.service.dns, query) == leak_rows.PAGE
    folder = subject.service.folder
    written = {
        str(path.relative_to(folder)): path.read_bytes().lower()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != "authority"
    }
    written["/metrics"] = subject.service.get("/metrics")[1].lower()
    assert {"stdout", "stderr"} < set(written)
    listed = [entry.lstrip("=!").encode() for entry in (*LISTED, *LATE)]
    wire = [dns.name.from_text(entry.lstrip("=!")).to_digestable() for entry in (*LISTED, *LATE)]
    words = [*listed, *wire, CLIENT.encode()]
    telling = {name for name, data in written.items() if any(word in data for word in words)}
    table[("client or name in logs and files", subject.column)] = ", ".join(sorted(telling)) or "none"
    assert not telling


@pytest.mark.parametrize("core", CORES)
def test_nothing_is_answered_from_upstream_before_a_list_is_loaded(core: Core, tmp_path: Path, table: Table) -> None:
    answers = fake.records({("good.test", "A"): ["198.51.100.22"], ("bad.test", "A"): ["203.0.113.66"]})
    found = set()
    with (
        fake.in_thread(answers) as upstream,
        running.serve(tmp_path, upstreams=[upstream.address], entries=None, core=core) as service,
    ):
        for name, transport in itertools.product(("good.test", "bad.test"), TRANSPORTS):
            query = dns.message.make_query(name, "A", use_edns=0)
            wire = TRANSPORTS[transport](service.dns, query.to_wire(), CLIENT)
            reply = dns.message.from_wire(wire)
            errors = [int(one.code) for one in reply.options if isinstance(one, dns.edns.EDEOption)]
            found.add(f"{dns.rcode.to_text(reply.rcode())} EDE {errors}")
            assert leak_rows.outcome(wire, query) == "SERVFAIL"
        for upstream_name in UPSTREAMS:
            table[("before the list is loaded", f"{core}, {upstream_name}")] = " | ".join(sorted(found))
        assert found == {"SERVFAIL EDE [14]"}
        assert not upstream.exchanges
        assert service.get("/readyz")[0] == 503
        serial = service.authority.publish(LISTED)
        hang_up(service)
        service.until_serial(serial)
        for name, outcome in (("good.test", leak_rows.REAL), ("bad.test", leak_rows.PAGE)):
            query = dns.message.make_query(name, "A", use_edns=0)
            assert outcome_of("udp", service.dns, query) == outcome
        assert upstream.exchanges == {"udp": 1}
