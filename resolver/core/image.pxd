import cython
from libc.stdint cimport uint32_t, uint64_t

from .siphash cimport siphash128

cdef int _HEADER_WORDS
cdef uint64_t _SCOPE_BITS
cdef uint64_t _BLOCK_SELF
cdef uint64_t _BLOCK_BELOW
cdef uint64_t _EXCEPT_SELF
cdef uint64_t _EXCEPT_BELOW
cdef uint64_t _EXCEPTION_BELOW
cdef uint64_t _NEW
cdef uint64_t _SET_ASIDE
cdef uint64_t _SELFTEST
cdef uint64_t _DIGEST_BITS
cdef uint64_t _ONE

@cython.locals(slots=uint64_t, room=Py_ssize_t, at=uint64_t, left=uint64_t, tail=uint64_t)
cpdef int find(const uint64_t[::1] words, uint64_t low, uint64_t high) except -1 nogil

@cython.locals(word=Py_ssize_t)
cpdef Py_ssize_t slot_of(const uint64_t[::1] words, uint64_t low, uint64_t high) except -2 nogil

@cython.locals(at=Py_ssize_t, used=Py_ssize_t)
cpdef Py_ssize_t occupied(const uint64_t[::1] words) except -1 nogil

@cython.locals(
    used=Py_ssize_t, at=Py_ssize_t, number=Py_ssize_t, end=Py_ssize_t, step=Py_ssize_t, slot=Py_ssize_t,
    depth=int, bits=uint64_t,
)
cdef Py_ssize_t _fill(
    uint64_t[::1] words, const unsigned char[::1] names, const unsigned char[::1] flags, const uint64_t[::1] key,
    uint64_t[::1] out,
) except -1 nogil

@cython.locals(bits=uint64_t)
cdef uint64_t _together(uint64_t one, uint64_t other) except? 0xFFFF nogil

@cython.locals(used=Py_ssize_t, at=Py_ssize_t, slot=Py_ssize_t, tail=uint64_t)
cdef Py_ssize_t _add(uint64_t[::1] words, const uint64_t[::1] other) except -1 nogil

@cython.locals(at=Py_ssize_t, found=uint64_t)
cdef int _mark_all_above(uint64_t[::1] words) except -1 nogil

cdef Py_ssize_t _end_of(const unsigned char[::1] names, Py_ssize_t at) except -1 nogil

@cython.locals(slots=uint64_t, at=uint64_t, left=uint64_t, tail=uint64_t)
cdef Py_ssize_t _place(const uint64_t[::1] words, uint64_t low, uint64_t high) except -1 nogil

@cython.locals(at=Py_ssize_t, number=Py_ssize_t, end=Py_ssize_t, parent=Py_ssize_t, slot=Py_ssize_t)
cdef int _mark_exceptions(
    uint64_t[::1] words, const unsigned char[::1] names, const unsigned char[::1] flags, const uint64_t[::1] key,
    uint64_t[::1] out,
) except -1 nogil

@cython.locals(at=Py_ssize_t, tail=uint64_t, bits=int)
cdef int _mark_new(uint64_t[::1] words, const uint64_t[::1] previous, bint keep_new) except -1 nogil

@cython.locals(at=Py_ssize_t, number=Py_ssize_t, end=Py_ssize_t, slot=Py_ssize_t)
cdef int _note_lines(
    const uint64_t[::1] words, const unsigned char[::1] names, const uint32_t[::1] lines, uint32_t[::1] line_of,
    const uint64_t[::1] key, uint64_t[::1] out,
) except -1 nogil
