"""The whole process over UDP, asked by octets and read by dnspython."""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.fakes.upstream import Upstream, Way, in_thread
from tests.journeys.processes import CLIENT, REAL, asked, exchange, honest
from tests.journeys.running import HOST, PAGE_V4, PAGE_V6, Service, serve

BLOCKED = f"{PAGE_V4} EDE 4"


def known(query: dns.message.Message) -> dns.message.Message:
    """Honest, and large.test has an answer that no datagram of ours takes."""
    reply = honest(query)
    if query.question[0].name.to_text().startswith("large"):
        texts = [f'"{number}{"x" * 200}"' for number in range(8)]
        reply.answer = [dns.rrset.from_text_list(query.question[0].name, 300, "IN", "TXT", texts)]
    return reply


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(known) as running:
        yield running


@pytest.fixture(scope="module", params=["compiled", "loop"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> Iterator[Service]:
    folder = Path(tmp_path_factory.mktemp("datagram"))
    entries = ["listed.test", "=only.test", "!free.listed.test"]
    with serve(folder, upstreams=[upstream.address], entries=entries, core=request.param) as one:
        yield one
        assert "event loop" not in one.said


@contextmanager
def client(service: Service, seconds: float = 5) -> Iterator[socket.socket]:
    """A socket towards the service."""
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((CLIENT, 0))
        one.connect((HOST, service.dns))
        one.settimeout(seconds)
        yield one


def test_listed_and_unlisted_names(service: Service) -> None:
    assert asked(service.dns, "LISTED.test") == BLOCKED
    assert asked(service.dns, "a.b.listed.test", "AAAA") == f"{PAGE_V6} EDE 4"
    assert asked(service.dns, "listed.test", "HTTPS") == "NODATA EDE 4"
    assert asked(service.dns, "only.test") == BLOCKED
    for name in ("a.only.test", "free.listed.test", "open.test"):
        assert asked(service.dns, name) == REAL


def test_a_second_query_is_answered_without_upstream_and_has_aged_no_more_than_the_clock(
    service: Service, upstream: Upstream
) -> None:
    assert asked(service.dns, "kept.test") == REAL
    before = upstream.exchanges["udp"]
    query = dns.message.make_query("kEPT.test", "A", use_edns=0)
    reply = dns.message.from_wire(exchange(service.dns, query.to_wire()))
    assert reply.id == query.id
    assert reply.question[0].name.to_text() == "kEPT.test."
    assert 290 <= reply.answer[0].ttl <= 300
    assert upstream.exchanges["udp"] == before


def test_what_is_too_large_for_a_datagram_comes_by_tcp(service: Service) -> None:
    for edns in (False, 0):
        query = dns.message.make_query("large.test", "TXT", use_edns=edns, payload=4096 if edns == 0 else None)
        short = dns.message.from_wire(exchange(service.dns, query.to_wire()))
        assert short.flags & dns.flags.TC
        assert short.answer == []
        whole = dns.message.from_wire(exchange(service.dns, query.to_wire(), over="tcp"))
        assert not whole.flags & dns.flags.TC
        assert len(whole.answer[0]) == 8


def test_no_option_of_a_client_reaches_the_upstream(service: Service, upstream: Upstream) -> None:
    query = dns.message.make_query("options.test", "A", use_edns=0)
    query.use_edns(0, options=[dns.edns.ECSOption(CLIENT, 32), dns.edns.GenericOption(65001, b"device")])
    assert dns.message.from_wire(exchange(service.dns, query.to_wire())).rcode() == dns.rcode.NOERROR
    assert upstream.queries[-1].question == query.question
    assert upstream.queries[-1].options == ()


def test_a_reply_of_the_upstream_that_leads_into_the_list_or_is_broken(service: Service, upstream: Upstream) -> None:
    upstream.script.extend([(Way.MALFORMED,)])
    assert asked(service.dns, "malformed.test") == "SERVFAIL EDE 24"
    upstream.script.extend([(Way.TRAILING,)])
    assert asked(service.dns, "trailing.test") == REAL
    upstream.script.extend([(Way.WRONG_ID, Way.WRONG_QUESTION, Way.WRONG_PORT, Way.HONEST)])
    assert asked(service.dns, "forged.test") == REAL
    upstream.script.extend([(Way.TRUNCATED,), (Way.HONEST,)])
    assert asked(service.dns, "truncated.test") == REAL
    upstream.script.extend([(Way.SILENT,)])
    assert asked(service.dns, "lost.test") == REAL


def test_what_is_no_query_gets_no_answer_and_costs_nobody_else_theirs(service: Service) -> None:
    ours = dns.message.make_query("open.test", "A").to_wire()
    with client(service) as one:
        for packet in (b"", b"\0", ours[:11], ours[:2] + b"\x81\x80" + ours[4:]):
            one.send(packet)
        one.send(ours)
        assert one.recv(65535)[:2] == ours[:2], "the first that comes is the answer to the only query"


def test_a_proxy_header_from_a_client_names_nobody(service: Service) -> None:
    """Its octets are those of a query with an opcode that is none (RFC 1035 4.1.1)."""
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c" + bytes([192, 0, 2, 7]) + bytes(8)
    with client(service) as one:
        one.send(header + dns.message.make_query("listed.test", "A").to_wire())
        reply = one.recv(65535)
    assert (reply[:2], reply[3] & 15) == (header[:2], dns.rcode.NOTIMP)
    assert len(reply) == 12


def test_thousands_of_damaged_queries_get_at_most_one_answer_each_and_the_service_goes_on(service: Service) -> None:
    r = random.Random(7)
    whole = [dns.message.make_query(name, "A", use_edns=0, want_dnssec=True).to_wire() for name in ("listed.test", "x")]
    answered = 0
    with client(service, 0.5) as one:
        for number in range(2000):
            packet = bytearray(r.choice(whole))
            packet[:2] = number.to_bytes(2, "big")
            for _ in range(r.randrange(1, 6)):
                packet[r.randrange(2, len(packet))] = r.randrange(256)
            data = bytes(packet[: r.choice((len(packet), r.randrange(len(packet))))])
            # One that is always answered comes behind it: what comes before that is the answer to the damaged one.
            mark = (number + 30_000).to_bytes(2, "big") + whole[0][2:]
            one.send(data)
            one.send(mark)
            replies = [one.recv(65535)]
            while replies[-1][:2] != mark[:2]:
                replies.append(one.recv(65535))
            # One that went upstream may come later, with the id of its query: ours are below 30,000.
            assert all(len(reply) <= 1232 and reply[2] & 0x80 for reply in replies)
            assert sum(reply[:2] == data[:2] for reply in replies) <= 1
            answered += len(replies) - 1
    assert answered > 500
    assert asked(service.dns, "listed.test") == BLOCKED
    assert service.get("/readyz")[0] == 200
