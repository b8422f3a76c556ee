"""The steps of a query by either build of the core, without a loop: what the tests of core.steps and of counting ask.

Rules:
- Tables are made as for the compiled build (tests.unit.query.parts) and copied into the build that is asked.
- An upstream is a function; its answer is there at once, is kept, and given.
"""

from array import array
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import dns.message

from resolver.core import codes
from resolver.query.transport import Transport
from tests.unit.query.parts import CLIENT, KEY, Reply

Core = Callable[[str], ModuleType]
Asked = tuple[bytes, bytes, Transport]
OUT_OCTETS = 65536
EPOCH_MS = memoryview((1_700_000_000_000).to_bytes(8, "little")).cast("Q")


def access_of(core: Core, one: Any) -> Any:
    """The same ACL, limits and scopes in this build, with buckets of its own."""

    def part(slot: int, which: int) -> bytes:
        at = 4 * slot + 2 * which
        return bytes(one.ranges)[one.bounds[at] : one.bounds[at + 1]]

    def ranges(view: Any) -> bytes:
        return bytes(view) if len(view) > 1 else b""

    slots = range(codes.MAX_LISTS)
    return core("admit").Access(
        ranges(one.allow),
        ranges(one.unlimited),
        [part(slot, 0) for slot in slots],
        [part(slot, 1) for slot in slots],
        rate=one.rate,
        memory=bytearray(8 * len(one.buckets)),
        key=bytes(one.key),
        budget=one.budget,
    )


def generation_of(core: Core, one: Any) -> Any:
    """The same lists in this build."""
    members = [
        core("policy").Member(
            member.words, member.replies, slot=member.slot, release=member.release, approved=member.approved
        )
        for member in one.members
    ]
    return core("policy").Generation(one.number, KEY, members)


class Seats:
    """Tables, a lane with its seats and an upstream, of one build. now: the clock, in seconds. secrets: of cookies."""

    def __init__(
        self,
        core: Core,
        in_force: Any,
        reply: Reply | None = None,
        *,
        stale_s: int = 0,
        tally_octets: int = 2**14,
        octets: int = 2**18,
        looking: bool = False,
        secrets: Sequence[bytes] = (),
    ) -> None:
        self.core = core
        self.secrets = secrets
        self.now = 1000.0
        self.reply = reply
        self.upstream: list[bytes] = []
        self.counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        self.memory = bytearray(octets), bytearray(core("tally").TABLES * tally_octets), bytearray(2**16)
        self.store = core("store").Store(self.memory[0], KEY, stale_s)
        self.tally = core("tally").Tally(self.memory[1], KEY)
        self.asked = core("sketch").Sketch(self.memory[2], KEY)
        self.shares = core("shares").Shares(bytearray(core("cache").SHARES_OCTETS), KEY)
        self.numbers = memoryview(bytearray(64)).cast("q")
        outs = [memoryview(bytearray(OUT_OCTETS)) for _ in range(core("lane").BATCH)]
        shape = core("crash_shape").Shape(self.numbers)
        self.lane = core("lane").Lane(memoryview(self.counters), shape, outs, looking=looking)
        self.swap(in_force)

    def swap(self, in_force: Any) -> None:
        """Put other tables in force."""
        self.tables = self.core("lane").Tables(
            generation_of(self.core, in_force.generation),
            access_of(self.core, in_force.access),
            in_force.complete,
            self.core("local_zones").Zones(),
            (),
            store=self.store,
            shares=self.shares,
            tally=self.tally,
            asked=self.asked,
            rotate=in_force.rotate,
            cookies=self.core("cookie").Cookies(self.secrets, EPOCH_MS),
        )

    @property
    def now_ms(self) -> int:
        """The clock as the steps have it."""
        return int(self.now * 1000)

    def seated(self, number: int, packet: bytes, client: bytes = CLIENT, over: Transport = Transport.UDP) -> Any:
        """A seat with a query in it."""
        seat = self.lane.seat(number)
        seat.sit(packet, client, over.number, over.least, over.most, over.keepalive_ds)
        return seat

    def send(self, packet: bytes, client: bytes = CLIENT, over: Transport = Transport.UDP) -> bytes | None:
        """The answer to these octets, by an upstream if it has to be asked."""
        seat = self.seated(0, packet, client, over)
        if self.core("steps").take(self.tables, self.lane, seat, self.now_ms) == codes.OUTCOME_FORWARD:
            self.forward(seat, packet, client)
        elif seat.outcome == codes.OUTCOME_ASK:
            self.core("steps").unasked(self.lane, seat)
        answer: bytes | None = seat.answer()
        return answer

    def ask(self, query: dns.message.Message, client: bytes = CLIENT) -> dns.message.Message:
        """The answer to a query; there must be one, and no step may have failed."""
        octets = self.send(query.to_wire(), client)
        assert octets is not None
        assert self.lane.errors == 0
        return dns.message.from_wire(octets)

    def forward(self, seat: Any, packet: bytes, client: bytes) -> None:
        """Ask the upstream, keep what it says, and give it."""
        assert self.reply
        steps, question = self.core("steps"), seat.question
        sent = self.written(packet, question)
        self.upstream.append(sent)
        said = self.reply(dns.message.from_wire(sent))
        octets = said if isinstance(said, bytes) else said.to_wire(max_size=65535)
        one = self.core("judgement").Judgement(octets)
        asked = packet[12 : question.end]
        steps.keep(self.tables, self.lane, one, asked, seat.low, seat.high, client, self.now_ms)
        steps.give(self.tables, self.lane, seat, one, self.now_ms)

    def written(self, packet: bytes, question: Any) -> bytes:
        """What is sent to the upstream, with the id 0."""
        out = bytearray(self.core("exchange").QUERY_OCTETS)
        return bytes(out[: self.core("exchange").write(packet, question, 0, out)])

    def batch(self, queries: Sequence[Asked]) -> list[tuple[int, bytes | None]]:
        """Outcome and answer of each, taken together; an error is passed over as the engine does."""
        steps = self.core("steps")
        for number, (packet, client, over) in enumerate(queries):
            self.seated(number, packet, client, over)
        left = True
        while left:
            try:
                steps.take_batch(self.tables, self.lane, len(queries), self.now_ms)
                left = False
            except Exception:  # noqa: BLE001 - whatever is raised
                steps.pass_over(self.lane)
        seats = [self.lane.seat(number) for number in range(len(queries))]
        return [(seat.outcome, seat.answer()) for seat in seats]

    def one_by_one(self, queries: Sequence[Asked]) -> list[tuple[int, bytes | None]]:
        """The same, taken one after the other."""
        found = []
        for number, (packet, client, over) in enumerate(queries):
            seat = self.seated(number, packet, client, over)
            outcome = self.core("steps").take(self.tables, self.lane, seat, self.now_ms)
            found.append((outcome, seat.answer()))
        return found

    def count(self, metric: str, label: str) -> int:
        """One of the fixed counters."""
        return self.counters[codes.counter(metric, label)]

    def state(self) -> tuple[bytes, ...]:
        """All that queries leave behind: counters, answers, attempts, names asked, shares and buckets."""
        rings = b"".join(bytes(one) for one in (self.store.heads, self.store.tails))
        buckets, shares = bytes(self.tables.access.buckets), bytes(self.shares.slots)
        return (bytes(self.counters), *map(bytes, self.memory), rings, buckets, shares, bytes(self.asked.totals_now))
