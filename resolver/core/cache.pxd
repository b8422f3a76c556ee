import cython
from libc.stdint cimport int64_t, uint64_t

from .lane cimport Lane, Seat, Tables
from .message cimport Message
from .octets cimport Layout
from .plain_form cimport plain_form
from .question cimport Question, parse
from .shares cimport _take
from .store cimport Kept, copy_out, drop, fail, keep, other_form, peek, renew, rounds, set_answer, set_failure, set_key
from .store cimport find as find_kept

cdef uint64_t _SHARE
cdef Py_ssize_t _NONE
cdef int _NOTHING
cdef int _FRESH
cdef int _STALE
cdef int _POSITIVE
cdef int _NEGATIVE
cdef int _BLOCKED
cdef int _FAILURE
cdef uint64_t _RECORD_HEADER
cdef int _FOUND
cdef int _SIGNED
cdef int _BLOCK
cdef int _NOERROR
cdef int _NXDOMAIN
cdef int _SERVFAIL
cdef int _DO
cdef int _CD
cdef int _FORMS
cdef Py_ssize_t _HEADER
cdef int _EDE_NONE
cdef int _EDE_OTHER
cdef int _EDE_OPTION
cdef int _OPTION_OCTETS
cdef int _COUNT_POSITIVE
cdef int _COUNT_NEGATIVE
cdef int _COUNT_FAILURE
cdef int _COUNT_STALE
cdef int _COUNT_MISS

@cython.locals(bits=int)
cpdef int key_bits(Question question) except -1 nogil

cdef int key(Tables tables, Lane lane, Seat seat) except -1 nogil

@cython.locals(found=int)
cpdef int find(Tables tables, Lane lane, Seat seat, uint64_t now_s) except -1 nogil

cdef int other(Tables tables, Lane lane, Seat seat, uint64_t now_s) except -1 nogil

@cython.locals(serves=int, found=int, size=Py_ssize_t)
cdef int lend(Tables tables, Lane lane, Seat seat, int least, uint64_t now_s) except -1 nogil

@cython.locals(serves=int)
cdef int _other_form(Tables tables, Lane lane, Seat seat, uint64_t now_s) except -1 nogil

cdef int _describe(Kept kept, Kept other) except -1 nogil

@cython.locals(number=int)
cdef int count(Lane lane, int found) except -1 nogil

cdef bint is_judged(Lane lane, uint64_t generation) except -1 nogil

cdef int judged_again(Tables tables, Lane lane, int verdict) except -1 nogil

@cython.locals(alias=bint, negative=bint, ttl_s=int64_t, kind=int)
cdef int keep_answer(
    Tables tables, Lane lane, Message message, int verdict, uint64_t low, uint64_t high,
    const unsigned char[::1] client, bint pays, uint64_t now_s,
) except -1 nogil

@cython.locals(size=Py_ssize_t)
cdef int keep_failure(
    Tables tables, Lane lane, const unsigned char[::1] asked, int rcode, const unsigned char[::1] errors,
    Py_ssize_t errors_size, uint64_t low, uint64_t high, const unsigned char[::1] client, bint pays, uint64_t now_s,
) except -1 nogil

@cython.locals(size=Py_ssize_t, own=int, form=int)
cdef int keep_silence(
    Tables tables, Lane lane, const unsigned char[::1] asked, int ede, uint64_t low, uint64_t high,
    const unsigned char[::1] client, bint pays, uint64_t now_s,
) except -1 nogil

@cython.locals(low=uint64_t, high=uint64_t)
cdef int _keep_silence(
    Tables tables, Lane lane, const unsigned char[::1] asked, Py_ssize_t size, const unsigned char[::1] client,
    bint pays, uint64_t now_s,
) except -1 nogil

@cython.locals(size=Py_ssize_t, form=int)
cdef int _form_of(
    Tables tables, Lane lane, const unsigned char[::1] asked, uint64_t low, uint64_t high
) except -2 nogil

cdef bint _asks_more(int form, int than) except -1 nogil

cdef int ede_option(unsigned char[::1] out, int ede) except -1 nogil

cdef bint _is_above_share(Tables tables, uint64_t octets, const unsigned char[::1] client) except -1 nogil

cdef int _kind(int negative, int verdict) except -1 nogil
