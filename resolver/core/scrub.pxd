import cython
from libc.stdint cimport uint32_t

from .message cimport Message, is_signature
from .name cimport compare, copy, skip
from .octets cimport Layout
from .rdata cimport expand

cdef int _MAX_CHAIN
cdef int _MAX_PASSES
cdef Py_ssize_t _MAX_COMPARED_OCTETS
cdef int _CLEAN
cdef int _NEEDED
cdef int _TOO_MUCH
cdef int _CNAME
cdef int _DNAME
cdef int _RRSIG
cdef int _HEADER
cdef int _ANSWER
cdef int _ADDITIONAL

cdef class Chain:
    cdef uint32_t[::1] names
    cdef readonly int count
    cdef readonly Py_ssize_t compared

@cython.locals(passes=int, unrelated=bint, before=int)
cpdef int look(Message message, Chain chain) except -1 nogil

@cython.locals(at=Py_ssize_t, count=int, unrelated=bint, owner=Py_ssize_t, kind=int)
cdef bint _walk(Message message, Chain chain) except -1 nogil

@cython.locals(kind=int, klass=int, i=int)
cdef bint _belongs(const unsigned char[::1] data, Py_ssize_t owner, Py_ssize_t at, Chain chain) except -1 nogil

@cython.locals(target=Py_ssize_t, i=int)
cdef bint _is_one(const unsigned char[::1] data, Py_ssize_t at, Chain chain) except -1 nogil

@cython.locals(target=Py_ssize_t)
cdef bint _is_below(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t above, Chain chain) except -1 nogil

@cython.locals(compared=Py_ssize_t)
cdef bint _same(const unsigned char[::1] data, Py_ssize_t one, Py_ssize_t other, Chain chain) except -1 nogil

@cython.locals(
    at=Py_ssize_t, to=Py_ssize_t, section=int, left=int, kept=int, owner=Py_ssize_t, kind=int, klass=int, size=int,
    stays=bint,
)
cpdef Py_ssize_t write(Message message, Chain chain, unsigned char[::1] out) except -1 nogil

@cython.locals(start=Py_ssize_t)
cdef Py_ssize_t _write_record(
    Message message, Py_ssize_t owner, Py_ssize_t at, int kind, int size, unsigned char[::1] out, Py_ssize_t to,
) except -1 nogil
