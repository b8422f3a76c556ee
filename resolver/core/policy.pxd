import cython
from libc.stdint cimport uint32_t, uint64_t

from .image cimport inverse_of, prefetch, search
from .message cimport Message
from .name cimport Name, digest, skip, unfold
from .octets cimport Layout, copy, equal
from .question cimport Question
from .reply cimport Replies, blocked

cdef int _ASK
cdef int _PASS
cdef int _BLOCK
cdef int _BLOCK_SELF
cdef int _BLOCK_BELOW
cdef int _EXCEPT_SELF
cdef int _EXCEPT_BELOW
cdef int _SET_ASIDE
cdef int _EXCEPTION_BELOW
cdef int _DAMAGED
cdef int _A
cdef int _AAAA
cdef int _CNAME
cdef int _DNAME
cdef int _SVCB
cdef int _HTTPS
cdef int _DS
cdef int _DNSKEY
cdef int _RRSIG
cdef int _MAX_JUDGED_OCTETS
cdef int _DIGEST_OCTETS
cdef int _HEADER
cdef int _MARKS
cdef int _ANSWER
cdef int _AUTHORITY
cdef int _ADDITIONAL
cdef int _ORDINARY
cdef int _CHAIN
cdef int _CHAIN_RELEASED

cdef class Member:
    cdef readonly const uint64_t[::1] words
    cdef readonly uint64_t inverse
    cdef readonly uint64_t depths_low
    cdef readonly uint64_t depths_high
    cdef readonly Replies replies
    cdef readonly int slot
    cdef readonly uint32_t scope_bit
    cdef readonly bint release
    cdef readonly bint approved

cdef class Generation:
    cdef readonly uint64_t number
    cdef readonly const uint64_t[::1] key
    cdef readonly tuple members
    cdef readonly int count
    cdef uint64_t[::1] addresses
    cdef void **lists
    cdef readonly uint64_t mask_low
    cdef readonly uint64_t mask_high
    cdef readonly bint releases

cdef class Verdict:
    cdef readonly int verdict
    cdef public int slot
    cdef readonly int depth
    cdef public int bits
    cdef public uint64_t low
    cdef public uint64_t high
    cdef readonly bint released
    cdef readonly int chain
    cdef public long errors

cpdef int decide(Generation generation, Name name, uint32_t scope, Verdict verdict, int qtype=*) noexcept

@cython.locals(i=int)
cpdef int prepare(Generation generation, Name name) except -1 nogil

cpdef int decide_ready(Generation generation, Name name, uint32_t scope, Verdict verdict, int qtype) except -1 nogil

cpdef int judge(Generation generation, Message message, uint32_t scope, Name name, Verdict verdict) noexcept

cpdef int judge_nogil(
    Generation generation, Message message, uint32_t scope, Name name, Verdict verdict
) except -1 nogil

cpdef Py_ssize_t answer(
    Generation generation, Verdict verdict, unsigned char[::1] out, const unsigned char[::1] packet,
    Question question, Py_ssize_t limit,
) noexcept

@cython.locals(i=int)
cpdef Py_ssize_t answer_nogil(
    Generation generation, Verdict verdict, unsigned char[::1] out, const unsigned char[::1] packet,
    Question question, Py_ssize_t limit,
) except -1 nogil

cdef int _chain(Generation generation, int qtype) except -1 nogil

@cython.locals(depth=int, bit=uint64_t)
cdef int _prefetch_list(Member member, Name name) except -1 nogil

cdef int _said(int result, Verdict verdict) except -1 nogil

@cython.locals(i=int)
cdef int _ask_lists(Generation generation, Name name, uint32_t scope, Verdict verdict) except -1 nogil

@cython.locals(depth=int, bit=uint64_t, bits=int, say=int)
cdef int _ask_list(Member member, Name name, uint32_t scope, Verdict verdict) except -1 nogil

cdef bint _leaves_some_below(int bits, int chain) except -1 nogil

@cython.locals(own=bint)
cdef int _say(int bits, int depth, Name name) except -1 nogil

@cython.locals(result=int)
cdef int _judge(Generation generation, Message message, uint32_t scope, Name name, Verdict verdict) except -1 nogil

@cython.locals(
    at=Py_ssize_t, count=int, kind=int, size=int, result=int, owner=Py_ssize_t, start=Py_ssize_t, question_chain=int,
    proves=bint,
)
cdef int _judge_section(
    Generation generation, Message message, int section, uint32_t scope, Name name, Verdict verdict
) except -1 nogil

@cython.locals(after=Py_ssize_t, place=Py_ssize_t, mark=uint64_t, result=int)
cdef int _judge_name(
    Generation generation, Message message, Py_ssize_t start, Py_ssize_t end, uint32_t scope, Name name, Verdict verdict
) except -1 nogil

cdef bint _proves(const unsigned char[::1] data, Py_ssize_t at, int size, int kind) except -1 nogil

cdef bint _is_last(Message message, Name name, int chain) except -1 nogil

@cython.locals(octets=int, depth=int, bit=uint64_t)
cdef int _octets_to_digest(Name name, uint64_t mask_low, uint64_t mask_high) except -1 nogil

cdef bint _has_target(int kind) except -1 nogil

cdef bint _leads(int kind) except -1 nogil
