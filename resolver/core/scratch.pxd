from libc.stdint cimport uint64_t

from .octets cimport Layout

cdef class Scratch:
    cdef readonly unsigned char[::1] prefix
    cdef readonly uint64_t[::1] who
    cdef readonly unsigned char[::1] text
    cdef readonly uint64_t[::1] words
    cdef readonly uint64_t[::1] tags
    cdef readonly uint64_t[::1] capped
    cdef readonly uint64_t[::1] out
    cdef readonly uint64_t[::1] key
