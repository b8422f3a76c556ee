import cython

from resolver.query.edge_frames cimport answers
from resolver.query.edge_frames cimport query as framed

cdef class Failures:
    cdef object _question
    cdef object _out

cdef class Link:
    cdef readonly bint gives
    cdef readonly list turned
    cdef readonly list given
    cdef object _path
    cdef object _failed
    cdef object _sent_away
    cdef Py_ssize_t _times_sent_away
    cdef bint _served
    cdef Failures _failures
    cdef object _loop
    cdef object _socket
    cdef bint _connected
    cdef double _lost_at
    cdef double _since
    cdef bint _answered
    cdef bint _said
    cdef double _pause_s
    cdef unsigned long long _number
    cdef dict _waiting
    cdef Py_ssize_t _octets
    cdef Py_ssize_t _large
    cdef set _lost_once
    cdef set _sent_twice
    cdef list _out
    cdef Py_ssize_t _out_octets
    cdef object _unsent
    cdef bytearray _unread
    cdef object _into
    cdef object _looks
    cdef object _connects
    cdef bytes _report
    cdef bint _closed
    cdef bint _turns

    cpdef begin_turn(self)
    @cython.locals(size=Py_ssize_t, now=double, away=bint, large=bint)
    cpdef post(self, message, client, transport, done)
    cdef _say(self, bytes frame)
    cdef _later(self, why)
    cdef _lost(self, why)
    cdef _forget(self)
    cdef _flush(self)
    @cython.locals(sent=Py_ssize_t)
    cdef _send(self, octets)
    cdef _found(self)
    cdef tuple _take(self, number)
    cdef _hold(self, Py_ssize_t octets)
    cdef list _take_all(self)
    cdef _fail(self, done, query)
