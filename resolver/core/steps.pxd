import cython
from libc.stdint cimport uint64_t

from . cimport respond
from .admit cimport _scope, admission, is_unlimited, set_prefix
from .cache cimport (
    count, ede_option, find, is_judged, judged_again, keep_answer, keep_failure, keep_silence, key, lend, other,
)
from .crash_shape cimport reply as note_for_crash
from .judgement cimport Judgement, fill, judge
from .lane cimport Lane, Seat, Tables
from .local_zones cimport find as find_local
from .name cimport spells
from .octets cimport Layout
from .policy cimport Verdict, answer_nogil, decide_ready, prepare
from .reading cimport read_query
from .sketch cimport _note
from .store cimport prefetch_index, prefetch_record
from .tally cimport attempt, count_ready
from .tally cimport prefetch as prefetch_attempt

cdef int _SILENT
cdef int _REPLY
cdef int _FORWARD
cdef int _ASK
cdef int _DONE
cdef int _READ
cdef int _JUDGE
cdef int _BLOCKED
cdef int _LOOK
cdef int _STAGES
cdef int _COUNTING
cdef int _NOTING
cdef int _ERROR
cdef int _ADMITTED
cdef int _SILENT_SHORT
cdef int _SILENT_RESPONSE
cdef int _WELL_FORMED
cdef int _BAD_OPCODE
cdef int _NOTIFY
cdef int _IN
cdef int _ANY
cdef int _RD
cdef Py_ssize_t _HEADER
cdef int _PASS
cdef int _BLOCK
cdef int _ASKS
cdef unsigned int _ALL_LISTS
cdef int _NOT_LOCAL
cdef int _NOTHING
cdef int _FRESH
cdef int _STALE
cdef int _FAILURE
cdef int _BEYOND_BUDGET
cdef int _NOERROR
cdef int _NXDOMAIN
cdef int _YXDOMAIN
cdef int _SERVFAIL
cdef int _BADVERS
cdef int _EDE_OTHER
cdef int _EDE_NOT_READY
cdef int _EDE_INVALID_DATA
cdef int _EDE_NETWORK_ERROR
cdef int _NOT_READY
cdef int _UPSTREAM
cdef int _MALFORMED_REPLY
cdef int _INTERNAL
cdef int _END_NOTICE
cdef int _END_BLOCKED
cdef int _END_LEADS
cdef int _END_KEPT
cdef int _END_STALE
cdef int _END_FRESH
cdef uint64_t _SECOND_MS
cdef int _QUERIES
cdef int _COOKIES
cdef Py_ssize_t _ADDRESS
cdef const unsigned char[::1] _ZONE
cdef int _ZONE_OCTETS

# For callers that hold the GIL.

cpdef int take(Tables tables, Lane lane, Seat seat, uint64_t now_ms) noexcept

cpdef int resume(Tables tables, Lane lane, Seat seat, int outcome, uint64_t now_ms) noexcept

cpdef int pass_over(Lane lane) except -1

@cython.locals(done=bint)
cpdef int take_whole(Tables tables, Lane lane, int count, uint64_t now_ms) except -1

cpdef int unasked(Lane lane, Seat seat) noexcept

cpdef int give_up(Lane lane, Seat seat, int ede, int reason) noexcept

cpdef int give(Tables tables, Lane lane, Seat seat, Judgement one, uint64_t now_ms) noexcept

cpdef int without(Tables tables, Lane lane, Seat seat, int ede, int reason, uint64_t now_ms) noexcept

@cython.locals(found=int)
cpdef int stale(Tables tables, Lane lane, Seat seat, uint64_t now_ms) noexcept

cpdef int keep(
    Tables tables, Lane lane, Judgement one, const unsigned char[::1] asked, uint64_t low, uint64_t high,
    const unsigned char[::1] client, uint64_t now_ms,
) noexcept

@cython.locals(pays=bint)
cpdef int keep_failed(
    Tables tables, Lane lane, int ede, const unsigned char[::1] asked, uint64_t low, uint64_t high,
    const unsigned char[::1] client, uint64_t now_ms,
) noexcept

@cython.locals(stage=int)
cdef int _failed(Lane lane, Seat seat) except -1

# For callers that do not.

cpdef int take_batch(Tables tables, Lane lane, int count, uint64_t now_ms) except -1 nogil

cdef int _stage(Tables tables, Lane lane, Seat seat, uint64_t now_ms) except -1 nogil

cdef int _read(Tables tables, Lane lane, Seat seat, uint64_t now_ms) except -1 nogil

@cython.locals(admitted=bint, found=int)
cdef bint _is_to_judge(Tables tables, Lane lane, Seat seat, uint64_t now_ms) except -1 nogil

@cython.locals(found=int)
cdef int _judge(Tables tables, Lane lane, Seat seat) except -1 nogil

cdef int _fetch(Tables tables, Lane lane, Seat seat) except -1 nogil

cdef int _finish(Tables tables, Lane lane, Seat seat, uint64_t now_ms) except -1 nogil

cdef int _resume(Tables tables, Lane lane, Seat seat, int outcome, uint64_t now_ms) except -1 nogil

@cython.locals(at=Py_ssize_t, start=int, size=int)
cdef bint _is_proof(Tables tables, Seat seat) except -1 nogil

@cython.locals(i=Py_ssize_t)
cdef bint _is_own(const unsigned char[::1] own, Py_ssize_t at, const unsigned char[::1] client) except -1 nogil

cdef bint _verdict(Tables tables, Lane lane, Seat seat) except -1 nogil

cdef bint _passes(Tables tables, Lane lane, Seat seat) except -1 nogil

cdef int _stop(Tables tables, Lane lane, Seat seat, uint64_t now_s) except -1 nogil

@cython.locals(length=Py_ssize_t, counted=int)
cdef int _block(Tables tables, Lane lane, Seat seat, Verdict verdict, uint64_t tag, uint64_t now_s) except -1 nogil

@cython.locals(found=int, served=int)
cdef int _look(Tables tables, Lane lane, Seat seat, uint64_t now_s) except -1 nogil

@cython.locals(said=int)
cdef int _give_kept(Tables tables, Lane lane, Seat seat, int found, uint64_t now_s) except -1 nogil

@cython.locals(said=int)
cdef int _say(Tables tables, Lane lane, Judgement one, unsigned int scope) except -1 nogil

cdef int _block_by(Tables tables, Lane lane, Seat seat, Judgement one, uint64_t now_s) except -1 nogil

@cython.locals(tag=uint64_t)
cdef int _block_reply(Tables tables, Lane lane, Seat seat, Verdict verdict, uint64_t now_s) except -1 nogil

cdef int _note_asked(Tables tables, Lane lane, Seat seat, uint64_t now_ms) except -1 nogil

cdef int _give_up(Lane lane, Seat seat, int ede, int reason) except -1 nogil

@cython.locals(said=int)
cdef int _give(Tables tables, Lane lane, Seat seat, Judgement one, uint64_t now_s) except -1 nogil

cdef int _without(Tables tables, Lane lane, Seat seat, int ede, int reason, uint64_t now_s) except -1 nogil

@cython.locals(found=int)
cdef int _kept_by_now(Tables tables, Lane lane, Seat seat, uint64_t now_s) except -1 nogil

@cython.locals(pays=bint, size=int)
cdef int _keep(
    Tables tables, Lane lane, Judgement one, const unsigned char[::1] asked, uint64_t low, uint64_t high,
    const unsigned char[::1] client, uint64_t now_s,
) except -1 nogil
