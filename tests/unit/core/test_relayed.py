"""What a thread does with an answer of its own: the same as the steps do with Python's, octet for octet."""

from typing import Any

import dns.message
import dns.rcode
import pytest

from resolver.core import codes
from tests.parity import cases
from tests.unit.core.seats import Core, Seats
from tests.unit.query.parts import CLIENT, EXEMPT, PAGE_V4, SOA, addresses, query, reply_of, tables

LIST = (("listed.test", "=only.test"),)


@pytest.fixture(params=cases.BUILDS, ids=["compiled", "plain"])
def core(request: pytest.FixtureRequest) -> Core:
    found: Core = request.param
    return found


class Relayed(Seats):
    """Seats whose upstream is asked by a thread."""

    after: Any = None

    def forward(self, seat: Any, packet: bytes, client: bytes) -> None:
        """Ask the upstream, let other tables come into force, keep what it says, and give it in another seat."""
        assert self.reply
        low, high, end = seat.low, seat.high, seat.question.end
        sent = self.written(packet, seat.question)
        said = self.reply(dns.message.from_wire(sent)).to_wire()
        if self.after:
            self.swap(self.after)
        one = self.core("judgement").Judgement()
        self.core("judgement").fill(one, said + bytes(9), 0, len(said))
        asked = memoryview(packet)[12:end]
        self.core("relayed").keep(self.tables, self.lane, one, asked, low, high, client, self.now_ms)
        self.given = self.seated(1, packet, client)
        self.core("relayed").give(self.tables, self.lane, self.given, one, low, high, self.now_ms)

    def send(self, packet: bytes, client: bytes = CLIENT, *args: Any) -> bytes | None:
        self.given = None
        answer = super().send(packet, client, *args)
        said: bytes | None = self.given.answer() if self.given else answer
        return said


ANSWERS = {
    "address": (["open.test. 300 A 192.0.2.1"], []),
    "two": (["open.test. 300 A 192.0.2.1", "open.test. 60 A 192.0.2.2"], []),
    "nothing": ([], [f"test. 300 SOA {SOA}"]),
    "alias": (["open.test. 300 CNAME free.test.", "free.test. 9 A 192.0.2.1"], []),
    "leads to a listed name": (["open.test. 300 CNAME a.listed.test.", "a.listed.test. 9 A 192.0.2.1"], []),
    "not asked for": (["open.test. 300 A 192.0.2.1", "other.test. 300 A 192.0.2.9"], []),
}


@pytest.mark.parametrize("records", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("client", [CLIENT, EXEMPT], ids=["client", "exempt"])
def test_keeps_and_gives_the_same_octets(core: Core, records: tuple[list[str], list[str]], client: bytes) -> None:
    in_force = tables(1, LIST, exempt={0: "192.0.2.99/32"})
    said: list[list[bytes | None]] = []
    packets = [query(name).to_wire() for name in ("open.test", "open.test", "OPEN.test")]
    for kind in (Seats, Relayed):
        one = kind(core, in_force, lambda asked: reply_of(asked, *records))
        answers = [one.send(packet, client) for packet in packets[:2]]
        one.now += 5
        said.append([*answers, one.send(packets[2], CLIENT)])
        assert one.lane.errors == 0
        kept = one.counters[codes.counter("cache_answers_total", "miss")]
        said[-1].append(bytes([kept]))
    assert said[0] == said[1]
    assert None not in said[0]


def test_a_list_that_came_meanwhile_judges_the_name_again(core: Core) -> None:
    one = Relayed(core, tables(1, LIST), lambda asked: reply_of(asked, ["soon.test. 300 A 192.0.2.1"]))
    one.after = tables(2, (("listed.test", "soon.test"),))
    assert addresses(one.ask(query("soon.test"))) == [PAGE_V4]


def test_whom_it_cannot_be_given_gets_servfail_and_the_error_is_counted(core: Core) -> None:
    one = Seats(core, tables(1, LIST, exempt={0: "192.0.2.99/32"}))
    packet = query("open.test").to_wire()
    seat = one.seated(0, packet)
    judgement = core("judgement").Judgement()
    core("judgement").fill(judgement, packet, 0, len(packet))
    seat.sit(packet, memoryview(bytes(3)), False, 512, 1232, -1)
    # The client is cut short: its scope cannot be found.
    with pytest.raises(IndexError):
        core("relayed").give(one.tables, one.lane, seat, judgement, 0, 0, one.now_ms)
    core("relayed").give_failed(one.lane, seat)
    answer = seat.answer()
    assert (answer[:2], answer[3] & 15) == (packet[:2], dns.rcode.SERVFAIL)
    assert one.lane.errors == 1


def test_a_prefix_has_so_many_places_and_gives_them_back(core: Core) -> None:
    shares = core("shares")
    room = shares.Shares(bytearray(shares.SET_OCTETS), bytes(16))
    other = bytes(10) + b"\xff\xff\xc6\x33\x64\x01"
    slots = [core("relayed").place(room, CLIENT, 2) for _ in range(3)]
    assert slots[0] == slots[1] >= 0
    assert slots[2] == -1
    assert core("relayed").place(room, other, 2) >= 0
    shares.give(room, slots[0], 1)
    assert core("relayed").place(room, CLIENT, 2) == slots[0]


def test_where_the_reply_cannot_be_used_no_answer_of_another_question_is_given(core: Core) -> None:
    """The seat was another query's before, whose answer is kept."""
    one = Seats(core, tables(1, LIST), lambda asked: reply_of(asked, ["kept.test. 300 A 192.0.2.1"]))
    one.ask(query("kept.test"))
    packet = query("open.test").to_wire()
    waits = one.seated(0, packet)
    assert core("steps").take(one.tables, one.lane, waits, one.now_ms) == codes.OUTCOME_FORWARD
    low, high = waits.low, waits.high
    before = one.seated(1, query("kept.test").to_wire())
    assert core("steps").take(one.tables, one.lane, before, one.now_ms) == codes.OUTCOME_REPLY
    judgement = core("judgement").Judgement()
    # It ends within its question.
    core("judgement").fill(judgement, packet, 0, 14)
    seat = one.seated(1, packet)
    core("relayed").give(one.tables, one.lane, seat, judgement, low, high, one.now_ms)
    answer = dns.message.from_wire(seat.answer())
    assert (answer.rcode(), answer.answer) == (dns.rcode.SERVFAIL, [])
    assert str(answer.question[0].name) == "open.test."


def test_a_clean_reply_is_read_once_and_judged_as_one_that_was_not_looked_into(core: Core) -> None:
    judgement, generation = core("judgement"), Seats(core, tables(1, LIST)).tables.generation
    for records in ANSWERS.values():
        reply = reply_of(query("open.test"), *records).to_wire()
        said = []
        for fill in (judgement.fill, judgement.fill_clean):
            one = judgement.Judgement()
            fill(one, bytes(5) + reply, 5, 5 + len(reply))
            verdict = judgement.judge(one, judgement.Room(), generation, codes.ALL_LISTS)
            said.append((verdict, one.for_all, bytes(one.message.data[: one.message.end])))
        assert said[0] == said[1]
        # The next one is looked into again.
        assert not judgement.fill_clean(one, reply, 0, 14)
        judgement.fill(one, reply, 0, 14)
        assert judgement.judge(one, judgement.Room(), generation, codes.ALL_LISTS) == codes.ASK
