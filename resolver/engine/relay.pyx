# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Forwards a thread's queries to upstreams and matches the answers; core.exchange has the rules of DNS.

Rules (RFC 5452 9; the same as query.forward_datagram's where not said otherwise):
- A question goes out once: by a connected socket on a random port, drawn for each batch among those of its server, with
  a random id that is free on it. Chance comes from the kernel alone. Identical questions in flight share one exchange.
- Who guesses from off the path has to guess id, port and, if drawn, case. That a batch shares a port reveals no port:
  only the server sees it. A socket is replaced after QUERIES_A_SOCKET or SECONDS_A_SOCKET.
- Nothing is sent again and no other server is asked here. What is not answered cleanly in the server's patience, or at
  which the socket has met an error, is handed over, once, to Python, which goes on: with the answer if one has come,
  else it asks again. So are all queries of a socket at which STRANGE datagrams have come. An answer that comes after that
  is handed over, too, while the entry is known: Python may still wait for it.
- The server with the fewest questions of this thread in flight is asked; of equals the first of the route.
- Entries, waiting queries and those of one client prefix are bounded; what is beyond goes to Python, which shares.
- All memory is made at the start and is in no dump; sockets are opened as they are drawn.
"""

import os
import socket as sockets
import sys

from resolver.core import exchange, judgement, question, shares, store

from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcpy

from resolver.core.exchange cimport draw_case, found, may_relay, restore_case, write
from resolver.core.judgement cimport fill_clean
from resolver.core.relayed cimport place as place_of
from resolver.core.shares cimport give
from resolver.engine.linux cimport (
    AF_INET, EPOLL_CTL_ADD, EPOLLIN, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, close,
    connect, epoll_ctl, epoll_event, getrandom, recvmmsg, sendmmsg, socket,
)
from resolver.engine.shared cimport memory_of

SHARE = WAITERS // 4
"""The most queries of one client prefix that wait here."""

MOST_IN_FLIGHT = ENTRIES
QUERIES_A_SOCKET = 2000
SECONDS_A_SOCKET = 60
STRANGE = 10

cdef enum:
    _ASKED = 0
    _LEFT = 1
    _TRIES = 64
    _HEADER = 12

cdef int _NOTHING = store.NOTHING
cdef int _AS_SENT = exchange.AS_SENT
cdef int _OTHER_CASE = exchange.OTHER_CASE
cdef Py_ssize_t _CHANCE_OCTETS = exchange.CHANCE_OCTETS
cdef uint64_t _SHARE = SHARE
cdef int _QUERIES_A_SOCKET = QUERIES_A_SOCKET
cdef uint64_t _LIFE_MS = SECONDS_A_SOCKET * 1000
cdef int _STRANGE = STRANGE


def address_of(one):
    """Return what connect takes for the address that `sockaddr` of config.values returns, in octets."""
    host, port = one[0], one[1].to_bytes(2, "big")
    if ":" not in host:
        return sockets.AF_INET.to_bytes(2, sys.byteorder) + port + sockets.inet_aton(host) + bytes(8)
    scope = one[3] if len(one) > 3 else 0
    octets = sockets.inet_pton(sockets.AF_INET6, host.partition("%")[0])
    return sockets.AF_INET6.to_bytes(2, sys.byteorder) + port + bytes(4) + octets + scope.to_bytes(4, sys.byteorder)


cdef class Octets:
    """A part of a larger memory."""


cdef class Relay:
    """What one thread has in flight. servers: their addresses (`address_of`) by number; those beyond what there is room
    for are never asked here. bounds_us: upper bounds of the buckets that count answers by duration. first: what epoll
    calls the first socket.

    clean: whether the answer found last is; then `judgement` holds it. sent, asked: the queries as they
    were sent, and in the client's case, then perhaps an answer for Python. waiting: the number of queries that wait.
    ending: set to hand over all that wait.
    """

    def __init__(self, servers, bounds_us, int epoll, int first):
        cdef int i
        self._held = []
        self._epoll = epoll
        self._first = first
        self._servers = min(SERVERS, len(servers))
        for i in range(self._servers):
            octets = servers[i]
            memcpy(&self._addresses[i], <const char *>octets, len(octets))
        if len(bounds_us) >= BUCKETS:
            raise ValueError("bounds_us: too many")
        self._buckets = len(bounds_us)
        for i in range(self._buckets):
            self._bounds_us[i] = bounds_us[i]
        self.replies = <unsigned char[:RELAY_BATCH * REPLY_OCTETS]>memory_of(self._held, RELAY_BATCH * REPLY_OCTETS)
        self.sent = <unsigned char[:ENTRIES * SENT_OCTETS]>memory_of(self._held, ENTRIES * SENT_OCTETS)
        self.asked = <unsigned char[:ENTRIES * REPLY_OCTETS]>memory_of(self._held, ENTRIES * REPLY_OCTETS)
        self._chance = <unsigned char[:CHANCE]>memory_of(self._held, CHANCE)
        self._chance_at = CHANCE
        self._parts = [Octets() for _ in range(RELAY_BATCH + ENTRIES)]
        for i in range(RELAY_BATCH):
            (<Octets>self._parts[i]).octets = self.replies[i * REPLY_OCTETS:(i + 1) * REPLY_OCTETS]
            self._reply_views[i] = <void *>self._parts[i]
        for i in range(ENTRIES):
            (<Octets>self._parts[RELAY_BATCH + i]).octets = self.sent[i * SENT_OCTETS:(i + 1) * SENT_OCTETS]
            self._sents[i] = <void *>self._parts[RELAY_BATCH + i]
        self._lines = <Line *>memory_of(self._held, LINES * sizeof(Line))
        self._entries = <Entry *>memory_of(self._held, ENTRIES * sizeof(Entry))
        self._waiters = <Waiter *>memory_of(self._held, WAITERS * sizeof(Waiter))
        self._by_key = <int32_t *>memory_of(self._held, CHAINS * sizeof(int32_t))
        self._by_id = <int32_t *>memory_of(self._held, CHAINS * sizeof(int32_t))
        for i in range(CHAINS):
            self._by_key[i] = self._by_id[i] = NOBODY
        for i in range(LINES):
            self._lines[i].fd = NOBODY
            self._lines[i].next = i + 1 if i + 1 < LINES else NOBODY
        for i in range(ENTRIES):
            self._entries[i].after = i + 1 if i + 1 < ENTRIES else NOBODY
        for i in range(WAITERS):
            self._waiters[i].next = i + 1 if i + 1 < WAITERS else NOBODY
        for i in range(SERVERS * POOL):
            self._lines_of[i // POOL][i % POOL] = NOBODY
        self._head[0] = self._head[1] = self._tail[0] = self._tail[1] = NOBODY
        for i in range(RELAY_BATCH):
            self._queries[i].msg_hdr.msg_iov = &self._query_parts[i]
            self._queries[i].msg_hdr.msg_iovlen = 1
            self._reply_parts[i].iov_base = &self.replies[i * REPLY_OCTETS]
            self._reply_parts[i].iov_len = REPLY_OCTETS
            self._received[i].msg_hdr.msg_iov = &self._reply_parts[i]
            self._received[i].msg_hdr.msg_iovlen = 1
        self._line = NOBODY
        self._shares = shares.Shares(bytearray(1024 * shares.SET_OCTETS), os.urandom(16))
        self.judgement = judgement.Judgement()
        self._question = question.Question()

    def figures(self, int server):
        """Return what became of the queries to a server: how many were asked, answered, handed over, strange and trailing,
        the sum of the answers' durations in microseconds, and their buckets."""
        cdef Figures *one = self._figures_of(server)
        buckets = tuple(one.buckets[i] for i in range(self._buckets + 1))
        return one.asked, one.answered, one.handed, one.strange, one.trailing, one.sum_us, buckets

    def recent_us(self, int server, int most):
        """Return up to `most` of a server's last round trips, in microseconds."""
        cdef Figures *one = self._figures_of(server)
        cdef uint64_t at = one.answered
        return [one.recent[(at - i - 1) % RECENT] for i in range(min(most, RECENT, at))]

    cdef Figures *_figures_of(self, int server) except NULL:
        if not 0 <= server < self._servers:
            raise IndexError("no such server")
        return &self._figures[server]

    def close(self):
        """Close all sockets."""
        for line in range(LINES):
            self._close(line)

    cdef void _close(self, int line) noexcept nogil:
        if self._lines[line].fd >= 0:
            close(self._lines[line].fd)
        self._lines[line].fd = NOBODY

    cdef bint take(
        self, Route route, Seat seat, uint8_t *packet, Origin *origin, uint64_t now_us
    ) except -1 nogil:
        """Forward the query in a seat, or let it wait for one like it; return 0 if Python has to."""
        cdef int entry, slot
        if seat.found != _NOTHING or seat.size > PACKET_MOST or not may_relay(route, seat.question):
            return False
        slot = place_of(self._shares, seat.client, _SHARE) if self._free_waiter != NOBODY else NOBODY
        if slot < 0:
            return False
        entry = self._of_key(seat.low, seat.high)
        if entry == NOBODY:
            entry = self._ask(route, seat, now_us)
        if entry == NOBODY or self._entries[entry].waiters >= WAITERS // 2:
            give(self._shares, slot, 1)
            return False
        self._add(entry, slot, seat, packet, origin, now_us)
        return True

    cdef int _add(
        self, int entry, int slot, Seat seat, uint8_t *packet, Origin *origin, uint64_t now_us
    ) except -1 nogil:
        cdef int32_t number = self._free_waiter
        cdef Waiter *one = &self._waiters[number]
        cdef Entry *of = &self._entries[entry]
        memcpy(one.client, &seat.client[0], 16)
        self._free_waiter = one.next
        one.origin = origin[0]
        one.taken_ms = now_us // 1000
        one.next = NOBODY
        one.slot = slot
        one.size = seat.size
        memcpy(one.packet, packet, seat.size)
        if of.first == NOBODY:
            of.first = number
        else:
            self._waiters[of.last].next = number
        of.last = number
        of.waiters += 1
        self.waiting += 1
        return 0

    cdef int _ask(self, Route route, Seat seat, uint64_t now_us) except -2 nogil:
        """Make a question part of the batch that goes out; return its entry, NOBODY without room or a socket."""
        cdef int number, tries, identity = 0
        cdef Py_ssize_t start, octets, at
        cdef Entry *one
        if self._line != NOBODY and (self._made == RELAY_BATCH or self._lines[self._line].room <= 0):
            self.send()
        if self._line == NOBODY and not self._choose(route, now_us // 1000):
            return NOBODY
        if self._free_entry == NOBODY and self._head[_LEFT] != NOBODY:
            self.forget(self._head[_LEFT])
        number = self._free_entry
        if number == NOBODY:
            return NOBODY
        for tries in range(_TRIES):
            identity = self._draw()
            if identity >= 0 and self._of_id(self._line, identity) == NOBODY:
                break
        else:
            return NOBODY
        start = number * SENT_OCTETS
        octets = write(seat.packet, seat.question, identity, (<Octets>self._sents[number]).octets)
        one = &self._entries[number]
        one.exact = route.exact
        if one.exact:
            self.asked[number * REPLY_OCTETS:number * REPLY_OCTETS + octets] = self.sent[start:start + octets]
            at = self._drawn(_CHANCE_OCTETS)
            if at < 0:
                return NOBODY
            draw_case((<Octets>self._sents[number]).octets, seat.question.end, self._chance[at:at + _CHANCE_OCTETS])
        self._free_entry = one.after
        one.low = seat.low
        one.high = seat.high
        one.sent_us = now_us
        one.until_ms = now_us // 1000 + self._patience_ms
        one.line = self._line
        one.identity = identity
        one.sent_octets = octets
        one.size = seat.question.end
        one.first = one.last = NOBODY
        one.waiters = 0
        one.left = one.over = False
        one.reply_octets = 0
        one.by_key = self._by_key[one.low & (CHAINS - 1)]
        self._by_key[one.low & (CHAINS - 1)] = number
        one.by_id = self._by_id[chain_of(self._line, identity)]
        self._by_id[chain_of(self._line, identity)] = number
        self._put(_ASKED, number, False)
        self._query_parts[self._made].iov_base = &self.sent[start]
        self._query_parts[self._made].iov_len = octets
        self._batch[self._made] = number
        self._made += 1
        if self._lines[self._line].known == 0:
            self._lines[self._line].strange = 0
        self._lines[self._line].known += 1
        self._lines[self._line].room -= 1
        self._figures[self._lines[self._line].server].asked += 1
        self._outstanding[self._lines[self._line].server] += 1
        return number

    cdef void send(self) noexcept nogil:
        """Send the batch that was made. What the kernel does not take is handed over. So is what went out by the socket
        before, if the error may be its: the kernel reports an ICMP error once, here or to `receive`. A socket that takes
        nothing is replaced."""
        cdef int sent = 0, taken, failed = -1, line = self._line, made = self._made
        self._line = NOBODY
        self._made = 0
        while sent < made:
            taken = sendmmsg(self._lines[line].fd, self._queries + sent, made - sent, MSG_DONTWAIT | MSG_NOSIGNAL)
            if taken > 0:
                sent += taken
            elif errno == EINTR:
                continue
            elif failed != sent and errno != EAGAIN:
                failed = sent
                self._hint(line, self._batch[0])
            else:
                if errno != EAGAIN:
                    self._lines[line].room = 0
                self.hand_over(self._batch[sent])
                sent += 1

    cdef void receive(self, int line, uint64_t now_us) noexcept nogil:
        """Take a batch of answers of a socket; `answered` goes through it."""
        self._from = line
        self._at = 0
        self._came = 0
        self._came_us = now_us
        if line < 0 or line >= LINES or self._lines[line].fd < 0:
            return
        self._came = recvmmsg(self._lines[line].fd, self._received, RELAY_BATCH, MSG_DONTWAIT, NULL)
        if self._came < 0:
            self._came = 0
            if errno != EAGAIN and errno != EINTR:
                self._hint(line, NOBODY)

    cdef int answered(self) except -2 nogil:
        """Return the next entry that was answered, NOBODY at the end of the batch; see `clean`."""
        cdef int i, entry
        while self._at < self._came:
            i = self._at
            self._at += 1
            entry = self._matched(i)
            if entry != NOBODY:
                return entry
        return NOBODY

    cdef int _matched(self, int i) except -2 nogil:
        """Return the entry that datagram `i` answers, NOBODY if none waits for it."""
        cdef Py_ssize_t start = i * REPLY_OCTETS, kept, size = self._received[i].msg_len
        cdef int entry = NOBODY, how, bucket = 0
        cdef Entry *one
        cdef Figures *figures = &self._figures[self._lines[self._from].server]
        cdef uint64_t took_us
        if size >= _HEADER:
            entry = self._of_id(self._from, self.replies[start] << 8 | self.replies[start + 1])
        if entry == NOBODY:
            self._suspect(self._from)
            return NOBODY
        one = &self._entries[entry]
        kept = entry * REPLY_OCTETS
        how = found(
            (<Octets>self._reply_views[i]).octets, size, (<Octets>self._sents[entry]).octets, one.sent_octets,
            one.size, self._question,
        )
        if how == 0:
            self._suspect(self._from)
            return NOBODY
        if how == _OTHER_CASE and one.exact:
            figures.strange += 1
        if one.exact:
            restore_case(
                (<Octets>self._reply_views[i]).octets, size, (<Octets>self._sents[entry]).octets,
                self.asked[kept:kept + REPLY_OCTETS], one.size,
            )
        self.clean = how == _AS_SENT and not one.left and fill_clean(
            self.judgement, (<Octets>self._reply_views[i]).octets, 0, size
        )
        if not self.clean:
            one.over = True
            # One that fills its place has been cut.
            one.reply_octets = size if size < REPLY_OCTETS and (how != _OTHER_CASE or not one.exact) else 0
            self.asked[kept:kept + one.reply_octets] = self.replies[start:start + one.reply_octets]
            return entry
        took_us = self._came_us - one.sent_us if self._came_us > one.sent_us else 0
        while bucket < self._buckets and took_us > self._bounds_us[bucket]:
            bucket += 1
        figures.buckets[bucket] += 1
        figures.sum_us += took_us
        figures.trailing += self.judgement.message.trailing
        figures.recent[figures.answered % RECENT] = took_us
        figures.answered += 1
        return entry

    cdef int drop_waiter(self, int entry) except -1 nogil:
        """Free the place of the query that waits first for an entry. Returns 0."""
        cdef int32_t number = self._entries[entry].first
        cdef Waiter *one = &self._waiters[number]
        self._entries[entry].first = one.next
        self._entries[entry].waiters -= 1
        one.next = self._free_waiter
        self._free_waiter = number
        self.waiting -= 1
        give(self._shares, one.slot, 1)
        return 0

    cdef int due(self, uint64_t now_ms) noexcept nogil:
        """Return an entry to be handed over (its queries, or its late answer), or NOBODY; forget what was left long ago."""
        while self._head[_LEFT] != NOBODY and self._entries[self._head[_LEFT]].until_ms <= now_ms:
            if self._entries[self._head[_LEFT]].over:
                return self._head[_LEFT]
            self.forget(self._head[_LEFT])
        if self._head[_ASKED] == NOBODY or self.ending or self._entries[self._head[_ASKED]].until_ms <= now_ms:
            return self._head[_ASKED]
        return NOBODY

    cdef void hand_over(self, int entry) noexcept nogil:
        """Let an entry be the next that is `due`."""
        cdef int queue = _LEFT if self._entries[entry].left else _ASKED
        self._take_out(queue, entry)
        self._entries[entry].until_ms = 0
        self._put(queue, entry, True)

    cdef void describe(self, int entry, Handed *handed) noexcept nogil:
        """Say what was done already for an entry."""
        handed.server = self._lines[self._entries[entry].line].server
        handed.sent_ms = self._entries[entry].sent_us // 1000
        handed.reply_size = self._entries[entry].reply_octets
        handed.reply = &self.asked[entry * REPLY_OCTETS]

    cdef void leave(self, int entry, uint64_t timeout_ms, uint64_t now_ms) noexcept nogil:
        """Note that Python has all queries of an entry. Its answer is still known for a while, unless it has come."""
        self._figures[self._lines[self._entries[entry].line].server].handed += 1
        if self._entries[entry].over:
            self.forget(entry)
            return
        self._take_out(_ASKED, entry)
        self._outstanding[self._lines[self._entries[entry].line].server] -= 1
        self._entries[entry].left = True
        self._entries[entry].until_ms = now_ms + timeout_ms
        self._put(_LEFT, entry, False)

    cdef void forget(self, int entry) noexcept nogil:
        """Free an entry for which nobody waits."""
        cdef Entry *one = &self._entries[entry]
        self._take_out(_LEFT if one.left else _ASKED, entry)
        if not one.left:
            self._outstanding[self._lines[one.line].server] -= 1
        self._unchain(entry)
        self._lines[one.line].known -= 1
        self._let_go(one.line)
        one.after = self._free_entry
        self._free_entry = entry

    cdef int wait_ms(self, uint64_t now_ms) noexcept nogil:
        """Return how long nothing is due, in milliseconds; -1 for ever."""
        cdef int head = self._head[_LEFT]
        # A late answer stands first among what is left, and somebody may wait for it.
        if self._head[_ASKED] != NOBODY and (head == NOBODY or self._entries[head].until_ms):
            head = self._head[_ASKED]
        if head == NOBODY:
            return -1
        return max(0, <int64_t>(self._entries[head].until_ms - now_ms))

    cdef bint _choose(self, Route route, uint64_t now_ms) noexcept nogil:
        """Choose the server and the socket of the next batch; return whether there is one."""
        cdef int i, server, best = NOBODY, which = 0
        for i in range(route.count):
            server = route.servers[i]
            if server < self._servers and (best == NOBODY or self._outstanding[server] < self._outstanding[best]):
                best, which = server, i
        if best == NOBODY:
            return False
        self._patience_ms = route.patience_ms[which]
        self._line = self._line_of(best, route.pool, now_ms)
        return self._line != NOBODY

    cdef int _line_of(self, int server, int pool, uint64_t now_ms) noexcept nogil:
        """Return a random socket towards a server, a new one in place of one that has served; NOBODY if none opens."""
        cdef int slot, line, fresh, drawn = self._draw()
        if drawn < 0:
            return NOBODY
        slot = drawn % max(1, min(pool, POOL))
        line = self._lines_of[server][slot]
        if line != NOBODY and self._lines[line].room > 0 and self._lines[line].until_ms > now_ms:
            return line
        fresh = self._opened(server, now_ms)
        if fresh == NOBODY:
            # No descriptor is free: any that is open serves.
            for slot in range(POOL):
                if self._lines_of[server][slot] != NOBODY:
                    return self._lines_of[server][slot]
            return NOBODY
        self._lines_of[server][slot] = fresh
        self._lines[fresh].slot = slot
        if line != NOBODY:
            self._lines[line].retired = True
            self._let_go(line)
        return fresh

    cdef int _opened(self, int server, uint64_t now_ms) noexcept nogil:
        """Return a new connected socket, NOBODY if there is none to be had."""
        cdef epoll_event event
        cdef sockaddr_in6 *address = &self._addresses[server]
        cdef int line = self._free_line, fd, failed
        if line == NOBODY:
            return NOBODY
        fd = socket(address.sin6_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if fd < 0:
            return NOBODY
        event.events = EPOLLIN
        event.data.u32 = self._first + line
        failed = connect(fd, address, 16 if address.sin6_family == AF_INET else 28)
        if failed or epoll_ctl(self._epoll, EPOLL_CTL_ADD, fd, &event):
            close(fd)
            return NOBODY
        self._free_line = self._lines[line].next
        self._lines[line].fd = fd
        self._lines[line].server = server
        self._lines[line].known = 0
        self._lines[line].room = _QUERIES_A_SOCKET
        self._lines[line].strange = 0
        self._lines[line].retired = False
        self._lines[line].until_ms = now_ms + _LIFE_MS
        return line

    cdef void _let_go(self, int line) noexcept nogil:
        """Close a socket that is retired, once no entry names it."""
        if self._lines[line].retired and self._lines[line].known == 0:
            self._close(line)
            self._lines[line].retired = False
            self._lines[line].next = self._free_line
            self._free_line = line

    cdef void _suspect(self, int line) noexcept nogil:
        """Count a datagram that answers nothing. If many come while queries are in flight, somebody guesses ids."""
        cdef int server = self._lines[line].server
        self._figures[server].strange += 1
        self._lines[line].strange += self._lines[line].known > 0
        if self._lines[line].strange < _STRANGE:
            return
        if not self._lines[line].retired:
            self._lines_of[server][self._lines[line].slot] = NOBODY
        self._hint(line, NOBODY)
        self._close(line)
        self._lines[line].strange = 0
        self._lines[line].retired = True

    cdef void _hint(self, int line, int until) noexcept nogil:
        """Hand over what is in flight on a socket, up to an entry; NOBODY: all of it."""
        cdef int32_t entry = self._head[_ASKED], after
        while entry != until and entry != NOBODY:
            after = self._entries[entry].after
            if self._entries[entry].line == line:
                self.hand_over(entry)
            entry = after

    cdef int _draw(self) noexcept nogil:
        """Return a random number of 16 bits, -1 if the kernel gives none."""
        cdef Py_ssize_t at = self._drawn(2)
        return -1 if at < 0 else self._chance[at] << 8 | self._chance[at + 1]

    cdef Py_ssize_t _drawn(self, Py_ssize_t octets) noexcept nogil:
        """Return where so many random octets stand in `_chance`, -1 if the kernel gives none."""
        cdef Py_ssize_t have = 0, got
        if self._chance_at + octets > CHANCE:
            while have < CHANCE:
                got = getrandom(&self._chance[0] + have, CHANCE - have, 0)
                if got <= 0 and errno != EINTR:
                    return -1
                have += max(got, 0)
            self._chance_at = 0
        self._chance_at += octets
        return self._chance_at - octets

    cdef int _of_id(self, int line, int identity) noexcept nogil:
        """Return the entry with this id on a socket, NOBODY if the id is free there."""
        cdef int32_t entry = self._by_id[chain_of(line, identity)]
        while entry != NOBODY and (self._entries[entry].line != line or self._entries[entry].identity != identity):
            entry = self._entries[entry].by_id
        return entry

    cdef int _of_key(self, uint64_t low, uint64_t high) noexcept nogil:
        """Return the entry of a question that may be shared, NOBODY if it has to be asked."""
        cdef int32_t entry = self._by_key[low & (CHAINS - 1)]
        while entry != NOBODY:
            if self._entries[entry].low == low and self._entries[entry].high == high and not self._entries[entry].left:
                return entry if self._entries[entry].until_ms else NOBODY
            entry = self._entries[entry].by_key
        return NOBODY

    cdef void _unchain(self, int entry) noexcept nogil:
        """Take an entry out of its two chains."""
        cdef Entry *one = &self._entries[entry]
        cdef int32_t *at = &self._by_key[one.low & (CHAINS - 1)]
        while at[0] != entry:
            at = &self._entries[at[0]].by_key
        at[0] = one.by_key
        at = &self._by_id[chain_of(one.line, one.identity)]
        while at[0] != entry:
            at = &self._entries[at[0]].by_id
        at[0] = one.by_id

    cdef void _put(self, int queue, int entry, bint first) noexcept nogil:
        """Put an entry at the head or the tail of a queue."""
        cdef int32_t before = NOBODY if first else self._tail[queue], after = self._head[queue] if first else NOBODY
        self._entries[entry].before = before
        self._entries[entry].after = after
        if before == NOBODY:
            self._head[queue] = entry
        else:
            self._entries[before].after = entry
        if after == NOBODY:
            self._tail[queue] = entry
        else:
            self._entries[after].before = entry

    cdef void _take_out(self, int queue, int entry) noexcept nogil:
        cdef int32_t before = self._entries[entry].before, after = self._entries[entry].after
        if before == NOBODY:
            self._head[queue] = after
        else:
            self._entries[before].after = after
        if after == NOBODY:
            self._tail[queue] = before
        else:
            self._entries[after].before = before


cdef inline uint32_t chain_of(int line, int identity) noexcept nogil:
    return (<uint32_t>line * <uint32_t>40503 ^ <uint32_t>identity) & (CHAINS - 1)
