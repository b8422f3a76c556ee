import cython
from libc.stdint cimport uint32_t, uint64_t

from .image cimport add, bits_of, deepen, entry, find, set_bits, slot_of, touch
from .octets cimport Layout
from .siphash cimport digest_names, siphash128

cdef uint64_t _SCOPE_BITS
cdef uint64_t _BLOCK_SELF
cdef uint64_t _BLOCK_BELOW
cdef uint64_t _EXCEPT_SELF
cdef uint64_t _EXCEPT_BELOW
cdef uint64_t _EXCEPTION_BELOW
cdef uint64_t _NEW
cdef uint64_t _SET_ASIDE
cdef uint64_t _SELFTEST

@cython.locals(
    used=Py_ssize_t, at=Py_ssize_t, number=Py_ssize_t, stop=Py_ssize_t, turn=Py_ssize_t, slot=Py_ssize_t, bits=uint64_t,
)
cdef Py_ssize_t _fill(
    uint64_t[::1] words, const unsigned char[::1] names, const unsigned char[::1] flags, const uint64_t[::1] key,
    const uint32_t[::1] lines, uint32_t[::1] line_of, uint64_t[::1] out,
) except -1 nogil

@cython.locals(bits=uint64_t)
cdef uint64_t _together(uint64_t one, uint64_t other) except? 0xFFFF nogil

@cython.locals(
    at=Py_ssize_t, number=Py_ssize_t, last=Py_ssize_t, end=Py_ssize_t, parent=Py_ssize_t, slot=Py_ssize_t,
)
cdef int _mark_exceptions(
    uint64_t[::1] words, const unsigned char[::1] names, const unsigned char[::1] flags, const uint64_t[::1] key,
    uint64_t[::1] out,
) except -1 nogil

@cython.locals(
    at=Py_ssize_t, stop=Py_ssize_t, turn=Py_ssize_t, bits=uint64_t, before=uint64_t, aside=bint,
)
cdef int _mark_new(
    uint64_t[::1] words, Py_ssize_t slots, const uint64_t[::1] previous, bint keep_new, bint approved,
    uint64_t[::1] out,
) except -1 nogil

@cython.locals(at=Py_ssize_t, depth=Py_ssize_t)
cpdef int count_depths(const unsigned char[::1] names, uint64_t[::1] out) except -1 nogil
