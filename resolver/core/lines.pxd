import cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from .octets cimport Layout

cdef int _SELF
cdef int _PARENT
cdef int _WITHIN
cdef int _WANTED
cdef int _ENTRIES
cdef int _UNCOMMON
cdef uint64_t _REASONS
cdef uint64_t _M
cdef uint64_t _TURN
cdef int _NAME_OCTETS
cdef int _LABEL_OCTETS
cdef int _NEWLINE
cdef int _RETURN
cdef int _BANG
cdef int _HASH
cdef int _STAR
cdef int _DOT
cdef int _EQUALS

cdef class Lines:
    cdef const uint64_t[::1] table
    cdef bint wanted
    cdef bint zone
    cdef const uint16_t[::1] bits
    cdef const unsigned char[::1] fold
    cdef readonly unsigned char[::1] names
    cdef readonly uint16_t[::1] flags
    cdef readonly uint32_t[::1] numbers
    cdef readonly uint64_t[::1] places
    cdef readonly Py_ssize_t octets
    cdef readonly Py_ssize_t entries
    cdef readonly Py_ssize_t uncommon
    cdef readonly Py_ssize_t line

@cython.locals(at=Py_ssize_t, stop=Py_ssize_t, turn=Py_ssize_t, slot=Py_ssize_t, mixed=uint64_t)
cpdef int watch(uint64_t[::1] table, const unsigned char[::1] names, uint64_t bits) except -1 nogil

@cython.locals(last=uint64_t, at=uint64_t, left=Py_ssize_t)
cdef Py_ssize_t _slot(const uint64_t[::1] table, uint64_t mixed) except -1 nogil

@cython.locals(last=uint64_t, at=uint64_t)
cdef uint64_t _reasons(Lines lines, uint64_t mixed) except? 0xFFFF nogil

@cython.locals(stop=Py_ssize_t, after=Py_ssize_t, start=Py_ssize_t, size=Py_ssize_t, marker=int)
cpdef Py_ssize_t take(Lines lines, const unsigned char[::1] data, Py_ssize_t at) except -1 nogil

@cython.locals(
    base=Py_ssize_t, end=Py_ssize_t, at=Py_ssize_t, dots=int, above=uint64_t, mixed=uint64_t, octet=int,
)
cdef Py_ssize_t _name(Lines lines, const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t stop) except -1 nogil
