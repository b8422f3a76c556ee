import cython
from libc.stdint cimport int64_t, uint64_t

from .locks cimport Locks, fence_after_reads, fence_before_writes, hold, release, try_to_hold
from .message cimport Body, Message
from .octets cimport Layout, blocklist_prefetch, copy, get, put
from .question cimport Question
from .scratch cimport Scratch
from .siphash cimport siphash128

cdef int _NEGATIVE
cdef int _FAILURE
cdef int _NOTHING
cdef int _FRESH
cdef int _STALE
cdef Py_ssize_t _RECORD_HEADER
cdef uint64_t _WAYS
cdef uint64_t _SECOND_CHANCES
cdef int _APART_BIT
cdef uint64_t _APART
cdef uint64_t _END
cdef int _FORM_LOW
cdef int _FORM_HIGH
cdef uint64_t _MAX_FAILURE_S
cdef int _HOT_HITS
cdef int64_t _HOT_TTL_S
cdef int _DO
cdef int _AD
cdef const unsigned char[::1] _LENDERS
cdef int _NO_FORM
cdef uint64_t _ASKED_FOR
cdef const unsigned char[::1] _BLANK

cdef class Store:
    cdef readonly uint64_t sets
    cdef readonly uint64_t[::1] index
    cdef readonly unsigned char[::1] ring
    cdef readonly uint64_t[::1] starts
    cdef readonly uint64_t[::1] sizes
    cdef readonly uint64_t[::1] largest
    cdef readonly uint64_t[::1] heads
    cdef readonly uint64_t[::1] tails
    cdef public int64_t stale_s
    cdef readonly const uint64_t[::1] key
    cdef readonly Locks locks

cdef class Kept(Body):
    cdef public int64_t ttl_s
    cdef public uint64_t generation
    cdef public int kind
    cdef readonly bint quiet
    cdef readonly bint hot
    cdef readonly Py_ssize_t record
    cdef readonly uint64_t position
    cdef public bint apart

@cython.locals(length=Py_ssize_t, form=uint64_t)
cpdef int set_key(Store store, Question question, int bits, Scratch scratch) except -1 nogil

@cython.locals(found=int)
cpdef int find(Store store, uint64_t low, uint64_t high, uint64_t now_s, Kept kept) except -1 nogil

cdef int _use(Store store, Kept kept) except -1 nogil

@cython.locals(size=Py_ssize_t)
cpdef int copy_out(Store store, Kept kept, unsigned char[::1] out) except -1 nogil

@cython.locals(serves=int, at=Py_ssize_t, form=int, found=int, turned=uint64_t)
cpdef int other_form(
    Store store, uint64_t low, uint64_t high, int bits, uint64_t now_s, Kept kept
) except -1 nogil

@cython.locals(position=uint64_t, last_tenth=bint, used=bint)
cpdef int peek(Store store, uint64_t low, uint64_t high, uint64_t now_s, Kept kept) except -1 nogil

cpdef int set_answer(Kept kept, Message message, int64_t ttl_s, uint64_t generation, int kind) except -1 nogil

cpdef int set_failure(
    Kept kept, const unsigned char[::1] data, int rcode, const unsigned char[::1] errors, Py_ssize_t errors_size
) except -1 nogil

@cython.locals(written=int)
cpdef int keep(Store store, uint64_t low, uint64_t high, uint64_t now_s, Kept kept) except -1 nogil

cdef int _check(Kept kept) except -1 nogil

@cython.locals(size=Py_ssize_t, total=uint64_t, at=Py_ssize_t, position=uint64_t, which=uint64_t)
cdef int _write(Store store, uint64_t low, uint64_t high, uint64_t now_s, Kept kept) except -1 nogil

cpdef int fail(Store store, uint64_t low, uint64_t high, uint64_t now_s, Kept kept) except -1 nogil

@cython.locals(failures=int, position=uint64_t, at=Py_ssize_t, kept_at=uint64_t, ttl_s=uint64_t)
cdef int _fail(Store store, uint64_t low, uint64_t high, uint64_t now_s, Kept kept) except -1 nogil

cdef uint64_t _failure_s(int failures) except? 0xFFFFFFFFFFFFFFFE nogil

cpdef int renew(Store store, Kept kept, uint64_t generation, int kind) except -1 nogil

@cython.locals(at=Py_ssize_t, total=uint64_t, which=uint64_t, place=uint64_t)
cpdef uint64_t look(Store store, uint64_t position, Kept kept) except? 0xFFFFFFFFFFFFFFFE nogil

cpdef uint64_t rounds(Store store) except? 0xFFFFFFFFFFFFFFFE nogil

cpdef int drop(Store store, Kept kept) except -1 nogil

@cython.locals(at=Py_ssize_t, kept_at=uint64_t)
cdef int _read(Store store, uint64_t position, uint64_t now_s, Kept kept) except -1 nogil

@cython.locals(which=uint64_t, at=Py_ssize_t)
cdef Py_ssize_t _at(Store store, uint64_t position) except -1 nogil

@cython.locals(which=uint64_t, place=uint64_t)
cdef int _is_in_ring(Store store, uint64_t position) except -1 nogil

@cython.locals(slot=Py_ssize_t, end=Py_ssize_t, position=uint64_t, at=Py_ssize_t)
cdef uint64_t _position_of(Store store, uint64_t low, uint64_t high) except? 0xFFFFFFFFFFFFFFFE nogil

cdef inline Py_ssize_t _set_of(Store store, uint64_t high) noexcept nogil:
    return <Py_ssize_t> ((high >> 32) * store.sets >> 32) * 8

cdef inline int prefetch_index(Store store, Scratch scratch) except -1 nogil:
    blocklist_prefetch(&store.index[_set_of(store, scratch.key[1])])
    return 0

cdef inline int prefetch_record(Store store, Scratch scratch) except -1 nogil:
    cdef Py_ssize_t slot = _set_of(store, scratch.key[1])
    cdef Py_ssize_t end = slot + 8
    cdef Py_ssize_t at
    while slot < end:
        if store.index[slot] == scratch.key[0]:
            at = _at(store, store.index[slot + 1])
            blocklist_prefetch(&store.ring[at])
            blocklist_prefetch(&store.ring[at] + 64)
        slot += 2
    return 0

cdef int _is_pointed_to(Store store, Py_ssize_t at, uint64_t position) except -1 nogil

@cython.locals(
    slot=Py_ssize_t, chosen=Py_ssize_t, at=Py_ssize_t, way=uint64_t, least=uint64_t, worth=uint64_t, own=bint
)
cdef int _enter(Store store, uint64_t low, uint64_t high, uint64_t position) except -1 nogil

@cython.locals(worth=uint64_t)
cdef uint64_t _worth(Store store, uint64_t position) except? 0xFFFFFFFFFFFFFFFE nogil

@cython.locals(chances=uint64_t, room=uint64_t, place=uint64_t, at=Py_ssize_t, size=uint64_t)
cdef int _make_room(Store store, uint64_t which, uint64_t total, uint64_t now_s) except -1 nogil

cdef int _deserves_another(Store store, uint64_t which, Py_ssize_t at, uint64_t now_s) except -1 nogil

@cython.locals(slot=Py_ssize_t, to=Py_ssize_t)
cdef int _move(Store store, uint64_t which, Py_ssize_t at, Py_ssize_t size) except -1 nogil

@cython.locals(place=uint64_t)
cdef uint64_t _taken(Store store, uint64_t which, uint64_t total) except? 0xFFFFFFFFFFFFFFFE nogil

@cython.locals(place=uint64_t)
cdef Py_ssize_t _place(Store store, uint64_t which, uint64_t total) except -1 nogil
