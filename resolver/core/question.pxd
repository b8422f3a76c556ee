import cython
from libc.stdint cimport uint64_t

from .name cimport Name, skip, unfold
from .octets cimport Layout

cdef int _WELL_FORMED
cdef int _SILENT_SHORT
cdef int _SILENT_RESPONSE
cdef int _BAD_OPCODE
cdef int _BAD_COUNT
cdef int _BAD_NAME
cdef int _BAD_RECORD
cdef int _BAD_OPT
cdef int _BAD_VERSION
cdef int _BAD_TYPE
cdef int _NOT_SERVED
cdef int _COOKIE_ALONE
cdef int _OPT
cdef int _NXNAME
cdef int _TKEY
cdef int _TSIG
cdef int _IXFR
cdef int _MAILA
cdef int _SIG
cdef int _HEADER
cdef int _SMALLEST_PAYLOAD
cdef int _OPT_OCTETS
cdef int _COOKIE
cdef int _KEEPALIVE

cdef class Question:
    cdef readonly Name name
    cdef readonly int problem
    cdef readonly Py_ssize_t end
    cdef readonly int qtype
    cdef readonly int qclass
    cdef readonly int flags
    cdef readonly bint has_opt
    cdef readonly int version
    cdef readonly int payload
    cdef readonly bint dnssec_ok
    cdef readonly Py_ssize_t options_at
    cdef readonly Py_ssize_t options_size
    cdef readonly bint keepalive
    cdef public int keepalive_ds
    cdef public int padding
    cdef readonly Py_ssize_t cookie_at
    cdef readonly int cookie_size
    cdef readonly uint64_t cookie_client
    cdef readonly uint64_t cookie_stamp
    cdef readonly uint64_t cookie_hash
    cdef readonly Py_ssize_t opt_octets

cdef int _clear(Question question) except -1 nogil

cpdef int parse(const unsigned char[::1] packet, Py_ssize_t end, Question question) except -1 nogil

@cython.locals(at=Py_ssize_t, problem=int)
cdef int _parse(const unsigned char[::1] packet, Py_ssize_t end, Question question) except -1 nogil

@cython.locals(problem=int)
cdef int _without_question(const unsigned char[::1] packet, Py_ssize_t end, Question question) except -1 nogil

@cython.locals(before=int, left=int, seen=int, at=Py_ssize_t, owner=Py_ssize_t, problem=int, kind=int, size=int)
cdef int _records(const unsigned char[::1] packet, Py_ssize_t end, Question question) except -1 nogil

@cython.locals(end=Py_ssize_t, code=int, octets=int)
cdef int _options(const unsigned char[::1] packet, Py_ssize_t at, int size, Question question) except -1 nogil

@cython.locals(at=Py_ssize_t, end=Py_ssize_t, size=int)
cpdef int signals(const unsigned char[::1] packet, Question question, int code) except -1 nogil

@cython.locals(count=int, at=Py_ssize_t, octet=int)
cpdef int matches(
    const unsigned char[::1] reply, Py_ssize_t end, const unsigned char[::1] query, Question question
) except -1 nogil

cdef int _is_opt_alone(const unsigned char[::1] reply, Py_ssize_t end) except -1 nogil
