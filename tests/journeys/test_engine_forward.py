"""What threads forward by themselves: the same octets as the event loop's way gives, and nothing that gets lost.

Rules:
- The same upstream answers both services; its answer depends on the question alone.
- RESOLVER_TORTURE makes the bursts so many times longer.
"""

import hashlib
import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import CLIENT, REAL, Site, came, exchange, honest, query_for, wait_for
from tests.journeys.running import HOST, PAGE_V4, Service

TIMES = int(os.environ.get("RESOLVER_TORTURE", "1"))
OUTSTANDING = 100
BLOCKED = f"{PAGE_V4} EDE 4"
SOA = "ns.example. nobody.example. 1 3600 1200 604800 60"


def of_the_question(query: dns.message.Message) -> dns.message.Message:
    """An answer that the digest of the question chooses: addresses, aliases, nothing, no such name, errors, TC."""
    name, kind = query.question[0].name, query.question[0].rdtype
    drawn = hashlib.sha256(name.to_text().lower().encode() + bytes([kind])).digest()
    reply = dns.message.make_response(query, recursion_available=True)
    way = drawn[0] % 10
    if way < 4:
        for number in range(1 + drawn[1] % 5):
            reply.answer.append(dns.rrset.from_text(name, 300, "IN", "TXT", f"{number}-{drawn.hex()[:20]}"))
    elif way == 4:
        reply.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", "elsewhere.test."))
        reply.answer.append(dns.rrset.from_text("elsewhere.test.", 60, "IN", "A", "192.0.2.7"))
    elif way == 5:
        reply.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", "a.listed.test."))
    elif way == 6:
        reply.authority.append(dns.rrset.from_text("test.", 300, "IN", "SOA", SOA))
    elif way == 7:
        reply.set_rcode(dns.rcode.NXDOMAIN)
        reply.authority.append(dns.rrset.from_text("test.", 300, "IN", "SOA", SOA))
    elif way == 8:
        reply.set_rcode(dns.rcode.SERVFAIL if drawn[1] % 2 else dns.rcode.REFUSED)
    else:
        reply.additional.append(dns.rrset.from_text("glue.test.", 300, "IN", "A", "192.0.2.8"))
        reply.answer.append(dns.rrset.from_text(name, 300, "IN", "A", "192.0.2.9"))
    if drawn[2] % 2:
        reply.flags |= dns.flags.AD
    return reply


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with in_thread(of_the_question) as one:
        yield one


def questions() -> list[bytes]:
    """Queries in all forms, for names of all kinds; none twice, since what is kept ages by the clock."""
    draws, packets = random.Random(5), []
    for number in range(300):
        name = draws.choice(["n-{}.test", "N-{}.Test", "x.n-{}.listed.test", "n-{}.A-longer.Name.example"])
        query = dns.message.make_query(name.format(number), draws.choice(["A", "AAAA", "HTTPS", "TXT"]), id=number)
        if draws.random() < 0.7:
            query.use_edns(0, draws.choice([0, dns.flags.DO]), payload=draws.choice([512, 1232, 4096]))
        if draws.random() < 0.2:
            query.flags |= dns.flags.CD
        if draws.random() < 0.2:
            query.flags |= dns.flags.AD
        packets.append(query.to_wire())
    return packets


def test_both_ways_give_the_same_octets(tmp_path: Path, upstream: Upstream) -> None:
    said: dict[str, list[bytes]] = {}
    for engine in ("python", "compiled"):
        folder = tmp_path / engine
        folder.mkdir()
        site = Site(folder, [upstream.address], {"listen": {"engine": engine}, })
        site.publish(["listed.test"])
        with site.started() as service:
            wait_for(lambda service=service: service.metric("upstream_answering") == 1, "a look at the upstream")
            said[engine] = [exchange(site.dns, packet) for packet in questions()]
    assert len({one[3] & 15 for one in said["python"]}) == 4
    assert said["python"] == said["compiled"]


@contextmanager
def coming_and_going(upstream: Upstream) -> Iterator[None]:
    """An upstream that is away for a third of the time."""
    over = threading.Event()

    def flap() -> None:
        while not over.wait(0.4):
            upstream.away()
            over.wait(0.2)
            upstream.back()

    flapper = threading.Thread(target=flap)
    flapper.start()
    try:
        yield
    finally:
        over.set()
        flapper.join()


def test_of_many_queries_to_an_upstream_that_comes_and_goes_none_is_lost(tmp_path: Path) -> None:
    with in_thread(honest) as upstream:
        site = Site(tmp_path, [upstream.address], {"upstream": {"timeout": "1s"}})
        site.publish(["listed.test"])
        with site.started() as service:
            with coming_and_going(upstream):
                said = closed_loop(service, 2000 * TIMES)
            assert {what for what, listed in said if listed} == {BLOCKED}
            others = Counter(what for what, listed in said.elements() if not listed)
            print(said)
            assert said.total() == 2000 * TIMES
            assert others[REAL] > 0
            assert all(what == REAL or what.startswith("SERVFAIL EDE 2") for what in others)
            wait_for(lambda: service.metric("queries_in_flight") == 0, "nothing to be in flight")
            assert "Traceback" not in service.said


def closed_loop(service: Service, count: int) -> Counter[tuple[str, bool]]:
    """What came for so many names, OUTSTANDING at a time, and whether the name is listed; each tenth is."""
    said: Counter[tuple[str, bool]] = Counter()
    waiting: dict[int, bool] = {}
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((CLIENT, 0))
        one.connect((HOST, service.dns))
        # All may be answered in one turn, and the client must not lose them.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        one.settimeout(30)
        for number in range(count + OUTSTANDING):
            if number < count:
                listed = number % 10 == 9
                waiting[number & 0xFFFF] = listed
                name = f"n-{number}.{'listed' if listed else 'open'}.test"
                one.send((number & 0xFFFF).to_bytes(2, "big") + query_for(name)[2:])
            if number >= OUTSTANDING:
                reply = one.recv(65535)
                said[came(reply), waiting.pop(int.from_bytes(reply[:2], "big"))] += 1
    assert not waiting
    return said
