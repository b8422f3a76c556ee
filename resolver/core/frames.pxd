import cython
from libc.stdint cimport uint64_t

from .lane cimport Lane, Seat, Tables
from .octets cimport Layout, copy
from .steps cimport take_whole

cdef Py_ssize_t _LENGTH
cdef Py_ssize_t _HEADER
cdef int _TCP
cdef int _REPLY
cdef int _SILENT

cdef class Frames:
    cdef readonly int most
    cdef readonly int count
    cdef readonly Py_ssize_t end
    cdef readonly bint broken
    cdef readonly int left
    cdef readonly Py_ssize_t length
    cdef unsigned char[::1] out

@cython.locals(size=Py_ssize_t, at=Py_ssize_t)
cpdef int read(
    Frames frames, Lane lane, const unsigned char[::1] octets, const unsigned char[::1] client, int least, int most,
    int keepalive_ds, int count,
) except -1

cpdef int take(Tables tables, Lane lane, Frames frames, uint64_t now_ms) except -1

@cython.locals(number=int, at=Py_ssize_t, seat=Seat)
cdef int _join(Lane lane, Frames frames) except -1
