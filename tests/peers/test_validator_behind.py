"""Real validators behind us: what the list does not block validates, and a listed name never gives its real address.

NSD holds really signed zones, an Unbound resolves them, we ask that Unbound, and Unbound and BIND ask us and validate,
over UDP and over TCP, with both cores, Unbound over TLS too (an edge). Names below `=name`, below an exception and
below a release have to validate: for that a validator needs DS and DNSKEY of the zones on the way (RFC 4035 5), which
hold no address. What a validator makes of a listed name is a row too: the page where the zone is proven to be unsigned,
else SERVFAIL.
"""

import itertools
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from tests.journeys import edges
from tests.journeys.processes import Site, operate
from tests.journeys.running import CORES, LAUNCHERS, PAGE_V4, PAGE_V6
from tests.peers import forwarders, servers, signed_zones
from tests.peers.conftest import rendered
from tests.peers.servers import Server

pytestmark = pytest.mark.timeout(300)  # Each test starts four validators or five.

LIST: Final = (
    *("=selfsig.test", "=selfplain.test", "=selfok.test"),
    *("excsig.test", "!good.excsig.test", "excplain.test", "!good.excplain.test"),
    *("deep.test", "!a.b.deep.test"),
    *("wholesig.test", "wholeplain.test", "relsig.test", "relplain.test"),
)
VALIDATORS: Final = ("unbound", "named")
TRANSPORTS: Final = {"udp": servers.ask_over_udp, "tcp": servers.ask_over_tcp}

REAL: Final = (b"\xcb\x00\x71", bytes.fromhex("20010db80bad"))
"""Octets of every real address of a listed name."""


@dataclass(frozen=True)
class Row:
    """A name and what a validator behind us has to say of it: AD where it is signed."""

    name: str
    says: str
    kind: str = "A"


NOT_BLOCKED: Final = (
    Row("good.selfsig.test", "198.51.100.11, AD"),
    Row("good.selfsig.test", "2001:db8:600d::11, AD", "AAAA"),
    Row("wild.good.selfsig.test", "198.51.100.12, AD"),
    Row("nothing.selfsig.test", "NXDOMAIN, AD"),
    Row("good.selfplain.test", "198.51.100.11"),
    Row("nothing.selfplain.test", "NXDOMAIN"),
    Row("below.selfok.test", "198.51.100.13, AD"),
    Row("good.excsig.test", "198.51.100.11, AD"),
    Row("wild.good.excsig.test", "198.51.100.12, AD"),
    Row("good.excsig.test", "NODATA, AD", "MX"),
    Row("good.excplain.test", "198.51.100.11"),
    Row("wild.good.excplain.test", "198.51.100.12"),
    Row("a.b.deep.test", "198.51.100.14, AD"),
    Row("www.a.b.deep.test", "198.51.100.15, AD"),
    # What no entry covers: it validated before, too.
    Row("good.free.test", "198.51.100.11, AD"),
    Row("good.plain.test", "198.51.100.11"),
    Row("ok.test", "198.51.100.10, AD"),
    Row("nothing.test", "NXDOMAIN, AD"),
)
BLOCKED: Final = (
    Row("selfsig.test", "SERVFAIL"),
    Row("selfsig.test", "SERVFAIL", "HTTPS"),
    Row("selfplain.test", "page"),
    Row("selfplain.test", "page", "AAAA"),
    Row("selfplain.test", "NODATA", "HTTPS"),
    Row("selfok.test", "SERVFAIL"),
    Row("excsig.test", "SERVFAIL"),
    Row("www.excsig.test", "SERVFAIL"),
    Row("excplain.test", "page"),
    Row("www.excplain.test", "page"),
    Row("deep.test", "SERVFAIL"),
    Row("good.b.deep.test", "SERVFAIL"),
    Row("wholesig.test", "SERVFAIL"),
    Row("www.wholesig.test", "SERVFAIL"),
    Row("wholeplain.test", "SERVFAIL"),
    Row("www.wholeplain.test", "SERVFAIL"),
)
BEFORE_A_RELEASE: Final = (Row("www.relplain.test", "SERVFAIL"), Row("good.relsig.test", "SERVFAIL"))
RELEASED: Final = (Row("www.relplain.test", "203.0.113.67"), Row("good.relsig.test", "198.51.100.11, AD"))
STILL_BLOCKED: Final = (Row("relplain.test", "page"), Row("relsig.test", "SERVFAIL"))


@dataclass(frozen=True)
class Lab:
    """A service between a resolver of signed zones and validators that are yet to be started."""

    site: Site
    anchors: tuple[str, ...]
    folder: Path
    program: Callable[[str], str]
    edge: edges.Place | None

    @contextmanager
    def validators(self, what: str) -> Iterator[dict[str, tuple[str, Server]]]:
        """Validators that know nothing yet, by title: over which transport they ask and are asked, and they."""
        with ExitStack() as stack:
            found = {}
            for kind, transport in itertools.product(VALIDATORS, TRANSPORTS):
                one = forwarders.forwarder(
                    kind,
                    self.folder / what / f"{kind}-{transport}",
                    self.site.dns,
                    path=self.program(kind),
                    anchors=self.anchors,
                    over_tcp=transport == "tcp",
                )
                found[f"{kind} over {transport}"] = (transport, stack.enter_context(one))
            if self.edge is not None:
                one = forwarders.forwarder(
                    "unbound",
                    self.folder / what / "unbound-tls",
                    self.edge.ports["tls"],
                    path=self.program("unbound"),
                    anchors=self.anchors,
                    over_tls=forwarders.Secured(edges.NAME, self.edge.ca),
                )
                found["unbound over tls"] = ("udp", stack.enter_context(one))
            yield found


@pytest.fixture(scope="module", params=CORES)
def lab(
    request: pytest.FixtureRequest, program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    zones = signed_zones.make(folder / "keys", program)
    with (
        servers.nsd(folder / "nsd", zones.files, path=program("nsd")) as nsd,
        servers.unbound(folder / "above", nsd, list(zones.files), path=program("unbound")) as above,
    ):
        (folder / "site").mkdir()
        site = Site(folder / "site", [above.address])
        site.publish(LIST)
        with ExitStack() as stack:
            place = None
            if request.param == "compiled":
                place, text = edges.configured(folder / "site", [edges.DOT])
                site.set("edge", **tomllib.loads(text)["edge"])
            stack.enter_context(site.started(LAUNCHERS[request.param], seconds=90))
            if place is not None:
                stack.enter_context(edges.started(place, site.config))
            yield Lab(site, zones.anchors, folder, program, place)


def said(wire: bytes) -> str:
    """What an answer says, in a word, and AD."""
    reply = dns.message.from_wire(wire)
    found = [str(item) for rrset in reply.answer if rrset.rdtype != dns.rdatatype.RRSIG for item in rrset]
    words = " ".join(found) or ("NODATA" if reply.rcode() == dns.rcode.NOERROR else dns.rcode.to_text(reply.rcode()))
    if found in ([PAGE_V4], [PAGE_V6]):
        words = "page"
    return words + (", AD" if reply.flags & dns.flags.AD else "")


def ask(port: int, row: Row, transport: str) -> bytes:
    """The octets that come for a row, asked with DO."""
    query = dns.message.make_query(row.name, row.kind, want_dnssec=True, payload=1232)
    return TRANSPORTS[transport](port, query.to_wire(), seconds=15)


def compare(lab: Lab, rows: tuple[Row, ...], what: str) -> dict[tuple[str, str], str]:
    """Ask fresh validators for each row; AssertionError names each that says something else."""
    cells, faults = {}, []
    with lab.validators(what) as validators:
        for row, (title, (transport, server)) in itertools.product(rows, validators.items()):
            words = cells[f"{row.name} {row.kind}", title] = said(ask(server.port, row, transport))
            if words != row.says:
                faults.append(f"{row.name} {row.kind}, {title}: {words}, not {row.says}")
    assert not faults, "\n".join(faults)
    return cells


def test_what_is_not_blocked_validates_behind_us(lab: Lab, figures: dict[str, str]) -> None:
    for row in NOT_BLOCKED:
        words = said(ask(lab.site.dns, row, "udp"))
        assert words == row.says.removesuffix(", AD"), f"{row.name} asked of us"
    cells = compare(lab, NOT_BLOCKED, "unlisted")
    figures["validators behind us: names that are not blocked"] = rendered(cells)


def test_what_is_listed_never_gives_its_real_address_behind_us(lab: Lab, figures: dict[str, str]) -> None:
    cells = compare(lab, BLOCKED, "listed")
    figures["validators behind us: listed names"] = rendered(cells)
    queries = itertools.product({row.name for row in BLOCKED}, ("A", "AAAA", "HTTPS", "DS", "DNSKEY", "ANY"))
    for (name, kind), transport in itertools.product(queries, TRANSPORTS):
        wire = ask(lab.site.dns, Row(name, "", kind), transport)
        assert not any(octets in wire for octets in REAL), f"{name} {kind} over {transport}: {wire.hex()}"


def test_what_is_released_below_a_listed_name_validates_behind_us(lab: Lab) -> None:
    compare(lab, BEFORE_A_RELEASE, "before")
    for row in RELEASED:
        done = operate(lab.site, "list", "release", "-", "--reason", "a school", typed=f"{row.name}\n")
        assert done.returncode == 0, done.stderr
    compare(lab, RELEASED + STILL_BLOCKED, "after")
    for number in range(1, len(RELEASED) + 1):
        assert operate(lab.site, "list", "release", str(number), "--end").returncode == 0
    compare(lab, BEFORE_A_RELEASE, "end")
