import cython
from libc.stdint cimport uint64_t

from .admit cimport Access, is_mapped, is_unlimited
from .locks cimport Locks, fence_before_writes, hold, release
from .octets cimport Layout, blocklist_prefetch, copy, put
from .policy cimport Verdict
from .scratch cimport Scratch
from .siphash cimport siphash128

cdef uint64_t _WINDOW_S
cdef uint64_t _CAP_AN_HOUR
cdef uint64_t _CAP_OF_56
cdef uint64_t _CAP_OF_48
cdef uint64_t _CAP_A_DAY
cdef int _USE_OF_DAY
cdef uint64_t _COUNT_OF_DAY
cdef uint64_t _PREFIX_COUNTED
cdef uint64_t _WAYS
cdef uint64_t _NONE
cdef uint64_t _HELD
cdef uint64_t _TAG
cdef uint64_t _REST
cdef uint64_t _BACK
cdef uint64_t _SET
cdef int _BLOCKED_QUERIES
cdef int _ATTEMPTS
cdef int _ATTEMPTS_CAPPED
cdef int _ATTEMPTS_SATURATED
cdef int _NEW_PREFIXES
cdef int _REFUSED_BEYOND_BUDGET
cdef int _ATTEMPTS_BOUNDED
cdef int _BLOCKED_PREFIXES
cdef int _ATTEMPTS_NEW_ENTRIES
cdef int _ATTEMPTS_BOUNDED_SATURATED
cdef int _NOT_COUNTED
cdef int _COUNTED
cdef int _BEYOND_BUDGET
cdef int _START
cdef int _STRIDE
cdef int _SELFTEST
cdef int _NEW
cdef int _A
cdef int _AAAA
cdef int _HTTPS
cdef int _SVCB

cdef class Tally:
    cdef readonly uint64_t[::1] attempts
    cdef readonly uint64_t[::1] clients
    cdef readonly uint64_t[::1] prefixes
    cdef readonly uint64_t[::1] budgets
    cdef readonly uint64_t[::1] days
    cdef readonly uint64_t sets
    cdef readonly uint64_t[::1] even_key
    cdef readonly uint64_t[::1] odd_key
    cdef readonly uint64_t turns
    cdef readonly uint64_t[::1] even_day_key
    cdef readonly uint64_t[::1] odd_day_key
    cdef readonly uint64_t day_turns
    cdef readonly Locks locks

@cython.locals(tag=uint64_t)
cpdef int count(
    Tally tally, Access access, uint64_t[::1] counters, Verdict verdict, int qtype, const unsigned char[::1] client,
    uint64_t now_s, Scratch scratch
) noexcept

cpdef uint64_t attempt(
    Tally tally, Verdict verdict, int qtype, const unsigned char[::1] client, Scratch scratch
) except? 0xFFFFFFFFFFFFFFFE nogil

cdef inline int prefetch(Tally tally, uint64_t tag) except -1 nogil:
    if tag:
        blocklist_prefetch(&tally.attempts[8 * _set_of(tally.sets, tag)])
    return 0

@cython.locals(base=Py_ssize_t, new_tag=uint64_t)
cpdef int count_ready(
    Tally tally, Access access, uint64_t[::1] counters, Verdict verdict, uint64_t tag, const unsigned char[::1] client,
    uint64_t now_s, Scratch scratch
) except -1 nogil

@cython.locals(base=Py_ssize_t, opened=int, number=int)
cdef int _count_attempt(
    Tally tally, uint64_t[::1] counters, Verdict verdict, uint64_t tag, const unsigned char[::1] client,
    uint64_t now_s, Scratch scratch
) except -1 nogil

@cython.locals(base=Py_ssize_t, tag=uint64_t, own_set=uint64_t, at=uint64_t, word=uint64_t, bounded=int, first=int)
cdef int _count_day(
    Tally tally, uint64_t[::1] counters, Verdict verdict, const unsigned char[::1] client, Scratch scratch
) except -1 nogil

@cython.locals(level=int, number=int)
cdef int _within_caps(
    Tally tally, const unsigned char[::1] client, int kept, int levels, Scratch scratch
) except -1 nogil

@cython.locals(level=int, tag=uint64_t, at=uint64_t, cap=uint64_t)
cdef int _count_within(Tally tally, Scratch scratch, int levels) except -1 nogil

@cython.locals(shard=uint64_t)
cdef int _hold_all(Tally tally, Scratch scratch, int count) except -1 nogil

@cython.locals(shard=uint64_t)
cdef int _release_all(Tally tally, Scratch scratch, int count) except -1 nogil

@cython.locals(found=uint64_t, shard=uint64_t, i=int)
cdef uint64_t _next_shard(Tally tally, Scratch scratch, int count, uint64_t least) except? 0xFFFFFFFFFFFFFFFE nogil

@cython.locals(kept=int, beyond=int)
cdef int _is_beyond(
    Tally tally, uint64_t budget, Verdict verdict, const unsigned char[::1] client, Scratch scratch
) except -1 nogil

@cython.locals(own_set=uint64_t, entry=uint64_t, noted=int)
cdef int _is_noted(Tally tally, uint64_t tag) except -1 nogil

@cython.locals(tag=uint64_t, spent_tag=uint64_t, entry=uint64_t, spent=uint64_t)
cdef int _spend(Tally tally, uint64_t budget, Scratch scratch) except -1 nogil

@cython.locals(own_set=uint64_t, at=uint64_t, opened=int)
cdef int _opens(Tally tally, uint64_t[::1] table, uint64_t tag, uint64_t start_s, uint64_t now_s) except -1 nogil

@cython.locals(first=uint64_t, free=uint64_t, word=uint64_t, way=uint64_t)
cdef uint64_t _place(
    const uint64_t[::1] table, uint64_t own_set, uint64_t tag, uint64_t now_s, uint64_t window_s
) except? 0xFFFFFFFFFFFFFFFE nogil

cdef uint64_t _set_of(uint64_t sets, uint64_t tag) except? 0xFFFFFFFFFFFFFFFE nogil

@cython.locals(age=uint64_t)
cdef int _is_past(uint64_t word, uint64_t now_s, uint64_t window_s) except -1 nogil

@cython.locals(first=int, size=int)
cdef uint64_t _tag(
    Tally tally, const unsigned char[::1] client, int kept, uint64_t slot, uint64_t low, uint64_t high, int use,
    Scratch scratch,
) except? 0xFFFFFFFFFFFFFFFE nogil

@cython.locals(shard=uint64_t)
cpdef int turn(Tally tally, key) except -1

@cython.locals(shard=uint64_t)
cpdef int turn_day(Tally tally, key) except -1

@cython.locals(own_set=uint64_t, at=uint64_t)
cdef int _clear_day(Tally tally, uint64_t shard) except -1 nogil

cdef int _set_key(uint64_t[::1] key, const uint64_t[::1] fresh) except -1 nogil

@cython.locals(own_set=uint64_t, at=uint64_t)
cdef int _clear(Tally tally, uint64_t shard) except -1 nogil
