import cython
from libc.stdint cimport int64_t

from .local_zones cimport Designation
from .message cimport Body, age
from .name cimport skip
from .octets cimport Layout, copy, put
from .question cimport Question, signals
from .rotate cimport rotate

cdef int _MAX_UDP_OCTETS
cdef int _HEADER
cdef int _A
cdef int _AAAA
cdef int _IN
cdef int _NXDOMAIN_ANSWER
cdef int _NXDOMAIN
cdef int _SERVFAIL
cdef int _BLOCK_BELOW
cdef int _EXCEPTION_BELOW
cdef int _EDE_NONE
cdef int _APEX
cdef int _MISSING
cdef int _LOCALHOST
cdef int _LOOPBACK
cdef int _NOERROR
cdef int _ANY
cdef int _NS
cdef int _PTR
cdef int _SOA
cdef int _KEEPALIVE_OCTETS
cdef int _OPT_OCTETS
cdef int _OPTION_OCTETS
cdef int64_t _MAX_TTL_S
cdef const unsigned char[::1] _HINFO_RECORD
cdef const unsigned char[::1] _LOCAL_A
cdef const unsigned char[::1] _LOCAL_AAAA
cdef const unsigned char[::1] _LOCAL_PTR
cdef const unsigned char[::1] _LOCAL_NS
cdef const unsigned char[::1] _LOCAL_SOA

cdef class Replies:
    cdef readonly int answer
    cdef readonly int ede
    cdef readonly const unsigned char[::1] v4
    cdef readonly int v4_count
    cdef readonly const unsigned char[::1] v6
    cdef readonly int v6_count
    cdef readonly const unsigned char[::1] soa
    cdef readonly int signal
    cdef readonly int refusal
    cdef readonly Body said
    cdef readonly Body full
    cdef readonly Body brief

cpdef int limit_of(Question question, int least, int most) except -1 nogil

@cython.locals(at=Py_ssize_t, start=Py_ssize_t, count=int, signalled=bint)
cpdef Py_ssize_t blocked(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, Replies replies, int bits,
    Py_ssize_t limit,
) except -1 nogil

cpdef Py_ssize_t empty(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, int rcode, int ede, bint truncated,
    Py_ssize_t limit,
) noexcept

@cython.locals(at=Py_ssize_t)
cdef Py_ssize_t _empty(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, int rcode, int ede, bint truncated,
    Py_ssize_t limit,
) except -1 nogil

cpdef Py_ssize_t hinfo(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, Py_ssize_t limit
) noexcept

@cython.locals(at=Py_ssize_t)
cdef Py_ssize_t _hinfo(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, Py_ssize_t limit
) except -1 nogil

cpdef Py_ssize_t local(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, int found, Py_ssize_t limit
) noexcept

@cython.locals(at=Py_ssize_t, start=Py_ssize_t, kind=int, apex=int, qtype=int)
cdef Py_ssize_t _local(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, int found, Py_ssize_t limit
) except -1 nogil

cpdef Py_ssize_t designated(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, Designation designation,
    Py_ssize_t limit,
) noexcept

@cython.locals(at=Py_ssize_t, room=Py_ssize_t)
cdef Py_ssize_t _designated(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, Designation designation,
    Py_ssize_t limit,
) except -1 nogil

cdef int _point(unsigned char[::1] out, Py_ssize_t at, int target) except -1 nogil

cpdef Py_ssize_t relay(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, Body body, int64_t ttl_s, int ede,
    Py_ssize_t limit,
) noexcept

@cython.locals(size=Py_ssize_t, at=Py_ssize_t, spelled=bint, age_s=int64_t)
cdef Py_ssize_t _relay(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, Body body, int64_t ttl_s, int ede,
    Py_ssize_t limit,
) except -1 nogil

@cython.locals(left=int, at=Py_ssize_t, same=Py_ssize_t)
cdef int _give_letters(
    unsigned char[::1] out, Py_ssize_t end, const unsigned char[::1] packet, Question question
) except -1 nogil

@cython.locals(i=Py_ssize_t, j=Py_ssize_t, size=int, target=Py_ssize_t, octet=int)
cdef Py_ssize_t _octets_of_question(unsigned char[::1] out, Py_ssize_t at, Question question) except -1 nogil

cdef Py_ssize_t _begin(
    unsigned char[::1] out, const unsigned char[::1] packet, Question question, int rcode
) except -1 nogil

cdef Py_ssize_t _append(unsigned char[::1] out, Py_ssize_t at, const unsigned char[::1] data) except -1 nogil

cdef bint _fits(Py_ssize_t at, Question question, Body body, Py_ssize_t limit) except -1 nogil

@cython.locals(
    errors_size=Py_ssize_t, options=Py_ssize_t, records=int, room=Py_ssize_t, own=int, keepalive=int, cookie=Py_ssize_t,
    padding=Py_ssize_t,
)
cdef Py_ssize_t _finish(
    unsigned char[::1] out, Py_ssize_t at, Question question, int rcode, int ede, Body body, Py_ssize_t limit
) except -1 nogil

@cython.locals(octets=Py_ssize_t, over=Py_ssize_t)
cdef Py_ssize_t _padding(Py_ssize_t at, Py_ssize_t multiple, Py_ssize_t limit) except -1 nogil

@cython.locals(end=Py_ssize_t)
cdef Py_ssize_t _pad(unsigned char[::1] out, Py_ssize_t at, Py_ssize_t octets) except -1 nogil
