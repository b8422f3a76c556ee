"""Lists that come and go while answers are kept and on their way: the whole process, over UDP and TCP."""

import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import REAL, Site, asked, hang_up, wait_for
from tests.journeys.running import PAGE_V4, Service

BLOCKED = f"{PAGE_V4} EDE 4"
TRANSPORTS = ("udp", "tcp")
ALIASES = {"alias.test.": "victim.test.", "long.test.": "alias.test."}


def chains(query: dns.message.Message) -> dns.message.Message:
    """An upstream whose aliases lead to victim.test; every other name has an address of its own."""
    reply = dns.message.make_response(query, recursion_available=True)
    name = query.question[0].name.to_text()
    while name in ALIASES:
        reply.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", ALIASES[name]))
        name = ALIASES[name]
    reply.answer.append(dns.rrset.from_text(name, 300, "IN", "A", REAL))
    return reply


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(chains) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Site:
    made = Site(Path(tmp_path_factory.mktemp("order")), [upstream.address], {"upstream": {"timeout": "30s"}})
    made.publish(["other.test"])
    return made


@pytest.fixture(scope="module")
def service(site: Site) -> Iterator[Service]:
    with site.started() as running:
        yield running


def list_now(site: Site, service: Service, *entries: str) -> None:
    """Publish these entries and wait until they are in force."""
    serial = site.publish(["other.test", *entries])
    hang_up(service)
    service.until_serial(serial)


def said(service: Service, name: str) -> set[str]:
    """What comes for a name over each transport."""
    return {asked(service.dns, name, over=over) for over in TRANSPORTS}


def addresses(service: Service, name: str) -> set[str]:
    """The last thing that comes for a name: its address."""
    return {what.split()[-1] if "EDE" not in what else what for what in said(service, name)}


@pytest.mark.parametrize("name", ["victim.test", "alias.test", "long.test", "a.b.victim.test"])
def test_what_was_kept_is_blocked_once_it_is_listed_and_flows_again_after(
    site: Site, service: Service, upstream: Upstream, name: str
) -> None:
    list_now(site, service)
    assert addresses(service, name) == {REAL}
    before = sum(upstream.exchanges.values())
    assert addresses(service, name) == {REAL}
    assert sum(upstream.exchanges.values()) == before, "it is kept"
    list_now(site, service, "victim.test")
    for _ in range(2):
        assert said(service, name) == {BLOCKED}
    list_now(site, service)
    assert addresses(service, name) == {REAL}


def test_an_exception_lets_a_kept_answer_flow_again(site: Site, service: Service) -> None:
    list_now(site, service)
    assert addresses(service, "free.victim.test") == {REAL}
    list_now(site, service, "victim.test", "!free.victim.test")
    assert addresses(service, "free.victim.test") == {REAL}
    assert said(service, "other.victim.test") == {BLOCKED}


@pytest.mark.parametrize("over", TRANSPORTS)
@pytest.mark.parametrize("name", ["late.test", "alias.test"])
def test_a_list_that_comes_while_upstream_is_asked_holds_for_its_answer(
    site: Site, service: Service, upstream: Upstream, over: str, name: str
) -> None:
    list_now(site, service)
    asked_for = f"{over}-{name}"
    if name == "alias.test":
        ALIASES[f"{asked_for}."] = "victim.test."
    came: list[str] = []
    before = sum(upstream.exchanges.values())
    upstream.hold()
    asking = threading.Thread(target=lambda: came.append(asked(service.dns, asked_for, over=over, seconds=30)))
    try:
        asking.start()
        wait_for(lambda: sum(upstream.exchanges.values()) > before, "the query at the upstream")
        list_now(site, service, "victim.test", f"{over}-late.test")
    finally:
        upstream.release()
        asking.join()
    assert came == [BLOCKED]
    assert said(service, asked_for) == {BLOCKED}
