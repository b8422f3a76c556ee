from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from resolver.core.exchange cimport Route
from resolver.core.judgement cimport Judgement
from resolver.core.lane cimport Seat
from resolver.core.octets cimport Layout
from resolver.core.question cimport Question
from resolver.core.shares cimport Shares
from resolver.engine.linux cimport iovec, mmsghdr, sockaddr_in6
from resolver.engine.shared cimport Handed, Origin

cdef enum:
    NOBODY = -1
    RELAY_BATCH = 64
    SERVERS = 16
    POOL = 128
    LINES = 4096
    ENTRIES = 4096
    WAITERS = 8192
    CHAINS = 8192
    PACKET_MOST = 512
    REPLY_OCTETS = 4160
    SENT_OCTETS = 320
    CHANCE = 4096
    BUCKETS = 24
    RECENT = 64

cdef struct Waiter:
    # A query that waits. slot: of its share. next: of those that wait for the same exchange, or are free.
    Origin origin
    uint64_t taken_ms
    int32_t next
    int32_t slot
    uint16_t size
    uint8_t client[16]
    uint8_t packet[PACKET_MOST]

cdef struct Entry:
    # A question in flight. by_key, by_id: the next of its chains. before, after: its neighbours in its queue.
    # first, last, waiters: who waits. size: where its question ends. left: nobody waits any more, Python has them.
    # over: its answer has come and is Python's, late or not; reply_octets: of it, in `asked`, if there is room.
    uint64_t low
    uint64_t high
    uint64_t sent_us
    uint64_t until_ms
    int32_t by_key
    int32_t by_id
    int32_t before
    int32_t after
    int32_t first
    int32_t last
    int32_t waiters
    int32_t line
    uint16_t identity
    uint16_t sent_octets
    uint16_t size
    uint16_t reply_octets
    bint exact
    bint left
    bint over

cdef struct Line:
    # A socket towards a server. fd: -1 when closed. slot: its place among those of its server, unless it is retired.
    # known: the entries that name it. room: the queries it may take yet.
    int fd
    int server
    int slot
    int32_t known
    int32_t room
    int32_t strange
    int32_t next
    bint retired
    uint64_t until_ms

cdef struct Figures:
    # What became of the queries to a server. recent: the last round trips, in microseconds; the next place is answered.
    uint64_t asked
    uint64_t answered
    uint64_t handed
    uint64_t strange
    uint64_t trailing
    uint64_t sum_us
    uint64_t buckets[BUCKETS]
    uint64_t recent[RECENT]

cdef class Octets:
    # A part of a larger memory. A view in an object is handed on without a reference, which a slice would count.
    cdef unsigned char[::1] octets

cdef class Relay:
    cdef unsigned char[::1] replies
    cdef unsigned char[::1] asked
    cdef Judgement judgement
    cdef bint clean
    cdef bint ending
    cdef readonly int waiting
    cdef unsigned char[::1] sent
    cdef unsigned char[::1] _chance
    cdef int _chance_at
    cdef list _held
    cdef list _parts
    cdef void *_reply_views[RELAY_BATCH]
    cdef void *_sents[ENTRIES]
    cdef Shares _shares
    cdef Question _question
    cdef int _epoll
    cdef uint32_t _first
    cdef int _servers
    cdef sockaddr_in6 _addresses[SERVERS]
    cdef Figures _figures[SERVERS]
    cdef int _outstanding[SERVERS]
    cdef int32_t _lines_of[SERVERS][POOL]
    cdef uint64_t _bounds_us[BUCKETS]
    cdef int _buckets
    cdef Line *_lines
    cdef Entry *_entries
    cdef Waiter *_waiters
    cdef int32_t *_by_key
    cdef int32_t *_by_id
    cdef int32_t _free_line
    cdef int32_t _free_entry
    cdef int32_t _free_waiter
    cdef int32_t _head[2]
    cdef int32_t _tail[2]
    # The batch of queries that goes out by one line.
    cdef int _line
    cdef uint64_t _patience_ms
    cdef int _made
    cdef int32_t _batch[RELAY_BATCH]
    cdef mmsghdr _queries[RELAY_BATCH]
    cdef iovec _query_parts[RELAY_BATCH]
    # The batch of replies in hand.
    cdef int _from
    cdef int _at
    cdef int _came
    cdef uint64_t _came_us
    cdef mmsghdr _received[RELAY_BATCH]
    cdef iovec _reply_parts[RELAY_BATCH]

    cdef bint take(
        self, Route route, Seat seat, uint8_t *packet, Origin *origin, uint64_t now_us
    ) except -1 nogil
    cdef void send(self) noexcept nogil
    cdef void receive(self, int line, uint64_t now_us) noexcept nogil
    cdef int answered(self) except -2 nogil
    cdef int drop_waiter(self, int entry) except -1 nogil
    cdef int due(self, uint64_t now_ms) noexcept nogil
    cdef void hand_over(self, int entry) noexcept nogil
    cdef void describe(self, int entry, Handed *handed) noexcept nogil
    cdef void leave(self, int entry, uint64_t timeout_ms, uint64_t now_ms) noexcept nogil
    cdef void forget(self, int entry) noexcept nogil
    cdef int wait_ms(self, uint64_t now_ms) noexcept nogil

    cdef Figures *_figures_of(self, int server) except NULL
    cdef int _add(
        self, int entry, int slot, Seat seat, uint8_t *packet, Origin *origin, uint64_t now_us
    ) except -1 nogil
    cdef int _ask(self, Route route, Seat seat, uint64_t now_us) except -2 nogil
    cdef int _matched(self, int i) except -2 nogil
    cdef bint _choose(self, Route route, uint64_t now_ms) noexcept nogil
    cdef int _line_of(self, int server, int pool, uint64_t now_ms) noexcept nogil
    cdef int _opened(self, int server, uint64_t now_ms) noexcept nogil
    cdef void _close(self, int line) noexcept nogil
    cdef void _suspect(self, int line) noexcept nogil
    cdef void _hint(self, int line, int until) noexcept nogil
    cdef int _draw(self) noexcept nogil
    cdef Py_ssize_t _drawn(self, Py_ssize_t octets) noexcept nogil
    cdef int _of_id(self, int line, int identity) noexcept nogil
    cdef int _of_key(self, uint64_t low, uint64_t high) noexcept nogil
    cdef void _unchain(self, int entry) noexcept nogil
    cdef void _put(self, int queue, int entry, bint first) noexcept nogil
    cdef void _take_out(self, int queue, int entry) noexcept nogil
    cdef void _let_go(self, int line) noexcept nogil
