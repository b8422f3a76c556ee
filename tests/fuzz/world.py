"""Plays a sequence of events, written in octets, with the steps of the core, and holds every answer against the model.

Rules:
- Any octets are a sequence: each event is one octet for its kind and a few for what happens, as far as there are any.
- The events: a query of any octets, a well-formed query, the batch is taken, an upstream says any octets, an upstream
  says something sensible, an upstream fails, the clock goes on, and a change: other tables come into force, answers are
  flushed, or memory is overwritten.
- The way is the engine's: one lane takes batches, another lane, of the thread that waits, has the replies. A clean one
  to a query over UDP goes the way of a thread that forwards by itself (core.relayed), all others that of Python: the
  query is resumed, the reply kept and given.
- For every second query the case of its letters is drawn before it is sent.
- Each query and reply is in memory of exactly its size, so that a sanitizer sees a read beyond it.
- The memory of kept answers, attempts, shares or buckets may be overwritten with any octets, as by a fault elsewhere.
  Then an answer may be any octets, but still a name that is listed is never asked for upstream or answered from there,
  everything ends, and no lock is left taken.
- What is said, in order, is the transcript: the same for both builds of the core while the memory is sound.
"""

import contextlib
import hashlib
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from resolver.config.values import address_octets
from resolver.core import codes
from resolver.query.transport import Transport
from tests.fuzz import model
from tests.unit.core.seats import EPOCH_MS, access_of, generation_of
from tests.unit.query.parts import CLIENT, EXEMPT, KEY, PAGE_V4, PAGE_V6, STRANGER, tables

Core = Callable[[str], ModuleType]

LISTS = (
    model.List(("listed.test", "=only.test", "!free.listed.test", "page.listed.test", "blocked.example")),
    model.List(("second.test", "listed.example"), EXEMPT),
)
OTHERS = (model.List(("open.test", "=only.test", "listed.test")),)
LIMITED = (model.List(("listed.test", "second.test", "a.second.test", "=b.second.test")),)
SYNTHETIC = (b"s" * 26, b"selftest", b"invalid")
SIX = address_octets("2001:db8::7")
CLIENTS = (CLIENT, EXEMPT, STRANGER, SIX, CLIENT[:-1] + b"\x0b", SIX[:7] + b"\1" + SIX[8:])
OVER = (Transport.UDP, Transport.UDP, Transport.TCP, Transport.DOT)
NAMES = tuple(
    b"".join(bytes([len(label)]) + label for label in name.split(b".") if label) + b"\0"
    for name in (
        b"open.test listed.test a.listed.test free.listed.test a.free.listed.test only.test x.only.test second.test "
        b"a.second.test b.second.test _8443._https.only.test OPEN.test LISTED.Test localhost . 1.0.0.127.in-addr.arpa "
        b"www.open.test listed.example example alias.test"
    ).split()
)
KINDS = (1, 28, 65, 16, 5, 43, 48, 255, 6, 2, 12, 64)
MARK = address_octets("2001:db8::")[:4] + b"mark"
PAGES = {address_octets(PAGE_V4)[12:], address_octets(PAGE_V6)}
OUT_OCTETS = 65536
MOST_WAITING = 16
OPT_OCTETS = 11
SIZES = (2**13, 3 * 2**15)


def exact(octets: bytes) -> memoryview:
    """The same octets in memory that ends where they do."""
    return memoryview(array("B", octets or b"\0"))[: len(octets)]


def mark_of(name: model.Name, kind: int) -> bytes:
    """The address that the upstream gives to this question and to no other."""
    return MARK + hashlib.blake2b(repr((name, kind)).encode(), digest_size=8).digest()


@dataclass
class Force:
    """Tables that may come into force, and what the model has of them."""

    generation: Any
    access: Any
    lists: tuple[model.List, ...]
    complete: bool = True
    damaged: bool = False


def forces(core: Core) -> list[Force]:
    """All tables that the events choose from, in one build."""
    made = []
    for number, (lists, more) in enumerate(
        (
            (LISTS, {}),
            (OTHERS, {}),
            (LIMITED, {"rate": 5, "budget": 2}),
            (LISTS, {"complete": False}),
            (LISTS, {"answer": "nxdomain"}),
            ((model.List(()),), {}),
        )
    ):
        spared = {1: "192.0.2.99/32"} if lists is LISTS else None
        whole = tables(1 + number, [one.lines for one in lists], exempt=spared, **more)
        made.append(Force(generation_of(core, whole.generation), access_of(core, whole.access), lists, whole.complete))
    cut = [
        core("policy").Member(one.words[: len(one.words) - 2], one.replies, slot=one.slot)
        for one in made[0].generation.members
    ]
    made.append(Force(core("policy").Generation(99, KEY, cut), made[0].access, LISTS, damaged=True))
    return made


@dataclass
class Asked:
    """A query that waits for an upstream: its octets, its client, what was sent for it, and the same in its own case;
    where its question ends, and its key."""

    packet: memoryview
    client: bytes
    over: Transport
    sent: bytes
    asked: bytes
    size: int
    low: int
    high: int

    @property
    def is_drawn(self) -> bool:
        """Whether its letters were drawn."""
        return bool(self.packet[1] & 1)


class Rooms:
    """What one build of the core has for all sequences: the tables to choose from, two threads' lanes, and the sketch.

    To make them takes longer than to play a sequence. What they keep from one to the next changes no answer.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.choices = forces(core)
        self.counters = memoryview(array("Q", bytes(8 * codes.COUNTERS_SIZE)))
        shape = core("crash_shape").Shape(memoryview(array("q", bytes(64))))
        outs = [memoryview(array("B", bytes(OUT_OCTETS))) for _ in range(core("lane").BATCH)]
        self.lane = core("lane").Lane(self.counters, shape, outs)
        self.later = core("lane").Lane(self.counters, shape, outs[:1])
        self.zones = core("local_zones").Zones()
        self.asked = core("sketch").Sketch(bytearray(2**13), KEY)
        self.cookies = core("cookie").Cookies((KEY, KEY[::-1]), EPOCH_MS)
        self.question = core("question").Question()
        self.message = core("message").Message()
        self.judged = core("judgement").Judgement()


class World:
    """Everything that one sequence changes, in one build of the core."""

    def __init__(self, rooms: Rooms, octets: bytes) -> None:
        self.rooms, self.octets, self.at = rooms, octets, 0
        core = rooms.core
        self.steps, self.exchange, self.relayed = core("steps"), core("exchange"), core("relayed")
        self.now_ms = 1_000_000
        self.transcript: list[Any] = []
        self.met: set[str] = set()
        # The cookies that each client has got, the last one at the end.
        self.learnt: dict[bytes, list[bytes]] = {}
        self.waiting: list[Asked] = []
        self.queue: list[tuple[memoryview, bytes, Transport]] = []
        first = self.number()
        self.memory = bytearray(SIZES[first & 1])
        self.scribbled = False
        self.store = core("store").Store(self.memory, KEY, 600 if first & 2 else 0)
        counting, sharing = bytearray(core("tally").TABLES * 2**10), bytearray(2**10)
        self.memories = [memoryview(one).cast("B") for one in (self.memory, counting, sharing)]
        self.memories += [memoryview(one.access.buckets).cast("B") for one in rooms.choices[2:3]]
        self.tally = core("tally").Tally(counting, KEY)
        self.shares = core("shares").Shares(sharing, KEY)
        for one in rooms.choices:
            one.access.buckets[:] = memoryview(bytes(8 * len(one.access.buckets))).cast("Q")
        self.swap(first >> 2)

    def swap(self, choice: int) -> None:
        """Put these tables in force."""
        self.force = self.rooms.choices[choice % len(self.rooms.choices)]
        self.tables = self.rooms.core("lane").Tables(
            self.force.generation, self.force.access, self.force.complete, self.rooms.zones, (),
            store=self.store, shares=self.shares, tally=self.tally, asked=self.rooms.asked,
            cookies=self.rooms.cookies,
        )  # fmt: skip

    def number(self) -> int:
        """The next octet, 0 at the end."""
        self.at += 1
        return self.octets[self.at - 1] if self.at <= len(self.octets) else 0

    def some(self) -> bytes:
        """The next octets, as many as are said and there are: up to 239 by one octet, more by two."""
        size = self.number()
        if size >= 0xF0:
            size = (size & 15) << 8 | self.number()
        start, self.at = self.at, min(self.at + size, max(self.at, len(self.octets)))
        return self.octets[start : self.at]

    def play(self) -> None:
        """Play the whole sequence."""
        events = (self.any_query, self.query, self.take, self.any_reply, self.reply, self.fail, self.wait, self.change)
        while self.at < len(self.octets):
            events[self.number() % len(events)]()
        self.take()
        self.walk()

    # Events.

    def any_query(self) -> None:
        """A packet of any octets."""
        who = self.number()
        self.enqueue(self.some(), who)

    def query(self) -> None:
        """A well-formed query."""
        who, name, kind, how = self.number(), self.number(), self.number(), self.number()
        flags = bytes([how & 1 ^ 1, (how & 2) << 3 | (how & 4) << 3])
        cookie = self.cookie(how >> 6, CLIENTS[(who & 15) % len(CLIENTS)])
        fixed = bytes([0, 0, (how & 8) << 4, 0, 0, len(cookie)])
        opt = b"\0\0\x29" + (b"\2\0", b"\xff\xff")[how >> 4 & 1] + fixed + cookie
        has_opt = how >> 5 & 1
        head = bytes([who, how]) + flags + b"\0\1\0\0\0\0\0" + bytes([has_opt])
        kinds = KINDS[kind % len(KINDS)].to_bytes(2, "big") + b"\0\1"
        self.enqueue(head + NAMES[name % len(NAMES)] + kinds + opt * has_opt, who)

    def cookie(self, which: int, client: bytes) -> bytes:
        """An option COOKIE: none, without a server's part, the last one that this client got, or that but for a bit."""
        if which == 0:
            return b""
        learnt = self.learnt.get(client, [bytes(8)])[-1]
        octets = (b"", learnt[:8], learnt, learnt[:-1] + bytes([learnt[-1] ^ 1]))[which]
        return b"\0\x0a\0" + bytes([len(octets)]) + octets

    def enqueue(self, packet: bytes, who: int) -> None:
        """Let a packet come from one of the clients."""
        client = CLIENTS[(who & 15) % len(CLIENTS)]
        self.queue.append((exact(packet), client, OVER[who >> 4 & 3]))
        if len(self.queue) == len(self.rooms.lane.held):
            self.take()

    def take(self) -> None:
        """The batch is taken."""
        lane, queue = self.rooms.lane, self.queue
        self.queue = []
        for number, (packet, client, over) in enumerate(queue):
            lane.seat(number).sit(packet, client, over.number, over.least, over.most, over.keepalive_ds)
        with self.sound():
            while not self.taken(len(queue)):
                self.steps.pass_over(lane)
            for number, (packet, client, over) in enumerate(queue):
                seat = lane.seat(number)
                if seat.outcome == codes.OUTCOME_FORWARD:
                    self.forward(seat, packet, client, over)
                elif seat.outcome == codes.OUTCOME_ASK:
                    assert self.scribbled or seat.reason == codes.END_NOTICE
                    self.steps.unasked(lane, seat)
                self.check(seat, packet, client, over)

    def taken(self, count: int) -> bool:
        """Take the rest of the batch; whether no step failed."""
        try:
            self.steps.take_batch(self.tables, self.rooms.lane, count, self.now_ms)
        except IndexError:
            assert self.scribbled
            return False
        return True

    def forward(self, seat: Any, packet: memoryview, client: bytes, over: Transport) -> None:
        """Let the query wait for an upstream."""
        out = bytearray(self.exchange.QUERY_OCTETS)
        size = self.exchange.write(packet, seat.question, 0x5678, out)
        asked, end = bytes(out[:size]), seat.question.end
        one = Asked(packet, client, over, asked, asked, end, seat.low, seat.high)
        if one.is_drawn:
            chance = hashlib.blake2b(packet, digest_size=self.exchange.CHANCE_OCTETS).digest()
            self.exchange.draw_case(out, end, chance)
            one.sent = bytes(out[:size])
            assert one.sent.lower() == asked.lower()
        self.waiting = [*self.waiting[-MOST_WAITING + 1 :], one]

    def any_reply(self) -> None:
        """An upstream says any octets; with a bit set the octets follow the question that was asked."""
        how, octets = self.number(), self.some()
        if how & 1 and self.waiting:
            sent = self.waiting[(how >> 1) % len(self.waiting)].sent
            end = len(sent) - OPT_OCTETS
            octets = sent[:2] + octets[:2] + sent[4:6] + octets[2:8].ljust(6, b"\0") + sent[12:end] + octets[8:]
        self.answer(how >> 1, octets)

    def reply(self) -> None:
        """An upstream says something sensible."""
        how, what = self.number(), self.number()
        if not self.waiting:
            return
        asked = self.waiting[how % len(self.waiting)]
        question = asked.sent[12 : len(asked.sent) - OPT_OCTETS]
        name, kind = model.name_at(question, 0)[0], int.from_bytes(question[-4:-2])
        ttl = (b"\0\0\0\5", b"\0\0\1\x2c", b"\0\0\0\0", b"\xff\xff\xff\xff")[what >> 6]
        mark = record(b"\xc0\x0c", 28, mark_of(name, kind), ttl)
        target = NAMES[(how ^ what) % len(NAMES)]
        there = record(target, 28, mark_of(name, kind), ttl)
        soa = record(b"\xc0\x0c", 6, b"\0\0" + bytes(16) + ttl, ttl)
        signature = record(b"\xc0\x0c", 46, b"\0\x1c" + bytes(16) + b"\0" + bytes(64), ttl)
        opt = b"\0\0\x29\4\xd0\0\0\x80\0\0\6\0\x0f\0\2\0\x16"
        sections = (
            ([mark], [], []),
            ([mark] * 30, [], []),
            ([record(b"\xc0\x0c", 5, target, ttl), there], [], []),
            ([record(b"\xc0\x0c", 65, b"\0\1" + target, ttl), mark], [], []),
            ([], [soa], [opt]),
            ([mark, signature], [], [opt]),
            ([mark], [record(target, 1, bytes((192, 0, 2, 7)), ttl)], [there, opt]),
            ([mark, there], [], []),
        )[what & 7]  # fmt: skip
        rcode = (0, 0, 0, 0, 0, 2, 3, 5)[what >> 3 & 7] if what & 7 in (0, 4) else 0
        flags = bytes([0x81 | (how & 0x80) >> 6 * (what & 7 == 1), 0x80 | (how >> 1 & 0x20) | rcode])
        counts = b"".join(len(section).to_bytes(2, "big") for section in sections)
        body = b"".join(b"".join(section) for section in sections)
        self.answer(how, asked.sent[:2] + flags + b"\0\1" + counts + question + body)

    def answer(self, which: int, octets: bytes) -> None:
        """An upstream's reply comes for one of those who wait; it is kept and given if it answers what was sent."""
        if not self.waiting:
            return
        asked = self.waiting[which % len(self.waiting)]
        reply, sent, size = exact(octets), asked.sent, asked.size
        how = self.exchange.found(reply, len(reply), sent, len(sent), size, self.rooms.question)
        assert bool(how) <= model.is_answer_to(octets, sent), "a reply to something else"
        if how == self.exchange.NOT_FOUND or (how == self.exchange.OTHER_CASE and asked.is_drawn):
            self.met.add("mismatch")
            return
        self.waiting.remove(asked)
        clean = how == self.exchange.AS_SENT and self.exchange.is_clean(reply, len(reply), self.rooms.message)
        if asked.is_drawn:
            self.exchange.restore_case(reply, len(reply), sent, asked.asked, size)
            assert bytes(reply).lower() == octets.lower()
            assert how != self.exchange.AS_SENT or bytes(reply[12:size]) == asked.asked[12:size], "in the drawn case"
        with self.sound():
            if clean and not asked.over.is_stream:
                self.met.add("relayed")
                self.check(self.given(asked, reply), asked.packet, asked.client, asked.over, was_admitted=True)
                return
            seat = self.resumed(asked)
            if seat.outcome == codes.OUTCOME_FORWARD:
                one = self.rooms.core("judgement").Judgement(reply)
                self.steps.keep(self.tables, self.rooms.later, one, *self.key(seat, asked))
                self.steps.give(self.tables, self.rooms.later, seat, one, self.now_ms)
            self.check(seat, asked.packet, asked.client, asked.over)

    def given(self, asked: Asked, reply: memoryview) -> Any:
        """The query that waited, answered by a thread that forwards by itself."""
        lane, one = self.rooms.later, self.rooms.judged
        seat = self.seated(asked)
        self.rooms.core("judgement").fill(one, reply, 0, len(reply))
        try:
            key = asked.sent[12 : asked.size], asked.low, asked.high, asked.client
            self.relayed.keep(self.tables, lane, one, *key, self.now_ms)
        except IndexError:
            assert self.scribbled
        try:
            self.relayed.give(self.tables, lane, seat, one, asked.low, asked.high, self.now_ms)
        except IndexError:
            assert self.scribbled
            self.relayed.give_failed(lane, seat)
        return seat

    def key(self, seat: Any, asked: Asked) -> tuple[Any, ...]:
        """What `keep` takes to say which question it is."""
        return asked.packet[12 : seat.question.end], seat.low, seat.high, asked.client, self.now_ms

    def resumed(self, asked: Asked) -> Any:
        """The query that waited, taken up by the other thread."""
        seat = self.seated(asked)
        self.steps.resume(self.tables, self.rooms.later, seat, codes.OUTCOME_FORWARD, self.now_ms)
        return seat

    def seated(self, asked: Asked) -> Any:
        """The seat of the other thread, in which a query that waited sits again."""
        seat, over = self.rooms.later.seat(0), asked.over
        seat.sit(asked.packet, asked.client, over.number, over.least, over.most, over.keepalive_ds)
        return seat

    def fail(self) -> None:
        """No upstream answers one of those who wait: it is noted or not, and the client gets what is kept, if it is."""
        how = self.number()
        if not self.waiting:
            return
        asked = self.waiting.pop(how % len(self.waiting))
        lane, ede = self.rooms.later, (codes.EDE_NETWORK_ERROR, codes.EDE_OTHER)[how >> 4 & 1]
        with self.sound():
            seat = self.resumed(asked)
            if seat.outcome == codes.OUTCOME_FORWARD:
                if how & 0x20:
                    self.steps.stale(self.tables, lane, seat, self.now_ms)
                if how & 0x40:
                    self.steps.keep_failed(self.tables, lane, ede, *self.key(seat, asked))
                if seat.outcome == codes.OUTCOME_FORWARD:
                    self.steps.without(self.tables, lane, seat, ede, codes.FAILED_UPSTREAM, self.now_ms)
            self.check(seat, asked.packet, asked.client, asked.over)

    def wait(self) -> None:
        """Time goes on, by less than a second up to weeks."""
        how = self.number()
        self.now_ms += (1 + (how & 15)) * (7, 250, 1000, 6000, 60_000, 600_000, 10_000_000, 600_000_000)[how >> 4 & 7]

    def change(self) -> None:
        """Other tables come into force, answers are forgotten, or their memory is overwritten."""
        how = self.number()
        if how < 0xC0:
            self.swap(how)
            return
        if how < 0xE0:
            self.scribble()
            return
        flush, name, octets = self.rooms.core("flush"), self.rooms.core("name").Name(), NAMES[how & 15]
        self.rooms.core("name").unfold(octets, 0, len(octets), name)
        flush.forget(self.store, flush.Search(name, bool(how & 16)), 50)

    def scribble(self) -> None:
        """Octets of the memory change: mostly of that of kept answers."""
        which = self.memories[(self.number() & 15) % len(self.memories)]
        at = (self.number() << 8 | self.number()) % len(which)
        octets = self.some()[: len(which) - at]
        which[at : at + len(octets)] = octets
        self.scribbled = self.scribbled or bool(octets)

    # What is held.

    @contextlib.contextmanager
    def sound(self) -> Iterator[None]:
        """No step fails meanwhile, unless an image or memory is damaged; and no lock is left taken."""
        before = self.rooms.lane.errors + self.rooms.later.errors
        yield
        for table in (self.store, self.tally, self.shares, self.rooms.asked, self.force.access):
            assert not bytes(table.locks.words).strip(b"\0"), "a lock is taken"
        failed = self.rooms.lane.errors + self.rooms.later.errors - before
        assert self.force.damaged or self.scribbled or failed == 0, "a step failed"

    def check(
        self, seat: Any, packet: memoryview, client: bytes, over: Transport, *, was_admitted: bool = False
    ) -> None:
        """Hold an outcome and its answer against the model."""
        answer, octets, found = seat.answer(), bytes(packet), []
        self.met.add(f"end {seat.reason}")
        self.transcript.append((seat.outcome, seat.reason, answer))
        assert (answer is None) == (seat.outcome != codes.OUTCOME_REPLY)
        well_formed = seat.problem == codes.WELL_FORMED
        if answer is not None:
            assert len(answer) <= (model.limit_of(octets, over.is_stream) if well_formed else over.most)
            assert answer[:2] == octets[:2], "another id"
        if answer is not None and not self.scribbled:
            assert answer[2] & 0xF9 == octets[2] & 0x79 | 0x80, "another opcode or RD"
            found = model.records(answer)
            if well_formed:
                has_opt = any(one.kind == model.OPT for one in found)
                assert has_opt <= any(one.kind == model.OPT for one in model.records(octets))
                assert answer[4:6] == b"\0\1"
                assert answer[12 : seat.question.end] == octets[12 : seat.question.end], "another question"
                self.check_cookie(seat, octets, client, found)
        if well_formed and (was_admitted or seat.resumed or seat.admitted == codes.ADMITTED):
            self.check_verdict(seat, octets, client, answer, found)

    def check_cookie(self, seat: Any, octets: bytes, client: bytes, found: list[model.Record]) -> None:
        """The answer to a cookie has one of this client's; only such a one is good; without one there is none."""
        came, given = model.cookie_in(model.records(octets)), model.cookie_in(found)
        if given is None:
            assert came is None or seat.admitted == codes.NOT_A_CLIENT, "no cookie"
            return
        assert came is not None, "a cookie that nobody asked for"
        assert (given[:8], len(given)) == (came[:8], 24)
        learnt = self.learnt.setdefault(client, [])
        if seat.cookie == codes.COOKIE_GOOD:
            self.met.add("good cookie")
            assert came in learnt, "a forged cookie is good"
        learnt.append(given)

    def check_verdict(
        self, seat: Any, octets: bytes, client: bytes, answer: bytes | None, found: list[model.Record]
    ) -> None:
        """Hold what a well-formed query of an admitted client got against the lists."""
        force = self.force
        name, kind, klass = model.name_at(octets, 12)[0], seat.question.qtype, seat.question.qclass
        if name == SYNTHETIC:
            return
        upstreams = (codes.END_KEPT, codes.END_STALE, codes.END_FRESH)
        relayed = seat.outcome == codes.OUTCOME_FORWARD or seat.reason in upstreams
        if self.scribbled:
            assert not relayed or not model.is_blocked(force.lists, name, client, kind)
            return
        if klass != 1 or not octets[2] & 1:
            assert seat.reason in (codes.END_REFUSED, codes.END_LOCAL)
            assert not relayed
            return
        if force.damaged and len(name) > 1:
            # No list has a name of one label, so no image is asked for one.
            assert not relayed, "a damaged image let a name pass"
            assert answer is not None
            assert answer[3] & 15 == codes.SERVFAIL
            return
        blocked = model.is_blocked(force.lists, name, client, kind)
        assert blocked == (seat.reason == codes.END_BLOCKED), "the lists say something else"
        if blocked or seat.reason == codes.END_LEADS:
            for one in found:
                assert one.section > 0 or one.kind not in (1, 28) or one.data in PAGES
        if not force.complete:
            assert blocked or (answer is not None and answer[3] & 15 == codes.SERVFAIL)
        if answer is None or seat.reason not in upstreams:
            return
        for led in model.led_to(answer, found):
            assert not model.is_blocked(force.lists, led, client, 1), "an answer leads to a listed name"
        for one in found:
            if one.data.startswith(MARK):
                assert one.data == mark_of(name, kind), "an answer to another question"
            assert one.kind == model.OPT or one.ttl <= 86400

    def walk(self) -> None:
        """The store can be walked from end to end, and the walk meets each record that can be found."""
        store, kept = self.rooms.core("store"), self.rooms.core("store").Kept()
        position, met = 0, set()
        for _ in range(sum(SIZES)):
            if position == store.END:
                assert self.scribbled or met == self.found()
                return
            after = store.look(self.store, position, kept)
            assert after > position
            if kept.end:
                assert self.scribbled or 0 <= kept.start <= kept.end <= len(self.store.ring)
                met.add(position)
            position = after
        raise AssertionError("a walk without end")

    def found(self) -> set[int]:
        """The positions of the records to which the index points."""
        index, ring = bytes(self.store.index), bytes(self.store.ring)
        rings = list(zip(self.store.starts, self.store.sizes, self.store.tails, self.store.heads, strict=True))
        found = set()
        for low, position in struct.iter_unpack("=QQ", index):
            start, size, tail, head = rings[position >> 61]
            place = position & (1 << 61) - 1
            at = start + place % size if size else 0
            if tail <= place < head and ring[at + 8 : at + 16] == low.to_bytes(8, sys.byteorder) and position:
                found.add(position)
        return found


def record(owner: bytes, kind: int, data: bytes, ttl: bytes) -> bytes:
    """A record of class IN."""
    return owner + kind.to_bytes(2, "big") + b"\0\1" + ttl + len(data).to_bytes(2, "big") + data
