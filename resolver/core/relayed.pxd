from libc.stdint cimport uint64_t

from .judgement cimport Judgement
from .lane cimport Lane, Seat, Tables
from .octets cimport Layout
from .reading cimport read_query
from .shares cimport Shares, _take
from .steps cimport _failed, _give, _keep, unasked

cdef int _NOTHING
cdef uint64_t _SECOND_MS

cpdef int keep(
    Tables tables, Lane lane, Judgement one, const unsigned char[::1] asked, uint64_t low, uint64_t high,
    const unsigned char[::1] client, uint64_t now_ms,
) except -1 nogil

cpdef int give(
    Tables tables, Lane lane, Seat seat, Judgement one, uint64_t low, uint64_t high, uint64_t now_ms
) except -1 nogil

cpdef int give_failed(Lane lane, Seat seat) except -1

cpdef Py_ssize_t place(Shares shares, const unsigned char[::1] client, uint64_t most) except? -2 nogil
