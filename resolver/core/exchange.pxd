import cython
from libc.stdint cimport uint64_t

from .message cimport Message, read
from .name cimport Name, skip, spells
from .octets cimport Layout, copy, equal, get, put
from .question cimport Question, matches, parse
from .upstream_zones cimport UpstreamZones, group_of

cdef int _NOT_FOUND
cdef int _AS_SENT
cdef int _WITHOUT_QUESTION
cdef int _OTHER_CASE
cdef int _CLEAN
cdef int _MALFORMED
cdef int _SERVFAIL
cdef int _ERROR
cdef int _MISMATCH
cdef const unsigned char[::1] _SUFFIX
cdef int _SUFFIX_OCTETS
cdef int _LABEL
cdef int _PROBE
cdef Py_ssize_t _HEADER
cdef Py_ssize_t _TYPE_AND_CLASS
cdef const unsigned char[::1] _OPT
cdef Py_ssize_t _OPT_OCTETS
cdef int _RD
cdef int _AD
cdef int _CD
cdef int _DO
cdef Py_ssize_t _PAYLOAD
cdef int _NOERROR
cdef int _FORMERR
cdef int _SERVFAIL_RCODE
cdef int _NXDOMAIN
cdef int _NOTIMP
cdef int _REFUSED

cdef class Route:
    cdef readonly const unsigned char[::1] servers
    cdef readonly int count
    cdef readonly uint64_t[::1] patience_ms
    cdef readonly uint64_t timeout_ms
    cdef readonly bint exact
    cdef readonly int pool
    cdef readonly UpstreamZones zones

cpdef bint may_relay(Route route, Question question) except -1 nogil

cpdef bint may_be_probe(Name name) except -1 nogil

@cython.locals(size=Py_ssize_t, at=Py_ssize_t)
cpdef Py_ssize_t write(
    const unsigned char[::1] packet, Question question, int identity, unsigned char[::1] out
) except -1 nogil

@cython.locals(bit=int, at=Py_ssize_t, letter=int, drawn=int)
cpdef int draw_case(unsigned char[::1] query, Py_ssize_t end, const unsigned char[::1] chance) except -1 nogil

@cython.locals(octets=Py_ssize_t, at=Py_ssize_t, left=int)
cpdef int restore_case(
    unsigned char[::1] reply, Py_ssize_t end, const unsigned char[::1] sent, const unsigned char[::1] asked,
    Py_ssize_t size,
) except -1 nogil

@cython.locals(how=int)
cpdef int found(
    const unsigned char[::1] reply, Py_ssize_t end, const unsigned char[::1] sent, Py_ssize_t sent_end,
    Py_ssize_t size, Question question,
) except -1 nogil

cpdef int fault(const unsigned char[::1] reply, Py_ssize_t end, Message message) except -1 nogil

cpdef bint is_clean(const unsigned char[::1] reply, Py_ssize_t end, Message message) except -1 nogil

@cython.locals(high=int)
cdef int _number(const unsigned char[::1] data, Py_ssize_t at) except -1 nogil
