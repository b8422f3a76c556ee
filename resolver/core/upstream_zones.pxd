import cython

from .name cimport Name, spells
from .octets cimport Layout

cdef int _DS

cdef class UpstreamZones:
    cdef readonly const unsigned char[::1] table

@cython.locals(at=Py_ssize_t, labels=int, size=int, start=int, group=int)
cpdef int group_of(UpstreamZones zones, Name name, int qtype) except -1 nogil
