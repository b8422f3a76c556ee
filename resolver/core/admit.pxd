import cython
from libc.stdint cimport uint32_t, uint64_t

from .locks cimport Locks, count_in, hold, release
from .octets cimport Layout, compare16, copy, get, put
from .scratch cimport Scratch
from .siphash cimport siphash128

cdef int _ADMITTED
cdef int _NOT_A_CLIENT
cdef int _SLIP
cdef int _LIMITED
cdef int _MAX_LISTS
cdef uint64_t _WAYS
cdef uint64_t _BUCKET_WORDS
cdef uint32_t _ALL_LISTS
cdef uint64_t _TOKEN
cdef uint64_t _MINUTE_MS
cdef uint64_t _MAPPED

cdef class Access:
    cdef readonly const unsigned char[::1] allow
    cdef readonly const unsigned char[::1] unlimited
    cdef readonly const unsigned char[::1] proxies
    cdef readonly uint64_t[::1] bounds
    cdef readonly const unsigned char[::1] ranges
    cdef readonly uint32_t scoped
    cdef readonly uint64_t rate
    cdef readonly uint64_t budget
    cdef readonly uint64_t[::1] buckets
    cdef readonly uint64_t sets
    cdef readonly const uint64_t[::1] key
    cdef readonly Locks locks
    cdef readonly uint64_t[::1] counted

cpdef int admit(
    Access access, const unsigned char[::1] client, bint proven, uint64_t now_ms, Scratch scratch
) noexcept

cpdef int allows(Access access, const unsigned char[::1] client) noexcept

cpdef uint32_t scope(Access access, const unsigned char[::1] client) noexcept

cpdef int trusts(Access access, const unsigned char[::1] sender) noexcept

cpdef int exempts(Access access, const unsigned char[::1] client) noexcept

@cython.locals(limited=bint, said=int)
cpdef int admission(
    Access access, const unsigned char[::1] client, bint proven, uint64_t now_ms, Scratch scratch
) except -1 nogil

@cython.locals(own_set=uint64_t, bucket=Py_ssize_t, said=int)
cdef int _visit(Access access, uint64_t tag, bint asks, bint takes, bint proven, uint64_t now_ms) except -1 nogil

cpdef int is_unlimited(Access access, const unsigned char[::1] client) except -1 nogil

cpdef int is_trusted(Access access, const unsigned char[::1] sender) except -1 nogil

@cython.locals(full=uint64_t, waited=uint64_t, tokens=uint64_t)
cdef int _take(Access access, Py_ssize_t bucket, uint64_t now_ms) except -1 nogil

@cython.locals(first=Py_ssize_t, oldest=Py_ssize_t, at=Py_ssize_t, way=uint64_t)
cdef Py_ssize_t _bucket_of(Access access, uint64_t own_set, uint64_t tag, uint64_t now_ms) except -1 nogil

cdef int set_prefix(const unsigned char[::1] client, unsigned char[::1] prefix) except -1 nogil

cpdef int is_mapped(const unsigned char[::1] client) except -1 nogil

@cython.locals(result=uint32_t, bit=uint32_t, slot=int, start=Py_ssize_t, end=Py_ssize_t)
cdef uint32_t _scope(Access access, const unsigned char[::1] client) except? 0xFFFFFFFE nogil

@cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, at=Py_ssize_t)
cdef int _within(
    const unsigned char[::1] ranges, Py_ssize_t start, Py_ssize_t end, const unsigned char[::1] client
) except -1 nogil
