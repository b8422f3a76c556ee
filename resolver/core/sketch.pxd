import cython
from libc.stdint cimport uint64_t

from .admit cimport Access
from .locks cimport Locks, hold, release
from .name cimport Name
from .octets cimport Layout
from .policy cimport Generation
from .scratch cimport Scratch
from .siphash cimport siphash128

cdef int _WAYS
cdef int _REGISTER_WORDS
cdef int _PARENTS
cdef int _REGISTERS
cdef int _TOTALS
cdef uint64_t _WORD
cdef int _BUDGET
cdef double _TICKS
cdef uint64_t _HIGH
cdef uint64_t _SCORE
cdef int _MOST_RANK
cdef double _OF_REGISTERS
cdef double _OF_TOTALS
cdef uint64_t _ONE

cdef class Sketch:
    cdef readonly uint64_t sets
    cdef readonly uint64_t[::1] now
    cdef readonly uint64_t[::1] before
    cdef readonly unsigned char[::1] totals_now
    cdef readonly unsigned char[::1] totals_before
    cdef readonly uint64_t skip_now
    cdef readonly uint64_t skip_before
    cdef readonly uint64_t tick
    cdef readonly int noted
    cdef readonly uint64_t[::1] recent
    cdef readonly double[::1] linear
    cdef readonly double[::1] linear_totals
    cdef readonly uint64_t[::1] key
    cdef readonly Locks locks

@cython.locals(low=uint64_t, high=uint64_t, seen=uint64_t, skip=uint64_t, place=int)
cpdef int turn(Sketch sketch, key) except -1

cpdef int note(
    Sketch sketch, Access access, Generation generation, Name name, double now_s, Scratch scratch
) noexcept

cpdef long prefixes(Sketch sketch, bint running) except -1

cpdef set popular(Sketch sketch, double share, double floor)

@cython.locals(slot=Py_ssize_t, slots=Py_ssize_t, least=double, tail=uint64_t)
cdef int _popular(Sketch sketch, uint64_t[::1] window, uint64_t skip, double bound, set found) except -1

cdef int _note(
    Sketch sketch, Access access, Generation generation, Name name, double now_s, Scratch scratch
) except -1 nogil

@cython.locals(who=uint64_t, tick=uint64_t)
cdef bint _changes_nothing(Sketch sketch, Name name, double now_s, Scratch scratch) except -1 nogil

@cython.locals(who=uint64_t, seen=uint64_t, place=uint64_t, rank=int, depth=int, tick=uint64_t)
cdef int _note_locked(Sketch sketch, Generation generation, Name name, double now_s, Scratch scratch) except -1 nogil

@cython.locals(bit=uint64_t)
cdef int _digest(Generation generation, Name name, int depth) except -1 nogil

@cython.locals(rank=int)
cdef int _rank(uint64_t bits, int most) except -1 nogil

@cython.locals(
    first=Py_ssize_t, start=Py_ssize_t, least=Py_ssize_t, slot=Py_ssize_t, word=Py_ssize_t, stop=Py_ssize_t, way=int,
    tail=uint64_t,
)
cdef int _raise(Sketch sketch, uint64_t low, uint64_t high, uint64_t who, int rank) except -1 nogil

@cython.locals(register=Py_ssize_t, word=Py_ssize_t, shift=int, old=int, added=uint64_t)
cdef int _raise_slot(Sketch sketch, Py_ssize_t slot, uint64_t who, int rank) except -1 nogil

@cython.locals(word=Py_ssize_t, total=double, empty=int, i=int, rank=int)
cdef double _estimate(Sketch sketch, uint64_t[::1] window, Py_ssize_t slot) except -1 nogil

@cython.locals(total=double, empty=int, i=int, rank=int)
cdef double _seen(Sketch sketch, unsigned char[::1] totals) except -1 nogil

cdef double _corrected(double raw, int empty, double[::1] linear) except -1 nogil

@cython.locals(at=Py_ssize_t)
cdef int _clear(uint64_t[::1] words) except -1 nogil
