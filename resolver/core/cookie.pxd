import cython
from libc.stdint cimport uint64_t

from .admit cimport is_mapped
from .octets cimport Layout, copy, get, put
from .question cimport Question
from .scratch cimport Scratch
from .siphash cimport siphash64

cdef int _NONE
cdef int _NEW
cdef int _GOOD
cdef int _BAD
cdef uint64_t _AGE_S
cdef uint64_t _AHEAD_S
cdef uint64_t _RENEW_S
cdef int _OCTETS
cdef int _CLIENT
cdef int _WHOLE
cdef uint64_t _MASK
cdef uint64_t _SECOND_MS

cdef class Cookies:
    cdef readonly const uint64_t[::1] secrets
    cdef readonly int count
    cdef readonly const uint64_t[::1] epoch_ms

@cython.locals(now_s=uint64_t, age_s=uint64_t, ahead_s=uint64_t, at=Py_ssize_t, said=int, number=int)
cpdef int check(
    Cookies cookies, const unsigned char[::1] packet, Question question, const unsigned char[::1] client,
    uint64_t now_ms, Scratch scratch,
) except -1 nogil

@cython.locals(size=Py_ssize_t, number=int)
cdef int _made_by(
    Cookies cookies, Question question, const unsigned char[::1] client, Scratch scratch
) except -2 nogil

cdef Py_ssize_t _text(Question question, const unsigned char[::1] client, Scratch scratch) except -1 nogil

cdef uint64_t _swapped(uint64_t word) except? 0xFFFFFFFFFFFFFFFE nogil
