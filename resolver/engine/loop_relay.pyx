# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Forwards what the event loop's batches miss, as a thread of engine.udp does for its own (engine.relay has the rules).

Rules:
- It is the loop's alone: it takes the loop's lane, and is called from no other thread.
- The loop waits for `descriptor`, which is readable while an answer has come, and calls `receive`; it calls `due` once
  `wait_ms` has passed. What `due` returns is Python's from then on.
- A query is known by its connection and its number there, an answer is the frame for it (core.edge_batch.framed). What
  has become of a connection is not known here: the answer of one that has gone is returned all the same.
- An answer is kept once, then given to each who waits, by the tables of then.
- An exception in core costs an answer its place in the cache, or the query at which it happens SERVFAIL.
"""

import os

from resolver.core import codes, relayed
from resolver.core.lane import MAX_OCTETS
from resolver.engine import relay

from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from resolver.core.edge_batch cimport EdgeBatch, framed
from resolver.core.exchange cimport Route
from resolver.core.lane cimport Lane, Seat, Tables
from resolver.core.octets cimport Layout
from resolver.core.relayed cimport give, keep
from resolver.engine.linux cimport EPOLL_CLOEXEC, close, epoll_create1, epoll_event, epoll_wait
from resolver.engine.relay cimport NOBODY, PACKET_MOST, SENT_OCTETS, Entry, Relay, Waiter
from resolver.engine.shared cimport Handed, Origin, memory_of, now_us

cdef enum:
    SOCKETS_A_TURN = 16

cdef int _REPLY = codes.OUTCOME_REPLY
cdef int _SILENT = codes.OUTCOME_SILENT
cdef int _FORWARD = codes.OUTCOME_FORWARD


cdef struct Asked:
    # What is known of a query, without its packet and its client; it takes the room of an Origin's control message.
    uint64_t connection
    uint32_t number
    int transport


cdef class LoopRelay:
    """The relay of the event loop.

    lane: the loop's own. servers, bounds_us: those of engine.relay.Relay. properties: least, most and keepalive_ds
    (core.lane.Seat) of each transport, in the order of core.codes.TRANSPORTS.
    """

    cdef readonly Relay relay
    cdef readonly int descriptor
    cdef Lane _lane
    cdef Route _route
    cdef Seat _seat
    cdef const int[::1] _properties
    cdef list _held
    cdef unsigned char *_packet
    cdef unsigned char *_client
    cdef object _packet_view
    cdef object _client_view

    def __dealloc__(self):
        # It is 0 before it is opened.
        if self.descriptor > 0:
            close(self.descriptor)

    def __init__(self, Lane lane, servers, bounds_us, properties):
        self._lane = lane
        self._route = Route()
        self._seat = Seat(memoryview(bytearray(MAX_OCTETS)))
        self._properties = properties
        self._held = []
        self._packet = memory_of(self._held, PACKET_MOST)
        self._client = memory_of(self._held, 16)
        self._packet_view = <unsigned char[:PACKET_MOST]>self._packet
        self._client_view = <unsigned char[:16]>self._client
        self.descriptor = epoll_create1(EPOLL_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(errno, os.strerror(errno))
        self.relay = relay.Relay(servers, bounds_us, self.descriptor, 0)

    @property
    def waiting(self):
        """The number of queries that wait for an upstream here."""
        return self.relay.waiting

    def use_route(self, Route route not None):
        """Forward by this route from now on."""
        self._route = route

    def take(self, EdgeBatch batch, uint64_t connection):
        """Forward what a batch in the lane has missed; return the seats that are left to the caller.

        Those have no final outcome, or are to be fetched again.
        """
        cdef int i
        cdef Seat seat
        cdef Origin origin
        cdef Asked *asked = <Asked *>origin.control
        cdef uint64_t now = now_us()
        left = []
        asked.connection = connection
        origin.place = origin.control_octets = 0
        for i in range(batch.count):
            seat = <Seat>self._lane.seats[i]
            if seat.outcome == _FORWARD:
                asked.number = batch.numbers[i]
                asked.transport = seat.transport
                if self._takes(seat, &origin, now):
                    continue
            elif (seat.outcome == _REPLY or seat.outcome == _SILENT) and not seat.refresh:
                continue
            left.append(i)
        self.relay.send()
        return left

    cdef bint _takes(self, Seat seat, Origin *origin, uint64_t now):
        try:
            return self.relay.take(self._route, seat, <unsigned char *>&seat.packet[0], origin, now)
        except Exception:  # noqa: BLE001 - Python goes on with it
            self._lane.errors += 1
            return False

    def receive(self, Tables tables not None):
        """Return the answers that have come, of some of the sockets: each as connection and frame, in no order."""
        cdef epoll_event events[SOCKETS_A_TURN]
        cdef int i, ready = epoll_wait(self.descriptor, events, SOCKETS_A_TURN, 0), entry
        cdef uint64_t now
        frames = []
        for i in range(ready):
            now = now_us()
            self.relay.receive(events[i].data.u32, now)
            entry = self.relay.answered()
            while entry != NOBODY:
                if self.relay.clean:
                    self._give(tables, entry, now // 1000, frames)
                else:
                    self.relay.hand_over(entry)
                entry = self.relay.answered()
        return frames

    cdef int _give(self, Tables tables, int entry, uint64_t now_ms, list frames) except -1:
        """Keep an answer, and add the frames of all who wait for it. Returns 0."""
        cdef Entry *one = &self.relay._entries[entry]
        cdef Py_ssize_t at = entry * SENT_OCTETS
        cdef Asked *asked
        cdef bint kept = False
        while one.first != NOBODY:
            asked = self._sit(&self.relay._waiters[one.first])
            if not kept:
                kept = True
                try:
                    keep(
                        tables, self._lane, self.relay.judgement, self.relay.sent[at + 12:at + one.size], one.low,
                        one.high, self._seat.client, now_ms,
                    )
                except Exception:  # noqa: BLE001 - what cannot be kept is given all the same
                    self._lane.errors += 1
            try:
                give(tables, self._lane, self._seat, self.relay.judgement, one.low, one.high, now_ms)
            except Exception:  # noqa: BLE001 - nobody is left to ask
                relayed.give_failed(self._lane, self._seat)
            frames.append((asked.connection, framed(self._seat, asked.number)))
            self.relay.drop_waiter(entry)
        self.relay.forget(entry)
        return 0

    cdef Asked *_sit(self, Waiter *one) except NULL:
        """Give the seat to a query that waited; return what is known of it."""
        cdef Asked *asked = <Asked *>one.origin.control
        cdef int at = 3 * asked.transport
        memcpy(self._packet, one.packet, one.size)
        memcpy(self._client, one.client, 16)
        self._seat.sit(
            self._packet_view, self._client_view, asked.transport, self._properties[at], self._properties[at + 1],
            self._properties[at + 2],
        )
        self._seat.size = one.size
        return asked

    def wait_ms(self):
        """Return after how many milliseconds something is due, 0 if it is now, -1 if nothing will be."""
        return self.relay.wait_ms(now_us() // 1000)

    def due(self, int most):
        """Return up to `most` queries that Python goes on with, each as connection, number, packet, client, transport, and
        which server was asked, how many milliseconds ago, and what it answered, perhaps nothing. Of an answer that came
        late the packet is empty and the client the key of its question."""
        cdef uint64_t now = now_us() // 1000
        cdef int entry = self.relay.due(now)
        cdef Entry *one
        cdef Waiter *waiter
        cdef Asked *asked
        cdef Handed handed
        found = []
        while entry != NOBODY and len(found) < most:
            one = &self.relay._entries[entry]
            self.relay.describe(entry, &handed)
            done = handed.server, now - handed.sent_ms if now > handed.sent_ms else 0, handed.reply[:handed.reply_size]
            if one.first != NOBODY:
                waiter = &self.relay._waiters[one.first]
                asked = <Asked *>waiter.origin.control
                packet, client = waiter.packet[:waiter.size], waiter.client[:16]
                found.append((asked.connection, asked.number, packet, client, asked.transport, done))
                self.relay.drop_waiter(entry)
            elif one.left:
                found.append((0, 0, b"", (<unsigned char *>&one.low)[:16], 0, done))
                self.relay.forget(entry)
            if one.first == NOBODY and not one.left:
                self.relay.leave(entry, self._route.timeout_ms, now)
            entry = self.relay.due(now)
        return found

    def close(self):
        """Close all sockets; again nothing happens."""
        if self.descriptor > 0:
            os.close(self.descriptor)
            self.relay.close()
        self.descriptor = -1
