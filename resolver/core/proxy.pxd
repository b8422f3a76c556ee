import cython

from .octets cimport Layout

cdef Py_ssize_t _LONGEST
cdef const unsigned char[::1] _SIGNATURE
cdef Py_ssize_t _SIGNED
cdef Py_ssize_t _FIXED
cdef int _VERSION
cdef int _LOCAL
cdef int _PROXY
cdef int _V4
cdef int _V6

cdef class Proxied:
    cdef readonly unsigned char[::1] client
    cdef readonly bint local

@cython.locals(i=Py_ssize_t, length=Py_ssize_t)
cpdef Py_ssize_t read(const unsigned char[::1] data, Py_ssize_t end, Proxied proxied) except? -2 nogil

cdef int _understood(int command, int kind, Py_ssize_t length) except -1 nogil

@cython.locals(i=Py_ssize_t)
cdef int _name(const unsigned char[::1] data, Proxied proxied) except -1 nogil
