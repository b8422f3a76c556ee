from libc.stdint cimport int64_t, uint32_t, uint64_t

from .admit cimport Access
from .cookie cimport Cookies
from .crash_shape cimport Shape
from .judgement cimport Judgement, Room
from .local_zones cimport Zones
from .octets cimport Layout
from .policy cimport Generation, Verdict
from .question cimport Question
from .scratch cimport Scratch
from .shares cimport Shares
from .sketch cimport Sketch
from .store cimport Kept, Store
from .tally cimport Tally

cdef int _UDP

cdef class Tables:
    cdef readonly Generation generation
    cdef readonly Access access
    cdef readonly bint complete
    cdef readonly Zones zones
    cdef readonly const unsigned char[::1] own
    cdef readonly Store store
    cdef readonly Shares shares
    cdef readonly Tally tally
    cdef readonly Sketch asked
    cdef readonly bint rotate
    cdef readonly Cookies cookies

cdef class Seat:
    cdef readonly Question question
    cdef readonly Verdict verdict
    cdef readonly const unsigned char[::1] packet
    cdef Py_ssize_t size
    cdef readonly const unsigned char[::1] client
    cdef readonly int transport
    cdef bint stream
    cdef bint proven
    cdef readonly int cookie
    cdef int least
    cdef int most
    cdef int keepalive_ds
    cdef readonly int problem
    cdef readonly int admitted
    cdef readonly uint32_t scope
    cdef readonly Py_ssize_t limit
    cdef uint64_t who_low
    cdef uint64_t who_high
    cdef readonly uint64_t low
    cdef readonly uint64_t high
    cdef uint64_t tag
    cdef public int found
    cdef unsigned char[::1] out
    cdef readonly Py_ssize_t length
    cdef int stage
    cdef readonly int outcome
    cdef readonly int reason
    cdef readonly int slot
    cdef readonly bint refresh
    cdef public bint resumed

    cpdef int sit(
        self, const unsigned char[::1] packet, const unsigned char[::1] client, int transport, int least, int most,
        int keepalive_ds,
    ) except -1

cdef class Lane:
    cdef readonly uint64_t[::1] counters
    cdef Shape shape
    cdef readonly bint looking
    cdef public long errors
    cdef int stage
    cdef int at
    cdef readonly bint lent
    cdef readonly Scratch scratch
    cdef readonly Kept kept
    cdef readonly Kept other
    cdef Kept written
    cdef Kept replaced
    cdef unsigned char[::1] record
    cdef unsigned char[::1] other_record
    cdef unsigned char[::1] plain
    cdef Room room
    cdef readonly Judgement judgement
    cdef Question question
    cdef unsigned char[::1] failed
    cdef unsigned char[::1] option
    cdef readonly list held
    cdef void *seats[64]
