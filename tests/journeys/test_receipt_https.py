"""Receipts over https where both sides show a certificate: what an authority gets, and what keeps it from it."""

import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rrset
import pytest
import trustme

from resolver.authority import publish, verify
from resolver.feed import audit
from resolver.signed import statement
from tests.fakes.https import Server
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, Site, asked, hang_up, honest, list_of, operate, wait_for
from tests.journeys.running import HOST, LIST_ID, PAGE_V4, Service, free_ports
from tests.journeys.test_fleet import Fleet, public_of

BLOCKED = f"{PAGE_V4} EDE 4"
RECEIPTS = "receipts.test"
LATE = "; it is kept and will be sent again"

NAMES = [f"name{number}.test" for number in range(1732)]
LIST = [*NAMES, "vital.isp.test", "path.test/page", RECEIPTS, "last.test"]
"""Line 1733 names what the operator protects, 1734 is a URL, 1735 the host that receipts go to."""


def upstream_of(query: dns.message.Message) -> dns.message.Message:
    """Knows every name; the hosts that we need are on loopback."""
    reply = honest(query)
    name = query.question[0].name
    if reply.answer and name.to_text() in (f"{RECEIPTS}.", "compile.test."):
        reply.answer = [dns.rrset.from_text(name, 60, "IN", "A", HOST)]
    return reply


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(upstream_of) as running:
        yield running


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ca.issue_cert("host.test").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    return ca


def tls_of(folder: Path) -> dict[str, str]:
    """The keys of a source that shows its certificate."""
    client = str(folder / "client.pem")
    return {"ca": str(folder / "ca.pem"), "certificate": client, "key": client}


class Desk:
    """The authority's desk for receipts: servers of different kinds, one after the other, on one port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"https://{RECEIPTS}:{self.port}/in"

    def server(self, ca: trustme.CA, **how: object) -> Server:
        return Server(self.folder, ca, clients=True, name=RECEIPTS, port=self.port, **how)  # type: ignore[arg-type]  # Server's own


def due(site: Site) -> int:
    return len(list((site.folder / "state/receipts").glob("*.due")))


def issued(site: Site) -> int:
    """Publish the next serial, by an authority that puts up with its one refused line."""
    authority = site.authority
    authority.serial += 1
    data = "".join(f"{line}\n" for line in LIST).encode()
    issue = publish.Issue(list_id=LIST_ID, data=data, serial=authority.serial, expect_refused=1)
    assert publish.publish(authority.folder, issue, now=time.time()).published
    return authority.serial


def next_list(site: Site, service: Service) -> None:
    """Publish the next serial, and wait until the receipts that are due were offered in vain."""
    before = service.said.count(LATE)
    serial = issued(site)
    hang_up(service)
    wait_for(lambda: due(site) == serial, f"the receipt of serial {serial}")
    wait_for(lambda: service.said.count(LATE) > before, "an attempt in vain")
    assert due(site) == serial


def test_receipts_wait_for_an_authority_that_is_known_and_come_in_order(
    upstream: Upstream, ca: trustme.CA, tmp_path: Path
) -> None:
    desk, site = Desk(tmp_path), Site(tmp_path, [upstream.address])
    one = list_of(site.authority.folder)
    one["guard"]["protected"] = ["isp.test"]
    one["source"] |= {"receipt": desk.url, **tls_of(tmp_path)}
    site.lists = [one]
    issued(site)
    with site.started() as service:
        wait_for(lambda: LATE in service.said, "an attempt without a server")
        assert due(site) == 1
        with desk.server(trustme.CA()) as stranger:
            next_list(site, service)
        elsewhere = f"https://{RECEIPTS}:{desk.port}/elsewhere"
        with desk.server(ca, status=307, location=elsewhere) as away:
            next_list(site, service)
        assert stranger.posted == []
        assert {path for path, _ in away.posted} == {"/in"}
        with desk.server(ca) as server:
            last = issued(site)
            hang_up(service)
            wait_for(lambda: len(server.posted) == last, "all receipts")
            wait_for(lambda: due(site) == 0, "the end of what is due")
        told = service.get("/metrics")[1].decode()
        assert 'blocklist_resolver_list_set_aside{list="demo",reason="protected"} 2.0' in told
        assert 'blocklist_resolver_feed_entries_refused{list="demo",reason="url"} 1.0' in told
        for name in (NAMES[0], NAMES[-1], "last.test"):
            assert asked(site.dns, name) == BLOCKED
        assert asked(site.dns, "vital.isp.test") == asked(site.dns, "isp.test") == REAL
        assert asked(site.dns, "path.test") == REAL
        assert asked(site.dns, RECEIPTS) == HOST
    assert {path for path, _ in server.posted} == {"/in"}
    receipts = [data for _, data in server.posted]
    key = statement.pinned_of(public_of(site))
    said = [statement.verified(data, key) for data in receipts]
    assert [one["serial"] for one in said] == list(range(1, last + 1))
    assert [one["set_aside_lines"] for one in said] == [{"protected": [1733, 1735]}] * last
    assert [one["refused_lines"] for one in said] == [{"url": [1734]}] * last
    assert said[-1]["audit_head"]["hash"] in audit.verified(site.folder / "state/audit.log")[1]
    text = "".join(f"{line}\n" for line in LIST).encode()
    proved = verify.verified(site.authority.folder, text, {"last": receipts[-1]}, [key])
    assert f"list {LIST_ID}, serial {last}" in proved[0]
    assert "without 2 lines set aside" in proved[0]


def test_a_node_pulls_its_image_and_reports_over_mutual_tls(upstream: Upstream, ca: trustme.CA, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, upstream)
    fleet.host.publish(["bad.test"])
    fleet.host.write()
    assert operate(fleet.host, "compile").returncode == 0
    fleet.root.write_bytes(public_of(fleet.host))
    node = fleet.nodes[0]
    with Server(fleet.published, ca, clients=True, name="compile.test") as server:
        node.lists[0]["source"] |= {"url": server.url, "receipt": f"{server.url}/in", **tls_of(tmp_path)}
        with node.started():
            assert asked(node.dns, "bad.test") == BLOCKED
            wait_for(lambda: server.posted, "the node's receipt")
    ((path, data),) = server.posted
    said = statement.verified(data, statement.pinned_of(public_of(node)))
    assert (path, said["host"], said["list"], said["serial"]) == ("/in", "one", LIST_ID, 1)
