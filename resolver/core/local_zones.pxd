import cython

from .name cimport Name, spells
from .octets cimport Layout

cdef int _NOT_LOCAL
cdef int _APEX
cdef int _MISSING
cdef int _LOCALHOST
cdef int _LOOPBACK
cdef int _DESIGNATED
cdef int _DS
cdef int _SVCB
cdef int _FORWARDED
cdef int _OURS
cdef int _DELEGATED
cdef int _HOST
cdef int _BARREN
cdef int _EMPTY
cdef const unsigned char[::1] _DDR
cdef int _DDR_OCTETS

cdef class Designation:
    cdef readonly int count
    cdef readonly const unsigned char[::1] records
    cdef readonly int address_count
    cdef readonly const unsigned char[::1] addresses

cdef class Zones:
    cdef readonly const unsigned char[::1] table
    cdef readonly const unsigned char[::1] existing
    cdef readonly const unsigned char[::1] canaries
    cdef readonly Designation designation

@cython.locals(row=Py_ssize_t, known=Py_ssize_t, kind=int, apex=int)
cpdef int find(Zones zones, Name name, int qtype) except -1 nogil

cdef bint _is_ddr(Name name) except -1 nogil

@cython.locals(at=int, size=int, first=int)
cdef bint _may_be_local(Name name) except -1 nogil

@cython.locals(at=Py_ssize_t, labels=int, size=int, start=int)
cdef Py_ssize_t _covering(const unsigned char[::1] table, Name name, int whole) except -2 nogil
