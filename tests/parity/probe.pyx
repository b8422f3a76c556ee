# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Gives Python what core has inline in .pxd files, and does bulk work in threads without the GIL, as an engine does."""

from libc.stdint cimport uint64_t

from resolver.core cimport octets
from resolver.core.admit cimport Access, admission
from resolver.core.lane cimport Lane, Tables
from resolver.core.locks cimport Locks, count_in, hold, release
from resolver.core.octets cimport Layout
from resolver.core.policy cimport Verdict
from resolver.core.scratch cimport Scratch
from resolver.core.steps cimport take_batch
from resolver.core.store cimport Kept, Store, copy_out, find
from resolver.core.store cimport keep as store_keep
from resolver.core.tally cimport Tally, attempt, count_ready


def copy(unsigned char[::1] out, Py_ssize_t to, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t size):
    with nogil:
        octets.copy(out, to, data, at, size)


def equal(
    const unsigned char[::1] one, Py_ssize_t at, const unsigned char[::1] other, Py_ssize_t start, Py_ssize_t size
):
    return octets.equal(one, at, other, start, size)


def compare16(const unsigned char[::1] one, Py_ssize_t at, const unsigned char[::1] other, Py_ssize_t start):
    return octets.compare16(one, at, other, start)


def get(const unsigned char[::1] data, Py_ssize_t at, int size):
    return octets.get(data, at, size)


def put(unsigned char[::1] out, Py_ssize_t at, unsigned long long value, int size):
    octets.put(out, at, value, size)


def lower(unsigned char[::1] out, Py_ssize_t at, Py_ssize_t size):
    octets.lower(out, at, size)


def count_under_lock(Locks locks, uint64_t[::1] counter, long turns):
    """Add `turns` to counter[0], one at a time, with the lock of shard 0."""
    cdef long turn
    with nogil:
        for turn in range(turns):
            hold(locks, 0)
            counter[0] = counter[0] + 1
            release(locks, 0)


def count_in_period(uint64_t[::1] counter, uint64_t period, long turns):
    cdef long turn
    with nogil:
        for turn in range(turns):
            count_in(counter, period)


def admit(Access access, const unsigned char[::1] clients, uint64_t now_ms, Scratch scratch):
    """Ask for each client in turn; return how often one was admitted."""
    cdef Py_ssize_t at
    cdef long admitted = 0
    with nogil:
        for at in range(0, clients.shape[0], 16):
            admitted += admission(access, clients[at : at + 16], False, now_ms, scratch) == 0
    return admitted


def count(
    Tally tally, Access access, uint64_t[::1] counters, Verdict verdict, const unsigned char[::1] clients,
    uint64_t now_s, Scratch scratch,
):
    """Count a blocked query of each client in turn."""
    cdef Py_ssize_t at
    cdef uint64_t tag
    with nogil:
        for at in range(0, clients.shape[0], 16):
            tag = attempt(tally, verdict, 1, clients[at : at + 16], scratch)
            count_ready(tally, access, counters, verdict, tag, clients[at : at + 16], now_s, scratch)


def keep(Store store, Kept kept, unsigned char[::1] body, const uint64_t[::1] keys, long turns):
    """Keep `turns` records under the keys in turn, all octets of each the number of the turn; return how many were."""
    cdef Py_ssize_t at
    cdef long turn, kept_number = 0
    with nogil:
        for turn in range(turns):
            for at in range(body.shape[0]):
                body[at] = turn & 255
            at = 2 * (turn % (keys.shape[0] // 2))
            kept_number += store_keep(store, keys[at], keys[at + 1], 1000, kept)
    return kept_number


def read(Store store, Kept kept, unsigned char[::1] out, const uint64_t[::1] keys, long turns):
    """Find and copy records in turn; return how many were copied whole, how many were overwritten, and how many torn."""
    cdef Py_ssize_t at, octet
    cdef long turn, whole = 0, overwritten = 0, torn = 0
    with nogil:
        for turn in range(turns):
            at = 2 * (turn % (keys.shape[0] // 2))
            if find(store, keys[at], keys[at + 1], 1000, kept) == 0:
                continue
            if not copy_out(store, kept, out):
                overwritten += 1
                continue
            whole += 1
            for octet in range(kept.start, kept.end):
                if out[octet] != out[kept.start]:
                    torn += 1
                    break
    return whole, overwritten, torn


def take_batches(Tables tables, Lane lane, int count, long turns, uint64_t now_ms):
    """Take the queries of the first `count` seats `turns` times, each time a millisecond later."""
    cdef long turn
    with nogil:
        for turn in range(turns):
            take_batch(tables, lane, count, now_ms + turn)
