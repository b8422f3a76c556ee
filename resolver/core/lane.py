# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""What the steps of a query (core.steps) work on: the tables in force, the seat of one query, and a thread's lane.

Rules:
- Tables are replaced whole and never changed; the memory in them (store, shares, tally, sketch) is carried from one to
  the next. A thread takes them once a batch.
- A lane is one thread's: its counters, and whatever a step needs room for. A seat is one query's, and is used again.
- A seat's packet, client and `out` belong to the caller who fills it.
"""

import cython

from .codes import OUTCOME_SILENT, UDP
from .cookie import Cookies
from .judgement import Judgement, Room
from .policy import Verdict
from .question import Question
from .scratch import Scratch
from .store import LARGEST_RECORD, Kept

BATCH = 64
MAX_OCTETS = 65535
CLIENT_OCTETS = 16
FAILED_OCTETS = 12 + 255 + 4
OPTION_OCTETS = 6

_UDP = UDP
_NOBODY = memoryview(bytes(CLIENT_OCTETS))
_NO_PACKET = memoryview(bytes(1))


class Tables:
    """What judges and answers queries now.

    complete: whether every configured list is in force; until then a name that no list blocks gets SERVFAIL. zones: the
    local zones. own: the addresses (16 octets) from which this host asks its own sockets: a query from them for a
    synthetic name is answered even if the ACL excludes them, and is judged by every list. store: kept answers; shares:
    what each client prefix has written there; tally: attempts; asked: the sketch of what clients ask. rotate: whether
    the addresses of a kept answer are rotated as it is given. cookies: the secrets of cookies, None for none.
    """

    def __init__(
        self, generation, access, complete, zones, own=(), *, store, shares, tally, asked, rotate=True, cookies=None
    ):
        self.generation = generation
        self.access = access
        self.complete = complete
        self.zones = zones
        self.own = memoryview(b"".join(sorted(own)) or bytes(1))
        self.store = store
        self.shares = shares
        self.tally = tally
        self.asked = asked
        self.rotate = rotate
        self.cookies = cookies or Cookies()

    def replaced(self, **changes):
        """Return tables with these fields changed; `own` stays."""
        octets = bytes(self.own)
        fields = {
            "generation": self.generation,
            "access": self.access,
            "complete": self.complete,
            "zones": self.zones,
            "own": [octets[at : at + CLIENT_OCTETS] for at in range(0, len(octets) - 1, CLIENT_OCTETS)],
            "store": self.store,
            "shares": self.shares,
            "tally": self.tally,
            "asked": self.asked,
            "rotate": self.rotate,
            "cookies": self.cookies,
        }
        return Tables(**(fields | changes))


class Seat:
    """One query: what came, what is known of it so far, and its answer. out: the room for the answer.

    packet[:size]: the query. client: 16 octets. transport: index in TRANSPORTS of core.codes; stream: whether it has a
    handshake, which has proven the client; proven: whether that or a good cookie has. cookie: COOKIE_* of core.codes.
    least, most: the bounds of an answer's size. keepalive_ds: the idle timeout to state, in tenths of a second; -1 for
    none.
    problem, admitted: the results of core.question and core.admit. scope: the lists that judge the client, a bit each.
    limit: the largest answer that the client takes. who_low, who_high: the digest of its prefix. low, high: the key of
    its answer. tag: of the attempt that it may be (core.tally). found: of FORWARD, whether a stale answer is kept
    (core.store); of ASK, `admitted`, -1 after an error.
    stage: what is next (core.steps). outcome, reason: OUTCOME_* and END_* of core.codes. length: octets in `out`. slot:
    the list that blocked. refresh: the answer given is asked for so often that it is worth fetching again. resumed:
    another thread has admitted and counted it.
    """

    def __init__(self, out):
        self.question = Question()
        self.verdict = Verdict()
        self.packet = _NO_PACKET
        self.size = 0
        self.client = _NOBODY
        self.transport = 0
        self.stream = 0
        self.proven = 0
        self.cookie = 0
        self.least = 0
        self.most = 0
        self.keepalive_ds = -1
        self.problem = 0
        self.admitted = 0
        self.scope = 0
        self.limit = 0
        self.who_low = 0
        self.who_high = 0
        self.low = 0
        self.high = 0
        self.tag = 0
        self.found = 0
        self.out = out
        self.length = 0
        self.stage = 0
        self.outcome = OUTCOME_SILENT
        self.reason = 0
        self.slot = -1
        self.refresh = 0
        self.resumed = 0

    def sit(self, packet, client, transport, least, most, keepalive_ds):
        """Take a query. Returns 0."""
        self.packet = packet
        self.size = len(packet)
        self.client = client
        self.transport = transport
        self.stream = transport != _UDP
        self.least = least
        self.most = most
        self.keepalive_ds = keepalive_ds
        return 0

    def answer(self):
        """Return a copy of the answer, None for silence."""
        if self.length == 0:
            return None
        if not cython.compiled:
            return bytes(self.out[: self.length])
        else:  # noqa: RET505 - compiled, only this one is left
            return cython.cast(cython.p_char, cython.address(self.out[0]))[: self.length]


class Lane:
    """One thread's counters (the table of core.codes) and room. outs: where its seats write answers, BATCH at most.

    shape: the numbers for a crash report (core.crash_shape). errors: the steps that failed since the start. looking:
    an operator looks on: no hit is marked, nothing is kept, and what was blocked is not shown (query.trace). stage, at:
    where a batch is, and at which seat. lent: the answer given was kept for another form.
    """

    def __init__(self, counters, shape, outs=(), *, looking=False):
        self.counters = counters
        self.shape = shape
        self.looking = looking
        self.errors = 0
        self.stage = 0
        self.at = 0
        self.lent = 0
        self.scratch = Scratch()
        self.kept = Kept()
        self.other = Kept()
        self.written = Kept()
        self.replaced = Kept()
        self.record = memoryview(bytearray(LARGEST_RECORD))
        self.other_record = memoryview(bytearray(LARGEST_RECORD))
        self.plain = memoryview(bytearray(MAX_OCTETS + 1))
        self.room = Room()
        self.judgement = Judgement()
        self.question = Question()
        self.failed = memoryview(bytearray(FAILED_OCTETS))
        self.option = memoryview(bytearray(OPTION_OCTETS))
        self.held = [Seat(out) for out in outs]
        if len(self.held) > BATCH:
            raise ValueError("outs: too many")
        if not cython.compiled:
            self.seats = self.held
        else:
            for number, seat in enumerate(self.held):
                self.seats[number] = cython.cast(cython.p_void, seat)

    def seat(self, number):
        """Return one of the seats."""
        return self.held[number]
