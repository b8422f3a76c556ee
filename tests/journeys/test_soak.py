"""The short forms of tests/soak: the engine and the reference give the same octets, and swaps under load leak nothing.

What finds a wrong answer is tried with wrong ones.
"""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.rrset
import pytest

from tests.fakes.octets import Asked, in_thread
from tests.journeys.processes import REAL
from tests.journeys.running import PAGE_V4
from tests.soak import same, swaps
from tests.soak.questions import PLACES, Question, Questions
from tests.soak.upstream import CORPUS_NAMES, mixed

QUESTIONS = 4000


@pytest.mark.timeout(300)
def test_the_engine_and_the_reference_say_the_same(tmp_path: Path) -> None:
    found = same.compared(tmp_path, 1, most=QUESTIONS)
    assert found.faults == []
    assert found.stray == 0
    assert found.asked >= QUESTIONS
    assert found.differences["none"] > 0.85 * found.asked
    assert found.differences["kept by one alone"] < 0.01 * found.asked
    assert found.blocked > 0.02 * found.asked
    assert {"NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "silence"} <= found.said.keys()
    assert set(found.threads) == {"udp-0", "udp-1"}
    assert found.relayed["answered"] > 0.05 * found.asked, "the threads forward by themselves"


def drawn(seed: int, count: int) -> list[Question]:
    questions = Questions(seed)
    return [questions.next([]) for _ in range(count)]


def test_a_seed_draws_the_same_questions_of_every_kind() -> None:
    found = drawn(3, 3000)
    assert found == drawn(3, 3000)
    assert found != drawn(4, 3000)
    assert Counter(one.place for one in found).keys() == set(range(len(PLACES)))
    assert len({one.kind for one in found}) > 15
    assert 0 < sum(one.silent for one in found) < 0.2 * len(found)


def test_questions_for_one_name_are_not_in_flight_together() -> None:
    questions, in_flight = Questions(5), list[Question]()
    for _ in range(500):
        one = questions.next(in_flight)
        assert not one.name or one.name not in {other.name for other in in_flight}
        assert one.packet[:2] not in {other.packet[:2] for other in in_flight}
        in_flight = [*in_flight[-40:], one]


def test_cookies_of_one_second_are_the_same_and_of_two_may_differ() -> None:
    def with_cookie(time: int, last: int) -> bytes:
        reply = dns.message.make_response(dns.message.make_query("a.test", "A", id=7, use_edns=0))
        server = bytes([1, 0, 0, 0]) + time.to_bytes(4) + bytes(7) + bytes([last])
        reply.use_edns(0, options=[dns.edns.GenericOption(10, bytes(8) + server)])
        return reply.to_wire()

    first = with_cookie(1_800_000_000, 1)
    assert same.difference(first, with_cookie(1_800_000_000, 1)) == ""
    assert same.difference(first, with_cookie(1_800_000_001, 2)) == "TTL"
    assert same.difference(first, with_cookie(1_800_000_000, 2)) == "octets"
    assert same.difference(first, with_cookie(1_800_000_002, 1)) == "octets"


def answer(*ttls: int, first: int = 1) -> bytes:
    """An answer with two addresses, the one that ends in `first` first, and these TTLs."""
    reply = dns.message.make_response(dns.message.make_query("a.test", "A", id=7, use_edns=0))
    for ttl, last in zip(ttls, (first, 3 - first), strict=True):
        reply.answer.append(dns.rrset.from_text("a.test.", ttl, "IN", "A", f"198.51.100.{last}"))
    return reply.to_wire()


def test_only_ttls_and_the_order_of_addresses_may_differ() -> None:
    whole = answer(60, 60)
    assert same.difference(whole, whole) == ""
    assert same.difference(whole, answer(61, 59)) == "TTL"
    assert same.difference(whole, answer(60, 60, first=2)) == "order"
    assert same.difference(whole, answer(60, 12)) == "fetched apart"
    assert same.difference(whole, answer(60, 3600)) == "octets"
    assert same.difference(whole, None) == "octets"
    assert same.difference(whole, whole[:-1]) == "octets"
    words = Counter[str]()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x41
        words[same.difference(whole, bytes(changed))] += 1
    assert words == {"octets": len(whole) - 2, "fetched apart": 2}, "the lowest octets of the TTLs"


def test_a_fault_is_made_as_small_as_it_stands() -> None:
    (first,) = [one for one in drawn(6, 400) if b"\4test" in one.packet and PLACES[one.place][1] and one.header][:1]
    found = same.smallest(first, lambda one: b"\4test" in one.packet.lower())
    assert b"\4test" in found.packet
    assert len(found.packet) < len(first.packet)
    assert found.header == b""


def test_the_upstream_says_the_same_to_everybody() -> None:
    for name in (*CORPUS_NAMES, "ch7.example", "bg100.test", "any.a.b.test"):
        query = dns.message.make_query(name, "A", use_edns=0).to_wire()
        other = b"\0\1" + query[2:]
        assert mixed(query, False)[2:] == mixed(other, False)[2:], name
        assert mixed(query, False)[12:18] == query[12:18], name


@pytest.mark.timeout(300)
def test_swaps_under_load_lose_and_leak_nothing() -> None:
    found = swaps.run(queries=60_000, swaps=200, updates=1, seed=1)
    assert {word: found.total(word) for word in ("wrong", "leaked", "lost", "stray")} == {
        "wrong": 0, "leaked": 0, "lost": 0, "stray": 0,
    }  # fmt: skip
    assert (found.wrong_updates, found.errors) == ([], 0)
    assert found.swaps > 20
    asked, answered = (sum(one[word] for one in found.relayed) for word in ("asked", "answered"))
    assert asked >= answered > 0.01 * found.queries, "the threads forward by themselves"
    assert found.total("answered") == found.queries == 60_000
    for one in found.senders:
        assert one["listed"]["blocked"] == one["listed"]["asked"] > 0
        assert one["sometimes"]["blocked"] > 0
        assert one["kept"]["real"] > 0


def test_the_sender_finds_what_is_wrong(tmp_path: Path) -> None:
    """A resolver that says the real address of every name, then one that says the page's, then one that fails."""

    def sent(address: str) -> dict[str, Any]:
        def says(asked: Asked) -> list[bytes]:
            reply = dns.message.make_response(asked.message)
            name = asked.message.question[0].name
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", address))
            return [reply.to_wire()]

        with in_thread(says) as resolver:
            words = [str(swaps.compiled(tmp_path)), str(resolver.port), "127.0.0.2", "500", "1"]
            done = subprocess.run(words, capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["answered"] == found["asked"] == 500
        return found

    listed = ("listed", "leads")
    real = sent(REAL)
    assert real["leaked"] == real["wrong"] == sum(real[kind]["asked"] for kind in listed)
    page = sent(PAGE_V4)
    assert page["wrong"] == sum(page[kind]["asked"] for kind in ("kept", "missed"))
    assert page["leaked"] == 0
    other = sent("192.0.2.77")
    assert other["wrong"] == 500
