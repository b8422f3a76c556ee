import cython
from libc.stdint cimport int64_t

from .name cimport skip

cdef int _HEADER
cdef int _OPT
cdef int _ANY
cdef int _SOA
cdef int _CNAME
cdef int _EDE_OPTION
cdef int64_t _MAX_TTL_S
cdef int _MAX_ERRORS_OCTETS
cdef int64_t _TOP_BIT

cdef class Body:
    cdef public const unsigned char[::1] data
    cdef public Py_ssize_t start
    cdef public Py_ssize_t end
    cdef public int rcode
    cdef public const unsigned char[::1] errors
    cdef public Py_ssize_t errors_start
    cdef public Py_ssize_t errors_size
    cdef public int64_t age_s
    cdef public bint rotate

cdef class Message(Body):
    cdef unsigned char[::1] found_errors
    cdef readonly int answers
    cdef readonly int authorities
    cdef readonly int additionals
    cdef readonly Py_ssize_t answer_start
    cdef readonly Py_ssize_t authority_start
    cdef readonly Py_ssize_t additional_start
    cdef readonly Py_ssize_t opt_start
    cdef readonly Py_ssize_t opt_end
    cdef readonly bint truncated
    cdef readonly int64_t ttl_s
    cdef readonly int64_t negative_ttl_s
    cdef readonly int qtype
    cdef readonly bint answered
    cdef readonly bint aliased
    cdef public int judged
    cdef public bint drop_additional

@cython.locals(at=Py_ssize_t)
cpdef int read(const unsigned char[::1] data, Py_ssize_t end, Message message) except -1 nogil

@cython.locals(owner=Py_ssize_t, kind=int, size=int, ttl=int64_t, minimum=int64_t)
cdef Py_ssize_t _section(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, int count, int section, Message message
) except -1 nogil

@cython.locals(value=int64_t)
cdef int64_t _u32(const unsigned char[::1] data, Py_ssize_t at) except -1 nogil

@cython.locals(end=Py_ssize_t, length=Py_ssize_t, i=Py_ssize_t)
cdef int _keep_errors(const unsigned char[::1] data, Py_ssize_t at, int size, Message message) except -1 nogil

cpdef Py_ssize_t trim(unsigned char[::1] data, Message message) except -1 nogil

@cython.locals(left=int, at=Py_ssize_t, ttl=int64_t)
cpdef int age(unsigned char[::1] data, Py_ssize_t end, int64_t seconds, int64_t floor, int64_t ceiling) except -1 nogil
