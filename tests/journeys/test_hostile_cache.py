"""One client asks for large answers without end: what the others asked for stays in the cache.

RESOLVER_TORTURE=16 is the attack in full: 64 MiB, 3,000 names, 1,300 answers of 57 kB.
"""

import os
import socket
from pathlib import Path

import dns.message
import dns.rdata
import dns.rrset
import pytest

from tests.fakes.upstream import Upstream, Way, in_thread
from tests.journeys.burst import burst
from tests.journeys.processes import REAL, Site
from tests.journeys.running import HOST, Service

TIMES = int(os.environ.get("RESOLVER_TORTURE", "1"))
HOT, LARGE, MEMORY_MIB = 188 * TIMES, 82 * TIMES, 4 * TIMES
SAMPLE = 100
HOSTILE = "127.0.0.3"
SMALL = dns.rdata.from_text("IN", "A", REAL)
WIDE = dns.rdata.from_text("IN", "TXT", " ".join(['"' + "x" * 250 + '"'] * 228))


def large_or_small(query: dns.message.Message) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True)
    name = query.question[0].name
    reply.answer.append(dns.rrset.from_rdata(name, 300, WIDE if name.labels[0].startswith(b"large") else SMALL))
    return reply


def ask_for_large(service: Service) -> int:
    """Ask for each large answer over one connection; return the octets that came."""
    octets = 0
    with socket.create_connection((HOST, service.dns), timeout=30, source_address=(HOSTILE, 0)) as one:
        stream = one.makefile("rb")
        for number in range(LARGE):
            query = dns.message.make_query(f"large{number}.test", "TXT").to_wire()
            one.sendall(len(query).to_bytes(2, "big") + query)
            reply = stream.read(int.from_bytes(stream.read(2), "big"))
            assert reply[3] & 15 == 0
            octets += len(reply)
    return octets


@pytest.mark.timeout(300)
def test_large_answers_for_one_client_leave_the_hot_names_of_the_others(tmp_path: Path) -> None:
    names = [f"hot{number}.test" for number in range(HOT)]
    sample = names[:: HOT // SAMPLE][:SAMPLE]
    with in_thread(large_or_small) as upstream:
        site = Site(tmp_path, [upstream.address], {"cache": {"size": f"{MEMORY_MIB}MiB"}})
        site.set("limits", queries_per_second=100_000, exempt=[])
        site.publish(["listed.test"])
        with site.started() as service:
            rounds = 0
            for _ in range(12):  # A busy machine loses some the first time.
                rounds += burst(service.dns, names, per_second=300, wait_s=3).share(REAL) == 1
                if rounds == 4:
                    break
            assert rounds == 4
            before = kept_of(service, upstream, sample)
            upstream.otherwise = (Way.TRUNCATED,)
            octets = ask_for_large(service)
            upstream.otherwise = (Way.HONEST,)
            after = kept_of(service, upstream, sample)
            print(f"{octets / 2**20:.0f} MiB in {MEMORY_MIB} MiB: {before} of {SAMPLE} kept before, {after} after")
            assert octets > MEMORY_MIB * 2**20
            assert before == SAMPLE
            assert after >= 80


def kept_of(service: Service, upstream: Upstream, names: list[str]) -> int:
    """How many of these names are answered without the upstream."""
    asked = len(upstream.queries)
    burst(service.dns, names, per_second=300, wait_s=3)
    missed = {query.question[0].name.to_text() for query in upstream.queries[asked:]}
    return len(names) - len(missed)
