import cython
from libc.stdint cimport uint64_t

cdef uint64_t _M
cdef uint64_t _INIT_0
cdef uint64_t _INIT_1
cdef uint64_t _INIT_2
cdef uint64_t _INIT_3
cdef uint64_t _ONE

@cython.locals(
    k0=uint64_t, k1=uint64_t, v0=uint64_t, v1=uint64_t, v2=uint64_t, v3=uint64_t, word=uint64_t,
    words=Py_ssize_t, i=Py_ssize_t, step=Py_ssize_t, at_rest=Py_ssize_t, turns=int,
)
cpdef int siphash128(
    const uint64_t[::1] key, const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t end,
    uint64_t[::1] out, Py_ssize_t at,
) except -1 nogil

@cython.locals(place=Py_ssize_t, start=Py_ssize_t, depth=int)
cpdef Py_ssize_t digest_names(
    const uint64_t[::1] key, const unsigned char[::1] names, Py_ssize_t at, uint64_t[::1] out,
) except -1 nogil
