import cython
from libc.stdint cimport int64_t, uint64_t

from .name cimport skip, walk
from .octets cimport Layout
from .rdata cimport check

cdef const unsigned char[::1] _NOTHING
cdef int _HEADER
cdef int _OPT
cdef int _ANY
cdef int _SOA
cdef int _TSIG
cdef int _SIG
cdef int _COMPRESSED
cdef int _CNAME
cdef int _EDE_OPTION
cdef int _EDE_OCTETS
cdef int _MARKS
cdef int _MAX_NAME_OCTETS
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
    cdef readonly bint has_opt
    cdef readonly Py_ssize_t tail_start
    cdef readonly int tail_count
    cdef readonly bint tail_broken
    cdef readonly bint trailing
    cdef readonly bint faulty
    cdef readonly bint truncated
    cdef readonly int64_t ttl_s
    cdef readonly int64_t negative_ttl_s
    cdef readonly int qtype
    cdef readonly int qclass
    cdef readonly bint answered
    cdef readonly bint aliased
    cdef public int judged
    cdef public bint drop_additional
    cdef uint64_t[::1] marks
    cdef uint64_t turn
    cdef unsigned char[::1] last
    cdef Py_ssize_t last_length
    cdef int last_chain

@cython.locals(at=Py_ssize_t)
cpdef int read(const unsigned char[::1] data, Py_ssize_t end, Message message) except -1 nogil

@cython.locals(owner=Py_ssize_t, kind=int, klass=int, size=int, sound=int, ttl=int64_t, minimum=int64_t)
cdef Py_ssize_t _section(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, int count, int section, Message message
) except -1 nogil

@cython.locals(
    start=Py_ssize_t, length=int, place=Py_ssize_t, mark=uint64_t, known=uint64_t, after=Py_ssize_t,
)
cdef Py_ssize_t _owner_end(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, Message message
) except -1 nogil

@cython.locals(length=int, size=int, place=Py_ssize_t)
cdef int _length(const unsigned char[::1] data, Py_ssize_t at) except -1 nogil

cpdef bint is_signature(int kind, int klass) except -1 nogil

cdef int _note_tail(Message message, Py_ssize_t owner) except -1 nogil

@cython.locals(value=int64_t)
cdef int64_t _u32(const unsigned char[::1] data, Py_ssize_t at) except -1 nogil

@cython.locals(end=Py_ssize_t, start=Py_ssize_t, length=Py_ssize_t, left=int)
cdef int _keep_errors(const unsigned char[::1] data, Py_ssize_t at, int size, Message message) except -1 nogil

cdef bint _is_error(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t length) except -1 nogil

@cython.locals(i=Py_ssize_t)
cdef int _keep_error(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t length, Py_ssize_t room, Message message
) except -1 nogil

cpdef Py_ssize_t trim(unsigned char[::1] data, Message message) except -1 nogil

@cython.locals(left=int, at=Py_ssize_t, ttl=int64_t, spelled=bint)
cpdef int age(unsigned char[::1] data, Py_ssize_t end, int64_t seconds, int64_t floor, int64_t ceiling) except -1 nogil
