import cython
from libc.stdint cimport int64_t, uint64_t

from .lane cimport Lane, Seat, Tables
from .name cimport skip
from .octets cimport Layout, copy
from .steps cimport take_whole

cdef Py_ssize_t _LENGTH
cdef Py_ssize_t _ANSWER_OCTETS
cdef Py_ssize_t _QUERY_OCTETS
cdef int64_t _MOST_OCTETS
cdef Py_ssize_t _MAX_MESSAGE
cdef int _QUERY
cdef int _ANSWER
cdef int64_t _MAX_AGE_NONE
cdef int _FIRST
cdef int _LAST
cdef Py_ssize_t _HEADER
cdef int _REPLY
cdef int _SILENT
cdef int _END_ANY
cdef int _END_KEPT
cdef int _END_FRESH
cdef int _NOERROR
cdef int _NXDOMAIN
cdef int _SOA
cdef Py_ssize_t _CLIENT
cdef int _TRUNCATED
cdef int64_t _TOP_BIT

cdef class EdgeBatch:
    cdef readonly int most
    cdef readonly int count
    cdef readonly Py_ssize_t end
    cdef readonly bint broken
    cdef readonly int left
    cdef readonly Py_ssize_t length
    cdef readonly unsigned int[::1] numbers
    cdef unsigned char[::1] out

@cython.locals(size=int64_t, at=Py_ssize_t, transport=int)
cpdef int read(
    EdgeBatch batch, Lane lane, const unsigned char[::1] octets, const int[::1] properties, int count
) except -1

cpdef int take(Tables tables, Lane lane, EdgeBatch batch, uint64_t now_ms) except -1

@cython.locals(number=int, at=Py_ssize_t, seat=Seat, is_final=bint)
cdef int _join(Lane lane, EdgeBatch batch) except -1

cpdef bytes framed(Seat seat, int64_t number)

@cython.locals(size=Py_ssize_t)
cdef Py_ssize_t _write(unsigned char[::1] out, Py_ssize_t at, Seat seat, int64_t number) except -1

@cython.locals(rcode=int, least=int64_t, at=Py_ssize_t, answers=int, left=int, ttl_s=int64_t, size=int)
cpdef int64_t max_age(Seat seat) except -1

@cython.locals(value=int64_t)
cdef int64_t _u32(const unsigned char[::1] data, Py_ssize_t at) except -1

cdef int _put_u32(unsigned char[::1] out, Py_ssize_t at, int64_t value) except -1
