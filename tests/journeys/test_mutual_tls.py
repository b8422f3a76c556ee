"""A list over https where both sides show a certificate, and the upstreams say where its host is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.rrset
import pytest
import trustme

from tests.fakes.https import Server
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import Site, asked, list_of
from tests.journeys.running import HOST, PAGE_V4

AUTHORITY = "authority.test"


def upstream_of(query: dns.message.Message) -> dns.message.Message:
    """Knows one host, on loopback."""
    reply = dns.message.make_response(query, recursion_available=True)
    question = query.question[0]
    if (question.name.to_text(), question.rdtype) == (f"{AUTHORITY}.", dns.rdatatype.A):
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", HOST))
    return reply


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(upstream_of) as running:
        yield running


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return ca


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream, ca: trustme.CA) -> Iterator[Site]:
    """A site whose authority is behind TLS with client certificates; the list's source says how it is reached."""
    site = Site(tmp_path, [upstream.address])
    ca.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    client = str(tmp_path / "client.pem")
    with Server(site.authority.folder, ca, clients=True, name=AUTHORITY) as server:
        one = list_of(site.authority.folder)
        one["source"].update(url=server.url, ca=str(tmp_path / "ca.pem"), certificate=client, key=client)
        site.lists = [one]
        yield site


def test_a_list_comes_over_mutual_tls(site: Site) -> None:
    site.authority.serial = 6
    site.publish(["bad.test"])
    with site.started() as service:
        service.until_serial(7)
        assert asked(site.dns, "bad.test") == f"{PAGE_V4} EDE 4"


def without_certificate(source: dict[str, object], folder: Path) -> None:
    del source["certificate"], source["key"]


def with_a_strangers_certificate(source: dict[str, object], folder: Path) -> None:
    stranger = folder / "stranger.pem"
    trustme.CA().issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(str(stranger))
    source.update(certificate=str(stranger), key=str(stranger))


def with_another_ca(source: dict[str, object], folder: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    source["ca"] = str(folder / "other.pem")


def without_any_ca(source: dict[str, object], folder: Path) -> None:
    del source["ca"]


@pytest.mark.parametrize(
    "change", [without_certificate, with_a_strangers_certificate, with_another_ca, without_any_ca]
)
def test_a_side_that_is_not_known_is_not_talked_to(
    change: Callable[[dict[str, object], Path], None], site: Site, tmp_path: Path
) -> None:
    site.publish(["bad.test"])
    change(site.lists[0]["source"], tmp_path)
    failed = b'blocklist_resolver_feed_failures_total{list="demo",reason="unreachable"} 1.0\n'
    with site.started(until="") as service:
        service.until("/metrics", lambda body: failed in body)
        assert service.metric("list_serial") in (0, None)
