import cython
from libc.stdint cimport uint16_t

from .name cimport copy, walk
from .octets cimport Layout

cdef int _NAME
cdef int _PLAIN_NAME
cdef int _STRING
cdef int _STRINGS
cdef int _ANY
cdef int _SOME
cdef int _BITMAP
cdef int _PARAMS
cdef int _A6
cdef int _END
cdef int _TYPES
cdef int _MAX_WINDOW
cdef int _MALFORMED
cdef int _SOUND
cdef int _COMPRESSED
cdef const unsigned char[::1] _FIELDS
cdef const uint16_t[::1] _STARTS

@cython.locals(row=int, field=int, end=Py_ssize_t, start=Py_ssize_t, result=int)
cpdef int check(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t size, int kind) except -1 nogil

@cython.locals(row=int, field=int, end=Py_ssize_t, stop=Py_ssize_t, name=Py_ssize_t)
cpdef Py_ssize_t expand(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t size, int kind, unsigned char[::1] out, Py_ssize_t to,
) except -1 nogil

cdef Py_ssize_t _octets(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t stop, unsigned char[::1] out, Py_ssize_t to,
) except -1 nogil

@cython.locals(after=Py_ssize_t)
cdef Py_ssize_t _field_end(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, int field) except -1 nogil

cdef int _a6_octets(int prefix) except -1 nogil

@cython.locals(last=int)
cdef Py_ssize_t _bitmap_end(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end) except -1 nogil

@cython.locals(last=int, key=int)
cdef Py_ssize_t _params_end(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end) except -1 nogil

@cython.locals(size=int)
cdef bint _points(const unsigned char[::1] data, Py_ssize_t at) except -1 nogil
