"""Kept answers on a running service, over UDP and TCP, on both cores: one question in all its forms, fresh and stale.

Rules:
- The upstream's names are signed: it adds a signature where DO is set. `alias` has its CNAME alone, `beside` records of
  no TTL beside its answer, `many` five addresses; all others have one, for a second where they begin with `short`.
- What reached the upstream is counted by name there, not by time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rrset
import pytest

from tests.fakes.upstream import Upstream, Way, in_thread
from tests.journeys.burst import burst
from tests.journeys.processes import REAL, Site, exchange, wait_for
from tests.journeys.running import CORES, LAUNCHERS, PAGE_V4, Service

SIGNATURE = "A 8 2 300 20300101000000 20200101000000 1 test. AAAA"
FORMS = {
    "plain": {},
    "AD": {"flags": dns.flags.RD | dns.flags.AD},
    "EDNS": {"use_edns": 0},
    "EDNS+AD": {"use_edns": 0, "flags": dns.flags.RD | dns.flags.AD},
    "DO": {"want_dnssec": True},
    "DO+CD": {"want_dnssec": True, "flags": dns.flags.RD | dns.flags.CD},
}
MANY = [f"198.51.100.{n}" for n in range(1, 6)]


def signed(query: dns.message.Message) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True)
    name = query.question[0].name
    ttl = 1 if name.labels[0].startswith(b"short") else 300
    if name.labels[0] == b"alias":
        reply.answer.append(dns.rrset.from_text(name, ttl, "IN", "CNAME", "next.test."))
        return reply
    reply.answer.append(dns.rrset.from_text(name, ttl, "IN", "A", *(MANY if name.labels[0] == b"many" else [REAL])))
    if query.ednsflags & dns.flags.DO:
        reply.answer.append(dns.rrset.from_text(name, ttl, "IN", "RRSIG", SIGNATURE))
    if name.labels[0] == b"beside":
        reply.authority.append(dns.rrset.from_text("test.", 0, "IN", "NS", "ns.test."))
    return reply


@pytest.fixture(params=[LAUNCHERS[one] for one in CORES], ids=CORES)
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Service, Upstream]]:
    with started(tmp_path, request.param) as one:
        yield one


@contextmanager
def started(folder: Path, launcher: tuple[str, ...]) -> Iterator[tuple[Service, Upstream]]:
    with in_thread(signed) as upstream:
        site = Site(folder, [upstream.address], {"upstream": {"timeout": "1s"}, "cache": {"size": "1MiB"}})
        site.publish(["listed.test"])
        with site.started(launcher) as service:
            yield service, upstream


def ask(service: Service, name: str, form: str = "EDNS", over: str = "udp") -> dns.message.Message:
    query = dns.message.make_query(name, "A", **FORMS[form])
    return dns.message.from_wire(exchange(service.dns, query.to_wire(), over=over))


def reached(upstream: Upstream, name: str) -> int:
    """How many queries for a name have reached the upstream."""
    return sum(query.question[0].name.to_text() == f"{name}." for query in list(upstream.queries))


def addresses(reply: dns.message.Message) -> list[str]:
    return [one.address for rrset in reply.answer if rrset.rdtype == 1 for one in rrset]


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_six_forms_are_three_exchanges_and_one_where_do_came_first(
    running: tuple[Service, Upstream], over: str
) -> None:
    service, upstream = running
    for name, first, most in (("one.test", "plain", 3), ("two.test", "DO", 2)):
        for form in (first, *FORMS):
            reply = ask(service, name, form, over)
            assert addresses(reply) == [REAL], form
            assert len(reply.answer) == 1 + ("DO" in form), form
            assert (reply.edns >= 0) == (form not in ("plain", "AD")), form
        assert reached(upstream, name) == most
    assert all(query.edns == 0 and query.flags & dns.flags.AD for query in upstream.queries)


def test_while_no_upstream_is_up_each_form_has_its_stale_answer_and_nobody_is_asked(
    running: tuple[Service, Upstream],
) -> None:
    service, upstream = running
    for form in ("plain", "DO"):
        assert addresses(ask(service, f"short-{form}.test", form)) == [REAL]
    upstream.otherwise = (Way.SILENT,)
    burst(service.dns, [f"gone{n}.test" for n in range(60)], per_second=200, wait_s=2)
    wait_for(lambda: service.metric("upstream_up") == 0, "the upstream to be taken out", 20)
    before = {form: reached(upstream, f"short-{form}.test") for form in ("plain", "DO")}
    for over in ("udp", "tcp"):
        for form in FORMS:
            reply = ask(service, "short-DO.test", form, over)
            assert (addresses(reply), reply.answer[0].ttl) == ([REAL], 30), form
            assert len(reply.answer) == 1 + ("DO" in form), form
            reply = ask(service, "short-plain.test", form, over)
            assert (addresses(reply), len(reply.answer)) == ([REAL], 1), form
        assert addresses(ask(service, "listed.test", over=over)) == [PAGE_V4]
    assert reached(upstream, "short-DO.test") == before["DO"]
    upstream.otherwise = (Way.HONEST,)
    wait_for(lambda: service.metric("upstream_up") == 1, "a probe to find the upstream", 40)
    wait_for(lambda: ask(service, "short-plain.test").answer[0].ttl == 1, "a fresh answer", 10)


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_an_alias_alone_and_an_answer_with_records_of_no_ttl_are_kept(
    running: tuple[Service, Upstream], over: str
) -> None:
    service, upstream = running
    for _ in range(3):
        assert ask(service, "alias.test", over=over).answer[0].to_text().endswith("IN CNAME next.test.")
        reply = ask(service, "beside.test", over=over)
        assert (addresses(reply), reply.authority[0].ttl) == ([REAL], 0)
    assert reached(upstream, "alias.test") == reached(upstream, "beside.test") == 1


@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_each_address_of_a_kept_answer_is_first_in_its_turn(running: tuple[Service, Upstream], over: str) -> None:
    service, upstream = running
    firsts = []
    for number in range(11):
        query = dns.message.make_query("many.test", "A")
        query.id = number
        reply = dns.message.from_wire(exchange(service.dns, query.to_wire(), over=over))
        assert sorted(addresses(reply)) == MANY
        firsts.append(addresses(reply)[0])
    assert set(firsts[1:6]) == set(MANY)
    assert firsts[1:6] == firsts[6:11]
    assert reached(upstream, "many.test") == 1
