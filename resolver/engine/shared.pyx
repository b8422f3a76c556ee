# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""What the engine's threads share with each other and with the event loop: tables, a route, a ring each, and the end.

Rules:
- A thread says which tables and which route it uses (a Side); a swap releases what nobody names. No counter is shared.
- A ring is a thread's own, bounded by its octets: a loop that is blocked costs memory that is known.
- Memory that holds packets is in no dump.
"""

import mmap
import os

from resolver.core.exchange import Route

from libc.errno cimport errno
from libc.string cimport memcpy

from resolver.engine.linux cimport (
    CLOCK_MONOTONIC, EFD_CLOEXEC, EFD_NONBLOCK, clock_gettime, close, eventfd, eventfd_write, load_number, load_pointer,
    store_number, store_pointer, timespec,
)

cdef enum:
    RING_OCTETS = 1048576


cdef struct Record:
    # A query in the ring, followed by its packet and the reply that came. octets: of all; 0: the rest of the ring is
    # left out. server: which was asked already, at sent_ms; -1: none.
    uint32_t octets
    uint32_t size
    uint32_t reply_size
    int server
    uint64_t taken_ms
    uint64_t sent_ms
    Origin origin
    uint8_t client[16]
    int outcome
    int found


cdef unsigned char *memory_of(object held, Py_ssize_t octets) except NULL:
    """Return zeroed memory of its own that no dump shows; `held` keeps it alive."""
    cdef unsigned char[::1] view
    one = mmap.mmap(-1, octets)
    one.madvise(mmap.MADV_DONTDUMP)
    view = one
    held.append(view)
    return &view[0]


cdef uint64_t now_us() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <uint64_t>at.tv_sec * 1000000 + <uint64_t>at.tv_nsec // 1000


cdef void use(void **source, void **using) noexcept nogil:
    """Take what is in force now, and say so: what is in `using` is not released."""
    cdef void *found = load_pointer(source)
    while True:
        store_pointer(using, found)
        # That it is still in force shows that it was not released before.
        if load_pointer(source) == found:
            return
        found = load_pointer(source)


cdef class Shared:
    """What all threads share. servers: the addresses of the upstreams (relay.address_of). bounds_us: upper bounds of
    the buckets of answers by duration. bell: rung when a ring holds something; end_bell: when `ended` is set."""

    def __dealloc__(self):
        # They are 0 before they are opened.
        if self.bell > 0:
            close(self.bell)
        if self.end_bell > 0:
            close(self.end_bell)

    def __init__(self, tables, servers=(), bounds_us=()):
        self.servers = tuple(servers)
        self.bounds_us = tuple(bounds_us)
        self._current = tables
        self._tables = <void *>tables
        self._current_route = Route()
        self._route = <void *>self._current_route
        self._old = []
        self._sides = []
        self.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        self.end_bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.bell < 0 or self.end_bell < 0:
            raise OSError(errno, os.strerror(errno))

    def use(self, tables):
        """Put tables in force from each thread's next batch on."""
        self._old.append(self._current)
        self._current = tables
        store_pointer(&self._tables, <void *>tables)
        self.release()

    def use_route(self, route):
        """Let each thread forward by this route from its next batch on."""
        self._old.append(self._current_route)
        self._current_route = route
        store_pointer(&self._route, <void *>route)
        self.release()

    def release(self):
        """Release what is old and no thread uses any more; return whether one still does."""
        cdef Side one
        used = set()
        for one in self._sides:
            used.add(<Py_ssize_t>load_pointer(&one.tables))
            used.add(<Py_ssize_t>load_pointer(&one.route))
        self._old = [held for held in self._old if <Py_ssize_t><void *>held in used]
        return bool(self._old)

    def end(self):
        """Let every thread end after its batch."""
        store_number(&self.ended, 1)
        eventfd_write(self.end_bell, 1)

    def close(self):
        """Close the bell and the end, once no thread runs; again nothing happens."""
        for fd in (self.bell, self.end_bell):
            if fd >= 0:
                os.close(fd)
        self.bell = self.end_bell = -1


cdef class Side:
    """A thread's side of what is shared: the tables and the route that it uses now, and its ring to the event loop."""

    def __init__(self, Shared shared):
        self._shared = shared
        self._held = []
        self._ring = memory_of(self._held, RING_OCTETS)
        shared._sides.append(self)

    def left(self, int most):
        """Return up to `most` queries that wait in the ring, each as packet, client, outcome, found, the milliseconds
        it has waited, the origin for `send`, and None, or which server was asked already, how many milliseconds ago,
        and what it answered, perhaps nothing. Of an answer that came late the packet is empty and the client the key of
        its question."""
        cdef Record *record
        cdef unsigned char *packet
        cdef uint64_t at = self._taken, end = load_number(&self._put), now = now_us() // 1000
        found = []
        while at != end and len(found) < most:
            record = <Record *>(self._ring + at % RING_OCTETS)
            if record.octets == 0:
                at += RING_OCTETS - at % RING_OCTETS
                continue
            packet = <unsigned char *>record + sizeof(Record)
            handed = None
            if record.server >= 0:
                reply = packet[record.size:record.size + record.reply_size]
                handed = (record.server, now - record.sent_ms if now > record.sent_ms else 0, reply)
            found.append((
                packet[:record.size],
                record.client[:16],
                record.outcome,
                record.found,
                now - record.taken_ms if now > record.taken_ms else 0,
                (<unsigned char *>&record.origin)[:sizeof(Origin)],
                handed,
            ))
            at += record.octets
        store_number(&self._taken, at)
        return found

    cdef void use_tables(self) noexcept nogil:
        use(&self._shared._tables, &self.tables)

    cdef void use_route(self) noexcept nogil:
        use(&self._shared._route, &self.route)

    cdef void use_none(self) noexcept nogil:
        store_pointer(&self.tables, NULL)
        store_pointer(&self.route, NULL)

    cdef bint put(
        self, unsigned char *packet, uint64_t size, unsigned char *client, Origin *origin, uint64_t taken_ms,
        int outcome, int found, Handed *handed,
    ) noexcept nogil:
        """Put a query into the ring; return whether there was room."""
        cdef uint64_t taken = load_number(&self._taken), at = self._put % RING_OCTETS, skipped = 0
        cdef uint64_t octets = (sizeof(Record) + size + handed.reply_size + 7) & ~<uint64_t>7
        cdef Record *record
        if at + octets > RING_OCTETS:
            skipped = RING_OCTETS - at
        if self._put + skipped + octets - taken > RING_OCTETS:
            return False
        if skipped:
            (<Record *>(self._ring + at)).octets = 0
            at = 0
        record = <Record *>(self._ring + at)
        record.octets = octets
        record.size = size
        record.reply_size = handed.reply_size
        record.server = handed.server
        record.sent_ms = handed.sent_ms
        record.taken_ms = taken_ms
        record.outcome = outcome
        record.found = found
        record.origin = origin[0]
        memcpy(record.client, client, 16)
        memcpy(<unsigned char *>record + sizeof(Record), packet, size)
        memcpy(<unsigned char *>record + sizeof(Record) + size, handed.reply, handed.reply_size)
        store_number(&self._put, self._put + skipped + octets)
        self._rings = True
        return True

    cdef void ring_the_bell(self) noexcept nogil:
        """Ring the bell if something was put into the ring."""
        if self._rings:
            self._rings = False
            eventfd_write(self._shared.bell, 1)
