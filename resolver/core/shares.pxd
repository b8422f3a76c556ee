import cython
from libc.stdint cimport uint64_t

from .admit cimport set_prefix
from .locks cimport Locks, hold, release
from .octets cimport Layout
from .siphash cimport siphash128

cdef extern from *:
    """
    static inline int blocklist_length(unsigned long long amount) {
        return amount ? 64 - __builtin_clzll(amount) : 0;
    }
    """
    int blocklist_length(uint64_t amount) noexcept nogil

cdef uint64_t _WAYS
cdef Py_ssize_t _WORDS
cdef Py_ssize_t _NONE
cdef Py_ssize_t _LEVELS
cdef Py_ssize_t _HELD
cdef Py_ssize_t _EPOCH
cdef Py_ssize_t _BEFORE
cdef Py_ssize_t _AFTER
cdef uint64_t _OLDEST_EPOCH

cdef class Shares:
    cdef readonly uint64_t[::1] slots
    cdef readonly uint64_t sets
    cdef readonly const uint64_t[::1] key
    cdef readonly unsigned char[::1] prefix
    cdef readonly uint64_t[::1] out
    cdef readonly uint64_t[::1] ends
    cdef readonly Locks locks

cpdef Py_ssize_t take(
    Shares shares, const unsigned char[::1] client, uint64_t amount, uint64_t most, uint64_t epoch
) noexcept

@cython.locals(at=Py_ssize_t, has=uint64_t, left=uint64_t)
cpdef uint64_t give(Shares shares, Py_ssize_t slot, uint64_t amount) except? 0xFFFFFFFFFFFFFFFE nogil

@cython.locals(at=Py_ssize_t)
cpdef uint64_t held(Shares shares, Py_ssize_t slot) except? 0xFFFFFFFFFFFFFFFE nogil

@cython.locals(level=Py_ssize_t)
cpdef Py_ssize_t heaviest(Shares shares) except? -2 nogil

@cython.locals(slot=Py_ssize_t)
cdef Py_ssize_t _take(
    Shares shares, const unsigned char[::1] client, uint64_t amount, uint64_t most, uint64_t epoch
) except? -2 nogil

@cython.locals(at=Py_ssize_t, has=uint64_t)
cdef Py_ssize_t _take_locked(
    Shares shares, const unsigned char[::1] client, uint64_t amount, uint64_t most, uint64_t epoch
) except? -2 nogil

@cython.locals(first=Py_ssize_t, least=Py_ssize_t, least_held=uint64_t, way=uint64_t, at=Py_ssize_t, has=uint64_t)
cdef Py_ssize_t _slot_of(Shares shares, uint64_t tag, uint64_t epoch) except -1 nogil

@cython.locals(steps=uint64_t)
cdef uint64_t _holds(Shares shares, Py_ssize_t at, uint64_t epoch) except? 0xFFFFFFFFFFFFFFFE nogil

@cython.locals(before=Py_ssize_t, after=Py_ssize_t, last=Py_ssize_t)
cdef int _hold(Shares shares, Py_ssize_t at, uint64_t amount) except -1 nogil

@cython.locals(before=Py_ssize_t, after=Py_ssize_t)
cdef int _unlink(Shares shares, Py_ssize_t at, Py_ssize_t level) except -1 nogil

cdef Py_ssize_t _slot(Shares shares, uint64_t number) except -1 nogil

cdef inline int _level(uint64_t amount) noexcept nogil:
    return blocklist_length(amount)
