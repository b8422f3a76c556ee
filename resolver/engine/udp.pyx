# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Carries UDP queries and answers on threads that never wait for Python; core.steps decides about each.

Rules:
- A thread takes datagrams of one socket in a batch, has core answer them, and sends the answers in a batch. On this way
  it takes no lock of Python's and allocates nothing: a blocked event loop or a held GIL stops no answer.
- What core cannot finish alone (FORWARD, ASK, a refresh) leaves through a bounded ring and a bell (eventfd) to the
  event loop. If the ring is full the query is dropped as overload.
- FORWARD leaves only if engine.relay does not take it. What the relay hands over leaves later, as FORWARD; while the
  ring is full it waits, PATIENCE_MS at most.
- An answer that the relay has got is kept once, then given to each who waits, in a seat of the lane.
- Tables are taken once a batch, and so is the route. Old ones are released when no thread uses them any more.
- A datagram from port 0 is dropped. One from a load balancer must begin with a PROXY header, else it is dropped.
- An answer goes out by the socket of its query, from the address that was asked (`turn_around`).
- The receive buffers take the largest datagram, so no query is judged by a part of it.
- An error of a socket stops nothing. An answer that the kernel does not take is tried once more, since the error may be
  that of an earlier datagram; then it is dropped and counted. If the socket's queue is full, so are those behind it.
- An exception in core costs the query at which it happens its answer by this thread (core.steps.pass_over), no more.
- Buffers lie an odd multiple of 64 octets apart: at 4096 all would share one set of the processor's cache.
- A thread's counters and memory are its own; the loop reads the counters. Memory that holds packets is in no dump.
"""

import os

from resolver.core import codes, crash_shape, lane, proxy, relayed, steps
from resolver.engine import relay
from resolver.engine.shared import Side as OneSide

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from resolver.core.admit cimport is_trusted
from resolver.core.crash_shape cimport Shape
from resolver.core.exchange cimport Route
from resolver.core.lane cimport Lane, Seat, Tables
from resolver.core.octets cimport Layout
from resolver.core.proxy cimport Proxied, read
from resolver.core.relayed cimport give, keep
from resolver.core.steps cimport take_batch
from resolver.engine.linux cimport (
    AF_INET, CMSG_DATA, CMSG_FIRSTHDR, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLEXCLUSIVE, EPOLLIN,
    IPPROTO_IP, MSG_DONTWAIT, MSG_NOSIGNAL, clock_gettime, close, cmsghdr, epoll_create1, epoll_ctl, epoll_event,
    epoll_wait, in6_pktinfo, in_pktinfo, iovec, load_number, mmsghdr, msghdr, pthread_getcpuclockid, pthread_self,
    pthread_setname_np, recvmmsg, sendmmsg, sendmsg, sockaddr_in, sockaddr_in6, store_number, timespec,
)
from resolver.engine.relay cimport NOBODY, SENT_OCTETS, Entry, Relay, Waiter
from resolver.engine.shared cimport CONTROL_OCTETS, Handed, Origin, Shared, Side, memory_of, now_us

cdef enum:
    BATCH = 64
    PLACES = 128
    PACKET_OCTETS = 65600
    ANSWER_OCTETS = 1344
    CONTROL_WORDS = 5
    V4_OCTETS = 16
    V6_OCTETS = 28
    DRAINED_BATCHES = 4096
    RING_FULL_MS = 10
    PATIENCE_MS = 5000
    ENDING_MS = 300
    KEEPS = 1
    GIVES = 2

MOST_PLACES = PLACES

cdef int _REPLY = codes.OUTCOME_REPLY
cdef int _FORWARD = codes.OUTCOME_FORWARD
cdef int _ASK = codes.OUTCOME_ASK
cdef int _PORT_ZERO = codes.counter("packets_dropped_total", "port_zero")
cdef int _PROXY = codes.counter("packets_dropped_total", "proxy")
cdef int _OVERLOAD = codes.counter("packets_dropped_total", "overload")
cdef int _UNSENT = codes.counter("packets_dropped_total", "unsent")


cdef uint32_t octets_of(sockaddr_in6 *peer) noexcept nogil:
    return V4_OCTETS if peer.sin6_family == AF_INET else V6_OCTETS


cdef void turn_around(msghdr *message) noexcept nogil:
    """Turn the control message about a query's destination into the one that sets the answer's source.

    Routing chooses the interface, except for link-local addresses, which need theirs.
    """
    cdef cmsghdr *head = CMSG_FIRSTHDR(message)
    cdef in6_pktinfo *info
    if head == NULL:
        message.msg_controllen = 0
    elif head.cmsg_level == IPPROTO_IP:
        (<in_pktinfo *>CMSG_DATA(head)).ipi_ifindex = 0
    else:
        info = <in6_pktinfo *>CMSG_DATA(head)
        if info.ipi6_addr.s6_addr[0] != 0xFE or info.ipi6_addr.s6_addr[1] & 0xC0 != 0x80:
            info.ipi6_ifindex = 0


cdef class Carrier:
    """What one thread needs: a lane of core, its sockets and buffers, its relay, and its ring to the event loop."""

    cdef readonly Lane lane
    cdef readonly Relay relay
    cdef readonly uint64_t failures
    cdef readonly uint64_t batches
    cdef readonly uint64_t packets
    cdef Shared _shared
    cdef Proxied _proxied
    cdef list _held
    cdef int _number
    cdef int _epoll
    cdef int _clock
    cdef uint64_t _runs
    cdef Side _side
    cdef int _places[PLACES]
    cdef bint _drains[PLACES]
    cdef uint32_t _places_count
    # The batch in hand: its socket, how many datagrams (and how many came), since when core judges it (0: not yet).
    # next: the seat whose outcome is to be seen to, -1 until core has judged; alone: that it is not for the relay.
    cdef uint32_t _at
    cdef int _count
    cdef int _came
    cdef uint64_t _since_us
    cdef int _next
    cdef bint _alone
    # The answer of an upstream in hand: who waits for it (an entry), and what is next for the seat at `_made`.
    cdef int _entry
    cdef int _giving
    cdef int _made
    cdef uint64_t _came_us
    cdef Handed _nobody
    cdef Origin _nowhere
    cdef unsigned char *_packets
    cdef unsigned char *_clients
    cdef mmsghdr _received[BATCH]
    cdef mmsghdr _answers[BATCH]
    cdef iovec _packet_parts[BATCH]
    cdef iovec _answer_parts[BATCH]
    cdef sockaddr_in6 _peers[BATCH]
    cdef uint64_t _controls[BATCH][CONTROL_WORDS]

    def __dealloc__(self):
        # It is 0 before it is opened.
        if self._epoll > 0:
            close(self._epoll)

    def __init__(self, Shared shared, int number, int least, int most):
        """number: of the thread. least, most: the bounds of an answer's size."""
        cdef Py_ssize_t i
        cdef epoll_event event
        self._shared = shared
        self._side = OneSide(shared)
        self._proxied = proxy.Proxied()
        self._held = []
        self._number = number
        self._packets = memory_of(self._held, BATCH * PACKET_OCTETS)
        self._clients = memory_of(self._held, BATCH * 16)
        answers = memory_of(self._held, BATCH * ANSWER_OCTETS)
        outs = [<unsigned char[:ANSWER_OCTETS]>(answers + i * ANSWER_OCTETS) for i in range(BATCH)]
        counters = memoryview(bytearray(8 * codes.COUNTERS_SIZE)).cast("Q")
        # Until it runs; then it has those of its thread.
        shape = crash_shape.Shape(memoryview(bytearray(8 * len(crash_shape.NUMBERS))).cast("q"))
        self.lane = lane.Lane(counters, shape, outs)
        for i in range(BATCH):
            self.lane.seat(i).sit(
                <unsigned char[:PACKET_OCTETS]>(self._packets + i * PACKET_OCTETS),
                <unsigned char[:16]>(self._clients + i * 16), codes.UDP, least, most, -1,
            )
            self._packet_parts[i].iov_base = self._packets + i * PACKET_OCTETS
            self._packet_parts[i].iov_len = PACKET_OCTETS
            self._answer_parts[i].iov_base = answers + i * ANSWER_OCTETS
            self._received[i].msg_hdr.msg_name = &self._peers[i]
            self._received[i].msg_hdr.msg_iov = &self._packet_parts[i]
            self._received[i].msg_hdr.msg_iovlen = 1
            self._received[i].msg_hdr.msg_control = &self._controls[i][0]
        self._came = BATCH
        self._next = self._entry = NOBODY
        self._nobody.server = NOBODY
        self._nobody.reply = self._packets
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(errno, os.strerror(errno))
        self.relay = relay.Relay(shared.servers, shared.bounds_us, self._epoll, PLACES + 1)
        event.events = EPOLLIN
        event.data.u32 = PLACES
        self._watch(shared.end_bell, &event)

    cdef int _watch(self, int fd, epoll_event *event) except -1:
        if epoll_ctl(self._epoll, EPOLL_CTL_ADD, fd, event):
            raise OSError(errno, os.strerror(errno))
        return 0

    def add(self, int fd, bint drains):
        """Answer on one more bound socket; it may be one that other threads read, too.

        drains: at the end, what it still holds is answered: no other thread or process reads it.
        """
        cdef epoll_event event
        if self._places_count == PLACES:
            raise OSError("too many sockets")
        self._places[self._places_count] = fd
        self._drains[self._places_count] = drains
        # Of the threads that wait for one socket the kernel wakes one.
        event.events = EPOLLIN | EPOLLEXCLUSIVE
        event.data.u32 = self._places_count
        self._watch(fd, &event)
        self._places_count += 1

    def run(self, Shape shape):
        """Carry until `Shared.end`, on the thread that calls. shape: its numbers for a crash report."""
        self.lane.shape = shape
        pthread_setname_np(pthread_self(), f"udp-{self._number}".encode())
        pthread_getcpuclockid(pthread_self(), &self._clock)
        store_number(&self._runs, 1)
        while True:
            try:
                with nogil:
                    self._carry()
                break
            except Exception:  # noqa: BLE001 - a damaged table must not end a thread
                if self._giving:
                    self._give_failed()
                elif self._next >= 0:
                    self.failures += 1
                    self._alone = True
                elif self._since_us:
                    steps.pass_over(self.lane)
                else:
                    self.failures += 1
                    self.lane.counters[_PROXY] += self._count
                    self._count = 0
        store_number(&self._runs, 0)

    def busy_ns(self):
        """Return the processor time of the thread so far, in nanoseconds; 0 while it does not run."""
        cdef timespec at
        if not load_number(&self._runs) or clock_gettime(self._clock, &at):
            return 0
        return at.tv_sec * 1000000000 + at.tv_nsec

    def left(self, int most):
        """Return what waits in the ring (Side.left)."""
        return self._side.left(most)

    def send(self, bytes origin, bytes answer):
        """Send the answer to a query that came from `origin`; return whether the kernel took it."""
        cdef Origin to
        cdef msghdr message
        cdef iovec part
        cdef int tries
        memcpy(&to, <const char *>origin, sizeof(Origin))
        memset(&message, 0, sizeof(message))
        part.iov_base = <char *>answer
        part.iov_len = len(answer)
        message.msg_name = &to.peer
        message.msg_namelen = octets_of(&to.peer)
        message.msg_iov = &part
        message.msg_iovlen = 1
        if to.control_octets:
            message.msg_control = to.control
            message.msg_controllen = to.control_octets
        for tries in range(2):
            if sendmsg(self._places[to.place], &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0:
                return True
        return False

    def close(self):
        """Close what is not a socket, once the thread has ended; again nothing happens."""
        if self._epoll >= 0:
            os.close(self._epoll)
            self.relay.close()
        self._epoll = -1

    cdef int _carry(self) except -1 nogil:
        # What an exception has interrupted goes on.
        if self._count:
            self._finish()
        if self._side.tables == NULL:
            self._side.use_tables()
        self._give()
        self._send_given()
        while not load_number(&self._shared.ended):
            self._wait_and_carry(-1)
        return self._drain()

    cdef int _wait_and_carry(self, int most_ms) except -1 nogil:
        """Wait for datagrams, not longer than `most_ms` (-1: for ever); carry a batch of each socket that has some.
        Returns 0."""
        cdef epoll_event events[PLACES + 1]
        cdef int i, ready, wait_ms = self.relay.wait_ms(now_us() // 1000)
        if wait_ms == 0:
            wait_ms = RING_FULL_MS  # What is due and still here found no room in the ring.
        if most_ms >= 0 and (wait_ms < 0 or wait_ms > most_ms):
            wait_ms = most_ms
        ready = epoll_wait(self._epoll, events, PLACES + 1, wait_ms)
        # Answers first, and sent in one call: of many sockets come a few each. What clients ask takes their room.
        for i in range(ready):
            if events[i].data.u32 > PLACES:
                self._carry_back(events[i].data.u32 - PLACES - 1)
        self._send_given()
        for i in range(ready):
            if events[i].data.u32 < PLACES and not load_number(&self._shared.ended):
                self._carry_from(events[i].data.u32)
        return self._hand_over()

    cdef int _carry_back(self, int line) except -1 nogil:
        """Carry a batch of an upstream's answers to those who wait. Returns 0."""
        self._came_us = now_us()
        self.relay.receive(line, self._came_us)
        self._side.use_tables()
        return self._give()

    cdef int _carry_from(self, uint32_t place) except -1 nogil:
        """Carry a batch of a socket; return how many datagrams came."""
        self._at = place
        self._receive()
        self._name_clients()
        self._finish()
        return self._came

    cdef int _drain(self) except -1 nogil:
        """Carry what the sockets hold that nobody else reads, then hand over what upstreams do not answer soon.

        Nothing more comes to the sockets, and no query waits longer than for the ring: the bounds are not reached.
        """
        cdef uint32_t i
        cdef int batches
        cdef uint64_t until_us
        for i in range(self._places_count):
            batches = DRAINED_BATCHES if self._drains[i] else 0
            self._drains[i] = False
            while batches and self._carry_from(i):
                batches -= 1
            epoll_ctl(self._epoll, EPOLL_CTL_DEL, self._places[i], NULL)
        epoll_ctl(self._epoll, EPOLL_CTL_DEL, self._shared.end_bell, NULL)
        until_us = now_us() + ENDING_MS * 1000
        while self.relay.waiting:
            self.relay.ending = now_us() >= until_us
            self._wait_and_carry(RING_FULL_MS)
        return 0

    cdef void _receive(self) noexcept nogil:
        """Take a batch of a socket."""
        cdef int i
        for i in range(self._came):
            self._received[i].msg_hdr.msg_namelen = sizeof(sockaddr_in6)
            self._received[i].msg_hdr.msg_controllen = CONTROL_OCTETS
        # An error is that of an answer sent earlier, or nothing is left: another thread was faster.
        self._came = max(0, recvmmsg(self._places[self._at], self._received, BATCH, MSG_DONTWAIT, NULL))
        self._count = self._came

    cdef int _name_clients(self) except -1 nogil:
        """Take the tables in force, and give each datagram its seat; those that name no client are dropped."""
        cdef int i = 0
        self._side.use_tables()
        self._side.use_route()
        while i < self._count:
            if self._seat(i):
                i += 1
        self.batches += 1
        self.packets += self._count
        self._since_us = now_us()
        return 0

    cdef int _finish(self) except -1 nogil:
        """Have core judge the batch in hand, if there is one, and send it on its ways. Returns 0."""
        if self._count:
            if self._next == NOBODY:
                take_batch(<Tables>self._side.tables, self.lane, self._count, self._since_us // 1000)
                self._next = self._made = 0
            self._answer()
        self._count = 0
        self._since_us = 0
        self._next = NOBODY
        self._side.use_none()
        return 0

    cdef int _seat(self, int i) except -1 nogil:
        """Give datagram `i` its seat. Return 0 if it was dropped, and the last of the batch has taken its place."""
        cdef Py_ssize_t size = self._received[i].msg_len, header = 0
        cdef unsigned char *client = self._clients + 16 * i
        cdef unsigned char *packet = self._packets + PACKET_OCTETS * i
        if self._peers[i].sin6_port == 0:
            self.lane.counters[_PORT_ZERO] += 1
            return self._drop(i)
        if self._peers[i].sin6_family == AF_INET:
            memset(client, 0, 10)
            memset(client + 10, 0xFF, 2)
            memcpy(client + 12, &(<sockaddr_in *>&self._peers[i]).sin_addr, 4)
        else:
            memcpy(client, &self._peers[i].sin6_addr, 16)
        if is_trusted((<Tables>self._side.tables).access, (<Seat>self.lane.seats[i]).client):
            header = read((<Seat>self.lane.seats[i]).packet, size, self._proxied)
            if header <= 0:
                self.lane.counters[_PROXY] += 1
                return self._drop(i)
            size -= header
            memmove(packet, packet + header, size)
            if not self._proxied.local:
                memcpy(client, &self._proxied.client[0], 16)
        (<Seat>self.lane.seats[i]).size = size
        return 1

    cdef int _drop(self, int i) noexcept nogil:
        cdef int last = self._count - 1
        self._count = last
        if i < last:
            memcpy(self._packets + PACKET_OCTETS * i, self._packets + PACKET_OCTETS * last, self._received[last].msg_len)
            self._peers[i] = self._peers[last]
            memcpy(self._controls[i], self._controls[last], CONTROL_OCTETS)
            self._received[i].msg_len = self._received[last].msg_len
            self._received[i].msg_hdr.msg_namelen = self._received[last].msg_hdr.msg_namelen
            self._received[i].msg_hdr.msg_controllen = self._received[last].msg_hdr.msg_controllen
        return 0

    cdef int _answer(self) except -1 nogil:
        """Send what core has answered, forward, and leave the rest to the event loop. Returns 0."""
        cdef int i, outcome
        cdef Origin origin
        while self._next < self._count:
            i = self._next
            outcome = (<Seat>self.lane.seats[i]).outcome
            if self._received[i].msg_hdr.msg_controllen:
                turn_around(&self._received[i].msg_hdr)
            if outcome == _REPLY:
                self._answer_parts[i].iov_len = (<Seat>self.lane.seats[i]).length
                self._answers[self._made].msg_hdr = self._received[i].msg_hdr
                self._answers[self._made].msg_hdr.msg_iov = &self._answer_parts[i]
                self._answers[self._made].msg_hdr.msg_flags = 0
                self._made += 1
            if outcome == _FORWARD or outcome == _ASK or (<Seat>self.lane.seats[i]).refresh:
                origin.place = self._at
                origin.peer = self._peers[i]
                origin.control_octets = self._received[i].msg_hdr.msg_controllen
                memcpy(origin.control, self._controls[i], CONTROL_OCTETS)
                if outcome != _FORWARD or self._alone or not self.relay.take(
                    <Route>self._side.route, <Seat>self.lane.seats[i], self._packets + PACKET_OCTETS * i, &origin,
                    self._since_us,
                ):
                    self._leave(i, outcome, &origin)
            self._alone = False
            self._next += 1
        self.relay.send()
        self._send(self._made)
        self._made = 0
        self._side.ring_the_bell()
        return 0

    cdef int _give(self) except -1 nogil:
        """Keep the answers that the relay has got, and give them to all who wait. Returns 0."""
        cdef Py_ssize_t at
        cdef Entry *entry
        while self._giving or self._sits():
            entry = &self.relay._entries[self._entry]
            if self._giving == KEEPS:
                at = self._entry * SENT_OCTETS
                keep(
                    <Tables>self._side.tables, self.lane, self.relay.judgement, self.relay.sent[at + 12:at + entry.size],
                    entry.low, entry.high, (<Seat>self.lane.seats[self._made]).client, self._came_us // 1000,
                )
                self._giving = GIVES
            give(
                <Tables>self._side.tables, self.lane, <Seat>self.lane.seats[self._made], self.relay.judgement,
                entry.low, entry.high, self._came_us // 1000,
            )
            self._given()
        self._side.use_none()
        return 0

    cdef void _send_given(self) noexcept nogil:
        """Send what was given, of all answers that came together."""
        self._send(self._made)
        self._made = 0

    cdef bint _sits(self) except -1 nogil:
        """Give the next query that has an answer the seat at `_made`; return 0 if there is none."""
        cdef Waiter *one
        cdef int waiter = NOBODY if self._entry == NOBODY else self.relay._entries[self._entry].first
        cdef bint fresh = False
        while waiter == NOBODY:
            if self._entry != NOBODY:
                self.relay.forget(self._entry)
            self._entry = self.relay.answered()
            if self._entry == NOBODY:
                return False
            if not self.relay.clean:
                self.relay.hand_over(self._entry)
                self._entry = NOBODY
                continue
            fresh = True
            waiter = self.relay._entries[self._entry].first
        one = &self.relay._waiters[waiter]
        if self._made == BATCH or (self._made and one.origin.place != self._at):
            self._send(self._made)
            self._made = 0
        self._at = one.origin.place
        self._peers[self._made] = one.origin.peer
        memcpy(self._controls[self._made], one.origin.control, CONTROL_OCTETS)
        memcpy(self._clients + 16 * self._made, one.client, 16)
        memcpy(self._packets + PACKET_OCTETS * self._made, one.packet, one.size)
        (<Seat>self.lane.seats[self._made]).size = one.size
        self._answers[self._made].msg_hdr = self._received[self._made].msg_hdr
        self._answers[self._made].msg_hdr.msg_namelen = octets_of(&one.origin.peer)
        self._answers[self._made].msg_hdr.msg_controllen = one.origin.control_octets
        self._answers[self._made].msg_hdr.msg_iov = &self._answer_parts[self._made]
        self._answers[self._made].msg_hdr.msg_flags = 0
        self.relay.drop_waiter(self._entry)
        self._giving = KEEPS if fresh else GIVES
        return True

    cdef void _given(self) noexcept nogil:
        """Let the answer in the seat at `_made` be sent with the batch."""
        self._giving = 0
        self._answer_parts[self._made].iov_len = (<Seat>self.lane.seats[self._made]).length
        if (<Seat>self.lane.seats[self._made]).outcome == _REPLY:
            self._made += 1

    def _give_failed(self):
        """Go on after an exception: what cannot be kept is given all the same; what cannot be given is SERVFAIL."""
        if self._giving == KEEPS:
            self.lane.errors += 1
            self._giving = GIVES
        else:
            relayed.give_failed(self.lane, self.lane.seat(self._made))
            self._given()

    cdef int _hand_over(self) except -1 nogil:
        """Leave to the event loop what the relay hands over, as far as the ring has room. Returns 0."""
        cdef uint64_t now_ms = now_us() // 1000
        cdef int entry = self.relay.due(now_ms), waiter
        cdef Waiter *one
        cdef Handed handed
        cdef unsigned char *key
        if entry == NOBODY:
            return 0
        self._side.use_route()
        while entry != NOBODY:
            waiter = self.relay._entries[entry].first
            self.relay.describe(entry, &handed)
            if waiter == NOBODY:
                if self.relay._entries[entry].left:
                    key = <unsigned char *>&self.relay._entries[entry].low
                    self._side.put(self._packets, 0, key, &self._nowhere, now_ms, _FORWARD, 0, &handed)
                    self.relay.forget(entry)
                else:
                    self.relay.leave(entry, (<Route>self._side.route).timeout_ms, now_ms)
                entry = self.relay.due(now_ms)
                continue
            one = &self.relay._waiters[waiter]
            if not self._side.put(one.packet, one.size, one.client, &one.origin, one.taken_ms, _FORWARD, 0, &handed):
                if now_ms - one.taken_ms < PATIENCE_MS:
                    break
                self.lane.counters[_OVERLOAD] += 1
            self.relay.drop_waiter(entry)
        self._side.use_none()
        self._side.ring_the_bell()
        return 0

    cdef void _send(self, int made) noexcept nogil:
        cdef int sent = 0, taken, failed = -1
        while sent < made:
            taken = sendmmsg(self._places[self._at], self._answers + sent, made - sent, MSG_DONTWAIT | MSG_NOSIGNAL)
            if taken > 0:
                sent += taken
            elif errno == EINTR:
                continue
            elif failed != sent:
                failed = sent
            elif errno == EAGAIN:
                self.lane.counters[_UNSENT] += made - sent
                return
            else:
                self.lane.counters[_UNSENT] += 1
                sent += 1

    cdef void _leave(self, int i, int outcome, Origin *origin) noexcept nogil:
        """Put the query in a seat into the ring, if there is room."""
        if not self._side.put(
            self._packets + PACKET_OCTETS * i, (<Seat>self.lane.seats[i]).size, self._clients + 16 * i, origin,
            self._since_us // 1000, outcome, (<Seat>self.lane.seats[i]).found, &self._nobody,
        ) and outcome != _REPLY:
            self.lane.counters[_OVERLOAD] += 1
