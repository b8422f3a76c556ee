import cython

from .name cimport Name, spells
from .octets cimport Layout

cdef int _NOT_LOCAL
cdef int _APEX
cdef int _MISSING
cdef int _LOCALHOST
cdef int _LOOPBACK
cdef int _DS
cdef int _FORWARDED
cdef int _OURS
cdef int _DELEGATED
cdef int _HOST
cdef int _BARREN
cdef int _EMPTY

cdef class Zones:
    cdef readonly const unsigned char[::1] table
    cdef readonly const unsigned char[::1] existing
    cdef readonly const unsigned char[::1] canaries

@cython.locals(row=Py_ssize_t, known=Py_ssize_t, kind=int, apex=int)
cpdef int find(Zones zones, Name name, int qtype) except -1 nogil

@cython.locals(at=int, size=int, first=int)
cdef bint _may_be_local(Name name) except -1 nogil

@cython.locals(at=Py_ssize_t, labels=int, size=int, start=int)
cdef Py_ssize_t _covering(const unsigned char[::1] table, Name name, int whole) except -2 nogil
