# cython: language_level=3, annotation_typing=False
"""The edge's connection to the service: a Unix stream socket for queries and answers (query.edge_frames).

Rules:
- All frames of one turn of the event loop leave in one write, and all that have come are taken in one read. Who posts
  queries has his own end of a turn called after that write (`turned`), and after that read (`given`): a query is
  worth one wake-up of the loop there and one back, and no more callbacks than that.
- If the connection ends, another one is made, after FIRST_PAUSE_S and then ever later, at most after LAST_PAUSE_S. What
  waits for an answer is sent once more. Without another connection within LOST_S it fails; and so does, at once, what
  comes while the service has been away for longer.
- A service that closes the connection at once sends this edge away: it is of another release, or has another account.
  If the same edge was served before, the service has changed under it: after SENT_AWAY in a row `sent_away` is called.
- To a query whose answer does not come within ANSWER_S, or for which there is no room (MOST_WAITING, MOST_OCTETS,
  MOST_LARGE_OCTETS), the edge gives SERVFAIL with EDE 14 itself. Of a DNS message it reads nothing else.
- Nothing here raises OSError, and no log line holds more than the socket's path and the kernel's reason.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from resolver.core import codes, reply
from resolver.core.question import Question, parse
from resolver.query import edge_frames
from resolver.query.edge_frames import answers
from resolver.query.edge_frames import query as framed

FIRST_PAUSE_S: Final = 0.05
LAST_PAUSE_S: Final = 1.0
LOST_S: Final = 2.0
SENT_AWAY: Final = 5
ANSWER_S: Final = 12.0
LOOK_S: Final = 0.25
MOST_WAITING: Final = 4 * edge_frames.MOST_UNANSWERED
MOST_OCTETS: Final = 2**25
"""Octets of all queries that wait, and of what the socket has not taken yet."""
LARGE_OCTETS: Final = 4096
MOST_LARGE_OCTETS: Final = 2**22
"""Octets of all queries that wait and are larger than LARGE_OCTETS, as no stub's are: the room is everybody else's."""
READ_OCTETS: Final = 2**18
MAX_AGE_NONE: Final = edge_frames.MAX_AGE_NONE

_FAILED_OCTETS: Final = 4096
_AGAIN: Final = (errno.EAGAIN, errno.EINTR)
_NOTHING: Final = memoryview(b"")

_log: Final = logging.getLogger("resolver.edge")


class Answered(NamedTuple):
    """A DNS message, b"" if no answer is given, and for how many seconds an HTTP cache may keep it (MAX_AGE_NONE: it
    may not)."""

    message: bytes
    max_age: int


Done = Callable[[bytes, int], None]
"""Takes message and max_age of an answer. It is called once, within `post` or later. An error in it is logged."""


class Failures:
    """Makes the answers of the edge itself: SERVFAIL with EDE 14 (RFC 8914 4.15)."""

    def __init__(self) -> None:
        self._question = Question()
        self._out = memoryview(bytearray(_FAILED_OCTETS))

    def of(self, query: bytes) -> bytes:
        """Return the answer to a query; b"" if there is none to give."""
        parse(query, len(query), self._question)
        if self._question.problem in (codes.SILENT_SHORT, codes.SILENT_RESPONSE):
            return b""
        ede = codes.EDE_NOT_READY
        size = reply.empty(self._out, query, self._question, codes.SERVFAIL, ede, 0, _FAILED_OCTETS)
        return bytes(self._out[:size])


class Link:
    """The connection to the service at the socket `path`. failed: is called for each query that the edge answers.
    sent_away: is called when a service that answered before takes no more of this process.

    turned: are called at the end of each turn that `begin_turn` began. given: are called after answers that came
    together. gives: true while such answers are handed over.
    """

    def __init__(self, path: str, failed: Callable[[], None], sent_away: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._failed = failed
        self._sent_away = sent_away
        self._times_sent_away = 0
        self._served = False
        self._failures = Failures()
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._connected = False
        self._lost_at = self._since = self._loop.time()
        self._answered = self._said = False
        self._pause_s = FIRST_PAUSE_S
        self._number = 0
        self._waiting: dict[int, tuple[Done, bytes, float]] = {}
        self._octets = self._large = 0
        self._lost_once: set[int] = set()
        self._sent_twice: set[int] = set()
        self._out: list[bytes] = []
        self._out_octets = 0
        self._unsent = _NOTHING
        self._unread = bytearray()
        self._into = memoryview(bytearray(READ_OCTETS))
        self._looks: asyncio.TimerHandle | None = None
        self._connects: asyncio.TimerHandle | None = None
        self._report = b""
        self._closed = False
        self._turns = False
        self.gives = False
        self.turned: list[Callable[[], None]] = []
        self.given: list[Callable[[], None]] = []
        self._connect()

    @property
    def connected(self) -> bool:
        """True while the service is there."""
        return self._connected

    @property
    def room(self) -> int:
        """The number of queries that may come so that half of the room is left; what asks in bulk waits for some."""
        return max(0, MOST_WAITING // 2 - len(self._waiting)) if 2 * self._held < MOST_OCTETS else 0

    @property
    def _held(self) -> int:
        """Octets of the queries that wait, or of those that the service has not read, though some have failed since."""
        return max(self._octets, self._out_octets + len(self._unsent))

    @property
    def waiting(self) -> int:
        """The number of queries without an answer."""
        return len(self._waiting)

    def ask(self, message: bytes, client: bytes, transport: int) -> asyncio.Future[Answered]:
        """Hand a query of `client` (16 octets) to the service; the result never is an OSError.

        message: 12 to 65535 octets, else ValueError. transport: index in core.codes.TRANSPORTS.
        """
        future: asyncio.Future[Answered] = self._loop.create_future()

        def done(answer: bytes, max_age: int) -> None:
            if not future.done():  # its caller may have gone
                future.set_result(Answered(answer, max_age))

        self.post(message, client, transport, done)
        return future

    def post(self, message: bytes, client: bytes, transport: int, done: Done) -> None:
        """Do what `ask` does, and call `done` with the answer."""
        number = self._number = (self._number + 1) & 0xFFFFFFFF
        frame = framed(number, transport, client, message)
        now = self._loop.time()
        away = not self._connected and now - self._lost_at > LOST_S
        size = len(frame)
        large = size > LARGE_OCTETS and self._large + size > MOST_LARGE_OCTETS
        if large or away or len(self._waiting) >= MOST_WAITING or self._held >= MOST_OCTETS:
            self._fail(done, message)
            return
        self._waiting[number] = done, frame, now
        self._hold(size)
        if self._looks is None:
            self._looks = self._loop.call_later(LOOK_S, self._look)
        if self._connected:
            self._say(frame)

    def report(self, frame: bytes) -> None:
        """Send a report now, and as the first frame of each later connection until there is another one."""
        self._report = frame
        if self._connected and not self._unsent:
            self._say(frame)

    def _say(self, frame: bytes) -> None:
        self._out.append(frame)
        self._out_octets += len(frame)
        self.begin_turn()

    def begin_turn(self) -> None:
        """Have the turn end, if it does not do so already: what is to be said leaves, then `turned` are called."""
        if not self._turns:
            self._turns = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turns = False
        self._flush()
        _call(self.turned)

    def close(self) -> None:
        """End the connection; what waits fails."""
        self._closed = True
        for timer in (self._looks, self._connects):
            if timer is not None:
                timer.cancel()
        if self._socket is not None:
            self._forget()
        for done, frame, _ in self._take_all():
            self._fail(done, _message_of(frame))

    # The connection.

    def _connect(self) -> None:
        self._connects = None
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            one.connect(self._path)
        except OSError as error:
            one.close()
            self._later(error.strerror or type(error).__name__)
            return
        self._socket = one
        self._connected, self._answered, self._since = True, False, self._loop.time()
        self._sent_twice |= self._lost_once
        self._lost_once.clear()
        self._out = [self._report] if self._report else []
        self._out += [frame for _, frame, _ in self._waiting.values()]
        self._out_octets = sum(map(len, self._out))
        self._loop.add_reader(one.fileno(), self._readable)
        self._flush()

    def _later(self, why: str) -> None:
        """Try again after a pause."""
        if not self._said and self._loop.time() - self._lost_at > LOST_S:
            self._said = True
            _log.error(
                "the service takes no queries at %s (%s): each query gets SERVFAIL until it does; look at its own log",
                self._path,
                why,
            )
        self._connects = self._loop.call_later(self._pause_s, self._connect)
        self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)

    def _lost(self, why: str) -> None:
        """Give the connection up and make another; what two connections had fails."""
        now = self._loop.time()
        self._times_sent_away += 1
        if self._answered or now - self._since > LAST_PAUSE_S:  # a new absence, not the same one as before
            self._lost_at = now
            self._pause_s = FIRST_PAUSE_S
            self._times_sent_away = 0
            self._served = True
        self._forget()
        for number in self._sent_twice & self._waiting.keys():
            done, frame, _ = self._take(number)
            self._fail(done, _message_of(frame))
        self._sent_twice.clear()
        self._lost_once = set(self._waiting)
        self._later(why)
        if self._served and self._times_sent_away == SENT_AWAY:
            self._sent_away()

    def _forget(self) -> None:
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._connected = False
        self._out.clear()
        self._out_octets = 0
        self._unsent = _NOTHING
        self._unread.clear()

    def _flush(self) -> None:
        """Send what there is, in one write."""
        if self._socket is None or self._unsent or not self._out:
            return
        octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._out_octets = 0
        self._send(octets)

    def _send(self, octets: bytes | memoryview) -> None:
        """Send octets; those that the socket does not take are unsent."""
        if self._socket is None:
            return
        try:
            sent = self._socket.send(octets)
        except OSError as error:
            if error.errno not in _AGAIN:
                self._lost(error.strerror or type(error).__name__)
                return
            sent = 0
        if sent < len(octets):
            self._unsent = memoryview(octets)[sent:]
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def _writable(self) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
        octets, self._unsent = self._unsent, _NOTHING
        self._send(octets)
        self._flush()

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            # Room for so much that is made and given back at each read is asked of the kernel each time.
            size = self._socket.recv_into(self._into)
        except OSError as error:
            if error.errno not in _AGAIN:
                self._lost(error.strerror or type(error).__name__)
            return
        if not size:
            self._lost("closed by the service: it takes the account edge.user alone, and edges of its own release")
            return
        self._unread += self._into[:size]
        try:
            found = answers(self._unread)
        except edge_frames.Malformed as error:
            self._times_sent_away = 0  # it is not the service that closes it
            self._lost(str(error))
            return
        if not self._answered:
            self._found()
        waiting = self._waiting
        self.gives = True
        for number, max_age, message in found:
            entry = waiting.pop(number, None)
            if entry is not None:
                self._hold(-len(entry[1]))
                try:
                    entry[0](message, max_age)
                except Exception as error:  # noqa: BLE001 - its text may hold a message; the other answers go on
                    _log.error("an answer was not taken: %s", type(error).__name__)
        self.gives = False
        _call(self.given)

    def _found(self) -> None:
        """Note that the service answers by this connection."""
        self._answered = True
        if self._said:
            self._said = False
            _log.warning("the service takes queries again at %s", self._path)

    # What waits.

    def _look(self) -> None:
        """Fail what has waited too long; the queries are in the order in which they came."""
        self._looks = None
        now = self._loop.time()
        while self._waiting:
            number = next(iter(self._waiting))
            _, _, at = self._waiting[number]
            late = now - at > ANSWER_S if self._connected else now - max(at, self._lost_at) > LOST_S
            if not late:
                break
            done, frame, _ = self._take(number)
            self._fail(done, _message_of(frame))
        if self._waiting and not self._closed:
            self._looks = self._loop.call_later(LOOK_S, self._look)

    def _take(self, number: int) -> tuple[Done, bytes, float]:
        entry = self._waiting.pop(number)
        self._hold(-len(entry[1]))
        return entry

    def _hold(self, octets: int) -> None:
        self._octets += octets
        if abs(octets) > LARGE_OCTETS:
            self._large += octets

    def _take_all(self) -> list[tuple[Done, bytes, float]]:
        return [self._take(number) for number in list(self._waiting)]

    def _fail(self, done: Done, query: bytes) -> None:
        self._failed()
        done(self._failures.of(query), MAX_AGE_NONE)


def _call(ends: list[Callable[[], None]]) -> None:
    for end in ends:
        try:
            end()
        except Exception as error:  # noqa: BLE001 - its text may hold a message; the other ends go on
            _log.error("at the end of a turn: %s", type(error).__name__)


def _message_of(frame: bytes) -> bytes:
    return frame[edge_frames.QUERY_HEAD :]

