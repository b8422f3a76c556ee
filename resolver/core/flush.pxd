import cython
from libc.stdint cimport uint64_t

from .name cimport Name, skip, unfold
from .octets cimport Layout
from .store cimport Kept, Store, copy_out, drop, look

cdef Py_ssize_t _STEP_OCTETS
cdef int _BLOCKED
cdef uint64_t _END
cdef Py_ssize_t _HEADER

cdef class Search:
    cdef readonly Name name
    cdef readonly bint subtree
    cdef readonly uint64_t position
    cdef readonly uint64_t forgotten
    cdef readonly Kept kept
    cdef readonly Name scratch
    cdef readonly unsigned char[::1] copy

cpdef int forget(Store store, Search search, int steps) except -1 nogil

@cython.locals(reply=cython.uchar[::1], end=Py_ssize_t, at=Py_ssize_t, answers=int)
cdef int _is_for(Search search) except -1 nogil

@cython.locals(start=Py_ssize_t, i=Py_ssize_t)
cdef int _is_covered(
    Name name, bint subtree, const unsigned char[::1] reply, Py_ssize_t at, Py_ssize_t end, Name found
) except -1 nogil
