from libc.stdint cimport uint64_t

from .cookie cimport check
from .crash_shape cimport read
from .lane cimport Lane, Seat, Tables
from .octets cimport Layout
from .reply cimport limit_of

cdef int _SILENT
cdef int _END_NONE
cdef int _NO_COOKIE
cdef int _GOOD
cdef int _ENCRYPTED
cdef int _PADDED

cdef int read_query(Tables tables, Lane lane, Seat seat, uint64_t now_ms) except -1 nogil
