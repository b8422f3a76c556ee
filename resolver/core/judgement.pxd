import cython
from libc.stdint cimport uint32_t, uint64_t

from .exchange cimport is_clean
from .message cimport Message, read, trim
from .name cimport Name
from .octets cimport Layout, copy
from .policy cimport Generation, Verdict, judge_nogil
from .scrub cimport Chain, look, write

cdef int _ASK
cdef int _BLOCK
cdef uint32_t _ALL_LISTS
cdef int _CLEAN
cdef int _TOO_MUCH
cdef int _SCOPES
cdef int _FOR_ALL

cdef class Room:
    cdef Chain chain
    cdef Name name
    cdef unsigned char[::1] octets
    cdef public long errors

cdef class Judgement:
    cdef readonly const unsigned char[::1] reply
    cdef unsigned char[::1] octets
    cdef Py_ssize_t size
    cdef readonly Message message
    cdef readonly Verdict verdict
    cdef readonly int for_all
    cdef uint64_t number
    cdef bint judged
    cdef bint known
    cdef readonly int chosen
    cdef int count
    cdef int oldest
    cdef readonly list held
    cdef uint32_t scopes[4]
    cdef void *others[4]

cpdef int fill(Judgement one, const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t end) except -1 nogil

cpdef bint fill_clean(Judgement one, const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t end) except -1 nogil

@cython.locals(said=int)
cpdef int judge(Judgement one, Room room, Generation generation, uint32_t scope) except -1 nogil

cdef int _judge_for_all(Judgement one, Room room, Generation generation) except -1 nogil

@cython.locals(place=int)
cdef int _place_of(Judgement one, Room room, Generation generation, uint32_t scope) except -1 nogil

@cython.locals(found=int, rcode=int, errors_size=Py_ssize_t)
cdef int _scrub(Judgement one, Room room) except -1 nogil

@cython.locals(dropped=bint)
cdef int _ask(Judgement one, Room room, Generation generation, uint32_t scope, Verdict verdict) except -1 nogil
