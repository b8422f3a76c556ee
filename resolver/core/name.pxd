import cython
from libc.stdint cimport uint16_t, uint64_t

from .octets cimport Layout, lower
from .octets cimport copy as copy_octets
from .siphash cimport siphash128

cdef int _MAX_OCTETS
cdef int _MAX_POINTERS
cdef int _HEADER

cdef class Name:
    cdef readonly unsigned char[::1] octets
    cdef readonly uint16_t[::1] starts
    cdef readonly uint64_t[::1] digests
    cdef readonly Py_ssize_t length
    cdef readonly int labels
    cdef readonly int marked

@cython.locals(size=int)
cpdef Py_ssize_t skip(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end) except -1 nogil

@cython.locals(
    at=Py_ssize_t, lowest=Py_ssize_t, after=Py_ssize_t, target=Py_ssize_t, length=int, pointers=int, size=int,
)
cpdef Py_ssize_t walk(const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t end) except -1 nogil

@cython.locals(size=int, target=Py_ssize_t)
cpdef Py_ssize_t copy(
    const unsigned char[::1] data, Py_ssize_t at, unsigned char[::1] out, Py_ssize_t to, Py_ssize_t below,
) except -1 nogil

@cython.locals(compared=Py_ssize_t, result=Py_ssize_t, target=Py_ssize_t, size=int, i=int)
cpdef Py_ssize_t compare(const unsigned char[::1] data, Py_ssize_t one, Py_ssize_t other) except 0 nogil

cdef int _fold(int octet) except -1 nogil

@cython.locals(
    at=Py_ssize_t, lowest=Py_ssize_t, after=Py_ssize_t, target=Py_ssize_t, copied=Py_ssize_t, written=Py_ssize_t,
    labels=int, pointers=int, size=int,
)
cpdef Py_ssize_t unfold(const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t end, Name name) except -1 nogil

@cython.locals(i=int)
cpdef bint spells(Name name, int start, const unsigned char[::1] data, Py_ssize_t at, int size) except -1 nogil

@cython.locals(size=int, i=int, at=int)
cdef int _is_marked(Name name) except -1 nogil

@cython.locals(depth=int, bit=uint64_t)
cpdef int digest(Name name, const uint64_t[::1] key, uint64_t mask_low, uint64_t mask_high) except -1 nogil
