import cython
from libc.stdint cimport int64_t

from .lane cimport Lane, Seat
from .local_zones cimport Zones
from .message cimport Body, Message
from .octets cimport Layout
from .reply cimport _designated, _empty, _hinfo, _local, _relay

cdef int _SILENT
cdef int _REPLY
cdef Py_ssize_t _HEADER
cdef int _NOERROR
cdef int _FORMERR
cdef int _SERVFAIL
cdef int _NXDOMAIN
cdef int _NOTIMP
cdef int _REFUSED
cdef int _LARGEST_RCODE
cdef int _BADVERS
cdef int _BADCOOKIE
cdef int _BAD_OPCODE
cdef int _BAD_VERSION
cdef int _BAD_TYPE
cdef int _NOT_SERVED
cdef int _COOKIE_ALONE
cdef int _BAD_COOKIE
cdef int _SILENT_SHORT
cdef int _NOT_A_CLIENT
cdef int _SLIP
cdef int _DESIGNATED
cdef int64_t _KEEP_TTL
cdef int64_t _STALE_TTL_S
cdef int _EDE_NONE
cdef int _EDE_OTHER
cdef int _EDE_PROHIBITED
cdef int _EDE_INVALID_QUERY_TYPE
cdef int _EDE_NOT_AUTHORITATIVE
cdef int _EDE_STALE_ANSWER
cdef int _EDE_STALE_NXDOMAIN
cdef int _INTERNAL
cdef int _END_NO_QUERY
cdef int _END_TURNED_AWAY
cdef int _END_MALFORMED
cdef int _END_REFUSED
cdef int _END_LOCAL
cdef int _END_ANY
cdef int _END_FAILED
cdef int _FIRST_RCODE
cdef int _COUNT_BADVERS
cdef int _COUNT_BADCOOKIE
cdef int _COUNT_OTHER
cdef int _FIRST_FAILED
cdef int _FIRST_DROPPED
cdef int _SHORT
cdef int _RESPONSE
cdef int _RATE_LIMIT

cdef int silence(Lane lane, Seat seat) except -1 nogil

cdef int turned_away(Lane lane, Seat seat) except -1 nogil

@cython.locals(rcode=int, ede=int)
cdef int malformed(Lane lane, Seat seat) except -1 nogil

@cython.locals(ede=int)
cdef int refused(Lane lane, Seat seat) except -1 nogil

cdef int beyond_budget(Lane lane, Seat seat) except -1 nogil

cdef int local(Zones zones, Lane lane, Seat seat, int found) except -1 nogil

cdef int any_type(Lane lane, Seat seat) except -1 nogil

cdef int failed(Lane lane, Seat seat, int ede, int reason) except -1 nogil

@cython.locals(ede=int)
cdef int kept(Lane lane, Seat seat, bint stale) except -1 nogil

cdef int fresh(Lane lane, Seat seat, Message message) except -1 nogil

@cython.locals(length=Py_ssize_t)
cdef int relayed(Lane lane, Seat seat, Body body, int64_t ttl_s, int ede) except -1 nogil

@cython.locals(rcode=int)
cpdef int sent(Lane lane, Seat seat, Py_ssize_t length) except -1 nogil

cdef int count_failed(Lane lane, int reason) except -1 nogil

@cython.locals(length=Py_ssize_t)
cdef int _say(Lane lane, Seat seat, int rcode, int ede, bint truncated, Py_ssize_t limit) except -1 nogil

cdef int _count(Lane lane, int number) except -1 nogil
